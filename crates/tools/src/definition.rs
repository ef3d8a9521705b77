//! Which of a server's tools a session may be offered, and what is known about each.
//!
//! A definition is text from outside that ends up in every model request, so it is checked where it
//! enters. One unusable definition costs that tool only: it is skipped and logged with the reason, and
//! the server's other tools stay.

use std::collections::HashSet;

use rmcp::model::Tool;
use serde_json::Value;
use tenure_journal::limit::{
    JSON_DEPTH_MAX, TOOL_DESCRIPTION_BYTES_MAX, TOOL_SCHEMA_BYTES_MAX, TOOLS_PER_REQUEST_MAX,
};
use tenure_journal::{Integrity, Labels, ToolDef, ToolTerms};

use crate::{Hints, SaidTerms};

/// Bytes of one tool's name, after the specification's advice.
const TOOL_NAME_BYTES_MAX: usize = 128;
/// Bytes of an unusable tool's name that a log line shows.
const LOGGED_NAME_BYTES_MAX: usize = 64;

/// Collects a server's tools, page by page, in its order.
pub(crate) struct Definitions<'a> {
    server: String,
    hints: &'a Hints,
    names: HashSet<String>,
    tools: Vec<ToolDef>,
}

impl<'a> Definitions<'a> {
    pub(crate) fn new(server: String, hints: &'a Hints) -> Self {
        Self { server, hints, names: HashSet::new(), tools: Vec::new() }
    }

    /// Whether no further tool would be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.tools.len() >= TOOLS_PER_REQUEST_MAX
    }

    /// Takes one definition as the server sent it, or skips it.
    pub(crate) fn push_raw(&mut self, definition: Value) {
        let name = definition.get("name").and_then(Value::as_str).unwrap_or("(unnamed)").to_owned();
        match serde_json::from_value(definition) {
            Ok(tool) => self.push(tool),
            Err(_) => self.skip(&name, "the definition does not have the protocol's shape"),
        }
    }

    /// Takes one definition, or skips it.
    pub(crate) fn push(&mut self, tool: Tool) {
        let name = tool.name.to_string();
        if self.is_full() {
            return self.skip(&name, "the server has more tools than one request may show");
        }
        if self.names.contains(&name) {
            return self.skip(&name, "another tool of the server has this name");
        }
        match define(tool, self.hints) {
            Ok(tool) => {
                self.names.insert(name);
                self.tools.push(tool);
            }
            Err(reason) => self.skip(&name, reason),
        }
    }

    pub(crate) fn finish(self) -> Vec<ToolDef> {
        self.tools
    }

    fn skip(&self, name: &str, reason: &str) {
        let tool: String = cut(name, LOGGED_NAME_BYTES_MAX).escape_debug().collect();
        tracing::warn!(server = self.server, tool, reason, "tool skipped");
    }
}

fn define(tool: Tool, hints: &Hints) -> Result<ToolDef, &'static str> {
    check_name(&tool.name)?;
    let parameters = check_schema(Value::Object((*tool.input_schema).clone()))?;
    let description = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    let annotations = tool.annotations.unwrap_or_default();
    let mut defined = ToolDef {
        description: cut(description, TOOL_DESCRIPTION_BYTES_MAX).to_owned(),
        parameters,
        read_only: annotations.read_only_hint,
        destructive: annotations.destructive_hint,
        idempotent: annotations.idempotent_hint,
        keyed: weight(&hints.keyed, &tool.name) > Weight::Unsaid,
        terms: Some(Box::new(terms(hints, &tool.name, annotations.open_world_hint))),
        name: tool.name.into_owned(),
    };
    apply(hints, &mut defined);
    Ok(defined)
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.len() > TOOL_NAME_BYTES_MAX {
        return Err("the name is longer than 128 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("the name contains control characters");
    }
    Ok(())
}

/// Checks a schema; a root without a type becomes an object, which is what its absence means here.
fn check_schema(mut schema: Value) -> Result<Value, &'static str> {
    if schema.to_string().len() > TOOL_SCHEMA_BYTES_MAX {
        return Err("the schema is larger than 64 KiB");
    }
    check_refs(&schema, JSON_DEPTH_MAX)?;
    let Some(root) = schema.as_object_mut() else { return Err("the schema's root is not an object") };
    match root.get("type") {
        Some(Value::String(kind)) if kind == "object" => {}
        Some(_) => return Err("the schema's root type is not `object`"),
        None => {
            root.insert("type".to_owned(), Value::from("object"));
        }
    }
    Ok(schema)
}

/// Refuses references that would have to be fetched, and nesting deeper than `levels`.
fn check_refs(schema: &Value, levels: usize) -> Result<(), &'static str> {
    let Some(below) = levels.checked_sub(1) else { return Err("the schema is nested too deeply") };
    match schema {
        Value::Array(items) => items.iter().try_for_each(|item| check_refs(item, below)),
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            let is_reference = matches!(key.as_str(), "$ref" | "$dynamicRef");
            match value {
                Value::String(target) if is_reference && !target.starts_with('#') => {
                    Err("the schema has a `$ref` to another document")
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => check_refs(value, below),
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// How clearly a list of hints speaks about a tool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Unsaid,
    All,
    ByName,
}

fn weight(list: &[String], name: &str) -> Weight {
    if list.iter().any(|entry| entry == name) {
        Weight::ByName
    } else if list.iter().any(|entry| entry == "*") {
        Weight::All
    } else {
        Weight::Unsaid
    }
}

/// On which terms a tool is used. Where the operator does not say what its results are worth, they are what
/// anybody may have written, unless the server is the operator's own and says that the tool reaches nothing
/// outside of it: an absent hint means that it does, after the specification.
fn terms(hints: &Hints, name: &str, open_world: Option<bool>) -> ToolTerms {
    let unsaid = SaidTerms::default();
    let all = hints.terms.get("*").unwrap_or(&unsaid);
    let own = hints.terms.get(name).unwrap_or(&unsaid);
    let is_closed = hints.known && open_world == Some(false);
    let integrity = if is_closed { Integrity::Internal } else { Integrity::Untrusted };
    let result = own.result.as_ref().or(all.result.as_ref()).cloned();
    let fields = if own.fields.is_empty() { &all.fields } else { &own.fields };
    ToolTerms {
        effect: own.effect.or(all.effect),
        clearance: own.clearance.or(all.clearance),
        result: result.unwrap_or(Labels { integrity, ..Labels::NEUTRAL }),
        fields: fields.clone(),
        critical: own.critical.clone().or_else(|| all.critical.clone()),
    }
}

/// The operator's word replaces both annotations: a tool cannot be read-only and destructive, and a stale
/// other half would let a destructive call be repeated as a read.
fn apply(hints: &Hints, tool: &mut ToolDef) {
    let read_only = weight(&hints.read_only, &tool.name);
    let destructive = weight(&hints.destructive, &tool.name);
    if read_only == Weight::Unsaid && destructive == Weight::Unsaid {
        return;
    }
    let is_destructive = destructive >= read_only;
    tool.destructive = Some(is_destructive);
    tool.read_only = Some(!is_destructive);
}

/// The longest prefix of whole characters within `bytes_max`.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hints(read_only: &[&str], destructive: &[&str], keyed: &[&str]) -> Hints {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Hints {
            read_only: owned(read_only),
            destructive: owned(destructive),
            keyed: owned(keyed),
            ..Hints::default()
        }
    }

    fn defined(definitions: Vec<Value>, hints: &Hints) -> Vec<ToolDef> {
        let mut taken = Definitions::new("test".to_owned(), hints);
        definitions.into_iter().for_each(|definition| taken.push_raw(definition));
        taken.finish()
    }

    #[test]
    fn unusable_definitions_are_skipped_and_the_others_stay() {
        let object = json!({"type": "object"});
        let mut deep = json!({});
        for _ in 0..JSON_DEPTH_MAX {
            deep = json!({ "properties": deep });
        }
        let cases = [
            ("no schema", json!({"name": "a"})),
            ("schema is a list", json!({"name": "a", "inputSchema": []})),
            ("root is a string", json!({"name": "a", "inputSchema": {"type": "string"}})),
            ("root is one of two", json!({"name": "a", "inputSchema": {"type": ["object", "null"]}})),
            (
                "large",
                json!({"name": "a", "inputSchema": {"type": "object", "description": "x".repeat(1 << 20)}}),
            ),
            (
                "remote ref",
                json!({"name": "a", "inputSchema": {"properties": {"x": [{"$ref": "https://example.com/s.json"}]}}}),
            ),
            ("file ref", json!({"name": "a", "inputSchema": {"$ref": "other.json#/x"}})),
            ("deep", json!({"name": "a", "inputSchema": deep})),
            ("empty name", json!({"name": "", "inputSchema": object})),
            ("long name", json!({"name": "n".repeat(129), "inputSchema": object})),
            ("control characters", json!({"name": "a\u{1b}[2J", "inputSchema": object})),
            ("not an object", json!("tool")),
            ("name of another tool", json!({"name": "good", "inputSchema": object})),
        ];
        for (what, definition) in cases {
            let good = json!({"name": "good", "inputSchema": object});
            let last = json!({"name": "last", "inputSchema": object});
            let taken = defined(vec![good, definition, last], &Hints::default());
            let names: Vec<_> = taken.iter().map(|tool| tool.name.as_str()).collect();
            assert_eq!(names, ["good", "last"], "{what}");
        }
    }

    #[test]
    fn usable_definitions_keep_what_was_said() {
        let cyclic = json!({"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}});
        let tools = vec![
            json!({"name": "n".repeat(128), "inputSchema": cyclic}),
            json!({
                "name": "b",
                "description": "é".repeat(TOOL_DESCRIPTION_BYTES_MAX),
                "inputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": false, "idempotentHint": true},
            }),
            json!({"name": "c", "title": "See", "inputSchema": {}}),
        ];
        let taken = defined(tools, &Hints::default());
        assert_eq!(taken.len(), 3);
        assert_eq!(taken[0].parameters["type"], "object");
        assert_eq!((taken[0].read_only, taken[0].destructive, taken[0].idempotent), (None, None, None));
        assert_eq!(
            (taken[1].read_only, taken[1].destructive, taken[1].idempotent),
            (Some(false), None, Some(true))
        );
        assert_eq!(taken[1].description.len(), TOOL_DESCRIPTION_BYTES_MAX);
        assert_eq!(taken[2].description, "See");
        assert!(taken.iter().all(|tool| !tool.keyed));
    }

    #[test]
    fn more_tools_than_a_request_may_show_are_left_out() {
        let tools = (0..TOOLS_PER_REQUEST_MAX + 3).map(|n| json!({"name": n.to_string(), "inputSchema": {}}));
        assert_eq!(defined(tools.collect(), &Hints::default()).len(), TOOLS_PER_REQUEST_MAX);
    }

    #[test]
    fn hints_win_over_annotations() {
        let annotated = json!({
            "name": "t",
            "inputSchema": {},
            "annotations": {"readOnlyHint": true, "destructiveHint": false},
        });
        let cases: [(Hints, Option<bool>, Option<bool>, bool); 8] = [
            (hints(&[], &[], &[]), Some(true), Some(false), false),
            (hints(&["other"], &["other"], &["other"]), Some(true), Some(false), false),
            (hints(&[], &["t"], &["t"]), Some(false), Some(true), true),
            (hints(&[], &["*"], &["*"]), Some(false), Some(true), true),
            (hints(&["t"], &[], &[]), Some(true), Some(false), false),
            (hints(&["t"], &["*"], &[]), Some(true), Some(false), false),
            (hints(&["*"], &["t"], &[]), Some(false), Some(true), false),
            (hints(&["t"], &["t"], &[]), Some(false), Some(true), false),
        ];
        for (hints, read_only, destructive, keyed) in cases {
            let taken = defined(vec![annotated.clone()], &hints);
            let got = (taken[0].read_only, taken[0].destructive, taken[0].keyed);
            assert_eq!(got, (read_only, destructive, keyed), "{hints:?}");
        }
    }
}
