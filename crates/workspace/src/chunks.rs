//! Where chunks are kept, and what keeps a collector away from a snapshot in progress.
//!
//! ```text
//!   snapshot                                collector
//!     hold ─────────── generation g           advance ── before = oldest hold, or a new generation
//!     missing, write   stamp ≥ g              list the live roots, in one consistent read
//!     commit the root                         mark what they reach
//!     release                                 delete what is unmarked and stamped < before
//! ```
//!
//! Why nothing live is deleted. Take a chunk of a root that is committed at some moment, and a collection.
//! If the root was listed, the chunk was marked. If it was not listed, its commit came after the listing, and
//! its hold is released only after its commit. Either that hold was open when the collection advanced, and
//! then `before` is at most its generation; or it was taken later, and then its generation is at least the
//! new one, of which `before` is at most. Either way every chunk the snapshot wrote or found present is
//! stamped with at least `before` and is left alone. A chunk it did not look at, because its cache said so,
//! belongs to the base, which the caller vouches for: that root is live until this one takes its place.
//! `tests/collect.rs` runs every such interleaving against a model.

mod directory;
mod memory;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use directory::DirectoryChunks;
pub use memory::MemoryChunks;

use crate::{Digest, Error, ErrorKind};

/// A store of immutable bytes under their digests.
///
/// Callers verify what they read, so a store need not. One store is one unit of tenancy: chunks are shared
/// by all snapshots in it, and whether a chunk is present can be felt through the time a snapshot takes.
pub trait Chunks: Send + Sync {
    /// The bytes under `digest`.
    ///
    /// # Errors
    /// `Missing`; `Limit`: there are more than `bytes_max` of them, which is found before they are read;
    /// `Chunks`: the store failed.
    fn read(&self, digest: &Digest, bytes_max: usize) -> Result<Vec<u8>, Error>;

    /// Those of `digests` that the store does not have. The others are stamped with the current generation,
    /// in one step with finding them, so that they are not collected under an open [`Hold`].
    ///
    /// # Errors
    /// `Chunks`: the store failed.
    fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error>;

    /// Keeps all of `batch`, stamped with the current generation. Durable when it returns; keeping what is
    /// kept already stamps it again. After a failure some may be kept.
    ///
    /// # Errors
    /// `Chunks`: the store failed.
    fn write(&self, batch: &[(Digest, Vec<u8>)]) -> Result<(), Error>;

    /// Begins a snapshot: until the hold is dropped, nothing that is found or written is collected.
    ///
    /// # Errors
    /// `Chunks`: the store failed.
    fn hold(&self) -> Result<Hold, Error>;
}

/// A chunk store that can be collected.
pub trait Collect: Chunks {
    /// Begins a new generation and returns the one before which stamps are no protection: that of the
    /// oldest open hold, or the new one.
    ///
    /// # Errors
    /// `Chunks`: the store failed.
    fn advance(&self) -> Result<Generation, Error>;

    /// Deletes every chunk that is not in `live` and whose stamp is older than `before`; looking at the stamp
    /// and deleting are one step against [`Chunks::missing`] and [`Chunks::write`].
    ///
    /// # Errors
    /// `Chunks`: the store failed; some may be deleted, none of them live.
    fn sweep(&self, live: &HashSet<Digest>, before: Generation) -> Result<Swept, Error>;
}

/// A count of collections, by which stamps and holds are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation(pub u64);

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Chunks that remain.
    pub kept: u64,
    /// Chunks that were deleted.
    pub deleted: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
}

/// The right to refer to what the store has. Take it before a snapshot, drop it after the root is committed
/// or given up.
#[must_use = "a hold that is dropped protects nothing"]
pub struct Hold {
    generation: Generation,
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl Hold {
    /// A hold of a store's own making, which calls `release` when it is dropped.
    pub fn new(generation: Generation, release: impl FnOnce() + Send + 'static) -> Self {
        Self { generation, release: Some(Box::new(release)) }
    }

    /// The generation it was taken in.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// The generations and open holds of a store that one process uses. A store that several nodes share keeps
/// them in its database, each hold under a lease that outlives the longest snapshot.
#[derive(Debug, Clone, Default)]
pub struct Generations(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    current: Generation,
    holds: BTreeMap<Generation, u64>,
}

impl Generations {
    /// The current generation, which new stamps get.
    #[must_use]
    pub fn current(&self) -> Generation {
        self.lock().current
    }

    /// Takes a hold in the current generation.
    pub fn hold(&self) -> Hold {
        let generation = {
            let mut open = self.lock();
            let current = open.current;
            *open.holds.entry(current).or_default() += 1;
            current
        };
        let this = self.clone();
        Hold::new(generation, move || this.release(generation))
    }

    /// [`Collect::advance`].
    pub fn advance(&self) -> Generation {
        let mut open = self.lock();
        open.current = Generation(open.current.0 + 1);
        open.holds.keys().next().copied().unwrap_or(open.current)
    }

    fn release(&self, generation: Generation) {
        let mut open = self.lock();
        if let Some(count) = open.holds.get_mut(&generation) {
            *count -= 1;
            if *count == 0 {
                open.holds.remove(&generation);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a chunk and verifies it.
///
/// # Errors
/// Those of [`Chunks::read`], and `Corrupt`.
pub(crate) fn read_verified(
    chunks: &dyn Chunks,
    digest: &Digest,
    bytes_max: usize,
) -> Result<Vec<u8>, Error> {
    let bytes = chunks.read(digest, bytes_max)?;
    if Digest::of(&bytes) != *digest {
        return Err(ErrorKind::Corrupt(*digest).into());
    }
    Ok(bytes)
}
