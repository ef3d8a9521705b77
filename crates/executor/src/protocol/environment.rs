//! How a session begins, and what the executor says of its machine.

use serde::{Deserialize, Serialize};

use super::Nothing;
use crate::location::Location;
use crate::message::Method;

/// The first request on a connection: opens a session, or takes one up again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialize {
    /// Who asks, for logs.
    pub client_name: String,
    /// The session of a connection that was lost.
    #[serde(default)]
    pub resume_session_id: Option<String>,
}

/// The session that a connection now has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionOpened {
    /// What to resume it by.
    pub session_id: String,
}

/// Told after the response to [`Initialize`]; nothing else may be asked before.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Initialized {}

/// Asks about the machine.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Environment {}

/// What an executor says about its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentInfo {
    /// The shell that commands may be written for.
    pub shell: Shell,
    /// The executor's working directory. Older executors do not say.
    #[serde(default)]
    pub cwd: Option<Location>,
}

/// A shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// `bash`, `zsh`, `sh`, ...
    pub name: String,
    /// How to start it, in the machine's own notation.
    pub path: String,
}

impl Method for Initialize {
    const NAME: &'static str = "initialize";
    type Outcome = SessionOpened;
}

impl Method for Initialized {
    const NAME: &'static str = "initialized";
    type Outcome = Nothing;
}

impl Method for Environment {
    const NAME: &'static str = "environment/info";
    type Outcome = EnvironmentInfo;
    const REPEATABLE: bool = true;
}
