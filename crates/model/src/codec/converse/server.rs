//! The other side of Converse, for servers that stand in for a provider.

use serde_json::{Value, json};
use tenure_journal::{
    AnswerItem, ContextItem, FunctionOutput, InputPart, ModelAnswer, ModelRequest, ServiceTier, ToolSpec,
};

use super::super::anthropic::server::{flush, input_of, stop_reason};
use super::super::server::{BadRequest, Frame, join, reasoning, required, text, text_config};
use super::super::turns::{NOTE, Opaque};
use super::super::{fragments, text_of};
use super::NO_OUTPUT;
use super::stream::usage_value;
use crate::eventstream;

/// Reads a request to `model`, which stands in the address.
///
/// # Errors
/// What this server cannot read, by its place in `body`. It is lenient beyond that: validation is another
/// thing's job.
pub fn decode_request(model: &str, body: &Value) -> Result<ModelRequest, BadRequest> {
    let Some(messages) = body.get("messages").and_then(Value::as_array) else {
        return Err(BadRequest::new("messages", "must be a list"));
    };
    let mut input = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        read_message(message, &format!("messages[{index}]"), &mut input)?;
    }
    let system: Vec<InputPart> = blocks(body.get("system"), "system")?
        .into_iter()
        .filter_map(|(block, _)| text_of(block, "text"))
        .map(InputPart::text)
        .collect();
    let extra = body.get("additionalModelRequestFields").unwrap_or(&Value::Null);
    let off = json!("none");
    let thinks = extra.pointer("/thinking/type").and_then(Value::as_str) != Some("disabled");
    let schema = body.pointer("/outputConfig/textFormat/structure/jsonSchema").map(|format| {
        let mut format = format.clone();
        let written = text_of(&format, "schema").and_then(|text| serde_json::from_str(text).ok());
        format["schema"] = written.unwrap_or(Value::Null);
        format
    });
    let ttl = body.pointer("/system/1/cachePoint/ttl").and_then(Value::as_str);
    Ok(ModelRequest {
        model: model.to_owned(),
        instructions: Some(text(&system)).filter(|text| !text.is_empty()),
        input,
        tools: tools(body.pointer("/toolConfig/tools"))?,
        reasoning: reasoning(if thinks { extra.pointer("/output_config/effort") } else { Some(&off) }, None),
        text: text_config(schema.as_ref(), None),
        service_tier: ServiceTier::Auto,
        cache_key: String::new(),
        cache_ttl: ttl.map(|_| "12h".to_owned()),
        output_tokens_max: body.pointer("/inferenceConfig/maxTokens").and_then(Value::as_u64),
    })
}

fn read_message(message: &Value, at: &str, input: &mut Vec<ContextItem>) -> Result<(), BadRequest> {
    let role = required(message, "role", at)?;
    if !["user", "assistant"].contains(&role) {
        return Err(BadRequest::new(join(at, "role"), "is not a role"));
    }
    let mut said = Vec::new();
    for (block, at) in blocks(message.get("content"), &join(at, "content"))? {
        if block.get("cachePoint").is_some() {
            continue;
        }
        if let Some(result) = block.get("toolResult") {
            input.push(ContextItem::CallResult {
                call_id: required(result, "toolUseId", &at)?.to_owned(),
                output: output(result, &at)?,
            });
        } else if let Some(call) = block.get("toolUse") {
            input.push(ContextItem::Call {
                call_id: required(call, "toolUseId", &at)?.to_owned(),
                name: required(call, "name", &at)?.to_owned(),
                arguments: call.get("input").unwrap_or(&Value::Null).to_string(),
            });
        } else if let Some(reasoning) = block.get("reasoningContent") {
            input.push(thinking(reasoning, &at)?);
        } else if role == "assistant" {
            input
                .push(ContextItem::Assistant { text: required(block, "text", &at)?.to_owned(), phase: None });
        } else if let Some(note) = text_of(block, "text").and_then(|text| text.strip_prefix(NOTE)) {
            flush(&mut said, input);
            input.push(ContextItem::Note { text: note.to_owned() });
        } else {
            said.push(part(block, &at)?);
        }
    }
    flush(&mut said, input);
    Ok(())
}

fn thinking(reasoning: &Value, at: &str) -> Result<ContextItem, BadRequest> {
    let (summary, opaque) = match text_of(reasoning, "redactedContent") {
        Some(bytes) => (Vec::new(), Opaque::RedactedBytes(bytes)),
        None => {
            let at = join(at, "reasoningText");
            let text = reasoning.get("reasoningText").unwrap_or(&Value::Null);
            let shown = required(text, "text", &at)?.to_owned();
            (vec![shown], Opaque::Signature(required(text, "signature", &at)?))
        }
    };
    Ok(ContextItem::Reasoning { provider_id: None, summary, encrypted: Some(opaque.to_encrypted()) })
}

fn blocks<'v>(content: Option<&'v Value>, at: &str) -> Result<Vec<(&'v Value, String)>, BadRequest> {
    match content {
        None => Ok(Vec::new()),
        Some(Value::Array(blocks)) => {
            Ok(blocks.iter().zip((0..).map(|index| format!("{at}[{index}]"))).collect())
        }
        Some(_) => Err(BadRequest::new(at, "must be a list")),
    }
}

fn part(block: &Value, at: &str) -> Result<InputPart, BadRequest> {
    match block.get("image") {
        Some(image) => {
            let at = join(at, "image");
            let format = required(image, "format", &at)?;
            let bytes = required(image.get("source").unwrap_or(&Value::Null), "bytes", &at)?;
            Ok(InputPart::Image { image_url: format!("data:image/{format};base64,{bytes}") })
        }
        None => Ok(InputPart::text(required(block, "text", at)?)),
    }
}

fn output(result: &Value, at: &str) -> Result<FunctionOutput, BadRequest> {
    let parts: Vec<InputPart> = blocks(result.get("content"), &join(at, "content"))?
        .into_iter()
        .map(|(block, at)| part(block, &at))
        .collect::<Result<_, _>>()?;
    Ok(match &parts[..] {
        [InputPart::Text { text }] if text == NO_OUTPUT => FunctionOutput::Text(String::new()),
        [InputPart::Text { text }] => FunctionOutput::Text(text.clone()),
        _ => FunctionOutput::Content(parts),
    })
}

fn tools(tools: Option<&Value>) -> Result<Vec<ToolSpec>, BadRequest> {
    let tools = tools.and_then(Value::as_array).into_iter().flatten().enumerate();
    tools
        .map(|(index, tool)| {
            let spec = tool.get("toolSpec").unwrap_or(&Value::Null);
            Ok(ToolSpec {
                name: required(spec, "name", &format!("toolConfig.tools[{index}].toolSpec"))?.to_owned(),
                description: text_of(spec, "description").unwrap_or_default().to_owned(),
                parameters: spec.pointer("/inputSchema/json").cloned().unwrap_or(Value::Null),
            })
        })
        .collect()
}

/// The body of a complete answer.
#[must_use]
pub fn encode_body(answer: &ModelAnswer) -> Value {
    let content: Vec<_> = answer.items.iter().flat_map(whole_blocks).collect();
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": word(answer),
        "usage": answer.usage.map_or(Value::Null, usage_value),
        "metrics": { "latencyMs": 0 },
    })
}

/// As Anthropic says it, but for what was withheld.
fn word(answer: &ModelAnswer) -> &'static str {
    match stop_reason(answer) {
        "refusal" => "content_filtered",
        word => word,
    }
}

fn whole_blocks(item: &AnswerItem) -> Vec<Value> {
    match item {
        AnswerItem::Message { content } => content.iter().map(|text| json!({ "text": text })).collect(),
        AnswerItem::Reasoning { summary, encrypted, .. } => {
            let mut text = json!({ "text": summary.join("\n") });
            let encrypted = encrypted.as_deref().unwrap_or_default();
            match Opaque::of(encrypted) {
                Some(Opaque::Redacted(bytes) | Opaque::RedactedBytes(bytes)) => {
                    return vec![json!({ "reasoningContent": { "redactedContent": bytes } })];
                }
                Some(Opaque::Signature(signature)) => text["signature"] = json!(signature),
                None => text["signature"] = json!(encrypted),
            }
            vec![json!({ "reasoningContent": { "reasoningText": text } })]
        }
        AnswerItem::ToolCall { call_id, name, arguments } => {
            let call = json!({ "toolUseId": call_id, "name": name, "input": input_of(arguments) });
            vec![json!({ "toolUse": call })]
        }
    }
}

/// The event stream of an answer, one token an event.
#[must_use]
pub fn encode_stream(answer: &ModelAnswer) -> Vec<Frame> {
    let mut frames = Frames::default();
    frames.push("messageStart", &json!({ "role": "assistant" }), false);
    for item in &answer.items {
        for block in whole_blocks(item) {
            frames.block(&block, item);
        }
    }
    frames.push("messageStop", &json!({ "stopReason": word(answer) }), false);
    let usage = answer.usage.map_or(Value::Null, usage_value);
    frames.push("metadata", &json!({ "usage": usage, "metrics": { "latencyMs": 0 } }), false);
    frames.frames
}

#[derive(Default)]
struct Frames {
    frames: Vec<Frame>,
    blocks: u64,
}

impl Frames {
    fn push(&mut self, event: &str, data: &Value, is_token: bool) {
        let headers =
            [(":message-type", "event"), (":event-type", event), (":content-type", "application/json")];
        let bytes = eventstream::encode(&headers, data.to_string().as_bytes());
        self.frames.push(Frame { bytes, is_token });
    }

    fn block(&mut self, block: &Value, item: &AnswerItem) {
        let index = self.blocks;
        self.blocks += 1;
        let place = |key: &str, value: Value| {
            let mut data = json!({ "contentBlockIndex": index });
            data[key] = value;
            data
        };
        match item {
            AnswerItem::ToolCall { call_id, name, arguments } => {
                let start = json!({ "toolUse": { "toolUseId": call_id, "name": name } });
                self.push("contentBlockStart", &place("start", start), false);
                for part in fragments(arguments) {
                    let delta = json!({ "toolUse": { "input": part } });
                    self.push("contentBlockDelta", &place("delta", delta), true);
                }
            }
            AnswerItem::Message { .. } => {
                for part in fragments(text_of(block, "text").unwrap_or_default()) {
                    self.push("contentBlockDelta", &place("delta", json!({ "text": part })), true);
                }
            }
            AnswerItem::Reasoning { .. } => self.thinking(block, &place),
        }
        self.push("contentBlockStop", &json!({ "contentBlockIndex": index }), false);
    }

    fn thinking(&mut self, block: &Value, place: &dyn Fn(&str, Value) -> Value) {
        let content = block.get("reasoningContent").unwrap_or(&Value::Null);
        let mut delta = |part: Value, is_token| {
            let delta = json!({ "reasoningContent": part });
            self.push("contentBlockDelta", &place("delta", delta), is_token);
        };
        if let Some(bytes) = text_of(content, "redactedContent") {
            return delta(json!({ "redactedContent": bytes }), false);
        }
        let text = content.get("reasoningText").unwrap_or(&Value::Null);
        for part in fragments(text_of(text, "text").unwrap_or_default()) {
            delta(json!({ "text": part }), true);
        }
        if let Some(signature) = text_of(text, "signature") {
            delta(json!({ "signature": signature }), false);
        }
    }
}
