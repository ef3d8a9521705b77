//! The other side of Chat Completions, for servers that stand in for a provider.

use serde_json::{Value, json};
use tenure_journal::{AnswerItem, ContextItem, ModelAnswer, ModelRequest, Stop, ToolSpec, Usage};

use super::super::server::{BadRequest, Frame, output, parts, reasoning, required, text, text_config, tier};
use super::super::{fragments, text_of};

/// Reads a request. The first message, if it is the system's, is the instructions.
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
    let first_is_system = messages.first().and_then(|first| text_of(first, "role")) == Some("system");
    let instructions = match input.first() {
        Some(ContextItem::Note { text }) if first_is_system => Some(text.clone()),
        _ => None,
    };
    if instructions.is_some() {
        input.remove(0);
    }
    Ok(ModelRequest {
        model: required(body, "model", "")?.to_owned(),
        instructions,
        input,
        tools: tools(body.get("tools"))?,
        reasoning: reasoning(body.get("reasoning_effort"), None),
        text: text_config(body.pointer("/response_format/json_schema"), body.get("verbosity")),
        service_tier: tier(body),
        cache_key: text_of(body, "prompt_cache_key").unwrap_or_default().to_owned(),
        cache_ttl: None,
        output_tokens_max: body.get("max_completion_tokens").and_then(Value::as_u64),
    })
}

fn read_message(message: &Value, at: &str, input: &mut Vec<ContextItem>) -> Result<(), BadRequest> {
    let content_at = format!("{at}.content");
    match required(message, "role", at)? {
        "user" => input.push(ContextItem::User { content: parts(message.get("content"), &content_at)? }),
        "system" | "developer" => {
            let text = text(&parts(message.get("content"), &content_at)?);
            input.push(ContextItem::Note { text });
        }
        "assistant" => {
            let text = text(&parts(message.get("content"), &content_at)?);
            if !text.is_empty() {
                input.push(ContextItem::Assistant { text, phase: None });
            }
            let calls = message.get("tool_calls").and_then(Value::as_array);
            for (index, call) in calls.into_iter().flatten().enumerate() {
                input.push(read_call(call, &format!("{at}.tool_calls[{index}]"))?);
            }
        }
        "tool" => input.push(ContextItem::CallResult {
            call_id: required(message, "tool_call_id", at)?.to_owned(),
            output: output(message.get("content"), &content_at)?,
        }),
        _ => return Err(BadRequest::new(format!("{at}.role"), "is not a role")),
    }
    Ok(())
}

fn read_call(call: &Value, at: &str) -> Result<ContextItem, BadRequest> {
    let function = call.get("function").unwrap_or(&Value::Null);
    let function_at = format!("{at}.function");
    Ok(ContextItem::Call {
        call_id: required(call, "id", at)?.to_owned(),
        name: required(function, "name", &function_at)?.to_owned(),
        arguments: required(function, "arguments", &function_at)?.to_owned(),
    })
}

fn tools(tools: Option<&Value>) -> Result<Vec<ToolSpec>, BadRequest> {
    let tools = tools.and_then(Value::as_array).into_iter().flatten().enumerate();
    tools
        .map(|(index, tool)| {
            let function = tool.get("function").unwrap_or(&Value::Null);
            Ok(ToolSpec {
                name: required(function, "name", &format!("tools[{index}].function"))?.to_owned(),
                description: text_of(function, "description").unwrap_or_default().to_owned(),
                parameters: function.get("parameters").cloned().unwrap_or(Value::Null),
            })
        })
        .collect()
}

fn finish_reason(answer: &ModelAnswer) -> &'static str {
    let calls = answer.items.iter().any(|item| matches!(item, AnswerItem::ToolCall { .. }));
    match answer.stop {
        Stop::Complete if calls => "tool_calls",
        Stop::Complete => "stop",
        Stop::MaxOutputTokens => "length",
        Stop::ContentFilter => "content_filter",
    }
}

fn usage_value(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
        "completion_tokens": usage.output_tokens,
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
        "total_tokens": usage.total_tokens(),
    })
}

fn envelope(answer: &ModelAnswer, model: &str, object: &str) -> Value {
    let id = answer.response_id.as_deref().unwrap_or("chatcmpl_0");
    json!({ "id": id, "object": object, "created": 0, "model": model })
}

/// The completion object of a complete answer.
#[must_use]
pub fn encode_body(answer: &ModelAnswer, model: &str) -> Value {
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
    let (mut texts, mut thoughts, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for item in &answer.items {
        match item {
            AnswerItem::Message { content } => texts.push(content.join("")),
            AnswerItem::Reasoning { summary, .. } => thoughts.push(summary.join("\n")),
            AnswerItem::ToolCall { call_id, name, arguments } => {
                let function = json!({ "name": name, "arguments": arguments });
                calls.push(json!({ "id": call_id, "type": "function", "function": function }));
            }
        }
    }
    if !texts.is_empty() {
        message["content"] = texts.join("\n\n").into();
    }
    if !thoughts.is_empty() {
        message["reasoning_content"] = thoughts.join("\n").into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let mut body = envelope(answer, model, "chat.completion");
    body["choices"] =
        json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(answer) }]);
    body["usage"] = answer.usage.map_or(Value::Null, usage_value);
    body
}

/// The event stream of an answer, one token an event.
#[must_use]
pub fn encode_stream(answer: &ModelAnswer, model: &str) -> Vec<Frame> {
    let mut frames = Frames { head: envelope(answer, model, "chat.completion.chunk"), frames: Vec::new() };
    frames.delta(&json!({ "role": "assistant", "content": "" }), false);
    let mut calls = 0;
    for item in &answer.items {
        match item {
            AnswerItem::Message { content } => {
                for delta in content.iter().flat_map(|text| fragments(text)) {
                    frames.delta(&json!({ "content": delta }), true);
                }
            }
            AnswerItem::Reasoning { summary, .. } => {
                for delta in summary.iter().flat_map(|text| fragments(text)) {
                    frames.delta(&json!({ "reasoning_content": delta }), true);
                }
            }
            AnswerItem::ToolCall { call_id, name, arguments } => {
                let function = json!({ "name": name, "arguments": "" });
                let begun =
                    json!({ "index": calls, "id": call_id, "type": "function", "function": function });
                frames.delta(&json!({ "tool_calls": [begun] }), false);
                for delta in fragments(arguments) {
                    let more = json!({ "index": calls, "function": { "arguments": delta } });
                    frames.delta(&json!({ "tool_calls": [more] }), true);
                }
                calls += 1;
            }
        }
    }
    frames.end(answer);
    frames.frames
}

struct Frames {
    head: Value,
    frames: Vec<Frame>,
}

impl Frames {
    fn push(&mut self, choices: Value, usage: Option<Value>, is_token: bool) {
        let mut chunk = self.head.clone();
        chunk["choices"] = choices;
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        self.frames.push(Frame { bytes: format!("data: {chunk}\n\n").into_bytes(), is_token });
    }

    fn delta(&mut self, delta: &Value, is_token: bool) {
        self.push(json!([{ "index": 0, "delta": delta, "finish_reason": null }]), None, is_token);
    }

    fn end(&mut self, answer: &ModelAnswer) {
        let reason = finish_reason(answer);
        self.push(json!([{ "index": 0, "delta": {}, "finish_reason": reason }]), None, false);
        if let Some(usage) = answer.usage {
            self.push(json!([]), Some(usage_value(usage)), false);
        }
        self.frames.push(Frame { bytes: b"data: [DONE]\n\n".to_vec(), is_token: false });
    }
}
