//! Policies as text: what is stored of a policy set, so that what was decided with it can be decided again.

use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::json;

/// What policy was asked, in the words of the release that asked. It is read by what decides, and by nothing else; a
/// release that cannot read it cannot decide it again.
///
/// Canonical JSON, kept as a text: every decision has one, and hardly any is ever looked at again. Journals of before
/// that hold it as the object it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked(Arc<str>);

impl Asked {
    /// Of the question as JSON.
    #[must_use]
    pub fn new(question: &Value) -> Self {
        Self(json::canonical(question).into())
    }

    /// The canonical JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The question as JSON; nothing if the journal holds another text in its place.
    #[must_use]
    pub fn read(&self) -> Option<Value> {
        serde_json::from_str(&self.0).ok()
    }

    /// The digest by which an audit record names what was asked; nothing where that was not kept.
    #[must_use]
    pub fn digest(asked: &[Self]) -> Option<String> {
        let texts: Vec<&str> = asked.iter().map(Self::as_str).collect();
        (!asked.is_empty()).then(|| json::digest_of_canonical(&format!("[{}]", texts.join(","))))
    }
}

impl Serialize for Asked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Question;

        impl<'de> Visitor<'de> for Question {
            type Value = Asked;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a question to policy, as a text or as an object")
            }

            fn visit_str<E>(self, text: &str) -> Result<Asked, E> {
                Ok(Asked(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Asked, A::Error> {
                Value::deserialize(MapAccessDeserializer::new(map)).map(|question| Asked::new(&question))
            }
        }

        deserializer.deserialize_any(Question)
    }
}

/// A file of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySource {
    /// Where it is from, for messages.
    pub name: String,
    /// The Cedar text.
    pub text: String,
}

/// Everything that a policy set is made from. Equal texts decide equally.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// What the policies were validated against.
    pub schema: String,
    /// What no project can allow.
    pub guard_rails: String,
    /// What holds where a project says nothing else.
    pub defaults: String,
    /// The project's own policies and contracts, in the order in which they were read.
    pub sources: Vec<PolicySource>,
}

impl PolicyText {
    /// The digest by which journals and audit records name the set: of the texts, and not of what files they are
    /// in.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.schema.as_bytes());
        let sources = self.sources.iter().map(|source| &source.text);
        for text in [&self.guard_rails, &self.defaults].into_iter().chain(sources) {
            hasher.update(text.as_bytes());
            hasher.update(b"\0");
        }
        format!("b3:{}", hasher.finalize().to_hex())
    }
}

/// What was proven of policies when they were published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofRecord {
    /// The solver and its version; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solver: Option<String>,
    /// Why nothing was proven, where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The digest of what was to be proven.
    pub invariants: String,
    /// The tools whose arguments were known, by id; of all others it says what holds for any arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// What came out for each.
    #[serde(default)]
    pub results: Vec<ProofResult>,
    /// Why the policies were published although something was refuted, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<String>,
}

/// What came out for one invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofResult {
    /// Its id.
    pub invariant: String,
    /// What came out.
    pub outcome: ProofOutcome,
    /// The request that refutes it, or why it is not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What can come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofOutcome {
    /// It holds for every request.
    Proven,
    /// There is a request for which it does not.
    Refuted,
    /// It holds, and says nothing.
    Vacuous,
    /// There is no answer.
    Unknown,
}

impl ProofRecord {
    /// What was refuted.
    pub fn refuted(&self) -> impl Iterator<Item = &ProofResult> {
        self.results.iter().filter(|result| result.outcome == ProofOutcome::Refuted)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_is_of_every_text_and_of_no_name() {
        let source = |name: &str, text: &str| PolicySource { name: name.into(), text: text.into() };
        let text = PolicyText {
            schema: "s".into(),
            guard_rails: "g".into(),
            defaults: "d".into(),
            sources: vec![source("a", "1"), source("b", "2")],
        };
        let renamed = PolicyText { sources: vec![source("x", "1"), source("y", "2")], ..text.clone() };
        assert_eq!(text.digest(), renamed.digest());
        let others = [
            PolicyText { schema: "t".into(), ..text.clone() },
            PolicyText { guard_rails: "h".into(), ..text.clone() },
            PolicyText { defaults: "e".into(), ..text.clone() },
            PolicyText { sources: vec![source("a", "1"), source("b", "3")], ..text.clone() },
            PolicyText { sources: vec![source("a", "12")], ..text.clone() },
            PolicyText { sources: Vec::new(), ..text.clone() },
        ];
        for other in others {
            assert_ne!(text.digest(), other.digest(), "{other:?}");
        }
    }

    #[test]
    fn a_question_is_the_same_as_a_text_and_as_the_object_of_before() {
        let question = json!({"b": [1, "\"\u{1}é"], "a": {"c": null}});
        let asked = Asked::new(&question);
        assert_eq!(asked.as_str(), "{\"a\":{\"c\":null},\"b\":[1,\"\\\"\\u0001é\"]}");
        let written = serde_json::to_value(&asked).expect("written");
        assert_eq!(written, Value::String(asked.as_str().to_owned()));
        for held in [written, question.clone()] {
            let read: Asked = serde_json::from_value(held).expect("read");
            assert_eq!(read, asked);
            assert_eq!(read.read(), Some(question.clone()));
        }
        let both = Asked::digest(&[asked.clone(), asked]);
        assert_eq!(both, Some(json::digest(&json!([question, question]))));
        assert_eq!(Asked::digest(&[]), None);
        assert!(serde_json::from_value::<Asked>(json!(1)).is_err());
    }
}
