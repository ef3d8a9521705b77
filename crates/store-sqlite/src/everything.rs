//! Everything there is, in pages and in the order of its keys, whatever project it belongs to: for moving to
//! another store.

use rusqlite::{Connection, Row};
use tenure_journal::{BlobRef, BudgetId, BudgetUse, ProjectId, SessionKey, Timestamp};
use tenure_store::{Document, DocumentKind, Receipt, Stamp, StoreError};

use crate::SqliteStore;
use crate::nodes::use_of;
use crate::read::{Read, damaged, document_of, key_of, limit_of};
use crate::write::{int, key_text};

impl SqliteStore {
    /// Up to `limit` sessions after `after`, deleted ones included.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn every_session(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        let (project, session) = after.map(key_text).unwrap_or_default();
        let row = (project, session, limit_of(limit));
        self.readers
            .run("listing every session", move |c| {
                collect(c, include_str!("../sql/every_session.sql"), row, key_of)
            })
            .await
    }

    /// Up to `limit` documents after `after`, every version of each, deleted ones included.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn every_document(
        &self,
        after: Option<&Document>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let place = after.map(|after| {
            (after.project.to_string(), after.kind.as_str().to_owned(), after.id.clone(), int(after.version))
        });
        let (project, kind, id, version) = place.unwrap_or_default();
        let row = (project, kind, id, version, limit_of(limit));
        let read = |row: &Row<'_>| {
            let kind: String = row.get(9)?;
            let known = DocumentKind::from_word(&kind);
            let kind = known.ok_or_else(|| damaged(format!("reading a document of kind `{kind}`")))?;
            document_of(row, project_of(row, 8)?, kind)
        };
        self.readers
            .run("listing every document", move |c| {
                collect(c, include_str!("../sql/every_document.sql"), row, read)
            })
            .await
    }

    /// The projects that have an audit log.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn every_log(&self) -> Result<Vec<ProjectId>, StoreError> {
        self.readers
            .run("listing audit logs", |c| {
                collect(c, include_str!("../sql/every_log.sql"), (), |row| project_of(row, 0))
            })
            .await
    }

    /// Up to `limit` receipts after `after`.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn every_receipt(
        &self,
        after: Option<&Receipt>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        let place = after.map(|after| (after.project.to_string(), after.key.clone()));
        let (project, key) = place.unwrap_or_default();
        let row = (project, key, limit_of(limit));
        let read = |row: &Row<'_>| {
            Ok(Receipt {
                project: project_of(row, 4)?,
                key: row.get(5)?,
                digest: row.get(0)?,
                status: row.get(1)?,
                body: row.get(2)?,
                at: Timestamp::from_millis(row.get(3)?),
            })
        };
        self.readers
            .run("listing every receipt", move |c| {
                collect(c, include_str!("../sql/every_receipt.sql"), row, read)
            })
            .await
    }

    /// How up to `limit` budgets after `after` stand that more than one tree of sessions may share, by project and
    /// name.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn every_budget_use(
        &self,
        after: Option<(ProjectId, BudgetId)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BudgetId, BudgetUse)>, StoreError> {
        let place = after.map(|(project, budget)| (project.to_string(), budget.to_string()));
        let (project, budget) = place.unwrap_or_default();
        let row = (project, budget, limit_of(limit));
        let read = |row: &Row<'_>| {
            let budget: String = row.get(9)?;
            let parsed = budget.parse().map_err(|_| damaged(format!("reading the budget `{budget}`")))?;
            Ok((project_of(row, 8)?, parsed, use_of(row)?))
        };
        self.readers
            .run("listing every budget", move |c| {
                collect(c, include_str!("../sql/every_budget_use.sql"), row, read)
            })
            .await
    }

    /// Up to `limit` payloads after `after`, by project and reference.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`.
    pub async fn every_blob(
        &self,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BlobRef)>, StoreError> {
        let place = after.map(|(project, blob)| (project.to_string(), blob.to_string()));
        let (project, blob) = place.unwrap_or_default();
        let row = (project, blob, limit_of(limit));
        self.readers
            .run("listing every payload", move |c| {
                collect(c, include_str!("../sql/every_blob.sql"), row, blob_of)
            })
            .await
    }
}

impl SqliteStore {
    /// Up to `limit` payloads after `after` that were last kept before `before`.
    pub(crate) async fn blobs_before(
        &self,
        before: Stamp,
        after: Option<(ProjectId, BlobRef)>,
        limit: usize,
    ) -> Result<Vec<(ProjectId, BlobRef)>, StoreError> {
        let place = after.map(|(project, blob)| (project.to_string(), blob.to_string()));
        let (project, blob) = place.unwrap_or_default();
        let row = (project, blob, int(before.0), limit_of(limit));
        self.readers
            .run("listing old payloads", move |c| {
                collect(c, include_str!("../sql/old_blobs.sql"), row, blob_of)
            })
            .await
    }
}

/// The project and the reference of a payload.
fn blob_of(row: &Row<'_>) -> Read<(ProjectId, BlobRef)> {
    let blob: String = row.get(1)?;
    let parsed = blob.parse().map_err(|_| damaged(format!("reading the reference `{blob}`")))?;
    Ok((project_of(row, 0)?, parsed))
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    connection.prepare_cached(sql)?.query_and_then(params, read)?.collect()
}

fn project_of(row: &Row<'_>, column: usize) -> Read<ProjectId> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| damaged(format!("reading the project `{text}`")).into())
}
