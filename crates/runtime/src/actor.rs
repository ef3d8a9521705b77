//! The actor of one session: the task that owns its state and turns its crank.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tenure_journal::{EffectId, SessionKey, Timestamp, Version};
use tenure_session::{Attempted, Batch, Command, Context, Input, Reserving, Session, SessionView};
use tenure_store::{Append, ItemRow, Receipt, StoreError, StoreErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::budget;
use crate::clock;
use crate::effects::Launch;
use crate::handle::{ReceiptDraft, Shared};
use crate::live::Live;
use crate::{RuntimeError, RuntimeErrorKind};

/// Events between two snapshots: opening a session folds at most this many beside the snapshot.
const EVENTS_PER_SNAPSHOT: u64 = 128;
/// Times a decision is made again because someone else wrote first.
const CONFLICTS_MAX: u32 = 8;
/// How long an actor with nothing to do waits for someone who holds its mailbox.
const LEAVE_AGAIN: Duration = Duration::from_millis(100);
/// How long the store may be away before an outcome is tried again.
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// What is put into an actor's mailbox.
pub(crate) enum Mail {
    /// A batch of commands.
    Submit {
        commands: Vec<Command>,
        receipt: Option<ReceiptDraft>,
        reply: oneshot::Sender<Result<Arc<SessionView>, RuntimeError>>,
    },
    /// The session has effects that nobody runs.
    Resume,
}

/// The end of an attempt's task.
struct Finished {
    effect: EffectId,
    attempt: u32,
    outcome: Attempted,
}

pub(crate) struct Actor {
    key: SessionKey,
    shared: Arc<Shared>,
    mailbox: mpsc::Receiver<Mail>,
    state: Session,
    /// The version of the stored snapshot.
    snapshot: Version,
    live: Arc<Live>,
    running: HashMap<EffectId, (u32, CancellationToken)>,
    attempts: JoinSet<Finished>,
}

/// Runs the actor of an existing session until it has nothing to do.
pub(crate) async fn run(key: SessionKey, shared: Arc<Shared>, mut mailbox: mpsc::Receiver<Mail>) {
    loop {
        match load(key, &shared).await {
            Ok(Some((state, snapshot))) => {
                return Actor::new(key, shared, mailbox, state, snapshot).work().await;
            }
            Ok(None) => refuse_all(&mut mailbox, || RuntimeErrorKind::NotFound.into()),
            Err(error) => {
                tracing::error!(session = %key.session, %error, source = ?std::error::Error::source(&error),
                    "a session cannot be loaded");
                let kind = error.kind().clone();
                refuse_all(&mut mailbox, || kind.clone().into());
            }
        }
        if shared.registry.leave(key, &mailbox) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn refuse_all(mailbox: &mut mpsc::Receiver<Mail>, error: impl Fn() -> RuntimeError) {
    while let Ok(mail) = mailbox.try_recv() {
        if let Mail::Submit { reply, .. } = mail {
            // A caller that went away needs no answer.
            let _ = reply.send(Err(error()));
        }
    }
}

/// The session as it is stored, and the version of its snapshot.
pub(crate) async fn load(
    key: SessionKey,
    shared: &Shared,
) -> Result<Option<(Session, Version)>, RuntimeError> {
    let Some(stored) = shared.store.load(key).await? else { return Ok(None) };
    let snapshot = stored.snapshot.as_ref().and_then(|snapshot| match Session::decode(&snapshot.bytes) {
        Ok(state) => Some((state, snapshot.version)),
        Err(error) => {
            // Snapshots are a cache; another release may have written this one.
            tracing::warn!(session = %key.session, %error, "a snapshot cannot be read; folding the whole journal");
            None
        }
    });
    let whole = snapshot.is_none() && stored.snapshot.is_some();
    let (snapshot, version) =
        snapshot.map_or((None, Version::ZERO), |(state, version)| (Some(state), version));
    let events = if whole { shared.store.events(key, Version::ZERO, usize::MAX).await? } else { stored.tail };
    Ok(Session::fold(key, snapshot, &events).map(|state| (state, version)))
}

impl Actor {
    pub(crate) fn new(
        key: SessionKey,
        shared: Arc<Shared>,
        mailbox: mpsc::Receiver<Mail>,
        state: Session,
        snapshot: Version,
    ) -> Self {
        let live = Arc::new(Live::new(key, Arc::clone(&shared.hub)));
        Self {
            key,
            shared,
            mailbox,
            state,
            snapshot,
            live,
            running: HashMap::new(),
            attempts: JoinSet::new(),
        }
    }

    /// Goes on after the events that opened the session were appended.
    pub(crate) async fn opened(mut self, batch: Batch) {
        self.committed(batch);
        self.work().await;
    }

    async fn work(mut self) {
        // Attempts that the state calls running were another process's, or another actor's: both are gone.
        let orphaned = self.state.pending().any(|effect| {
            self.state.running_attempt(effect.id).is_some() && !self.running.contains_key(&effect.id)
        });
        if orphaned && self.apply(&Input::Resumed).await.is_err() {
            return;
        }
        loop {
            if self.is_done() && self.shared.registry.leave(self.key, &self.mailbox) {
                return;
            }
            let retry = self.state.next_retry();
            let step = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return,
                Some(finished) = self.attempts.join_next(), if !self.attempts.is_empty() => match finished {
                    Ok(finished) => self.finished(finished).await,
                    Err(error) => self.crashed(&error).await,
                },
                () = sleep_until(&self.shared, retry), if retry.is_some() => self.apply(&Input::Tick).await.map(drop),
                Some(mail) = self.mailbox.recv() => {
                    self.mail(mail).await;
                    Ok(())
                }
                // Someone took the mailbox and may have gone away without writing.
                () = tokio::time::sleep(LEAVE_AGAIN), if self.is_done() => Ok(()),
                // Nobody can write any more: the registry has let go of this actor.
                else => return,
            };
            if step.is_err() {
                return;
            }
        }
    }

    /// Whether only mail can bring something new, and the last who could send some may be gone.
    fn is_done(&self) -> bool {
        self.attempts.is_empty() && self.state.next_retry().is_none()
    }

    async fn mail(&mut self, mail: Mail) {
        let Mail::Submit { commands, receipt, reply } = mail else { return };
        let result = self.submit(&commands, receipt.as_ref()).await;
        let _ = reply.send(result);
    }

    async fn submit(
        &mut self,
        commands: &[Command],
        receipt: Option<&ReceiptDraft>,
    ) -> Result<Arc<SessionView>, RuntimeError> {
        let changed = self.turn_crank(&Input::Commands(commands), receipt).await?;
        let view = Arc::new(budget::counted(&self.shared, self.state.view()).await);
        if let (false, Some(receipt)) = (changed, receipt) {
            // Nothing to append, but the key still has to be taken.
            self.shared
                .keep_receipt(receipt.to_receipt(self.key.project, self.shared.clock.now(), &view))
                .await?;
        }
        Ok(view)
    }

    async fn finished(&mut self, finished: Finished) -> Result<(), ()> {
        let Finished { effect, attempt, outcome } = finished;
        if self.running.get(&effect).is_some_and(|(running, _)| *running == attempt) {
            self.running.remove(&effect);
        }
        if self.state.running_attempt(effect) != Some(attempt) {
            return Ok(());
        }
        if matches!(outcome, Attempted::Failed(_)) {
            // Before the turn may end for it: what was streamed is closed within its turn.
            self.live.abandon(effect);
        }
        self.apply(&Input::Attempted { effect_id: effect, attempt, outcome }).await.map(drop)
    }

    /// An attempt's task panicked: our own bug, contained to this session.
    async fn crashed(&mut self, error: &tokio::task::JoinError) -> Result<(), ()> {
        if error.is_cancelled() {
            return Ok(());
        }
        tracing::error!(session = %self.key.session, %error, "an attempt panicked");
        self.running.retain(|_, (_, cancel)| !cancel.is_cancelled());
        let lost: Vec<(EffectId, u32)> = self
            .state
            .pending()
            .filter_map(|effect| Some((effect.id, self.state.running_attempt(effect.id)?)))
            .filter(|(id, _)| !self.running.contains_key(id))
            .collect();
        for (effect_id, attempt) in lost {
            let failure = tenure_journal::Failure {
                kind: tenure_journal::FailureKind::Internal,
                message: "an internal error ended the attempt".to_owned(),
                retry_after_ms: None,
            };
            let outcome = Attempted::Failed(failure);
            self.apply(&Input::Attempted { effect_id, attempt, outcome }).await?;
        }
        Ok(())
    }

    /// Turns the crank for something that cannot be refused, for as long as it takes the store to come back.
    async fn apply(&mut self, input: &Input<'_>) -> Result<bool, ()> {
        loop {
            match self.turn_crank(input, None).await {
                Ok(changed) => return Ok(changed),
                Err(error) if *error.kind() == RuntimeErrorKind::Storage => {
                    tracing::error!(session = %self.key.session, source = ?std::error::Error::source(&error),
                        "an outcome cannot be stored; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(STORE_PAUSE) => {}
                        () = self.shared.stop.cancelled() => return Err(()),
                    }
                    // What was written is not known: only the store is.
                    if self.reload().await.is_err() {
                        return Err(());
                    }
                }
                Err(error) => {
                    tracing::error!(session = %self.key.session, %error, "the session stops");
                    return Err(());
                }
            }
        }
    }

    /// Decides, appends, and only then lets the world see it. Returns whether anything changed.
    async fn turn_crank(
        &mut self,
        input: &Input<'_>,
        receipt: Option<&ReceiptDraft>,
    ) -> Result<bool, RuntimeError> {
        let mut reserving = Reserving::Asked;
        for _ in 0..CONFLICTS_MAX {
            let now = self.shared.clock.now();
            let fresh = self.shared.clock.fresh();
            let partial = self.live.partial();
            let context_tokens =
                self.shared.models.route(&self.state.agent().model).and_then(|route| route.context_tokens);
            let cx = Context {
                now,
                fresh: &fresh,
                chance: clock::chance(),
                policy: &self.shared.policy,
                context_tokens,
                prices: &self.shared.prices,
                reserving,
                partial: &partial,
            };
            let Some(mut batch) = self.state.crank(input, &cx)? else { return Ok(false) };
            let receipt = match receipt {
                Some(draft) => {
                    let view = budget::counted(&self.shared, batch.after.view()).await;
                    Some(draft.to_receipt(self.key.project, now, &view))
                }
                None => None,
            };
            match append(&self.shared, &batch, now, self.snapshot, receipt).await {
                Ok(snapshot) => {
                    self.snapshot = snapshot;
                    budget::tell(&self.shared, &mut batch).await;
                    self.committed(batch);
                    return Ok(true);
                }
                // Decided again, the turn fails instead.
                Err(error) if error.kind() == StoreErrorKind::BudgetExceeded => {
                    reserving = Reserving::Refused;
                }
                Err(error) if matches!(error.kind(), StoreErrorKind::Conflict { .. }) => {
                    self.reload().await?;
                }
                Err(error) => {
                    // Unavailable may mean that it was written after all.
                    if error.kind() == StoreErrorKind::Unavailable {
                        self.reload().await?;
                    }
                    return Err(error.into());
                }
            }
        }
        Err(RuntimeErrorKind::Storage.into())
    }

    async fn reload(&mut self) -> Result<(), RuntimeError> {
        let Some((state, snapshot)) = load(self.key, &self.shared).await? else {
            return Err(RuntimeErrorKind::NotFound.into());
        };
        self.state = state;
        self.snapshot = snapshot;
        Ok(())
    }

    /// What follows once a batch is durable.
    fn committed(&mut self, batch: Batch) {
        self.state = batch.after;
        for effect in &batch.stop {
            if let Some((_, cancel)) = self.running.remove(effect) {
                cancel.cancel();
            }
        }
        self.live.publish(batch.notices);
        for effect in &batch.stop {
            self.live.abandon(*effect);
        }
        for (effect, attempt) in batch.start {
            self.start(Launch::new(&self.state, effect, attempt));
        }
    }

    fn start(&mut self, launch: Launch) {
        let cancel = self.shared.stop.child_token();
        let (effect, attempt) = (launch.effect().id, launch.attempt());
        self.running.insert(effect, (attempt, cancel.clone()));
        let (shared, live, project) = (Arc::clone(&self.shared), Arc::clone(&self.live), self.key.project);
        self.attempts.spawn(async move {
            let outcome = launch.run(shared, project, live, cancel).await;
            Finished { effect, attempt, outcome }
        });
    }
}

/// Appends a batch with everything that follows from it; gives the version of the stored snapshot.
pub(crate) async fn append(
    shared: &Shared,
    batch: &Batch,
    at: Timestamp,
    snapshot: Version,
    receipt: Option<Receipt>,
) -> Result<Version, StoreError> {
    let version = batch.after.version();
    let due = version.0 >= snapshot.0 + EVENTS_PER_SNAPSHOT;
    let append = Append {
        expected: batch.expected,
        at,
        events: batch.events.clone(),
        head: batch.after.head(),
        items: batch
            .items
            .iter()
            .map(|(ordinal, item)| ItemRow { ordinal: *ordinal, item: item.clone() })
            .collect(),
        turns: batch.turns.clone(),
        snapshot: due.then(|| Bytes::from(batch.after.encode())),
        receipt,
        holder: Some(shared.node),
        documents: Vec::new(),
        budget: budget::entries(batch),
    };
    shared.store.append(append).await?;
    Ok(if due { version } else { snapshot })
}

async fn sleep_until(shared: &Shared, at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    tokio::time::sleep(Duration::from_millis(shared.clock.now().millis_until(at))).await;
}
