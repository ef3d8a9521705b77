//! Signing: the symmetric scheme `v1` of Standard Webhooks.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What every secret's text begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret made here.
pub const SECRET_BYTES: usize = 32;
/// Bytes a secret may have, as the specification says.
const SECRET_BYTES_RANGE: RangeInclusive<usize> = 24..=64;
/// Characters of a secret that are shown to recognise it by: 24 bits.
const HINT_CHARS: usize = 4;

/// A secret that sender and receiver share. Never printed.
#[derive(Clone)]
pub struct SigningSecret {
    text: String,
    key: hmac::Key,
}

/// Text that is not a signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct SigningSecretError;

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret([redacted])")
    }
}

impl SigningSecret {
    /// The secret of these random bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8; SECRET_BYTES]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { text: format!("{PREFIX}{}", STANDARD.encode(bytes)), key }
    }

    /// The secret of a text.
    ///
    /// # Errors
    /// The text is not `whsec_` and the base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, SigningSecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SigningSecretError)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SigningSecretError)?;
        if !SECRET_BYTES_RANGE.contains(&bytes.len()) {
            return Err(SigningSecretError);
        }
        Ok(Self { text: text.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The text, for the one answer that hands it over and for sealing it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Enough of the text to recognise it by.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = self.text.trim_end_matches('=');
        format!("{PREFIX}...{}", &text[text.len() - HINT_CHARS..])
    }

    /// One signature of the `webhook-signature` header. `timestamp` is in seconds since the epoch.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signed = hmac::sign(&self.key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(signed.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification and of its reference libraries.
    #[test]
    fn signs_as_the_specification_does() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_part_is_signed() {
        let secret = SigningSecret::of_bytes(&[7; SECRET_BYTES]);
        let signature = secret.sign("a", 1, "b");
        for other in [secret.sign("c", 1, "b"), secret.sign("a", 2, "b"), secret.sign("a", 1, "c")] {
            assert_ne!(signature, other);
        }
        assert_eq!(SigningSecret::parse(secret.expose()).expect("a secret").sign("a", 1, "b"), signature);
        assert_ne!(SigningSecret::of_bytes(&[8; SECRET_BYTES]).sign("a", 1, "b"), signature);
    }

    #[test]
    fn a_secret_has_its_form_and_is_not_printed() {
        let of = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![1; bytes]));
        for (text, accepted) in [
            (of(24), true),
            (of(64), true),
            (of(23), false),
            (of(65), false),
            (of(32).replace(PREFIX, "secret_"), false),
            (format!("{PREFIX}not base64!"), false),
            (String::new(), false),
        ] {
            assert_eq!(SigningSecret::parse(&text).is_ok(), accepted, "{text}");
        }
        let secret = SigningSecret::of_bytes(&[1; SECRET_BYTES]);
        assert!(!format!("{secret:?}").contains(&secret.expose()[6..]));
        assert_eq!(secret.hint().len(), PREFIX.len() + 3 + HINT_CHARS);
        assert!(!secret.hint().contains('='));
    }
}
