//! Requests of the Anthropic Messages API.

use serde_json::{Map, Value};

use super::tools::{Names, each_tool};
use super::{Pairing, Report};

const MEMBERS: &[&str] = &[
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stream",
    "thinking",
    "output_config",
    "service_tier",
    "metadata",
    "stop_sequences",
    "temperature",
    "top_k",
    "top_p",
    "cache_control",
    "inference_geo",
];
/// Places of a request that the cache may be told about.
const BREAKPOINTS_MAX: usize = 4;

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
    if body.to_string().matches(r#""cache_control":"#).count() > BREAKPOINTS_MAX {
        report.add("body", format!("`cache_control` stands in more than {BREAKPOINTS_MAX} places"));
    }
    report.violations
}

fn top(body: &Map<String, Value>, report: &mut Report) {
    report.words(body, "model", "body");
    if body.get("max_tokens").and_then(Value::as_u64).is_none_or(|most| most == 0) {
        report.add("body", "`max_tokens` must be a positive number");
    }
    report.boolean(body, "stream", "body");
    report.choice(body, "service_tier", &["auto", "standard_only"], "body");
    if let Some(thinking) = body.get("thinking")
        && let Some(thinking) = report.object(thinking, "thinking", &["type", "budget_tokens", "display"])
    {
        report.choice(thinking, "type", &["adaptive", "enabled", "disabled"], "thinking");
    }
    if let Some(output) = body.get("output_config")
        && let Some(output) = report.object(output, "output_config", &["effort", "format"])
    {
        report.choice(output, "effort", &["low", "medium", "high", "xhigh", "max"], "output_config");
        if let Some(format) = output.get("format") {
            let at = "output_config.format";
            if let Some(format) = report.object(format, at, &["type", "schema"]) {
                report.choice(format, "type", &["json_schema"], at);
                if !format.get("schema").is_some_and(Value::is_object) {
                    report.add(at, "`schema` must be an object");
                }
            }
        }
    }
    match body.get("system") {
        None => {}
        Some(Value::Array(blocks)) => each(blocks, "system", &["text"], &mut Pairing::default(), report),
        Some(Value::String(text)) if !text.trim().is_empty() => {}
        Some(_) => report.add("system", "must be a list of text, or text that says something"),
    }
    let mut names = Names::default();
    each_tool(body, report, |tool, at, report| {
        let members = ["name", "description", "input_schema", "cache_control", "type", "strict"];
        if let Some(tool) = report.object(tool, at, &members) {
            names.described(tool, "input_schema", at, report);
        }
    });
}

/// The user begins and ends, and the two alternate. Every call has its result in the next message, first of all.
fn messages(messages: &[Value], report: &mut Report) {
    let mut pairing = Pairing::default();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        let expected = if index % 2 == 0 { "user" } else { "assistant" };
        let Some(message) = report.object(message, &at, &["role", "content"]) else { continue };
        if message.get("role").and_then(Value::as_str) != Some(expected) {
            report.add(&at, format!("`role` must be `{expected}` here: the two alternate"));
        }
        match message.get("content") {
            Some(Value::Array(blocks)) if !blocks.is_empty() => {
                let at = format!("{at}.content");
                let kinds: &[&str] = if expected == "user" {
                    &["tool_result", "text", "image"]
                } else {
                    &["thinking", "redacted_thinking", "text", "tool_use"]
                };
                each(blocks, &at, kinds, &mut pairing, report);
                if expected == "assistant" {
                    ends_in_deeds(blocks, &at, report);
                }
            }
            Some(Value::String(text)) if !text.trim().is_empty() => pairing.closed(&at, report),
            _ => report.add(&at, "`content` is empty"),
        }
    }
    if messages.len().is_multiple_of(2) {
        report.add("the end of messages", "the assistant must not have the last word");
    }
    pairing.closed("the end of messages", report);
}

fn ends_in_deeds(blocks: &[Value], at: &str, report: &mut Report) {
    let last = blocks.last().and_then(|block| block.get("type")).and_then(Value::as_str);
    if matches!(last, Some("thinking" | "redacted_thinking")) {
        report.add(at, "thinking must not be the last block");
    }
}

fn each(blocks: &[Value], at: &str, kinds: &[&str], pairing: &mut Pairing, report: &mut Report) {
    let mut in_results = true;
    for (index, value) in blocks.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        if !kinds.contains(&kind) {
            report.add(&at, format!("`type` must be one of {}", kinds.join(", ")));
            continue;
        }
        if kind == "tool_result" {
            if !in_results {
                report.add(&at, "results must stand before everything else in their message");
            }
        } else {
            in_results = false;
            // Until the user has answered every call, nothing else may be said.
            if kinds.contains(&"tool_result") {
                pairing.closed(&at, report);
            }
        }
        block(value, kind, &at, pairing, report);
    }
}

fn block(value: &Value, kind: &str, at: &str, pairing: &mut Pairing, report: &mut Report) {
    let members: &[&str] = match kind {
        "text" => &["type", "text", "cache_control"],
        "image" => &["type", "source", "cache_control"],
        "thinking" => &["type", "thinking", "signature"],
        "redacted_thinking" => &["type", "data"],
        "tool_use" => &["type", "id", "name", "input", "cache_control"],
        _ => &["type", "tool_use_id", "content", "is_error", "cache_control"],
    };
    let Some(object) = report.object(value, at, members) else { return };
    match kind {
        "text" => {
            if report.string(object, "text", at).is_some_and(|text| text.trim().is_empty()) {
                report.add(at, "text must say something");
            }
        }
        "image" => source(object.get("source").unwrap_or(&Value::Null), at, report),
        "thinking" => {
            report.string(object, "thinking", at);
            report.words(object, "signature", at);
        }
        "redacted_thinking" => drop(report.words(object, "data", at)),
        "tool_use" => {
            if let Some(name) = report.string(object, "name", at) {
                super::tools::check_name(name, at, report);
            }
            if !object.get("input").is_some_and(Value::is_object) {
                report.add(at, "`input` must be an object");
            }
            pairing.call(report.string(object, "id", at).unwrap_or_default(), at, report);
        }
        _ => {
            pairing.result(report.string(object, "tool_use_id", at).unwrap_or_default(), at, report);
            match object.get("content") {
                None | Some(Value::String(_)) => {}
                Some(Value::Array(blocks)) if !blocks.is_empty() => {
                    let at = format!("{at}.content");
                    each(blocks, &at, &["text", "image"], &mut Pairing::default(), report);
                }
                Some(_) => report.add(at, "`content` must be text or a list that holds something"),
            }
        }
    }
}

fn source(source: &Value, at: &str, report: &mut Report) {
    let at = format!("{at}.source");
    let Some(source) = report.object(source, &at, &["type", "media_type", "data", "url"]) else { return };
    match source.get("type").and_then(Value::as_str) {
        Some("base64") => {
            report.words(source, "data", &at);
            let kinds = ["image/png", "image/jpeg", "image/gif", "image/webp"];
            report.choice(source, "media_type", &kinds, &at);
        }
        Some("url") => report.image(source.get("url"), &at),
        _ => report.add(&at, "`type` must be `base64` or `url`"),
    }
}
