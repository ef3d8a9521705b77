//! `extraction`: whether a model reads facts and procedures out of turns, in the settings for all agents and in an agent's file for one.

use tenure_journal::{Extraction, ExtractionChoice, ScopeKind, limit};

use crate::node::{Data, Fields, Node};
use crate::problem::{Code, Report};

pub(crate) const EXTRACTION_KEYS: &[&str] = &["model", "scope", "facts", "procedures"];
/// The words of scopes, the widest first.
const SCOPES: &[&str] = &["project", "agent", "user", "space", "session"];

/// What holds for agents that say nothing.
pub(crate) fn extraction(node: &Node, report: &Report) -> Option<Extraction> {
    let fields = Fields::open(node, "`extraction`", EXTRACTION_KEYS, report)?;
    let model = fields.require("model")?.filled("`model`", report)?.to_owned();
    let scope = match fields.find("scope") {
        Some(node) => node.word("`scope`", SCOPES, ScopeKind::from_word, report)?,
        None => ScopeKind::User,
    };
    let most = u64::from(limit::EXTRACTED_FACTS_MAX);
    let facts_max = match fields.find("facts") {
        Some(node) => u32::try_from(node.integer("`facts`", 1..=most, report)?).ok()?,
        None => limit::EXTRACTED_FACTS_DEFAULT,
    };
    let procedures = match fields.find("procedures") {
        Some(node) => node.boolean("`procedures`", report)?,
        None => false,
    };
    Some(Extraction { model, scope, facts_max, procedures })
}

/// What an agent says for itself: how, or `off`.
pub(crate) fn choice(node: &Node, report: &Report) -> Option<ExtractionChoice> {
    match &node.data {
        Data::Map(_) => extraction(node, report).map(ExtractionChoice::On),
        Data::Text(word) if word == "off" => Some(ExtractionChoice::Off),
        Data::Text(_) | Data::Null | Data::Bool(_) | Data::Integer(_) | Data::Float(_) | Data::List(_) => {
            report.error(Code::Type, node.at, "`extraction` must be a map with `model`, or `off`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_scopes() {
        assert!(SCOPES.iter().copied().eq(ScopeKind::ALL.into_iter().map(ScopeKind::as_str)));
    }
}
