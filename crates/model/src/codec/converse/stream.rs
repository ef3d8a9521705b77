//! Reads the event stream of Converse, once its frames are taken apart.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenure_journal::{AnswerItem, Failure, FailureKind, ModelAnswer, Stop, Usage};

use super::super::answer::{ANSWER_ITEMS_MAX, AnswerBuilder, PartKey, PartKind};
use super::super::anthropic::{stop, thought};
use super::super::turns::Opaque;
use super::super::{parse, text_of, torn};
use crate::failure::ErrorBody;
use crate::{Delta, failure, sse};

const ONLY_PART: PartKey = PartKey { kind: PartKind::Main, number: 0 };

/// The decoder; see [`crate::codec::StreamDecoder`] for its states. Token counts arrive after the reason to
/// stop, so a stream has ended for good only with them.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    answer: AnswerBuilder,
    places: BTreeMap<u64, usize>,
    stop: Option<Stop>,
    usage: Option<Usage>,
    ended: bool,
}

impl StreamDecoder {
    pub(in crate::codec) fn feed(&mut self, event: &sse::Event) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        if self.ended {
            return Ok(out);
        }
        let data = parse(event.data.as_bytes())?;
        match event.name.as_str() {
            "contentBlockStart" => {
                let start = data.get("start").unwrap_or(&Value::Null);
                if let Some(call) = start.get("toolUse") {
                    self.place(number(&data)?, &call_of(call), &mut out)?;
                }
            }
            "contentBlockDelta" => {
                self.delta(number(&data)?, data.get("delta").unwrap_or(&Value::Null), &mut out)?;
            }
            "contentBlockStop" => {
                if let Some(at) = self.places.get(&number(&data)?) {
                    self.answer.done(*at, &mut out);
                }
            }
            "messageStop" => {
                self.stop = Some(stop(text_of(&data, "stopReason").unwrap_or_default())?);
                self.answer.done_all(&mut out);
            }
            "metadata" => {
                self.usage = usage(data.get("usage"));
                self.ended = self.stop.is_some();
            }
            // Exceptions of the service, by their names.
            name if name.ends_with("Exception") => {
                return Err(ErrorBody::named(name, &data).to_failure());
            }
            _ => {}
        }
        Ok(out)
    }

    pub(in crate::codec) fn feed_body(&mut self, body: &Value) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        let Some(content) = body.pointer("/output/message/content").and_then(Value::as_array) else {
            return Err(failure::of_kind(FailureKind::Protocol));
        };
        for (number, block) in (0..).zip(content) {
            self.whole(number, block, &mut out)?;
        }
        self.stop = Some(stop(text_of(body, "stopReason").unwrap_or_default())?);
        self.usage = usage(body.get("usage"));
        self.ended = true;
        self.answer.done_all(&mut out);
        Ok(out)
    }

    pub(in crate::codec) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(in crate::codec) fn finish(self) -> Result<ModelAnswer, Failure> {
        let stop = self.stop.ok_or_else(torn)?;
        // The format has no id of an answer; the one of the request is in a header.
        Ok(ModelAnswer { items: self.answer.into_items(), usage: self.usage, stop, response_id: None })
    }

    fn place(&mut self, number: u64, item: &AnswerItem, out: &mut Vec<Delta>) -> Result<usize, Failure> {
        if let Some(at) = self.places.get(&number) {
            return if self.answer.is_like(*at, item) {
                Ok(*at)
            } else {
                Err(failure::of_kind(FailureKind::Protocol))
            };
        }
        if self.places.len() == ANSWER_ITEMS_MAX {
            return Err(failure::of_kind(FailureKind::Protocol));
        }
        let at = self.answer.start(item.clone(), out)?;
        self.places.insert(number, at);
        Ok(at)
    }

    fn delta(&mut self, number: u64, delta: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if let Some(text) = text_of(delta, "text") {
            let at = self.place(number, &AnswerItem::Message { content: Vec::new() }, out)?;
            return self.answer.text(at, ONLY_PART, text, out);
        }
        if let Some(input) = delta.pointer("/toolUse/input").and_then(Value::as_str) {
            // A call is announced before its arguments; without its name they mean nothing.
            let at = self.places.get(&number).ok_or_else(|| failure::of_kind(FailureKind::Protocol))?;
            return self.answer.arguments(*at, input);
        }
        match delta.get("reasoningContent") {
            Some(reasoning) => self.reasoning(number, reasoning, out),
            None => Ok(()),
        }
    }

    fn reasoning(&mut self, number: u64, part: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let at = self.place(number, &thought(), out)?;
        if let Some(text) = text_of(part, "text").filter(|text| !text.is_empty()) {
            self.answer.text(at, ONLY_PART, text, out)?;
        }
        if let Some(signature) = text_of(part, "signature").filter(|signature| !signature.is_empty()) {
            self.answer.opaque(at, Opaque::Signature(signature))?;
        }
        match text_of(part, "redactedContent") {
            Some(bytes) => self.answer.opaque(at, Opaque::RedactedBytes(bytes)),
            None => Ok(()),
        }
    }

    fn whole(&mut self, number: u64, block: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if let Some(call) = block.get("toolUse") {
            let at = self.place(number, &call_of(call), out)?;
            return self.answer.arguments(at, &call.get("input").unwrap_or(&json!({})).to_string());
        }
        match block.get("reasoningContent") {
            Some(reasoning) => {
                let text = reasoning.get("reasoningText").unwrap_or(reasoning);
                self.reasoning(number, text, out)
            }
            None => self.delta(number, block, out),
        }
    }
}

fn call_of(call: &Value) -> AnswerItem {
    let owned = |key: &str| text_of(call, key).unwrap_or_default().to_owned();
    AnswerItem::ToolCall { call_id: owned("toolUseId"), name: owned("name"), arguments: String::new() }
}

/// What was read from the cache and written to it is counted beside the other input.
fn usage(value: Option<&Value>) -> Option<Usage> {
    let value = value?;
    let count = |key: &str| value.get(key).and_then(Value::as_u64);
    let (input, output) = (count("inputTokens"), count("outputTokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let cached = count("cacheReadInputTokens").unwrap_or(0);
    let written = count("cacheWriteInputTokens").unwrap_or(0);
    Some(Usage {
        input_tokens: input.unwrap_or(0).saturating_add(cached).saturating_add(written),
        cached_tokens: cached,
        output_tokens: output.unwrap_or(0),
        reasoning_tokens: 0,
    })
}

/// The same counts in the words of the format, for the other side.
pub(super) fn usage_value(usage: Usage) -> Value {
    json!({
        "inputTokens": usage.input_tokens.saturating_sub(usage.cached_tokens),
        "cacheReadInputTokens": usage.cached_tokens,
        "cacheWriteInputTokens": 0,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens(),
    })
}

fn number(data: &Value) -> Result<u64, Failure> {
    data.get("contentBlockIndex")
        .and_then(Value::as_u64)
        .ok_or_else(|| failure::of_kind(FailureKind::Protocol))
}
