//! What flowed into a session, what was granted in it, and what both mean for the next call.
//!
//! A session's labels are the join of the labels of everything its model has ever been shown. They are part of
//! the fold: they survive a restart and a fork, and nothing that leaves the context takes its labels with it.
//! Only going back to an earlier version restores those of that version, together with the context.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenure_journal::{
    Effect, EffectKind, Environment, Event, Grant, GrantNumber, GrantSource, InputPart, Integrity, Item,
    ItemBody, Labels, Network, Recorded, ServerRef, SessionKey, SessionOpened, Timestamp, ToolDef,
    ToolEffect, ToolResult, ToolTerms, Trust, Version,
};
use tenure_policy::{
    Action, Chain, Critical, Facts, ToolFacts, Trusted, covers, critical_arguments, result_labels,
    trusted_values, untrusted_arguments,
};

use crate::Session;
use crate::calls::{count_of, counted};
use crate::catalogue::{BUILTIN_LABEL, READ_OUTPUT, is_memory_tool};
use crate::remember::labels_of_recalled;

/// What a session has taken in, what it was given leave for, and how often it used what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flow {
    /// The labels of everything the model has been shown.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    labels: Labels,
    /// The same, with what the session has gone back from.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    ever: Labels,
    /// The labels of the environment's files.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    files: Labels,
    /// How it was opened; its grants are among `grants`.
    #[serde(default, skip_serializing_if = "Trust::is_neutral")]
    trust: Trust,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grants: Vec<Held>,
    /// Effects that were permitted, by action and resource as policies name them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    calls: BTreeMap<String, u64>,
}

/// A grant and how often it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    grant: Grant,
    uses: u32,
}

impl Flow {
    pub(crate) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn opened(opened: &SessionOpened) -> Self {
        let mut flow = Self::default();
        flow.open(opened);
        flow
    }

    /// Takes over how a session is opened: at its beginning, or in an environment that waited for one.
    pub(crate) fn open(&mut self, opened: &SessionOpened) {
        let Trust { messages, files, functions, context, grants } = opened.trust.clone();
        let standing = opened.agent.grants.iter().cloned();
        let standing = standing.map(|grant| Grant { by: GrantSource::Agent, ..grant });
        self.grants = standing.chain(grants).map(|grant| Held { grant, uses: 0 }).collect();
        if has_files(&opened.environment) {
            self.join_files(&files);
        }
        self.see(&context);
        self.trust = Trust { messages, files, functions, context, grants: Vec::new() };
    }

    /// The model is, or will be, shown something with these labels.
    pub(crate) fn see(&mut self, labels: &Labels) {
        join(&mut self.labels, labels);
        join(&mut self.ever, labels);
    }

    fn join_files(&mut self, labels: &Labels) {
        join(&mut self.files, labels);
    }

    pub(crate) fn forked(&mut self, labels: &Labels, files: &Labels) {
        self.see(labels);
        self.join_files(files);
    }

    /// Only here may labels become better: the context is an earlier one again, and so are the files.
    pub(crate) fn rewound(&mut self, labels: &Labels, files: &Labels) {
        self.labels.clone_from(labels);
        self.files.clone_from(files);
    }

    pub(crate) fn grant(&mut self, grant: &Grant) {
        self.grants.push(Held { grant: grant.clone(), uses: 0 });
    }

    pub(crate) fn requested(&mut self, effect: &Effect) {
        if let Some(held) = effect.permit.grant.and_then(|number| self.grants.get_mut(number.0 as usize)) {
            held.uses = held.uses.saturating_add(1);
        }
        if let Some(name) = counted(&effect.kind) {
            *self.calls.entry(name).or_default() += 1;
        }
        match &effect.kind {
            // What they write, they write from what was seen.
            EffectKind::Command { .. } | EffectKind::ToolCall { server: ServerRef::Inside { .. }, .. } => {
                let labels = self.labels.clone();
                self.join_files(&labels);
            }
            EffectKind::PlaceFiles { .. } => {
                let labels = self.trust.files.clone();
                self.join_files(&labels);
            }
            EffectKind::ModelCall { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Compact { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::ToolCall { server: ServerRef::Mcp { .. } | ServerRef::Builtin, .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PublishArtifacts
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => {}
        }
    }

    /// What ended: what the model is told of it has these labels.
    pub(crate) fn ended(&mut self, kind: &EffectKind, labels: &Labels) {
        if runs_inside(kind) {
            self.join_files(labels);
        }
        self.see(labels);
    }

    /// An effect that nobody wants any more. One that never began was no call; a grant that it took stays taken.
    pub(crate) fn abandoned(&mut self, kind: &EffectKind, attempts: u32) {
        if attempts > 0 {
            return;
        }
        if let Some(calls) = counted(kind).and_then(|name| self.calls.get_mut(&name)) {
            *calls = calls.saturating_sub(1);
        }
    }
}

fn join(labels: &mut Labels, more: &Labels) {
    if !more.is_neutral() {
        *labels = std::mem::take(labels).join(more);
    }
}

/// Whether it has the environment's files before it.
fn runs_inside(kind: &EffectKind) -> bool {
    matches!(kind, EffectKind::Command { .. } | EffectKind::ToolCall { server: ServerRef::Inside { .. }, .. })
}

fn has_files(environment: &Environment) -> bool {
    match environment {
        Environment::None => false,
        Environment::SelfHosted(_) => true,
        Environment::Hosted(hosted) => {
            !hosted.files.is_empty() || !hosted.setup.is_empty() || hosted.base.is_some()
        }
    }
}

/// What anybody may have written.
pub(crate) fn outside() -> Labels {
    Labels { integrity: Integrity::Untrusted, ..Labels::NEUTRAL }
}

/// What is known about a request before it is decided.
#[derive(Debug)]
pub(crate) struct Known {
    /// The arguments, by path, that nobody who is trusted has named.
    pub(crate) untrusted: Vec<String>,
    /// The grant that covers it.
    pub(crate) grant: Option<GrantNumber>,
    calls: u64,
}

impl Known {
    pub(crate) fn facts<'a>(&self, state: &'a Session) -> Facts<'a> {
        Facts {
            flow: &state.flow.labels,
            untrusted_arguments: !self.untrusted.is_empty(),
            grant_matches: self.grant.is_some(),
            calls_so_far: self.calls,
            chain: Chain { on_behalf_of: state.opened_by.is_some(), depth: state.depth() },
            quarantined: state.quarantined_by.is_some(),
            ..Facts::neutral()
        }
    }
}

/// How often and by whom a grant may still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantView<'a> {
    /// Which it is.
    pub number: GrantNumber,
    /// What was granted.
    pub grant: &'a Grant,
    /// How many calls used it.
    pub uses: u32,
}

/// A moment at which a session's labels became others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelChange {
    /// The event that made them so.
    pub version: Version,
    /// When.
    pub at: Timestamp,
    /// What it was, in a few words.
    pub what: String,
    /// The labels since.
    pub labels: Labels,
}

impl Session {
    /// The labels of everything its model has been shown.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.flow.labels
    }

    /// The labels of its environment's files.
    #[must_use]
    pub fn file_labels(&self) -> &Labels {
        &self.flow.files
    }

    /// Everything it was ever granted.
    pub fn grants(&self) -> impl Iterator<Item = GrantView<'_>> {
        (0..).zip(&self.flow.grants).map(|(number, held)| GrantView {
            number: GrantNumber(number),
            grant: &held.grant,
            uses: held.uses,
        })
    }

    /// The labels of what clients say in it.
    pub(crate) fn message_labels(&self, content: &[InputPart]) -> Labels {
        let is_image = |part: &InputPart| matches!(part, InputPart::Image { .. });
        let labels = self.flow.trust.messages.clone();
        // What stands in a picture was not written by who shows it.
        if content.iter().any(is_image) { labels.join(&self.flow.trust.files) } else { labels }
    }

    /// The labels of what its agent wrote for later; it may have gone back since.
    pub(crate) fn own_labels(&self) -> Labels {
        self.flow.ever.clone()
    }

    /// The labels of what functions gave.
    pub(crate) fn function_labels(&self) -> Labels {
        self.flow.trust.functions.clone()
    }

    /// What a subagent is trusted with: what this session has seen, and nothing that was granted.
    pub(crate) fn child_trust(&self) -> Trust {
        Trust {
            messages: self.flow.labels.clone(),
            files: self.flow.files.clone(),
            functions: self.flow.trust.functions.clone(),
            context: self.flow.labels.clone(),
            grants: Vec::new(),
        }
    }

    /// What a fork is trusted with. What was granted was granted to this session.
    pub(crate) fn fork_trust(&self) -> Trust {
        self.flow.trust.clone()
    }

    /// The labels of what a call returned.
    pub(crate) fn labels_of_result(&self, effect: &Effect, result: &ToolResult) -> Labels {
        match &effect.kind {
            EffectKind::ToolCall { server: ServerRef::Builtin, name, arguments, .. }
                if name == READ_OUTPUT =>
            {
                self.labels_of_stored(&arguments["blob"])
            }
            EffectKind::ToolCall { server: ServerRef::Builtin, name, .. } if is_memory_tool(name) => {
                labels_of_recalled(&result.text)
            }
            // Wake-ups that the agent wrote.
            EffectKind::ToolCall { server: ServerRef::Builtin, .. } => self.own_labels(),
            // Such a server has the environment's files before it.
            EffectKind::ToolCall { server: ServerRef::Inside { server_label }, name, .. } => {
                self.labels_of_reply(server_label, name, result).join(&self.labels_of_command())
            }
            EffectKind::ToolCall { server: ServerRef::Mcp { server_label }, name, .. } => {
                self.labels_of_reply(server_label, name, result)
            }
            EffectKind::ModelCall { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Compact { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => Labels::NEUTRAL,
        }
    }

    /// The labels of what a tool server answered.
    fn labels_of_reply(&self, server_label: &str, name: &str, result: &ToolResult) -> Labels {
        match self.terms(server_label, name) {
            Terms::Known(terms) if result.is_error || result.stored.is_some() => worst(terms),
            Terms::Known(terms) => result_labels(terms, &result.text),
            Terms::Unsaid => Labels::NEUTRAL,
            Terms::Gone => outside(),
        }
    }

    /// The labels of what a tool server says when it fails.
    fn labels_of_fault(&self, server_label: &str, name: &str) -> Labels {
        match self.terms(server_label, name) {
            Terms::Known(terms) => worst(terms),
            Terms::Unsaid => Labels::NEUTRAL,
            Terms::Gone => outside(),
        }
    }

    /// The labels of why a call failed: a server may have put it into words of its own.
    pub(crate) fn labels_of_failure(&self, effect: &Effect) -> Labels {
        match &effect.kind {
            EffectKind::ToolCall { server: ServerRef::Mcp { server_label }, name, .. } => {
                self.labels_of_fault(server_label, name)
            }
            EffectKind::ToolCall { server: ServerRef::Inside { server_label }, name, .. } => {
                self.labels_of_fault(server_label, name).join(&self.labels_of_command())
            }
            EffectKind::Command { .. } => self.labels_of_command(),
            EffectKind::ToolCall { server: ServerRef::Builtin, .. }
            | EffectKind::ModelCall { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Compact { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::PublishArtifacts
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => Labels::NEUTRAL,
        }
    }

    /// The labels of what an attempt may have left that was cut off.
    pub(crate) fn labels_of_interruption(&self, effect: &Effect) -> Labels {
        if runs_inside(&effect.kind) { self.labels_of_command() } else { Labels::NEUTRAL }
    }

    /// The labels of what a command wrote: it read files, did what the model said, and may have asked the network.
    pub(crate) fn labels_of_command(&self) -> Labels {
        let labels = self.flow.files.clone().join(&self.flow.labels);
        let is_closed = self.hosted().is_some_and(|hosted| hosted.network == Network::Disabled);
        if is_closed { labels } else { labels.join(&outside()) }
    }

    fn labels_of_stored(&self, blob: &Value) -> Labels {
        let is_it = |item: &&std::sync::Arc<Item>| match &item.body {
            ItemBody::McpCall { stored, .. } | ItemBody::CommandExecution { stored, .. } => {
                stored.is_some_and(|stored| serde_json::to_value(stored).is_ok_and(|stored| stored == *blob))
            }
            ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::FunctionCallOutput { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => false,
        };
        // What has left the context meanwhile was seen, and everything that was seen is joined here.
        let found = self.items.iter().find(is_it).map(|item| item.labels.clone());
        found.unwrap_or_else(|| self.own_labels())
    }

    fn terms(&self, server_label: &str, name: &str) -> Terms<'_> {
        match self.definition(server_label, name) {
            Some(ToolDef { terms: Some(terms), .. }) => Terms::Known(terms),
            Some(ToolDef { terms: None, .. }) => Terms::Unsaid,
            None => Terms::Gone,
        }
    }

    fn definition(&self, server_label: &str, name: &str) -> Option<&ToolDef> {
        let listed = self.listings.get(server_label)?.tools.as_deref()?;
        listed.iter().find(|def| def.name == name)
    }

    /// What is known about a request: computed from the journal, and nothing of it from what the model says.
    pub(crate) fn known(&self, action: &Action<'_>, arguments: &Value, now: Timestamp) -> Known {
        let calls = |name: &str| self.flow.calls.get(name).copied().unwrap_or(0);
        match action {
            Action::ToolCall { tool, .. } => {
                let definition = self.definition(tool.server, tool.name).filter(|_| !tool.builtin);
                let id = format!("{}/{}", tool.server, tool.name);
                let known = self.known_of_call(&id, definition, tool.labels.effect, arguments, now);
                Known { calls: calls(&count_of("tool.call", &id)), ..known }
            }
            Action::CommandRun { tool, .. } => {
                let id = format!("{BUILTIN_LABEL}/{tool}");
                let known = self.known_of_call(&id, None, ToolEffect::Exec, arguments, now);
                Known { calls: calls(&count_of("tool.call", &id)), ..known }
            }
            Action::ModelCall(_)
            | Action::ToolsList { .. }
            | Action::DataRead { .. }
            | Action::MemoryRead(_)
            | Action::MemoryWrite(_)
            | Action::Connect { .. }
            | Action::SecretUse { .. }
            | Action::SessionCreate { .. }
            | Action::Session { .. }
            | Action::ApprovalDecide { .. }
            | Action::PolicyPublish
            | Action::AuditRead => {
                let calls = calls(&count_of(action.name(), &action.resource()));
                Known { untrusted: Vec::new(), grant: None, calls }
            }
        }
    }

    fn known_of_call(
        &self,
        id: &str,
        definition: Option<&ToolDef>,
        effect: ToolEffect,
        arguments: &Value,
        now: Timestamp,
    ) -> Known {
        let named = definition.and_then(|def| def.terms.as_ref()).and_then(|terms| terms.critical.as_deref());
        let critical = match (named, definition) {
            (Some(names), _) => Critical::Named(names),
            (None, Some(def)) => Critical::Usual(&def.parameters),
            // What built-in tools are aimed at is this session's own.
            (None, None) => Critical::Named(&[]),
        };
        let found = critical_arguments(arguments, critical);
        let grant = (0..).zip(&self.flow.grants).find(|(_, held)| {
            held.uses < held.grant.uses_max && covers(&held.grant, id, arguments, &found, now)
        });
        let pinned: BTreeSet<String> =
            grant.iter().flat_map(|(_, held)| held.grant.arguments.keys().cloned()).collect();
        let mut trusted = self.words();
        let mut untrusted = untrusted_arguments(arguments, critical, &trusted, &pinned);
        if !untrusted.is_empty() && is_reversible(effect) {
            self.add_fields(&mut trusted);
            untrusted = untrusted_arguments(arguments, critical, &trusted, &pinned);
        }
        Known { untrusted, grant: grant.map(|(number, _)| GrantNumber(number)), calls: 0 }
    }

    /// What the principal wrote, as far as it is in the context. A subagent hears its parent alone, which is a
    /// model, and what its instructions say of it was chosen by one.
    fn words(&self) -> Trusted<'_> {
        let mut trusted = Trusted::default();
        if self.parent.is_some() {
            return trusted;
        }
        if let Some(instructions) = &self.agent.instructions {
            trusted.hear(instructions);
        }
        if self.flow.trust.messages.integrity < Integrity::Internal {
            return trusted;
        }
        for (_, item) in self.items() {
            if let ItemBody::UserMessage { content, by_agent: false } = &item.body {
                for part in content {
                    match part {
                        InputPart::Text { text } => trusted.hear(text),
                        InputPart::Image { .. } => {}
                    }
                }
            }
        }
        trusted
    }

    /// What trusted fields of results say, and what every call before had sent.
    fn add_fields<'a>(&'a self, trusted: &mut Trusted<'a>) {
        for (place, (_, item)) in self.items().enumerate() {
            match &item.body {
                ItemBody::McpCall {
                    server_label,
                    name,
                    arguments,
                    output,
                    error: None,
                    stored: None,
                    ..
                } => {
                    trusted.send(arguments, place);
                    if let (Some(output), Terms::Known(terms)) = (output, self.terms(server_label, name)) {
                        trusted_values(terms, output, &mut |value| trusted.learn(value, place));
                    }
                }
                ItemBody::McpCall { arguments, .. }
                | ItemBody::FunctionCall { arguments, .. }
                | ItemBody::SubagentCall { arguments, .. }
                | ItemBody::CommandExecution { arguments, .. } => trusted.send(arguments, place),
                ItemBody::UserMessage { .. }
                | ItemBody::AssistantMessage { .. }
                | ItemBody::Reasoning { .. }
                | ItemBody::FunctionCallOutput { .. }
                | ItemBody::AgentMessage { .. }
                | ItemBody::InternalCall { .. } => {}
            }
        }
    }

    /// A grant for calls with the same targets as one that a person approves; every argument, where the tool has
    /// no critical one.
    pub(crate) fn targets(
        &self,
        server_label: &str,
        name: &str,
        arguments: &Value,
    ) -> BTreeMap<String, Value> {
        let definition = self.definition(server_label, name);
        let named = definition.and_then(|def| def.terms.as_ref()).and_then(|terms| terms.critical.as_deref());
        let critical = match (named, definition) {
            (Some(names), _) => Critical::Named(names),
            (None, Some(def)) => Critical::Usual(&def.parameters),
            (None, None) => Critical::Usual(&Value::Null),
        };
        let found = critical_arguments(arguments, critical);
        let all = arguments.as_object().into_iter().flatten();
        all.filter(|(name, _)| found.is_empty() || found.contains(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Every moment at which the labels of a session became others, oldest first: its whole journal, told anew.
    #[must_use]
    pub fn label_changes(key: SessionKey, journal: &[Recorded]) -> Vec<LabelChange> {
        let mut changes = Vec::new();
        let mut state: Option<Self> = None;
        for recorded in journal {
            let before = state.as_ref().map_or(Labels::NEUTRAL, |state| state.flow.labels.clone());
            let what = what(state.as_ref(), &recorded.event);
            state = Self::fold(key, state, std::slice::from_ref(recorded));
            let Some(now) = state.as_ref().map(|state| &state.flow.labels) else { break };
            if *now != before {
                let (version, at) = (recorded.version, recorded.at);
                changes.push(LabelChange { version, at, what, labels: now.clone() });
            }
        }
        changes
    }
}

/// On which terms a tool is used.
enum Terms<'a> {
    Known(&'a ToolTerms),
    /// It was listed before terms were recorded.
    Unsaid,
    /// It is listed no more.
    Gone,
}

/// The labels of text that may hold anything of what a tool gives.
fn worst(terms: &ToolTerms) -> Labels {
    terms.fields.values().fold(terms.result.clone(), |labels, field| labels.join(&field.labels))
}

/// Whether what a tool does can be undone. What cannot is aimed at nothing but what a person has named.
fn is_reversible(effect: ToolEffect) -> bool {
    match effect {
        ToolEffect::Read | ToolEffect::Write | ToolEffect::Exec | ToolEffect::Egress | ToolEffect::Send => {
            true
        }
        ToolEffect::Admin | ToolEffect::Destroy | ToolEffect::Pay => false,
    }
}

/// What policy is told about a tool, on the terms that it was listed with.
pub(crate) fn on_terms<'a>(facts: ToolFacts<'a>, terms: Option<&ToolTerms>) -> ToolFacts<'a> {
    let Some(terms) = terms else { return facts };
    let mut labels = facts.labels;
    labels.effect = terms.effect.unwrap_or(labels.effect);
    labels.clearance = terms.clearance.unwrap_or(labels.clearance);
    ToolFacts { labels, ..facts }
}

/// An event that may have changed labels, in a few words.
fn what(before: Option<&Session>, event: &Event) -> String {
    match event {
        Event::SessionOpened(_) => "the session was opened".to_owned(),
        Event::Forked(_) => "the session was forked".to_owned(),
        Event::Rewound(_) => "the session went back".to_owned(),
        Event::InputJoined { .. } => "a message".to_owned(),
        Event::FunctionReturned { call_item_id, .. } => {
            let item = before.and_then(|state| state.item(*call_item_id));
            if let Some(ItemBody::FunctionCall { name, .. }) = item.map(|item| &item.body) {
                return format!("the result of the function {name}");
            }
            "the result of a function".to_owned()
        }
        Event::AttemptEnded { effect_id, .. } => {
            let effect = before.and_then(|state| state.effects.get(effect_id));
            let called = effect.and_then(|pending| counted(&pending.effect.kind));
            let called = called.as_deref().and_then(|name| name.split_once(' ')).map(|(_, name)| name);
            called.map_or_else(|| "a result".to_owned(), |name| format!("the result of {name}"))
        }
        Event::ItemAdded { .. } => "a report of a subagent".to_owned(),
        Event::BlocksTaken { .. } => "pinned blocks".to_owned(),
        Event::ProceduresTaken { .. } => "procedures".to_owned(),
        Event::EnvironmentOpened(_)
        | Event::SessionUpdated { .. }
        | Event::SessionFailed { .. }
        | Event::SessionDeleted
        | Event::InputAccepted { .. }
        | Event::TurnCreated { .. }
        | Event::TurnStarted { .. }
        | Event::TurnEnded { .. }
        | Event::ItemClosed { .. }
        | Event::FunctionsLoaded { .. }
        | Event::EffectRequested { .. }
        | Event::AttemptStarted { .. }
        | Event::EffectAbandoned { .. }
        | Event::PolicyRefused { .. }
        | Event::Governed { .. }
        | Event::ApprovalRequested { .. }
        | Event::ApprovalDecided { .. }
        | Event::Granted { .. }
        | Event::SubagentOpened { .. }
        | Event::SubagentClosed { .. }
        | Event::SubagentResumed { .. }
        | Event::EnvironmentConnected
        | Event::EnvironmentDisconnected
        | Event::SignedIn
        | Event::CredentialBound { .. }
        | Event::SecretPermitted { .. }
        | Event::ConnectionAwaited { .. }
        | Event::ConnectionLapsed
        | Event::ArtifactDeleted { .. }
        | Event::EnvironmentExpired
        | Event::EnvironmentSuspended
        | Event::EnvironmentResumed
        | Event::EnvironmentReset
        | Event::ContextCompacted(_)
        | Event::ContextTrimmed { .. }
        | Event::ExtractionSkipped { .. }
        | Event::OutputsShortened { .. } => "a change".to_owned(),
    }
}

#[cfg(test)]
mod tests;
