//! What nodes do with PostgreSQL: appends, turns, claims, and the takeover from one that was killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tenure_store_postgres::bench::Baseline;

use super::lab::{Lab, Site};
use super::server::{IN_FLIGHT, Upstream, millis, open};
use super::turns::{CONCURRENT, timed, turns as count_turns};
use super::{Benchmark, Row, failed};
use crate::cli::error::CliError;

/// Nodes at most.
const NODES: usize = 3;
/// Sessions that are there and do nothing, when claims are measured.
const IDLE: u64 = 1_000_000;
const APPENDS_GOAL: &str = "half of the bare inserts";
const CLAIMS_GOAL: &str = "the same";
const TAKEOVER_GOAL: &str = "within the lease of 10000 ms";

pub(super) async fn appends(database: &str, each: Duration) -> Result<Vec<Row>, CliError> {
    let url = database.to_owned();
    // It blocks and starts a runtime of its own.
    let measured = tokio::task::spawn_blocking(move || tenure_store_postgres::bench::appends(&url, each));
    let measured = measured.await.map_err(|error| failed("appending", error))?;
    let rows = measured.map_err(|error| failed("appending", error))?;
    let shown = rows.iter().map(|row| {
        let what = format!("durable appends of 1 KiB on PostgreSQL, {} sessions", row.sessions);
        let beside = match row.baseline {
            Baseline::Pgbench => "inserts /s of pgbench",
            Baseline::Loop => "inserts /s of a bare loop",
        };
        Row::new(Benchmark::ClusterAppends, what, row.appends_per_second, "/s")
            .beside(beside, row.bare_per_second)
            .goal(APPENDS_GOAL)
    });
    Ok(shown.collect())
}

pub(super) async fn turns(database: &str, each: Duration) -> Result<Vec<Row>, CliError> {
    let mut labs = Vec::new();
    let mut rows = Vec::new();
    for nodes in 1..=NODES {
        labs.push(Arc::new(Lab::join(database).await?));
        for sessions in [1, 8, CONCURRENT] {
            let next = AtomicUsize::new(0);
            let work = |until| {
                let place = next.fetch_add(1, Ordering::Relaxed);
                count_turns(Arc::clone(&labs[place % nodes]), until)
            };
            let rate = timed(sessions, each, &work).await?;
            let what = format!("turns on PostgreSQL, {nodes} nodes of one process, {sessions} sessions");
            rows.push(Row::new(Benchmark::ClusterTurns, what, rate.per_second(), "/s"));
        }
    }
    for lab in labs.into_iter().filter_map(Arc::into_inner) {
        lab.leave().await?;
    }
    Ok(rows)
}

pub(super) async fn claims(database: &str) -> Result<Vec<Row>, CliError> {
    let url = database.to_owned();
    let measured = tokio::task::spawn_blocking(move || tenure_store_postgres::bench::claims(&url, IDLE));
    let measured = measured.await.map_err(|error| failed("claiming", error))?;
    let rows = measured.map_err(|error| failed("claiming", error))?;
    let bare = rows.first().map_or(f64::NAN, |row| row.median_ms);
    let shown = rows.iter().skip(1).map(|row| {
        let what = format!("claiming 100 due sessions beside {} idle ones, median", row.idle);
        Row::new(Benchmark::ClusterClaims, what, row.median_ms, "ms")
            .beside("ms beside none", bare)
            .goal(CLAIMS_GOAL)
    });
    Ok(shown.collect())
}

pub(super) async fn takeover(parent: &Path, database: &str) -> Result<Vec<Row>, CliError> {
    let (upstream, address) = Upstream::serve().await?;
    let site = Site::new(parent, &address)?;
    let dying = site.node(1, database).await?;
    let heir = site.node(2, database).await?;
    open(&dying).await?;
    upstream.wait_for_all().await?;
    upstream.forget();
    let killed = Instant::now();
    dying.kill().await?;
    let all = upstream.wait_for_all().await? - killed;
    let doubled = upstream.calls().saturating_sub(IN_FLIGHT);
    heir.kill().await?;
    let row = |what: &str, value, unit| Row::new(Benchmark::ClusterTakeover, what, value, unit);
    Ok(vec![
        row("from SIGKILL until another node made 1000 model calls again", millis(all), "ms")
            .goal(TAKEOVER_GOAL),
        row("model calls that it made twice", doubled as f64, "calls").goal("0"),
    ])
}
