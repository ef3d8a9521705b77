//! The server as a process that is killed, over and over, while clients use it and services act for it.
//!
//! Random moments come from a seed, which is printed; `TENURE_KILL_SEED` sets it, `TENURE_KILL_ROUNDS` says
//! how often to kill. What the operating system does in between is its own.

mod budgets;
mod check;
mod client;
mod contents;
mod courier;
mod erasure;
mod failover;
mod hooks;
mod hosted;
mod moving;
mod power;
mod reader;
mod remains;
mod timetable;
mod visitor;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use tenure_store_sqlite::SqliteStore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use check::{Deeds, Tally};
use client::Client;
use courier::Courier;
use reader::Readings;
use visitor::{Town, Visited, Visitor};
use world::{Directory, Process};

/// The seed of a run that does not set another.
const SEED: u64 = 0x7e27_0e5e;
/// Kills of a run that does not set another number.
const ROUNDS: u32 = 64;
/// Sessions that are used at once.
const VISITORS: u64 = 10;
/// One visitor of so many reads its sessions' streams.
const READS_EVERY: u64 = 5;
/// The pause between two looks at a session.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long a kill waits for its worst moment before it settles for another.
const MOMENT: Duration = Duration::from_secs(2);
/// Where the payment service looks whether it should keep an answer back.
const HOLD: &str = "hold";
const LEDGER: &str = "ledger.jsonl";
const SERVE: [&str; 3] = ["serve", "--port", "0"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// When a server is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Whatever it is doing.
    Any(Duration),
    /// A refund is in the ledger and the server does not know it.
    Refunded,
    /// A parcel left and the server does not know it.
    Shipped,
    /// It has not finished starting.
    Starting(Duration),
}

impl Moment {
    fn choose(chance: &mut Rng) -> Self {
        let pause = Duration::from_millis(chance.u64(0..300));
        match chance.u8(0..10) {
            0..=4 => Self::Any(pause),
            5..=6 => Self::Refunded,
            7..=8 => Self::Shipped,
            _ => Self::Starting(pause),
        }
    }
}

struct Services {
    directory: Directory,
    model: Process,
    _orders: Process,
    _payments: Process,
    courier: Courier,
}

impl Services {
    async fn start() -> Self {
        let directory = Directory::new();
        let root = directory.path();
        directory.write("script.yaml", include_str!("script.yaml"));
        let model = Process::listening(root, &["mock", "openai", "--script", "script.yaml"]).await;
        let orders = Process::listening(root, &["mock", "orders", "--port", "0"]).await;
        let held = ["mock", "payments", "--port", "0", "--ledger", LEDGER, "--hold-after-commit", HOLD];
        let payments = Process::listening(root, &held).await;
        let (courier, courier_address) = Courier::serve().await;
        directory.write_project(
            &format!("{}/v1", model.address),
            &json!({
                "orders": {"type": "http", "url": orders.address},
                "payments": {"type": "http", "url": payments.address, "tenure": {"keyed": ["refund"]}},
                "courier": {"type": "http", "url": courier_address},
            }),
        );
        let agent = |model: &str, approval: &str| {
            let weigh = "{name: weigh, description: Weighs a parcel.}";
            format!(
                "---\nmodel: {model}\napproval: {approval}\nmcp: [orders, payments, courier]\n\
                 functions: [{weigh}]\nmulti_agent: {{enabled: true, max_concurrent_subagents: 64}}\n---\nDo what you are told.\n"
            )
        };
        directory.write("agents/bold.md", &agent("over-chat", "never"));
        directory.write("agents/careful.md", &agent("over-responses", "destructive"));
        Self { directory, model, _orders: orders, _payments: payments, courier }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join(".tenure")
    }

    async fn serve(&self) -> Process {
        Process::listening(self.directory.path(), &SERVE).await
    }

    /// Returns at the moment, or when it did not come.
    async fn wait_for(&self, moment: Moment) {
        match moment {
            Moment::Any(pause) => tokio::time::sleep(pause).await,
            Moment::Refunded => {
                self.directory.write(HOLD, "");
                let held = self.directory.path().join(format!("{HOLD}.held"));
                let there = async {
                    while !held.exists() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                // Nobody wants a refund just now.
                let _ = tokio::time::timeout(MOMENT, there).await;
            }
            Moment::Shipped => {
                self.courier.ship_one_silently(MOMENT).await;
            }
            Moment::Starting(_) => {}
        }
    }

    /// Lets answers through again that were kept back for a moment.
    fn release(&self) {
        self.courier.speak();
        // It is there only if a refund was waited for.
        let _ = std::fs::remove_file(self.directory.path().join(HOLD));
    }

    /// Kills the server at one moment after the other; gives the one that is left running.
    async fn torment(
        &self,
        rounds: u32,
        chance: &mut Rng,
        address: &watch::Sender<Option<String>>,
    ) -> Process {
        let mut server = self.serve().await;
        for _ in 0..rounds {
            address.send_replace(Some(server.address.clone()));
            let moment = Moment::choose(chance);
            self.wait_for(moment).await;
            server.kill().await;
            address.send_replace(None);
            self.release();
            if let Moment::Starting(pause) = moment {
                let starting = Process::starting(self.directory.path(), &SERVE);
                tokio::time::sleep(pause).await;
                starting.kill().await;
            }
            server = self.serve().await;
        }
        address.send_replace(Some(server.address.clone()));
        server
    }

    fn deeds(&self) -> Deeds {
        let ledger = std::fs::read_to_string(self.directory.path().join(LEDGER)).expect("a ledger");
        Deeds::new(&ledger, &self.courier.shipped())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let (seed, began) = (number("TENURE_KILL_SEED", SEED), Instant::now());
    let rounds = u32::try_from(number("TENURE_KILL_ROUNDS", ROUNDS.into())).expect("a number of kills");
    println!("seed {seed}, {rounds} kills");
    let services = Services::start().await;
    let (address, addresses) = watch::channel(None);
    let client = Client::new(addresses);
    let town = Arc::new(Town::new(LOOK_EVERY));
    let mut visitors = JoinSet::new();
    for number in 0..VISITORS {
        let chance = Rng::with_seed(seed ^ (number + 1));
        let (client, town, reads) = (client.clone(), Arc::clone(&town), number % READS_EVERY == 0);
        visitors.spawn(Visitor { client, town, chance, reads }.visit());
    }
    let server = services.torment(rounds, &mut Rng::with_seed(seed), &address).await;
    println!("healed after {:.1} s", began.elapsed().as_secs_f64());
    town.closing.store(true, Ordering::Relaxed);
    let visited: Vec<Visited> = visitors.join_all().await.into_iter().flatten().collect();

    let tally = check::all(&client, &visited, &services.deeds()).await;
    println!("{tally:?}");
    assert!(was_a_test(&tally), "too little happened: {tally:?}");
    let Readings { elsewhere, told, .. } = tally.readings;
    assert!(elsewhere > 0 && told > 0, "too little was read: {tally:?}");
    let upstream = Client::of(&services.model.address).get("/mock/requests").await;
    assert_eq!(
        upstream["invalid"],
        0,
        "a strict provider would have refused requests: {}",
        refused(&upstream)
    );
    println!("{} requests to the model, none of them malformed", upstream["total"]);

    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));
    let store = SqliteStore::open(&services.data()).expect("opens");
    let integrity = store.integrity().await.expect("readable");
    assert_eq!(integrity.problems, Vec::<String>::new());
    println!("{} events, {:.1} s", integrity.events, began.elapsed().as_secs_f64());
}

#[tokio::test]
async fn asked_to_end_it_finishes_what_runs() {
    let directory = Directory::new();
    let root = directory.path();
    directory.write("script.yaml", include_str!("script.yaml"));
    directory.write("agents/slow.md", "Take your time.\n");
    let model = Process::listening(root, &["mock", "openai", "--script", "script.yaml"]).await;
    directory.write_project(&format!("{}/v1", model.address), &json!({}));
    let server = Process::listening(root, &SERVE).await;
    let client = Client::of(&server.address);
    let body = json!({"agent_id": "slow", "environment": {"type": "none"}, "input": "slow ord_0"});
    let (status, session) = client.post("/v1/agents/sessions", &body, "key-0").await;
    assert_eq!(status, 201, "{session}");
    let upstream = Client::of(&model.address);
    while upstream.get("/mock/requests").await["total"] == 0 {
        tokio::task::yield_now().await;
    }

    // The data directory is taken, and stays usable for the server that has it.
    let second = Process::starting(root, &SERVE);
    let (code, said) = second.ended().await;
    assert_eq!(code, Some(1));
    assert!(said.contains("error[start]") && said.contains("fix: end the other server"), "{said}");

    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));
    let server = Process::listening(root, &SERVE).await;
    let client = Client::of(&server.address);
    let path = format!("/v1/agents/sessions/{}", session["id"].as_str().expect("an id"));
    assert_eq!(client.get(&path).await["status"], "idle");
    let items = client.list(&format!("{path}/items")).await;
    let answer = items.last().expect("an answer");
    assert_eq!((answer["role"].as_str(), answer["status"].as_str()), (Some("assistant"), Some("completed")));
    let asked = upstream.get("/mock/requests").await;
    assert_eq!(asked["total"], 1, "the turn was finished by the server that began it");
}

/// Whether a run met what it is about.
fn was_a_test(tally: &Tally) -> bool {
    let counts = [
        tally.sessions,
        tally.turns_cancelled,
        tally.approved,
        tally.denied,
        tally.refunds,
        tally.parcels,
        tally.unknown,
        tally.subagents,
        tally.reports,
    ];
    counts.iter().all(|count| *count > 0)
}

/// What a strict provider would have said to the latest requests.
fn refused(upstream: &Value) -> String {
    let requests = upstream["requests"].as_array().expect("requests");
    let bad: Vec<String> = requests
        .iter()
        .filter(|request| request["valid"] == false)
        .map(|request| format!("{} in {}", request["violations"], request["body"]))
        .collect();
    bad.join("\n")
}
