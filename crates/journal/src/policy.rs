//! Policies as text: what is stored of a policy set, so that what was decided with it can be decided again.

use serde::{Deserialize, Serialize};

/// What policy was asked, in the words of the release that asked. It is read by what decides, and by nothing else; a
/// release that cannot read it cannot decide it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Asked(pub serde_json::Value);

impl Asked {
    /// The digest by which an audit record names what was asked; nothing where that was not kept.
    #[must_use]
    pub fn digest(asked: &[Self]) -> Option<String> {
        let text = asked.iter().map(|one| one.0.clone()).collect();
        (!asked.is_empty()).then(|| crate::json::digest(&text))
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

#[cfg(test)]
mod tests {
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
}
