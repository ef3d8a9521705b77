//! From the events of a turn to its trace.
//!
//! ```text
//!   invoke_agent clerk                    the turn, from its creation to its end
//!   ├─ list_tools shop                    a server was asked what it offers
//!   ├─ chat m                             a model call, all its attempts and the pauses between
//!   │   ├─ attempt 1                      only where there was more than one
//!   │   └─ attempt 2
//!   ├─ approval refund                    a call waited for a person
//!   ├─ execute_tool refund                a tool call, likewise with its attempts
//!   └─ execute_tool ask                   a function that the client carried out
//! ```
//!
//! Everything that was still open when the turn ended ends with it, as cancelled. What users and models said
//! is left out unless it is asked for, and then shortened.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenure_journal::{
    AgentConfig, AgentId, ApprovalId, Decision, Done, Effect, EffectId, EffectKind, Event, FailureKind,
    FunctionOutput, Input, InputId, InputPart, Item, ItemBody, ItemId, ItemStatus, Next, Outcome, Recorded,
    ServerRef, SessionId, Timestamp, TurnEnd, TurnId, Usage,
};

use crate::{Attribute, Span, SpanError, SpanId, SpanKind};

/// Bytes of one attribute that holds content.
const CONTENT_BYTES_MAX: usize = 8 * 1024;
/// What provides the agents: the journal does not name the providers behind its models.
const PROVIDER: &str = "tenure";

/// Whether a trace holds what was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Content {
    /// Names, times and numbers only.
    #[default]
    Omitted,
    /// Inputs, answers, arguments and results too.
    Included,
}

/// Whose turns are traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The session.
    pub session_id: SessionId,
    /// Its agent.
    pub agent_id: AgentId,
    /// That agent's name.
    pub agent_name: Option<String>,
}

impl Subject {
    /// A session with its agent.
    #[must_use]
    pub fn new(session_id: SessionId, agent: &AgentConfig) -> Self {
        Self { session_id, agent_id: agent.id, agent_name: agent.name.clone() }
    }
}

/// The trace of one finished turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The turn.
    pub turn_id: TurnId,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its spans in the order in which they began, the root first.
    pub spans: Vec<Span>,
}

/// Folds events in the order of their journal; beginning with a turn's creation is enough for its trace.
#[derive(Debug)]
pub struct Tracer {
    subject: Subject,
    content: Content,
    /// Messages that were accepted and have not joined a turn.
    inputs: BTreeMap<InputId, Vec<InputPart>>,
    open: Option<Open>,
}

/// A turn that has not ended.
#[derive(Debug)]
struct Open {
    turn_id: TurnId,
    created_at: Timestamp,
    /// In the order in which they began.
    work: Vec<Work>,
    usage: Option<Usage>,
    model: Option<String>,
    said: Vec<Value>,
    answered: Vec<Value>,
}

/// A span being made.
#[derive(Debug)]
struct Work {
    of: Of,
    span: Span,
    ended: bool,
    attempts: Vec<Span>,
    /// What the model said in this step.
    output: Vec<Value>,
}

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Effect(EffectId),
    Approval(ApprovalId),
    Function(ItemId),
}

impl Tracer {
    /// A tracer of the subject's turns.
    #[must_use]
    pub fn new(subject: Subject, content: Content) -> Self {
        Self { subject, content, inputs: BTreeMap::new(), open: None }
    }

    /// Folds one event; gives the trace of the turn that it ends.
    pub fn apply(&mut self, recorded: &Recorded) -> Option<Trace> {
        let at = recorded.at;
        match &recorded.event {
            Event::TurnCreated { turn_id } => self.open = Some(Open::new(*turn_id, at)),
            Event::TurnEnded { turn_id, end } => {
                let open = self.open.take().filter(|open| open.turn_id == *turn_id)?;
                return Some(open.end(at, end, &self.subject, self.content));
            }
            Event::InputAccepted { input } => self.accept(input),
            Event::InputJoined { input_id, .. } => {
                if let (Some(content), Some(open)) = (self.inputs.remove(input_id), &mut self.open) {
                    open.said.push(json!({"role": "user", "parts": parts(&content)}));
                }
            }
            Event::ItemAdded { item } => {
                let subject = &self.subject;
                if let Some(open) = &mut self.open {
                    open.item(at, item, subject, self.content);
                }
            }
            Event::ItemClosed { item_id, status, error } => {
                self.end(at, Of::Function(*item_id), |span| {
                    span.error = closed(*status, error.as_deref());
                });
            }
            Event::FunctionReturned { call_item_id, success, output, error, .. } => {
                let content = self.content;
                self.end(at, Of::Function(*call_item_id), |span| {
                    if let (Content::Included, Some(output)) = (content, output) {
                        span.attributes.push(("gen_ai.tool.call.result", text(&output_text(output))));
                    }
                    if !success {
                        let message = error.clone().unwrap_or_else(|| "the function failed".to_owned());
                        let message =
                            if content == Content::Included { shortened(&message) } else { String::new() };
                        span.error = Some(SpanError { kind: "tool_error".to_owned(), message });
                    }
                });
            }
            Event::EffectRequested { effect } => {
                let (subject, content) = (&self.subject, self.content);
                // What stops the subagents of a turn that has ended, or prepares an environment, is of no turn.
                if let Some(open) = self.open.as_mut().filter(|open| Some(open.turn_id) == effect.turn_id) {
                    open.request(at, effect, subject, content);
                }
            }
            Event::AttemptStarted { effect_id, attempt, .. } => {
                if let Some(work) = self.work(Of::Effect(*effect_id)) {
                    work.begin_attempt(at, *effect_id, *attempt);
                }
            }
            Event::AttemptEnded { effect_id, outcome, next, .. } => {
                self.end_attempt(at, *effect_id, outcome, *next);
            }
            Event::EffectAbandoned { effect_id } => {
                self.end(at, Of::Effect(*effect_id), |span| span.error = Some(cancelled()));
            }
            Event::ApprovalRequested { approval } => {
                let mut span = self.span(SpanId::of_approval(approval.id), at, SpanKind::Internal);
                span.name = format!("approval {}", approval.name);
                span.attributes.push(("gen_ai.tool.name", text(&approval.name)));
                span.attributes.push(("tenure.tool.server", text(&approval.server_label)));
                span.attributes.push(("tenure.approval.id", text(&approval.id.to_string())));
                self.begin(Of::Approval(approval.id), span);
            }
            Event::ApprovalDecided { approval_id, decision, .. } => {
                let word = match decision {
                    Decision::Approve => "approve",
                    Decision::Deny => "deny",
                    Decision::Cancel => "cancel",
                };
                self.end(at, Of::Approval(*approval_id), |span| {
                    span.attributes.push(("tenure.approval.decision", text(word)));
                });
            }
            Event::EnvironmentOpened(_)
            | Event::EnvironmentExpired
            | Event::EnvironmentSuspended
            | Event::EnvironmentResumed
            | Event::EnvironmentReset
            | Event::SessionOpened(_)
            | Event::SessionUpdated { .. }
            | Event::SessionFailed { .. }
            | Event::SessionDeleted
            | Event::TurnStarted { .. }
            | Event::FunctionsLoaded { .. }
            | Event::SubagentOpened { .. }
            | Event::SubagentClosed { .. }
            | Event::SubagentResumed { .. }
            | Event::PolicyRefused { .. }
            | Event::Granted { .. }
            | Event::Governed { .. }
            | Event::EnvironmentConnected
            | Event::EnvironmentDisconnected
            | Event::SignedIn
            | Event::CredentialBound { .. }
            | Event::SecretPermitted { .. }
            | Event::ConnectionAwaited { .. }
            | Event::ConnectionLapsed
            | Event::ArtifactDeleted { .. }
            | Event::ContextCompacted(_)
            | Event::ContextTrimmed { .. }
            | Event::ExtractionSkipped { .. }
            | Event::OutputsShortened { .. }
            | Event::BlocksTaken { .. }
            | Event::ProceduresTaken { .. }
            | Event::Forked(_)
            | Event::Rewound(_) => {}
        }
        None
    }

    fn accept(&mut self, input: &Input) {
        if self.content == Content::Included {
            self.inputs.insert(input.id, input.content.clone());
        }
    }

    fn work(&mut self, of: Of) -> Option<&mut Work> {
        self.open.as_mut()?.work.iter_mut().rev().find(|work| work.of == of && !work.ended)
    }

    fn span(&self, id: SpanId, at: Timestamp, kind: SpanKind) -> Span {
        let parent = self.open.as_ref().map(|open| SpanId::of_turn(open.turn_id));
        let conversation = text(&self.subject.session_id.to_string());
        let attributes = vec![("gen_ai.conversation.id", conversation)];
        Span { id, parent, name: String::new(), kind, start: at, end: at, attributes, error: None }
    }

    fn begin(&mut self, of: Of, span: Span) {
        if let Some(open) = &mut self.open {
            open.work.push(Work { of, span, ended: false, attempts: Vec::new(), output: Vec::new() });
        }
    }

    fn end(&mut self, at: Timestamp, of: Of, change: impl FnOnce(&mut Span)) {
        if let Some(work) = self.work(of) {
            work.end(at);
            change(&mut work.span);
        }
    }

    fn end_attempt(&mut self, at: Timestamp, effect: EffectId, outcome: &Outcome, next: Next) {
        let content = self.content;
        let usage = match outcome {
            Outcome::Done { done: Done::Model { usage, .. } } => *usage,
            // What reviewing took is on its own span.
            Outcome::Done {
                done:
                    Done::Reviewed { .. }
                    | Done::Extracted { .. }
                    | Done::Tools { .. }
                    | Done::Tool { .. }
                    | Done::Ended
                    | Done::Found { .. }
                    | Done::Placed { .. }
                    | Done::Command { .. }
                    | Done::Published { .. },
            }
            | Outcome::Failed { .. }
            | Outcome::Unknown => None,
        };
        if let (Some(open), Some(usage)) = (&mut self.open, usage) {
            open.usage = Some(open.usage.unwrap_or_default().plus(&usage));
        }
        let Some(work) = self.work(Of::Effect(effect)) else { return };
        let error = failed(outcome, content);
        if let Some(attempt) = work.attempts.last_mut() {
            attempt.end = at;
            attempt.error.clone_from(&error);
        }
        match next {
            Next::Retry { .. } => {}
            Next::Settled => {
                work.end(at);
                work.span.error = error;
                work.span.attributes.extend(given(outcome, content));
            }
        }
    }
}

impl Open {
    fn new(turn_id: TurnId, created_at: Timestamp) -> Self {
        Self {
            turn_id,
            created_at,
            work: Vec::new(),
            usage: None,
            model: None,
            said: Vec::new(),
            answered: Vec::new(),
        }
    }

    fn request(&mut self, at: Timestamp, effect: &Effect, subject: &Subject, content: Content) {
        let mut span = Span {
            id: SpanId::of_effect(effect.id),
            parent: Some(SpanId::of_turn(self.turn_id)),
            name: String::new(),
            kind: SpanKind::Client,
            start: at,
            end: at,
            attributes: vec![("gen_ai.conversation.id", text(&subject.session_id.to_string()))],
            error: None,
        };
        let mut add = |name, value| span.attributes.push((name, value));
        span.name = match &effect.kind {
            EffectKind::ModelCall { model, step } => {
                self.model.get_or_insert_with(|| model.clone());
                add("gen_ai.operation.name", text("chat"));
                add("gen_ai.provider.name", text(PROVIDER));
                add("gen_ai.request.model", text(model));
                add("gen_ai.request.stream", Attribute::Flag(true));
                add("tenure.step", Attribute::Integer(i64::from(*step)));
                format!("chat {model}")
            }
            EffectKind::Review { approval_id, model } => {
                add("gen_ai.operation.name", text("chat"));
                add("gen_ai.provider.name", text(PROVIDER));
                add("gen_ai.request.model", text(model));
                add("tenure.approval.id", text(&approval_id.to_string()));
                format!("review {model}")
            }
            EffectKind::Extract { model, .. } => {
                add("gen_ai.operation.name", text("chat"));
                add("gen_ai.provider.name", text(PROVIDER));
                add("gen_ai.request.model", text(model));
                format!("extract {model}")
            }
            EffectKind::Compact { model, .. } => {
                add("gen_ai.operation.name", text("chat"));
                add("gen_ai.provider.name", text(PROVIDER));
                add("gen_ai.request.model", text(model));
                format!("compact {model}")
            }
            EffectKind::ListTools { server_label, .. } => {
                add("mcp.method.name", text("tools/list"));
                add("tenure.tool.server", text(server_label));
                format!("list_tools {server_label}")
            }
            EffectKind::ToolCall { item_id, server, name, arguments } => {
                add("gen_ai.operation.name", text("execute_tool"));
                add("gen_ai.tool.name", text(name));
                add("gen_ai.tool.type", text("extension"));
                add("gen_ai.tool.call.id", text(&item_id.to_string()));
                match server {
                    ServerRef::Builtin => span.kind = SpanKind::Internal,
                    ServerRef::Mcp { server_label } | ServerRef::Inside { server_label } => {
                        add("mcp.method.name", text("tools/call"));
                        add("tenure.tool.server", text(server_label));
                    }
                }
                if content == Content::Included {
                    add("gen_ai.tool.call.arguments", text(&arguments.to_string()));
                }
                format!("execute_tool {name}")
            }
            EffectKind::Subagent { item_id, request } => {
                let name = request.tool();
                span.kind = SpanKind::Internal;
                add("gen_ai.operation.name", text("execute_tool"));
                add("gen_ai.tool.name", text(name));
                add("gen_ai.tool.type", text("extension"));
                add("gen_ai.tool.call.id", text(&item_id.to_string()));
                if content == Content::Included {
                    let arguments = serde_json::to_value(request).unwrap_or_default();
                    add("gen_ai.tool.call.arguments", text(&arguments.to_string()));
                }
                format!("execute_tool {name}")
            }
            EffectKind::Command { item_id, request, hosts: _ } => {
                let name = request.tool();
                span.kind = SpanKind::Internal;
                add("gen_ai.operation.name", text("execute_tool"));
                add("gen_ai.tool.name", text(name));
                add("gen_ai.tool.type", text("extension"));
                add("gen_ai.tool.call.id", text(&item_id.to_string()));
                if content == Content::Included {
                    let arguments = serde_json::to_value(request).unwrap_or_default();
                    add("gen_ai.tool.call.arguments", text(&arguments.to_string()));
                }
                format!("execute_tool {name}")
            }
            EffectKind::PrepareEnvironment => {
                span.kind = SpanKind::Internal;
                "prepare_environment".to_owned()
            }
            EffectKind::PlaceFiles { .. } => {
                span.kind = SpanKind::Internal;
                "place_files".to_owned()
            }
            EffectKind::PublishArtifacts => {
                span.kind = SpanKind::Internal;
                "publish_artifacts".to_owned()
            }
            EffectKind::EndSubagents { .. } => {
                span.kind = SpanKind::Internal;
                "end_subagents".to_owned()
            }
        };
        let of = Of::Effect(effect.id);
        self.work.push(Work { of, span, ended: false, attempts: Vec::new(), output: Vec::new() });
    }

    fn item(&mut self, at: Timestamp, item: &Item, subject: &Subject, content: Content) {
        if item.turn_id != self.turn_id {
            return;
        }
        if content == Content::Included {
            self.keep_output(item);
        }
        let ItemBody::FunctionCall { call_id, name, arguments, .. } = &item.body else { return };
        let mut attributes = vec![
            ("gen_ai.conversation.id", text(&subject.session_id.to_string())),
            ("gen_ai.operation.name", text("execute_tool")),
            ("gen_ai.tool.name", text(name)),
            ("gen_ai.tool.type", text("function")),
            ("gen_ai.tool.call.id", text(call_id)),
        ];
        if content == Content::Included {
            attributes.push(("gen_ai.tool.call.arguments", text(&arguments.to_string())));
        }
        let span = Span {
            id: SpanId::of_item(item.id),
            parent: Some(SpanId::of_turn(self.turn_id)),
            name: format!("execute_tool {name}"),
            kind: SpanKind::Client,
            start: at,
            end: at,
            attributes,
            error: None,
        };
        let of = Of::Function(item.id);
        self.work.push(Work { of, span, ended: false, attempts: Vec::new(), output: Vec::new() });
    }

    /// Keeps what a model said with the step it said it in, which has settled by now.
    fn keep_output(&mut self, item: &Item) {
        let part = match &item.body {
            ItemBody::AssistantMessage { content, .. } => {
                let said = json!({"type": "text", "content": content.concat()});
                self.answered = vec![json!({"role": "assistant", "parts": [&said]})];
                said
            }
            ItemBody::Reasoning { summary, .. } => json!({"type": "reasoning", "content": summary.concat()}),
            ItemBody::FunctionCall { call_id, name, arguments, .. }
            | ItemBody::McpCall { call_id, tool: name, arguments, .. }
            | ItemBody::CommandExecution { call_id, tool: name, arguments, .. }
            | ItemBody::SubagentCall { call_id, tool: name, arguments, .. } => {
                json!({"type": "tool_call", "id": call_id, "name": name, "arguments": arguments})
            }
            ItemBody::InternalCall { call_id, name, arguments, .. } => {
                json!({"type": "tool_call", "id": call_id, "name": name, "arguments": arguments})
            }
            ItemBody::UserMessage { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::FunctionCallOutput { .. } => return,
        };
        let is_chat = |work: &&mut Work| work.span.name.starts_with("chat ");
        if let Some(step) = self.work.iter_mut().rev().find(is_chat) {
            step.output.push(part);
        }
    }

    fn end(self, at: Timestamp, end: &TurnEnd, subject: &Subject, content: Content) -> Trace {
        let (status, error) = match end {
            TurnEnd::Completed => ("completed", None),
            TurnEnd::Failed { error } => {
                let error = SpanError { kind: error.code.clone(), message: error.message.clone() };
                ("failed", Some(error))
            }
            TurnEnd::Cancelled => ("cancelled", None),
        };
        let mut attributes = vec![
            ("gen_ai.operation.name", text("invoke_agent")),
            ("gen_ai.provider.name", text(PROVIDER)),
            ("gen_ai.agent.id", text(&subject.agent_id.to_string())),
        ];
        attributes.extend(subject.agent_name.as_ref().map(|name| ("gen_ai.agent.name", text(name))));
        attributes.push(("gen_ai.conversation.id", text(&subject.session_id.to_string())));
        attributes.extend(self.model.as_ref().map(|model| ("gen_ai.request.model", text(model))));
        attributes.extend(self.usage.iter().flat_map(tokens));
        attributes.push(("tenure.turn.id", text(&self.turn_id.to_string())));
        attributes.push(("tenure.turn.status", text(status)));
        if content == Content::Included {
            attributes.push(("gen_ai.input.messages", text(&Value::Array(self.said).to_string())));
            attributes.push(("gen_ai.output.messages", text(&Value::Array(self.answered).to_string())));
        }
        let name =
            subject.agent_name.as_ref().map_or("invoke_agent".into(), |name| format!("invoke_agent {name}"));
        let root = Span {
            id: SpanId::of_turn(self.turn_id),
            parent: None,
            name,
            kind: SpanKind::Internal,
            start: self.created_at,
            end: at.max(self.created_at),
            attributes,
            error,
        };
        let mut spans = vec![root];
        for mut work in self.work {
            if !work.ended {
                work.end(at);
                work.span.error = Some(cancelled());
            }
            if !work.output.is_empty() {
                let message = json!([{"role": "assistant", "parts": work.output}]);
                work.span.attributes.push(("gen_ai.output.messages", text(&message.to_string())));
            }
            let attempts = if work.attempts.len() > 1 { work.attempts } else { Vec::new() };
            spans.push(work.span);
            spans.extend(attempts);
        }
        Trace { turn_id: self.turn_id, created_at: self.created_at, spans }
    }
}

impl Work {
    fn begin_attempt(&mut self, at: Timestamp, effect: EffectId, attempt: u32) {
        self.attempts.push(Span {
            id: SpanId::of_attempt(effect, attempt),
            parent: Some(self.span.id),
            name: format!("attempt {attempt}"),
            kind: self.span.kind,
            start: at,
            end: at,
            attributes: vec![("tenure.attempt", Attribute::Integer(i64::from(attempt)))],
            error: None,
        });
    }

    /// Ends at `at`, or at its beginning should the clock have gone back.
    fn end(&mut self, at: Timestamp) {
        self.span.end = at.max(self.span.start);
        self.ended = true;
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.end == attempt.start) {
            attempt.end = at.max(attempt.start);
        }
    }
}

/// What a settled effect gave.
fn given(outcome: &Outcome, content: Content) -> Vec<(&'static str, Attribute)> {
    let Outcome::Done { done } = outcome else { return Vec::new() };
    match done {
        Done::Model { usage, cost_nano_usd, response_id } => {
            let mut given: Vec<_> = usage.iter().flat_map(tokens).collect();
            given.extend(response_id.as_ref().map(|id| ("gen_ai.response.id", text(id))));
            given.extend(cost_nano_usd.map(|cost| ("tenure.cost.nano_usd", number(cost))));
            given
        }
        Done::Reviewed { verdict: _, reason: _, usage, cost_nano_usd }
        | Done::Extracted { facts: _, procedure: _, dropped: _, problem: _, usage, cost_nano_usd } => {
            let mut given: Vec<_> = usage.iter().flat_map(tokens).collect();
            given.extend(cost_nano_usd.map(|cost| ("tenure.cost.nano_usd", number(cost))));
            given
        }
        Done::Tools { tools } => vec![("tenure.tools.count", number(tools.len() as u64))],
        Done::Tool { result } if content == Content::Included => {
            vec![("gen_ai.tool.call.result", text(&result.text))]
        }
        Done::Command { result } => {
            let mut given = vec![("tenure.command.duration_ms", number(result.duration_ms))];
            given.extend(
                result.exit_code.map(|code| ("process.exit.code", Attribute::Integer(i64::from(code)))),
            );
            if content == Content::Included {
                given.push(("gen_ai.tool.call.result", text(&result.output)));
            }
            given
        }
        Done::Published { artifacts } => vec![("tenure.artifacts.count", number(artifacts.len() as u64))],
        Done::Tool { .. } | Done::Ended | Done::Placed { .. } | Done::Found { .. } => Vec::new(),
    }
}

fn tokens(usage: &Usage) -> Vec<(&'static str, Attribute)> {
    vec![
        ("gen_ai.usage.input_tokens", number(usage.input_tokens)),
        ("gen_ai.usage.cache_read.input_tokens", number(usage.cached_tokens)),
        ("gen_ai.usage.output_tokens", number(usage.output_tokens)),
        ("gen_ai.usage.reasoning.output_tokens", number(usage.reasoning_tokens)),
    ]
}

fn failed(outcome: &Outcome, content: Content) -> Option<SpanError> {
    match outcome {
        Outcome::Done { done: Done::Tool { result } } if result.is_error => {
            let message = if content == Content::Included { shortened(&result.text) } else { String::new() };
            Some(SpanError { kind: "tool_error".to_owned(), message })
        }
        Outcome::Done { .. } => None,
        Outcome::Failed { failure } => {
            Some(SpanError { kind: word(failure.kind), message: failure.message.clone() })
        }
        Outcome::Unknown => Some(SpanError {
            kind: "unknown_outcome".to_owned(),
            message: "the attempt was interrupted; it may or may not have taken effect".to_owned(),
        }),
    }
}

/// The word a kind of failure has on disk.
fn word(kind: FailureKind) -> String {
    json!(kind).as_str().unwrap_or("_OTHER").to_owned()
}

fn closed(status: ItemStatus, error: Option<&str>) -> Option<SpanError> {
    match status {
        ItemStatus::InProgress | ItemStatus::Completed => None,
        ItemStatus::Incomplete => Some(cancelled()),
        ItemStatus::Failed => {
            let message = error.unwrap_or("the call failed").to_owned();
            Some(SpanError { kind: "tool_error".to_owned(), message })
        }
    }
}

fn cancelled() -> SpanError {
    SpanError {
        kind: "cancelled".to_owned(),
        message: "it was still open when the turn let go of it".to_owned(),
    }
}

fn parts(content: &[InputPart]) -> Value {
    let part = |part: &InputPart| match part {
        InputPart::Text { text } => json!({"type": "text", "content": text}),
        InputPart::Image { .. } => json!({"type": "uri", "modality": "image"}),
    };
    Value::Array(content.iter().map(part).collect())
}

fn output_text(output: &FunctionOutput) -> String {
    match output {
        FunctionOutput::Text(text) => text.clone(),
        FunctionOutput::Content(content) => parts(content).to_string(),
    }
}

fn text(text: &str) -> Attribute {
    Attribute::Text(shortened(text))
}

fn number(number: u64) -> Attribute {
    Attribute::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(CONTENT_BYTES_MAX)].to_owned()
}
