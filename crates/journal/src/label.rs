//! Labels: where data came from, how far it may go, and what becomes of both when data is joined.
//!
//! What is made of several things carries the labels of all of them: the least integrity, the highest
//! confidentiality, every category, and only the regions that each of them allows. So [`Labels::join`] can
//! lower trust and never raise it, whatever the order in which things are put together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// How far content is trusted to say what should be done. Lower is less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// Anyone may have written it: a web page, a mail, a document that was uploaded.
    Untrusted,
    /// Written by a known other party.
    Partner,
    /// Written inside the organisation.
    Internal,
    /// Written by whoever runs the agent, or by the person it acts for.
    #[default]
    Operator,
}

impl Integrity {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Untrusted, Self::Partner, Self::Internal, Self::Operator];

    /// Its rank as policies see it: 0 is untrusted, 3 is the operator's.
    #[must_use]
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// Its name as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Partner => "partner",
            Self::Internal => "internal",
            Self::Operator => "operator",
        }
    }
}

/// Who may see content. Higher is fewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    /// Everybody.
    #[default]
    Public,
    /// Everybody inside the organisation.
    Internal,
    /// Those who need it.
    Confidential,
    /// Named people and machines.
    Restricted,
}

impl Confidentiality {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Restricted];

    /// Its rank as policies see it: 0 is public, 3 is restricted.
    #[must_use]
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// Its name as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
}

/// What is known about content, or about everything a session's model has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// The least of everything it was made from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub integrity: Integrity,
    /// The highest of everything it was made from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub confidentiality: Confidentiality,
    /// What kinds of data are in it: `pii`, `phi`, `pci` and whatever else a project names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub categories: BTreeSet<String>,
    /// Where it may be processed: absent anywhere, empty nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<BTreeSet<String>>,
}

impl Labels {
    /// The labels of what nobody labelled: the operator's own and public. Joining them changes nothing.
    pub const NEUTRAL: Self = Self {
        integrity: Integrity::Operator,
        confidentiality: Confidentiality::Public,
        categories: BTreeSet::new(),
        regions: None,
    };

    /// The labels of what is made of `self` and `other`.
    ///
    /// Commutative, associative and idempotent; the result never is more trusted, less confidential or
    /// allowed in more regions than either.
    #[must_use]
    pub fn join(mut self, other: &Self) -> Self {
        self.integrity = self.integrity.min(other.integrity);
        self.confidentiality = self.confidentiality.max(other.confidentiality);
        self.categories.extend(other.categories.iter().cloned());
        self.regions = match (self.regions, &other.regions) {
            (None, regions) => regions.clone(),
            (regions, None) => regions,
            (Some(ours), Some(theirs)) => Some(ours.intersection(theirs).cloned().collect()),
        };
        self
    }

    /// Whether they say no more than that nobody labelled anything.
    #[must_use]
    pub fn is_neutral(&self) -> bool {
        *self == Self::NEUTRAL
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a tool does to the world, from the least to the most that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolEffect {
    /// It reads what it is connected to.
    Read,
    /// It changes something that can be changed back.
    Write,
    /// It runs code.
    Exec,
    /// It asks an address of the outside world, which thereby learns of the question.
    Egress,
    /// It tells somebody something.
    Send,
    /// It changes who may do what.
    Admin,
    /// It destroys something.
    Destroy,
    /// It spends money.
    Pay,
}

impl ToolEffect {
    /// Every effect.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Exec,
        Self::Egress,
        Self::Send,
        Self::Admin,
        Self::Destroy,
        Self::Pay,
    ];

    /// Its name as policies see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Exec => "exec",
            Self::Egress => "egress",
            Self::Send => "send",
            Self::Admin => "admin",
            Self::Destroy => "destroy",
            Self::Pay => "pay",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// Labels of every shape that matters to a join.
    fn some_labels() -> Vec<Labels> {
        let mut all = Vec::new();
        for integrity in Integrity::ALL {
            for confidentiality in Confidentiality::ALL {
                for categories in [set(&[]), set(&["pii"]), set(&["pci", "phi"])] {
                    for regions in [None, Some(set(&[])), Some(set(&["eu"])), Some(set(&["ch", "eu"]))] {
                        let categories = categories.clone();
                        all.push(Labels { integrity, confidentiality, categories, regions });
                    }
                }
            }
        }
        all
    }

    /// Whether `b` allows no more than `a` does.
    fn is_no_wider(a: &Labels, b: &Labels) -> bool {
        let regions = match (&a.regions, &b.regions) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(a), Some(b)) => b.is_subset(a),
        };
        b.integrity <= a.integrity
            && b.confidentiality >= a.confidentiality
            && b.categories.is_superset(&a.categories)
            && regions
    }

    #[test]
    fn joining_is_a_least_bound() {
        let all = some_labels();
        for a in &all {
            assert_eq!(&a.clone().join(a), a);
            assert_eq!(&a.clone().join(&Labels::NEUTRAL), a);
            assert_eq!(&Labels::NEUTRAL.join(a), a);
            for b in &all {
                let both = a.clone().join(b);
                assert_eq!(both, b.clone().join(a));
                assert!(is_no_wider(a, &both) && is_no_wider(b, &both), "{a:?} {b:?} {both:?}");
                assert_eq!(both.clone().join(a), both);
            }
        }
    }

    #[test]
    fn regions_are_those_that_everything_allows() {
        let bound = |regions: &[&str]| Labels { regions: Some(set(regions)), ..Labels::NEUTRAL };
        let both = bound(&["eu", "ch"]).join(&bound(&["eu", "us"]));
        assert_eq!(both.regions, Some(set(&["eu"])));
        assert_eq!(both.join(&bound(&["ch"])).regions, Some(set(&[])), "nowhere, not anywhere");
    }

    #[test]
    fn what_nobody_labelled_is_written_as_nothing() {
        assert_eq!(serde_json::to_string(&Labels::NEUTRAL).expect("json"), "{}");
        assert_eq!(serde_json::from_str::<Labels>("{}").expect("labels"), Labels::NEUTRAL);
        let labels = Labels {
            integrity: Integrity::Untrusted,
            confidentiality: Confidentiality::Confidential,
            categories: set(&["pii"]),
            regions: Some(set(&["eu"])),
        };
        let text = r#"{"integrity":"untrusted","confidentiality":"confidential","categories":["pii"],"regions":["eu"]}"#;
        assert_eq!(serde_json::to_string(&labels).expect("json"), text);
        assert_eq!(serde_json::from_str::<Labels>(text).expect("labels"), labels);
    }

    #[test]
    fn ranks_and_names_are_those_of_policies() {
        let named = |rank: u8, name: &str| format!("{rank} {name}");
        let integrity: Vec<_> = Integrity::ALL.iter().map(|it| named(it.rank(), it.as_str())).collect();
        assert_eq!(integrity, ["0 untrusted", "1 partner", "2 internal", "3 operator"]);
        let secrecy: Vec<_> = Confidentiality::ALL.iter().map(|it| named(it.rank(), it.as_str())).collect();
        assert_eq!(secrecy, ["0 public", "1 internal", "2 confidential", "3 restricted"]);
        for effect in ToolEffect::ALL {
            let written = serde_json::to_string(&effect).expect("json");
            assert_eq!(written, format!("\"{}\"", effect.as_str()));
        }
    }
}
