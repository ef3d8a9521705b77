//! Many sessions on one budget, and a server that is killed while what they set aside is not settled: nothing is
//! overspent at any moment, and nothing stays set aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use tenure_journal::{
    Amounts, BudgetId, BudgetScope, BudgetUse, Event, Measure, Period, SessionKey, Timestamp, Version,
};
use tenure_session::{Session, UseStep, appends};
use tenure_store::Store as _;
use tenure_store_sqlite::SqliteStore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::Client;
use super::world::{Directory, Process};
use super::{SEED, SERVE, number};

const SESSIONS: u64 = 200;
/// Messages of each session: more than the budget has calls for.
const MESSAGES: u64 = 4;
const CALLS: u64 = 400;
const MICROS: u64 = 40_000_000;
/// Kills, unless the environment says otherwise.
const ROUNDS: u64 = 10;
/// The pause between two looks of one client: two hundred look.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a session is given, beside two hundred others and while its server is killed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Says enough for a kill to come in between.
const SCRIPT: &str = "rules:\n  - name: talk\n    token_delay_ms: 20\n    reply: [{ text: \"One two three four \
                      five six seven eight nine ten eleven twelve.\" }]\n";

fn project(model: &str) -> Value {
    json!({
        "providers": {"mock": {"type": "openai", "wire": "responses", "base_url": model}},
        "models": {"talker": {
            "provider": "mock", "model": "scripted", "output_tokens_max": 40,
            "price_usd_per_million": {"input": 1000, "output": 1000},
        }},
        "default_model": "talker",
        "limits": {"model_calls_max": 512},
        "budgets": {
            "project": {
                "total": {"calls": CALLS, "money_usd": MICROS / 1_000_000},
                "month": {"tokens": 100_000_000},
            },
            "session": {"day": {"calls": 50}},
            "agents": {"talk": {"day": {"calls": CALLS + 1}}},
        },
    })
}

/// Returns when nothing of a session runs.
async fn idle(client: &Client, path: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let session = client.get(path).await;
        if session["status"] == "idle" {
            return;
        }
        assert!(Instant::now() < deadline, "it does not come to an end: {session}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// One session, message after message, until its budget or its patience ends. Gives its id, and whether a message was
/// refused for a budget.
async fn talk(client: Client, number: u64, ends: Arc<AtomicBool>) -> (String, bool) {
    let body = json!({"agent_id": "talk", "environment": {"type": "none"}, "input": "hi"});
    let (status, session) = client.post("/v1/agents/sessions", &body, &format!("open-{number}")).await;
    assert_eq!(status, 201, "{session}");
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    for message in 0..MESSAGES {
        idle(&client, &path).await;
        let turns = client.list(&format!("{path}/turns")).await;
        let code = turns.last().map_or("", |turn| turn["error"]["code"].as_str().unwrap_or_default());
        if code == "project_budget_exceeded" {
            ends.store(true, Ordering::Relaxed);
            return (session["id"].as_str().expect("an id").to_owned(), true);
        }
        assert_eq!(code, "", "{turns:?}");
        let input = json!([{"role": "user", "content": [{"type": "input_text", "text": "more"}]}]);
        let body = json!({"events": [{"type": "agent.session.input.message", "input": input}]});
        let (status, answer) =
            client.post(&format!("{path}/events"), &body, &format!("say-{number}-{message}")).await;
        assert_eq!(status, 202, "{answer}");
    }
    idle(&client, &path).await;
    (session["id"].as_str().expect("an id").to_owned(), false)
}

/// What the project's budget says, which is never more than it allows.
async fn look(client: &Client) -> Value {
    let budget = client.get("/v1/tenure/budgets/project").await;
    let total = budget["periods"].as_array().expect("periods").iter().find(|it| it["period"] == "total");
    let total = total.expect("it is limited").clone();
    let of = |part: &str, member: &str| total[part][member].as_u64().expect("a number");
    for (member, limit) in [("calls", CALLS), ("money_micros", MICROS)] {
        // Both are rounded up, each by less than one.
        let sum = of("spent", member) + of("reserved", member);
        assert!(sum <= limit + 1, "{member}: {total}");
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sessions_overspend_nothing_whatever_dies() {
    let (seed, rounds) = (number("TENURE_KILL_SEED", SEED), number("TENURE_KILL_ROUNDS", ROUNDS).min(ROUNDS));
    println!("seed {seed}, {rounds} kills");
    let directory = Directory::new();
    let root = directory.path();
    directory.write("script.yaml", SCRIPT);
    let model = Process::listening(root, &["mock", "openai", "--script", "script.yaml"]).await;
    directory.write("tenure.yaml", &project(&format!("{}/v1", model.address)).to_string());
    directory.write("agents/talk.md", "---\nmodel: talker\n---\nTalk.\n");
    let mut server = Process::listening(root, &SERVE).await;
    let (address, addresses) = watch::channel(Some(server.address.clone()));
    let client = Client::new(addresses);
    let ends = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..SESSIONS {
        clients.spawn(talk(client.clone(), number, Arc::clone(&ends)));
    }
    let (mut chance, mut cut_off) = (Rng::with_seed(seed), 0);
    for _ in 0..rounds {
        // Something is set aside and not settled; if the budget is spent, there is nothing to wait for.
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nothing is set aside, and the budget is not spent");
            let aside = look(&client).await["reserved"]["calls"].as_u64().expect("a number");
            if aside > 0 || ends.load(Ordering::Relaxed) {
                cut_off += u64::from(aside > 0);
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(chance.u64(0..60))).await;
        server.kill().await;
        address.send_replace(None);
        server = Process::listening(root, &SERVE).await;
        address.send_replace(Some(server.address.clone()));
    }
    let told: Vec<(String, bool)> = clients.join_all().await;
    let refused = told.iter().filter(|(_, refused)| *refused).count();
    let last = look(&client).await;
    let upstream =
        Client::of(&model.address).get("/mock/requests").await["total"].as_u64().expect("a number");
    println!("{refused} of {} sessions were refused, {cut_off} kills cut calls off: {last}", told.len());
    assert!(refused > 0 && cut_off > 0, "too little happened");
    for member in ["calls", "money_micros", "tokens", "seconds"] {
        assert_eq!(last["reserved"][member], 0, "nothing stays set aside: {last}");
    }
    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));

    let store = SqliteStore::open(&root.join(".tenure")).expect("opens");
    let keys = store.every_session(None, usize::MAX).await.expect("readable");
    assert_eq!(keys.len() as u64, SESSIONS);
    let id = BudgetId::at(BudgetScope::Project, Period::Total, Timestamp::EPOCH);
    let mut expected = BudgetUse::default();
    for key in &keys {
        let own = of_journal(&store, *key, id).await;
        assert_eq!(own.reserved, Amounts::default(), "{}", key.session);
        expected.spent = expected.spent.plus(&own.spent);
    }
    let found = store.budget_uses(keys[0].project, &[id]).await.expect("readable")[0];
    assert_eq!(found, expected, "what a budget says is what the journals say");
    let Amounts { nano_usd, calls, .. } = found.spent;
    assert!(calls <= CALLS && nano_usd <= MICROS * 1_000, "{found:?}");
    assert!(upstream <= calls, "the provider saw {upstream} calls, {calls} were counted");
    println!("{upstream} calls reached the provider, {calls} were counted of {CALLS}");
}

/// What one session's journal says of a budget.
async fn of_journal(store: &SqliteStore, key: SessionKey, id: BudgetId) -> BudgetUse {
    let events = store.events(key, Version::ZERO, usize::MAX).await.expect("readable");
    let refused = |event: &Event| {
        matches!(event, Event::AttemptStarted { held: Some(held), .. }
            if held.amounts.of(Measure::Calls) != 1 || !held.budgets.contains(&id))
    };
    assert!(
        !events.iter().any(|recorded| refused(&recorded.event)),
        "every attempt is one call of the project"
    );
    let (mut state, mut used) = (None::<Session>, BudgetUse::default());
    for part in appends(&events) {
        let batch = Session::follow(key, state.as_ref(), part).expect("a journal without gaps");
        for step in &batch.uses {
            match *step {
                UseStep::Reserve { budget, amounts } if budget == id => {
                    used.reserved = used.reserved.plus(&amounts);
                }
                UseStep::Settle { budget, reserved, spent } if budget == id => used.settle(&reserved, &spent),
                UseStep::Reserve { .. } | UseStep::Settle { .. } => {}
            }
        }
        state = Some(batch.after);
    }
    used
}
