//! The hashes of a tree: SHA-256, with leaves and nodes told apart (RFC 6962, section 2.1).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{self, SHA256};

/// A hash of a record, of a pair of hashes, or of a whole tree.
///
/// Prints as base64, 44 characters, as checkpoints and proofs write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Self::BYTES]);

impl Hash {
    /// How long a hash is.
    pub const BYTES: usize = 32;

    /// The hash that is these bytes.
    #[must_use]
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The hash of a tree without records.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self::of(&[])
    }

    /// The hash of one record.
    #[must_use]
    pub fn of_record(record: &[u8]) -> Self {
        Self::of(&[&[0], record])
    }

    /// The hash of two subtrees side by side.
    #[must_use]
    pub fn of_pair(left: &Self, right: &Self) -> Self {
        let mut input = [1; 1 + 2 * Self::BYTES];
        input[1..=Self::BYTES].copy_from_slice(&left.0);
        input[1 + Self::BYTES..].copy_from_slice(&right.0);
        Self::of(&[&input])
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The hashes that `bytes` are, one after the other; `None` if a part of one is left over.
    #[must_use]
    pub fn many(bytes: &[u8]) -> Option<Vec<Self>> {
        let (hashes, rest) = bytes.as_chunks::<{ Self::BYTES }>();
        rest.is_empty().then(|| hashes.iter().copied().map(Self).collect())
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// Text that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: 32 bytes in base64 are expected")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = STANDARD.decode(text).map_err(|_| HashError)?;
        Ok(Self(bytes.try_into().map_err(|_| HashError)?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
