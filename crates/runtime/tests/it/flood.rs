//! A project that asks for far more than there is, beside one that asks for little. Time is counted in model
//! calls that began, not in seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{
    AgentConfig, AgentId, AnswerItem, ApprovalMode, Environment, Failure, FailureKind, Fresh, InputPart,
    ModelAnswer, ModelRequest, MultiAgent, ProjectId, Reasoning, ServiceTier, SessionKey, SessionOpened,
    SessionStatus, Stop, TextConfig, Timestamp, ToolDef,
};
use tenure_model::{Delta, Model};
use tenure_policy::PolicySet;
use tenure_runtime::{
    Bound, Full, Limit, Limits, ModelTable, Opening, Parts, Places, Provider, Runtime, RuntimeError,
    RuntimeErrorKind, Sealer, Whose,
};
use tenure_session::Command;
use tenure_store::MemoryStore;
use tenure_tools::{Call, CallResult, Server, Servers};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Sessions that the large project opens.
const FLOOD: usize = 10_000;
/// Model calls at once.
const PLACES: usize = 8;

/// A model that says which call began, and ends one when it is told to.
struct Turnstile {
    began: mpsc::UnboundedSender<String>,
    go: Arc<Semaphore>,
}

#[async_trait]
impl Model for Turnstile {
    async fn answer(
        &self,
        request: &ModelRequest,
        _: &mut (dyn FnMut(Delta) + Send),
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        // Nobody listens at the end of a test.
        let _ = self.began.send(request.model.clone());
        tokio::select! {
            permit = self.go.acquire() => permit.expect("never closed").forget(),
            () = cancel.cancelled() => {
                let message = "cancelled".to_owned();
                return Err(Failure { kind: FailureKind::ConnectionFailed, message, retry_after_ms: None });
            }
        }
        let items = vec![AnswerItem::Message { content: vec!["Done.".into()] }];
        Ok(ModelAnswer { items, usage: None, stop: Stop::Complete, response_id: None })
    }
}

struct Nowhere;

#[async_trait]
impl Servers for Nowhere {
    async fn list(&self, _: &Server, _: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
        unreachable!("no agent here has tools")
    }

    async fn call(&self, _: &Server, _: Call<'_>, _: &CancellationToken) -> Result<CallResult, Failure> {
        unreachable!("no agent here has tools")
    }
}

struct World {
    runtime: Runtime,
    began: Mutex<mpsc::UnboundedReceiver<String>>,
    go: Arc<Semaphore>,
    large: ProjectId,
    small: ProjectId,
}

impl World {
    async fn new(limits: Limits) -> Self {
        let (sender, began) = mpsc::unbounded_channel();
        let go = Arc::new(Semaphore::new(0));
        let model = Arc::new(Turnstile { began: sender, go: Arc::clone(&go) });
        let parts = Parts {
            store: Arc::new(MemoryStore::new()),
            models: ModelTable {
                named: BTreeMap::new(),
                fallback: Some(Provider::new("turnstile", model, PLACES)),
            },
            servers: Arc::new(Nowhere),
            project_servers: BTreeMap::new(),
            policy: Arc::new(PolicySet::defaults()),
            sealer: Sealer::ephemeral(),
            limits,
            outbound: tenure_runtime::Outbound::default(),
            environments: tenure_runtime::EnvironmentConfig::default(),
        };
        let runtime = Runtime::start(parts).await.expect("starts");
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (large, small) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
        Self { runtime, began: Mutex::new(began), go, large, small }
    }

    /// Opens a session whose model calls carry the project's word.
    async fn open(&self, project: ProjectId) -> Result<SessionKey, RuntimeError> {
        let model = if project == self.large { "large" } else { "small" };
        let agent = AgentConfig {
            id: AgentId::fresh(&self.runtime.fresh()),
            version: None,
            name: None,
            model: model.into(),
            instructions: None,
            reasoning: Reasoning::default(),
            text: TextConfig::default(),
            service_tier: ServiceTier::Auto,
            tools: Vec::new(),
            multi_agent: MultiAgent::default(),
            compaction_async: false,
            time_awareness: false,
            approval: ApprovalMode::Destructive,
            skills: Vec::new(),
            grants: Vec::new(),
            extraction: None,
        };
        let opened = SessionOpened {
            project_id: project,
            agent,
            environment: Environment::None,
            metadata: BTreeMap::new(),
            vault_ids: Vec::new(),
            review: None,
            spend_limit: None,
            prompt_cache: None,
            parent: None,
            trust: tenure_journal::Trust::default(),
            opened_by: None,
        };
        let opening = Opening { opened, input: vec![vec![InputPart::text("hi")]] };
        Ok(self.runtime.open(opening, None, false).await?.0.key)
    }

    /// Ends one model call and gives whose began in its place.
    async fn step(&self) -> String {
        self.go.add_permits(1);
        let mut began = self.began.lock().await;
        let next = tokio::time::timeout(Duration::from_secs(60), began.recv()).await;
        next.expect("a call begins in time").expect("the model lives")
    }

    /// Lets the other tasks go on until `so` holds.
    async fn until(&self, so: impl Fn(&Runtime) -> bool) {
        let wait = async {
            while !so(&self.runtime) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), wait).await.expect("in time");
    }

    async fn until_waiting(&self, calls: usize) {
        self.until(|runtime| runtime.load().model_calls_waiting.read() == calls as u64).await;
    }

    /// The large project's sessions, of which all but the running ones wait for the model.
    async fn flood(&self) {
        for _ in 0..FLOOD {
            self.open(self.large).await.expect("opens");
        }
        self.until_waiting(FLOOD - PLACES).await;
        let mut began = self.began.lock().await;
        for _ in 0..PLACES {
            assert_eq!(began.recv().await.as_deref(), Some("large"));
        }
    }
}

fn limits(active: Bound) -> Limits {
    Limits { active_sessions: active, model_calls: Places::shared(PLACES), ..Limits::default() }
}

#[track_caller]
fn refused(outcome: Result<SessionKey, RuntimeError>, whose: Whose) {
    let error = outcome.expect_err("refused");
    let full = Full { limit: Limit::ActiveSessions, whose };
    assert_eq!(*error.kind(), RuntimeErrorKind::Overloaded(full));
}

#[tokio::test]
async fn a_flood_delays_another_project_by_one_call() {
    let world = World::new(limits(Bound::leaving_room(2 * FLOOD as u64))).await;
    world.flood().await;

    // One at a time: from the moment a session of the small project wants the model, how many calls begin
    // up to and with its own.
    let mut waits = Vec::new();
    for _ in 0..100 {
        let waiting = world.runtime.load().model_calls_waiting.read();
        world.open(world.small).await.expect("opens");
        world.until_waiting(usize::try_from(waiting).expect("small") + 1).await;
        let mut calls = 1;
        while world.step().await != "small" {
            calls += 1;
        }
        waits.push(calls);
    }
    waits.sort_unstable();
    assert!(waits[98] <= 2, "the ninety-ninth of a hundred waits for {} calls", waits[98]);
    assert!(waits[99] <= 2, "{waits:?}");

    // A hundred at once: calls alternate, whatever waits behind them.
    let waiting = usize::try_from(world.runtime.load().model_calls_waiting.read()).expect("small");
    for _ in 0..100 {
        world.open(world.small).await.expect("opens");
    }
    world.until_waiting(waiting + 100).await;
    let mut small = 0;
    for begun in 1..=200 {
        small += usize::from(world.step().await == "small");
        assert!(small + 1 >= begun / 2, "{small} of {begun} calls were the small project's");
    }
    assert_eq!(small, 100);
    world.runtime.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_weight_is_kept_under_load() {
    let world = World::new(limits(Bound::leaving_room(2_000))).await;
    world.runtime.weigh(world.small, 3);
    for _ in 0..100 {
        world.open(world.large).await.expect("opens");
    }
    world.until_waiting(100 - PLACES).await;
    for _ in 0..90 {
        world.open(world.small).await.expect("opens");
    }
    world.until_waiting(190 - PLACES).await;
    for _ in 0..PLACES {
        assert_eq!(world.began.lock().await.recv().await.as_deref(), Some("large"));
    }
    let mut small = 0;
    for _ in 0..80 {
        small += usize::from(world.step().await == "small");
    }
    assert!((59..=61).contains(&small), "three in four, not {small} of 80");
    world.runtime.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_what_was_let_in_goes_on() {
    let bound = Bound { max: 100, per_project_max: 75 };
    let world = World::new(limits(bound)).await;
    let mut admitted = Vec::new();
    for asked in 0..FLOOD {
        match world.open(world.large).await {
            Ok(key) => admitted.push(key),
            outcome @ Err(_) => refused(outcome, Whose::Project),
        }
        assert!(world.runtime.active_sessions() <= 75, "after {asked} requests");
    }
    assert_eq!(admitted.len(), 75);
    let load = Arc::clone(world.runtime.load());
    assert_eq!(load.refused(Limit::ActiveSessions, Whose::Project), FLOOD as u64 - 75);
    for _ in 0..25 {
        admitted.push(world.open(world.small).await.expect("room was left"));
    }
    refused(world.open(world.small).await, Whose::Node);
    assert_eq!((world.runtime.active_sessions(), load.taken(Limit::ActiveSessions)), (100, 100));

    // Those that are in are spoken to as ever.
    let steer = Command::Message { content: vec![InputPart::text("and be quick")] };
    world.runtime.submit(admitted[0], vec![steer], None).await.expect("an active session listens");
    world.runtime.submit(admitted[1], vec![Command::Cancel], None).await.expect("and stops when told");
    world.until(|runtime| runtime.active_sessions() < 100).await;
    admitted.push(world.open(world.small).await.expect("its place is free"));

    // Every one of them ends, none of them lost. The first was steered and asks the model twice.
    world.go.add_permits(2 * admitted.len());
    world.until(|runtime| runtime.active_sessions() == 0).await;
    for key in admitted {
        let view = world.runtime.view(key).await.expect("readable").expect("there");
        assert_eq!(view.status, SessionStatus::Idle);
    }
    assert_eq!(load.taken(Limit::ActiveSessions), 0);
    assert_eq!((load.model_calls_running.read(), load.model_calls_waiting.read()), (0, 0));
}

#[tokio::test]
async fn a_resting_session_is_answered_but_not_woken_when_all_is_full() {
    let world = World::new(limits(Bound { max: 1, per_project_max: 1 })).await;
    let resting = world.open(world.large).await.expect("opens");
    world.go.add_permits(1);
    world.until(|runtime| runtime.active_sessions() == 0).await;
    world.open(world.large).await.expect("opens");
    let message = vec![Command::Message { content: vec![InputPart::text("more")] }];
    let error = world.runtime.submit(resting, message, None).await.expect_err("a new turn");
    assert!(matches!(error.kind(), RuntimeErrorKind::Overloaded(_)));
    world.runtime.submit(resting, vec![Command::Cancel], None).await.expect("nothing new begins");
    world.runtime.submit(resting, vec![Command::Delete], None).await.expect("nothing new begins");
    world.runtime.shutdown(Duration::ZERO).await;
}
