//! Tool servers that ask for a sign-in where the session has no credential for them.
//!
//! ```text
//!   attempt: 401 ──▶ noted in each vault of the session ──▶ the session waits
//!                                 │ a credential for that address is made there, or was meanwhile
//!                                 ▼
//!                    found: the session is told which, binds it and asks again
//! ```
//!
//! The note comes before the look, and a credential is written together with its vault: so either the look finds the
//! credential, or whoever makes it finds the note. A session that is told before its attempt has ended knows it then.

use std::sync::Arc;

use tenure_journal::{
    CredentialId, Failure, FailureKind, ProjectId, SessionId, SessionKey, SessionStatus, VaultId,
    WantedCredential,
};

use super::access::{failure, unusable};
use super::{SavedVault, VaultError, documents};
use crate::handle::Shared;

/// Sessions that one vault remembers as waiting.
const WANTED_MAX: usize = 1_000;
/// Tries of a write that meets others.
const WRITE_ATTEMPTS: u32 = 16;

/// Notes that a session waits for a credential for a server, in each of its vaults that is still there. Says whether
/// it does; if not, no vault is left in which a person could put one.
///
/// # Errors
/// `Authentication`: several of the session's credentials are for the server. `Overloaded`: the vaults cannot be read
/// or written now.
pub(crate) async fn want(
    shared: &Arc<Shared>,
    session: SessionKey,
    vault_ids: &[String],
    server_url: &str,
) -> Result<bool, Failure> {
    let wanted = WantedCredential { session: session.session, mcp_server_url: server_url.to_owned() };
    let mut vaults = Vec::new();
    let mut is_new = false;
    for id in vault_ids.iter().filter_map(|id| id.parse::<VaultId>().ok()) {
        match note(shared, session, id, &wanted).await {
            Ok(noted) => {
                is_new |= noted;
                vaults.push(id);
            }
            Err(VaultError::NoVault | VaultError::TooMany) => {}
            Err(error) => return Err(unusable(error)),
        }
    }
    let mut fitting = Vec::new();
    for vault in &vaults {
        let all = documents::all(&*shared.store, session.project, *vault).await.map_err(unusable)?;
        let fits = all.iter().filter(|one| one.body.auth.mcp_server_url() == Some(server_url));
        fitting.extend(fits.map(|one| (*vault, one.id)));
    }
    match fitting.as_slice() {
        [] => {
            if is_new {
                shared.metrics.sign_ins_needed.with(&[]).add(1);
                tracing::warn!(session = %session.session, "a tool server asks for a sign-in, and the session has no credential");
            }
            Ok(!vaults.is_empty())
        }
        [(vault, credential)] => {
            give(shared, session, *vault, (server_url, *credential)).await.map_err(unusable)?;
            Ok(true)
        }
        several => {
            let count = several.len();
            let message = format!(
                "the tool server wants a token, and {count} credentials of the session's vaults are for it; name one as \
                 `credential_id`"
            );
            Err(failure(FailureKind::Authentication, message))
        }
    }
}

/// Writes the note into one vault. Says whether it was not there.
async fn note(
    shared: &Shared,
    session: SessionKey,
    id: VaultId,
    wanted: &WantedCredential,
) -> Result<bool, VaultError> {
    for _ in 0..WRITE_ATTEMPTS {
        let mut vault = documents::vault(&*shared.store, session.project, id).await?;
        if vault.body.wanted.contains(wanted) {
            return Ok(false);
        }
        if vault.body.wanted.len() >= WANTED_MAX {
            let waiting = std::mem::take(&mut vault.body.wanted);
            vault.body.wanted = still_waiting(shared, session.project, waiting, |one| one.session).await?;
        }
        if vault.body.wanted.len() >= WANTED_MAX {
            tracing::warn!(vault = %id, "more sessions wait for a sign-in than a vault remembers");
            return Err(VaultError::TooMany);
        }
        vault.body.wanted.push(wanted.clone());
        if write(shared, vault).await? {
            return Ok(true);
        }
    }
    Err(VaultError::Busy)
}

/// Those that may still wait: who was cancelled or deleted leaves its note behind.
pub(super) async fn still_waiting<T>(
    shared: &Shared,
    project: ProjectId,
    waiting: Vec<T>,
    session_of: impl Fn(&T) -> SessionId,
) -> Result<Vec<T>, VaultError> {
    let mut still = Vec::new();
    for one in waiting {
        let head = shared.store.head(SessionKey { project, session: session_of(&one) }).await?;
        let waits = head.is_some_and(|head| {
            let may = matches!(head.status, SessionStatus::RequiresAction | SessionStatus::InProgress);
            may && !head.deleted
        });
        if waits {
            still.push(one);
        }
    }
    Ok(still)
}

/// Gives everyone who waits for a credential for this server in this vault the one that is there.
async fn give(
    shared: &Shared,
    session: SessionKey,
    id: VaultId,
    (server_url, credential): (&str, CredentialId),
) -> Result<(), VaultError> {
    for _ in 0..WRITE_ATTEMPTS {
        let mut vault = documents::vault(&*shared.store, session.project, id).await?;
        // Whoever made the credential may have been faster.
        if !vault.body.give(server_url, credential) {
            return Ok(());
        }
        if write(shared, vault).await? {
            shared.vaults.wake();
            return Ok(());
        }
    }
    Err(VaultError::Busy)
}

/// Writes the next version. Says whether it did; if not, someone wrote first.
async fn write(shared: &Shared, vault: SavedVault) -> Result<bool, VaultError> {
    match shared.store.put(vec![vault.noted(shared.clock.now())], None).await.map_err(VaultError::from) {
        Ok(()) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Who waits for a credential in a vault.
pub(super) fn waiting(vault: &SavedVault) -> impl Iterator<Item = SessionId> {
    let wanted = vault.body.wanted.iter().map(|one| one.session);
    wanted.chain(vault.body.found.iter().map(|one| one.session))
}
