//! Making, changing and deleting vaults and credentials.

use std::collections::BTreeMap;

use tenure_journal::{
    Credential, CredentialAuth, CredentialId, OauthAuth, OauthState, ProjectId, SessionId, Timestamp,
    TokenEndpointAuth, Vault, VaultId,
};
use tenure_seal::SecretString;
use tenure_store::{DocumentKind, Page, Receipt};

use super::documents::{self, encode, first, gone};
use super::tell::note_lost;
use super::{CREDENTIALS_MAX, SavedCredential, SavedVault, Secrets, VaultError, VaultFilter, want};
use crate::Runtime;

/// Tries of a change that meets another.
const WRITE_ATTEMPTS: u32 = 8;

/// A change of a vault.
#[derive(Debug, Clone, Default)]
pub struct VaultPatch {
    /// Its name; the inner absence clears.
    pub name: Option<Option<String>>,
    /// Replaces all pairs.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// A credential to be made.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// What people call it.
    pub name: String,
    /// The client's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// Where it authenticates, and how.
    pub auth: CredentialAuth,
    /// With what.
    pub secrets: Secrets,
}

/// A change of a credential.
#[derive(Debug, Clone, Default)]
pub struct CredentialChange {
    /// Replaces all pairs.
    pub metadata: Option<BTreeMap<String, String>>,
    /// New secrets.
    pub rotation: Option<Rotation>,
}

/// New secrets for a credential of the same kind.
#[derive(Debug, Clone)]
pub enum Rotation {
    /// Another token.
    StaticBearer {
        /// The token.
        token: SecretString,
    },
    /// Other tokens.
    McpOauth {
        /// The access token.
        access_token: Option<SecretString>,
        /// When it stops working; the inner absence clears. Left out beside a new access token, it is cleared too.
        expires_at: Option<Option<Timestamp>>,
        /// How new ones are had.
        refresh: Option<RefreshRotation>,
    },
    /// Another value.
    EnvironmentVariable {
        /// The value.
        value: SecretString,
    },
}

/// Changes of how new access tokens are had.
#[derive(Debug, Clone, Default)]
pub struct RefreshRotation {
    /// Another refresh token.
    pub refresh_token: Option<SecretString>,
    /// Other scopes; the inner absence sends none any more.
    pub scope: Option<Option<String>>,
    /// Another client secret, for the method that is in use.
    pub token_endpoint_auth: Option<(TokenEndpointAuth, Option<SecretString>)>,
}

impl RefreshRotation {
    fn changes_nothing(&self) -> bool {
        let secret = self.token_endpoint_auth.as_ref().and_then(|(_, secret)| secret.as_ref());
        self.refresh_token.is_none() && self.scope.is_none() && secret.is_none()
    }
}

/// What a rotation leaves.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// Where the credential authenticates, and how.
    pub auth: CredentialAuth,
    /// With what.
    pub secrets: Secrets,
}

impl Rotation {
    /// What comes of it. Kind and place stay.
    ///
    /// # Errors
    /// `Unfit`.
    pub fn apply(&self, auth: &CredentialAuth, secrets: &Secrets) -> Result<Rotated, VaultError> {
        let (mut auth, mut secrets) = (auth.clone(), secrets.clone());
        match (self, &mut auth) {
            (Self::StaticBearer { token }, CredentialAuth::StaticBearer { .. }) => {
                secrets.token = Some(token.clone());
            }
            (Self::EnvironmentVariable { value }, CredentialAuth::EnvironmentVariable { .. }) => {
                secrets.value = Some(value.clone());
            }
            (Self::McpOauth { access_token, expires_at, refresh }, CredentialAuth::McpOauth(oauth)) => {
                if let Some(refresh) = refresh {
                    rotate_refresh(refresh, oauth, &mut secrets)?;
                }
                let idle = refresh.as_ref().is_none_or(RefreshRotation::changes_nothing);
                if access_token.is_none() && expires_at.is_none() && idle {
                    return Err(unfit(
                        "auth",
                        "empty_update",
                        "The rotation changes nothing: give a new token.",
                    ));
                }
                match (expires_at, access_token) {
                    (Some(expires_at), _) => oauth.expires_at = *expires_at,
                    (None, Some(_)) => oauth.expires_at = None,
                    (None, None) => {}
                }
                if let Some(token) = access_token {
                    secrets.token = Some(token.clone());
                }
                // New tokens are believed in until they fail; whoever refreshes now loses the race for the document.
                oauth.make_ready();
            }
            (
                Self::StaticBearer { .. } | Self::EnvironmentVariable { .. } | Self::McpOauth { .. },
                CredentialAuth::StaticBearer { .. }
                | CredentialAuth::EnvironmentVariable { .. }
                | CredentialAuth::McpOauth(_),
            ) => {
                let message = format!("A credential keeps its type, which is '{}'.", auth.kind());
                return Err(unfit("auth.type", "immutable", message));
            }
        }
        Ok(Rotated { auth, secrets })
    }
}

fn rotate_refresh(
    change: &RefreshRotation,
    oauth: &mut OauthAuth,
    secrets: &mut Secrets,
) -> Result<(), VaultError> {
    let Some(refresh) = &mut oauth.refresh else {
        let message = "The credential has no refresh configuration; delete it and make another that has.";
        return Err(unfit("auth.refresh", "invalid_value", message));
    };
    if let Some((method, secret)) = &change.token_endpoint_auth {
        if *method != refresh.token_endpoint_auth {
            let kept = refresh.token_endpoint_auth.as_str();
            let message = format!("The way to authenticate at the token endpoint stays '{kept}'.");
            return Err(unfit("auth.refresh.token_endpoint_auth.type", "immutable", message));
        }
        if let Some(secret) = secret {
            secrets.client_secret = Some(secret.clone());
        }
    }
    if let Some(scope) = &change.scope {
        refresh.scope.clone_from(scope);
    }
    if let Some(token) = &change.refresh_token {
        secrets.refresh_token = Some(token.clone());
    }
    Ok(())
}

fn unfit(member: &'static str, code: &'static str, message: impl Into<String>) -> VaultError {
    VaultError::Unfit { member, code, message: message.into() }
}

/// Vaults, as the API manages them.
impl Runtime {
    /// Makes a vault.
    ///
    /// # Errors
    /// `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn create_vault(
        &self,
        project: ProjectId,
        body: Vault,
        receipt: impl FnOnce(&SavedVault) -> Option<Receipt> + Send,
    ) -> Result<SavedVault, VaultError> {
        let id = VaultId::fresh(&self.fresh());
        let document = first(
            (project, DocumentKind::Vault, id.to_string()),
            body.name.clone(),
            encode(&body),
            self.now(),
        );
        let saved = SavedVault { id, document, body };
        self.store().put(vec![saved.document.clone()], receipt(&saved)).await?;
        Ok(saved)
    }

    /// One vault.
    ///
    /// # Errors
    /// `NoVault`, `Store`, `Damaged`.
    pub async fn vault(&self, project: ProjectId, id: VaultId) -> Result<SavedVault, VaultError> {
        documents::vault(&**self.store(), project, id).await
    }

    /// Vaults of a project by id; at most `page.limit` after `page.after`, which need not exist.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn vaults(
        &self,
        project: ProjectId,
        filter: &VaultFilter,
        page: &Page,
    ) -> Result<Vec<SavedVault>, VaultError> {
        documents::vaults(&**self.store(), project, filter, page).await
    }

    /// Changes a vault.
    ///
    /// # Errors
    /// `NoVault`, `Busy`, `Damaged`; `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn update_vault(
        &self,
        project: ProjectId,
        id: VaultId,
        patch: &VaultPatch,
        receipt: impl Fn(&SavedVault) -> Option<Receipt> + Send,
    ) -> Result<SavedVault, VaultError> {
        for _ in 0..WRITE_ATTEMPTS {
            let SavedVault { document, mut body, .. } = self.vault(project, id).await?;
            if let Some(name) = &patch.name {
                body.name.clone_from(name);
            }
            if let Some(metadata) = &patch.metadata {
                body.metadata.clone_from(metadata);
            }
            let document = tenure_store::Document {
                version: document.version + 1,
                name: body.name.clone(),
                body: encode(&body),
                updated_at: self.now(),
                ..document
            };
            let saved = SavedVault { id, document, body };
            match self.store().put(vec![saved.document.clone()], receipt(&saved)).await.map_err(Into::into) {
                Ok(()) => return Ok(saved),
                Err(error) if VaultError::is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Busy)
    }

    /// Deletes a vault with its credentials, all or nothing. Who waits for a sign-in there is told of it, whatever dies.
    ///
    /// # Errors
    /// `NoVault`, `Busy`, `Store`, `Damaged`.
    pub async fn delete_vault(&self, project: ProjectId, id: VaultId) -> Result<(), VaultError> {
        for _ in 0..WRITE_ATTEMPTS {
            let vault = self.vault(project, id).await?;
            let now = self.now();
            let credentials = documents::all(&**self.store(), project, id).await?;
            let going = std::iter::once(&vault.document).chain(credentials.iter().map(|one| &one.document));
            let going = going.map(|document| gone(document, now));
            let lost = note_lost(&vault.document, want::waiting(&vault), now);
            let lost = lost
                .into_iter()
                .chain(credentials.iter().filter_map(|one| note_lost(&one.document, waiting(one), now)));
            match self.store().put(going.chain(lost).collect(), None).await.map_err(Into::into) {
                Ok(()) => {
                    self.shared().vaults.wake();
                    return Ok(());
                }
                Err(error) if VaultError::is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Busy)
    }

    /// Makes a credential in a vault. The vault is written too, so that nobody deletes it meanwhile.
    ///
    /// # Errors
    /// `NoVault`, `TooMany`, `Busy`, `Seal`, `Damaged`; `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn create_credential(
        &self,
        project: ProjectId,
        vault_id: VaultId,
        new: NewCredential,
        receipt: impl Fn(&SavedCredential) -> Option<Receipt> + Send,
    ) -> Result<SavedCredential, VaultError> {
        let shared = self.shared();
        let (sealer, store) = (&shared.sealer, &*shared.store);
        let id = CredentialId::fresh(&self.fresh());
        let sealed = documents::sealed((sealer, store), project, (id, 1), &new.secrets).await?;
        let NewCredential { name, metadata, auth, .. } = new;
        let body = Credential { name, metadata, auth, sealed };
        for _ in 0..WRITE_ATTEMPTS {
            let vault = self.vault(project, vault_id).await?;
            if documents::all(store, project, vault_id).await?.len() >= CREDENTIALS_MAX {
                return Err(VaultError::TooMany);
            }
            let now = self.now();
            let place = (project, DocumentKind::Credential, id.to_string());
            let document = first(place, Some(vault_id.to_string()), encode(&body), now);
            let mut vault = vault;
            let is_wanted = body.auth.mcp_server_url().is_some_and(|url| vault.body.give(url, id));
            let held = vault.noted(now);
            let saved = SavedCredential { id, vault_id, document, body: body.clone() };
            let written = store.put(vec![held, saved.document.clone()], receipt(&saved)).await;
            match written.map_err(Into::into) {
                Ok(()) => {
                    if is_wanted {
                        shared.vaults.wake();
                    }
                    return Ok(saved);
                }
                Err(error) if VaultError::is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Busy)
    }

    /// One credential of a vault.
    ///
    /// # Errors
    /// `NoVault`, `NoCredential`, `Store`, `Damaged`.
    pub async fn credential(
        &self,
        project: ProjectId,
        vault: VaultId,
        id: CredentialId,
    ) -> Result<SavedCredential, VaultError> {
        self.vault(project, vault).await?;
        let found = documents::credential(&**self.store(), project, id).await?;
        if found.vault_id == vault { Ok(found) } else { Err(VaultError::NoCredential) }
    }

    /// Credentials of a vault by id; at most `page.limit` after `page.after`, which need not exist.
    ///
    /// # Errors
    /// `NoVault`, `Store`, `Damaged`.
    pub async fn credentials(
        &self,
        project: ProjectId,
        vault: VaultId,
        filter: &VaultFilter,
        page: &Page,
    ) -> Result<Vec<SavedCredential>, VaultError> {
        self.vault(project, vault).await?;
        documents::credentials(&**self.store(), (project, vault), filter, page).await
    }

    /// Changes a credential; its id, its kind and its place stay.
    ///
    /// # Errors
    /// `NoVault`, `NoCredential`, `Unfit`, `Busy`, `Seal`, `Damaged`; `Store`, with `ReceiptExists` if the receipt's
    /// key is taken.
    pub async fn update_credential(
        &self,
        project: ProjectId,
        (vault, id): (VaultId, CredentialId),
        change: &CredentialChange,
        receipt: impl Fn(&SavedCredential) -> Option<Receipt> + Send,
    ) -> Result<SavedCredential, VaultError> {
        let shared = self.shared();
        let with = (&shared.sealer, &*shared.store);
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.credential(project, vault, id).await?;
            let mut body = found.body.clone();
            let mut secrets = found.open(with).await?;
            if let Some(metadata) = &change.metadata {
                body.metadata.clone_from(metadata);
            }
            if let Some(rotation) = &change.rotation {
                let rotated = rotation.apply(&body.auth, &secrets)?;
                (body.auth, secrets) = (rotated.auth, rotated.secrets);
            }
            let next = found.next(with, body, &secrets, self.now()).await?;
            let written = shared.store.put(vec![next.document.clone()], receipt(&next)).await;
            match written.map_err(Into::into) {
                Ok(()) => {
                    shared.vaults.wake();
                    return Ok(next);
                }
                Err(error) if VaultError::is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Busy)
    }

    /// Deletes a credential. Who waits for a sign-in for it is told of it, whatever dies.
    ///
    /// # Errors
    /// `NoVault`, `NoCredential`, `Busy`, `Store`, `Damaged`.
    pub async fn delete_credential(
        &self,
        project: ProjectId,
        vault: VaultId,
        id: CredentialId,
    ) -> Result<(), VaultError> {
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.credential(project, vault, id).await?;
            let now = self.now();
            let lost = note_lost(&found.document, waiting(&found), now);
            let going = std::iter::once(gone(&found.document, now)).chain(lost).collect();
            match self.store().put(going, None).await.map_err(Into::into) {
                Ok(()) => {
                    self.shared().vaults.wake();
                    return Ok(());
                }
                Err(error) if VaultError::is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Busy)
    }
}

/// Who waits for a sign-in for a credential.
fn waiting(credential: &SavedCredential) -> impl Iterator<Item = SessionId> {
    let oauth = match &credential.body.auth {
        CredentialAuth::McpOauth(oauth) => Some(oauth),
        CredentialAuth::StaticBearer { .. } | CredentialAuth::EnvironmentVariable { .. } => None,
    };
    oauth.into_iter().flat_map(|oauth| {
        let waiting = match &oauth.state {
            OauthState::NeedsSignIn { waiting, .. } => waiting.as_slice(),
            OauthState::Ready | OauthState::Refreshing { .. } => &[],
        };
        waiting.iter().chain(&oauth.releasing).copied()
    })
}
