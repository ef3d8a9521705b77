//! Facts: short statements that outlive the session in which they were learned, with two kinds of time.
//!
//! *Valid time* says when a statement is true, *learned time* when the memory believed it. A fact is learned once and
//! closed at most once; closing says from when on it is true no more, or that it never was. So one record answers
//! what was believed at any moment about any other, and nothing that was ever believed has to be overwritten.
//!
//! ```text
//!                accept                       correct, forget
//!   Proposed ──────────────▶ Active ────────────────────────────▶ Closed
//!      │  reject
//!      └──────────────▶ Rejected
//! ```

use serde::{Deserialize, Deserializer, Serialize};

use crate::{EffectId, FactId, ItemId, Labels, MemoryScope, SessionId, Timestamp};

/// A statement with its times and where it is from. Its id and its history are those of its document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// For whom it is kept.
    pub scope: MemoryScope,
    /// What it is about; facts are filed under it. Up to [`crate::limit::FACT_SUBJECT_BYTES_MAX`].
    pub subject: String,
    /// What is so, complete in itself. Up to [`crate::limit::FACT_STATEMENT_BYTES_MAX`].
    pub statement: String,
    /// Since when it is true; absent where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// Until when it is true, as it was said when it was learned; absent where no end was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// When it was first believed; of a proposal, when it was proposed.
    pub learned_at: Timestamp,
    /// How sure whoever said it was.
    #[serde(default, skip_serializing_if = "Confidence::is_full")]
    pub confidence: Confidence,
    /// Who said it, the first first: up to [`crate::limit::FACT_SOURCES_MAX`], the first and the latest of them.
    pub sources: Vec<FactSource>,
    /// How often it was said, repetitions that are no longer among the sources included.
    pub said: u32,
    /// The labels of everything it was made of. They come back with it.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// The fact that it took the place of, or that it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<FactId>,
    /// Since when the one that it supersedes is true no more; absent where that never was true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_from: Option<Timestamp>,
    /// The fact that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<FactId>,
    /// Whether it is believed.
    pub state: FactState,
}

/// Whether a fact is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FactState {
    /// It waits for a person.
    Proposed,
    /// It is.
    Active,
    /// It was, and is no more.
    Closed(Closing),
    /// A person said no. It never was.
    Rejected {
        /// When, by whom.
        by: FactSource,
        /// Why, in the person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// The end of a belief.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// When it was learned.
    pub at: Timestamp,
    /// Until when the statement was true; absent where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub true_until: Option<Timestamp>,
    /// Who said so.
    pub by: FactSource,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who said something to the memory, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactSource {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: FactAuthor,
}

/// Who said something to the memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FactAuthor {
    /// An agent, by calling a tool.
    Call {
        /// In this session.
        session: SessionId,
        /// The item that shows the call.
        item: ItemId,
        /// The effect that the call was.
        effect: EffectId,
    },
    /// A model, by reading a turn that had ended.
    Extraction {
        /// Of this session.
        session: SessionId,
        /// The items that say so.
        items: Vec<ItemId>,
        /// The effect that the reading was.
        effect: EffectId,
    },
    /// A person or a program with a key.
    Caller {
        /// The id of the person or the key.
        id: String,
    },
}

impl FactAuthor {
    /// Whether it is something of this session.
    #[must_use]
    pub fn is_of(&self, session: SessionId) -> bool {
        match self {
            Self::Call { session: of, .. } | Self::Extraction { session: of, .. } => *of == session,
            Self::Caller { .. } => false,
        }
    }
}

/// How sure somebody is, in percent: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Confidence(u8);

impl Confidence {
    /// As sure as can be: where nothing else is said.
    pub const FULL: Self = Self(100);

    /// So many percent, from 1 to 100.
    #[must_use]
    pub fn percent(percent: u64) -> Option<Self> {
        u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent)).map(Self)
    }

    /// In percent.
    #[must_use]
    pub fn as_percent(self) -> u8 {
        self.0
    }

    fn is_full(&self) -> bool {
        *self == Self::FULL
    }
}

impl Default for Confidence {
    fn default() -> Self {
        Self::FULL
    }
}

impl<'de> Deserialize<'de> for Confidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = u64::deserialize(deserializer)?;
        Self::percent(percent).ok_or_else(|| serde::de::Error::custom("a confidence is 1 to 100 percent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fresh, ProjectId};

    #[test]
    fn a_fact_of_today_is_read_for_ever() {
        let text = r#"{"scope":"user:ada","subject":"Ada","statement":"Ada lives in Paris.","valid_from":1000,"learned_at":2000,"confidence":80,"sources":[{"at":2000,"by":{"type":"caller","id":"key_1"}}],"said":1,"supersedes":"fact_0190d5e4aabb7ccd8eeff00112233445","superseded_from":1000,"state":{"type":"closed","at":3000,"true_until":2500,"by":{"at":3000,"by":{"type":"call","session":"sess_0190d5e4aabb7ccd8eeff00112233445","item":"item_0190d5e4aabb7ccd8eeff00112233445","effect":"eff_0190d5e4aabb7ccd8eeff00112233445"}},"reason":"moved"}}"#;
        let fact: Fact = serde_json::from_str(text).expect("a fact");
        assert_eq!(serde_json::to_string(&fact).expect("text"), text);
        for (wrong, right) in [("80", "101"), ("80", "0"), ("\"said\"", "\"heard\""), ("user:ada", "ada")] {
            assert!(serde_json::from_str::<Fact>(&text.replacen(wrong, right, 1)).is_err(), "{right}");
        }
    }

    #[test]
    fn ids_follow_from_what_is_said_where_and_after_what() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (project, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
        let (mark, foreign) = (MemoryScope::Project.mark(project), MemoryScope::Project.mark(other));
        let first = FactId::of(&mark, "ada lives in paris", None);
        assert_eq!(first, FactId::of(&mark, "ada lives in paris", None));
        let again = FactId::of(&mark, "ada lives in paris", Some(first));
        let ids = [
            first,
            again,
            FactId::of(&mark, "ada lives in paris", Some(again)),
            FactId::of(&mark, "ada lives in rome", None),
            FactId::of(&foreign, "ada lives in paris", None),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
