//! Events, notices and contexts as one line of text each, with ids replaced by short names in the order of
//! their first appearance.

use std::collections::HashMap;

use tenure_journal::{
    AuditRecord, CommandRequest, Compacted, ContextItem, Done, EffectKind, EndHow, Event, ExtractedFact,
    FunctionOutput, Governance, InputPart, Item, ItemBody, ItemId, ModelRequest, Next, Outcome,
    PluginServers, ServerRef, SkillEntry, SubagentEnd, SubagentRequest, Timestamp, TurnEnd,
};
use tenure_session::{EnvironmentNotice, PartNotice, SessionNotice, StreamEvent, SubagentNotice, TurnNotice};

/// Ids by the short names they are printed with.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: HashMap<String, String>,
    count: HashMap<String, usize>,
}

impl Names {
    /// `text` with every id (a prefix, `_` and 32 hexadecimal digits) replaced.
    pub(crate) fn shorten(&mut self, text: &str) -> String {
        const DIGITS: usize = 32;
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('_') {
            let digits = rest[at + 1..].bytes().take(DIGITS).take_while(u8::is_ascii_hexdigit).count();
            if digits < DIGITS {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            }
            let start = rest[..at].rfind(|c: char| !c.is_ascii_lowercase()).map_or(0, |index| index + 1);
            let (id, prefix) = (&rest[start..=at + DIGITS], &rest[start..at]);
            out.push_str(&rest[..start]);
            if !self.names.contains_key(id) {
                let count = self.count.entry(prefix.to_owned()).or_default();
                *count += 1;
                self.names.insert(id.to_owned(), format!("{prefix}{count}"));
            }
            out.push_str(&self.names[id]);
            rest = &rest[at + 1 + DIGITS..];
        }
        out.push_str(rest);
        out
    }
}

/// A long text, shortened; a short one in quotes.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 140;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(SHOWN / 2).collect();
    format!("{head:?}… ({} characters)", text.chars().count())
}

fn parts(parts: &[InputPart]) -> String {
    let part = |part: &InputPart| match part {
        InputPart::Text { text } => quote(text),
        InputPart::Image { image_url } => format!("<image {image_url}>"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(" ")
}

fn output(output: &FunctionOutput) -> String {
    match output {
        FunctionOutput::Text(text) => quote(text),
        FunctionOutput::Content(content) => parts(content),
    }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

fn body(body: &ItemBody) -> String {
    match body {
        ItemBody::UserMessage { content, .. } => format!("user {}", parts(content)),
        ItemBody::AssistantMessage { content, phase } => {
            let phase = phase.as_ref().map_or_else(|| "no phase".to_owned(), word);
            format!("message ({phase}) {}", quote(&content.join("|")))
        }
        ItemBody::Reasoning { summary, encrypted, model, .. } => {
            let sealed = if encrypted.is_some() { " sealed" } else { "" };
            format!("reasoning by {model}{sealed} {}", quote(&summary.join("|")))
        }
        ItemBody::FunctionCall { call_id, name, arguments, is_async } => {
            let kind = if *is_async { "async function" } else { "function" };
            format!("{kind} {name} {call_id} {arguments}")
        }
        ItemBody::FunctionCallOutput { call_id, output: given, error } => {
            let given = given.as_ref().map_or_else(|| "none".to_owned(), output);
            let error = error.as_ref().map_or_else(String::new, |error| format!(" error {}", quote(error)));
            format!("output of {call_id}: {given}{error}")
        }
        ItemBody::McpCall { call_id, server_label, name, arguments, output, error, stored, .. } => {
            let mut line = format!("mcp {server_label}/{name} {call_id} {arguments}");
            if let Some(output) = output {
                line += &format!(" gave {}", quote(output));
            }
            if let Some(error) = error {
                line += &format!(" error {}", quote(error));
            }
            if stored.is_some() {
                line += " (stored)";
            }
            line
        }
        ItemBody::CommandExecution { call_id, command, cwd, output, error, exit_code, stored, .. } => {
            let mut line = format!("command {call_id} {} in {cwd}", quote(command));
            if let Some(code) = exit_code {
                line += &format!(" exits {code}");
            }
            if let Some(output) = output {
                line += &format!(" gave {}", quote(output));
            }
            if let Some(error) = error {
                line += &format!(" error {}", quote(error));
            }
            if stored.is_some() {
                line += " (stored)";
            }
            line
        }
        ItemBody::SubagentCall { call_id, request: asked, output, error, .. } => {
            let mut line = format!("{call_id} {}", request(asked));
            if let Some(output) = output {
                line += &format!(" gave {}", quote(output));
            }
            if let Some(error) = error {
                line += &format!(" error {}", quote(error));
            }
            line
        }
        ItemBody::AgentMessage { sender, recipient, content, reports } => {
            let reports = reports.map_or_else(String::new, |turn| format!(" of {turn}"));
            format!("{sender} to {recipient}{reports} {}", quote(&content.join("|")))
        }
        ItemBody::InternalCall { call_id, name, arguments, output } => {
            format!("internal {name} {call_id} {} told {}", quote(arguments), quote(output))
        }
    }
}

pub(crate) fn item(item: &Item) -> String {
    let place = item.output_index.map_or_else(String::new, |index| format!(" #{index}"));
    format!("{} {}{place} {}: {}", item.turn_id, item.id, word(&item.status), body(&item.body))
}

fn request(request: &SubagentRequest) -> String {
    match request {
        SubagentRequest::Create { subagent_id, name, task, model, .. } => {
            let model = model.as_ref().map_or_else(String::new, |model| format!(" with {model}"));
            format!("create {subagent_id} {name}{model}: {}", quote(task))
        }
        SubagentRequest::SendInput { subagent_id, input } => {
            format!("send {subagent_id} {}", quote(input))
        }
        SubagentRequest::Resume { subagent_id } => format!("resume {subagent_id}"),
        SubagentRequest::Wait { subagent_ids, until } => {
            let ids: Vec<String> = subagent_ids.iter().map(ToString::to_string).collect();
            let until = if until.is_some() { ", for a while" } else { "" };
            format!("wait for {}{until}", ids.join(" "))
        }
        SubagentRequest::Interrupt { subagent_id } => format!("interrupt {subagent_id}"),
        SubagentRequest::Close { subagent_id } => format!("close {subagent_id}"),
    }
}

fn effect(kind: &EffectKind) -> String {
    match kind {
        EffectKind::ModelCall { model, step } => format!("ask {model}, step {step}"),
        EffectKind::Review { model, .. } => format!("ask {model} to review"),
        EffectKind::Extract { model, scope, items, calls, again, .. } => {
            let ids = |ids: &[ItemId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let again = if *again { ", once more" } else { "" };
            let calls =
                if calls.is_empty() { String::new() } else { format!(" and the calls {}", ids(calls)) };
            format!("have {model} read {}{calls} for {}{again}", ids(items), scope.kind().as_str())
        }
        EffectKind::Compact { model, upto, ahead, .. } => {
            format!("have {model} summarise what is before {upto}{}", if *ahead { ", ahead" } else { "" })
        }
        EffectKind::ListTools { server_label, .. } => format!("list {server_label}"),
        EffectKind::ToolCall { server, name, arguments, .. } => match server {
            ServerRef::Builtin => format!("call built-in {name} {arguments}"),
            ServerRef::Mcp { server_label } => format!("call {server_label}/{name} {arguments}"),
            ServerRef::Inside { server_label } => format!("call inside {server_label}/{name} {arguments}"),
        },
        EffectKind::Subagent { request: asked, .. } => request(asked),
        EffectKind::PrepareEnvironment => "prepare the environment".to_owned(),
        EffectKind::PlaceFiles { files } => {
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            format!("place {}", paths.join(" "))
        }
        EffectKind::Command { request, .. } => match request {
            CommandRequest::Shell { script, cwd, timeout_ms } => {
                format!("run {} in {cwd} for {timeout_ms} ms", quote(script))
            }
            CommandRequest::Patch { patch } => format!("patch {}", quote(patch)),
        },
        EffectKind::PublishArtifacts => "publish artifacts".to_owned(),
        EffectKind::EndSubagents { ends } => {
            let end = |end: &SubagentEnd| {
                let fences: String = end.fences.iter().map(|id| format!(" against {id}")).collect();
                let how = match &end.how {
                    how @ (EndHow::Interrupt | EndHow::Delete) => word(how),
                    EndHow::Quarantine { approval_id, by, of: _ } => {
                        format!("quarantine by {by} for {approval_id} of")
                    }
                    EndHow::Release { by, .. } => format!("release by {by} of"),
                };
                format!("{how} {}{fences}", end.subagent_id)
            };
            ends.iter().map(end).collect::<Vec<_>>().join(", ")
        }
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { done: Done::Model { .. } } => "answered".to_owned(),
        Outcome::Done { done: Done::Tools { tools } } => format!("listed {} tools", tools.len()),
        Outcome::Done { done: Done::Tool { result } } => {
            format!(
                "{} {}",
                if result.is_error { "returned an error" } else { "returned" },
                quote(&result.text)
            )
        }
        Outcome::Done { done: Done::Ended } => "done".to_owned(),
        Outcome::Done { done: Done::Found { skills, servers } } => {
            format!("found the skills {}{}", names_of(skills), named(servers))
        }
        Outcome::Done { done: Done::Placed { skills, servers, .. } } if !skills.is_empty() => {
            format!("placed, with the skills {}{}", names_of(skills), named(servers))
        }
        Outcome::Done { done: Done::Placed { servers, .. } } => format!("placed{}", named(servers)),
        Outcome::Done { done: Done::Command { result } } => {
            let files = if result.root.is_some() { "new files" } else { "the same files" };
            let code = result.exit_code.map_or_else(|| "ended".to_owned(), |code| format!("exited {code}"));
            format!("{code} with {files} {}", quote(&result.output))
        }
        Outcome::Done { done: Done::Published { artifacts } } => {
            let paths: Vec<&str> = artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
            format!("published {}", paths.join(" "))
        }
        Outcome::Done { done: Done::Reviewed { verdict, reason, .. } } => {
            format!("reviewed: {} {}", word(verdict), quote(reason))
        }
        Outcome::Done { done: Done::Extracted { facts, procedure, dropped, problem, .. } } => {
            let facts: Vec<String> = facts.iter().map(fact).collect();
            let problem = problem.as_ref().map(|problem| format!(", {problem}")).unwrap_or_default();
            let procedure = procedure.as_ref().map_or_else(String::new, |procedure| {
                let items: Vec<String> = procedure.items.iter().map(ToString::to_string).collect();
                format!(" the procedure {} from {};", procedure.name, items.join(" "))
            });
            format!("read: {};{procedure} {dropped} dropped{problem}", facts.join(", "))
        }
        Outcome::Failed { failure } => format!("failed: {} {}", word(&failure.kind), quote(&failure.message)),
        Outcome::Unknown => "unknown".to_owned(),
    }
}

fn names_of(skills: &[SkillEntry]) -> String {
    skills.iter().map(|skill| skill.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn named(servers: &PluginServers) -> String {
    let found = servers.servers.iter().map(|server| format!(", server {}", server.server_label));
    let refused = servers.refused.iter().map(|refused| {
        let name = refused.name.as_deref().unwrap_or("everything");
        format!(", not {name} of {}: {}", refused.plugin, refused.reason)
    });
    found.chain(refused).collect()
}

fn fact(fact: &ExtractedFact) -> String {
    let items: Vec<String> = fact.items.iter().map(ToString::to_string).collect();
    let replaces = fact.replaces.map(|_| ", in place of another").unwrap_or_default();
    format!("{} from {}{replaces}", quote(&fact.statement), items.join(" "))
}

fn next(next: Next, now: Timestamp) -> String {
    match next {
        Next::Settled => "settled".to_owned(),
        Next::Retry { at } => format!("again in {} ms", now.millis_until(at)),
    }
}

pub(crate) fn event(event: &Event, now: Timestamp) -> String {
    match event {
        Event::SessionOpened(opened) => format!("session opened for {}", opened.agent.model),
        Event::EnvironmentOpened(opened) => format!("{} opened without a session", opened.environment.id),
        Event::EnvironmentExpired => "environment expired".to_owned(),
        Event::EnvironmentSuspended => "environment suspended".to_owned(),
        Event::EnvironmentResumed => "environment resumed".to_owned(),
        Event::EnvironmentReset => "environment reset".to_owned(),
        Event::SessionUpdated { .. } => "session updated".to_owned(),
        Event::SessionFailed { message } => format!("session failed: {message}"),
        Event::SessionDeleted => "session deleted".to_owned(),
        Event::InputAccepted { input } => format!("{} accepted: {}", input.id, parts(&input.content)),
        Event::InputJoined { input_id, item_id, turn_id } => {
            format!("{input_id} joined {turn_id} as {item_id}")
        }
        Event::TurnCreated { turn_id } => format!("{turn_id} created"),
        Event::TurnStarted { turn_id } => format!("{turn_id} started"),
        Event::TurnEnded { turn_id, end } => match end {
            TurnEnd::Completed => format!("{turn_id} completed"),
            TurnEnd::Cancelled => format!("{turn_id} cancelled"),
            TurnEnd::Failed { error } => {
                format!("{turn_id} failed: {} {}", error.code, quote(&error.message))
            }
        },
        Event::ItemAdded { item: added } => item(added),
        Event::ItemClosed { item_id, status, error } => {
            let why = error.as_ref().map_or_else(String::new, |error| format!(" {}", quote(error)));
            format!("{item_id} closed {}{why}", word(status))
        }
        Event::FunctionsLoaded { names } => format!("loaded {}", names.join(", ")),
        Event::EffectRequested { effect: requested } => {
            let repeat = word(&requested.repeat);
            let approval =
                requested.permit.approval.map_or_else(String::new, |id| format!(", approved by {id}"));
            format!("{} requested: {} ({repeat}{approval})", requested.id, effect(&requested.kind))
        }
        Event::AttemptStarted { effect_id, attempt, reserved_nano_usd, route, context: _, held: _ } => {
            let reserved = reserved_nano_usd.map_or_else(String::new, |nano| format!(", reserves {nano}"));
            let by = route.as_ref().map_or_else(String::new, |decision| {
                let passed: String =
                    decision.passed_over.iter().map(|passed| format!(", not {}", passed.route)).collect();
                format!(" by {} as {}{passed}", decision.route.name, decision.class)
            });
            format!("{effect_id} attempt {attempt}{by}{reserved}")
        }
        Event::AttemptEnded { effect_id, attempt, outcome: what, next: then, .. } => {
            format!("{effect_id} attempt {attempt} {}, {}", outcome(what), next(*then, now))
        }
        Event::EffectAbandoned { effect_id } => format!("{effect_id} abandoned"),
        Event::PolicyRefused { refusal } => {
            let how = if refusal.needs_approval { "nobody can be asked" } else { "denied" };
            format!(
                "policy refuses {} {}: {how} ({})",
                refusal.action,
                refusal.resource,
                refusal.policies.join(", ")
            )
        }
        Event::Governed { fact } => match fact {
            Governance::Supported { approval_id, by, permit: _ } => {
                format!("{approval_id} supported by {by}")
            }
            Governance::Escalated { approval_id, groups } => {
                format!("{approval_id} escalated to {}", groups.join(", "))
            }
            Governance::Quarantined { approval_id, by, of: _ } => {
                format!("quarantined by {by} for {approval_id}")
            }
            Governance::Released { by, permit: _, of: _ } => format!("released by {by}"),
        },
        Event::ApprovalRequested { approval } => format!(
            "{} asks: {}/{} {} held by {}",
            approval.id,
            approval.server_label,
            approval.name,
            approval.arguments,
            approval.policies.join(", ")
        ),
        Event::Granted { grant } => format!("granted {} {} times", grant.tool, grant.uses_max),
        Event::ApprovalDecided { approval_id, decision, by, permit: _ } => {
            format!("{approval_id} decided: {} by {by}", word(decision))
        }
        Event::FunctionReturned { call_item_id, item_id, turn_id, success, output: given, error } => {
            let given = given.as_ref().map_or_else(|| "none".to_owned(), output);
            let error = error.as_ref().map_or_else(String::new, |error| format!(" error {}", quote(error)));
            let how = if *success { "returned" } else { "failed" };
            format!("{call_item_id} {how} {given}{error} as {item_id} in {turn_id}")
        }
        Event::SubagentOpened { subagent_id, name, .. } => format!("{subagent_id} opened: {name}"),
        Event::SubagentClosed { subagent_id } => format!("{subagent_id} closed"),
        Event::SubagentResumed { subagent_id } => format!("{subagent_id} resumed"),
        Event::EnvironmentConnected => "executor connected".to_owned(),
        Event::SignedIn => "a person signed in".to_owned(),
        Event::CredentialBound { server_label, credential_id } => {
            format!("{server_label} is shown {credential_id}")
        }
        Event::SecretPermitted { effect_id, credential_id, permit: _ } => {
            format!("{effect_id} may show {credential_id}")
        }
        Event::EnvironmentDisconnected => "executor gone".to_owned(),
        Event::ConnectionAwaited { until } => {
            format!("executor awaited for {} ms", crate::bench::START.millis_until(*until))
        }
        Event::ConnectionLapsed => "executor awaited no more".to_owned(),
        Event::ArtifactDeleted { artifact_id } => format!("{artifact_id} deleted"),
        Event::ContextCompacted(compacted) => {
            let Compacted { upto, kept, summary, effect_id } = compacted.as_ref();
            let by = effect_id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
            let list = |what: &str, words: Vec<String>| {
                if words.is_empty() { String::new() } else { format!(", {what} {}", words.join(", ")) }
            };
            let kept = list("keeping", kept.iter().map(ToString::to_string).collect());
            let names = list("naming", summary.names.clone());
            let open = list("open", summary.open.clone());
            format!("what is before {upto} summarised by {by}: {}{kept}{names}{open}", quote(&summary.text))
        }
        Event::ContextTrimmed { first_kept, dropped } => {
            format!("context trimmed by {dropped} items, {first_kept} is the first kept")
        }
        Event::ExtractionSkipped { turn_id, why } => format!("{turn_id} not read: {}", why.as_str()),
        Event::OutputsShortened { item_ids } => {
            let ids: Vec<String> = item_ids.iter().map(ToString::to_string).collect();
            format!("outputs shortened: {}", ids.join(", "))
        }
        Event::BlocksTaken { blocks } => {
            let blocks: Vec<String> =
                blocks.iter().map(|block| format!("{} v{}", block.name, block.version)).collect();
            format!("pinned blocks: {}", blocks.join(", "))
        }
        Event::ProceduresTaken { procedures } => {
            let procedures: Vec<String> =
                procedures.iter().map(|taken| format!("{} v{}", taken.name, taken.version)).collect();
            format!("procedures: {}", procedures.join(", "))
        }
        Event::Forked(forked) => {
            let items: Vec<String> = forked.items.iter().map(item).collect();
            let turns: Vec<String> =
                forked.turns.iter().map(|turn| format!("{} {}", turn.id, turn.status.as_str())).collect();
            let gone = forked.dropped;
            format!(
                "forked at version {} with {} items ({gone} not in the context) of {}{}",
                forked.from.version.0,
                items.len(),
                turns.join(", "),
                items.iter().map(|item| format!("\n    {item}")).collect::<String>()
            )
        }
        Event::Rewound(rewound) => {
            let other = rewound
                .items
                .iter()
                .map(|placed| format!("\n    at {}: {}", placed.ordinal, item(&placed.item)));
            let turns = rewound.turns.iter().map(|turn| format!(", {} {}", turn.id, turn.status.as_str()));
            let gone = rewound.gone.iter().map(|turn| format!(", without {turn}"));
            let root = rewound.root.map(|root| format!(", files {}", &root.to_string()[..5]));
            format!(
                "rewound to version {}: {} items stay{}{}{}{}",
                rewound.to.0,
                rewound.kept,
                turns.collect::<String>(),
                gone.collect::<String>(),
                root.unwrap_or_default(),
                other.collect::<String>()
            )
        }
    }
}

/// What an auditor is told, without its digests.
pub(crate) fn record(record: &AuditRecord) -> String {
    let mut fact = serde_json::to_value(&record.fact).unwrap();
    let fields = fact.as_object_mut().unwrap();
    let what = fields["type"].clone();
    fields.retain(|name, _| {
        !["type", "arguments", "policy_set", "question", "change"].contains(&name.as_str())
    });
    let agent = record.agent.map_or("nobody".to_owned(), |agent| agent.to_string());
    let turn = record.turn.map(|turn| format!(", {turn}")).unwrap_or_default();
    format!("{agent}{turn}: {} {fact}", what.as_str().unwrap())
}

pub(crate) fn notice(notice: &StreamEvent) -> String {
    match notice {
        StreamEvent::Session { kind, session } => {
            let kind = match kind {
                SessionNotice::Created => "created",
                SessionNotice::InProgress => "in_progress",
                SessionNotice::RequiresAction => "requires_action",
                SessionNotice::Idle => "idle",
                SessionNotice::Failed => "failed",
            };
            format!("session {kind} ({})", session.status.as_str())
        }
        StreamEvent::Turn { kind, turn } => {
            let kind = match kind {
                TurnNotice::Created => "created",
                TurnNotice::InProgress => "in_progress",
                TurnNotice::Completed => "completed",
                TurnNotice::Failed => "failed",
                TurnNotice::Cancelled => "cancelled",
            };
            format!("{} {kind} ({})", turn.id, turn.status.as_str())
        }
        StreamEvent::ItemAdded { item: added } => format!("item.added {}", item(added)),
        StreamEvent::ItemDone { item: done } => format!("item.done {}", item(done)),
        StreamEvent::Part { item_id, part, notice, .. } => {
            let what = match notice {
                PartNotice::Added => "added".to_owned(),
                PartNotice::Delta(text) => format!("delta {}", quote(text)),
                PartNotice::TextDone(text) => format!("text done {}", quote(text)),
                PartNotice::Done { incomplete, .. } => {
                    format!("done{}", if *incomplete { ", incomplete" } else { "" })
                }
            };
            format!("part {part} of {item_id} {what}")
        }
        StreamEvent::Subagent { kind, subagent } => {
            let kind = match kind {
                SubagentNotice::Created => "created",
                SubagentNotice::Active => "active",
                SubagentNotice::Closed => "closed",
            };
            format!("{} {kind}", subagent.id)
        }
        StreamEvent::Environment { kind, id, error, .. } => {
            let kind = match kind {
                EnvironmentNotice::Pending => "pending",
                EnvironmentNotice::Ready => "ready",
                EnvironmentNotice::Connected => "connected",
                EnvironmentNotice::Suspended => "suspended",
                EnvironmentNotice::Disconnected => "disconnected",
                EnvironmentNotice::Reset { .. } => "reset",
                EnvironmentNotice::Failed => "failed",
            };
            let why = error.as_ref().map_or_else(String::new, |error| format!(" {}", quote(error)));
            format!("{id} {kind}{why}")
        }
        StreamEvent::CommandOutput { item_id, delta, .. } => format!("{item_id} wrote {}", quote(delta)),
        StreamEvent::Error { error, .. } => format!("error {}", error.code),
        StreamEvent::Deleted => "deleted".to_owned(),
    }
}

/// A request, one line per item and one for the tools.
pub(crate) fn context(request: &ModelRequest) -> Vec<String> {
    let line = |item: &ContextItem| match item {
        ContextItem::User { content } => format!("user: {}", parts(content)),
        ContextItem::Note { text } => format!("note: {}", quote(text)),
        ContextItem::Assistant { text, .. } => format!("assistant: {}", quote(text)),
        ContextItem::Reasoning { summary, .. } => format!("reasoning: {}", quote(&summary.join("|"))),
        ContextItem::Call { call_id, name, arguments } => format!("call {call_id}: {name} {arguments}"),
        ContextItem::CallResult { call_id, output: given } => format!("result {call_id}: {}", output(given)),
    };
    let mut lines: Vec<String> = request.input.iter().map(line).collect();
    if !request.tools.is_empty() {
        let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
        lines.push(format!("tools: {}", names.join(", ")));
    }
    lines
}
