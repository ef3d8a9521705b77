//! Reads: one function for each question.

use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tenure_journal::{
    Amounts, BlobRef, BudgetId, BudgetUse, Head, Item, NodeId, ProjectId, Recorded, SessionId, SessionKey,
    SessionStatus, Timestamp, Turn, TurnId, Version,
};
use tenure_store::{
    Budget, Document, DocumentKind, Order, Page, Receipt, SessionFilter, Snapshot, StoreError,
    StoreErrorKind, Stored,
};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use crate::connect::{Connection, STATEMENT_DEADLINE, within};
use crate::error::damaged;
use crate::ledger;
use crate::text::{original, stored};
use crate::write::{int, pair};

type Read<T> = Result<T, StoreError>;

macro_rules! by_order {
    ($order:expr, $name:literal) => {
        match $order {
            Order::Ascending => include_str!(concat!("../sql/", $name, "_ascending.sql")),
            Order::Descending => include_str!(concat!("../sql/", $name, "_descending.sql")),
        }
    };
}

/// The rows of a statement, within the deadline.
pub(crate) async fn rows(
    connection: &Connection,
    context: &str,
    sql: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Read<Vec<Row>> {
    within(STATEMENT_DEADLINE, context, connection.query(sql, params)).await
}

pub(crate) async fn load(connection: &Connection, key: SessionKey) -> Read<Option<Stored>> {
    let (project, session) = key_text(key);
    let context = "loading a session";
    let snapshot =
        rows(connection, context, include_str!("../sql/snapshot.sql"), &[&project, &session]).await?;
    let snapshot = match snapshot.first() {
        Some(row) => {
            Some(Snapshot { version: version(row, 0)?, bytes: Bytes::from(value::<Vec<u8>>(row, 1)?) })
        }
        None => None,
    };
    // A snapshot that is written between the two statements only makes this tail longer than it need be.
    let after = snapshot.as_ref().map_or(Version::ZERO, |snapshot| snapshot.version);
    let tail = events(connection, key, after, usize::MAX).await?;
    // A session has at least one event.
    Ok((snapshot.is_some() || !tail.is_empty()).then_some(Stored { snapshot, tail }))
}

pub(crate) async fn events(
    connection: &Connection,
    key: SessionKey,
    after: Version,
    limit: usize,
) -> Read<Vec<Recorded>> {
    let (project, session) = key_text(key);
    let sql = include_str!("../sql/events.sql");
    let params: [&(dyn ToSql + Sync); 4] = [&project, &session, &int(after.0), &limit_of(limit)];
    let rows = rows(connection, "reading events", sql, &params).await?;
    rows.iter().map(|row| event(row, key, 0)).collect()
}

/// The event in the columns from `first` on: version, time, text.
pub(crate) fn event(row: &Row, key: SessionKey, first: usize) -> Read<Recorded> {
    let at = Timestamp::from_millis(value(row, first + 1)?);
    let version = version(row, first)?;
    Recorded::decode(version, at, value::<&str>(row, first + 2)?.as_bytes()).map_err(|error| {
        let context = format!("reading event {} of session `{}`", version.0, key.session);
        StoreError::new(StoreErrorKind::Corrupt, context).with_source(error)
    })
}

pub(crate) async fn head(connection: &Connection, key: SessionKey) -> Read<Option<Head>> {
    let (project, session) = key_text(key);
    let sql = include_str!("../sql/head.sql");
    let rows = rows(connection, "reading a session", sql, &[&project, &session]).await?;
    rows.first().map(|row| head_of(row, key.project)).transpose()
}

pub(crate) async fn sessions(
    connection: &Connection,
    project: ProjectId,
    filter: &SessionFilter,
    page: &Page,
) -> Read<Vec<Head>> {
    let after = cursor::<SessionId>(page, "sessions")?;
    let agent = filter.agent_id.map(|agent| agent.to_string());
    let status = filter.status.map(SessionStatus::as_str);
    let metadata: Vec<String> = filter.metadata.iter().map(pair).collect();
    let (text, limit) = (project.to_string(), limit_of(page.limit));
    let params: [&(dyn ToSql + Sync); 6] = [&text, &after, &agent, &status, &metadata, &limit];
    let rows = rows(connection, "listing sessions", by_order!(page.order, "sessions"), &params).await?;
    rows.iter().map(|row| head_of(row, project)).collect()
}

fn head_of(row: &Row, project: ProjectId) -> Read<Head> {
    let session: &str = value(row, 0)?;
    let wrong = |column: &str| damaged(format!("reading `{column}` of session `{session}`"));
    let pairs: Vec<&str> = value(row, 4)?;
    let pairs = pairs.into_iter().map(serde_json::from_str::<(String, String)>);
    Ok(Head {
        key: SessionKey { project, session: session.parse().map_err(|_| wrong("session_id"))? },
        status: SessionStatus::from_word(value(row, 1)?).ok_or_else(|| wrong("status"))?,
        agent_id: parsed(row, 2)?,
        agent_name: text(row, 3)?,
        metadata: pairs.collect::<Result<_, _>>().map_err(|error| wrong("metadata").with_source(error))?,
        created_at: Timestamp::from_millis(value(row, 5)?),
        last_active_at: Timestamp::from_millis(value(row, 6)?),
        wake_at: value::<Option<i64>>(row, 7)?.map(Timestamp::from_millis),
        deleted: value(row, 8)?,
        parent: value::<Option<&str>>(row, 9)?
            .map(|parent| parent.parse().map_err(|_| wrong("parent_id")))
            .transpose()?,
    })
}

pub(crate) async fn items(
    connection: &Connection,
    key: SessionKey,
    turn: Option<TurnId>,
    page: &Page,
) -> Read<Vec<Item>> {
    let (project, session) = key_text(key);
    let context = "listing items";
    let after = match &page.after {
        None => None,
        // An id is stored as it is; other text names no item, and need not be looked for.
        Some(after) if after.contains('\0') => return Err(unknown_cursor(after, "items")),
        Some(after) => {
            let sql = include_str!("../sql/item_ordinal.sql");
            let found = rows(connection, context, sql, &[&project, &session, after]).await?;
            let row = found.first().ok_or_else(|| unknown_cursor(after, "items"))?;
            Some(value::<i64>(row, 0)?)
        }
    };
    let limit = limit_of(page.limit);
    let rows = match turn.map(|turn| turn.to_string()) {
        None => {
            let params: [&(dyn ToSql + Sync); 4] = [&project, &session, &after, &limit];
            rows(connection, context, by_order!(page.order, "items"), &params).await?
        }
        Some(turn) => {
            let params: [&(dyn ToSql + Sync); 5] = [&project, &session, &after, &limit, &turn];
            rows(connection, context, by_order!(page.order, "items_of_turn"), &params).await?
        }
    };
    rows.iter().map(json).collect()
}

pub(crate) async fn turns(connection: &Connection, key: SessionKey, page: &Page) -> Read<Vec<Turn>> {
    let after = cursor::<TurnId>(page, "turns")?;
    let (project, session) = key_text(key);
    let params: [&(dyn ToSql + Sync); 4] = [&project, &session, &after, &limit_of(page.limit)];
    let rows = rows(connection, "listing turns", by_order!(page.order, "turns"), &params).await?;
    rows.iter().map(json).collect()
}

pub(crate) async fn turn(connection: &Connection, key: SessionKey, turn: TurnId) -> Read<Option<Turn>> {
    let (project, session) = key_text(key);
    let params: [&(dyn ToSql + Sync); 3] = [&project, &session, &turn.to_string()];
    let rows = rows(connection, "reading a turn", include_str!("../sql/turn.sql"), &params).await?;
    rows.first().map(json).transpose()
}

pub(crate) async fn document(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    id: &str,
    version: Option<u64>,
) -> Read<Option<Document>> {
    let (text, word, id) = (project.to_string(), kind.as_str(), stored(id));
    let context = "reading a document";
    let rows = match version {
        None => {
            let sql = include_str!("../sql/document_latest.sql");
            rows(connection, context, sql, &[&text, &word, &id]).await?
        }
        Some(version) => {
            let sql = include_str!("../sql/document.sql");
            rows(connection, context, sql, &[&text, &word, &id, &int(version)]).await?
        }
    };
    rows.first().map(|row| document_of(row, project, kind)).transpose()
}

pub(crate) async fn documents(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    name: Option<&str>,
    page: &Page,
) -> Read<Vec<Document>> {
    let (text, word, limit) = (project.to_string(), kind.as_str(), limit_of(page.limit));
    let after = page.after.as_deref().map(stored);
    let context = "listing documents";
    let rows = match name.map(stored) {
        None => {
            let params: [&(dyn ToSql + Sync); 4] = [&text, &word, &after, &limit];
            rows(connection, context, by_order!(page.order, "documents"), &params).await?
        }
        Some(name) => {
            let params: [&(dyn ToSql + Sync); 5] = [&text, &word, &after, &limit, &name];
            rows(connection, context, by_order!(page.order, "documents_by_name"), &params).await?
        }
    };
    rows.iter().map(|row| document_of(row, project, kind)).collect()
}

pub(crate) async fn documents_telling(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    text: &str,
) -> Read<Vec<String>> {
    let (project, text) = (project.to_string(), stored(text));
    let params: [&(dyn ToSql + Sync); 4] = [&project, &kind.as_str(), &text, &text];
    let sql = include_str!("../sql/documents_telling.sql");
    rows(connection, "finding documents by a text", sql, &params)
        .await?
        .iter()
        .map(|row| value(row, 0))
        .collect()
}

pub(crate) async fn deleted_documents(
    connection: &Connection,
    project: ProjectId,
    kind: DocumentKind,
    page: &Page,
) -> Read<Vec<Document>> {
    let (text, after) = (project.to_string(), page.after.as_deref().map(stored));
    let params: [&(dyn ToSql + Sync); 4] = [&text, &kind.as_str(), &after, &limit_of(page.limit)];
    let sql = by_order!(page.order, "deleted_documents");
    let rows = rows(connection, "listing deleted documents", sql, &params).await?;
    rows.iter().map(|row| document_of(row, project, kind)).collect()
}

pub(crate) async fn due_documents(
    connection: &Connection,
    kind: DocumentKind,
    now: Timestamp,
    limit: usize,
) -> Read<Vec<Document>> {
    let sql = include_str!("../sql/due_documents.sql");
    let params: [&(dyn ToSql + Sync); 3] = [&kind.as_str(), &now.as_millis(), &limit_of(limit)];
    let rows = rows(connection, "finding due documents", sql, &params).await?;
    rows.iter().map(|row| document_of(row, parsed(row, 8)?, kind)).collect()
}

fn document_of(row: &Row, project: ProjectId, kind: DocumentKind) -> Read<Document> {
    let id = required_text(row, 0)?;
    let body = serde_json::from_str(value(row, 3)?).map_err(|error| {
        damaged(format!("reading the body of {} `{id}`", kind.as_str())).with_source(error)
    })?;
    Ok(Document {
        project,
        kind,
        version: version(row, 1)?.0,
        name: text(row, 2)?,
        body,
        created_at: Timestamp::from_millis(value(row, 4)?),
        updated_at: Timestamp::from_millis(value(row, 5)?),
        wake_at: value::<Option<i64>>(row, 6)?.map(Timestamp::from_millis),
        deleted: value(row, 7)?,
        id,
    })
}

pub(crate) async fn budget(connection: &Connection, project: ProjectId, root: SessionId) -> Read<Budget> {
    let sql = include_str!("../sql/budget.sql");
    let params: [&(dyn ToSql + Sync); 2] = [&project.to_string(), &root.to_string()];
    let rows = rows(connection, "reading a budget", sql, &params).await?;
    let Some(row) = rows.first() else { return Ok(Budget::default()) };
    let limit = value::<Option<i64>>(row, 0)?.map(i64::cast_unsigned);
    let spent = value::<i64>(row, 1)?.cast_unsigned();
    Ok(ledger::budget(limit, spent, value::<Vec<i64>>(row, 2)?.into_iter().map(i64::cast_unsigned)))
}

/// How shared budgets stand, in the order in which they are named.
pub(crate) async fn budget_uses(
    connection: &Connection,
    project: ProjectId,
    budgets: &[BudgetId],
) -> Read<Vec<BudgetUse>> {
    let names: Vec<String> = budgets.iter().map(BudgetId::to_string).collect();
    let params: [&(dyn ToSql + Sync); 2] = [&project.to_string(), &names];
    let rows = rows(connection, "reading budgets", include_str!("../sql/budget_use.sql"), &params).await?;
    let mut found: BTreeMap<BudgetId, BudgetUse> = BTreeMap::new();
    for row in &rows {
        found.insert(parsed(row, 0)?, budget_use(row, 1)?);
    }
    Ok(budgets.iter().map(|id| found.get(id).copied().unwrap_or_default()).collect())
}

/// What was spent and what is set aside, from a column on.
pub(crate) fn budget_use(row: &Row, first: usize) -> Read<BudgetUse> {
    let amount = |index| value::<i64>(row, first + index).map(i64::cast_unsigned);
    let amounts = |first| {
        Ok::<_, StoreError>(Amounts {
            nano_usd: amount(first)?,
            tokens: amount(first + 1)?,
            calls: amount(first + 2)?,
            millis: amount(first + 3)?,
        })
    };
    Ok(BudgetUse { spent: amounts(0)?, reserved: amounts(4)? })
}

/// What the row of a payload holds; the outer absence is a payload that is not there.
pub(crate) async fn blob(
    connection: &Connection,
    project: ProjectId,
    blob: BlobRef,
) -> Read<Option<Option<Bytes>>> {
    let params: [&(dyn ToSql + Sync); 2] = [&project.to_string(), &blob.to_string()];
    let rows = rows(connection, "reading a payload", include_str!("../sql/blob.sql"), &params).await?;
    rows.first().map(|row| Ok(value::<Option<Vec<u8>>>(row, 0)?.map(Bytes::from))).transpose()
}

pub(crate) async fn blob_by_digest(
    connection: &Connection,
    project: ProjectId,
    digest: [u8; 32],
) -> Read<Option<(BlobRef, Option<Bytes>)>> {
    let from = BlobRef::prefix(digest);
    // The character after the colon that ends the prefix.
    let to = format!("{};", from.trim_end_matches(':'));
    let params: [&(dyn ToSql + Sync); 3] = [&project.to_string(), &from, &to];
    let sql = include_str!("../sql/blob_by_digest.sql");
    let rows = rows(connection, "reading a payload", sql, &params).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let blob = required_text(row, 0)?.parse().map_err(|_| damaged("reading the reference of a payload"))?;
    Ok(Some((blob, value::<Option<Vec<u8>>>(row, 1)?.map(Bytes::from))))
}

pub(crate) async fn receipt(connection: &Connection, project: ProjectId, key: &str) -> Read<Option<Receipt>> {
    let params: [&(dyn ToSql + Sync); 2] = [&project.to_string(), &stored(key)];
    let rows = rows(connection, "reading a receipt", include_str!("../sql/receipt.sql"), &params).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let status =
        u16::try_from(value::<i32>(row, 1)?).map_err(|_| damaged("reading the status of a receipt"))?;
    Ok(Some(Receipt {
        project,
        key: key.to_owned(),
        digest: required_text(row, 0)?,
        status,
        body: required_text(row, 2)?,
        at: Timestamp::from_millis(value(row, 3)?),
    }))
}

/// The session key in the first two columns.
pub(crate) fn key_of(row: &Row) -> Read<SessionKey> {
    Ok(SessionKey { project: parsed(row, 0)?, session: parsed(row, 1)? })
}

pub(crate) fn node_of(row: &Row, index: usize) -> Read<Option<NodeId>> {
    match value::<Option<&str>>(row, index)? {
        Some(text) => text.parse().map(Some).map_err(|_| damaged(format!("reading the node id `{text}`"))),
        None => Ok(None),
    }
}

/// The column `index` of a row. One that does not decode is damage.
pub(crate) fn value<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Read<T> {
    row.try_get(index).map_err(|error| damaged("decoding a column").with_source(error))
}

/// The id in column `index`.
pub(crate) fn parsed<T: FromStr>(row: &Row, index: usize) -> Read<T> {
    let text: &str = value(row, index)?;
    text.parse().map_err(|_| damaged(format!("reading the id `{text}`")))
}

/// The escaped text in column `index`.
pub(crate) fn text(row: &Row, index: usize) -> Read<Option<String>> {
    let wrong = || damaged("decoding a text");
    value::<Option<String>>(row, index)?.map(|text| original(text).ok_or_else(wrong)).transpose()
}

pub(crate) fn required_text(row: &Row, index: usize) -> Read<String> {
    text(row, index)?.ok_or_else(|| damaged("decoding a text that is missing"))
}

/// The value in a row's only column.
fn json<T: DeserializeOwned>(row: &Row) -> Read<T> {
    serde_json::from_str(value(row, 0)?)
        .map_err(|error| damaged("decoding a stored projection").with_source(error))
}

fn cursor<Id: FromStr>(page: &Page, what: &str) -> Read<Option<String>> {
    match &page.after {
        Some(text) if text.parse::<Id>().is_err() => Err(unknown_cursor(text, what)),
        other => Ok(other.clone()),
    }
}

fn unknown_cursor(after: &str, what: &str) -> StoreError {
    let shown: String = after.chars().take(80).collect();
    StoreError::new(StoreErrorKind::UnknownCursor, format!("listing {what} after `{shown}`"))
}

pub(crate) fn version(row: &Row, index: usize) -> Read<Version> {
    let version: i64 = value(row, index)?;
    u64::try_from(version).map(Version).map_err(|_| damaged(format!("reading the version {version}")))
}

/// The key of a session as its rows lead with it.
pub(crate) fn key_text(key: SessionKey) -> (String, String) {
    (key.project.to_string(), key.session.to_string())
}

pub(crate) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
