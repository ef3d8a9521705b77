//! A short run of every fuzzer from its saved corpus.

use std::fs;

use crate::Outcome;
use crate::count::Counter;
use crate::run::{Cmd, root, target};

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
    let host = host()?;
    cargo("build", &host).run(None)?;
    let share = (total / names.len().max(1) as u64).max(1).to_string();
    let mut failed = Vec::new();
    for name in &names {
        match one(name, &host, &share) {
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

/// Coverage feedback for libFuzzer, in flags that a stable compiler accepts. An address sanitizer would need
/// a nightly one, and there is no unsafe code of ours to sanitize.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Ccodegen-units=1";
/// Where its random numbers start.
const SEED: u32 = 1;
/// Seconds one input may take before it counts as a hang.
const INPUT_SECONDS_MAX: &str = "10";
/// Megabytes one fuzzer may use.
const MEMORY_MB_MAX: &str = "1024";

/// A command on the fuzzers' own workspace. Naming the target keeps build scripts uninstrumented.
fn cargo(subcommand: &str, host: &str) -> Cmd {
    let args = [subcommand, "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", host];
    Cmd::cargo(&args).env("RUSTFLAGS", COVERAGE).env("CARGO_TARGET_DIR", target().join("fuzz"))
}

fn one(name: &str, host: &str, seconds: &str) -> Outcome {
    let scratch = target().join("fuzz/found").join(name);
    let artifacts = root().join("fuzz/artifacts").join(name);
    for directory in [&scratch, &artifacts] {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    // What is new goes to the first directory; the saved corpus is only read.
    let saved = format!("fuzz/corpus/{name}");
    let mut cmd = cargo("run", host).arg("--quiet").arg("--bin").arg(name).arg("--");
    for limit in [
        format!("-max_total_time={seconds}"),
        // As far as time allows the same inputs in every run.
        format!("-seed={SEED}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MB_MAX}"),
        format!("-artifact_prefix={}/", artifacts.display()),
        "-verbosity=0".to_owned(),
        "-print_final_stats=1".to_owned(),
        scratch.display().to_string(),
    ] {
        cmd = cmd.arg(&limit);
    }
    if root().join(&saved).is_dir() {
        cmd = cmd.arg(&saved);
    }
    cmd.run(None)
}

/// The target that this compiler builds for by default.
fn host() -> Result<String, String> {
    let output = std::process::Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("`rustc` cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "`rustc -vV` names no host".to_owned())
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
