//! A command that is talked to while it runs: its input stays open, and its output is read as it is written.
//!
//! It is a command like any other, with everything that holds one; only its streams are pipes. Whoever talks
//! to it needs a thread for [`Running::wait`], which moves its output.
//!
//! ```text
//!   input ──pipe──▶ command ──▶ wait ──pipe──▶ output
//!                      └─ standard error ──▶ errors
//! ```

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::backend::{Backend, Stream};
use crate::command::{Command, Stdin};
use crate::error::Error;
use crate::running::Running;

/// A command that runs, and both ends of what is said.
pub struct Dialogue {
    /// What it reads. Dropping this is the end of its input.
    pub input: File,
    /// What it writes to standard output. While nobody reads it the command waits once the pipes are full, and
    /// so does [`Running::wait`]; dropping this lets both go on, and what is written then is lost.
    pub output: File,
    /// The command itself.
    pub running: Running,
}

impl Dialogue {
    /// Starts `command` with its input and output as pipes, whatever it says of its input and of how much output
    /// is handed on. `errors` receives standard error from within [`Running::wait`]. Blocks for some
    /// milliseconds.
    ///
    /// # Errors
    /// As [`Backend::start`].
    pub fn start(
        backend: &dyn Backend,
        mut command: Command,
        mut errors: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, Error> {
        let (theirs, input) = pipe()?;
        let (output, ours) = pipe()?;
        command.stdin = Stdin::Pipe(Arc::new(theirs));
        command.limits.output_bytes = u64::MAX;
        let mut told = Some(File::from(ours));
        let hear = move |stream: Stream, bytes: &[u8]| match stream {
            Stream::Stdout => {
                // A reader that is gone does not end the command.
                if told.as_mut().is_some_and(|told| told.write_all(bytes).is_err()) {
                    told = None;
                }
            }
            Stream::Stderr => errors(bytes),
        };
        let running = backend.start(&command, Box::new(hear))?;
        Ok(Self { input: input.into(), output: output.into(), running })
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|error| Error::start("making a pipe", error))
}
