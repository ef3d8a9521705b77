//! What happens to environments when nobody asks anything of them: they are suspended, and those that nobody
//! opened a session in expire.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_journal::{EnvironmentId, Event, SessionKey};
use tenure_session::{Batch, Command, PrewarmedPhase};
use tenure_store::{Document, DocumentKind};

use super::Host;
use crate::RuntimeErrorKind;
use crate::handle::Shared;
use crate::registry::Admission;

/// How often environments are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Environments that expire in one look.
const EXPIRED_AT_ONCE: usize = 100;

impl Host {
    /// How long an environment waits for its session, in milliseconds.
    pub(crate) fn prewarmed_millis(&self) -> u64 {
        u64::try_from(self.config.prewarmed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Looks from time to time until the runtime ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let every = LOOK_EVERY.min(shared.environments.config.suspend);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        suspend(&shared).await;
        expire(&shared).await;
    }
}

/// Removes copies that nothing used for long, and tells their sessions.
async fn suspend(shared: &Arc<Shared>) {
    let host = Arc::clone(&shared.environments);
    // Removing a tree takes time.
    let swept = shared.tasks.spawn_blocking(move || host.sweep()).await.unwrap_or_default();
    for key in swept {
        ask(shared, key, Command::SuspendEnvironment).await;
    }
}

/// Ends environments whose time is over. Every node may do so: it is decided once.
async fn expire(shared: &Arc<Shared>) {
    let now = shared.clock.now();
    let due = match shared.store.due_documents(DocumentKind::Environment, now, EXPIRED_AT_ONCE).await {
        Ok(due) => due,
        Err(error) => {
            tracing::warn!(%error, "environments that may have expired cannot be looked up now");
            return;
        }
    };
    for document in due {
        if let Ok(id) = document.id.parse::<EnvironmentId>() {
            let key = SessionKey { project: document.project, session: id.session() };
            ask(shared, key, Command::ExpireEnvironment).await;
        }
    }
}

async fn ask(shared: &Arc<Shared>, key: SessionKey, command: Command) {
    let Err(error) = shared.submit(key, vec![command], None, Admission::Always).await else { return };
    match error.kind() {
        // A session that went meanwhile, or a subagent's, which shares the fate of its parent's.
        RuntimeErrorKind::NotFound | RuntimeErrorKind::Refused(_) => {}
        RuntimeErrorKind::ReceiptExists
        | RuntimeErrorKind::Overloaded(_)
        | RuntimeErrorKind::ShuttingDown
        | RuntimeErrorKind::Storage
        | RuntimeErrorKind::BeingErased
        | RuntimeErrorKind::Sealing
        | RuntimeErrorKind::Damaged => {
            tracing::warn!(session = %key.session, %error, "an environment cannot be looked after now");
        }
    }
}

/// The row of an environment that was opened without a session, where a batch changes it: so that it can be
/// listed, and found when its time is over.
pub(crate) fn document(batch: &Batch) -> Option<Document> {
    let changes = |event: &Event| {
        matches!(event, Event::EnvironmentOpened(_) | Event::SessionOpened(_) | Event::EnvironmentExpired)
    };
    let prewarmed = batch.after.prewarming()?;
    if !batch.events.iter().any(changes) {
        return None;
    }
    let (version, wake_at) = match prewarmed.phase {
        PrewarmedPhase::Waiting => (1, Some(prewarmed.expires_at)),
        PrewarmedPhase::Taken | PrewarmedPhase::Expired => (2, None),
    };
    let key = batch.after.key();
    Some(Document {
        project: key.project,
        kind: DocumentKind::Environment,
        id: EnvironmentId::of_session(key.session).to_string(),
        version,
        name: None,
        body: json!({}),
        created_at: prewarmed.opened_at,
        updated_at: batch.at,
        wake_at,
        deleted: false,
    })
}
