//! A change of the master key, carried out on what it wraps: the keys of all projects, and what an earlier release
//! sealed with the master key itself. Nothing stops meanwhile, any node may do it, and doing it again changes nothing.

use serde_json::json;
use tenure_journal::{ProjectId, SecretId};
use tenure_store::{Document, DocumentKind, Order, Page, StoreError, StoreErrorKind};

use crate::{Runtime, SealerError, webhooks};

/// Documents that are read together.
const READ_AT_ONCE: usize = 100;

/// What a change of the master key came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// What the key is known by that wraps everything now.
    pub master_key: String,
    /// Keys of projects that another wrapped before, the installation's own among them.
    pub keys: usize,
    /// Secrets that no key of a project had sealed before.
    pub secrets: usize,
}

impl Runtime {
    /// What the master key is known by that wraps now.
    ///
    /// # Errors
    /// `Seal`: it cannot be had.
    pub fn master_key(&self) -> Result<String, SealerError> {
        Ok(self.shared().sealer.masters().current()?)
    }

    /// What the master keys are known by that ever wrapped the installation's own key, the newest first.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn used_master_keys(&self) -> Result<Vec<String>, SealerError> {
        self.shared().sealer.used(&*self.shared().store).await
    }

    /// Wraps every key with the current master key. When it returns, no other is needed for anything.
    ///
    /// # Errors
    /// `Seal`: a key cannot be unwrapped, because its master key is not here; what was done before stays.
    /// `Store`, `Damaged`.
    pub async fn rewrap_keys(&self) -> Result<Rewrapped, SealerError> {
        let (shared, home) = (self.shared(), ProjectId::installation());
        let mut done = Rewrapped { master_key: self.master_key()?, ..Rewrapped::default() };
        let mut projects = vec![home];
        let mut page = Page { after: None, limit: READ_AT_ONCE, order: Order::Ascending };
        loop {
            let found = shared.store.documents(home, DocumentKind::Project, None, &page).await?;
            projects.extend(found.iter().filter_map(|document| document.id.parse::<ProjectId>().ok()));
            match found.last() {
                Some(last) if found.len() == page.limit => page.after = Some(last.id.clone()),
                Some(_) | None => break,
            }
        }
        for project in projects {
            done.secrets += self.reseal(project, DocumentKind::Secret).await?;
            done.secrets += self.reseal(project, DocumentKind::Webhook).await?;
            done.keys += usize::from(shared.sealer.rewrap(&*shared.store, project, self.now()).await?);
        }
        tracing::info!(
            master_key = done.master_key,
            keys = done.keys,
            secrets = done.secrets,
            "keys are wrapped anew"
        );
        Ok(done)
    }

    /// Seals anew what the master key itself sealed, and says how much that was.
    async fn reseal(&self, project: ProjectId, kind: DocumentKind) -> Result<usize, SealerError> {
        let store = &*self.shared().store;
        let mut page = Page { after: None, limit: READ_AT_ONCE, order: Order::Ascending };
        let mut resealed = 0;
        loop {
            let found = store.documents(project, kind, None, &page).await?;
            let last = found.last().map(|document| document.id.clone());
            let is_last = found.len() < page.limit;
            for document in found {
                let body = if kind == DocumentKind::Webhook {
                    webhooks::resealed((&self.shared().sealer, store), project, &document).await?
                } else {
                    self.resealed_secret(&document).await?
                };
                let Some(body) = body else { continue };
                let next =
                    Document { version: document.version + 1, updated_at: self.now(), body, ..document };
                match store.put(vec![next], None).await {
                    Ok(()) => resealed += 1,
                    // Someone changed it, and so sealed it anew.
                    Err(error) if is_conflict(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            page.after = last;
            if is_last {
                return Ok(resealed);
            }
        }
    }

    async fn resealed_secret(&self, document: &Document) -> Result<Option<serde_json::Value>, SealerError> {
        let (sealer, store) = (&self.shared().sealer, &*self.shared().store);
        let damaged = |source| SealerError::Damaged { project: document.project, source };
        let sealed: Vec<u8> = serde_json::from_value(document.body["sealed"].clone()).map_err(damaged)?;
        if tenure_seal::is_current_format(&sealed) {
            return Ok(None);
        }
        let Ok(id) = document.id.parse::<SecretId>() else { return Ok(None) };
        let text = sealer.unseal(store, document.project, id, &sealed).await?;
        let sealed = sealer.seal(store, document.project, id, &text).await?;
        Ok(Some(json!({ "sealed": sealed })))
    }
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}
