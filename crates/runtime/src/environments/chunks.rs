//! The chunks of workspaces as payloads of the store.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tenure_journal::ProjectId;
use tenure_store::Store;
use tenure_workspace::{Chunks, Digest, Error, ErrorKind, Generation, Hold, Limit};
use tokio::runtime::Handle;

use crate::collect::SNAPSHOT_MAX;

/// Payloads that are written at once: as many as share a commit.
const WRITES_AT_ONCE: usize = 64;

/// One project's chunks, for one attempt. Used from threads that may block, within a runtime.
pub(crate) struct StoreChunks {
    store: Arc<dyn Store>,
    project: ProjectId,
    pub(super) handle: Handle,
    /// When the first chunk was written.
    began: OnceLock<Instant>,
}

impl StoreChunks {
    pub(crate) fn new(store: Arc<dyn Store>, project: ProjectId, handle: Handle) -> Self {
        Self { store, project, handle, began: OnceLock::new() }
    }
}

impl Chunks for StoreChunks {
    fn read(&self, digest: &Digest, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let found = self.handle.block_on(self.store.blob_by_digest(self.project, *digest.as_bytes()));
        let payload = found.map_err(Error::chunks)?.ok_or_else(|| Error::new(ErrorKind::Missing(*digest)))?;
        if payload.len() > bytes_max {
            return Err(Error::from(Limit::Bytes(bytes_max as u64)));
        }
        Ok(payload.into())
    }

    /// All of them: the store keeps what it has, and a snapshot asks only for what its cache does not know.
    fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        Ok(digests.to_vec())
    }

    fn write(&self, batch: &[(Digest, Vec<u8>)]) -> Result<(), Error> {
        if self.began.get_or_init(Instant::now).elapsed() > SNAPSHOT_MAX {
            // What was written first may be collected before anyone could refer to it.
            return Err(Error::chunks(std::io::Error::other("the snapshot takes too long")));
        }
        let puts =
            batch.iter().map(|(_, bytes)| self.store.put_blob(self.project, Bytes::copy_from_slice(bytes)));
        let puts = stream::iter(puts).buffer_unordered(WRITES_AT_ONCE).try_collect::<Vec<_>>();
        self.handle.block_on(puts).map(drop).map_err(Error::chunks)
    }

    /// Stamps protect what is written, and the journal what is not: see `collect.rs`.
    fn hold(&self) -> Result<Hold, Error> {
        Ok(Hold::new(Generation::default(), || {}))
    }
}
