//! The Anthropic Messages API.
//!
//! Thinking comes back with a signature, or redacted, and is handed back as it came: the provider refuses calls
//! whose thinking was changed. The prompt cache is told where the stable prefix ends: after the tools and the
//! instructions, which change with the agent only, and at the end of the context, where the next step begins.
//!
//! Efforts are for models that think adaptively; without one, the field is left out and every model takes the
//! request. What the format has no word for is left out: verbosity, the name of a schema, priority tiers.

use serde_json::{Map, Value, json};
use tenure_journal::{Effort, ModelRequest, ServiceTier, TextFormat, ToolSpec};

use super::turns::{Block, Image, Opaque, Turn, turns};

pub mod server;
mod stream;

pub use stream::StreamDecoder;
pub(super) use stream::{stop, thought};

/// The version of the API that this codec speaks: the header `anthropic-version`.
pub const VERSION: &str = "2023-06-01";
/// Tokens an answer may have where nothing limits it; the format requires a limit.
pub const OUTPUT_TOKENS_DEFAULT: u64 = 16_384;

/// The body of a streaming request.
#[must_use]
pub fn encode(request: &ModelRequest) -> Value {
    let cache = cache_control(request);
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("max_tokens".into(), json!(request.output_tokens_max.unwrap_or(OUTPUT_TOKENS_DEFAULT)));
    body.insert("stream".into(), json!(true));
    let instructions = request.instructions.as_deref().filter(|text| !text.trim().is_empty());
    let mut tools: Vec<_> = request.tools.iter().map(tool).collect();
    match instructions {
        Some(text) => {
            let system = json!([{ "type": "text", "text": text, "cache_control": cache }]);
            body.insert("system".into(), system);
        }
        None => {
            if let Some(last) = tools.last_mut() {
                last["cache_control"] = cache.clone();
            }
        }
    }
    if !tools.is_empty() {
        body.insert("tools".into(), tools.into());
    }
    let mut messages: Vec<_> = turns(&request.input).iter().map(message).collect();
    if let Some(last) = messages.last_mut().and_then(|message| message["content"].as_array_mut()?.last_mut())
    {
        last["cache_control"] = cache;
    }
    body.insert("messages".into(), messages.into());
    let mut output = Map::new();
    if let Some(effort) = request.reasoning.effort {
        match effort_word(effort) {
            Some(word) => {
                body.insert("thinking".into(), json!({ "type": "adaptive" }));
                output.insert("effort".into(), json!(word));
            }
            None => drop(body.insert("thinking".into(), json!({ "type": "disabled" }))),
        }
    }
    if let TextFormat::JsonSchema { schema, .. } = &request.text.format {
        output.insert("format".into(), json!({ "type": "json_schema", "schema": schema }));
    }
    if !output.is_empty() {
        body.insert("output_config".into(), output.into());
    }
    if request.service_tier == ServiceTier::Default {
        body.insert("service_tier".into(), json!("standard_only"));
    }
    body.into()
}

/// The provider knows five minutes and an hour; whoever asks for longer than usual gets the hour.
fn cache_control(request: &ModelRequest) -> Value {
    match request.cache_ttl {
        None => json!({ "type": "ephemeral" }),
        Some(_) => json!({ "type": "ephemeral", "ttl": "1h" }),
    }
}

/// None turns thinking off.
pub(super) fn effort_word(effort: Effort) -> Option<&'static str> {
    match effort {
        Effort::None => None,
        Effort::Minimal | Effort::Low => Some("low"),
        Effort::Medium => Some("medium"),
        Effort::High => Some("high"),
        Effort::XHigh => Some("xhigh"),
        Effort::Max => Some("max"),
    }
}

fn message(turn: &Turn<'_>) -> Value {
    let content: Vec<_> = turn.blocks.iter().filter_map(block).collect();
    json!({ "role": turn.role.as_str(), "content": content })
}

/// None for what another platform's Claude redacted.
fn block(block: &Block<'_>) -> Option<Value> {
    Some(match block {
        Block::Text(text) => json!({ "type": "text", "text": text }),
        Block::Image(Image::Data { media_type, data }) => {
            let source = json!({ "type": "base64", "media_type": media_type, "data": data });
            json!({ "type": "image", "source": source })
        }
        Block::Image(Image::Url(url)) => json!({ "type": "image", "source": { "type": "url", "url": url } }),
        Block::Thinking { text, opaque: Opaque::Signature(signature) } => {
            json!({ "type": "thinking", "thinking": text, "signature": signature })
        }
        Block::Thinking { opaque: Opaque::Redacted(data), .. } => {
            json!({ "type": "redacted_thinking", "data": data })
        }
        Block::Thinking { opaque: Opaque::RedactedBytes(_), .. } => return None,
        Block::Call { id, name, input } => {
            json!({ "type": "tool_use", "id": id, "name": name, "input": input })
        }
        Block::Result { id, content } => {
            let content: Vec<_> = content.iter().filter_map(self::block).collect();
            let mut result = json!({ "type": "tool_result", "tool_use_id": id });
            if !content.is_empty() {
                result["content"] = content.into();
            }
            result
        }
    })
}

fn tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "input_schema": tool.parameters })
}
