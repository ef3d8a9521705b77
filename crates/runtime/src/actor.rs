//! The actor of one session: the task that owns its state and turns its crank.
//!
//! Where several nodes share the store, an actor is the session's holder or, while a living node elsewhere
//! holds the session, a guest: it takes commands, records what they ask for and leaves the attempts to the
//! holder. Whatever others append is followed as if it had been decided here.
//!
//! ```text
//!            refused: another holds it, and lives
//!   Holder ────────────────────────────────────────▶ Guest
//!      ▲        (attempts are cancelled)               │
//!      └───────────────────────────────────────────────┘
//!         the next command tries again; a dead holder's session is claimed
//! ```

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tenure_journal::{
    Effect, EffectId, EffectKind, Event, Failure, FailureKind, SessionKey, Timestamp, Tool, Version,
};
use tenure_session::{
    Attempted, Batch, Command, Context, Frozen, Input, Reserving, Role, Session, SessionView, appends,
};
use tenure_store::StoreErrorKind;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::appending::{append, refused};
use crate::budgets::Whom;
use crate::collect::OUTCOME_WAIT_MAX;
use crate::effects::{self, Launch};
use crate::handle::{ReceiptDraft, Shared};
use crate::keeping::Kept;
use crate::live::Live;
use crate::{RuntimeError, RuntimeErrorKind};
use crate::{budget, budgets, clock, facts, follow, node, unreadable};

/// Times a decision is made again because someone else wrote first.
const CONFLICTS_MAX: u32 = 8;
/// How long an actor with nothing to do waits for someone who holds its mailbox.
const LEAVE_AGAIN: Duration = Duration::from_millis(100);
/// How long the store may be away before an outcome is tried again.
const STORE_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between two tries to load a session that is to be looked at.
const LOAD_PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is put into an actor's mailbox.
pub(crate) enum Mail {
    /// A batch of commands.
    Submit {
        commands: Vec<Command>,
        receipt: Option<ReceiptDraft>,
        reply: oneshot::Sender<Result<Arc<SessionView>, RuntimeError>>,
    },
    /// The journal may have reached this version without this actor.
    Wake { version: Version },
    /// There may be something to do that this actor does not know of.
    Look,
    /// The session's executor connected to this node or went away. The answer is whether it is connected, and the
    /// session held, here.
    Executor { reply: oneshot::Sender<bool> },
}

/// The end of an attempt's task.
struct Finished {
    effect: EffectId,
    attempt: u32,
    outcome: Attempted,
    /// What it kept is referred to, or nobody's, once this is dealt with.
    _kept: Option<Kept>,
}

pub(crate) struct Actor {
    key: SessionKey,
    shared: Arc<Shared>,
    mailbox: mpsc::Receiver<Mail>,
    state: Session,
    role: Role,
    /// The version of the stored snapshot.
    snapshot: Version,
    /// What was frozen when it was last asked.
    frozen: Arc<Frozen>,
    live: Arc<Live>,
    running: HashMap<EffectId, (u32, CancellationToken)>,
    attempts: JoinSet<Finished>,
}

/// Runs the actor of an existing session until it has nothing to do.
pub(crate) async fn run(key: SessionKey, shared: Arc<Shared>, mut mailbox: mpsc::Receiver<Mail>) {
    // Whoever sent a command is told that it was refused and may send it again; nobody looks again for a
    // session that was claimed, so that is done here.
    let mut due = Due::No;
    let mut pause = STORE_PAUSE;
    loop {
        match load(key, &shared).await {
            Ok(Some((state, snapshot))) => {
                shared.unreadable.sessions.forget(&key);
                // It holds the state several times over: on the heap, and not in every task that may come here.
                return Box::pin(Actor::new(key, shared, mailbox, state, snapshot).work()).await;
            }
            Ok(None) => due = due.refuse_all(&mut mailbox, &RuntimeErrorKind::NotFound),
            Err(error) => {
                if *error.kind() != RuntimeErrorKind::Damaged {
                    tracing::error!(session = %key.session, %error, source = ?std::error::Error::source(&error),
                        "a session cannot be loaded");
                }
                unreadable::let_go(&shared, key, &error).await;
                due = due.refuse_all(&mut mailbox, error.kind());
            }
        }
        if due == Due::Yes {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LOAD_PAUSE_MAX),
            }
            continue;
        }
        if shared.registry.leave(key, &mailbox) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Whether a session that cannot be loaded is to be looked at once it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Yes,
    No,
}

impl Due {
    /// Refuses the commands that came; a look that was asked for stays due while the store is only away.
    fn refuse_all(mut self, mailbox: &mut mpsc::Receiver<Mail>, error: &RuntimeErrorKind) -> Self {
        while let Ok(mail) = mailbox.try_recv() {
            match mail {
                // A caller that went away needs no answer.
                Mail::Submit { reply, .. } => drop(reply.send(Err(error.clone().into()))),
                Mail::Executor { reply } => drop(reply.send(false)),
                Mail::Wake { .. } | Mail::Look => self = Self::Yes,
            }
        }
        if *error == RuntimeErrorKind::Storage { self } else { Self::No }
    }
}

/// The session as it is stored, and the version of its snapshot.
pub(crate) async fn load(
    key: SessionKey,
    shared: &Shared,
) -> Result<Option<(Session, Version)>, RuntimeError> {
    let stored =
        shared.store.load(key).await.inspect_err(|error| shared.metrics.store_failed(error.kind()))?;
    let Some(stored) = stored else { return Ok(None) };
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
    // A newer release may be able to read what this one cannot, so nothing is recorded: the session stops alone.
    let state = Session::fold(key, snapshot, &events).ok_or(RuntimeErrorKind::Damaged)?;
    Ok(Some((state, version)))
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
            role: Role::Holder,
            snapshot,
            frozen: Arc::default(),
            live,
            running: HashMap::new(),
            attempts: JoinSet::new(),
        }
    }

    /// Goes on after the events that opened the session were appended.
    pub(crate) async fn opened(mut self, batch: Batch, covered: Option<Instant>) {
        self.committed(batch, covered);
        Box::pin(self.work()).await;
    }

    async fn work(mut self) {
        loop {
            if self.settle().await.is_err() {
                return;
            }
            if self.is_done() && self.shared.registry.leave(self.key, &self.mailbox) {
                return;
            }
            let (retry, stays, held) = (self.next_retry(), self.stays(), self.is_held());
            let step = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return,
                Some(Ok(finished)) = self.attempts.join_next(), if !self.attempts.is_empty() => {
                    self.finished(finished).await
                }
                () = sleep_until(&self.shared, retry), if retry.is_some() => self.apply(&Input::Tick).await.map(drop),
                Some(mail) = self.mailbox.recv() => self.mail(mail).await,
                () = self.shared.freezes.may_have_ended(), if held => self.apply(&Input::Tick).await.map(drop),
                // The executor is left behind: whoever is next in this session finds it gone. What is frozen waits
                // in the journal.
                () = self.shared.closing.cancelled(), if stays || held => Ok(()),
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

    /// Does what the state asks for and nobody is doing.
    async fn settle(&mut self) -> Result<(), ()> {
        self.end_servers();
        if self.role == Role::Guest {
            return Ok(());
        }
        self.compare_executor().await?;
        // Attempts that the state calls running and that do not run here were another process's, or another
        // actor's: both are gone.
        let orphaned = self.state.pending().any(|effect| {
            self.state.running_attempt(effect.id).is_some() && !self.running.contains_key(&effect.id)
        });
        if orphaned {
            return self.apply(&Input::Resumed).await.map(drop);
        }
        if self.state.has_requested() {
            // A guest asked for it, or a crash came before its first attempt.
            return self.apply(&Input::Tick).await.map(drop);
        }
        Ok(())
    }

    /// Makes the journal say whether the session's executor is connected to this node. One that was connected to
    /// another is gone with it, or this would not be the holder.
    async fn compare_executor(&mut self) -> Result<(), ()> {
        let Some(own) = self.state.self_hosted() else { return Ok(()) };
        let Some(id) = self.state.connects() else {
            if self.state.parent().is_none() {
                // It is over. A subagent's session is none of the executor's business.
                self.shared.executors.close(own.id);
            }
            return Ok(());
        };
        match (self.shared.executors.is_connected(id), self.state.is_connected()) {
            (true, false) => self.apply(&Input::Connected).await.map(drop),
            (false, true) => self.apply(&Input::Disconnected).await.map(drop),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Ends what runs in its environment between calls, once that is not this node's business any more.
    fn end_servers(&self) {
        if self.role == Role::Holder && !self.state.is_over() {
            return;
        }
        if let Some(hosted) = self.state.hosted()
            && self.shared.environments.may_serve(hosted.id)
        {
            let (host, id) = (Arc::clone(&self.shared.environments), hosted.id);
            self.shared.tasks.spawn_blocking(move || host.end_servers(id));
        }
        if self.state.self_hosted().is_some() {
            self.shared.executors.end_servers(self.key.session);
        }
    }

    /// Whether it stays for the executor, whose end it has to notice.
    fn stays(&self) -> bool {
        self.role == Role::Holder && self.state.is_connected() && !self.shared.closing.is_cancelled()
    }

    /// Whether it stays because only a freeze keeps an attempt from beginning.
    fn is_held(&self) -> bool {
        self.role == Role::Holder && !self.shared.closing.is_cancelled() && self.state.is_frozen(&self.frozen)
    }

    fn next_retry(&self) -> Option<Timestamp> {
        match self.role {
            Role::Holder => self.state.next_retry(&self.frozen),
            Role::Guest => None,
        }
    }

    /// Whether only mail can bring something new, and the last who could send some may be gone.
    fn is_done(&self) -> bool {
        self.attempts.is_empty() && self.next_retry().is_none() && !self.stays() && !self.is_held()
    }

    async fn mail(&mut self, mail: Mail) -> Result<(), ()> {
        match mail {
            Mail::Submit { commands, receipt, reply } => {
                // The holder of a moment ago may be gone.
                self.role = Role::Holder;
                self.settle().await?;
                let result = self.submit(&commands, receipt.as_ref()).await;
                let is_lost = self.is_unreadable(result.as_ref().err()).await;
                // A caller that went away needs no answer.
                let _ = reply.send(result);
                if is_lost {
                    return Err(());
                }
            }
            Mail::Executor { reply } => {
                // The holder of a moment ago may be gone.
                self.role = Role::Holder;
                self.settle().await?;
                let id = self.state.connects().filter(|_| self.role == Role::Holder);
                let here = id.is_some_and(|id| self.shared.executors.is_connected(id));
                let _ = reply.send(here && self.state.is_connected());
            }
            Mail::Wake { version } if version <= self.state.version() => {}
            Mail::Wake { .. } | Mail::Look => {
                if matches!(mail, Mail::Look) {
                    // It may have been taken over for this actor while that was a guest.
                    self.role = Role::Holder;
                }
                if let Err(error) = self.catch_up().await {
                    if self.is_unreadable(Some(&error)).await {
                        return Err(());
                    }
                    tracing::warn!(session = %self.key.session, %error, "what others appended cannot be read now");
                }
            }
        }
        Ok(())
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
        let Finished { effect, attempt, outcome, _kept } = finished;
        if self.running.get(&effect).is_some_and(|(running, _)| *running == attempt) {
            self.running.remove(&effect);
        }
        if self.state.running_attempt(effect) != Some(attempt) || self.role == Role::Guest {
            return Ok(());
        }
        if matches!(outcome, Attempted::Failed(_)) {
            // Before the turn may end for it: what was streamed is closed within its turn.
            self.live.abandon(effect, &[]);
        }
        if let (Attempted::Listed(tools), Some(server)) = (&outcome, self.state.listed_by(effect)) {
            self.shared.described.take(self.key.project, server, tools);
        }
        self.apply(&Input::Attempted { effect_id: effect, attempt, outcome }).await.map(drop)
    }

    /// Turns the crank for something that cannot be refused, for as long as it takes the store to come back. An
    /// outcome that waited too long is given up with its actor: what it refers to may be collected by then.
    async fn apply(&mut self, input: &Input<'_>) -> Result<bool, ()> {
        let began = Instant::now();
        loop {
            if began.elapsed() > OUTCOME_WAIT_MAX {
                tracing::error!(session = %self.key.session, "an outcome could not be stored for too long");
                return Err(());
            }
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
                    if let Err(error) = self.catch_up().await
                        && *error.kind() != RuntimeErrorKind::Storage
                    {
                        self.is_unreadable(Some(&error)).await;
                        return Err(());
                    }
                }
                Err(error) => {
                    if !self.is_unreadable(Some(&error)).await {
                        tracing::error!(session = %self.key.session, %error, "the session stops");
                    }
                    return Err(());
                }
            }
        }
    }

    /// Lets go of the session if this release cannot go on with it: another may have appended what it does not
    /// know. What runs here ends with this actor, as if the process had.
    async fn is_unreadable(&self, error: Option<&RuntimeError>) -> bool {
        let Some(error) = error.filter(|error| *error.kind() == RuntimeErrorKind::Damaged) else {
            return false;
        };
        unreadable::let_go(&self.shared, self.key, error).await;
        true
    }

    /// Decides, appends, and only then lets the world see it. Returns whether anything changed.
    async fn turn_crank(
        &mut self,
        input: &Input<'_>,
        receipt: Option<&ReceiptDraft>,
    ) -> Result<bool, RuntimeError> {
        let mut reserving = Reserving::Asked;
        for _ in 0..CONFLICTS_MAX {
            if self.role == Role::Guest && !matches!(input, Input::Commands(_)) {
                return Ok(false);
            }
            let now = self.shared.clock.now();
            let fresh = self.shared.clock.fresh();
            let partial = self.live.partial();
            let window = self.shared.models.window(&self.state.agent().model);
            let unhealthy = self.shared.models.unhealthy();
            let tools_changed = tools_changed(&self.state, &self.shared, now);
            self.frozen = self.shared.freezes.of(&*self.shared.store, self.key.project).await?;
            // One set for everything that this input leads to, from the question to the permit.
            let policy = self.shared.policies.of(&*self.shared.store, self.key.project).await?;
            let budgets = budgets::look(&self.shared, self.key.project, &Whom::of(&self.state), now).await?;
            let cx = Context {
                now,
                role: self.role,
                fresh: &fresh,
                chance: clock::chance(),
                policy: &policy,
                window,
                tools_changed: &tools_changed,
                prices: &self.shared.prices,
                routes: self.shared.candidates.with(&unhealthy),
                reserving,
                budgets: &budgets,
                partial: &partial,
                frozen: &self.frozen,
                blocks: None,
                procedures: None,
            };
            let mut batch = match self.state.crank(input, &cx) {
                Ok(Some(batch)) => match facts::taken(&self.shared, &batch).await? {
                    // A turn begins: decided again, it takes up the memory as it is.
                    Some(taken) => self.state.crank(input, &taken.over(cx))?.unwrap_or(batch),
                    None => batch,
                },
                answer => {
                    // What appends nothing is fenced by no version: other nodes may have appended what it must know.
                    if matches!(input, Input::Commands(_)) && self.is_behind().await? {
                        continue;
                    }
                    return answer.map(|_| false).map_err(RuntimeError::from);
                }
            };
            let receipt = match receipt {
                Some(draft) => {
                    let view = budget::counted(&self.shared, batch.after.view()).await;
                    Some(draft.to_receipt(self.key.project, batch.at, &view))
                }
                None => None,
            };
            let appends_as = self.appends_as(&batch);
            let covered = match appends_as {
                Role::Holder => self.hold().await?,
                Role::Guest => None,
            };
            match append(&self.shared, &batch, appends_as, self.snapshot, receipt, &budgets).await {
                Ok(snapshot) => {
                    self.snapshot = snapshot;
                    budget::tell(&self.shared, &mut batch).await;
                    self.committed(batch, covered);
                    return Ok(true);
                }
                Err(error) => match error.kind() {
                    StoreErrorKind::Conflict { actual } => {
                        // What is gone is the journal, because the session was erased, or a document of this append.
                        let is_known = self.state.version() > Version::ZERO;
                        if actual == Version::ZERO
                            && is_known
                            && self.shared.store.head(self.key).await?.is_none()
                        {
                            return Err(RuntimeErrorKind::NotFound.into());
                        }
                        self.catch_up().await?;
                    }
                    StoreErrorKind::Held => self.claim().await?,
                    // Decided again, the turn fails instead.
                    StoreErrorKind::BudgetExceeded => reserving = refused(&error),
                    StoreErrorKind::Unavailable => {
                        // It may have been written after all.
                        self.catch_up().await?;
                        return Err(error.into());
                    }
                    StoreErrorKind::ReceiptExists
                    | StoreErrorKind::UnknownCursor
                    | StoreErrorKind::Full
                    | StoreErrorKind::Corrupt
                    | StoreErrorKind::Locked
                    | StoreErrorKind::TooNew
                    | StoreErrorKind::OlderNodes => return Err(error.into()),
                },
            }
        }
        Err(RuntimeErrorKind::Storage.into())
    }

    /// As whom to append. That a client waits for the executor is nothing to hold the session for: the executor
    /// may reach another node, which has to hold it then.
    fn appends_as(&self, batch: &Batch) -> Role {
        let only_waits = batch.events.iter().all(|event| matches!(event, Event::ConnectionAwaited { .. }));
        if only_waits && self.shared.store.is_shared() { Role::Guest } else { self.role }
    }

    /// Prepares an append as the holder. From its commit on, readers here are told by this actor: before that,
    /// of all that others committed, or it would be passed over. Gives the moment before which nobody takes
    /// the session over.
    async fn hold(&self) -> Result<Option<Instant>, RuntimeError> {
        let covered = node::covered(&self.shared).await?;
        if !self.shared.registry.is_holding(self.key) {
            if self.shared.hub.told(self.key).is_some_and(|told| told < self.state.version()) {
                follow::tell(self.key, &self.shared).await?;
            }
            self.shared.registry.set_holding(self.key, true);
        }
        Ok(covered)
    }

    /// Takes the session from a holder that is gone, or leaves it to one that is not.
    async fn claim(&mut self) -> Result<(), RuntimeError> {
        match self.shared.store.claim(self.shared.node, self.key).await? {
            Some(holder) if holder == self.shared.node => {}
            Some(_) => {
                self.role = Role::Guest;
                for (effect, (_, cancel)) in self.running.drain() {
                    cancel.cancel();
                    self.live.abandon(effect, &[]);
                }
                self.shared.registry.set_holding(self.key, false);
                self.shared.hub.wake(self.key);
            }
            None => return Err(RuntimeErrorKind::NotFound.into()),
        }
        self.catch_up().await
    }

    /// Whether others appended what this actor had not seen. It has seen it then.
    async fn is_behind(&mut self) -> Result<bool, RuntimeError> {
        if !self.shared.store.is_shared() {
            return Ok(false);
        }
        let seen = self.state.version();
        self.catch_up().await?;
        Ok(self.state.version() > seen)
    }

    /// Follows what others appended, or what was appended here without an answer.
    async fn catch_up(&mut self) -> Result<(), RuntimeError> {
        let events = self.shared.store.events(self.key, self.state.version(), usize::MAX).await?;
        for part in appends(&events) {
            let mut batch =
                Session::follow(self.key, Some(&self.state), part).ok_or(RuntimeErrorKind::Damaged)?;
            budget::tell(&self.shared, &mut batch).await;
            self.state = batch.after;
            self.stop(&batch.stop);
            for effect in &batch.stop {
                self.live.abandon(*effect, &batch.notices);
            }
            self.tell(batch.notices);
        }
        let is_stale = |(effect, (attempt, _)): &(&EffectId, &(u32, CancellationToken))| {
            self.state.running_attempt(**effect) != Some(*attempt)
        };
        let stale: Vec<EffectId> = self.running.iter().filter(is_stale).map(|(effect, _)| *effect).collect();
        self.stop(&stale);
        for effect in stale {
            self.live.abandon(effect, &[]);
        }
        Ok(())
    }

    /// What follows once a batch is durable.
    fn committed(&mut self, batch: Batch, covered: Option<Instant>) {
        self.state = batch.after;
        self.stop(&batch.stop);
        for effect in &batch.stop {
            self.live.abandon(*effect, &batch.notices);
        }
        self.tell(batch.notices);
        for (effect, attempt) in batch.start {
            self.start(effect, attempt, covered);
        }
    }

    fn stop(&mut self, effects: &[EffectId]) {
        for effect in effects {
            if let Some((_, cancel)) = self.running.remove(effect) {
                cancel.cancel();
            }
        }
    }

    /// Tells readers here what the commit of the present version brought. Who has not appended as the holder
    /// leaves that to the follower, which knows where readers are.
    fn tell(&self, notices: Vec<tenure_session::StreamEvent>) {
        if self.shared.registry.is_holding(self.key) {
            self.live.publish(self.state.version(), notices);
        } else {
            self.shared.hub.wake(self.key);
        }
    }

    /// Begins an attempt. A panic in it is our own bug, contained to this session: it is the attempt's outcome.
    fn start(&mut self, effect: Arc<Effect>, attempt: u32, covered: Option<Instant>) {
        let cancel = self.shared.stop.child_token();
        let id = effect.id;
        self.running.insert(id, (attempt, cancel.clone()));
        let kept = keeps_payloads(&effect).then(|| self.shared.keeping.begin());
        // What an attempt shows a model is derived from the state here, which is part of the attempt.
        let launch =
            catch_unwind(AssertUnwindSafe(|| Launch::new(&self.state, effect, attempt, &self.shared.models)));
        let (shared, live, key) = (Arc::clone(&self.shared), Arc::clone(&self.live), self.key);
        self.attempts.spawn(async move {
            let outcome = match launch {
                // A process that was stopped since before the append may have lost the session: then the
                // attempt is no longer wanted, and if it has not, it is made again.
                Ok(_) if covered.is_some_and(|until| Instant::now() >= until) => {
                    Ok(Attempted::Failed(stopped()))
                }
                Ok(launch) => {
                    AssertUnwindSafe(launch.run(shared, key.project, live, cancel)).catch_unwind().await
                }
                Err(panic) => Err(panic),
            };
            let outcome = outcome.unwrap_or_else(|_| {
                tracing::error!(session = %key.session, effect = %id, attempt, "an attempt panicked");
                Attempted::Failed(crashed())
            });
            Finished { effect: id, attempt, outcome, _kept: kept }
        });
    }
}

/// Whether an attempt at an effect may keep payloads that its outcome refers to.
fn keeps_payloads(effect: &Effect) -> bool {
    match effect.kind {
        EffectKind::ToolCall { .. }
        | EffectKind::ListTools { .. }
        | EffectKind::Command { .. }
        | EffectKind::PrepareEnvironment
        | EffectKind::PlaceFiles { .. }
        | EffectKind::PublishArtifacts => true,
        EffectKind::ModelCall { .. }
        | EffectKind::Compact { .. }
        | EffectKind::Review { .. }
        | EffectKind::Extract { .. }
        | EffectKind::Subagent { .. }
        | EffectKind::EndSubagents { .. } => false,
    }
}

fn stopped() -> Failure {
    let message = "the server was stopped before the attempt began".to_owned();
    Failure { kind: FailureKind::NotBegun, message, retry_after_ms: None }
}

fn crashed() -> Failure {
    Failure {
        kind: FailureKind::Crashed,
        message: "an internal error ended the attempt".to_owned(),
        retry_after_ms: None,
    }
}

/// When the session's servers last said that their tools have changed, as far as this process knows.
fn tools_changed(state: &Session, shared: &Shared, now: Timestamp) -> BTreeMap<String, Timestamp> {
    let changed = |tool: &Tool| {
        let Tool::Mcp(mcp) = tool else { return None };
        let ago = shared.servers.tools_changed(&effects::address(shared, mcp)?)?;
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        let at = Timestamp::from_millis(now.as_millis().saturating_sub(ago));
        Some((mcp.server_label.clone(), at))
    };
    state.agent().tools.iter().filter_map(changed).collect()
}

async fn sleep_until(shared: &Shared, at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    tokio::time::sleep(Duration::from_millis(shared.clock.now().millis_until(at))).await;
}
