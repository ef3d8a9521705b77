//! What clients and people ask.

use std::sync::Arc;

use tenure_journal::{
    ApprovalId, Effect, EffectId, EffectKind, EndHow, Event, FunctionOutput, GRANTS_MAX, Grant, GrantSource,
    Input, InputId, InputPart, Item, ItemBody, ItemId, ItemStatus, Labels, SessionPatch, SessionStatus,
    Timestamp, TurnId, limit,
};
use tenure_policy::Approved;

use super::Draft;
use super::permission::{Asking, Judgement};
use crate::catalogue::{self, Target};
use crate::{Command, FromParent, Refusal, RequiredAction};

impl Draft<'_> {
    pub(super) fn command(&mut self, command: &Command) -> Result<(), Refusal> {
        if matches!(command, Command::SignedIn) {
            self.signed_in();
            return Ok(());
        }
        if let Command::BindCredential { server_url, credential_id } = command {
            self.bind_credential(server_url, credential_id);
            return Ok(());
        }
        let hidden = self.state.parent.is_some() != matches!(command, Command::Parent(_));
        if hidden {
            return Err(Refusal::Hidden);
        }
        let for_any = match command {
            Command::OpenSession { .. }
            | Command::PlaceFiles { .. }
            | Command::ExpireEnvironment
            | Command::SuspendEnvironment => true,
            Command::Message { .. }
            | Command::OwnMessage { .. }
            | Command::Grant { .. }
            | Command::GrantAgain { .. }
            | Command::Cancel
            | Command::FunctionResult { .. }
            | Command::Decide { .. }
            | Command::Release { .. }
            | Command::Update { .. }
            | Command::Delete
            | Command::AwaitConnection { .. }
            | Command::DeleteArtifact { .. }
            | Command::Rewind { .. }
            | Command::SignedIn
            | Command::BindCredential { .. }
            | Command::Parent(_) => false,
        };
        if self.state.awaits_session() && !for_any {
            return Err(Refusal::Hidden);
        }
        if self.state.deleted {
            return match command {
                Command::OpenSession { .. } => Err(Refusal::EnvironmentTaken),
                Command::ExpireEnvironment
                | Command::SuspendEnvironment
                | Command::SignedIn
                | Command::BindCredential { .. } => Ok(()),
                Command::Delete | Command::Parent(FromParent::End(_)) => Ok(()),
                Command::Parent(FromParent::Input { .. })
                | Command::Message { .. }
                | Command::OwnMessage { .. }
                | Command::Grant { .. }
                | Command::GrantAgain { .. }
                | Command::Cancel
                | Command::FunctionResult { .. }
                | Command::Decide { .. }
                | Command::Release { .. }
                | Command::PlaceFiles { .. }
                | Command::AwaitConnection { .. }
                | Command::DeleteArtifact { .. }
                | Command::Rewind { .. }
                | Command::Update { .. } => Err(Refusal::Deleted),
            };
        }
        match command {
            Command::Message { content } => self.message(content.clone()),
            Command::OwnMessage { content } => {
                let labels = self.state.own_labels();
                self.accept(content.clone(), labels, true)
            }
            Command::Grant { grant } => self.grant(grant.clone()),
            Command::GrantAgain { approval_id, uses_max, expires_at } => {
                self.grant_again(*approval_id, *uses_max, *expires_at)
            }
            Command::Cancel => {
                self.cancel();
                Ok(())
            }
            Command::FunctionResult { turn_id, call_id, success, output, error } => {
                self.function_result(*turn_id, call_id, *success, output.as_ref(), error.as_deref())
            }
            Command::Decide { approval_id, decision, by } => {
                self.decide_approval(*approval_id, *decision, by)
            }
            Command::Release { by } => self.release(by),
            Command::Update { patch } => {
                self.update(patch);
                Ok(())
            }
            Command::Delete => self.delete(),
            Command::PlaceFiles { files } => self.place_files(files),
            Command::AwaitConnection { until } => self.await_connection(*until),
            Command::DeleteArtifact { artifact_id } => self.delete_artifact(*artifact_id),
            Command::SignedIn | Command::BindCredential { .. } => Ok(()),
            Command::OpenSession { opened, messages } => self.open_session(opened, messages),
            Command::ExpireEnvironment => {
                self.expire_environment();
                Ok(())
            }
            Command::SuspendEnvironment => {
                self.suspend_environment();
                Ok(())
            }
            Command::Rewind { rewound, seen, since } => self.rewind(rewound, *seen, since),
            Command::Parent(FromParent::Input { text, labels }) => {
                self.accept(vec![InputPart::text(text)], labels.clone(), false)
            }
            Command::Parent(FromParent::End(how)) => self.end(how),
        }
    }

    /// What a parent says its subagent stops at.
    fn end(&mut self, how: &EndHow) -> Result<(), Refusal> {
        match how {
            EndHow::Interrupt => self.halt(),
            EndHow::Delete => {
                self.halt();
                return self.delete();
            }
            EndHow::Quarantine { approval_id, by, of } => self.quarantined_with_parent(*approval_id, by, *of),
            EndHow::Release { by, permit, of } => self.released_with_parent(by, permit, *of),
        }
        Ok(())
    }

    /// What a client says.
    pub(super) fn message(&mut self, content: Vec<InputPart>) -> Result<(), Refusal> {
        let labels = self.state.message_labels(&content);
        self.accept(content, labels, false)
    }

    fn accept(&mut self, content: Vec<InputPart>, labels: Labels, by_agent: bool) -> Result<(), Refusal> {
        if self.state.status() == SessionStatus::Failed {
            return Err(Refusal::Failed);
        }
        let waiting = self.state.queue.len();
        if waiting >= limit::QUEUED_INPUTS_MAX {
            return Err(Refusal::QueueFull { waiting });
        }
        let id = InputId::fresh(self.cx.fresh);
        self.push(Event::InputAccepted { input: Input { id, content, labels, by_agent } });
        Ok(())
    }

    fn grant(&mut self, grant: Grant) -> Result<(), Refusal> {
        if self.state.grants().count() >= GRANTS_MAX {
            return Err(Refusal::GrantsFull);
        }
        self.push(Event::Granted { grant });
        Ok(())
    }

    /// Grants what an approval asks for that waits: the same targets again.
    fn grant_again(
        &mut self,
        approval_id: ApprovalId,
        uses_max: u32,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let Some(approval) = self.state.approvals.get(&approval_id) else {
            // Said together with a decision that is repeated.
            let decided = self.state.decided.iter().any(|(decided, _)| *decided == approval_id);
            return if decided { Ok(()) } else { Err(Refusal::UnknownApproval { approval_id }) };
        };
        if approval.ticket.as_ref().is_some_and(|ticket| ticket.quorum > 1) {
            // One of several answers; a grant would let the next call pass on it alone.
            return Err(Refusal::NotAllowed { policies: approval.policies.clone() });
        }
        let (label, name) = (&approval.server_label, &approval.name);
        let grant = Grant {
            tool: format!("{label}/{name}"),
            arguments: self.state.targets(label, name, &approval.arguments),
            uses_max,
            expires_at,
            by: GrantSource::Approval { approval_id },
        };
        self.grant(grant)
    }

    fn update(&mut self, patch: &SessionPatch) {
        let before = Arc::clone(&self.state.agent);
        self.push(Event::SessionUpdated { patch: Box::new(patch.clone()) });
        let now = Arc::clone(&self.state.agent);
        let changed =
            |label: &str| catalogue::server(&before.tools, label) != catalogue::server(&now.tools, label);
        // What a server says that is no longer meant must not be taken for what the new one offers.
        let is_moot = |effect: &Effect| matches!(&effect.kind, EffectKind::ListTools { server_label, .. } if changed(server_label));
        let moot: Vec<EffectId> =
            self.state.pending().filter(|effect| is_moot(effect)).map(|effect| effect.id).collect();
        for effect_id in moot {
            self.push(Event::EffectAbandoned { effect_id });
        }
        // A call that waits for a sign-in there finds out what is there now.
        let waits =
            |action| matches!(action, RequiredAction::SignIn { server_label } if changed(&server_label));
        if self.state.sign_ins().any(waits) {
            self.signed_in();
        }
    }

    fn delete(&mut self) -> Result<(), Refusal> {
        // A failed session takes up no more messages.
        let queued = !self.state.queue.is_empty() && self.state.failed.is_none();
        if self.state.turn.is_some() || queued {
            return Err(Refusal::Busy);
        }
        self.abandon_summary();
        self.abandon_extractions();
        self.push(Event::SessionDeleted);
        self.delete_subagents();
        Ok(())
    }

    fn function_result(
        &mut self,
        turn_id: TurnId,
        call_id: &str,
        success: bool,
        output: Option<&FunctionOutput>,
        error: Option<&str>,
    ) -> Result<(), Refusal> {
        let open = self
            .state
            .open_function_calls()
            .find(|(item, _)| item.turn_id == turn_id && item.call_id() == Some(call_id))
            .map(|(item, _)| item.id);
        let Some(call_item_id) = open else {
            return self.repeated_result(turn_id, call_id, success, output, error);
        };
        if self.state.failed.is_some() {
            return Err(Refusal::Failed);
        }
        // An async call may outlive its turn; its result then starts a turn of its own.
        let turn_id = match &self.state.turn {
            Some(turn) => turn.row.id,
            None => self.create_turn(),
        };
        self.push(Event::FunctionReturned {
            call_item_id,
            item_id: ItemId::fresh(self.cx.fresh),
            turn_id,
            success,
            output: output.cloned(),
            error: error.map(ToOwned::to_owned),
        });
        Ok(())
    }

    /// The same result again is already done; another one is a conflict; for any other call it is unknown.
    fn repeated_result(
        &self,
        turn_id: TurnId,
        call_id: &str,
        success: bool,
        output: Option<&FunctionOutput>,
        error: Option<&str>,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::UnknownCall { call_id: call_id.to_owned() };
        let is_call = |item: &Item| {
            matches!(item.body, ItemBody::FunctionCall { .. })
                && item.turn_id == turn_id
                && item.call_id() == Some(call_id)
        };
        let status = self.state.items().find(|(_, item)| is_call(item)).map(|(_, item)| item.status);
        let expected = if success { ItemStatus::Completed } else { ItemStatus::Failed };
        match status {
            None | Some(ItemStatus::InProgress | ItemStatus::Incomplete) => return Err(unknown()),
            Some(found) if found != expected => {
                return Err(Refusal::ConflictingResult { call_id: call_id.to_owned() });
            }
            Some(_) => {}
        }
        let same = |item: &Item| match &item.body {
            ItemBody::FunctionCallOutput { call_id: answered, output: given, error: reported } => {
                answered == call_id && given.as_ref() == output && reported.as_deref() == error
            }
            ItemBody::UserMessage { .. }
            | ItemBody::AssistantMessage { .. }
            | ItemBody::Reasoning { .. }
            | ItemBody::FunctionCall { .. }
            | ItemBody::McpCall { .. }
            | ItemBody::CommandExecution { .. }
            | ItemBody::SubagentCall { .. }
            | ItemBody::AgentMessage { .. }
            | ItemBody::InternalCall { .. } => false,
        };
        if self.state.items().any(|(_, item)| same(item)) {
            Ok(())
        } else {
            Err(Refusal::ConflictingResult { call_id: call_id.to_owned() })
        }
    }

    /// What policy says about one tool call, and how the call may be repeated; `None` for a tool that is gone.
    pub(super) fn verdict(
        &self,
        server_label: &str,
        name: &str,
        arguments: &serde_json::Value,
        approved: Option<Approved<'_>>,
        asking: Asking,
    ) -> Option<(Judgement, tenure_journal::Repeat)> {
        let offered = catalogue::of(&self.state);
        let (label, def) = offered.into_iter().find_map(|offer| match offer.target {
            Target::Mcp { server_label: label, def } if label == server_label && def.name == name => {
                Some((label, def))
            }
            Target::Mcp { .. }
            | Target::Function(_)
            | Target::Search
            | Target::Read
            | Target::Builtin(_)
            | Target::Environment(_)
            | Target::Subagents(_) => None,
        })?;
        let action = catalogue::tool_action(&self.state, label, def);
        let call = self.judge(action, arguments, approved, asking);
        Some((self.and_secret(call, label, arguments, approved, asking), catalogue::repeat(def)))
    }
}
