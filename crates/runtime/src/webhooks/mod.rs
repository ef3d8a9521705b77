//! Webhooks: addresses that are told of what happens to sessions.
//!
//! A delivery is a document that is written in the transaction of the events it tells of, so an event that
//! happened is told however soon the process dies, and one that did not happen is not. Any node delivers:
//! it claims a delivery by writing its next version, which only one of several can, and which says until when
//! the others leave it alone.
//!
//! What a receiver can rely on: every event arrives at least once, with the same `webhook-id` each time;
//! events of one session arrive in their order, but for a repetition that comes late. A delivery that fails
//! holds back the later ones of its session and of its webhook, and no others. One that has failed too often
//! becomes a dead letter, and the later ones go on.

mod delivery;
mod endpoint;
mod worker;

use std::time::Duration;

use tenure_journal::{ProjectId, SecretId, Timestamp, WebhookId};
use tenure_session::Batch;
use tenure_store::{Document, DocumentKind, Order, Page, Receipt, StoreError, StoreErrorKind};
use tenure_webhook::{AddressError, Policy, SECRET_BYTES, SigningSecret, Target};
use tokio::sync::Notify;

pub use delivery::{DeadLetter, WebhookTiming};
pub use endpoint::Webhook;
pub(crate) use endpoint::resealed;
pub use tenure_webhook::EventType;
pub(crate) use worker::run;

use crate::handle::Shared;
use crate::{Runtime, SealerError, seal};
use endpoint::{SealedSecret, WEBHOOKS_MAX};

/// Tries of a change that meets another.
const CHANGE_ATTEMPTS: u32 = 4;
/// Dead letters that are removed in one transaction.
const REMOVED_AT_ONCE: usize = 200;

/// How webhooks are delivered.
#[derive(Debug, Clone, Default)]
pub struct WebhookConfig {
    /// Where they may go, beside public addresses over `https`.
    pub policy: Policy,
    /// How often and how patiently.
    pub timing: WebhookTiming,
}

/// What the runtime keeps in memory about webhooks.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    pub(crate) config: WebhookConfig,
    cache: endpoint::Cache,
    /// Told when a delivery was written here.
    written: Notify,
}

/// A webhook to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// What people call it.
    pub name: String,
    /// Where messages go.
    pub url: String,
    /// What it wants to be told.
    pub event_types: Vec<EventType>,
}

/// What is to be changed about a webhook; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookPatch {
    /// What people call it.
    pub name: Option<String>,
    /// Where messages go.
    pub url: Option<String>,
    /// What it wants to be told.
    pub event_types: Option<Vec<EventType>>,
}

/// Why something about webhooks was not done.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such webhook in the project.
    #[error("no such webhook")]
    NotFound,
    /// No such dead letter of the webhook.
    #[error("no such dead letter")]
    NoDeadLetter,
    /// The project has as many webhooks as it may.
    #[error("a project has at most {WEBHOOKS_MAX} webhooks")]
    TooMany,
    /// Messages are not sent there.
    #[error("the address is not allowed: {0}")]
    Address(#[source] AddressError),
    /// A stored document does not decode.
    #[error("a stored webhook or delivery cannot be read")]
    Damaged(#[source] serde_json::Error),
    /// A stored document has an id that is none.
    #[error("a stored webhook has no valid id")]
    DamagedId,
    /// Its secret cannot be sealed now.
    #[error("secrets cannot be sealed or opened now")]
    Sealing,
}

impl Webhooks {
    pub(crate) fn new(config: WebhookConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// What is to be written with a batch, and nothing for a project without webhooks.
    pub(crate) async fn deliveries(
        &self,
        shared: &Shared,
        batch: &Batch,
        at: Timestamp,
    ) -> Result<Vec<Document>, StoreError> {
        // Nobody outside knows of a subagent's session.
        if batch.after.parent().is_some() || !delivery::is_telling(batch) {
            return Ok(Vec::new());
        }
        let webhooks = self.cache.of(shared.store.as_ref(), batch.after.key().project).await?;
        Ok(delivery::of_batch(&webhooks, batch, at))
    }

    /// Whether this release can read the webhooks of a project.
    pub(crate) async fn can_read(&self, shared: &Shared, project: ProjectId) -> Result<bool, StoreError> {
        match self.cache.of(shared.store.as_ref(), project).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == StoreErrorKind::Corrupt => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deliveries were written: they are looked for at once.
    pub(crate) fn wake(&self) {
        self.written.notify_one();
    }
}

/// Webhooks, as the API manages them. Where nodes share the store, a change returns once every node acts on it,
/// which takes a second.
impl Runtime {
    /// Makes a webhook. Its secret is in the answer and cannot be had again; `receipt` must not hold it.
    ///
    /// # Errors
    /// `Address`, `TooMany`, `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn create_webhook(
        &self,
        project: ProjectId,
        new: NewWebhook,
        receipt: impl FnOnce(&Webhook) -> Option<Receipt>,
    ) -> Result<(Webhook, SigningSecret), WebhookError> {
        let shared = self.shared();
        self.check_url(&new.url)?;
        if endpoint::all(shared.store.as_ref(), project).await?.len() >= WEBHOOKS_MAX {
            return Err(WebhookError::TooMany);
        }
        let now = self.now();
        let (secret, sealed) = self.fresh_secret(project).await?;
        let mut webhook = Webhook {
            id: WebhookId::fresh(&self.fresh()),
            name: new.name,
            url: new.url,
            event_types: new.event_types,
            secret_hint: String::new(),
            created_at: now,
            updated_at: now,
            version: 1,
            secrets: Vec::new(),
        };
        webhook.renew(sealed, None);
        self.put(vec![webhook.to_document(project)], receipt(&webhook)).await?;
        shared.webhooks.cache.forget(shared.store.as_ref(), project).await;
        Ok((webhook, secret))
    }

    /// One webhook.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn webhook(&self, project: ProjectId, id: WebhookId) -> Result<Webhook, WebhookError> {
        find(self.shared(), project, id).await?.ok_or(WebhookError::NotFound)
    }

    /// Webhooks of a project by id; at most `page.limit` after `page.after`, which need not exist.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn webhooks(&self, project: ProjectId, page: &Page) -> Result<Vec<Webhook>, WebhookError> {
        let store = &self.shared().store;
        let documents = store.documents(project, DocumentKind::Webhook, None, page).await?;
        documents.iter().map(Webhook::from_document).collect()
    }

    /// Changes a webhook. Deliveries that wait go where it points from now on.
    ///
    /// # Errors
    /// `Address`, `NotFound`, `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn update_webhook(
        &self,
        project: ProjectId,
        id: WebhookId,
        patch: &WebhookPatch,
        receipt: impl Fn(&Webhook) -> Option<Receipt>,
    ) -> Result<Webhook, WebhookError> {
        if let Some(url) = &patch.url {
            self.check_url(url)?;
        }
        let change = |webhook: &mut Webhook| {
            if let Some(name) = &patch.name {
                webhook.name.clone_from(name);
            }
            if let Some(url) = &patch.url {
                webhook.url.clone_from(url);
            }
            if let Some(event_types) = &patch.event_types {
                webhook.event_types.clone_from(event_types);
            }
        };
        self.change_webhook(project, id, change, receipt).await
    }

    /// Gives a webhook a new secret, which cannot be had again. Messages are also signed with the one before
    /// for `overlap`; a zero ends it at once.
    ///
    /// # Errors
    /// `NotFound`, `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn rotate_webhook(
        &self,
        project: ProjectId,
        id: WebhookId,
        overlap: Duration,
        receipt: impl Fn(&Webhook) -> Option<Receipt>,
    ) -> Result<(Webhook, SigningSecret), WebhookError> {
        let (secret, sealed) = self.fresh_secret(project).await?;
        let millis = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
        let keep_until = (millis > 0).then(|| self.now().plus_millis(millis));
        let change = |webhook: &mut Webhook| webhook.renew(sealed.clone(), keep_until);
        Ok((self.change_webhook(project, id, change, receipt).await?, secret))
    }

    /// Deletes a webhook with its dead letters. Deliveries that wait are dropped when their time comes.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    pub async fn delete_webhook(&self, project: ProjectId, id: WebhookId) -> Result<(), WebhookError> {
        let shared = self.shared();
        let mut attempt = 1;
        loop {
            let webhook = find(shared, project, id).await?.ok_or(WebhookError::NotFound)?;
            let gone = Document {
                version: webhook.version + 1,
                updated_at: self.now(),
                body: serde_json::Value::Null,
                deleted: true,
                ..webhook.to_document(project)
            };
            match self.put(vec![gone], None).await {
                Ok(()) => break,
                Err(error) if is_conflict(&error) && attempt < CHANGE_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
        shared.webhooks.cache.forget(shared.store.as_ref(), project).await;
        let page = Page { after: None, limit: REMOVED_AT_ONCE, order: Order::Ascending };
        let line = delivery::dead_line(id);
        loop {
            let dead = shared.store.documents(project, DocumentKind::Delivery, Some(&line), &page).await?;
            if dead.is_empty() {
                return Ok(());
            }
            let now = self.now();
            let gone = dead.iter().map(|dead| worker::gone(dead, now)).collect();
            shared.store.put(gone, None).await?;
        }
    }

    /// Deliveries to a webhook that were given up, by id; at most `page.limit` after `page.after`.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn dead_letters(
        &self,
        project: ProjectId,
        id: WebhookId,
        page: &Page,
    ) -> Result<Vec<DeadLetter>, WebhookError> {
        self.webhook(project, id).await?;
        let (store, line) = (&self.shared().store, delivery::dead_line(id));
        let documents = store.documents(project, DocumentKind::Delivery, Some(&line), page).await?;
        documents.into_iter().map(DeadLetter::from_document).collect()
    }

    /// Sends a dead letter again, with all its tries before it and without holding back others.
    ///
    /// # Errors
    /// `NotFound`, `NoDeadLetter`, `Store`, `Damaged`.
    pub async fn redeliver(
        &self,
        project: ProjectId,
        id: WebhookId,
        delivery: &str,
    ) -> Result<(), WebhookError> {
        self.webhook(project, id).await?;
        if !delivery::is_delivery_id(delivery) {
            return Err(WebhookError::NoDeadLetter);
        }
        let shared = self.shared();
        let found = shared.store.document(project, DocumentKind::Delivery, delivery, None).await?;
        let is_dead = |found: &Document| found.name.as_deref() == Some(&delivery::dead_line(id));
        let found = found.filter(is_dead).ok_or(WebhookError::NoDeadLetter)?;
        let mut body = delivery::Delivery::from_document(&found)?;
        body.attempts = 0;
        let now = self.now();
        let again = Document {
            name: Some(delivery::own_line(id, delivery)),
            body: body.to_body(),
            ..delivery::next(&found, now, Some(now))
        };
        match self.put(vec![again], None).await {
            Ok(()) => shared.webhooks.wake(),
            // Someone else sends it again already.
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn check_url(&self, url: &str) -> Result<(), WebhookError> {
        let policy = &self.shared().webhooks.config.policy;
        Target::parse(policy, url).map(drop).map_err(WebhookError::Address)
    }

    async fn fresh_secret(&self, project: ProjectId) -> Result<(SigningSecret, SealedSecret), WebhookError> {
        let secret = SigningSecret::of_bytes(&seal::random::<SECRET_BYTES>());
        let id = SecretId::fresh(&self.fresh());
        let with = (&self.shared().sealer, &*self.shared().store);
        let sealed = SealedSecret::seal(with, project, id, &secret).await.map_err(|error| match error {
            SealerError::Store(error) => WebhookError::Store(error),
            SealerError::Seal(_) | SealerError::Damaged { .. } | SealerError::NotText => {
                tracing::error!(%error, "secrets cannot be sealed or opened");
                WebhookError::Sealing
            }
        })?;
        Ok((secret, sealed))
    }

    async fn change_webhook(
        &self,
        project: ProjectId,
        id: WebhookId,
        change: impl Fn(&mut Webhook),
        receipt: impl Fn(&Webhook) -> Option<Receipt>,
    ) -> Result<Webhook, WebhookError> {
        let shared = self.shared();
        let mut attempt = 1;
        loop {
            let mut webhook = find(shared, project, id).await?.ok_or(WebhookError::NotFound)?;
            change(&mut webhook);
            webhook.version += 1;
            webhook.updated_at = self.now();
            match self.put(vec![webhook.to_document(project)], receipt(&webhook)).await {
                Ok(()) => {
                    shared.webhooks.cache.forget(shared.store.as_ref(), project).await;
                    return Ok(webhook);
                }
                Err(error) if is_conflict(&error) && attempt < CHANGE_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn find(shared: &Shared, project: ProjectId, id: WebhookId) -> Result<Option<Webhook>, WebhookError> {
    let found = shared.store.document(project, DocumentKind::Webhook, &id.to_string(), None).await?;
    found.as_ref().map(Webhook::from_document).transpose()
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}
