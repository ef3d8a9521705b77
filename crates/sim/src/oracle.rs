//! The oracle: reads every event as it becomes durable and every request as it reaches the outside, and knows
//! what may follow what. It shares no code with the session machine beyond the journal's types.

use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::{
    AgentRef, ApprovalId, Caps, Decision, Done, Effect, EffectId, EffectKind, EndHow, Event, Forked, InputId,
    Item, ItemBody, ItemId, Outcome, Period, Recorded, Repeat, SessionId, SessionKey, SubagentId,
    SubagentRequest, TurnId, WorkspaceRoot, json, limit,
};

use crate::budgets::Uses;
use crate::said::{self, Said};
use crate::sign_ins::Waits;
use crate::{Property, Violation};

/// What is known of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    sessions: BTreeMap<SessionKey, Watched>,
    /// The root of each session's tree.
    roots: BTreeMap<SessionKey, SessionId>,
    /// Subagents that were stopped for good and were given nothing to do since.
    stopped: BTreeSet<SessionKey>,
    /// Budgets, by the session at the root of their tree.
    budgets: BTreeMap<SessionId, Budget>,
    /// Budgets that sessions share.
    pub(crate) uses: Uses,
    /// Forks that were not yet held against the session they come from.
    forks: Vec<(SessionKey, Forked)>,
    /// What each model's answer really cost, in billionths of a dollar, by its response id.
    pub(crate) costs: BTreeMap<String, u64>,
}

/// What is known of one session.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// How many durable events were read.
    read: u64,
    /// Events as they were published, from the first.
    published: Vec<Event>,
    turn: Option<TurnId>,
    failed: bool,
    ended: BTreeSet<TurnId>,
    /// Turns that were reported to the parent.
    reported: BTreeSet<TurnId>,
    queued: BTreeSet<InputId>,
    approvals: BTreeMap<ApprovalId, (String, Option<Decision>)>,
    /// What is left of each grant.
    grants: Vec<u32>,
    pub(crate) effects: BTreeMap<EffectId, Seen>,
    /// The files of its environment.
    files: Option<WorkspaceRoot>,
    /// Whether it is a session.
    opened: bool,
    /// Whether it is an environment that waits for a session.
    waits: bool,
    /// Whether its environment is suspended.
    suspended: bool,
    sign_ins: Waits,
    said: Said,
}

/// What is known of one budget, in billionths of a dollar.
#[derive(Debug, Default)]
struct Budget {
    limit: Option<u64>,
    /// The highest limit since the last look.
    high: Option<u64>,
    spent: u64,
    /// What running attempts set aside.
    reserved: BTreeMap<(EffectId, u32), u64>,
    /// What was spent and set aside at the last look.
    before: u64,
}

impl Budget {
    fn set_limit(&mut self, limit: Option<u64>) {
        self.high = self.high.zip(limit).map(|(high, limit)| high.max(limit));
        self.limit = limit;
    }

    /// Looks whether more was set aside than any limit allowed. What was spent before a limit was lowered
    /// may be more than it.
    fn look(&mut self) -> Result<(), Violation> {
        let total = self.spent + self.reserved.values().sum::<u64>();
        if let Some(high) = self.high
            && total > high.max(self.before)
        {
            let detail = format!("{total} is spent and set aside, {high} is the limit");
            return broken(Property::BudgetKept, detail);
        }
        self.before = total;
        self.high = self.limit;
        Ok(())
    }

    fn settle(&mut self, attempt: (EffectId, u32), cost: Option<u64>) {
        let reserved = self.reserved.remove(&attempt);
        self.spent += cost.or(reserved).unwrap_or(0);
    }
}

/// What is known of one effect.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) effect: Effect,
    started: u32,
    running: bool,
    /// Whether an attempt ended that may have taken effect.
    doubtful: bool,
    /// How it ended for good; abandoned effects have no outcome.
    pub(crate) settled: Option<Outcome>,
    abandoned: bool,
}

/// A request that reached the outside.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) key: SessionKey,
    pub(crate) effect: &'a Effect,
    pub(crate) attempt: u32,
}

fn broken<T>(property: Property, detail: impl Into<String>) -> Result<T, Violation> {
    Err(Violation::new(property, detail))
}

impl Oracle {
    /// One of a world with these limits of its project's budgets.
    pub(crate) fn of(caps: BTreeMap<Period, Caps>) -> Self {
        Self { uses: Uses::of(caps), ..Self::default() }
    }

    pub(crate) fn session(&self, key: SessionKey) -> Option<&Watched> {
        self.sessions.get(&key)
    }

    /// How many events of a session are known to be durable.
    pub(crate) fn read(&self, key: SessionKey) -> u64 {
        self.sessions.get(&key).map_or(0, |watched| watched.read)
    }

    /// How many events of a session were published.
    pub(crate) fn published_events(&self, key: SessionKey) -> u64 {
        self.sessions.get(&key).map_or(0, |watched| watched.published.len() as u64)
    }

    /// Reads an event that has become durable.
    pub(crate) fn durable(&mut self, key: SessionKey, recorded: &Recorded) -> Result<(), Violation> {
        let watched = self.sessions.entry(key).or_default();
        if recorded.version.0 != watched.read + 1 {
            let detail = format!("event {} follows event {}", recorded.version.0, watched.read);
            return broken(Property::EventsContiguous, detail);
        }
        watched.read += 1;
        if let Event::SessionOpened(opened) = &recorded.event {
            let root = opened.parent.map_or(key.session, |parent| parent.root);
            self.roots.insert(key, root);
        }
        let root = self.roots.get(&key).copied().unwrap_or(key.session);
        let budget = self.budgets.entry(root).or_default();
        self.uses.read(key, &recorded.event, &self.costs);
        watched.pay(&recorded.event, &self.costs, budget, root == key.session);
        watched.read(&recorded.event)?;
        watched.said.read(&recorded.event)?;
        watched.sign_ins.read(recorded)?;
        if let Event::Forked(forked) = &recorded.event {
            self.forks.push((key, forked.as_ref().clone()));
        }
        self.read_tree(key, &recorded.event)
    }

    /// What an event says about other sessions.
    fn read_tree(&mut self, key: SessionKey, event: &Event) -> Result<(), Violation> {
        let session = |id: SubagentId| SessionKey { session: id.session(), ..key };
        if let Event::TurnStarted { turn_id } = event
            && self.stopped.contains(&key)
        {
            return broken(Property::NoOrphan, format!("{turn_id} starts in a subagent that was stopped"));
        }
        if let Event::EffectRequested {
            effect:
                Effect {
                    kind:
                        EffectKind::Subagent {
                            request:
                                SubagentRequest::SendInput { subagent_id, .. }
                                | SubagentRequest::Create { subagent_id, .. },
                            ..
                        },
                    ..
                },
        } = event
        {
            self.stopped.remove(&session(*subagent_id));
        }
        if let Event::AttemptEnded { effect_id, outcome: Outcome::Done { done: Done::Ended }, .. } = event {
            let seen = self.sessions.get(&key).and_then(|watched| watched.effects.get(effect_id));
            let Some(EffectKind::EndSubagents { ends }) = seen.map(|seen| seen.effect.kind.clone()) else {
                return Ok(());
            };
            for end in ends {
                match end.how {
                    EndHow::Interrupt | EndHow::Delete => {}
                    // It goes on, and is judged by what it is told.
                    EndHow::Quarantine { .. } | EndHow::Release { .. } => continue,
                }
                let child = session(end.subagent_id);
                if let Some(turn) = self.sessions.get(&child).and_then(|watched| watched.turn) {
                    let detail = format!("{turn} of {} goes on when it is said to be stopped", child.session);
                    return broken(Property::NoOrphan, detail);
                }
                self.stopped.insert(child);
            }
        }
        if let Event::ItemAdded {
            item:
                Item {
                    body:
                        ItemBody::AgentMessage { sender: AgentRef::Subagent(sender), reports: Some(turn), .. },
                    ..
                },
        } = event
        {
            let child = self.sessions.entry(session(*sender)).or_default();
            if !child.ended.contains(turn) {
                return broken(Property::ReportOnce, format!("{turn} is reported before it ended"));
            }
            if !child.reported.insert(*turn) {
                return broken(Property::ReportOnce, format!("{turn} is reported twice"));
            }
        }
        Ok(())
    }

    /// Looks at every budget, once everything that is durable was read.
    pub(crate) fn look_at_budgets(&mut self) -> Result<(), Violation> {
        self.budgets.values_mut().try_for_each(Budget::look)?;
        self.uses.look()
    }

    /// Holds new forks against what they come from, once everything that is durable was read.
    pub(crate) fn look_at_forks(&mut self) -> Result<(), Violation> {
        let (mut left, nobody) = (Vec::new(), Watched::default());
        for (key, forked) in std::mem::take(&mut self.forks) {
            let parent = self.sessions.get(&SessionKey { session: forked.from.session, ..key });
            let child = self.sessions.get(&key).unwrap_or(&nobody);
            if !said::stands_alone(&parent.unwrap_or(&nobody).said, &child.said, &forked, key)? {
                left.push((key, forked));
            }
        }
        self.forks = left;
        Ok(())
    }

    /// Reads events that were published after `expected`.
    pub(crate) fn published(
        &mut self,
        key: SessionKey,
        expected: u64,
        events: &[Event],
    ) -> Result<(), Violation> {
        let published = &mut self.sessions.entry(key).or_default().published;
        let place = usize::try_from(expected).unwrap_or(usize::MAX);
        if place > published.len() {
            let detail = format!("{place} events were written and {} published", published.len());
            return broken(Property::EventsContiguous, detail);
        }
        for (index, event) in (place..).zip(events) {
            match published.get(index) {
                None => published.push(event.clone()),
                Some(before) if before == event => {}
                Some(_) => {
                    let detail = format!("event {} was published before, differently", index + 1);
                    return broken(Property::PublishedIsDurable, detail);
                }
            }
        }
        Ok(())
    }

    /// A process read the journal from event `before` on: whoever watches a session through it starts from
    /// there.
    pub(crate) fn loaded(
        &mut self,
        key: SessionKey,
        before: u64,
        tail: &[Recorded],
    ) -> Result<(), Violation> {
        let published = &mut self.sessions.entry(key).or_default().published;
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        let kept = before + tail.len();
        let known = published.get(before..).unwrap_or_default();
        let same = known.iter().zip(tail).all(|(published, recorded)| *published == recorded.event);
        if published.len() > kept || !same {
            let detail = format!("{} events were published, {kept} are kept", published.len());
            return broken(Property::PublishedIsDurable, detail);
        }
        let missed = published.len().saturating_sub(before);
        published.extend(tail.iter().skip(missed).map(|recorded| recorded.event.clone()));
        Ok(())
    }

    /// An attempt is about to begin at the process that owns the session.
    pub(crate) fn begins(&self, key: SessionKey, effect: &Effect) -> Result<(), Violation> {
        let watched = self.sessions.get(&key);
        let ended = watched.is_some_and(|watched| watched.has_ended(effect.turn_id));
        if ended && !effect.kind.outlives_turn() {
            return broken(Property::CancelStops, format!("{} begins after its turn ended", effect.id));
        }
        Ok(())
    }

    /// A request reached the outside.
    pub(crate) fn arrives(&self, arrival: &Arrival<'_>) -> Result<(), Violation> {
        let id = arrival.effect.id;
        let watched = self.sessions.get(&arrival.key);
        if let EffectKind::ToolCall { name, arguments, .. } = &arrival.effect.kind {
            let digest = json::digest(arguments);
            let approved = |(asked, decision): &(String, Option<Decision>)| {
                *asked == digest && *decision == Some(Decision::Approve)
            };
            let approved = watched.is_some_and(|watched| watched.approvals.values().any(approved));
            let recorded = watched.and_then(|watched| watched.effects.get(&id));
            if name == crate::outside::DESTRUCTIVE && recorded.is_none() && !approved {
                return broken(Property::ApprovalFirst, format!("{id} arrives without approval"));
            }
            if recorded.is_some_and(|seen| seen.effect.permit.arguments_digest != digest) {
                return broken(Property::PermitBindsArguments, format!("{id} arrives with {arguments}"));
            }
        }
        match watched.and_then(|watched| watched.effects.get(&id)) {
            Some(seen) if seen.started >= arrival.attempt => Ok(()),
            Some(_) | None => {
                let detail = format!("{id} attempt {} arrives before it is durable", arrival.attempt);
                broken(Property::IntentionFirst, detail)
            }
        }
    }
}

impl Watched {
    fn has_ended(&self, turn_id: Option<TurnId>) -> bool {
        turn_id.is_some_and(|turn| self.ended.contains(&turn))
    }

    /// What an event does to the budget: real costs, whatever the journal says of them.
    fn pay(&self, event: &Event, costs: &BTreeMap<String, u64>, budget: &mut Budget, is_root: bool) {
        match event {
            Event::SessionOpened(_) if !is_root => {}
            Event::SessionOpened(opened) => {
                budget.set_limit(opened.spend_limit.and_then(|limit| limit.limit).map(nano_usd));
                budget.high = budget.limit;
            }
            Event::SessionUpdated { patch } => {
                if let Some(limit) = patch.spend_limit {
                    budget.set_limit(limit.and_then(|limit| limit.limit).map(nano_usd));
                }
            }
            Event::AttemptStarted { effect_id, attempt, reserved_nano_usd: Some(reserved), .. } => {
                budget.reserved.insert((*effect_id, *attempt), *reserved);
            }
            Event::AttemptEnded { effect_id, attempt, outcome, .. } => {
                let cost = match outcome {
                    Outcome::Done { done: Done::Model { response_id: Some(response), .. } } => {
                        costs.get(response).copied()
                    }
                    Outcome::Done { done: Done::Extracted { cost_nano_usd, .. } } => *cost_nano_usd,
                    Outcome::Failed { failure } if !failure.kind.is_ambiguous() => Some(0),
                    Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Unknown => None,
                };
                budget.settle((*effect_id, *attempt), cost);
            }
            Event::EffectAbandoned { effect_id } => {
                if let Some(seen) = self.effects.get(effect_id) {
                    budget.settle((*effect_id, seen.started), None);
                }
            }
            Event::EnvironmentOpened(_)
            | Event::EnvironmentExpired
            | Event::EnvironmentSuspended
            | Event::EnvironmentResumed
            | Event::EnvironmentReset
            | Event::AttemptStarted { .. }
            | Event::SessionFailed { .. }
            | Event::SessionDeleted
            | Event::InputAccepted { .. }
            | Event::InputJoined { .. }
            | Event::TurnCreated { .. }
            | Event::TurnStarted { .. }
            | Event::TurnEnded { .. }
            | Event::ItemAdded { .. }
            | Event::ItemClosed { .. }
            | Event::FunctionsLoaded { .. }
            | Event::EffectRequested { .. }
            | Event::ApprovalRequested { .. }
            | Event::ApprovalDecided { .. }
            | Event::FunctionReturned { .. }
            | Event::SubagentOpened { .. }
            | Event::SubagentClosed { .. }
            | Event::SubagentResumed { .. }
            | Event::PolicyRefused { .. }
            | Event::Granted { .. }
            | Event::Governed { .. }
            | Event::EnvironmentConnected
            | Event::EnvironmentDisconnected
            | Event::SignedIn
            | Event::CredentialBound { .. }
            | Event::SecretPermitted { .. }
            | Event::ConnectionAwaited { .. }
            | Event::ConnectionLapsed
            | Event::ArtifactDeleted { .. }
            | Event::ContextCompacted(_)
            | Event::ContextTrimmed { .. }
            | Event::ExtractionSkipped { .. }
            | Event::OutputsShortened { .. }
            | Event::BlocksTaken { .. }
            | Event::ProceduresTaken { .. }
            | Event::Forked(_)
            | Event::Rewound(_) => {}
        }
    }

    fn read(&mut self, event: &Event) -> Result<(), Violation> {
        let legal = |is: bool, what: &str| {
            if is { Ok(()) } else { broken(Property::OneWriter, format!("{what}: {event:?}")) }
        };
        match event {
            Event::SessionOpened(opened) => {
                legal(!self.opened, "a session opens once")?;
                legal(
                    self.read == 1 || self.waits,
                    "a session opens first, or in an environment that waits",
                )?;
                (self.opened, self.waits) = (true, false);
                self.grants = opened.trust.grants.iter().map(|grant| grant.uses_max).collect();
                if self.read == 1 {
                    self.files = opened.environment.hosted().and_then(|hosted| hosted.base);
                }
            }
            Event::EnvironmentOpened(_) => {
                legal(self.read == 1, "an environment opens first")?;
                self.waits = true;
            }
            Event::EnvironmentExpired => {
                legal(self.waits, "an environment expires that waits for a session")?;
                self.waits = false;
            }
            Event::EnvironmentSuspended => {
                legal(
                    self.turn.is_none() && self.opened,
                    "an environment is suspended while nothing is done",
                )?;
                legal(!self.suspended, "an environment is suspended once")?;
                self.suspended = true;
            }
            Event::EnvironmentResumed => {
                legal(self.suspended, "an environment is resumed that is suspended")?;
                self.suspended = false;
            }
            Event::EnvironmentReset => {
                legal((self.opened || self.waits) && self.files.is_some(), "files are lost that were there")?;
                self.files = None;
            }
            Event::SessionDeleted => legal(self.turn.is_none(), "only an idle session is deleted")?,
            Event::InputAccepted { input } => {
                legal(self.queued.insert(input.id), "an input is accepted once")?;
                if self.queued.len() > limit::QUEUED_INPUTS_MAX {
                    return broken(Property::QueuesBounded, format!("{} inputs wait", self.queued.len()));
                }
            }
            Event::InputJoined { input_id, turn_id, .. } => {
                legal(self.queued.remove(input_id), "an input joins once")?;
                legal(self.turn == Some(*turn_id), "an input joins the running turn")?;
            }
            Event::TurnCreated { turn_id } => {
                legal(self.turn.is_none(), "one turn runs at a time")?;
                legal(!self.failed, "a session that failed begins no turn")?;
                self.turn = Some(*turn_id);
            }
            Event::TurnStarted { turn_id } => {
                legal(self.turn == Some(*turn_id), "a turn starts that is there")?;
            }
            Event::TurnEnded { turn_id, .. } => {
                legal(self.turn == Some(*turn_id), "a turn ends that is there")?;
                let over = |seen: &Seen| {
                    seen.settled.is_some() || seen.abandoned || seen.effect.kind.outlives_turn()
                };
                legal(self.effects.values().all(over), "a turn ends with its effects")?;
                let open = self.approvals.values().any(|(_, decision)| decision.is_none());
                legal(!open, "a turn ends with its questions")?;
                self.turn = None;
                self.ended.insert(*turn_id);
            }
            Event::EffectRequested { effect } => self.requested(effect)?,
            Event::AttemptStarted { effect_id, attempt, reserved_nano_usd, .. } => {
                self.started(*effect_id, *attempt, *reserved_nano_usd)?;
            }
            Event::AttemptEnded { effect_id, attempt, outcome, next, .. } => {
                let settles = *next == tenure_journal::Next::Settled;
                self.ended(*effect_id, *attempt, outcome, settles)?;
            }
            Event::EffectAbandoned { effect_id } => {
                let seen = self.effects.get_mut(effect_id);
                legal(seen.as_ref().is_some_and(|seen| seen.settled.is_none()), "what is open is abandoned")?;
                if let Some(seen) = seen {
                    seen.abandoned = true;
                    seen.running = false;
                }
            }
            Event::ApprovalRequested { approval } => {
                let question = (approval.digest.clone(), None);
                legal(self.approvals.insert(approval.id, question).is_none(), "a question is asked once")?;
            }
            Event::ApprovalDecided { approval_id, decision, .. } => {
                let asked = self.approvals.get_mut(approval_id);
                legal(asked.as_ref().is_some_and(|(_, given)| given.is_none()), "an answer is given once")?;
                if let Some((_, given)) = asked {
                    *given = Some(*decision);
                }
            }
            Event::SessionFailed { .. } => {
                legal(self.turn.is_none() && !self.failed, "a session fails once, and ends its turn before")?;
                self.failed = true;
            }
            Event::Forked(_) => legal(self.turn.is_none(), "a fork begins idle")?,
            Event::Rewound(rewound) => {
                legal(self.turn.is_none() && self.queued.is_empty(), "nothing is under way")?;
                self.files = rewound.root;
            }
            Event::SessionUpdated { .. }
            | Event::ItemAdded { .. }
            | Event::ItemClosed { .. }
            | Event::FunctionsLoaded { .. }
            | Event::FunctionReturned { .. }
            | Event::SubagentOpened { .. }
            | Event::SubagentClosed { .. }
            | Event::SubagentResumed { .. }
            | Event::PolicyRefused { .. }
            | Event::Granted { .. }
            | Event::Governed { .. }
            | Event::EnvironmentConnected
            | Event::EnvironmentDisconnected
            | Event::SignedIn
            | Event::CredentialBound { .. }
            | Event::SecretPermitted { .. }
            | Event::ConnectionAwaited { .. }
            | Event::ConnectionLapsed
            | Event::ArtifactDeleted { .. }
            | Event::ContextCompacted(_)
            | Event::ContextTrimmed { .. }
            | Event::ExtractionSkipped { .. }
            | Event::OutputsShortened { .. }
            | Event::BlocksTaken { .. }
            | Event::ProceduresTaken { .. } => {}
        }
        Ok(())
    }

    fn requested(&mut self, effect: &Effect) -> Result<(), Violation> {
        if (self.turn.is_none() || self.turn != effect.turn_id) && !effect.kind.outlives_turn() {
            return broken(Property::OneWriter, format!("{} belongs to no running turn", effect.id));
        }
        if let EffectKind::ToolCall { name, arguments, .. } = &effect.kind {
            let digest = json::digest(arguments);
            if effect.permit.arguments_digest != digest {
                return broken(Property::PermitBindsArguments, format!("the permit of {}", effect.id));
            }
            let approval = effect.permit.approval.and_then(|id| self.approvals.get(&id));
            let approved =
                approval.is_some_and(|(asked, given)| *asked == digest && *given == Some(Decision::Approve));
            if name == crate::outside::DESTRUCTIVE && !approved {
                return broken(Property::ApprovalFirst, format!("{} was not approved", effect.id));
            }
        }
        self.uses_grant(effect)?;
        let seen = Seen {
            effect: effect.clone(),
            started: 0,
            running: false,
            doubtful: false,
            settled: None,
            abandoned: false,
        };
        match self.effects.insert(effect.id, seen) {
            None => Ok(()),
            Some(_) => broken(Property::OneWriter, format!("{} is requested twice", effect.id)),
        }
    }

    /// A grant is used by as many effects as it says, whatever raced or died in between.
    fn uses_grant(&mut self, effect: &Effect) -> Result<(), Violation> {
        let Some(number) = effect.permit.grant else { return Ok(()) };
        let Some(left) = self.grants.get_mut(number.0 as usize) else {
            return broken(Property::PermitBindsArguments, format!("{} rests on no grant", effect.id));
        };
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => {
                return broken(
                    Property::PermitBindsArguments,
                    format!("{} rests on a used grant", effect.id),
                );
            }
        }
        Ok(())
    }

    fn started(&mut self, id: EffectId, attempt: u32, reserved: Option<u64>) -> Result<(), Violation> {
        let Some(seen) = self.effects.get_mut(&id) else {
            return broken(Property::OneWriter, format!("{id} starts without having been requested"));
        };
        if seen.running || seen.settled.is_some() || attempt != seen.started + 1 {
            return broken(Property::OneWriter, format!("{id} attempt {attempt} starts out of order"));
        }
        let turn_id = seen.effect.turn_id;
        let over =
            turn_id.is_some_and(|turn| self.ended.contains(&turn)) && !seen.effect.kind.outlives_turn();
        if over || seen.abandoned {
            return broken(Property::CancelStops, format!("{id} starts after its turn ended"));
        }
        if seen.effect.repeat == Repeat::Never && seen.doubtful {
            return broken(Property::NeverRepeated, format!("{id} is tried again after doubt"));
        }
        let is_paid = matches!(
            seen.effect.kind,
            EffectKind::ModelCall { .. } | EffectKind::Compact { .. } | EffectKind::Extract { .. }
        );
        if reserved.is_none() && is_paid {
            return broken(Property::BudgetKept, format!("{id} starts with nothing set aside for it"));
        }
        seen.started = attempt;
        seen.running = true;
        Ok(())
    }

    fn ended(
        &mut self,
        id: EffectId,
        attempt: u32,
        outcome: &Outcome,
        settles: bool,
    ) -> Result<(), Violation> {
        let Some(seen) = self.effects.get_mut(&id) else {
            return broken(Property::OneWriter, format!("{id} ends without having been requested"));
        };
        if !seen.running || seen.started != attempt {
            return broken(Property::LatestAttemptOnly, format!("{id} attempt {attempt} ends"));
        }
        seen.running = false;
        seen.doubtful |= match outcome {
            Outcome::Done { .. } => false,
            Outcome::Failed { failure } => failure.kind.is_ambiguous(),
            Outcome::Unknown => true,
        };
        if let Outcome::Done { done: Done::Model { response_id: Some(response), .. } } = outcome
            && *response != response_id(id, attempt)
        {
            let detail = format!("{id} attempt {attempt} ends with {response}");
            return broken(Property::LatestAttemptOnly, detail);
        }
        if settles {
            seen.settled = Some(outcome.clone());
        }
        let left = match outcome {
            Outcome::Done { done: Done::Placed { root, .. } } => Some(*root),
            Outcome::Done { done: Done::Command { result } } => result.root,
            Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Unknown => None,
        };
        if let Some(left) = left {
            if left != crate::outside::files(self.files, id) {
                return broken(Property::FilesInOrder, format!("{id} began with other files"));
            }
            self.files = Some(left);
        }
        Ok(())
    }

    /// Compares what the session says of each tool call with what the ledger says.
    pub(crate) fn told(&self, acts: impl Fn(ItemId) -> u32) -> Result<(), Violation> {
        for seen in self.effects.values() {
            let EffectKind::ToolCall { item_id, name, .. } = &seen.effect.kind else { continue };
            let acted = acts(*item_id);
            let honest = match &seen.settled {
                Some(Outcome::Failed { .. }) => acted == 0 || !crate::outside::is_recorded(name),
                Some(Outcome::Done { .. }) => acted > 0 || !crate::outside::is_recorded(name),
                Some(Outcome::Unknown) | None => true,
            };
            if !honest {
                let detail = format!("{name} acted {acted} times and is told as {:?}", seen.settled);
                return broken(Property::ToldHonestly, detail);
            }
        }
        Ok(())
    }
}

fn nano_usd(cents: u64) -> u64 {
    const NANO_USD_PER_CENT: u64 = 10_000_000;
    cents.saturating_mul(NANO_USD_PER_CENT)
}

/// The id the simulated model gives its answer to one attempt.
pub(crate) fn response_id(effect: EffectId, attempt: u32) -> String {
    format!("{effect}/{attempt}")
}
