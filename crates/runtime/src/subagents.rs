//! What agents ask of their subagents, carried out against other sessions of the same store.
//!
//! A subagent is a session, so everything here goes through the same doors as a client's request, and the
//! subagent may be run by any node. Each request can be made again without happening twice: the session's id
//! follows from the effect that creates it, inputs are submitted under a receipt named after their effect,
//! stopping is idempotent, and waiting only reads.
//!
//! Nothing here fails. While the store does not answer, a request is tried again: until it is known to have
//! been carried out or not, nobody knows what runs. It ends early only when its attempt is cancelled, and
//! then its outcome does not matter.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tenure_journal::{
    EffectId, EndHow, Item, ItemBody, Labels, Phase, ProjectId, ReportStatus, SessionKey, SessionStatus,
    SubagentEnd, SubagentId, SubagentReport, SubagentRequest, Timestamp, Turn, TurnStatus, limit,
};
use tenure_session::{Attempted, Command, FromParent, Session, SubagentReply};
use tenure_store::{Order, Page, Receipt, Wake};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::actor::Mail;
use crate::handle::{ReceiptDraft, Shared};
use crate::opening::{Beginning, Opening};
use crate::registry::Admission;
use crate::unreadable::LEFT_FOR;
use crate::{RuntimeError, RuntimeErrorKind};

/// The pause before something is tried again that the store did not answer.
const STORE_PAUSE: Duration = Duration::from_millis(200);
/// The pauses between two looks at subagents that are waited for: news usually come sooner by themselves.
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(100);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(5);
/// Items of a turn that are searched for its last message, newest first.
const LAST_ITEMS_MAX: usize = 64;

/// One thing to do, taken from the parent's state when its attempt begins.
pub(crate) enum Work {
    /// Open a session.
    Create { subagent: SubagentId, effect: EffectId, opening: Box<Opening> },
    /// Give input.
    Send { subagent: SubagentId, effect: EffectId, input: Box<FromParent> },
    /// Stop what it does.
    Halt { subagent: SubagentId },
    /// Wait for reports.
    Wait { subagents: Vec<SubagentId>, until: Option<Timestamp> },
    /// Stop some, for good or for now.
    End(Vec<SubagentEnd>),
    /// Nothing outside is to be done.
    Nothing,
}

/// A request that was not carried out: its attempt was cancelled.
struct Cancelled;

impl Work {
    pub(crate) fn of(state: &Session, effect: EffectId, request: &SubagentRequest) -> Self {
        match request {
            SubagentRequest::Create { subagent_id, .. } => match state.child(request) {
                Some((opened, input)) => {
                    let opening = Box::new(Opening { opened, input });
                    Self::Create { subagent: *subagent_id, effect, opening }
                }
                None => Self::Nothing,
            },
            SubagentRequest::SendInput { subagent_id, input } => {
                let input = FromParent::Input { text: input.clone(), labels: state.labels().clone() };
                Self::Send { subagent: *subagent_id, effect, input: Box::new(input) }
            }
            SubagentRequest::Interrupt { subagent_id } | SubagentRequest::Close { subagent_id } => {
                Self::Halt { subagent: *subagent_id }
            }
            SubagentRequest::Wait { subagent_ids, until } => {
                Self::Wait { subagents: subagent_ids.clone(), until: *until }
            }
            SubagentRequest::Resume { .. } => Self::Nothing,
        }
    }
}

/// Does it. The future is boxed because opening a session leads back here.
pub(crate) fn run<'a>(
    shared: &'a Arc<Shared>,
    project: ProjectId,
    work: Work,
    cancel: &'a CancellationToken,
) -> Pin<Box<dyn Future<Output = Attempted> + Send + 'a>> {
    Box::pin(async move {
        let tree = Tree { shared, project, cancel };
        let done = |done: Result<(), Cancelled>| done.map(|()| SubagentReply::Done);
        let reply = match work {
            Work::Create { subagent, effect, opening } => done(tree.create(subagent, effect, *opening).await),
            Work::Send { subagent, effect, input } => tree.send(subagent, effect, &input).await,
            Work::Halt { subagent } => done(tree.stop(subagent, EndHow::Interrupt).await),
            Work::Wait { subagents, until } => tree.wait(&subagents, until).await.map(SubagentReply::Reports),
            Work::Nothing => Ok(SubagentReply::Done),
            Work::End(ends) => {
                return match tree.end(&ends).await {
                    Ok(()) => Attempted::Ended,
                    Err(Cancelled) => tree.cancelled().await,
                };
            }
        };
        match reply {
            Ok(reply) => Attempted::Subagent(reply),
            Err(Cancelled) => tree.cancelled().await,
        }
    })
}

/// The sessions of one project, while an attempt runs.
struct Tree<'a> {
    shared: &'a Arc<Shared>,
    project: ProjectId,
    cancel: &'a CancellationToken,
}

impl Tree<'_> {
    /// The outcome that nobody looks at any more.
    async fn cancelled(&self) -> Attempted {
        self.cancel.cancelled().await;
        Attempted::Subagent(SubagentReply::Refused("interrupted".to_owned()))
    }

    fn key(&self, subagent: SubagentId) -> SessionKey {
        SessionKey { project: self.project, session: subagent.session() }
    }

    /// Waits before something is tried again. A subagent that this release cannot read may be at work on
    /// another node: whether it is, and stops, is known when it can be read again or that node takes this over.
    async fn pause(&self, why: &RuntimeError) -> Result<(), Cancelled> {
        let pause = if *why.kind() == RuntimeErrorKind::Damaged { LEFT_FOR } else { STORE_PAUSE };
        tracing::warn!(%why, "a subagent cannot be reached; trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.cancel.cancelled() => Err(Cancelled),
        }
    }

    async fn exists(&self, subagent: SubagentId) -> Result<bool, Cancelled> {
        loop {
            match self.shared.store.head(self.key(subagent)).await {
                Ok(head) => return Ok(head.is_some()),
                Err(error) => self.pause(&error.into()).await?,
            }
        }
    }

    async fn create(
        &self,
        subagent: SubagentId,
        effect: EffectId,
        opening: Opening,
    ) -> Result<(), Cancelled> {
        loop {
            // An earlier attempt may have opened it.
            if self.exists(subagent).await? {
                // Whether anybody works on it is not known where the store did not answer.
                self.shared.wake(self.key(subagent), Mail::Look);
                return Ok(());
            }
            let opening = Opening { opened: opening.opened.clone(), input: opening.input.clone() };
            let receipt = Some(receipt_draft(effect));
            let key = self.key(subagent);
            match self
                .shared
                .open(key, Beginning::Session(Box::new(opening)), receipt, None, Admission::Always)
                .await
            {
                Ok(_) => return Ok(()),
                // Opened by an earlier attempt and seen only now, or never to be opened.
                Err(error) if *error.kind() == RuntimeErrorKind::ReceiptExists => return Ok(()),
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    async fn send(
        &self,
        subagent: SubagentId,
        effect: EffectId,
        input: &FromParent,
    ) -> Result<SubagentReply, Cancelled> {
        loop {
            let command = Command::Parent(input.clone());
            let receipt = Some(receipt_draft(effect));
            let sent =
                self.shared.submit(self.key(subagent), vec![command], receipt, Admission::Always).await;
            let Err(error) = sent else { return Ok(SubagentReply::Done) };
            match error.kind() {
                RuntimeErrorKind::ReceiptExists => return Ok(SubagentReply::Done),
                RuntimeErrorKind::Refused(refusal) => {
                    return Ok(SubagentReply::Refused(format!("Not done: {refusal}.")));
                }
                RuntimeErrorKind::NotFound => {
                    return Ok(SubagentReply::Refused("Not done: the subagent is gone.".to_owned()));
                }
                RuntimeErrorKind::Overloaded(_)
                | RuntimeErrorKind::ShuttingDown
                | RuntimeErrorKind::Storage
                | RuntimeErrorKind::BeingErased
                | RuntimeErrorKind::Sealing
                | RuntimeErrorKind::Damaged => self.pause(&error).await?,
            }
        }
    }

    async fn stop(&self, subagent: SubagentId, how: EndHow) -> Result<(), Cancelled> {
        let command = FromParent::End(how);
        loop {
            let commands = vec![Command::Parent(command.clone())];
            let stopped = self.shared.submit(self.key(subagent), commands, None, Admission::Always).await;
            let Err(error) = stopped else { return Ok(()) };
            match error.kind() {
                // Nothing runs in a session that is not there, or refuses to do anything.
                RuntimeErrorKind::NotFound | RuntimeErrorKind::Refused(_) => return Ok(()),
                RuntimeErrorKind::ReceiptExists
                | RuntimeErrorKind::Overloaded(_)
                | RuntimeErrorKind::ShuttingDown
                | RuntimeErrorKind::Storage
                | RuntimeErrorKind::BeingErased
                | RuntimeErrorKind::Sealing
                | RuntimeErrorKind::Damaged => self.pause(&error).await?,
            }
        }
    }

    /// Stops subagents, all at once: one that cannot be reached keeps none of the others at work.
    async fn end(&self, ends: &[SubagentEnd]) -> Result<(), Cancelled> {
        let ends: Vec<_> = ends.iter().map(|end| self.end_one(end)).collect();
        try_join_all(ends).await.map(drop)
    }

    /// First the receipts of what was given up are taken, so that it cannot arrive any more; then what has arrived
    /// is stopped.
    async fn end_one(&self, end: &SubagentEnd) -> Result<(), Cancelled> {
        for fence in &end.fences {
            self.fence(*fence).await?;
        }
        self.stop(end.subagent_id, end.how.clone()).await
    }

    async fn fence(&self, effect: EffectId) -> Result<(), Cancelled> {
        let receipt = || Receipt {
            project: self.project,
            key: receipt_key(effect),
            digest: String::new(),
            status: 0,
            body: String::new(),
            at: self.shared.clock.now(),
        };
        loop {
            match self.shared.keep_receipt(receipt()).await {
                Ok(()) => return Ok(()),
                Err(error) if *error.kind() == RuntimeErrorKind::ReceiptExists => return Ok(()),
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// Waits until none of them works, or until a moment, and gives what there is to report of each.
    async fn wait(
        &self,
        subagents: &[SubagentId],
        until: Option<Timestamp>,
    ) -> Result<Vec<SubagentReport>, Cancelled> {
        let sessions: BTreeSet<SessionKey> = subagents.iter().map(|id| self.key(*id)).collect();
        // First the news, then the look: what happens in between is heard.
        let mut wakes = self.shared.store.wakes();
        let mut pause = LOOK_AGAIN_FIRST;
        loop {
            let reports = self.reports(subagents).await?;
            let over = until.is_some_and(|until| until <= self.shared.clock.now());
            if over || reports.iter().all(|report| report.status != ReportStatus::Running) {
                return Ok(reports);
            }
            let left = until.map(|until| Duration::from_millis(self.shared.clock.now().millis_until(until)));
            let sleep = left.map_or(pause, |left| left.min(pause));
            tokio::select! {
                () = news(&mut wakes, &sessions) => {}
                () = tokio::time::sleep(sleep) => {
                    pause = (pause * 2).min(LOOK_AGAIN_MAX);
                    self.begin(&reports);
                }
                () = self.cancel.cancelled() => return Err(Cancelled),
            }
        }
    }

    /// Sees to it that what is waited for is worked on. Otherwise sessions that wait for their subagents could
    /// take all the room there is for due sessions, of which the subagents are some.
    fn begin(&self, reports: &[SubagentReport]) {
        if self.shared.registry.room() > 0 {
            return;
        }
        for report in reports.iter().filter(|report| report.status == ReportStatus::Running) {
            let key = self.key(report.subagent_id);
            if !self.shared.registry.has(key) {
                self.shared.wake(key, Mail::Look);
            }
        }
    }

    async fn reports(&self, subagents: &[SubagentId]) -> Result<Vec<SubagentReport>, Cancelled> {
        let mut reports = Vec::with_capacity(subagents.len());
        for subagent in subagents {
            let report = loop {
                match self.report(*subagent).await {
                    Ok(report) => break report,
                    Err(error) => self.pause(&error).await?,
                }
            };
            reports.push(report);
        }
        Ok(reports)
    }

    /// What there is to say of one subagent.
    async fn report(&self, subagent_id: SubagentId) -> Result<SubagentReport, RuntimeError> {
        let (store, key) = (&self.shared.store, self.key(subagent_id));
        let report = |turn: Option<&Turn>, status, text: String| SubagentReport {
            subagent_id,
            turn_id: turn.map(|turn| turn.id),
            status,
            text,
            labels: Labels::NEUTRAL,
        };
        let Some(head) = store.head(key).await?.filter(|head| !head.deleted) else {
            return Ok(report(None, ReportStatus::Failed, "the subagent is gone".to_owned()));
        };
        match head.status {
            SessionStatus::InProgress | SessionStatus::RequiresAction => {
                return Ok(report(None, ReportStatus::Running, String::new()));
            }
            SessionStatus::Idle | SessionStatus::Failed => {}
        }
        let latest = Page { after: None, limit: 1, order: Order::Descending };
        let turns = store.turns(key, &latest).await?;
        let Some(turn) = turns.first() else {
            return Ok(report(None, ReportStatus::Interrupted, String::new()));
        };
        let latest = self.latest_items(key, turn).await?;
        // Each item of an answer has the labels of everything that was seen before it.
        let labels = latest.iter().fold(Labels::NEUTRAL, |labels, item| labels.join(&item.labels));
        let report = match turn.status {
            TurnStatus::Queued | TurnStatus::InProgress | TurnStatus::Waiting => {
                report(None, ReportStatus::Running, String::new())
            }
            TurnStatus::Completed => report(Some(turn), ReportStatus::Completed, last_words(latest)),
            TurnStatus::Failed => {
                let error = turn.error.as_ref();
                let why = error.map(|error| format!("{}: {}", error.code, error.message));
                report(Some(turn), ReportStatus::Failed, why.unwrap_or_default())
            }
            TurnStatus::Cancelled => {
                report(Some(turn), ReportStatus::Interrupted, "it was interrupted".to_owned())
            }
        };
        Ok(SubagentReport { labels, ..report })
    }

    /// The latest items of a turn, newest first.
    async fn latest_items(&self, key: SessionKey, turn: &Turn) -> Result<Vec<Item>, RuntimeError> {
        let page = Page { after: None, limit: LAST_ITEMS_MAX, order: Order::Descending };
        Ok(self.shared.store.items(key, Some(turn.id), &page).await?)
    }
}

/// The last message of a turn, shortened where it is long.
fn last_words(items: Vec<Item>) -> String {
    let said = items.into_iter().find_map(|item| match item.body {
        ItemBody::AssistantMessage { content, phase: Some(Phase::FinalAnswer) | None } => {
            Some(content.concat())
        }
        ItemBody::AssistantMessage { .. }
        | ItemBody::UserMessage { .. }
        | ItemBody::Reasoning { .. }
        | ItemBody::FunctionCall { .. }
        | ItemBody::FunctionCallOutput { .. }
        | ItemBody::McpCall { .. }
        | ItemBody::CommandExecution { .. }
        | ItemBody::SubagentCall { .. }
        | ItemBody::AgentMessage { .. }
        | ItemBody::InternalCall { .. } => None,
    });
    shortened(said.unwrap_or_default())
}

/// Returns when one of `sessions` may have changed.
async fn news(wakes: &mut broadcast::Receiver<Wake>, sessions: &BTreeSet<SessionKey>) {
    loop {
        match wakes.recv().await {
            Ok(Wake::Session { key, .. }) if !sessions.contains(&key) => {}
            Ok(Wake::Nodes) => {}
            Ok(Wake::Session { .. } | Wake::Missed) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            // Nobody tells any more; the clock still does.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn shortened(mut text: String) -> String {
    let end = text.floor_char_boundary(limit::SUBAGENT_REPORT_BYTES_MAX.min(text.len()));
    if end < text.len() {
        let whole = text.len();
        text.truncate(end);
        text += &format!("\n[Shortened: {end} of {whole} bytes.]");
    }
    text
}

/// The receipt that makes an effect reach its subagent at most once.
fn receipt_key(effect: EffectId) -> String {
    format!("subagent/{effect}")
}

fn receipt_draft(effect: EffectId) -> ReceiptDraft {
    ReceiptDraft {
        key: receipt_key(effect),
        digest: String::new(),
        status: 202,
        body: Box::new(|_| String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reports_are_cut_between_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let long = shortened("é".repeat(limit::SUBAGENT_REPORT_BYTES_MAX));
        assert!(long.starts_with('é') && long.contains("[Shortened: 16384 of 32768 bytes.]"));
    }
}
