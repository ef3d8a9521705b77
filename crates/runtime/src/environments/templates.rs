//! Templates of hosted environments, as documents. A template's sessions keep what it said when they were
//! opened.

use serde::Deserialize as _;
use tenure_journal::{ProjectId, Template, TemplateId, Timestamp};
use tenure_store::{Document, DocumentKind, Page, Receipt, Store, StoreError, StoreErrorKind};

/// Tries of a write that meets another.
const WRITE_ATTEMPTS: u32 = 4;

/// A stored template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedTemplate {
    /// Its id.
    pub id: TemplateId,
    /// The document.
    pub document: Document,
    /// Its content.
    pub body: Template,
}

/// Why a template cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// No such template in the project.
    #[error("there is no environment template with that id")]
    NotFound,
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored template does not decode.
    #[error("a stored environment template cannot be read")]
    Damaged(#[source] serde_json::Error),
}

impl SavedTemplate {
    /// Reads a document.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn from_document(document: Document) -> Result<Self, TemplateError> {
        let wrong = |_| TemplateError::Damaged(serde::de::Error::custom("the document has no template's id"));
        let id = document.id.parse().map_err(wrong)?;
        let body = Template::deserialize(&document.body).map_err(TemplateError::Damaged)?;
        Ok(Self { id, document, body })
    }
}

/// A template that is not deleted.
///
/// # Errors
/// `NotFound`, `Store`, `Damaged`.
pub async fn find(
    store: &dyn Store,
    project: ProjectId,
    id: TemplateId,
) -> Result<SavedTemplate, TemplateError> {
    let found = store.document(project, DocumentKind::Template, &id.to_string(), None).await?;
    SavedTemplate::from_document(found.ok_or(TemplateError::NotFound)?)
}

/// Templates of a project, ordered by id.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn list(
    store: &dyn Store,
    project: ProjectId,
    page: &Page,
) -> Result<Vec<SavedTemplate>, TemplateError> {
    let found = store.documents(project, DocumentKind::Template, None, page).await?;
    found.into_iter().map(SavedTemplate::from_document).collect()
}

/// Writes the first version of a template.
///
/// # Errors
/// `Store`, with `ReceiptExists` if the receipt's key is taken.
pub async fn create(
    store: &dyn Store,
    (project, id): (ProjectId, TemplateId),
    now: Timestamp,
    body: Template,
    receipt: impl FnOnce(&SavedTemplate) -> Option<Receipt> + Send,
) -> Result<SavedTemplate, TemplateError> {
    let document = Document {
        project,
        kind: DocumentKind::Template,
        id: id.to_string(),
        version: 1,
        name: body.name.clone(),
        body: encode(&body),
        created_at: now,
        updated_at: now,
        wake_at: None,
        deleted: false,
    };
    let saved = SavedTemplate { id, document, body };
    store.put(vec![saved.document.clone()], receipt(&saved)).await?;
    Ok(saved)
}

/// Writes the version that `change` makes of the latest one.
///
/// # Errors
/// `NotFound`, `Damaged`; `Store`, with `ReceiptExists` if the receipt's key is taken.
pub async fn update(
    store: &dyn Store,
    (project, id): (ProjectId, TemplateId),
    now: Timestamp,
    change: impl Fn(Template) -> Template + Send,
    receipt: impl Fn(&SavedTemplate) -> Option<Receipt> + Send,
) -> Result<SavedTemplate, TemplateError> {
    let mut attempt = 1;
    loop {
        let latest = find(store, project, id).await?;
        let body = change(latest.body);
        let document = Document {
            version: latest.document.version + 1,
            name: body.name.clone(),
            body: encode(&body),
            updated_at: now,
            ..latest.document
        };
        let saved = SavedTemplate { id, document, body };
        match store.put(vec![saved.document.clone()], receipt(&saved)).await {
            Ok(()) => return Ok(saved),
            Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Deletes a template. What was made of it stays as it is.
///
/// # Errors
/// `NotFound`, `Store`, `Damaged`.
pub async fn delete(
    store: &dyn Store,
    (project, id): (ProjectId, TemplateId),
    now: Timestamp,
) -> Result<(), TemplateError> {
    let mut attempt = 1;
    loop {
        let latest = find(store, project, id).await?.document;
        let deletion = Document { version: latest.version + 1, updated_at: now, deleted: true, ..latest };
        match store.put(vec![deletion], None).await {
            Ok(()) => return Ok(()),
            Err(error) if is_conflict(&error) && attempt < WRITE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

fn encode(body: &Template) -> serde_json::Value {
    serde_json::to_value(body).expect("a template holds only string keys and integers")
}
