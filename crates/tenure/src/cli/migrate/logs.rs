//! Moving audit logs: as they are sealed, with every checkpoint, and what still waits.

use std::collections::BTreeSet;

use bytes::Bytes;
use tenure_audit::{Hash, Tree};
use tenure_journal::ProjectId;
use tenure_store::{Seal, Sealed, Store, StoreError};
use tenure_store_postgres::PostgresStore;
use tenure_store_sqlite::SqliteStore;

use super::{differs, failed};
use crate::cli::error::CliError;

/// Moves every log, or what is missing of it, and compares. Gives the number of records.
///
/// Tiles are computed from the records, so a log that does not lead to its checkpoint is not moved.
pub(super) async fn logs(from: &SqliteStore, to: &PostgresStore) -> Result<u64, CliError> {
    let reading = |error: StoreError| failed("reading an audit log", &error);
    let mut count = 0;
    for project in from.every_log().await.map_err(reading)? {
        count += log(from, to, project).await?;
    }
    let waiting = from.unsealed(&[], usize::MAX).await.map_err(reading)?;
    // Where nodes sealed it since, what waits here was moved before, and must not be a second time.
    for project in waiting.iter().map(|unsealed| unsealed.project).collect::<BTreeSet<_>>() {
        let ours = from.sealed(project, u64::MAX).await.map_err(reading)?;
        let theirs = to.sealed(project, u64::MAX).await.map_err(|error| failed("comparing a log", &error))?;
        if ours != theirs {
            return Err(differs(format!("an audit log of project `{project}` that has grown")));
        }
    }
    let there = to.unsealed(&[], usize::MAX).await.map_err(|error| failed("comparing what waits", &error))?;
    if there.is_empty() {
        to.adopt_unsealed(&waiting)
            .await
            .map_err(|error| failed("writing what waits to be sealed", &error))?;
    } else if !there.iter().map(|record| &record.record).eq(waiting.iter().map(|record| &record.record)) {
        return Err(differs("an audit record"));
    }
    Ok(count + waiting.len() as u64)
}

async fn log(from: &SqliteStore, to: &PostgresStore, project: ProjectId) -> Result<u64, CliError> {
    let reading = |error: StoreError| failed("reading an audit log", &error);
    let comparing = |error: StoreError| failed("comparing an audit log", &error);
    let mut checkpoints: Vec<Sealed> = Vec::new();
    let mut below = u64::MAX;
    while let Some(sealed) = from.sealed(project, below).await.map_err(reading)? {
        below = sealed.size.saturating_sub(1);
        checkpoints.push(sealed);
    }
    let there = to.sealed(project, u64::MAX).await.map_err(comparing)?.map_or(0, |sealed| sealed.size);
    let mut tree = Tree::new();
    for Sealed { size, checkpoint } in checkpoints.into_iter().rev() {
        let expected = tree.size();
        let wanted = usize::try_from(size - expected).unwrap_or(usize::MAX);
        let records = from.sealed_records(project, expected, wanted).await.map_err(reading)?;
        let mut tiles = Vec::new();
        records.iter().for_each(|record| tree.push(Hash::of_record(record), &mut tiles));
        if !checkpoint.lines().any(|line| line == tree.root().to_string()) {
            let message =
                format!("the audit log of `{project}` is not what its checkpoint of {size} was signed for");
            return Err(CliError::failed("damaged", message).kept("the data directory is unchanged"));
        }
        if size > there {
            tiles.extend(tree.partial_tiles());
            let tiles = tiles.iter();
            let seal = Seal {
                project,
                expected,
                records: records.into_iter().map(|record| (0, record)).collect(),
                tiles: tiles
                    .map(|tile| (tile.id.level(), tile.id.index(), Bytes::from(tile.to_bytes())))
                    .collect(),
                checkpoint: checkpoint.clone(),
            };
            to.adopt_sealed(&seal).await.map_err(|error| failed("writing an audit log", &error))?;
        }
        let found = to.sealed(project, size).await.map_err(comparing)?;
        let theirs = to.sealed_records(project, expected, wanted).await.map_err(comparing)?;
        let ours = from.sealed_records(project, expected, wanted).await.map_err(reading)?;
        if found != Some(Sealed { size, checkpoint }) || theirs != ours {
            return Err(differs(format!("an audit log of project `{project}`")));
        }
    }
    Ok(tree.size())
}
