//! Writes: encoded by the caller, carried out by the writer.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _};
use tenure_journal::{AuditRecord, BlobRef, BudgetUse, ProjectId, Recorded, SessionKey, Timestamp, Version};
use tenure_store::{
    Append, AuditEntry, BudgetChange, BudgetEntry, Document, Embedded, Erasing, Gone, Indexed,
    Place as Erased, Receipt, Seal, Stamp, StoreError, StoreErrorKind, UseEntry,
};

use crate::journal::{End, Place};
use crate::{audit, erase, found, memory, nodes};

/// One write, encoded, that is carried out whole or not at all.
#[derive(Debug)]
pub(crate) enum Write {
    /// Events and what follows from them.
    Append(Box<AppendRows>),
    /// Documents' next versions.
    Put(Vec<Document>, Option<Receipt>, Vec<AuditEntry>),
    /// Documents' next versions, with what they are found by.
    PutIndexed(Vec<Indexed>, Option<Receipt>, Vec<AuditEntry>),
    /// How shared budgets stand.
    Use(ProjectId, Vec<UseEntry>, Vec<AuditEntry>),
    /// A document without a history.
    Note(Box<Document>),
    /// Vectors of a model.
    Embed(String, Vec<Embedded>),
    /// A payload.
    Blob(ProjectId, BlobRef, Bytes),
    /// A payload goes, if it was last kept before a moment. Answers version 1 if it did.
    Forget(ProjectId, BlobRef, Stamp),
    /// A place is erased, or counted; then what of it.
    Erase(Box<(ProjectId, Erased, Erasing, Mutex<Gone>)>),
    /// Nothing is left of removed rows. Not part of any transaction: see the writer.
    Scrub,
    /// A log grows.
    Seal(Box<Seal>),
    /// Something about nodes and what they hold.
    Node(nodes::Change),
}

/// An [`Append`] as rows.
#[derive(Debug)]
pub(crate) struct AppendRows {
    append: Append,
    project: String,
    session: String,
    metadata: Vec<u8>,
    events: Vec<Vec<u8>>,
    items: Vec<Vec<u8>>,
    turns: Vec<Vec<u8>>,
    audit: Vec<Vec<u8>>,
}

/// What came of a write. Refusals wrote nothing and leave the transaction as it was.
pub(crate) type Answer = Result<Version, StoreError>;

impl Write {
    pub(crate) fn append(mut append: Append) -> Self {
        let key = append.head.key;
        let events = std::mem::take(&mut append.events);
        Self::Append(Box::new(AppendRows {
            project: key.project.to_string(),
            session: key.session.to_string(),
            metadata: json(&append.head.metadata),
            events: events.iter().map(Recorded::encode).collect(),
            items: append.items.iter().map(|row| json(&row.item)).collect(),
            turns: append.turns.iter().map(json).collect(),
            audit: append.audit.iter().map(AuditRecord::to_bytes).collect(),
            append,
        }))
    }

    /// Roughly how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(rows) => {
                let encoded = rows.events.iter().chain(&rows.items).chain(&rows.turns);
                let snapshot = rows.append.snapshot.as_ref().map_or(0, Bytes::len);
                let episodes = rows.append.episodes.iter();
                let terms = episodes.clone().flat_map(|row| &row.terms).map(String::len).sum::<usize>();
                let episodes = episodes.map(|row| row.episode.text.len()).sum::<usize>() + terms;
                encoded.map(Vec::len).sum::<usize>() + rows.metadata.len() + snapshot + episodes
            }
            // Documents are configuration, bounded by what a request may hold.
            Self::Put(..)
            | Self::PutIndexed(..)
            | Self::Use(..)
            | Self::Note(_)
            | Self::Node(_)
            | Self::Forget(..)
            | Self::Erase(_)
            | Self::Scrub => 0,
            Self::Embed(_, rows) => rows.iter().map(|row| row.vectors.as_bytes().len()).sum(),
            Self::Seal(seal) => seal.records.iter().map(|(_, record)| record.len()).sum(),
            Self::Blob(_, _, payload) => payload.len(),
        }
    }

    /// What it leaves to be indexed: episodes and their terms.
    pub(crate) fn unindexed(&self) -> usize {
        match self {
            Self::Append(rows) => rows.append.episodes.iter().map(|row| 1 + row.terms.len()).sum(),
            Self::Put(..)
            | Self::PutIndexed(..)
            | Self::Use(..)
            | Self::Note(_)
            | Self::Embed(..)
            | Self::Blob(..)
            | Self::Forget(..)
            | Self::Erase(_)
            | Self::Scrub
            | Self::Seal(_)
            | Self::Node(_) => 0,
        }
    }

    /// Carries it out in the transaction of `statements`. The outer error leaves the transaction unknown
    /// and it must be rolled back.
    pub(crate) fn run(&self, statements: &mut Statements<'_>) -> rusqlite::Result<Answer> {
        let connection = statements.connection;
        match self {
            Self::Append(rows) if rows.can_fail_late() => whole(connection, || rows.run(statements)),
            Self::Append(rows) => rows.run(statements),
            Self::Put(documents, receipt, audit) => {
                whole(connection, || run_put(connection, documents.iter(), receipt.as_ref(), audit))
            }
            Self::PutIndexed(rows, receipt, audit) => whole(connection, || {
                let documents = rows.iter().map(|row| &row.document);
                let answer = run_put(connection, documents, receipt.as_ref(), audit)?;
                if answer.is_ok() {
                    rows.iter().try_for_each(|row| found::index(connection, &row.document, &row.terms))?;
                }
                Ok(answer)
            }),
            Self::Use(project, uses, audit) => whole(connection, || {
                if let Err(refusal) = put_uses(connection, &project.to_string(), uses)? {
                    return Ok(Err(refusal));
                }
                put_entries(connection, audit)?;
                Ok(Ok(Version::ZERO))
            }),
            Self::Note(document) => note(connection, document).map(|()| Ok(Version::ZERO)),
            Self::Embed(model, rows) => memory::embed(connection, model, rows).map(|()| Ok(Version::ZERO)),
            Self::Seal(seal) => whole(connection, || audit::seal(connection, seal)),
            Self::Erase(erase) => {
                let (project, place, erasing, gone) = &**erase;
                let erased = erase::run(connection, *project, place, *erasing)?;
                *gone.lock().unwrap_or_else(PoisonError::into_inner) = erased;
                Ok(Ok(Version::ZERO))
            }
            // The writer does it when no transaction is under way.
            Self::Scrub => Ok(Ok(Version::ZERO)),
            Self::Node(change) => change.run(connection).map(|()| Ok(Version::ZERO)),
            Self::Blob(project, blob, payload) => {
                let row = (project.to_string(), blob.to_string(), &payload[..]);
                connection.prepare_cached(include_str!("../sql/put_blob.sql"))?.execute(row)?;
                let row = (project.to_string(), blob.to_string(), nodes::clock());
                connection.prepare_cached(include_str!("../sql/stamp_blob.sql"))?.execute(row)?;
                Ok(Ok(Version::ZERO))
            }
            Self::Forget(project, blob, before) => {
                let (project, blob) = (project.to_string(), blob.to_string());
                let mut forget = connection.prepare_cached(include_str!("../sql/forget_blob.sql"))?;
                let forgotten = forget.execute((&project, &blob, int(before.0)))?;
                if forgotten > 0 {
                    let mut stamp = connection.prepare_cached(include_str!("../sql/forget_stamp.sql"))?;
                    stamp.execute((&project, &blob))?;
                }
                Ok(Ok(Version(forgotten as u64)))
            }
        }
    }
}

/// The statements of every append, found once for a transaction and not for each append in it: with 64 of
/// them that saves a seventh of the time they take beside the commit.
pub(crate) struct Statements<'c> {
    connection: &'c Connection,
    journal_end: CachedStatement<'c>,
    append_event: CachedStatement<'c>,
    extend_session: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            journal_end: connection.prepare_cached(include_str!("../sql/journal_end.sql"))?,
            append_event: connection.prepare_cached(include_str!("../sql/append_event.sql"))?,
            extend_session: connection.prepare_cached(include_str!("../sql/extend_session.sql"))?,
        })
    }
}

/// Runs a write whose refusal may come after its first statement, and takes back what it wrote then.
fn whole(
    connection: &Connection,
    run: impl FnOnce() -> rusqlite::Result<Answer>,
) -> rusqlite::Result<Answer> {
    connection.prepare_cached(include_str!("../sql/savepoint.sql"))?.execute(())?;
    let answer = run()?;
    if answer.is_err() {
        connection.prepare_cached(include_str!("../sql/rollback_to.sql"))?.execute(())?;
    }
    connection.prepare_cached(include_str!("../sql/release_savepoint.sql"))?.execute(())?;
    Ok(answer)
}

impl AppendRows {
    fn can_fail_late(&self) -> bool {
        let append = &self.append;
        let in_order = append.documents.is_empty() && append.indexed.is_empty();
        !(in_order && append.budget.is_empty() && append.uses.is_empty())
    }

    fn run(&self, statements: &mut Statements<'_>) -> rusqlite::Result<Answer> {
        let connection = statements.connection;
        let append = &self.append;
        if let Some(refusal) = taken(connection, append.receipt.as_ref())? {
            return Ok(Err(refusal));
        }
        let end = End::read(&mut statements.journal_end, &self.project, &self.session)?;
        let holder = append.holder.map(|node| node.to_string());
        if let Some(kind) = refused(append.expected, end.as_ref(), holder.as_deref()) {
            let context = format!("appending to session `{}` at version {}", self.session, append.expected.0);
            return Ok(Err(StoreError::new(kind, context)));
        }
        for document in &append.documents {
            if let Err(refusal) = put_document(connection, document)? {
                return Ok(Err(refusal));
            }
        }
        for Indexed { document, terms } in &append.indexed {
            if let Err(refusal) = put_document(connection, document)? {
                return Ok(Err(refusal));
            }
            found::index(connection, document, terms)?;
        }
        for entry in &append.budget {
            if let Err(refusal) = self.put_budget(connection, entry)? {
                return Ok(Err(refusal));
            }
        }
        if let Err(refusal) = put_uses(connection, &self.project, &append.uses)? {
            return Ok(Err(refusal));
        }
        let tail = self.put_events(&mut statements.append_event, end.and_then(|end| end.place.position))?;
        self.put_head(statements, tail, holder.as_deref())?;
        self.remove_gone(connection)?;
        self.put_items(connection)?;
        self.put_turns(connection)?;
        if let Some(bytes) = &append.snapshot {
            let row = (&self.project, &self.session, int(tail.version.0), &bytes[..]);
            connection.prepare_cached(include_str!("../sql/put_snapshot.sql"))?.execute(row)?;
        }
        self.put_unsealed(connection)?;
        self.put_episodes(connection)?;
        put_receipt(connection, append.receipt.as_ref())?;
        Ok(Ok(tail.version))
    }

    fn put_unsealed(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.audit.is_empty() {
            return Ok(());
        }
        let mut put = connection.prepare_cached(include_str!("../sql/put_unsealed.sql"))?;
        for record in &self.audit {
            put.execute((&self.project, Text(record)))?;
        }
        Ok(())
    }

    /// Writes the episodes, after those that a rewinding gives up are gone. A session that is deleted has none.
    fn put_episodes(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (append, session) = (&self.append, (self.project.as_str(), self.session.as_str()));
        let gone_from = if append.head.deleted { Some(0) } else { append.gone.items_from };
        if let Some(from) = gone_from {
            memory::forget(connection, session, from, u64::MAX)?;
        }
        let mut kept = append.episodes.iter().filter(|_| !append.head.deleted);
        kept.try_for_each(|row| memory::put(connection, session, row))
    }

    /// Writes the events, each linked to the one before it and the first to the one at `previous`, and
    /// returns the place of the last.
    fn put_events(
        &self,
        append_event: &mut CachedStatement<'_>,
        previous: Option<i64>,
    ) -> rusqlite::Result<Place> {
        let at = self.append.at.as_millis();
        let mut tail = Place { version: self.append.expected, position: previous };
        for event in &self.events {
            let version = tail.version.plus(1);
            let row = (&self.project, &self.session, int(version.0), tail.position, at, Text(event));
            tail = Place { version, position: Some(append_event.insert(row)?) };
        }
        Ok(tail)
    }

    /// Replaces the head, found at the expected version, by one whose journal ends at `tail`.
    fn put_head(
        &self,
        statements: &mut Statements<'_>,
        tail: Place,
        holder: Option<&str>,
    ) -> rusqlite::Result<()> {
        let head = &self.append.head;
        let expected = int(self.append.expected.0);
        let version = int(tail.version.0);
        let agent = head.agent_id.to_string();
        let wake_at = head.wake_at.map(Timestamp::as_millis);
        let parent = head.parent.map(|parent| parent.to_string());
        let row: [&dyn ToSql; 15] = [
            &self.project,
            &self.session,
            &version,
            &head.status.as_str(),
            &agent,
            &head.agent_name,
            &Text(&self.metadata),
            &head.created_at.as_millis(),
            &head.last_active_at.as_millis(),
            &wake_at,
            &head.deleted,
            &holder,
            &tail.position,
            &parent,
            &expected,
        ];
        let changed = match self.append.expected {
            Version::ZERO => {
                let open_session = include_str!("../sql/open_session.sql");
                statements.connection.prepare_cached(open_session)?.execute(&row[..14])?
            }
            Version(_) => statements.extend_session.execute(&row[..])?,
        };
        // The session was found at the expected version in this transaction. Were it not there now, the
        // events would follow nothing, and the transaction must not be committed.
        if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
    }

    fn put_budget(
        &self,
        connection: &Connection,
        entry: &BudgetEntry,
    ) -> rusqlite::Result<Result<(), StoreError>> {
        let (project, root) = (&self.project, entry.root.to_string());
        connection.prepare_cached(include_str!("../sql/open_budget.sql"))?.execute((project, &root))?;
        match &entry.change {
            BudgetChange::Limit(limit) => {
                let mut statement = connection.prepare_cached(include_str!("../sql/limit_budget.sql"))?;
                statement.execute((project, &root, limit.map(int)))?;
            }
            BudgetChange::Reserve { key, nano_usd } => {
                let mut statement = connection.prepare_cached(include_str!("../sql/reserve.sql"))?;
                statement.execute((project, &root, key, int(*nano_usd)))?;
                let mut budget = connection.prepare_cached(include_str!("../sql/budget.sql"))?;
                let budget = budget.query_row((project, &root), nodes::budget_of)?;
                let used = budget.spent_nano_usd.saturating_add(budget.reserved_nano_usd);
                if budget.limit_nano_usd.is_some_and(|limit| used > limit) {
                    let context = format!("reserving in the budget of session `{root}`");
                    return Ok(Err(StoreError::new(StoreErrorKind::BudgetExceeded, context)));
                }
            }
            BudgetChange::Settle { key, nano_usd } => {
                let mut release = connection.prepare_cached(include_str!("../sql/release.sql"))?;
                release.execute((project, &root, key))?;
                let mut spend = connection.prepare_cached(include_str!("../sql/spend_budget.sql"))?;
                spend.execute((project, &root, int(*nano_usd)))?;
            }
        }
        Ok(Ok(()))
    }

    fn remove_gone(&self, connection: &Connection) -> rusqlite::Result<()> {
        let gone = &self.append.gone;
        if let Some(from) = gone.items_from {
            let mut statement = connection.prepare_cached(include_str!("../sql/gone_items.sql"))?;
            statement.execute((&self.project, &self.session, int(from)))?;
        }
        for turn in &gone.turns {
            let mut statement = connection.prepare_cached(include_str!("../sql/gone_turn.sql"))?;
            statement.execute((&self.project, &self.session, turn.to_string()))?;
        }
        Ok(())
    }

    fn put_items(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.items.is_empty() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(include_str!("../sql/put_item.sql"))?;
        for (row, json) in self.append.items.iter().zip(&self.items) {
            let (item_id, turn_id) = (row.item.id.to_string(), row.item.turn_id.to_string());
            let public = row.item.is_public();
            let ordinal = int(row.ordinal);
            statement.execute((
                &self.project,
                &self.session,
                ordinal,
                item_id,
                turn_id,
                public,
                Text(json),
            ))?;
        }
        Ok(())
    }

    fn put_turns(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.turns.is_empty() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(include_str!("../sql/put_turn.sql"))?;
        for (turn, json) in self.append.turns.iter().zip(&self.turns) {
            statement.execute((&self.project, &self.session, turn.id.to_string(), Text(json)))?;
        }
        Ok(())
    }
}

/// Why a session whose journal ends at `end` takes no append from `holder` at version `expected`, if so.
fn refused(expected: Version, end: Option<&End>, holder: Option<&str>) -> Option<StoreErrorKind> {
    let actual = end.map_or(Version::ZERO, |end| end.place.version);
    if actual != expected {
        return Some(StoreErrorKind::Conflict { actual });
    }
    let held_by = end.and_then(|end| end.holder.as_deref());
    let held = holder.is_some() && held_by.is_some() && held_by != holder;
    held.then_some(StoreErrorKind::Held)
}

fn run_put<'d>(
    connection: &Connection,
    documents: impl Iterator<Item = &'d Document>,
    receipt: Option<&Receipt>,
    audit: &[AuditEntry],
) -> rusqlite::Result<Answer> {
    if let Some(refusal) = taken(connection, receipt)? {
        return Ok(Err(refusal));
    }
    for document in documents {
        if let Err(refusal) = put_document(connection, document)? {
            return Ok(Err(refusal));
        }
    }
    put_entries(connection, audit)?;
    put_receipt(connection, receipt)?;
    Ok(Ok(Version::ZERO))
}

fn put_entries(connection: &Connection, audit: &[AuditEntry]) -> rusqlite::Result<()> {
    if audit.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(include_str!("../sql/put_unsealed.sql"))?;
    for entry in audit {
        put.execute((entry.project.to_string(), Text(&entry.record)))?;
    }
    Ok(())
}

fn put_uses(
    connection: &Connection,
    project: &str,
    uses: &[UseEntry],
) -> rusqlite::Result<Result<(), StoreError>> {
    for entry in uses {
        let budget = entry.budget.to_string();
        let mut standing = nodes::budget_use(connection, project, &budget)?;
        if let Err(refusal) = entry.apply(&mut standing) {
            return Ok(Err(refusal));
        }
        let BudgetUse { spent, reserved } = standing;
        let row: [&dyn ToSql; 10] = [
            &project,
            &budget,
            &int(spent.nano_usd),
            &int(spent.tokens),
            &int(spent.calls),
            &int(spent.millis),
            &int(reserved.nano_usd),
            &int(reserved.tokens),
            &int(reserved.calls),
            &int(reserved.millis),
        ];
        connection.prepare_cached(include_str!("../sql/put_budget_use.sql"))?.execute(&row[..])?;
    }
    Ok(Ok(()))
}

fn note(connection: &Connection, document: &Document) -> rusqlite::Result<()> {
    connection.prepare_cached(include_str!("../sql/note_document.sql"))?.execute((
        document.project.to_string(),
        document.kind.as_str(),
        &document.id,
        &document.name,
        Text(&json(&document.body)),
        document.created_at.as_millis(),
        document.updated_at.as_millis(),
        document.wake_at.map(Timestamp::as_millis),
    ))?;
    Ok(())
}

fn put_document(connection: &Connection, document: &Document) -> rusqlite::Result<Result<(), StoreError>> {
    let project = document.project.to_string();
    let (kind, id) = (document.kind.as_str(), &document.id);
    let mut latest = connection.prepare_cached(include_str!("../sql/document_version.sql"))?;
    let actual = latest.query_row((&project, kind, id), version_of).optional()?.unwrap_or(Version::ZERO);
    if actual.0.checked_add(1) != Some(document.version) {
        let context = format!("writing version {} of {kind} `{id}`", document.version);
        return Ok(Err(StoreError::new(StoreErrorKind::Conflict { actual }, context)));
    }
    connection.prepare_cached(include_str!("../sql/retire_document.sql"))?.execute((&project, kind, id))?;
    connection.prepare_cached(include_str!("../sql/put_document.sql"))?.execute((
        &project,
        kind,
        id,
        int(document.version),
        document.deleted,
        &document.name,
        Text(&json(&document.body)),
        document.created_at.as_millis(),
        document.updated_at.as_millis(),
        document.wake_at.map(Timestamp::as_millis),
    ))?;
    Ok(Ok(()))
}

fn taken(connection: &Connection, receipt: Option<&Receipt>) -> rusqlite::Result<Option<StoreError>> {
    let Some(receipt) = receipt else { return Ok(None) };
    let project = receipt.project.to_string();
    let mut statement = connection.prepare_cached(include_str!("../sql/receipt.sql"))?;
    if !statement.exists((&project, &receipt.key))? {
        return Ok(None);
    }
    let context = format!("writing in project `{project}`");
    Ok(Some(StoreError::new(StoreErrorKind::ReceiptExists, context)))
}

fn put_receipt(connection: &Connection, receipt: Option<&Receipt>) -> rusqlite::Result<()> {
    let Some(receipt) = receipt else { return Ok(()) };
    let Receipt { project, key, digest, status, body, at } = receipt;
    let row = (project.to_string(), key, digest, status, body, at.as_millis());
    connection.prepare_cached(include_str!("../sql/put_receipt.sql"))?.execute(row)?;
    Ok(())
}

/// The key of a session as its rows lead with it.
pub(crate) fn key_text(key: SessionKey) -> (String, String) {
    (key.project.to_string(), key.session.to_string())
}

/// A count as SQLite's integer. Counts start at zero and no journal reaches the other end.
pub(crate) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn version_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Version> {
    row.get(0).map(|version: i64| Version(version.unsigned_abs()))
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("durable types hold only string keys and finite numbers")
}

/// JSON bytes that are bound as text without a copy or a second check.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}
