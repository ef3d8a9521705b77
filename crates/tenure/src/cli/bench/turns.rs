//! Whole turns: from a message to the end, every fact of it durable.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenure_journal::{ContextItem, InputPart, ModelRequest, Reasoning, ServiceTier, TextConfig};
use tenure_model::Model as _;
use tenure_store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lab::{self, Lab, cpu_seconds};
use super::{Benchmark, Row, failed, median};
use crate::cli::error::CliError;

/// Sessions at once.
pub(super) const CONCURRENT: usize = 64;
/// Turns of one session, so that contexts stay as short as those of the bare loop.
const TURNS_PER_SESSION: usize = 8;
const CPU_GOAL: &str = "under 1 ms over the bare call";

/// Counts over a time.
pub(super) struct Rate {
    count: u64,
    seconds: f64,
    /// Seconds of processor time.
    cpu: Option<f64>,
}

impl Rate {
    pub(super) fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    fn cpu_ms_each(&self) -> Option<f64> {
        Some(self.cpu? * 1_000.0 / self.count as f64)
    }
}

pub(super) async fn measure(parent: &Path, each: Duration) -> Result<Vec<Row>, CliError> {
    let directory = lab::directory(parent)?;
    let lab = Arc::new(Lab::open(&directory.path().join("data")).await?);
    let bare = timed(CONCURRENT, each, &|until| bare_calls(until)).await?;
    let commits = lab.store.commits();
    let many = timed(CONCURRENT, each, &|until| turns(Arc::clone(&lab), until)).await?;
    let commits_many = lab.store.commits() - commits;
    let commits = lab.store.commits();
    let alone = alone(&lab, each).await?;
    let commits_alone = lab.store.commits() - commits;
    let row = |what: &str, value, unit| Row::new(Benchmark::Turns, what, value, unit);
    let per_turn = |commits: u64, turns: u64| commits as f64 / turns as f64;
    let turns_alone = alone.len() as u64;
    let mut rows = vec![
        row("turns, 64 sessions", many.per_second(), "/s").beside("bare model calls /s", bare.per_second()),
        row("one turn alone, median", median(alone), "ms"),
        row("durable commits a turn, alone", per_turn(commits_alone, turns_alone), "commits"),
        row("durable commits a turn, 64 sessions", per_turn(commits_many, many.count), "commits"),
    ];
    if let (Some(turn), Some(call)) = (many.cpu_ms_each(), bare.cpu_ms_each()) {
        // A turn without tools is one step.
        rows.push(
            row("processor time of a step", turn, "ms")
                .beside("ms of a bare model call", call)
                .goal(CPU_GOAL),
        );
    }
    if let Some(lab) = Arc::into_inner(lab) {
        lab.close().await?;
    }
    Ok(rows)
}

/// Lets `concurrent` workers count for a time.
pub(super) async fn timed<F>(
    concurrent: usize,
    each: Duration,
    work: &(dyn Fn(Instant) -> F + Sync),
) -> Result<Rate, CliError>
where
    F: Future<Output = Result<u64, CliError>> + Send + 'static,
{
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut workers = JoinSet::new();
    for _ in 0..concurrent {
        workers.spawn(work(began + each));
    }
    let mut count = 0;
    while let Some(done) = workers.join_next().await {
        count += done.map_err(|error| failed("a worker", error))??;
    }
    let cpu = cpu.zip(cpu_seconds()).map(|(before, after)| after - before);
    Ok(Rate { count, seconds: began.elapsed().as_secs_f64(), cpu })
}

pub(super) async fn turns<S: Store>(lab: Arc<Lab<S>>, until: Instant) -> Result<u64, CliError> {
    let mut turns = 0;
    while Instant::now() < until {
        let mut conversation = lab.converse().await?;
        for _ in 1..TURNS_PER_SESSION {
            conversation.turn().await?;
        }
        turns += TURNS_PER_SESSION as u64;
    }
    Ok(turns)
}

/// How long each turn took, in milliseconds, with nothing else going on.
async fn alone(lab: &Lab, each: Duration) -> Result<Vec<f64>, CliError> {
    let until = Instant::now() + each;
    let mut took = Vec::new();
    while Instant::now() < until {
        let mut began = Instant::now();
        let mut conversation = lab.converse().await?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
        for _ in 1..TURNS_PER_SESSION {
            began = Instant::now();
            conversation.turn().await?;
            took.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    Ok(took)
}

/// The same model without anything around it.
async fn bare_calls(until: Instant) -> Result<u64, CliError> {
    /// Calls between two looks at the clock.
    const CALLS: u64 = 32;
    let model = lab::instant_model()?;
    let user = |text: &str| ContextItem::User { content: vec![InputPart::text(text)] };
    let request = ModelRequest {
        model: "scripted".to_owned(),
        instructions: Some("Be brief.".to_owned()),
        input: vec![user("hello")],
        tools: Vec::new(),
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        cache_key: "bench".to_owned(),
        cache_ttl: None,
        output_tokens_max: None,
    };
    let cancel = CancellationToken::new();
    let mut calls = 0;
    while Instant::now() < until {
        for _ in 0..CALLS {
            let answer = model.answer(&request, &mut |_| {}, &cancel).await;
            answer.map_err(|failure| failed("a model call", failure.message))?;
        }
        calls += CALLS;
        tokio::task::yield_now().await;
    }
    Ok(calls)
}
