//! Forking sessions whose environments hold few files and many.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tenure_journal::EnvironmentFile;
use tenure_session::Point;
use tenure_store::Store as _;

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
        let conversation = lab.converse_with(files(&lab, count).await?).await?;
        let root = lab.runtime.session_state(conversation.key).await;
        let root = root.map_err(|error| failed("reading the session", error))?;
        if root.and_then(|state| state.workspace_root()).is_none() {
            return Err(failed("placing files", "the environment has none"));
        }
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

/// So many files, each with a content of its own.
async fn files(lab: &Lab, count: usize) -> Result<Vec<EnvironmentFile>, CliError> {
    let put = |number: usize| async move {
        let path = format!("/workspace/{:04}/{number:05}.txt", number / FILES_PER_DIRECTORY);
        let payload = Bytes::from(format!("file {number} of {count}\n"));
        let blob = lab.store.put_blob(lab.project(), payload).await?;
        Ok::<_, tenure_store::StoreError>(EnvironmentFile { path, blob })
    };
    let files = stream::iter((0..count).map(put)).buffered(WRITES_AT_ONCE).try_collect().await;
    files.map_err(|error| failed("storing files", error))
}
