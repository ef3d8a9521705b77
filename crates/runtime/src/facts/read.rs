//! Looking at facts: one, its history, and those of a scope.

use tenure_journal::{FactId, MemoryScope, ProjectId};
use tenure_memory::exchange::Standing;
use tenure_memory::fact::{self, When};
use tenure_store::{DocumentKind, Order, Page};

use super::MemoryError;
use super::documents::{self, SavedFact};
use crate::Runtime;

/// Documents that are read at once while a filter is applied.
const READ_AT_ONCE: usize = 100;
/// Versions of one fact that are shown.
const VERSIONS_MAX: u64 = 1_000;

/// Which facts of a scope to list.
#[derive(Debug, Clone, Default)]
pub struct FactFilter {
    /// Only those that stand so.
    pub standing: Option<Standing>,
    /// Only those about this.
    pub subject: Option<String>,
    /// Only what was believed then about then.
    pub when: Option<When>,
}

impl FactFilter {
    fn admits(&self, saved: &SavedFact) -> bool {
        let fact = &saved.fact;
        self.standing.is_none_or(|standing| standing == Standing::of(&fact.state))
            && self.subject.as_ref().is_none_or(|subject| *subject == fact.subject)
            && self.when.is_none_or(|when| fact::is_believed(fact, when))
    }
}

impl Runtime {
    /// A fact, whatever became of it.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn fact(&self, project: ProjectId, id: FactId) -> Result<SavedFact, MemoryError> {
        documents::fact(self.store().as_ref(), project, id).await
    }

    /// Every version of a fact, oldest first.
    ///
    /// # Errors
    /// As [`Runtime::fact`].
    pub async fn fact_history(&self, project: ProjectId, id: FactId) -> Result<Vec<SavedFact>, MemoryError> {
        let latest = self.fact(project, id).await?;
        let mut versions = Vec::new();
        let first = latest.document.version.saturating_sub(VERSIONS_MAX - 1).max(1);
        for version in first..=latest.document.version {
            let document =
                self.store().document(project, DocumentKind::Fact, &id.to_string(), Some(version)).await?;
            versions.extend(document.map(SavedFact::from_document).transpose()?);
        }
        Ok(versions)
    }

    /// Facts of a scope by id.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn facts(
        &self,
        project: ProjectId,
        scope: &MemoryScope,
        filter: &FactFilter,
        page: &Page,
    ) -> Result<Vec<SavedFact>, MemoryError> {
        let mark = scope.mark(project);
        let mut kept = Vec::new();
        let mut part = Page { after: page.after.clone(), limit: READ_AT_ONCE, order: page.order };
        loop {
            let found = self.store().documents(project, DocumentKind::Fact, Some(&mark), &part).await?;
            let is_last = found.len() < part.limit;
            part.after = found.last().map(|document| document.id.clone());
            for document in found {
                let saved = SavedFact::from_document(document)?;
                if filter.admits(&saved) {
                    kept.push(saved);
                }
                if kept.len() == page.limit {
                    return Ok(kept);
                }
            }
            if is_last {
                return Ok(kept);
            }
        }
    }
}

/// A page from the beginning.
pub(super) fn all(limit: usize) -> Page {
    Page { after: None, limit, order: Order::Ascending }
}
