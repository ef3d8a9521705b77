//! Procedures: how something is done, distilled from sessions in which it was, and used once a person accepted it.
//!
//! ```text
//!   an agent, or a model that reads a turn          a person
//!        │ proposes                                    │ writes
//!        ▼                  accept                     ▼
//!     Proposed ──────────────────────────────────▶ in force, until somebody removes or replaces it
//!        │  reject
//!        └──────────▶ Rejected: the same is not proposed again
//! ```
//!
//! A proposal is a record of its own beside the procedure that it would replace. So what waits changes nothing of what
//! is in force, and when a proposal is erased nothing of that goes with it.

use serde::{Deserialize, Serialize};

use crate::{EffectId, FactSource, Labels, MemoryScope};

/// A procedure, or a proposal of one. Its history is that of its document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Procedure {
    /// For whom it is kept.
    pub scope: MemoryScope,
    /// What it is called, unique among those in force in its scope: see [`is_procedure_name`].
    pub name: String,
    /// When to use it: one line of up to [`crate::limit::PROCEDURE_DESCRIPTION_BYTES_MAX`].
    pub description: String,
    /// What to do, in Markdown: up to [`crate::limit::PROCEDURE_STEPS_BYTES_MAX`].
    pub steps: String,
    /// The labels of everything it was made of.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// Who wrote it, the first first: up to [`crate::limit::FACT_SOURCES_MAX`], the first and the latest of them.
    pub sources: Vec<FactSource>,
    /// Whether agents go by it.
    pub state: ProcedureState,
}

/// Whether agents go by a procedure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProcedureState {
    /// They do.
    Accepted {
        /// Who accepted it; absent where a person wrote it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<FactSource>,
    },
    /// It waits for a person.
    Proposed {
        /// The version of the procedure of that name that was in force when it was proposed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revises: Option<u64>,
    },
    /// A person said no.
    Rejected {
        /// When, by whom.
        by: FactSource,
        /// Why, in the person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl ProcedureState {
    /// In a word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Proposed { .. } => "proposed",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// A procedure as a session took it up: what its model is shown of it until it takes up another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenProcedure {
    /// For whom it is kept.
    pub scope: MemoryScope,
    /// What it is called.
    pub name: String,
    /// The version of its document.
    pub version: u64,
    /// When to use it.
    pub description: String,
    /// The labels of the procedure.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
}

/// Characters of a procedure's name.
pub const PROCEDURE_NAME_CHARS_MAX: usize = 64;

/// Whether a procedure may be called so: as a skill may, lower-case letters and digits with single hyphens between
/// them, so that it can become one.
#[must_use]
pub fn is_procedure_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= PROCEDURE_NAME_CHARS_MAX
        && name.split('-').all(|part| !part.is_empty() && part.bytes().all(legal))
}

/// What names a procedure in force in its scope and nowhere else.
#[must_use]
pub fn procedure_id(mark: &str, name: &str) -> String {
    format!("{mark}.{name}")
}

/// What names the proposal that an effect made, and no other.
#[must_use]
pub fn proposal_id(mark: &str, name: &str, effect: EffectId) -> String {
    format!("{mark}.{name}.{effect}")
}

/// Whether an id is that of a proposal. No name has a full stop in it.
#[must_use]
pub fn is_proposal_id(id: &str) -> bool {
    id.matches('.').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;

    #[test]
    fn what_is_stored_today_is_read_for_ever() {
        fn check<T: Serialize + serde::de::DeserializeOwned>(text: &str) {
            let value: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(serde_json::to_string(&value).expect("text"), text);
            let unknown = text.replacen('{', r#"{"colour":"red","#, 1);
            assert!(serde_json::from_str::<T>(&unknown).is_err(), "an unknown member is an error: {unknown}");
        }
        let rest = r#""scope":"project","name":"refund-order","description":"To refund.","steps":"1. Look.""#;
        let source = r#"{"at":1,"by":{"type":"caller","id":"key_1"}}"#;
        for (labels, state) in [
            ("", r#"{"type":"accepted"}"#.to_owned()),
            ("", format!(r#"{{"type":"accepted","by":{source}}}"#)),
            (r#","labels":{"integrity":"untrusted"}"#, r#"{"type":"proposed"}"#.to_owned()),
            ("", r#"{"type":"proposed","revises":3}"#.to_owned()),
            ("", format!(r#"{{"type":"rejected","by":{source}}}"#)),
            ("", format!(r#"{{"type":"rejected","by":{source},"reason":"no"}}"#)),
        ] {
            check::<Procedure>(&format!(r#"{{{rest}{labels},"sources":[{source}],"state":{state}}}"#));
        }
        let taken = r#"{"scope":"user:ada","name":"refund-order","version":2,"description":"To refund."}"#;
        check::<TakenProcedure>(taken);
        check::<Event>(&format!(r#"{{"type":"procedures_taken","procedures":[{taken}]}}"#));
    }

    #[test]
    fn a_name_is_one_that_a_skill_may_have() {
        for name in ["a", "refund-order", "2-fa", &"x".repeat(PROCEDURE_NAME_CHARS_MAX)] {
            assert!(is_procedure_name(name), "{name}");
        }
        let long = "x".repeat(PROCEDURE_NAME_CHARS_MAX + 1);
        for name in ["", "-", "a-", "-a", "a--b", "A", "a_b", "a.b", "a b", "é", "a/b", &long] {
            assert!(!is_procedure_name(name), "{name}");
        }
    }

    #[test]
    fn the_id_of_a_proposal_is_that_of_no_procedure() {
        let effect: EffectId = "eff_0190d5e4aabb7ccd8eeff00112233445".parse().expect("an id");
        assert!(is_proposal_id(&proposal_id("0a", "refund-order", effect)));
        assert!(!is_proposal_id(&procedure_id("0a", "refund-order")) && !is_proposal_id("..."));
    }
}
