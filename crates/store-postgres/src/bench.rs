//! How many appends a second the store makes durable, beside what PostgreSQL does with bare inserts.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenure_journal::{Fresh, NodeId, Timestamp};
use tenure_store::bench::{BUSY_SESSIONS, Rate, Session};
use tenure_store::{Store as _, StoreError};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;

use crate::connect::{Connection, Connector, STATEMENT_DEADLINE, WRITER_SETTINGS, within};
use crate::error::unavailable;
use crate::{Options, PostgresStore};

/// Bytes of one row of the bare inserts.
const BARE_BYTES: usize = 1024;
/// How long store and bare inserts take turns within one row, at least: `pgbench` counts in whole seconds.
const TURN_MIN: Duration = Duration::from_secs(1);
/// Turns of each within one row, so that both meet the same moods of the disk.
const TURNS: u32 = 3;
/// Sessions that are due, when claims are measured, and how often they are claimed.
const DUE: usize = 100;
const CLAIMS: u64 = 41;
/// Between the first sessions of two rows, and the first one that is due: no session is in two of them.
const SESSIONS_APART: usize = 1_000;
const FIRST_DUE: usize = 1_000_000;
/// Idle sessions that are inserted with one statement.
const IDLE_AT_ONCE: usize = 50_000;
/// The program that makes the bare inserts.
const PROGRAM: &str = "pgbench";

/// Who makes the bare inserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// `pgbench`, as a child process with two threads.
    Pgbench,
    /// A loop on each of as many connections of this process as there are sessions, where `pgbench` is
    /// missing.
    Loop,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Sessions that append one event of 1 KiB after the other.
    pub sessions: usize,
    /// Durable appends per second, all sessions together.
    pub appends_per_second: f64,
    /// Appends that shared a transaction, on average.
    pub appends_per_commit: f64,
    /// Transactions per second, each of which inserts a row of 1 KiB into a table with a serial key, on as
    /// many connections as there are sessions.
    pub bare_per_second: f64,
    /// Who made them.
    pub baseline: Baseline,
}

impl Row {
    /// Appends for each bare insert; 1 would be a store that costs nothing.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.appends_per_second / self.bare_per_second
    }
}

/// Measures for about `each` at each number of sessions, in a database where nothing was measured before and
/// that is not used for anything else; what it writes stays there. Starts an async runtime of its own, so it must not be called
/// from one.
///
/// # Errors
/// The database cannot be used, or this was measured there before.
pub fn appends(url: &str, each: Duration) -> Result<Vec<Row>, StoreError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| unavailable("starting a runtime").with_source(error))?;
    runtime.block_on(measure(url, each))
}

/// What claiming 100 due sessions takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claims {
    /// Sessions in the table with nothing to do.
    pub idle: u64,
    /// The median of the claims.
    pub median_ms: f64,
}

/// Measures claims beside no idle sessions and beside `idle` of them, in a database as for [`appends`].
///
/// # Errors
/// As [`appends`].
pub fn claims(url: &str, idle: u64) -> Result<Vec<Claims>, StoreError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| unavailable("starting a runtime").with_source(error))?;
    runtime.block_on(measure_claims(url, idle))
}

async fn measure_claims(url: &str, idle: u64) -> Result<Vec<Claims>, StoreError> {
    let options = Options::parse(url)?;
    let store = PostgresStore::open(&options).await?;
    check_unmeasured(&store, FIRST_DUE).await?;
    for index in 0..DUE {
        let mut append = Session::new(FIRST_DUE + index).next();
        append.head.wake_at = Some(Timestamp::EPOCH);
        store.append(append).await?;
    }
    let mut rows = vec![Claims { idle: 0, median_ms: claimed(&store).await? }];
    let connection = Connector::new(&options)?.connect(WRITER_SETTINGS).await?;
    for first in (1..=idle).step_by(IDLE_AT_ONCE) {
        let last = idle.min(first + IDLE_AT_ONCE as u64 - 1);
        let row: [&(dyn ToSql + Sync); 2] = [&int(first), &int(last)];
        let filled = connection.query(include_str!("../sql/bench_idle.sql"), &row);
        within(STATEMENT_DEADLINE, "measuring", filled).await?;
    }
    let counted = connection.client.batch_execute(include_str!("../sql/bench_analyze.sql"));
    within(STATEMENT_DEADLINE, "measuring", counted).await?;
    connection.close().await;
    rows.push(Claims { idle, median_ms: claimed(&store).await? });
    store.close().await?;
    Ok(rows)
}

/// Refuses a database in which this was measured before: the sessions are the same each time, and begin with
/// nothing.
async fn check_unmeasured(store: &PostgresStore, index: usize) -> Result<(), StoreError> {
    match store.head(Session::new(index).key()).await? {
        None => Ok(()),
        Some(_) => Err(unavailable(
            "this was measured in this database before, and the rows of that are still there: measure in an \
             empty one (`dropdb` and `createdb` make it so)",
        )),
    }
}

/// What one of many claims of everything that is due takes.
async fn claimed(store: &PostgresStore) -> Result<f64, StoreError> {
    let mut took = Vec::new();
    for round in 0..CLAIMS {
        let node = NodeId::fresh(&Fresh::new(Timestamp::EPOCH, round));
        store.heartbeat(node, Duration::from_secs(60)).await?;
        let began = Instant::now();
        let claimed = store.claim_due(node, Timestamp::EPOCH, DUE, &[]).await?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
        if claimed.len() != DUE {
            return Err(unavailable(format!("{} of {DUE} sessions were claimed", claimed.len())));
        }
        store.retire(node).await?;
    }
    took.sort_by(f64::total_cmp);
    Ok(took[took.len() / 2])
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn measure(url: &str, each: Duration) -> Result<Vec<Row>, StoreError> {
    let options = Options::parse(url)?;
    let store = Arc::new(PostgresStore::open(&options).await?);
    check_unmeasured(&store, BUSY_SESSIONS[0] * SESSIONS_APART).await?;
    let bare = Bare::open(url, &options).await?;
    let turn = (each / (2 * TURNS)).max(TURN_MIN);
    let mut rows = Vec::new();
    for sessions in BUSY_SESSIONS {
        rows.push(compare(&store, &bare, sessions, turn).await?);
    }
    store.close().await?;
    Ok(rows)
}

async fn compare(
    store: &Arc<PostgresStore>,
    bare: &Bare,
    sessions: usize,
    turn: Duration,
) -> Result<Row, StoreError> {
    let mut busy: Vec<_> =
        (0..sessions).map(|index| Session::new(sessions * SESSIONS_APART + index)).collect();
    let (mut stored, mut bare_rate) = (Rate::default(), Rate::default());
    let commits = store.commits();
    for _ in 0..TURNS {
        let began = Instant::now();
        let until = began + turn;
        let mut tasks: JoinSet<_> =
            busy.drain(..).map(|session| session.append_until(Arc::clone(store), until)).collect();
        while let Some(ended) = tasks.join_next().await {
            let (session, appended) =
                ended.map_err(|error| unavailable("measuring").with_source(error))??;
            stored.count += appended;
            busy.push(session);
        }
        stored.time += began.elapsed();
        let inserted = bare.inserts(sessions, turn).await?;
        bare_rate.count += inserted.count;
        bare_rate.time += inserted.time;
    }
    let commits = store.commits() - commits;
    Ok(Row {
        sessions,
        appends_per_second: stored.per_second(),
        appends_per_commit: stored.count as f64 / commits.max(1) as f64,
        bare_per_second: bare_rate.per_second(),
        baseline: bare.baseline,
    })
}

struct Bare {
    url: String,
    connector: Connector,
    baseline: Baseline,
}

impl Bare {
    async fn open(url: &str, options: &Options) -> Result<Self, StoreError> {
        let connector = Connector::new(options)?;
        let connection = connector.connect(WRITER_SETTINGS).await?;
        let create = connection.client.batch_execute(include_str!("../sql/bench_create.sql"));
        within(STATEMENT_DEADLINE, "measuring", create).await?;
        connection.close().await;
        let version = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().await;
        let is_there = version.is_ok_and(|status| status.success());
        let baseline = if is_there { Baseline::Pgbench } else { Baseline::Loop };
        Ok(Self { url: url.to_owned(), connector, baseline })
    }

    async fn inserts(&self, connections: usize, time: Duration) -> Result<Rate, StoreError> {
        match self.baseline {
            Baseline::Pgbench => self.pgbench(connections, time).await,
            Baseline::Loop => self.looped(connections, time).await,
        }
    }

    async fn pgbench(&self, connections: usize, time: Duration) -> Result<Rate, StoreError> {
        let failed = |error| unavailable(format!("running {PROGRAM}")).with_source(error);
        let mut child = Command::new(PROGRAM)
            .args(["-n", "-f", "-", "-c", &connections.to_string(), "-j", "2", "-T"])
            .args([&time.as_secs().to_string(), &self.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(input) = child.stdin.take() {
            let mut input = std::fs::File::from(input.into_owned_fd().map_err(failed)?);
            input.write_all(include_bytes!("../sql/bench_script.sql")).map_err(failed)?;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |line: &str| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok();
        let rate = text.lines().find_map(number).filter(|_| output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        let rate =
            rate.ok_or_else(|| unavailable(format!("running {PROGRAM}: it says `{}`", said.trim())))?;
        Ok(Rate { count: (rate * time.as_secs_f64()) as u64, time })
    }

    async fn looped(&self, connections: usize, time: Duration) -> Result<Rate, StoreError> {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(self.connector.connect(WRITER_SETTINGS).await?);
        }
        let began = Instant::now();
        let mut tasks: JoinSet<_> =
            open.into_iter().map(|connection| insert_until(connection, began + time)).collect();
        let mut count = 0;
        while let Some(ended) = tasks.join_next().await {
            count += ended.map_err(|error| unavailable("measuring").with_source(error))??;
        }
        Ok(Rate { count, time: began.elapsed() })
    }
}

async fn insert_until(connection: Connection, until: Instant) -> Result<u64, StoreError> {
    let payload = vec![b'x'; BARE_BYTES];
    let mut inserted = 0;
    while Instant::now() < until {
        let params: [&(dyn ToSql + Sync); 1] = [&payload];
        let insert = connection.query(include_str!("../sql/bench_insert.sql"), &params);
        within(STATEMENT_DEADLINE, "measuring", insert).await?;
        inserted += 1;
    }
    Ok(inserted)
}
