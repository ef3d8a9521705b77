//! Durable state by itself: appending to journals, and opening a long one.

use std::path::Path;
use std::time::{Duration, Instant};

use tenure_journal::Version;
use tenure_store::Store as _;

use super::lab::{self, Lab};
use super::{Benchmark, Row, failed, median};
use crate::cli::error::CliError;

/// Events of a long session.
const EVENTS: usize = 10_000;
/// Turns between two looks at how long the session has become.
const TURNS: usize = 100;
/// How often the long session is opened.
const OPENINGS: usize = 50;
const APPENDS_GOAL: &str = "at 64 sessions half of the bare loop";
const OPEN_GOAL: &str = "under 10 ms from a warm disk";

pub(super) async fn appends(parent: &Path, each: Duration) -> Result<Vec<Row>, CliError> {
    let directory = lab::directory(parent)?;
    let path = directory.path().to_owned();
    // It blocks and starts a runtime of its own.
    let measured =
        tokio::task::spawn_blocking(move || tenure_store_sqlite::bench::appends(&path, each)).await;
    let measured = measured.map_err(|error| failed("appending", error))?;
    let rows = measured.map_err(|error| failed("appending", error))?;
    let shown = rows.iter().map(|row| {
        let what = match row.sessions {
            1 => "durable appends of 1 KiB, 1 session".to_owned(),
            sessions => format!("durable appends of 1 KiB, {sessions} sessions"),
        };
        Row::new(Benchmark::Appends, what, row.appends_per_second, "/s")
            .beside("rows /s of a bare loop", row.bare_per_second)
            .goal(APPENDS_GOAL)
    });
    Ok(shown.collect())
}

pub(super) async fn open(parent: &Path) -> Result<Vec<Row>, CliError> {
    let directory = lab::directory(parent)?;
    let lab = Lab::open(&directory.path().join("data")).await?;
    let mut conversation = lab.converse().await?;
    let key = conversation.key;
    let unreadable = |error| failed("reading the journal", error);
    let mut events = 0;
    while events < EVENTS {
        for _ in 0..TURNS {
            conversation.turn().await?;
        }
        events = lab.store.events(key, Version::ZERO, usize::MAX).await.map_err(unreadable)?.len();
    }
    let mut took = Vec::new();
    for _ in 0..OPENINGS {
        let began = Instant::now();
        let view = lab.runtime.view(key).await.map_err(|error| failed("opening the session", error))?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
        drop(view);
    }
    let began = Instant::now();
    lab.store.events(key, Version::ZERO, usize::MAX).await.map_err(unreadable)?;
    let whole = began.elapsed().as_secs_f64() * 1_000.0;
    drop(conversation);
    lab.close().await?;
    let what = format!("opening a session with {events} events, median");
    Ok(vec![
        Row::new(Benchmark::Open, what, median(took), "ms")
            .beside("ms to read every event", whole)
            .goal(OPEN_GOAL),
    ])
}
