//! Facts as documents, with the terms they are found by.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tenure_journal::{Fact, FactId, ProjectId, Timestamp};
use tenure_memory::{KnownFact, fact};
use tenure_store::{Document, DocumentKind, Indexed, Store};

use super::MemoryError;

/// A stored fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFact {
    /// Its id.
    pub id: FactId,
    /// The document. Its name is the mark of the scope.
    pub document: Document,
    /// Its content.
    pub fact: Fact,
}

impl SavedFact {
    /// Reads a document.
    ///
    /// # Errors
    /// `Damaged`.
    pub(super) fn from_document(document: Document) -> Result<Self, MemoryError> {
        let wrong = |_| MemoryError::Damaged(serde::de::Error::custom("the document has no id of a fact"));
        let id = document.id.parse().map_err(wrong)?;
        let fact = decode(&document)?;
        Ok(Self { id, document, fact })
    }

    /// The first version.
    pub(super) fn new(project: ProjectId, id: FactId, fact: Fact, now: Timestamp) -> Self {
        let name = fact.scope.mark(project);
        let document = first((project, DocumentKind::Fact, id.to_string()), name, &fact, now);
        Self { id, document, fact }
    }

    /// The next version, with this content.
    pub(super) fn next(&self, fact: Fact, now: Timestamp) -> Self {
        let document = Document {
            version: self.document.version + 1,
            body: encode(&fact),
            updated_at: now,
            ..self.document.clone()
        };
        Self { id: self.id, document, fact }
    }

    /// The version with what it is found by.
    pub(super) fn indexed(&self) -> Indexed {
        Indexed { document: self.document.clone(), terms: fact::terms(&self.fact) }
    }

    /// Without its document.
    #[must_use]
    pub fn known(&self) -> KnownFact {
        KnownFact { id: self.id, fact: self.fact.clone() }
    }
}

pub(super) fn first<T: Serialize>(
    (project, kind, id): (ProjectId, DocumentKind, String),
    name: String,
    body: &T,
    now: Timestamp,
) -> Document {
    Document {
        project,
        kind,
        id,
        version: 1,
        name: Some(name),
        body: encode(body),
        created_at: now,
        updated_at: now,
        wake_at: None,
        deleted: false,
    }
}

pub(super) fn encode<T: Serialize>(body: &T) -> serde_json::Value {
    serde_json::to_value(body).expect("the memory's types hold only string keys and integers")
}

pub(super) fn decode<T: DeserializeOwned>(document: &Document) -> Result<T, MemoryError> {
    T::deserialize(&document.body).map_err(MemoryError::Damaged)
}

/// A fact, whatever became of it.
///
/// # Errors
/// `NotFound`.
pub(super) async fn fact(
    store: &dyn Store,
    project: ProjectId,
    id: FactId,
) -> Result<SavedFact, MemoryError> {
    let found = store.document(project, DocumentKind::Fact, &id.to_string(), None).await?;
    SavedFact::from_document(found.ok_or(MemoryError::NotFound)?)
}

/// What a fact that was moved to another database is found by there, if the document is one that is.
///
/// # Errors
/// `Damaged`.
pub fn indexed(document: Document) -> Result<Indexed, MemoryError> {
    let terms = match document.kind == DocumentKind::Fact && !document.deleted {
        true => fact::terms(&decode::<Fact>(&document)?),
        false => Vec::new(),
    };
    Ok(Indexed { document, terms })
}
