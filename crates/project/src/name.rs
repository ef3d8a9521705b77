//! The names of agents.

use std::fmt;

/// The longest name, in bytes: it is a file name, a column and a label everywhere.
pub const AGENT_NAME_BYTES_MAX: usize = 63;

/// The name of an agent: lower-case letters, digits and hyphens, not beginning with a hyphen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

impl AgentName {
    /// The name `text`, if it follows the rule.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=AGENT_NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| letter(b) || b == b'-')
            && text.bytes().next().is_some_and(letter);
        valid.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for AgentName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What `text` would be as a name: for hints.
pub(crate) fn as_name(text: &str) -> Option<AgentName> {
    let lowered = text.to_lowercase();
    let replaced: String =
        lowered.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    AgentName::parse(replaced.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_rule_only() {
        for good in ["a", "0", "refund-agent", "a--b", &"a".repeat(63)] {
            assert!(AgentName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a b", "ä", "a/b", "..", &"a".repeat(64)] {
            assert!(AgentName::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(as_name("My Agent_2").expect("a name").as_str(), "my-agent-2");
    }
}
