//! The official SDK, unmodified, against the real binary.

use std::fs;
use std::path::Path;

use crate::count::Counter;
use crate::run::{Cmd, root, target};
use crate::{Outcome, need};

const REQUIREMENTS: &str = "tests/sdk/requirements.txt";

/// Builds the binary and runs the [`scenarios`].
///
/// # Errors
/// The binary does not build, or as the scenarios.
pub(crate) fn run(args: &[String], counter: &mut Counter) -> Outcome {
    need::ensure()?;
    build()?;
    scenarios(args, counter)
}

pub(crate) fn build() -> Outcome {
    Cmd::cargo(&["build", "--package", "tenure", "--bin", "tenure", "--features", "s3", "--locked"]).run(None)
}

/// Makes the virtual environment if it is not there or pins something else, and runs the scenarios against
/// the debug binary. `args` go to pytest.
///
/// # Errors
/// The environment cannot be made, or a scenario fails.
pub(crate) fn scenarios(args: &[String], counter: &mut Counter) -> Outcome {
    let venv = target().join("sdk-venv");
    environment(&venv)?;
    let python = venv.join("bin/python");
    let fixed = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/sdk"];
    let cmd = Cmd::new(&python, &fixed).env("TENURE_BIN", target().join("debug/tenure"));
    let cmd = cmd.env("PYTHONDONTWRITEBYTECODE", "1");
    args.iter().fold(cmd, |cmd, arg| cmd.arg(arg)).run(Some(counter))
}

pub(crate) fn environment(venv: &Path) -> Outcome {
    let in_place = |error: std::io::Error| format!("{REQUIREMENTS} or {}: {error}", venv.display());
    let wanted = fs::read_to_string(root().join(REQUIREMENTS)).map_err(in_place)?;
    // Written last, so that an interrupted installation begins again.
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let path = venv.to_str().ok_or("the target directory's path is not UTF-8")?;
    Cmd::new("python3", &["-m", "venv", "--clear", path]).run(None)?;
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-input", "-r"];
    Cmd::new(venv.join("bin/python"), &pip).arg(REQUIREMENTS).run(None)?;
    fs::write(&stamp, wanted).map_err(in_place)
}
