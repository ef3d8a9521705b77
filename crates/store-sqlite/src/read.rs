//! Reads: one function for each question, in a read transaction that the caller holds.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use serde::de::DeserializeOwned;
use tenure_journal::{
    BlobRef, Head, Item, ProjectId, SessionId, SessionKey, SessionStatus, Timestamp, Turn, TurnId, Version,
};
use tenure_store::{
    Document, DocumentKind, Order, Page, Receipt, SessionFilter, Snapshot, StoreError, StoreErrorKind, Stored,
};

use crate::journal;
use crate::readers::ReadError;
use crate::write::{int, key_text};

pub(crate) type Read<T> = Result<T, ReadError>;

macro_rules! by_order {
    ($order:expr, $name:literal) => {
        match $order {
            Order::Ascending => include_str!(concat!("../sql/", $name, "_ascending.sql")),
            Order::Descending => include_str!(concat!("../sql/", $name, "_descending.sql")),
        }
    };
}

pub(crate) fn load(connection: &Connection, key: SessionKey) -> Read<Option<Stored>> {
    let (project, session) = key_text(key);
    let mut exists = connection.prepare_cached(include_str!("../sql/session_version.sql"))?;
    if !exists.exists((&project, &session))? {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(include_str!("../sql/snapshot.sql"))?;
    let snapshot = statement
        .query_row((&project, &session), |row| {
            Ok(Snapshot { version: version(row, 0)?, bytes: Bytes::copy_from_slice(bytes(row, 1)?) })
        })
        .optional()?;
    let after = snapshot.as_ref().map_or(Version::ZERO, |snapshot| snapshot.version);
    let tail = journal::events(connection, key, after, usize::MAX)?;
    Ok(Some(Stored { snapshot, tail }))
}

pub(crate) fn head(connection: &Connection, key: SessionKey) -> Read<Option<Head>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/head.sql"))?;
    let found = statement.query_and_then(key_text(key), |row| head_of(row, key.project))?.next();
    found.transpose()
}

pub(crate) fn sessions(
    connection: &Connection,
    project: ProjectId,
    filter: &SessionFilter,
    page: &Page,
) -> Read<Vec<Head>> {
    let after = cursor::<SessionId>(page, "sessions")?;
    let agent = filter.agent_id.map(|agent| agent.to_string());
    let status = filter.status.map(SessionStatus::as_str);
    let metadata = serde_json::json!(filter.metadata).to_string();
    let row = (project.to_string(), after, agent, status, metadata, limit_of(page.limit));
    let mut statement = connection.prepare_cached(by_order!(page.order, "sessions"))?;
    statement.query_and_then(row, |row| head_of(row, project))?.collect()
}

fn head_of(row: &Row<'_>, project: ProjectId) -> Read<Head> {
    let session = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    let damaged = |column: &str| damaged(format!("reading `{column}` of session `{session}`"));
    let parsed = |index, column: &str| {
        let text: String = row.get(index)?;
        text.parse().map_err(|_| ReadError::from(damaged(column)))
    };
    let status = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Head {
        key: SessionKey { project, session: session.parse().map_err(|_| damaged("session_id"))? },
        status: SessionStatus::from_word(status).ok_or_else(|| damaged("status"))?,
        agent_id: parsed(2, "agent_id")?,
        agent_name: row.get(3)?,
        metadata: serde_json::from_slice(bytes(row, 4)?).map_err(|_| damaged("metadata"))?,
        created_at: Timestamp::from_millis(row.get(5)?),
        last_active_at: Timestamp::from_millis(row.get(6)?),
        wake_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
        deleted: row.get(8)?,
        parent: row
            .get::<_, Option<String>>(9)?
            .map(|parent| parent.parse().map_err(|_| damaged("parent_id")))
            .transpose()?,
    })
}

/// The session key in the first two columns.
pub(crate) fn key_of(row: &Row<'_>) -> Read<SessionKey> {
    let (project, session): (String, String) = (row.get(0)?, row.get(1)?);
    match (project.parse(), session.parse()) {
        (Ok(project), Ok(session)) => Ok(SessionKey { project, session }),
        (Err(_), _) | (_, Err(_)) => {
            Err(damaged(format!("reading the key of session `{session}` of project `{project}`")).into())
        }
    }
}

pub(crate) fn items(
    connection: &Connection,
    key: SessionKey,
    turn: Option<TurnId>,
    page: &Page,
) -> Read<Vec<Item>> {
    let (project, session) = key_text(key);
    let after = match &page.after {
        None => None,
        Some(after) => {
            let mut statement = connection.prepare_cached(include_str!("../sql/item_ordinal.sql"))?;
            let ordinal: Option<i64> =
                statement.query_row((&project, &session, after), |row| row.get(0)).optional()?;
            Some(ordinal.ok_or_else(|| unknown_cursor(after, "items"))?)
        }
    };
    let limit = limit_of(page.limit);
    match turn {
        None => {
            let sql = by_order!(page.order, "items");
            collect(connection, sql, (project, session, after, limit), json)
        }
        Some(turn) => {
            let sql = by_order!(page.order, "items_of_turn");
            collect(connection, sql, (project, session, after, limit, turn.to_string()), json)
        }
    }
}

pub(crate) fn turns(connection: &Connection, key: SessionKey, page: &Page) -> Read<Vec<Turn>> {
    let after = cursor::<TurnId>(page, "turns")?;
    let (project, session) = key_text(key);
    let row = (project, session, after, limit_of(page.limit));
    collect(connection, by_order!(page.order, "turns"), row, json)
}

pub(crate) fn turn(connection: &Connection, key: SessionKey, turn: TurnId) -> Read<Option<Turn>> {
    let (project, session) = key_text(key);
    first(connection, include_str!("../sql/turn.sql"), (project, session, turn.to_string()), json)
}

pub(crate) fn document(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    id: &str,
    version: Option<u64>,
) -> Read<Option<Document>> {
    let read = |row: &Row<'_>| document_of(row, project, kind);
    let text = project.to_string();
    match version {
        None => {
            first(connection, include_str!("../sql/document_latest.sql"), (text, kind.as_str(), id), read)
        }
        Some(version) => {
            let row = (text, kind.as_str(), id, int(version));
            first(connection, include_str!("../sql/document.sql"), row, read)
        }
    }
}

pub(crate) fn documents(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    name: Option<&str>,
    page: &Page,
) -> Read<Vec<Document>> {
    let read = |row: &Row<'_>| document_of(row, project, kind);
    let (text, limit) = (project.to_string(), limit_of(page.limit));
    match name {
        None => {
            let row = (text, kind.as_str(), &page.after, limit);
            collect(connection, by_order!(page.order, "documents"), row, read)
        }
        Some(name) => {
            let row = (text, kind.as_str(), &page.after, limit, name);
            collect(connection, by_order!(page.order, "documents_by_name"), row, read)
        }
    }
}

pub(crate) fn documents_telling(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    text: &str,
) -> Read<Vec<String>> {
    let row = (project.to_string(), kind.as_str(), text, text);
    collect(connection, include_str!("../sql/documents_telling.sql"), row, |row| Ok(row.get(0)?))
}

pub(crate) fn deleted_documents(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    page: &Page,
) -> Read<Vec<Document>> {
    let read = |row: &Row<'_>| document_of(row, project, kind);
    let row = (project.to_string(), kind.as_str(), &page.after, limit_of(page.limit));
    collect(connection, by_order!(page.order, "deleted_documents"), row, read)
}

pub(crate) fn due_documents(
    connection: &Connection,
    kind: DocumentKind,
    now: Timestamp,
    limit: usize,
) -> Read<Vec<Document>> {
    let read = |row: &Row<'_>| {
        let project: String = row.get(8)?;
        let project = project.parse().map_err(|_| damaged(format!("reading the project `{project}`")))?;
        document_of(row, project, kind)
    };
    let row = (kind.as_str(), now.as_millis(), limit_of(limit));
    collect(connection, include_str!("../sql/due_documents.sql"), row, read)
}

pub(crate) fn document_of(row: &Row<'_>, project: ProjectId, kind: DocumentKind) -> Read<Document> {
    let id: String = row.get(0)?;
    let body = serde_json::from_slice(bytes(row, 3)?)
        .map_err(|_| damaged(format!("reading the body of {} `{id}`", kind.as_str())))?;
    Ok(Document {
        project,
        kind,
        id,
        version: version(row, 1)?.0,
        name: row.get(2)?,
        body,
        created_at: Timestamp::from_millis(row.get(4)?),
        updated_at: Timestamp::from_millis(row.get(5)?),
        deleted: row.get(6)?,
        wake_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
    })
}

pub(crate) fn blob(connection: &Connection, project: ProjectId, blob: BlobRef) -> Read<Option<Bytes>> {
    let row = (project.to_string(), blob.to_string());
    first(connection, include_str!("../sql/blob.sql"), row, |row| {
        let payload = bytes(row, 0)?;
        if BlobRef::of(payload) != blob {
            return Err(damaged(format!("reading the payload `{blob}`")).into());
        }
        Ok(Bytes::copy_from_slice(payload))
    })
}

pub(crate) fn blob_by_digest(
    connection: &Connection,
    project: ProjectId,
    digest: [u8; 32],
) -> Read<Option<Bytes>> {
    let [from, to] = blob_range(digest);
    let sql = include_str!("../sql/blob_by_digest.sql");
    first(connection, sql, (project.to_string(), from, to), |row| {
        let payload = bytes(row, 1)?;
        if BlobRef::of(payload).digest() != &digest {
            let blob: String = row.get(0)?;
            return Err(damaged(format!("reading the payload `{blob}`")).into());
        }
        Ok(Bytes::copy_from_slice(payload))
    })
}

/// From where and up to where the references of a digest sort, whatever the length.
fn blob_range(digest: [u8; 32]) -> [String; 2] {
    let from = BlobRef::prefix(digest);
    // The character after the colon that ends the prefix.
    let to = format!("{};", from.trim_end_matches(':'));
    [from, to]
}

pub(crate) fn receipt(connection: &Connection, project: ProjectId, key: &str) -> Read<Option<Receipt>> {
    first(connection, include_str!("../sql/receipt.sql"), (project.to_string(), key), |row| {
        Ok(Receipt {
            project,
            key: key.to_owned(),
            digest: row.get(0)?,
            status: row.get(1)?,
            body: row.get(2)?,
            at: Timestamp::from_millis(row.get(3)?),
        })
    })
}

fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Read<T>,
) -> Read<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_and_then(params, read)?.collect()
}

/// The value in a row's only column.
fn json<T: DeserializeOwned>(row: &Row<'_>) -> Read<T> {
    serde_json::from_slice(bytes(row, 0)?)
        .map_err(|error| damaged("decoding a stored projection").with_source(error).into())
}

fn cursor<Id: std::str::FromStr>(page: &Page, what: &str) -> Result<Option<String>, StoreError> {
    match &page.after {
        Some(text) if text.parse::<Id>().is_err() => Err(unknown_cursor(text, what)),
        other => Ok(other.clone()),
    }
}

fn unknown_cursor(after: &str, what: &str) -> StoreError {
    let shown: String = after.chars().take(80).collect();
    StoreError::new(StoreErrorKind::UnknownCursor, format!("listing {what} after `{shown}`"))
}

pub(crate) fn damaged(context: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, context)
}

pub(crate) fn version(row: &Row<'_>, index: usize) -> rusqlite::Result<Version> {
    let version: i64 = row.get(index)?;
    u64::try_from(version).map(Version).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, version))
}

pub(crate) fn bytes<'a>(row: &'a Row<'_>, index: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(index)?.as_bytes()?)
}

pub(crate) fn text<'a>(row: &'a Row<'_>, index: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(index)?.as_str()?)
}

pub(crate) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
