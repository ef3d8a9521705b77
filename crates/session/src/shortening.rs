//! Which items are shown as previews, where cutting older ones off is not enough or not possible.

use tenure_journal::{FunctionOutput, InputPart, Item, ItemBody, ItemId, limit};

use crate::Session;
use crate::gauge::Built;
use crate::plain::plain;

/// Bytes that an image stands for in the place of a text.
const IMAGE_BYTES: u64 = 3_000;

/// What may be shown as a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shorten {
    /// What tools gave.
    Outputs,
    /// Everything: messages, answers and arguments, too. What the model is asked last comes last.
    Everything,
}

/// The oldest items that have to be shown as previews to save `excess` tokens, or all that can be.
pub(crate) fn to_shorten(state: &Session, built: &Built, which: Shorten, excess: u64) -> Vec<ItemId> {
    let tokens = built.by_place();
    let mut candidates: Vec<(ItemId, u64)> = state
        .items()
        .filter(|(_, item)| !state.shortened.contains(&item.id))
        .map(|(place, item)| {
            let all = tokens.get(&place).copied().unwrap_or(0);
            (item.id, saved(item, which), plain(item).1.len() as u64, all)
        })
        .filter(|(_, saved, ..)| *saved > 0)
        // What is saved is counted again afterwards.
        .map(|(id, saved, length, all)| (id, (all * saved / length.max(saved)).max(1)))
        .collect();
    let asked = state.items().rev().map(|(_, item)| item).find(|item| state.is_given(item));
    if let Some(place) = candidates.iter().position(|(id, _)| Some(*id) == asked.map(|item| item.id)) {
        let asked = candidates.remove(place);
        candidates.push(asked);
    }
    let mut total = 0;
    let enough = |(_, saved): &(ItemId, u64)| {
        let more = total < excess;
        total += saved;
        more
    };
    candidates.into_iter().take_while(enough).map(|(id, _)| id).collect()
}

/// About how many bytes a preview of an item saves.
fn saved(item: &Item, which: Shorten) -> u64 {
    let text = |length: usize| length.saturating_sub(limit::SHORTENED_BYTES_MAX) as u64;
    let texts = |texts: &[String]| texts.iter().map(|one| text(one.len())).sum::<u64>();
    let everything = |bytes: u64| match which {
        Shorten::Outputs => 0,
        Shorten::Everything => bytes,
    };
    match &item.body {
        ItemBody::UserMessage { content, .. } => everything(parts(content)),
        ItemBody::AgentMessage { reports: None, content, .. } => everything(texts(content)),
        ItemBody::AgentMessage { .. } => 0,
        ItemBody::AssistantMessage { content, .. } => everything(text(content.iter().map(String::len).sum())),
        ItemBody::Reasoning { encrypted, .. } => {
            everything(encrypted.as_ref().map_or(0, |opaque| opaque.len() as u64))
        }
        ItemBody::FunctionCall { arguments, .. } => everything(text(arguments.to_string().len())),
        ItemBody::FunctionCallOutput { output, error, .. } => match (error, output) {
            (Some(error), _) => text(error.len()),
            (None, Some(FunctionOutput::Text(given))) => text(given.len()),
            (None, Some(FunctionOutput::Content(given))) => parts(given),
            (None, None) => 0,
        },
        ItemBody::McpCall { arguments, output, error, .. }
        | ItemBody::SubagentCall { arguments, output, error, .. } => {
            let given = error.as_ref().or(output.as_ref()).map_or(0, String::len);
            text(given) + everything(text(arguments.to_string().len()))
        }
        ItemBody::CommandExecution { arguments, output, error, .. } => {
            let given = output.as_ref().map_or(0, String::len) + error.as_ref().map_or(0, String::len);
            text(given) + everything(text(arguments.to_string().len()))
        }
        ItemBody::InternalCall { arguments, output, .. } => {
            text(output.len()) + everything(text(arguments.len()))
        }
    }
}

fn parts(parts: &[InputPart]) -> u64 {
    let part = |part: &InputPart| match part {
        InputPart::Text { text } => text.len().saturating_sub(limit::SHORTENED_BYTES_MAX) as u64,
        InputPart::Image { .. } => IMAGE_BYTES,
    };
    parts.iter().map(part).sum()
}
