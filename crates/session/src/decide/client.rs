//! What clients and people ask.

use std::sync::Arc;

use tenure_journal::{
    ApprovalId, Decision, Effect, EffectId, EffectKind, Event, FunctionOutput, Input, InputId, InputPart,
    Item, ItemBody, ItemId, ItemStatus, ServerRef, SessionPatch, SessionStatus, TurnId, limit,
};
use tenure_policy::{Approved, Verdict};

use super::Draft;
use super::permission::{Asking, Judgement};
use crate::catalogue::{self, Target};
use crate::{Command, FromParent, Refusal};

/// What the model is told about a call that a person refused.
const DENIED: &str = "A person was asked to approve this call and refused. It was not made.";
/// What the model is told about a call whose approval request was dismissed.
const DISMISSED: &str = "The approval request for this call was dismissed. It was not made.";

impl Draft<'_> {
    pub(super) fn command(&mut self, command: &Command) -> Result<(), Refusal> {
        if matches!(command, Command::SignedIn) {
            self.signed_in();
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
            | Command::Cancel
            | Command::FunctionResult { .. }
            | Command::Decide { .. }
            | Command::Update { .. }
            | Command::Delete
            | Command::AwaitConnection { .. }
            | Command::DeleteArtifact { .. }
            | Command::Rewind { .. }
            | Command::SignedIn
            | Command::Parent(_) => false,
        };
        if self.state.awaits_session() && !for_any {
            return Err(Refusal::Hidden);
        }
        if self.state.deleted {
            return match command {
                Command::OpenSession { .. } => Err(Refusal::EnvironmentTaken),
                Command::ExpireEnvironment | Command::SuspendEnvironment | Command::SignedIn => Ok(()),
                Command::Delete | Command::Parent(FromParent::Halt | FromParent::Delete) => Ok(()),
                Command::Parent(FromParent::Input { .. })
                | Command::Message { .. }
                | Command::Cancel
                | Command::FunctionResult { .. }
                | Command::Decide { .. }
                | Command::PlaceFiles { .. }
                | Command::AwaitConnection { .. }
                | Command::DeleteArtifact { .. }
                | Command::Rewind { .. }
                | Command::Update { .. } => Err(Refusal::Deleted),
            };
        }
        match command {
            Command::Message { content } => self.message(content.clone()),
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
            Command::Update { patch } => {
                self.update(patch);
                Ok(())
            }
            Command::Delete => self.delete(),
            Command::PlaceFiles { files } => self.place_files(files),
            Command::AwaitConnection { until } => self.await_connection(*until),
            Command::DeleteArtifact { artifact_id } => self.delete_artifact(*artifact_id),
            Command::SignedIn => Ok(()),
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
            Command::Parent(FromParent::Input { text }) => self.message(vec![InputPart::text(text)]),
            Command::Parent(FromParent::Halt) => {
                self.halt();
                Ok(())
            }
            Command::Parent(FromParent::Delete) => {
                self.halt();
                self.delete()
            }
        }
    }

    pub(super) fn message(&mut self, content: Vec<InputPart>) -> Result<(), Refusal> {
        if self.state.status() == SessionStatus::Failed {
            return Err(Refusal::Failed);
        }
        let waiting = self.state.queue.len();
        if waiting >= limit::QUEUED_INPUTS_MAX {
            return Err(Refusal::QueueFull { waiting });
        }
        let id = InputId::fresh(self.cx.fresh);
        self.push(Event::InputAccepted { input: Input { id, content } });
        Ok(())
    }

    fn update(&mut self, patch: &SessionPatch) {
        let before = Arc::clone(&self.state.agent);
        self.push(Event::SessionUpdated { patch: Box::new(patch.clone()) });
        let now = Arc::clone(&self.state.agent);
        let changed =
            |label: &str| catalogue::server(&before.tools, label) != catalogue::server(&now.tools, label);
        // What a server says that is no longer meant must not be taken for what the new one offers.
        let is_moot = |effect: &Effect| matches!(&effect.kind, EffectKind::ListTools { server_label } if changed(server_label));
        let moot: Vec<EffectId> =
            self.state.pending().filter(|effect| is_moot(effect)).map(|effect| effect.id).collect();
        for effect_id in moot {
            self.push(Event::EffectAbandoned { effect_id });
        }
    }

    fn delete(&mut self) -> Result<(), Refusal> {
        // A failed session takes up no more messages.
        let queued = !self.state.queue.is_empty() && self.state.failed.is_none();
        if self.state.turn.is_some() || queued {
            return Err(Refusal::Busy);
        }
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

    fn decide_approval(&mut self, id: ApprovalId, decision: Decision, by: &str) -> Result<(), Refusal> {
        let Some(approval) = self.state.approvals.get(&id).cloned() else {
            let earlier = self.state.decided.iter().find(|(decided, _)| *decided == id);
            return match earlier {
                Some((_, earlier)) if *earlier == decision => Ok(()),
                Some(_) => Err(Refusal::AlreadyDecided { approval_id: id }),
                None => Err(Refusal::UnknownApproval { approval_id: id }),
            };
        };
        self.push(Event::ApprovalDecided { approval_id: id, decision, by: by.to_owned() });
        let refuse = |error: &str| Event::ItemClosed {
            item_id: approval.item_id,
            status: ItemStatus::Failed,
            error: Some(error.to_owned()),
        };
        match decision {
            Decision::Deny => self.push(refuse(DENIED)),
            Decision::Cancel => self.push(refuse(DISMISSED)),
            Decision::Approve => {
                let approved = Approved { id, digest: &approval.digest };
                let judged = self.verdict(
                    &approval.server_label,
                    &approval.name,
                    &approval.arguments,
                    Some(approved),
                    Asking::Impossible,
                );
                let judged = judged.map(|(judgement, repeat)| (self.pronounce(judgement), repeat));
                match judged {
                    Some((Verdict::Allow(permit), repeat)) => {
                        let effect = Effect {
                            id: EffectId::fresh(self.cx.fresh),
                            turn_id: Some(approval.turn_id),
                            kind: EffectKind::ToolCall {
                                item_id: approval.item_id,
                                server: ServerRef::Mcp { server_label: approval.server_label.clone() },
                                name: approval.name.clone(),
                                arguments: approval.arguments.clone(),
                            },
                            repeat,
                            permit: permit.into_record(),
                        };
                        self.request(effect);
                    }
                    Some((Verdict::Ask(_) | Verdict::Deny(_), _)) => {
                        self.push(refuse(
                            "The call was approved, but policy no longer allows it. It was not made.",
                        ));
                    }
                    None => self.push(refuse(
                        "The call was approved, but the tool is no longer offered. It was not made.",
                    )),
                }
            }
        }
        Ok(())
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
        Some((self.judge(action, arguments, approved, asking), catalogue::repeat(def)))
    }
}
