//! Budgets that many share, changed by themselves.

use tenure_journal::ProjectId;

use super::MemoryStore;
use super::state::Write;
use crate::{AuditEntry, StoreError, UseEntry};

impl MemoryStore {
    /// [`crate::Store::change_uses`]; durable at once or after the next [`MemoryStore::sync`].
    #[expect(clippy::missing_errors_doc, reason = "the errors are documented at the contract")]
    pub fn change_uses_now(
        &self,
        project: ProjectId,
        uses: Vec<UseEntry>,
        audit: Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.seen.check_uses(project, &uses)?;
        inner.write(Write::Use(project, uses, audit));
        Ok(())
    }
}
