//! Three servers on one PostgreSQL: killed, frozen beyond their lease and cut off from the database at
//! random, while clients use whichever answers, read streams, come by the clock and are told by webhooks. The
//! database itself is restarted once.
//!
//! `TENURE_FAILOVER_SECONDS` and `TENURE_FAILOVER_VISITORS` make it longer and busier.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tenure_store_postgres::{Options, PostgresStore};
use tenure_testkit::postgres::{Database, Postgres};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::check;
use super::client::Client;
use super::hooks::Hooks;
use super::reader::Readings;
use super::visitor::{Town, Visited, Visitor};
use super::world::Process;
use super::{HOLD, MOMENT, Moment, READS_EVERY, SEED, Services, number, refused, was_a_test};

const NODES: usize = 3;
/// How long nodes are tormented, in seconds.
const SECONDS: u64 = 120;
/// Sessions that are used at once.
const VISITORS: u64 = 200;
/// Visitors who open sessions and wake them by the clock, once; and as many who do so every minute.
const SCHEDULERS: u64 = 3;
/// Visitors are many and look rarely.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The lease of the nodes, in seconds: short, so that a freeze outlives it.
const LEASE_SECONDS: u64 = 2;
/// How often clients turn to another node.
const TURN_EVERY: Duration = Duration::from_millis(20);

/// What was done to the nodes.
#[derive(Debug, Default)]
struct Torments {
    kills: u32,
    massacres: u32,
    freezes: u32,
    cuts: u32,
    restarts: u32,
}

/// The nodes, each of them running, frozen or absent.
struct Cluster {
    services: Services,
    database: Database,
    nodes: Vec<Option<Process>>,
    /// Where clients may turn to.
    addresses: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    async fn start(database: Database) -> Self {
        let services = Services::start().await;
        let mut cluster =
            Self { services, database, nodes: (0..NODES).map(|_| None).collect(), addresses: Arc::default() };
        for node in 0..NODES {
            cluster.serve(node).await;
        }
        cluster
    }

    async fn serve(&mut self, node: usize) {
        let (url, root) = (self.database.url(), self.services.directory.path());
        let data = root.join(format!("node-{node}")).display().to_string();
        let key = root.join("sealing.key").display().to_string();
        let lease = LEASE_SECONDS.to_string();
        let arguments = [
            "serve",
            "--port",
            "0",
            "--data",
            &data,
            "--database",
            &url,
            "--sealing-key",
            &key,
            "--lease-seconds",
            &lease,
        ];
        self.nodes[node] = Some(Process::listening(root, &arguments).await);
        self.tell().await;
    }

    /// Says who can be asked. A frozen node stays among them: nobody knows that it is.
    async fn tell(&self) {
        *self.addresses.lock().await = self.nodes.iter().flatten().map(|node| node.address.clone()).collect();
    }

    async fn kill(&mut self, node: usize) {
        if let Some(process) = self.nodes[node].take() {
            process.kill().await;
        }
        self.tell().await;
    }

    /// Whoever made a refund, or shipped a parcel, dies before it knows; and all the others.
    async fn massacre(&mut self, chance: &mut Rng) {
        self.services.wait_for(if chance.bool() { Moment::Refunded } else { Moment::Shipped }).await;
        for node in 0..NODES {
            self.kill(node).await;
        }
        self.services.release();
        for node in 0..NODES {
            self.serve(node).await;
        }
    }

    /// Torments the nodes until `until`, and leaves all of them running.
    async fn torment(&mut self, until: Instant, server: &Postgres, chance: &mut Rng) -> Torments {
        let (began, mut done) = (Instant::now(), Torments::default());
        while Instant::now() < until {
            if done.restarts == 0 && began.elapsed() > (until - began) / 2 {
                done.restarts += 1;
                server.restart();
            }
            if done.massacres == 0 && began.elapsed() > (until - began) / 4 {
                self.massacre(chance).await;
                done.massacres += 1;
            }
            let node = chance.usize(..NODES);
            let pause = Duration::from_millis(chance.u64(0..1_000));
            match chance.u8(0..10) {
                0..=3 => {
                    tokio::time::sleep(pause).await;
                    self.kill(node).await;
                    done.kills += 1;
                    tokio::time::sleep(Duration::from_millis(chance.u64(0..3_000))).await;
                    self.serve(node).await;
                }
                4 => {
                    self.massacre(chance).await;
                    done.massacres += 1;
                }
                5..=7 => {
                    let frozen = self.nodes[node].as_ref().expect("it runs");
                    frozen.freeze();
                    tokio::time::sleep(Duration::from_millis(chance.u64(200..LEASE_SECONDS * 3_000))).await;
                    frozen.thaw();
                    done.freezes += 1;
                }
                _ => {
                    server.cut(&self.database, 50);
                    done.cuts += 1;
                    tokio::time::sleep(pause).await;
                }
            }
        }
        done
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_loses_nothing_and_does_nothing_twice() {
    let (seed, began) = (number("TENURE_KILL_SEED", SEED), Instant::now());
    let seconds = number("TENURE_FAILOVER_SECONDS", SECONDS);
    println!("seed {seed}, {seconds} s, lease {LEASE_SECONDS} s, hold at `{HOLD}` for {MOMENT:?}");
    let server = Arc::new(Postgres::start(""));
    let mut cluster = Cluster::start(server.database()).await;
    let (address, addresses) = watch::channel(None);
    let turning = tokio::spawn(turn(Arc::clone(&cluster.addresses), address, Rng::with_seed(seed)));
    let client = Client::new(addresses);
    let town = Arc::new(Town::new(LOOK_EVERY));
    let mut visitors = JoinSet::new();
    let hooks = Hooks::open(&client).await;
    let visitor = |number: u64, reads| {
        let chance = Rng::with_seed(seed ^ (number + 1));
        Visitor { client: client.clone(), town: Arc::clone(&town), chance, reads }
    };
    let many = number("TENURE_FAILOVER_VISITORS", VISITORS);
    for number in 0..many {
        visitors.spawn(visitor(number, number % READS_EVERY == 0).visit());
    }
    for number in many..many + SCHEDULERS {
        visitors.spawn(visitor(number, false).schedule());
        visitors.spawn(visitor(number + SCHEDULERS, false).every_minute());
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let torments = cluster.torment(until, &server, &mut Rng::with_seed(seed)).await;
    println!("healed after {:.1} s: {torments:?}", began.elapsed().as_secs_f64());
    town.closing.store(true, Ordering::Relaxed);
    let visited: Vec<Visited> = visitors.join_all().await.into_iter().flatten().collect();

    let tally = check::all(&client, &visited, &cluster.services.deeds()).await;
    println!("{tally:?}");
    assert!(was_a_test(&tally), "too little happened: {tally:?}");
    let Readings { elsewhere, told, listed, .. } = tally.readings;
    assert!([elsewhere, told, listed].iter().all(|count| *count > 0), "too little was read: {tally:?}");
    let Torments { kills, massacres, freezes, cuts, restarts } = torments;
    assert!([kills, massacres, freezes, cuts, restarts].iter().all(|count| *count > 0), "{torments:?}");
    let upstream = Client::of(&cluster.services.model.address).get("/mock/requests").await;
    assert_eq!(upstream["invalid"], 0, "a strict provider would have refused: {}", refused(&upstream));

    let options = Options::parse(&cluster.database.url()).expect("a URL");
    let store = PostgresStore::open(&options).await.expect("opens");
    let (events, posts) = hooks.check(&store, &visited).await;
    println!("{events} events were told in {posts} posts after {:.1} s", began.elapsed().as_secs_f64());
    assert!(posts > events, "no delivery failed");

    turning.abort();
    for node in cluster.nodes.iter_mut().filter_map(Option::take) {
        node.ask_to_end();
        assert_eq!(node.ended().await.0, Some(0));
    }
    let integrity = store.integrity().await.expect("readable");
    // The server of this test may have been started without syncs; everything else must be well.
    assert_eq!(integrity.problems, Vec::<String>::new());
    store.close().await.expect("closes");
    println!(
        "{} requests to the model, {} events, {:.1} s",
        upstream["total"],
        integrity.events,
        began.elapsed().as_secs_f64()
    );
}

/// Lets clients turn to another node all the time: any node takes any request.
async fn turn(addresses: Arc<Mutex<Vec<String>>>, address: watch::Sender<Option<String>>, mut chance: Rng) {
    loop {
        let some = addresses.lock().await.clone();
        let one = (!some.is_empty()).then(|| some[chance.usize(..some.len())].clone());
        address.send_replace(one);
        tokio::time::sleep(TURN_EVERY).await;
    }
}
