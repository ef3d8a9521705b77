//! What this release cannot read, and leaves exactly as it is.
//!
//! While a cluster is upgraded, and after an upgrade was taken back, there is durable state that a newer
//! release wrote and this one does not decode. Journals and documents are read strictly: to pass over an
//! unknown member is to decide without a fact, and to write the rest back is to lose it. So what cannot be
//! read is not written either, by no path and for no purpose; a session is let go, so that a newer node can
//! claim it. Damage looks the same from here and is treated the same.
//!
//! What was left is remembered in memory, with a pause before it is looked at again. The pause keeps it out
//! of the way of what can be read, and the memory keeps it to one line of the log for each and process.
//!
//! ```text
//!            cannot be read                 pause over                can be read, or was written by another
//!   looked at ─────────────▶ left, told once ─────────▶ looked at again ────────────────────────────▶ forgotten
//!                              ▲                              │
//!                              └────── cannot be read ────────┘
//! ```

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure_journal::{ProjectId, SessionKey};
use tenure_store::{Document, DocumentKind};
use tokio::time::Instant;

use crate::handle::Shared;
use crate::{RuntimeError, RuntimeErrorKind};

/// How long what cannot be read is left alone. Others find it at once; this is what a release that can read
/// it again, or a repair, waits for here.
pub(crate) const LEFT_FOR: Duration = Duration::from_secs(60);
/// Documents of one kind, sessions, or lines that are remembered. What is more is looked at each time, and takes
/// the place of what comes after it.
const LEFT_MAX: usize = 16_384;
/// How long something is remembered that was not met again: someone else has dealt with it.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

const _: () = assert!(LEFT_FOR.as_secs() * 2 < REMEMBERED_FOR.as_secs(), "what stays is told once");

/// Everything that this process left.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    automations: Left<DocumentKey>,
    invocations: Left<DocumentKey>,
    deliveries: Left<DocumentKey>,
    vaults: Left<DocumentKey>,
    credentials: Left<DocumentKey>,
    lost_sign_ins: Left<DocumentKey>,
    /// Lines of deliveries, by project and name.
    pub(crate) lines: Left<(ProjectId, String)>,
    pub(crate) sessions: Left<SessionKey>,
}

/// One version of a document: another version may be readable.
type DocumentKey = (ProjectId, String, u64);

impl Unreadable {
    /// Whether this version of a document is left alone now.
    pub(crate) fn is_left(&self, document: &Document) -> bool {
        self.of(document.kind).is_some_and(|left| left.is_left(&key_of(document)))
    }

    /// Leaves a document that cannot be read.
    pub(crate) fn leave(&self, document: &Document, error: &(dyn std::error::Error + 'static)) -> Met {
        let met = self.leave_quietly(document);
        if met == Met::First {
            tracing::error!(
                project = %document.project, kind = document.kind.as_str(), id = document.id, error,
                "a stored document cannot be read by this release; it stays as it is"
            );
        }
        met
    }

    /// Leaves a document that can be read and has to wait for one that cannot.
    pub(crate) fn leave_quietly(&self, document: &Document) -> Met {
        self.of(document.kind).map_or(Met::NoRoom, |left| left.leave(key_of(document)))
    }

    /// How many documents of a kind are left now: a look at what is due asks for as many more.
    pub(crate) fn count(&self, kind: DocumentKind) -> usize {
        self.of(kind).map_or(0, Left::count)
    }

    /// How many documents are left now.
    pub(crate) fn documents(&self) -> usize {
        let each = [
            &self.automations,
            &self.invocations,
            &self.deliveries,
            &self.vaults,
            &self.credentials,
            &self.lost_sign_ins,
        ];
        each.into_iter().map(Left::count).sum()
    }

    /// Those of the kinds that wake.
    fn of(&self, kind: DocumentKind) -> Option<&Left<DocumentKey>> {
        match kind {
            DocumentKind::Automation => Some(&self.automations),
            DocumentKind::Invocation => Some(&self.invocations),
            DocumentKind::Delivery => Some(&self.deliveries),
            DocumentKind::Vault => Some(&self.vaults),
            DocumentKind::Credential => Some(&self.credentials),
            DocumentKind::LostSignIn => Some(&self.lost_sign_ins),
            DocumentKind::Agent
            | DocumentKind::Key
            | DocumentKind::Secret
            | DocumentKind::Project
            | DocumentKind::Request
            | DocumentKind::Webhook
            | DocumentKind::Split
            | DocumentKind::File
            | DocumentKind::Skill
            | DocumentKind::SkillVersion
            | DocumentKind::Fork
            | DocumentKind::KeyUse
            | DocumentKind::Freeze
            | DocumentKind::Person
            | DocumentKind::PolicySet
            | DocumentKind::Policies
            | DocumentKind::Erasure
            | DocumentKind::Fact
            | DocumentKind::PinnedBlock
            | DocumentKind::Procedure
            | DocumentKind::ProcedureProposal
            | DocumentKind::MemorySettings
            | DocumentKind::Budget
            | DocumentKind::Template
            | DocumentKind::DataKey
            | DocumentKind::SignIn
            | DocumentKind::Environment => None,
        }
    }
}

fn key_of(document: &Document) -> DocumentKey {
    (document.project, document.id.clone(), document.version)
}

/// Lets go of a session that cannot be read, if that is what the error says. A newer node claims it, and this
/// one does not for a while.
pub(crate) async fn let_go(shared: &Arc<Shared>, key: SessionKey, error: &RuntimeError) {
    if *error.kind() != RuntimeErrorKind::Damaged {
        return;
    }
    if shared.unreadable.sessions.leave(key) == Met::First {
        tracing::error!(session = %key.session, source = ?std::error::Error::source(error),
            "a session cannot be read by this release; it is left to other nodes");
    }
    shared.registry.set_holding(key, false);
    if let Err(error) = shared.store.release(shared.node, key).await {
        // It is still held here, so the next comparison comes back to it.
        tracing::warn!(session = %key.session, %error, "a session cannot be let go now");
    }
}

/// How something that cannot be read was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// For the first time: it is told.
    First,
    /// Once more.
    Again,
    /// Where nothing more can be remembered: it is met again at the next look.
    NoRoom,
}

/// Things that are left alone until a moment each.
#[derive(Debug)]
pub(crate) struct Left<K> {
    until: Mutex<HashMap<K, Instant>>,
}

impl<K> Default for Left<K> {
    fn default() -> Self {
        Self { until: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone> Left<K> {
    /// Leaves something alone for a while.
    pub(crate) fn leave(&self, key: K) -> Met {
        let now = Instant::now();
        let mut left = self.lock();
        if let Some(until) = left.get_mut(&key) {
            *until = now + LEFT_FOR;
            return Met::Again;
        }
        if left.len() >= LEFT_MAX {
            left.retain(|_, until| now < *until + REMEMBERED_FOR);
        }
        if left.len() >= LEFT_MAX {
            return Met::NoRoom;
        }
        left.insert(key, now + LEFT_FOR);
        if left.len() == LEFT_MAX {
            tracing::error!(most = LEFT_MAX, "more cannot be read by this release than it can pass over");
        }
        Met::First
    }

    pub(crate) fn is_left(&self, key: &K) -> bool {
        self.lock().get(key).is_some_and(|until| Instant::now() < *until)
    }

    /// What can be read after all.
    pub(crate) fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    /// Everything that is left alone now.
    pub(crate) fn all(&self) -> Vec<K> {
        let now = Instant::now();
        self.lock().iter().filter(|(_, until)| now < **until).map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        let now = Instant::now();
        self.lock().values().filter(|until| now < **until).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_told_once_and_looked_at_again() {
        let left = Left::default();
        assert_eq!(left.leave(1), Met::First);
        assert!(left.is_left(&1) && !left.is_left(&2));
        assert_eq!((left.count(), left.all()), (1, vec![1]));
        for _ in 0..3 {
            tokio::time::advance(LEFT_FOR).await;
            assert!(!left.is_left(&1), "looked at again");
            assert_eq!(left.leave(1), Met::Again);
        }
        left.forget(&1);
        assert_eq!(left.leave(1), Met::First, "another time it is news");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_makes_room() {
        let left = Left::default();
        for key in 0..LEFT_MAX {
            assert_eq!(left.leave(key), Met::First);
        }
        assert_eq!(left.leave(LEFT_MAX), Met::NoRoom);
        assert!(!left.is_left(&LEFT_MAX), "more is not remembered");
        tokio::time::advance(REMEMBERED_FOR).await;
        assert_eq!(left.leave(0), Met::Again);
        tokio::time::advance(LEFT_FOR).await;
        assert_eq!(left.leave(LEFT_MAX), Met::First, "what is not met any more makes room");
        assert_eq!(left.count(), 1);
    }
}
