//! Audit logs: records that wait, and logs that only grow.
//!
//! Several nodes may seal one log at once. The row with its size is changed first and only from the expected one
//! on, so one of them goes on and the others are refused before they have written anything else.

use bytes::Bytes;
use tenure_journal::{ProjectId, Version};
use tenure_store::{Seal, Sealed, StoreError, StoreErrorKind, Unsealed};
use tokio_postgres::types::ToSql;

use crate::connect::{Connection, STATEMENT_DEADLINE, within};
use crate::pool::Pool;
use crate::read::{limit_of, parsed, rows, value};
use crate::write::int;

pub(crate) async fn unsealed(
    pool: &Pool,
    except: &[ProjectId],
    limit: usize,
) -> Result<Vec<Unsealed>, StoreError> {
    let context = "reading what is to be sealed";
    let except: Vec<String> = except.iter().map(ToString::to_string).collect();
    let connection = pool.take(context).await?;
    let rows =
        rows(&connection, context, include_str!("../sql/unsealed.sql"), &[&except, &limit_of(limit)]).await?;
    let waiting = rows.iter().map(|row| {
        Ok(Unsealed {
            project: parsed(row, 0)?,
            position: value::<i64>(row, 1)?.unsigned_abs(),
            record: Bytes::from(value::<String>(row, 2)?),
        })
    });
    waiting.collect()
}

/// Where the records of a seal come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They wait here.
    Unsealed,
    /// They are sealed in another store, from which they are moved.
    Elsewhere,
}

pub(crate) async fn seal(pool: &Pool, seal: &Seal, origin: Origin) -> Result<(), StoreError> {
    let context = "sealing an audit log";
    let mut connection = pool.take(context).await?;
    connection.begins();
    within(STATEMENT_DEADLINE, context, connection.client.batch_execute("BEGIN")).await?;
    let sealed = write(&connection, context, seal, origin).await?;
    let end = if sealed { "COMMIT" } else { "ROLLBACK" };
    within(STATEMENT_DEADLINE, context, connection.client.batch_execute(end)).await?;
    connection.ended();
    if sealed {
        return Ok(());
    }
    let actual = size(&connection, context, seal.project).await?;
    let context = format!("{context} of project `{}` at {}", seal.project, seal.expected);
    Err(StoreError::new(StoreErrorKind::Conflict { actual: Version(actual) }, context))
}

/// Whether it was written; otherwise the transaction is to be rolled back.
async fn write(
    connection: &Connection,
    context: &str,
    seal: &Seal,
    origin: Origin,
) -> Result<bool, StoreError> {
    let project = seal.project.to_string();
    let size = seal.expected + seal.records.len() as u64;
    let params: [&(dyn ToSql + Sync); 3] = [&project, &int(size), &int(seal.expected)];
    if rows(connection, context, include_str!("../sql/put_audit_size.sql"), &params).await?.is_empty() {
        return Ok(false);
    }
    let positions: Vec<i64> = seal.records.iter().map(|(position, _)| int(*position)).collect();
    if origin == Origin::Unsealed {
        let params: [&(dyn ToSql + Sync); 2] = [&positions, &project];
        let forgotten =
            rows(connection, context, include_str!("../sql/forget_unsealed.sql"), &params).await?;
        if forgotten.len() != positions.len() {
            return Ok(false);
        }
    }
    let numbers: Vec<i64> = (seal.expected..size).map(int).collect();
    let records: Vec<&str> = texts(seal)?;
    let params: [&(dyn ToSql + Sync); 3] = [&project, &numbers, &records];
    rows(connection, context, include_str!("../sql/put_audit_record.sql"), &params).await?;
    let levels: Vec<i64> = seal.tiles.iter().map(|(level, ..)| i64::from(*level)).collect();
    let indices: Vec<i64> = seal.tiles.iter().map(|(_, index, _)| int(*index)).collect();
    let hashes: Vec<&[u8]> = seal.tiles.iter().map(|(.., hashes)| &hashes[..]).collect();
    let params: [&(dyn ToSql + Sync); 4] = [&project, &levels, &indices, &hashes];
    rows(connection, context, include_str!("../sql/put_audit_tile.sql"), &params).await?;
    let params: [&(dyn ToSql + Sync); 3] = [&project, &int(size), &seal.checkpoint];
    rows(connection, context, include_str!("../sql/put_audit_checkpoint.sql"), &params).await?;
    Ok(true)
}

fn texts(seal: &Seal) -> Result<Vec<&str>, StoreError> {
    seal.records.iter().map(|(_, record)| text(record)).collect()
}

pub(crate) fn text(record: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(record).map_err(|_| crate::error::damaged("a record that is not text"))
}

/// Puts records that wait in another store here, to wait.
pub(crate) async fn adopt(pool: &Pool, unsealed: &[Unsealed]) -> Result<(), StoreError> {
    let context = "moving what is to be sealed";
    let connection = pool.take(context).await?;
    let projects: Vec<String> = unsealed.iter().map(|unsealed| unsealed.project.to_string()).collect();
    let records = unsealed.iter().map(|unsealed| text(&unsealed.record)).collect::<Result<Vec<_>, _>>()?;
    let params: [&(dyn ToSql + Sync); 2] = [&projects, &records];
    rows(&connection, context, include_str!("../sql/put_unsealed.sql"), &params).await.map(|_| ())
}

async fn size(connection: &Connection, context: &str, project: ProjectId) -> Result<u64, StoreError> {
    let params: [&(dyn ToSql + Sync); 1] = [&project.to_string()];
    let found = rows(connection, context, include_str!("../sql/audit_size.sql"), &params).await?;
    found.first().map_or(Ok(0), |row| Ok(value::<i64>(row, 0)?.unsigned_abs()))
}

pub(crate) async fn sealed(
    pool: &Pool,
    project: ProjectId,
    size_max: u64,
) -> Result<Option<Sealed>, StoreError> {
    let context = "reading a checkpoint";
    let connection = pool.take(context).await?;
    let params: [&(dyn ToSql + Sync); 2] = [&project.to_string(), &int(size_max)];
    let found = rows(&connection, context, include_str!("../sql/audit_checkpoint.sql"), &params).await?;
    let row = found.first();
    row.map(|row| Ok(Sealed { size: value::<i64>(row, 0)?.unsigned_abs(), checkpoint: value(row, 1)? }))
        .transpose()
}

pub(crate) async fn records(
    pool: &Pool,
    project: ProjectId,
    from: u64,
    limit: usize,
) -> Result<Vec<Bytes>, StoreError> {
    let context = "reading an audit log";
    let connection = pool.take(context).await?;
    let params: [&(dyn ToSql + Sync); 3] = [&project.to_string(), &int(from), &limit_of(limit)];
    let found = rows(&connection, context, include_str!("../sql/audit_records.sql"), &params).await?;
    found.iter().map(|row| Ok(Bytes::from(value::<String>(row, 0)?))).collect()
}

pub(crate) async fn tile(
    pool: &Pool,
    project: ProjectId,
    level: u32,
    index: u64,
) -> Result<Option<Bytes>, StoreError> {
    let context = "reading an audit log";
    let connection = pool.take(context).await?;
    let params: [&(dyn ToSql + Sync); 3] = [&project.to_string(), &i64::from(level), &int(index)];
    let found = rows(&connection, context, include_str!("../sql/audit_tile.sql"), &params).await?;
    found.first().map(|row| Ok(Bytes::from(value::<Vec<u8>>(row, 0)?))).transpose()
}
