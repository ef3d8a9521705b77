//! The memories of a session as policies see them, and the two things that are done with them.

use tenure_journal::{Confidentiality, Integrity, MemorySpace};

use crate::resource::{Action, MemoryFacts};

/// What is done with memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryUse {
    /// Recalling, listing and reading: `memory.read`.
    Read,
    /// Remembering, correcting and forgetting: `memory.write`.
    Write,
}

/// The memories of one agent, with one user or with nobody in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryStore {
    id: String,
    scope: &'static str,
}

impl MemoryStore {
    /// Those of a space: `user/<agent>/<user>`, or `agent/<agent>` where the session names no user.
    #[must_use]
    pub fn of(space: &MemorySpace) -> Self {
        match &space.user {
            Some(user) => Self { id: format!("user/{}/{user}", space.agent), scope: "user" },
            None => Self { id: format!("agent/{}", space.agent), scope: "agent" },
        }
    }

    /// The question whether this may be done with them. What is kept keeps its labels, so nothing is too
    /// confidential or too little trusted to be kept, unless a policy says so.
    #[must_use]
    pub fn action(&self, what: MemoryUse) -> Action<'_> {
        let facts = MemoryFacts {
            id: &self.id,
            scope: self.scope,
            confidentiality: Confidentiality::Restricted,
            min_write_integrity: Integrity::Untrusted,
        };
        match what {
            MemoryUse::Read => Action::MemoryRead(facts),
            MemoryUse::Write => Action::MemoryWrite(facts),
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{AgentId, Fresh, ProjectId, Timestamp};

    use super::*;

    #[test]
    fn memories_are_named_by_whose_they_are() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (project, agent) = (ProjectId::fresh(&fresh), AgentId::fresh(&fresh));
        let of = |user: Option<&str>| {
            let space = MemorySpace { project, agent, user: user.map(str::to_owned) };
            MemoryStore::of(&space).action(MemoryUse::Read).resource()
        };
        assert_eq!(of(None), format!("agent/{agent}"));
        assert_eq!(of(Some("ann")), format!("user/{agent}/ann"));
        assert_ne!(of(Some("")), of(None), "a user without a name is not nobody");
    }
}
