//! Episodes: what was said in sessions, as it can be recalled in later ones. A projection of items, written
//! with the events that made them.

use serde::{Deserialize, Serialize};

use crate::{AgentId, ItemId, Labels, ProjectId, SessionId, Timestamp};

/// One message or tool result that can be recalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// Where it was said.
    pub session: SessionId,
    /// The item that holds it whole.
    pub item: ItemId,
    /// The item's place in its session: the neighbours of an episode are those with the nearest places.
    pub ordinal: u64,
    /// When it was said: when the event that made it was appended, unless its session retells what was said before.
    pub at: Timestamp,
    /// Who said it.
    pub speaker: Speaker,
    /// The speaker's name, where one is known: the agent's, the user's, the tool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was said, as text, no longer than [`crate::limit::EPISODE_BYTES_MAX`].
    pub text: String,
    /// The labels of its item: they come back with it, and flow into whatever it is recalled for.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The person the agent works for.
    User,
    /// The agent.
    Agent,
    /// A tool, in what it returned.
    Tool,
}

impl Speaker {
    /// Every speaker.
    pub const ALL: [Self; 3] = [Self::User, Self::Agent, Self::Tool];

    /// The word on disk.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Tool => "tool",
        }
    }

    /// The speaker of a word on disk.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|speaker| speaker.as_str() == word)
    }
}

/// The key of a session's metadata that names the user it is with, for its memory.
pub const MEMORY_USER_KEY: &str = "user_id";

/// The key of a session's metadata that says what that user is called, so that a question may name them.
pub const MEMORY_NAME_KEY: &str = "tenure.user_name";

/// The key of a session's metadata that says when what it retells was said: the moment of RFC 3339, or the date, at
/// which the session counts as opened for its memory.
pub const MEMORY_TIME_KEY: &str = "tenure.said_at";

/// Whose memory something is. Nothing is ever recalled across spaces: a space is part of every key.
///
/// A session of no user remembers for its agent alone; two users of one agent share nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySpace {
    /// The project.
    pub project: ProjectId,
    /// The agent that was talked with.
    pub agent: AgentId,
    /// The user that it was talked with by, as the session's opener names them; absent where it names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl MemorySpace {
    /// What stands for the space in keys and indexes: no two spaces share one.
    #[must_use]
    pub fn mark(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.project.as_bytes());
        hasher.update(self.agent.as_bytes());
        // A user named by nobody is not one whose name is empty.
        hasher.update(&[u8::from(self.user.is_some())]);
        hasher.update(self.user.as_deref().unwrap_or_default().as_bytes());
        hasher.finalize().to_hex()[..MARK_CHARS].to_owned()
    }
}

/// Hexadecimal digits of a mark: 128 bits.
const MARK_CHARS: usize = 32;

/// An episode as it is given to a store, with what it is found by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// Whose memory it is.
    pub space: MemorySpace,
    /// The episode.
    pub episode: Episode,
    /// The distinct terms it is found by: no white space within them.
    pub terms: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fresh;

    #[test]
    fn every_space_has_a_mark_of_its_own() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (project, agent) = (ProjectId::fresh(&fresh), AgentId::fresh(&fresh));
        let user = |name: &str| Some(name.to_owned());
        let spaces = [
            MemorySpace { project, agent, user: None },
            MemorySpace { project, agent, user: user("") },
            MemorySpace { project, agent, user: user("a") },
            MemorySpace { project, agent: AgentId::fresh(&fresh), user: user("a") },
            MemorySpace { project: ProjectId::fresh(&fresh), agent, user: user("a") },
        ];
        let marks: std::collections::BTreeSet<String> = spaces.iter().map(MemorySpace::mark).collect();
        assert_eq!(marks.len(), spaces.len());
        assert_eq!(spaces[2].mark(), spaces[2].clone().mark());
    }
}
