//! Processes.
//!
//! Everything that a process does has a number: output, exit and close count up together from 1. Numbers
//! let a reader who lost its connection ask for what it missed with [`Read`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Base64, Nothing};
use crate::location::Location;
use crate::message::Method;

/// The name that whoever starts a process gives it, unique in its session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub String);

/// Starts a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The name it is to have.
    pub process_id: ProcessId,
    /// Program and arguments; at least the program.
    pub argv: Vec<String>,
    /// Its working directory.
    pub cwd: Location,
    /// What of the executor's environment it inherits; nothing without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_policy: Option<EnvironmentPolicy>,
    /// Variables it gets in any case.
    pub env: BTreeMap<String, String>,
    /// Whether it is to have a terminal.
    pub tty: bool,
    /// Whether its standard input is to stay open for [`Write`].
    #[serde(default)]
    pub pipe_stdin: bool,
    /// Its name for itself, if it is not the program's.
    #[serde(default)]
    pub arg0: Option<String>,
    /// What it is confined to, in the executor's language. An executor that cannot confine must refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Box<RawValue>>,
    /// Whether only a managed network may be reached. An executor that cannot must refuse.
    #[serde(default)]
    pub enforce_managed_network: bool,
}

/// What a process inherits of the executor's own environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentPolicy {
    /// From where to begin.
    pub inherit: Inherit,
    /// Keep variables whose names look like secrets: `*KEY*`, `*SECRET*`, `*TOKEN*`.
    pub ignore_default_excludes: bool,
    /// Patterns of names to leave out, with `*` and `?`, whatever their case.
    pub exclude: Vec<String>,
    /// Variables to set.
    pub set: BTreeMap<String, String>,
    /// Patterns of which one must match, unless there are none.
    pub include_only: Vec<String>,
}

/// Where an environment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inherit {
    /// With what a shell needs: home, path, user, shell, place for temporary files.
    Core,
    /// With all of it.
    All,
    /// With nothing.
    None,
}

/// A process runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// As it was asked for.
    pub process_id: ProcessId,
}

/// Asks for output that is kept, and for how the process stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// Which process.
    pub process_id: ProcessId,
    /// Only what has a higher number.
    pub after_seq: Option<u64>,
    /// About how many bytes to give; one chunk at least.
    pub max_bytes: Option<usize>,
    /// How long to wait for something, in milliseconds.
    pub wait_ms: Option<u64>,
}

/// Output that was kept, and how the process stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// In order. A gap in their numbers is output that is no longer kept.
    pub chunks: Vec<Chunk>,
    /// The number that nothing here reaches.
    pub next_seq: u64,
    /// Whether the process has ended.
    pub exited: bool,
    /// Its exit code; for a signal 128 and the signal.
    pub exit_code: Option<i32>,
    /// Whether it has ended and all of its output is here or was given.
    pub closed: bool,
    /// Why the executor lost the process.
    #[serde(default)]
    pub failure: Option<String>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its number.
    pub seq: u64,
    /// Where the process wrote it.
    pub stream: Stream,
    /// What it wrote.
    pub chunk: Base64,
}

/// Where a process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A terminal, which is both.
    Pty,
}

/// Writes to a process's input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// Which process.
    pub process_id: ProcessId,
    /// What to write.
    pub chunk: Base64,
    /// Names the write, so that one that is repeated is written once.
    #[serde(default)]
    pub write_id: String,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Written {
    /// Accepted, or why not.
    pub status: WriteStatus,
}

/// Whether a write was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WriteStatus {
    /// It will be written.
    Accepted,
    /// There is no such process.
    UnknownProcess,
    /// Its input is closed, or was never open.
    StdinClosed,
    /// It does not run yet.
    Starting,
}

/// Sends a signal to a process and those it started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Send {
    /// Which process.
    pub process_id: ProcessId,
    /// Which signal.
    pub signal: Signal,
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal {
    /// As a person's Ctrl-C.
    Interrupt,
}

/// Ends a process and those it started, at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminate {
    /// Which process.
    pub process_id: ProcessId,
}

/// What a termination found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Terminated {
    /// Whether the process was still running.
    pub running: bool,
}

/// Told: a process wrote something.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wrote {
    /// Which process.
    pub process_id: ProcessId,
    /// What it wrote.
    #[serde(flatten)]
    pub chunk: Chunk,
}

/// Told: a process has ended. Output of it may still come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exited {
    /// Which process.
    pub process_id: ProcessId,
    /// The event's number.
    pub seq: u64,
    /// As in [`Output`].
    pub exit_code: i32,
}

/// Told: a process has ended and nothing more comes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    /// Which process.
    pub process_id: ProcessId,
    /// The event's number.
    pub seq: u64,
}

impl Method for Start {
    const NAME: &'static str = "process/start";
    type Outcome = Started;
}

impl Method for Read {
    const NAME: &'static str = "process/read";
    type Outcome = Output;
    const REPEATABLE: bool = true;
}

impl Method for Write {
    const NAME: &'static str = "process/write";
    type Outcome = Written;
    const REPEATABLE: bool = true;
}

impl Method for Send {
    const NAME: &'static str = "process/signal";
    type Outcome = Nothing;
}

impl Method for Terminate {
    const NAME: &'static str = "process/terminate";
    type Outcome = Terminated;
    const REPEATABLE: bool = true;
}

impl Method for Wrote {
    const NAME: &'static str = "process/output";
    type Outcome = Nothing;
}

impl Method for Exited {
    const NAME: &'static str = "process/exited";
    type Outcome = Nothing;
}

impl Method for Closed {
    const NAME: &'static str = "process/closed";
    type Outcome = Nothing;
}
