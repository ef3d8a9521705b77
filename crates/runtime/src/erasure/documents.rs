//! Documents of a project, those that were deleted among them: what an erasure looks through.

use tenure_journal::ProjectId;
use tenure_store::{Document, DocumentKind, Order, Page, StoreError};

use crate::handle::Shared;

/// Documents read at once.
const PAGE: usize = 256;

/// The latest versions of a project's documents of one kind, page by page: first those that are there, then those that
/// were deleted and have a past still.
pub(super) struct Pages {
    project: ProjectId,
    kind: DocumentKind,
    are_deleted: bool,
    page: Page,
}

impl Pages {
    pub(super) fn of(project: ProjectId, kind: DocumentKind) -> Self {
        Self { project, kind, are_deleted: false, page: first() }
    }

    /// The next page; empty at the end.
    pub(super) async fn next(&mut self, shared: &Shared) -> Result<Vec<Document>, StoreError> {
        if !self.are_deleted {
            let found = shared.store.documents(self.project, self.kind, None, &self.page).await?;
            if let Some(last) = found.last() {
                self.page.after = Some(last.id.clone());
                return Ok(found);
            }
            self.are_deleted = true;
            self.page = first();
        }
        let found = shared.store.deleted_documents(self.project, self.kind, &self.page).await?;
        if let Some(last) = found.last() {
            self.page.after = Some(last.id.clone());
        }
        Ok(found)
    }
}

fn first() -> Page {
    Page { after: None, limit: PAGE, order: Order::Ascending }
}

/// Whether a version of a document is one of those that `is_one` names, the latest or one before it.
pub(super) async fn has_or_had(
    shared: &Shared,
    latest: &Document,
    is_one: impl Fn(&Document) -> bool,
) -> Result<bool, StoreError> {
    if is_one(latest) {
        return Ok(true);
    }
    for version in 1..latest.version {
        let before = shared.store.document(latest.project, latest.kind, &latest.id, Some(version)).await?;
        if before.is_some_and(|before| is_one(&before)) {
            return Ok(true);
        }
    }
    Ok(false)
}
