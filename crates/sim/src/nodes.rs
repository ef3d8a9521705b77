//! Several nodes on one store: their leases, what they take over, the news between them, and what befalls
//! them. What a node does in one session is in [`crate::part`], what its readers see in [`crate::follower`].
//!
//! ```text
//!          start, with a new id          frozen: does nothing, and does not know
//!   place ──────────────────────▶ node ◀──────────────────────────────────────── node
//!     ▲                            │
//!     └────────────────────────────┘ killed: forgets everything, its lease runs out
//!                                    retired: frees what it holds
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tenure_journal::{Fresh, NodeId, SessionKey, Timestamp, Version};
use tenure_session::StreamEvent;

use crate::follower::Reader;
use crate::shell::{Message, Process};
use crate::world::{FAULTS_MS, Happening, Stop, World};
use crate::{Bug, Property, Violation};

/// Separates what is drawn for the cluster from everything else that a seed gives.
const CLUSTER_SEED: u64 = 0x6e6f_6465_735f_6f6e;
/// How long faults last where several nodes run, in milliseconds: they meet more of them.
const CLUSTER_FAULTS_MS: u64 = FAULTS_MS / 2;
/// How far the clock of a node is off at most, in milliseconds.
const SKEW_MS_MAX: i64 = 60_000;
/// How long a node is down that is started again, in milliseconds.
const DOWN_MS_MAX: u64 = 40_000;
/// How often everything that a node holds is compared with the store, in milliseconds.
const COMPARE_MS: u64 = 5_000;
/// Heartbeats within one lease.
const BEATS_PER_LEASE: u64 = 4;
/// Sessions claimed at once.
const CLAIMED_MAX: usize = 256;
/// How long nodes go on looking for work after the last thing that happened, in milliseconds.
const QUIET_MS: u64 = 20_000;
/// The same while a session still has a time to wake, in milliseconds.
const PATIENT_MS: u64 = 600_000;
/// Kills, freezes and retirements of each kind in one world, at most.
const NODE_FAULTS_MAX: usize = 4;

/// Nodes that share the store, and what the world knows about them.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Process>,
    /// How far the clock of each machine is off, in milliseconds.
    skews: Vec<i64>,
    pub(crate) lease_ms: u64,
    /// The chance that news of a commit is lost, in thousands.
    lost: u32,
    /// Who last took each session over, and when.
    pub(crate) taken: BTreeMap<SessionKey, (NodeId, u64)>,
    /// What each append said to clients where it was decided: by the version before it, with the one after.
    pub(crate) told: BTreeMap<(SessionKey, u64), (u64, Vec<StreamEvent>)>,
    /// When something last happened that was not a node looking for work.
    busy_at: u64,
    /// Counts what has to be told before from after.
    moments: u64,
}

/// What makes a process one of the nodes.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    place: usize,
    /// Until when its lease runs, as far as it knows.
    pub(crate) lease_until: u64,
    beat_at: u64,
    compare_at: u64,
    polls: bool,
    pub(crate) readers: BTreeMap<SessionKey, Reader>,
}

/// What happens to nodes and between them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NodeHappening {
    /// A machine starts a process.
    Start { place: usize },
    /// A node extends its lease and looks for work.
    Poll { process: u64 },
    /// News of a commit reaches a node.
    Told { process: u64, key: SessionKey, version: Version },
    /// A node is killed, frozen or retired.
    Fault(NodeFault),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum NodeFault {
    Kill,
    Freeze,
    Retire,
}

impl Cluster {
    /// The nodes of a seed's world; absent in the half of the worlds that have one process.
    pub(crate) fn drawn(seed: u64) -> Option<Self> {
        let mut rng = fastrand::Rng::with_seed(seed ^ CLUSTER_SEED);
        if rng.bool() {
            return None;
        }
        let skew = |rng: &mut fastrand::Rng| if rng.bool() { 0 } else { rng.i64(-SKEW_MS_MAX..=SKEW_MS_MAX) };
        let count = rng.usize(2..4);
        Some(Self {
            nodes: Vec::new(),
            skews: (0..count).map(|_| skew(&mut rng)).collect(),
            lease_ms: rng.u64(4_000..20_000),
            lost: if rng.u8(..4) == 0 { 0 } else { rng.u32(..600) },
            taken: BTreeMap::new(),
            told: BTreeMap::new(),
            busy_at: 0,
            moments: 0,
        })
    }

    pub(crate) fn faults_ms() -> u64 {
        CLUSTER_FAULTS_MS
    }

    /// A number that is higher than every earlier one: what happened within one millisecond has an order, too.
    pub(crate) fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    pub(crate) fn is_busy(&mut self, now: u64, happening: &Happening) {
        if !matches!(happening, Happening::Node(NodeHappening::Poll { .. })) {
            self.busy_at = now;
        }
    }
}

impl World {
    pub(crate) fn member(&mut self, process: u64) -> Option<&mut Member> {
        self.process(process)?.member.as_mut()
    }

    /// Schedules what befalls the nodes.
    pub(crate) fn begin_cluster(&mut self) {
        let places = self.cluster.as_ref().map_or(0, |cluster| cluster.skews.len());
        for place in 0..places {
            let at = if place == 0 { 0 } else { self.rng.u64(..CLUSTER_FAULTS_MS / 10) };
            self.after(at, Happening::Node(NodeHappening::Start { place }));
        }
        for fault in [NodeFault::Kill, NodeFault::Freeze, NodeFault::Retire] {
            for _ in 0..self.rng.usize(..=NODE_FAULTS_MAX) {
                let at = self.rng.u64(..CLUSTER_FAULTS_MS);
                self.after(at, Happening::Node(NodeHappening::Fault(fault)));
            }
        }
    }

    pub(crate) fn node_happens(&mut self, happening: NodeHappening) -> Result<(), Stop> {
        match happening {
            NodeHappening::Start { place } => self.start_node(place),
            NodeHappening::Poll { process } => self.poll(process),
            NodeHappening::Told { process, key, version } => self.hear(process, key, version),
            NodeHappening::Fault(fault) => self.befall(fault),
        }
    }

    fn start_node(&mut self, place: usize) -> Result<(), Stop> {
        self.processes += 1;
        let process = self.processes;
        let moves = !self.healed && self.rng.u8(..4) == 0;
        let jump = if moves { Some(self.rng.i64(-SKEW_MS_MAX..=SKEW_MS_MAX)) } else { None };
        let now = self.now;
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let skew = jump.unwrap_or(cluster.skews[place]);
        cluster.skews[place] = skew;
        let fresh = Fresh::new(Timestamp::from_millis(1_700_000_000_000), process);
        let member = Member {
            id: NodeId::fresh(&fresh),
            place,
            lease_until: 0,
            beat_at: now,
            compare_at: now + COMPARE_MS,
            polls: true,
            readers: BTreeMap::new(),
        };
        cluster.nodes.push(Process { member: Some(member), ..Process::new(process, skew) });
        self.note(|| format!("process {process} starts as a node at place {place}, {skew} ms off"));
        self.after(0, Happening::Node(NodeHappening::Poll { process }));
        self.acting = Some(process);
        self.step("before recovery")?;
        self.beat(process)?;
        self.take_over(process, self.clock(skew))
    }

    /// What a node does all its life.
    fn poll(&mut self, process: u64) -> Result<(), Stop> {
        let now = self.now;
        let Some(found) = self.process(process) else { return Ok(()) };
        if found.paused_until > now {
            let wait = found.paused_until - now;
            self.after(wait, Happening::Node(NodeHappening::Poll { process }));
            return Ok(());
        }
        let skew = found.skew;
        let goes_on = self.goes_on();
        let Some(member) = self.member(process) else { return Ok(()) };
        member.polls = goes_on;
        let (beats, compares) = (member.beat_at <= now, member.compare_at <= now);
        if goes_on {
            let pause = self.rng.u64(500..2_500);
            self.after(pause, Happening::Node(NodeHappening::Poll { process }));
        }
        self.acting = Some(process);
        if beats {
            self.beat(process)?;
        }
        if self.bug != Some(Bug::NeverTakeOver) {
            self.take_over(process, self.clock(skew))?;
        }
        if compares || !goes_on {
            self.compare(process)?;
        }
        self.watch_something(process)?;
        self.follow_all(process)
    }

    /// Whether nodes still have to look for work.
    fn goes_on(&self) -> bool {
        let busy_at = self.cluster.as_ref().map_or(0, |cluster| cluster.busy_at);
        let quiet = self.now - busy_at;
        !self.healed
            || quiet < QUIET_MS
            || (quiet < PATIENT_MS && !self.store.due_now(Timestamp::from_millis(i64::MAX)).is_empty())
    }

    /// Nodes that came to rest look for work again.
    pub(crate) fn keep_polling(&mut self) {
        let now = self.now;
        let Some(cluster) = &mut self.cluster else { return };
        cluster.busy_at = now;
        let members = cluster.nodes.iter_mut().filter_map(|node| Some((node.id, node.member.as_mut()?)));
        let mut resting = Vec::new();
        for (process, member) in members.filter(|(_, member)| !member.polls) {
            member.polls = true;
            resting.push(process);
        }
        for process in resting {
            self.after(0, Happening::Node(NodeHappening::Poll { process }));
        }
    }

    /// Extends the lease, unless the store is away.
    pub(crate) fn beat(&mut self, process: u64) -> Result<(), Stop> {
        let lease_ms = self.cluster.as_ref().map_or(0, |cluster| cluster.lease_ms);
        let now = self.now;
        let chance = self.faults.unavailable;
        let unanswered = self.chance(chance);
        self.count_fault(unanswered);
        if unanswered && self.rng.bool() {
            return Ok(());
        }
        let Some(member) = self.member(process) else { return Ok(()) };
        member.beat_at = now + lease_ms / BEATS_PER_LEASE;
        if !unanswered {
            member.lease_until = now + lease_ms;
        }
        let node = member.id;
        let beaten = self.store.heartbeat_now(node, Duration::from_millis(lease_ms));
        beaten.expect("the model of the store always answers");
        Ok(self.sync()?)
    }

    /// Takes what is due and held by no living node.
    fn take_over(&mut self, process: u64, at: Timestamp) -> Result<(), Stop> {
        let Some(node) = self.member(process).map(|member| member.id) else { return Ok(()) };
        let claimed = self.store.claim_due_now(node, at, CLAIMED_MAX, &[]);
        let claimed = claimed.expect("the model of the store always answers");
        if claimed.is_empty() {
            return Ok(());
        }
        self.sync()?;
        for key in &claimed {
            self.note(|| format!("process {process} takes {} over", key.session));
            self.took(node, *key);
        }
        for key in claimed {
            self.deliver(process, key, Message::Look)?;
        }
        Ok(())
    }

    pub(crate) fn took(&mut self, node: NodeId, key: SessionKey) {
        if let Some(cluster) = &mut self.cluster {
            let moment = cluster.moment();
            cluster.taken.insert(key, (node, moment));
        }
    }

    /// Compares what the node holds with the store, in case news was lost.
    fn compare(&mut self, process: u64) -> Result<(), Stop> {
        let now = self.now;
        let Some(member) = self.member(process) else { return Ok(()) };
        member.compare_at = now + COMPARE_MS;
        let node = self.node_of(process);
        let held = self.store.held_now(node).expect("the model of the store always answers");
        let Some(found) = self.process(process) else { return Ok(()) };
        let holding = found.actors.iter().filter(|(_, actor)| actor.part.holding).map(|(key, _)| *key);
        let mut lost: BTreeSet<SessionKey> = holding.collect();
        for (key, version) in held {
            lost.remove(&key);
            self.deliver(process, key, Message::Wake(version))?;
        }
        for key in lost {
            self.deliver(process, key, Message::Look)?;
        }
        Ok(())
    }

    /// The id of a process that is a node.
    pub(crate) fn node_of(&mut self, process: u64) -> NodeId {
        self.member(process).expect("only nodes are asked, while they run").id
    }

    /// Sends news of a commit to the other nodes.
    pub(crate) fn spread(&mut self, process: u64, key: SessionKey, version: Version) {
        let Some(cluster) = &self.cluster else { return };
        let lost = if self.healed { 0 } else { cluster.lost };
        let others: Vec<u64> =
            cluster.nodes.iter().map(|node| node.id).filter(|other| *other != process).collect();
        for other in others {
            let is_lost = self.chance(lost);
            self.count_fault(is_lost);
            if is_lost {
                continue;
            }
            for _ in 0..self.rng.usize(1..3) {
                let slow = !self.healed && self.rng.u8(..8) == 0;
                let delay = self.rng.u64(..if slow { 5_000 } else { 60 });
                self.after(delay, Happening::Node(NodeHappening::Told { process: other, key, version }));
            }
        }
    }

    fn hear(&mut self, process: u64, key: SessionKey, version: Version) -> Result<(), Stop> {
        let now = self.now;
        let Some(found) = self.process(process) else { return Ok(()) };
        let (paused, acts) = (found.paused_until > now, found.actors.contains_key(&key));
        if acts {
            self.deliver(process, key, Message::Wake(version))?;
        }
        if paused {
            return Ok(());
        }
        self.follow(process, key)
    }

    /// A node that is asked for something: any.
    pub(crate) fn serving(&mut self) -> Option<u64> {
        let Some(cluster) = &self.cluster else { return self.live.as_ref().map(|process| process.id) };
        if cluster.nodes.is_empty() {
            return None;
        }
        let chosen = self.rng.usize(..cluster.nodes.len());
        Some(cluster.nodes[chosen].id)
    }

    fn befall(&mut self, fault: NodeFault) -> Result<(), Stop> {
        let Some(process) = self.serving().filter(|_| !self.healed) else { return Ok(()) };
        match fault {
            NodeFault::Kill => {
                self.kill(process, "whenever");
                Ok(())
            }
            NodeFault::Freeze => {
                let lease_ms = self.cluster.as_ref().map_or(0, |cluster| cluster.lease_ms);
                let until = self.now + self.rng.u64(500..lease_ms * 3);
                self.count_fault(true);
                self.note(|| format!("process {process} is frozen until {until}"));
                if let Some(found) = self.process(process) {
                    found.paused_until = found.paused_until.max(until);
                }
                Ok(())
            }
            NodeFault::Retire => {
                let now = self.now;
                if self.process(process).is_none_or(|found| found.paused_until > now) {
                    return Ok(());
                }
                self.count_fault(true);
                self.note(|| format!("process {process} retires"));
                self.sync()?;
                let node = self.node_of(process);
                self.store.retire_now(node).expect("the model of the store always answers");
                self.sync()?;
                self.remove(process);
                Ok(())
            }
        }
    }

    /// A step of a node failed, or the store lost its power, or both.
    pub(crate) fn cluster_crash(&mut self, point: &'static str) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        let Some(process) = self.acting else { return self.cut_store(point) };
        self.kill(process, point);
        if self.rng.u8(..4) == 0 { self.cut_store("whenever") } else { Ok(()) }
    }

    fn kill(&mut self, process: u64, point: &'static str) {
        self.count_fault(true);
        self.note(|| format!("CRASH {point}; process {process} is killed"));
        self.remove(process);
    }

    /// A process ends; its machine starts another, unless it is lost and others are left.
    fn remove(&mut self, process: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(index) = cluster.nodes.iter().position(|node| node.id == process) else { return };
        let gone = cluster.nodes.swap_remove(index);
        let alone = cluster.nodes.is_empty();
        let place = gone.member.map_or(0, |member| member.place);
        if !alone && self.rng.u8(..8) == 0 {
            return;
        }
        let down_ms_max = if self.rng.bool() { DOWN_MS_MAX / 10 } else { DOWN_MS_MAX };
        let down = self.rng.u64(..down_ms_max);
        self.after(down, Happening::Node(NodeHappening::Start { place }));
    }

    /// The store's machine loses its power: what was not durable is gone, and who waited for an answer does
    /// not get one.
    fn cut_store(&mut self, point: &'static str) -> Result<(), Violation> {
        self.count_fault(true);
        self.lose_unsynced(point);
        self.read_durable()?;
        if self.rng.u8(..4) == 0 {
            let all = self.cluster.iter().flat_map(|cluster| &cluster.nodes).map(|node| node.id);
            for process in all.collect::<Vec<_>>() {
                self.kill(process, "together with the store");
            }
            return Ok(());
        }
        let mut cut = Vec::new();
        for node in self.cluster.iter_mut().flat_map(|cluster| &mut cluster.nodes) {
            for (key, actor) in &mut node.actors {
                if let Some(write) = actor.write.take() {
                    actor.repeat(write.message);
                    cut.push((node.id, *key));
                }
            }
        }
        for (process, key) in cut {
            let pause = self.rng.u64(50..1_000);
            self.after(pause, Happening::Deliver { process, key, message: Message::Look });
        }
        Ok(())
    }

    /// What is broken when a session is not at rest in the end: nobody took it over, or nothing goes on.
    pub(crate) fn unrest(&self, key: SessionKey) -> Property {
        let Some(cluster) = &self.cluster else { return Property::Progress };
        let holder = self.store.holder_now(key);
        let alive = |node: &Process| node.member.as_ref().map(|member| member.id) == holder;
        let held = holder.is_some() && cluster.nodes.iter().any(alive);
        if held { Property::Progress } else { Property::TakeoverCompletes }
    }
}
