//! `tenure-sim`: runs simulated histories from seeds and says which property a history breaks.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tenure_sim::{Bug, Failure, run, trace};

/// Simulate sessions under faults; every history follows from its seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds to run, as `FROM..TO`.
    #[arg(long, value_parser = seeds, default_value = "0..20000")]
    seeds: Range<u64>,
    /// One seed to run.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print the whole history of `--seed`.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run further seeds for this many seconds.
    #[arg(long, conflicts_with = "seed")]
    soak: Option<u64>,
    /// Switch on a deliberate bug, to see that it is caught.
    #[arg(long, value_parser = bug)]
    bug: Option<Bug>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parse = || {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    parse().ok_or_else(|| "write a range of seeds such as `0..20000`".to_owned())
}

fn bug(name: &str) -> Result<Bug, String> {
    let names = || Bug::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ");
    Bug::from_name(name).ok_or_else(|| format!("no bug has this name; there are {}", names()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        return one(seed, arguments.bug, arguments.trace);
    }
    let until = arguments.soak.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let begun = Instant::now();
    let range = if until.is_some() { arguments.seeds.start..u64::MAX } else { arguments.seeds };
    let (ran, faults, failure) = many(range, until, arguments.bug);
    println!("{ran} seeds, {faults} faults, {:.1} s", begun.elapsed().as_secs_f64());
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn one(seed: u64, bug: Option<Bug>, whole: bool) -> ExitCode {
    if whole {
        for line in trace(seed, bug).0 {
            println!("{line}");
        }
    }
    match run(seed, bug) {
        Ok(summary) => {
            println!("seed {seed} holds: {summary:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds on every core until one fails, the range is done, or time is up.
fn many(range: Range<u64>, until: Option<Instant>, bug: Option<Bug>) -> (u64, u64, Option<Box<Failure>>) {
    let next = AtomicU64::new(range.start);
    let (ran, faults) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let found = || failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = until.is_some_and(|until| Instant::now() >= until);
                    if seed >= range.end || over || found().is_some() {
                        return;
                    }
                    ran.fetch_add(1, Ordering::Relaxed);
                    match run(seed, bug) {
                        Ok(summary) => {
                            faults.fetch_add(summary.faults, Ordering::Relaxed);
                        }
                        Err(failure) => {
                            found().get_or_insert(failure);
                        }
                    }
                }
            });
        }
    });
    let failure = found().take();
    (ran.into_inner(), faults.into_inner(), failure)
}
