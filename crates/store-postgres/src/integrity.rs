//! Whether what is stored can be trusted: the server's settings, then the journal's invariants.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tenure_journal::BlobRef;
use tenure_store::{StoreError, StoreErrorKind};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, RowStream};

use crate::blobs::Blobs;
use crate::connect::{Connection, STATEMENT_DEADLINE, within};
use crate::error::{store_error, unavailable};
use crate::read::{event, key_of, parsed, value};

/// Problems listed before the search stops; more would not change what to do.
const PROBLEMS_MAX: usize = 100;
/// How long the next row may take. A check as a whole takes as long as the data is large.
const ROW_DEADLINE: Duration = Duration::from_secs(600);

/// What an integrity check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Integrity {
    /// Events that were read and decoded.
    pub events: u64,
    /// Payloads whose digest was computed.
    pub blobs: u64,
    /// What is wrong, each as one sentence without a final stop; at most 100, empty when all is well.
    pub problems: Vec<String>,
}

/// Checks everything as of one moment, on a connection of its own that is not used again.
pub(crate) async fn check(connection: &Connection, blobs: &Blobs) -> Result<Integrity, StoreError> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0; \
                 SET LOCAL enable_seqscan = on";
    within(STATEMENT_DEADLINE, CONTEXT, connection.client.batch_execute(begin)).await?;
    let mut found = Integrity::default();
    check_settings(connection, &mut found).await?;
    for (sql, sentence) in RELATIONS {
        check_relation(connection, sql, *sentence, &mut found).await?;
    }
    check_events(connection, &mut found).await?;
    check_blobs(connection, blobs, &mut found).await?;
    found.problems.truncate(PROBLEMS_MAX);
    Ok(found)
}

const CONTEXT: &str = "checking the database";

/// A query whose rows are problems, and the sentence for one of them.
type Relation = (&'static str, fn(&Row) -> Result<String, StoreError>);

const RELATIONS: &[Relation] = &[
    (include_str!("../sql/journal_gaps.sql"), |row| {
        let (project, session) = names(row)?;
        let (count, min, max): (i64, i64, i64) = (value(row, 2)?, value(row, 3)?, value(row, 4)?);
        Ok(format!(
            "the journal of session `{session}` of project `{project}` has {count} events, \
             from version {min} to {max}"
        ))
    }),
    (include_str!("../sql/head_mismatches.sql"), |row| {
        let ((project, session), (head, last)) = (names(row)?, numbers(row)?);
        Ok(format!(
            "session `{session}` of project `{project}` is at version {head} and its journal ends at {last}"
        ))
    }),
    (include_str!("../sql/snapshot_mismatches.sql"), |row| {
        let ((project, session), (snapshot, head)) = (names(row)?, numbers(row)?);
        Ok(format!(
            "the snapshot of session `{session}` of project `{project}` is as of version {snapshot} \
             and the session is at {head}"
        ))
    }),
    (include_str!("../sql/holder_mismatches.sql"), |row| {
        let (project, session) = names(row)?;
        let holder: String = value(row, 2)?;
        Ok(format!("session `{session}` of project `{project}` is held by `{holder}`, which has no lease"))
    }),
];

fn names(row: &Row) -> Result<(String, String), StoreError> {
    Ok((value(row, 0)?, value(row, 1)?))
}

fn numbers(row: &Row) -> Result<(i64, i64), StoreError> {
    Ok((value(row, 2)?, value(row, 3)?))
}

async fn check_settings(connection: &Connection, found: &mut Integrity) -> Result<(), StoreError> {
    let mut rows = pin!(stream(connection, include_str!("../sql/integrity_check.sql"), &[]).await?);
    while let Some(row) = next(rows.try_next()).await? {
        let (name, setting): (String, String) = (value(&row, 0)?, value(&row, 1)?);
        found.problems.push(format!("the server runs with `{name} = {setting}` and may lose commits"));
    }
    Ok(())
}

async fn check_relation(
    connection: &Connection,
    sql: &'static str,
    sentence: fn(&Row) -> Result<String, StoreError>,
    found: &mut Integrity,
) -> Result<(), StoreError> {
    let mut rows = pin!(stream(connection, sql, &[&(PROBLEMS_MAX as i64)]).await?);
    while let Some(row) = next(rows.try_next()).await? {
        found.problems.push(sentence(&row)?);
    }
    Ok(())
}

async fn check_events(connection: &Connection, found: &mut Integrity) -> Result<(), StoreError> {
    let mut rows = pin!(stream(connection, include_str!("../sql/all_events.sql"), &[]).await?);
    while found.problems.len() < PROBLEMS_MAX
        && let Some(row) = next(rows.try_next()).await?
    {
        found.events += 1;
        if let Err(error) = key_of(&row).and_then(|key| event(&row, key, 2)) {
            found.problems.push(error.to_string());
        }
    }
    Ok(())
}

async fn check_blobs(
    connection: &Connection,
    blobs: &Blobs,
    found: &mut Integrity,
) -> Result<(), StoreError> {
    let mut rows = pin!(stream(connection, include_str!("../sql/all_blobs.sql"), &[]).await?);
    while found.problems.len() < PROBLEMS_MAX
        && let Some(row) = next(rows.try_next()).await?
    {
        found.blobs += 1;
        let name: String = value(&row, 1)?;
        let in_row = value::<Option<Vec<u8>>>(&row, 2)?.map(Bytes::from);
        let payload = async {
            let (project, blob) = (parsed(&row, 0)?, parsed::<BlobRef>(&row, 1)?);
            blobs.get(project, blob, in_row).await
        };
        match payload.await {
            Ok(_) => {}
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                let project: String = value(&row, 0)?;
                found
                    .problems
                    .push(format!("the payload `{name}` of project `{project}` is missing or another"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn stream(
    connection: &Connection,
    sql: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<RowStream, StoreError> {
    let params = params.iter().copied();
    let query = async {
        let statement = connection.statement(sql).await?;
        connection.client.query_raw(&statement, params).await
    };
    within(ROW_DEADLINE, CONTEXT, query).await
}

async fn next(row: impl Future<Output = Result<Option<Row>, Error>>) -> Result<Option<Row>, StoreError> {
    match timeout(ROW_DEADLINE, row).await {
        Ok(row) => row.map_err(|error| store_error(CONTEXT, error)),
        Err(_) => Err(unavailable(CONTEXT)),
    }
}
