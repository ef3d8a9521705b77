//! Writes: encoded by the caller, decided against the locked rows, carried out by a writer.

use bytes::Bytes;
use tenure_journal::{AuditRecord, BlobRef, Event, ProjectId, Recorded, SessionKey, Timestamp, Version};
use tenure_store::{Append, AuditEntry, Document, Indexed, Receipt, StoreError, UseEntry};
use tokio_postgres::types::ToSql;

use crate::audit;
use crate::connect::Connection;
use crate::memory::EpisodeRow;
use crate::read::rows;
use crate::text::stored;

/// One write, encoded, that is carried out whole or not at all.
#[derive(Debug)]
pub(crate) enum Write {
    /// Events and what follows from them.
    Append(Box<AppendRows>),
    /// Documents' next versions.
    Put(Vec<DocumentRow>, Option<ReceiptRow>, Vec<(ProjectId, String)>),
    /// How shared budgets stand.
    Use(ProjectId, Vec<UseEntry>, Vec<(ProjectId, String)>),
    /// A payload, or that it is in the object store.
    Blob(ProjectId, BlobRef, Option<Bytes>),
}

/// An [`Append`] as rows.
#[derive(Debug)]
pub(crate) struct AppendRows {
    /// Without its events, documents, episodes and receipt, which are below.
    pub(crate) append: Append,
    pub(crate) key: SessionKey,
    /// Lines of `["key","value"]`.
    pub(crate) metadata: String,
    pub(crate) agent_name: Option<String>,
    pub(crate) events: Vec<String>,
    pub(crate) items: Vec<String>,
    pub(crate) turns: Vec<String>,
    pub(crate) audit: Vec<String>,
    pub(crate) episodes: Vec<EpisodeRow>,
    pub(crate) documents: Vec<DocumentRow>,
    pub(crate) receipt: Option<ReceiptRow>,
}

/// A [`Document`] as a row.
#[derive(Debug)]
pub(crate) struct DocumentRow {
    /// As it was given.
    pub(crate) document: Document,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) body: String,
    /// What it is found by from now on; absent where that stays as it is.
    pub(crate) terms: Option<Vec<String>>,
}

/// A [`Receipt`] as a row.
#[derive(Debug)]
pub(crate) struct ReceiptRow {
    /// With its texts as they are stored.
    pub(crate) receipt: Receipt,
}

/// What came of a write. Refusals wrote nothing and leave the transaction as it was.
pub(crate) type Answer = Result<Version, StoreError>;

impl Write {
    pub(crate) fn append(mut append: Append) -> Self {
        let events = std::mem::take(&mut append.events);
        let documents = std::mem::take(&mut append.documents);
        let indexed = std::mem::take(&mut append.indexed);
        let episodes = std::mem::take(&mut append.episodes);
        Self::Append(Box::new(AppendRows {
            key: append.head.key,
            metadata: metadata(&append.head.metadata),
            agent_name: append.head.agent_name.as_deref().map(|name| stored(name).into_owned()),
            events: events.iter().map(event).collect(),
            items: append.items.iter().map(|row| json(&row.item)).collect(),
            turns: append.turns.iter().map(json).collect(),
            audit: append.audit.iter().map(record).collect(),
            episodes: episodes.into_iter().map(EpisodeRow::of).collect(),
            documents: documents
                .into_iter()
                .map(DocumentRow::of)
                .chain(indexed.into_iter().map(DocumentRow::found))
                .collect(),
            receipt: append.receipt.take().map(ReceiptRow::of),
            append,
        }))
    }

    pub(crate) fn put(
        documents: Vec<Document>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<Self, StoreError> {
        Self::put_rows(documents.into_iter().map(DocumentRow::of).collect(), receipt, audit)
    }

    pub(crate) fn put_indexed(
        documents: Vec<Indexed>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<Self, StoreError> {
        Self::put_rows(documents.into_iter().map(DocumentRow::found).collect(), receipt, audit)
    }

    fn put_rows(
        documents: Vec<DocumentRow>,
        receipt: Option<Receipt>,
        audit: Vec<AuditEntry>,
    ) -> Result<Self, StoreError> {
        Ok(Self::Put(documents, receipt.map(ReceiptRow::of), records(audit)?))
    }

    pub(crate) fn uses(
        project: ProjectId,
        uses: Vec<UseEntry>,
        audit: Vec<AuditEntry>,
    ) -> Result<Self, StoreError> {
        Ok(Self::Use(project, uses, records(audit)?))
    }

    /// Roughly how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(rows) => {
                let encoded = rows.events.iter().chain(&rows.items).chain(&rows.turns);
                let snapshot = rows.append.snapshot.as_ref().map_or(0, Bytes::len);
                let episodes: usize = rows.episodes.iter().map(|row| row.text.len() + row.terms.len()).sum();
                encoded.map(String::len).sum::<usize>() + rows.metadata.len() + snapshot + episodes
            }
            Self::Put(documents, ..) => documents.iter().map(|row| row.body.len()).sum(),
            Self::Use(..) => 0,
            Self::Blob(_, _, payload) => payload.as_ref().map_or(0, Bytes::len),
        }
    }

    pub(crate) fn documents(&self) -> &[DocumentRow] {
        match self {
            Self::Append(rows) => &rows.documents,
            Self::Put(documents, ..) => documents,
            Self::Use(..) | Self::Blob(..) => &[],
        }
    }

    /// What changes in shared budgets of a project.
    pub(crate) fn shared_uses(&self) -> Option<(ProjectId, &[UseEntry])> {
        match self {
            Self::Append(rows) => Some((rows.key.project, &rows.append.uses)),
            Self::Use(project, uses, _) => Some((*project, uses)),
            Self::Put(..) | Self::Blob(..) => None,
        }
    }

    pub(crate) fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Append(rows) => rows.receipt.as_ref(),
            Self::Put(_, receipt, _) => receipt.as_ref(),
            Self::Use(..) | Self::Blob(..) => None,
        }
        .map(|row| &row.receipt)
    }
}

fn records(audit: Vec<AuditEntry>) -> Result<Vec<(ProjectId, String)>, StoreError> {
    let text = |entry: AuditEntry| Ok((entry.project, audit::text(&entry.record)?.to_owned()));
    audit.into_iter().map(text).collect()
}

impl DocumentRow {
    fn of(document: Document) -> Self {
        Self {
            id: stored(&document.id).into_owned(),
            name: document.name.as_deref().map(|name| stored(name).into_owned()),
            body: json(&document.body),
            terms: None,
            document,
        }
    }

    /// One that is found by terms.
    fn found(Indexed { document, terms }: Indexed) -> Self {
        let terms = terms.iter().map(|term| stored(term).into_owned()).collect();
        Self { terms: Some(terms), ..Self::of(document) }
    }
}

impl ReceiptRow {
    fn of(receipt: Receipt) -> Self {
        let Receipt { project, key, digest, status, body, at } = receipt;
        let text = |text: String| stored(&text).into_owned();
        Self {
            receipt: Receipt { project, key: text(key), digest: text(digest), status, body: text(body), at },
        }
    }
}

/// What [`note`] does, in words.
pub(crate) const NOTING: &str = "noting a document";

/// Keeps a document without a history. One statement of its own: it meets no version and takes no receipt.
pub(crate) async fn note(connection: &Connection, document: Document) -> Result<(), StoreError> {
    let row = DocumentRow::of(document);
    let document = &row.document;
    let (project, kind) = (document.project.to_string(), document.kind.as_str());
    let params: [&(dyn ToSql + Sync); 8] = [
        &project,
        &kind,
        &row.id,
        &row.name,
        &row.body,
        &document.created_at.as_millis(),
        &document.updated_at.as_millis(),
        &document.wake_at.map(Timestamp::as_millis),
    ];
    rows(connection, NOTING, include_str!("../sql/note_document.sql"), &params).await.map(|_| ())
}

/// One pair for each line: JSON has no line breaks of its own.
fn metadata(pairs: &std::collections::BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = pairs.iter().map(pair).collect();
    pairs.join("\n")
}

/// A pair of metadata as it is stored and looked for. Equal pairs are equal texts.
pub(crate) fn pair(pair: (&String, &String)) -> String {
    json(&pair)
}

fn event(event: &Event) -> String {
    String::from_utf8(Recorded::encode(event)).expect("JSON is UTF-8")
}

fn record(record: &AuditRecord) -> String {
    String::from_utf8(record.to_bytes()).expect("JSON is UTF-8")
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("durable types hold only string keys and finite numbers")
}

/// A count as PostgreSQL's integer. Counts start at zero and no journal reaches the other end.
pub(crate) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
