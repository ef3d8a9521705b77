//! Audit logs: records that wait, and logs that only grow.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row};
use tenure_journal::{ProjectId, Version};
use tenure_store::{Seal, Sealed, StoreError, StoreErrorKind, Unsealed};

use crate::read::{Read, damaged, limit_of};
use crate::write::{Answer, Text, int};

/// Carries out a seal in the transaction under way. A refusal may come after its first statement.
pub(crate) fn seal(connection: &Connection, seal: &Seal) -> rusqlite::Result<Answer> {
    let project = seal.project.to_string();
    let mut size = connection.prepare_cached(include_str!("../sql/audit_size.sql"))?;
    let actual: Option<i64> = size.query_row((&project,), |row| row.get(0)).optional()?;
    let actual = actual.unwrap_or(0).unsigned_abs();
    let refusal = || {
        let context = format!("sealing in project `{project}` at {}", seal.expected);
        Ok(Err(StoreError::new(StoreErrorKind::Conflict { actual: Version(actual) }, context)))
    };
    if actual != seal.expected {
        return refusal();
    }
    let mut forget = connection.prepare_cached(include_str!("../sql/forget_unsealed.sql"))?;
    let mut put = connection.prepare_cached(include_str!("../sql/put_audit_record.sql"))?;
    let mut size = seal.expected;
    for (position, record) in &seal.records {
        if forget.execute((int(*position), &project))? == 0 {
            return refusal();
        }
        put.execute((&project, int(size), Text(record)))?;
        size += 1;
    }
    let mut put = connection.prepare_cached(include_str!("../sql/put_audit_tile.sql"))?;
    for (level, index, hashes) in &seal.tiles {
        put.execute((&project, level, int(*index), &hashes[..]))?;
    }
    connection.prepare_cached(include_str!("../sql/put_audit_size.sql"))?.execute((&project, int(size)))?;
    let row = (&project, int(size), &seal.checkpoint);
    connection.prepare_cached(include_str!("../sql/put_audit_checkpoint.sql"))?.execute(row)?;
    Ok(Ok(Version::ZERO))
}

pub(crate) fn unsealed(connection: &Connection, except: &[ProjectId], limit: usize) -> Read<Vec<Unsealed>> {
    let except = serde_json::to_string(except).expect("ids are text");
    let mut statement = connection.prepare_cached(include_str!("../sql/unsealed.sql"))?;
    statement.query_and_then((except, limit_of(limit)), waiting)?.collect()
}

fn waiting(row: &Row<'_>) -> Read<Unsealed> {
    let project: String = row.get(0)?;
    let project = project.parse().map_err(|_| damaged(format!("reading the project `{project}`")))?;
    let position: i64 = row.get(1)?;
    Ok(Unsealed { project, position: position.unsigned_abs(), record: record(row, 2)? })
}

pub(crate) fn sealed(connection: &Connection, project: ProjectId, size_max: u64) -> Read<Option<Sealed>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/audit_checkpoint.sql"))?;
    let row = (project.to_string(), int(size_max));
    let read =
        |row: &Row<'_>| Ok(Sealed { size: row.get::<_, i64>(0)?.unsigned_abs(), checkpoint: row.get(1)? });
    Ok(statement.query_row(row, read).optional()?)
}

pub(crate) fn records(
    connection: &Connection,
    project: ProjectId,
    from: u64,
    limit: usize,
) -> Read<Vec<Bytes>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/audit_records.sql"))?;
    let row = (project.to_string(), int(from), limit_of(limit));
    statement.query_and_then(row, |row| record(row, 0))?.collect()
}

pub(crate) fn tile(
    connection: &Connection,
    project: ProjectId,
    level: u32,
    index: u64,
) -> Read<Option<Bytes>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/audit_tile.sql"))?;
    let row = (project.to_string(), level, int(index));
    let hashes = statement.query_row(row, |row| row.get::<_, Vec<u8>>(0)).optional()?;
    Ok(hashes.map(Bytes::from))
}

fn record(row: &Row<'_>, column: usize) -> Read<Bytes> {
    Ok(Bytes::from(row.get::<_, String>(column)?))
}
