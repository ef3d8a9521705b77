//! Forgetting payloads, and their objects.
//!
//! A row is locked before its object goes and is removed after it, in one transaction, so whoever keeps the same
//! payload meanwhile waits for its row and then writes the object anew; see [`stamp`]. Should the process die
//! between the two, the row of a payload stays that nobody refers to, without its object: the next collection
//! removes it, and whoever keeps that payload again writes its object again.

use futures_util::future::try_join_all;
use tenure_journal::{BlobRef, ProjectId, SessionKey};
use tenure_store::{Stamp, StoreError, StoreErrorKind};
use tokio_postgres::types::ToSql;

use crate::blobs::Blobs;
use crate::connect::{STATEMENT_DEADLINE, within};
use crate::pool::Pool;
use crate::read::{key_of, key_text, limit_of, parsed, rows, value};
use crate::schema;
use crate::write::int;

/// Payloads that are forgotten in one transaction: their objects are removed while their rows are locked.
const FORGOTTEN_AT_ONCE: usize = 64;

pub(crate) async fn every_session(
    pool: &Pool,
    after: Option<SessionKey>,
    limit: usize,
) -> Result<Vec<SessionKey>, StoreError> {
    let context = "listing every session";
    let (project, session) = after.map(key_text).unwrap_or_default();
    let params: [&(dyn ToSql + Sync); 3] = [&project, &session, &limit_of(limit)];
    let connection = pool.take(context).await?;
    let rows = rows(&connection, context, include_str!("../sql/every_session.sql"), &params).await?;
    rows.iter().map(key_of).collect()
}

pub(crate) async fn now(pool: &Pool) -> Result<Stamp, StoreError> {
    let context = "asking for the time";
    let connection = pool.take(context).await?;
    let rows = rows(&connection, context, include_str!("../sql/stamp.sql"), &[]).await?;
    let row = rows.first().ok_or_else(|| crate::error::damaged(context))?;
    Ok(Stamp(value::<i64>(row, 0)?.unsigned_abs()))
}

/// Stamps a payload that is about to be kept as an object. Waits for a collection that has locked its row:
/// what is written after this is not removed by it.
pub(crate) async fn stamp(pool: &Pool, project: ProjectId, blob: BlobRef) -> Result<(), StoreError> {
    let context = "keeping a payload";
    let params: [&(dyn ToSql + Sync); 2] = [&project.to_string(), &blob.to_string()];
    let connection = pool.take(context).await?;
    rows(&connection, context, include_str!("../sql/stamp_blob.sql"), &params).await.map(|_| ())
}

pub(crate) async fn old_blobs(
    pool: &Pool,
    before: Stamp,
    after: Option<(ProjectId, BlobRef)>,
    limit: usize,
) -> Result<Vec<(ProjectId, BlobRef)>, StoreError> {
    let context = "listing old payloads";
    let place = after.map(|(project, blob)| (project.to_string(), blob.to_string()));
    let (project, blob) = place.unwrap_or_default();
    let params: [&(dyn ToSql + Sync); 4] = [&project, &blob, &int(before.0), &limit_of(limit)];
    let connection = pool.take(context).await?;
    let rows = rows(&connection, context, include_str!("../sql/old_blobs.sql"), &params).await?;
    rows.iter().map(|row| Ok((parsed(row, 0)?, parsed(row, 1)?))).collect()
}

pub(crate) async fn forget_blobs(
    pool: &Pool,
    objects: &Blobs,
    project: ProjectId,
    blobs: &[BlobRef],
    before: Stamp,
) -> Result<Vec<BlobRef>, StoreError> {
    let mut wanted = blobs.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let mut forgotten = Vec::new();
    for part in wanted.chunks(FORGOTTEN_AT_ONCE) {
        forgotten.extend(forget(pool, objects, project, part, before).await?);
    }
    Ok(forgotten)
}

async fn forget(
    pool: &Pool,
    objects: &Blobs,
    project: ProjectId,
    blobs: &[BlobRef],
    before: Stamp,
) -> Result<Vec<BlobRef>, StoreError> {
    let context = "forgetting payloads";
    let mut connection = pool.take(context).await?;
    connection.begins();
    within(STATEMENT_DEADLINE, context, connection.client.batch_execute("BEGIN")).await?;
    let older = include_str!("../sql/older_nodes.sql");
    if !rows(&connection, context, older, &[&schema::COLLECTION]).await?.is_empty() {
        let context = format!("{context}: a node runs a release that does not stamp what it keeps");
        return Err(StoreError::new(StoreErrorKind::OlderNodes, context));
    }
    let names: Vec<String> = blobs.iter().map(ToString::to_string).collect();
    let params: [&(dyn ToSql + Sync); 3] = [&project.to_string(), &names, &int(before.0)];
    let locked = rows(&connection, context, include_str!("../sql/lock_old_blobs.sql"), &params).await?;
    let mut old = Vec::new();
    let mut removals = Vec::new();
    for row in &locked {
        let blob = parsed(row, 0)?;
        if value(row, 1)? {
            removals.push(objects.remove(project, blob));
        }
        old.push(blob);
    }
    try_join_all(removals).await?;
    let names: Vec<String> = old.iter().map(ToString::to_string).collect();
    let params: [&(dyn ToSql + Sync); 2] = [&project.to_string(), &names];
    rows(&connection, context, include_str!("../sql/forget_blobs.sql"), &params).await?;
    within(STATEMENT_DEADLINE, context, connection.client.batch_execute("COMMIT")).await?;
    connection.ended();
    Ok(old)
}
