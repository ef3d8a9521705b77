//! What an agent does with its subagents, and what becomes of them when its turn ends.
//!
//! Calls are carried out one after the other, in the order the model asked for them, so that input is sent
//! before it is waited for. A turn that completes leaves its subagents at work; a turn that fails or is
//! cancelled stops them, with an effect of its own that outlives the turn and is attempted until it is done.

use serde_json::{Value, json};
use tenure_journal::{
    AgentRef, Done, Effect, EffectId, EffectKind, Effort, EndHow, Event, Item, ItemBody, ItemId, ItemStatus,
    Labels, PermitRecord, Repeat, ReportStatus, SubagentEnd, SubagentId, SubagentReport, SubagentRequest,
    ToolEffect, ToolResult, TurnId, json as strict, limit,
};
use tenure_policy::{Action, ToolFacts, ToolLabels, Verdict};

use super::answer::Call;
use super::{Draft, SubagentReply};
use crate::catalogue::{BUILTIN_LABEL, SubagentTool};

/// The policy named by the permit of what stops subagents: stopping is never asked of anybody.
const STOPPING: &str = "builtin.stop-subagents";

impl Draft<'_> {
    /// Adds the item of a call and, unless policy refuses it, what carries it out. A call that makes no sense
    /// gives its id back, and why.
    pub(super) fn subagent_call(
        &mut self,
        call: Call<'_>,
        tool: SubagentTool,
        arguments: Value,
    ) -> Result<(), (String, String)> {
        let effect_id = EffectId::fresh(self.cx.fresh);
        let request = match self.read_request(effect_id, tool, &arguments) {
            Ok(request) => request,
            Err(error) => return Err((call.call_id, format!("Not done: {error}"))),
        };
        let bound = serde_json::to_value(&request).expect("a request holds only string keys and integers");
        let facts = ToolFacts {
            server: BUILTIN_LABEL,
            name: tool.name(),
            builtin: true,
            read_only: tool == SubagentTool::Wait,
            destructive: false,
            labels: ToolLabels::of_builtin(match tool {
                SubagentTool::Wait => ToolEffect::Read,
                SubagentTool::Create
                | SubagentTool::SendInput
                | SubagentTool::Resume
                | SubagentTool::Interrupt
                | SubagentTool::Close => ToolEffect::Write,
            }),
            parameters: None,
        };
        let action = Action::ToolCall { tool: facts, mode: self.state.agent.approval };
        let verdict = self.permit(action, &bound);
        let resumes = match &request {
            SubagentRequest::Resume { subagent_id } => Some(*subagent_id),
            SubagentRequest::Create { .. }
            | SubagentRequest::SendInput { .. }
            | SubagentRequest::Wait { .. }
            | SubagentRequest::Interrupt { .. }
            | SubagentRequest::Close { .. } => None,
        };
        let (output, error, status) = match (&verdict, resumes) {
            (Verdict::Ask(_) | Verdict::Deny(_), _) => {
                let denied = "Policy does not allow this call. It was not made.".to_owned();
                (None, Some(denied), ItemStatus::Failed)
            }
            (Verdict::Allow(_), Some(id)) => {
                (Some(json!({"subagent_id": id}).to_string()), None, ItemStatus::Completed)
            }
            (Verdict::Allow(_), None) => (None, None, ItemStatus::InProgress),
        };
        let body = ItemBody::SubagentCall {
            call_id: call.call_id,
            tool: call.name.to_owned(),
            arguments,
            sender: self.state.as_agent(),
            request: request.clone(),
            output,
            error,
        };
        let item_id = self.add(call.place, call.index, status, body);
        match (verdict, resumes) {
            (Verdict::Ask(_) | Verdict::Deny(_), _) => {}
            (Verdict::Allow(_), Some(subagent_id)) => self.push(Event::SubagentResumed { subagent_id }),
            (Verdict::Allow(permit), None) => self.request(Effect {
                id: effect_id,
                turn_id: Some(call.place.turn_id),
                kind: EffectKind::Subagent { item_id, request },
                repeat: Repeat::WithKey,
                permit: permit.into_record(),
            }),
        }
        Ok(())
    }

    fn read_request(
        &self,
        effect: EffectId,
        tool: SubagentTool,
        arguments: &Value,
    ) -> Result<SubagentRequest, String> {
        Ok(match tool {
            SubagentTool::Create => self.read_create(effect, arguments)?,
            SubagentTool::SendInput => {
                let subagent_id = self.active(arguments)?;
                SubagentRequest::SendInput { subagent_id, input: text(arguments, "input")? }
            }
            SubagentTool::Wait => self.read_wait(arguments)?,
            SubagentTool::Interrupt => SubagentRequest::Interrupt { subagent_id: self.active(arguments)? },
            SubagentTool::Close => SubagentRequest::Close { subagent_id: self.active(arguments)? },
            SubagentTool::Resume => {
                let subagent_id = self.find(required(arguments, "subagent")?)?;
                self.room()?;
                if self.is_active(subagent_id) {
                    return Err("the subagent is not closed.".to_owned());
                }
                SubagentRequest::Resume { subagent_id }
            }
        })
    }

    fn read_create(&self, effect: EffectId, arguments: &Value) -> Result<SubagentRequest, String> {
        self.room()?;
        if self.state.subagents.len() + self.creating() >= limit::SUBAGENTS_PER_SESSION_MAX {
            let most = limit::SUBAGENTS_PER_SESSION_MAX;
            return Err(format!("a session may create at most {most} subagents."));
        }
        let name = match optional(arguments, "name")? {
            Some(name) => name.trim().chars().take(limit::SUBAGENT_NAME_CHARS_MAX).collect(),
            None => String::new(),
        };
        let name = if name.is_empty() { self.nickname() } else { name };
        if self.names().any(|taken| taken == name) {
            return Err(format!("there is a subagent named `{name}` already; choose another name."));
        }
        let effort = match optional(arguments, "reasoning_effort")? {
            Some(word) => {
                let known = || format!("`reasoning_effort` must be one of {}.", Effort::WORDS.join(", "));
                Some(Effort::from_word(word).ok_or_else(known)?)
            }
            None => None,
        };
        Ok(SubagentRequest::Create {
            subagent_id: SubagentId::of_effect(effect),
            name,
            task: text(arguments, "task")?,
            model: optional(arguments, "model")?.filter(|model| !model.is_empty()).map(str::to_owned),
            effort,
        })
    }

    fn read_wait(&self, arguments: &Value) -> Result<SubagentRequest, String> {
        let mut subagent_ids = Vec::new();
        match arguments.get("subagents") {
            None | Some(Value::Null) => {
                let active = self.state.subagents.iter().filter(|(_, subagent)| subagent.is_active());
                subagent_ids.extend(active.map(|(id, _)| *id));
            }
            Some(Value::Array(wanted)) => {
                for wanted in wanted {
                    let wanted = wanted.as_str().ok_or("`subagents` must be a list of ids or names.")?;
                    let id = self.find(wanted)?;
                    if !subagent_ids.contains(&id) {
                        subagent_ids.push(id);
                    }
                }
            }
            Some(_) => return Err("`subagents` must be a list of ids or names.".to_owned()),
        }
        if subagent_ids.is_empty() {
            return Err("there is no subagent to wait for.".to_owned());
        }
        let until = match arguments.get("timeout_seconds") {
            None | Some(Value::Null) => None,
            Some(seconds) => {
                let seconds = seconds
                    .as_u64()
                    .filter(|seconds| (1..=limit::SUBAGENT_WAIT_SECONDS_MAX).contains(seconds));
                let most = limit::SUBAGENT_WAIT_SECONDS_MAX;
                let seconds = seconds.ok_or_else(|| format!("`timeout_seconds` must be 1 to {most}."))?;
                Some(self.cx.now.plus_millis(seconds * 1_000))
            }
        };
        Ok(SubagentRequest::Wait { subagent_ids, until })
    }

    /// The active subagent that `subagent` names.
    fn active(&self, arguments: &Value) -> Result<SubagentId, String> {
        let id = self.find(required(arguments, "subagent")?)?;
        if self.is_active(id) { Ok(id) } else { Err("the subagent is closed; resume it first.".to_owned()) }
    }

    fn is_active(&self, id: SubagentId) -> bool {
        self.state.subagents.get(&id).is_some_and(crate::subagent::Subagent::is_active)
    }

    fn find(&self, wanted: &str) -> Result<SubagentId, String> {
        let known = &self.state.subagents;
        let by_id = wanted.parse().ok().filter(|id| known.contains_key(id));
        let by_name = || known.iter().find(|(_, subagent)| subagent.name == wanted).map(|(id, _)| *id);
        by_id.or_else(by_name).ok_or_else(|| {
            let names: Vec<&str> = known.values().map(|subagent| subagent.name.as_str()).take(32).collect();
            format!("there is no subagent of that id or name. Subagents: {}.", names.join(", "))
        })
    }

    /// Whether another subagent may be active.
    fn room(&self) -> Result<(), String> {
        let most = self.state.agent.multi_agent.max_concurrent_subagents;
        let most = most.unwrap_or(limit::SUBAGENTS_ACTIVE_DEFAULT) as usize;
        let active = self.state.subagents.values().filter(|subagent| subagent.is_active()).count();
        if active + self.creating() < most {
            return Ok(());
        }
        Err(format!("as many subagents are active as may be ({most}); close one first."))
    }

    /// How many are about to be created.
    fn creating(&self) -> usize {
        self.requests().filter(|request| matches!(request, SubagentRequest::Create { .. })).count()
    }

    fn requests(&self) -> impl Iterator<Item = &SubagentRequest> {
        self.state.pending().filter_map(|effect| match &effect.kind {
            EffectKind::Subagent { request, .. } => Some(request),
            EffectKind::ModelCall { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Compact { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::ToolCall { .. }
            | EffectKind::EndSubagents { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::Command { .. }
            | EffectKind::PlaceFiles { .. }
            | EffectKind::PublishArtifacts => None,
        })
    }

    /// Names of subagents that exist or are about to.
    fn names(&self) -> impl Iterator<Item = &str> {
        let coming = self.requests().filter_map(|request| match request {
            SubagentRequest::Create { name, .. } => Some(name.as_str()),
            SubagentRequest::SendInput { .. }
            | SubagentRequest::Resume { .. }
            | SubagentRequest::Wait { .. }
            | SubagentRequest::Interrupt { .. }
            | SubagentRequest::Close { .. } => None,
        });
        self.state.subagents.values().map(|subagent| subagent.name.as_str()).chain(coming)
    }

    fn nickname(&self) -> String {
        // As many names as there may be subagents, and one more, so that one of them is free.
        let mut names = (1..=limit::SUBAGENTS_PER_SESSION_MAX + 1).map(|number| format!("subagent-{number}"));
        names.find(|name| self.names().all(|taken| taken != name)).unwrap_or_default()
    }

    /// What follows from a subagent's reply.
    pub(super) fn subagent_replied(&mut self, effect: &Effect, attempt: u32, reply: &SubagentReply) {
        let EffectKind::Subagent { request, .. } = &effect.kind else { return };
        let (text, is_error) = match reply {
            SubagentReply::Refused(why) => (why.clone(), true),
            SubagentReply::Done => (told(request), false),
            SubagentReply::Reports(reports) => (self.told_reports(reports), false),
        };
        let result = ToolResult::inline(text, is_error);
        let labels = match reply {
            SubagentReply::Reports(reports) => {
                reports.iter().fold(Labels::NEUTRAL, |labels, report| labels.join(&report.labels))
            }
            SubagentReply::Done | SubagentReply::Refused(_) => Labels::NEUTRAL,
        };
        self.settle(effect.id, attempt, Done::Tool { result }, labels);
        match (reply, request) {
            (SubagentReply::Done, SubagentRequest::Create { subagent_id, name, task, .. }) => {
                self.push(Event::SubagentOpened {
                    subagent_id: *subagent_id,
                    name: name.clone(),
                    task: task.clone(),
                });
                self.quarantine_newcomer(*subagent_id);
            }
            (SubagentReply::Done, SubagentRequest::Close { subagent_id }) => {
                self.push(Event::SubagentClosed { subagent_id: *subagent_id });
            }
            (SubagentReply::Reports(reports), _) => {
                if let Some(turn_id) = effect.turn_id {
                    self.add_reports(turn_id, reports);
                }
            }
            (SubagentReply::Done | SubagentReply::Refused(_), _) => {}
        }
    }

    /// What the model reads of reports. A turn that was reported before is not reported again.
    fn told_reports(&self, reports: &[SubagentReport]) -> String {
        let told = |report: &SubagentReport| {
            let name = self.state.subagents.get(&report.subagent_id).map(|subagent| subagent.name.as_str());
            let mut told = json!({
                "subagent_id": report.subagent_id,
                "name": name,
                "status": report.status.as_str(),
            });
            if self.is_news(report) {
                told["message"] = json!(report.text);
            } else if report.status != ReportStatus::Running {
                told["note"] = json!("nothing new");
            }
            told
        };
        json!({"subagents": reports.iter().map(told).collect::<Vec<_>>()}).to_string()
    }

    /// Whether a report tells of a turn that has ended and was not reported.
    fn is_news(&self, report: &SubagentReport) -> bool {
        let known = self.state.subagents.get(&report.subagent_id);
        report.status != ReportStatus::Running
            && report.turn_id.is_some()
            && known.is_some_and(|subagent| subagent.reported != report.turn_id)
    }

    fn add_reports(&mut self, turn_id: TurnId, reports: &[SubagentReport]) {
        for report in reports {
            if !self.is_news(report) {
                continue;
            }
            let body = ItemBody::AgentMessage {
                sender: AgentRef::Subagent(report.subagent_id),
                recipient: self.state.as_agent(),
                content: vec![report.text.clone()],
                reports: report.turn_id,
            };
            let id = ItemId::fresh(self.cx.fresh);
            let status = ItemStatus::Completed;
            let output_index = Some(self.state.next_output_index());
            let labels = report.labels.clone();
            let item = Item { id, turn_id, status, output_index, step: None, body, labels };
            self.push(Event::ItemAdded { item });
        }
    }

    /// How every subagent is to be stopped as things are: active ones are interrupted, and those that are
    /// just being created are deleted. Nothing that is on its way to one may arrive afterwards.
    pub(super) fn ends(&self) -> Vec<SubagentEnd> {
        let active = self.state.subagents.iter().filter(|(_, subagent)| subagent.is_active());
        let mut ends: Vec<SubagentEnd> = active
            .map(|(id, _)| SubagentEnd { subagent_id: *id, how: EndHow::Interrupt, fences: Vec::new() })
            .collect();
        for pending in self.state.effects.values().filter(|pending| pending.attempts > 0) {
            let effect = &pending.effect;
            let EffectKind::Subagent { request, .. } = &effect.kind else { continue };
            match request {
                SubagentRequest::Create { subagent_id, .. } => ends.push(SubagentEnd {
                    subagent_id: *subagent_id,
                    how: EndHow::Delete,
                    fences: vec![effect.id],
                }),
                SubagentRequest::SendInput { subagent_id, .. } => {
                    let end = ends.iter_mut().find(|end| end.subagent_id == *subagent_id);
                    if let Some(end) = end {
                        end.fences.push(effect.id);
                    }
                }
                SubagentRequest::Resume { .. }
                | SubagentRequest::Wait { .. }
                | SubagentRequest::Interrupt { .. }
                | SubagentRequest::Close { .. } => {}
            }
        }
        ends
    }

    /// Interrupts every active subagent of a session that has no turn.
    pub(super) fn interrupt_subagents(&mut self) {
        let ends = self.ends();
        self.end_subagents(self.latest_turn(), ends);
    }

    /// Deletes every subagent there ever was.
    pub(super) fn delete_subagents(&mut self) {
        let end = |id: &SubagentId| SubagentEnd { subagent_id: *id, how: EndHow::Delete, fences: Vec::new() };
        let ends = self.state.subagents.keys().map(end).collect();
        self.end_subagents(self.latest_turn(), ends);
    }

    /// The turn of the newest item; none after going back to before the first.
    pub(super) fn latest_turn(&self) -> Option<TurnId> {
        self.state.items().next_back().map(|(_, item)| item.turn_id)
    }

    /// Records that subagents are to be stopped, or let go on.
    pub(super) fn end_subagents(&mut self, turn_id: Option<TurnId>, ends: Vec<SubagentEnd>) {
        if ends.is_empty() {
            return;
        }
        let bound = serde_json::to_value(&ends).expect("ends hold only string keys");
        let permit = PermitRecord {
            policies: vec![STOPPING.to_owned()],
            policy_digest: String::new(),
            arguments_digest: strict::digest(&bound),
            approval: None,
            grant: None,
            asked: Vec::new(),
        };
        self.request(Effect {
            id: EffectId::fresh(self.cx.fresh),
            turn_id,
            kind: EffectKind::EndSubagents { ends },
            repeat: Repeat::Freely,
            permit,
        });
    }

    /// Cancels the running turn with every input that waits, so that none begins another.
    pub(super) fn halt(&mut self) {
        if let Some(turn_id) = self.state.turn.as_ref().map(|turn| turn.row.id) {
            self.join_inputs(turn_id);
        }
        self.cancel();
    }
}

/// What the model is told about something that was done.
fn told(request: &SubagentRequest) -> String {
    let told = match request {
        SubagentRequest::Create { subagent_id, name, .. } => {
            json!({"subagent_id": subagent_id, "name": name})
        }
        SubagentRequest::SendInput { subagent_id, .. }
        | SubagentRequest::Resume { subagent_id }
        | SubagentRequest::Interrupt { subagent_id }
        | SubagentRequest::Close { subagent_id } => json!({"subagent_id": subagent_id}),
        SubagentRequest::Wait { subagent_ids, .. } => json!({"subagent_ids": subagent_ids}),
    };
    told.to_string()
}

fn required<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, String> {
    optional(arguments, name)?.ok_or_else(|| format!("`{name}` must be a string."))
}

fn optional<'a>(arguments: &'a Value, name: &str) -> Result<Option<&'a str>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` must be a string.")),
    }
}

/// A text that is given to a subagent.
fn text(arguments: &Value, name: &str) -> Result<String, String> {
    let text = required(arguments, name)?;
    if text.trim().is_empty() {
        return Err(format!("`{name}` must not be empty."));
    }
    if text.len() > limit::SUBAGENT_INPUT_BYTES_MAX {
        return Err(format!("`{name}` may have at most {} bytes.", limit::SUBAGENT_INPUT_BYTES_MAX));
    }
    Ok(text.to_owned())
}
