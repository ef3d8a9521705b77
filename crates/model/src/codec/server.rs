//! What the server sides of all formats share.

use serde_json::Value;
use tenure_journal::{Effort, FunctionOutput, InputPart, Reasoning, ServiceTier, TextConfig, TextFormat};

/// A request that a server of this format cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// Where: `input[3].type`.
    pub param: String,
    /// What is wrong there.
    pub message: String,
}

impl BadRequest {
    pub(super) fn new(param: impl Into<String>, message: &str) -> Self {
        let param = param.into();
        Self { message: format!("`{param}` {message}"), param }
    }
}

/// One event of a streamed answer, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The event as it is framed.
    pub bytes: Vec<u8>,
    /// Whether it carries a token: text, a summary or arguments.
    pub is_token: bool,
}

pub(super) fn required<'a>(value: &'a Value, key: &str, at: &str) -> Result<&'a str, BadRequest> {
    super::text_of(value, key).ok_or_else(|| BadRequest::new(join(at, key), "must be a string"))
}

pub(super) fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// The parts of a content that is a string or a list.
pub(super) fn parts(content: Option<&Value>, at: &str) -> Result<Vec<InputPart>, BadRequest> {
    match content {
        Some(Value::String(text)) => Ok(vec![InputPart::text(text)]),
        Some(Value::Array(parts)) => {
            let each = parts.iter().enumerate();
            each.map(|(index, value)| part(value, &format!("{at}[{index}]"))).collect()
        }
        Some(Value::Null) | None => Ok(Vec::new()),
        Some(_) => Err(BadRequest::new(at, "must be a string or a list")),
    }
}

fn part(value: &Value, at: &str) -> Result<InputPart, BadRequest> {
    match required(value, "type", at)? {
        "text" | "input_text" | "output_text" | "summary_text" => {
            Ok(InputPart::text(required(value, "text", at)?))
        }
        "refusal" => Ok(InputPart::text(required(value, "refusal", at)?)),
        "image_url" => {
            let image_url = value.get("image_url").unwrap_or(&Value::Null);
            Ok(InputPart::Image { image_url: required(image_url, "url", &join(at, "image_url"))?.to_owned() })
        }
        "input_image" => Ok(InputPart::Image { image_url: required(value, "image_url", at)?.to_owned() }),
        _ => Err(BadRequest::new(join(at, "type"), "is not a kind of content this server knows")),
    }
}

/// The text of `parts`, joined by line feeds.
pub(super) fn text(parts: &[InputPart]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        InputPart::Text { text } => Some(text.as_str()),
        InputPart::Image { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// What a call gave: a string where it is one.
pub(super) fn output(content: Option<&Value>, at: &str) -> Result<FunctionOutput, BadRequest> {
    match content {
        Some(Value::String(text)) => Ok(FunctionOutput::Text(text.clone())),
        _ => parts(content, at).map(FunctionOutput::Content),
    }
}

pub(super) fn reasoning(effort: Option<&Value>, summary: Option<&Value>) -> Reasoning {
    Reasoning {
        effort: effort.and_then(Value::as_str).and_then(Effort::from_word),
        summary: summary.and_then(Value::as_str).and_then(tenure_journal::ReasoningSummary::from_word),
    }
}

pub(super) fn tier(body: &Value) -> ServiceTier {
    super::text_of(body, "service_tier").and_then(ServiceTier::from_word).unwrap_or(ServiceTier::Auto)
}

pub(super) fn text_config(schema: Option<&Value>, verbosity: Option<&Value>) -> TextConfig {
    let mut config = TextConfig::default();
    if let Some(schema) = schema {
        let word = |key: &str| super::text_of(schema, key).map(str::to_owned);
        config.format = TextFormat::JsonSchema {
            name: word("name"),
            description: word("description"),
            schema: schema.get("schema").cloned().unwrap_or(Value::Null),
            strict: schema.get("strict").and_then(Value::as_bool),
        };
    }
    if let Some(verbosity) = verbosity.and_then(Value::as_str).and_then(tenure_journal::Verbosity::from_word)
    {
        config.verbosity = verbosity;
    }
    config
}
