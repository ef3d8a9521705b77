//! Amazon Bedrock's Converse API, in its streaming form.
//!
//! The model is part of the address and not of the body. Claude's thinking comes back with its signature, as
//! with Anthropic itself, and is handed back; other models' thinking has none and is not. The format takes images
//! as bytes only, so one that stands at an address is named in words. Efforts are Claude's, in the members that
//! Bedrock hands to the model as they are.

use serde_json::{Map, Value, json};
use tenure_journal::{ModelRequest, TextFormat, ToolSpec};

use super::anthropic::effort_word;
use super::responses::SCHEMA_NAME;
use super::turns::{Block, Image, Opaque, Turn, turns};

pub mod server;
mod stream;

pub use stream::StreamDecoder;

/// Stands in a result that holds nothing; the format takes no empty text.
const NO_OUTPUT: &str = "(no output)";

/// The body of a streaming request. Which model is asked is in the address.
#[must_use]
pub fn encode(request: &ModelRequest) -> Value {
    let cache = cache_point(request);
    // Only Claude and Nova know cache points; others refuse them.
    let caches = ["anthropic.", "amazon.nova"].iter().any(|family| request.model.contains(family));
    let mut body = Map::new();
    if let Some(text) = request.instructions.as_deref().filter(|text| !text.trim().is_empty()) {
        let mut system = vec![json!({ "text": text })];
        if caches {
            system.push(cache.clone());
        }
        body.insert("system".into(), system.into());
    }
    let mut messages: Vec<_> = turns(&request.input).iter().map(message).collect();
    if caches && let Some(last) = messages.last_mut().and_then(|message| message["content"].as_array_mut()) {
        last.push(cache);
    }
    body.insert("messages".into(), messages.into());
    if !request.tools.is_empty() {
        let tools: Vec<_> = request.tools.iter().map(tool).collect();
        body.insert("toolConfig".into(), json!({ "tools": tools }));
    }
    if let Some(most) = request.output_tokens_max {
        body.insert("inferenceConfig".into(), json!({ "maxTokens": most }));
    }
    if let Some(effort) = request.reasoning.effort.filter(|_| request.model.contains("anthropic.")) {
        let fields = match effort_word(effort) {
            Some(word) => {
                json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": word } })
            }
            None => json!({ "thinking": { "type": "disabled" } }),
        };
        body.insert("additionalModelRequestFields".into(), fields);
    }
    if let TextFormat::JsonSchema { name, description, schema, .. } = &request.text.format {
        let mut members = json!({
            "name": name.as_deref().unwrap_or(SCHEMA_NAME),
            "schema": schema.to_string(),
        });
        if let Some(description) = description {
            members["description"] = json!(description);
        }
        let format = json!({ "type": "json_schema", "structure": { "jsonSchema": members } });
        body.insert("outputConfig".into(), json!({ "textFormat": format }));
    }
    body.into()
}

fn cache_point(request: &ModelRequest) -> Value {
    match request.cache_ttl {
        None => json!({ "cachePoint": { "type": "default" } }),
        Some(_) => json!({ "cachePoint": { "type": "default", "ttl": "1h" } }),
    }
}

fn message(turn: &Turn<'_>) -> Value {
    let content: Vec<_> = turn.blocks.iter().filter_map(block).collect();
    json!({ "role": turn.role.as_str(), "content": content })
}

/// None for what another platform's Claude redacted.
fn block(block: &Block<'_>) -> Option<Value> {
    Some(match block {
        Block::Text(text) => json!({ "text": text }),
        Block::Image(image) => image_block(*image),
        Block::Thinking { text, opaque: Opaque::Signature(signature) } => {
            json!({ "reasoningContent": { "reasoningText": { "text": text, "signature": signature } } })
        }
        Block::Thinking { opaque: Opaque::RedactedBytes(bytes), .. } => {
            json!({ "reasoningContent": { "redactedContent": bytes } })
        }
        Block::Thinking { opaque: Opaque::Redacted(_), .. } => return None,
        Block::Call { id, name, input } => {
            json!({ "toolUse": { "toolUseId": id, "name": name, "input": input } })
        }
        Block::Result { id, content } => {
            let mut content: Vec<_> = content.iter().filter_map(self::block).collect();
            if content.is_empty() {
                content.push(json!({ "text": NO_OUTPUT }));
            }
            json!({ "toolResult": { "toolUseId": id, "content": content } })
        }
    })
}

fn image_block(image: Image<'_>) -> Value {
    match image {
        Image::Data { media_type, data } => {
            let format = media_type.strip_prefix("image/").unwrap_or(media_type);
            json!({ "image": { "format": format, "source": { "bytes": data } } })
        }
        Image::Url(url) => json!({ "text": format!("(There is an image at {url}.)") }),
    }
}

fn tool(tool: &ToolSpec) -> Value {
    let mut spec = json!({ "name": tool.name, "inputSchema": { "json": tool.parameters } });
    // The format takes no empty description.
    if !tool.description.is_empty() {
        spec["description"] = json!(tool.description);
    }
    json!({ "toolSpec": spec })
}
