//! Requests of the Responses API.

use serde_json::{Map, Value};

use super::tools::{EFFORTS, Names, TIERS, VERBOSITIES, each_tool, schema_format};
use super::{Pairing, Report};

const MEMBERS: &[&str] = &[
    "model",
    "input",
    "instructions",
    "store",
    "stream",
    "include",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "max_output_tokens",
    "metadata",
    "temperature",
    "top_p",
    "truncation",
    "safety_identifier",
    "stream_options",
];

/// What is wrong with the request `body`, a line each; nothing if it is well-formed.
#[must_use]
pub fn validate(body: &Value) -> Vec<String> {
    let mut report = Report::default();
    if let Some(object) = report.object(body, "body", MEMBERS) {
        top(object, &mut report);
        match object.get("input") {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(Value::Array(items)) if !items.is_empty() => input(items, &mut report),
            Some(Value::String(_) | Value::Array(_)) => report.add("input", "is empty"),
            _ => report.add("input", "must be a string or a list"),
        }
    }
    report.violations
}

fn top(body: &Map<String, Value>, report: &mut Report) {
    report.words(body, "model", "body");
    if body.contains_key("instructions") {
        report.words(body, "instructions", "body");
    }
    for key in ["store", "stream", "parallel_tool_calls"] {
        report.boolean(body, key, "body");
    }
    if body.get("store") != Some(&Value::Bool(false)) {
        report.add("body", "`store` must be false: the runtime keeps the state");
    }
    report.choice(body, "service_tier", TIERS, "body");
    if let Some(reasoning) = body.get("reasoning")
        && let Some(reasoning) = report.object(reasoning, "reasoning", &["effort", "summary"])
    {
        report.choice(reasoning, "effort", EFFORTS, "reasoning");
        report.choice(reasoning, "summary", &["auto", "concise", "detailed"], "reasoning");
    }
    if let Some(text) = body.get("text")
        && let Some(text) = report.object(text, "text", &["format", "verbosity"])
    {
        report.choice(text, "verbosity", VERBOSITIES, "text");
        format(text.get("format"), report);
    }
    if let Some(options) = body.get("prompt_cache_options")
        && let Some(options) = report.object(options, "prompt_cache_options", &["ttl", "mode"])
    {
        report.choice(options, "ttl", &["30m", "12h"], "prompt_cache_options");
    }
    let mut names = Names::default();
    each_tool(body, report, |tool, at, report| {
        let members = ["type", "name", "description", "parameters", "strict"];
        if let Some(tool) = report.object(tool, at, &members) {
            if tool.get("type").and_then(Value::as_str) != Some("function") {
                report.add(at, "`type` must be `function`");
            }
            if !tool.contains_key("strict") {
                report.add(at, "`strict` is required");
            }
            names.function(tool, at, report);
        }
    });
}

fn format(format: Option<&Value>, report: &mut Report) {
    let at = "text.format";
    let Some(format) = format else { return };
    let members = ["type", "name", "description", "schema", "strict"];
    let Some(format) = report.object(format, at, &members) else { return };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => {}
        Some("json_schema") => schema_format(format, at, report),
        _ => report.add(at, "`type` must be `text` or `json_schema`"),
    }
}

fn input(items: &[Value], report: &mut Report) {
    let mut pairing = Pairing::default();
    let mut thinking: Option<String> = None;
    for (index, item) in items.iter().enumerate() {
        let at = format!("input[{index}]");
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
        let role = item.get("role").and_then(Value::as_str);
        let is_spoken = kind == "function_call" || (kind == "message" && role == Some("assistant"));
        if kind != "reasoning"
            && let Some(thought) = thinking.take()
            && !is_spoken
        {
            report.add(&thought, "reasoning is not followed by what it led to");
        }
        match kind {
            "message" => {
                pairing.closed(&at, report);
                message(item, &at, report);
            }
            "reasoning" => {
                pairing.closed(&at, report);
                reasoning(item, &at, report);
                thinking = Some(at);
            }
            "function_call" => call(item, &at, &mut pairing, report),
            "function_call_output" => output(item, &at, &mut pairing, report),
            _ => report.add(&at, format!("`{kind}` is not a kind of item")),
        }
    }
    if let Some(thought) = thinking {
        report.add(&thought, "reasoning is not followed by what it led to");
    }
    pairing.closed("the end of input", report);
}

fn message(item: &Value, at: &str, report: &mut Report) {
    let Some(item) = report.object(item, at, &["type", "role", "content", "id", "status", "phase"]) else {
        return;
    };
    let role = item.get("role").and_then(Value::as_str).unwrap_or_default();
    if !["user", "assistant", "system", "developer"].contains(&role) {
        report.add(at, "`role` must be one of user, assistant, system, developer");
    }
    report.choice(item, "phase", &["commentary", "final_answer"], at);
    if item.contains_key("phase") && role != "assistant" {
        report.add(at, "only assistants' messages have a `phase`");
    }
    match item.get("content") {
        Some(Value::String(text)) if text.is_empty() => report.add(at, "the content is empty"),
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) if parts.is_empty() => report.add(at, "the content is empty"),
        Some(Value::Array(parts)) => {
            let kinds: &[&str] = match role {
                "assistant" => &["output_text", "refusal"],
                "user" => &["input_text", "input_image"],
                _ => &["input_text"],
            };
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
        return;
    }
    match kind {
        "input_image" => {
            if let Some(part) = report.object(part, at, &["type", "image_url", "detail"]) {
                report.image(part.get("image_url"), at);
                report.choice(part, "detail", &["auto", "low", "high", "original"], at);
            }
        }
        "refusal" => {
            if let Some(part) = report.object(part, at, &["type", "refusal"]) {
                report.words(part, "refusal", at);
            }
        }
        _ => {
            if let Some(part) = report.object(part, at, &["type", "text", "annotations", "logprobs"]) {
                report.words(part, "text", at);
            }
        }
    }
}

fn reasoning(item: &Value, at: &str, report: &mut Report) {
    let members = ["type", "id", "summary", "encrypted_content", "content", "status"];
    let Some(item) = report.object(item, at, &members) else { return };
    report.words(item, "encrypted_content", at);
    match item.get("summary").and_then(Value::as_array) {
        Some(parts) => {
            for (index, part) in parts.iter().enumerate() {
                let at = format!("{at}.summary[{index}]");
                if let Some(part) = report.object(part, &at, &["type", "text"]) {
                    report.choice(part, "type", &["summary_text"], &at);
                    report.string(part, "text", &at);
                }
            }
        }
        None => report.add(at, "`summary` must be a list"),
    }
}

fn call(item: &Value, at: &str, pairing: &mut Pairing, report: &mut Report) {
    let members = ["type", "id", "call_id", "name", "arguments", "status"];
    let Some(item) = report.object(item, at, &members) else { return };
    if let Some(name) = report.string(item, "name", at) {
        super::tools::check_name(name, at, report);
    }
    check_arguments(report.string(item, "arguments", at), at, report);
    pairing.call(report.string(item, "call_id", at).unwrap_or_default(), at, report);
}

/// Arguments are JSON text of an object.
pub(super) fn check_arguments(arguments: Option<&str>, at: &str, report: &mut Report) {
    let is_object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).is_ok();
    if arguments.is_some_and(|text| !is_object(text)) {
        report.add(at, "`arguments` is not the JSON text of an object");
    }
}

fn output(item: &Value, at: &str, pairing: &mut Pairing, report: &mut Report) {
    let Some(item) = report.object(item, at, &["type", "id", "call_id", "output", "status"]) else { return };
    pairing.result(report.string(item, "call_id", at).unwrap_or_default(), at, report);
    match item.get("output") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) if parts.is_empty() => report.add(at, "the output is empty"),
        Some(Value::Array(parts)) => {
            for (index, part) in parts.iter().enumerate() {
                let at = format!("{at}.output[{index}]");
                content_part(part, &["input_text", "input_image"], &at, report);
            }
        }
        _ => report.add(at, "`output` must be a string or a list"),
    }
}
