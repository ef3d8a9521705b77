//! Reads the event stream of a message.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenure_journal::{AnswerItem, Failure, FailureKind, ModelAnswer, Stop, Usage};

use super::super::answer::{ANSWER_ITEMS_MAX, AnswerBuilder, PartKey, PartKind};
use super::super::turns::Opaque;
use super::super::{parse, text_of, torn};
use crate::failure::ErrorBody;
use crate::{Delta, failure, sse};

const ONLY_PART: PartKey = PartKey { kind: PartKind::Main, number: 0 };

/// The decoder; see [`crate::codec::StreamDecoder`] for its states.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    answer: AnswerBuilder,
    /// Where the provider's blocks are in the answer; nowhere for kinds that mean nothing here.
    places: BTreeMap<u64, Option<usize>>,
    stop: Option<Stop>,
    usage: UsageCounts,
    response_id: Option<String>,
    ended: bool,
}

/// Counts are cumulative, and each event says only some of them.
#[derive(Debug, Default)]
pub(in crate::codec) struct UsageCounts {
    known: bool,
    fresh: u64,
    read: u64,
    written: u64,
    output: u64,
    thinking: u64,
}

impl StreamDecoder {
    pub(in crate::codec) fn feed(&mut self, event: &sse::Event) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        if self.ended {
            return Ok(out);
        }
        let data = parse(event.data.as_bytes())?;
        match text_of(&data, "type").unwrap_or(&event.name) {
            "message_start" => self.begin(data.get("message").unwrap_or(&Value::Null)),
            "content_block_start" => {
                let block = data.get("content_block").unwrap_or(&Value::Null);
                self.start(number(&data)?, block, &mut out)?;
            }
            "content_block_delta" => {
                self.delta(number(&data)?, data.get("delta").unwrap_or(&Value::Null), &mut out)?;
            }
            "content_block_stop" => {
                if let Some(Some(at)) = self.places.get(&number(&data)?) {
                    self.answer.done(*at, &mut out);
                }
            }
            "message_delta" => {
                self.usage.add(data.get("usage"));
                self.stopped(data.get("delta").unwrap_or(&Value::Null))?;
            }
            "message_stop" => {
                self.stop.get_or_insert(Stop::Complete);
                self.ended = true;
                self.answer.done_all(&mut out);
            }
            "error" => return Err(ErrorBody::of_value(&data).to_failure()),
            _ => {}
        }
        Ok(out)
    }

    pub(in crate::codec) fn feed_body(&mut self, body: &Value) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        if text_of(body, "type") == Some("error") {
            return Err(ErrorBody::of_value(body).to_failure());
        }
        let Some(content) = body.get("content").and_then(Value::as_array) else {
            return Err(failure::of_kind(FailureKind::Protocol));
        };
        self.begin(body);
        for (number, block) in (0..).zip(content) {
            self.start(number, block, &mut out)?;
            let input = block.get("input").filter(|_| text_of(block, "type") == Some("tool_use"));
            if let (Some(input), Some(Some(at))) = (input, self.places.get(&number)) {
                self.answer.arguments(*at, &input.to_string())?;
            }
        }
        self.stopped(body)?;
        self.stop.get_or_insert(Stop::Complete);
        self.ended = true;
        self.answer.done_all(&mut out);
        Ok(out)
    }

    pub(in crate::codec) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(in crate::codec) fn finish(self) -> Result<ModelAnswer, Failure> {
        let stop = self.stop.ok_or_else(torn)?;
        let Self { answer, usage, response_id, .. } = self;
        Ok(ModelAnswer { items: answer.into_items(), usage: usage.total(), stop, response_id })
    }

    fn begin(&mut self, message: &Value) {
        self.response_id = text_of(message, "id").map(str::to_owned);
        self.usage.add(message.get("usage"));
    }

    fn start(&mut self, number: u64, block: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        if self.places.contains_key(&number) || self.places.len() == 2 * ANSWER_ITEMS_MAX {
            return Err(failure::of_kind(FailureKind::Protocol));
        }
        let owned = |key: &str| text_of(block, key).unwrap_or_default().to_owned();
        let item = match text_of(block, "type").unwrap_or_default() {
            "text" => Some(AnswerItem::Message { content: Vec::new() }),
            "thinking" | "redacted_thinking" => Some(thought()),
            "tool_use" => Some(AnswerItem::ToolCall {
                call_id: owned("id"),
                name: owned("name"),
                arguments: String::new(),
            }),
            _ => None,
        };
        let place = match item {
            Some(item) => Some(self.answer.start(item, out)?),
            None => None,
        };
        self.places.insert(number, place);
        let Some(at) = place else { return Ok(()) };
        for key in ["text", "thinking"] {
            let text = text_of(block, key).unwrap_or_default();
            if !text.is_empty() {
                self.answer.text(at, ONLY_PART, text, out)?;
            }
        }
        if let Some(data) = text_of(block, "data").filter(|data| !data.is_empty()) {
            self.answer.opaque(at, Opaque::Redacted(data))?;
        }
        if let Some(signature) = text_of(block, "signature").filter(|signature| !signature.is_empty()) {
            self.answer.opaque(at, Opaque::Signature(signature))?;
        }
        Ok(())
    }

    fn delta(&mut self, number: u64, delta: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let place = self.places.get(&number).ok_or_else(|| failure::of_kind(FailureKind::Protocol))?;
        let Some(at) = *place else { return Ok(()) };
        let fragment = |key: &str| text_of(delta, key).unwrap_or_default();
        match text_of(delta, "type").unwrap_or_default() {
            "text_delta" => self.answer.text(at, ONLY_PART, fragment("text"), out),
            "thinking_delta" => self.answer.text(at, ONLY_PART, fragment("thinking"), out),
            "signature_delta" => self.answer.opaque(at, Opaque::Signature(fragment("signature"))),
            "input_json_delta" => self.answer.arguments(at, fragment("partial_json")),
            _ => Ok(()),
        }
    }

    fn stopped(&mut self, delta: &Value) -> Result<(), Failure> {
        if let Some(reason) = text_of(delta, "stop_reason") {
            self.stop = Some(stop(reason)?);
        }
        Ok(())
    }
}

/// What a reason to stop means. A context that was full in the middle of the answer is asked again when it is
/// shorter.
pub(in crate::codec) fn stop(reason: &str) -> Result<Stop, Failure> {
    match reason {
        "max_tokens" => Ok(Stop::MaxOutputTokens),
        "refusal" | "content_filtered" | "guardrail_intervened" => Ok(Stop::ContentFilter),
        "model_context_window_exceeded" => Err(failure::of_kind(FailureKind::ContextTooLong)),
        "malformed_model_output" | "malformed_tool_use" => Err(failure::of_kind(FailureKind::ServerError)),
        _ => Ok(Stop::Complete),
    }
}

pub(in crate::codec) fn thought() -> AnswerItem {
    AnswerItem::Reasoning { summary: Vec::new(), encrypted: None, provider_id: None }
}

impl UsageCounts {
    fn add(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage else { return };
        let places = [
            ("/input_tokens", &mut self.fresh),
            ("/cache_read_input_tokens", &mut self.read),
            ("/cache_creation_input_tokens", &mut self.written),
            ("/output_tokens", &mut self.output),
            ("/output_tokens_details/thinking_tokens", &mut self.thinking),
        ];
        for (pointer, count) in places {
            if let Some(found) = usage.pointer(pointer).and_then(Value::as_u64) {
                *count = found;
                self.known = true;
            }
        }
    }

    /// The format counts what was read from the cache, and written to it, beside the other input.
    fn total(&self) -> Option<Usage> {
        self.known.then(|| Usage {
            input_tokens: self.fresh.saturating_add(self.read).saturating_add(self.written),
            cached_tokens: self.read,
            output_tokens: self.output,
            reasoning_tokens: self.thinking,
        })
    }
}

/// The same counts in the words of the format, for the other side.
pub(super) fn usage_value(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens.saturating_sub(usage.cached_tokens),
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "thinking_tokens": usage.reasoning_tokens },
    })
}

fn number(data: &Value) -> Result<u64, Failure> {
    data.get("index").and_then(Value::as_u64).ok_or_else(|| failure::of_kind(FailureKind::Protocol))
}
