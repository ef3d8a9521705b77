//! The solver: where it is, which it is, and what it may use up.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cedar_policy_symcc::solver::LocalSolver;
use tokio::process::Command;

/// What it is called on the path.
const PROGRAM: &str = "cvc5";
/// How long it may take to say which version it is.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of what it says of itself that are looked at.
const VERSION_BYTES_MAX: usize = 4_096;
/// Sets a limit that its child cannot raise, and becomes the solver. Where a lower one is in force, that holds.
const LIMITED: &str = "ulimit -v \"$0\" 2>/dev/null; exec \"$@\"";

/// What the solver may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time for one question.
    pub question: Duration,
    /// Time for all of them; what is not asked by then is unknown.
    pub all: Duration,
    /// Memory that it may map, in KiB.
    pub memory_kib: u64,
}

impl Default for Limits {
    /// A question takes a hundredth of a second most often. One that takes a thousand times as long will not be
    /// answered soon.
    fn default() -> Self {
        Self {
            question: Duration::from_secs(20),
            all: Duration::from_secs(120),
            memory_kib: 4 * 1_024 * 1_024,
        }
    }
}

/// A `cvc5` that was found and says that it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cvc5 {
    program: PathBuf,
    version: String,
    /// What it finds its own parts on.
    path: OsString,
}

/// Why nothing can be proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct NoSolver {
    /// Why.
    pub kind: NoSolverKind,
}

/// Why there is no solver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSolverKind {
    /// There is none.
    #[error("no cvc5 on the path")]
    Absent,
    /// What was named is none, or does not run.
    #[error("`{program}` is no cvc5 that runs: {why}")]
    Unusable {
        /// Where it is.
        program: String,
        /// What went wrong.
        why: String,
    },
}

impl Cvc5 {
    /// The solver at `named`, or else the first on `path`, which has the form of the variable `PATH`. Runs it once to
    /// ask for its version, for ten seconds at most. Blocks; not for a thread that drives a runtime.
    ///
    /// # Errors
    /// `Absent`, `Unusable`.
    pub fn find(named: Option<&OsStr>, path: Option<&OsStr>) -> Result<Self, NoSolver> {
        let program = match named {
            Some(named) => PathBuf::from(named),
            None => on_path(path.unwrap_or_default()).ok_or(NoSolver { kind: NoSolverKind::Absent })?,
        };
        let path = path.unwrap_or_default().to_owned();
        match version(&program, &path) {
            Ok(version) => Ok(Self { program, version, path }),
            Err(why) => {
                let program = program.display().to_string();
                Err(NoSolver { kind: NoSolverKind::Unusable { program, why } })
            }
        }
    }

    /// Its name and version, as evidence says them: `cvc5 1.0.3`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{PROGRAM} {}", self.version)
    }

    /// Starts it. It dies with what is returned.
    pub(crate) fn start(&self, limits: &Limits) -> Result<LocalSolver, String> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LIMITED])
            .arg(limits.memory_kib.to_string())
            .arg(&self.program)
            .args(["--lang", "smt"]);
        bare(&mut command, &self.path);
        LocalSolver::from_command(&mut command).map_err(|error| error.to_string())
    }
}

fn on_path(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(PROGRAM)).find(|program| program.is_file())
}

/// Nothing of this process's environment is the solver's business but where programs are.
fn bare(command: &mut Command, path: &OsStr) {
    command.env_clear().env("PATH", path).kill_on_drop(true);
}

fn version(program: &Path, path: &OsStr) -> Result<String, String> {
    let runtime = runtime()?;
    let said = runtime.block_on(async {
        let mut command = Command::new(program);
        command.arg("--version").stdin(std::process::Stdio::null());
        bare(&mut command, path);
        tokio::time::timeout(VERSION_TIMEOUT, command.output()).await
    });
    let said = said.map_err(|_| "it does not answer".to_owned())?.map_err(|error| error.to_string())?;
    let text = &said.stdout[..said.stdout.len().min(VERSION_BYTES_MAX)];
    version_in(&String::from_utf8_lossy(text)).ok_or_else(|| "it does not say which version it is".to_owned())
}

/// `This is cvc5 version 1.0.3` and what follows.
fn version_in(said: &str) -> Option<String> {
    let (_, rest) = said.lines().next()?.split_once("cvc5 version ")?;
    let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    let version: String = rest.chars().take_while(is_part).collect();
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// What drives the pipes to the solver; one thread, the caller's.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_told() {
        for (said, version) in [
            ("This is cvc5 version 1.0.3\ncompiled with GCC", Some("1.0.3")),
            ("This is cvc5 version 1.3.1 [git tag 1.3.1 branch HEAD]", Some("1.3.1")),
            ("This is cvc5 version 1.4.3-dev.12+g1 [git]", Some("1.4.3-dev.12+g1")),
            ("Z3 version 4.8.12 - 64 bit", None),
            ("This is cvc5 version ", None),
            ("", None),
        ] {
            assert_eq!(version_in(said).as_deref(), version, "{said}");
        }
    }

    #[test]
    fn what_is_no_solver_is_told() {
        let nowhere =
            Cvc5::find(None, Some(OsStr::new("/nonexistent:/tmp/also-not"))).expect_err("none there");
        assert_eq!(nowhere.to_string(), "no cvc5 on the path");
        let other = Cvc5::find(Some(OsStr::new("/bin/true")), None).expect_err("another program");
        assert_eq!(
            other.to_string(),
            "`/bin/true` is no cvc5 that runs: it does not say which version it is"
        );
        let missing = Cvc5::find(Some(OsStr::new("/nonexistent")), None).expect_err("no program");
        assert!(missing.to_string().starts_with("`/nonexistent` is no cvc5 that runs: "), "{missing}");
    }
}
