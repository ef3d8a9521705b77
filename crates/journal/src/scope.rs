//! Scopes of memory: for whom something is kept beyond the session in which it was learned.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AgentId, MemorySpace, ProjectId, SessionId, limit};

/// For whom a fact or a pinned block is kept. Written as one word and, behind a colon, whose it is.
///
/// ```text
///   project                  every agent of the project, with everybody
///   agent:agt_…              one agent, with everybody
///   user:ada                 every agent of the project, with one user
///   space:agt_…:ada          one agent with one user: who recalls the episodes of both
///   space:agt_…              one agent with nobody in particular
///   session:sess_…           one session
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryScope {
    /// Every agent of the project, with everybody.
    Project,
    /// One agent, with everybody.
    Agent(AgentId),
    /// Every agent, with one user.
    User(String),
    /// One agent with one user, or with nobody in particular.
    Space(AgentId, Option<String>),
    /// One session.
    Session(SessionId),
}

/// What kind of scope one is: what a model, a flag and a table call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    /// [`MemoryScope::Project`].
    Project,
    /// [`MemoryScope::Agent`].
    Agent,
    /// [`MemoryScope::User`].
    User,
    /// [`MemoryScope::Space`].
    Space,
    /// [`MemoryScope::Session`].
    Session,
}

impl ScopeKind {
    /// Every kind, the widest first.
    pub const ALL: [Self; 5] = [Self::Project, Self::Agent, Self::User, Self::Space, Self::Session];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Space => "space",
            Self::Session => "session",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether others read it than those who recall the session that writes: what an agent writes there waits for
    /// a person unless the scope says otherwise.
    #[must_use]
    pub fn is_wide(self) -> bool {
        match self {
            Self::Project | Self::Agent | Self::User => true,
            Self::Space | Self::Session => false,
        }
    }
}

impl Serialize for ScopeKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ScopeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_word(&word).ok_or_else(|| serde::de::Error::custom("no kind of scope"))
    }
}

impl MemoryScope {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Project => ScopeKind::Project,
            Self::Agent(_) => ScopeKind::Agent,
            Self::User(_) => ScopeKind::User,
            Self::Space(..) => ScopeKind::Space,
            Self::Session(_) => ScopeKind::Session,
        }
    }

    /// The scope of a kind as a session stands in it; `None` for a user where the session is with nobody.
    #[must_use]
    pub fn of(kind: ScopeKind, space: &MemorySpace, session: SessionId) -> Option<Self> {
        Some(match kind {
            ScopeKind::Project => Self::Project,
            ScopeKind::Agent => Self::Agent(space.agent),
            ScopeKind::User => Self::User(space.user.clone()?),
            ScopeKind::Space => Self::Space(space.agent, space.user.clone()),
            ScopeKind::Session => Self::Session(session),
        })
    }

    /// Every scope that a session reads, the widest first.
    #[must_use]
    pub fn all_of(space: &MemorySpace, session: Option<SessionId>) -> Vec<Self> {
        let mut scopes = vec![Self::Project, Self::Agent(space.agent)];
        scopes.extend(space.user.clone().map(Self::User));
        scopes.push(Self::Space(space.agent, space.user.clone()));
        scopes.extend(session.map(Self::Session));
        scopes
    }

    /// What stands for the scope in keys: no two scopes, of whatever projects, share one.
    #[must_use]
    pub fn mark(&self, project: ProjectId) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"memory scope").update(project.as_bytes()).update(self.to_string().as_bytes());
        hasher.finalize().to_hex()[..MARK_CHARS].to_owned()
    }
}

/// Hexadecimal digits of a mark: 128 bits.
const MARK_CHARS: usize = 32;

impl fmt::Display for MemoryScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project => f.write_str("project"),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
            Self::User(user) => write!(f, "user:{user}"),
            Self::Space(agent, None) => write!(f, "space:{agent}"),
            Self::Space(agent, Some(user)) => write!(f, "space:{agent}:{user}"),
            Self::Session(session) => write!(f, "session:{session}"),
        }
    }
}

/// Text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope: `project`, `agent:<agent id>`, `user:<user>`, `space:<agent id>`, \
     `space:<agent id>:<user>` or `session:<session id>`"
)]
pub struct ScopeError(String);

impl FromStr for MemoryScope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        /// Characters of a wrong text that an error repeats.
        const ECHO_CHARS_MAX: usize = 80;
        let wrong = || ScopeError(text.chars().filter(|c| !c.is_control()).take(ECHO_CHARS_MAX).collect());
        let user = |user: &str| {
            let fits = !user.is_empty() && user.len() <= limit::MEMORY_USER_BYTES_MAX;
            (fits && !user.contains(char::is_control)).then(|| user.to_owned()).ok_or_else(wrong)
        };
        if text == "project" {
            return Ok(Self::Project);
        }
        let (word, rest) = text.split_once(':').ok_or_else(wrong)?;
        match ScopeKind::from_word(word) {
            Some(ScopeKind::Agent) => rest.parse().map(Self::Agent).map_err(|_| wrong()),
            Some(ScopeKind::User) => user(rest).map(Self::User),
            Some(ScopeKind::Session) => rest.parse().map(Self::Session).map_err(|_| wrong()),
            Some(ScopeKind::Space) => {
                let (agent, named) = match rest.split_once(':') {
                    Some((agent, name)) => (agent, Some(user(name)?)),
                    None => (rest, None),
                };
                Ok(Self::Space(agent.parse().map_err(|_| wrong())?, named))
            }
            Some(ScopeKind::Project) | None => Err(wrong()),
        }
    }
}

impl Serialize for MemoryScope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemoryScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fresh, Timestamp};

    #[test]
    fn every_scope_is_written_and_read_and_has_a_mark_of_its_own() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (agent, session) = (AgentId::fresh(&fresh), SessionId::fresh(&fresh));
        let space = MemorySpace { project: ProjectId::fresh(&fresh), agent, user: Some("a:b c".to_owned()) };
        let mut scopes = MemoryScope::all_of(&space, Some(session));
        scopes.push(MemoryScope::Space(agent, None));
        let mut marks = std::collections::BTreeSet::new();
        for scope in &scopes {
            let written = serde_json::to_string(scope).expect("text");
            assert_eq!(serde_json::from_str::<MemoryScope>(&written).expect("a scope"), *scope);
            assert_eq!(ScopeKind::from_word(scope.kind().as_str()), Some(scope.kind()));
            for project in [space.project, ProjectId::fresh(&fresh)] {
                assert!(marks.insert(scope.mark(project)), "{scope} shares its mark");
            }
        }
        for kind in ScopeKind::ALL {
            let scope = MemoryScope::of(kind, &space, session).expect("it has a user");
            assert!(scopes.contains(&scope) && scope.kind() == kind);
        }
        let nobody = MemorySpace { user: None, ..space };
        assert_eq!(MemoryScope::of(ScopeKind::User, &nobody, session), None);
        assert_eq!(MemoryScope::all_of(&nobody, None).len(), 3);
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        let long = format!("user:{}", "x".repeat(limit::MEMORY_USER_BYTES_MAX + 1));
        for wrong in [
            "",
            "projects",
            "project:",
            "project:x",
            "user:",
            "user",
            "agent:ada",
            "space:",
            "space:agt_1",
            "session:agt_00000000000000000000000000000000",
            "space:agt_00000000000000000000000000000000:",
            "user:a\nb",
            &long,
        ] {
            assert!(wrong.parse::<MemoryScope>().is_err(), "{wrong}");
        }
    }
}
