//! Keyed digests: what stands in an audit record for something short.
//!
//! A plain digest of a short text says what the text is to whoever tries all short texts. So the digests in the audit
//! records of a session are keyed with a key that its journal begins with, and nothing else holds. Who may read the
//! journal reads the text there anyway, and can show that the digest is of it; who has the record alone cannot tell.
//! When a session is erased its key goes with its journal, and from then on nobody can.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the digests in a session's audit records are keyed with. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestKey([u8; 32]);

/// What keyed digests begin with.
pub const KEYED_DIGEST_PREFIX: &str = "b3k:";

impl DigestKey {
    /// A key of these bytes, which nobody can guess.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The keyed digest of a plain one: keyed BLAKE3 of its text, `b3:` included, as `b3k:` and 64 hexadecimal digits.
    ///
    /// What binds content, in permits and approvals, stays the plain digest; so a record can be made of an event that
    /// has only that.
    #[must_use]
    pub fn keyed(&self, digest: &str) -> String {
        format!("{KEYED_DIGEST_PREFIX}{}", blake3::keyed_hash(&self.0, digest.as_bytes()).to_hex())
    }

    /// The digest as a record shows it that has this key, if it has one: journals of before have none.
    #[must_use]
    pub fn show(key: Option<&Self>, digest: &str) -> String {
        key.map_or_else(|| digest.to_owned(), |key| key.keyed(digest))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

impl Serialize for DigestKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for DigestKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = blake3::Hash::from_hex(text.as_bytes());
        let bytes = bytes.map_err(|_| serde::de::Error::custom("a digest key is 64 hexadecimal digits"))?;
        Ok(Self(*bytes.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyed_digest_depends_on_the_key_and_on_the_digest() {
        let (ours, theirs) = (DigestKey::new([1; 32]), DigestKey::new([2; 32]));
        let all = [ours.keyed("b3:1"), ours.keyed("b3:2"), theirs.keyed("b3:1")];
        assert!(all.iter().all(|digest| digest.starts_with(KEYED_DIGEST_PREFIX) && digest.len() == 68));
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2], "{all:?}");
        assert_eq!(ours.keyed("b3:1"), all[0]);
        assert_eq!(DigestKey::show(None, "b3:1"), "b3:1");
    }

    #[test]
    fn a_key_is_text_on_disk_and_nothing_in_a_log() {
        let key = DigestKey::new([0xab; 32]);
        let text = serde_json::to_string(&key).expect("text");
        assert_eq!(text, format!("\"{}\"", "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<DigestKey>(&text).expect("a key"), key);
        assert!(!format!("{key:?}").contains("ab"));
        for wrong in ["\"\"", "\"ab\"", "7", &text.replace("ab", "zz")] {
            assert!(serde_json::from_str::<DigestKey>(wrong).is_err(), "{wrong}");
        }
    }
}
