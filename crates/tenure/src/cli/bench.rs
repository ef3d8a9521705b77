//! `tenure bench`: how fast this machine is with Tenure, beside what it could reach without.
//!
//! Every number that the disk or the processor decides is measured next to a bare loop in the same run, so
//! that the ratio says something even where the machine is unknown. Goals are printed beside the numbers;
//! they are goals, and nothing here passes or fails. `docs/benchmarks.md` says what each number means.

mod cluster;
mod context;
mod forks;
mod journal;
mod lab;
mod locomo;
mod memory;
mod policy;
#[cfg(feature = "prove")]
mod proofs;
mod sandbox;
mod server;
mod turns;
mod workspace;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use super::error::{CliError, Exit};
use super::output::{self, Column, text};
use crate::proofs::Whereabouts;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Measure only this; may be given more than once
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Benchmark>,
    /// Measure only this, as with --only
    #[arg(value_enum, value_name = "NAME")]
    names: Vec<Benchmark>,
    /// A copy of `locomo10.json`, whose questions are asked of the memory as well
    #[arg(long, value_name = "PATH")]
    locomo: Option<PathBuf>,
    /// The directory of a sentence encoder, to measure recall by meaning as well
    #[arg(long, value_name = "DIR")]
    embedding: Option<PathBuf>,
    /// How many passages the memory has in which questions are timed
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    memories: u32,
    /// How long to measure what is measured over time, in seconds
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where to write; the disk there is what is measured [default: the project directory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// An empty PostgreSQL database, to measure what several nodes do with it; what is written stays there
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// Durable appends per second
    Appends,
    /// Whole turns per second, and what a step costs
    Turns,
    /// Opening a session with 10,000 events
    Open,
    /// Forking a session with 10 files and with 31,000
    Forks,
    /// Memory of 10,000 idle sessions
    Idle,
    /// Recovery with 1,000 sessions in flight
    Recovery,
    /// Start of the server
    Start,
    /// What a sandbox costs, and the first command in a new environment
    Sandbox,
    /// Snapshots of files
    Workspace,
    /// How well questions to the memory are answered, and how fast
    Memory,
    /// Building what a model is shown, in a session with 10,000 events
    Context,
    /// Decisions and reading with 31, 1,000 and 5,000 policies, beside Cedar alone
    #[value(alias = "decisions")]
    Policy,
    /// Proving what 1,000 policies must never allow (needs the solver cvc5)
    Proofs,
    /// Durable appends per second on PostgreSQL (needs --database)
    ClusterAppends,
    /// Whole turns per second with one, two and three nodes on PostgreSQL (needs --database)
    ClusterTurns,
    /// Claiming what is due beside a million idle sessions on PostgreSQL (needs --database)
    ClusterClaims,
    /// Takeover of 1,000 sessions after SIGKILL of their node (needs --database)
    ClusterTakeover,
}

/// Tells whoever waits what is being done.
type Tell<'a> = &'a dyn Fn(&str) -> Result<(), CliError>;

/// What is measured with.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// Where to write.
    directory: &'a Path,
    /// An empty PostgreSQL database, or nothing.
    database: &'a str,
    /// A copy of LoCoMo.
    locomo: Option<&'a Path>,
    /// A sentence encoder.
    embedding: Option<&'a Path>,
    /// Passages that a memory has.
    memories: usize,
    /// Where the solver is.
    solver: &'a Whereabouts,
    tell: Tell<'a>,
}

/// One measured number.
struct Row {
    benchmark: Benchmark,
    what: String,
    value: f64,
    unit: &'static str,
    /// What the number is to be seen beside, in the same unit.
    beside: Option<(&'static str, f64)>,
    goal: Option<&'static str>,
}

pub(crate) async fn bench(cx: &mut Context, args: &BenchArgs) -> Result<Exit, CliError> {
    let directory = match &args.directory {
        Some(directory) => cx.world.directory.join(directory),
        None => cx.project.clone(),
    };
    if cfg!(debug_assertions) {
        cx.note("This is a debug build: its numbers say little.")?;
    }
    let each = Duration::from_secs(args.seconds);
    let only: Vec<Benchmark> = args.only.iter().chain(&args.names).copied().collect();
    let locomo = args.locomo.as_ref().map(|path| cx.world.directory.join(path));
    let embedding = args.embedding.as_ref().map(|path| cx.world.directory.join(path));
    let solver = Whereabouts::of(&cx.world.env);
    let telling = RefCell::new(&mut *cx);
    let tell = |text: &str| telling.borrow_mut().note(text);
    let place = Place {
        directory: &directory,
        database: args.database.as_deref().unwrap_or_default(),
        locomo: locomo.as_deref(),
        embedding: embedding.as_deref(),
        memories: args.memories as usize,
        solver: &solver,
        tell: &tell,
    };
    let mut rows = Vec::new();
    for benchmark in Benchmark::value_variants() {
        if !only.is_empty() && !only.contains(benchmark) {
            continue;
        }
        if benchmark.needs_database() && args.database.is_none() {
            if only.contains(benchmark) {
                return Err(CliError::usage(format!("{} needs a database", benchmark.name()))
                    .fix("give an empty one: --database postgres://..."));
            }
            continue;
        }
        // It is asked for with the whole, and where there is no solver the rest goes on.
        if *benchmark == Benchmark::Proofs
            && only.is_empty()
            && let Some(missing) = tokio::task::block_in_place(|| place.solver.find().err())
        {
            tell(&format!("{} is left out: {missing}", benchmark.name()))?;
            continue;
        }
        tell(&format!("measuring {} ...", benchmark.name()))?;
        rows.extend(benchmark.measure(place, each).await?);
    }
    let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
    output::list(&mut cx.world.out, cx.format, &columns(), &rows)?;
    Ok(Exit::Done)
}

impl Benchmark {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn needs_database(self) -> bool {
        match self {
            Self::ClusterAppends | Self::ClusterTurns | Self::ClusterClaims | Self::ClusterTakeover => true,
            Self::Appends
            | Self::Turns
            | Self::Open
            | Self::Forks
            | Self::Idle
            | Self::Recovery
            | Self::Start
            | Self::Sandbox
            | Self::Workspace
            | Self::Memory
            | Self::Context
            | Self::Policy
            | Self::Proofs => false,
        }
    }

    async fn measure(self, place: Place<'_>, each: Duration) -> Result<Vec<Row>, CliError> {
        let Place { directory, database, locomo, embedding, memories, solver, tell } = place;
        match self {
            Self::Appends => journal::appends(directory, each).await,
            Self::Turns => turns::measure(directory, each).await,
            Self::Open => journal::open(directory).await,
            Self::Forks => forks::measure(directory).await,
            Self::Idle => server::idle(directory).await,
            Self::Recovery => server::recovery(directory).await,
            Self::Start => server::start(directory).await,
            Self::Sandbox => {
                let mut rows = tokio::task::block_in_place(|| sandbox::overhead(directory, each))?;
                rows.extend(sandbox::first_command(directory).await?);
                Ok(rows)
            }
            Self::Workspace => {
                tokio::task::block_in_place(|| workspace::measure(directory, workspace::FEW, workspace::MANY))
            }
            Self::Memory => {
                let mut rows = tokio::task::block_in_place(|| memory::quality(embedding, tell))?;
                if let Some(path) = locomo {
                    rows.extend(memory::locomo(directory, path, embedding, tell).await?);
                }
                rows.extend(memory::speed(directory, memories, embedding, tell).await?);
                Ok(rows)
            }
            Self::Context => Ok(tokio::task::block_in_place(context::measure)),
            Self::Policy => tokio::task::block_in_place(policy::measure),
            Self::Proofs => tokio::task::block_in_place(|| prove(solver)),
            Self::ClusterAppends => cluster::appends(database, each).await,
            Self::ClusterTurns => cluster::turns(database, each).await,
            Self::ClusterClaims => cluster::claims(database).await,
            Self::ClusterTakeover => cluster::takeover(directory, database).await,
        }
    }
}

#[cfg(feature = "prove")]
fn prove(solver: &Whereabouts) -> Result<Vec<Row>, CliError> {
    proofs::measure(solver)
}

#[cfg(not(feature = "prove"))]
fn prove(solver: &Whereabouts) -> Result<Vec<Row>, CliError> {
    match solver.find() {
        Ok(never) => match never {},
        Err(why) => Err(failed("proving", why)),
    }
}

impl Row {
    fn new(benchmark: Benchmark, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { benchmark, what: what.into(), value, unit, beside: None, goal: None }
    }

    fn beside(mut self, what: &'static str, value: f64) -> Self {
        self.beside = Some((what, value));
        self
    }

    fn goal(mut self, goal: &'static str) -> Self {
        self.goal = Some(goal);
        self
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.benchmark.name(),
            "what": self.what,
            "value": rounded(self.value),
            "unit": self.unit,
            "beside": self.beside.map(|(what, value)| json!({
                "what": what, "value": rounded(value), "ratio": rounded(self.value / value),
            })),
            "goal": self.goal,
        })
    }
}

/// Three digits that count; more would not come out again.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    if digits <= 0 {
        return value.round();
    }
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn columns() -> [Column; 5] {
    [
        Column::at("BENCHMARK", "/id"),
        Column::at("WHAT", "/what"),
        Column::new("MEASURED", |row| format!("{} {}", number(row, "/value"), text(row, "/unit"))),
        Column::new("BESIDE", |row| {
            let beside = &row["beside"];
            if beside.is_null() {
                return "-".to_owned();
            }
            let times = number(beside, "/ratio");
            format!("{times} times {} {}", number(beside, "/value"), text(beside, "/what"))
        }),
        Column::new("GOAL", |row| row["goal"].as_str().unwrap_or("-").to_owned()),
    ]
}

/// The number at `pointer`, without a fraction where it has none.
fn number(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_f64).map_or_else(|| "?".to_owned(), |number| number.to_string())
}

/// The middle one; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// What went wrong while measuring.
fn failed(what: &str, error: impl std::fmt::Display) -> CliError {
    CliError::failed("bench", format!("{what} failed")).cause(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        for (value, expected) in [
            (0.0, 0.0),
            (0.012_345, 0.0123),
            (1.005, 1.0),
            (12.345, 12.3),
            (1_234.5, 1_235.0),
            (-0.5678, -0.568),
        ] {
            assert_eq!(rounded(value), expected, "{value}");
        }
    }

    #[test]
    fn a_row_shows_its_ratio() {
        let row = Row::new(Benchmark::Appends, "appends", 50.0, "/s").beside("bare", 200.0).goal("half");
        let shown = row.to_json();
        assert_eq!(
            shown,
            json!({"id": "appends", "what": "appends", "value": 50.0, "unit": "/s",
                   "beside": {"what": "bare", "value": 200.0, "ratio": 0.25}, "goal": "half"})
        );
        let cells: Vec<String> = columns().iter().map(|column| (column.cell)(&shown)).collect();
        assert_eq!(cells, ["appends", "appends", "50 /s", "0.25 times 200 bare", "half"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_needs_no_child_process_measures_and_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let each = Duration::from_millis(100);
        let place = Place {
            directory: directory.path(),
            database: "",
            locomo: None,
            embedding: None,
            memories: 1_000,
            solver: &Whereabouts::of(&tenure_project::Env::default()),
            tell: &|_| Ok(()),
        };
        for (benchmark, rows) in [(Benchmark::Appends, 3), (Benchmark::Turns, 5)] {
            let measured = benchmark.measure(place, each).await.expect("measured");
            assert_eq!(measured.len(), rows, "{benchmark:?}");
            assert!(measured.iter().all(|row| row.value.is_finite()), "{benchmark:?}");
        }
        let measured = workspace::measure(directory.path(), 10, 200).expect("measured");
        let whats: Vec<&str> = measured.iter().map(|row| row.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "snapshot of 10 files, none changed, median",
                "snapshot of 10 files, one changed, chunks in memory, median",
                "snapshot of 200 files, none changed, median",
                "snapshot of 200 files, one changed, chunks in memory, median",
            ]
        );
        assert_eq!(directory.path().read_dir().expect("lists").count(), 0);
    }
}
