//! The other side of the Responses API, for servers that stand in for a provider.

use serde_json::{Value, json};
use tenure_journal::{AnswerItem, ContextItem, ModelAnswer, ModelRequest, Phase, Stop, ToolSpec, Usage};

use super::super::server::{BadRequest, Frame, output, parts, reasoning, required, text, text_config, tier};
use super::super::{fragments, text_of};

/// Reads a request.
///
/// # Errors
/// What this server cannot read, by its place in `body`. It is lenient beyond that: validation is another
/// thing's job.
pub fn decode_request(body: &Value) -> Result<ModelRequest, BadRequest> {
    let input = match body.get("input") {
        Some(Value::String(text)) => {
            vec![ContextItem::User { content: vec![tenure_journal::InputPart::text(text)] }]
        }
        Some(Value::Array(items)) => {
            let each = items.iter().enumerate();
            each.map(|(index, item)| context_item(item, &format!("input[{index}]")))
                .collect::<Result<_, _>>()?
        }
        _ => return Err(BadRequest::new("input", "must be a string or a list")),
    };
    let format = body.pointer("/text/format");
    let schema = format.filter(|format| text_of(format, "type") == Some("json_schema"));
    Ok(ModelRequest {
        model: required(body, "model", "")?.to_owned(),
        instructions: text_of(body, "instructions").map(str::to_owned),
        input,
        tools: tools(body.get("tools"))?,
        reasoning: reasoning(body.pointer("/reasoning/effort"), body.pointer("/reasoning/summary")),
        text: text_config(schema, body.pointer("/text/verbosity")),
        service_tier: tier(body),
        cache_key: text_of(body, "prompt_cache_key").unwrap_or_default().to_owned(),
        cache_ttl: body.pointer("/prompt_cache_options/ttl").and_then(Value::as_str).map(str::to_owned),
        output_tokens_max: body.get("max_output_tokens").and_then(Value::as_u64),
    })
}

fn context_item(item: &Value, at: &str) -> Result<ContextItem, BadRequest> {
    let owned = |key: &str| required(item, key, at).map(str::to_owned);
    match text_of(item, "type").unwrap_or("message") {
        "message" => {
            let content = parts(item.get("content"), &format!("{at}.content"))?;
            match required(item, "role", at)? {
                "user" => Ok(ContextItem::User { content }),
                "assistant" => Ok(ContextItem::Assistant { text: text(&content), phase: phase(item, at)? }),
                "system" | "developer" => Ok(ContextItem::Note { text: text(&content) }),
                _ => Err(BadRequest::new(format!("{at}.role"), "is not a role")),
            }
        }
        "reasoning" => Ok(ContextItem::Reasoning {
            provider_id: text_of(item, "id").map(str::to_owned),
            summary: item
                .get("summary")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|part| text_of(part, "text"))
                .map(str::to_owned)
                .collect(),
            encrypted: text_of(item, "encrypted_content").map(str::to_owned),
        }),
        "function_call" => Ok(ContextItem::Call {
            call_id: owned("call_id")?,
            name: owned("name")?,
            arguments: owned("arguments")?,
        }),
        "function_call_output" => Ok(ContextItem::CallResult {
            call_id: owned("call_id")?,
            output: output(item.get("output"), &format!("{at}.output"))?,
        }),
        _ => Err(BadRequest::new(format!("{at}.type"), "is not a kind of item this server knows")),
    }
}

fn phase(item: &Value, at: &str) -> Result<Option<Phase>, BadRequest> {
    match text_of(item, "phase") {
        None => Ok(None),
        Some("commentary") => Ok(Some(Phase::Commentary)),
        Some("final_answer") => Ok(Some(Phase::FinalAnswer)),
        Some(_) => Err(BadRequest::new(format!("{at}.phase"), "is not a phase")),
    }
}

fn tools(tools: Option<&Value>) -> Result<Vec<ToolSpec>, BadRequest> {
    let tools = tools.and_then(Value::as_array).into_iter().flatten().enumerate();
    tools
        .map(|(index, tool)| {
            Ok(ToolSpec {
                name: required(tool, "name", &format!("tools[{index}]"))?.to_owned(),
                description: text_of(tool, "description").unwrap_or_default().to_owned(),
                parameters: tool.get("parameters").cloned().unwrap_or(Value::Null),
            })
        })
        .collect()
}

/// The response object of a complete answer.
#[must_use]
pub fn encode_body(answer: &ModelAnswer, model: &str) -> Value {
    let output: Vec<_> =
        answer.items.iter().enumerate().map(|(index, item)| item_value(item, index)).collect();
    let mut body = response(answer, model, &output);
    let (status, details) = match answer.stop {
        Stop::Complete => ("completed", Value::Null),
        Stop::MaxOutputTokens => ("incomplete", json!({ "reason": "max_output_tokens" })),
        Stop::ContentFilter => ("incomplete", json!({ "reason": "content_filter" })),
    };
    body["status"] = json!(status);
    body["incomplete_details"] = details;
    body["usage"] = answer.usage.map_or(Value::Null, usage_value);
    body
}

fn response(answer: &ModelAnswer, model: &str, output: &[Value]) -> Value {
    json!({
        "id": answer.response_id.as_deref().unwrap_or("resp_0"),
        "object": "response",
        "created_at": 0,
        "status": "in_progress",
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": true,
        "temperature": null,
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "usage": null,
    })
}

fn usage_value(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
        "total_tokens": usage.total_tokens(),
    })
}

fn item_id(item: &AnswerItem, index: usize) -> String {
    match item {
        AnswerItem::Message { .. } => format!("msg_{index}"),
        AnswerItem::Reasoning { provider_id, .. } => {
            provider_id.clone().unwrap_or_else(|| format!("rs_{index}"))
        }
        AnswerItem::ToolCall { .. } => format!("fc_{index}"),
    }
}

fn item_value(item: &AnswerItem, index: usize) -> Value {
    let id = item_id(item, index);
    match item {
        AnswerItem::Message { content } => {
            let content: Vec<_> = content.iter().map(|text| text_part(text)).collect();
            json!({ "type": "message", "id": id, "role": "assistant", "status": "completed", "content": content })
        }
        AnswerItem::Reasoning { summary, encrypted, .. } => {
            let summary: Vec<_> = summary.iter().map(|text| summary_part(text)).collect();
            json!({ "type": "reasoning", "id": id, "summary": summary, "encrypted_content": encrypted })
        }
        AnswerItem::ToolCall { call_id, name, arguments } => json!({
            "type": "function_call", "id": id, "call_id": call_id, "name": name,
            "arguments": arguments, "status": "completed",
        }),
    }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

fn summary_part(text: &str) -> Value {
    json!({ "type": "summary_text", "text": text })
}

/// The event stream of an answer, one token an event.
#[must_use]
pub fn encode_stream(answer: &ModelAnswer, model: &str) -> Vec<Frame> {
    let mut frames = Frames::default();
    let begun = response(answer, model, &[]);
    frames.push("response.created", json!({ "response": begun }));
    frames.push("response.in_progress", json!({ "response": begun }));
    for (index, item) in answer.items.iter().enumerate() {
        frames.item(item, index);
    }
    let event = match answer.stop {
        Stop::Complete => "response.completed",
        Stop::MaxOutputTokens | Stop::ContentFilter => "response.incomplete",
    };
    frames.push(event, json!({ "response": encode_body(answer, model) }));
    frames.frames
}

#[derive(Default)]
struct Frames {
    frames: Vec<Frame>,
}

impl Frames {
    fn push(&mut self, event: &str, mut data: Value) {
        data["type"] = json!(event);
        data["sequence_number"] = json!(self.frames.len());
        self.frames.push(Frame {
            bytes: format!("event: {event}\ndata: {data}\n\n").into_bytes(),
            is_token: event.ends_with(".delta"),
        });
    }

    fn item(&mut self, item: &AnswerItem, index: usize) {
        let id = item_id(item, index);
        let mut begun = item_value(item, index);
        match item {
            AnswerItem::Message { content } => {
                begun["status"] = json!("in_progress");
                begun["content"] = json!([]);
                self.push("response.output_item.added", json!({ "output_index": index, "item": begun }));
                for (part, text) in content.iter().enumerate() {
                    self.message_part(&id, index, part, text);
                }
            }
            AnswerItem::Reasoning { summary, .. } => {
                begun["summary"] = json!([]);
                self.push("response.output_item.added", json!({ "output_index": index, "item": begun }));
                for (part, text) in summary.iter().enumerate() {
                    self.summary_part(&id, index, part, text);
                }
            }
            AnswerItem::ToolCall { arguments, .. } => {
                begun["status"] = json!("in_progress");
                begun["arguments"] = json!("");
                self.push("response.output_item.added", json!({ "output_index": index, "item": begun }));
                let place = json!({ "output_index": index, "item_id": id });
                for delta in fragments(arguments) {
                    let event = "response.function_call_arguments.delta";
                    self.push(event, with(&place, "delta", json!(delta)));
                }
                let event = "response.function_call_arguments.done";
                self.push(event, with(&place, "arguments", json!(arguments)));
            }
        }
        let done = json!({ "output_index": index, "item": item_value(item, index) });
        self.push("response.output_item.done", done);
    }

    fn message_part(&mut self, id: &str, index: usize, part: usize, text: &str) {
        let place = json!({ "output_index": index, "item_id": id, "content_index": part });
        self.push("response.content_part.added", with(&place, "part", text_part("")));
        for delta in fragments(text) {
            self.push("response.output_text.delta", with(&place, "delta", json!(delta)));
        }
        self.push("response.output_text.done", with(&place, "text", json!(text)));
        self.push("response.content_part.done", with(&place, "part", text_part(text)));
    }

    fn summary_part(&mut self, id: &str, index: usize, part: usize, text: &str) {
        let place = json!({ "output_index": index, "item_id": id, "summary_index": part });
        self.push("response.reasoning_summary_part.added", with(&place, "part", summary_part("")));
        for delta in fragments(text) {
            self.push("response.reasoning_summary_text.delta", with(&place, "delta", json!(delta)));
        }
        self.push("response.reasoning_summary_text.done", with(&place, "text", json!(text)));
        self.push("response.reasoning_summary_part.done", with(&place, "part", summary_part(text)));
    }
}

fn with(place: &Value, key: &str, value: Value) -> Value {
    let mut event = place.clone();
    event[key] = value;
    event
}
