//! The envelope: a JSON Web Signature in its compact form (RFC 7515), taken apart and not believed yet.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use tenure_journal::json;

/// Bytes of one token. A person in very many groups has some four thousand.
pub const TOKEN_BYTES_MAX: usize = 12 * 1024;
/// Bytes of the id of a key.
const KEY_ID_BYTES_MAX: usize = 256;

/// A token that was read. Nothing in it is true before [`crate::Rules::check`] said so.
#[derive(Clone)]
pub struct Token {
    /// What is signed: header and payload as they came.
    pub(crate) signed: String,
    pub(crate) algorithm: String,
    pub(crate) key_id: String,
    pub(crate) kind: Option<String>,
    pub(crate) payload: Map<String, Value>,
    pub(crate) signature: Vec<u8>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct TokenError {
    kind: TokenErrorKind,
}

impl TokenError {
    /// What is wrong with it.
    #[must_use]
    pub fn kind(self) -> TokenErrorKind {
        self.kind
    }
}

impl From<TokenErrorKind> for TokenError {
    fn from(kind: TokenErrorKind) -> Self {
        Self { kind }
    }
}

/// What can be wrong with a token. For logs: whoever sent it is told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenErrorKind {
    /// More than [`TOKEN_BYTES_MAX`].
    #[error("it is too long")]
    TooLong,
    /// Not three parts of base64url with a JSON object in the first two.
    #[error("it is not a signed token")]
    Malformed,
    /// It says that a header must be understood, and none of those is.
    #[error("it asks for an extension")]
    Critical,
    /// Signed in a way that this issuer's tokens are not.
    #[error("its algorithm is not one of the issuer's")]
    Algorithm,
    /// No key is named, or none of that name is the issuer's.
    #[error("its key is none of the issuer's")]
    Key,
    /// The signature is not that of the key.
    #[error("its signature is wrong")]
    Signature,
    /// It is another kind of token.
    #[error("it is a token for something else")]
    Type,
    /// From somebody else.
    #[error("it is from another issuer")]
    Issuer,
    /// For somebody else.
    #[error("it is for another audience")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// A claim that must be there is not, or is no such thing.
    #[error("a claim is missing or malformed")]
    Claims,
}

/// Whether text has the form of a token: worth being read as one, and never an API key made here.
#[must_use]
pub fn looks_like_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Token {
    /// Takes a token apart.
    ///
    /// # Errors
    /// `TooLong`, `Malformed`, `Critical`, `Key` for one that names none.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenErrorKind::TooLong.into());
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenErrorKind::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenErrorKind::Malformed)?;
        let header = object(header)?;
        // Whatever it is, a reader that does not know it must refuse the token (section 4.1.11).
        if header.contains_key("crit") {
            return Err(TokenErrorKind::Critical.into());
        }
        let word = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TokenErrorKind::Malformed),
        };
        let algorithm = word("alg")?.ok_or(TokenErrorKind::Malformed)?;
        let key_id = word("kid")?.filter(|id| !id.is_empty() && id.len() <= KEY_ID_BYTES_MAX);
        Ok(Self {
            algorithm,
            key_id: key_id.ok_or(TokenErrorKind::Key)?,
            kind: word("typ")?,
            payload: object(payload)?,
            signature: decoded(signature)?,
            signed: signed.to_owned(),
        })
    }

    /// The value that ties it to one sign-in, as it says.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.payload.get("nonce").and_then(Value::as_str)
    }

    /// When it ends, as it says, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        self.payload.get("exp").and_then(Value::as_i64)
    }

    /// The id of the key that is said to have signed it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenErrorKind::Malformed.into())
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    match json::parse(&decoded(part)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(TokenErrorKind::Malformed.into()),
    }
}
