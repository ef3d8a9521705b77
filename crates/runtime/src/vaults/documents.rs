//! Vaults and credentials as documents, with their secrets opened where somebody may have them.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use tenure_journal::{Credential, CredentialAuth, CredentialId, ProjectId, Timestamp, Vault, VaultId};
use tenure_store::{Document, DocumentKind, Order, Page, Store};

use super::{Secrets, VaultError};
use crate::Sealer;

/// Credentials of one vault: what one transaction deletes, and what a session looks through when it is opened.
pub const CREDENTIALS_MAX: usize = 256;
/// Documents that are read at once while a filter is applied.
const READ_AT_ONCE: usize = 100;

/// A stored vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedVault {
    /// Its id.
    pub id: VaultId,
    /// The document.
    pub document: Document,
    /// Its content.
    pub body: Vault,
}

/// A stored credential. The document's name is its vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCredential {
    /// Its id.
    pub id: CredentialId,
    /// The vault it is in.
    pub vault_id: VaultId,
    /// The document.
    pub document: Document,
    /// Its content.
    pub body: Credential,
}

/// Which vaults or credentials to list.
#[derive(Debug, Clone, Default)]
pub struct VaultFilter {
    /// Only those that have all of these pairs.
    pub metadata: BTreeMap<String, String>,
}

impl VaultFilter {
    fn admits(&self, metadata: &BTreeMap<String, String>) -> bool {
        self.metadata.iter().all(|(key, value)| metadata.get(key) == Some(value))
    }
}

impl SavedVault {
    /// Reads a document.
    ///
    /// # Errors
    /// `Damaged`.
    pub(super) fn from_document(document: Document) -> Result<Self, VaultError> {
        let id = parse(&document.id)?;
        let body = decode(&document)?;
        Ok(Self { id, document, body })
    }

    /// The next version, which says what the content says of waiting sessions. To clients it is the same vault.
    pub(super) fn noted(&self, now: Timestamp) -> Document {
        let wake_at = (!self.body.found.is_empty()).then_some(now);
        let version = self.document.version + 1;
        Document { version, wake_at, body: encode(&self.body), ..self.document.clone() }
    }
}

impl SavedCredential {
    /// Reads a document.
    ///
    /// # Errors
    /// `Damaged`.
    pub(crate) fn from_document(document: Document) -> Result<Self, VaultError> {
        let id = parse(&document.id)?;
        let vault_id = parse(document.name.as_deref().unwrap_or_default())?;
        let body = decode(&document)?;
        Ok(Self { id, vault_id, document, body })
    }

    /// Its secrets.
    pub(super) async fn open(&self, (sealer, store): (&Sealer, &dyn Store)) -> Result<Secrets, VaultError> {
        let (project, version) = (self.document.project, self.document.version);
        let record = record(self.id);
        let text = sealer.open_record(store, project, (&record, version), &self.body.sealed).await?;
        Secrets::decode(&text).map_err(VaultError::Damaged)
    }

    /// The next version, with this content and these secrets, sealed for it.
    pub(super) async fn next(
        &self,
        (sealer, store): (&Sealer, &dyn Store),
        mut body: Credential,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Self, VaultError> {
        let version = self.document.version + 1;
        body.sealed = sealed((sealer, store), self.document.project, (self.id, version), secrets).await?;
        let wake_at = match &body.auth {
            CredentialAuth::McpOauth(oauth) if !oauth.releasing.is_empty() => Some(now),
            CredentialAuth::McpOauth(_)
            | CredentialAuth::StaticBearer { .. }
            | CredentialAuth::EnvironmentVariable { .. } => None,
        };
        let document =
            Document { version, updated_at: now, wake_at, body: encode(&body), ..self.document.clone() };
        Ok(Self { document, body, ..self.clone() })
    }
}

/// What the seal of a credential binds.
fn record(id: CredentialId) -> String {
    format!("credential {id}")
}

pub(super) async fn sealed(
    (sealer, store): (&Sealer, &dyn Store),
    project: ProjectId,
    (id, version): (CredentialId, u64),
    secrets: &Secrets,
) -> Result<Vec<u8>, VaultError> {
    Ok(sealer.seal_record(store, project, (&record(id), version), &secrets.encode()).await?)
}

pub(super) async fn vault(
    store: &dyn Store,
    project: ProjectId,
    id: VaultId,
) -> Result<SavedVault, VaultError> {
    let found = store.document(project, DocumentKind::Vault, &id.to_string(), None).await?;
    SavedVault::from_document(found.ok_or(VaultError::NoVault)?)
}

/// A credential, wherever it is.
pub(super) async fn credential(
    store: &dyn Store,
    project: ProjectId,
    id: CredentialId,
) -> Result<SavedCredential, VaultError> {
    let found = store.document(project, DocumentKind::Credential, &id.to_string(), None).await?;
    SavedCredential::from_document(found.ok_or(VaultError::NoCredential)?)
}

/// All credentials of a vault.
pub(super) async fn all(
    store: &dyn Store,
    project: ProjectId,
    vault: VaultId,
) -> Result<Vec<SavedCredential>, VaultError> {
    let page = Page { after: None, limit: CREDENTIALS_MAX, order: Order::Ascending };
    let name = vault.to_string();
    let found = store.documents(project, DocumentKind::Credential, Some(&name), &page).await?;
    found.into_iter().map(SavedCredential::from_document).collect()
}

pub(super) async fn vaults(
    store: &dyn Store,
    project: ProjectId,
    filter: &VaultFilter,
    page: &Page,
) -> Result<Vec<SavedVault>, VaultError> {
    let found = filtered(store, (project, DocumentKind::Vault, None), page, |document| {
        let saved = SavedVault::from_document(document)?;
        Ok(filter.admits(&saved.body.metadata).then_some(saved))
    });
    found.await
}

pub(super) async fn credentials(
    store: &dyn Store,
    (project, vault): (ProjectId, VaultId),
    filter: &VaultFilter,
    page: &Page,
) -> Result<Vec<SavedCredential>, VaultError> {
    let name = vault.to_string();
    let found = filtered(store, (project, DocumentKind::Credential, Some(&name)), page, |document| {
        let saved = SavedCredential::from_document(document)?;
        Ok(filter.admits(&saved.body.metadata).then_some(saved))
    });
    found.await
}

/// A page of the documents that `keep` keeps.
async fn filtered<T>(
    store: &dyn Store,
    (project, kind, name): (ProjectId, DocumentKind, Option<&str>),
    page: &Page,
    keep: impl Fn(Document) -> Result<Option<T>, VaultError>,
) -> Result<Vec<T>, VaultError> {
    let mut kept = Vec::new();
    let mut part = Page { limit: READ_AT_ONCE, ..page.clone() };
    loop {
        let found = store.documents(project, kind, name, &part).await?;
        let is_last = found.len() < part.limit;
        part.after = found.last().map(|document| document.id.clone());
        for document in found {
            if let Some(saved) = keep(document)? {
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

pub(super) fn first(
    (project, kind, id): (ProjectId, DocumentKind, String),
    name: Option<String>,
    body: serde_json::Value,
    now: Timestamp,
) -> Document {
    Document {
        project,
        kind,
        id,
        version: 1,
        name,
        body,
        created_at: now,
        updated_at: now,
        wake_at: None,
        deleted: false,
    }
}

pub(super) fn gone(document: &Document, now: Timestamp) -> Document {
    Document {
        version: document.version + 1,
        updated_at: now,
        body: serde_json::Value::Null,
        wake_at: None,
        deleted: true,
        ..document.clone()
    }
}

pub(super) fn encode<T: Serialize>(body: &T) -> serde_json::Value {
    serde_json::to_value(body).expect("vaults hold only string keys and integers")
}

fn decode<T: DeserializeOwned>(document: &Document) -> Result<T, VaultError> {
    T::deserialize(&document.body).map_err(VaultError::Damaged)
}

fn parse<Id: std::str::FromStr>(text: &str) -> Result<Id, VaultError> {
    let wrong = |_| VaultError::Damaged(serde::de::Error::custom("the document has no id of its kind"));
    text.parse().map_err(wrong)
}
