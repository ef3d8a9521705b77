//! Acting for somebody: what a caller changes is written with records that name them.

use std::sync::Arc;

use tenure_store::{AuditEntry, Document, Indexed, Receipt, StoreError};

use crate::{Runtime, audit};

impl Runtime {
    /// The same runtime for somebody: documents that it changes are written with records that name them.
    #[must_use]
    pub fn acting(&self, by: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), by: Some(by.into()) }
    }

    /// Writes documents, with records of who changed them where somebody acts through this handle.
    pub(crate) async fn put(
        &self,
        documents: Vec<Document>,
        receipt: Option<Receipt>,
    ) -> Result<(), StoreError> {
        let records = match &self.by {
            Some(by) => self.changes(by, &documents),
            None => Vec::new(),
        };
        let waits = !records.is_empty();
        self.shared.store.put_recorded(documents, receipt, records).await?;
        if waits {
            self.records_wait();
        }
        Ok(())
    }

    /// Records of changes, by which nobody can guess what the documents say.
    fn changes(&self, by: &str, documents: &[Document]) -> Vec<AuditEntry> {
        let key = |project| Some(self.shared.project_digest_key(project));
        audit::changes(by, self.now(), documents, key)
    }

    /// As [`Runtime::put`], of documents that are found by terms.
    pub(crate) async fn put_indexed(
        &self,
        documents: Vec<Indexed>,
        receipt: Option<Receipt>,
    ) -> Result<(), StoreError> {
        let records = match &self.by {
            Some(by) => {
                let changed: Vec<Document> = documents.iter().map(|row| row.document.clone()).collect();
                self.changes(by, &changed)
            }
            None => Vec::new(),
        };
        let waits = !records.is_empty();
        self.shared.store.put_indexed(documents, receipt, records).await?;
        if waits {
            self.records_wait();
        }
        Ok(())
    }
}
