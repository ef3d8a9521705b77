//! The outside: a model that answers anything, a tool server with a ledger of what it really did, and how
//! both fail.

use std::collections::BTreeMap;

use serde_json::json;
use tenure_journal::{
    AnswerItem, BlobRef, EffectId, Failure, FailureKind, FunctionTool, Grant, GrantSource, ItemId, McpTool,
    McpTransport, ModelAnswer, ModelRequest, Origin, Stop, Tool, ToolDef, ToolResult, Usage, WorkspaceRoot,
};

use tenure_session::Price;

use crate::sign_ins::LABEL;
use crate::{Property, Violation};

/// The tool that waits for a person.
pub(crate) const DESTRUCTIVE: &str = "refund";
/// The tool that must not be repeated.
const UNSAFE: &str = "send";
/// The most a simulated answer costs: half a cent.
const COST_NANO_USD_MAX: u64 = 5_000_000;

/// What the simulated models cost: each answer at most as much as is set aside for it.
pub(crate) fn prices() -> BTreeMap<String, Price> {
    const TOKENS_PER_PRICE: u64 = 1_000_000;
    let price = Price {
        input_nano_usd: 0,
        output_nano_usd: COST_NANO_USD_MAX * TOKENS_PER_PRICE,
        output_tokens_max: 1,
    };
    ["m", "n"].map(|model| (model.to_owned(), price)).into()
}

/// The agent's tools.
pub(crate) fn tools() -> Vec<Tool> {
    let function = |name: &str, is_async| {
        Tool::Function(FunctionTool {
            name: name.to_owned(),
            description: String::new(),
            parameters: json!({"type": "object"}),
            defer_loading: false,
            is_async,
        })
    };
    let shop = McpTool {
        server_label: LABEL.to_owned(),
        transport: McpTransport::Project,
        allowed_tools: None,
        origin: Origin::Service,
        credential_id: None,
        required: false,
        request_metadata: serde_json::Map::new(),
    };
    vec![function("ask", false), function("report", true), Tool::Mcp(shop)]
}

/// The tools of the server: one for each way of being repeated, and one that waits for a person.
pub(crate) fn shop() -> Vec<ToolDef> {
    let def = |name: &str| ToolDef {
        name: name.to_owned(),
        description: String::new(),
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
        def(UNSAFE),
        ToolDef { keyed: true, destructive: Some(true), ..def(DESTRUCTIVE) },
    ]
}

/// Leave for a few calls of one of them.
pub(crate) fn grant(uses_max: u32) -> Grant {
    let tool = "shop/pay".to_owned();
    Grant { tool, arguments: BTreeMap::new(), uses_max, expires_at: None, by: GrantSource::Caller }
}

/// Whether the ledger records what this tool does.
pub(crate) fn is_recorded(name: &str) -> bool {
    matches!(name, "pay" | "tag" | UNSAFE | DESTRUCTIVE)
}

/// What the tool server really did.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Results by idempotency key.
    keys: BTreeMap<String, u32>,
    /// How often each call took effect.
    acts: BTreeMap<ItemId, u32>,
    /// How often each attempt at a call that must not be repeated arrived.
    arrivals: BTreeMap<(EffectId, u32), u32>,
}

impl Ledger {
    /// How often a call took effect.
    pub(crate) fn acts(&self, item: ItemId) -> u32 {
        self.acts.get(&item).copied().unwrap_or(0)
    }

    /// A call arrives, whatever becomes of it.
    pub(crate) fn arrives(&mut self, name: &str, effect: EffectId, attempt: u32) -> Result<(), Violation> {
        let times = self.arrivals.entry((effect, attempt)).or_default();
        *times += 1;
        if name == UNSAFE && *times > 1 {
            let detail = format!("attempt {attempt} at {effect} arrives {times} times");
            return Err(Violation::new(Property::NeverRepeated, detail));
        }
        Ok(())
    }

    /// Does what is asked, unless the key says that it was done before.
    pub(crate) fn act(&mut self, name: &str, key: &str, item: ItemId) -> Result<(), Violation> {
        if !is_recorded(name) {
            return Ok(());
        }
        let keyed = name != UNSAFE;
        let seen = self.keys.entry(key.to_owned()).or_default();
        *seen += 1;
        if keyed && *seen > 1 {
            return Ok(());
        }
        let acts = self.acts.entry(item).or_default();
        *acts += 1;
        if *acts > 1 {
            let property = if keyed { Property::KeyedOnce } else { Property::NeverRepeated };
            return Err(Violation::new(property, format!("`{name}` acts {acts} times for {item}")));
        }
        Ok(())
    }
}

/// A failure of one of these kinds.
pub(crate) fn failure(rng: &mut fastrand::Rng, kinds: &[FailureKind]) -> Failure {
    let kind = kinds[rng.usize(..kinds.len())];
    let retry_after_ms = (rng.u8(..3) == 0).then(|| rng.u64(..10_000));
    Failure { kind, message: "simulated".to_owned(), retry_after_ms }
}

/// Failures after which the other side certainly did nothing.
pub(crate) const REFUSALS: &[FailureKind] = &[
    FailureKind::RateLimited,
    FailureKind::Overloaded,
    FailureKind::Authentication,
    FailureKind::InvalidRequest,
    FailureKind::NotFound,
];
/// Failures after which nobody knows.
pub(crate) const DOUBTS: &[FailureKind] =
    &[FailureKind::ConnectionFailed, FailureKind::Timeout, FailureKind::ServerError, FailureKind::Protocol];
/// Failures of what is done in an environment that has files.
pub(crate) const ENVIRONMENT_FAILURES: &[FailureKind] =
    &[FailureKind::ServerError, FailureKind::Internal, FailureKind::FilesLost];
/// Failures of a model.
pub(crate) const MODEL_FAILURES: &[FailureKind] = &[
    FailureKind::RateLimited,
    FailureKind::Overloaded,
    FailureKind::ServerError,
    FailureKind::ConnectionFailed,
    FailureKind::Timeout,
    FailureKind::RateLimited,
    FailureKind::ConnectionFailed,
    FailureKind::ContextTooLong,
    FailureKind::Protocol,
    FailureKind::Crashed,
];

/// An answer, and what it costs in billionths of a dollar. `wild`: anything may be in it; else it is the last
/// of its turn.
pub(crate) fn answer(
    rng: &mut fastrand::Rng,
    request: &ModelRequest,
    wild: bool,
    response_id: String,
) -> (ModelAnswer, u64) {
    let mut items = Vec::new();
    if wild && rng.u8(..10) < 6 {
        for _ in 0..rng.usize(1..4) {
            items.push(item(rng, request));
        }
    } else {
        items.push(AnswerItem::Message { content: vec!["Done.".to_owned()] });
    }
    let stop = if wild && rng.u8(..30) == 0 { Stop::MaxOutputTokens } else { Stop::Complete };
    let usage = Usage { input_tokens: 100, cached_tokens: 0, output_tokens: 10, reasoning_tokens: 0 };
    let answer = ModelAnswer { items, usage: Some(usage), stop, response_id: Some(response_id) };
    (answer, rng.u64(..COST_NANO_USD_MAX))
}

/// A summary, and what it costs. `wild`: it may be none.
pub(crate) fn summary(rng: &mut fastrand::Rng, wild: bool, response_id: String) -> (ModelAnswer, u64) {
    let text = match rng.u8(..8) {
        0 if wild => String::new(),
        1 if wild => "word ".repeat(rng.usize(..20_000)),
        _ => format!("They asked for {} and got it.", rng.u32(..)),
    };
    let stop = if wild && rng.u8(..10) == 0 { Stop::MaxOutputTokens } else { Stop::Complete };
    let usage = Usage { input_tokens: 100, cached_tokens: 0, output_tokens: 10, reasoning_tokens: 0 };
    let items = vec![AnswerItem::Message { content: vec![text] }];
    let answer = ModelAnswer { items, usage: Some(usage), stop, response_id: Some(response_id) };
    (answer, rng.u64(..COST_NANO_USD_MAX))
}

/// Facts of a turn, and what they cost. `wild`: they may not be as asked for.
pub(crate) fn facts(rng: &mut fastrand::Rng, wild: bool, response_id: String) -> (ModelAnswer, u64) {
    let (source, number) = (rng.u8(..4), rng.u8(..6));
    let text = match rng.u8(..6) {
        0 if wild => "There is nothing worth keeping.".to_owned(),
        1 if wild => r#"{"facts":[{"subject":"Ada"}]}"#.to_owned(),
        2 => {
            let procedure = r#"{"name":"look-up","description":"To look up.","steps":"1. Look.","sources":[1,2,3,4,5,6,7,8,9]}"#;
            format!(r#"{{"facts":[],"procedure":{procedure}}}"#)
        }
        _ => format!(
            r#"{{"facts":[{{"subject":"Ada","statement":"Ada has {number} cats.","sources":[{source}]}}]}}"#
        ),
    };
    let usage = Usage { input_tokens: 100, cached_tokens: 0, output_tokens: 10, reasoning_tokens: 0 };
    let items = vec![AnswerItem::Message { content: vec![text] }];
    let answer =
        ModelAnswer { items, usage: Some(usage), stop: Stop::Complete, response_id: Some(response_id) };
    (answer, rng.u64(..COST_NANO_USD_MAX))
}

fn item(rng: &mut fastrand::Rng, request: &ModelRequest) -> AnswerItem {
    match rng.u8(..12) {
        0 => AnswerItem::Message { content: vec![String::new()] },
        1 => AnswerItem::Message { content: vec!["One moment.".to_owned()] },
        2 => AnswerItem::Reasoning {
            summary: vec!["hm".to_owned()],
            encrypted: Some("sealed".to_owned()),
            provider_id: None,
        },
        number => {
            let known = (!request.tools.is_empty() && number > 3)
                .then(|| request.tools[rng.usize(..request.tools.len())].name.clone());
            let asks_subagent = known.as_ref().is_some_and(|name| name.contains("subagent"));
            let runs = known.as_ref().is_some_and(|name| name == "shell" || name == "apply_patch");
            let arguments = match rng.u8(..12) {
                _ if asks_subagent => {
                    let (which, mark) = (rng.u8(1..4), rng.u32(..));
                    format!(
                        r#"{{"task":"task {mark}","input":"input {mark}","subagent":"subagent-{which}"}}"#
                    )
                }
                4..=7 if runs => r#"{"command":"make","patch":"*** Begin Patch"}"#.to_owned(),
                0 => "{".to_owned(),
                1 => "[]".to_owned(),
                2 => r#"{"n":1,"n":2}"#.to_owned(),
                3 => r#"{"n":0.30000000000000004,"m":-1e-7}"#.to_owned(),
                _ => format!(r#"{{"n":{}}}"#, rng.u8(..3)),
            };
            AnswerItem::ToolCall {
                call_id: format!("c{}", rng.u8(..8)),
                name: known.unwrap_or_else(|| "no such tool".to_owned()),
                arguments,
            }
        }
    }
}

/// The files that an effect makes of others.
pub(crate) fn files(before: Option<WorkspaceRoot>, effect: EffectId) -> WorkspaceRoot {
    let before = before.map_or([0; 32], |before| *before.digest());
    WorkspaceRoot::new(*BlobRef::of(&[&before[..], effect.as_bytes()].concat()).digest())
}

/// What a tool says when it has acted.
pub(crate) fn result(attempt: u32) -> ToolResult {
    ToolResult::inline(format!("done at attempt {attempt}"), false)
}
