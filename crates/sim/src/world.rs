//! The world: a virtual clock, a queue of what happens next, the disk, the processes, and the faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tenure_journal::{Caps, Period, Recorded, SessionKey, SessionStatus, Timestamp, Version};
use tenure_policy::PolicySet;
use tenure_session::{ERROR_PERCENT, Session, Window};
use tenure_store::{MemoryStore, Order, Page};

use crate::call::Call;
use crate::client::Clients;
use crate::executors::Executors;
use crate::nodes::{Cluster, NodeHappening};
use crate::oracle::Oracle;
use crate::outside::Ledger;
use crate::shell::{Message, Process};
use crate::sign_ins::{Step, Vault};
use crate::subagents::Asking;
use crate::{Bug, Property, Violation, budgets, rebuild};

/// When the simulated calendar begins.
const EPOCH_MS: i64 = 1_790_000_000_000;
/// How long faults last, in virtual milliseconds: ten minutes.
pub(crate) const FAULTS_MS: u64 = 600_000;
/// How long a killed process stays down at most, in milliseconds.
const DOWN_MS_MAX: u64 = 5_000;
/// How far a clock may jump between two processes, in milliseconds: an hour.
const CLOCK_JUMP_MS_MAX: i64 = 3_600_000;
/// Pauses of a process in one world, at most.
const PAUSES_MAX: usize = 6;
/// Power failures at any moment, beside those at steps of the shell.
const POWER_CUTS_MAX: usize = 8;
/// Happenings after which a world that does not come to rest is stuck.
const HAPPENINGS_MAX: u64 = 50_000;
/// Lines of a trace that a failure shows.
const TAIL_LINES: usize = 60;
/// Windows of models that hold little more than instructions and tools.
const WINDOW_TOKENS: std::ops::Range<u64> = 1_500..3_000;
/// What of such a window is left to answers.
const RESERVED_TOKENS: u64 = 100;
/// How far the simulated provider's count is off ours: within what we say of ours.
const TOKENS_OFF_PERCENT: u64 = ERROR_PERCENT - 5;

/// What a run saw when nothing was broken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Happenings.
    pub happenings: u64,
    /// Durable events.
    pub events: u64,
    /// Crashes, pauses, unavailable stores, failures outside, lost and repeated replies.
    pub faults: u64,
    /// Turns that ended.
    pub turns: u64,
}

/// A run that broke a property.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed: running it again gives the same.
    pub seed: u64,
    /// The bug that was switched on.
    pub bug: Option<Bug>,
    /// What was broken.
    pub violation: Violation,
    /// The last lines of the history.
    pub tail: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.tail {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {} breaks {}: {}", self.seed, self.violation.property, self.violation.detail)?;
        let bug = self.bug.map_or_else(String::new, |bug| format!(" --bug {}", bug.name()));
        write!(f, "again: cargo run -p tenure-sim -- --seed {}{bug} --trace", self.seed)
    }
}

/// Why what is being done stops here.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The machine lost its power at this point.
    Crash(&'static str),
    /// A property is broken.
    Broken(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A message reaches a session's actor.
    Deliver { process: u64, key: SessionKey, message: Message },
    /// The disk has synced an actor's write.
    Synced { process: u64, key: SessionKey },
    /// A request reaches the outside.
    Arrive(Box<Call>),
    /// A process looks whether subagents are done.
    Look(Asking),
    /// A process goes on whose request was refused for want of a sign-in.
    Wants { call: Box<Call>, step: Step },
    /// Somebody does something about the vault.
    Visit,
    /// A client sends a request, for the first time or again.
    Send { request: usize },
    /// An executor connects to a process.
    Dial { key: SessionKey },
    /// An executor's connection to a process breaks.
    HangUp { key: SessionKey, process: u64 },
    /// A client thinks of something to ask.
    Act { client: usize },
    /// A process starts.
    Start,
    /// A process stops for a while without knowing, and another takes its place.
    Pause,
    /// The power fails.
    PowerCut,
    /// No more faults from here on.
    Heal,
    /// Where several nodes run.
    Node(NodeHappening),
}

/// How bad a world is. Chances are in thousands.
#[derive(Debug)]
pub(crate) struct Faults {
    /// That the power fails at a step of the shell.
    pub(crate) crash: u32,
    /// That the store answers that it is unavailable.
    pub(crate) unavailable: u32,
    /// That the outside fails in some way.
    pub(crate) outside: u32,
    /// That an outcome is delivered again, later.
    pub(crate) duplicate: u32,
    /// That a sync takes seconds.
    pub(crate) slow_disk: u32,
}

impl Faults {
    fn drawn(rng: &mut fastrand::Rng) -> Self {
        let mut level = |most: u32| if rng.u8(..4) == 0 { 0 } else { rng.u32(..=most) };
        Self {
            crash: level(30),
            unavailable: level(40),
            outside: level(600),
            duplicate: level(400),
            slow_disk: level(100),
        }
    }

    fn none() -> Self {
        Self { crash: 0, unavailable: 0, outside: 0, duplicate: 0, slow_disk: 0 }
    }
}

pub(crate) struct World {
    pub(crate) rng: fastrand::Rng,
    pub(crate) now: u64,
    pub(crate) bug: Option<Bug>,
    pub(crate) faults: Faults,
    pub(crate) healed: bool,
    pub(crate) store: MemoryStore,
    pub(crate) policy: Arc<PolicySet>,
    pub(crate) oracle: Oracle,
    pub(crate) ledger: Ledger,
    pub(crate) clients: Clients,
    pub(crate) executors: Executors,
    pub(crate) vault: Option<Vault>,
    /// The process that serves clients.
    pub(crate) live: Option<Process>,
    /// A process that was replaced and does not know it.
    pub(crate) stale: Option<Process>,
    /// The nodes of a world that has several.
    pub(crate) cluster: Option<Cluster>,
    /// The node that does something now.
    pub(crate) acting: Option<u64>,
    /// Sessions with writes that are not durable.
    pub(crate) dirty: BTreeSet<SessionKey>,
    pub(crate) window: Window,
    /// The limits of the project's budgets.
    pub(crate) caps: BTreeMap<Period, Caps>,
    /// How the simulated provider counts tokens, in hundredths of how we do.
    pub(crate) tokens_percent: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    waiting: BTreeMap<u64, Happening>,
    scheduled: u64,
    pub(crate) processes: u64,
    /// How far the clock of the next process is off, in milliseconds.
    skew: i64,
    trace: Option<Vec<String>>,
    summary: Summary,
}

/// One policy set for all worlds: it remembers its answers.
fn policy() -> Arc<PolicySet> {
    static POLICY: OnceLock<Arc<PolicySet>> = OnceLock::new();
    Arc::clone(POLICY.get_or_init(|| Arc::new(PolicySet::defaults())))
}

/// Runs the history of `seed`, with or without a deliberate bug.
///
/// # Errors
/// A property did not hold; the failure shows the end of the history.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Summary, Box<Failure>> {
    let mut world = World::new(seed, bug, None);
    match world.live_through() {
        Ok(()) => Ok(world.summary),
        Err(violation) => {
            let (mut tail, _) = trace(seed, bug);
            tail.drain(..tail.len().saturating_sub(TAIL_LINES));
            Err(Box::new(Failure { seed, bug, violation, tail }))
        }
    }
}

/// The history of `seed`, line by line, and what it breaks.
#[must_use]
pub fn trace(seed: u64, bug: Option<Bug>) -> (Vec<String>, Option<Violation>) {
    let mut world = World::new(seed, bug, Some(Vec::new()));
    let broken = world.live_through().err();
    (world.trace.unwrap_or_default(), broken)
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, trace: Option<Vec<String>>) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cluster = Cluster::drawn(seed);
        let mut faults = Faults::drawn(&mut rng);
        if cluster.is_some() {
            // Whoever is killed at every step takes nothing over.
            faults.crash /= 4;
        }
        let window = if rng.bool() {
            Window { tokens: rng.u64(WINDOW_TOKENS), reserved: RESERVED_TOKENS }
        } else {
            Window::DEFAULT
        };
        let tokens_percent = rng.u64(100 - TOKENS_OFF_PERCENT..=100 + TOKENS_OFF_PERCENT);
        Self {
            clients: Clients::new(&mut rng),
            executors: Executors::new(),
            vault: Vault::drawn(seed),
            rng,
            now: 0,
            bug,
            faults,
            healed: false,
            store: MemoryStore::volatile(),
            policy: policy(),
            oracle: Oracle::of(budgets::drawn(seed)),
            ledger: Ledger::default(),
            live: None,
            stale: None,
            cluster,
            acting: None,
            dirty: BTreeSet::new(),
            window,
            caps: budgets::drawn(seed),
            tokens_percent,
            queue: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            scheduled: 0,
            processes: 0,
            skew: 0,
            trace,
            summary: Summary::default(),
        }
    }

    /// Writes a line of the history, if anybody reads it.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.now, line()));
        }
    }

    pub(crate) fn chance(&mut self, in_thousand: u32) -> bool {
        in_thousand > 0 && self.rng.u32(..1000) < in_thousand
    }

    pub(crate) fn count_fault(&mut self, happened: bool) {
        self.summary.faults += u64::from(happened);
    }

    pub(crate) fn after(&mut self, millis: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.push(Reverse((self.now + millis, self.scheduled)));
        self.waiting.insert(self.scheduled, happening);
    }

    /// A step at which the power may fail.
    pub(crate) fn step(&mut self, point: &'static str) -> Result<(), Stop> {
        let chance = self.faults.crash;
        if self.chance(chance) { Err(Stop::Crash(point)) } else { Ok(()) }
    }

    /// The wall clock as a process reads it.
    pub(crate) fn clock(&self, skew: i64) -> Timestamp {
        Timestamp::from_millis(EPOCH_MS + skew).plus_millis(self.now)
    }

    fn live_through(&mut self) -> Result<(), Violation> {
        let faults_ms = if self.cluster.is_some() { Cluster::faults_ms() } else { FAULTS_MS };
        self.after(faults_ms, Happening::Heal);
        for client in 0..self.clients.len() {
            let at = self.rng.u64(..FAULTS_MS / 10);
            self.after(at, Happening::Act { client });
        }
        if self.cluster.is_some() {
            self.begin_cluster();
        } else {
            self.after(0, Happening::Start);
            for _ in 0..self.rng.usize(..PAUSES_MAX) {
                let at = self.rng.u64(..FAULTS_MS);
                self.after(at, Happening::Pause);
            }
        }
        for _ in 0..self.rng.usize(..POWER_CUTS_MAX) {
            let at = self.rng.u64(..FAULTS_MS);
            self.after(at, Happening::PowerCut);
        }
        self.begin_sign_ins();
        loop {
            self.keep_polling();
            self.drain()?;
            if !self.ask_what_is_left() {
                break;
            }
        }
        self.judge()
    }

    fn pass_to(&mut self, at: u64) {
        if self.cluster.is_some() && at > self.now {
            self.store.pass(Duration::from_millis(at - self.now));
        }
        self.now = self.now.max(at);
    }

    fn drain(&mut self) -> Result<(), Violation> {
        while let Some(Reverse((at, number))) = self.queue.pop() {
            self.pass_to(at);
            self.summary.happenings += 1;
            if self.summary.happenings > HAPPENINGS_MAX {
                return Err(Violation::new(Property::Progress, "the world does not come to rest"));
            }
            let Some(happening) = self.waiting.remove(&number) else { continue };
            self.acting = None;
            if let Some(cluster) = &mut self.cluster {
                cluster.is_busy(self.now, &happening);
            }
            match self.happen(happening) {
                Ok(()) => {}
                Err(Stop::Crash(point)) if self.cluster.is_some() => self.cluster_crash(point)?,
                Err(Stop::Crash(point)) => self.power_cut(point)?,
                Err(Stop::Broken(violation)) => return Err(violation),
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Stop> {
        match happening {
            Happening::Deliver { process, key, message } => self.deliver(process, key, message),
            Happening::Synced { process, key } => self.synced(process, key),
            Happening::Arrive(call) => self.arrive(*call),
            Happening::Wants { call, step } => self.wants(*call, step),
            Happening::Visit => {
                self.visit();
                Ok(())
            }
            Happening::Look(asking) => self.ask_subagents(asking),
            Happening::Send { request } => self.send(request),
            Happening::Dial { key } => self.dial(key),
            Happening::HangUp { key, process } => self.hang_up(key, process),
            Happening::Act { client } => {
                self.act(client);
                Ok(())
            }
            Happening::Start => self.start(),
            Happening::Pause => self.pause(),
            Happening::PowerCut => Err(Stop::Crash("whenever")),
            Happening::Node(happening) => self.node_happens(happening),
            Happening::Heal => {
                self.note(|| "the faults end".to_owned());
                self.faults = Faults::none();
                self.healed = true;
                self.stale = None;
                self.last_visit();
                Ok(())
            }
        }
    }

    /// Everything written so far is durable.
    pub(crate) fn sync(&mut self) -> Result<(), Violation> {
        self.store.sync();
        self.read_durable()
    }

    pub(crate) fn read_durable(&mut self) -> Result<(), Violation> {
        for key in std::mem::take(&mut self.dirty) {
            let after = Version(self.oracle.read(key));
            for recorded in self.events(key, after) {
                self.summary.events += 1;
                if matches!(recorded.event, tenure_journal::Event::TurnEnded { .. }) {
                    self.summary.turns += 1;
                }
                self.note(|| format!("  durable {}: {:?}", recorded.version.0, recorded.event));
                self.oracle.durable(key, &recorded)?;
            }
        }
        self.oracle.look_at_forks()?;
        self.oracle.look_at_budgets()
    }

    pub(crate) fn events(&self, key: SessionKey, after: Version) -> Vec<Recorded> {
        self.store.events_now(key, after, usize::MAX).expect("the model of the store always answers")
    }

    fn power_cut(&mut self, point: &'static str) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        self.summary.faults += 1;
        self.lose_unsynced(point);
        self.live = None;
        self.stale = None;
        self.read_durable()?;
        self.skew = match self.rng.u8(..4) {
            0 => self.rng.i64(-CLOCK_JUMP_MS_MAX..=CLOCK_JUMP_MS_MAX),
            _ => self.skew,
        };
        let down = self.rng.u64(..DOWN_MS_MAX);
        self.after(down, Happening::Start);
        Ok(())
    }

    /// The disk keeps some of the first writes that were not synced.
    pub(crate) fn lose_unsynced(&mut self, point: &'static str) {
        let unsynced = self.store.unsynced();
        let kept = if unsynced == 0 { 0 } else { self.rng.usize(..=unsynced) };
        self.note(|| format!("CRASH {point}; {kept} of {unsynced} unsynced writes survive"));
        if kept == unsynced {
            // The same as a crash that loses nothing, without copying the disk.
            self.store.sync();
        } else {
            self.store.crash_keeping(kept);
        }
    }

    fn start(&mut self) -> Result<(), Stop> {
        if self.live.is_some() {
            return Ok(());
        }
        self.processes += 1;
        let id = self.processes;
        self.note(|| format!("process {id} starts"));
        self.live = Some(Process::new(id, self.skew));
        self.recover(id)
    }

    fn pause(&mut self) -> Result<(), Stop> {
        let Some(mut process) = self.live.take() else { return Ok(()) };
        if self.healed || self.stale.is_some() {
            self.live = Some(process);
            return Ok(());
        }
        self.summary.faults += 1;
        let wakes = self.now + self.rng.u64(1_000..60_000);
        self.note(|| format!("process {} pauses until {wakes}", process.id));
        process.paused_until = wakes;
        self.stale = Some(process);
        self.start()
    }

    /// What holds once everything is at rest.
    fn judge(&mut self) -> Result<(), Violation> {
        if let Some(detail) = self.clients.unanswered() {
            return Err(Violation::new(Property::Progress, detail));
        }
        for key in self.store.keys_now() {
            let journal = self.events(key, Version::ZERO);
            self.oracle.loaded(key, 0, &journal)?;
            self.clients.judge(key, &journal)?;
            self.judge_sign_ins(key, &journal)?;
            self.judge_session(key, &journal)?;
            self.oracle.uses.look_at_rest(&self.store, key.project)?;
            if let Some(watched) = self.oracle.session(key) {
                watched.told(|item| self.ledger.acts(item))?;
            }
        }
        self.judge_orphans()?;
        self.judge_readers()?;
        self.clients.judge_lost(&self.store.keys_now())
    }

    /// A deleted session leaves no subagent behind.
    fn judge_orphans(&self) -> Result<(), Violation> {
        for key in self.store.keys_now() {
            let head = |key| self.store.head_now(key).ok().flatten();
            let Some(child) = head(key).filter(|head| !head.deleted) else { continue };
            let parent = child.parent.and_then(|parent| head(SessionKey { session: parent, ..key }));
            if parent.is_some_and(|parent| parent.deleted) {
                let detail = format!("the subagent {} outlives its deleted session", key.session);
                return Err(Violation::new(Property::NoOrphan, detail));
            }
        }
        Ok(())
    }

    fn judge_session(&self, key: SessionKey, journal: &[Recorded]) -> Result<(), Violation> {
        let page = Page { after: None, limit: usize::MAX, order: Order::Ascending };
        let expected = rebuild::rows(key, journal);
        let head = self.store.head_now(key).ok().flatten();
        let found = head.map(|head| rebuild::Rows {
            head,
            items: self.store.items_now(key, None, &page).unwrap_or_default(),
            turns: self.store.turns_now(key, &page).unwrap_or_default(),
        });
        if expected != found {
            let detail = format!("the journal gives {expected:?}, the rows are {found:?}");
            return Err(Violation::new(Property::ProjectionsRebuilt, detail));
        }
        let state = Session::fold(key, None, journal);
        let at_rest = state.as_ref().is_none_or(|state| match state.status() {
            SessionStatus::Idle | SessionStatus::RequiresAction => state.pending().next().is_none(),
            SessionStatus::Failed => true,
            SessionStatus::InProgress => false,
        });
        if state.as_ref().is_some_and(Session::is_connected) {
            let detail = format!("session {} has an executor that is gone", key.session);
            return Err(Violation::new(self.unrest(key), detail));
        }
        if !at_rest {
            let pending: Vec<_> = state.iter().flat_map(|state| state.pending().cloned()).collect();
            let detail = format!("session {} is not at rest: {pending:?}", key.session);
            return Err(Violation::new(self.unrest(key), detail));
        }
        Ok(())
    }
}
