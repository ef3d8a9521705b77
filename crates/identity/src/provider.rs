//! An identity provider: where its keys are, and which they are now.
//!
//! ```text
//!   a token names a key ──▶ known, and read within the hour ──▶ checked
//!                      └──▶ otherwise ──▶ discovery, key set: at most once a minute ──▶ checked
//! ```
//!
//! Keys come from the issuer's own discovery document alone. While the provider cannot be reached, the keys that
//! were read last are used for a day; a token that names another is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tenure_journal::json;
use url::Url;

use crate::{Claims, KeySet, KeySetError, Rules, Token, TokenError};

/// Time between two requests to a provider, whatever tokens come.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How long keys are believed to be all there are.
const FRESH_FOR: Duration = Duration::from_secs(3_600);
/// How long keys are used while the provider cannot be reached.
const USED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Time for one answer of a provider.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Why nobody's token can be checked, or this one is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No connection, no answer, or another status than 200.
    #[error("the identity provider does not answer")]
    Unreachable(#[source] Option<reqwest::Error>),
    /// The discovery document is not one of this issuer.
    #[error("the identity provider's discovery document cannot be used: {0}")]
    Discovery(&'static str),
    /// The key set.
    #[error("the identity provider's keys cannot be used")]
    Keys(#[from] KeySetError),
}

/// Where a provider does what (OpenID Connect Discovery, section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Where people sign in.
    pub authorization_endpoint: String,
    /// Where a code becomes tokens.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
}

/// One issuer, with its rules and the keys it has now.
#[derive(Debug)]
pub struct Provider {
    rules: Rules,
    http: reqwest::Client,
    known: Mutex<Known>,
    /// Held by the one who asks the provider.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Instant)>,
    asked_at: Option<Instant>,
}

impl Provider {
    /// A provider that was not asked for anything yet. The process must have installed a `rustls` crypto provider.
    ///
    /// # Errors
    /// `Unreachable`: no HTTP client can be made.
    pub fn new(rules: Rules) -> Result<Self, ProviderError> {
        let http = client().map_err(|error| ProviderError::Unreachable(Some(error)))?;
        Ok(Self { rules, http, known: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// The rules that its tokens are checked by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who sent a token, at `now` in seconds since 1970. Safe to cancel.
    ///
    /// # Errors
    /// Each of [`ProviderError`].
    pub async fn verify(&self, token: &str, now: i64) -> Result<Claims, ProviderError> {
        let token = Token::parse(token)?;
        let keys = self.keys(token.key_id()).await?;
        Ok(self.rules.check(&token, &keys, now)?)
    }

    /// The provider's keys, with the named one among them if it has one.
    async fn keys(&self, id: &str) -> Result<Arc<KeySet>, ProviderError> {
        if let Some(keys) = self.fresh(id) {
            return Ok(keys);
        }
        let _asking = self.asking.lock().await;
        // Whoever held it may have learnt the key.
        if let Some(keys) = self.fresh(id) {
            return Ok(keys);
        }
        let is_due = self.lock().asked_at.is_none_or(|at| at.elapsed() >= ASK_EVERY);
        let asked = if is_due {
            self.lock().asked_at = Some(Instant::now());
            Some(self.ask().await)
        } else {
            None
        };
        let mut known = self.lock();
        match asked {
            Some(Ok(keys)) => {
                let keys = Arc::new(keys);
                known.keys = Some((Arc::clone(&keys), Instant::now()));
                Ok(keys)
            }
            failed @ (Some(Err(_)) | None) => {
                let usable = known.keys.as_ref().filter(|(_, at)| at.elapsed() < USED_FOR);
                if let Some((keys, _)) = usable {
                    if let Some(Err(error)) = &failed {
                        tracing::warn!(issuer = self.rules.issuer, %error, "an issuer's keys cannot be read again");
                    }
                    return Ok(Arc::clone(keys));
                }
                match failed {
                    Some(Err(error)) => Err(error),
                    Some(Ok(_)) | None => Err(ProviderError::Unreachable(None)),
                }
            }
        }
    }

    fn fresh(&self, id: &str) -> Option<Arc<KeySet>> {
        let known = self.lock();
        let (keys, at) = known.keys.as_ref()?;
        (at.elapsed() < FRESH_FOR && keys.has(id)).then(|| Arc::clone(keys))
    }

    async fn ask(&self) -> Result<KeySet, ProviderError> {
        let discovery = discover_with(&self.http, &self.rules.issuer).await?;
        let bytes = read(&self.http, &discovery.jwks_uri).await?;
        Ok(KeySet::parse(&bytes)?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // What is known is whole between its changes.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an issuer does what.
///
/// # Errors
/// `Unreachable`, `Discovery`.
pub async fn discover(issuer: &str) -> Result<Discovery, ProviderError> {
    let http = client().map_err(|error| ProviderError::Unreachable(Some(error)))?;
    discover_with(&http, issuer).await
}

async fn discover_with(http: &reqwest::Client, issuer: &str) -> Result<Discovery, ProviderError> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let bytes = read(http, &address).await?;
    let document = json::parse(&bytes).map_err(|_| ProviderError::Discovery("it is not JSON"))?;
    // Or somebody else's document would name somebody else's keys (section 4.3).
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(ProviderError::Discovery("it is of another issuer"));
    }
    let endpoint = |name: &str| {
        let text = document.get(name).and_then(Value::as_str);
        text.filter(|text| is_safe(text, issuer)).map(str::to_owned)
    };
    let missing = ProviderError::Discovery("an endpoint is missing or not at an `https` address");
    match (endpoint("authorization_endpoint"), endpoint("token_endpoint"), endpoint("jwks_uri")) {
        (Some(authorization_endpoint), Some(token_endpoint), Some(jwks_uri)) => {
            Ok(Discovery { authorization_endpoint, token_endpoint, jwks_uri })
        }
        _ => Err(missing),
    }
}

/// Whether an address is one that nobody on the way can read or change: `https`, or loopback for an issuer there.
fn is_safe(address: &str, issuer: &str) -> bool {
    let parsed = |text: &str| {
        Url::parse(text).ok().filter(|url| url.username().is_empty() && url.password().is_none())
    };
    match parsed(address) {
        Some(url) if url.scheme() == "https" => url.host().is_some(),
        Some(url) if url.scheme() == "http" => {
            is_loopback(&url) && parsed(issuer).is_some_and(|url| is_loopback(&url))
        }
        Some(_) | None => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
        .build()
}

async fn read(http: &reqwest::Client, address: &str) -> Result<Vec<u8>, ProviderError> {
    if !is_safe(address, address) {
        return Err(ProviderError::Discovery("its address is neither `https` nor on this machine"));
    }
    let failed = |error: reqwest::Error| ProviderError::Unreachable(Some(error));
    let mut response = http.get(address).send().await.map_err(failed)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(ProviderError::Unreachable(None));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ProviderError::Discovery("it is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
