//! The context: the exact items a model sees next, well-formed for a strict provider by construction.
//!
//! Every call is directly followed by its result: what it gave, its error, or an explicit "interrupted".
//! The calls of one answer stay together, their results after them in the same order. Reasoning goes back
//! only to the model that thought it, and never as the last word of an answer. The prefix is stable from
//! step to step, so that provider caches hit.

use tenure_journal::{
    ContextItem, FunctionOutput, InputPart, Item, ItemBody, ItemId, ItemStatus, ModelRequest, TurnId, limit,
};

use crate::Session;
use crate::catalogue;
use crate::pinned;
use crate::skills;

/// Told about a call whose turn was cancelled before its result.
const CANCELLED: &str =
    "The call was interrupted because the turn was cancelled. It may or may not have taken effect.";
/// Told about an async call whose result has not come yet.
const ACCEPTED: &str = "Accepted. The result will follow in a later message.";
/// Told about a function that failed without saying why.
const FAILED: &str = "The function failed.";
/// Shown for an image in an output that is shortened.
const IMAGE_LEFT_OUT: &str = "[An image was left out because it no longer fits.]";
/// Bytes of text that make about one token; providers' tokenisers differ, so this errs on the small side.
const BYTES_PER_TOKEN: u64 = 3;
/// Tokens an image is counted as.
const TOKENS_PER_IMAGE: u64 = 1_000;

impl Session {
    /// The request the next step sends to the model. Pure; equal states give equal requests.
    #[must_use]
    pub fn context(&self) -> ModelRequest {
        ModelRequest {
            model: self.agent.model.clone(),
            instructions: self.instructions(),
            input: self.input(),
            tools: catalogue::of(self).iter().map(|offer| offer.spec(self)).collect(),
            reasoning: self.agent.reasoning,
            text: self.agent.text.clone(),
            service_tier: self.agent.service_tier,
            cache_key: self.key.session.to_string(),
            cache_ttl: self.prompt_cache.as_ref().map(|cache| cache.ttl.clone()),
            output_tokens_max: None,
        }
    }

    /// The agent's instructions and, below them, the skills it can turn to. Stable from step to step.
    fn instructions(&self) -> Option<String> {
        let own = self.agent.instructions.as_deref();
        match (own, skills::index(self.skills())) {
            (own, None) => own.map(str::to_owned),
            (None, Some(index)) => Some(index),
            (Some(own), Some(index)) => Some(format!("{own}\n\n{index}")),
        }
    }

    fn input(&self) -> Vec<ContextItem> {
        let mut out: Vec<ContextItem> = pinned::section(&self.blocks).into_iter().map(note).collect();
        if self.dropped > 0 {
            out.push(note(format!(
                "{} earlier items of this conversation were left out because they no longer fit.",
                self.dropped
            )));
        }
        let active = self.turn.as_ref().map(|turn| &turn.row);
        let mut time_told = !self.agent.time_awareness;
        let mut rest = self.items.as_slice();
        while let Some(first) = rest.first() {
            if let (false, Some(turn)) = (time_told, active.filter(|turn| turn.id == first.turn_id)) {
                time_told = true;
                out.push(note(format!("The current time is {}.", rfc3339(turn.created_at.as_secs()))));
            }
            let length = answer_length(rest);
            if length == 0 {
                out.extend(self.given(first));
                rest = &rest[1..];
            } else {
                self.answer(&rest[..length], &mut out);
                rest = &rest[length..];
            }
        }
        out
    }

    /// An item that the model did not make.
    fn given(&self, item: &Item) -> Option<ContextItem> {
        match &item.body {
            ItemBody::UserMessage { content, .. } => Some(ContextItem::User { content: content.clone() }),
            // What a subagent reports is told as the result of waiting for it.
            ItemBody::AgentMessage { content, reports: None, .. } => {
                Some(ContextItem::User { content: content.iter().map(InputPart::text).collect() })
            }
            ItemBody::FunctionCallOutput { call_id, output, error } if self.stands_alone(call_id) => {
                let mut content =
                    vec![InputPart::text(format!("The result of the earlier call `{call_id}` has arrived:"))];
                let output = function_output(output.as_ref(), error.as_deref());
                match self.as_shown(item.id, output) {
                    FunctionOutput::Text(text) => content.push(InputPart::text(text)),
                    FunctionOutput::Content(parts) => content.extend(parts),
                }
                Some(ContextItem::User { content })
            }
            // Shown beside the call it answers.
            ItemBody::FunctionCallOutput { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::InternalCall { .. } => None,
        }
    }

    /// One answer of the model: reasoning and text as they came, then its calls, then their results.
    fn answer(&self, items: &[std::sync::Arc<Item>], out: &mut Vec<ContextItem>) {
        let mut results = Vec::new();
        let mut thoughts = Vec::new();
        for item in items {
            let said = match &item.body {
                ItemBody::Reasoning { .. } => {
                    thoughts.extend(self.reasoning(item));
                    continue;
                }
                ItemBody::AssistantMessage { content, phase } => {
                    let text = content.concat();
                    if text.is_empty() {
                        continue;
                    }
                    ContextItem::Assistant { text, phase: *phase }
                }
                ItemBody::FunctionCall { call_id, name, arguments, is_async } => {
                    results.push((call_id.clone(), self.function_result(item, call_id, *is_async)));
                    call(call_id, name, arguments.to_string())
                }
                ItemBody::McpCall { call_id, tool, arguments, output, error, stored, .. } => {
                    let text = match (output, error) {
                        (_, Some(error)) => error.clone(),
                        (Some(output), None) => output.clone(),
                        (None, None) => CANCELLED.to_owned(),
                    };
                    let hint = stored.as_ref().map(|_| read_hint(item.id));
                    let text = if self.shortened.contains(&item.id) { shorten(&text) } else { text };
                    let text = text + hint.as_deref().unwrap_or_default();
                    results.push((call_id.clone(), FunctionOutput::Text(text)));
                    call(call_id, tool, arguments.to_string())
                }
                ItemBody::CommandExecution { call_id, tool, arguments, stored, .. } => {
                    let text = told_of_command(&item.body);
                    let hint = stored.as_ref().map(|_| read_hint(item.id));
                    let text = if self.shortened.contains(&item.id) { shorten(&text) } else { text };
                    let text = text + hint.as_deref().unwrap_or_default();
                    results.push((call_id.clone(), FunctionOutput::Text(text)));
                    call(call_id, tool, arguments.to_string())
                }
                ItemBody::SubagentCall { call_id, tool, arguments, output, error, .. } => {
                    let text = error.as_ref().or(output.as_ref()).map_or(CANCELLED, String::as_str);
                    let output = FunctionOutput::Text(text.to_owned());
                    results.push((call_id.clone(), self.as_shown(item.id, output)));
                    call(call_id, tool, arguments.to_string())
                }
                ItemBody::InternalCall { call_id, name, arguments, output } => {
                    results.push((call_id.clone(), FunctionOutput::Text(output.clone())));
                    call(call_id, &legal_name(name), legal_arguments(arguments))
                }
                ItemBody::UserMessage { .. }
                | ItemBody::AgentMessage { .. }
                | ItemBody::FunctionCallOutput { .. } => continue,
            };
            // A thought goes with what it led to; one that led to nothing is left out.
            out.append(&mut thoughts);
            out.push(said);
        }
        out.extend(results.into_iter().map(|(call_id, output)| ContextItem::CallResult { call_id, output }));
    }

    fn reasoning(&self, item: &Item) -> Option<ContextItem> {
        match &item.body {
            ItemBody::Reasoning { summary, encrypted: Some(encrypted), provider_id, model }
                if *model == self.agent.model && item.status == ItemStatus::Completed =>
            {
                Some(ContextItem::Reasoning {
                    provider_id: provider_id.clone(),
                    summary: summary.clone(),
                    encrypted: Some(encrypted.clone()),
                })
            }
            ItemBody::Reasoning { .. }
            | ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::FunctionCallOutput { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => None,
        }
    }

    fn function_result(&self, call: &Item, wanted: &str, is_async: bool) -> FunctionOutput {
        if is_async {
            return FunctionOutput::Text(ACCEPTED.to_owned());
        }
        let found = self.items.iter().find_map(|item| match &item.body {
            ItemBody::FunctionCallOutput { call_id, output, error } if call_id == wanted => {
                Some(self.as_shown(item.id, function_output(output.as_ref(), error.as_deref())))
            }
            ItemBody::FunctionCallOutput { .. }
            | ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => None,
        });
        debug_assert!(
            found.is_some() || call.status != ItemStatus::Completed,
            "a completed call has its output"
        );
        found.unwrap_or_else(|| FunctionOutput::Text(CANCELLED.to_owned()))
    }

    /// A call's output as far as the model is shown it.
    fn as_shown(&self, item: ItemId, output: FunctionOutput) -> FunctionOutput {
        if !self.shortened.contains(&item) {
            return output;
        }
        let part = |part: &InputPart| match part {
            InputPart::Text { text } => InputPart::text(shorten(text)),
            InputPart::Image { .. } => InputPart::text(IMAGE_LEFT_OUT),
        };
        match output {
            FunctionOutput::Text(text) => FunctionOutput::Text(shorten(&text)),
            FunctionOutput::Content(parts) => FunctionOutput::Content(parts.iter().map(part).collect()),
        }
    }

    /// Whether the output of this call is shown by itself: the model did not wait for it, or the call has
    /// left the context.
    fn stands_alone(&self, wanted: &str) -> bool {
        !self.items.iter().any(|item| {
            matches!(&item.body, ItemBody::FunctionCall { call_id, is_async: false, .. } if call_id == wanted)
        })
    }

    /// Whether the context names an output that is stored whole elsewhere.
    pub(crate) fn has_stored_output(&self) -> bool {
        self.items.iter().any(|item| match &item.body {
            ItemBody::McpCall { stored, .. } | ItemBody::CommandExecution { stored, .. } => stored.is_some(),
            ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::FunctionCallOutput { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => false,
        })
    }
}

/// How many items at the front belong to one answer; 0 when the first was not made by the model.
fn answer_length(items: &[std::sync::Arc<Item>]) -> usize {
    let place = |item: &Item| item.step.map(|step| (item.turn_id, step));
    let Some(first) = items.first().and_then(|item| place(item)) else { return 0 };
    // Results and messages of users never stand between the items of one answer.
    items.iter().take_while(|item| place(item) == Some(first)).count()
}

fn read_hint(item: ItemId) -> String {
    format!("\n[Shortened. Read more with read_output, output_id `{item}`.]")
}

/// What the model is told about a command: how it ended, then what it wrote.
fn told_of_command(body: &ItemBody) -> String {
    let ItemBody::CommandExecution { output, error, exit_code, .. } = body else { return String::new() };
    let end = match (exit_code, error) {
        (Some(code), None) => format!("Exit code {code}."),
        (Some(code), Some(error)) => format!("Exit code {code}. {error}"),
        (None, Some(error)) => error.clone(),
        (None, None) => CANCELLED.to_owned(),
    };
    match output.as_deref() {
        None | Some("") => end,
        Some(output) => format!("{end}\n{output}"),
    }
}

fn call(call_id: &str, name: &str, arguments: String) -> ContextItem {
    ContextItem::Call { call_id: call_id.to_owned(), name: name.to_owned(), arguments }
}

fn note(text: String) -> ContextItem {
    ContextItem::Note { text }
}

fn function_output(output: Option<&FunctionOutput>, error: Option<&str>) -> FunctionOutput {
    match (error, output) {
        (Some(error), _) => FunctionOutput::Text(error.to_owned()),
        (None, Some(output)) => output.clone(),
        (None, None) => FunctionOutput::Text(FAILED.to_owned()),
    }
}

/// A name the model made up may be none that a provider takes back.
fn legal_name(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    let name: String = name.chars().map(legal).take(64).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

/// Arguments that are not JSON are not handed back: the result says what was wrong with them.
fn legal_arguments(arguments: &str) -> String {
    let is_object =
        matches!(tenure_journal::json::parse(arguments.as_bytes()), Ok(serde_json::Value::Object(_)));
    if is_object { arguments.to_owned() } else { "{}".to_owned() }
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "unknown".to_owned(), |time| time.to_string())
}

/// The beginning and the end of a text that is too long to be shown whole, within the limit.
fn shorten(text: &str) -> String {
    /// What says how much is missing, with room for long numbers.
    const MARK_BYTES_MAX: usize = 128;
    const KEPT: usize = limit::SHORTENED_BYTES_MAX - MARK_BYTES_MAX;
    if text.len() <= limit::SHORTENED_BYTES_MAX {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(KEPT * 3 / 4);
    let tail = text.ceil_char_boundary(text.len() - KEPT / 4);
    let (left_out, whole) = (tail - head, text.len());
    format!(
        "{}\n[... {left_out} of {whole} bytes left out because they no longer fit ...]\n{}",
        &text[..head],
        &text[tail..]
    )
}

/// About how many tokens the whole request takes, tools included.
pub(crate) fn estimate_request_tokens(state: &Session) -> u64 {
    let tool = |offer: &catalogue::Offer<'_>| {
        let spec = offer.spec(state);
        spec.name.len() + spec.description.len() + spec.parameters.to_string().len()
    };
    let tools: usize = catalogue::of(state).iter().map(tool).sum();
    estimate_tokens(state) + tools as u64 / BYTES_PER_TOKEN
}

/// About how many tokens the context takes.
pub(crate) fn estimate_tokens(state: &Session) -> u64 {
    let fixed = state.agent.instructions.as_ref().map_or(0, String::len) + pinned::bytes(&state.blocks);
    let fixed =
        (fixed + skills::index(state.skills()).map_or(0, |index| index.len())) as u64 / BYTES_PER_TOKEN;
    fixed + state.items.iter().map(|item| shown_tokens(state, item)).sum::<u64>()
}

fn shown_tokens(state: &Session, item: &Item) -> u64 {
    item_tokens(item, state.shortened.contains(&item.id))
}

/// About how many tokens an item takes, with its output whole or shortened.
fn item_tokens(item: &Item, shortened: bool) -> u64 {
    let text = |length: usize| length as u64 / BYTES_PER_TOKEN + 4;
    let output = |length: usize| if shortened { length.min(limit::SHORTENED_BYTES_MAX) } else { length };
    let image = if shortened { text(IMAGE_LEFT_OUT.len()) } else { TOKENS_PER_IMAGE };
    match &item.body {
        ItemBody::UserMessage { content, .. } => {
            let part = |part: &InputPart| match part {
                InputPart::Text { text: given } => text(given.len()),
                InputPart::Image { .. } => TOKENS_PER_IMAGE,
            };
            content.iter().map(part).sum()
        }
        ItemBody::AssistantMessage { content, .. } => text(content.iter().map(String::len).sum()),
        ItemBody::Reasoning { encrypted, .. } => text(encrypted.as_ref().map_or(0, String::len)),
        ItemBody::FunctionCall { arguments, .. } => text(arguments.to_string().len()),
        ItemBody::FunctionCallOutput { output: given, error, .. } => match (error, given) {
            (None, Some(FunctionOutput::Content(parts))) => {
                let part = |part: &InputPart| match part {
                    InputPart::Text { text: given } => text(output(given.len())),
                    InputPart::Image { .. } => image,
                };
                parts.iter().map(part).sum()
            }
            (None, Some(FunctionOutput::Text(given))) => text(output(given.len())),
            (Some(error), _) => text(output(error.len())),
            (None, None) => text(FAILED.len()),
        },
        ItemBody::McpCall { arguments, output: given, error, .. } => {
            let given = error.as_ref().or(given.as_ref()).map_or(0, String::len);
            text(arguments.to_string().len() + output(given))
        }
        ItemBody::CommandExecution { arguments, output: given, error, .. } => {
            let given = given.as_ref().map_or(0, String::len) + error.as_ref().map_or(0, String::len);
            text(arguments.to_string().len() + output(given))
        }
        ItemBody::SubagentCall { arguments, output: given, error, .. } => {
            let given = error.as_ref().or(given.as_ref()).map_or(0, String::len);
            text(arguments.to_string().len() + output(given))
        }
        ItemBody::AgentMessage { reports: Some(_), .. } => 0,
        ItemBody::AgentMessage { content, .. } => text(content.iter().map(String::len).sum()),
        ItemBody::InternalCall { arguments, output, .. } => text(arguments.len() + output.len()),
    }
}

/// Where to cut so that about the older half goes, and how many items that is.
///
/// A cut is made only before what a client gave or before an answer, so a call is never parted from the
/// result it waited for. Nothing of the running turn goes: the model would not know what it was asked, and a
/// call or a question that is open would be forgotten. What is open from an earlier turn stays as well.
pub(crate) fn older_half(state: &Session) -> Option<(ItemId, u32)> {
    let items = &state.items;
    let running = state.turn.as_ref().map(|turn| turn.row.id);
    let half = items.iter().map(|item| shown_tokens(state, item)).sum::<u64>() / 2;
    let mut before = 0;
    let mut previous: Option<(TurnId, Option<u32>)> = None;
    let mut cut = None;
    for (index, item) in items.iter().enumerate() {
        if index > 0 && items[index - 1].status == ItemStatus::InProgress {
            break;
        }
        let place = (item.turn_id, item.step);
        let begins = || match &item.body {
            ItemBody::UserMessage { .. } | ItemBody::AgentMessage { reports: None, .. } => true,
            ItemBody::AgentMessage { .. } => false,
            ItemBody::FunctionCallOutput { call_id, .. } => state.stands_alone(call_id),
            ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::InternalCall { .. } => previous != Some(place),
        };
        if index > 0 && begins() {
            cut = Some((item.id, u32::try_from(index).unwrap_or(u32::MAX)));
            if before >= half {
                break;
            }
        }
        if running == Some(item.turn_id) {
            break;
        }
        before += shown_tokens(state, item);
        previous = Some(place);
    }
    cut
}

/// How much to shorten.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Excess {
    /// So many tokens too many.
    Tokens(u64),
    /// The provider says that it is too long, and not by how much.
    Unknown,
}

/// The oldest tool outputs that have to be shown as previews to make up for `excess`, or all that can be.
/// Of an excess that is not known, half of what can be saved is.
pub(crate) fn outputs_to_shorten(state: &Session, excess: Excess) -> Vec<ItemId> {
    let saved = |item: &Item| item_tokens(item, false).saturating_sub(item_tokens(item, true));
    let candidates: Vec<(ItemId, u64)> = state
        .items
        .iter()
        .filter(|item| !state.shortened.contains(&item.id))
        .map(|item| (item.id, saved(item)))
        .filter(|(_, saved)| *saved > 0)
        .collect();
    let wanted = match excess {
        Excess::Tokens(tokens) => tokens,
        Excess::Unknown => candidates.iter().map(|(_, saved)| saved).sum::<u64>().div_ceil(2),
    };
    let mut total = 0;
    let enough = |(_, saved): &(ItemId, u64)| {
        let more = total < wanted;
        total += saved;
        more
    };
    candidates.into_iter().take_while(enough).map(|(id, _)| id).collect()
}
