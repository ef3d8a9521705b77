//! The executor as a client of the registry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{ServeError, ServeErrorKind};
use crate::noise::PublicKey;
use crate::registry::{DIRECT_TRANSPORT, EnvironmentId, SECURITY_PROFILE};
use crate::sigv4::{self, KeyPair, PayloadHash};

/// How long the registry may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How an executor proves that it may serve an environment, which also decides how it speaks.
pub enum Credentials {
    /// A key, and the encrypted transport.
    Key(String),
    /// A pair, and the direct transport; every request is signed for `region`.
    Pair {
        /// The pair.
        pair: KeyPair,
        /// The region in signatures. The server does not care which.
        region: String,
    },
}

/// What the registry answered.
pub(super) enum Registered {
    Noise { id: String, url: Url },
    Direct { url: Url },
}

pub(super) struct Registry {
    base: String,
    environment_id: EnvironmentId,
    credentials: Credentials,
    client: reqwest::Client,
}

#[derive(Serialize)]
struct RegisterRequest<'a> {
    security_profile: &'static str,
    executor_public_key: &'a PublicKey,
}

#[derive(Deserialize)]
struct RegisterResponse {
    environment_id: String,
    url: String,
    security_profile: String,
    executor_registration_id: String,
}

#[derive(Serialize)]
struct DirectRequest {
    transport: &'static str,
}

#[derive(Deserialize)]
struct DirectResponse {
    environment_id: String,
    transport: String,
    url: String,
}

#[derive(Serialize)]
struct ValidateRequest<'a> {
    executor_registration_id: &'a str,
    harness_public_key: &'a PublicKey,
    harness_key_authorization: &'a str,
}

#[derive(Deserialize)]
struct ValidateResponse {
    valid: bool,
}

impl Registry {
    pub(super) fn new(
        remote_url: &str,
        environment_id: EnvironmentId,
        credentials: Credentials,
    ) -> Result<Self, ServeError> {
        let options = |message: String| ServeError::new(ServeErrorKind::Options, message);
        let url = Url::parse(remote_url).map_err(|error| options(format!("`{remote_url}`: {error}")))?;
        guard(&url, "https")?;
        // Two providers in one process would make the choice ambiguous; a choice made before ours stands.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            // A redirect would take the key elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER)
            .build()
            .map_err(|error| options(format!("no HTTP client: {error}")))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base, environment_id, credentials, client })
    }

    pub(super) fn environment_id(&self) -> &EnvironmentId {
        &self.environment_id
    }

    pub(super) async fn register(&self, key: &PublicKey) -> Result<Registered, ServeError> {
        match &self.credentials {
            Credentials::Key(_) => self.register_noise(key).await,
            Credentials::Pair { .. } => self.register_direct().await,
        }
    }

    async fn register_noise(&self, key: &PublicKey) -> Result<Registered, ServeError> {
        let request = RegisterRequest { security_profile: SECURITY_PROFILE, executor_public_key: key };
        let response: RegisterResponse = self.post("register", &request).await?;
        self.check("environment_id", &response.environment_id, self.environment_id.as_str())?;
        self.check("security_profile", &response.security_profile, SECURITY_PROFILE)?;
        Ok(Registered::Noise { id: response.executor_registration_id, url: socket_url(&response.url)? })
    }

    async fn register_direct(&self) -> Result<Registered, ServeError> {
        let request = DirectRequest { transport: DIRECT_TRANSPORT };
        let response: DirectResponse = self.post("direct/register", &request).await?;
        self.check("environment_id", &response.environment_id, self.environment_id.as_str())?;
        self.check("transport", &response.transport, DIRECT_TRANSPORT)?;
        Ok(Registered::Direct { url: socket_url(&response.url)? })
    }

    /// Whether the registry says that `key` may use this executor.
    pub(super) async fn validate(
        &self,
        registration_id: &str,
        key: &PublicKey,
        authorization: &str,
    ) -> Result<bool, ServeError> {
        let request = ValidateRequest {
            executor_registration_id: registration_id,
            harness_public_key: key,
            harness_key_authorization: authorization,
        };
        let response: ValidateResponse = self.post("validate", &request).await?;
        Ok(response.valid)
    }

    fn check(&self, field: &str, found: &str, expected: &str) -> Result<(), ServeError> {
        if found == expected {
            return Ok(());
        }
        let message = format!("the server answered `{field}` with `{found}` instead of `{expected}`");
        Err(ServeError::new(ServeErrorKind::Server, message))
    }

    async fn post<T: for<'de> Deserialize<'de>>(
        &self,
        what: &str,
        request: &impl Serialize,
    ) -> Result<T, ServeError> {
        let transient = |error: reqwest::Error| {
            ServeError::new(
                ServeErrorKind::Transient,
                format!("the server cannot be reached: {}", error.without_url()),
            )
        };
        let url = format!("{}/cloud/environment/{}/{what}", self.base, self.environment_id);
        let body = serde_json::to_vec(request).expect("strings are JSON");
        let mut post = self.client.post(&url).header("content-type", "application/json");
        for (name, value) in self.headers("POST", &url, &[("content-type", "application/json")], &body)? {
            post = post.header(name, value);
        }
        let response = post.body(body).send().await.map_err(transient)?;
        let status = response.status().as_u16();
        let body = read(response).await.map_err(transient)?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body).map_err(|error| {
                let message = format!("the server's answer to `{what}` cannot be read: {error}");
                ServeError::new(ServeErrorKind::Server, message)
            });
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
        // Registering again is no answer to a registration that was refused.
        let kind = match judge(status) {
            ServeErrorKind::Expired => ServeErrorKind::Server,
            kind @ (ServeErrorKind::Options
            | ServeErrorKind::Credentials
            | ServeErrorKind::Transient
            | ServeErrorKind::Server) => kind,
        };
        Err(ServeError::new(kind, format!("the server refused `{what}` with status {status}: {text}")))
    }

    /// The headers that authenticate one request.
    pub(super) fn headers(
        &self,
        method: &str,
        url: &str,
        signed: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, ServeError> {
        let (pair, region) = match &self.credentials {
            Credentials::Key(key) => return Ok(vec![("authorization", format!("Bearer {key}"))]),
            Credentials::Pair { pair, region } => (pair, region),
        };
        let failed = |message: String| ServeError::new(ServeErrorKind::Options, message);
        let url = Url::parse(url).map_err(|error| failed(error.to_string()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (host, time) = (authority(&url), sigv4::format_time(now));
        let mut headers = signed.to_vec();
        headers.extend([("host", host.as_str()), ("x-amz-date", time.as_str())]);
        let request = sigv4::Request {
            method,
            path: url.path(),
            query: url.query().unwrap_or_default(),
            headers: &headers,
            payload: PayloadHash::of(body),
        };
        let authorization = sigv4::sign(&request, pair, region).map_err(|error| failed(error.to_string()))?;
        Ok(vec![("authorization", authorization), ("x-amz-date", time)])
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece[..piece.len().min(ANSWER_BYTES_MAX - body.len())]);
        if body.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(body)
}

/// What a status of the registry or of a socket's handshake means.
pub(super) fn judge(status: u16) -> ServeErrorKind {
    match status {
        401 | 403 => ServeErrorKind::Credentials,
        404 | 409 | 410 => ServeErrorKind::Expired,
        408 | 425 | 429 | 500.. => ServeErrorKind::Transient,
        _ => ServeErrorKind::Server,
    }
}

/// The host as a `Host` header has it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn socket_url(text: &str) -> Result<Url, ServeError> {
    let url = Url::parse(text).map_err(|error| {
        ServeError::new(ServeErrorKind::Server, format!("the server's address to dial is none: {error}"))
    })?;
    guard(&url, "wss")?;
    Ok(url)
}

/// Without TLS only loopback may be reached: a key, or everything the server sends, would be readable.
fn guard(url: &Url, secure: &str) -> Result<(), ServeError> {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_plain = secure.strip_suffix('s') == Some(url.scheme());
    if url.scheme() == secure && url.host().is_some() || is_plain && is_loopback {
        return Ok(());
    }
    let host = url.host_str().unwrap_or_default();
    let message = format!("`{}://{host}` is not allowed; use `{secure}`, or loopback", url.scheme());
    Err(ServeError::new(ServeErrorKind::Options, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_reached_without_tls() {
        for (url, secure, allowed) in [
            ("https://example.com/x", "https", true),
            ("http://127.0.0.1:80/x", "https", true),
            ("http://[::1]/x", "https", true),
            ("ws://localhost/x", "wss", true),
            ("http://example.com/x", "https", false),
            ("ws://10.0.0.1/x", "wss", false),
            ("wss://example.com/x", "https", false),
            ("file:///x", "https", false),
        ] {
            assert_eq!(guard(&Url::parse(url).expect("a URL"), secure).is_ok(), allowed, "{url}");
        }
    }
}
