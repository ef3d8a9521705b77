//! What a token must be to be accepted, written down before it comes.

use serde_json::Value;

use crate::{Algorithm, Claims, KeySet, Token, TokenError, TokenErrorKind};

/// Seconds by which clocks may differ.
const LEEWAY: i64 = 60;
/// Characters of a subject (OpenID Connect Core, section 2).
const SUBJECT_CHARS_MAX: usize = 255;
/// Kinds of tokens that say who somebody is: an ID token, or an access token after RFC 9068. A token without a
/// kind is an ID token of a provider that does not say so; logout tokens and others always do.
const TYPES: &[&str] = &["jwt", "at+jwt", "application/at+jwt"];

/// The rules for the tokens of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The issuer, byte for byte.
    pub issuer: String,
    /// For whom tokens must be.
    pub audience: String,
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
    /// The claim that lists groups.
    pub groups_claim: String,
}

impl Rules {
    /// What a token says, if it is one of the issuer's for this audience, signed by one of `keys`, at `now` in
    /// seconds since 1970.
    ///
    /// # Errors
    /// Every kind but those of [`Token::parse`].
    pub fn check(&self, token: &Token, keys: &KeySet, now: i64) -> Result<Claims, TokenError> {
        let refuse = |kind: TokenErrorKind| Err(TokenError::from(kind));
        let algorithm =
            Algorithm::from_word(&token.algorithm).filter(|found| self.algorithms.contains(found));
        let Some(algorithm) = algorithm else { return refuse(TokenErrorKind::Algorithm) };
        if !keys.has(&token.key_id) {
            return refuse(TokenErrorKind::Key);
        }
        if !keys.verifies(&token.key_id, algorithm, token.signed.as_bytes(), &token.signature) {
            return refuse(TokenErrorKind::Signature);
        }
        let known = |kind: &String| TYPES.contains(&kind.to_ascii_lowercase().as_str());
        // A security event, such as a logout, says nothing about who sends it (RFC 8417, section 4.5).
        if !token.kind.as_ref().is_none_or(known) || token.payload.contains_key("events") {
            return refuse(TokenErrorKind::Type);
        }
        if token.payload.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return refuse(TokenErrorKind::Issuer);
        }
        if !self.is_for_us(token) {
            return refuse(TokenErrorKind::Audience);
        }
        let expires_at = seconds(token, "exp")?.ok_or(TokenErrorKind::Claims)?;
        if now >= expires_at.saturating_add(LEEWAY) {
            return refuse(TokenErrorKind::Expired);
        }
        for name in ["nbf", "iat"] {
            if seconds(token, name)?.is_some_and(|from| from > now.saturating_add(LEEWAY)) {
                return refuse(TokenErrorKind::NotYet);
            }
        }
        let subject = token.payload.get("sub").and_then(Value::as_str);
        let subject = subject.filter(|text| !text.is_empty() && text.chars().count() <= SUBJECT_CHARS_MAX);
        let subject = subject.ok_or(TokenErrorKind::Claims)?;
        Ok(Claims::read(&self.issuer, subject, expires_at, &token.payload, &self.groups_claim))
    }

    /// A token for several must say that it was asked for by this one (OpenID Connect Core, section 3.1.3.7).
    fn is_for_us(&self, token: &Token) -> bool {
        match token.payload.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(audiences)) => {
                let is_among = audiences.iter().any(|audience| audience.as_str() == Some(&self.audience));
                let party = token.payload.get("azp").map(|party| party.as_str() == Some(&self.audience));
                is_among && (audiences.len() == 1 || party == Some(true))
            }
            Some(_) | None => false,
        }
    }
}

/// A time, as whole or broken seconds since 1970.
fn seconds(token: &Token, name: &str) -> Result<Option<i64>, TokenError> {
    match token.payload.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the strict reader admits 53 bits; more is no time"
            )]
            let broken = number.as_f64().filter(|seconds| seconds.abs() < 1e15).map(|seconds| seconds as i64);
            number.as_i64().or(broken).map(Some).ok_or_else(|| TokenErrorKind::Claims.into())
        }
        Some(_) => Err(TokenErrorKind::Claims.into()),
    }
}
