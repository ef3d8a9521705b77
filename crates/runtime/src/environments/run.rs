//! Attempts at what changes an environment: prepared from the state when they begin, carried out on a thread
//! that may block.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tenure_egress::{Resolver, SystemResolver};
use tenure_journal::{
    Artifact, BlobRef, CommandRequest, CommandResult, Effect, EffectId, EffectKind, EnvironmentFile, Failure,
    FailureKind, HostedEnvironment, Item, ItemId, Network, PluginServers, ProjectId, SessionKey, SkillEntry,
    Timestamp, TurnId, WorkspaceRoot, limit,
};
use tenure_sandbox::{End, Killer, Stream};
use tenure_session::{Attempted, Session, Standing, StreamEvent};
use tenure_tools::Reached;
use tenure_workspace::{ErrorKind, FilePath, patch};
use tokio_util::sync::CancellationToken;

use super::chunks::StoreChunks;
use super::files::{self, WORKSPACE};
use super::host::{Held, Host};
use super::inside::{self, Answer, Parts, Program, ServerWork};
use super::install::{self, InstallError};
use super::plugins::{self, Machine, Owner};
use super::way_out::WayOut;
use super::{packages, way_out};
use crate::effects::{preview, sealed_text};
use crate::handle::Shared;
use crate::live::Live;
use crate::vaults::{self, Mask, Variable};

/// The shell that commands are given to.
pub(super) const SHELL: &str = "/bin/sh";
/// How long installing packages and all setup commands of an environment may take together.
const SETUP: Duration = Duration::from_secs(15 * 60);
/// Bytes of a command's output that are kept; the rest is read and dropped.
pub(super) const OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of output that are told to readers at once; what comes faster is told together.
const DELTA_BYTES_MAX: usize = 16 * 1024;
/// The shortest time between two deltas.
pub(super) const DELTA_PAUSE: Duration = Duration::from_millis(50);
/// How much of a setup command's output says why it failed.
const SETUP_SAID_BYTES_MAX: usize = 2 * 1024;

/// What one attempt does, and on which files.
pub(crate) struct Work {
    environment: HostedEnvironment,
    session: SessionKey,
    vault_ids: Vec<String>,
    /// For whether it may use the secrets that lie there.
    standing: Standing,
    /// The files it begins with; absent for an environment that is to be prepared.
    root: Option<WorkspaceRoot>,
    /// Whether other files may lie here that are to be kept.
    left: bool,
    task: Task,
}

enum Task {
    Prepare,
    /// Skills that are missing.
    Install,
    Place(Vec<EnvironmentFile>),
    Command {
        request: CommandRequest,
        hosts: Option<Vec<String>>,
        told: Told,
    },
    Publish {
        effect: EffectId,
        turn_id: TurnId,
        before: Vec<Artifact>,
    },
    Server(Box<ServerWork>, Owner),
}

/// Where a command's output is told.
pub(super) struct Told {
    turn_id: TurnId,
    item_id: ItemId,
    output_index: u32,
}

impl Told {
    pub(super) fn of(item: &Item) -> Self {
        Self { turn_id: item.turn_id, item_id: item.id, output_index: item.output_index.unwrap_or(0) }
    }

    pub(super) fn notice(&self, delta: String) -> StreamEvent {
        StreamEvent::CommandOutput {
            turn_id: self.turn_id,
            item_id: self.item_id,
            output_index: self.output_index,
            delta,
        }
    }
}

impl Work {
    /// What `effect` asks for; nothing if it is not about the environment, or there is none.
    pub(crate) fn of(state: &Session, effect: &Effect) -> Option<Self> {
        let environment = state.hosted()?.clone();
        let task = match &effect.kind {
            EffectKind::PrepareEnvironment if state.workspace_root().is_some() => Task::Install,
            EffectKind::PrepareEnvironment => Task::Prepare,
            EffectKind::PlaceFiles { files } => Task::Place(files.clone()),
            EffectKind::Command { item_id, request, hosts } => {
                let told = Told::of(state.item(*item_id)?);
                Task::Command { request: request.clone(), hosts: hosts.clone(), told }
            }
            EffectKind::PublishArtifacts => Task::Publish {
                effect: effect.id,
                turn_id: effect.turn_id?,
                before: state.artifacts().to_vec(),
            },
            EffectKind::ListTools { .. } | EffectKind::ToolCall { .. } => {
                let server = ServerWork::of(state, effect)?;
                let owner = Owner::of(state, &server.label);
                Task::Server(Box::new(server), owner)
            }
            EffectKind::ModelCall { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Compact { .. }
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => return None,
        };
        let (root, left) = (state.workspace_root(), state.files_left_by().is_some());
        let (session, vault_ids) = (state.key(), state.vault_ids().to_vec());
        let standing = Standing::of(state, effect.id, effect.turn_id);
        Some(Self { environment, session, vault_ids, standing, root, left, task })
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
    let Work { environment, session, vault_ids, standing, root, left, mut task } = work;
    let host = &shared.environments;
    let variables = match &environment.variables {
        Some(secret) => variables(&sealed_text(shared, project, secret.0).await?),
        None => BTreeMap::new(),
    };
    let secrets = vaults::variables(shared, session, &vault_ids, &standing).await?;
    let mask = Mask::of(&vaults::known(shared, project, &vault_ids).await?);
    if let Task::Server(server, owner) = &mut task {
        owner.check(&server.label, |label| shared.project_servers.contains_key(label))?;
        server.unseal(shared, project).await?;
    }
    let _place = host.gate.enter(project, cancel).await.ok_or_else(cancelled)?;
    let copy = tokio::select! {
        copy = host.hold(project, environment.id) => copy,
        () = cancel.cancelled() => return Err(cancelled()),
    };
    let desk = Desk {
        shared: Arc::clone(shared),
        host: Arc::clone(host),
        chunks: StoreChunks::new(Arc::clone(&shared.store), project, tokio::runtime::Handle::current()),
        environment,
        variables,
        secrets,
        mask: mask.clone(),
        copy,
        root,
        live: Arc::clone(live),
        cancel: cancel.clone(),
        now: shared.clock.now(),
    };
    let done = tokio::task::spawn_blocking(move || desk.work(task, left)).await;
    let done = done.map_err(|_| failed(FailureKind::Crashed, "an internal error ended the command"))?;
    let done = done.map_err(|failure| mask.failure(failure))?;
    match done {
        Finished::Prepared { root, skills, servers } => Ok(Attempted::Prepared { root, skills, servers }),
        Finished::Placed(root) => Ok(Attempted::Placed(root)),
        Finished::Published(artifacts) => Ok(Attempted::Published(artifacts)),
        Finished::Ran(ran) => Ok(Attempted::Ran(kept(shared, project, ran).await?)),
        Finished::Answered { answer, root } => {
            inside::answered(shared, project, answer.masked(&mask), root).await
        }
    }
}

/// A network of these hosts alone; without any, there is none.
fn restricted(hosts: Vec<String>) -> Network {
    if hosts.is_empty() { Network::Disabled } else { Network::Restricted { allowed_domains: hosts } }
}

/// What came of the work, before its output is stored.
enum Finished {
    Prepared { root: WorkspaceRoot, skills: Vec<SkillEntry>, servers: PluginServers },
    Placed(WorkspaceRoot),
    Published(Vec<Artifact>),
    Ran(Ran),
    Answered { answer: Answer, root: Option<WorkspaceRoot> },
}

/// What a command may reach.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// What the environment's settings say.
    Own,
    /// The registries that packages come from, and nothing else.
    Registries,
}

/// What came of a command, before its output is stored.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) output: Vec<u8>,
    pub(super) truncated: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) ended_by: Option<String>,
    pub(super) wall: Duration,
    pub(super) root: Option<WorkspaceRoot>,
}

/// Everything a thread needs to work in one environment.
struct Desk {
    shared: Arc<Shared>,
    host: Arc<Host>,
    chunks: StoreChunks,
    environment: HostedEnvironment,
    variables: BTreeMap<String, String>,
    /// Variables of vaults: placeholders inside, values at the proxy.
    secrets: Vec<Variable>,
    /// What must not be in what comes out.
    mask: Mask,
    copy: Held,
    root: Option<WorkspaceRoot>,
    live: Arc<Live>,
    cancel: CancellationToken,
    now: Timestamp,
}

impl Desk {
    fn work(mut self, task: Task, left: bool) -> Result<Finished, Failure> {
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
        made.map_err(|error| self.not_there(&error))?;
        match &task {
            // What it finds is no part of the journal's files.
            Task::Server(server, _) if server.only_lists() => {}
            Task::Prepare
            | Task::Install
            | Task::Place(_)
            | Task::Command { .. }
            | Task::Publish { .. }
            | Task::Server(..) => self.copy.dirty(),
        }
        match task {
            Task::Prepare => self.prepare(),
            Task::Install => self.install_missing(),
            Task::Place(files) => self.place(&files).and_then(|()| self.snapshot()).map(Finished::Placed),
            Task::Command { request, hosts, told } => {
                if let Some(hosts) = hosts {
                    // Policy allows fewer than the settings name.
                    self.environment.network = restricted(hosts);
                }
                self.command(&request, &told).map(Finished::Ran)
            }
            Task::Publish { .. } => Ok(Finished::Published(Vec::new())),
            Task::Server(server, _) => self.ask(&server),
        }
    }

    /// Asks a server, which is started if it does not run, and keeps the files it left.
    fn ask(&mut self, work: &ServerWork) -> Result<Finished, Failure> {
        self.copy.servers.keep(&work.labels);
        let server = match self.copy.servers.find(&work.label, &work.program) {
            Some(server) => server,
            None => self.serve(work)?,
        };
        let answer = self.chunks.handle.block_on(work.ask.put(&self.shared, &server, &self.cancel));
        drop(server);
        if inside::is_unheard(&answer, &self.cancel) {
            self.copy.servers.end(&work.label);
        }
        let mut answer = answer?;
        let Answer::Returned(result) = &mut answer else {
            return Ok(Finished::Answered { answer, root: None });
        };
        let root = match self.copy.snapshot(self.root, &self.chunks) {
            Ok(root) => (Some(root) != self.root).then_some(root),
            // It was done, whatever it left.
            Err(error) if matches!(error.kind(), ErrorKind::Limit(_)) => {
                result.text += &format!("\n[{}]", not_kept(&error));
                None
            }
            Err(error) => return Err(self.broken(&error)),
        };
        Ok(Finished::Answered { answer, root })
    }

    /// Starts a server.
    fn serve(&mut self, work: &ServerWork) -> Result<Arc<Reached>, Failure> {
        let Program { command, args, cwd, env_vars, env } = &work.program;
        let argv = std::iter::once(command).chain(args).cloned().collect();
        let given = self.variables.iter().filter(|(name, _)| env_vars.contains(name));
        let given = given.chain(env).map(|(name, value)| (name.clone(), value.clone())).collect();
        let (mut command, way_out) = self.confined(argv, cwd, given, Reach::Own)?;
        command.limits.wall = inside::WALL;
        command.limits.cpu = inside::CPU;
        let permit = self.host.server_place().ok_or_else(|| {
            failed(FailureKind::Overloaded, "too many tool servers run in environments of this server")
        })?;
        let host = Arc::clone(&self.host);
        let parts =
            Parts { backend: &**host.backend()?, command, way_out: way_out.map(|(open, _)| open), permit };
        self.copy.servers.start(&work.label, &work.program, parts, &self.chunks.handle)
    }

    fn prepare(&mut self) -> Result<Finished, Failure> {
        self.place(&self.environment.files.clone())?;
        self.install()?;
        let outputs = FilePath::parse(b"outputs").map_err(|error| self.broken(&error.into()))?;
        let made = self.copy.files().and_then(|files| files.make_directory(&outputs));
        if let Err(error) = made
            && *error.kind() != ErrorKind::Exists
        {
            return Err(self.broken(&error));
        }
        let end = Instant::now() + SETUP;
        let steps = self.host.config.packages.steps(&self.environment.packages);
        for step in steps {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let ran = self.sandboxed(&step.script, WORKSPACE, left, Reach::Registries, |_| {})?;
            if let Some(why) = unsuccessful(&ran) {
                let message = format!("the {} could not be installed: {why}", step.what);
                return Err(failed(FailureKind::InvalidRequest, message));
            }
        }
        for setup in self.environment.setup.clone() {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let ran = self.sandboxed(&setup.command, &setup.cwd, left, Reach::Own, |_| {})?;
            if let Some(why) = unsuccessful(&ran) {
                let message = format!("the setup command `{}` failed: {why}", setup.command);
                return Err(failed(FailureKind::InvalidRequest, message));
            }
        }
        self.prepared()
    }

    fn install_missing(&mut self) -> Result<Finished, Failure> {
        let files = self.copy.files().map_err(|error| self.broken(&error))?;
        install::install_missing(&files, &self.chunks, &self.environment.capabilities)
            .map_err(|(name, error)| self.not_installed(&name, "installed", &error))?;
        self.prepared()
    }

    /// Keeps the files, and says which skills and tool servers are among them.
    fn prepared(&mut self) -> Result<Finished, Failure> {
        let root = self.snapshot()?;
        let found = self.copy.files().and_then(|files| install::find(&files, &self.environment.capabilities));
        let (skills, plugins) = found.map_err(|error| self.broken(&error))?;
        let is_taken = |label: &str| self.shared.project_servers.contains_key(label);
        let servers = plugins::gather(plugins, Machine::Sandbox, is_taken);
        Ok(Finished::Prepared { root, skills, servers })
    }

    fn install(&self) -> Result<(), Failure> {
        let files = self.copy.files().map_err(|error| self.broken(&error))?;
        install::install(&files, &self.chunks, &self.environment.capabilities)
            .map_err(|(name, error)| self.not_installed(&name, "installed", &error))
    }

    fn place(&self, placed: &[EnvironmentFile]) -> Result<(), Failure> {
        let files = self.copy.files().map_err(|error| self.broken(&error))?;
        for file in placed {
            install::place(&files, &self.chunks, file)
                .map_err(|error| self.not_installed(&file.path, "placed", &error))?;
        }
        Ok(())
    }

    /// What is said of a file, a skill or a plugin that cannot be put where it belongs. Nothing ran yet.
    fn not_installed(&self, what: &str, done: &str, error: &InstallError) -> Failure {
        let refused = |error: &dyn std::fmt::Display| {
            failed(FailureKind::InvalidRequest, format!("`{what}` cannot be {done}: {error}"))
        };
        match error {
            InstallError::Store(error) => {
                tracing::error!(%error, "what an environment is to be given cannot be read");
                failed(FailureKind::Overloaded, format!("`{what}` cannot be read now"))
            }
            InstallError::Lost => failed(FailureKind::Internal, format!("the content of `{what}` is lost")),
            InstallError::Files(error) => match error.kind() {
                ErrorKind::Chunks | ErrorKind::Io | ErrorKind::Busy => self.broken(error),
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
                | ErrorKind::Archive(_) => refused(error),
            },
        }
    }

    fn command(&mut self, request: &CommandRequest, told: &Told) -> Result<Ran, Failure> {
        let mut ran = match request {
            CommandRequest::Patch { patch } => self.patch(patch),
            CommandRequest::Shell { script, cwd, timeout_ms } => {
                let live = Arc::clone(&self.live);
                let tell = |delta| live.command_output(told.notice(delta));
                self.sandboxed(script, cwd, Duration::from_millis(*timeout_ms), Reach::Own, tell)?
            }
        };
        match self.copy.snapshot(self.root, &self.chunks) {
            Ok(root) => ran.root = (Some(root) != self.root).then_some(root),
            // It ran, and whatever it did beside its files it has done.
            Err(error) if matches!(error.kind(), ErrorKind::Limit(_)) => {
                ran.ended_by = Some(not_kept(&error));
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
        reach: Reach,
        tell: impl FnMut(String) + Send,
    ) -> Result<Ran, Failure> {
        let argv = vec![SHELL.to_owned(), "-c".to_owned(), script.to_owned()];
        let (mut command, way_out) = self.confined(argv, cwd, self.variables.clone(), reach)?;
        command.limits.wall = wall;
        command.limits.cpu = wall;
        command.limits.output_bytes = OUTPUT_BYTES_MAX;
        let backend = self.host.backend()?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let teller = Teller::new(tell);
        let written = Arc::clone(&heard);
        // One for each stream, so that what one writes does not hide what the other does.
        let mut masks = [self.mask.stream(), self.mask.stream()];
        let held = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
        let rest = Arc::clone(&held);
        let output = Box::new(move |stream: Stream, bytes: &[u8]| {
            let which = usize::from(stream == Stream::Stderr);
            let masked = masks[which].push(bytes);
            let left = if masks[which].is_holding() { masks[which].clone().finish() } else { Vec::new() };
            rest.lock().unwrap_or_else(PoisonError::into_inner)[which] = left;
            written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&masked);
        });
        let running = backend.start(&command, output).map_err(|error| {
            tracing::warn!(environment = %self.environment.id, %error, "a command could not be started");
            failed(FailureKind::InvalidRequest, format!("the command could not be started: {error}"))
        })?;
        let report = self.watched(running, (&heard, &held), teller);
        if let Some((way_out, _)) = way_out {
            self.chunks.handle.block_on(way_out.handle.close());
        }
        let output = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
        // Once more over all of it: two streams may have put together what neither wrote.
        let output = self.mask.bytes(output);
        let (exit_code, ended_by) = told(&report.end);
        if let End::Lost(why) = &report.end {
            return Err(failed(FailureKind::Internal, format!("the command's sandbox was lost: {why}")));
        }
        let truncated = report.output_truncated;
        Ok(Ran { output, truncated, exit_code, ended_by, wall: report.wall, root: None })
    }

    /// A command in the environment's files, network and memory, and the way out that it has while it runs.
    fn confined(
        &self,
        argv: Vec<String>,
        cwd: &str,
        variables: BTreeMap<String, String>,
        reach: Reach,
    ) -> Result<(tenure_sandbox::Command, Option<(WayOut, PathBuf)>), Failure> {
        let files = self.host.home(self.environment.id).join("files");
        let mut command = tenure_sandbox::Command::new(argv, files);
        command.cwd = cwd.into();
        command.env = variables;
        for secret in &self.secrets {
            command.env.insert(secret.name.clone(), secret.placeholder.clone());
        }
        packages::make_known(&self.environment.packages, &mut command.env);
        let way_out = self.way_out(reach)?;
        command.network = match (&way_out, &self.environment.network) {
            (Some((way_out, proxy_socket)), _) => {
                command.env.extend(way_out::proxy_variables());
                if let Some(trusted) = &way_out.trusted {
                    command.env.extend(trusted.variables());
                    command.files.read_only.extend(trusted.files());
                }
                tenure_sandbox::Network::Restricted { proxy_socket: proxy_socket.clone() }
            }
            (None, Network::Enabled) if self.host.config.open_network => tenure_sandbox::Network::Enabled,
            (None, Network::Enabled) => {
                let message = "this server does not allow the environment's network";
                return Err(failed(FailureKind::InvalidRequest, message));
            }
            (None, Network::Disabled | Network::Restricted { .. }) => tenure_sandbox::Network::Disabled,
        };
        command.limits.memory_bytes = self.environment.size.memory_bytes();
        Ok((command, way_out))
    }

    /// Opens the way out that a command has while it runs, if it has one.
    fn way_out(&self, reach: Reach) -> Result<Option<(WayOut, PathBuf)>, Failure> {
        let (rules, resolver): (_, Arc<dyn Resolver>) = match (reach, &self.environment.network) {
            (Reach::Registries, _) => {
                let sources = &self.host.config.packages;
                (sources.rules()?, Arc::new(sources.resolver()))
            }
            (Reach::Own, Network::Restricted { allowed_domains }) => {
                let secrets = self.secrets.iter().filter_map(|variable| variable.secret.clone()).collect();
                let rules = way_out::rules(allowed_domains)?.with_secrets(secrets);
                let rules = rules.map_err(|error| failed(FailureKind::InvalidRequest, error.to_string()))?;
                (rules, Arc::new(SystemResolver))
            }
            (Reach::Own, Network::Disabled | Network::Enabled) => return Ok(None),
        };
        let socket = self.host.way_out();
        let _runtime = self.chunks.handle.enter();
        let handle = way_out::open(&socket, self.environment.id, rules, resolver)?;
        let has_secrets = self.secrets.iter().any(|variable| variable.secret.is_some());
        let trusted = (reach == Reach::Own && has_secrets)
            .then(|| way_out::trusted(&socket, self.environment.id, &handle))
            .transpose()?;
        Ok(Some((WayOut { handle, trusted }, socket)))
    }

    /// Waits for a command, tells what it writes, and kills it when nobody wants it any more.
    fn watched(
        &self,
        running: tenure_sandbox::Running,
        (heard, held): (&Mutex<Vec<u8>>, &Mutex<[Vec<u8>; 2]>),
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
                        teller.push(&heard[from..]);
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
            // What could have become a secret, and did not.
            let rest = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
            heard.lock().unwrap_or_else(PoisonError::into_inner).extend(rest.concat());
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

    /// Why the files that the journal knows cannot be put here. Nothing was done yet.
    fn not_there(&self, error: &tenure_workspace::Error) -> Failure {
        let broken = not_begun(self.broken(error));
        if !matches!(error.kind(), ErrorKind::Missing(_) | ErrorKind::Corrupt(_) | ErrorKind::Manifest(_)) {
            return broken;
        }
        let message = "the environment's files are lost; it is made ready anew, as it was at first";
        failed(FailureKind::FilesLost, message)
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
pub(super) struct Teller<F> {
    tell: F,
    pending: Vec<u8>,
    last: Option<Instant>,
}

impl<F: FnMut(String)> Teller<F> {
    pub(super) fn new(tell: F) -> Self {
        Self { tell, pending: Vec::new(), last: None }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    pub(super) fn has_more(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn flush(&mut self, ended: bool) {
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

/// What is said of files that are not kept.
fn not_kept(error: &tenure_workspace::Error) -> String {
    format!("What it changed was not kept, because it is too large: {error}.")
}

/// Why a command did not do what it was run for, with the end of what it said; nothing if it did.
fn unsuccessful(ran: &Ran) -> Option<String> {
    if ran.exit_code == Some(0) {
        return None;
    }
    let why = ran.ended_by.clone().unwrap_or_else(|| match ran.exit_code {
        Some(code) => format!("it exited with {code}"),
        None => "it did not end by itself".to_owned(),
    });
    let said = String::from_utf8_lossy(&ran.output);
    let tail = &said[said.ceil_char_boundary(said.len().saturating_sub(SETUP_SAID_BYTES_MAX))..];
    Some(format!("{why}\n{tail}"))
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

pub(super) fn summary(applied: &patch::Applied) -> String {
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

/// The result as the journal keeps it, with a long output stored whole.
pub(super) async fn kept(shared: &Shared, project: ProjectId, ran: Ran) -> Result<CommandResult, Failure> {
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

pub(super) fn failed(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retry_after_ms: None }
}

/// What is said of an attempt that was cancelled before it began; nobody hears it.
pub(super) fn cancelled() -> Failure {
    failed(FailureKind::ConnectionFailed, "the command was cancelled")
}
