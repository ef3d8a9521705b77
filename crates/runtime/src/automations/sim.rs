//! Automations under simulated nodes that die, race and lose their store, over the store's model.
//!
//! Every touch of the outside waits once before it acts and once after. A future that is polled a number of
//! times and dropped has therefore died at that await: before the write, or after it and before knowing.

mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use serde_json::Value;
use tenure_journal::{
    AgentConfig, AgentId, Automation, AutomationId, AutomationStatus, CreatedBy, EffectId, Environment,
    Fresh, HostedEnvironment, InputPart, InvocationStatus, NewSessionTarget, PauseReason, ProjectId,
    Schedule, SessionId, SessionKey, Target, TargetAgent, TargetEnvironment, Timestamp, Tool,
    WantedEnvironment,
};
use tenure_session::{Command, Refusal};
use tenure_store::{Document, DocumentKind, MemoryStore, Order, Page, Receipt, StoreError, StoreErrorKind};

use super::deliver::deliver;
use super::occur::occur;
use super::world::{World, receipt_body};
use super::*;
use crate::{
    BindError, Full, Limit, Opening, RuntimeError, RuntimeErrorKind, TemplateError, WantedError, Whose,
};

/// 2026-09-21 at 14:00 UTC.
const T: Timestamp = Timestamp::from_millis(1_789_999_200_000);
const MINUTE: u64 = 60_000;

/// The outside that all nodes share.
struct Outside {
    store: MemoryStore,
    now: AtomicI64,
    seed: AtomicU64,
    /// Percent of touches that the store fails, half of them after it acted.
    faults: AtomicU64,
    /// What submitting to the existing session meets.
    session: Mutex<Option<RuntimeErrorKind>>,
    /// Whether agents cannot be run.
    unfit: AtomicBool,
}

impl Outside {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(),
            now: AtomicI64::new(T.as_millis()),
            seed: AtomicU64::new(seed),
            faults: AtomicU64::new(0),
            session: Mutex::new(None),
            unfit: AtomicBool::new(false),
        })
    }

    /// SplitMix64.
    fn random(&self, below: u64) -> u64 {
        let seed = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn pass(&self, millis: u64) {
        self.now.fetch_add(i64::try_from(millis).expect("small"), Ordering::Relaxed);
    }

    fn automations(self: &Arc<Self>) -> Automations {
        Automations { world: Arc::new(Node(Arc::clone(self))) }
    }

    fn project(&self) -> ProjectId {
        ProjectId::fresh(&Fresh::new(T, 1))
    }

    fn id(&self, seed: u64) -> AutomationId {
        AutomationId::of_effect(EffectId::fresh(&Fresh::new(T, seed)))
    }

    /// Makes an automation at the present moment.
    fn create(self: &Arc<Self>, seed: u64, schedule: Schedule, target: Target) -> AutomationId {
        let new = NewAutomation {
            name: "a".into(),
            metadata: BTreeMap::new(),
            schedule,
            target,
            created_by: CreatedBy::Developer,
        };
        let id = self.id(seed);
        finish(self.automations().create(self.project(), id, new, &|_| None)).expect("created");
        id
    }

    fn automation(self: &Arc<Self>, id: AutomationId) -> Automation {
        finish(self.automations().automation(self.project(), id)).expect("there").body
    }

    fn invocations(self: &Arc<Self>, id: AutomationId) -> Vec<SavedInvocation> {
        let page = Page { after: None, limit: 100_000, order: Order::Ascending };
        finish(self.automations().invocations(self.project(), id, &page)).expect("readable")
    }

    /// How often each invocation was delivered, by its receipt's key.
    fn delivered(&self) -> BTreeMap<String, usize> {
        let page = Page { after: None, limit: 100_000, order: Order::Ascending };
        let found = self.store.documents_now(self.project(), DocumentKind::Request, None, &page);
        let mut counts = BTreeMap::new();
        for document in found.expect("readable") {
            *counts.entry(document.name.expect("a key")).or_default() += 1;
        }
        counts
    }

    /// One node's look at everything that is due.
    fn look(self: &Arc<Self>) -> Pin<Box<dyn Future<Output = Result<(), AutomationError>> + Send>> {
        let node = Node(Arc::clone(self));
        Box::pin(async move {
            for automation in node.due(DocumentKind::Automation, node.now(), DUE_MAX).await? {
                readable(occur(&node, &automation).await)?;
            }
            for invocation in node.due(DocumentKind::Invocation, node.now(), DUE_MAX).await? {
                readable(deliver(&node, &invocation).await)?;
            }
            Ok(())
        })
    }

    /// Lets healthy nodes look until nothing is left to do.
    fn heal(self: &Arc<Self>) {
        self.faults.store(0, Ordering::Relaxed);
        for _ in 0..8 {
            self.pass(CLAIM_MS + SPREAD_MS);
            finish(self.look()).expect("healthy");
        }
    }

    /// What must hold at any rest: one delivery for each completed invocation, none for any other.
    fn check(self: &Arc<Self>, id: AutomationId) {
        let delivered = self.delivered();
        for invocation in self.invocations(id) {
            let count = delivered.get(&format!("invocation {}", invocation.id)).copied().unwrap_or(0);
            let expected = match &invocation.body.status {
                InvocationStatus::Completed => 1,
                InvocationStatus::Failed { .. } | InvocationStatus::Skipped => 0,
                InvocationStatus::Queued { .. } => panic!("{} is still queued", invocation.id),
            };
            assert_eq!(count, expected, "{invocation:?}");
            assert_eq!(invocation.body.session_id.is_some(), expected == 1 || has_session(&invocation));
        }
    }
}

/// What cannot be read is passed over, as the scheduler does.
fn readable(done: Result<(), AutomationError>) -> Result<(), AutomationError> {
    match done {
        Err(AutomationError::Damaged(_)) => Ok(()),
        done => done,
    }
}

fn has_session(invocation: &SavedInvocation) -> bool {
    invocation.body.session_id == Some(session_id())
}

fn session_id() -> SessionId {
    SessionId::fresh(&Fresh::new(T, 99))
}

/// One node: the outside, touched.
struct Node(Arc<Outside>);

/// Waits once.
struct Once(bool);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Node {
    async fn touch<T>(
        &self,
        act: impl FnOnce(&Outside) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let unavailable = || Err(StoreError::new(StoreErrorKind::Unavailable, "simulated"));
        Once(false).await;
        let chance = self.0.random(200);
        let faults = self.0.faults.load(Ordering::Relaxed);
        if chance < faults {
            return unavailable();
        }
        let done = act(&self.0);
        Once(false).await;
        if chance < 2 * faults { unavailable() } else { done }
    }

    /// A delivery as the runtime makes it: what it changes and the receipt, both or none.
    async fn reach(&self, project: ProjectId, session: SessionId, key: String) -> Result<(), RuntimeError> {
        let now = self.now();
        let document = Document {
            project,
            kind: DocumentKind::Request,
            id: format!("{:020}", self.0.random(u64::MAX)),
            version: 1,
            name: Some(key.clone()),
            body: Value::Null,
            created_at: now,
            updated_at: now,
            wake_at: None,
            deleted: false,
        };
        let body = receipt_body(session);
        let receipt = Receipt { project, key, digest: String::new(), status: 200, body, at: now };
        Ok(self.touch(|outside| outside.store.put_now(vec![document], Some(receipt))).await?)
    }
}

#[async_trait]
impl World for Node {
    async fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError> {
        self.touch(|outside| outside.store.document_now(project, kind, id, version)).await
    }

    async fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        self.touch(|outside| outside.store.documents_now(project, kind, name, page)).await
    }

    async fn due(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.touch(|outside| outside.store.due_documents_now(kind, now, limit)).await
    }

    async fn put(&self, documents: Vec<Document>, receipt: Option<Receipt>) -> Result<(), StoreError> {
        self.touch(|outside| outside.store.put_now(documents, receipt)).await
    }

    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError> {
        self.touch(|outside| outside.store.receipt_now(project, key)).await
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now.load(Ordering::Relaxed))
    }

    fn fresh(&self) -> Fresh {
        Fresh::new(self.now(), self.0.random(u64::MAX))
    }

    fn check(&self, _: &AgentConfig) -> Result<(), String> {
        if self.0.unfit.load(Ordering::Relaxed) { Err("no such tool here".into()) } else { Ok(()) }
    }

    async fn can_read(&self, _: ProjectId, _: Option<SessionId>) -> Result<bool, StoreError> {
        Ok(*self.0.session.lock().expect("no panics") != Some(RuntimeErrorKind::Damaged))
    }

    async fn environment(
        &self,
        _: ProjectId,
        _: SessionId,
        _: &WantedEnvironment,
    ) -> Result<HostedEnvironment, WantedError> {
        Err(WantedError::Template(TemplateError::NotFound))
    }

    async fn bind(
        &self,
        _: ProjectId,
        _: &[String],
        _: &mut [Tool],
        _: &Environment,
    ) -> Result<(), BindError> {
        Ok(())
    }

    async fn open(&self, id: SessionId, opening: Opening, key: String) -> Result<(), RuntimeError> {
        self.reach(opening.opened.project_id, id, key).await
    }

    async fn say(&self, session: SessionKey, _: Command, key: String) -> Result<(), RuntimeError> {
        let refusal = self.0.session.lock().expect("no panics").clone();
        match refusal {
            Some(kind) => {
                Once(false).await;
                Err(kind.into())
            }
            None => self.reach(session.project, session.session, key).await,
        }
    }

    fn wake(&self) {}
}

/// Polls to the end.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

/// Polls `times` and gives up the future, as a process that dies does. Whether it was done by then.
fn die_after(
    times: usize,
    mut future: Pin<Box<dyn Future<Output = Result<(), AutomationError>> + Send>>,
) -> bool {
    (0..times).any(|_| future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready())
}

fn cron(expression: &str) -> Schedule {
    Schedule::Periodic { expression: expression.into(), timezone: "UTC".into() }
}

fn once(minutes: u64) -> Schedule {
    Schedule::Once { run_at: T.plus_millis(minutes * MINUTE) }
}

fn existing() -> Target {
    Target::ExistingSession { session_id: session_id(), instructions: "go on".into() }
}

fn new_session() -> Target {
    let config = AgentConfig::new(AgentId::fresh(&Fresh::new(T, 1)), "m");
    Target::NewSession(Box::new(NewSessionTarget {
        agent: TargetAgent::Inline { config: Box::new(config) },
        environment: TargetEnvironment::None,
        input: vec![vec![InputPart::text("hi")]],
        metadata: BTreeMap::new(),
        approval: None,
        vault_ids: Vec::new(),
        trust: tenure_journal::Trust::default(),
    }))
}

fn words(invocations: &[SavedInvocation]) -> Vec<String> {
    let minute = |at: Timestamp| T.millis_until(at) / MINUTE;
    let word = |invocation: &SavedInvocation| {
        let at = invocation.body.scheduled_at.map_or("manual".to_owned(), |at| minute(at).to_string());
        match &invocation.body.status {
            InvocationStatus::Queued { .. } => format!("{at} queued"),
            InvocationStatus::Completed => format!("{at} completed"),
            InvocationStatus::Failed { code, .. } => format!("{at} failed {code}"),
            InvocationStatus::Skipped => format!("{at} skipped"),
        }
    };
    invocations.iter().map(word).collect()
}

fn overloaded() -> RuntimeErrorKind {
    RuntimeErrorKind::Overloaded(Full { limit: Limit::ActiveSessions, whose: Whose::Node })
}

#[test]
fn a_node_may_die_at_every_await_and_the_next_one_too() {
    let mut deaths = 0;
    for (schedule, target) in [(cron("0 * * * *"), new_session()), (once(60), existing())] {
        for first in 0.. {
            let mut first_was_done = false;
            for second in 0.. {
                let outside = Outside::new(7);
                let id = outside.create(1, schedule.clone(), target.clone());
                outside.pass(60 * MINUTE);
                first_was_done = die_after(first, outside.look());
                outside.pass(CLAIM_MS);
                let second_was_done = die_after(second, outside.look());
                outside.heal();
                outside.check(id);
                assert_eq!(words(&outside.invocations(id)), ["60 completed"], "died at {first}, {second}");
                deaths += 1;
                if second_was_done {
                    break;
                }
            }
            if first_was_done {
                assert!(first > 12, "there are awaits to die at");
                break;
            }
        }
    }
    assert!(deaths > 200, "{deaths} pairs of deaths");
}

/// Runs nodes against each other for a day: they die, the store fails, time goes on.
fn race(seed: u64) -> usize {
    let outside = Outside::new(seed);
    let ids = [
        outside.create(1, cron("*/10 * * * *"), new_session()),
        outside.create(2, cron("0 * * * *"), existing()),
        outside.create(3, once(7 * 60 + 3), existing()),
    ];
    let mut nodes: Vec<_> = (0..3).map(|_| outside.look()).collect();
    outside.faults.store(4, Ordering::Relaxed);
    let end = T.plus_millis(24 * 60 * MINUTE);
    while outside.now.load(Ordering::Relaxed) < end.as_millis() {
        let node = &mut nodes[usize::try_from(outside.random(3)).expect("small")];
        let is_ready = node.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        // Sometimes it dies on the way. Either way a new one begins.
        if is_ready || outside.random(60) == 0 {
            *node = outside.look();
        }
        outside.pass(outside.random(2_000));
    }
    drop(nodes);
    outside.heal();
    let mut made = 0;
    for (id, every) in [(ids[0], 10), (ids[1], 60)] {
        outside.check(id);
        let found: BTreeSet<u64> = outside
            .invocations(id)
            .iter()
            .map(|invocation| T.millis_until(invocation.body.scheduled_at.expect("scheduled")) / MINUTE)
            .collect();
        let wanted: BTreeSet<u64> = (1..=24 * 60 / every).map(|n| n * every).collect();
        // Time went on a little while healing.
        assert!(wanted.is_subset(&found), "seed {seed}: missed {:?}", wanted.difference(&found));
        assert!(found.iter().all(|minute| minute % every == 0));
        made += outside.invocations(id).len();
        assert_eq!(found.len(), outside.invocations(id).len(), "each occurrence once");
    }
    outside.check(ids[2]);
    assert_eq!(words(&outside.invocations(ids[2])), ["423 completed"], "seed {seed}");
    assert_eq!(outside.automation(ids[2]).status, AutomationStatus::Completed);
    made
}

#[test]
fn racing_nodes_make_and_deliver_every_occurrence_once() {
    let made: usize = (0..10).map(race).sum();
    assert!(made > 10 * 160, "{made} occurrences");
}

#[test]
fn what_was_missed_is_not_made_up_for() {
    let outside = Outside::new(1);
    let often = outside.create(1, cron("*/10 * * * *"), existing());
    let daily = outside.create(2, cron("0 15 * * *"), existing());
    let single = outside.create(3, once(5), existing());
    outside.pass((3 * 24 * 60 + 125) * MINUTE);
    outside.heal();
    assert_eq!(words(&outside.invocations(often))[0], "4440 completed");
    assert!(outside.invocations(daily).is_empty(), "two hours are too late");
    assert_eq!(words(&outside.invocations(single)), ["5 completed"]);
    outside.check(often);
}

#[test]
fn an_occurrence_is_skipped_while_an_earlier_one_is_queued() {
    let outside = Outside::new(1);
    let id = outside.create(1, cron("* * * * *"), existing());
    *outside.session.lock().expect("no panics") = Some(overloaded());
    for _ in 0..3 {
        outside.pass(MINUTE);
        finish(outside.look()).expect("healthy");
    }
    assert_eq!(words(&outside.invocations(id)), ["1 queued", "2 skipped", "3 skipped"]);
    *outside.session.lock().expect("no panics") = None;
    outside.pass(30_000);
    finish(outside.look()).expect("healthy");
    outside.pass(30_000);
    finish(outside.look()).expect("healthy");
    assert_eq!(words(&outside.invocations(id)), ["1 completed", "2 skipped", "3 skipped", "4 completed"]);
    outside.check(id);
}

#[test]
fn a_pause_holds_what_is_queued_and_a_resume_delivers_it() {
    let outside = Outside::new(1);
    for (seed, schedule) in [(1, cron("0 * * * *")), (2, once(60))] {
        outside.now.store(T.as_millis(), Ordering::Relaxed);
        let (id, project) = (outside.create(seed, schedule, existing()), outside.project());
        outside.pass(60 * MINUTE);
        *outside.session.lock().expect("no panics") = Some(overloaded());
        finish(outside.look()).expect("healthy");
        *outside.session.lock().expect("no panics") = None;
        finish(outside.automations().pause(project, id, &|_| None)).expect("paused");
        for _ in 0..3 {
            outside.pass(60 * MINUTE);
            finish(outside.look()).expect("healthy");
        }
        assert_eq!(words(&outside.invocations(id)), ["60 queued"]);
        let due = outside.store.due_documents_now(DocumentKind::Invocation, T.plus_millis(u64::MAX), 9);
        assert!(due.expect("readable").is_empty(), "what is held costs nothing");
        // A manual run does not ask the schedule.
        finish(outside.automations().invoke(project, id, &|_| None)).expect("queued");
        finish(outside.look()).expect("healthy");
        assert_eq!(words(&outside.invocations(id)), ["60 queued", "manual completed"]);
        finish(outside.automations().resume(project, id, &|_| None)).expect("resumed");
        finish(outside.look()).expect("healthy");
        assert_eq!(words(&outside.invocations(id)), ["60 completed", "manual completed"]);
        outside.check(id);
    }
}

#[test]
fn a_lost_target_pauses_the_schedule() {
    for (kind, code) in [
        (RuntimeErrorKind::Refused(Refusal::Failed), "target_session_failed"),
        (RuntimeErrorKind::Refused(Refusal::Deleted), "resource_not_found"),
        (RuntimeErrorKind::NotFound, "resource_not_found"),
    ] {
        let outside = Outside::new(1);
        let id = outside.create(1, cron("0 * * * *"), existing());
        *outside.session.lock().expect("no panics") = Some(kind);
        outside.pass(60 * MINUTE);
        outside.heal();
        assert_eq!(words(&outside.invocations(id)), [format!("60 failed {code}")]);
        let reason = Some(PauseReason::TargetSessionFailed);
        assert_eq!(outside.automation(id).status, AutomationStatus::Paused { reason });
        outside.check(id);
    }
}

#[test]
fn a_broken_reference_fails_the_invocation_and_not_the_schedule() {
    let outside = Outside::new(1);
    let Target::NewSession(mut target) = new_session() else { panic!("a new session") };
    target.agent = TargetAgent::Saved { agent_id: AgentId::fresh(&Fresh::new(T, 5)) };
    let gone = outside.create(1, cron("0 * * * *"), Target::NewSession(target));
    let unfit = outside.create(2, cron("0 * * * *"), new_session());
    outside.unfit.store(true, Ordering::Relaxed);
    outside.pass(60 * MINUTE);
    finish(outside.look()).expect("healthy");
    assert_eq!(words(&outside.invocations(gone)), ["60 failed resource_not_found"]);
    assert_eq!(words(&outside.invocations(unfit)), ["60 failed invalid_request"]);
    for id in [gone, unfit] {
        assert!(matches!(outside.automation(id).status, AutomationStatus::Active { next: Some(_) }));
        outside.check(id);
    }
}

#[test]
fn a_deleted_automation_delivers_nothing_more() {
    let outside = Outside::new(1);
    let (id, project) = (outside.create(1, cron("0 * * * *"), existing()), outside.project());
    finish(outside.automations().invoke(project, id, &|_| None)).expect("queued");
    finish(outside.automations().delete(project, id)).expect("deleted");
    outside.pass(60 * MINUTE);
    outside.heal();
    assert_eq!(words(&outside.invocations(id)), ["manual failed automation_deleted"]);
    assert!(outside.delivered().is_empty());
    outside.check(id);
}

#[test]
fn what_was_given_up_is_not_delivered_by_a_late_attempt() {
    let outside = Outside::new(1);
    let id = outside.create(1, once(60), existing());
    outside.pass(60 * MINUTE);
    // A node that claims the invocation and then hangs, just before it reaches the session.
    for polls in 1.. {
        let mut hanging = outside.look();
        let mut done = false;
        for _ in 0..polls {
            done |= hanging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
        assert!(!done, "an attempt was claimed on the way");
        let claimed = outside.invocations(id).iter().any(|invocation| {
            matches!(invocation.body.status, InvocationStatus::Queued { attempts } if attempts > 0)
        });
        if !claimed {
            continue;
        }
        *outside.session.lock().expect("no panics") = Some(overloaded());
        for _ in 0..2 * ATTEMPTS_MAX {
            outside.pass(BACKOFF_MS_MAX);
            finish(outside.look()).expect("healthy");
        }
        assert_eq!(words(&outside.invocations(id)), ["60 failed delivery_failed"]);
        *outside.session.lock().expect("no panics") = None;
        finish(hanging).expect("it comes back");
        assert_eq!(words(&outside.invocations(id)), ["60 failed delivery_failed"]);
        assert!(outside.delivered().is_empty());
        return;
    }
}

#[test]
fn a_clock_that_went_back_makes_nothing_twice() {
    let outside = Outside::new(1);
    let (id, project) = (outside.create(1, cron("0 * * * *"), existing()), outside.project());
    outside.pass(60 * MINUTE);
    finish(outside.look()).expect("healthy");
    // Another node, whose clock is behind, changes the schedule: its next occurrence is the one just made.
    outside.now.store(T.plus_millis(59 * MINUTE).as_millis(), Ordering::Relaxed);
    let change = Change { expression: Some("0,30 * * * *".into()), ..Change::default() };
    finish(outside.automations().update(project, id, &change, &|_| None)).expect("changed");
    outside.pass(MINUTE);
    finish(outside.look()).expect("healthy");
    let next = AutomationStatus::Active { next: Some(T.plus_millis(90 * MINUTE)) };
    assert_eq!(outside.automation(id).status, next);
    assert_eq!(words(&outside.invocations(id)), ["60 completed"]);
    outside.check(id);
}

#[test]
fn changes_keep_to_the_rules() {
    let outside = Outside::new(1);
    let project = outside.project();
    let automations = outside.automations();
    let (periodic, single) =
        (outside.create(1, cron("0 * * * *"), existing()), outside.create(2, once(60), new_session()));
    let refused = |id, change: Change| {
        let error = finish(automations.update(project, id, &change, &|_| None)).expect_err("refused");
        let AutomationError::Refused(refusal) = error else { panic!("{error}") };
        refusal
    };
    let at = |minutes| Some(T.plus_millis(minutes * MINUTE));
    let run_at = |minutes| Change { run_at: at(minutes), ..Change::default() };
    let target = |target| Change { target: Some(target), ..Change::default() };
    assert_eq!(refused(periodic, run_at(5)), AutomationRefusal::NotOnce);
    assert_eq!(refused(single, run_at(0)), AutomationRefusal::RunAtPast);
    let zone = Change { timezone: Some("UTC".into()), ..Change::default() };
    assert_eq!(refused(single, zone), AutomationRefusal::NotPeriodic);
    assert_eq!(refused(periodic, target(new_session())), AutomationRefusal::TargetType);
    let long =
        Target::ExistingSession { session_id: session_id(), instructions: "x".repeat(TARGET_BYTES_MAX) };
    assert_eq!(refused(periodic, target(long)), AutomationRefusal::TargetTooLarge { most: TARGET_BYTES_MAX });
    finish(automations.update(project, single, &run_at(90), &|_| None)).expect("changed");
    outside.pass(90 * MINUTE);
    finish(outside.look()).expect("healthy");
    assert_eq!(words(&outside.invocations(single)), ["90 completed"]);
    assert_eq!(refused(single, run_at(200)), AutomationRefusal::RunAtFixed);
    for change in
        [automations.pause(project, single, &|_| None), automations.pause(project, single, &|_| None)]
    {
        let error = finish(change).expect_err("refused");
        assert!(matches!(error, AutomationError::Refused(AutomationRefusal::Completed)), "{error}");
    }
    // Paused before it ran, and resumed too late.
    let late = outside.create(3, once(100), existing());
    finish(automations.pause(project, late, &|_| None)).expect("paused");
    outside.pass(60 * MINUTE);
    outside.heal();
    let error = finish(automations.resume(project, late, &|_| None)).expect_err("refused");
    assert!(matches!(error, AutomationError::Refused(AutomationRefusal::RunAtPast)), "{error}");
    let later = Change { run_at: Some(outside.now().plus_millis(MINUTE)), ..Change::default() };
    finish(automations.update(project, late, &later, &|_| None)).expect("changed");
    finish(automations.resume(project, late, &|_| None)).expect("resumed");
    outside.pass(MINUTE);
    finish(outside.look()).expect("healthy");
    assert_eq!(outside.automation(late).status, AutomationStatus::Completed);
}

impl Outside {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }
}

#[test]
fn an_agent_schedules_for_its_own_session_alone() {
    let outside = Outside::new(1);
    let automations = outside.automations();
    let project = outside.project();
    let call = |session: u64, effect: u64, name: &str, arguments: Value| {
        let call = Call {
            session: SessionKey { project, session: SessionId::fresh(&Fresh::new(T, session)) },
            effect: EffectId::fresh(&Fresh::new(T, effect)),
            item: tenure_journal::ItemId::fresh(&Fresh::new(T, effect)),
            name: name.into(),
            arguments,
        };
        finish(automations.call(&call)).expect("stored").expect("known")
    };
    let minutes = serde_json::json!({"instructions": "look again", "in_minutes": 5});
    let made = call(1, 1, "create_automation", minutes.clone());
    assert!(!made.is_error, "{}", made.text);
    // The same effect again, later: nothing new, and the moment stays.
    outside.pass(MINUTE);
    assert_eq!(call(1, 1, "create_automation", minutes), made);
    let made: Value = serde_json::from_str(&made.text).expect("JSON");
    assert_eq!((&made["next_run_at"], &made["name"]), (&"2026-09-21T14:05:00Z".into(), &"look again".into()));
    for (arguments, words) in [
        (serde_json::json!({"in_minutes": 5}), "`instructions` is missing"),
        (serde_json::json!({"instructions": "x"}), "give exactly one of `in_minutes`, `run_at` and `cron`"),
        (
            serde_json::json!({"instructions": "x", "in_minutes": 0}),
            "`in_minutes` must be a whole number from 1 to 527040",
        ),
        (
            serde_json::json!({"instructions": "x", "run_at": "2020-01-01T00:00:00Z"}),
            "`run_at` must lie in the future",
        ),
        (
            serde_json::json!({"instructions": "x", "cron": "60 * * * *"}),
            "the cron expression cannot be read: at character 1 (minute): `60` is not within 0 to 59",
        ),
    ] {
        let result = call(1, 2, "create_automation", arguments);
        assert_eq!((result.text.as_str(), result.is_error), (words, true));
    }
    let id = serde_json::json!({"id": made["id"]});
    assert!(call(2, 3, "delete_automation", id.clone()).is_error, "another session's");
    assert_eq!(call(2, 3, "list_automations", Value::Null).text, r#"{"automations":[]}"#);
    assert!(call(1, 3, "list_automations", Value::Null).text.contains("look again"));
    let deleted = call(1, 4, "delete_automation", id.clone());
    assert_eq!(call(1, 4, "delete_automation", id), deleted, "a repeated attempt says the same");
    for effect in 10..10 + PER_SESSION_MAX as u64 {
        let often = serde_json::json!({"instructions": "x", "cron": "0 * * * *", "timezone": "Asia/Kolkata"});
        assert!(!call(1, effect, "create_automation", often).is_error);
    }
    let more = call(1, 99, "create_automation", serde_json::json!({"instructions": "x", "in_minutes": 1}));
    assert!(more.is_error && more.text.starts_with("32 automations reach this session already"));
}
