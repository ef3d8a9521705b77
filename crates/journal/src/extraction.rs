//! Extraction: facts and procedures that a model reads out of a turn that has ended.

use serde::{Deserialize, Serialize};

use crate::{Confidence, FactId, ItemId, ScopeKind, Timestamp};

/// How facts are read out of an agent's turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extraction {
    /// The model that reads them: a name as agents name theirs.
    pub model: String,
    /// For whom they are kept.
    pub scope: ScopeKind,
    /// Facts of one turn: 1 to [`crate::limit::EXTRACTED_FACTS_MAX`]. What a model gives beyond them is dropped.
    pub facts_max: u32,
    /// Whether procedures are made of turns in which tools did what they should, and proposed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub procedures: bool,
}

/// What an agent says of extraction for itself, whatever holds for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExtractionChoice {
    /// Nothing is read out of its turns.
    Off,
    /// Facts are, like this.
    On(Extraction),
}

/// A fact that a model read out of a turn, checked and not yet compared with what is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractedFact {
    /// What it is about.
    pub subject: String,
    /// What is so.
    pub statement: String,
    /// Since when, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// Until when, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// How sure the model is.
    #[serde(default, skip_serializing_if = "is_full")]
    pub confidence: Confidence,
    /// The items of the turn that say so: 1 to [`crate::limit::EXTRACTED_ITEMS_MAX`].
    pub items: Vec<ItemId>,
    /// The fact that it contradicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<FactId>,
}

/// A procedure that a model made of a turn, checked and not yet compared with those that are kept. It is proposed, and
/// in force only once a person accepts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractedProcedure {
    /// What it is called.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// What to do.
    pub steps: String,
    /// The items of the turn that show it: 1 to [`crate::limit::EXTRACTED_ITEMS_MAX`].
    pub items: Vec<ItemId>,
}

fn is_full(confidence: &Confidence) -> bool {
    *confidence == Confidence::FULL
}

/// Why nothing is read out of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractionSkipped {
    /// The facts would be kept for a user, and the session is with nobody in particular.
    NoUser,
    /// Policy does not let the agent write there. Its refusal is an event of its own.
    NotAllowed,
    /// There is no permitted route to the model. The refusals are events of their own.
    NoRoute,
    /// Too little is left of the budget.
    Budget,
    /// As many turns wait for it already as may: [`crate::limit::EXTRACTIONS_WAITING_MAX`].
    Waiting,
}

impl ExtractionSkipped {
    /// In a word, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoUser => "no_user",
            Self::NotAllowed => "not_allowed",
            Self::NoRoute => "no_route",
            Self::Budget => "budget",
            Self::Waiting => "waiting",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{AgentConfig, Done, EffectKind, Event, FactSource};

    /// What is written today is read for ever.
    #[test]
    fn events_of_today_are_read_for_ever() {
        fn check<T: serde::Serialize + serde::de::DeserializeOwned>(text: &str) {
            let value: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(serde_json::to_string(&value).expect("text"), text);
        }
        check::<EffectKind>(
            r#"{"type":"extract","model":"m","scope":"user:ada","facts_max":8,"items":["item_0190d5e4aabb7ccd8eeff00112233445"]}"#,
        );
        check::<EffectKind>(
            r#"{"type":"extract","model":"m","scope":"project","facts_max":8,"items":[],"labels":{"integrity":"untrusted"},"again":true}"#,
        );
        check::<Done>(
            r#"{"type":"extracted","facts":[{"subject":"Ada","statement":"Ada lives in Rome.","valid_from":1000,"confidence":90,"items":["item_0190d5e4aabb7ccd8eeff00112233445"],"replaces":"fact_0190d5e4aabb7ccd8eeff00112233445"}],"dropped":1,"problem":"no","cost_nano_usd":7}"#,
        );
        check::<EffectKind>(
            r#"{"type":"extract","model":"m","scope":"project","facts_max":8,"items":[],"calls":["item_0190d5e4aabb7ccd8eeff00112233445"]}"#,
        );
        check::<Done>(
            r#"{"type":"extracted","facts":[],"procedure":{"name":"refund-order","description":"To refund.","steps":"1. Look.","items":["item_0190d5e4aabb7ccd8eeff00112233445"]}}"#,
        );
        check::<Event>(
            r#"{"type":"extraction_skipped","turn_id":"turn_0190d5e4aabb7ccd8eeff00112233445","why":"no_user"}"#,
        );
        check::<FactSource>(
            r#"{"at":1,"by":{"type":"extraction","session":"sess_0190d5e4aabb7ccd8eeff00112233445","items":[],"effect":"eff_0190d5e4aabb7ccd8eeff00112233445"}}"#,
        );
        let agent = r#"{"id":"agt_0190d5e4aabb7ccd8eeff00112233445","name":null,"model":"m","instructions":null,"reasoning":{"effort":null,"summary":null},"text":{"format":{"type":"text"},"verbosity":"medium"},"service_tier":"auto","tools":[],"multi_agent":{"enabled":false,"max_concurrent_subagents":null},"compaction_async":false,"time_awareness":false,"approval":"never"}"#;
        check::<AgentConfig>(agent);
        for extraction in [
            r#"{"type":"off"}"#,
            r#"{"type":"on","model":"m","scope":"user","facts_max":8}"#,
            r#"{"type":"on","model":"m","scope":"user","facts_max":8,"procedures":true}"#,
        ] {
            check::<AgentConfig>(
                &agent.replace(r#""never"}"#, &format!(r#""never","extraction":{extraction}}}"#)),
            );
        }
    }
}
