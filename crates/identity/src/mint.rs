//! Tokens that this server makes: who an agent is, for a tool server that is configured to accept it.
//!
//! The form is a JWT-SVID (SPIFFE, *The JWT SVID Format*): the subject is a SPIFFE id, the audience is the one server
//! it is for, and five minutes later it is nothing. It is signed with ES256, which that format allows and Ed25519 is
//! not. The public half is published as a key set, so that a server needs nothing of this one but its address.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// How long a token is valid: what a call needs to begin.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// Makes tokens with one key.
pub struct Minter {
    issuer: String,
    key: EcdsaKeyPair,
    key_id: String,
    random: SystemRandom,
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter")
            .field("issuer", &self.issuer)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Why there is no minter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MinterError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The key cannot be read.
    #[error("the key is no P-256 key in PKCS#8")]
    Key,
}

/// The name of an agent's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeId {
    /// The trust domain: a host name of the operator's.
    pub domain: String,
    /// The project's id.
    pub project: String,
    /// The agent's id.
    pub agent: String,
    /// The saved agent's version; absent for one that was never saved.
    pub version: Option<u64>,
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, project, agent, version } = self;
        write!(f, "spiffe://{domain}/project/{project}/agent/{agent}")?;
        version.map_or(Ok(()), |version| write!(f, "/v/{version}"))
    }
}

impl Minter {
    /// A fresh key, in PKCS#8: to be sealed, and kept by all nodes together.
    ///
    /// # Errors
    /// `Random`.
    pub fn generate() -> Result<Vec<u8>, MinterError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        key.map(|key| key.as_ref().to_vec()).map_err(|_| MinterError::Random)
    }

    /// A minter with a key that [`Minter::generate`] made.
    ///
    /// # Errors
    /// `Key`.
    pub fn new(issuer: String, pkcs8: &[u8]) -> Result<Self, MinterError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random);
        let key = key.map_err(|_| MinterError::Key)?;
        let (x, y) = point(&key);
        // The thumbprint of RFC 7638: the members that make the key, in the order of their names.
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let key_id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()));
        Ok(Self { issuer, key, key_id, random })
    }

    /// A token for one audience that is valid for [`LIFETIME`] from `now`, in seconds since 1970.
    ///
    /// # Errors
    /// `Random`.
    pub fn mint(&self, agent: &SpiffeId, audience: &str, now: i64) -> Result<String, MinterError> {
        let header = json!({"alg": "ES256", "kid": self.key_id, "typ": "JWT"});
        let expires_at = now.saturating_add_unsigned(LIFETIME.as_secs());
        let payload = json!({"iss": self.issuer, "sub": agent.to_string(), "aud": [audience], "iat": now,
            "exp": expires_at});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&payload));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| MinterError::Random)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The public half, as a key set to publish.
    #[must_use]
    pub fn key_set(&self) -> Value {
        let (x, y) = point(&self.key);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.key_id, "use": "sig",
            "alg": "ES256"}]})
    }
}

/// The coordinates of the public point.
fn point(key: &EcdsaKeyPair) -> (String, String) {
    let bytes = &key.public_key().as_ref()[1..];
    let (x, y) = bytes.split_at(bytes.len() / 2);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}
