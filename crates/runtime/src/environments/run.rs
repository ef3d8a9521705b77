//! Attempts at what changes an environment: prepared from the state when they begin, carried out on a thread
//! that may block.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tenure_journal::{
    Artifact, BlobRef, CommandRequest, CommandResult, Effect, EffectId, EffectKind, EnvironmentFile, Failure,
    FailureKind, HostedEnvironment, ItemId, Network, ProjectId, Timestamp, TurnId, WorkspaceRoot, limit,
};
use tenure_sandbox::{End, Killer, Stream};
use tenure_session::{Attempted, Session, StreamEvent};
use tenure_workspace::{ErrorKind, FilePath, patch};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::chunks::StoreChunks;
use super::files::{self, WORKSPACE};
use super::host::{Held, Host};
use super::way_out;
use crate::effects::{preview, sealed_text};
use crate::handle::Shared;
use crate::live::Live;

/// The shell that commands are given to.
const SHELL: &str = "/bin/sh";
/// How long all setup commands of an environment may take.
const SETUP: Duration = Duration::from_secs(15 * 60);
/// Bytes of a command's output that are kept; the rest is read and dropped.
const OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of output that are told to readers at once; what comes faster is told together.
const DELTA_BYTES_MAX: usize = 16 * 1024;
/// The shortest time between two deltas.
const DELTA_PAUSE: Duration = Duration::from_millis(50);
/// How much of a setup command's output says why it failed.
const SETUP_SAID_BYTES_MAX: usize = 2 * 1024;

/// What one attempt does, and on which files.
pub(crate) struct Work {
    environment: HostedEnvironment,
    /// The files it begins with; absent for an environment that is to be prepared.
    root: Option<WorkspaceRoot>,
    /// Whether other files may lie here that are to be kept.
    left: bool,
    task: Task,
}

enum Task {
    Prepare,
    Place(Vec<EnvironmentFile>),
    Command { request: CommandRequest, told: Told },
    Publish { effect: EffectId, turn_id: TurnId, before: Vec<Artifact> },
}

/// Where a command's output is told.
struct Told {
    turn_id: TurnId,
    item_id: ItemId,
    output_index: u32,
}

impl Work {
    /// What `effect` asks for; nothing if it is not about the environment, or there is none.
    pub(crate) fn of(state: &Session, effect: &Effect) -> Option<Self> {
        let environment = state.hosted()?.clone();
        let task = match &effect.kind {
            EffectKind::PrepareEnvironment => Task::Prepare,
            EffectKind::PlaceFiles { files } => Task::Place(files.clone()),
            EffectKind::Command { item_id, request } => {
                let item = state.item(*item_id)?;
                let output_index = item.output_index.unwrap_or(0);
                let told = Told { turn_id: item.turn_id, item_id: *item_id, output_index };
                Task::Command { request: request.clone(), told }
            }
            EffectKind::PublishArtifacts => Task::Publish {
                effect: effect.id,
                turn_id: effect.turn_id?,
                before: state.artifacts().to_vec(),
            },
            EffectKind::ModelCall { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::ToolCall { .. }
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => return None,
        };
        let (root, left) = (state.workspace_root(), state.files_left_by().is_some());
        Some(Self { environment, root, left, task })
    }
}

/// Makes the attempt. When `cancel` fires, what runs is killed, and its outcome no longer matters.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    project: ProjectId,
    work: Work,
    live: &Arc<Live>,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let Work { environment, root, left, task } = work;
    let host = &shared.environments;
    let variables = match &environment.variables {
        Some(secret) => variables(&sealed_text(shared, project, secret.0).await?),
        None => BTreeMap::new(),
    };
    let contents = match &task {
        Task::Prepare => payloads(shared, project, &environment.files).await?,
        Task::Place(files) => payloads(shared, project, files).await?,
        Task::Command { .. } | Task::Publish { .. } => Vec::new(),
    };
    let _place = host.gate.enter(project, cancel).await.ok_or_else(cancelled)?;
    let copy = tokio::select! {
        copy = host.hold(environment.id) => copy,
        () = cancel.cancelled() => return Err(cancelled()),
    };
    let way_out = match (&environment.network, &task) {
        (Network::Restricted { allowed_domains }, Task::Prepare | Task::Command { .. }) => {
            Some(way_out::open(&host.way_out(environment.id), environment.id, allowed_domains)?)
        }
        (Network::Restricted { .. } | Network::Disabled | Network::Enabled, _) => None,
    };
    let desk = Desk {
        host: Arc::clone(host),
        chunks: StoreChunks::new(Arc::clone(&shared.store), project, Handle::current()),
        environment,
        variables,
        copy,
        root,
        live: Arc::clone(live),
        cancel: cancel.clone(),
        now: shared.clock.now(),
    };
    let done = tokio::task::spawn_blocking(move || desk.work(task, left, contents)).await;
    if let Some(way_out) = way_out {
        way_out.close().await;
    }
    let done = done.map_err(|_| failed(FailureKind::Crashed, "an internal error ended the command"))??;
    match done {
        Finished::Placed(root) => Ok(Attempted::Placed(root)),
        Finished::Published(artifacts) => Ok(Attempted::Published(artifacts)),
        Finished::Ran(ran) => Ok(Attempted::Ran(kept(shared, project, ran).await?)),
    }
}

/// What came of the work, before its output is stored.
enum Finished {
    Placed(WorkspaceRoot),
    Published(Vec<Artifact>),
    Ran(Ran),
}

struct Ran {
    output: Vec<u8>,
    truncated: bool,
    exit_code: Option<i32>,
    ended_by: Option<String>,
    wall: Duration,
    root: Option<WorkspaceRoot>,
}

/// Everything a thread needs to work in one environment.
struct Desk {
    host: Arc<Host>,
    chunks: StoreChunks,
    environment: HostedEnvironment,
    variables: BTreeMap<String, String>,
    copy: Held,
    root: Option<WorkspaceRoot>,
    live: Arc<Live>,
    cancel: CancellationToken,
    now: Timestamp,
}

impl Desk {
    fn work(mut self, task: Task, left: bool, contents: Vec<(String, Bytes)>) -> Result<Finished, Failure> {
        if let Task::Publish { effect, turn_id, before } = task {
            let Some(root) = self.root else { return Ok(Finished::Published(Vec::new())) };
            let found = files::outputs(&self.chunks, root, &before, (effect, turn_id, self.now));
            return found.map(Finished::Published).map_err(|error| {
                tracing::error!(environment = %self.environment.id, %error, "artifacts cannot be published");
                failed(FailureKind::ServerError, "the files to publish cannot be read now")
            });
        }
        let home = self.host.home(self.environment.id);
        let made = self.copy.make(&home, self.root, left, &self.chunks);
        made.map_err(|error| not_begun(self.broken(&error)))?;
        self.copy.dirty();
        match task {
            Task::Prepare => self.prepare(contents).map(Finished::Placed),
            Task::Place(_) => self.place(contents).and_then(|()| self.snapshot()).map(Finished::Placed),
            Task::Command { request, told } => self.command(&request, &told).map(Finished::Ran),
            Task::Publish { .. } => Ok(Finished::Published(Vec::new())),
        }
    }

    fn prepare(&mut self, contents: Vec<(String, Bytes)>) -> Result<WorkspaceRoot, Failure> {
        self.place(contents)?;
        let outputs = FilePath::parse(b"outputs").map_err(|error| self.broken(&error.into()))?;
        let made = self.copy.files().and_then(|files| files.make_directory(&outputs));
        if let Err(error) = made
            && *error.kind() != ErrorKind::Exists
        {
            return Err(self.broken(&error));
        }
        let end = Instant::now() + SETUP;
        for setup in self.environment.setup.clone() {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let ran = self.sandboxed(&setup.command, &setup.cwd, left, |_| {})?;
            if ran.exit_code != Some(0) {
                let why = ran.ended_by.unwrap_or_else(|| match ran.exit_code {
                    Some(code) => format!("it exited with {code}"),
                    None => "it did not end by itself".to_owned(),
                });
                let said = String::from_utf8_lossy(&ran.output);
                let tail = &said[said.ceil_char_boundary(said.len().saturating_sub(SETUP_SAID_BYTES_MAX))..];
                let message = format!("the setup command `{}` failed: {why}\n{tail}", setup.command);
                return Err(failed(FailureKind::InvalidRequest, message));
            }
        }
        self.snapshot()
    }

    fn place(&mut self, contents: Vec<(String, Bytes)>) -> Result<(), Failure> {
        let files = self.copy.files().map_err(|error| self.broken(&error))?;
        for (path, bytes) in contents {
            let place = || -> Result<(), tenure_workspace::Error> {
                let below = path.strip_prefix(WORKSPACE).unwrap_or(&path);
                let path = FilePath::parse(below.trim_matches('/').as_bytes())?;
                if let Some((parent, _)) = path.split() {
                    make_parents(&files, &parent)?;
                }
                files.write(&path, &bytes)
            };
            place().map_err(|error| match error.kind() {
                ErrorKind::Chunks | ErrorKind::Io | ErrorKind::Busy => self.broken(&error),
                ErrorKind::NotFound
                | ErrorKind::Exists
                | ErrorKind::NotADirectory
                | ErrorKind::NotAFile
                | ErrorKind::Link
                | ErrorKind::Path(_)
                | ErrorKind::Limit(_)
                | ErrorKind::Missing(_)
                | ErrorKind::Corrupt(_)
                | ErrorKind::Manifest(_)
                | ErrorKind::Archive(_) => {
                    failed(FailureKind::InvalidRequest, format!("`{path}` cannot be placed: {error}"))
                }
            })?;
        }
        Ok(())
    }

    fn command(&mut self, request: &CommandRequest, told: &Told) -> Result<Ran, Failure> {
        let mut ran = match request {
            CommandRequest::Patch { patch } => self.patch(patch),
            CommandRequest::Shell { script, cwd, timeout_ms } => {
                let live = Arc::clone(&self.live);
                let tell = |delta| {
                    live.command_output(StreamEvent::CommandOutput {
                        turn_id: told.turn_id,
                        item_id: told.item_id,
                        output_index: told.output_index,
                        delta,
                    });
                };
                self.sandboxed(script, cwd, Duration::from_millis(*timeout_ms), tell)?
            }
        };
        match self.copy.snapshot(self.root, &self.chunks) {
            Ok(root) => ran.root = (Some(root) != self.root).then_some(root),
            // It ran, and whatever it did beside its files it has done.
            Err(error) if matches!(error.kind(), ErrorKind::Limit(_)) => {
                ran.ended_by =
                    Some(format!("What it changed was not kept, because it is too large: {error}."));
            }
            Err(error) => return Err(self.broken(&error)),
        }
        Ok(ran)
    }

    fn patch(&mut self, text: &str) -> Ran {
        let began = Instant::now();
        let done = patch::parse(text).map_err(|error| error.to_string()).and_then(|parsed| {
            let files = self.copy.files().map_err(|error| error.to_string())?;
            patch::apply(&parsed, &files).map_err(|failure| failure.to_string())
        });
        let (output, exit_code) = match done {
            Ok(applied) => (summary(&applied), 0),
            Err(error) => (format!("The patch was not applied: {error}\n"), 1),
        };
        Ran {
            output: output.into_bytes(),
            truncated: false,
            exit_code: Some(exit_code),
            ended_by: None,
            wall: began.elapsed(),
            root: None,
        }
    }

    /// Gives a script to the shell and waits for its end.
    fn sandboxed(
        &self,
        script: &str,
        cwd: &str,
        wall: Duration,
        tell: impl FnMut(String) + Send,
    ) -> Result<Ran, Failure> {
        let backend = self.host.config.sandbox.as_ref().map_err(|why| {
            failed(FailureKind::InvalidRequest, format!("this server cannot run commands: {why}"))
        })?;
        let files = self.host.home(self.environment.id).join("files");
        let argv = vec![SHELL.to_owned(), "-c".to_owned(), script.to_owned()];
        let mut command = tenure_sandbox::Command::new(argv, files);
        command.cwd = cwd.into();
        command.env.clone_from(&self.variables);
        command.network = match &self.environment.network {
            Network::Disabled => tenure_sandbox::Network::Disabled,
            Network::Enabled if self.host.config.open_network => tenure_sandbox::Network::Enabled,
            Network::Restricted { .. } => {
                command.env.extend(way_out::proxy_variables());
                tenure_sandbox::Network::Restricted { proxy_socket: self.host.way_out(self.environment.id) }
            }
            Network::Enabled => {
                let message = "this server does not allow the environment's network";
                return Err(failed(FailureKind::InvalidRequest, message));
            }
        };
        command.limits.wall = wall;
        command.limits.cpu = wall;
        command.limits.memory_bytes = self.environment.size.memory_bytes();
        command.limits.output_bytes = OUTPUT_BYTES_MAX;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let teller = Teller { tell, pending: Vec::new(), last: None };
        let written = Arc::clone(&heard);
        let output = Box::new(move |_: Stream, bytes: &[u8]| {
            written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        });
        let running = backend.start(&command, output).map_err(|error| {
            tracing::warn!(environment = %self.environment.id, %error, "a command could not be started");
            failed(FailureKind::InvalidRequest, format!("the command could not be started: {error}"))
        })?;
        let report = self.watched(running, &heard, teller);
        let output = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
        let (exit_code, ended_by) = told(&report.end);
        if let End::Lost(why) = &report.end {
            return Err(failed(FailureKind::Internal, format!("the command's sandbox was lost: {why}")));
        }
        let truncated = report.output_truncated;
        Ok(Ran { output, truncated, exit_code, ended_by, wall: report.wall, root: None })
    }

    /// Waits for a command, tells what it writes, and kills it when nobody wants it any more.
    fn watched(
        &self,
        running: tenure_sandbox::Running,
        heard: &Mutex<Vec<u8>>,
        mut teller: Teller<impl FnMut(String) + Send>,
    ) -> tenure_sandbox::Report {
        let killer: Killer = running.killer();
        let guard = self.cancel.clone();
        let watch = self.chunks.handle.spawn(async move {
            guard.cancelled().await;
            killer.kill();
        });
        let done = std::sync::atomic::AtomicBool::new(false);
        let report = std::thread::scope(|scope| {
            let telling = scope.spawn(|| {
                let mut from = 0;
                loop {
                    let ended = done.load(std::sync::atomic::Ordering::Acquire);
                    {
                        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        teller.pending.extend_from_slice(&heard[from..]);
                        from = heard.len();
                    }
                    teller.flush(ended);
                    if ended {
                        return;
                    }
                    std::thread::park_timeout(DELTA_PAUSE);
                }
            });
            let report = running.wait();
            done.store(true, std::sync::atomic::Ordering::Release);
            telling.thread().unpark();
            report
        });
        watch.abort();
        report
    }

    fn snapshot(&mut self) -> Result<WorkspaceRoot, Failure> {
        let root = self.root;
        self.copy.snapshot(root, &self.chunks).map_err(|error| self.broken(&error))
    }

    /// What is said when files or their store fail. A limit is the command's own doing.
    fn broken(&self, error: &tenure_workspace::Error) -> Failure {
        let id = self.environment.id;
        match error.kind() {
            ErrorKind::Limit(limit) => {
                failed(FailureKind::InvalidRequest, format!("the environment's files are too large: {limit}"))
            }
            ErrorKind::Missing(_) | ErrorKind::Corrupt(_) | ErrorKind::Manifest(_) => {
                tracing::error!(environment = %id, %error, "the files of an environment are damaged");
                failed(FailureKind::Internal, "the environment's files are damaged")
            }
            ErrorKind::NotFound
            | ErrorKind::Exists
            | ErrorKind::NotADirectory
            | ErrorKind::NotAFile
            | ErrorKind::Link
            | ErrorKind::Path(_)
            | ErrorKind::Archive(_)
            | ErrorKind::Busy
            | ErrorKind::Chunks
            | ErrorKind::Io => {
                tracing::warn!(environment = %id, %error, "the files of an environment cannot be used now");
                failed(FailureKind::ServerError, "the environment's files cannot be used now")
            }
        }
    }
}

/// Output on its way to readers, in whole characters.
struct Teller<F> {
    tell: F,
    pending: Vec<u8>,
    last: Option<Instant>,
}

impl<F: FnMut(String)> Teller<F> {
    fn flush(&mut self, ended: bool) {
        let rested = self.last.is_none_or(|last| last.elapsed() >= DELTA_PAUSE);
        if self.pending.is_empty() || !(ended || rested || self.pending.len() >= DELTA_BYTES_MAX) {
            return;
        }
        let whole = match std::str::from_utf8(&self.pending) {
            Err(error) if error.error_len().is_none() && !ended => error.valid_up_to(),
            Ok(_) | Err(_) => self.pending.len(),
        };
        let bytes: Vec<u8> = self.pending.drain(..whole).collect();
        if !bytes.is_empty() {
            (self.tell)(String::from_utf8_lossy(&bytes).into_owned());
        }
        self.last = Some(Instant::now());
    }
}

/// The code a command exited with, or what ended it.
fn told(end: &End) -> (Option<i32>, Option<String>) {
    match end {
        End::Exited(code) => (Some(*code), None),
        End::Signalled(_) | End::NotExecuted(_) => (Some(end.exit_code()), Some(end.to_string())),
        End::WallLimit
        | End::CpuLimit
        | End::MemoryLimit
        | End::DiskLimit
        | End::Cancelled
        | End::Lost(_) => (None, Some(format!("The command was ended: {end}."))),
    }
}

fn summary(applied: &patch::Applied) -> String {
    let mut text = String::from("The patch was applied.\n");
    for (mark, paths) in [("A", &applied.added), ("M", &applied.updated), ("D", &applied.deleted)] {
        for path in paths {
            text += &format!("{mark} {path}\n");
        }
    }
    for (from, to) in &applied.moved {
        text += &format!("R {from} -> {to}\n");
    }
    text
}

fn make_parents(
    files: &tenure_workspace::Directory,
    parent: &FilePath,
) -> Result<(), tenure_workspace::Error> {
    if parent.is_root() {
        return Ok(());
    }
    if let Some((above, _)) = parent.split() {
        make_parents(files, &above)?;
    }
    match files.make_directory(parent) {
        Err(error) if *error.kind() == ErrorKind::Exists => Ok(()),
        result => result,
    }
}

/// The bytes of files that are to be placed.
async fn payloads(
    shared: &Shared,
    project: ProjectId,
    files: &[EnvironmentFile],
) -> Result<Vec<(String, Bytes)>, Failure> {
    let mut contents = Vec::new();
    for file in files {
        let payload = shared.store.blob(project, file.blob).await.map_err(|error| {
            tracing::error!(%error, "a file to be placed cannot be read");
            failed(FailureKind::Overloaded, "the files to be placed cannot be read now")
        })?;
        let missing = || failed(FailureKind::Internal, format!("the content of `{}` is lost", file.path));
        contents.push((file.path.clone(), payload.ok_or_else(missing)?));
    }
    Ok(contents)
}

/// The result as the journal keeps it, with a long output stored whole.
async fn kept(shared: &Shared, project: ProjectId, ran: Ran) -> Result<CommandResult, Failure> {
    let mut text = String::from_utf8_lossy(&ran.output).into_owned();
    if ran.truncated {
        text += &format!("\n[Only the first {OUTPUT_BYTES_MAX} bytes of the output were kept.]");
    }
    let mut stored: Option<BlobRef> = None;
    if text.len() > limit::INLINE_BYTES_MAX {
        let shown = preview(&text);
        let kept = shared.store.put_blob(project, Bytes::from(text)).await.map_err(|error| {
            tracing::error!(%error, "a command's output cannot be stored");
            failed(FailureKind::ServerError, "the command's output could not be stored")
        })?;
        (text, stored) = (shown, Some(kept));
    }
    Ok(CommandResult {
        output: text,
        stored,
        exit_code: ran.exit_code,
        ended_by: ran.ended_by,
        duration_ms: u64::try_from(ran.wall.as_millis()).unwrap_or(u64::MAX),
        root: ran.root,
    })
}

/// Variables as they were sealed: one JSON object of strings.
fn variables(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).unwrap_or_default()
}

/// A failure before anything ran: it leaves nothing open.
fn not_begun(failure: Failure) -> Failure {
    let is_transient = failure.kind == FailureKind::ServerError;
    let kind = if is_transient { FailureKind::Overloaded } else { failure.kind };
    Failure { kind, ..failure }
}

fn failed(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retry_after_ms: None }
}

/// What is said of an attempt that was cancelled before it began; nobody hears it.
fn cancelled() -> Failure {
    failed(FailureKind::ConnectionFailed, "the command was cancelled")
}
