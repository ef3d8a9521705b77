//! A short run of every fuzzer from its saved corpus.

use std::fs;

use crate::Outcome;
use crate::count::Counter;
use crate::run::{Cmd, root};

/// Seconds over all fuzzers in a run of everything: enough to replay each corpus and try a little beyond.
pub(crate) const SECONDS_DEFAULT: u64 = 60;

/// The value of `--seconds`, or the default.
///
/// # Errors
/// Other arguments, or not a number above zero.
pub(crate) fn seconds(args: &[String]) -> Result<u64, String> {
    match args {
        [] => Ok(SECONDS_DEFAULT),
        [flag, value] if flag == "--seconds" => match value.parse() {
            Ok(seconds) if seconds > 0 => Ok(seconds),
            _ => Err(format!("`--seconds` takes a whole number above zero, not `{value}`")),
        },
        _ => Err("`fuzz` takes `--seconds N` and nothing else".to_owned()),
    }
}

/// Runs each fuzzer of `fuzz/` for its share of `total` seconds; each counts as one test.
///
/// # Errors
/// One of them does not build or finds a fault; where it lies is in the output.
pub(crate) fn run(total: u64, counter: &mut Counter) -> Outcome {
    let manifest = root().join("fuzz/Cargo.toml");
    if !manifest.exists() {
        println!("there are no fuzzers");
        return Ok(());
    }
    let names = targets()?;
    let share = (total / names.len().max(1) as u64).max(1).to_string();
    let mut failed = Vec::new();
    for name in &names {
        match one(name, &share) {
            Ok(()) => counter.passed += 1,
            Err(message) => {
                println!("{message}");
                counter.failed += 1;
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("found faults: {}", failed.join(", "))) }
}

fn one(name: &str, seconds: &str) -> Outcome {
    let run = ["run", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bin", name, "--"];
    let limit = format!("-max_total_time={seconds}");
    let corpus = format!("fuzz/corpus/{name}");
    Cmd::cargo(&run).arg(&limit).arg("-seed=1").arg(&corpus).run(None)
}

/// The fuzzers, by the names of their files, in order.
fn targets() -> Result<Vec<String>, String> {
    let directory = root().join("fuzz/fuzz_targets");
    let unreadable = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_arguments() {
        let read = |args: &[&str]| seconds(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        assert_eq!(read(&[]), Ok(SECONDS_DEFAULT));
        assert_eq!(read(&["--seconds", "5"]), Ok(5));
        assert!(read(&["--seconds", "0"]).is_err());
        assert!(read(&["--seconds"]).is_err());
        assert!(read(&["5"]).is_err());
    }
}
