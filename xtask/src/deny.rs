//! Licences, bans, sources and advisories of the dependencies.

use std::path::PathBuf;

use crate::Outcome;
use crate::run::{Cmd, target};

/// The version that `deny.toml` was written for.
const VERSION: &str = "0.20.2";
/// How long the advisories' database may take to arrive, in seconds.
const FETCH_SECONDS_MAX: &str = "90";

/// Checks `deny.toml`. The advisories are checked only where their database can be reached: a run without a
/// network must be able to pass, and says that it did not look.
///
/// # Errors
/// A rule is broken, or the checker cannot be installed.
pub(crate) fn run() -> Outcome {
    let program = program()?;
    let graph = ["--locked", "--all-features", "--log-level", "error"];
    let check = |checks: &[&str]| {
        let args = [graph.as_slice(), &["check", "--hide-inclusion-graph"], checks].concat();
        Cmd::new(&program, &args).run(None)
    };
    let outcome = check(&["bans", "licenses", "sources"]);
    let fetch = [FETCH_SECONDS_MAX, &program.to_string_lossy(), "fetch", "db"].map(str::to_owned);
    let fetch: Vec<&str> = fetch.iter().map(String::as_str).collect();
    let advisories = if Cmd::new("timeout", &fetch).succeeds() {
        check(&["--disable-fetch", "advisories"])
    } else {
        println!("advisories: not checked, their database cannot be reached from here");
        Ok(())
    };
    outcome.and(advisories)
}

fn program() -> Result<PathBuf, String> {
    let tools = target().join("tools");
    let program = tools.join("bin/cargo-deny");
    if Cmd::new(&program, &["--version"]).succeeds() {
        return Ok(program);
    }
    if Cmd::new("cargo-deny", &["--version"]).succeeds() {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let root = tools.to_str().ok_or("the target directory's path is not UTF-8")?;
    // Unoptimised: it runs for a second and would take minutes more to build.
    let install = ["install", "cargo-deny", "--locked", "--debug", "--quiet", "--version", VERSION, "--root"];
    let cmd = Cmd::cargo(&install).arg(root);
    cmd.env("CARGO_TARGET_DIR", tools.join("build")).run(None)?;
    // A gigabyte that nobody needs again.
    let _ = std::fs::remove_dir_all(tools.join("build"));
    Ok(program)
}
