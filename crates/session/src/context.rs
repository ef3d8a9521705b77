//! The context: the exact items a model sees next, well-formed for a strict provider by construction.
//!
//! Every call is directly followed by its result: what it gave, its error, or an explicit "interrupted".
//! The calls of one answer stay together, their results after them in the same order. Reasoning goes back
//! only to the model that thought it, and never as the last word of an answer. The prefix is stable from
//! step to step, so that provider caches hit: it changes only where something was edited, compacted or shortened.
//!
//! What is left out or shown shorter is no decision of this module: events say so, and here it is followed. So a
//! context of the past is built again from the journal, whatever the settings are by now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;
use tenure_journal::{
    ContextItem, FunctionOutput, InputPart, Item, ItemBody, ItemId, ItemStatus, ModelRequest, limit,
};

use crate::Session;
use crate::catalogue;
use crate::compaction;
use crate::pinned;
use crate::procedures;
use crate::skills;

/// Told about a call whose turn was cancelled before its result.
const CANCELLED: &str =
    "The call was interrupted because the turn was cancelled. It may or may not have taken effect.";
/// Told about an async call whose result has not come yet.
const ACCEPTED: &str = "Accepted. The result will follow in a later message.";
/// Told about a function that failed without saying why.
const FAILED: &str = "The function failed.";
/// Shown for an image that is shortened.
const IMAGE_LEFT_OUT: &str = "[An image was left out because it no longer fits.]";

/// A part of a context, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The agent's instructions.
    Instructions,
    /// The index of skills.
    Skills,
    /// Memory that is always shown.
    Pinned,
    /// What stands for older items.
    Past,
    /// Items.
    Recent,
    /// The tools on offer.
    Tools,
}

/// Why something is in a context as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Whole.
    Kept,
    /// As a preview: the whole did not fit.
    Shortened,
    /// It is memory that is always shown.
    Pinned,
    /// A summary stands for it.
    Compacted,
    /// It was left out because it did not fit.
    Dropped,
}

/// An item of the context, and where it is from.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) place: Option<u64>,
    pub(crate) item: Option<ItemId>,
    pub(crate) why: Why,
    pub(crate) shown: ContextItem,
}

/// What came of functions, and which the model waited for: looked up once, and not by every call.
struct Results<'a> {
    outputs: HashMap<&'a str, &'a Item>,
    waited: HashSet<&'a str>,
}

impl Session {
    /// The request the next step sends to the model. Pure; equal states give equal requests.
    #[must_use]
    pub fn context(&self) -> ModelRequest {
        self.request(self.pieces().into_iter().map(|piece| piece.shown).collect())
    }

    pub(crate) fn request(&self, input: Vec<ContextItem>) -> ModelRequest {
        ModelRequest {
            model: self.agent.model.clone(),
            instructions: self.instructions(),
            input,
            tools: catalogue::of(self).iter().map(|offer| offer.spec(self)).collect(),
            reasoning: self.agent.reasoning,
            text: self.agent.text.clone(),
            service_tier: self.agent.service_tier,
            cache_key: self.key.session.to_string(),
            cache_ttl: self.prompt_cache.as_ref().map(|cache| cache.ttl.clone()),
            output_tokens_max: None,
        }
    }

    /// What precedes the items: the agent's instructions and, below them, the skills it can turn to. Stable from
    /// step to step.
    pub(crate) fn preamble(&self) -> Vec<(Part, String)> {
        let own = self.agent.instructions.clone().map(|text| (Part::Instructions, text));
        let skills = skills::index(self.skills()).map(|text| (Part::Skills, text));
        own.into_iter().chain(skills).collect()
    }

    fn instructions(&self) -> Option<String> {
        let parts: Vec<String> = self.preamble().into_iter().map(|(_, text)| text).collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    /// Everything that is shown beside instructions and tools, in order.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut out = Vec::new();
        let of_nothing = |why, shown| Piece { place: None, item: None, why, shown };
        let pinned = [pinned::section(&self.blocks), procedures::section(&self.procedures)];
        out.extend(pinned.into_iter().flatten().map(|text| of_nothing(Why::Pinned, note(text))));
        if let Some(summary) = &self.summary {
            let text = compaction::shown(summary);
            // As the user's and not as the runtime's: it quotes whatever the conversation did.
            let shown = ContextItem::User { content: vec![InputPart::text(text)] };
            out.push(of_nothing(Why::Compacted, shown));
        } else if self.dropped > 0 {
            let text = format!(
                "{} earlier items of this conversation were left out because they no longer fit.",
                self.dropped
            );
            out.push(of_nothing(Why::Dropped, note(text)));
        }
        let results = self.results();
        let active = self.turn.as_ref().map(|turn| &turn.row);
        let mut time_told = !self.agent.time_awareness;
        let mut tell_time = |first: &Item, out: &mut Vec<Piece>| {
            if let (false, Some(turn)) = (time_told, active.filter(|turn| turn.id == first.turn_id)) {
                time_told = true;
                let text = format!("The current time is {}.", rfc3339(turn.created_at.as_secs()));
                out.push(of_nothing(Why::Kept, note(text)));
            }
        };
        for (place, item) in &self.carried {
            if self.is_given(item) {
                tell_time(item, &mut out);
                out.extend(self.given(item, &results).map(|shown| self.piece(*place, item, shown)));
            }
        }
        let mut place = self.dropped;
        let mut rest = self.items.as_slice();
        while let Some(first) = rest.first() {
            tell_time(first, &mut out);
            let length = answer_length(rest);
            if length == 0 {
                out.extend(self.given(first, &results).map(|shown| self.piece(place, first, shown)));
            } else {
                self.answer(place, &rest[..length], &results, &mut out);
            }
            place += length.max(1) as u64;
            rest = &rest[length.max(1)..];
        }
        out
    }

    fn piece(&self, place: u64, item: &Item, shown: ContextItem) -> Piece {
        let why = if self.shortened.contains(&item.id) { Why::Shortened } else { Why::Kept };
        Piece { place: Some(place), item: Some(item.id), why, shown }
    }

    fn results(&self) -> Results<'_> {
        let mut outputs = HashMap::new();
        let mut waited = HashSet::new();
        for item in &self.items {
            if let ItemBody::FunctionCallOutput { call_id, .. } = &item.body {
                outputs.entry(call_id.as_str()).or_insert(item.as_ref());
            }
            if let ItemBody::FunctionCall { call_id, is_async: false, .. } = &item.body {
                waited.insert(call_id.as_str());
            }
        }
        Results { outputs, waited }
    }

    /// An item that the model did not make.
    fn given(&self, item: &Item, results: &Results<'_>) -> Option<ContextItem> {
        match &item.body {
            ItemBody::UserMessage { content, .. } => {
                Some(ContextItem::User { content: self.parts_as_shown(item.id, content.clone()) })
            }
            // What a subagent reports is told as the result of waiting for it.
            ItemBody::AgentMessage { content, reports: None, .. } => {
                let content = content.iter().map(InputPart::text).collect();
                Some(ContextItem::User { content: self.parts_as_shown(item.id, content) })
            }
            ItemBody::FunctionCallOutput { call_id, output, error }
                if !results.waited.contains(call_id.as_str()) =>
            {
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
    fn answer(&self, place: u64, items: &[Arc<Item>], outputs: &Results<'_>, out: &mut Vec<Piece>) {
        let mut results = Vec::new();
        let mut thoughts = Vec::new();
        // What was said after a call is shown after the results, which nothing may part from their calls.
        let (mut called, mut later) = (false, Vec::new());
        for (place, item) in (place..).zip(items) {
            let call = |call_id: &str, name: &str, arguments: String| {
                call(call_id, name, self.arguments_as_shown(item.id, arguments))
            };
            let mut result = |call_id: &String, output| {
                let shown = ContextItem::CallResult { call_id: call_id.clone(), output };
                results.push(self.piece(place, item, shown));
            };
            let said = match &item.body {
                ItemBody::Reasoning { .. } => {
                    thoughts.extend(self.reasoning(item).map(|shown| self.piece(place, item, shown)));
                    continue;
                }
                ItemBody::AssistantMessage { content, phase } => {
                    let text = content.concat();
                    if text.is_empty() {
                        continue;
                    }
                    ContextItem::Assistant { text: self.text_as_shown(item.id, text), phase: *phase }
                }
                ItemBody::FunctionCall { call_id, name, arguments, is_async } => {
                    result(call_id, self.function_result(item, call_id, *is_async, outputs));
                    call(call_id, name, arguments.to_string())
                }
                ItemBody::McpCall { call_id, tool, arguments, output, error, stored, .. } => {
                    let text = match (output, error) {
                        (_, Some(error)) => error.clone(),
                        (Some(output), None) => output.clone(),
                        (None, None) => CANCELLED.to_owned(),
                    };
                    let hint = stored.as_ref().map(|_| read_hint(item.id));
                    let text = self.text_as_shown(item.id, text) + hint.as_deref().unwrap_or_default();
                    result(call_id, FunctionOutput::Text(text));
                    call(call_id, tool, arguments.to_string())
                }
                ItemBody::CommandExecution { call_id, tool, arguments, stored, .. } => {
                    let text = told_of_command(&item.body);
                    let hint = stored.as_ref().map(|_| read_hint(item.id));
                    let text = self.text_as_shown(item.id, text) + hint.as_deref().unwrap_or_default();
                    result(call_id, FunctionOutput::Text(text));
                    call(call_id, tool, arguments.to_string())
                }
                ItemBody::SubagentCall { call_id, tool, arguments, output, error, .. } => {
                    let text = error.as_ref().or(output.as_ref()).map_or(CANCELLED, String::as_str);
                    let output = FunctionOutput::Text(text.to_owned());
                    result(call_id, self.as_shown(item.id, output));
                    call(call_id, tool, arguments.to_string())
                }
                ItemBody::InternalCall { call_id, name, arguments, output } => {
                    result(call_id, FunctionOutput::Text(self.text_as_shown(item.id, output.clone())));
                    call(call_id, &legal_name(name), legal_arguments(arguments))
                }
                ItemBody::UserMessage { .. }
                | ItemBody::AgentMessage { .. }
                | ItemBody::FunctionCallOutput { .. } => continue,
            };
            let is_call = matches!(said, ContextItem::Call { .. });
            called |= is_call;
            let out = if called && !is_call { &mut later } else { &mut *out };
            // A thought goes with what it led to; one that led to nothing is left out.
            out.append(&mut thoughts);
            out.push(self.piece(place, item, said));
        }
        out.append(&mut results);
        out.append(&mut later);
    }

    fn reasoning(&self, item: &Item) -> Option<ContextItem> {
        match &item.body {
            ItemBody::Reasoning { summary, encrypted: Some(encrypted), provider_id, model }
                if *model == self.agent.model
                    && item.status == ItemStatus::Completed
                    && !self.shortened.contains(&item.id) =>
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

    fn function_result(
        &self,
        call: &Item,
        wanted: &str,
        is_async: bool,
        results: &Results<'_>,
    ) -> FunctionOutput {
        if is_async {
            return FunctionOutput::Text(ACCEPTED.to_owned());
        }
        let found = results.outputs.get(wanted).and_then(|item| match &item.body {
            ItemBody::FunctionCallOutput { output, error, .. } => {
                Some(self.as_shown(item.id, function_output(output.as_ref(), error.as_deref())))
            }
            ItemBody::UserMessage { .. }
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
        match output {
            FunctionOutput::Text(text) => FunctionOutput::Text(self.text_as_shown(item, text)),
            FunctionOutput::Content(parts) => FunctionOutput::Content(self.parts_as_shown(item, parts)),
        }
    }

    fn parts_as_shown(&self, item: ItemId, parts: Vec<InputPart>) -> Vec<InputPart> {
        if !self.shortened.contains(&item) {
            return parts;
        }
        let part = |part: &InputPart| match part {
            InputPart::Text { text } => InputPart::text(shorten(text)),
            InputPart::Image { .. } => InputPart::text(IMAGE_LEFT_OUT),
        };
        parts.iter().map(part).collect()
    }

    fn text_as_shown(&self, item: ItemId, text: String) -> String {
        if self.shortened.contains(&item) { shorten(&text) } else { text }
    }

    /// A call's arguments, which have to stay JSON.
    fn arguments_as_shown(&self, item: ItemId, arguments: String) -> String {
        if arguments.len() <= limit::SHORTENED_BYTES_MAX || !self.shortened.contains(&item) {
            return arguments;
        }
        json!({ "shortened": shorten(&arguments) }).to_string()
    }

    /// Whether the output of this call is shown by itself: the model did not wait for it, or the call has
    /// left the context.
    pub(crate) fn stands_alone(&self, wanted: &str) -> bool {
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
fn answer_length(items: &[Arc<Item>]) -> usize {
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
    shorten_to(text, limit::SHORTENED_BYTES_MAX)
}

/// The same within another limit.
pub(crate) fn shorten_to(text: &str, bytes_max: usize) -> String {
    /// What says how much is missing, with room for long numbers.
    const MARK_BYTES_MAX: usize = 128;
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    if bytes_max < 2 * MARK_BYTES_MAX {
        let kept = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
        return format!("{}…", &text[..kept]);
    }
    let kept = bytes_max - MARK_BYTES_MAX;
    let head = text.floor_char_boundary(kept * 3 / 4);
    let tail = text.ceil_char_boundary(text.len() - kept / 4);
    let (left_out, whole) = (tail - head, text.len());
    format!(
        "{}\n[... {left_out} of {whole} bytes left out because they no longer fit ...]\n{}",
        &text[..head],
        &text[tail..]
    )
}
