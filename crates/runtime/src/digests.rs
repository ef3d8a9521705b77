//! Which key the digests in a record are keyed with that no journal's event is told by: those of requests and documents.
//!
//! What is asked of a session is keyed with the session's own key, which goes when the session is erased. Everything
//! else is keyed with a key of its project that follows from the installation's: whoever reads the audit log alone can
//! guess nothing, and whoever holds the installation's key can, for as long as there is one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tenure_journal::{DigestKey, ProjectId, SessionId, SessionKey, Version};
use tenure_store::StoreError;

use crate::Runtime;
use crate::handle::Shared;

/// Keys of sessions that are kept in memory, so that a message costs no read of its journal's beginning.
const KNOWN_MAX: usize = 4_096;

/// Keys of sessions that were looked up.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Absent for a session of before there were keys.
    keys: HashMap<SessionKey, Option<DigestKey>>,
    /// How often sessions were erased: what was read before is not remembered after it.
    erasures: u64,
}

impl Digests {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was read when there had been so many erasures.
    fn put(&self, session: SessionKey, key: Option<DigestKey>, erasures: u64) {
        let mut known = self.lock();
        if known.erasures != erasures {
            return;
        }
        if known.keys.len() >= KNOWN_MAX {
            known.keys.clear();
        }
        known.keys.insert(session, key);
    }

    /// Forgets the keys of sessions that were erased. Other nodes forget them when they end, at the latest.
    pub(crate) fn forget(&self, project: ProjectId, sessions: &[SessionId]) {
        let mut known = self.lock();
        known.erasures += 1;
        for session in sessions {
            known.keys.remove(&SessionKey { project, session: *session });
        }
    }
}

impl Runtime {
    /// A digest as the record of a request shows it that is about a session, or about none.
    pub async fn keyed_digest(&self, project: ProjectId, session: Option<SessionId>, digest: &str) -> String {
        let shared = self.shared();
        let own = match session {
            // What cannot be read now is a digest that nobody can guess all the same.
            Some(session) => shared.digest_key(SessionKey { project, session }).await.unwrap_or_default(),
            None => None,
        };
        own.unwrap_or_else(|| shared.project_digest_key(project)).keyed(digest)
    }
}

impl Shared {
    /// The key that a session's journal begins with; nothing where there is no such session, and for one of before.
    async fn digest_key(&self, key: SessionKey) -> Result<Option<DigestKey>, StoreError> {
        let (known, erasures) = {
            let known = self.digests.lock();
            (known.keys.get(&key).copied(), known.erasures)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let events = self.store.events(key, Version::ZERO, 1).await?;
        // One that is not there may come.
        let Some(first) = events.first() else { return Ok(None) };
        let found = first.event.digest_key();
        self.digests.put(key, found, erasures);
        Ok(found)
    }

    /// The key for what belongs to no session.
    pub(crate) fn project_digest_key(&self, project: ProjectId) -> DigestKey {
        DigestKey::new(self.sealer.derived(&format!("audit digests {project}")))
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    #[test]
    fn what_is_erased_is_forgotten_and_no_more_is_kept_than_may_be() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let project = ProjectId::fresh(&fresh);
        let digests = Digests::default();
        let sessions: Vec<SessionId> = (0..KNOWN_MAX + 1).map(|_| SessionId::fresh(&fresh)).collect();
        let key = |session: SessionId| SessionKey { project, session };
        let found = Some(DigestKey::new([7; 32]));
        for session in &sessions[..2] {
            digests.put(key(*session), found, 0);
        }
        digests.forget(project, &sessions[..1]);
        // Read before it was erased.
        digests.put(key(sessions[0]), found, 0);
        assert_eq!(digests.lock().keys.keys().copied().collect::<Vec<_>>(), [key(sessions[1])]);
        for session in &sessions {
            digests.put(key(*session), None, 1);
        }
        let known = digests.lock();
        assert!(known.keys.len() <= KNOWN_MAX);
        assert_eq!(
            known.keys.get(&key(sessions[KNOWN_MAX])),
            Some(&None),
            "that there is none is remembered"
        );
    }
}
