//! Bundles: the records of one tile, each behind its length (C2SP `tlog-tiles`, log entries).

use crate::TILE_WIDTH;

/// The longest record: its length stands in two bytes.
pub const RECORD_BYTES_MAX: usize = u16::MAX as usize;
const LENGTH_BYTES: usize = 2;

/// Up to 256 records that belong to one tile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    bytes: Vec<u8>,
    records: u64,
}

impl Bundle {
    /// A bundle without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record.
    ///
    /// # Errors
    /// `TooLong`: it has more than 65,535 bytes. `Full`: the bundle has 256 records.
    pub fn push(&mut self, record: &[u8]) -> Result<(), BundleError> {
        let length = u16::try_from(record.len()).map_err(|_| BundleError::TooLong)?;
        if self.records == TILE_WIDTH {
            return Err(BundleError::Full);
        }
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(record);
        self.records += 1;
        Ok(())
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Its file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records of a file.
    ///
    /// # Errors
    /// `Cut`: the file ends within a record. `Full`: it has more than 256.
    pub fn read(bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
        let mut records = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(BundleError::Cut)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (record, after) = after.split_at_checked(length).ok_or(BundleError::Cut)?;
            if records.len() as u64 == TILE_WIDTH {
                return Err(BundleError::Full);
            }
            records.push(record);
            rest = after;
        }
        Ok(records)
    }
}

/// What is wrong with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A record is longer than its length can say.
    #[error("a record has at most 65,535 bytes")]
    TooLong,
    /// There are more records than a tile has hashes.
    #[error("a bundle has at most 256 records")]
    Full,
    /// It ends within a record.
    #[error("the bundle ends within a record")]
    Cut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went_in() {
        let mut bundle = Bundle::new();
        let longest = vec![7; RECORD_BYTES_MAX];
        for record in [&b""[..], b"a", &longest] {
            bundle.push(record).expect("fits");
        }
        assert_eq!(Bundle::read(bundle.as_bytes()), Ok(vec![&b""[..], b"a", &longest]));
        assert_eq!(bundle.len(), 3);
        assert_eq!(bundle.push(&vec![7; RECORD_BYTES_MAX + 1]), Err(BundleError::TooLong));
        assert_eq!(Bundle::read(&bundle.as_bytes()[..4]), Err(BundleError::Cut));
        for _ in 3..TILE_WIDTH {
            bundle.push(b"x").expect("fits");
        }
        assert_eq!(bundle.push(b"x"), Err(BundleError::Full));
        let more = [bundle.as_bytes(), &[0, 0]].concat();
        assert_eq!(Bundle::read(&more), Err(BundleError::Full));
    }
}
