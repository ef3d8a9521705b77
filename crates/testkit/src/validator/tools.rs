//! Tool definitions, schemas and settings, which the formats share.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Report;

/// Reasoning efforts.
pub(super) const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
/// Verbosities.
pub(super) const VERBOSITIES: &[&str] = &["low", "medium", "high"];
/// Service tiers.
pub(super) const TIERS: &[&str] = &["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"];
/// Bytes of a tool's or a schema's name.
const NAME_BYTES_MAX: usize = 64;

/// Names of tools so far.
#[derive(Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// The members that describe a function, wherever the format puts them.
    pub(super) fn function(&mut self, function: &Map<String, Value>, at: &str, report: &mut Report) {
        self.described(function, "parameters", at, report);
    }

    /// The same with the schema in the member `schema`.
    pub(super) fn described(
        &mut self,
        function: &Map<String, Value>,
        schema: &str,
        at: &str,
        report: &mut Report,
    ) {
        if let Some(name) = report.string(function, "name", at) {
            check_name(name, at, report);
            if !self.0.insert(name.to_owned()) {
                report.add(at, format!("a second tool with the name `{name}`"));
            }
        }
        if function.get("description").is_some_and(|text| !text.is_string()) {
            report.add(at, "`description` must be a string");
        }
        if let Some(strict) = function.get("strict")
            && !strict.is_boolean()
            && !strict.is_null()
        {
            report.add(at, "`strict` must be true, false or null");
        }
        match function.get(schema) {
            Some(Value::Object(root)) => {
                if root.get("type").and_then(Value::as_str) != Some("object") {
                    report.add(at, format!("the root of `{schema}` must have the type `object`"));
                }
                if root.get("properties").is_some_and(|properties| !properties.is_object()) {
                    report.add(at, format!("`{schema}.properties` must be an object"));
                }
            }
            _ => report.add(at, format!("`{schema}` must be a schema")),
        }
    }
}

pub(super) fn check_name(name: &str, at: &str, report: &mut Report) {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_legal) {
        report.add(at, format!("the name `{name}` does not match [a-zA-Z0-9_-]{{1,64}}"));
    }
}

/// The members of a JSON schema format.
pub(super) fn schema_format(format: &Map<String, Value>, at: &str, report: &mut Report) {
    if let Some(name) = report.string(format, "name", at) {
        check_name(name, at, report);
    }
    if !format.get("schema").is_some_and(Value::is_object) {
        report.add(at, "`schema` must be an object");
    }
}

/// The list of tools at `tools`, each handed to `each`.
pub(super) fn each_tool(
    body: &Map<String, Value>,
    report: &mut Report,
    mut each: impl FnMut(&Value, &str, &mut Report),
) {
    match body.get("tools") {
        None => {}
        Some(Value::Array(tools)) if tools.is_empty() => report.add("tools", "is empty"),
        Some(Value::Array(tools)) => {
            for (index, tool) in tools.iter().enumerate() {
                each(tool, &format!("tools[{index}]"), report);
            }
        }
        Some(_) => report.add("tools", "must be a list"),
    }
}
