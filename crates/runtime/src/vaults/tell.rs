//! Telling sessions what became of the sign-in that they wait for, wherever they are.
//!
//! ```text
//!   a credential is made, tokens are written     a credential or a vault is deleted
//!         │ noted in the vault or the credential       │ noted in a document of its own
//!         └───────────── in the same transaction ──────┘
//!                               │ due at every node, at once where it was written
//!                               ▼
//!           each session is told, in its journal ──▶ who was told is noted no more
//! ```
//!
//! A process may die at each step: before the transaction nothing happened, and after it the note stays due until the
//! journal of the last session says that it was told. So each is told at least once; a session that was told before, or
//! is gone, or waits for nothing, takes it as nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tenure_journal::{CredentialAuth, FoundCredential, LostSignIn, SessionId, SessionKey, Timestamp};
use tenure_session::Command;
use tenure_store::{Document, DocumentKind};

use super::documents::{encode, first, gone};
use super::{SavedCredential, SavedVault, VaultError};
use crate::RuntimeErrorKind;
use crate::handle::Shared;
use crate::registry::Admission;

/// How often documents are looked for that are due, beside those that this process is told of.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Documents of a kind that are looked at together.
const BATCH: usize = 100;

/// Tells sessions what became of the sign-in they wait for, as long as the process lives.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        if let Err(error) = tell_due(&shared).await {
            tracing::warn!(%error, "sessions that wait for a sign-in cannot be told now");
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.vaults.written.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn tell_due(shared: &Arc<Shared>) -> Result<(), VaultError> {
    for vault in due(shared, DocumentKind::Vault, SavedVault::from_document).await? {
        tell_found(shared, vault).await?;
    }
    for credential in due(shared, DocumentKind::Credential, SavedCredential::from_document).await? {
        tell_signed_in(shared, credential).await?;
    }
    for (document, lost) in due(shared, DocumentKind::LostSignIn, lost).await? {
        tell_lost(shared, document, lost).await?;
    }
    Ok(())
}

/// What is due of a kind, but for what this release leaves to others.
async fn due<T>(
    shared: &Shared,
    kind: DocumentKind,
    read: impl Fn(Document) -> Result<T, VaultError>,
) -> Result<Vec<T>, VaultError> {
    // What is left takes nobody's place.
    let due_max = BATCH + shared.unreadable.count(kind);
    let mut readable = Vec::new();
    for document in shared.store.due_documents(kind, shared.clock.now(), due_max).await? {
        if shared.unreadable.is_left(&document) {
            continue;
        }
        match read(document.clone()) {
            Ok(one) => readable.push(one),
            Err(VaultError::Damaged(error)) => _ = shared.unreadable.leave(&document, &error),
            Err(error) => return Err(error),
        }
    }
    Ok(readable)
}

/// Tells the sessions for which a credential was found.
async fn tell_found(shared: &Arc<Shared>, mut vault: SavedVault) -> Result<(), VaultError> {
    let bind = |FoundCredential { session, mcp_server_url, credential_id }: &FoundCredential| {
        let bind = Command::BindCredential {
            server_url: mcp_server_url.clone(),
            credential_id: credential_id.to_string(),
        };
        (*session, bind)
    };
    let Some(later) = tell_each(shared, &vault.document, &vault.body.found, bind).await else {
        return Ok(());
    };
    vault.body.found = later;
    write(shared, vault.noted(shared.clock.now())).await
}

/// Tells the sessions that waited until a person signed in.
async fn tell_signed_in(shared: &Arc<Shared>, credential: SavedCredential) -> Result<(), VaultError> {
    let CredentialAuth::McpOauth(oauth) = &credential.body.auth else { return Ok(()) };
    let signed_in = |session: &SessionId| (*session, Command::SignedIn);
    let Some(later) = tell_each(shared, &credential.document, &oauth.releasing, signed_in).await else {
        return Ok(());
    };
    let with = (&shared.sealer, &*shared.store);
    let mut body = credential.body.clone();
    if let CredentialAuth::McpOauth(oauth) = &mut body.auth {
        oauth.releasing = later;
    }
    let secrets = credential.open(with).await?;
    let next = credential.next(with, body, &secrets, shared.clock.now()).await?;
    write(shared, next.document).await
}

/// Has sessions ask again that wait for what was deleted: they are told what they lack then.
async fn tell_lost(shared: &Arc<Shared>, document: Document, lost: LostSignIn) -> Result<(), VaultError> {
    let ask_again = |session: &SessionId| (*session, Command::SignedIn);
    let Some(later) = tell_each(shared, &document, &lost.sessions, ask_again).await else { return Ok(()) };
    let now = shared.clock.now();
    let next = match later.is_empty() {
        true => gone(&document, now),
        false => Document {
            version: document.version + 1,
            updated_at: now,
            body: encode(&LostSignIn { sessions: later }),
            ..document
        },
    };
    write(shared, next).await
}

/// The note that belongs to the deletion of a document; none where nobody waits.
pub(super) fn note_lost(
    deleted: &Document,
    waiting: impl Iterator<Item = SessionId>,
    now: Timestamp,
) -> Option<Document> {
    let sessions: Vec<SessionId> = waiting.collect::<BTreeSet<_>>().into_iter().collect();
    if sessions.is_empty() {
        return None;
    }
    let place = (deleted.project, DocumentKind::LostSignIn, deleted.id.clone());
    let note = first(place, None, encode(&LostSignIn { sessions }), now);
    Some(Document { wake_at: Some(now), ..note })
}

fn lost(document: Document) -> Result<(Document, LostSignIn), VaultError> {
    let lost = LostSignIn::deserialize(&document.body).map_err(VaultError::Damaged)?;
    Ok((document, lost))
}

/// What came of telling a session something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It was told, or is gone.
    Done,
    /// It cannot be told now.
    NotNow,
    /// It cannot be read by this release.
    Unreadable,
}

/// Tells each of those of a document. Gives those that have to be told later; nothing if that is everyone, and the
/// document says so already.
async fn tell_each<T: Clone>(
    shared: &Arc<Shared>,
    document: &Document,
    each: &[T],
    told_what: impl Fn(&T) -> (SessionId, Command),
) -> Option<Vec<T>> {
    let mut later = Vec::new();
    let mut unreadable = 0;
    for one in each {
        let (session, command) = told_what(one);
        match tell(shared, SessionKey { project: document.project, session }, command).await {
            Told::Done => continue,
            Told::NotNow => {}
            Told::Unreadable => unreadable += 1,
        }
        later.push(one.clone());
    }
    if later.len() < each.len() || each.is_empty() {
        return Some(later);
    }
    if unreadable == each.len() {
        // Only a newer release goes on with them: it is in nobody's way meanwhile.
        shared.unreadable.leave_quietly(document);
    }
    None
}

async fn tell(shared: &Arc<Shared>, key: SessionKey, command: Command) -> Told {
    let told = shared.submit(key, vec![command], None, Admission::Always).await;
    let Err(error) = told else { return Told::Done };
    tracing::debug!(session = %key.session, %error, "a session that waited for a sign-in does not take it");
    match error.kind() {
        RuntimeErrorKind::Storage
        | RuntimeErrorKind::Overloaded(_)
        | RuntimeErrorKind::ShuttingDown
        | RuntimeErrorKind::BeingErased
        | RuntimeErrorKind::Sealing => Told::NotNow,
        RuntimeErrorKind::Damaged => Told::Unreadable,
        RuntimeErrorKind::NotFound | RuntimeErrorKind::Refused(_) | RuntimeErrorKind::ReceiptExists => {
            Told::Done
        }
    }
}

/// Writes what is left. If someone wrote meanwhile, it is still due.
async fn write(shared: &Shared, next: Document) -> Result<(), VaultError> {
    match shared.store.put(vec![next], None).await.map_err(VaultError::from) {
        Err(error) if !error.is_conflict() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
