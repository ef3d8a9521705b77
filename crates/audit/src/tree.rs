//! A tree that grows at its right edge.

use crate::{Hash, TILE_WIDTH, TileId, Tiles};

/// A tile and its hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Which.
    pub id: TileId,
    /// As many as its width.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// The bytes of its file: its hashes one after the other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.as_bytes()).copied().collect()
    }
}

/// The right edge of a tree: its size and its partial tiles, enough to grow it and to know its root.
///
/// It takes at most 255 hashes a level: 8 KiB for a tree of 65,535 records, 16 KiB for one of 16 million.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// The hashes of the partial tile of each level, from the leaves up. INVARIANT: fewer than 256 each.
    levels: Vec<Vec<Hash>>,
}

/// Why a tree cannot be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// A tile could not be read.
    #[error("{id}: {error}")]
    Read {
        /// Which.
        id: TileId,
        /// Why.
        error: E,
    },
    /// A tile has another number of hashes than the size of the tree says.
    #[error("{id} has {found} hashes")]
    Width {
        /// Which.
        id: TileId,
        /// How many it has.
        found: usize,
    },
}

impl Tree {
    /// A tree without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The partial tiles that a tree of `size` records is gone on with.
    pub fn edge(size: u64) -> impl Iterator<Item = TileId> {
        (0..)
            .map_while(move |level| Some((level, last_tile(size, level)?)))
            .filter_map(move |(level, index)| TileId::of(size, level, index).filter(|id| !id.is_full()))
    }

    /// The tree of `size` records whose partial tiles are kept.
    ///
    /// # Errors
    /// A tile cannot be read, or is not as wide as it has to be.
    pub fn resume<T: Tiles>(size: u64, tiles: &T) -> Result<Self, TreeError<T::Error>> {
        let mut levels = Vec::new();
        let mut level = 0;
        while let Some(index) = last_tile(size, level) {
            let hashes = match TileId::of(size, level, index) {
                Some(id) if !id.is_full() => read_exactly(tiles, id)?,
                Some(_) | None => Vec::new(),
            };
            levels.push(hashes);
            level += 1;
        }
        Ok(Self { size, levels })
    }

    /// How many records it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a record by its hash. Tiles that are full from now on are appended to `full`.
    pub fn push(&mut self, record: Hash, full: &mut Vec<Tile>) {
        self.size += 1;
        let mut hash = record;
        for level in 0_u32.. {
            let depth = level as usize;
            if self.levels.len() == depth {
                self.levels.push(Vec::new());
            }
            self.levels[depth].push(hash);
            if (self.levels[depth].len() as u64) < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(&mut self.levels[depth]);
            hash = root_of(&hashes);
            // The tile that the newest record filled is the last one of its level.
            let index = last_tile(self.size, level).expect("a level that has a full tile");
            let id = TileId::of(self.size, level, index).expect("its last tile is not empty");
            full.push(Tile { id, hashes });
        }
    }

    /// The tiles at the right edge that are not full: what to keep, beside the full ones, to go on later.
    #[must_use]
    pub fn partial_tiles(&self) -> Vec<Tile> {
        let partial = self.levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty());
        partial
            .map(|(level, hashes)| {
                let level = u32::try_from(level).expect("a tree of 2^64 records has eight levels");
                let index = last_tile(self.size, level).expect("a level that has hashes");
                let id = TileId::of(self.size, level, index).expect("its last tile is not empty");
                Tile { id, hashes: hashes.clone() }
            })
            .collect()
    }

    /// The hash of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut root = None;
        for hashes in &self.levels {
            // From right to left: the smallest complete subtree stands at the right edge.
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let width = 1 << rest.len().trailing_zeros();
                let (left, peak) = rest.split_at(rest.len() - width);
                let peak = root_of(peak);
                root = Some(root.map_or(peak, |right| Hash::of_pair(&peak, &right)));
                rest = left;
            }
        }
        root.unwrap_or_else(Hash::of_nothing)
    }
}

/// The index of the last tile of a level; `None` for a level without hashes.
fn last_tile(size: u64, level: u32) -> Option<u64> {
    let hashes = size.checked_shr(crate::TILE_HEIGHT * level)?;
    hashes.checked_sub(1).map(|last| last / TILE_WIDTH)
}

pub(crate) fn read_exactly<T: Tiles>(tiles: &T, id: TileId) -> Result<Vec<Hash>, TreeError<T::Error>> {
    let hashes = tiles.tile(id).map_err(|error| TreeError::Read { id, error })?;
    if hashes.len() as u64 != id.width() {
        return Err(TreeError::Width { id, found: hashes.len() });
    }
    Ok(hashes)
}

/// The root above a power of two of hashes.
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two());
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Hash::of_pair(&root_of(left), &root_of(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records and roots that implementations of Certificate Transparency compare themselves by.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let records: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::new();
        let hex = |hash: Hash| hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (record, root) in records.iter().zip(roots) {
            tree.push(Hash::of_record(record), &mut Vec::new());
            assert_eq!(hex(tree.root()), root, "{} records", tree.size());
        }
    }

    #[test]
    fn tiles_are_full_when_they_are_and_the_rest_is_kept() {
        let mut tree = Tree::new();
        let mut full = Vec::new();
        for number in 0..70_000_u64 {
            tree.push(Hash::of_record(&number.to_be_bytes()), &mut full);
        }
        let of_level = |level| full.iter().filter(|tile| tile.id.level() == level).count();
        assert_eq!((of_level(0), of_level(1), of_level(2)), (273, 1, 0));
        let partial: Vec<_> = tree.partial_tiles().iter().map(|tile| tile.id.to_string()).collect();
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    }
}
