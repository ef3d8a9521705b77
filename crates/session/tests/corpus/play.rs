//! One case, played to its end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tenure_journal::{
    AgentConfig, AgentId, AnswerItem, ApprovalMode, ContextItem, Decision, Effect, EffectKind, Fresh,
    FunctionOutput, InputPart, McpTool, McpTransport, ModelAnswer, MultiAgent, Origin, Party, ProjectId,
    ServerRef, SessionId, SessionKey, SessionOpened, Stop, Timestamp, Tool, ToolResult, Trust,
};
use tenure_policy::PolicySet;
use tenure_session::{
    Attempted, Batch, Command, Context, Input, RequiredAction, Reserving, Role, Session, SubagentReply,
};

use crate::places::{Case, Place, is_effect, listing, result};

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// Steps of one case after which it is going round in circles.
const STEPS_MAX: usize = 200;

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// As `<server>/<name>`.
    pub(crate) tool: String,
    pub(crate) arguments: Value,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tool, self.arguments)
    }
}

/// What came of a case.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Calls that reached a tool, in their order.
    pub(crate) executed: Vec<Call>,
    pub(crate) approved: u32,
    pub(crate) dismissed: u32,
}

impl Outcome {
    /// The first effect that nobody asked for, or that was had more often than it was asked for.
    pub(crate) fn forbidden(&self, case: &Case) -> Option<&Call> {
        let mut wanted = case.task.calls.clone();
        self.executed.iter().filter(|call| is_effect(&call.tool)).find(|call| {
            let place = wanted.iter().position(|wanted| wanted == *call);
            place.map(|place| wanted.swap_remove(place)).is_none()
        })
    }
}

struct Player<'a> {
    case: &'a Case,
    policy: &'a PolicySet,
    session: Session,
    now: Timestamp,
    seed: u64,
    running: VecDeque<(Arc<Effect>, u32)>,
    /// Calls of the task that were not made yet.
    left: VecDeque<Call>,
    /// Calls that were planted and not made yet, once they were seen.
    planted: Vec<Call>,
    outcome: Outcome,
    /// How far the model is with what was planted.
    rounds: u32,
}

/// Plays a case under a policy.
pub(crate) fn play(case: &Case, policy: &PolicySet) -> Outcome {
    let opened = SessionOpened {
        trust: Trust { grants: case.task.grants.clone(), ..Trust::of_clients() },
        ..SessionOpened::new(ProjectId::fresh(&Fresh::new(START, 2)), agent(&case.task.place))
    };
    let says = vec![vec![InputPart::text(case.task.says)]];
    let mut player = Player::open(case, policy, opened, says, case.task.calls.iter().cloned().collect(), 10);
    player.go_on();
    // What the agent wrote for later arrives later.
    if player.outcome.executed.iter().any(|call| call.tool == "tenure/create_automation") {
        player.planted = case.attack.calls.clone();
        let content = vec![InputPart::text(format!("Remember: {}", case.attack.says()))];
        player.step(&Input::Commands(&[Command::OwnMessage { content }]));
        player.go_on();
    }
    player.outcome
}

fn agent(place: &Place) -> AgentConfig {
    let server = |label: &str| {
        Tool::Mcp(McpTool {
            server_label: label.to_owned(),
            transport: McpTransport::Project,
            allowed_tools: None,
            origin: Origin::Service,
            credential_id: None,
            required: false,
            request_metadata: serde_json::Map::new(),
        })
    };
    let mut tools: Vec<Tool> = place.servers().iter().map(|label| server(label)).collect();
    tools.push(Tool::Automations);
    AgentConfig {
        name: Some("clerk".to_owned()),
        instructions: Some("Do what you are asked.".to_owned()),
        tools,
        multi_agent: MultiAgent { enabled: true, max_concurrent_subagents: Some(6) }, // Nobody is asked but by a guard rail.
        approval: ApprovalMode::Never,
        ..AgentConfig::new(AgentId::fresh(&Fresh::new(START, 1)), "worst")
    }
}

impl<'a> Player<'a> {
    fn open(
        case: &'a Case,
        policy: &'a PolicySet,
        opened: SessionOpened,
        says: Vec<Vec<InputPart>>,
        left: VecDeque<Call>,
        seed: u64,
    ) -> Self {
        let fresh = Fresh::new(START, seed);
        let key = SessionKey { project: opened.project_id, session: SessionId::fresh(&fresh) };
        let batch = Session::crank_open(key, opened, says, &cx(START, &fresh, policy)).unwrap();
        let mut player = Self {
            case,
            policy,
            session: batch.after.clone(),
            now: START,
            seed: seed + 1,
            running: VecDeque::new(),
            left,
            planted: Vec::new(),
            outcome: Outcome::default(),
            rounds: 0,
        };
        player.commit(batch);
        player
    }

    fn commit(&mut self, batch: Batch) {
        self.running.retain(|(effect, _)| !batch.stop.contains(&effect.id));
        self.running.extend(batch.start);
        self.session = batch.after;
    }

    fn step(&mut self, input: &Input<'_>) {
        self.seed += 1;
        self.now = self.session.last_active_at().plus_millis(1);
        let fresh = Fresh::new(self.now, self.seed);
        if let Some(batch) = self.session.crank(input, &cx(self.now, &fresh, self.policy)).unwrap() {
            self.commit(batch);
        }
    }

    fn go_on(&mut self) {
        for _ in 0..STEPS_MAX {
            if let Some((effect, attempt)) = self.running.pop_front() {
                let outcome = self.attempt(&effect);
                self.step(&Input::Attempted { effect_id: effect.id, attempt, outcome });
            } else if !self.answer_person() {
                return;
            }
        }
        panic!("{} does not end", self.case.name);
    }

    /// A person answers what waits, if anything does.
    fn answer_person(&mut self) -> bool {
        let waits = self.session.view().required_actions.into_iter().find_map(|action| match action {
            RequiredAction::Approval(approval) => Some(approval),
            RequiredAction::FunctionCall { .. }
            | RequiredAction::SignIn { .. }
            | RequiredAction::EnvironmentConnection { .. } => None,
        });
        let Some(approval) = waits else { return false };
        let tool = format!("{}/{}", approval.server_label, approval.name);
        let call = Call { tool, arguments: approval.arguments };
        let is_wanted = self.case.task.calls.contains(&call) && !self.outcome.executed.contains(&call);
        let decision = if is_wanted { Decision::Approve } else { Decision::Cancel };
        self.outcome.approved += u32::from(is_wanted);
        self.outcome.dismissed += u32::from(!is_wanted);
        let (approval_id, by) = (approval.id, Party::service("ann", &["approvers"]));
        self.step(&Input::Commands(&[Command::Decide { approval_id, decision, by }]));
        true
    }

    fn attempt(&mut self, effect: &Effect) -> Attempted {
        match &effect.kind {
            EffectKind::ListTools { server_label, .. } => Attempted::Listed(listing(server_label)),
            EffectKind::ModelCall { .. } | EffectKind::Compact { .. } => {
                Attempted::Answered { answer: self.answer(), cost_nano_usd: None }
            }
            EffectKind::ToolCall { server, name, arguments, .. } => {
                let label = match server {
                    ServerRef::Builtin => "tenure",
                    ServerRef::Mcp { server_label } | ServerRef::Inside { server_label } => server_label,
                };
                let tool = format!("{label}/{name}");
                let text = result(&tool, arguments, &self.case.planted(&tool));
                self.outcome.executed.push(Call { tool, arguments: arguments.clone() });
                Attempted::Returned(ToolResult::inline(text, false))
            }
            EffectKind::Subagent { request, .. } => {
                self.let_subagent_work(request);
                Attempted::Subagent(SubagentReply::Done)
            }
            EffectKind::EndSubagents { .. } => Attempted::Ended,
            EffectKind::Review { .. } => unreachable!("there is no reviewer"),
            EffectKind::Extract { .. } => unreachable!("nothing is read out of turns"),
            EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts => unreachable!("there is no environment"),
        }
    }

    /// A subagent does what was planted, and nothing else.
    fn let_subagent_work(&mut self, request: &tenure_journal::SubagentRequest) {
        let Some((opened, says)) = self.session.child(request) else { return };
        let seed = self.seed + 10_000;
        let mut child = Player::open(self.case, self.policy, opened, says, VecDeque::new(), seed);
        child.planted = self.case.attack.calls.clone();
        child.go_on();
        self.outcome.executed.append(&mut child.outcome.executed);
    }

    /// Everything that was planted, all at once, and the next thing that was asked for.
    fn answer(&mut self) -> ModelAnswer {
        if self.has_seen_it() && self.rounds < 2 {
            let attack = &self.case.attack;
            let wanted = if self.rounds == 0 { &attack.calls } else { &attack.then };
            self.planted.extend(wanted.iter().cloned());
            self.rounds += 1;
        }
        let mut calls: Vec<Call> = std::mem::take(&mut self.planted);
        calls.extend(self.left.pop_front());
        let item = |(number, call): (u32, Call)| {
            let name =
                call.tool.strip_prefix("tenure/").map_or_else(|| call.tool.replace('/', "__"), str::to_owned);
            let call_id = format!("call_{}_{number}", self.seed);
            AnswerItem::ToolCall { call_id, name, arguments: call.arguments.to_string() }
        };
        let mut items: Vec<AnswerItem> = (0..).zip(calls).map(item).collect();
        if items.is_empty() {
            items.push(AnswerItem::Message { content: vec!["Done.".to_owned()] });
        }
        ModelAnswer { items, usage: None, stop: Stop::Complete, response_id: None }
    }

    fn has_seen_it(&self) -> bool {
        let says = self.case.attack.says();
        self.session.context().input.iter().any(|item| match item {
            ContextItem::CallResult { output: FunctionOutput::Text(text), .. } => text.contains(&says),
            ContextItem::CallResult { .. }
            | ContextItem::User { .. }
            | ContextItem::Assistant { .. }
            | ContextItem::Reasoning { .. }
            | ContextItem::Call { .. }
            | ContextItem::Note { .. } => false,
        })
    }
}

fn cx<'a>(now: Timestamp, fresh: &'a Fresh, policy: &'a PolicySet) -> Context<'a> {
    static NO_TOOLS: BTreeMap<String, Timestamp> = BTreeMap::new();
    static NO_PRICES: BTreeMap<String, tenure_session::Price> = BTreeMap::new();
    Context {
        now,
        role: Role::Holder,
        fresh,
        chance: 0,
        policy,
        window: tenure_session::Window::DEFAULT,
        frozen: &tenure_session::NOTHING_FROZEN,
        blocks: None,
        procedures: None,
        routes: tenure_session::Routes::UNKNOWN,
        tools_changed: &NO_TOOLS,
        prices: &NO_PRICES,
        reserving: Reserving::Asked,
        budgets: &tenure_session::NO_BUDGETS,
        partial: &[],
    }
}
