//! Whether what is stored can be trusted: SQLite's own check, then the journal's invariants.

use rusqlite::{Connection, Row};
use tenure_journal::BlobRef;

use crate::journal::event;
use crate::read::key_of;
use crate::readers::ReadError;

/// Problems listed before the search stops; more would not change what to do.
const PROBLEMS_MAX: usize = 100;

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

pub(crate) fn check(connection: &Connection) -> Result<Integrity, ReadError> {
    let mut found = Integrity::default();
    check_database(connection, &mut found)?;
    if found.problems.is_empty() {
        for (sql, sentence) in RELATIONS {
            check_relation(connection, sql, *sentence, &mut found)?;
        }
        check_events(connection, &mut found)?;
        check_blobs(connection, &mut found)?;
    }
    found.problems.truncate(PROBLEMS_MAX);
    Ok(found)
}

/// A query whose rows are problems, and the sentence for one of them.
///
/// The first three together leave no room for a damaged journal. If every link leads to the event before,
/// each event ends a journal without gaps; if every head links to the event of its version, each session has
/// one; and if every event is linked to, there are no others: of the events beside the sessions' journals,
/// the one with the greatest position would have no link to it, since links lead to smaller positions.
type Relation = (&'static str, fn(&Row<'_>) -> rusqlite::Result<String>);

const RELATIONS: &[Relation] = &[
    (include_str!("../sql/journal_gaps.sql"), |row| {
        let (project, session, version, position) = four(row)?;
        Ok(format!(
            "event {version} of session `{session}` of project `{project}`, in row {position} of the \
             journal, does not link to the event before it"
        ))
    }),
    (include_str!("../sql/head_mismatches.sql"), |row| {
        let (project, session, head, last) = four(row)?;
        Ok(format!(
            "session `{session}` of project `{project}` is at version {head} and its journal ends at {last}"
        ))
    }),
    (include_str!("../sql/journal_strays.sql"), |row| {
        let (project, session, version, position) = four(row)?;
        Ok(format!(
            "event {version} of session `{session}` of project `{project}`, in row {position} of the \
             journal, is neither followed by another nor the session's last"
        ))
    }),
    (include_str!("../sql/snapshot_mismatches.sql"), |row| {
        let (project, session, snapshot, head) = four(row)?;
        Ok(format!(
            "the snapshot of session `{session}` of project `{project}` is as of version {snapshot} \
             and the session is at {head}"
        ))
    }),
    (include_str!("../sql/episodes_missed.sql"), |row| {
        let (project, session, ordinal, episode) = four(row)?;
        Ok(format!(
            "what was said at {ordinal} in session `{session}` of project `{project}`, episode {episode}, is \
             found by none of its terms"
        ))
    }),
    (include_str!("../sql/sketches_missed.sql"), |row| {
        let (model, space, first, last) = four(row)?;
        Ok(format!(
            "the sketches by which episodes {first} to {last} of space `{space}` are found are not those of \
             their vectors of `{model}`"
        ))
    }),
];

fn four(row: &Row<'_>) -> rusqlite::Result<(String, String, i64, i64)> {
    row.try_into()
}

fn check_database(connection: &Connection, found: &mut Integrity) -> Result<(), ReadError> {
    let mut statement = connection.prepare(include_str!("../sql/integrity_check.sql"))?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            found.problems.push(format!("the database file is damaged: {line}"));
        }
    }
    Ok(())
}

fn check_relation(
    connection: &Connection,
    sql: &str,
    sentence: fn(&Row<'_>) -> rusqlite::Result<String>,
    found: &mut Integrity,
) -> Result<(), ReadError> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([PROBLEMS_MAX as i64], sentence)?;
    for problem in rows {
        found.problems.push(problem?);
    }
    Ok(())
}

fn check_events(connection: &Connection, found: &mut Integrity) -> Result<(), ReadError> {
    let mut statement = connection.prepare(include_str!("../sql/all_events.sql"))?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()?
        && found.problems.len() < PROBLEMS_MAX
    {
        found.events += 1;
        match key_of(row).and_then(|key| event(row, key, 2)) {
            Ok(_) => {}
            Err(ReadError::Store(error)) => found.problems.push(error.to_string()),
            Err(error @ ReadError::Sqlite(_)) => return Err(error),
        }
    }
    Ok(())
}

fn check_blobs(connection: &Connection, found: &mut Integrity) -> Result<(), ReadError> {
    let mut statement = connection.prepare(include_str!("../sql/all_blobs.sql"))?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()?
        && found.problems.len() < PROBLEMS_MAX
    {
        found.blobs += 1;
        let (project, name): (String, String) = (row.get(0)?, row.get(1)?);
        let payload = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        if BlobRef::of(payload).to_string() != name {
            found.problems.push(format!("the payload `{name}` of project `{project}` has another digest"));
        }
    }
    Ok(())
}
