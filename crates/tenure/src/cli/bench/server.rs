//! The server as a process: how fast it starts, what idle sessions weigh, and how fast it is back.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lab::{Lab, Served, Site};
use super::{Benchmark, Row, failed, median};
use crate::cli::error::CliError;
use crate::cli::find::SESSIONS;

/// Sessions that are there and do nothing.
const IDLE: usize = 10_000;
/// Sessions that wait for a model when the server is killed.
pub(super) const IN_FLIGHT: usize = 1_000;
/// Requests at once.
const CONCURRENT: usize = 32;
/// Starts, of which the middle one counts.
const STARTS: usize = 7;
/// How long the model may wait for all calls.
const PATIENCE: Duration = Duration::from_secs(120);
/// A provider that is never asked.
const NOBODY: &str = "http://127.0.0.1:9/v1";
const IDLE_GOAL: &str = "0 bytes";
const RECOVERY_GOAL: &str = "under 1000 ms, none lost, none doubled";
const START_GOAL: &str = "under 300 ms";

pub(super) async fn start(parent: &Path) -> Result<Vec<Row>, CliError> {
    let mut fresh = Vec::new();
    for _ in 0..STARTS {
        let site = Site::new(parent, NOBODY)?;
        let server = site.serve().await?;
        fresh.push(millis(server.took));
        server.kill().await?;
    }
    let used = Site::new(parent, NOBODY)?;
    fill(&used).await?;
    let mut again = Vec::new();
    for _ in 0..STARTS {
        let server = used.serve().await?;
        again.push(millis(server.took));
        server.kill().await?;
    }
    let row = |what: &str, value| Row::new(Benchmark::Start, what, value, "ms").goal(START_GOAL);
    Ok(vec![
        row("start in an empty directory, median", median(fresh)),
        row("start with 10000 idle sessions, after kill -9, median", median(again)),
    ])
}

pub(super) async fn idle(parent: &Path) -> Result<Vec<Row>, CliError> {
    let (empty, full) = (Site::new(parent, NOBODY)?, Site::new(parent, NOBODY)?);
    fill(&full).await?;
    let (Some(empty), Some(full)) = (memory(&empty).await?, memory(&full).await?) else {
        return Ok(Vec::new());
    };
    let row = |what: &str, value, unit| Row::new(Benchmark::Idle, what, value, unit);
    Ok(vec![
        row("memory of an idle session, of 10000", (full - empty) / IDLE as f64, "bytes").goal(IDLE_GOAL),
        row("memory of the server with them", full / 1_048_576.0, "MiB")
            .beside("MiB without", empty / 1_048_576.0),
    ])
}

/// Bytes a server has after its start; the least of a few, which is the one with the fewest accidents.
async fn memory(site: &Site) -> Result<Option<f64>, CliError> {
    let mut least: Option<f64> = None;
    for _ in 0..STARTS {
        let server = site.serve().await?;
        let bytes = server.memory_bytes();
        server.kill().await?;
        least = match (least, bytes) {
            (Some(least), Some(bytes)) => Some(least.min(bytes)),
            (least, bytes) => least.or(bytes),
        };
    }
    Ok(least)
}

/// Sessions that had one turn each.
async fn fill(site: &Site) -> Result<(), CliError> {
    let lab = Arc::new(Lab::open(&site.data()).await?);
    let mut workers = JoinSet::new();
    for _ in 0..CONCURRENT {
        let lab = Arc::clone(&lab);
        workers.spawn(async move {
            for _ in 0..IDLE.div_ceil(CONCURRENT) {
                lab.converse().await?;
            }
            Ok::<_, CliError>(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done.map_err(|error| failed("a worker", error))??;
    }
    match Arc::into_inner(lab) {
        Some(lab) => lab.close().await,
        None => Ok(()),
    }
}

pub(super) async fn recovery(parent: &Path) -> Result<Vec<Row>, CliError> {
    let (upstream, address) = Upstream::serve().await?;
    let site = Site::new(parent, &address)?;
    let server = site.serve().await?;
    open(&server).await?;
    upstream.wait_for_all().await?;
    server.kill().await?;

    upstream.forget();
    let server = site.serve().await?;
    let all = upstream.wait_for_all().await? - server.began;
    let doubled = upstream.calls().saturating_sub(IN_FLIGHT);
    let (listening, row) =
        (server.took, |what: &str, value, unit| Row::new(Benchmark::Recovery, what, value, unit));
    server.kill().await?;
    Ok(vec![
        row("from the start until 1000 model calls are made again", millis(all), "ms").goal(RECOVERY_GOAL),
        row("from the start until it listens", millis(listening), "ms"),
        row("model calls that were made twice", doubled as f64, "calls").goal("0"),
    ])
}

/// Opens the sessions that will wait for a model.
pub(super) async fn open(server: &Served) -> Result<(), CliError> {
    let client = Arc::new(server.client()?);
    let mut workers = JoinSet::new();
    for worker in 0..CONCURRENT {
        let client = Arc::clone(&client);
        workers.spawn(async move {
            for number in (worker..IN_FLIGHT).step_by(CONCURRENT) {
                let body = json!({"agent_id": "bench", "environment": {"type": "none"},
                    "input": format!("session {number}")});
                client.post(SESSIONS, &body).await?;
            }
            Ok::<_, CliError>(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done.map_err(|error| failed("a worker", error))??;
    }
    Ok(())
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// A provider that never answers and knows who asked.
#[derive(Clone, Default)]
pub(super) struct Upstream {
    asked: Arc<Mutex<Asked>>,
    /// When everybody had asked.
    complete: watch::Sender<Option<Instant>>,
}

#[derive(Default)]
struct Asked {
    sessions: HashSet<String>,
    calls: usize,
}

impl Upstream {
    /// Serves on a free port; gives the address.
    pub(super) async fn serve() -> Result<(Self, String), CliError> {
        let upstream = Self::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = format!("http://{}/v1", listener.local_addr()?);
        let handler = upstream.clone();
        let asked = move |Json(request): Json<Value>| async move {
            handler.note(&request);
            std::future::pending::<()>().await;
        };
        let app = axum::Router::new().route("/v1/responses", post(asked));
        // It ends with the process; until then connections of servers that were killed come and go.
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok((upstream, address))
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, request: &Value) {
        let mut asked = self.asked();
        asked.calls += 1;
        // Each session says its own number.
        asked.sessions.insert(request["input"].to_string());
        if asked.sessions.len() == IN_FLIGHT {
            self.complete.send_if_modified(|complete| complete.replace(Instant::now()).is_none());
        }
    }

    pub(super) fn forget(&self) {
        *self.asked() = Asked::default();
        self.complete.send_replace(None);
    }

    pub(super) fn calls(&self) -> usize {
        self.asked().calls
    }

    pub(super) async fn wait_for_all(&self) -> Result<Instant, CliError> {
        let mut complete = self.complete.subscribe();
        let found = tokio::time::timeout(PATIENCE, complete.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(|found| found.ok().and_then(|at| *at));
        found.ok_or_else(|| failed("waiting for the model calls", format!("{} were made", self.calls())))
    }
}
