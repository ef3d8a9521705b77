//! Reads the chunks of a chat completion.
//!
//! Servers differ more here than the format admits. Read as well: thinking under `reasoning_content` or
//! `reasoning`, content as a list of parts, calls without an index or all with the same one, and streams
//! that end without `[DONE]`.

use serde_json::Value;
use tenure_journal::{AnswerItem, Failure, FailureKind, ModelAnswer, Stop, Usage};

use super::super::answer::{AnswerBuilder, PartKey, PartKind};
use super::super::{parse, text_of, torn, usage};
use crate::failure::ErrorBody;
use crate::{Delta, failure, sse};

/// The decoder; see [`crate::codec::StreamDecoder`] for its states. Token counts arrive after the reason
/// to stop, so a stream has ended for good only with `[DONE]`.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    answer: AnswerBuilder,
    reasoning: Option<usize>,
    message: Option<usize>,
    calls: Vec<Call>,
    stop: Option<Stop>,
    usage: Option<Usage>,
    response_id: Option<String>,
    done: bool,
}

/// Where a call is in the answer.
#[derive(Debug)]
struct Call {
    number: Option<u64>,
    id: String,
    at: usize,
}

impl StreamDecoder {
    pub(in crate::codec) fn feed(&mut self, event: &sse::Event) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        if self.done {
            return Ok(out);
        }
        if event.data.trim() == "[DONE]" {
            // Without a reason to stop, only what was said vouches for the end.
            if self.stop.is_some() || !self.answer.is_empty() {
                self.stop.get_or_insert(Stop::Complete);
                self.done = true;
                self.answer.done_all(&mut out);
            }
            return Ok(out);
        }
        let chunk = parse(event.data.as_bytes())?;
        if event.name == "error" {
            return Err(ErrorBody::of_value(&chunk).to_failure());
        }
        self.chunk(&chunk, "delta", &mut out)?;
        Ok(out)
    }

    pub(in crate::codec) fn feed_body(&mut self, body: &Value) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        self.chunk(body, "message", &mut out)?;
        if self.stop.is_none() && self.answer.is_empty() {
            return Err(failure::of_kind(FailureKind::Protocol));
        }
        self.stop.get_or_insert(Stop::Complete);
        self.done = true;
        self.answer.done_all(&mut out);
        Ok(out)
    }

    pub(in crate::codec) fn is_ended(&self) -> bool {
        self.done
    }

    pub(in crate::codec) fn finish(self) -> Result<ModelAnswer, Failure> {
        let stop = self.stop.ok_or_else(torn)?;
        let Self { answer, usage, response_id, .. } = self;
        Ok(ModelAnswer { items: answer.into_items(), usage, stop, response_id })
    }

    fn chunk(&mut self, chunk: &Value, member: &str, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(ErrorBody::of_value(chunk).to_failure());
        }
        if !chunk.is_object() {
            return Err(failure::of_kind(FailureKind::Protocol));
        }
        if let Some(id) = text_of(chunk, "id").filter(|id| !id.is_empty() && self.response_id.is_none()) {
            self.response_id = Some(id.to_owned());
        }
        if let Some(usage) = usage(chunk.get("usage"), "prompt_tokens", "completion_tokens") {
            self.usage = Some(usage);
        }
        let choices = chunk.get("choices").and_then(Value::as_array).into_iter().flatten();
        // Only one choice was asked for.
        let first = |choice: &&Value| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
        for choice in choices.filter(first) {
            if let Some(delta) = choice.get(member) {
                self.delta(delta, out)?;
            }
            if let Some(reason) = text_of(choice, "finish_reason").filter(|reason| !reason.is_empty()) {
                self.stop = Some(match reason {
                    "length" => Stop::MaxOutputTokens,
                    "content_filter" => Stop::ContentFilter,
                    _ => Stop::Complete,
                });
                self.answer.done_all(out);
            }
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let thinking = text_of(delta, "reasoning_content").or_else(|| text_of(delta, "reasoning"));
        self.think(thinking.unwrap_or_default(), out)?;
        match delta.get("content") {
            Some(Value::String(text)) => self.say(PartKind::Main, text, out)?,
            Some(Value::Array(parts)) => {
                for part in parts {
                    if let Some(text) = text_of(part, "text") {
                        self.say(PartKind::Main, text, out)?;
                    }
                }
            }
            _ => {}
        }
        self.say(PartKind::Other, text_of(delta, "refusal").unwrap_or_default(), out)?;
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.call(call, out)?;
        }
        Ok(())
    }

    fn think(&mut self, text: &str, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let at = match self.reasoning {
            Some(at) => at,
            None => {
                let item = AnswerItem::Reasoning { summary: vec![], encrypted: None, provider_id: None };
                *self.reasoning.insert(self.answer.start(item, out)?)
            }
        };
        self.answer.text(at, PartKey { kind: PartKind::Main, number: 0 }, text, out)
    }

    fn say(&mut self, kind: PartKind, text: &str, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        // Speaking ends a thought; more thinking is another one.
        if let Some(reasoning) = self.reasoning.take() {
            self.answer.done(reasoning, out);
        }
        let at = match self.message {
            Some(at) => at,
            None => *self.message.insert(self.answer.start(AnswerItem::Message { content: vec![] }, out)?),
        };
        self.answer.text(at, PartKey { kind, number: 0 }, text, out)
    }

    fn call(&mut self, call: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let number = call.get("index").and_then(Value::as_u64);
        let id = text_of(call, "id").unwrap_or_default();
        let name = call.pointer("/function/name").and_then(Value::as_str).unwrap_or_default();
        let at = match self.call_begun(number, id, name) {
            Some(at) => at,
            None => {
                let item = AnswerItem::ToolCall {
                    call_id: String::new(),
                    name: String::new(),
                    arguments: String::new(),
                };
                let at = self.answer.start(item, out)?;
                self.calls.push(Call { number, id: id.to_owned(), at });
                at
            }
        };
        if let AnswerItem::ToolCall { call_id, name: known, .. } = self.answer.item_mut(at) {
            if call_id.is_empty() {
                id.clone_into(call_id);
            }
            if known.is_empty() {
                name.clone_into(known);
            }
        }
        match call.pointer("/function/arguments") {
            Some(Value::String(fragment)) => self.answer.arguments(at, fragment),
            // Some servers send the object itself, whole.
            Some(object @ Value::Object(_)) => self.answer.arguments(at, &object.to_string()),
            _ => Ok(()),
        }
    }

    /// The call that a fragment continues.
    fn call_begun(&self, number: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let call = match number {
            Some(_) => self.calls.iter().rev().find(|call| call.number == number)?,
            None if id.is_empty() => self.calls.last().filter(|_| name.is_empty())?,
            None => self.calls.iter().rev().find(|call| call.id == id)?,
        };
        // Another id and a name at a known index: a server that gives every call the same index.
        let is_another = !id.is_empty() && !call.id.is_empty() && call.id != id && !name.is_empty();
        (!is_another).then_some(call.at)
    }
}
