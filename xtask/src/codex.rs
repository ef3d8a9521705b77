//! The official executor, unmodified: against our side of its protocol, and against the real server.

use std::fs;
use std::path::{Path, PathBuf};

use crate::count::Counter;
use crate::run::{Cmd, target};
use crate::{Outcome, need, sdk};

/// What is installed. A newer one is a change of this line and of what the tests then find.
const PACKAGE: &str = "@openai/codex@0.169.0";

/// Scenarios with the server; pytest collects them only when they are named.
const SCENARIOS: &str = "tests/sdk/official_executor.py";

/// Builds the binary and runs the [`scenarios`].
///
/// # Errors
/// The binary does not build, or as the scenarios.
pub(crate) fn run(counter: &mut Counter) -> Outcome {
    need::ensure()?;
    sdk::build()?;
    scenarios(counter)
}

/// Installs the package if it is not there, and runs the tests that need its program, against the debug
/// binary where they need one.
///
/// # Errors
/// The package cannot be installed, the tests do not build, or one fails.
pub(crate) fn scenarios(counter: &mut Counter) -> Outcome {
    let program = program(&target().join("codex"))?;
    // With the features of the whole workspace, so that only the crate itself is built again.
    let feature = "tenure-executor/codex-binary";
    let args = ["test", "--workspace", "--features", feature, "--test", "codex", "--locked"];
    Cmd::cargo(&args).env("CODEX_BIN", &program).run(Some(counter))?;
    let venv = target().join("sdk-venv");
    sdk::environment(&venv)?;
    let args = ["-m", "pytest", "-q", "-p", "no:cacheprovider", SCENARIOS];
    let cmd = Cmd::new(venv.join("bin/python"), &args).env("TENURE_BIN", target().join("debug/tenure"));
    cmd.env("CODEX_BIN", program).env("PYTHONDONTWRITEBYTECODE", "1").run(Some(counter))
}

/// The program itself, not the script that starts it: a script that is ended leaves its program behind.
fn program(directory: &Path) -> Result<PathBuf, String> {
    let in_place = |error: std::io::Error| format!("{}: {error}", directory.display());
    // Written last, so that an interrupted installation begins again.
    let stamp = directory.join("installed.txt");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == PACKAGE) {
        fs::create_dir_all(directory).map_err(in_place)?;
        let path = directory.to_str().ok_or("the target directory's path is not UTF-8")?;
        let args =
            ["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error"];
        Cmd::new("npm", &args).arg("--prefix").arg(path).arg(PACKAGE).run(None)?;
        fs::write(&stamp, PACKAGE).map_err(in_place)?;
    }
    let packages = directory.join("node_modules/@openai");
    let below = |path: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    below(packages)
        .into_iter()
        .flat_map(|package| below(package.join("vendor")))
        .map(|platform| platform.join("bin/codex"))
        .find(|program| program.is_file())
        .ok_or_else(|| format!("{PACKAGE} brings no program for this machine"))
}
