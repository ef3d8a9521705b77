//! What follows from a model's answer: items, and the effects it asks for.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenure_journal::{
    AnswerItem, Done, Effect, EffectId, EffectKind, Event, FailureKind, Item, ItemBody, ItemId, ItemStatus,
    Labels, ModelAnswer, Phase, Repeat, Review, ServerRef, Stop, ToolEffect, TurnId, json as strict, limit,
};
use tenure_policy::{Action, ToolFacts, ToolLabels, Verdict};

use super::Draft;
use super::approval::{TOOL_CALL, Waiting};
use super::attempt::turn_code;
use super::permission::Asking;
use crate::catalogue::{
    self, BUILTIN_LABEL, BuiltinTool, EnvironmentTool, READ_OUTPUT, SubagentTool, Target,
};

/// Call ids longer than this are replaced: no provider needs them.
const CALL_ID_CHARS_MAX: usize = 64;
/// How much of arguments that cannot be read is kept, in characters.
const BAD_ARGUMENTS_CHARS_MAX: usize = 2_000;

/// Where an answer's items go.
///
/// Clients count a turn's outputs from 0. A text is streamed under its index before anyone knows which of the
/// answer's calls will be theirs to see, so an answer's messages and thinking are counted first, in their
/// order, and the calls that are public after them. [`tenure_journal::Item::step`] keeps the answer together.
pub(super) struct Place {
    pub(super) turn_id: TurnId,
    effect_id: EffectId,
    attempt: u32,
    step: u32,
    /// The next output index of a message or of thinking.
    said: u32,
    /// The next output index of a public call.
    called: u32,
    model: String,
}

impl Place {
    /// The output index of an item with this body, used up; absent for what clients do not see.
    fn take_output_index(&mut self, body: &ItemBody) -> Option<u32> {
        let next = match body {
            ItemBody::AssistantMessage { .. } | ItemBody::Reasoning { .. } => &mut self.said,
            ItemBody::FunctionCall { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. } => &mut self.called,
            ItemBody::InternalCall { .. }
            | ItemBody::UserMessage { .. }
            | ItemBody::FunctionCallOutput { .. } => return None,
        };
        let index = *next;
        *next += 1;
        Some(index)
    }
}

/// A call on its way to becoming an item.
pub(super) struct Call<'a> {
    pub(super) place: &'a mut Place,
    pub(super) index: u32,
    pub(super) call_id: String,
    /// The name the model used.
    pub(super) name: &'a str,
}

/// A call as it will be carried out, once its name and arguments were understood.
enum Understood {
    Function { name: String, arguments: Value, is_async: bool },
    Mcp { server_label: String, name: String, arguments: Value },
    Read { arguments: Value },
    Builtin { tool: BuiltinTool, arguments: Value },
    Search { query: String },
    Subagents { tool: SubagentTool, arguments: Value },
    Environment { tool: EnvironmentTool, arguments: Value },
    Rejected { error: String },
}

impl Draft<'_> {
    pub(super) fn answered(
        &mut self,
        effect: &Effect,
        attempt: u32,
        answer: &ModelAnswer,
        cost: Option<u64>,
    ) {
        let (EffectKind::ModelCall { model, step }, Some(turn_id)) = (&effect.kind, effect.turn_id) else {
            return;
        };
        let said = self.state.next_output_index();
        let is_said =
            |item: &&AnswerItem| matches!(item, AnswerItem::Message { .. } | AnswerItem::Reasoning { .. });
        let sayings = answer.items.iter().filter(is_said).count();
        let mut place = Place {
            turn_id,
            effect_id: effect.id,
            attempt,
            step: *step,
            said,
            called: said.saturating_add(u32::try_from(sayings).unwrap_or(u32::MAX)),
            model: model.clone(),
        };
        let response_id = answer.response_id.clone();
        self.settle(
            effect.id,
            attempt,
            Done::Model { usage: answer.usage, cost_nano_usd: cost, response_id },
            Labels::NEUTRAL,
        );
        let whole = answer.stop == Stop::Complete;
        let calls = answer.items.iter().any(|item| matches!(item, AnswerItem::ToolCall { .. }));
        for (index, item) in (0..).zip(&answer.items) {
            match item {
                AnswerItem::Message { content } => {
                    self.message_item(&mut place, index, content, whole, calls);
                }
                AnswerItem::Reasoning { summary, encrypted, provider_id } => {
                    let body = ItemBody::Reasoning {
                        summary: summary.clone(),
                        encrypted: encrypted.clone(),
                        provider_id: provider_id.clone(),
                        model: place.model.clone(),
                    };
                    self.add(&mut place, index, ItemStatus::Completed, body);
                }
                // The last call of an answer that was cut off may be cut off too; none of them is trusted.
                AnswerItem::ToolCall { .. } if !whole => {}
                AnswerItem::ToolCall { call_id, name, arguments } => {
                    self.tool_call(&mut place, index, call_id, name, arguments);
                }
            }
        }
        match answer.stop {
            Stop::Complete => {}
            Stop::MaxOutputTokens => self.fail_turn(
                turn_code(FailureKind::MaxOutputTokens),
                "the model's answer was cut off at its output limit".to_owned(),
            ),
            Stop::ContentFilter => self.fail_turn(
                turn_code(FailureKind::ContentPolicy),
                "the model's provider withheld the answer under its usage policy".to_owned(),
            ),
        }
    }

    pub(super) fn add(
        &mut self,
        place: &mut Place,
        index: u32,
        status: ItemStatus,
        body: ItemBody,
    ) -> ItemId {
        let id = ItemId::of_output(place.effect_id, place.attempt, index);
        let (output_index, step) = (place.take_output_index(&body), Some(place.step));
        // Whatever the model says, it says after everything it was shown.
        let labels = self.state.labels().clone();
        let turn_id = place.turn_id;
        self.push(Event::ItemAdded { item: Item { id, turn_id, status, output_index, step, body, labels } });
        id
    }

    fn message_item(&mut self, place: &mut Place, index: u32, content: &[String], whole: bool, calls: bool) {
        let status = if whole { ItemStatus::Completed } else { ItemStatus::Incomplete };
        let phase = match (whole, calls) {
            (true, true) => Some(Phase::Commentary),
            (true, false) => Some(Phase::FinalAnswer),
            (false, _) => None,
        };
        self.add(place, index, status, ItemBody::AssistantMessage { content: content.to_vec(), phase });
    }

    fn tool_call(&mut self, place: &mut Place, index: u32, call_id: &str, name: &str, arguments: &str) {
        let call_id = self.unique_call_id(place, index, call_id);
        match self.understand(name, arguments) {
            Understood::Function { name, arguments, is_async } => {
                let body = ItemBody::FunctionCall { call_id, name, arguments, is_async };
                self.add(place, index, ItemStatus::InProgress, body);
            }
            Understood::Mcp { server_label, name: tool, arguments } => {
                self.mcp_call(place, index, call_id, name, &server_label, &tool, arguments);
            }
            Understood::Read { arguments } => self.read_call(place, index, call_id, arguments),
            Understood::Builtin { tool, arguments } => {
                self.builtin_call(place, index, call_id, name, tool, &arguments);
            }
            Understood::Search { query } => {
                let output = self.search(&query);
                let arguments = json!({ "query": query }).to_string();
                let body = ItemBody::InternalCall { call_id, name: name.to_owned(), arguments, output };
                self.add(place, index, ItemStatus::Completed, body);
            }
            Understood::Subagents { tool, arguments: given } => {
                let call = Call { place: &mut *place, index, call_id, name };
                if let Err((call_id, error)) = self.subagent_call(call, tool, given) {
                    self.rejected(place, index, call_id, name, arguments, error);
                }
            }
            Understood::Environment { tool, arguments: given } => {
                let call = Call { place: &mut *place, index, call_id, name };
                if let Err((call_id, error)) = self.environment_call(call, tool, given) {
                    self.rejected(place, index, call_id, name, arguments, error);
                }
            }
            Understood::Rejected { error } => {
                self.rejected(place, index, call_id, name, arguments, error);
            }
        }
    }

    fn rejected(
        &mut self,
        place: &mut Place,
        index: u32,
        call_id: String,
        name: &str,
        arguments: &str,
        error: String,
    ) {
        let arguments = arguments.chars().take(BAD_ARGUMENTS_CHARS_MAX).collect();
        let name = name.chars().take(CALL_ID_CHARS_MAX).collect();
        let body = ItemBody::InternalCall { call_id, name, arguments, output: error };
        self.add(place, index, ItemStatus::Failed, body);
    }

    /// The provider's call id if it is usable and new, else one of our own.
    fn unique_call_id(&self, place: &Place, index: u32, wanted: &str) -> String {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let usable = !wanted.is_empty() && wanted.len() <= CALL_ID_CHARS_MAX && wanted.chars().all(legal);
        let taken: BTreeSet<&str> = self.state.items().filter_map(|(_, item)| item.call_id()).collect();
        if usable && !taken.contains(wanted) {
            return wanted.to_owned();
        }
        let id = ItemId::of_output(place.effect_id, place.attempt, index).to_string();
        id.replace("item_", "call_")
    }

    fn understand(&self, name: &str, arguments: &str) -> Understood {
        let rejected = |error: String| Understood::Rejected { error };
        if self.state.turn.as_ref().is_some_and(|turn| turn.calls >= limit::CALLS_PER_TURN_MAX) {
            let most = limit::CALLS_PER_TURN_MAX;
            return rejected(format!(
                "Not called: a turn may make at most {most} calls. Answer with what you have."
            ));
        }
        let offers = catalogue::of(&self.state);
        let Some(offer) = offers.iter().find(|offer| offer.name == name) else {
            let names: Vec<&str> = offers.iter().map(|offer| offer.name.as_str()).take(32).collect();
            return rejected(format!(
                "Not called: there is no tool of that name. Tools: {}.",
                names.join(", ")
            ));
        };
        let text = if arguments.trim().is_empty() { "{}" } else { arguments };
        let arguments = match strict::parse(text.as_bytes()) {
            Ok(value @ Value::Object(_)) => value,
            Ok(_) => return rejected("Not called: the arguments must be a JSON object.".to_owned()),
            Err(error) => return rejected(format!("Not called: the arguments cannot be read: {error}.")),
        };
        match &offer.target {
            Target::Function(function) => {
                Understood::Function { name: function.name.clone(), arguments, is_async: function.is_async }
            }
            Target::Mcp { server_label, def } => Understood::Mcp {
                server_label: (*server_label).to_owned(),
                name: def.name.clone(),
                arguments,
            },
            Target::Search => match arguments.get("query").and_then(Value::as_str) {
                Some(query) => Understood::Search { query: query.to_owned() },
                None => rejected("Not called: `query` must be a string.".to_owned()),
            },
            Target::Read => Understood::Read { arguments },
            Target::Builtin(tool) => Understood::Builtin { tool: *tool, arguments },
            Target::Subagents(tool) => Understood::Subagents { tool: *tool, arguments },
            Target::Environment(tool) => Understood::Environment { tool: *tool, arguments },
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a call is its place, its pairing, its two names and its arguments"
    )]
    fn mcp_call(
        &mut self,
        place: &mut Place,
        index: u32,
        call_id: String,
        tool: &str,
        server_label: &str,
        name: &str,
        arguments: Value,
    ) {
        let body = ItemBody::McpCall {
            call_id,
            tool: tool.to_owned(),
            server_label: server_label.to_owned(),
            name: name.to_owned(),
            arguments: arguments.clone(),
            output: None,
            error: None,
            stored: None,
        };
        let item_id = self.add(place, index, ItemStatus::InProgress, body);
        let refuse =
            |error: String| Event::ItemClosed { item_id, status: ItemStatus::Failed, error: Some(error) };
        let asking = self.asking();
        let Some((judgement, repeat)) = self.verdict(server_label, name, &arguments, None, asking) else {
            self.push(refuse("The tool is no longer offered. The call was not made.".to_owned()));
            return;
        };
        let untrusted = judgement.untrusted.clone();
        match self.pronounce(judgement) {
            Verdict::Allow(permit) => self.request(Effect {
                id: EffectId::fresh(self.cx.fresh),
                turn_id: Some(place.turn_id),
                kind: EffectKind::ToolCall {
                    item_id,
                    server: catalogue::server_ref(&self.state, server_label),
                    name: name.to_owned(),
                    arguments,
                },
                repeat,
                permit: permit.into_record(),
            }),
            Verdict::Ask(_) if asking == Asking::Impossible => {
                self.push(refuse(
                    "The call needs approval, and this session denies what needs it.".to_owned(),
                ));
            }
            Verdict::Ask(hold) => {
                let turn_id = place.turn_id;
                let action = TOOL_CALL;
                let call = Waiting { turn_id, item_id, action, server_label, name, arguments, untrusted };
                self.ask(call, hold);
            }
            Verdict::Deny(denial) => {
                let by = if denial.policies.is_empty() {
                    "no policy permits it".to_owned()
                } else {
                    denial.policies.join(", ")
                };
                self.push(refuse(format!("Policy does not allow this call ({by}). It was not made.")));
            }
        }
    }

    /// Whether people can be asked in this session.
    pub(super) fn asking(&self) -> Asking {
        match self.state.review {
            // What the reviewer leaves to people, they are asked about. A subagent has nobody to ask.
            Some(Review::AutoReview) if self.cx.routes.reviewer.is_some() && self.state.parent.is_none() => {
                Asking::Possible
            }
            Some(Review::AutoReview) => Asking::Impossible,
            Some(Review::None) | None => Asking::Possible,
        }
    }

    fn read_call(&mut self, place: &mut Place, index: u32, call_id: String, arguments: Value) {
        let wanted =
            arguments.get("output_id").and_then(Value::as_str).and_then(|id| id.parse::<ItemId>().ok());
        let stored = wanted.and_then(|id| self.state.item(id)).and_then(|item| match &item.body {
            ItemBody::McpCall { stored, .. } | ItemBody::CommandExecution { stored, .. } => *stored,
            ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::FunctionCallOutput { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => None,
        });
        let offset = arguments.get("offset").and_then(Value::as_u64).unwrap_or(0);
        let tool = ToolFacts {
            server: BUILTIN_LABEL,
            name: READ_OUTPUT,
            builtin: true,
            read_only: true,
            destructive: false,
            labels: ToolLabels::of_builtin(ToolEffect::Read),
            parameters: None,
        };
        let body = ItemBody::McpCall {
            call_id,
            tool: READ_OUTPUT.to_owned(),
            server_label: BUILTIN_LABEL.to_owned(),
            name: READ_OUTPUT.to_owned(),
            arguments,
            output: None,
            error: None,
            stored: None,
        };
        let item_id = self.add(place, index, ItemStatus::InProgress, body);
        let refuse = |error: &str| Event::ItemClosed {
            item_id,
            status: ItemStatus::Failed,
            error: Some(error.to_owned()),
        };
        let Some(blob) = stored else {
            self.push(refuse(
                "`output_id` names no stored output; use the id given in the shortened output.",
            ));
            return;
        };
        let arguments = json!({ "blob": blob, "offset": offset });
        let action = Action::ToolCall { tool, mode: self.state.agent.approval };
        match self.permit(action, &arguments) {
            Verdict::Allow(permit) => self.request(Effect {
                id: EffectId::fresh(self.cx.fresh),
                turn_id: Some(place.turn_id),
                kind: EffectKind::ToolCall {
                    item_id,
                    server: ServerRef::Builtin,
                    name: READ_OUTPUT.to_owned(),
                    arguments: arguments.clone(),
                },
                repeat: Repeat::Freely,
                permit: permit.into_record(),
            }),
            Verdict::Ask(_) | Verdict::Deny(_) => self.push(refuse("Policy does not allow this call.")),
        }
    }

    /// A call of a built-in tool whose arguments go to the runtime as the model gave them.
    fn builtin_call(
        &mut self,
        place: &mut Place,
        index: u32,
        call_id: String,
        shown_as: &str,
        tool: BuiltinTool,
        arguments: &Value,
    ) {
        let body = ItemBody::McpCall {
            call_id,
            tool: shown_as.to_owned(),
            server_label: BUILTIN_LABEL.to_owned(),
            name: tool.name().to_owned(),
            arguments: arguments.clone(),
            output: None,
            error: None,
            stored: None,
        };
        let item_id = self.add(place, index, ItemStatus::InProgress, body);
        let action = Action::ToolCall { tool: tool.facts(), mode: self.state.agent.approval };
        let mut judgement = self.judge(action, arguments, None, Asking::Impossible);
        if let Some(what) = tool.memory_use() {
            judgement = judgement.and(self.judge_memory(tool, what, arguments));
        }
        match self.pronounce(judgement) {
            Verdict::Allow(permit) => self.request(Effect {
                id: EffectId::fresh(self.cx.fresh),
                turn_id: Some(place.turn_id),
                kind: EffectKind::ToolCall {
                    item_id,
                    server: ServerRef::Builtin,
                    name: tool.name().to_owned(),
                    arguments: arguments.clone(),
                },
                repeat: tool.repeat(),
                permit: permit.into_record(),
            }),
            Verdict::Ask(_) | Verdict::Deny(_) => self.push(Event::ItemClosed {
                item_id,
                status: ItemStatus::Failed,
                error: Some("Policy does not allow this call. It was not made.".to_owned()),
            }),
        }
    }

    fn search(&mut self, query: &str) -> String {
        let found = catalogue::search(&self.state, query);
        if found.is_empty() {
            return "No function fits these words. Try others.".to_owned();
        }
        let names: Vec<String> = found.iter().map(|function| function.name.clone()).collect();
        let lines: Vec<String> =
            found.iter().map(|function| format!("- {}: {}", function.name, function.description)).collect();
        self.push(Event::FunctionsLoaded { names });
        format!("These functions can be called now:\n{}", lines.join("\n"))
    }
}
