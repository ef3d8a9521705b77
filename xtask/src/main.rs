//! The project's task runner: `cargo xtask <task>`.
//!
//! It depends on nothing, so that it builds in a second. Rules about the sources that a program can check
//! are tests of this package: `tests/arrows.rs` and `tests/tidy.rs`.

use std::process::ExitCode;

mod codex;
mod count;
mod deny;
mod fuzz;
mod need;
mod report;
mod run;
mod sdk;

use report::Report;
use run::Cmd;

const HELP: &str = "\
cargo xtask <task>

  test                 everything that must hold before a change is kept
  sdk [pytest args]    only the SDK scenarios, against a debug binary
  codex                only the official executor, against our side of its protocol and the real server
  fuzz [--seconds N]   only the fuzzers, N seconds over all of them (default 60)
  deny                 only licences, bans, sources and advisories of dependencies
  arrows               only the rules about which crate may use which
  tidy                 only the rules about the sources
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let mut report = Report::new();
    match args.first().map(String::as_str) {
        Some("test") if rest.is_empty() => test(&mut report),
        Some("sdk") => report.step("SDK scenarios", |counter| sdk::run(rest, counter)),
        Some("codex") if rest.is_empty() => report.step("official executor", codex::run),
        Some("fuzz") => match fuzz::seconds(rest) {
            Ok(seconds) => report.step("fuzz", |counter| fuzz::run(seconds, counter)),
            Err(message) => return usage(&message),
        },
        Some("deny") if rest.is_empty() => report.step("dependencies", |_| deny::run()),
        Some(name @ ("arrows" | "tidy")) if rest.is_empty() => {
            let cmd = Cmd::cargo(&["test", "--package", "xtask", "--test", name]);
            report.step(name, |counter| cmd.run(Some(counter)));
        }
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => return usage(&format!("no such task with these arguments: `{other}`")),
        None => return usage("no task given"),
    }
    report.finish()
}

fn usage(message: &str) -> ExitCode {
    eprintln!("{message}\n\n{HELP}");
    ExitCode::from(2)
}

/// What the server does not have by default: all of it is tested.
const FEATURES: &str = "tenure/s3,tenure/prove";

/// The steps in the order in which they are likely to fail fast; every one runs, whatever the others say.
fn test(report: &mut Report) {
    report.step("what is needed", |_| need::ensure());
    report.step("format", |_| {
        Cmd::cargo(&["fmt", "--all", "--check"]).run(None)?;
        // A workspace of their own.
        Cmd::cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]).run(None)
    });
    // Nothing else builds what is behind a feature.
    report.step("clippy", |_| {
        let all = ["clippy", "--workspace", "--all-targets", "--features", FEATURES, "--locked"];
        Cmd::cargo(&[&all[..], &["--", "-D", "warnings"]].concat()).run(None)?;
        // What the tests build has a feature that the server has not by default.
        Cmd::cargo(&["clippy", "--workspace", "--bins", "--locked", "--", "-D", "warnings"]).run(None)
    });
    // The simulation and the kill tests are ordinary tests of `tenure-sim` and of the binary.
    report.step("tests, simulation, kills", |counter| {
        Cmd::cargo(&["test", "--workspace", "--features", FEATURES, "--locked", "--no-fail-fast"])
            .run(Some(counter))
    });
    // The tests have just built the binary.
    report.step("SDK scenarios", |counter| sdk::scenarios(&[], counter));
    report.step("official executor", codex::scenarios);
    report.step("fuzz", |counter| fuzz::run(fuzz::SECONDS_DEFAULT, counter));
    report.step("dependencies", |_| deny::run());
}

/// What a step says of itself: nothing, or why it failed.
type Outcome = Result<(), String>;
