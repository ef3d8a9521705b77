//! MCP servers that run in an environment: what is asked of them, and the processes in the sandboxes of this
//! machine.
//!
//! A server is a process in a sandbox of its own, of the kind that commands get: the same workspace, network and
//! limits. It is started when a turn first needs it and kept, so that what it knows in memory outlasts a call:
//! one process for each server of a session.
//!
//! ```text
//!            first asked                       suspended, or the session is over
//!   (none) ───────────────▶ running ──────────────────────────────────────────────▶ (none)
//!                            │   the files are put back, the settings change, it
//!                            │   breaks, a call's outcome is not known,
//!                            └── room is needed ─────────────────────────────────▶ (none)
//! ```
//!
//! Its calls are effects of the environment's lane: none runs beside a command, and the files it left are part
//! of the outcome of its call. What it writes between calls is part of whatever is next kept. Because it belongs
//! to the copy of the files it works on, it ends before those are put back or removed.
//!
//! What happens if the server of ours dies: the sandbox dies with it, and the call is what an interrupted call
//! of any MCP server is, repeated or closed as unknown by its own rule. Files that an unknown call left are kept
//! for the next, as a command's are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value};
use tenure_journal::{
    BlobRef, Effect, EffectKind, Failure, FailureKind, McpTool, McpTransport, ProjectId, Secret, ServerRef,
    ToolDef, ToolResult, WorkspaceRoot, limit,
};
use tenure_sandbox::{Backend, Command, Dialogue, Killer};
use tenure_session::{Attempted, Session};
use tenure_tools::{Call, CallResult, Hints, Reached};
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::run::failed;
use super::way_out::WayOut;
use crate::effects::{preview, sealed_text};
use crate::handle::Shared;
use crate::vaults::Mask;

/// Servers that run in the environments of one node at once. Each is a process with an environment's memory.
pub(super) const SERVERS_MAX: usize = 64;
/// How long a server may run before it is ended, to be started again by the next call.
pub(super) const WALL: Duration = Duration::from_secs(24 * 3_600);
/// Processor time of a server, after which the same happens.
pub(super) const CPU: Duration = Duration::from_secs(3_600);
/// Bytes of a server's standard error that say why it could not be used.
const SAID_BYTES_MAX: usize = 1024;
/// A value shorter than this is not masked in what a server said: it would mask anything.
const MASKED_BYTES_MIN: usize = 4;

/// What is asked of a server in an environment.
pub(super) struct ServerWork {
    pub(super) label: String,
    pub(super) program: Program,
    /// Variables of its own, sealed.
    secret: Option<Secret>,
    /// Every server that the session has there; what else runs is no longer meant.
    pub(super) labels: Vec<String>,
    pub(super) ask: Ask,
}

/// What is started.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) cwd: String,
    /// Variables of the environment that it gets.
    pub(super) env_vars: Vec<String>,
    /// Variables of its own.
    pub(super) env: BTreeMap<String, String>,
}

/// What is asked of any server.
pub(super) enum Ask {
    List,
    Call { name: String, arguments: Value, key: String, metadata: Map<String, Value> },
}

/// What a server answered, before it is stored.
pub(super) enum Answer {
    Listed(Vec<ToolDef>),
    Returned(CallResult),
}

impl Answer {
    /// The same without the secrets that it must not hold.
    pub(super) fn masked(self, mask: &Mask) -> Self {
        match self {
            Self::Listed(tools) => Self::Listed(mask.tools(tools)),
            Self::Returned(result) => {
                Self::Returned(CallResult { text: mask.text(result.text), is_error: result.is_error })
            }
        }
    }
}

impl ServerWork {
    /// What `effect` asks for; nothing if it is not about a server there, or the session has it no longer.
    pub(super) fn of(state: &Session, effect: &Effect) -> Option<Self> {
        let label = match &effect.kind {
            EffectKind::ListTools { server_label, inside: true }
            | EffectKind::ToolCall { server: ServerRef::Inside { server_label }, .. } => server_label,
            EffectKind::ListTools { inside: false, .. }
            | EffectKind::ToolCall { server: ServerRef::Mcp { .. } | ServerRef::Builtin, .. }
            | EffectKind::ModelCall { .. }
            | EffectKind::Compact { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => return None,
        };
        let servers: Vec<&McpTool> = state.servers().filter(|tool| tool.runs_inside()).collect();
        let tool = servers.iter().find(|tool| tool.server_label == *label)?;
        let McpTransport::Stdio { command, args, cwd, env_vars, secret } = &tool.transport else {
            return None;
        };
        let program = Program {
            command: command.clone(),
            args: args.clone(),
            cwd: cwd.clone(),
            env_vars: env_vars.clone(),
            env: BTreeMap::new(),
        };
        let labels = servers.iter().map(|tool| tool.server_label.clone()).collect();
        Some(Self { label: label.clone(), program, secret: *secret, labels, ask: Ask::of(tool, effect)? })
    }

    /// Puts in what is sealed.
    pub(super) async fn unseal(&mut self, shared: &Shared, project: ProjectId) -> Result<(), Failure> {
        if let Some(Secret(id)) = self.secret {
            let text = sealed_text(shared, project, id).await?;
            self.program.env = serde_json::from_str(&text).map_err(|_| {
                failed(FailureKind::Authentication, "the tool server's variables cannot be read")
            })?;
        }
        Ok(())
    }

    /// Whether it only looks, so that nothing of the files has to be kept for it.
    pub(super) fn only_lists(&self) -> bool {
        matches!(self.ask, Ask::List)
    }
}

impl Ask {
    /// What `effect` asks of the server `tool`; nothing if it is about no server.
    pub(super) fn of(tool: &McpTool, effect: &Effect) -> Option<Self> {
        match &effect.kind {
            EffectKind::ListTools { .. } => Some(Self::List),
            EffectKind::ToolCall { name, arguments, .. } => Some(Self::Call {
                name: name.clone(),
                arguments: arguments.clone(),
                key: effect.id.to_string(),
                metadata: tool.request_metadata.clone(),
            }),
            EffectKind::ModelCall { .. }
            | EffectKind::Compact { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => None,
        }
    }

    /// Makes one attempt at it.
    pub(super) async fn put(
        &self,
        shared: &Shared,
        server: &Reached,
        cancel: &CancellationToken,
    ) -> Result<Answer, Failure> {
        match self {
            Self::List => server.list(cancel).await.map(Answer::Listed),
            Self::Call { name, arguments, key, metadata } => {
                let _running = shared.load.tool_calls_running.hold();
                let began = Instant::now();
                let call = Call { name, arguments, idempotency_key: key, metadata };
                let result = server.call(call, cancel).await;
                let told = result.as_ref().map(|result| result.is_error);
                shared.metrics.tool_called(began.elapsed(), told);
                result.map(Answer::Returned)
            }
        }
    }
}

/// The outcome of an answer, with a long one stored whole, and the files that are there now if they are others.
pub(crate) async fn answered(
    shared: &Shared,
    project: ProjectId,
    answer: Answer,
    root: Option<WorkspaceRoot>,
) -> Result<Attempted, Failure> {
    match answer {
        Answer::Listed(tools) => Ok(Attempted::Listed(tools)),
        Answer::Returned(result) => {
            let result = stored(shared, project, result).await?;
            Ok(Attempted::Returned(ToolResult { root, ..result }))
        }
    }
}

/// A tool's result as the journal keeps it.
pub(crate) async fn stored(
    shared: &Shared,
    project: ProjectId,
    result: CallResult,
) -> Result<ToolResult, Failure> {
    if result.text.len() <= limit::INLINE_BYTES_MAX {
        return Ok(ToolResult::inline(result.text, result.is_error));
    }
    let text = preview(&result.text);
    let blob: BlobRef = shared.store.put_blob(project, Bytes::from(result.text)).await.map_err(|error| {
        tracing::error!(%error, "a tool's output cannot be stored");
        failed(FailureKind::Internal, "the tool answered, but its output could not be stored")
    })?;
    Ok(ToolResult { stored: Some(blob), ..ToolResult::inline(text, result.is_error) })
}

/// Whether a server whose answer this is may go on: what it does once nobody listens is not known.
pub(super) fn is_unheard<T>(answer: &Result<T, Failure>, cancel: &CancellationToken) -> bool {
    cancel.is_cancelled() || answer.as_ref().is_err_and(|failure| failure.kind.is_ambiguous())
}

/// The servers that run on one copy of an environment's files.
#[derive(Default)]
pub(super) struct Inside(HashMap<String, Running>);

/// One of them.
struct Running {
    program: Program,
    /// Dropped before the process is waited for, whose output may wait for this reader.
    reached: Option<Arc<Reached>>,
    process: Process,
}

/// A process in a sandbox. Dropping it kills it; [`Process::end`] also waits until it is dead.
struct Process {
    killer: Killer,
    waiting: Option<std::thread::JoinHandle<()>>,
    /// The way out, where its network is restricted.
    _way_out: Option<WayOut>,
}

impl Inside {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends every server whose label is not among `labels`. Blocks.
    pub(super) fn keep(&mut self, labels: &[String]) {
        let gone: Vec<String> = self.0.keys().filter(|label| !labels.contains(label)).cloned().collect();
        gone.iter().for_each(|label| self.end(label));
    }

    /// Ends one. Blocks until everything of it is dead.
    pub(super) fn end(&mut self, label: &str) {
        if let Some(mut running) = self.0.remove(label) {
            running.reached = None;
            running.process.end();
        }
    }

    /// Ends all. Blocks until everything of them is dead.
    pub(super) fn end_all(&mut self) {
        self.0.values().for_each(|running| running.process.killer.kill());
        self.keep(&[]);
    }

    /// The server with this label, if it runs as `program` says. One that does not is ended.
    pub(super) fn find(&mut self, label: &str, program: &Program) -> Option<Arc<Reached>> {
        let running = self.0.get(label)?;
        if let Some(reached) = &running.reached
            && running.program == *program
            && !reached.is_over()
        {
            return Some(Arc::clone(reached));
        }
        self.end(label);
        None
    }

    /// Starts one. Blocks, within the runtime of `handle`.
    ///
    /// # Errors
    /// Nothing is left of it.
    pub(super) fn start(
        &mut self,
        label: &str,
        program: &Program,
        parts: Parts<'_>,
        handle: &tokio::runtime::Handle,
    ) -> Result<Arc<Reached>, Failure> {
        if self.0.len() >= limit::SERVERS_INSIDE_MAX {
            let most = limit::SERVERS_INSIDE_MAX;
            let message = format!("an environment runs at most {most} tool servers at once");
            return Err(failed(FailureKind::InvalidRequest, message));
        }
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        let errors = move |bytes: &[u8]| lock(&heard).hear(bytes);
        let dialogue = Dialogue::start(parts.backend, parts.command, errors).map_err(|error| {
            tracing::warn!(server = label, %error, "a tool server could not be started in an environment");
            failed(FailureKind::NotFound, format!("the tool server could not be started: {error}"))
        })?;
        let (killer, running, permit) = (dialogue.running.killer(), dialogue.running, parts.permit);
        let ended = Arc::clone(&said);
        let waiting = std::thread::spawn(move || {
            let report = running.wait();
            lock(&ended).end = Some(report.end.to_string());
            drop(permit);
        });
        let mut process = Process { killer, waiting: Some(waiting), _way_out: parts.way_out };
        let reached = handle.block_on(async {
            let broken = |error: std::io::Error| failed(FailureKind::Internal, error.to_string());
            let output = pipe::Receiver::from_file(dialogue.output).map_err(broken)?;
            let input = pipe::Sender::from_file(dialogue.input).map_err(broken)?;
            Reached::over_pipes(label.to_owned(), Hints::default(), output, input).await
        });
        match reached {
            Ok(reached) => {
                let reached = Arc::new(reached);
                let running =
                    Running { program: program.clone(), reached: Some(Arc::clone(&reached)), process };
                self.0.insert(label.to_owned(), running);
                Ok(reached)
            }
            Err(failure) => {
                process.end();
                let why = lock(&said).why(program.env.values());
                // Nothing but the handshake was sent, so it is certain that no tool did anything.
                Err(failed(FailureKind::NotFound, format!("{}{why}", failure.message)))
            }
        }
    }
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a server is started with.
pub(super) struct Parts<'a> {
    pub(super) backend: &'a dyn Backend,
    pub(super) command: Command,
    pub(super) way_out: Option<WayOut>,
    /// Its place among the servers of this node.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Process {
    fn end(&mut self) {
        self.killer.kill();
        if let Some(waiting) = self.waiting.take() {
            // A thread that panicked waits for nothing any more.
            let _ = waiting.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.killer.kill();
    }
}

/// The end of what a process said on standard error, and how it ended.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    end: Option<String>,
}

impl Said {
    fn hear(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let beyond = self.bytes.len().saturating_sub(SAID_BYTES_MAX);
        self.bytes.drain(..beyond);
    }

    /// Why it ended, with `secrets` masked.
    fn why<'a>(&self, secrets: impl Iterator<Item = &'a String>) -> String {
        let mut said = String::from_utf8_lossy(&self.bytes).trim().to_owned();
        for secret in secrets.filter(|secret| secret.len() >= MASKED_BYTES_MIN) {
            said = said.replace(secret.as_str(), "***");
        }
        let end = self.end.as_deref().map(|end| format!(" (it {end})")).unwrap_or_default();
        if said.is_empty() { end } else { format!("{end}; it said: {said}") }
    }
}

fn lock(said: &Mutex<Said>) -> std::sync::MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_is_its_end_without_what_is_secret() {
        let mut said = Said::default();
        said.hear(&vec![b'x'; SAID_BYTES_MAX]);
        said.hear(b"no such key: s3cr3t\n");
        said.end = Some("exited with 1".to_owned());
        let secrets = ["s3cr3t".to_owned(), "x".to_owned()];
        let why = said.why(secrets.iter());
        assert!(why.starts_with(" (it exited with 1); it said: xxx"), "{why}");
        assert!(why.ends_with("no such key: ***") && why.len() < SAID_BYTES_MAX + 64, "{why}");
        assert_eq!(Said::default().why([].iter()), "");
    }
}
