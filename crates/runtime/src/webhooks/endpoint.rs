//! A webhook as it is stored, and what the append path knows of a project's webhooks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tenure_journal::{ProjectId, SecretId, Timestamp, WebhookId};
use tenure_store::{Document, DocumentKind, Order, Page, Store, StoreError, StoreErrorKind};
use tenure_webhook::{EventType, SigningSecret};

use super::WebhookError;
use crate::{Sealer, SealerError};

/// Webhooks of one project: each costs a document for every event it wants.
pub(super) const WEBHOOKS_MAX: usize = 32;
/// How long a project's webhooks are believed to be as they were. A change is acknowledged after it where other
/// nodes share the store, so that no event is told as before once a client knows of the change.
const CACHED_FOR: Duration = Duration::from_secs(1);
/// Projects that are remembered; more are looked up each time.
const CACHED_MAX: usize = 4_096;

/// An address that is told of events.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// What people call it.
    pub name: String,
    /// Where messages go.
    pub url: String,
    /// What it wants to be told; never empty.
    pub event_types: Vec<EventType>,
    /// Enough of its newest secret to recognise it by.
    pub secret_hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed, its secret included.
    pub updated_at: Timestamp,
    pub(super) version: u64,
    pub(super) secrets: Vec<SealedSecret>,
}

/// A secret as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedSecret {
    /// Its id, which the seal binds.
    id: SecretId,
    /// The sealed text.
    sealed: Vec<u8>,
    /// Enough to recognise it by.
    hint: String,
    /// When messages are no longer signed with it; absent for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    url: String,
    event_types: Vec<EventType>,
    secrets: Vec<SealedSecret>,
}

impl SealedSecret {
    pub(super) async fn seal(
        (sealer, store): (&Sealer, &dyn Store),
        project: ProjectId,
        id: SecretId,
        secret: &SigningSecret,
    ) -> Result<Self, SealerError> {
        let sealed = sealer.seal(store, project, id, secret.expose()).await?;
        Ok(Self { id, sealed, hint: secret.hint(), until: None })
    }

    async fn open(
        &self,
        (sealer, store): (&Sealer, &dyn Store),
        project: ProjectId,
    ) -> Option<SigningSecret> {
        let text = sealer.unseal(store, project, self.id, &self.sealed).await.ok()?;
        SigningSecret::parse(&text).ok()
    }

    /// The same, sealed with the project's key, if an earlier release sealed it with another.
    async fn resealed(
        &self,
        (sealer, store): (&Sealer, &dyn Store),
        project: ProjectId,
    ) -> Result<Option<Self>, SealerError> {
        if tenure_seal::is_current_format(&self.sealed) {
            return Ok(None);
        }
        let text = sealer.unseal(store, project, self.id, &self.sealed).await?;
        let sealed = sealer.seal(store, project, self.id, &text).await?;
        Ok(Some(Self { sealed, ..self.clone() }))
    }
}

impl Webhook {
    pub(super) fn from_document(document: &Document) -> Result<Self, WebhookError> {
        let Body { url, event_types, secrets } =
            Body::deserialize(&document.body).map_err(WebhookError::Damaged)?;
        let secret_hint = secrets.first().map(|secret| secret.hint.clone()).unwrap_or_default();
        Ok(Self {
            id: document.id.parse().map_err(|_| WebhookError::DamagedId)?,
            name: document.name.clone().unwrap_or_default(),
            url,
            event_types,
            secret_hint,
            created_at: document.created_at,
            updated_at: document.updated_at,
            version: document.version,
            secrets,
        })
    }

    pub(super) fn to_document(&self, project: ProjectId) -> Document {
        let body = Body {
            url: self.url.clone(),
            event_types: self.event_types.clone(),
            secrets: self.secrets.clone(),
        };
        Document {
            project,
            kind: DocumentKind::Webhook,
            id: self.id.to_string(),
            version: self.version,
            name: Some(self.name.clone()),
            body: serde_json::to_value(body)
                .expect("a webhook holds only strings, numbers and lists of them"),
            created_at: self.created_at,
            updated_at: self.updated_at,
            wake_at: None,
            deleted: false,
        }
    }

    /// Makes `secret` the one that messages are signed with. The one before stays beside it until then.
    pub(super) fn renew(&mut self, secret: SealedSecret, keep_until: Option<Timestamp>) {
        let old = self.secrets.first_mut().filter(|_| keep_until.is_some()).map(|old| {
            old.until = keep_until;
            old.clone()
        });
        self.secret_hint.clone_from(&secret.hint);
        self.secrets = std::iter::once(secret).chain(old).collect();
    }

    /// The secrets that a message sent at `now` is signed with, the newest first. None when the installation's
    /// key is another than the one they were sealed with.
    pub(super) async fn signing(
        &self,
        with: (&Sealer, &dyn Store),
        project: ProjectId,
        now: Timestamp,
    ) -> Option<Vec<SigningSecret>> {
        let mut secrets = Vec::new();
        for secret in self.secrets.iter().filter(|secret| secret.until.is_none_or(|until| now < until)) {
            secrets.push(secret.open(with, project).await?);
        }
        Some(secrets)
    }
}

/// A webhook's body with every secret sealed by the project's key, if any was not.
pub(crate) async fn resealed(
    with: (&Sealer, &dyn Store),
    project: ProjectId,
    document: &Document,
) -> Result<Option<serde_json::Value>, SealerError> {
    let damaged = |source| SealerError::Damaged { project, source };
    let mut body = Body::deserialize(&document.body).map_err(damaged)?;
    let mut is_changed = false;
    for secret in &mut body.secrets {
        if let Some(resealed) = secret.resealed(with, project).await? {
            *secret = resealed;
            is_changed = true;
        }
    }
    if !is_changed {
        return Ok(None);
    }
    serde_json::to_value(body).map(Some).map_err(damaged)
}

/// All webhooks of a project.
pub(super) async fn all(store: &dyn Store, project: ProjectId) -> Result<Vec<Webhook>, WebhookError> {
    let page = Page { after: None, limit: WEBHOOKS_MAX, order: Order::Ascending };
    let documents = store.documents(project, DocumentKind::Webhook, None, &page).await?;
    documents.iter().map(Webhook::from_document).collect()
}

/// What the append path knows of the webhooks of each project: a cheap answer that is at most a second old.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    projects: HashMap<ProjectId, Known>,
    /// How many changes were made here: what was read before one is not remembered after it.
    changes: u64,
}

/// The webhooks of a project as they were at a moment.
#[derive(Debug, Clone)]
struct Known {
    at: Instant,
    webhooks: Arc<[Webhook]>,
}

impl Cache {
    /// The webhooks of a project.
    pub(super) async fn of(
        &self,
        store: &dyn Store,
        project: ProjectId,
    ) -> Result<Arc<[Webhook]>, StoreError> {
        let (known, changes) = {
            let remembered = self.lock();
            let known = remembered.projects.get(&project).filter(|known| known.at.elapsed() < CACHED_FOR);
            (known.cloned(), remembered.changes)
        };
        if let Some(known) = known {
            return Ok(known.webhooks);
        }
        // The clock first: what is read is at least as fresh as it says.
        let at = Instant::now();
        let webhooks: Arc<[Webhook]> = match all(store, project).await {
            Ok(webhooks) => webhooks.into(),
            Err(WebhookError::Store(error)) => return Err(error),
            Err(error) => {
                return Err(StoreError::new(StoreErrorKind::Corrupt, "reading the project's webhooks")
                    .with_source(error));
            }
        };
        let mut remembered = self.lock();
        if remembered.changes == changes {
            if remembered.projects.len() >= CACHED_MAX {
                remembered.projects.clear();
            }
            remembered.projects.insert(project, Known { at, webhooks: Arc::clone(&webhooks) });
        }
        Ok(webhooks)
    }

    /// Forgets a project's webhooks, after a change of them was stored. Returns once no other node remembers
    /// them either.
    pub(super) async fn forget(&self, store: &dyn Store, project: ProjectId) {
        {
            let mut remembered = self.lock();
            remembered.changes += 1;
            remembered.projects.remove(&project);
        }
        if store.is_shared() {
            tokio::time::sleep(CACHED_FOR).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
