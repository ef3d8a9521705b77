//! Proofs: that a record is in a tree, and that a tree only grew.

use crate::tree::{TreeError, read_exactly, root_of};
use crate::{Hash, TILE_HEIGHT, TILE_WIDTH, TileId};

/// Where the tiles of a tree are kept.
pub trait Tiles {
    /// Why one cannot be read.
    type Error: std::error::Error;

    /// The hashes of a tile, exactly as many as its width. Where only the full tile is left of a partial one,
    /// they are its first ones.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn tile(&self, id: TileId) -> Result<Vec<Hash>, Self::Error>;
}

/// The hashes that show that record `index`, counted from zero, is in the tree of `size` records, from the
/// leaf up (RFC 6962, section 2.1.1). `None` if the tree has no such record.
///
/// # Errors
/// A tile cannot be read.
pub fn inclusion<T: Tiles>(
    tiles: &T,
    size: u64,
    index: u64,
) -> Result<Option<Vec<Hash>>, TreeError<T::Error>> {
    if index >= size {
        return Ok(None);
    }
    let stored = Stored { tiles, size };
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + left_of(end - start);
        if index < middle {
            path.push(stored.root(middle, end)?);
            end = middle;
        } else {
            path.push(stored.root(start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// The hashes that show that the tree of `size` records begins with the tree of `earlier` records (RFC 6962,
/// section 2.1.2). `None` if `earlier` is more than `size`; nothing needs to be shown for an empty tree or the
/// same one.
///
/// # Errors
/// A tile cannot be read.
pub fn consistency<T: Tiles>(
    tiles: &T,
    earlier: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, TreeError<T::Error>> {
    if earlier > size {
        return Ok(None);
    }
    let stored = Stored { tiles, size };
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    if earlier == 0 || earlier == size {
        return Ok(Some(path));
    }
    while earlier < end {
        let middle = start + left_of(end - start);
        if earlier <= middle {
            path.push(stored.root(middle, end)?);
            end = middle;
        } else {
            path.push(stored.root(start, middle)?);
            start = middle;
        }
    }
    // The earlier root itself is known to whoever asks, unless it ends within a subtree.
    if start > 0 {
        path.push(stored.root(start, end)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree is too small for the record, or for the earlier tree.
    #[error("the tree has too few records for this proof")]
    Outside,
    /// It has more or fewer hashes than such a proof has.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// Checks that the record with the hash `record` is number `index`, from zero, of the tree with this root.
///
/// # Errors
/// The proof does not show it.
pub fn verify_inclusion(
    path: &[Hash],
    record: Hash,
    index: u64,
    size: u64,
    root: Hash,
) -> Result<(), ProofError> {
    // RFC 9162, section 2.1.3.2.
    if index >= size {
        return Err(ProofError::Outside);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, record);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::of_pair(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = Hash::of_pair(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Checks that the tree of `size` records with `root` begins with the tree of `earlier` records with
/// `earlier_root`.
///
/// # Errors
/// The proof does not show it.
pub fn verify_consistency(
    path: &[Hash],
    earlier: u64,
    earlier_root: Hash,
    size: u64,
    root: Hash,
) -> Result<(), ProofError> {
    // RFC 9162, section 2.1.4.2.
    if earlier > size {
        return Err(ProofError::Outside);
    }
    if earlier == size || earlier == 0 {
        let same = if earlier == 0 { earlier_root == Hash::of_nothing() } else { earlier_root == root };
        return match (path.is_empty(), same) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(ProofError::Length),
        };
    }
    let own = [earlier_root];
    let mut hashes = if earlier.is_power_of_two() { own.iter().chain(path) } else { path.iter().chain(&[]) };
    let (mut node, mut last) = (earlier - 1, size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let first = *hashes.next().ok_or(ProofError::Length)?;
    let (mut before, mut after) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            before = Hash::of_pair(sibling, &before);
            after = Hash::of_pair(sibling, &after);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            after = Hash::of_pair(&after, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, before == earlier_root && after == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// The largest power of two below `width`: how much of a tree of that width stands left of its root.
fn left_of(width: u64) -> u64 {
    debug_assert!(width > 1);
    1 << (width - 1).ilog2()
}

struct Stored<'a, T> {
    tiles: &'a T,
    size: u64,
}

impl<T: Tiles> Stored<'_, T> {
    /// The root above the records from `start` to before `end`, a node of the tree.
    fn root(&self, start: u64, end: u64) -> Result<Hash, TreeError<T::Error>> {
        let width = end - start;
        if width.is_power_of_two() {
            return self.complete(start, width);
        }
        let middle = start + left_of(width);
        Ok(Hash::of_pair(&self.complete(start, middle - start)?, &self.root(middle, end)?))
    }

    /// The root above `width` records from `start` on: a power of two of them, and `start` is a multiple of it.
    fn complete(&self, start: u64, width: u64) -> Result<Hash, TreeError<T::Error>> {
        let height = width.ilog2();
        let level = height / TILE_HEIGHT;
        let first = start >> (TILE_HEIGHT * level);
        let within = (first % TILE_WIDTH) as usize;
        let id = TileId::of(self.size, level, first / TILE_WIDTH).expect("it lies within the tree");
        let hashes = read_exactly(self.tiles, id)?;
        Ok(root_of(&hashes[within..within + (1 << (height % TILE_HEIGHT))]))
    }
}
