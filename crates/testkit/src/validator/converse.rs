//! Requests of Amazon Bedrock's Converse API.

use serde_json::{Map, Value};

use super::tools::Names;
use super::{Pairing, Report};

const MEMBERS: &[&str] = &[
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "outputConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
];
const BLOCKS: &[&str] = &["text", "image", "toolUse", "toolResult", "reasoningContent", "cachePoint"];

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
    if let Some(config) = body.get("inferenceConfig") {
        let members = ["maxTokens", "temperature", "topP", "stopSequences"];
        report.object(config, "inferenceConfig", &members);
    }
    for (index, block) in body.get("system").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let at = format!("system[{index}]");
        if let Some(block) = report.object(block, &at, &["text", "cachePoint"]) {
            match block.get("text") {
                Some(Value::String(text)) if !text.trim().is_empty() => {}
                None if block.contains_key("cachePoint") => {}
                _ => report.add(&at, "must be text that says something, or a cache point"),
            }
        }
    }
    let Some(config) = body.get("toolConfig") else { return };
    let Some(config) = report.object(config, "toolConfig", &["tools", "toolChoice"]) else { return };
    match config.get("tools").and_then(Value::as_array) {
        Some(tools) if !tools.is_empty() => {
            let mut names = Names::default();
            for (index, tool) in tools.iter().enumerate() {
                let at = format!("toolConfig.tools[{index}]");
                let Some(tool) = report.object(tool, &at, &["toolSpec", "cachePoint"]) else { continue };
                let members = ["name", "description", "inputSchema", "strict"];
                let spec = tool.get("toolSpec").unwrap_or(&Value::Null);
                let Some(spec) = report.object(spec, &at, &members) else { continue };
                if spec.get("description").and_then(Value::as_str) == Some("") {
                    report.add(&at, "`description` is empty");
                }
                let mut flat = spec.clone();
                let schema = spec.get("inputSchema").and_then(|schema| schema.get("json"));
                flat.insert("inputSchema".into(), schema.cloned().unwrap_or(Value::Null));
                names.described(&flat, "inputSchema", &at, report);
            }
        }
        _ => report.add("toolConfig", "`tools` must be a list with a tool"),
    }
}

/// The user begins and ends, and the two alternate. Every call has its result in the next message.
fn messages(messages: &[Value], report: &mut Report) {
    let mut pairing = Pairing::default();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        let expected = if index % 2 == 0 { "user" } else { "assistant" };
        let Some(message) = report.object(message, &at, &["role", "content"]) else { continue };
        if message.get("role").and_then(Value::as_str) != Some(expected) {
            report.add(&at, format!("`role` must be `{expected}` here: the two alternate"));
        }
        let Some(blocks) =
            message.get("content").and_then(Value::as_array).filter(|blocks| !blocks.is_empty())
        else {
            report.add(&at, "`content` must be a list that holds something");
            continue;
        };
        let mut results = true;
        for (number, value) in blocks.iter().enumerate() {
            let at = format!("{at}.content[{number}]");
            let Some(object) = report.object(value, &at, BLOCKS) else { continue };
            if object.len() != 1 {
                report.add(&at, "a block is exactly one thing");
            }
            let is_result = object.contains_key("toolResult");
            if is_result && !results {
                report.add(&at, "results must stand before everything else in their message");
            }
            if !is_result && expected == "user" {
                results = false;
                pairing.closed(&at, report);
            }
            block(object, expected, &at, &mut pairing, report);
        }
        let last = blocks.last().and_then(Value::as_object);
        if expected == "assistant" && last.is_some_and(|last| last.contains_key("reasoningContent")) {
            report.add(&at, "reasoning must not be the last block");
        }
    }
    if messages.len().is_multiple_of(2) {
        report.add("the end of messages", "the assistant must not have the last word");
    }
    pairing.closed("the end of messages", report);
}

fn block(block: &Map<String, Value>, role: &str, at: &str, pairing: &mut Pairing, report: &mut Report) {
    let wrong = |kind: &str| block.contains_key(kind);
    if role == "user" && (wrong("toolUse") || wrong("reasoningContent")) {
        report.add(at, "only the assistant calls tools and thinks");
    }
    if role == "assistant" && (wrong("toolResult") || wrong("image")) {
        report.add(at, "only the user has results and images");
    }
    if let Some(text) = block.get("text")
        && text.as_str().is_none_or(|text| text.trim().is_empty())
    {
        report.add(at, "text must say something");
    }
    if let Some(image) = block.get("image") {
        picture(image, at, report);
    }
    if let Some(call) = block.get("toolUse")
        && let Some(call) = report.object(call, at, &["toolUseId", "name", "input"])
    {
        if let Some(name) = report.string(call, "name", at) {
            super::tools::check_name(name, at, report);
        }
        if !call.get("input").is_some_and(Value::is_object) {
            report.add(at, "`input` must be an object");
        }
        pairing.call(report.string(call, "toolUseId", at).unwrap_or_default(), at, report);
    }
    if let Some(result) = block.get("toolResult")
        && let Some(result) = report.object(result, at, &["toolUseId", "content", "status"])
    {
        pairing.result(report.string(result, "toolUseId", at).unwrap_or_default(), at, report);
        report.choice(result, "status", &["success", "error"], at);
        match result.get("content").and_then(Value::as_array) {
            Some(parts) if !parts.is_empty() => parts.iter().for_each(|part| output(part, at, report)),
            _ => report.add(at, "`content` must be a list that holds something"),
        }
    }
    if let Some(reasoning) = block.get("reasoningContent")
        && let Some(reasoning) = report.object(reasoning, at, &["reasoningText", "redactedContent"])
    {
        match reasoning.get("reasoningText") {
            Some(text) => {
                if let Some(text) = report.object(text, at, &["text", "signature"]) {
                    report.string(text, "text", at);
                    report.words(text, "signature", at);
                }
            }
            None => drop(report.words(reasoning, "redactedContent", at)),
        }
    }
}

fn output(part: &Value, at: &str, report: &mut Report) {
    let Some(part) = report.object(part, at, &["text", "image", "json"]) else { return };
    if part.get("text").is_some_and(|text| text.as_str().is_none_or(|text| text.trim().is_empty())) {
        report.add(at, "text must say something");
    }
    if let Some(image) = part.get("image") {
        picture(image, at, report);
    }
}

fn picture(image: &Value, at: &str, report: &mut Report) {
    let Some(image) = report.object(image, at, &["format", "source"]) else { return };
    report.choice(image, "format", &["png", "jpeg", "gif", "webp"], at);
    let source = image.get("source").unwrap_or(&Value::Null);
    if let Some(source) = report.object(source, at, &["bytes"]) {
        report.words(source, "bytes", at);
    }
}
