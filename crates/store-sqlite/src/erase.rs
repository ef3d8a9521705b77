//! Erasing rows, and seeing to it that no byte of them is left.
//!
//! A deleted row stays in its page until the page is written again, in the log until the log is begun anew, and a
//! deleted episode's terms stay in the segments of the index until these are merged. So a scrub merges the segments,
//! writes the whole database anew from what is left (`VACUUM`), copies that from the log into the database file and
//! cuts the log to nothing. `secure_delete` would write zeros at each deletion instead; but it knows nothing of what
//! was replaced before it was switched on, and what every append would pay for it is worth more than what a scrub
//! costs now and then.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction};
use tenure_journal::{EnvironmentId, MEMORY_USER_KEY, ProjectId, SessionId, SessionKey};
use tenure_store::erase::{family, is_of_session};
use tenure_store::{DocumentKind, Erasing, Gone, Place, Search, Whose};

use crate::read::{Read, damaged};
use crate::readers::ReadError;

/// Tries to cut the log to nothing, each of which waits for readers as long as a statement does for locks.
const CUTS_MAX: u32 = 12;

/// Rows that are deleted by project and session alone.
const OF_SESSION: [(&str, &str); 7] = [
    ("snapshots", include_str!("../sql/erase_snapshot.sql")),
    ("items", include_str!("../sql/erase_items.sql")),
    ("turns", include_str!("../sql/erase_turns.sql")),
    ("budgets", include_str!("../sql/erase_budget.sql")),
    ("reservations", include_str!("../sql/erase_reservations.sql")),
    ("budget_uses", include_str!("../sql/erase_budget_uses.sql")),
    ("sessions", include_str!("../sql/erase_session.sql")),
];

/// Erases a place in the transaction of `connection`, or counts what would go.
pub(crate) fn run(
    connection: &Connection,
    project: ProjectId,
    place: &Place,
    erasing: Erasing,
) -> rusqlite::Result<Gone> {
    connection.prepare_cached(include_str!("../sql/savepoint.sql"))?.execute(())?;
    let mut gone = Gone::default();
    match place {
        Place::Session(session) => {
            self::session(connection, SessionKey { project, session: *session }, &mut gone)?;
        }
        Place::Document(kind, id) => {
            let project = project.to_string();
            document(connection, &project, *kind, id, &mut gone)?;
            if *kind == DocumentKind::Automation {
                let sql = include_str!("../sql/invocations_undelivered.sql");
                invocations(connection, sql, &project, id, &mut gone)?;
            }
            receipts(connection, &project, id, &mut gone)?;
        }
    }
    if erasing == Erasing::Count {
        connection.prepare_cached(include_str!("../sql/rollback_to.sql"))?.execute(())?;
    }
    connection.prepare_cached(include_str!("../sql/release_savepoint.sql"))?.execute(())?;
    Ok(gone)
}

fn session(connection: &Connection, key: SessionKey, gone: &mut Gone) -> rusqlite::Result<()> {
    let (project, session) = (key.project.to_string(), key.session.to_string());
    let environment = EnvironmentId::of_session(key.session).to_string();
    gone.add("episodes", crate::memory::forget(connection, (&project, &session), 0, u64::MAX)?);
    // While the session's row says where its journal ends.
    let events =
        connection.prepare_cached(include_str!("../sql/erase_journal.sql"))?.execute((&project, &session))?;
    gone.add("events", events as u64);
    for (what, sql) in OF_SESSION {
        gone.add(what, connection.prepare_cached(sql)?.execute((&project, &session))? as u64);
    }
    let mut automations = Vec::new();
    for kind in DocumentKind::ALL.into_iter().filter(|kind| is_of_session(*kind)) {
        let mut telling = connection.prepare_cached(include_str!("../sql/documents_telling.sql"))?;
        let found = telling.query_map((&project, kind.as_str(), &session, &environment), |row| row.get(0))?;
        let found = found.collect::<rusqlite::Result<Vec<String>>>()?;
        for id in &found {
            document(connection, &project, kind, id, gone)?;
        }
        if kind == DocumentKind::Automation {
            automations = found;
        }
    }
    for automation in automations {
        invocations(connection, include_str!("../sql/documents_named.sql"), &project, &automation, gone)?;
    }
    receipts(connection, &project, &session, gone)
}

/// Erases those invocations of an automation that a statement finds.
fn invocations(
    connection: &Connection,
    sql: &str,
    project: &str,
    automation: &str,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let kind = DocumentKind::Invocation;
    let mut named = connection.prepare_cached(sql)?;
    let found = named.query_map((project, kind.as_str(), automation), |row| row.get(0))?;
    for id in found.collect::<rusqlite::Result<Vec<String>>>()? {
        document(connection, project, kind, &id, gone)?;
    }
    Ok(())
}

fn document(
    connection: &Connection,
    project: &str,
    kind: DocumentKind,
    id: &str,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let mut erase = connection.prepare_cached(include_str!("../sql/erase_document.sql"))?;
    gone.add(&format!("documents.{}", kind.as_str()), erase.execute((project, kind.as_str(), id))? as u64);
    let mut terms = connection.prepare_cached(include_str!("../sql/forget_document_terms.sql"))?;
    terms.execute((project, kind.as_str(), id))?;
    Ok(())
}

fn receipts(connection: &Connection, project: &str, id: &str, gone: &mut Gone) -> rusqlite::Result<()> {
    let mut erase = connection.prepare_cached(include_str!("../sql/erase_receipts.sql"))?;
    gone.add("receipts", erase.execute((project, id))? as u64);
    Ok(())
}

/// Writes the database anew from what is left, and cuts the log to nothing. Not within a transaction.
pub(crate) fn scrub(connection: &Connection) -> Result<(), ScrubError> {
    connection.execute(include_str!("../sql/merge_episode_terms.sql"), ())?;
    connection.execute(include_str!("../sql/vacuum.sql"), ())?;
    for _ in 0..CUTS_MAX {
        // Readers that began before must end first: until then the log holds what they see.
        let busy: i64 =
            connection.query_row(include_str!("../sql/truncate_log.sql"), (), |row| row.get(0))?;
        if busy == 0 {
            return Ok(());
        }
    }
    Err(ScrubError::Readers)
}

/// Why a scrub did not end.
#[derive(Debug)]
pub(crate) enum ScrubError {
    /// Somebody, perhaps a person with `sqlite3`, reads all the time.
    Readers,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for ScrubError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

pub(crate) fn sessions_of(
    connection: &Transaction<'_>,
    project: ProjectId,
    whose: &Whose,
) -> Read<Vec<SessionId>> {
    let project = project.to_string();
    let user = match whose {
        Whose::User(user) => Some(user),
        Whose::Session(_) => None,
    };
    let (mut roots, mut links) = (Vec::new(), Vec::new());
    let mut sessions = connection.prepare_cached(include_str!("../sql/session_links.sql"))?;
    let mut rows = sessions.query((&project, MEMORY_USER_KEY, user))?;
    while let Some(row) = rows.next()? {
        let session = id(&row.get::<_, String>(0)?)?;
        if let Some(parent) = row.get::<_, Option<String>>(1)? {
            links.push((session, id(&parent)?));
        }
        let is_wanted = match whose {
            Whose::User(_) => row.get(2)?,
            Whose::Session(wanted) => session == *wanted,
        };
        roots.extend(is_wanted.then_some(session));
    }
    let mut forks = connection.prepare_cached(include_str!("../sql/fork_links.sql"))?;
    let mut rows = forks.query([&project])?;
    while let Some(row) = rows.next()? {
        links.push((id(&row.get::<_, String>(0)?)?, id(&row.get::<_, String>(1)?)?));
    }
    if let Some(user) = user {
        let mut remembered = connection.prepare_cached(include_str!("../sql/sessions_remembered.sql"))?;
        let mut rows = remembered.query((&project, user))?;
        while let Some(row) = rows.next()? {
            roots.push(id(&row.get::<_, String>(0)?)?);
        }
    }
    Ok(family(roots, links))
}

fn id(text: &str) -> Read<SessionId> {
    text.parse().map_err(|_| ReadError::from(damaged(format!("reading the session id `{text}`"))))
}

/// Looks through every row, because what is long lies in several pages.
pub(crate) fn search_rows(connection: &Transaction<'_>, search: &mut Search<'_>) -> Read<()> {
    let mut tables = connection.prepare_cached(include_str!("../sql/every_table.sql"))?;
    let tables = tables.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    for table in tables {
        let everything = include_str!("../sql/every_row.sql").replace("TABLE_NAME", &table);
        let mut everything = connection.prepare(&everything)?;
        let columns = everything.column_count();
        let mut rows = everything.query(())?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => search.bytes(&table, bytes),
                    ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => {}
                }
            }
        }
    }
    Ok(())
}
