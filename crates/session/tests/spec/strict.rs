//! A strict reading of a model request: what the most demanding provider refuses.

use std::collections::BTreeSet;

use tenure_journal::{ContextItem, ModelRequest};

/// What is wrong with `request`, or nothing.
///
/// A conversation is a run of givens (messages of users, notes) and answers. An answer is reasoning, text and
/// calls, then one result for each call, in the calls' order. Reasoning is followed by what it led to.
pub(crate) fn fault(request: &ModelRequest) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = Vec::new();
    let mut results = 0;
    let mut thought = false;
    for (index, item) in request.input.iter().enumerate() {
        let fault = |what: &str| Some(format!("input[{index}]: {what}"));
        let is_result = matches!(item, ContextItem::CallResult { .. });
        let is_answer = matches!(item, ContextItem::Assistant { .. } | ContextItem::Call { .. });
        if thought && !is_answer && !matches!(item, ContextItem::Reasoning { .. }) {
            return fault("reasoning is the last of its answer");
        }
        if results > 0 && !is_result && results < open.len() {
            return fault("a call before it has no result");
        }
        if !open.is_empty() && results == 0 && !is_result && !is_answer && !is_reasoning(item) {
            return fault("a call is not followed by its result");
        }
        if !is_result && results > 0 {
            open.clear();
            results = 0;
        }
        thought = is_reasoning(item);
        match item {
            ContextItem::User { content } if content.is_empty() => return fault("an empty user message"),
            ContextItem::Note { text } | ContextItem::Assistant { text, .. } if text.is_empty() => {
                return fault("an empty text");
            }
            ContextItem::Call { call_id, name, arguments } => {
                if !seen.insert(call_id.as_str()) {
                    return fault("the call id is used twice");
                }
                if !is_name(name) || !is_name(call_id) {
                    return fault("the call's name or id is not `[A-Za-z0-9_-]{1,64}`");
                }
                if !matches!(
                    tenure_journal::json::parse(arguments.as_bytes()),
                    Ok(serde_json::Value::Object(_))
                ) {
                    return fault("the arguments are no JSON object");
                }
                open.push(call_id);
            }
            ContextItem::CallResult { call_id, .. } => {
                if open.get(results) != Some(&call_id.as_str()) {
                    return fault("a result that answers no call, or out of order");
                }
                results += 1;
            }
            ContextItem::User { .. }
            | ContextItem::Note { .. }
            | ContextItem::Assistant { .. }
            | ContextItem::Reasoning { .. } => {}
        }
    }
    if thought || results < open.len() {
        return Some("the end: a call without a result, or reasoning that led to nothing".to_owned());
    }
    let names: BTreeSet<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    (names.len() < request.tools.len() || !names.iter().all(|name| is_name(name)))
        .then(|| "tools: two have one name, or a name is not acceptable".to_owned())
}

fn is_reasoning(item: &ContextItem) -> bool {
    matches!(item, ContextItem::Reasoning { .. })
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.len() <= 64 && name.chars().all(legal)
}
