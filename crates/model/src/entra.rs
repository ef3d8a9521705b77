//! Tokens of Entra ID: fetched when they are needed, kept until shortly before they end, one fetch for all who wait.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tenure_journal::{Failure, FailureKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Secret;
use crate::auth::ClientCredentials;
use crate::failure::{of_kind, with_message};

/// A token is renewed so long before it ends, so that none ends on its way.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// How long a token is kept that does not say when it ends.
const LIFE_DEFAULT_SECONDS: u64 = 10 * 60;
/// Time for fetching a token.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer with a token.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The tokens of one client.
#[derive(Debug)]
pub(crate) struct Tokens {
    client: reqwest::Client,
    credentials: ClientCredentials,
    /// Held while a token is fetched: that is what makes everybody else wait for the same one. Whoever is
    /// dropped in the middle lets the next one fetch.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    token: Secret,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

impl Tokens {
    pub(crate) fn new(client: reqwest::Client, credentials: ClientCredentials) -> Self {
        Self { client, credentials, held: Mutex::new(None) }
    }

    /// A token that is valid for a while. Safe to cancel.
    pub(crate) async fn token(&self) -> Result<Secret, Failure> {
        let mut held = self.held.lock().await;
        if let Some(known) = held.as_ref().filter(|known| Instant::now() < known.renew_at) {
            return Ok(known.token.clone());
        }
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(of_kind(FailureKind::Timeout)))?;
        let token = fetched.token.clone();
        *held = Some(fetched);
        Ok(token)
    }

    /// Forgets `refused`, if nobody has renewed it meanwhile.
    pub(crate) async fn forget(&self, refused: &Secret) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|known| known.token == *refused) {
            *held = None;
        }
    }

    async fn fetch(&self) -> Result<Held, Failure> {
        let ClientCredentials { token_url, client_id, client_secret, scope } = &self.credentials;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", client_id)
            .append_pair("client_secret", client_secret.expose())
            .append_pair("scope", scope)
            .finish();
        let sending = self
            .client
            .post(token_url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form);
        let mut response = sending.send().await.map_err(|_| of_kind(FailureKind::ConnectionFailed))?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return Err(refused(status));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| of_kind(FailureKind::ConnectionFailed))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(of_kind(FailureKind::Protocol));
            }
        }
        let granted: Granted = serde_json::from_slice(&bytes).map_err(|_| of_kind(FailureKind::Protocol))?;
        // Some endpoints write the number as text.
        let seconds = granted.expires_in.as_u64();
        let seconds = seconds.or_else(|| granted.expires_in.as_str()?.parse().ok());
        let life = Duration::from_secs(seconds.unwrap_or(LIFE_DEFAULT_SECONDS));
        let renew_at = Instant::now() + life.saturating_sub(RENEW_BEFORE).max(life / 2);
        Ok(Held { token: Secret::new(granted.access_token), renew_at })
    }
}

fn refused(status: u16) -> Failure {
    match status {
        408 | 429 | 500.. => with_message(
            FailureKind::Overloaded,
            "the identity service of the model provider cannot be asked for a token now",
        ),
        _ => with_message(
            FailureKind::Authentication,
            "the identity service of the model provider refused the client's credentials",
        ),
    }
}
