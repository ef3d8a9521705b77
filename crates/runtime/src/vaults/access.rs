//! Using a credential at a tool server.

use std::sync::Arc;

use tenure_journal::{
    CredentialAuth, CredentialId, Failure, FailureKind, McpTool, ProjectId, SessionKey, VaultId,
};
use tenure_seal::SecretString;

use super::refresh::{self, Need};
use super::{Known, SavedCredential, Secrets, VaultError, documents};
use crate::handle::Shared;

/// A token for one attempt at one server.
#[derive(Debug)]
pub(crate) struct Authorized {
    credential: SavedCredential,
    secrets: Secrets,
}

impl Authorized {
    /// The value of `Authorization`.
    pub(crate) fn header(&self) -> String {
        let token = self.secrets.token.as_ref().map(SecretString::expose).unwrap_or_default();
        format!("Bearer {token}")
    }

    /// What must not come back.
    pub(crate) fn known(&self) -> impl Iterator<Item = Known> {
        // What is for the token endpoint alone does not go to the tool server.
        let token = self.secrets.token.clone();
        known_of(&self.credential, &self.secrets).map(move |known| Known {
            was_sent: token.as_ref().is_some_and(|token| token.expose() == known.value.expose()),
            ..known
        })
    }

    /// The server refused a token that is new: there is something about it that only a person can change.
    pub(crate) async fn refused_again(self, shared: &Arc<Shared>, session: SessionKey) -> Failure {
        let why = "the server refuses a token that is new";
        refresh::refuse(shared, session, &self.credential, &self.secrets, why).await
    }

    /// The server refused the token: another is had if there is a way, once.
    ///
    /// # Errors
    /// `SignInRequired`: only a person gets another. `Authentication`: a static token has no other. As for
    /// [`authorize`].
    pub(crate) async fn refused(self, shared: &Arc<Shared>, session: SessionKey) -> Result<Self, Failure> {
        match &self.credential.body.auth {
            CredentialAuth::McpOauth(_) => {
                let version = self.credential.document.version;
                let (credential, secrets) =
                    refresh::usable(shared, session, self.credential.id, Need::OtherThan(version)).await?;
                Ok(Self { credential, secrets })
            }
            CredentialAuth::StaticBearer { .. } | CredentialAuth::EnvironmentVariable { .. } => Err(failure(
                FailureKind::Authentication,
                "the tool server refused the token of its credential",
            )),
        }
    }
}

/// The token that a tool server of a session is given; nothing if it has no credential.
///
/// # Errors
/// `Authentication`: the credential is gone, or not for this server. `SignInRequired`: a person must sign in first.
/// `Overloaded`: it cannot be read or renewed now. Nothing was sent to the tool server.
pub(crate) async fn authorize(
    shared: &Arc<Shared>,
    session: SessionKey,
    tool: &McpTool,
    server_url: &str,
) -> Result<Option<Authorized>, Failure> {
    let Some(id) = &tool.credential_id else { return Ok(None) };
    let id: CredentialId = id.parse().map_err(|_| gone())?;
    let found = documents::credential(&*shared.store, session.project, id).await.map_err(unusable)?;
    // Whether it may be used is part of the permit of the call that needs it. The one thing a token must never do
    // is to go to a server that it is not for.
    if found.body.auth.mcp_server_url() != Some(server_url) {
        let message = "the credential of the tool server is for another server";
        return Err(failure(FailureKind::Authentication, message));
    }
    let (credential, secrets) = match &found.body.auth {
        CredentialAuth::McpOauth(_) => refresh::usable(shared, session, id, Need::Valid).await?,
        CredentialAuth::StaticBearer { .. } | CredentialAuth::EnvironmentVariable { .. } => {
            let secrets = found.open((&shared.sealer, &*shared.store)).await.map_err(unusable)?;
            (found, secrets)
        }
    };
    Ok(Some(Authorized { credential, secrets }))
}

/// Every secret of the vaults that a session names: none of them may come back from what it does.
///
/// # Errors
/// `Overloaded`: they cannot be read now.
pub(crate) async fn known(
    shared: &Shared,
    project: ProjectId,
    vault_ids: &[String],
) -> Result<Vec<Known>, Failure> {
    let mut known = Vec::new();
    for id in vault_ids.iter().filter_map(|id| id.parse::<VaultId>().ok()) {
        for credential in documents::all(&*shared.store, project, id).await.map_err(unusable)? {
            let secrets = credential.open((&shared.sealer, &*shared.store)).await.map_err(unusable)?;
            known.extend(known_of(&credential, &secrets));
        }
    }
    Ok(known)
}

fn known_of(credential: &SavedCredential, secrets: &Secrets) -> impl Iterator<Item = Known> {
    let shown = Secrets::shown(&credential.body.name, &credential.body.auth);
    let values: Vec<SecretString> = secrets.each().cloned().collect();
    values.into_iter().map(move |value| Known { shown: shown.clone(), value, was_sent: false })
}

pub(super) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retry_after_ms: None }
}

fn gone() -> Failure {
    failure(FailureKind::Authentication, "the credential of the tool server was deleted")
}

/// What is said of a credential that cannot be had. Nothing was sent anywhere.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(super) fn unusable(error: VaultError) -> Failure {
    match error {
        VaultError::NoVault | VaultError::NoCredential => gone(),
        VaultError::Store(_) | VaultError::Busy => {
            tracing::warn!(%error, "a credential cannot be read now");
            failure(FailureKind::Overloaded, "the session's credentials cannot be read now")
        }
        VaultError::Seal(_) | VaultError::Damaged(_) | VaultError::TooMany | VaultError::Unfit { .. } => {
            tracing::error!(%error, "a credential cannot be opened");
            failure(FailureKind::Authentication, "the session's credentials cannot be opened")
        }
    }
}
