//! Drives one session and writes down what happens, in the style of a transcript.
//!
//! Every step is also held against what must be true of any history: the state that was carried along is the
//! fold of the events, a snapshot reads back equal, the rows a batch carries are those a fold shows, and the
//! context is one that a strict provider accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tenure_journal::{
    AgentConfig, AgentId, AnswerItem, ApprovalId, AuditRecord, BlobRef, Capabilities, CommandResult,
    ContainerSize, ContextItem, Decision, Done, Effect, EffectId, EffectKind, Environment, EnvironmentFile,
    EnvironmentId, EnvironmentOpened, Event, Extraction, Failure, FailureKind, Fresh, FunctionOutput,
    FunctionTool, HostedEnvironment, InputPart, Item, ItemBody, ItemId, ItemStatus, Lane, MEMORY_TIME_KEY,
    McpTool, McpTransport, ModelAnswer, ModelRequest, Network, Origin, Outcome, ProjectId, Recorded,
    Remembered, SelfHostedEnvironment, SessionId, SessionKey, SessionOpened, SessionPatch, Stop, TakenBlock,
    TakenProcedure, Timestamp, Tool, ToolDef, ToolResult, Turn, TurnId, Usage, Version, WorkspaceRoot,
};
use tenure_policy::PolicySet;
use tenure_session::{
    Attempted, Batch, BudgetStep, Budgets, Candidate, Command, Context, Frozen, History, Input, NO_BUDGETS,
    NOTHING_FROZEN, Price, Refusal, RequiredAction, Reserving, Role, Routes, Session, SubagentReply, UseStep,
    Window,
};

use crate::{strict, text};

/// When every story begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// What a transcript shows beside the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Events,
    Notices,
    Records,
    Nothing,
}

/// A session under test.
pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) journal: Vec<Recorded>,
    pub(crate) now: Timestamp,
    pub(crate) role: Role,
    /// Attempts that were begun and neither ended nor stopped, oldest first.
    pub(crate) running: Vec<(Arc<Effect>, u32)>,
    pub(crate) context_tokens: Option<u64>,
    /// When servers said that their tools have changed.
    pub(crate) tools_changed: BTreeMap<String, Timestamp>,
    pub(crate) prices: BTreeMap<String, Price>,
    pub(crate) routes: BTreeMap<String, Vec<Candidate>>,
    /// Accounts that are unwell.
    pub(crate) unhealthy: BTreeSet<String>,
    /// The model that is asked about calls before people are.
    pub(crate) reviewer: Option<String>,
    pub(crate) extraction: Option<Extraction>,
    pub(crate) reserving: Reserving,
    /// The configured budgets, which the bench keeps as a store would.
    pub(crate) budgets: Budgets,
    /// What running attempts set aside, by attempt.
    pub(crate) reserved: BTreeMap<String, u64>,
    /// What ended attempts counted as having cost.
    pub(crate) spent: u64,
    pub(crate) partial: Vec<Item>,
    pub(crate) frozen: Frozen,
    /// The pinned blocks as a store has them.
    pub(crate) blocks: Option<Vec<TakenBlock>>,
    /// The procedures as a store has them.
    pub(crate) procedures: Option<Vec<TakenProcedure>>,
    pub(crate) show: Show,
    /// What an auditor was told.
    pub(crate) records: Vec<AuditRecord>,
    /// What can be recalled of it, by place.
    pub(crate) episodes: BTreeMap<u64, Remembered>,
    /// What the model was shown last, if it has to be the beginning of what it is shown next.
    sent: Option<ModelRequest>,
    policy: Arc<PolicySet>,
    items: BTreeMap<u64, Item>,
    turns: BTreeMap<TurnId, Turn>,
    seed: u64,
    names: text::Names,
    transcript: String,
    muted: bool,
}

/// One policy set for all tests: it remembers its answers.
pub(crate) fn defaults() -> Arc<PolicySet> {
    static POLICY: OnceLock<Arc<PolicySet>> = OnceLock::new();
    Arc::clone(POLICY.get_or_init(|| Arc::new(PolicySet::defaults())))
}

/// An agent with these tools.
pub(crate) fn agent(tools: Vec<Tool>) -> AgentConfig {
    AgentConfig {
        name: Some("clerk".to_owned()),
        instructions: Some("Be brief.".to_owned()),
        tools,
        ..AgentConfig::new(AgentId::fresh(&Fresh::new(START, 1)), "m")
    }
}

/// How a session of `agent` begins.
pub(crate) fn opened(agent: AgentConfig) -> SessionOpened {
    SessionOpened::new(ProjectId::fresh(&Fresh::new(START, 2)), agent)
}

/// An environment whose commands reach this.
pub(crate) fn hosted(network: Network) -> Environment {
    Environment::Hosted(Box::new(HostedEnvironment {
        packages: tenure_journal::Packages::default(),
        id: EnvironmentId::of_session(SessionId::fresh(&Fresh::new(START, 3))),
        network,
        size: ContainerSize::Medium,
        files: Vec::new(),
        setup: Vec::new(),
        variables: None,
        base: None,
        capabilities: Capabilities::default(),
    }))
}

/// An environment on a customer's machine.
pub(crate) fn self_hosted() -> Environment {
    let id = EnvironmentId::of_session(SessionId::fresh(&Fresh::new(START, 3)));
    Environment::SelfHosted(Box::new(SelfHostedEnvironment {
        id,
        remote_url: "http://127.0.0.1:7878/v1/agents/api/connect/rt_1".to_owned(),
        workspace_directory: "/srv/shop".to_owned(),
        capability_directories: Vec::new(),
        found: Vec::new(),
        servers: tenure_journal::PluginServers::default(),
    }))
}

/// Some files, told from others by a number.
pub(crate) fn root(number: u8) -> WorkspaceRoot {
    WorkspaceRoot::new([number; 32])
}

pub(crate) fn file(path: &str) -> EnvironmentFile {
    EnvironmentFile::inline(path.to_owned(), BlobRef::of(b"bytes"))
}

/// What came of a command that ran to its end.
pub(crate) fn exited(code: i32, output: &str, root: Option<WorkspaceRoot>) -> CommandResult {
    let output = output.to_owned();
    CommandResult { output, stored: None, exit_code: Some(code), ended_by: None, duration_ms: 12, root }
}

pub(crate) fn function(name: &str) -> Tool {
    Tool::Function(FunctionTool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        parameters: json!({"type": "object"}),
        defer_loading: false,
        is_async: false,
    })
}

pub(crate) fn async_function(name: &str) -> Tool {
    let Tool::Function(function) = function(name) else { unreachable!() };
    Tool::Function(FunctionTool { is_async: true, ..function })
}

pub(crate) fn deferred_function(name: &str) -> Tool {
    let Tool::Function(function) = function(name) else { unreachable!() };
    Tool::Function(FunctionTool { defer_loading: true, ..function })
}

pub(crate) fn mcp(label: &str) -> McpTool {
    McpTool {
        server_label: label.to_owned(),
        transport: McpTransport::Project,
        allowed_tools: None,
        origin: Origin::Service,
        credential_id: None,
        required: false,
        request_metadata: serde_json::Map::new(),
    }
}

pub(crate) fn server(label: &str) -> Tool {
    Tool::Mcp(mcp(label))
}

/// The tools of the shop: one of each kind of repetition, and one that asks.
pub(crate) fn shop() -> Vec<ToolDef> {
    let def = |name: &str| ToolDef {
        name: name.to_owned(),
        description: format!("Does {name}."),
        parameters: json!({"type": "object"}),
        read_only: None,
        destructive: None,
        idempotent: None,
        keyed: false,
        terms: None,
    };
    vec![
        ToolDef { read_only: Some(true), ..def("find") },
        ToolDef { keyed: true, ..def("pay") },
        ToolDef { idempotent: Some(true), ..def("tag") },
        def("send"),
        ToolDef { destructive: Some(true), keyed: true, ..def("refund") },
    ]
}

pub(crate) fn say(words: &str) -> AnswerItem {
    AnswerItem::Message { content: vec![words.to_owned()] }
}

pub(crate) fn think(summary: &str) -> AnswerItem {
    AnswerItem::Reasoning {
        summary: vec![summary.to_owned()],
        encrypted: Some("sealed".to_owned()),
        provider_id: Some("rs_1".to_owned()),
    }
}

pub(crate) fn call(call_id: &str, name: &str, arguments: &str) -> AnswerItem {
    AnswerItem::ToolCall {
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

pub(crate) fn whole(items: Vec<AnswerItem>) -> ModelAnswer {
    let usage = Usage { input_tokens: 10, cached_tokens: 0, output_tokens: 5, reasoning_tokens: 0 };
    ModelAnswer { items, usage: Some(usage), stop: Stop::Complete, response_id: None }
}

pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure { kind, message: format!("{kind:?} happened"), retry_after_ms: None }
}

impl Bench {
    /// Opens a session of an agent with these tools, and says `first` if it is not empty.
    pub(crate) fn new(tools: Vec<Tool>, first: &str) -> Self {
        Self::open(opened(agent(tools)), first, defaults(), Show::Events)
    }

    pub(crate) fn open(opened: SessionOpened, first: &str, policy: Arc<PolicySet>, show: Show) -> Self {
        let project = opened.project_id;
        let messages = if first.is_empty() { vec![] } else { vec![vec![InputPart::text(first)]] };
        let how = if first.is_empty() { "> open".to_owned() } else { format!("> open {first:?}") };
        Self::begin(project, &how, policy, show, |key, cx| {
            Session::crank_open(key, opened, messages, cx).unwrap()
        })
    }

    /// An environment that waits a second for its session.
    pub(crate) fn prewarm(network: Network, show: Show) -> Self {
        let opened = opened(agent(vec![]));
        let Environment::Hosted(environment) = hosted(network) else { unreachable!() };
        let project_id = opened.project_id;
        let expires_at = START.plus_millis(1_000);
        let opened = EnvironmentOpened {
            project_id,
            environment: *environment,
            expires_at,
            vault_ids: Vec::new(),
            digest_key: None,
        };
        Self::begin(project_id, "> prewarm", defaults(), show, |key, cx| {
            Session::crank_prewarm(key, opened, cx)
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "benches are built from what was made for them")]
    fn begin(
        project: ProjectId,
        how: &str,
        policy: Arc<PolicySet>,
        show: Show,
        crank: impl FnOnce(SessionKey, &Context<'_>) -> Batch,
    ) -> Self {
        let fresh = Fresh::new(START, 3);
        let key = SessionKey { project, session: SessionId::fresh(&fresh) };
        let cx = Context {
            now: START,
            role: Role::Holder,
            fresh: &fresh,
            chance: 0,
            policy: &policy,
            window: Window::DEFAULT,
            tools_changed: &BTreeMap::new(),
            prices: &BTreeMap::new(),
            routes: Routes::UNKNOWN,
            reserving: Reserving::Asked,
            budgets: &NO_BUDGETS,
            partial: &[],
            frozen: &NOTHING_FROZEN,
            blocks: None,
            procedures: None,
        };
        let batch = crank(key, &cx);
        Self::begun(batch, Arc::clone(&policy), show, how)
    }

    /// A fork of the session as it was at a version.
    pub(crate) fn fork(&self, at: Version, seed: u64) -> Self {
        let history = History::of(self.session.key(), &self.journal, at).expect("there is such a version");
        let fresh = Fresh::new(self.now, seed);
        let project = self.session.key().project;
        let key = SessionKey { project, session: SessionId::fresh(&fresh) };
        let (opened, forked) = history.fork(key, self.now, &fresh).unwrap();
        let cx = Context {
            now: self.now,
            role: Role::Holder,
            fresh: &fresh,
            chance: 0,
            policy: &self.policy,
            window: Window::DEFAULT,
            tools_changed: &BTreeMap::new(),
            prices: &BTreeMap::new(),
            routes: Routes::UNKNOWN,
            reserving: Reserving::Asked,
            budgets: &NO_BUDGETS,
            partial: &[],
            frozen: &NOTHING_FROZEN,
            blocks: None,
            procedures: None,
        };
        let batch = Session::crank_fork(key, opened, forked, vec![], &cx).unwrap();
        let mut fork =
            Self::begun(batch, Arc::clone(&self.policy), self.show, &format!("> fork at {}", at.0));
        fork.seed = seed + 1;
        fork
    }

    /// Takes the session back to a version, as its own journal has it.
    pub(crate) fn rewind(&mut self, to: Version) -> Result<(), Refusal> {
        let history = History::of(self.session.key(), &self.journal, to).expect("there is such a version");
        self.seed += 1;
        let command = history.rewind(self.now, &Fresh::new(self.now, self.seed))?;
        self.command(&format!("rewind to {}", to.0), command)
    }

    pub(crate) fn version(&self) -> Version {
        self.session.version()
    }

    fn begun(batch: Batch, policy: Arc<PolicySet>, show: Show, how: &str) -> Self {
        let mut bench = Self {
            session: batch.after.clone(),
            journal: Vec::new(),
            now: batch.at,
            role: Role::Holder,
            running: Vec::new(),
            context_tokens: None,
            tools_changed: BTreeMap::new(),
            prices: BTreeMap::new(),
            routes: BTreeMap::new(),
            unhealthy: BTreeSet::new(),
            reviewer: None,
            extraction: None,
            reserving: Reserving::Asked,
            budgets: Budgets::default(),
            reserved: BTreeMap::new(),
            spent: 0,
            partial: Vec::new(),
            frozen: Frozen::default(),
            blocks: None,
            procedures: None,
            show,
            records: Vec::new(),
            episodes: BTreeMap::new(),
            sent: None,
            policy,
            items: BTreeMap::new(),
            turns: BTreeMap::new(),
            seed: 3,
            names: text::Names::default(),
            transcript: String::new(),
            muted: false,
        };
        bench.line(how);
        bench.commit(batch);
        bench
    }

    /// Turns the crank and writes down what came of it.
    pub(crate) fn crank(&mut self, label: &str, input: &Input<'_>) -> Result<(), Refusal> {
        self.line(&format!("> {label}"));
        self.seed += 1;
        self.now = self.now.max(self.session.last_active_at().plus_millis(1));
        let fresh = Fresh::new(self.now, self.seed);
        let policy = Arc::clone(&self.policy);
        let partial = std::mem::take(&mut self.partial);
        let tools_changed = self.tools_changed.clone();
        let (routes, unhealthy) = (self.routes.clone(), self.unhealthy.clone());
        let (reviewer, extraction) = (self.reviewer.clone(), self.extraction.clone());
        let (blocks, procedures) = (self.blocks.clone(), self.procedures.clone());
        let cx = Context {
            now: self.now,
            role: self.role,
            fresh: &fresh,
            chance: 0,
            policy: &policy,
            window: self.context_tokens.map_or(Window::DEFAULT, |tokens| Window { tokens, reserved: 0 }),
            tools_changed: &tools_changed,
            prices: &self.prices,
            routes: Routes {
                named: &routes,
                fallback: None,
                unhealthy: &unhealthy,
                reviewer: reviewer.as_deref(),
                extraction: extraction.as_ref(),
            },
            reserving: self.reserving,
            budgets: &self.budgets,
            partial: &partial,
            frozen: &self.frozen,
            blocks: blocks.as_deref(),
            procedures: procedures.as_deref(),
        };
        let decided = self.session.crank(input, &cx);
        assert_eq!(
            decided.as_ref().ok().map(Option::is_none),
            self.session.decide(input, &cx).as_ref().ok().map(Vec::is_empty),
        );
        match decided {
            Ok(Some(batch)) => self.commit(batch),
            Ok(None) => self.line("  nothing"),
            Err(refusal) => {
                self.line(&format!("  refused: {refusal}"));
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Whoever reads the events of an append makes the same of them as who decided them.
    fn is_followed(&self, batch: &Batch) {
        let before = usize::try_from(batch.expected.0).unwrap();
        let tail = &self.journal[before..];
        assert_eq!(
            tenure_session::appends(&self.journal).last(),
            Some(tail),
            "an append has a time of its own"
        );
        let before = (before > 0).then_some(&self.session);
        let followed = Session::follow(self.session.key(), before, tail).expect("the events follow");
        let shown = |batch: &Batch| {
            format!(
                "{:?}",
                (
                    &batch.items,
                    &batch.turns,
                    &batch.gone,
                    &batch.audit,
                    &batch.episodes,
                    &batch.notices,
                    &batch.start,
                    &batch.stop,
                    &batch.after
                )
            )
        };
        assert_eq!(shown(&followed), shown(batch));
    }

    fn commit(&mut self, batch: Batch) {
        let before = Version(self.journal.len() as u64);
        assert_eq!(batch.expected, before);
        assert!(!batch.events.is_empty());
        assert_eq!(batch.at, self.now);
        for event in &batch.events {
            let version = Version(self.journal.len() as u64 + 1);
            let recorded = Recorded { version, at: batch.at, event: event.clone() };
            let read = Recorded::decode(version, batch.at, &Recorded::encode(event)).unwrap();
            assert_eq!(read, recorded, "an event reads back as it was written");
            self.journal.push(recorded);
        }
        self.is_followed(&batch);
        match self.show {
            Show::Events => {
                for event in &batch.events {
                    self.line(&format!("  {}", text::event(event, self.now)));
                }
            }
            Show::Notices => {
                for notice in &batch.notices {
                    self.line(&format!("  {}", text::notice(notice)));
                }
            }
            Show::Records => {
                for record in &batch.audit {
                    self.line(&format!("  {}", text::record(record)));
                }
            }
            Show::Nothing => {}
        }
        self.records.extend(batch.audit.iter().cloned());
        let versions: Vec<Version> = batch.audit.iter().map(|record| record.version).collect();
        assert!(versions.is_sorted_by(|one, next| one < next), "an event has one record at most");
        let own = batch.expected.plus(1)..=batch.after.version();
        assert!(
            versions.iter().all(|version| own.contains(version)),
            "a record is of an event of its append"
        );
        self.running.retain(|(effect, _)| !batch.stop.contains(&effect.id));
        for (effect, attempt) in &batch.start {
            assert_eq!(batch.after.running_attempt(effect.id), Some(*attempt));
            self.running.push((Arc::clone(effect), *attempt));
        }
        for step in batch.budget {
            match step {
                BudgetStep::Limit(_) => {}
                BudgetStep::Reserve { key, nano_usd } => {
                    assert_eq!(self.reserved.insert(key, nano_usd), None, "an attempt reserves once");
                }
                BudgetStep::Settle { key, nano_usd } => {
                    self.reserved.remove(&key);
                    self.spent += nano_usd;
                }
            }
        }
        for step in batch.uses {
            let (id, change) = match step {
                UseStep::Reserve { budget, amounts } => (budget, Ok(amounts)),
                UseStep::Settle { budget, reserved, spent } => (budget, Err((reserved, spent))),
            };
            // What is not configured any more is settled all the same, where nobody looks.
            let Some(budget) = self.budgets.shared.iter_mut().find(|budget| budget.id == id) else {
                continue;
            };
            match change {
                Ok(amounts) => budget.used.reserve(&amounts, &budget.caps).expect("what is set aside fits"),
                Err((reserved, spent)) => budget.used.settle(&reserved, &spent),
            }
        }
        if let Some(from) = batch.gone.items_from {
            self.items.split_off(&from);
            self.episodes.split_off(&from);
        }
        for turn in &batch.gone.turns {
            self.turns.remove(turn);
        }
        let session = self.session.key().session;
        for row in batch.episodes {
            assert_eq!(row.episode.session, session, "it is said here");
            let retold = self.session.view().metadata.contains_key(MEMORY_TIME_KEY);
            assert!(retold || row.episode.at == batch.at, "it is said now");
            let held = batch.items.get(&row.episode.ordinal).map(|item| item.id);
            assert_eq!(held, Some(row.episode.item), "an episode has its item's place");
            self.episodes.insert(row.episode.ordinal, row);
        }
        self.items.extend(batch.items);
        self.turns.extend(batch.turns.into_iter().map(|turn| (turn.id, turn)));
        self.session = batch.after;
        self.prefix(&batch.events, &batch.start);
        self.always();
    }

    /// The context of a step begins with that of the step before, unless something was edited, compacted or
    /// shortened. Who is told the time is told it anew in each turn.
    fn prefix(&mut self, events: &[Event], start: &[(Arc<Effect>, u32)]) {
        let is_edit = |event: &Event| {
            matches!(
                event,
                Event::ContextCompacted(_)
                    | Event::ContextTrimmed { .. }
                    | Event::ExtractionSkipped { .. }
                    | Event::OutputsShortened { .. }
                    | Event::SessionUpdated { .. }
                    | Event::FunctionsLoaded { .. }
                    | Event::BlocksTaken { .. }
                    | Event::ProceduresTaken { .. }
                    | Event::Forked(_)
                    | Event::Rewound(_)
                    | Event::AttemptEnded {
                        outcome: Outcome::Failed { .. }
                            | Outcome::Unknown
                            | Outcome::Done {
                                done: Done::Tools { .. } | Done::Placed { .. } | Done::Found { .. }
                            },
                        ..
                    }
            )
        };
        if events.iter().any(is_edit) || self.session.agent().time_awareness {
            self.sent = None;
        }
        if start.iter().any(|(effect, _)| matches!(effect.kind, EffectKind::ModelCall { .. })) {
            let next = self.session.context();
            if let Some(sent) = &self.sent {
                assert!(
                    next.input.starts_with(&sent.input),
                    "{:#?}\nwas not kept in\n{:#?}",
                    sent.input,
                    next.input
                );
                assert_eq!(next.instructions, sent.instructions);
                assert!(next.tools.starts_with(&sent.tools) || next.tools.len() > sent.tools.len());
            }
            self.sent = Some(next);
        }
    }

    /// What holds after every step of every history.
    fn always(&self) {
        let folded = Session::fold(self.session.key(), None, &self.journal).unwrap();
        assert_eq!(folded, self.session, "the fold of the events is the state carried along");
        let read = Session::decode(&self.session.encode()).unwrap();
        assert_eq!(read, self.session, "a snapshot reads back");
        let request = self.session.context();
        assert_eq!(strict::fault(&request), None, "{request:#?}");
        let history = History::of(self.session.key(), &self.journal, self.session.version());
        assert_eq!(
            history.is_none(),
            self.session.awaits_session(),
            "there is a past where there is a session"
        );
        let items = history.iter().flat_map(History::items);
        let items = items.map(|(ordinal, item)| (ordinal, item.as_ref().clone()));
        assert_eq!(items.collect::<BTreeMap<_, _>>(), self.items, "item rows are those of the whole past");
        let turns: BTreeMap<_, _> = history.iter().flat_map(History::turns).collect();
        assert_eq!(turns, self.turns, "turn rows are those of the whole past");
        for (ordinal, item) in self.session.items() {
            assert_eq!(self.items.get(&ordinal), Some(item), "item rows are those of the fold");
        }
        if let Some(turn) = self.session.active_turn() {
            assert_eq!(self.turns.get(&turn.id), Some(&turn), "the turn's row is that of the fold");
        } else {
            assert!(self.turns.values().all(|turn| turn.status.is_terminal()), "{:?}", self.turns);
            let within = self.session.pending().filter(|effect| !effect.kind.outlives_turn());
            assert_eq!(within.count(), 0, "without a turn nothing of it is pending");
            let aside = |effect: &Effect| {
                matches!(effect.kind, EffectKind::Compact { .. } | EffectKind::Extract { .. })
            };
            let aside = self.session.pending().filter(|effect| aside(effect)).count();
            assert!(self.reserved.len() <= aside, "without a turn nothing is set aside: {:?}", self.reserved);
            let approvals = self.session.view().required_actions.into_iter();
            assert!(!approvals.into_iter().any(|action| matches!(action, RequiredAction::Approval(_))));
        }
        let ended = |item: &Item| self.turns.get(&item.turn_id).is_none_or(|turn| turn.status.is_terminal());
        let open = self.items.values().filter(|item| item.status == ItemStatus::InProgress && ended(item));
        for item in open {
            let outlives = matches!(item.body, ItemBody::FunctionCall { is_async: true, .. });
            assert!(outlives, "an ended turn leaves nothing open: {item:?}");
        }
        for (effect, attempt) in &self.running {
            assert_eq!(self.session.running_attempt(effect.id), Some(*attempt), "what runs is recorded");
        }
    }

    fn line(&mut self, line: &str) {
        let line = self.names.shorten(line);
        if self.muted {
            return;
        }
        self.transcript.push_str(&line);
        self.transcript.push('\n');
    }

    pub(crate) fn command(&mut self, label: &str, command: Command) -> Result<(), Refusal> {
        self.crank(label, &Input::Commands(&[command]))
    }

    pub(crate) fn message(&mut self, words: &str) {
        let content = vec![InputPart::text(words)];
        let _ = self.command(&format!("message {words:?}"), Command::Message { content });
    }

    /// Opens the session that a pre-warmed environment waits for.
    pub(crate) fn open_session(&mut self, first: &str) {
        let opened = Box::new(opened(agent(vec![])));
        let messages = vec![vec![InputPart::text(first)]];
        let _ = self.command(&format!("open session {first:?}"), Command::OpenSession { opened, messages });
    }

    pub(crate) fn cancel(&mut self) {
        self.command("cancel", Command::Cancel).unwrap();
    }

    pub(crate) fn update(&mut self, label: &str, patch: SessionPatch) {
        self.command(&format!("update {label}"), Command::Update { patch: Box::new(patch) }).unwrap();
    }

    pub(crate) fn delete(&mut self) {
        let _ = self.command("delete", Command::Delete);
    }

    pub(crate) fn resumed(&mut self) {
        // Nothing that ran has survived.
        self.running.clear();
        self.crank("restart", &Input::Resumed).unwrap();
    }

    pub(crate) fn tick(&mut self) {
        self.crank("tick", &Input::Tick).unwrap();
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        self.crank(&format!("{millis} ms pass"), &Input::Tick).unwrap();
    }

    /// The oldest running attempt whose effect satisfies `is`.
    fn take_running(&mut self, is: impl Fn(&EffectKind) -> bool) -> (Arc<Effect>, u32) {
        let place = self.running.iter().position(|(effect, _)| is(&effect.kind));
        self.running.remove(place.expect("an attempt of that kind runs"))
    }

    pub(crate) fn attempted(&mut self, label: &str, effect: EffectId, attempt: u32, outcome: Attempted) {
        let input = Input::Attempted { effect_id: effect, attempt, outcome };
        self.crank(label, &input).unwrap();
    }

    pub(crate) fn answer(&mut self, items: Vec<AnswerItem>) {
        self.answer_as(whole(items), None);
    }

    pub(crate) fn answer_as(&mut self, answer: ModelAnswer, cost_nano_usd: Option<u64>) {
        let asks =
            |kind: &EffectKind| matches!(kind, EffectKind::ModelCall { .. } | EffectKind::Review { .. });
        let (effect, attempt) = self.take_running(asks);
        let label = if answer.stop == Stop::Complete { "answer" } else { "answer, cut off" };
        self.attempted(label, effect.id, attempt, Attempted::Answered { answer, cost_nano_usd });
    }

    /// The answer of the model that reads a turn.
    pub(crate) fn reads(&mut self, answer: &str) {
        let (effect, attempt) = self.take_running(|kind| matches!(kind, EffectKind::Extract { .. }));
        let outcome = Attempted::Answered { answer: whole(vec![say(answer)]), cost_nano_usd: Some(7) };
        self.attempted("facts", effect.id, attempt, outcome);
    }

    /// The summary that is being written is this.
    pub(crate) fn summarises(&mut self, items: Vec<AnswerItem>) {
        let (effect, attempt) = self.take_running(|kind| matches!(kind, EffectKind::Compact { .. }));
        let outcome = Attempted::Answered { answer: whole(items), cost_nano_usd: None };
        self.attempted("summary", effect.id, attempt, outcome);
    }

    /// The same, if one is being written.
    pub(crate) fn summarises_if_asked(&mut self, text: &str) {
        if self.session.pending().any(|effect| matches!(effect.kind, EffectKind::Compact { .. })) {
            self.summarises(vec![say(text)]);
        }
    }

    pub(crate) fn lists(&mut self, tools: Vec<ToolDef>) {
        let (effect, attempt) = self.take_running(|kind| matches!(kind, EffectKind::ListTools { .. }));
        self.attempted("listing", effect.id, attempt, Attempted::Listed(tools));
    }

    pub(crate) fn returns(&mut self, tool: &str, text: &str) {
        let result = ToolResult::inline(text.to_owned(), false);
        self.returns_as(tool, result);
    }

    pub(crate) fn returns_as(&mut self, tool: &str, result: ToolResult) {
        let (effect, attempt) =
            self.take_running(|kind| matches!(kind, EffectKind::ToolCall { name, .. } if name == tool));
        self.attempted(&format!("{tool} returns"), effect.id, attempt, Attempted::Returned(result));
    }

    /// What is asked of a subagent next is answered.
    pub(crate) fn replies(&mut self, reply: SubagentReply) {
        let (effect, attempt) = self.take_running(|kind| matches!(kind, EffectKind::Subagent { .. }));
        self.attempted("subagent", effect.id, attempt, Attempted::Subagent(reply));
    }

    /// What changes the environment next is done.
    pub(crate) fn environment(&mut self, label: &str, outcome: Attempted) {
        let (effect, attempt) = self.take_running(|kind| kind.lane() == Some(Lane::Environment));
        self.attempted(label, effect.id, attempt, outcome);
    }

    /// Subagents were stopped.
    pub(crate) fn ended(&mut self) {
        let (effect, attempt) = self.take_running(|kind| matches!(kind, EffectKind::EndSubagents { .. }));
        self.attempted("subagents stopped", effect.id, attempt, Attempted::Ended);
    }

    /// The oldest running attempt fails.
    pub(crate) fn fails(&mut self, kind: FailureKind) {
        self.fails_as(failure(kind));
    }

    pub(crate) fn fails_as(&mut self, failure: Failure) {
        let (effect, attempt) = self.running.remove(0);
        let label = format!("{:?}", failure.kind);
        self.attempted(&label, effect.id, attempt, Attempted::Failed(failure));
    }

    /// The function call with this id, open or not.
    pub(crate) fn turn_of(&self, call_id: &str) -> TurnId {
        let found = self.session.items().find(|(_, item)| item.call_id() == Some(call_id));
        found.expect("the call exists").1.turn_id
    }

    pub(crate) fn result(&mut self, call_id: &str, output: &str) {
        let turn_id = self.turn_of(call_id);
        self.result_in(turn_id, call_id, Ok(output));
    }

    pub(crate) fn result_in(&mut self, turn_id: TurnId, call_id: &str, given: Result<&str, &str>) {
        let command = Command::FunctionResult {
            turn_id,
            call_id: call_id.to_owned(),
            success: given.is_ok(),
            output: given.ok().map(|output| FunctionOutput::Text(output.to_owned())),
            error: given.err().map(ToOwned::to_owned),
        };
        let shown = given.map_or_else(|error| format!("error {error:?}"), text::quote);
        let _ = self.command(&format!("result of {call_id}: {shown}"), command);
    }

    /// The oldest approval that waits.
    pub(crate) fn approval(&self) -> ApprovalId {
        let actions = self.session.view().required_actions;
        let approval = |action| match action {
            RequiredAction::Approval(approval) => Some(approval.id),
            RequiredAction::FunctionCall { .. }
            | RequiredAction::EnvironmentConnection { .. }
            | RequiredAction::SignIn { .. } => None,
        };
        actions.into_iter().find_map(approval).expect("an approval waits")
    }

    pub(crate) fn decide(&mut self, approval_id: ApprovalId, decision: Decision) {
        let command = Command::Decide {
            approval_id,
            decision,
            by: tenure_journal::Party::service("ann", &["approvers"]),
        };
        let _ = self.command(&format!("{decision:?} {approval_id}"), command);
    }

    /// Writes down what the model would be shown now.
    pub(crate) fn context(&mut self) {
        for line in text::context(&self.session.context()) {
            self.line(&format!("  | {line}"));
        }
    }

    pub(crate) fn status(&mut self) {
        let view = self.session.view();
        let mut line = format!("  = {}", view.status.as_str());
        for action in &view.required_actions {
            match action {
                RequiredAction::FunctionCall { turn_id, call_id, name, .. } => {
                    write!(line, ", {turn_id} wants {name} {call_id}").unwrap();
                }
                RequiredAction::EnvironmentConnection { environment_id } => {
                    write!(line, ", wants {environment_id} connected").unwrap();
                }
                RequiredAction::SignIn { server_label } => {
                    write!(line, ", wants a sign-in at {server_label}").unwrap();
                }
                RequiredAction::Approval(approval) => {
                    write!(line, ", wants approval {} of {}", approval.id, approval.name).unwrap();
                }
            }
        }
        self.line(&line);
    }

    pub(crate) fn note(&mut self, words: &str) {
        self.line(&format!("  = {words}"));
    }

    /// What happened so far.
    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    /// Compares the transcript with what is expected; indentation common to all lines does not count.
    #[track_caller]
    pub(crate) fn check(&self, expected: &str) {
        let lines = || expected.lines().filter(|line| !line.trim().is_empty());
        let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
        let expected: String = lines().map(|line| format!("{}\n", &line[indent..])).collect();
        assert!(
            expected == self.transcript,
            "the transcript is\n<<<\n{}>>>\nand was expected to be\n{expected}",
            self.transcript
        );
    }

    /// What was written down after a mark.
    pub(crate) fn transcript_after(&self, mark: &str) -> String {
        let (_, after) = self.transcript.split_once(mark).expect("the mark is there");
        after.trim_start_matches('\n').to_owned()
    }

    /// What changes the environment and is under way is done, leaving the files as they are.
    pub(crate) fn finish_environment(&mut self) {
        let root = self.session.workspace_root().unwrap_or(root(9));
        while let Some((effect, attempt)) =
            self.running.iter().find(|(effect, _)| effect.kind.lane() == Some(Lane::Environment)).cloned()
        {
            self.running.retain(|(running, _)| running.id != effect.id);
            self.attempted("environment", effect.id, attempt, Attempted::Placed(root));
        }
        // What waits for a later try is tried now.
        self.wait(100_000);
    }

    /// Leaves the following steps out of the transcript.
    pub(crate) fn mute(&mut self) {
        self.muted = true;
    }

    pub(crate) fn unmute(&mut self) {
        self.muted = false;
        self.line("  …");
    }

    /// A bench for a table of results from other benches.
    pub(crate) fn quiet() -> Self {
        let mut bench = Self::new(vec![], "");
        bench.transcript = "> each in turn\n".to_owned();
        bench
    }

    /// What the model is told about a call.
    pub(crate) fn told(&self, wanted: &str) -> String {
        let told = |item: ContextItem| {
            let ContextItem::CallResult { call_id, output: FunctionOutput::Text(text) } = item else {
                return None;
            };
            (call_id == wanted).then_some(text)
        };
        self.session.context().input.into_iter().find_map(told).expect("the call has a result")
    }

    /// Turns seen so far and how each stands.
    pub(crate) fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.values()
    }

    pub(crate) fn item_of(&self, call_id: &str) -> ItemId {
        let found = self.session.items().find(|(_, item)| item.call_id() == Some(call_id));
        found.expect("the call exists").1.id
    }
}
