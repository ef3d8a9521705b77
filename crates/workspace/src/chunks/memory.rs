//! Chunks in memory: the model of every other store.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Chunks, Collect, Generation, Generations, Hold, Swept};
use crate::{Digest, Error, ErrorKind, Limit};

/// Chunks in memory.
#[derive(Debug, Default)]
pub struct MemoryChunks {
    generations: Generations,
    held: Mutex<HashMap<Digest, Held>>,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    stamp: Generation,
}

impl MemoryChunks {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many chunks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Puts `bytes` under `digest` without a look at either: how tests damage a store.
    pub fn put(&self, digest: Digest, bytes: Vec<u8>) {
        let stamp = self.generations.current();
        self.lock().insert(digest, Held { bytes, stamp });
    }

    /// Takes a chunk away.
    pub fn remove(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.lock().remove(digest).map(|held| held.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunks for MemoryChunks {
    fn read(&self, digest: &Digest, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let held = self.lock();
        let held = held.get(digest).ok_or(ErrorKind::Missing(*digest))?;
        if held.bytes.len() > bytes_max {
            return Err(Limit::FileBytes(bytes_max as u64).into());
        }
        Ok(held.bytes.clone())
    }

    fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let mut held = self.lock();
        let stamp = self.generations.current();
        let mut missing = Vec::new();
        for digest in digests {
            match held.get_mut(digest) {
                Some(held) => held.stamp = stamp,
                None => missing.push(*digest),
            }
        }
        Ok(missing)
    }

    fn write(&self, batch: &[(Digest, Vec<u8>)]) -> Result<(), Error> {
        let mut held = self.lock();
        let stamp = self.generations.current();
        for (digest, bytes) in batch {
            held.insert(*digest, Held { bytes: bytes.clone(), stamp });
        }
        Ok(())
    }

    fn hold(&self) -> Result<Hold, Error> {
        Ok(self.generations.hold())
    }
}

impl Collect for MemoryChunks {
    fn advance(&self) -> Result<Generation, Error> {
        Ok(self.generations.advance())
    }

    fn sweep(&self, live: &HashSet<Digest>, before: Generation) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        self.lock().retain(|digest, held| {
            let keep = live.contains(digest) || held.stamp >= before;
            if keep {
                swept.kept += 1;
            } else {
                swept.deleted += 1;
                swept.deleted_bytes += held.bytes.len() as u64;
            }
            keep
        });
        Ok(swept)
    }
}
