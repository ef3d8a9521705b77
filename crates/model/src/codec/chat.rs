//! Chat Completions, as OpenAI and most other servers and gateways speak it.
//!
//! The format is poorer than the context. Reasoning has no place in it and is left out. Notes are system
//! messages, because few servers know the developer role. What a model said in one step, texts and calls,
//! becomes one assistant message, so that every call is followed by its `tool` message. Tool messages hold
//! text only, so images in results follow in a user message. Cache hints are left out: servers that know
//! them speak the Responses API too, and others refuse members they do not know.

use serde_json::{Map, Value, json};
use tenure_journal::{
    ContextItem, FunctionOutput, InputPart, ModelRequest, ServiceTier, ToolSpec, Verbosity,
};

use super::responses::json_schema;
use super::{arguments_text, solid};

pub mod server;
mod stream;

pub use stream::StreamDecoder;

/// Stands in a tool message whose result is an image only.
const IMAGE_FOLLOWS: &str = "The result is the image in the next message.";

/// The body of a streaming request.
#[must_use]
pub fn encode(request: &ModelRequest) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("stream".into(), json!(true));
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    if let Some(most) = request.output_tokens_max {
        body.insert("max_completion_tokens".into(), json!(most));
    }
    body.insert("messages".into(), messages(request));
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
    }
    if let Some(effort) = request.reasoning.effort {
        body.insert("reasoning_effort".into(), json!(effort));
    }
    if let Some(schema) = json_schema(&request.text.format) {
        body.insert("response_format".into(), json!({ "type": "json_schema", "json_schema": schema }));
    }
    if request.text.verbosity != Verbosity::Medium {
        body.insert("verbosity".into(), json!(request.text.verbosity));
    }
    if request.service_tier != ServiceTier::Auto {
        body.insert("service_tier".into(), json!(request.service_tier));
    }
    body.into()
}

fn messages(request: &ModelRequest) -> Value {
    let mut messages = Messages::default();
    if let Some(instructions) = request.instructions.as_deref().filter(|text| !text.is_empty()) {
        messages.push(json!({ "role": "system", "content": instructions }));
    }
    for item in &request.input {
        match item {
            ContextItem::User { content } => {
                if solid(content).next().is_some() {
                    messages.push(json!({ "role": "user", "content": user_content(content) }));
                }
            }
            ContextItem::Note { text } => {
                if !text.is_empty() {
                    messages.push(json!({ "role": "system", "content": text }));
                }
            }
            ContextItem::Reasoning { .. } => {}
            // Chat Completions has no word for the phase.
            ContextItem::Assistant { text, phase: _ } => messages.say(text),
            ContextItem::Call { call_id, name, arguments } => messages.call(call_id, name, arguments),
            ContextItem::CallResult { call_id, output } => messages.result(call_id, output),
        }
    }
    messages.close_step();
    messages.close_results();
    messages.done.into()
}

/// The messages so far, and the step that is still open.
#[derive(Default)]
struct Messages {
    done: Vec<Value>,
    texts: Vec<String>,
    calls: Vec<Value>,
    images: Vec<Value>,
}

impl Messages {
    fn push(&mut self, message: Value) {
        self.close_step();
        self.close_results();
        self.done.push(message);
    }

    fn say(&mut self, text: &str) {
        self.close_results();
        if !text.is_empty() {
            self.texts.push(text.to_owned());
        }
    }

    fn call(&mut self, call_id: &str, name: &str, arguments: &str) {
        self.close_results();
        let function = json!({ "name": name, "arguments": arguments_text(arguments) });
        self.calls.push(json!({ "id": call_id, "type": "function", "function": function }));
    }

    fn result(&mut self, call_id: &str, output: &FunctionOutput) {
        self.close_step();
        let content = match output {
            FunctionOutput::Text(text) => text.clone(),
            FunctionOutput::Content(parts) => self.result_text(call_id, parts),
        };
        self.done.push(json!({ "role": "tool", "tool_call_id": call_id, "content": content }));
    }

    /// The text of a result; its images wait until all results of the step are written.
    fn result_text(&mut self, call_id: &str, parts: &[InputPart]) -> String {
        let mut texts = Vec::new();
        let mut images = Vec::new();
        for part in solid(parts) {
            match part {
                InputPart::Text { text } => texts.push(text.as_str()),
                InputPart::Image { image_url } => images.push(image_part(image_url)),
            }
        }
        if !images.is_empty() {
            self.images.push(text_part(&format!("Images in the result of call {call_id}:")));
            self.images.append(&mut images);
            if texts.is_empty() {
                return IMAGE_FOLLOWS.to_owned();
            }
        }
        texts.join("\n")
    }

    fn close_step(&mut self) {
        let texts = std::mem::take(&mut self.texts);
        let calls = std::mem::take(&mut self.calls);
        if texts.is_empty() && calls.is_empty() {
            return;
        }
        let content = if texts.is_empty() { Value::Null } else { texts.join("\n\n").into() };
        let mut message = json!({ "role": "assistant", "content": content });
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        self.done.push(message);
    }

    fn close_results(&mut self) {
        if !self.images.is_empty() {
            let images = std::mem::take(&mut self.images);
            self.done.push(json!({ "role": "user", "content": images }));
        }
    }
}

/// One text as a string, which every server reads; otherwise a list.
fn user_content(content: &[InputPart]) -> Value {
    let parts: Vec<_> = solid(content).collect();
    match parts[..] {
        [InputPart::Text { text }] => json!(text),
        _ => parts
            .into_iter()
            .map(|part| match part {
                InputPart::Text { text } => text_part(text),
                InputPart::Image { image_url } => image_part(image_url),
            })
            .collect(),
    }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn image_part(image_url: &str) -> Value {
    json!({ "type": "image_url", "image_url": { "url": image_url } })
}

fn tool(tool: &ToolSpec) -> Value {
    let function =
        json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
    json!({ "type": "function", "function": function })
}
