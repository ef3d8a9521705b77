//! The section `budgets` of the settings: what may be used of models, by whom, in what time.

use std::collections::BTreeMap;

use tenure_journal::{Caps, Period};

use crate::node::{Fields, Node};
use crate::problem::{Code, Report, quote};

pub(crate) const BUDGET_KEYS: &[&str] = &["project", "session", "agents"];
pub(crate) const PERIOD_KEYS: &[&str] = &["day", "month", "total"];
pub(crate) const CAP_KEYS: &[&str] = &["money_usd", "tokens", "calls", "seconds"];

/// US dollars that one budget may hold; a typing mistake is found before.
const DOLLARS_MAX: f64 = 1e9;
/// What else can be counted to.
const COUNT_MAX: u64 = 1_000_000_000_000_000;
/// Bytes of an agent's name here; longer ones are mistakes.
const NAME_BYTES_MAX: usize = 128;

/// What may be used of models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    /// In each project.
    pub project: BTreeMap<Period, Caps>,
    /// In each session, with its subagents.
    pub session: BTreeMap<Period, Caps>,
    /// By each agent of a name, in all its sessions.
    pub agents: BTreeMap<String, BTreeMap<Period, Caps>>,
}

pub(crate) fn budgets(node: &Node, report: &Report) -> Option<Budgets> {
    let fields = Fields::open(node, "`budgets`", BUDGET_KEYS, report)?;
    let of = |key: &str| match fields.find(key) {
        Some(node) => periods(node, &format!("`{key}`"), report),
        None => Some(BTreeMap::new()),
    };
    let (project, session) = (of("project"), of("session"));
    let mut agents = BTreeMap::new();
    if let Some(node) = fields.find("agents") {
        for (key, node) in node.map("`agents`", report)? {
            if key.name.trim().is_empty() || key.name.len() > NAME_BYTES_MAX {
                let message = format!("a name in `agents` has 1 to {NAME_BYTES_MAX} bytes");
                report.error(Code::Name, key.at, message);
            } else if let Some(caps) = periods(node, &format!("the agent {}", quote(&key.name)), report) {
                agents.insert(key.name.clone(), caps);
            }
        }
    }
    Some(Budgets { project: project?, session: session?, agents })
}

fn periods(node: &Node, what: &str, report: &Report) -> Option<BTreeMap<Period, Caps>> {
    let fields = Fields::open(node, what, PERIOD_KEYS, report)?;
    let mut found = BTreeMap::new();
    for period in Period::ALL {
        if let Some(node) = fields.find(period.as_str()) {
            let what = format!("`{}` of {what}", period.as_str());
            found.insert(period, caps(node, &what, report)?);
        }
    }
    if found.is_empty() && fields.entries().is_empty() {
        report.hinted(
            Code::Missing,
            node.at,
            format!("{what} limits nothing"),
            "give it a `day`, a `month` or a `total`",
        );
        return None;
    }
    Some(found)
}

fn caps(node: &Node, what: &str, report: &Report) -> Option<Caps> {
    let fields = Fields::open(node, what, CAP_KEYS, report)?;
    let count = |key: &str, max: u64| match fields.find(key) {
        Some(node) => node.integer(&format!("`{key}`"), 0..=max, report).map(Some),
        None => Some(None),
    };
    let money = match fields.find("money_usd") {
        Some(node) => nano_dollars(node, report).map(Some),
        None => Some(None),
    };
    let (tokens, calls, seconds) =
        (count("tokens", COUNT_MAX), count("calls", COUNT_MAX), count("seconds", COUNT_MAX / 1_000));
    let caps = Caps {
        nano_usd: money?,
        tokens: tokens?,
        calls: calls?,
        millis: seconds?.map(|seconds| seconds * 1_000),
    };
    if caps == Caps::NONE && fields.entries().is_empty() {
        let hint = "give it `money_usd`, `tokens`, `calls` or `seconds`";
        report.hinted(Code::Missing, node.at, format!("{what} limits nothing"), hint);
        return None;
    }
    Some(caps)
}

fn nano_dollars(node: &Node, report: &Report) -> Option<u64> {
    let dollars = node.number("`money_usd`", report)?;
    if !(0.0..=DOLLARS_MAX).contains(&dollars) {
        let message = format!("`money_usd` must be from 0 to {DOLLARS_MAX} US dollars");
        report.error(Code::Range, node.at, message);
        return None;
    }
    // Whole millionths, below 2^53.
    Some((dollars * 1e6).round() as u64 * 1_000)
}
