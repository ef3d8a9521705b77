//! Erasing rows, and seeing to it that a dump has none of them.
//!
//! A deleted row is in no dump from its commit on. Its page follows with `VACUUM`, which makes the room free for
//! other rows; the words of a deleted episode stay in the index of terms, which never gives a key up, until that is
//! built anew. What the server's own log of writes, its standbys and its backups hold is theirs to let go of.

use futures_util::TryStreamExt as _;
use tenure_journal::{EnvironmentId, MEMORY_USER_KEY, ProjectId, SessionId, SessionKey};
use tenure_store::erase::{family, is_of_session};
use tenure_store::{DocumentKind, Erasing, Gone, Place, Search, Stamp, StoreError, Whose};
use tokio_postgres::types::ToSql;

use crate::blobs::Blobs;
use crate::collect;
use crate::connect::{Connection, Connector, READER_SETTINGS, STATEMENT_DEADLINE, within};
use crate::error::store_error;
use crate::near::Near;
use crate::pool::Pool;
use crate::read::{self, parsed, rows, value};
use crate::text::stored;
use crate::write::pair;

/// Payloads whose names are read at once.
const PAGE: usize = 256;

/// Rows that are deleted by project and session alone. The session's own comes first: whoever appends waits for it.
const OF_SESSION: [(&str, &str); 9] = [
    ("sessions", include_str!("../sql/erase_session.sql")),
    ("events", include_str!("../sql/erase_journal.sql")),
    ("snapshots", include_str!("../sql/erase_snapshot.sql")),
    ("items", include_str!("../sql/erase_items.sql")),
    ("turns", include_str!("../sql/erase_turns.sql")),
    ("episodes", include_str!("../sql/erase_episodes.sql")),
    ("budgets", include_str!("../sql/erase_budget.sql")),
    ("reservations", include_str!("../sql/erase_reservations.sql")),
    ("budget_uses", include_str!("../sql/erase_budget_uses.sql")),
];

const ERASING: &str = "erasing";

pub(crate) async fn run(
    pool: &Pool,
    project: ProjectId,
    place: &Place,
    erasing: Erasing,
) -> Result<Gone, StoreError> {
    let mut connection = pool.take(ERASING).await?;
    connection.begins();
    within(STATEMENT_DEADLINE, ERASING, connection.client.batch_execute("BEGIN")).await?;
    let mut gone = Gone::default();
    match place {
        Place::Session(session) => {
            self::session(&connection, SessionKey { project, session: *session }, &mut gone).await?;
        }
        Place::Document(kind, id) => {
            let (project, id) = (project.to_string(), stored(id));
            document(&connection, &project, *kind, &id, &mut gone).await?;
            if *kind == DocumentKind::Automation {
                let sql = include_str!("../sql/invocations_undelivered.sql");
                invocations(&connection, sql, &project, &id, &mut gone).await?;
            }
            receipts(&connection, &project, &id, &mut gone).await?;
        }
    }
    let end = match erasing {
        Erasing::Remove => "COMMIT",
        Erasing::Count => "ROLLBACK",
    };
    within(STATEMENT_DEADLINE, ERASING, connection.client.batch_execute(end)).await?;
    connection.ended();
    Ok(gone)
}

async fn session(connection: &Connection, key: SessionKey, gone: &mut Gone) -> Result<(), StoreError> {
    let (project, session) = read::key_text(key);
    let environment = EnvironmentId::of_session(key.session).to_string();
    for (what, sql) in OF_SESSION {
        gone.add(what, delete(connection, sql, &[&project, &session]).await?);
    }
    let mut automations = Vec::new();
    for kind in DocumentKind::ALL.into_iter().filter(|kind| is_of_session(*kind)) {
        let params: [&(dyn ToSql + Sync); 4] = [&project, &kind.as_str(), &session, &environment];
        let found = ids(connection, include_str!("../sql/documents_telling.sql"), &params).await?;
        for id in &found {
            document(connection, &project, kind, id, gone).await?;
        }
        if kind == DocumentKind::Automation {
            automations = found;
        }
    }
    for automation in automations {
        invocations(connection, include_str!("../sql/documents_named.sql"), &project, &automation, gone)
            .await?;
    }
    receipts(connection, &project, &session, gone).await
}

/// Erases those invocations of an automation that a statement finds.
async fn invocations(
    connection: &Connection,
    sql: &'static str,
    project: &str,
    automation: &str,
    gone: &mut Gone,
) -> Result<(), StoreError> {
    let kind = DocumentKind::Invocation;
    let params: [&(dyn ToSql + Sync); 3] = [&project, &kind.as_str(), &automation];
    for id in ids(connection, sql, &params).await? {
        document(connection, project, kind, &id, gone).await?;
    }
    Ok(())
}

async fn document(
    connection: &Connection,
    project: &str,
    kind: DocumentKind,
    id: &str,
    gone: &mut Gone,
) -> Result<(), StoreError> {
    let sql = include_str!("../sql/erase_document.sql");
    let count = delete(connection, sql, &[&project, &kind.as_str(), &id]).await?;
    gone.add(&format!("documents.{}", kind.as_str()), count);
    let sql = include_str!("../sql/erase_document_terms.sql");
    delete(connection, sql, &[&project, &kind.as_str(), &id]).await?;
    Ok(())
}

async fn receipts(
    connection: &Connection,
    project: &str,
    id: &str,
    gone: &mut Gone,
) -> Result<(), StoreError> {
    let count = delete(connection, include_str!("../sql/erase_receipts.sql"), &[&project, &id]).await?;
    gone.add("receipts", count);
    Ok(())
}

/// How many rows a statement deleted.
async fn delete(
    connection: &Connection,
    sql: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<u64, StoreError> {
    let run = async {
        let statement = connection.statement(sql).await?;
        connection.client.execute(&statement, params).await
    };
    within(STATEMENT_DEADLINE, ERASING, run).await
}

/// Ids as they are stored.
async fn ids(
    connection: &Connection,
    sql: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<String>, StoreError> {
    rows(connection, ERASING, sql, params).await?.iter().map(|row| value(row, 0)).collect()
}

pub(crate) async fn sessions_of(
    pool: &Pool,
    project: ProjectId,
    whose: &Whose,
) -> Result<Vec<SessionId>, StoreError> {
    let context = "finding whose sessions";
    let project = project.to_string();
    let user = match whose {
        Whose::User(user) => Some(user.clone()),
        Whose::Session(_) => None,
    };
    let wanted = user.as_ref().map(|user| pair((&MEMORY_USER_KEY.to_owned(), user)));
    let connection = pool.take(context).await?;
    let (mut roots, mut links) = (Vec::new(), Vec::new());
    let sql = include_str!("../sql/session_links.sql");
    for row in rows(&connection, context, sql, &[&project, &wanted]).await? {
        let session = parsed(&row, 0)?;
        if value::<Option<&str>>(&row, 1)?.is_some() {
            links.push((session, parsed(&row, 1)?));
        }
        let is_wanted = match whose {
            Whose::User(_) => value::<Option<bool>>(&row, 2)?.unwrap_or(false),
            Whose::Session(wanted) => session == *wanted,
        };
        roots.extend(is_wanted.then_some(session));
    }
    for row in rows(&connection, context, include_str!("../sql/fork_links.sql"), &[&project]).await? {
        links.push((parsed(&row, 0)?, parsed(&row, 1)?));
    }
    if let Some(user) = user {
        let user = stored(&user).into_owned();
        let sql = include_str!("../sql/sessions_remembered.sql");
        for row in rows(&connection, context, sql, &[&project, &user]).await? {
            roots.push(parsed(&row, 0)?);
        }
    }
    Ok(family(roots, links))
}

/// Lets pages follow their rows. On a connection of its own: it takes as long as it takes, and is in no transaction.
pub(crate) async fn scrub(connector: &Connector, near: &Near) -> Result<(), StoreError> {
    let connection = connector.connect(include_str!("../sql/scrub_settings.sql")).await?;
    let failed = |error| store_error("letting pages follow their rows", error);
    let scrubbed = async {
        connection.client.batch_execute(include_str!("../sql/vacuum.sql")).await.map_err(failed)?;
        let reindex = include_str!("../sql/reindex_episode_terms.sql");
        connection.client.batch_execute(reindex).await.map_err(failed)?;
        near.scrub(&connection).await
    };
    let scrubbed = scrubbed.await;
    connection.close().await;
    scrubbed
}

/// Looks through what a dump would hold, and through payloads that are objects.
pub(crate) async fn search(
    connector: &Connector,
    pool: &Pool,
    blobs: &Blobs,
    search: &mut Search<'_>,
) -> Result<(), StoreError> {
    let context = "looking through everything";
    let failed = |error| store_error(context, error);
    let connection = connector.connect(READER_SETTINGS).await?;
    let settings = include_str!("../sql/scrub_settings.sql");
    within(STATEMENT_DEADLINE, context, connection.client.batch_execute(settings)).await?;
    let tables = rows(&connection, context, include_str!("../sql/every_table.sql"), &[]).await?;
    for table in &tables {
        let table: &str = value(table, 0)?;
        // As a dump writes it.
        let copy =
            connection.client.copy_out(&format!("COPY \"{table}\" TO STDOUT")).await.map_err(failed)?;
        let mut copy = std::pin::pin!(copy);
        let mut feed = search.feed(table);
        while let Some(piece) = copy.try_next().await.map_err(failed)? {
            feed.push(&piece);
        }
        feed.end();
    }
    connection.close().await;
    let Blobs::Objects(_) = blobs else { return Ok(()) };
    let mut after = None;
    loop {
        let page = collect::old_blobs(pool, Stamp(u64::MAX), after, PAGE).await?;
        let Some(last) = page.last().copied() else { return Ok(()) };
        after = Some(last);
        for (project, blob) in page {
            let row = read::blob(&*pool.take(context).await?, project, blob).await?;
            // One that was forgotten meanwhile is not there.
            if let Some(in_row) = row {
                search.bytes("objects", &blobs.get(project, blob, in_row).await?);
            }
        }
    }
}
