//! What differs between two versions of an agent, as a client sees it.
//!
//! Members are compared one by one, down to the value that differs. Tools are matched by what names them, so
//! that one more tool at the front is one change and not a change of every tool behind it; other arrays are
//! values.

use serde_json::{Map, Value, json};

/// One difference: at a path, a value that is on one side, on the other, or differs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Added { path: String, to: Value },
    Removed { path: String, from: Value },
    Changed { path: String, from: Value, to: Value },
}

/// Every difference, in the order of the members.
pub(crate) fn changes(from: &Value, to: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), from, to, &mut found);
    found
}

impl Change {
    pub(crate) fn shown(&self) -> Value {
        match self {
            Self::Added { path, to } => json!({"change": "added", "path": path, "to": to}),
            Self::Removed { path, from } => json!({"change": "removed", "path": path, "from": from}),
            Self::Changed { path, from, to } => {
                json!({"change": "changed", "path": path, "from": from, "to": to})
            }
        }
    }
}

fn compare(path: String, from: &Value, to: &Value, found: &mut Vec<Change>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Value::Object(from), Value::Object(to)) => members(&path, from, to, found),
        (Value::Array(from_tools), Value::Array(to_tools)) if path == "tools" => {
            match (by_name(from_tools), by_name(to_tools)) {
                (Some(old), Some(new)) => tools(&old, &new, found),
                _ => found.push(Change::Changed { path, from: from.clone(), to: to.clone() }),
            }
        }
        (from, to) => found.push(Change::Changed { path, from: from.clone(), to: to.clone() }),
    }
}

fn members(path: &str, from: &Map<String, Value>, to: &Map<String, Value>, found: &mut Vec<Change>) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, old) in from {
        match to.get(name) {
            Some(new) => compare(at(name), old, new, found),
            None => found.push(Change::Removed { path: at(name), from: old.clone() }),
        }
    }
    for (name, new) in to.iter().filter(|(name, _)| !from.contains_key(*name)) {
        found.push(Change::Added { path: at(name), to: new.clone() });
    }
}

/// Tools by what names them; nothing if two have the same name.
fn by_name(tools: &[Value]) -> Option<Map<String, Value>> {
    let named: Map<String, Value> = tools.iter().map(|tool| (name_of(tool), tool.clone())).collect();
    (named.len() == tools.len()).then_some(named)
}

fn name_of(tool: &Value) -> String {
    let text = |member: &str| tool.get(member).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    match text("name").or_else(|| text("server_label")) {
        Some(name) => format!("{kind} {name}"),
        None => kind.to_owned(),
    }
}

fn tools(from: &Map<String, Value>, to: &Map<String, Value>, found: &mut Vec<Change>) {
    let at = |name: &str| format!("tools[{name}]");
    for (name, old) in from {
        match to.get(name) {
            Some(new) => compare(at(name), old, new, found),
            None => found.push(Change::Removed { path: at(name), from: old.clone() }),
        }
    }
    for (name, new) in to.iter().filter(|(name, _)| !from.contains_key(*name)) {
        found.push(Change::Added { path: at(name), to: new.clone() });
    }
    // The order is part of what the model sees.
    let old_order: Vec<&String> = from.keys().filter(|name| to.contains_key(*name)).collect();
    let new_order: Vec<&String> = to.keys().filter(|name| from.contains_key(*name)).collect();
    if old_order != new_order {
        found.push(Change::Changed {
            path: "tools (order)".to_owned(),
            from: json!(from.keys().collect::<Vec<_>>()),
            to: json!(to.keys().collect::<Vec<_>>()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &Value, to: &Value, expected: &[&str]) {
        let found: Vec<String> = changes(from, to)
            .into_iter()
            .map(|change| match change {
                Change::Added { path, to } => format!("+ {path} {to}"),
                Change::Removed { path, from } => format!("- {path} {from}"),
                Change::Changed { path, from, to } => format!("~ {path} {from} {to}"),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn equal_versions_have_no_changes() {
        check(&json!({"a": [1, {"b": 2}]}), &json!({"a": [1, {"b": 2}]}), &[]);
    }

    #[test]
    fn members_are_compared_down_to_what_differs() {
        check(
            &json!({"model": "a", "text": {"verbosity": "low", "format": {"type": "text"}}, "gone": 1}),
            &json!({"model": "b", "text": {"verbosity": "high", "format": {"type": "text"}}, "new": null}),
            &[r#"~ model "a" "b""#, r#"~ text.verbosity "low" "high""#, "- gone 1", "+ new null"],
        );
    }

    #[test]
    fn tools_are_matched_by_name() {
        let (search, f, g) = (
            json!({"type": "tool_search"}),
            json!({"type": "function", "name": "f", "defer": true}),
            json!({"type": "function", "name": "g"}),
        );
        let mut changed = f.clone();
        changed["defer"] = json!(false);
        check(
            &json!({"tools": [search, f]}),
            &json!({"tools": [g, search, changed]}),
            &[
                "~ tools[function f].defer true false",
                r#"+ tools[function g] {"type":"function","name":"g"}"#,
            ],
        );
        check(
            &json!({"tools": [f, g]}),
            &json!({"tools": [g, f]}),
            &[r#"~ tools (order) ["function f","function g"] ["function g","function f"]"#],
        );
        check(&json!({"tools": [f, f]}), &json!({"tools": [f]}), &[&format!("~ tools [{f},{f}] [{f}]")]);
    }
}
