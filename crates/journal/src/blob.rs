//! References to payloads kept outside the journal, by content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The BLAKE3 digest of a payload, and its length in bytes.
///
/// Prints as `b3:` and 64 hexadecimal digits, a colon and the length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobRef {
    digest: [u8; 32],
    bytes: u64,
}

impl BlobRef {
    /// The reference of `payload`.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self { digest: *blake3::hash(payload).as_bytes(), bytes: payload.len() as u64 }
    }

    /// The reference of a payload that has this digest and so many bytes.
    #[must_use]
    pub fn from_parts(digest: [u8; 32], bytes: u64) -> Self {
        Self { digest, bytes }
    }

    /// What the references of payloads with this digest print with: their length follows.
    #[must_use]
    pub fn prefix(digest: [u8; 32]) -> String {
        format!("b3:{}:", blake3::Hash::from_bytes(digest).to_hex())
    }

    /// The BLAKE3 digest.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The payload's length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for BlobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b3:{}:{}", blake3::Hash::from_bytes(self.digest).to_hex(), self.bytes)
    }
}

impl fmt::Debug for BlobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a blob reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a blob reference of the form `b3:<64 hexadecimal digits>:<bytes>`")]
pub struct BlobRefError;

impl FromStr for BlobRef {
    type Err = BlobRefError;

    fn from_str(text: &str) -> Result<Self, BlobRefError> {
        let (digest, bytes) =
            text.strip_prefix("b3:").and_then(|rest| rest.split_once(':')).ok_or(BlobRefError)?;
        let digest = blake3::Hash::from_hex(digest).map_err(|_| BlobRefError)?;
        Ok(Self { digest: *digest.as_bytes(), bytes: bytes.parse().map_err(|_| BlobRefError)? })
    }
}

impl Serialize for BlobRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
