//! How a process is started: the one place where it could be confined.

use std::path::Path;

use tokio::process::Command;

use crate::protocol::process::Start;

/// Makes commands of requests. An implementation confines them as it sees fit.
///
/// Being too strict costs a command that fails; being too lax runs one with the rights of the executor's
/// account. What cannot be honoured must be refused.
pub trait Launcher: Send + Sync + 'static {
    /// The command for `start`, whose directory was resolved to `directory`. Input, output, environment,
    /// process group and name are set by the caller, so that only the program and its arguments, and
    /// whatever confines them, are decided here.
    ///
    /// # Errors
    /// The request asks for something that is not offered.
    fn command(&self, start: &Start, directory: &Path) -> Result<Command, LaunchError>;
}

/// A request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LaunchError(pub String);

/// Starts processes with the rights of the executor's account. Refuses requests to confine them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unconfined;

impl Launcher for Unconfined {
    fn command(&self, start: &Start, _directory: &Path) -> Result<Command, LaunchError> {
        if start.sandbox.is_some() {
            return Err(LaunchError("this executor has no sandbox, and `sandbox` asks for one".to_owned()));
        }
        if start.enforce_managed_network {
            return Err(LaunchError(
                "this executor does not manage the network, and `enforceManagedNetwork` asks for it"
                    .to_owned(),
            ));
        }
        let (program, arguments) =
            start.argv.split_first().ok_or_else(|| LaunchError("`argv` is empty".to_owned()))?;
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }
}
