//! The other side of the Messages API, for servers that stand in for a provider.

use serde_json::{Value, json};
use tenure_journal::{
    AnswerItem, ContextItem, FunctionOutput, InputPart, ModelAnswer, ModelRequest, ServiceTier, Stop,
    ToolSpec,
};

use super::super::server::{BadRequest, Frame, join, reasoning, required, text, text_config};
use super::super::turns::{NOTE, Opaque};
use super::super::{fragments, text_of};
use super::stream::usage_value;

/// Reads a request.
///
/// # Errors
/// What this server cannot read, by its place in `body`. It is lenient beyond that: validation is another
/// thing's job.
pub fn decode_request(body: &Value) -> Result<ModelRequest, BadRequest> {
    let Some(messages) = body.get("messages").and_then(Value::as_array) else {
        return Err(BadRequest::new("messages", "must be a list"));
    };
    let mut input = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        read_message(message, &format!("messages[{index}]"), &mut input)?;
    }
    let system = contents(body.get("system"), "system")?;
    let system: Vec<InputPart> =
        system.iter().map(|(block, at)| input_part(block, at)).collect::<Result<_, _>>()?;
    let instructions = Some(text(&system)).filter(|text| !text.is_empty());
    let effort = body.pointer("/output_config/effort");
    let format = body.pointer("/output_config/format");
    let ttl = body.pointer("/system/0/cache_control/ttl").and_then(Value::as_str);
    let off = json!("none");
    let thinks = body.pointer("/thinking/type").and_then(Value::as_str) != Some("disabled");
    Ok(ModelRequest {
        model: required(body, "model", "")?.to_owned(),
        instructions,
        input,
        tools: tools(body.get("tools"))?,
        reasoning: reasoning(if thinks { effort } else { Some(&off) }, None),
        text: text_config(format, None),
        service_tier: match text_of(body, "service_tier") {
            Some("standard_only") => ServiceTier::Default,
            _ => ServiceTier::Auto,
        },
        cache_key: String::new(),
        cache_ttl: ttl.map(|_| "12h".to_owned()),
        output_tokens_max: body.get("max_tokens").and_then(Value::as_u64),
    })
}

fn read_message(message: &Value, at: &str, input: &mut Vec<ContextItem>) -> Result<(), BadRequest> {
    let role = required(message, "role", at)?;
    let mut said = Vec::new();
    for (block, at) in contents(message.get("content"), &join(at, "content"))? {
        let owned = |key: &str| required(&block, key, &at).map(str::to_owned);
        let item = match (required(&block, "type", &at)?, role) {
            ("tool_result", "user") => {
                ContextItem::CallResult { call_id: owned("tool_use_id")?, output: output(&block, &at)? }
            }
            (_, "user") => {
                match (
                    input_part(&block, &at)?,
                    text_of(&block, "text").and_then(|text| text.strip_prefix(NOTE)),
                ) {
                    (_, Some(note)) => {
                        flush(&mut said, input);
                        input.push(ContextItem::Note { text: note.to_owned() });
                    }
                    (part, None) => said.push(part),
                }
                continue;
            }
            ("text", "assistant") => ContextItem::Assistant { text: owned("text")?, phase: None },
            ("tool_use", "assistant") => ContextItem::Call {
                call_id: owned("id")?,
                name: owned("name")?,
                arguments: block.get("input").unwrap_or(&Value::Null).to_string(),
            },
            ("thinking", "assistant") => ContextItem::Reasoning {
                provider_id: None,
                summary: vec![owned("thinking")?],
                encrypted: Some(Opaque::Signature(&owned("signature")?).to_encrypted()),
            },
            ("redacted_thinking", "assistant") => ContextItem::Reasoning {
                provider_id: None,
                summary: Vec::new(),
                encrypted: Some(Opaque::Redacted(&owned("data")?).to_encrypted()),
            },
            (_, "assistant") => {
                return Err(BadRequest::new(join(&at, "type"), "is not a kind of block this server knows"));
            }
            _ => return Err(BadRequest::new(join(&at, "role"), "is not a role")),
        };
        input.push(item);
    }
    flush(&mut said, input);
    Ok(())
}

/// What the user said so far becomes an item.
pub(in crate::codec) fn flush(said: &mut Vec<InputPart>, input: &mut Vec<ContextItem>) {
    if !said.is_empty() {
        input.push(ContextItem::User { content: std::mem::take(said) });
    }
}

/// The blocks of a content that is a string or a list, with their places.
fn contents(content: Option<&Value>, at: &str) -> Result<Vec<(Value, String)>, BadRequest> {
    match content {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![(json!({ "type": "text", "text": text }), at.to_owned())]),
        Some(Value::Array(blocks)) => {
            Ok(blocks.iter().cloned().zip((0..).map(|index| format!("{at}[{index}]"))).collect())
        }
        Some(_) => Err(BadRequest::new(at, "must be a string or a list")),
    }
}

fn input_part(block: &Value, at: &str) -> Result<InputPart, BadRequest> {
    match required(block, "type", at)? {
        "text" => Ok(InputPart::text(required(block, "text", at)?)),
        "image" => {
            let source = block.get("source").unwrap_or(&Value::Null);
            let at = join(at, "source");
            let image_url = match required(source, "type", &at)? {
                "url" => required(source, "url", &at)?.to_owned(),
                _ => format!(
                    "data:{};base64,{}",
                    required(source, "media_type", &at)?,
                    required(source, "data", &at)?
                ),
            };
            Ok(InputPart::Image { image_url })
        }
        _ => Err(BadRequest::new(join(at, "type"), "is not a kind of content this server knows")),
    }
}

fn output(block: &Value, at: &str) -> Result<FunctionOutput, BadRequest> {
    let blocks = contents(block.get("content"), &join(at, "content"))?;
    let parts: Vec<InputPart> =
        blocks.iter().map(|(block, at)| input_part(block, at)).collect::<Result<_, _>>()?;
    Ok(match &parts[..] {
        [] => FunctionOutput::Text(String::new()),
        [InputPart::Text { text }] => FunctionOutput::Text(text.clone()),
        _ => FunctionOutput::Content(parts),
    })
}

fn tools(tools: Option<&Value>) -> Result<Vec<ToolSpec>, BadRequest> {
    let tools = tools.and_then(Value::as_array).into_iter().flatten().enumerate();
    tools
        .map(|(index, tool)| {
            Ok(ToolSpec {
                name: required(tool, "name", &format!("tools[{index}]"))?.to_owned(),
                description: text_of(tool, "description").unwrap_or_default().to_owned(),
                parameters: tool.get("input_schema").cloned().unwrap_or(Value::Null),
            })
        })
        .collect()
}

/// The word for why an answer ended, which Converse shares.
pub(in crate::codec) fn stop_reason(answer: &ModelAnswer) -> &'static str {
    let calls = answer.items.iter().any(|item| matches!(item, AnswerItem::ToolCall { .. }));
    match answer.stop {
        Stop::Complete if calls => "tool_use",
        Stop::Complete => "end_turn",
        Stop::MaxOutputTokens => "max_tokens",
        Stop::ContentFilter => "refusal",
    }
}

/// The message object of a complete answer.
#[must_use]
pub fn encode_body(answer: &ModelAnswer, model: &str) -> Value {
    let mut body = envelope(answer, model);
    body["content"] = answer.items.iter().flat_map(whole_blocks).collect();
    body["stop_reason"] = json!(stop_reason(answer));
    body["usage"] = answer.usage.map_or(Value::Null, usage_value);
    body
}

fn envelope(answer: &ModelAnswer, model: &str) -> Value {
    let id = answer.response_id.as_deref().unwrap_or("msg_0");
    json!({
        "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 0, "output_tokens": 0 },
    })
}

/// The parsed arguments of a call: this format sends nothing else in a body.
pub(in crate::codec) fn input_of(arguments: &str) -> Value {
    serde_json::from_str(&super::super::arguments_text(arguments)).unwrap_or(Value::Null)
}

fn whole_blocks(item: &AnswerItem) -> Vec<Value> {
    match item {
        AnswerItem::Message { content } => {
            content.iter().map(|text| json!({ "type": "text", "text": text })).collect()
        }
        AnswerItem::Reasoning { summary, encrypted, .. } => {
            vec![thinking(&summary.join("\n"), encrypted.as_deref())]
        }
        AnswerItem::ToolCall { call_id, name, arguments } => {
            vec![json!({ "type": "tool_use", "id": call_id, "name": name, "input": input_of(arguments) })]
        }
    }
}

/// A block of thinking. A script's opaque text is nobody's signature, and serves as one.
fn thinking(text: &str, encrypted: Option<&str>) -> Value {
    let encrypted = encrypted.unwrap_or_default();
    match Opaque::of(encrypted) {
        Some(Opaque::Redacted(data) | Opaque::RedactedBytes(data)) => {
            json!({ "type": "redacted_thinking", "data": data })
        }
        Some(Opaque::Signature(signature)) => {
            json!({ "type": "thinking", "thinking": text, "signature": signature })
        }
        None => json!({ "type": "thinking", "thinking": text, "signature": encrypted }),
    }
}

/// The event stream of an answer, one token an event.
#[must_use]
pub fn encode_stream(answer: &ModelAnswer, model: &str) -> Vec<Frame> {
    let mut frames = Frames::default();
    frames.push("message_start", &json!({ "message": envelope(answer, model) }), false);
    for item in &answer.items {
        for block in whole_blocks(item) {
            frames.block(&block, item);
        }
    }
    let usage = answer.usage.map_or(Value::Null, usage_value);
    let delta = json!({ "stop_reason": stop_reason(answer), "stop_sequence": null });
    frames.push("message_delta", &json!({ "delta": delta, "usage": usage }), false);
    frames.push("message_stop", &json!({}), false);
    frames.frames
}

#[derive(Default)]
struct Frames {
    frames: Vec<Frame>,
    blocks: u64,
}

impl Frames {
    fn push(&mut self, event: &str, members: &Value, is_token: bool) {
        let mut data = json!({ "type": event });
        for (key, value) in members.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        self.frames.push(Frame { bytes: format!("event: {event}\ndata: {data}\n\n").into_bytes(), is_token });
    }

    fn block(&mut self, block: &Value, item: &AnswerItem) {
        let index = self.blocks;
        self.blocks += 1;
        let mut begun = block.clone();
        for key in ["text", "thinking", "signature"] {
            if begun.get(key).is_some() {
                begun[key] = json!("");
            }
        }
        if begun.get("input").is_some() {
            begun["input"] = json!({});
        }
        self.push("content_block_start", &json!({ "index": index, "content_block": begun }), false);
        let mut delta = |delta: Value, is_token| {
            self.push("content_block_delta", &json!({ "index": index, "delta": delta }), is_token);
        };
        match item {
            AnswerItem::ToolCall { arguments, .. } => {
                for part in fragments(arguments) {
                    delta(json!({ "type": "input_json_delta", "partial_json": part }), true);
                }
            }
            AnswerItem::Message { .. } => {
                for part in fragments(text_of(block, "text").unwrap_or_default()) {
                    delta(json!({ "type": "text_delta", "text": part }), true);
                }
            }
            AnswerItem::Reasoning { .. } => {
                for part in fragments(text_of(block, "thinking").unwrap_or_default()) {
                    delta(json!({ "type": "thinking_delta", "thinking": part }), true);
                }
                if let Some(signature) = text_of(block, "signature") {
                    delta(json!({ "type": "signature_delta", "signature": signature }), false);
                }
            }
        }
        self.push("content_block_stop", &json!({ "index": index }), false);
    }
}
