//! The simulated shell: processes and their actors, which turn the crank as the runtime does. Load, decide,
//! append, sync, acknowledge and publish, start effects, feed outcomes back; and die between any two of these.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tenure_journal::{
    Effect, EffectId, EffectKind, Event, FailureKind, Fresh, Repeat, SessionKey, Timestamp, Version,
};
use tenure_session::{
    Attempted, Batch, BudgetStep, Budgets, Context, History, Input, NOTHING_FROZEN, Reserving, Routes,
    Session,
};
use tenure_store::{
    Append, BudgetChange, BudgetEntry, Document, DocumentKind, GoneRows, Indexed, ItemRow, Receipt,
    StoreError, StoreErrorKind,
};

use crate::budgets;
use crate::client::{Answer, Ask};
use crate::nodes::Member;
use crate::outside;
use crate::part::Part;
use crate::subagents;
use crate::world::{Happening, Stop, World};
use crate::{Bug, Property, Violation};

/// Requests that may wait at one session before further ones are turned away.
pub(crate) const INBOX_MAX: usize = 16;
/// Batches between two snapshots.
const SNAPSHOT_EVERY: u64 = 11;
/// Of this many loads from a snapshot one is compared with the whole journal.
const CHECKED_LOADS: u32 = 4;

/// A process: what is lost when it dies.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: u64,
    /// Until when it does nothing, without knowing.
    pub(crate) paused_until: u64,
    pub(crate) skew: i64,
    pub(crate) actors: BTreeMap<SessionKey, Actor>,
    /// What makes it one of several nodes.
    pub(crate) member: Option<Member>,
}

impl Process {
    pub(crate) fn new(id: u64, skew: i64) -> Self {
        Self { id, paused_until: 0, skew, actors: BTreeMap::new(), member: None }
    }
}

/// What a process knows of one session.
#[derive(Debug)]
pub(crate) struct Actor {
    /// Absent until the session was opened.
    pub(crate) state: Option<Arc<Session>>,
    /// When the last event was decided: time never runs backwards in a journal.
    pub(crate) last_at: Timestamp,
    pub(crate) inbox: VecDeque<Message>,
    pub(crate) write: Option<Write>,
    batches: u64,
    pub(crate) part: Part,
}

/// Something an actor is told.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A client's request, by its number.
    Request(usize),
    /// What came of an attempt.
    Outcome { effect: Arc<Effect>, attempt: u32, outcome: Attempted },
    /// Time passed.
    Tick,
    /// Whatever ran attempts before is gone.
    Resume,
    /// The journal may have reached this version elsewhere.
    Wake(Version),
    /// There may be something to do.
    Look,
    /// The session's executor came to this process, or went away.
    Executor,
}

/// A write that is not durable yet.
#[derive(Debug)]
pub(crate) struct Write {
    batch: Batch,
    request: Option<usize>,
    /// What led to it.
    pub(crate) message: Message,
    /// Until when the lease runs under which it was made.
    lease_until: u64,
}

/// What a batch read out of turns, each fact a document of its own: written twice, it would be refused.
fn remembered(key: SessionKey, batch: &Batch) -> Vec<Indexed> {
    let facts =
        batch.learned.iter().flat_map(|learned| (0..learned.facts.len()).map(|n| (learned.effect, n)));
    let row = |(effect, number): (EffectId, usize)| Indexed {
        document: Document {
            project: key.project,
            kind: DocumentKind::Fact,
            id: format!("{effect}/{number}"),
            version: 1,
            name: Some("facts".to_owned()),
            body: serde_json::Value::Null,
            created_at: batch.at,
            updated_at: batch.at,
            wake_at: None,
            deleted: false,
        },
        terms: Vec::new(),
    };
    facts.map(row).collect()
}

impl World {
    pub(crate) fn process(&mut self, id: u64) -> Option<&mut Process> {
        let nodes = self.cluster.iter_mut().flat_map(|cluster| &mut cluster.nodes);
        self.live.iter_mut().chain(&mut self.stale).chain(nodes).find(|process| process.id == id)
    }

    pub(crate) fn is_stale(&self, id: u64) -> bool {
        self.stale.as_ref().is_some_and(|process| process.id == id)
    }

    /// Wakes every session that has something to do, now or later.
    pub(crate) fn recover(&mut self, process: u64) -> Result<(), Stop> {
        const END_OF_TIME: Timestamp = Timestamp::from_millis(i64::MAX);
        self.step("before recovery")?;
        let due = self.store.due_now(END_OF_TIME);
        for key in due {
            self.after(0, Happening::Deliver { process, key, message: Message::Tick });
        }
        Ok(())
    }

    pub(crate) fn deliver(&mut self, process: u64, key: SessionKey, message: Message) -> Result<(), Stop> {
        let now = self.now;
        let Some(found) = self.process(process) else { return Ok(()) };
        if found.paused_until > now {
            let wait = found.paused_until - now;
            self.after(wait, Happening::Deliver { process, key, message });
            return Ok(());
        }
        self.acting = Some(process);
        if self.is_moot(process, key, &message) {
            return Ok(());
        }
        if !self.process(process).is_some_and(|found| found.actors.contains_key(&key)) {
            self.load(process, key)?;
        }
        let endless = self.bug == Some(Bug::EndlessInbox);
        let Some(actor) = self.process(process).and_then(|process| process.actors.get_mut(&key)) else {
            return Ok(());
        };
        let requests = actor.inbox.iter().filter(|message| matches!(message, Message::Request(_))).count();
        let is_request = matches!(message, Message::Request(_));
        if is_request && requests >= INBOX_MAX && !endless {
            // Turned away; the client tries again.
            return Ok(());
        }
        actor.inbox.push_back(message);
        if is_request && requests >= INBOX_MAX {
            let detail = format!("{} requests wait at one session", requests + 1);
            return Err(Violation::new(Property::QueuesBounded, detail).into());
        }
        self.work(process, key)
    }

    /// Reads a session from the store. What ran there is interrupted: nobody here runs it.
    pub(crate) fn load(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        self.wait_for_writes(key)?;
        let stored = self.store.load_now(key).expect("the model of the store always answers");
        let mut inbox = VecDeque::new();
        let mut state = None;
        let mut last_at = Timestamp::EPOCH;
        if let Some(stored) = stored {
            let before = stored.snapshot.as_ref().map_or(Version::ZERO, |snapshot| snapshot.version);
            let snapshot = stored.snapshot.map(|snapshot| Session::decode(&snapshot.bytes));
            let snapshot = snapshot.transpose().map_err(|error| {
                Violation::new(Property::SnapshotEqualsFold, format!("a snapshot cannot be read: {error}"))
            })?;
            let folded = Session::fold(key, snapshot, &stored.tail);
            if before > Version::ZERO && self.rng.u32(..CHECKED_LOADS) == 0 {
                let whole = Session::fold(key, None, &self.events(key, Version::ZERO));
                if folded != whole {
                    let detail = format!("session {} from event {}", key.session, before.0);
                    return Err(Violation::new(Property::SnapshotEqualsFold, detail).into());
                }
            }
            let missing = before.0 > self.oracle.published_events(key);
            let tail = if missing { self.events(key, Version::ZERO) } else { stored.tail };
            self.oracle.loaded(key, if missing { 0 } else { before.0 }, &tail)?;
            let head = self.store.head_now(key).expect("the model of the store always answers");
            last_at = head.map_or(Timestamp::EPOCH, |head| head.last_active_at);
            state = folded.map(Arc::new);
            if self.bug != Some(Bug::NeverResume) && self.cluster.is_none() {
                inbox.push_back(Message::Executor);
                inbox.push_back(Message::Resume);
            }
        } else {
            self.oracle.loaded(key, 0, &[])?;
        }
        let actor = Actor { state, last_at, inbox, write: None, batches: 0, part: Part::new() };
        if let Some(process) = self.process(process) {
            process.actors.insert(key, actor);
        }
        Ok(())
    }

    /// Turns the crank until the actor waits for the disk or has nothing to do.
    fn work(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        loop {
            self.settle(process, key);
            let Some(actor) = self.process(process).and_then(|process| process.actors.get_mut(&key)) else {
                return Ok(());
            };
            if actor.write.is_some() {
                return Ok(());
            }
            let Some(message) = actor.inbox.pop_front() else {
                self.leave(process, key);
                return Ok(());
            };
            let Some(message) = self.try_to_hold(process, key, message) else { continue };
            self.note(|| format!("process {process} handles {message:?}"));
            self.step("before the decision")?;
            self.crank(process, key, message, Reserving::Asked)?;
        }
    }

    fn crank(
        &mut self,
        process: u64,
        key: SessionKey,
        message: Message,
        reserving: Reserving,
    ) -> Result<(), Stop> {
        match message {
            Message::Wake(version) => return self.hears(process, key, Some(version)),
            Message::Look => return self.hears(process, key, None),
            Message::Outcome { .. } | Message::Tick | Message::Resume if self.is_guest(process, key) => {
                return Ok(());
            }
            Message::Executor if self.is_guest(process, key) => {
                self.turn_away(process, key);
                return Ok(());
            }
            Message::Request(_)
            | Message::Outcome { .. }
            | Message::Tick
            | Message::Resume
            | Message::Executor => {}
        }
        let role = self.role(process, key);
        let Some((skew, state, last_at)) = self.process(process).and_then(|found| {
            let actor = found.actors.get(&key)?;
            Some((found.skew, actor.state.clone(), actor.last_at))
        }) else {
            return Ok(());
        };
        let (policy, window) = (Arc::clone(&self.policy), self.window());
        let now = self.clock(skew).max(last_at);
        let (seed, chance) = (self.rng.u64(..), self.rng.u64(..));
        let fresh = Fresh::new(now, seed);
        let prices = outside::prices();
        let budgets = self.budgets(key, now);
        let cx = Context {
            now,
            role,
            fresh: &fresh,
            chance,
            policy: &policy,
            window,
            tools_changed: &BTreeMap::new(),
            prices: &prices,
            routes: Routes::UNKNOWN,
            reserving,
            budgets: &budgets,
            partial: &[],
            frozen: &NOTHING_FROZEN,
            blocks: None,
            procedures: None,
        };
        let mut answers = None;
        let batch = match (&message, state) {
            (Message::Request(number), state) => {
                self.wait_for_writes(key)?;
                if let Some(answer) = self.earlier_answer(*number) {
                    return self.answer(*number, answer);
                }
                answers = Some(*number);
                let decided = match (&self.clients.request(*number).ask, state) {
                    (Ask::Open(opened, messages), None) => {
                        Session::crank_open(key, opened.as_ref().clone(), messages.clone(), &cx).map(Some)
                    }
                    (Ask::Prewarm(opened), None) => {
                        Ok(Some(Session::crank_prewarm(key, opened.as_ref().clone(), &cx)))
                    }
                    (Ask::Open(..) | Ask::Prewarm(_) | Ask::Fork(..), Some(_)) => Ok(None),
                    (Ask::Fork(parent, version), None) => {
                        let (parent, version) = (*parent, *version);
                        match self.forked(parent, version, key, &cx) {
                            Some(batch) => Ok(Some(batch)),
                            None => return self.answer(*number, Answer::Refused),
                        }
                    }
                    (Ask::Rewind(version), Some(state)) => match self.history(key, *version) {
                        Some(history) => match history.rewind(cx.now, cx.fresh) {
                            Ok(command) => state.crank(&Input::Commands(&[command]), &cx),
                            Err(refusal) => Err(refusal),
                        },
                        None => return self.answer(*number, Answer::Refused),
                    },
                    (Ask::Commands(_) | Ask::Rewind(_), None) => {
                        return self.answer(*number, Answer::Refused);
                    }
                    (Ask::Commands(commands), Some(state)) => state.crank(&Input::Commands(commands), &cx),
                };
                match decided {
                    Ok(batch) => batch,
                    Err(_) => return self.answer(*number, Answer::Refused),
                }
            }
            (Message::Outcome { effect, attempt, outcome }, Some(state)) => {
                let mut attempt = *attempt;
                self.ends(process, key, effect.id, attempt);
                if self.bug == Some(Bug::AnyAttempt) {
                    attempt = state.running_attempt(effect.id).unwrap_or(attempt);
                }
                let outcome = self.seen(outcome.clone());
                state
                    .crank(&Input::Attempted { effect_id: effect.id, attempt, outcome }, &cx)
                    .expect("outcomes are never refused")
            }
            (Message::Tick, Some(state)) => state.crank(&Input::Tick, &cx).expect("time is never refused"),
            (Message::Resume, Some(state)) => {
                if let Some(done) = self.resume_wrongly(process, key, &state, &cx)? {
                    done
                } else {
                    state.crank(&Input::Resumed, &cx).expect("a restart is never refused")
                }
            }
            (Message::Executor, Some(state)) => {
                let here = self.has_executor(process, key);
                let input = if here { Input::Connected } else { Input::Disconnected };
                state.crank(&input, &cx).expect("what happened is never refused")
            }
            (Message::Outcome { .. } | Message::Tick | Message::Resume | Message::Executor, None)
            | (Message::Wake(_) | Message::Look, _) => None,
        };
        if matches!(message, Message::Resume | Message::Tick) {
            self.wake_later(process, key);
        }
        match (batch, answers) {
            (Some(batch), _) => self.commit(process, key, batch, message),
            (None, Some(number)) => self.answer(number, Answer::Done),
            (None, None) => Ok(()),
        }
    }

    /// The project's budgets as a process believes them to stand; some read them long ago.
    fn budgets(&mut self, key: SessionKey, now: Timestamp) -> Budgets {
        if self.caps.is_empty() {
            return Budgets::default();
        }
        let is_old = self.rng.u8(..4) == 0;
        budgets::believed(&self.store, key.project, &self.caps, now, is_old)
    }

    /// The outcome as the shell hands it on.
    fn seen(&self, outcome: Attempted) -> Attempted {
        let mut outcome = outcome;
        if let (Attempted::Answered { cost_nano_usd, .. }, Some(Bug::FreeAnswers)) = (&mut outcome, self.bug)
        {
            *cost_nano_usd = Some(0);
        }
        outcome
    }

    /// The wrong ways to resume. `None`: the right one.
    fn resume_wrongly(
        &mut self,
        process: u64,
        key: SessionKey,
        state: &Arc<Session>,
        cx: &Context<'_>,
    ) -> Result<Option<Option<Batch>>, Stop> {
        let unsafe_call = state.pending().find(|effect| effect.repeat == Repeat::Never).cloned();
        let Some(effect) = unsafe_call else { return Ok(None) };
        let Some(attempt) = state.running_attempt(effect.id) else { return Ok(None) };
        if self.bug == Some(Bug::ResendBlindly) {
            self.begin(process, key, state, &Arc::new(effect), attempt)?;
            return Ok(Some(None));
        }
        if self.bug == Some(Bug::DenyInterrupted) {
            let failure = outside::failure(&mut self.rng, &[FailureKind::InvalidRequest]);
            let outcome = Attempted::Failed(failure);
            let input = Input::Attempted { effect_id: effect.id, attempt, outcome };
            return Ok(Some(state.crank(&input, cx).expect("outcomes are never refused")));
        }
        Ok(None)
    }

    /// Readers see only what is durable: they wait for a write that another process has under way.
    pub(crate) fn wait_for_writes(&mut self, key: SessionKey) -> Result<(), Stop> {
        if self.dirty.contains(&key) {
            self.sync()?;
        }
        Ok(())
    }

    /// What the receipt of a request says: it was done before, or it is not to be done any more.
    fn earlier_answer(&self, number: usize) -> Option<Answer> {
        let request = self.clients.request(number);
        let receipt = self.store.receipt_now(request.key.project, &request.idempotency_key()?);
        let receipt = receipt.expect("the model of the store always answers")?;
        Some(if receipt.status == subagents::FENCED { Answer::Refused } else { Answer::Done })
    }

    fn receipt(&self, number: usize, at: Timestamp) -> Option<Receipt> {
        if self.bug == Some(Bug::NoReceipts) {
            return None;
        }
        let request = self.clients.request(number);
        Some(Receipt {
            project: request.key.project,
            key: request.idempotency_key()?,
            digest: String::new(),
            status: 202,
            body: String::new(),
            at,
        })
    }

    /// Writes a batch; what follows from it waits for the sync.
    fn commit(&mut self, process: u64, key: SessionKey, batch: Batch, message: Message) -> Result<(), Stop> {
        let at = batch.at;
        self.step("before the append")?;
        let request = if let Message::Request(number) = message { Some(number) } else { None };
        let (lease_until, name) = self.ready(process, key)?;
        let mut append = self.append_of(process, key, &batch);
        append.holder = name;
        append.receipt = request.and_then(|number| self.receipt(number, at));
        let unavailable = self.faults.unavailable;
        let fails = self.chance(unavailable);
        self.count_fault(fails);
        if fails && self.rng.bool() {
            self.note(|| "the store is unavailable and wrote nothing".to_owned());
            return self.unanswered(process, key, message);
        }
        let holder = self.store.holder_now(key);
        if self.bug == Some(Bug::TornAppend) && append.events.len() > 1 {
            let rest = append.events.split_off(append.events.len() / 2);
            let half = Append { receipt: None, items: Vec::new(), turns: Vec::new(), ..append.clone() };
            append.expected = append.expected.plus(append.events.len());
            append.events = rest;
            // Once the first half is written, nothing may refuse the second.
            append.budget = Vec::new();
            append.uses = Vec::new();
            append.indexed = Vec::new();
            if let Err(error) = self.store.append_now(half) {
                if error.kind() == StoreErrorKind::BudgetExceeded {
                    return self.crank(process, key, message, refused(&error));
                }
                return self.refused(process, key, error.kind(), message);
            }
        }
        if let Err(error) = self.store.append_now(append.clone()) {
            self.note(|| format!("process {process}: {error}"));
            if error.kind() == StoreErrorKind::BudgetExceeded {
                return self.crank(process, key, message, refused(&error));
            }
            let StoreErrorKind::Conflict { actual } = error.kind() else {
                return self.refused(process, key, error.kind(), message);
            };
            if self.bug != Some(Bug::IgnoreConflict) || actual == Version::ZERO {
                return self.lose(process, key, message);
            }
            append.expected = actual;
            // What it set aside was decided on a state that is gone.
            append.budget = Vec::new();
            append.uses = Vec::new();
            self.store.append_now(append).map_err(|error| {
                Violation::new(Property::OneWriter, format!("a second append is refused: {error}"))
            })?;
        }
        self.dirty.insert(key);
        if fails {
            self.note(|| "the store is unavailable, though it wrote".to_owned());
            self.accepted(process, key, holder, &batch)?;
            self.sync()?;
            return self.unanswered(process, key, message);
        }
        self.accepted(process, key, holder, &batch)?;
        self.step("after the append")?;
        self.early(process, key, &batch, request)?;
        if let Some(actor) = self.process(process).and_then(|found| found.actors.get_mut(&key)) {
            actor.write = Some(Write { batch, request, message, lease_until });
            actor.last_at = at;
        }
        let slow = self.faults.slow_disk;
        let millis = if self.chance(slow) { self.rng.u64(..10_000) } else { self.rng.u64(1..8) };
        self.after(millis, Happening::Synced { process, key });
        Ok(())
    }

    /// A session's past, as this process reads it, at some version.
    fn history(&self, key: SessionKey, version: u64) -> Option<History> {
        let journal = self.store.events_now(key, Version::ZERO, usize::MAX).ok()?;
        let latest = journal.last()?.version;
        History::of(key, &journal, Version(1 + version % latest.0))
    }

    /// What opens a fork; nothing where there is nothing to fork.
    fn forked(&self, parent: SessionKey, version: u64, key: SessionKey, cx: &Context<'_>) -> Option<Batch> {
        let mut history = self.history(parent, version)?;
        let from = history.version();
        if self.bug == Some(Bug::ForkNow) {
            let journal = self.store.events_now(parent, Version::ZERO, usize::MAX).ok()?;
            history = History::of(parent, &journal, history.latest())?;
        }
        let (opened, mut forked) = history.fork(key, cx.now, cx.fresh).ok()?;
        forked.iter_mut().for_each(|part| part.from.version = from);
        Session::crank_fork(key, opened, forked, Vec::new(), cx).ok()
    }

    fn append_of(&mut self, process: u64, key: SessionKey, batch: &Batch) -> Append {
        let actor = self.process(process).and_then(|found| found.actors.get_mut(&key));
        let (batches, before) = actor.map_or((0, None), |actor| {
            actor.batches += 1;
            (actor.batches, actor.state.clone())
        });
        let state = if self.bug == Some(Bug::OldSnapshot) { before.as_deref() } else { Some(&batch.after) };
        let snapshot =
            state.filter(|_| batches % SNAPSHOT_EVERY == 0).map(|state| Bytes::from(state.encode()));
        let mut items: Vec<ItemRow> = batch
            .items
            .iter()
            .map(|(ordinal, item)| ItemRow { ordinal: *ordinal, item: item.clone() })
            .collect();
        if self.bug == Some(Bug::SkipRows) && batches % 3 == 0 {
            items.pop();
        }
        Append {
            expected: batch.expected,
            at: batch.at,
            events: batch.events.clone(),
            head: batch.after.head(),
            items,
            turns: batch.turns.clone(),
            gone: GoneRows { items_from: batch.gone.items_from, turns: batch.gone.turns.clone() },
            snapshot,
            receipt: None,
            holder: None,
            documents: Vec::new(),
            indexed: remembered(key, batch),
            budget: entries(batch),
            uses: budgets::entries(batch, &self.caps),
            audit: batch.audit.clone(),
            episodes: batch.episodes.clone(),
        }
    }

    /// What the bugs do before the sync that should be done after it.
    fn early(
        &mut self,
        process: u64,
        key: SessionKey,
        batch: &Batch,
        request: Option<usize>,
    ) -> Result<(), Stop> {
        if let (Some(Bug::AckEarly), Some(number)) = (self.bug, request) {
            self.answer(number, Answer::Done)?;
        }
        if self.bug == Some(Bug::PublishEarly) {
            self.oracle.published(key, batch.expected.0, &batch.events)?;
        }
        if self.bug == Some(Bug::StartEarly) {
            let state = Arc::new(batch.after.clone());
            for (effect, attempt) in &batch.start {
                self.begin(process, key, &state, effect, *attempt)?;
            }
        }
        Ok(())
    }

    /// Someone else wrote first. A stale process learns that it was replaced and ends; the live one reads what
    /// was written.
    fn lose(&mut self, process: u64, key: SessionKey, message: Message) -> Result<(), Stop> {
        if self.is_stale(process) {
            self.note(|| format!("process {process} is fenced and ends"));
            self.stale = None;
            return Ok(());
        }
        if self.cluster.is_some() {
            let kind = StoreErrorKind::Conflict { actual: Version::ZERO };
            return self.refused(process, key, kind, message);
        }
        self.reload(process, key, message)
    }

    /// Forgets a session and reads it again, then goes on with `message`.
    pub(crate) fn reload(&mut self, process: u64, key: SessionKey, message: Message) -> Result<(), Stop> {
        let inbox =
            self.process(process).and_then(|found| found.actors.remove(&key)).map(|actor| actor.inbox);
        self.load(process, key)?;
        if let Some(actor) = self.process(process).and_then(|found| found.actors.get_mut(&key)) {
            actor.inbox.push_back(message);
            actor.inbox.extend(inbox.unwrap_or_default());
        }
        Ok(())
    }

    /// A write is durable: acknowledge, publish, stop and start.
    pub(crate) fn synced(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        let now = self.now;
        let Some(found) = self.process(process) else { return Ok(()) };
        if found.paused_until > now {
            let wait = found.paused_until - now;
            // The disk does not wait for the process.
            self.sync()?;
            self.after(wait, Happening::Synced { process, key });
            return Ok(());
        }
        self.acting = Some(process);
        self.sync()?;
        self.step("after the sync")?;
        let Some(actor) = self.process(process).and_then(|found| found.actors.get_mut(&key)) else {
            return Ok(());
        };
        let Some(Write { batch, request, lease_until, .. }) = actor.write.take() else { return Ok(()) };
        let state = Arc::new(batch.after.clone());
        actor.state = Some(Arc::clone(&state));
        if let Some(number) = request {
            self.answer(number, Answer::Done)?;
        }
        self.step("after the acknowledgement")?;
        let skips = self.bug == Some(Bug::SkipNotices) && batch.expected.0 % 3 == 0;
        if !skips && self.bug != Some(Bug::PublishEarly) {
            self.oracle.published(key, batch.expected.0, &batch.events)?;
        }
        self.step("after the publication")?;
        let in_time = self.committed(process, key, &batch, lease_until)?;
        if in_time && self.bug != Some(Bug::StartEarly) {
            for (effect, attempt) in &batch.start {
                self.begin(process, key, &state, effect, *attempt)?;
            }
        }
        self.begin_wrongly(process, key, &state, &batch.events)?;
        self.wake_later(process, key);
        self.work(process, key)
    }

    /// The effects that bugs start.
    fn begin_wrongly(
        &mut self,
        process: u64,
        key: SessionKey,
        state: &Arc<Session>,
        events: &[Event],
    ) -> Result<(), Stop> {
        for event in events {
            if let (Some(Bug::DoNotWait), Event::ApprovalRequested { approval }) = (self.bug, event) {
                let Some(mut effect) = self.any_effect(key) else { continue };
                effect.id = tenure_journal::EffectId::fresh(&Fresh::new(self.clock(0), 0));
                effect.turn_id = Some(approval.turn_id);
                effect.kind = EffectKind::ToolCall {
                    item_id: approval.item_id,
                    server: tenure_journal::ServerRef::Mcp { server_label: "shop".to_owned() },
                    name: approval.name.clone(),
                    arguments: approval.arguments.clone(),
                };
                self.begin(process, key, state, &Arc::new(effect), 1)?;
            }
            if let (Some(Bug::RestartStopped), Event::EffectAbandoned { effect_id }) = (self.bug, event) {
                let watched = self.oracle.session(key);
                let effect = watched.and_then(|watched| watched.effects.get(effect_id));
                if let Some(effect) = effect.map(|seen| Arc::new(seen.effect.clone())) {
                    self.begin(process, key, state, &effect, 1)?;
                }
            }
        }
        Ok(())
    }

    fn any_effect(&self, key: SessionKey) -> Option<Effect> {
        let watched = self.oracle.session(key)?;
        watched.effects.values().next().map(|seen| seen.effect.clone())
    }

    /// Wakes the session when its next attempt may begin.
    pub(crate) fn wake_later(&mut self, process: u64, key: SessionKey) {
        let Some((at, skew)) = self.process(process).and_then(|found| {
            let state = found.actors.get(&key)?.state.as_ref()?;
            Some((state.next_retry(&NOTHING_FROZEN)?, found.skew))
        }) else {
            return;
        };
        let wait = self.clock(skew).millis_until(at).max(1);
        self.after(wait, Happening::Deliver { process, key, message: Message::Tick });
    }

    fn answer(&mut self, number: usize, answer: Answer) -> Result<(), Stop> {
        self.note(|| format!("request {number} is answered: {answer:?}"));
        if let Some(asking) = self.clients.answered(number, answer) {
            self.subagent_answered(&asking, answer);
        }
        Ok(())
    }
}

/// What a refused reservation is decided again with.
fn refused(error: &StoreError) -> Reserving {
    error.exceeded().map_or(Reserving::Refused, |(budget, measure)| Reserving::RefusedBy(budget, measure))
}

/// What a batch changes in the budget of its tree.
fn entries(batch: &Batch) -> Vec<BudgetEntry> {
    let root = batch.after.budget_root();
    let change = |step: &BudgetStep| match step.clone() {
        BudgetStep::Limit(limit) => BudgetChange::Limit(limit),
        BudgetStep::Reserve { key, nano_usd } => BudgetChange::Reserve { key, nano_usd },
        BudgetStep::Settle { key, nano_usd } => BudgetChange::Settle { key, nano_usd },
    };
    batch.budget.iter().map(|step| BudgetEntry { root, change: change(step) }).collect()
}
