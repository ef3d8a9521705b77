//! Reads the event stream of a response.

use std::collections::BTreeMap;

use serde_json::Value;
use tenure_journal::{AnswerItem, Failure, FailureKind, ModelAnswer, Stop, Usage};

use super::super::answer::{ANSWER_ITEMS_MAX, AnswerBuilder, PartKey, PartKind};
use super::super::{parse, text_of, torn, usage};
use crate::failure::ErrorBody;
use crate::{Delta, failure, sse};

/// The decoder; see [`crate::codec::StreamDecoder`] for its states.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    answer: AnswerBuilder,
    /// Where the provider's items are in the answer; nowhere for kinds that mean nothing here.
    places: BTreeMap<u64, Option<usize>>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    stop: Stop,
    usage: Option<Usage>,
    response_id: Option<String>,
}

impl StreamDecoder {
    pub(in crate::codec) fn feed(&mut self, event: &sse::Event) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        if self.is_ended() || event.data == "[DONE]" {
            return Ok(out);
        }
        let data = parse(event.data.as_bytes())?;
        match text_of(&data, "type").unwrap_or(&event.name) {
            "response.output_item.added" => {
                let item = data.get("item").and_then(read_item);
                self.place(number(&data, "output_index")?, item.map(emptied), &mut out)?;
            }
            "response.output_item.done" => self.item_done(&data, &mut out)?,
            "response.output_text.delta" => {
                self.text(&data, PartKind::Main, "content_index", &message(), &mut out)?;
            }
            "response.refusal.delta" => {
                self.text(&data, PartKind::Other, "content_index", &message(), &mut out)?;
            }
            "response.reasoning_summary_text.delta" => {
                self.text(&data, PartKind::Main, "summary_index", &reasoning(), &mut out)?;
            }
            "response.reasoning_text.delta" => {
                self.text(&data, PartKind::Other, "content_index", &reasoning(), &mut out)?;
            }
            "response.function_call_arguments.delta" => self.arguments(&data)?,
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
                self.end(data.get("response").unwrap_or(&Value::Null), &mut out)?;
            }
            "error" => return Err(ErrorBody::of_value(&data).to_failure()),
            _ => {}
        }
        Ok(out)
    }

    pub(in crate::codec) fn feed_body(&mut self, response: &Value) -> Result<Vec<Delta>, Failure> {
        let mut out = Vec::new();
        self.end(response, &mut out)?;
        Ok(out)
    }

    pub(in crate::codec) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(in crate::codec) fn finish(self) -> Result<ModelAnswer, Failure> {
        let End { stop, usage, response_id } = self.end.ok_or_else(torn)?;
        Ok(ModelAnswer { items: self.answer.into_items(), usage, stop, response_id })
    }

    /// Gives the provider's item `number` its place in the answer.
    fn place(
        &mut self,
        number: u64,
        item: Option<AnswerItem>,
        out: &mut Vec<Delta>,
    ) -> Result<Option<usize>, Failure> {
        if let Some(place) = self.places.get(&number) {
            return Ok(*place);
        }
        if self.places.len() == 2 * ANSWER_ITEMS_MAX {
            return Err(failure::of_kind(FailureKind::Protocol));
        }
        let place = match item {
            Some(item) => Some(self.answer.start(item, out)?),
            None => None,
        };
        self.places.insert(number, place);
        Ok(place)
    }

    fn text(
        &mut self,
        data: &Value,
        kind: PartKind,
        index: &str,
        item: &AnswerItem,
        out: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        let fragment = text_of(data, "delta").ok_or_else(|| failure::of_kind(FailureKind::Protocol))?;
        let key = PartKey { kind, number: data.get(index).and_then(Value::as_u64).unwrap_or(0) };
        match self.place(number(data, "output_index")?, Some(item.clone()), out)? {
            Some(at) if !self.answer.is_like(at, item) => Err(failure::of_kind(FailureKind::Protocol)),
            Some(at) => self.answer.text(at, key, fragment, out),
            None => Ok(()),
        }
    }

    fn arguments(&mut self, data: &Value) -> Result<(), Failure> {
        let fragment = text_of(data, "delta").ok_or_else(|| failure::of_kind(FailureKind::Protocol))?;
        // A call is announced before its arguments; without its name they mean nothing.
        match self.places.get(&number(data, "output_index")?) {
            Some(Some(at)) => self.answer.arguments(*at, fragment),
            Some(None) | None => Ok(()),
        }
    }

    fn item_done(&mut self, data: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let item = data.get("item").and_then(read_item);
        let place = self.place(number(data, "output_index")?, item.clone().map(emptied), out)?;
        match (place, item) {
            (Some(at), Some(item)) => self.answer.complete(at, item, out),
            (Some(at), None) => {
                self.answer.done(at, out);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn end(&mut self, response: &Value, out: &mut Vec<Delta>) -> Result<(), Failure> {
        let status = text_of(response, "status").unwrap_or("completed");
        let error = response.get("error").filter(|error| !error.is_null());
        let stop = match (status, error) {
            (_, Some(error)) => return Err(ErrorBody::of_value(error).to_failure()),
            ("incomplete", None) => match response.pointer("/incomplete_details/reason") {
                Some(reason) if reason == "max_output_tokens" => Stop::MaxOutputTokens,
                Some(reason) if reason == "content_filter" => Stop::ContentFilter,
                Some(_) | None => Stop::Complete,
            },
            ("completed", None) => Stop::Complete,
            (_, None) => return Err(failure::of_kind(FailureKind::ServerError)),
        };
        let output = response.get("output").and_then(Value::as_array);
        if self.answer.is_empty() {
            if !response.is_object() || (output.is_none() && self.places.is_empty()) {
                return Err(failure::of_kind(FailureKind::Protocol));
            }
            for item in output.into_iter().flatten().filter_map(read_item) {
                let at = self.answer.start(emptied(item.clone()), out)?;
                self.answer.complete(at, item, out)?;
            }
        }
        self.answer.done_all(out);
        self.end = Some(End {
            stop,
            usage: usage(response.get("usage"), "input_tokens", "output_tokens"),
            response_id: text_of(response, "id").map(str::to_owned),
        });
        Ok(())
    }
}

fn number(data: &Value, key: &str) -> Result<u64, Failure> {
    data.get(key).and_then(Value::as_u64).ok_or_else(|| failure::of_kind(FailureKind::Protocol))
}

fn message() -> AnswerItem {
    AnswerItem::Message { content: Vec::new() }
}

fn reasoning() -> AnswerItem {
    AnswerItem::Reasoning { summary: Vec::new(), encrypted: None, provider_id: None }
}

/// The item as it is before its text was streamed.
fn emptied(item: AnswerItem) -> AnswerItem {
    match item {
        AnswerItem::Message { .. } => message(),
        AnswerItem::Reasoning { provider_id, .. } => {
            AnswerItem::Reasoning { summary: Vec::new(), encrypted: None, provider_id }
        }
        AnswerItem::ToolCall { call_id, name, .. } => {
            AnswerItem::ToolCall { call_id, name, arguments: String::new() }
        }
    }
}

/// An output item; absent for kinds that nobody asked for.
fn read_item(item: &Value) -> Option<AnswerItem> {
    let owned = |key: &str| text_of(item, key).unwrap_or_default().to_owned();
    match text_of(item, "type")? {
        "message" => Some(AnswerItem::Message { content: texts(item.get("content"), &["text", "refusal"]) }),
        "reasoning" => {
            let summary = texts(item.get("summary"), &["text"]);
            Some(AnswerItem::Reasoning {
                // Open models show their thinking itself and no summary of it.
                summary: if summary.is_empty() { texts(item.get("content"), &["text"]) } else { summary },
                encrypted: text_of(item, "encrypted_content").map(str::to_owned),
                provider_id: text_of(item, "id").map(str::to_owned),
            })
        }
        "function_call" => Some(AnswerItem::ToolCall {
            call_id: owned("call_id"),
            name: owned("name"),
            arguments: owned("arguments"),
        }),
        _ => None,
    }
}

fn texts(parts: Option<&Value>, keys: &[&str]) -> Vec<String> {
    let parts = parts.and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| keys.iter().find_map(|key| text_of(part, key))).map(str::to_owned).collect()
}
