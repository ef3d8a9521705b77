//! The handshake between a server and an executor, and the records behind it.
//!
//! `Noise_hybridIK_25519+MLKEM768_AESGCM_SHA256`: Noise's IK pattern in which every exchange over X25519
//! is joined by one over ML-KEM-768, so that what is recorded today stays closed to a quantum computer.
//!
//! ```text
//!     ← s                              the server knows the executor's key from its registration
//!     ...
//!     → skem, e, es, s, ss             payload: the authorization that the server issued to its own key
//!     ← ekem, skem, e, ee, se          payload: empty
//! ```
//!
//! The server initiates: it pins the executor's static key and so cannot be fooled by whoever holds the
//! socket. The executor answers only after it asked the registry, over its own authenticated channel,
//! whether the key that the first message proved may use it. Each step is one type that the next one
//! consumes ([`handshake`]), so data before the end of a handshake has no place to go.
//!
//! After the [Noise specification](https://noiseprotocol.org/noise.html), revision 34, with the tokens
//! `ekem` and `skem` of [PQNoise](https://eprint.iacr.org/2022/539); ciphertexts of a static key are
//! encrypted once a key exists and mixed into key and hash, those of an ephemeral key are sent openly and
//! mixed into the key alone. Randomness is an argument, see [`Random`].

pub mod handshake;
mod keys;
mod symmetric;
mod transport;

pub use keys::{Identity, IdentitySeed, PublicKey, Random};
pub use transport::{Opener, Sealer};

/// What the registry calls the suite. The handshake's own name spells the curve as Noise does.
pub const SUITE: &str = "Noise_hybridIK_X25519+MLKEM768_AESGCM_SHA256";
const PROTOCOL_NAME: &[u8] = b"Noise_hybridIK_25519+MLKEM768_AESGCM_SHA256";
const PROLOGUE_DOMAIN: &str = "codex-exec-server-relay-noise/v1";
/// Bytes of any Noise message.
const NOISE_BYTES_MAX: usize = 65_535;
/// Bytes of the authorization in the first message.
pub const AUTHORIZATION_BYTES_MAX: usize = 4096;

/// Why a handshake or a record failed. Says nothing about secrets, and nothing an attacker could use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// A public key is not one of this suite.
    #[error("the public key is invalid: {0}")]
    PublicKey(&'static str),
    /// A message is shorter or longer than it can be.
    #[error("the message of the handshake has the wrong length")]
    Length,
    /// A message was not made by who it should come from, for this stream, or was changed on the way.
    #[error("the message is not authentic")]
    NotAuthentic,
    /// The authorization is too long, or a message carries a payload that has no place in it.
    #[error("the payload of the handshake is invalid: {0}")]
    Payload(&'static str),
    /// A direction has used all its nonces.
    #[error("the connection has used all its nonces")]
    Exhausted,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    NoRandomness,
}

/// What both sides must agree on before they begin: which environment, which registration, which stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prologue(Vec<u8>);

impl Prologue {
    /// Four values, each after its length in eight big-endian bytes.
    pub fn new(environment_id: &str, registration_id: &str, stream_id: &str) -> Self {
        let mut bytes = Vec::new();
        for part in [PROLOGUE_DOMAIN, environment_id, registration_id, stream_id] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Prologue;

    #[test]
    fn the_prologue_tells_its_parts_apart() {
        let expected = b"\0\0\0\0\0\0\0\x20codex-exec-server-relay-noise/v1\
            \0\0\0\0\0\0\0\x05env-1\0\0\0\0\0\0\0\x0eregistration-1\0\0\0\0\0\0\0\x08stream-1";
        assert_eq!(Prologue::new("env-1", "registration-1", "stream-1").as_bytes(), expected);
        assert_ne!(Prologue::new("a", "bc", "d"), Prologue::new("ab", "c", "d"));
    }
}
