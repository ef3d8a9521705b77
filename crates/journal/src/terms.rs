//! Terms: what a tool may do, what its results are worth, and which of its arguments decide whom it reaches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Confidentiality, Labels, ToolEffect};

/// On which terms a tool is used: what its operator says of it or, where nothing is said, what its server's
/// annotations amount to. Recorded with the listing that they hold for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolTerms {
    /// What it does to the world; absent: as annotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<ToolEffect>,
    /// The highest confidentiality that it may be given; absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearance: Option<Confidentiality>,
    /// The labels of what it gives, where nothing more exact is said.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub result: Labels,
    /// The labels of parts of a structured result, by path: `items[].title`. What is below a path belongs to
    /// it; the longest path that fits decides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldTerms>,
    /// The arguments that decide whom or what a call reaches, by name; absent: those that are named like one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<Vec<String>>,
}

/// What one field of a structured result is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldTerms {
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// The closed type that the value must have for these labels to hold. One that has not carries those of
    /// the whole result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorse: Option<ClosedType>,
}

/// A type whose values can say nothing but what they are: the endorser of a field checks for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedType {
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A date or a moment, after RFC 3339: `2030-01-31`, `2030-01-31T09:00:00Z`.
    Date,
    /// One of these words.
    OneOf(Vec<String>),
}
