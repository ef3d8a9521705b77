//! Stopping what is to be erased: nothing of it runs any more when its rows go.
//!
//! A session is cancelled and deleted like by a client, so whoever watches it is told, and a request that comes
//! meanwhile finds it gone. One that cannot be stopped, because its journal cannot be read or because what it does
//! does not end, is erased all the same: whoever still works in it finds no journal, and ends.

use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{ProjectId, SessionId, SessionKey};
use tenure_session::{Command, Refusal};
use tokio::time::Instant;

use crate::RuntimeErrorKind;
use crate::handle::Shared;
use crate::registry::Admission;

/// How long sessions are waited for.
const STOP_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether one has stopped.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Turns of one session that are cancelled, one after the other: each that waits begins when the one before ends.
const TURNS_MAX: u32 = 64;

/// Stops sessions. Those of subagents stop with their parents'.
pub(super) async fn all(shared: &Arc<Shared>, project: ProjectId, sessions: &[SessionId]) {
    let until = Instant::now() + STOP_MAX;
    for session in sessions {
        let key = SessionKey { project, session: *session };
        if let Err(error) = one(shared, key).await {
            tracing::warn!(session = %session, %error, "a session that is erased cannot be stopped");
        }
    }
    for session in sessions {
        let key = SessionKey { project, session: *session };
        while Instant::now() < until && !has_stopped(shared, key).await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn one(shared: &Arc<Shared>, key: SessionKey) -> Result<(), crate::RuntimeError> {
    let mut left = TURNS_MAX;
    loop {
        // Refused where nothing runs.
        let _ = shared.submit(key, vec![Command::Cancel], None, Admission::Always).await;
        let deleted = shared.submit(key, vec![Command::Delete], None, Admission::Always).await;
        match deleted.map_err(|error| error.kind().clone()) {
            // A subagent's session takes commands of its parent alone.
            Ok(_) | Err(RuntimeErrorKind::NotFound) => return Ok(()),
            Err(RuntimeErrorKind::Refused(Refusal::Busy)) if left > 0 => left -= 1,
            Err(RuntimeErrorKind::Refused(_)) => return Ok(()),
            Err(kind) => return Err(kind.into()),
        }
    }
}

/// Whether nothing runs in a session, here or on another node.
async fn has_stopped(shared: &Shared, key: SessionKey) -> bool {
    if shared.registry.has(key) {
        return false;
    }
    match shared.store.head(key).await {
        Ok(Some(head)) => head.wake_at.is_none(),
        // Gone already, or not to be found out now.
        Ok(None) | Err(_) => true,
    }
}
