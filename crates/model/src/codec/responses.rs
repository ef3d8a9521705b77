//! The OpenAI Responses API.
//!
//! Requests are stateless: nothing is stored at the provider, so reasoning travels as opaque text and only
//! reasoning that has it is handed back.

use serde_json::{Map, Value, json};
use tenure_journal::{
    ContextItem, FunctionOutput, InputPart, ModelRequest, ServiceTier, TextFormat, ToolSpec, Verbosity,
};

use super::turns::Opaque;
use super::{arguments_text, is_spoken, solid};

pub mod server;
mod stream;

pub use stream::StreamDecoder;

/// The name of a schema that has none of its own.
pub(super) const SCHEMA_NAME: &str = "answer";

/// The body of a streaming request.
#[must_use]
pub fn encode(request: &ModelRequest) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("store".into(), json!(false));
    body.insert("stream".into(), json!(true));
    body.insert("include".into(), json!(["reasoning.encrypted_content"]));
    if let Some(instructions) = request.instructions.as_deref().filter(|text| !text.is_empty()) {
        body.insert("instructions".into(), json!(instructions));
    }
    body.insert("input".into(), input(&request.input));
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        body.insert("parallel_tool_calls".into(), json!(true));
    }
    let mut reasoning = Map::new();
    if let Some(effort) = request.reasoning.effort {
        reasoning.insert("effort".into(), json!(effort));
    }
    if let Some(summary) = request.reasoning.summary {
        reasoning.insert("summary".into(), json!(summary));
    }
    if !reasoning.is_empty() {
        body.insert("reasoning".into(), reasoning.into());
    }
    let text = text_config(request);
    if !text.is_empty() {
        body.insert("text".into(), text.into());
    }
    if request.service_tier != ServiceTier::Auto {
        body.insert("service_tier".into(), json!(request.service_tier));
    }
    if !request.cache_key.is_empty() {
        body.insert("prompt_cache_key".into(), json!(request.cache_key));
    }
    if let Some(most) = request.output_tokens_max {
        body.insert("max_output_tokens".into(), json!(most));
    }
    if let Some(ttl) = &request.cache_ttl {
        body.insert("prompt_cache_options".into(), json!({ "ttl": ttl }));
    }
    body.into()
}

fn input(items: &[ContextItem]) -> Value {
    let mut input = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        match item {
            ContextItem::User { content } => {
                let content: Vec<_> = solid(content).map(part).collect();
                if !content.is_empty() {
                    input.push(json!({ "type": "message", "role": "user", "content": content }));
                }
            }
            ContextItem::Note { text } if !text.is_empty() => {
                input.push(json!({ "type": "message", "role": "developer", "content": text }));
            }
            ContextItem::Assistant { text, phase } if !text.is_empty() => {
                let mut message = json!({ "type": "message", "role": "assistant", "content": text });
                // Models that label their messages answer worse when the labels do not come back.
                if let Some(phase) = phase {
                    message["phase"] = json!(phase);
                }
                input.push(message);
            }
            ContextItem::Note { .. } | ContextItem::Assistant { .. } => {}
            ContextItem::Reasoning { provider_id, summary, encrypted } => {
                // Another vendor's thinking is of no use here.
                let ours = |text: &&String| Opaque::of(text).is_none() && leads_somewhere(&items[at + 1..]);
                if let Some(encrypted) = encrypted.as_ref().filter(ours) {
                    input.push(reasoning(provider_id.as_deref(), summary, encrypted));
                }
            }
            ContextItem::Call { call_id, name, arguments } => input.push(json!({
                "type": "function_call",
                "call_id": call_id,
                "name": name,
                "arguments": arguments_text(arguments),
            })),
            ContextItem::CallResult { call_id, output } => input.push(json!({
                "type": "function_call_output",
                "call_id": call_id,
                "output": output_value(output),
            })),
        }
    }
    input.into()
}

/// Whether what follows reasoning is what it led to. Providers refuse reasoning without it.
fn leads_somewhere(following: &[ContextItem]) -> bool {
    let next = following.iter().find(|item| match item {
        ContextItem::Reasoning { .. } => false,
        ContextItem::Assistant { text, .. } => !text.is_empty(),
        ContextItem::User { .. }
        | ContextItem::Note { .. }
        | ContextItem::Call { .. }
        | ContextItem::CallResult { .. } => true,
    });
    next.is_some_and(is_spoken)
}

fn reasoning(provider_id: Option<&str>, summary: &[String], encrypted: &str) -> Value {
    let summary: Vec<_> =
        summary.iter().map(|text| json!({ "type": "summary_text", "text": text })).collect();
    let mut item = json!({ "type": "reasoning", "summary": summary, "encrypted_content": encrypted });
    if let Some(id) = provider_id {
        item["id"] = json!(id);
    }
    item
}

fn part(part: &InputPart) -> Value {
    match part {
        InputPart::Text { text } => json!({ "type": "input_text", "text": text }),
        InputPart::Image { image_url } => {
            json!({ "type": "input_image", "image_url": image_url, "detail": "auto" })
        }
    }
}

fn output_value(output: &FunctionOutput) -> Value {
    match output {
        FunctionOutput::Text(text) => json!(text),
        FunctionOutput::Content(parts) => {
            let parts: Vec<_> = solid(parts).map(part).collect();
            if parts.is_empty() { json!("") } else { parts.into() }
        }
    }
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": false,
    })
}

fn text_config(request: &ModelRequest) -> Map<String, Value> {
    let mut text = Map::new();
    if let Some(mut format) = json_schema(&request.text.format) {
        format.insert("type".into(), json!("json_schema"));
        text.insert("format".into(), format.into());
    }
    if request.text.verbosity != Verbosity::Medium {
        text.insert("verbosity".into(), json!(request.text.verbosity));
    }
    text
}

/// The members that describe a schema, which both formats call the same.
pub(super) fn json_schema(format: &TextFormat) -> Option<Map<String, Value>> {
    let TextFormat::JsonSchema { name, description, schema, strict } = format else { return None };
    let mut members = Map::new();
    members.insert("name".into(), json!(name.as_deref().unwrap_or(SCHEMA_NAME)));
    if let Some(description) = description {
        members.insert("description".into(), json!(description));
    }
    members.insert("schema".into(), schema.clone());
    if let Some(strict) = strict {
        members.insert("strict".into(), json!(strict));
    }
    Some(members)
}
