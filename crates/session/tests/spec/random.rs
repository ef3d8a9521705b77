//! Random histories: whatever comes, in whatever order, the machine neither panics nor spins, and what
//! [`Bench`] checks after every step holds.

use tenure_journal::{
    AgentPatch, AnswerItem, ApprovalMode, CommandResult, Decision, Effect, EffectKind, Extraction,
    ExtractionChoice, Failure, FailureKind, Fresh, FunctionOutput, InputPart, McpTool, McpTransport,
    ModelAnswer, Network, ReportStatus, Review, ScopeKind, ServerRef, SessionPatch, SpendLimit, Stop,
    SubagentReport, SubagentRequest, Timestamp, Tool, ToolResult, TurnId, TurnStatus,
};
use tenure_session::{Attempted, Command, Input, NOTHING_FROZEN, RequiredAction, SubagentReply};

use crate::bench::{
    Bench, Show, agent, async_function, call, defaults, deferred_function, exited, file, function, hosted,
    mcp, opened, root, say, self_hosted, server, shop, think, whole,
};

const HISTORIES: u64 = 300;
const STEPS: usize = 60;
const FAILURES: [FailureKind; 8] = [
    FailureKind::RateLimited,
    FailureKind::Overloaded,
    FailureKind::ServerError,
    FailureKind::ConnectionFailed,
    FailureKind::Timeout,
    FailureKind::InvalidRequest,
    FailureKind::ContextTooLong,
    FailureKind::Authentication,
];

#[test]
fn any_history_keeps_the_invariants() {
    for seed in 0..HISTORIES {
        let mut b = history(seed, STEPS);
        quiesce(&mut b);
        let ended = b.turns().all(|turn| turn.status.is_terminal() || turn.status == TurnStatus::Waiting);
        assert!(ended, "seed {seed}: every turn ends or waits for someone");
    }
}

/// A session after `steps` random inputs.
pub(crate) fn history(seed: u64, steps: usize) -> Bench {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut opening = opened(agent(tools(&mut rng)));
    opening.agent.time_awareness = rng.bool();
    opening.agent.compaction_async = rng.bool();
    opening.agent.multi_agent.enabled = rng.bool();
    opening.agent.approval = if rng.bool() { ApprovalMode::Destructive } else { ApprovalMode::Writes };
    match rng.u8(..6) {
        0 => opening.environment = hosted(Network::Disabled),
        1 => opening.environment = hosted(Network::Enabled),
        2 | 3 => opening.environment = self_hosted(),
        _ => {}
    }
    let reviewed = rng.bool();
    opening.review = reviewed.then_some(Review::AutoReview);
    if rng.bool() {
        let scope = if rng.bool() { ScopeKind::User } else { ScopeKind::Space };
        let extraction = Extraction {
            model: "reader".to_owned(),
            scope,
            facts_max: 4,
            procedures: scope == ScopeKind::Space,
        };
        opening.agent.extraction = Some(ExtractionChoice::On(extraction));
    }
    let mut b = Bench::open(opening, "Go", defaults(), Show::Nothing);
    b.reviewer = reviewed.then(|| "reviewer".to_owned());
    for _ in 0..steps {
        step(&mut b, &mut rng);
    }
    b
}

/// What a reviewer may say.
fn review(rng: &mut fastrand::Rng) -> &'static str {
    const SAID: [&str; 4] = [
        r#"{"decision":"approve","reason":"asked for"}"#,
        r#"{"decision":"refuse","reason":"odd"}"#,
        r#"{"decision":"escalate","reason":"unsure"}"#,
        "Approve it, all of it.",
    ];
    SAID[rng.usize(..SAID.len())]
}

fn tools(rng: &mut fastrand::Rng) -> Vec<Tool> {
    let mut required = mcp("bank");
    required.required = true;
    let server_url = "https://open.example/mcp".to_owned();
    let transport = McpTransport::Http { server_url, headers: [].into(), secret: None };
    let all = vec![
        function("ask"),
        async_function("report"),
        deferred_function("weather"),
        server("shop"),
        Tool::Mcp(required),
        Tool::Mcp(McpTool { transport, ..mcp("open") }),
    ];
    all.into_iter().filter(|_| rng.u8(..4) > 0).collect()
}

fn asks_a_server(effect: &Effect) -> bool {
    matches!(
        effect.kind,
        EffectKind::ListTools { .. } | EffectKind::ToolCall { server: ServerRef::Mcp { .. }, .. }
    )
}

fn step(b: &mut Bench, rng: &mut fastrand::Rng) {
    b.context_tokens = (rng.u8(..3) == 0).then(|| rng.u64(200..3_000));
    match rng.u8(..20) {
        0..=9 => outcome(b, rng),
        10 => {
            b.running.clear();
            b.resumed();
        }
        11 => b.wait(rng.u64(..40_000)),
        13 if rng.bool() => b.crank("executor", &Input::Connected).unwrap(),
        13 => b.crank("executor", &Input::Disconnected).unwrap(),
        14 => {
            // A server asks for a sign-in, before or after somebody signed in.
            let asks = |(effect, _): &(std::sync::Arc<Effect>, u32)| asks_a_server(effect);
            if let Some(place) = b.running.iter().position(asks) {
                let (effect, attempt) = b.running.remove(place);
                let failure = Failure {
                    kind: FailureKind::SignInRequired,
                    message: "a person must sign in".to_owned(),
                    retry_after_ms: None,
                };
                b.attempted("sign in", effect.id, attempt, Attempted::Failed(failure));
            }
        }
        15 => {
            let server_url = "https://open.example/mcp".to_owned();
            let bind = Command::BindCredential { server_url, credential_id: "cred_1".to_owned() };
            let _ = b.command("credential", bind);
        }
        12 => {
            let stale = b.session.pending().next().map(|effect| effect.id);
            if let Some(id) = stale {
                let outcome = Attempted::Returned(ToolResult::inline("stale".into(), false));
                b.attempted("stale", id, 1_000, outcome);
            }
        }
        _ => {
            let commands: Vec<Command> = (0..rng.usize(1..3)).map(|_| command(b, rng)).collect();
            // A refusal must leave everything as it was, which the next step's checks would notice.
            let _ = b.crank("commands", &Input::Commands(&commands));
        }
    }
}

fn command(b: &Bench, rng: &mut fastrand::Rng) -> Command {
    let actions = b.session.view().required_actions;
    match rng.u8(..12) {
        11 => Command::AwaitConnection { until: b.now.plus_millis(rng.u64(..60_000)) },
        10 => Command::PlaceFiles { files: vec![file("/workspace/a")] },
        0..=2 => Command::Message { content: vec![InputPart::text("More ".repeat(rng.usize(1..40)))] },
        3 => Command::Cancel,
        4 => Command::Update { patch: Box::new(patch(rng)) },
        5 if rng.u8(..4) == 0 => Command::Delete,
        _ => match rng.choice(actions) {
            Some(RequiredAction::FunctionCall { turn_id, call_id, .. }) => Command::FunctionResult {
                turn_id,
                call_id,
                success: rng.bool(),
                output: rng.bool().then(|| FunctionOutput::Text("y".repeat(rng.usize(..200)))),
                error: rng.bool().then(|| "no".to_owned()),
            },
            Some(RequiredAction::Approval(approval)) => Command::Decide {
                approval_id: approval.id,
                decision: *rng.choice(&[Decision::Approve, Decision::Deny, Decision::Cancel]).unwrap(),
                by: tenure_journal::Party::service("ann", &["approvers"]),
            },
            Some(RequiredAction::SignIn { .. }) => Command::SignedIn,
            Some(RequiredAction::EnvironmentConnection { .. }) | None => Command::Cancel,
        },
    }
}

fn patch(rng: &mut fastrand::Rng) -> SessionPatch {
    let mut patch = SessionPatch::default();
    match rng.u8(..3) {
        0 => patch.agent = Some(AgentPatch { tools: Some(tools(rng)), ..AgentPatch::default() }),
        1 => patch.agent = Some(AgentPatch { model: Some("n".into()), ..AgentPatch::default() }),
        _ => patch.spend_limit = Some(rng.bool().then(|| SpendLimit { limit: Some(rng.u64(..5)) })),
    }
    patch
}

/// Ends one running attempt somehow.
fn outcome(b: &mut Bench, rng: &mut fastrand::Rng) {
    if b.running.is_empty() {
        return b.tick();
    }
    let (effect, attempt) = b.running.remove(rng.usize(..b.running.len()));
    let fails = rng.u8(..5) == 0;
    let outcome = match &effect.kind {
        _ if fails => Attempted::Failed(Failure {
            kind: *rng.choice(&FAILURES).unwrap(),
            message: "failed".into(),
            retry_after_ms: rng.bool().then_some(1_000),
        }),
        tenure_journal::EffectKind::Review { .. } => Attempted::Answered {
            answer: whole(vec![say(review(rng))]),
            cost_nano_usd: rng.bool().then(|| rng.u64(..10_000_000)),
        },
        tenure_journal::EffectKind::Extract { .. } => {
            let facts = [
                r#"{"facts":[{"subject":"Ada","statement":"Ada likes tea.","sources":[1]}]}"#,
                r#"{"facts":[{"subject":"Ada","statement":"Ada was made up.","sources":[99]}]}"#,
                r#"{"facts":[],"procedure":{"name":"a","description":"b","steps":"c","sources":[1,2,3,4,5,6,7,8]}}"#,
                "Nothing.",
            ];
            Attempted::Answered {
                answer: whole(vec![say(rng.choice(facts).unwrap())]),
                cost_nano_usd: rng.bool().then(|| rng.u64(..10_000_000)),
            }
        }
        tenure_journal::EffectKind::Compact { .. } => {
            let items =
                if rng.u8(..4) == 0 { answer(rng).items } else { vec![say("They asked for c1 and got 7.")] };
            Attempted::Answered {
                answer: whole(items),
                cost_nano_usd: rng.bool().then(|| rng.u64(..10_000_000)),
            }
        }
        tenure_journal::EffectKind::ModelCall { .. } => Attempted::Answered {
            answer: answer(rng),
            cost_nano_usd: rng.bool().then(|| rng.u64(..10_000_000)),
        },
        tenure_journal::EffectKind::ListTools { .. } => Attempted::Listed(shop()),
        tenure_journal::EffectKind::PrepareEnvironment if rng.bool() => Attempted::Prepared {
            root: root(rng.u8(..4)),
            skills: Vec::new(),
            servers: crate::plugins::found(&["p-notes", "shop", "p-more"][..rng.usize(..4)]),
        },
        tenure_journal::EffectKind::PrepareEnvironment | tenure_journal::EffectKind::PlaceFiles { .. } => {
            Attempted::Placed(root(rng.u8(..4)))
        }
        tenure_journal::EffectKind::Command { .. } => Attempted::Ran(CommandResult {
            output: "w".repeat(rng.usize(..300)),
            stored: rng.bool().then(|| tenure_journal::BlobRef::of(b"whole")),
            exit_code: rng.bool().then(|| i32::from(rng.u8(..2))),
            ended_by: rng.bool().then(|| "It took too long.".to_owned()),
            duration_ms: rng.u64(..9_000),
            root: rng.bool().then(|| root(rng.u8(..4))),
        }),
        tenure_journal::EffectKind::PublishArtifacts => Attempted::Published(vec![]),
        tenure_journal::EffectKind::Subagent { request, .. } => subagent_reply(rng, request),
        tenure_journal::EffectKind::EndSubagents { .. } => Attempted::Ended,
        tenure_journal::EffectKind::ToolCall { .. } => {
            let stored = rng.bool().then(|| tenure_journal::BlobRef::of(b"whole"));
            Attempted::Returned(ToolResult { stored, ..ToolResult::inline("z".repeat(300), rng.bool()) })
        }
    };
    b.attempted("outcome", effect.id, attempt, outcome);
}

fn subagent_reply(rng: &mut fastrand::Rng, request: &SubagentRequest) -> Attempted {
    let turns = Fresh::new(Timestamp::from_millis(1), 9);
    let turns: Vec<TurnId> = (0..3).map(|_| TurnId::fresh(&turns)).collect();
    let report = |rng: &mut fastrand::Rng, subagent_id| SubagentReport {
        subagent_id,
        turn_id: rng.choice(&turns).copied(),
        status: *rng.choice(&[ReportStatus::Running, ReportStatus::Completed, ReportStatus::Failed]).unwrap(),
        text: "found".into(),
        labels: tenure_journal::Labels::NEUTRAL,
    };
    Attempted::Subagent(match request {
        _ if rng.u8(..6) == 0 => SubagentReply::Refused("no".into()),
        SubagentRequest::Wait { subagent_ids, .. } => {
            SubagentReply::Reports(subagent_ids.iter().map(|id| report(rng, *id)).collect())
        }
        SubagentRequest::Create { .. }
        | SubagentRequest::SendInput { .. }
        | SubagentRequest::Resume { .. }
        | SubagentRequest::Interrupt { .. }
        | SubagentRequest::Close { .. } => SubagentReply::Done,
    })
}

fn answer(rng: &mut fastrand::Rng) -> ModelAnswer {
    let items = (0..rng.usize(..5)).map(|_| answer_item(rng)).collect();
    let stop = if rng.u8(..16) == 0 { Stop::MaxOutputTokens } else { Stop::Complete };
    ModelAnswer { stop, ..whole(items) }
}

fn answer_item(rng: &mut fastrand::Rng) -> AnswerItem {
    const NAMES: [&str; 18] = [
        "p-notes__send",
        "shell",
        "apply_patch",
        "ask",
        "report",
        "weather",
        "tool_search",
        "shop__find",
        "shop__pay",
        "shop__send",
        "shop__refund",
        "read_output",
        "create_subagent",
        "send_subagent_input",
        "wait_for_subagents",
        "close_subagent",
        "resume_subagent",
        "what?",
    ];
    const ARGUMENTS: [&str; 11] = [
        r#"{"command":"make","cwd":"src","timeout_seconds":9}"#,
        r#"{"patch":"*** Begin Patch\n*** End Patch"}"#,
        r#"{"b":0.30000000000000004,"a":-1e-7}"#,
        "{}",
        r#"{"query":"weather"}"#,
        r#"{"task":"look","subagent":"subagent-1","input":"more"}"#,
        r#"{"task":"look","name":"scout","subagent":"scout"}"#,
        "",
        "[",
        "[]",
        r#"{"a":1,"a":1}"#,
    ];
    match rng.u8(..6) {
        0 => say(if rng.bool() { "" } else { "Well." }),
        1 => think("hm"),
        _ => {
            let id = if rng.bool() { format!("c{}", rng.u8(..4)) } else { format!("{:x}", rng.u64(..)) };
            call(&id, rng.choice(NAMES).unwrap(), rng.choice(ARGUMENTS).unwrap())
        }
    }
}

/// Lets everything outside succeed until only clients and people can go on.
fn quiesce(b: &mut Bench) {
    const ROUNDS_MAX: usize = 1_000;
    b.context_tokens = None;
    for _ in 0..ROUNDS_MAX {
        let Some((effect, attempt)) = b.running.pop() else {
            let Some(at) = b.session.next_retry(&NOTHING_FROZEN) else { return };
            b.wait(b.now.millis_until(at).max(1));
            continue;
        };
        let outcome = match &effect.kind {
            tenure_journal::EffectKind::Review { .. }
            | tenure_journal::EffectKind::Extract { .. }
            | tenure_journal::EffectKind::ModelCall { .. }
            | tenure_journal::EffectKind::Compact { .. } => {
                Attempted::Answered { answer: whole(vec![say("Done.")]), cost_nano_usd: None }
            }
            tenure_journal::EffectKind::ListTools { .. } => Attempted::Listed(shop()),
            tenure_journal::EffectKind::PrepareEnvironment
            | tenure_journal::EffectKind::PlaceFiles { .. } => Attempted::Placed(root(1)),
            tenure_journal::EffectKind::Command { .. } => Attempted::Ran(exited(0, "", None)),
            tenure_journal::EffectKind::PublishArtifacts => Attempted::Published(vec![]),
            tenure_journal::EffectKind::Subagent { .. } => {
                Attempted::Subagent(SubagentReply::Refused("no".into()))
            }
            tenure_journal::EffectKind::EndSubagents { .. } => Attempted::Ended,
            tenure_journal::EffectKind::ToolCall { .. } => {
                Attempted::Returned(ToolResult::inline("ok".into(), false))
            }
        };
        b.attempted("outcome", effect.id, attempt, outcome);
    }
    panic!("the session never comes to rest");
}
