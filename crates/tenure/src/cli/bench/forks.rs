//! Forking sessions whose environments hold few files and many.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tenure_journal::{ProjectId, WorkspaceRoot};
use tenure_session::Point;
use tenure_store::Store;
use tenure_workspace::{
    Chunks, Digest, Error, ErrorKind, Generation, Hold, Limits, Place, StatCache, snapshot,
};
use tokio::runtime::Handle;

use super::lab::{self, Lab};
use super::{Benchmark, Row, failed, median};
use crate::cli::error::CliError;

/// Files of the environments: a small one, and one like a checked out project with its packages.
const FILES: [usize; 2] = [10, 31_000];
/// Files in one directory.
const FILES_PER_DIRECTORY: usize = 100;
/// How often each is forked.
const FORKS: usize = 30;
/// Payloads that are stored at once.
const WRITES_AT_ONCE: usize = 64;
const GOAL: &str = "at most 5 ms, however many files";

pub(super) async fn measure(parent: &Path) -> Result<Vec<Row>, CliError> {
    let directory = lab::directory(parent)?;
    let lab = Lab::open(&directory.path().join("data")).await?;
    let mut rows = Vec::new();
    for count in FILES {
        let chunks = StoreChunks {
            store: Arc::clone(&lab.store) as Arc<dyn Store>,
            project: lab.project(),
            handle: Handle::current(),
        };
        let place = directory.path().join(format!("{count} files"));
        let taken = tokio::task::spawn_blocking(move || tree(&place, count, &chunks)).await;
        let root = taken.map_err(|error| failed("writing files", error))?;
        let conversation = lab.converse_in(root.map_err(|error| failed("writing files", error))?).await?;
        let mut took = Vec::new();
        for _ in 0..FORKS {
            let began = Instant::now();
            let forked = lab.runtime.fork(conversation.key, Point::Latest, None).await;
            forked.map_err(|error| failed("forking", error))?;
            took.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        let what = format!("forking a session with {count} files, median");
        rows.push(Row::new(Benchmark::Forks, what, median(took), "ms").goal(GOAL));
    }
    lab.close().await?;
    Ok(rows)
}

/// So many files, each with a content of its own, in the store. Blocks.
fn tree(at: &Path, count: usize, chunks: &StoreChunks) -> Result<WorkspaceRoot, Error> {
    let place = Place::open(at)?;
    let files = at.join("files");
    for number in 0..count {
        let directory = files.join(format!("{:04}", number / FILES_PER_DIRECTORY));
        if number % FILES_PER_DIRECTORY == 0 {
            std::fs::create_dir(&directory)?;
        }
        std::fs::write(directory.join(format!("{number:05}.txt")), format!("file {number} of {count}\n"))?;
    }
    let (hold, mut cache) = (chunks.hold()?, StatCache::default());
    let taken = snapshot(&place.files()?, chunks, &hold, None, &mut cache, &Limits::default())?;
    Ok(WorkspaceRoot::new(*taken.root.as_bytes()))
}

/// Chunks as payloads, as a server keeps them.
struct StoreChunks {
    store: Arc<dyn Store>,
    project: ProjectId,
    handle: Handle,
}

impl Chunks for StoreChunks {
    fn read(&self, digest: &Digest, _: usize) -> Result<Vec<u8>, Error> {
        let found = self.handle.block_on(self.store.blob_by_digest(self.project, *digest.as_bytes()));
        let payload = found.map_err(Error::chunks)?.ok_or_else(|| Error::new(ErrorKind::Missing(*digest)))?;
        Ok(payload.into())
    }

    fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        Ok(digests.to_vec())
    }

    fn write(&self, batch: &[(Digest, Vec<u8>)]) -> Result<(), Error> {
        let puts =
            batch.iter().map(|(_, bytes)| self.store.put_blob(self.project, Bytes::copy_from_slice(bytes)));
        let puts = stream::iter(puts).buffer_unordered(WRITES_AT_ONCE).try_collect::<Vec<_>>();
        self.handle.block_on(puts).map(drop).map_err(Error::chunks)
    }

    fn hold(&self) -> Result<Hold, Error> {
        Ok(Hold::new(Generation::default(), || {}))
    }
}
