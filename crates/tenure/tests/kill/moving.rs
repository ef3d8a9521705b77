//! Moving from the embedded database to PostgreSQL: sessions go on there as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fastrand::Rng;
use tenure_testkit::postgres::Postgres;
use tokio::process::Command;

use super::client::Client;
use super::visitor::{Town, Visitor};
use super::world::Process;
use super::{LOOK_EVERY, SEED, Services, check};

/// Sessions before the move, and after it.
const VISITORS: u64 = 4;

async fn visit(address: &str, town: &Arc<Town>, seed: u64) -> Vec<super::visitor::Visited> {
    town.closing.store(true, Ordering::Relaxed);
    let mut visited = Vec::new();
    for number in 0..VISITORS {
        let chance = Rng::with_seed(seed + number);
        let visitor = Visitor { client: Client::of(address), town: Arc::clone(town), chance, reads: false };
        visited.extend(visitor.visit().await);
    }
    visited
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_move_to_postgres_and_go_on() {
    let services = Services::start().await;
    let (root, data) = (services.directory.path(), services.data());
    let town = Arc::new(Town::new(LOOK_EVERY));
    let server = services.serve().await;
    let mut visited = visit(&server.address, &town, SEED).await;
    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));

    let postgres = Arc::new(Postgres::start(""));
    let database = postgres.database();
    for again in [false, true] {
        let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["migrate", "--from", "sqlite", "--to", "postgres", "-o", "json"])
            .current_dir(root)
            .env("TENURE_DATABASE_URL", database.url())
            .output()
            .await
            .expect("it runs");
        let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "again: {again}: {said}");
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        // Those of subagents are moved as well, and counted.
        assert!(told["sessions"].as_u64() >= Some(visited.len() as u64), "{told}");
        assert!(told["events"].as_u64() > Some(0) && told["documents"].as_u64() > Some(0), "{told}");
    }

    let (url, key) = (database.url(), data.join("sealing.key").display().to_string());
    let elsewhere = root.join("node").display().to_string();
    let arguments = ["serve", "--port", "0", "--data", &elsewhere, "--database", &url, "--sealing-key", &key];
    let server = Process::listening(root, &arguments).await;
    visited.extend(visit(&server.address, &town, SEED ^ 0xffff).await);
    check::all(&Client::of(&server.address), &visited, &services.deeds()).await;
    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));
}
