//! The memories of a session as policies see them, and the two things that are done with them.

use tenure_journal::{Confidentiality, Integrity, MemoryScope, MemorySpace};

use crate::resource::{Action, MemoryFacts};

/// What is done with memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryUse {
    /// Recalling, listing and reading: `memory.read`.
    Read,
    /// Remembering, correcting and forgetting: `memory.write`.
    Write,
}

/// Memories of one scope: what was said to one agent by one user or by nobody in particular, and what is kept for one
/// scope on purpose.
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

    /// What is kept for a scope: as above for a space, else `project`, `agent/<agent>`, `user/*/<user>` or
    /// `session/<session>`.
    #[must_use]
    pub fn of_scope(scope: &MemoryScope) -> Self {
        let word = scope.kind().as_str();
        match scope {
            MemoryScope::Project => Self { id: word.to_owned(), scope: word },
            MemoryScope::Agent(agent) => Self { id: format!("agent/{agent}"), scope: word },
            MemoryScope::User(user) => Self { id: format!("user/*/{user}"), scope: word },
            MemoryScope::Session(session) => Self { id: format!("session/{session}"), scope: word },
            MemoryScope::Space(agent, Some(user)) => {
                Self { id: format!("user/{agent}/{user}"), scope: "user" }
            }
            MemoryScope::Space(agent, None) => Self { id: format!("agent/{agent}"), scope: "agent" },
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
        let space = MemorySpace { project, agent, user: Some("ann".to_owned()) };
        let scoped = |scope: &MemoryScope| MemoryStore::of_scope(scope).action(MemoryUse::Write).resource();
        let scopes: Vec<String> = MemoryScope::all_of(&space, None).iter().map(scoped).collect();
        let agent = format!("agent/{agent}");
        assert_eq!(
            scopes,
            ["project", &agent, "user/*/ann", &of(Some("ann"))],
            "what is kept is named as what was said"
        );
    }
}
