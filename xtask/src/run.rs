//! Running a command: its output passes through line by line, and is counted on the way.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::count::Counter;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies one level below the root")
}

/// Where Cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    // Relative to the root, where every command runs.
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A command that runs at the root, without standard input.
pub(crate) struct Cmd {
    command: Command,
    shown: String,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(&program);
        command.args(args).current_dir(root()).stdin(Stdio::null());
        let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
        let shown = std::iter::once(name.as_ref()).chain(args.iter().copied()).collect::<Vec<_>>().join(" ");
        Self { command, shown }
    }

    pub(crate) fn cargo(args: &[&str]) -> Self {
        // The Cargo that runs this task, rather than whichever is first on the path.
        let mut cmd = Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args);
        // What Cargo tells its child about this package is not meant for other packages' builds.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
                cmd.command.env_remove(&name);
            }
        }
        // A whole run compiles each crate once: what a next compilation would save takes gigabytes.
        if std::env::var_os("CARGO_INCREMENTAL").is_none() {
            cmd.command.env("CARGO_INCREMENTAL", "0");
        }
        cmd
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self.shown.push(' ');
        self.shown.push_str(arg);
        self
    }

    /// Runs it with its output shown.
    ///
    /// # Errors
    /// It cannot be started, or ends with anything but success.
    pub(crate) fn run(mut self, counter: Option<&mut Counter>) -> Outcome {
        println!("$ {}", self.shown);
        let _ = std::io::stdout().flush();
        let started = match counter {
            None => self.command.status(),
            Some(counter) => self.counted(counter),
        };
        let status = started.map_err(|error| format!("`{}` cannot be run: {error}", self.shown))?;
        if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", self.shown)) }
    }

    /// Whether it succeeds, without showing anything.
    pub(crate) fn succeeds(mut self) -> bool {
        let status = self.command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// What it writes to standard output.
    ///
    /// # Errors
    /// It cannot be started, or ends with anything but success.
    pub(crate) fn output(mut self) -> Result<String, String> {
        let output = self.command.stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| format!("`{}` cannot be run: {error}", self.shown))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("`{}` ended with {}", self.shown, output.status))
    }

    fn counted(&mut self, counter: &mut Counter) -> std::io::Result<std::process::ExitStatus> {
        let mut child = self.command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().expect("standard output was just piped");
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        let mut shown = std::io::stdout().lock();
        while output.read_until(b'\n', &mut line)? > 0 {
            counter.line(&String::from_utf8_lossy(&line));
            shown.write_all(&line)?;
            line.clear();
        }
        shown.flush()?;
        child.wait()
    }
}
