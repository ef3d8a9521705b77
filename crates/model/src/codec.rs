//! One pure codec per wire format: a request to a provider's JSON, a provider's stream to an answer.
//!
//! Each format has three parts. Its own module writes requests, `stream` reads what comes back, and
//! `server` plays the other side: it reads requests and writes answers, for servers that stand in for a
//! provider in tests and demonstrations. Provider wire types exist nowhere else.
//!
//! Encoding leaves out whatever equals the provider's default, so that the many small servers which speak
//! these formats in part accept it too. It is defensive about what strict providers refuse: empty text,
//! reasoning without the item it led to, arguments that are not a JSON object.

use serde_json::Value;
use tenure_journal::{ContextItem, Failure, FailureKind, InputPart, ModelAnswer, ModelRequest, Usage};

use crate::{Delta, failure, sse};

mod answer;
pub mod anthropic;
pub mod chat;
pub mod converse;
pub mod responses;
pub mod server;
mod turns;

pub use answer::{ANSWER_BYTES_MAX, ANSWER_ITEMS_MAX, deltas, fragments};

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// The OpenAI Responses API.
    Responses,
    /// The Chat Completions API, as OpenAI and most servers and gateways speak it.
    Chat,
    /// The Anthropic Messages API.
    Anthropic,
    /// Amazon Bedrock's Converse API.
    Converse,
}

/// What tells the events of a stream apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// Amazon's event stream.
    EventStream,
}

impl Wire {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Responses, Self::Chat, Self::Anthropic, Self::Converse];

    /// The word for this format in configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Chat => "chat",
            Self::Anthropic => "anthropic",
            Self::Converse => "converse",
        }
    }

    /// The format of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wire| wire.as_str() == word)
    }

    /// The path below the base URL that requests for `model` are posted to, percent-encoded.
    #[must_use]
    pub fn path(self, model: &str) -> String {
        match self {
            Self::Responses => "responses".to_owned(),
            Self::Chat => "chat/completions".to_owned(),
            Self::Anthropic => "messages".to_owned(),
            Self::Converse => format!("model/{}/converse-stream", percent_encoded(model)),
        }
    }

    /// How the events of a stream are told apart.
    #[must_use]
    pub fn framing(self) -> Framing {
        match self {
            Self::Responses | Self::Chat | Self::Anthropic => Framing::Sse,
            Self::Converse => Framing::EventStream,
        }
    }

    /// The body of a streaming request.
    #[must_use]
    pub fn encode(self, request: &ModelRequest) -> Value {
        match self {
            Self::Responses => responses::encode(request),
            Self::Chat => chat::encode(request),
            Self::Anthropic => anthropic::encode(request),
            Self::Converse => converse::encode(request),
        }
    }

    /// A decoder for one answer.
    #[must_use]
    pub fn decoder(self) -> StreamDecoder {
        match self {
            Self::Responses => StreamDecoder::Responses(responses::StreamDecoder::default()),
            Self::Chat => StreamDecoder::Chat(chat::StreamDecoder::default()),
            Self::Anthropic => StreamDecoder::Anthropic(anthropic::StreamDecoder::default()),
            Self::Converse => StreamDecoder::Converse(converse::StreamDecoder::default()),
        }
    }
}

/// Reads one answer in any format.
///
/// ```text
///            feed                 terminal event
///   Reading ──────▶ Reading ─────────────────────▶ Ended ── finish ──▶ answer
///      │                                             ▲
///      ├── finish: torn stream, `ConnectionFailed`   │ feed: ignored
///      └── feed: failure; the decoder is of no further use
/// ```
#[derive(Debug)]
pub enum StreamDecoder {
    /// The Responses API.
    Responses(responses::StreamDecoder),
    /// Chat Completions.
    Chat(chat::StreamDecoder),
    /// Anthropic Messages.
    Anthropic(anthropic::StreamDecoder),
    /// Bedrock Converse.
    Converse(converse::StreamDecoder),
}

impl StreamDecoder {
    /// Reads one event of the stream and returns what it adds. Unknown events add nothing.
    ///
    /// # Errors
    /// The provider reports a failure, breaks the format, or answers more than
    /// [`ANSWER_BYTES_MAX`] or [`ANSWER_ITEMS_MAX`].
    pub fn feed(&mut self, event: &sse::Event) -> Result<Vec<Delta>, Failure> {
        match self {
            Self::Responses(decoder) => decoder.feed(event),
            Self::Chat(decoder) => decoder.feed(event),
            Self::Anthropic(decoder) => decoder.feed(event),
            Self::Converse(decoder) => decoder.feed(event),
        }
    }

    /// Reads the body of an answer that was not streamed. Then call [`StreamDecoder::finish`].
    ///
    /// # Errors
    /// As for [`StreamDecoder::feed`].
    pub fn feed_body(&mut self, body: &[u8]) -> Result<Vec<Delta>, Failure> {
        let body = parse(body)?;
        match self {
            Self::Responses(decoder) => decoder.feed_body(&body),
            Self::Chat(decoder) => decoder.feed_body(&body),
            Self::Anthropic(decoder) => decoder.feed_body(&body),
            Self::Converse(decoder) => decoder.feed_body(&body),
        }
    }

    /// Whether the stream has said everything; what follows would be ignored.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Responses(decoder) => decoder.is_ended(),
            Self::Chat(decoder) => decoder.is_ended(),
            Self::Anthropic(decoder) => decoder.is_ended(),
            Self::Converse(decoder) => decoder.is_ended(),
        }
    }

    /// The complete answer, once the stream is over.
    ///
    /// # Errors
    /// `ConnectionFailed`: the stream broke off before the answer's end.
    pub fn finish(self) -> Result<ModelAnswer, Failure> {
        match self {
            Self::Responses(decoder) => decoder.finish(),
            Self::Chat(decoder) => decoder.finish(),
            Self::Anthropic(decoder) => decoder.finish(),
            Self::Converse(decoder) => decoder.finish(),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|_| failure::of_kind(FailureKind::Protocol))
}

fn torn() -> Failure {
    failure::with_message(
        FailureKind::ConnectionFailed,
        "the connection to the model provider broke before the answer was complete",
    )
}

/// The JSON text of a call's arguments. A model may have written anything; servers that parse what they
/// are handed back get an object that holds the model's own words.
fn arguments_text(arguments: &str) -> String {
    if arguments.trim().is_empty() {
        return "{}".to_owned();
    }
    match serde_json::from_str::<&serde_json::value::RawValue>(arguments) {
        Ok(value) if value.get().starts_with('{') => arguments.to_owned(),
        Ok(_) | Err(_) => serde_json::json!({ "invalid_arguments": arguments }).to_string(),
    }
}

/// Every byte but the unreserved ones (RFC 3986, section 2.3) as `%XX`: a name as one segment of a path.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The parts of a message or an output that carry something.
fn solid(parts: &[InputPart]) -> impl Iterator<Item = &InputPart> {
    parts.iter().filter(|part| match part {
        InputPart::Text { text } => !text.is_empty(),
        InputPart::Image { .. } => true,
    })
}

/// Whether `item` comes from a model and stands for itself, as what reasoning leads to does.
fn is_spoken(item: &ContextItem) -> bool {
    match item {
        ContextItem::Assistant { text, .. } => !text.is_empty(),
        ContextItem::Call { .. } => true,
        ContextItem::User { .. }
        | ContextItem::Note { .. }
        | ContextItem::Reasoning { .. }
        | ContextItem::CallResult { .. } => false,
    }
}

/// Reads token counts under a format's names: input, output and where their details are.
fn usage(value: Option<&Value>, input: &str, output: &str) -> Option<Usage> {
    let value = value?;
    let count = |path: &str| value.pointer(path).and_then(Value::as_u64);
    let input_tokens = count(&format!("/{input}"));
    let output_tokens = count(&format!("/{output}"));
    if input_tokens.is_none() && output_tokens.is_none() {
        return None;
    }
    Some(Usage {
        input_tokens: input_tokens.unwrap_or(0),
        cached_tokens: count(&format!("/{input}_details/cached_tokens")).unwrap_or(0),
        output_tokens: output_tokens.unwrap_or(0),
        reasoning_tokens: count(&format!("/{output}_details/reasoning_tokens")).unwrap_or(0),
    })
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::arguments_text;

    #[test]
    fn arguments_are_always_an_object() {
        let cases = [
            ("", "{}"),
            ("  ", "{}"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#" {"a": 1} "#, r#" {"a": 1} "#),
            (r#"{"a":"#, r#"{"invalid_arguments":"{\"a\":"}"#),
            ("[1]", r#"{"invalid_arguments":"[1]"}"#),
            ("null", r#"{"invalid_arguments":"null"}"#),
        ];
        for (arguments, expected) in cases {
            assert_eq!(arguments_text(arguments), expected, "{arguments:?}");
        }
    }
}
