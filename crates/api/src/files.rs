//! Uploaded files: documents whose bytes are payloads of the store, in pieces.

use std::sync::Arc;

use serde::Deserialize as _;
use tenure_journal::{EnvironmentFile, FileId, ProjectId, StoredFile, Timestamp};
use tenure_store::{Document, DocumentKind, Page, Receipt, Store, StoreError};

use crate::error::{ApiError, undecodable};

/// A file and its document.
pub(crate) struct Uploaded {
    pub(crate) id: FileId,
    pub(crate) document: Document,
    pub(crate) file: StoredFile,
}

impl Uploaded {
    fn from_document(document: Document) -> Result<Self, ApiError> {
        let file =
            StoredFile::deserialize(&document.body).map_err(|error| undecodable("uploaded file", &error))?;
        let id = document.id.parse().map_err(|_| ApiError::not_found("file"))?;
        Ok(Self { id, document, file })
    }

    fn is_gone(&self, now: Timestamp) -> bool {
        self.file.expires_at.is_some_and(|at| at <= now)
    }

    /// The file as it is placed in an environment, which keeps it whatever happens to the upload.
    pub(crate) fn placed(&self, path: String) -> Option<EnvironmentFile> {
        let (first, rest) = self.file.pieces.split_first()?;
        Some(EnvironmentFile { path, blob: *first, rest: rest.to_vec(), file_id: Some(self.id) })
    }
}

/// The file with that id, if it was not deleted and has not expired.
pub(crate) async fn by_id(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    id: FileId,
) -> Result<Option<Uploaded>, ApiError> {
    let found = store.document(project, DocumentKind::File, &id.to_string(), None).await?;
    let found = found.map(Uploaded::from_document).transpose()?;
    Ok(found.filter(|found| !found.is_gone(now)))
}

/// Files in the order of their ids, with `purpose` only those for it; at most `page.limit`.
pub(crate) async fn list(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    purpose: Option<&str>,
    page: &Page,
) -> Result<Vec<Uploaded>, ApiError> {
    let mut listed = Vec::new();
    let mut next = page.clone();
    // Those that have expired are left out, so that a page may take more than one look.
    while listed.len() < page.limit {
        let found = store.documents(project, DocumentKind::File, purpose, &next).await?;
        let is_last = found.len() < next.limit;
        next.after = found.last().map(|document| document.id.clone());
        for document in found {
            let file = Uploaded::from_document(document)?;
            if !file.is_gone(now) {
                listed.push(file);
            }
        }
        if is_last {
            break;
        }
    }
    listed.truncate(page.limit);
    Ok(listed)
}

/// Writes a file whose pieces the store has. Until this returns there is no file.
pub(crate) async fn create(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    (id, file): (FileId, StoredFile),
    receipt: impl FnOnce(&Uploaded) -> Option<Receipt> + Send,
) -> Result<Uploaded, StoreError> {
    let document = Document {
        project,
        kind: DocumentKind::File,
        id: id.to_string(),
        version: 1,
        name: Some(file.purpose.as_str().to_owned()),
        body: serde_json::to_value(&file).unwrap_or_default(),
        created_at: now,
        updated_at: now,
        wake_at: None,
        deleted: false,
    };
    let uploaded = Uploaded { id, document, file };
    let receipt = receipt(&uploaded);
    store.put(vec![uploaded.document.clone()], receipt).await?;
    Ok(uploaded)
}

/// Deletes a file. What was made with it keeps its bytes.
pub(crate) async fn delete(
    store: &Arc<dyn Store>,
    now: Timestamp,
    uploaded: Uploaded,
) -> Result<(), StoreError> {
    let document = Document {
        version: uploaded.document.version + 1,
        updated_at: now,
        deleted: true,
        ..uploaded.document
    };
    store.put(vec![document], None).await
}
