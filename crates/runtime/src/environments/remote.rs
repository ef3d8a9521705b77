//! Attempts at commands in self-hosted environments: on the customer's machine, through its executor.
//!
//! A command begins once the executor is connected to this node; it is waited for, since one that lost its
//! connection dials again. A connection that breaks while a command runs is taken up where it was. What cannot
//! be taken up any more, or never answered, may have been done: it is told as such and never repeated, because
//! nothing here can put the customer's files back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tenure_egress::Replacer;
use tenure_executor::harness::{CallError, CallErrorKind, Process, ProcessEvent, Remote, State};
use tenure_executor::location::Location;
use tenure_executor::protocol::process::{EnvironmentPolicy, Inherit, ProcessId, Start};
use tenure_journal::{
    CommandRequest, Effect, EffectKind, Failure, FailureKind, ProjectId, SelfHostedEnvironment, SessionKey,
};
use tenure_session::{Attempted, Session};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::inside::ServerWork;
use super::plugins::{self, Machine, Owner};
use super::remote_servers::HttpWork;
use super::run::{DELTA_PAUSE, OUTPUT_BYTES_MAX, Ran, SHELL, Teller, Told, cancelled, failed, kept};
use super::{remote_patch, remote_servers, remote_skills};
use crate::handle::Shared;
use crate::live::Live;
use crate::vaults::{self, Mask};

/// How long a command waits for its executor: longer than one that lost its connection pauses before it dials.
const CONNECT: Duration = Duration::from_secs(60);
/// How long output may still come of a command that has ended or was ended: what it left running may hold its
/// output open for ever.
const AFTER_END: Duration = Duration::from_secs(2);

/// What one attempt does.
pub(crate) struct RemoteWork {
    environment: SelfHostedEnvironment,
    session: SessionKey,
    effect: String,
    vault_ids: Vec<String>,
    task: Task,
}

enum Task {
    Command { request: CommandRequest, told: Told },
    Server(Box<ServerWork>, Owner),
    Http(Box<HttpWork>),
    Find,
}

impl RemoteWork {
    /// What `effect` asks for; nothing if it is neither a command nor about a server there, or there is no
    /// self-hosted environment.
    pub(crate) fn of(state: &Session, effect: &Effect, attempt: u32) -> Option<Self> {
        let environment = state.self_hosted()?.clone();
        let task = match &effect.kind {
            EffectKind::Command { item_id, request, hosts: _ } => {
                Task::Command { request: request.clone(), told: Told::of(state.item(*item_id)?) }
            }
            EffectKind::ListTools { .. } | EffectKind::ToolCall { .. } => match ServerWork::of(state, effect)
            {
                Some(server) => {
                    let owner = Owner::of(state, &server.label);
                    Task::Server(Box::new(server), owner)
                }
                None => Task::Http(Box::new(HttpWork::of(state, effect)?)),
            },
            EffectKind::PrepareEnvironment => Task::Find,
            EffectKind::ModelCall { .. }
            | EffectKind::Compact { .. }
            | EffectKind::PlaceFiles { .. }
            | EffectKind::PublishArtifacts
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => return None,
        };
        // What is attempted again must not meet what the attempt before left.
        let effect = format!("{}-{attempt}", effect.id);
        let vault_ids = state.vault_ids().to_vec();
        Some(Self { environment, session: state.key(), effect, vault_ids, task })
    }
}

/// Makes the attempt. When `cancel` fires, what runs is ended, and its outcome no longer matters.
pub(crate) async fn run_remote(
    shared: &Arc<Shared>,
    project: ProjectId,
    mut work: RemoteWork,
    live: &Arc<Live>,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let is_taken = |label: &str| shared.project_servers.contains_key(label);
    match &mut work.task {
        Task::Command { .. } | Task::Find => {}
        Task::Server(server, owner) => {
            owner.check(&server.label, is_taken)?;
            server.unseal(shared, project).await?;
        }
        Task::Http(server) => server.unseal(shared, project).await?,
    }
    let remote = shared.executors.remote(work.environment.id);
    // It is given no secret of a vault; one that it has from elsewhere is masked all the same.
    let mask = Mask::of(&vaults::known(shared, project, &work.vault_ids).await?);
    let ran = async {
        connected(&remote).await?;
        let _place = shared.environments.gate.enter(project, cancel).await.ok_or_else(cancelled)?;
        let (servers, name) = (&shared.executors.servers, &work.effect);
        let mut ran = match &work.task {
            Task::Command { request: CommandRequest::Patch { patch }, .. } => {
                remote_patch::apply(&remote, &work.environment.workspace_directory, patch).await?
            }
            Task::Command { request: CommandRequest::Shell { script, cwd, timeout_ms }, told } => {
                let wall = Duration::from_millis(*timeout_ms);
                shell(&remote, (&work.effect, told), (script, cwd, wall), &mask, live).await?
            }
            Task::Server(server, _) => {
                return remote_servers::ask(shared, servers, &remote, work.session, name, server, cancel)
                    .await;
            }
            Task::Find => {
                let directories = &work.environment.capability_directories;
                let found = remote_skills::find(&remote, directories).await?;
                let servers = plugins::gather(found.plugins, Machine::Customers, is_taken);
                return Ok(Attempted::Found { skills: found.skills, servers });
            }
            Task::Http(server) => {
                let key = work.session;
                return remote_servers::ask_over_http(shared, servers, &remote, key, name, server, cancel)
                    .await;
            }
        };
        ran.output = mask.bytes(ran.output);
        Ok(Attempted::Ran(kept(shared, project, ran).await?))
    };
    tokio::select! {
        attempted = ran => attempted.map_err(|failure| mask.failure(failure)),
        // What was started is ended when its handle goes.
        () = cancel.cancelled() => Err(cancelled()),
    }
}

async fn connected(remote: &Remote) -> Result<(), Failure> {
    let mut state = remote.state();
    let there = timeout(CONNECT, state.wait_for(|state| *state == State::Connected)).await;
    match there {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(nobody()),
    }
}

/// Gives a script to the shell there and waits for its end.
async fn shell(
    remote: &Remote,
    (effect, told): (&str, &Told),
    (script, cwd, wall): (&str, &str, Duration),
    mask: &Mask,
    live: &Arc<Live>,
) -> Result<Ran, Failure> {
    let cwd = Location::from_path(Path::new(cwd))
        .map_err(|error| failed(FailureKind::InvalidRequest, error.to_string()))?;
    let start = Start {
        process_id: ProcessId(effect.to_owned()),
        argv: vec![SHELL.to_owned(), "-c".to_owned(), script.to_owned()],
        cwd,
        env_policy: Some(policy()),
        env: BTreeMap::new(),
        tty: false,
        pipe_stdin: false,
        arg0: None,
        sandbox: None,
        enforce_managed_network: false,
    };
    let began = Instant::now();
    let process = remote.start(&start).await.map_err(|error| failure(&error))?;
    let mut following = Following {
        ran: Ran::default(),
        mask: mask.stream(),
        teller: Teller::new(|delta| live.command_output(told.notice(delta))),
        until: began + wall,
        phase: Phase::Running,
    };
    following.follow(process, wall).await?;
    let rest = following.mask.finish();
    following.heard(&rest);
    following.teller.flush(true);
    Ok(Ran { wall: began.elapsed(), ..following.ran })
}

/// What a command may inherit: everything but what is named like a secret.
fn policy() -> EnvironmentPolicy {
    EnvironmentPolicy {
        inherit: Inherit::All,
        ignore_default_excludes: false,
        exclude: Vec::new(),
        set: BTreeMap::new(),
        include_only: Vec::new(),
    }
}

/// A command on its way to its end.
struct Following<F> {
    ran: Ran,
    /// Between the command and everyone who hears it.
    mask: Replacer,
    teller: Teller<F>,
    /// When the phase is over.
    until: Instant,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// It ended, or was told to; what still comes is heard for a moment.
    Ending,
}

impl<F: FnMut(String)> Following<F> {
    async fn follow(&mut self, mut process: Process, wall: Duration) -> Result<(), Failure> {
        loop {
            let pause = Instant::now() + DELTA_PAUSE;
            tokio::select! {
                event = process.next() => match event {
                    Ok(Some(event)) => self.take(event),
                    Ok(None) => return Ok(()),
                    Err(_) if self.phase == Phase::Ending => return Ok(()),
                    Err(error) => return Err(failure(&error)),
                },
                () = sleep_until(self.until) => match self.phase {
                    Phase::Running => {
                        let seconds = wall.as_secs();
                        self.ran.ended_by =
                            Some(format!("The command was ended: it ran longer than {seconds} s."));
                        self.ending();
                        // Dropping its handle asks the same, should this not be heard.
                        let _ = timeout(AFTER_END, process.terminate()).await;
                    }
                    Phase::Ending => return Ok(()),
                },
                () = sleep_until(pause), if self.teller.has_more() => self.teller.flush(false),
            }
        }
    }

    fn take(&mut self, event: ProcessEvent) {
        match event {
            ProcessEvent::Output { bytes, .. } => {
                let room = usize::try_from(OUTPUT_BYTES_MAX).unwrap_or(usize::MAX);
                let bytes = &bytes[..bytes.len().min(room.saturating_sub(self.ran.output.len()))];
                self.ran.truncated |= bytes.is_empty();
                let masked = self.mask.push(bytes);
                self.heard(&masked);
            }
            ProcessEvent::Missed => {
                let rest = self.mask.finish();
                self.heard(&rest);
                self.heard(MISSED);
            }
            ProcessEvent::Exited { code } => {
                // What it was ended by says more than the signal that ended it.
                self.ran.exit_code = self.ran.ended_by.is_none().then_some(code);
                self.ending();
            }
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        self.ran.output.extend_from_slice(bytes);
        self.teller.push(bytes);
    }

    fn ending(&mut self) {
        self.phase = Phase::Ending;
        self.until = Instant::now() + AFTER_END;
    }
}

const MISSED: &[u8] = b"\n[Some of the output was lost while the connection was broken.]\n";

/// A failed call, as an attempt at a command fails: what may have been done is ambiguous.
pub(super) fn failure(error: &CallError) -> Failure {
    let kind = match error.kind {
        CallErrorKind::Disconnected => return nobody(),
        CallErrorKind::Interrupted | CallErrorKind::Lost => FailureKind::ConnectionFailed,
        CallErrorKind::TimedOut => FailureKind::Timeout,
        CallErrorKind::Refused { .. } => {
            let message = format!("The command could not be started: {}.", error.message);
            return failed(FailureKind::InvalidRequest, message);
        }
        CallErrorKind::Protocol => FailureKind::Protocol,
    };
    failed(kind, error.message.clone())
}

fn nobody() -> Failure {
    let message = "No executor is connected to the environment. The command was not run.";
    failed(FailureKind::NotFound, message)
}
