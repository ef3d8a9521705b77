//! The key of one project, and the records it seals.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{SealError, SealErrorKind};
use crate::{KEY_BYTES, aead, random};

/// Where a record belongs. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The project.
    pub project: &'a str,
    /// The record's id, unique within the project.
    pub record: &'a str,
    /// Its version; what is never written twice has version 1.
    pub version: u64,
}

impl Place<'_> {
    fn bound(self) -> Vec<u8> {
        let version = self.version.to_be_bytes();
        aead::bound(&[b"tenure record", self.project.as_bytes(), self.record.as_bytes(), &version])
    }
}

/// The key of one project.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([redacted])")
    }
}

impl DataKey {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, SealError> {
        let bytes = bytes.try_into().map_err(|_| SealErrorKind::Refused)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Its bytes, to derive others from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals a record for its place.
    #[must_use]
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
        aead::seal(&self.0, &place.bound(), plain)
    }

    /// Opens a record that was sealed for this place.
    ///
    /// # Errors
    /// `Refused`.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        aead::open(&self.0, &place.bound(), sealed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_opens_in_its_place_alone() {
        let [key, other] = [(); 2].map(|()| DataKey::generate());
        let place = Place { project: "proj_1", record: "cred_1", version: 3 };
        let sealed = key.seal(place, b"token-123");
        assert!(!sealed.windows(5).any(|window| window == b"token"));
        assert_eq!(key.open(place, &sealed).expect("opens").as_slice(), b"token-123");
        for (what, key, place) in [
            ("another project's key", &other, place),
            ("another project", &key, Place { project: "proj_2", ..place }),
            ("another record", &key, Place { record: "cred_2", ..place }),
            ("an earlier version", &key, Place { version: 2, ..place }),
            ("a border that moved", &key, Place { project: "proj_1c", record: "red_1", ..place }),
        ] {
            let refused = key.open(place, &sealed).expect_err(what);
            assert_eq!(*refused.kind(), SealErrorKind::Refused, "{what}");
        }
        assert!(!format!("{key:?}").contains(&format!("{:?}", key.as_bytes()[0])), "a key is never printed");
    }

    proptest! {
        #[test]
        fn what_was_changed_or_cut_does_not_open(plain in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0..8) {
            let key = DataKey::generate();
            let place = Place { project: "p", record: "r", version: 1 };
            let mut sealed = key.seal(place, &plain);
            let index = at.index(sealed.len());
            prop_assert!(key.open(place, &sealed[..index]).is_err());
            sealed[index] ^= 1u8 << bit;
            prop_assert!(key.open(place, &sealed).is_err());
        }

        #[test]
        fn bytes_from_anywhere_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let place = Place { project: "p", record: "r", version: 1 };
            prop_assert!(DataKey::generate().open(place, &bytes).is_err());
        }
    }
}
