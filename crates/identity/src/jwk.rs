//! Keys as an issuer publishes them: a JSON Web Key Set (RFC 7517), and what they verify.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;
use tenure_journal::json;

/// Keys of one set; an issuer has a handful.
const KEYS_MAX: usize = 64;

/// How a token may be signed (RFC 7518, section 3; RFC 8037). There is nothing symmetric and no `none` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSA, PKCS#1 v1.5, SHA-256.
    Rs256,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// ECDSA on P-384, SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The word for it in a token's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of a word. Words are compared as they are: `rs256` is none.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == word)
    }
}

/// The keys of an issuer that can verify something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: String,
    /// The one algorithm it is for, where the issuer says so.
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key set that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a JSON object with a list of keys.
    #[error("it is not a key set")]
    Malformed,
    /// More than 64 keys.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

impl KeySet {
    /// Reads a set. Keys that verify nothing here are passed over: symmetric ones, those for encryption, those
    /// without an id, and those of a kind that came later.
    ///
    /// # Errors
    /// `Malformed`, `TooMany`.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        let set = json::parse(bytes).map_err(|_| KeySetError::Malformed)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        Ok(Self { keys: keys.iter().filter_map(read).collect() })
    }

    /// Whether a key has this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// Whether `signature` is that of `message` by a key with this id that is for the algorithm.
    #[must_use]
    pub fn verifies(&self, id: &str, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let fits = |key: &&Key| key.id == id && key.algorithm.is_none_or(|only| only == algorithm);
        self.keys.iter().filter(fits).any(|key| key.public.verifies(algorithm, message, signature))
    }
}

impl Public {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let with =
            |scheme, point: &[u8]| UnparsedPublicKey::new(scheme, point).verify(message, signature).is_ok();
        match (algorithm, self) {
            (Algorithm::Rs256, Self::Rsa { n, e }) => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            (Algorithm::Ps256, Self::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
            }
            (Algorithm::Es256, Self::P256(point)) => with(&ECDSA_P256_SHA256_FIXED, point),
            (Algorithm::Es384, Self::P384(point)) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            (Algorithm::EdDsa, Self::Ed25519(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok()
            }
            (
                Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa,
                Self::Rsa { .. } | Self::P256(_) | Self::P384(_) | Self::Ed25519(_),
            ) => false,
        }
    }
}

fn read(key: &Value) -> Option<Key> {
    let word = |name: &str| key.get(name).and_then(Value::as_str);
    if word("use").is_some_and(|used| used != "sig") {
        return None;
    }
    let number = |name: &str| URL_SAFE_NO_PAD.decode(word(name)?).ok().filter(|bytes| !bytes.is_empty());
    let point = |bytes: usize| {
        let (x, y) = (number("x")?, number("y")?);
        (x.len() == bytes && y.len() == bytes).then(|| [&[0x04][..], &x, &y].concat())
    };
    let public = match (word("kty")?, word("crv")) {
        ("RSA", _) => {
            // A sign byte that some issuers send is not part of the number.
            let n = number("n")?;
            Public::Rsa { n: n.strip_prefix(&[0]).unwrap_or(&n).to_vec(), e: number("e")? }
        }
        ("EC", Some("P-256")) => Public::P256(point(32)?),
        ("EC", Some("P-384")) => Public::P384(point(48)?),
        ("OKP", Some("Ed25519")) => Public::Ed25519(number("x").filter(|x| x.len() == 32)?),
        _ => return None,
    };
    let algorithm = match word("alg") {
        None => None,
        // A key for an algorithm that is none of ours verifies nothing here.
        Some(word) => Some(Algorithm::from_word(word)?),
    };
    Some(Key { id: word("kid").filter(|id| !id.is_empty())?.to_owned(), algorithm, public })
}
