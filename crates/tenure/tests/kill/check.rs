//! What must hold after the kills, from the outside: what the API says, against what clients were told and
//! what the services around the server did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::Client;
use super::reader::Readings;
use super::visitor::{Visited, order_of};

/// Why a turn may fail: its model call met one kill after the other, until the limit for that was reached.
const GIVEN_UP: &str = "the turn was interrupted too often and was given up";

/// How long what is stopped may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How often things happened, so that a run can be seen to have tested something.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sessions: usize,
    pub(crate) left_waiting: usize,
    pub(crate) messages: usize,
    pub(crate) turns: usize,
    pub(crate) turns_cancelled: usize,
    pub(crate) turns_given_up: usize,
    pub(crate) approved: usize,
    pub(crate) denied: usize,
    pub(crate) refunds: usize,
    pub(crate) parcels: usize,
    /// Calls that say that nobody knows.
    pub(crate) unknown: usize,
    pub(crate) subagents: usize,
    pub(crate) reports: usize,
    pub(crate) readings: Readings,
}

/// What the services did: how often for each order.
pub(crate) struct Deeds {
    pub(crate) refunds: BTreeMap<String, usize>,
    pub(crate) parcels: BTreeMap<String, usize>,
}

impl Deeds {
    /// Reads the payment service's ledger, which must not hold one key twice.
    pub(crate) fn new(ledger: &str, parcels: &[String]) -> Self {
        let mut keys = BTreeSet::new();
        let mut refunds: BTreeMap<String, usize> = BTreeMap::new();
        for line in ledger.lines() {
            let refund: Value = serde_json::from_str(line).expect("a refund");
            assert!(keys.insert(refund["idempotency_key"].as_str().expect("a key").to_owned()), "{refund}");
            *refunds.entry(order_of(&refund)).or_default() += 1;
        }
        let mut shipped: BTreeMap<String, usize> = BTreeMap::new();
        for order in parcels {
            *shipped.entry(order.clone()).or_default() += 1;
        }
        Self { refunds, parcels: shipped }
    }
}

/// Checks every session; gives how often what happened.
pub(crate) async fn all(client: &Client, visited: &[Visited], deeds: &Deeds) -> Tally {
    let mut tally = Tally { sessions: visited.len(), ..Tally::default() };
    let there: BTreeSet<String> =
        client.list("/v1/agents/sessions").await.iter().map(|session| id(session).to_owned()).collect();
    let known: BTreeSet<String> = visited.iter().map(|visited| visited.id.clone()).collect();
    assert_eq!(there, known, "a repeated request opened a second session, or a session is lost");
    let mut called = BTreeSet::new();
    for session in visited {
        one(client, session, deeds, &mut called, &mut tally).await;
    }
    for (server, done) in [("payments", &deeds.refunds), ("courier", &deeds.parcels)] {
        for order in done.keys() {
            assert!(
                called.contains(&format!("{server} {order}")),
                "{server} was asked about {order} by nobody"
            );
        }
    }
    tally
}

async fn one(
    client: &Client,
    visited: &Visited,
    deeds: &Deeds,
    called: &mut BTreeSet<String>,
    tally: &mut Tally,
) {
    let path = format!("/v1/agents/sessions/{}", visited.id);
    let session = client.get(&path).await;
    let status = if visited.left { "requires_action" } else { "idle" };
    assert_eq!(session["status"], status, "{session}");
    tally.left_waiting += usize::from(visited.left);
    tally.readings += visited.readings;

    let turns = client.list(&format!("{path}/turns")).await;
    for (place, turn) in turns.iter().enumerate() {
        let last = place + 1 == turns.len();
        match turn["status"].as_str().expect("a status") {
            "completed" => {}
            "cancelled" => tally.turns_cancelled += 1,
            "failed" if turn["error"]["message"] == GIVEN_UP => tally.turns_given_up += 1,
            "waiting" if visited.left && last => {}
            other => panic!("a turn of {} is {other}: {turn}", visited.id),
        }
    }
    tally.turns += turns.len();

    let items = client.list(&format!("{path}/items")).await;
    let said: Vec<&str> = items
        .iter()
        .filter(|item| item["role"] == "user")
        .map(|item| item["content"][0]["text"].as_str().expect("text"))
        .collect();
    // A message that came while something waited joins the turn once that was answered.
    let expected =
        if visited.left { &visited.sent[..said.len().min(visited.sent.len())] } else { &visited.sent };
    assert_eq!(said, expected, "{} holds other messages than were acknowledged", visited.id);
    tally.messages += said.len();
    functions(visited, &items);
    subagents(client, &path, &items, tally).await;
    for item in items.iter().filter(|item| item["type"] == "mcp_call") {
        let server = item["server_label"].as_str().expect("a server");
        let order = order_of(&item["arguments"]);
        let name = format!("{server} {order}");
        assert!(called.insert(name.clone()), "the model asked for {name} twice: {item}");
        let done = match server {
            "payments" => deeds.refunds.get(&order).copied().unwrap_or(0),
            "courier" => deeds.parcels.get(&order).copied().unwrap_or(0),
            _ => continue,
        };
        call(visited, item, &name, done, tally);
        if server == "payments" {
            tally.refunds += done;
        } else {
            tally.parcels += done;
        }
    }
}

/// One call of a tool that acts, and how often it acted.
fn call(visited: &Visited, item: &Value, name: &str, done: usize, tally: &mut Tally) {
    assert!(done <= 1, "{name} happened {done} times: {item}");
    let decision = visited.decided.get(name);
    if visited.careful {
        assert!(done == 0 || decision == Some(&true), "{name} happened without approval: {item}");
        tally.approved += usize::from(decision == Some(&true));
        tally.denied += usize::from(decision == Some(&false));
    }
    // After one refusal nothing of the session reaches outside until a person releases it, and none does.
    let error = item["error"].as_str().unwrap_or_default();
    let is_quarantined = visited.decided.values().any(|yes| !yes)
        && (error.contains("guard.quarantine") || error.contains("policy no longer allows it"));
    match item["status"].as_str().expect("a status") {
        "completed" => assert_eq!(done, 1, "{name} is told to have happened: {item}"),
        "failed" if error.contains("outcome is unknown") => tally.unknown += 1,
        "failed" if is_quarantined => {
            assert_eq!(done, 0, "{name} is told to be refused: {item}");
        }
        "failed" => assert!(decision == Some(&false), "{name} failed: {item}"),
        // Of a cancelled turn: what had begun may have happened.
        "incomplete" => {}
        "in_progress" => {
            assert!(visited.left && decision.is_none() && done == 0, "{name} is still under way: {item}");
        }
        other => panic!("{name} is {other}"),
    }
}

/// Every subagent has stopped, each of its turns was reported once at most, and a wait that is done reported
/// every turn that had ended.
async fn subagents(client: &Client, path: &str, items: &[Value], tally: &mut Tally) {
    let mut reports: BTreeMap<&str, usize> = BTreeMap::new();
    for message in items.iter().filter(|item| item["type"] == "agent_message") {
        *reports.entry(message["sender_agent_id"].as_str().expect("an id")).or_default() += 1;
    }
    for subagent in client.list(&format!("{path}/subagents")).await {
        let name = id(&subagent);
        let turns = stopped(client, &format!("{path}/subagents/{name}/turns")).await;
        assert_eq!(turns.len(), 1, "{name} was given one task: {turns:?}");
        let reported = reports.get(name).copied().unwrap_or(0);
        assert!(reported <= 1, "{name} is reported {reported} times");
        let awaited = items.iter().any(|item| {
            let recipients = item["recipient_agent_ids"].as_array().into_iter().flatten();
            item["status"] == "completed" && recipients.into_iter().any(|recipient| *recipient == *name)
        });
        assert_eq!(reported, usize::from(awaited), "{name} and its report: {turns:?}");
        tally.subagents += 1;
        tally.reports += reported;
    }
}

/// The turns of a subagent once none of them runs: what stops it is on its way.
async fn stopped(client: &Client, path: &str) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let turns = client.list(path).await;
        let over = |turn: &Value| {
            turn["status"]
                .as_str()
                .is_some_and(|status| ["completed", "cancelled", "failed"].contains(&status))
        };
        if turns.iter().all(over) {
            return turns;
        }
        assert!(Instant::now() < deadline, "a subagent runs on: {turns:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every function call has one result, unless its turn was cancelled or nobody answered.
fn functions(visited: &Visited, items: &[Value]) {
    for call in items.iter().filter(|item| item["type"] == "function_call") {
        let results = items
            .iter()
            .filter(|item| item["type"] == "function_call_output" && item["call_id"] == call["call_id"])
            .count();
        let expected = match call["status"].as_str() {
            Some("completed" | "failed") => 1,
            Some("incomplete") => 0,
            Some("in_progress") if visited.left => 0,
            _ => panic!("{call}"),
        };
        assert_eq!(results, expected, "{call}");
    }
}

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}
