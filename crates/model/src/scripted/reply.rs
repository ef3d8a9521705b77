//! What a rule replies, rendered into an answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenure_journal::{AnswerItem, ContextItem, FunctionOutput, InputPart, ModelAnswer, Stop, Usage};

use super::rule::{Captures, Rule};
use super::template::{Engine, Template, Tree};
use super::view::View;
use crate::codec::fragments;

/// Bytes that count as one token of a request: about what English takes.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens that an image counts.
const TOKENS_PER_IMAGE: u64 = 85;

/// One part of a reply.
#[derive(Debug)]
pub(super) enum Part {
    Text(Template),
    Reasoning(Template),
    Call(Call),
}

/// A tool call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) tool: Template,
    pub(super) arguments: Tree,
    pub(super) id: Option<String>,
}

/// The answer of a fault that leaves none.
pub(super) fn empty() -> ModelAnswer {
    ModelAnswer { items: Vec::new(), usage: None, stop: Stop::Complete, response_id: None }
}

pub(super) fn render(
    rule: &Rule,
    view: &View<'_>,
    captures: &Captures,
    engine: &Engine,
) -> Result<ModelAnswer, String> {
    let variables = variables(view, captures);
    let mut items = Vec::with_capacity(rule.parts.len());
    for (index, part) in rule.parts.iter().enumerate() {
        // Ids tell the step apart, so that they differ over a conversation and repeat with the request.
        let place = format!("{}_{index}", view.calls);
        items.push(match part {
            Part::Text(text) => AnswerItem::Message { content: vec![engine.text(text, &variables)?] },
            Part::Reasoning(text) => AnswerItem::Reasoning {
                summary: vec![engine.text(text, &variables)?],
                encrypted: Some(format!("scripted reasoning {place}")),
                provider_id: Some(format!("rs_{place}")),
            },
            Part::Call(call) => AnswerItem::ToolCall {
                call_id: call.id.clone().unwrap_or_else(|| format!("call_{place}")),
                name: engine.text(&call.tool, &variables)?,
                arguments: engine.tree(&call.arguments, &variables)?,
            },
        });
    }
    let usage = rule.usage.unwrap_or_else(|| count(view, &items));
    let response_id = Some(format!("resp_scripted_{}", view.calls));
    Ok(ModelAnswer { items, usage: Some(usage), stop: rule.stop, response_id })
}

fn variables(view: &View<'_>, captures: &Captures) -> BTreeMap<String, Value> {
    let mut variables = BTreeMap::from([
        ("user".to_owned(), json!(view.user())),
        ("model".to_owned(), json!(view.request.model)),
        ("step".to_owned(), json!(view.step)),
        ("calls".to_owned(), json!(view.calls)),
        ("args".to_owned(), arguments(view, captures)),
    ]);
    if let Some((result, _)) = &captures.result {
        variables.insert("result".to_owned(), json!(result));
        if let Ok(data) = tenure_journal::json::parse(result.as_bytes()) {
            variables.insert("data".to_owned(), data);
        }
    }
    variables.extend(captures.groups.iter().map(|(name, text)| (name.clone(), json!(text))));
    variables
}

/// The arguments of the call that the result answers, or else of the latest call.
fn arguments(view: &View<'_>, captures: &Captures) -> Value {
    let latest = || {
        view.request.input.iter().rev().find_map(|item| match item {
            ContextItem::Call { arguments, .. } => Some(arguments.as_str()),
            ContextItem::User { .. }
            | ContextItem::Note { .. }
            | ContextItem::Assistant { .. }
            | ContextItem::Reasoning { .. }
            | ContextItem::CallResult { .. } => None,
        })
    };
    let text = captures.result.as_ref().map(|(_, arguments)| arguments.as_str()).or_else(latest);
    let parsed = text.and_then(|text| tenure_journal::json::parse(text.as_bytes()).ok());
    parsed.filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// Tokens as the scripted model counts them: of the request by bytes, of the answer by fragments.
fn count(view: &View<'_>, items: &[AnswerItem]) -> Usage {
    let tokens = |text: &str| fragments(text).count() as u64;
    let mut usage = Usage { input_tokens: input_tokens(view), ..Usage::default() };
    for item in items {
        usage.output_tokens += match item {
            AnswerItem::Message { content } => content.iter().map(|text| tokens(text)).sum(),
            AnswerItem::Reasoning { summary, .. } => {
                let thinking = summary.iter().map(|text| tokens(text)).sum();
                usage.reasoning_tokens += thinking;
                thinking
            }
            AnswerItem::ToolCall { name, arguments, .. } => tokens(name) + tokens(arguments),
        };
    }
    usage
}

/// Tokens of a request, by its bytes.
pub(super) fn input_tokens(view: &View<'_>) -> u64 {
    let request = view.request;
    let mut images = 0;
    let mut parts_bytes = |parts: &[InputPart]| {
        let each = parts.iter().map(|part| match part {
            InputPart::Text { text } => text.len(),
            InputPart::Image { .. } => {
                images += 1;
                0
            }
        });
        each.sum::<usize>()
    };
    let mut bytes = request.instructions.as_ref().map_or(0, String::len);
    for item in &request.input {
        bytes += match item {
            ContextItem::User { content } => parts_bytes(content),
            ContextItem::Note { text } | ContextItem::Assistant { text, .. } => text.len(),
            ContextItem::Reasoning { summary, .. } => summary.iter().map(String::len).sum(),
            ContextItem::Call { name, arguments, .. } => name.len() + arguments.len(),
            ContextItem::CallResult { output: FunctionOutput::Text(text), .. } => text.len(),
            ContextItem::CallResult { output: FunctionOutput::Content(parts), .. } => parts_bytes(parts),
        };
    }
    for tool in &request.tools {
        bytes += tool.name.len() + tool.description.len() + tool.parameters.to_string().len();
    }
    (bytes as u64).div_ceil(BYTES_PER_TOKEN) + images * TOKENS_PER_IMAGE
}
