//! Whether what agents write in a scope waits for a person.

use tenure_journal::{MemoryScope, MemorySettings, ProjectId};
use tenure_store::{Document, DocumentKind, Store};

use super::documents::{decode, encode, first};
use super::{MemoryError, WRITE_ATTEMPTS, is_conflict};
use crate::Runtime;

/// How a scope is written to; as its kind says where nobody said otherwise.
pub(super) async fn settings(
    store: &dyn Store,
    project: ProjectId,
    scope: &MemoryScope,
) -> Result<MemorySettings, MemoryError> {
    let found = store.document(project, DocumentKind::MemorySettings, &scope.mark(project), None).await?;
    match found {
        Some(document) => decode(&document),
        None => Ok(MemorySettings { scope: scope.clone(), review: scope.kind().is_wide() }),
    }
}

impl Runtime {
    /// How a scope is written to.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn memory_settings(
        &self,
        project: ProjectId,
        scope: &MemoryScope,
    ) -> Result<MemorySettings, MemoryError> {
        settings(self.store().as_ref(), project, scope).await
    }

    /// Says how a scope is written to from now on. What waits already goes on waiting.
    ///
    /// # Errors
    /// `Store`, `Busy`.
    pub async fn put_memory_settings(
        &self,
        project: ProjectId,
        settings: MemorySettings,
    ) -> Result<MemorySettings, MemoryError> {
        let (mark, now) = (settings.scope.mark(project), self.now());
        for _ in 0..WRITE_ATTEMPTS {
            let kind = DocumentKind::MemorySettings;
            let found = self.store().document(project, kind, &mark, None).await?;
            let document = match found {
                None => first((project, kind, mark.clone()), mark.clone(), &settings, now),
                Some(before) => Document {
                    version: before.version + 1,
                    body: encode(&settings),
                    updated_at: now,
                    ..before
                },
            };
            match self.put(vec![document], None).await {
                Ok(()) => return Ok(settings),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MemoryError::Busy)
    }
}
