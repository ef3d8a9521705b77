//! Sending the traces of finished turns to a collector, over OTLP/HTTP in JSON.
//!
//! A collector is a convenience: whatever it does, no session waits for it or fails. The queue is short,
//! what does not fit is dropped and counted, and the journal still has it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{SessionKey, TurnId, Version};
use tenure_session::Batch;
use tenure_telemetry::{Subject, Trace, otlp};
use tokio::sync::mpsc;

use crate::handle::Shared;
use crate::metrics::Metrics;
use crate::{RuntimeError, traces};

/// Turns that may wait for their export.
const QUEUE_TURNS_MAX: usize = 1_024;
/// Turns that go out in one request.
const TURNS_PER_REQUEST: usize = 16;
/// Tries of one request.
const ATTEMPTS_MAX: u32 = 3;
/// The pause after the first failed try; each further one is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What became of a trace, as it is counted.
const EXPORTED: &str = "exported";
const DROPPED: &str = "dropped";

/// Where traces are sent.
#[derive(Clone)]
pub struct ExportConfig {
    /// The address that is posted to, with its path, usually `/v1/traces`.
    pub endpoint: String,
    /// Headers of every request; they may hold a secret.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for ExportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportConfig").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The way from the actors to the worker that exports.
#[derive(Debug)]
pub(crate) struct Exporter {
    queue: mpsc::Sender<Finished>,
}

/// A turn that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    key: SessionKey,
    turn_id: TurnId,
    /// The version of its last event, at least.
    version: Version,
    subject: Subject,
}

impl Exporter {
    /// An exporter, and what its worker reads from.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Finished>) {
        let (queue, finished) = mpsc::channel(QUEUE_TURNS_MAX);
        (Self { queue }, finished)
    }

    /// How many turns wait.
    pub(crate) fn waiting(&self) -> u64 {
        (self.queue.max_capacity() - self.queue.capacity()) as u64
    }

    /// Tells of the turns that a committed batch has ended. Never waits.
    pub(crate) fn committed(&self, batch: &Batch, metrics: &Metrics) {
        for turn in batch.turns.iter().filter(|turn| turn.status.is_terminal()) {
            let key = batch.after.key();
            let finished = Finished {
                key,
                turn_id: turn.id,
                version: batch.after.version(),
                subject: Subject::new(key.session, batch.after.agent()),
            };
            if self.queue.try_send(finished).is_err() {
                metrics.traces.with(&[DROPPED]).add(1);
                tracing::debug!(session = %key.session, turn = %turn.id, "a trace was dropped: too many wait");
            }
        }
    }
}

/// Exports until the runtime stops; what waits then is not exported.
pub(crate) async fn run(shared: Arc<Shared>, config: ExportConfig, mut finished: mpsc::Receiver<Finished>) {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "traces cannot be exported");
            return;
        }
    };
    let mut waiting = Vec::with_capacity(TURNS_PER_REQUEST);
    loop {
        waiting.clear();
        tokio::select! {
            () = shared.stop.cancelled() => return,
            received = finished.recv_many(&mut waiting, TURNS_PER_REQUEST) => if received == 0 {
                return;
            },
        }
        let export = async {
            let mut found = Vec::with_capacity(waiting.len());
            for turn in waiting.drain(..) {
                match read(&shared, turn).await {
                    Ok(trace) => found.extend(trace),
                    Err(error) => {
                        tracing::warn!(%error, "a trace cannot be read for its export");
                        shared.metrics.traces.with(&[DROPPED]).add(1);
                    }
                }
            }
            if !found.is_empty() {
                let outcome = send(&client, &config, &found).await;
                shared.metrics.traces.with(&[outcome]).add(found.len() as u64);
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = export => {}
        }
    }
}

async fn read(shared: &Shared, turn: Finished) -> Result<Vec<Trace>, RuntimeError> {
    let Finished { key, turn_id, version, subject } = turn;
    let store = shared.store.as_ref();
    let wanted = BTreeSet::from([turn_id]);
    let from = traces::before(store, key, version, wanted.clone()).await?;
    traces::of_turns(store, key, from, wanted, subject, shared.trace_content).await
}

/// Sends traces; gives what became of them.
async fn send(client: &reqwest::Client, config: &ExportConfig, found: &[Trace]) -> &'static str {
    let body = otlp::request(found).to_string();
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS_MAX {
        let mut request = client.post(&config.endpoint).header("content-type", "application/json");
        for (name, value) in &config.headers {
            request = request.header(name, value);
        }
        let why = match request.body(body.clone()).send().await {
            Ok(response) if response.status().is_success() => return EXPORTED,
            // What a collector refuses it refuses again.
            Ok(response) if response.status().is_client_error() && response.status().as_u16() != 429 => {
                tracing::warn!(status = response.status().as_u16(), "the collector refuses traces");
                return DROPPED;
            }
            Ok(response) => format!("status {}", response.status().as_u16()),
            Err(error) => error.without_url().to_string(),
        };
        if attempt == ATTEMPTS_MAX {
            tracing::warn!(
                traces = found.len(),
                why,
                "traces were not exported: the collector does not answer"
            );
            return DROPPED;
        }
        tokio::time::sleep(pause).await;
        pause *= 4;
    }
    DROPPED
}
