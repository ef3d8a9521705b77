//! What the simulated shell does with subagents: it asks other sessions of the same store, as the runtime
//! does, and feeds what they answer back to the parent. Whoever asks may die at any moment; the request may
//! have been made.

use std::sync::Arc;

use tenure_journal::{
    Effect, EffectId, EffectKind, EndHow, Item, ItemBody, Labels, ReportStatus, SessionKey, SessionStatus,
    SubagentEnd, SubagentId, SubagentReport, SubagentRequest, TurnStatus,
};
use tenure_session::{Attempted, Command, FromParent, Session, SubagentReply};
use tenure_store::{Order, Page, Receipt};

use crate::Bug;
use crate::client::{Answer, Ask};
use crate::shell::Message;
use crate::world::{Happening, Stop, World};

/// The status of a receipt that was taken so that nothing can come under it any more.
pub(crate) const FENCED: u16 = 0;
/// The pause between two looks at subagents that are waited for, at most, in milliseconds.
const LOOK_AGAIN_MS_MAX: u64 = 5_000;
/// The longest that a request is on its way to a subagent, in milliseconds.
const LATE_MS_MAX: u64 = 30_000;

/// An attempt at an effect that asks something of subagents.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) process: u64,
    /// The parent.
    pub(crate) key: SessionKey,
    pub(crate) effect: Arc<Effect>,
    pub(crate) attempt: u32,
}

/// The receipt that makes an effect reach its subagent at most once.
pub(crate) fn receipt_key(effect: EffectId) -> String {
    format!("subagent/{effect}")
}

impl Asking {
    fn child(&self, subagent: SubagentId) -> SessionKey {
        SessionKey { project: self.key.project, session: subagent.session() }
    }
}

impl World {
    /// Carries out what is asked of subagents, as far as its process lives.
    pub(crate) fn ask_subagents(&mut self, asking: Asking) -> Result<(), Stop> {
        if !self.is_wanted(&asking) {
            return Ok(());
        }
        self.acting = Some(asking.process);
        let effect = Arc::clone(&asking.effect);
        match &effect.kind {
            EffectKind::Subagent { request, .. } => self.ask_subagent(asking, request),
            EffectKind::EndSubagents { ends } => self.end_subagents(&asking, ends),
            EffectKind::ModelCall { .. }
            | EffectKind::Compact { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::ToolCall { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::PublishArtifacts => Ok(()),
        }
    }

    /// Whether the process that asks is there and still waits for the answer.
    fn is_wanted(&mut self, asking: &Asking) -> bool {
        let Some(found) = self.process(asking.process) else { return false };
        let state = found.actors.get(&asking.key).and_then(|actor| actor.state.as_ref());
        state.is_some_and(|state| state.running_attempt(asking.effect.id) == Some(asking.attempt))
    }

    /// The state of the session that asks.
    fn asked(&mut self, asking: &Asking) -> Option<&Session> {
        self.process(asking.process)?.actors.get(&asking.key)?.state.as_deref()
    }

    fn ask_subagent(&mut self, asking: Asking, request: &SubagentRequest) -> Result<(), Stop> {
        let effect = asking.effect.id;
        match request {
            SubagentRequest::Create { subagent_id, .. } => {
                let Some((opened, input)) = self.asked(&asking).and_then(|state| state.child(request)) else {
                    return Ok(());
                };
                self.request(&asking, *subagent_id, Ask::Open(Box::new(opened), input), Some(effect))
            }
            SubagentRequest::SendInput { subagent_id, input } => {
                let labels = self.asked(&asking).map(|state| state.labels().clone()).unwrap_or_default();
                let command = Command::Parent(FromParent::Input { text: input.clone(), labels });
                self.request(&asking, *subagent_id, Ask::Commands(vec![command]), Some(effect))
            }
            SubagentRequest::Interrupt { subagent_id } | SubagentRequest::Close { subagent_id } => {
                let command = Command::Parent(FromParent::End(EndHow::Interrupt));
                self.request(&asking, *subagent_id, Ask::Commands(vec![command]), None)
            }
            SubagentRequest::Wait { subagent_ids, until } => {
                let mut reports = Vec::new();
                for id in subagent_ids {
                    reports.push(self.report(&asking, *id)?);
                }
                let now = self.clock(0);
                let over = until.is_some_and(|until| until <= now);
                if !over && reports.iter().any(|report| report.status == ReportStatus::Running) {
                    let pause = self.rng.u64(1..LOOK_AGAIN_MS_MAX);
                    self.after(pause, Happening::Look(asking));
                    return Ok(());
                }
                self.replied(&asking, Attempted::Subagent(SubagentReply::Reports(reports)));
                Ok(())
            }
            SubagentRequest::Resume { .. } => Ok(()),
        }
    }

    fn end_subagents(&mut self, asking: &Asking, ends: &[SubagentEnd]) -> Result<(), Stop> {
        if self.bug == Some(Bug::ForgetSubagents) {
            self.replied(asking, Attempted::Ended);
            return Ok(());
        }
        let fences = ends.iter().flat_map(|end| &end.fences);
        for fence in fences.filter(|_| self.bug != Some(Bug::NoFence)).copied().collect::<Vec<_>>() {
            let receipt = Receipt {
                project: asking.key.project,
                key: receipt_key(fence),
                digest: String::new(),
                status: FENCED,
                body: String::new(),
                at: self.clock(0),
            };
            // Taken already: what it guards has arrived, and is stopped like everything else.
            let _ = self.store.put_now(Vec::new(), Some(receipt));
            self.sync()?;
            self.step("after a fence")?;
        }
        self.clients.expect(asking.effect.id, asking.attempt, asking.process, ends.len());
        for end in ends {
            let ask = Ask::Commands(vec![Command::Parent(FromParent::End(end.how.clone()))]);
            self.request(asking, end.subagent_id, ask, None)?;
        }
        Ok(())
    }

    fn request(
        &mut self,
        asking: &Asking,
        subagent: SubagentId,
        ask: Ask,
        receipt: Option<EffectId>,
    ) -> Result<(), Stop> {
        let (key, process) = (asking.child(subagent), asking.process);
        let number = self.clients.add_internal(key, ask, asking.clone(), receipt);
        self.note(|| format!("process {process} asks subagent {subagent} as request {number}"));
        // It may be on its way for long, and arrive when nobody wants it any more.
        let late = self.rng.u8(..4) == 0;
        let travel = self.rng.u64(..if late { LATE_MS_MAX } else { 20 });
        self.after(travel, Happening::Send { request: number });
        Ok(())
    }

    /// A request to a subagent was answered.
    pub(crate) fn subagent_answered(&mut self, asking: &Asking, answer: Answer) {
        match &asking.effect.kind {
            EffectKind::EndSubagents { .. } => {
                if self.clients.is_last(asking.effect.id, asking.attempt, asking.process) {
                    self.replied(asking, Attempted::Ended);
                }
            }
            EffectKind::Subagent { .. } => {
                let reply = match answer {
                    Answer::Done => SubagentReply::Done,
                    Answer::Refused => SubagentReply::Refused("refused".to_owned()),
                };
                self.replied(asking, Attempted::Subagent(reply));
            }
            EffectKind::ModelCall { .. }
            | EffectKind::Compact { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::ToolCall { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::PublishArtifacts => {}
        }
    }

    fn replied(&mut self, asking: &Asking, outcome: Attempted) {
        let Asking { process, key, effect, attempt } = asking.clone();
        let message = Message::Outcome { effect, attempt, outcome };
        let travel = self.rng.u64(1..50);
        self.after(travel, Happening::Deliver { process, key, message });
    }

    /// What there is to say of one subagent. Only what is durable is seen.
    fn report(&mut self, asking: &Asking, subagent_id: SubagentId) -> Result<SubagentReport, Stop> {
        let key = asking.child(subagent_id);
        self.wait_for_writes(key)?;
        let labels = Labels::NEUTRAL;
        let report = |turn_id, status, text| SubagentReport {
            subagent_id,
            turn_id,
            status,
            text,
            labels: labels.clone(),
        };
        let head = self.store.head_now(key).expect("the model of the store always answers");
        let latest = Page { after: None, limit: 1, order: Order::Descending };
        let turn = self.store.turns_now(key, &latest).ok().and_then(|turns| turns.into_iter().next());
        let is_busy = |status| matches!(status, SessionStatus::InProgress | SessionStatus::RequiresAction);
        let running = head.is_some_and(|head| !head.deleted && is_busy(head.status));
        if running && self.bug != Some(Bug::ReportEarly) {
            return Ok(report(None, ReportStatus::Running, String::new()));
        }
        let Some(turn) = turn else { return Ok(report(None, ReportStatus::Interrupted, String::new())) };
        let status = match turn.status {
            TurnStatus::Failed => ReportStatus::Failed,
            TurnStatus::Cancelled => ReportStatus::Interrupted,
            TurnStatus::Queued | TurnStatus::InProgress | TurnStatus::Waiting | TurnStatus::Completed => {
                ReportStatus::Completed
            }
        };
        let page = Page { after: None, limit: usize::MAX, order: Order::Descending };
        let items = self.store.items_now(key, Some(turn.id), &page).unwrap_or_default();
        let text = items.iter().find_map(said).unwrap_or_default();
        let labels = items.iter().fold(Labels::NEUTRAL, |labels, item| labels.join(&item.labels));
        Ok(SubagentReport { labels, ..report(Some(turn.id), status, text) })
    }
}

fn said(item: &Item) -> Option<String> {
    if let ItemBody::AssistantMessage { content, .. } = &item.body { Some(content.concat()) } else { None }
}
