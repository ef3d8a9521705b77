//! What a node does in one session: the part of its holder or of a guest, by the rules of the runtime's
//! actor. Whatever others append is followed; what ran elsewhere is resumed by whoever takes over.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_journal::{Effect, EffectId, Failure, FailureKind, NodeId, SessionKey, Version};
use tenure_session::{Attempted, Batch, NOTHING_FROZEN, Role, Session, appends};
use tenure_store::StoreErrorKind;

use crate::nodes::Cluster;
use crate::shell::{Actor, Message};
use crate::world::{Stop, World};
use crate::{Bug, Property, Violation};

/// A node's part in one session. In a world of one process it stays as it begins.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) role: Role,
    /// Whether it appended as the holder since it last was a guest: then it tells its readers itself.
    pub(crate) holding: bool,
    /// Attempts that run here.
    pub(crate) running: BTreeMap<EffectId, u32>,
    /// The request for which it last tried to be the holder.
    trying: Option<usize>,
    /// The moment of its latest append, and who held the session then.
    appended: (u64, Option<NodeId>),
}

impl Part {
    pub(crate) fn new() -> Self {
        Self {
            role: Role::Holder,
            holding: false,
            running: BTreeMap::new(),
            trying: None,
            appended: (0, None),
        }
    }
}

impl Actor {
    /// Puts what has to be done again before everything else. A client repeats its request itself.
    pub(crate) fn repeat(&mut self, message: Message) {
        if !matches!(message, Message::Request(_)) {
            self.inbox.push_front(message);
        }
    }

    /// Whether only a message can bring something new.
    fn is_done(&self) -> bool {
        let waits = self.part.role == Role::Holder
            && self
                .state
                .as_ref()
                .is_some_and(|state| state.next_retry(&NOTHING_FROZEN).is_some() || state.is_connected());
        self.write.is_none() && self.inbox.is_empty() && self.part.running.is_empty() && !waits
    }

    /// What the state asks for and nobody does, with its executor here or not.
    fn unsettled(&self, has_executor: bool) -> Option<Message> {
        let state = self.state.as_ref()?;
        if self.part.role == Role::Guest
            || self.write.is_some()
            || matches!(self.inbox.front(), Some(Message::Resume))
        {
            return None;
        }
        if state.connects().is_some()
            && state.is_connected() != has_executor
            && !matches!(self.inbox.front(), Some(Message::Executor))
        {
            return Some(Message::Executor);
        }
        let orphaned = |effect: &Effect| {
            state.running_attempt(effect.id).is_some() && !self.part.running.contains_key(&effect.id)
        };
        if state.pending().any(orphaned) {
            return Some(Message::Resume);
        }
        let begins = state.has_requested() && !matches!(self.inbox.front(), Some(Message::Tick));
        begins.then_some(Message::Tick)
    }
}

impl World {
    fn actor(&mut self, process: u64, key: SessionKey) -> Option<&mut Actor> {
        self.process(process)?.actors.get_mut(&key)
    }

    /// Whether a message comes to a node whose actor is gone, and is for nobody else.
    pub(crate) fn is_moot(&mut self, process: u64, key: SessionKey, message: &Message) -> bool {
        self.cluster.is_some()
            && matches!(message, Message::Outcome { .. } | Message::Tick)
            && self.actor(process, key).is_none()
    }

    /// Puts first what the state asks for and nobody does.
    pub(crate) fn settle(&mut self, process: u64, key: SessionKey) {
        if self.cluster.is_none() || self.bug == Some(Bug::NeverResume) {
            return;
        }
        let has_executor = self.has_executor(process, key);
        if let Some(actor) = self.actor(process, key)
            && let Some(message) = actor.unsettled(has_executor)
        {
            actor.inbox.push_front(message);
        }
    }

    /// The holder of a moment ago may be gone: before a request a guest tries to be the holder. Gives the
    /// message back if it is to be handled now.
    pub(crate) fn try_to_hold(&mut self, process: u64, key: SessionKey, message: Message) -> Option<Message> {
        if self.cluster.is_none() {
            return Some(message);
        }
        let (Message::Request(number), Some(actor)) = (&message, self.actor(process, key)) else {
            return Some(message);
        };
        if actor.part.trying == Some(*number) {
            return Some(message);
        }
        actor.part.trying = Some(*number);
        actor.part.role = Role::Holder;
        actor.inbox.push_front(message);
        None
    }

    /// The holder of a moment ago may be gone: who has the session's executor tries to be the holder.
    pub(crate) fn expect_holding(&mut self, process: u64, key: SessionKey) {
        if let Some(actor) = self.actor(process, key) {
            actor.part.role = Role::Holder;
        }
    }

    /// Forgets an actor that has nothing to do.
    pub(crate) fn leave(&mut self, process: u64, key: SessionKey) {
        if self.cluster.is_some()
            && let Some(found) = self.process(process)
            && found.actors.get(&key).is_some_and(Actor::is_done)
        {
            found.actors.remove(&key);
        }
    }

    /// Hears that something was committed, or may have been.
    pub(crate) fn hears(
        &mut self,
        process: u64,
        key: SessionKey,
        known: Option<Version>,
    ) -> Result<(), Stop> {
        let Some(actor) = self.actor(process, key) else { return Ok(()) };
        let version = actor.state.as_ref().map_or(Version::ZERO, |state| state.version());
        match known {
            Some(known) if known <= version => Ok(()),
            Some(_) => self.catch_up(process, key),
            None => {
                self.catch_up(process, key)?;
                if let Some(actor) = self.actor(process, key) {
                    actor.part.role = Role::Holder;
                }
                Ok(())
            }
        }
    }

    /// An attempt that ran here brings its outcome.
    pub(crate) fn ends(&mut self, process: u64, key: SessionKey, effect: EffectId, attempt: u32) {
        if let Some(actor) = self.actor(process, key)
            && actor.part.running.get(&effect) == Some(&attempt)
        {
            actor.part.running.remove(&effect);
        }
    }

    /// The role in which a node decides.
    pub(crate) fn role(&mut self, process: u64, key: SessionKey) -> Role {
        match self.actor(process, key).map(|actor| actor.part.role) {
            Some(Role::Guest) if self.bug == Some(Bug::GuestBegins) => Role::Holder,
            Some(role) => role,
            None => Role::Holder,
        }
    }

    pub(crate) fn is_guest(&mut self, process: u64, key: SessionKey) -> bool {
        self.actor(process, key).is_some_and(|actor| actor.part.role == Role::Guest)
    }

    /// Gets ready to append: as a holder under a lease that is known to run for a while, and with readers
    /// who know all that others committed. Gives until when the lease runs, and in whose name to append.
    pub(crate) fn ready(&mut self, process: u64, key: SessionKey) -> Result<(u64, Option<NodeId>), Stop> {
        let (now, lease_ms) = (self.now, self.cluster.as_ref().map_or(0, |cluster| cluster.lease_ms));
        let Some(member) = self.member(process) else { return Ok((u64::MAX, None)) };
        let (node, until) = (member.id, member.lease_until);
        if self.is_guest(process, key) {
            return Ok((until, None));
        }
        if until < now + lease_ms / 2 {
            self.beat(process)?;
        }
        let until = self.member(process).map_or(0, |member| member.lease_until);
        let begins =
            self.actor(process, key).is_some_and(|actor| !std::mem::replace(&mut actor.part.holding, true));
        if begins && self.bug != Some(Bug::TellPast) {
            self.follow_now(process, key)?;
        }
        let holder = (self.bug != Some(Bug::AppendUnnamed)).then_some(node);
        Ok((until, holder))
    }

    /// An append was accepted, whose session `holder` held before.
    pub(crate) fn accepted(
        &mut self,
        process: u64,
        key: SessionKey,
        holder: Option<NodeId>,
        batch: &Batch,
    ) -> Result<(), Stop> {
        let moment = self.cluster.as_mut().map_or(0, Cluster::moment);
        let Some(node) = self.member(process).map(|member| member.id) else { return Ok(()) };
        let is_guest = self.is_guest(process, key);
        if let Some(other) = holder.filter(|holder| *holder != node && !is_guest) {
            let detail = format!("{node} appends as the holder of {}, which {other} holds", key.session);
            return Err(Violation::new(Property::StaleHolderFenced, detail).into());
        }
        if let Some(actor) = self.actor(process, key) {
            actor.part.appended = (moment, holder);
        }
        if let Some(cluster) = &mut self.cluster {
            let told = (batch.after.version().0, batch.notices.clone());
            cluster.told.insert((key, batch.expected.0), told);
        }
        Ok(())
    }

    /// An append was refused: follow what others appended, take the session over or leave it to its holder,
    /// and decide again.
    pub(crate) fn refused(
        &mut self,
        process: u64,
        key: SessionKey,
        kind: StoreErrorKind,
        message: Message,
    ) -> Result<(), Stop> {
        if self.cluster.is_none() {
            return self.reload(process, key, message);
        }
        if kind == StoreErrorKind::Held {
            self.claim(process, key)?;
        }
        self.catch_up(process, key)?;
        if let Some(actor) = self.actor(process, key) {
            actor.inbox.push_front(message);
        }
        Ok(())
    }

    /// The store did not answer: what was written is read, and what is still to be done is done again.
    pub(crate) fn unanswered(&mut self, process: u64, key: SessionKey, message: Message) -> Result<(), Stop> {
        if self.cluster.is_none() {
            return self.reload(process, key, message);
        }
        self.catch_up(process, key)?;
        if let Some(actor) = self.actor(process, key) {
            actor.repeat(message);
        }
        Ok(())
    }

    /// Takes the session from a holder that is gone, or leaves it to one that is not.
    fn claim(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        let node = self.node_of(process);
        let holder = self.store.claim_now(node, key).expect("the model of the store always answers");
        if holder == Some(node) {
            self.note(|| format!("process {process} takes {} over when asked", key.session));
            self.took(node, key);
            return Ok(self.sync()?);
        }
        self.note(|| format!("process {process} is a guest in {}", key.session));
        if let Some(actor) = self.actor(process, key) {
            actor.part.role = Role::Guest;
            actor.part.holding = false;
            actor.part.running.clear();
        }
        Ok(())
    }

    /// Follows what others appended, or what was appended here without an answer.
    fn catch_up(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        let Some(mut state) = self.actor(process, key).map(|actor| actor.state.clone()) else {
            return Ok(());
        };
        if state.is_none() {
            let inbox =
                self.process(process).and_then(|found| found.actors.remove(&key)).map(|actor| actor.inbox);
            self.load(process, key)?;
            if let Some(actor) = self.actor(process, key) {
                actor.inbox.extend(inbox.unwrap_or_default());
            }
            return Ok(());
        }
        self.wait_for_writes(key)?;
        let events = self.events(key, state.as_ref().map_or(Version::ZERO, |state| state.version()));
        let holding = self.actor(process, key).is_some_and(|actor| actor.part.holding);
        for part in appends(&events) {
            let batch = Session::follow(key, state.as_deref(), part).ok_or_else(|| {
                let detail = format!("event {} of {} cannot be followed", part[0].version.0, key.session);
                Violation::new(Property::FollowedAsCommitted, detail)
            })?;
            self.oracle.published(key, batch.expected.0, &batch.events)?;
            if holding {
                self.tell_readers(process, key, &batch)?;
            }
            state = Some(Arc::new(batch.after));
        }
        if let (Some(state), Some(actor)) = (state, self.actor(process, key)) {
            actor.part.running.retain(|effect, attempt| state.running_attempt(*effect) == Some(*attempt));
            actor.last_at = actor.last_at.max(state.last_active_at());
            actor.state = Some(state);
        }
        if !holding {
            self.follow(process, key)?;
        }
        if !self.is_guest(process, key) {
            self.wake_later(process, key);
        }
        Ok(())
    }

    /// What follows from a commit in a world of several nodes. Gives whether its attempts may begin: not if
    /// the lease they were recorded under has passed meanwhile.
    pub(crate) fn committed(
        &mut self,
        process: u64,
        key: SessionKey,
        batch: &Batch,
        lease_until: u64,
    ) -> Result<bool, Stop> {
        if self.cluster.is_none() {
            return Ok(true);
        }
        let now = self.now;
        self.spread(process, key, batch.after.version());
        let Some(actor) = self.actor(process, key) else { return Ok(false) };
        actor.part.trying = None;
        for effect in &batch.stop {
            actor.part.running.remove(effect);
        }
        if actor.part.holding {
            self.tell_readers(process, key, batch)?;
        } else {
            self.follow(process, key)?;
        }
        if now < lease_until || self.bug == Some(Bug::StartLate) {
            return Ok(true);
        }
        for (effect, attempt) in &batch.start {
            self.note(|| format!("{} attempt {attempt} is not begun: the lease has passed", effect.id));
            let message = "stopped before the attempt began".to_owned();
            let failure = Failure { kind: FailureKind::NotBegun, message, retry_after_ms: None };
            let outcome = Attempted::Failed(failure);
            let message = Message::Outcome { effect: Arc::clone(effect), attempt: *attempt, outcome };
            if let Some(actor) = self.actor(process, key) {
                actor.part.running.insert(effect.id, *attempt);
                actor.inbox.push_back(message);
            }
        }
        Ok(false)
    }

    /// An attempt is about to begin at a node.
    pub(crate) fn begins(
        &mut self,
        process: u64,
        key: SessionKey,
        state: &Session,
        effect: &Effect,
        attempt: u32,
    ) -> Result<(), Stop> {
        let node = self.node_of(process);
        let taken = self.cluster.as_ref().and_then(|cluster| cluster.taken.get(&key).copied());
        let Some(actor) = self.actor(process, key) else { return Ok(()) };
        let (at, holder) = actor.part.appended;
        actor.part.running.insert(effect.id, attempt);
        let lost = taken.filter(|(taker, when)| *taker != node && *when > at).map(|(taker, _)| taker);
        if let Some(other) = holder.filter(|holder| *holder != node).or(lost) {
            let detail =
                format!("{} attempt {attempt} begins at {node}; {other} holds the session", effect.id);
            return Err(Violation::new(Property::HolderOnly, detail).into());
        }
        let active = state.active_turn().map(|turn| turn.id) == effect.turn_id;
        if !active && !effect.kind.outlives_turn() {
            let detail = format!("{} begins after its turn ended", effect.id);
            return Err(Violation::new(Property::CancelStops, detail).into());
        }
        Ok(())
    }
}
