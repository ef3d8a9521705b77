//! What `mcp.json` says of tools: their effect, what their results are worth, and which arguments decide.

use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::{ClosedType, Confidentiality, FieldTerms, Integrity, Labels, ToolEffect};

use crate::node::{Data, Fields, Node};
use crate::problem::{Code, Report, quote};

pub(crate) const TERMS_KEYS: &[&str] = &["effect", "clearance", "labels", "fields", "critical"];
pub(crate) const LABELS_KEYS: &[&str] = &["integrity", "confidentiality", "categories", "regions"];
pub(crate) const FIELD_KEYS: &[&str] = &["integrity", "confidentiality", "categories", "regions", "endorse"];
const EFFECTS: &[&str] = &["read", "write", "exec", "egress", "send", "admin", "destroy", "pay"];
const INTEGRITIES: &[&str] = &["untrusted", "partner", "internal", "operator"];
const CONFIDENTIALITIES: &[&str] = &["public", "internal", "confidential", "restricted"];
const CLOSED: &[&str] = &["number", "boolean", "date"];

/// What the reference page must name.
#[cfg(test)]
pub(crate) const DOCUMENTED: &[&[&str]] =
    &[TERMS_KEYS, FIELD_KEYS, EFFECTS, INTEGRITIES, CONFIDENTIALITIES, CLOSED];

/// What the operator says of one tool, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolHints {
    /// What it does to the world.
    pub effect: Option<ToolEffect>,
    /// The highest confidentiality that it may be given.
    pub clearance: Option<Confidentiality>,
    /// The labels of what it gives.
    pub result: Option<Labels>,
    /// The labels of fields of what it gives, by path.
    pub fields: BTreeMap<String, FieldTerms>,
    /// The arguments that decide whom or what a call reaches, by name.
    pub critical: Option<Vec<String>>,
}

/// What is said of tools, by name; `*` is all.
pub(crate) fn tools(node: &Node, report: &Report) -> Option<BTreeMap<String, ToolHints>> {
    let mut found = BTreeMap::new();
    let mut complete = true;
    for (key, node) in node.map("`tools`", report)? {
        match tool(&key.name, node, report) {
            Some(hints) => drop(found.insert(key.name.clone(), hints)),
            None => complete = false,
        }
    }
    complete.then_some(found)
}

fn tool(name: &str, node: &Node, report: &Report) -> Option<ToolHints> {
    let fields = Fields::open(node, &format!("the tool {}", quote(name)), TERMS_KEYS, report)?;
    let effect = match fields.find("effect") {
        Some(node) => Some(node.word(
            "`effect`",
            EFFECTS,
            |word| ToolEffect::ALL.into_iter().find(|effect| effect.as_str() == word),
            report,
        )?),
        None => None,
    };
    let clearance = match fields.find("clearance") {
        Some(node) => Some(confidentiality(node, "`clearance`", report)?),
        None => None,
    };
    let result = match fields.find("labels") {
        Some(node) => {
            let fields = Fields::open(node, "`labels`", LABELS_KEYS, report)?;
            Some(labels(&fields, report)?)
        }
        None => None,
    };
    let critical = match fields.find("critical") {
        Some(node) => Some(node.texts("`critical`", report)?),
        None => None,
    };
    let mut each = BTreeMap::new();
    if let Some(node) = fields.find("fields") {
        for (key, node) in node.map("`fields`", report)? {
            each.insert(key.name.clone(), field(node, report)?);
        }
    }
    Some(ToolHints { effect, clearance, result, fields: each, critical })
}

fn field(node: &Node, report: &Report) -> Option<FieldTerms> {
    let fields = Fields::open(node, "a field", FIELD_KEYS, report)?;
    let endorse = match fields.find("endorse") {
        None => None,
        Some(node @ Node { data: Data::Text(_), .. }) => Some(node.word(
            "`endorse`",
            CLOSED,
            |word| match word {
                "number" => Some(ClosedType::Number),
                "boolean" => Some(ClosedType::Boolean),
                "date" => Some(ClosedType::Date),
                _ => None,
            },
            report,
        )?),
        Some(node) => {
            let words = node.texts("`endorse`", report)?;
            if words.is_empty() {
                report.hinted(
                    Code::Missing,
                    node.at,
                    "`endorse` lists no words",
                    "name a type, or the words that the field may hold",
                );
                return None;
            }
            Some(ClosedType::OneOf(words))
        }
    };
    Some(FieldTerms { labels: labels(&fields, report)?, endorse })
}

fn labels(fields: &Fields<'_>, report: &Report) -> Option<Labels> {
    let mut labels = Labels::NEUTRAL;
    if let Some(node) = fields.find("integrity") {
        labels.integrity = node.word(
            "`integrity`",
            INTEGRITIES,
            |word| Integrity::ALL.into_iter().find(|level| level.as_str() == word),
            report,
        )?;
    }
    if let Some(node) = fields.find("confidentiality") {
        labels.confidentiality = confidentiality(node, "`confidentiality`", report)?;
    }
    if let Some(node) = fields.find("categories") {
        labels.categories = words(node, "`categories`", report)?;
    }
    if let Some(node) = fields.find("regions") {
        labels.regions = Some(words(node, "`regions`", report)?);
    }
    Some(labels)
}

fn confidentiality(node: &Node, what: &str, report: &Report) -> Option<Confidentiality> {
    let level = |word: &str| Confidentiality::ALL.into_iter().find(|level| level.as_str() == word);
    node.word(what, CONFIDENTIALITIES, level, report)
}

fn words(node: &Node, what: &str, report: &Report) -> Option<BTreeSet<String>> {
    node.texts(what, report).map(|words| words.into_iter().collect())
}
