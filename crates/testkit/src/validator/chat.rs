//! Requests of Chat Completions.

use serde_json::{Map, Value};

use super::responses::check_arguments;
use super::tools::{EFFORTS, Names, TIERS, VERBOSITIES, check_name, each_tool, schema_format};
use super::{Pairing, Report};

const MEMBERS: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "verbosity",
    "service_tier",
    "store",
    "max_completion_tokens",
    "metadata",
    "temperature",
    "top_p",
    "prompt_cache_key",
    "safety_identifier",
];

/// What is wrong with the request `body`, a line each; nothing if it is well-formed.
#[must_use]
pub fn validate(body: &Value) -> Vec<String> {
    let mut report = Report::default();
    if let Some(object) = report.object(body, "body", MEMBERS) {
        top(object, &mut report);
        match object.get("messages") {
            Some(Value::Array(list)) if !list.is_empty() => messages(list, &mut report),
            Some(Value::Array(_)) => report.add("messages", "is empty"),
            _ => report.add("messages", "must be a list"),
        }
    }
    report.violations
}

fn top(body: &Map<String, Value>, report: &mut Report) {
    report.words(body, "model", "body");
    for key in ["store", "stream", "parallel_tool_calls"] {
        report.boolean(body, key, "body");
    }
    if let Some(options) = body.get("stream_options") {
        if body.get("stream") != Some(&Value::Bool(true)) {
            report.add("stream_options", "only allowed with `stream`");
        }
        if let Some(options) = report.object(options, "stream_options", &["include_usage"]) {
            report.boolean(options, "include_usage", "stream_options");
        }
    }
    report.choice(body, "reasoning_effort", EFFORTS, "body");
    report.choice(body, "verbosity", VERBOSITIES, "body");
    report.choice(body, "service_tier", TIERS, "body");
    if let Some(format) = body.get("response_format")
        && let Some(format) = report.object(format, "response_format", &["type", "json_schema"])
    {
        report.choice(format, "type", &["text", "json_object", "json_schema"], "response_format");
        if let Some(schema) = format.get("json_schema") {
            let at = "response_format.json_schema";
            if let Some(schema) = report.object(schema, at, &["name", "description", "schema", "strict"]) {
                schema_format(schema, at, report);
            }
        }
    }
    let mut names = Names::default();
    each_tool(body, report, |tool, at, report| {
        let Some(tool) = report.object(tool, at, &["type", "function"]) else { return };
        if tool.get("type").and_then(Value::as_str) != Some("function") {
            report.add(at, "`type` must be `function`");
        }
        let members = ["name", "description", "parameters", "strict"];
        if let Some(function) =
            report.object(tool.get("function").unwrap_or(&Value::Null), &format!("{at}.function"), &members)
        {
            names.function(function, at, report);
        }
    });
}

fn messages(messages: &[Value], report: &mut Report) {
    let mut pairing = Pairing::default();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        match message.get("role").and_then(Value::as_str) {
            Some("tool") => tool(message, &at, &mut pairing, report),
            Some(role @ ("system" | "developer" | "user")) => {
                pairing.closed(&at, report);
                said(message, role, &at, report);
            }
            Some("assistant") => {
                pairing.closed(&at, report);
                assistant(message, &at, &mut pairing, report);
            }
            _ => report.add(&at, "`role` must be one of system, developer, user, assistant, tool"),
        }
    }
    pairing.closed("the end of messages", report);
}

fn said(message: &Value, role: &str, at: &str, report: &mut Report) {
    let Some(message) = report.object(message, at, &["role", "content", "name"]) else { return };
    let kinds: &[&str] = if role == "user" { &["text", "image_url"] } else { &["text"] };
    content(message.get("content"), kinds, at, report);
}

fn content(value: Option<&Value>, kinds: &[&str], at: &str, report: &mut Report) {
    match value {
        Some(Value::String(text)) if text.is_empty() => report.add(at, "the content is empty"),
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) if parts.is_empty() => report.add(at, "the content is empty"),
        Some(Value::Array(parts)) => {
            for (index, part) in parts.iter().enumerate() {
                content_part(part, kinds, &format!("{at}.content[{index}]"), report);
            }
        }
        _ => report.add(at, "`content` must be a string or a list"),
    }
}

fn content_part(part: &Value, kinds: &[&str], at: &str, report: &mut Report) {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    if !kinds.contains(&kind) {
        report.add(at, format!("`type` must be one of {}", kinds.join(", ")));
    } else if kind == "text" {
        if let Some(part) = report.object(part, at, &["type", "text"]) {
            report.words(part, "text", at);
        }
    } else if let Some(part) = report.object(part, at, &["type", "image_url"]) {
        let at = format!("{at}.image_url");
        let image = part.get("image_url").unwrap_or(&Value::Null);
        if let Some(image) = report.object(image, &at, &["url", "detail"]) {
            report.image(image.get("url"), &at);
        }
    }
}

fn assistant(message: &Value, at: &str, pairing: &mut Pairing, report: &mut Report) {
    let members = ["role", "content", "tool_calls", "refusal", "name"];
    let Some(message) = report.object(message, at, &members) else { return };
    match message.get("tool_calls") {
        None => content(message.get("content"), &["text", "refusal"], at, report),
        Some(Value::Array(calls)) if !calls.is_empty() => {
            if !message.get("content").is_none_or(Value::is_null) {
                content(message.get("content"), &["text", "refusal"], at, report);
            }
            for (index, value) in calls.iter().enumerate() {
                call(value, &format!("{at}.tool_calls[{index}]"), pairing, report);
            }
        }
        Some(_) => report.add(at, "`tool_calls` must be a list with a call"),
    }
}

fn call(value: &Value, at: &str, pairing: &mut Pairing, report: &mut Report) {
    let Some(call) = report.object(value, at, &["id", "type", "function"]) else { return };
    if call.get("type").and_then(Value::as_str) != Some("function") {
        report.add(at, "`type` must be `function`");
    }
    let function = call.get("function").unwrap_or(&Value::Null);
    if let Some(function) = report.object(function, at, &["name", "arguments"]) {
        if let Some(name) = report.string(function, "name", at) {
            check_name(name, at, report);
        }
        check_arguments(report.string(function, "arguments", at), at, report);
    }
    pairing.call(report.string(call, "id", at).unwrap_or_default(), at, report);
}

fn tool(message: &Value, at: &str, pairing: &mut Pairing, report: &mut Report) {
    let Some(message) = report.object(message, at, &["role", "tool_call_id", "content"]) else { return };
    pairing.result(report.string(message, "tool_call_id", at).unwrap_or_default(), at, report);
    // A tool may have nothing to say.
    if message.get("content").and_then(Value::as_str) != Some("") {
        content(message.get("content"), &["text"], at, report);
    }
}
