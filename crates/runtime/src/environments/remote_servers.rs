//! MCP servers in self-hosted environments: processes of the executor, talked to through it, and servers over
//! HTTP that its network reaches, to which it makes the requests.
//!
//! One process for each server of a session, kept from the first call that needs it until the session is over,
//! another node has it, or nothing was asked of it for long. A connection of the executor that breaks and is
//! taken up again leaves it running; an executor that is started anew has lost it, and the next call starts it
//! again. A call under way is then what an interrupted call of any MCP server is.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use tenure_executor::harness::{CallErrorKind, Remote};
use tenure_executor::location::Location;
use tenure_executor::protocol::Base64;
use tenure_executor::protocol::http::{Header, Redirects, Request};
use tenure_executor::protocol::process::{EnvironmentPolicy, Inherit, ProcessId, Start};
use tenure_journal::{
    Effect, EffectKind, Failure, FailureKind, McpTool, McpTransport, Origin, ProjectId, Secret, ServerRef,
    SessionId, SessionKey, limit,
};
use tenure_session::{Attempted, Session};
use tenure_tools::{Hints, HttpFailure, HttpRequest, HttpResponse, Reached, Requests};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::inside::{self, Ask, Program, ServerWork};
use super::remote::failure;
use super::run::failed;
use crate::effects::{mcp_tool, sealed_headers};
use crate::handle::Shared;
use crate::tasks;

/// What a server inherits of the executor's variables beside those that it names: what programs need.
const CORE: [&str; 10] =
    ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "USER", "USERNAME"];

/// The servers that run in self-hosted environments, as far as this node asked them something.
#[derive(Default)]
pub(super) struct RemoteServers(Mutex<HashMap<(SessionId, String), Running>>);

struct Running {
    means: Means,
    reached: Arc<Reached>,
    used: Instant,
    process: Option<Process>,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
enum Means {
    Process(Program),
    Http { url: String, headers: BTreeMap<String, String> },
}

/// What is asked of a server that the executor reaches over HTTP.
pub(super) struct HttpWork {
    label: String,
    url: String,
    headers: BTreeMap<String, String>,
    secret: Option<Secret>,
    ask: Ask,
}

impl HttpWork {
    /// What `effect` asks for; nothing if it is not about such a server.
    pub(super) fn of(state: &Session, effect: &Effect) -> Option<Self> {
        let label = match &effect.kind {
            EffectKind::ListTools { server_label, inside: false }
            | EffectKind::ToolCall { server: ServerRef::Mcp { server_label }, .. } => server_label,
            EffectKind::ListTools { inside: true, .. }
            | EffectKind::ToolCall { server: ServerRef::Inside { .. } | ServerRef::Builtin, .. }
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
        let tool = mcp_tool(state, label)?;
        let McpTool {
            transport: McpTransport::Http { server_url, headers, secret },
            origin: Origin::Environment,
            ..
        } = &tool
        else {
            return None;
        };
        Some(Self {
            label: label.clone(),
            url: server_url.clone(),
            headers: headers.clone(),
            secret: *secret,
            ask: Ask::of(&tool, effect)?,
        })
    }

    /// Puts in what is sealed.
    pub(super) async fn unseal(&mut self, shared: &Shared, project: ProjectId) -> Result<(), Failure> {
        if let Some(secret) = self.secret {
            self.headers.extend(sealed_headers(shared, project, secret).await?);
        }
        Ok(())
    }
}

/// HTTP requests that the executor makes.
struct Elsewhere {
    remote: Remote,
    /// Begins the names of its requests, which are unique to the executor's session.
    prefix: String,
    count: AtomicU64,
}

impl Requests for Elsewhere {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let header = |(name, value)| Header { name, value };
        let request = Request {
            method: request.method.to_owned(),
            url: request.url,
            headers: request.headers.into_iter().map(header).collect(),
            body: request.body.map(Base64),
            timeout_ms: None,
            redirect_policy: Redirects::Stop,
            request_id: format!("{}-{number}", self.prefix),
            stream_response: true,
        };
        let remote = self.remote.clone();
        Box::pin(async move {
            let response = remote.http(request).await.map_err(|error| match error.kind {
                CallErrorKind::Disconnected => HttpFailure::Unsent,
                // An executor does not say how far it came.
                CallErrorKind::Refused { .. }
                | CallErrorKind::Interrupted
                | CallErrorKind::TimedOut
                | CallErrorKind::Lost
                | CallErrorKind::Protocol => HttpFailure::Broke,
            })?;
            let headers = response.headers.into_iter().map(|header| (header.name, header.value)).collect();
            let pieces = futures_util::stream::unfold(response.body, |mut body| async move {
                match body.next().await {
                    Ok(Some(piece)) => Some((Ok(piece), body)),
                    Ok(None) => None,
                    Err(_) => Some((Err(HttpFailure::Broke), body)),
                }
            });
            Ok(HttpResponse { status: response.status, headers, body: pieces.boxed() })
        })
    }
}

/// Asks a server that the executor reaches over HTTP. `name` is unique to the attempt.
pub(super) async fn ask_over_http(
    shared: &Shared,
    servers: &RemoteServers,
    remote: &Remote,
    SessionKey { project, session }: SessionKey,
    name: &str,
    work: &HttpWork,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let means = Means::Http { url: work.url.clone(), headers: work.headers.clone() };
    let server = match servers.find(session, &work.label, &means) {
        Some(server) => server,
        None => {
            let prefix = format!("mcp-{name}");
            let requests = Arc::new(Elsewhere { remote: remote.clone(), prefix, count: AtomicU64::new(0) });
            let reached =
                Reached::over_http(work.label.clone(), Hints::default(), &work.url, &work.headers, requests);
            // Nothing but the handshake was sent.
            let reached = Arc::new(reached.await.map_err(|failure| unsent(&failure))?);
            let running =
                Running { means, reached: Arc::clone(&reached), used: Instant::now(), process: None };
            servers.lock().insert((session, work.label.clone()), running);
            reached
        }
    };
    let answer = work.ask.put(shared, &server, cancel).await;
    if inside::is_unheard(&answer, cancel) {
        servers.end_one(session, &work.label);
    }
    inside::answered(shared, project, answer?, None).await
}

/// A failure to open a connection, which may be tried again, and of which it is certain that nothing was done.
fn unsent(failure: &Failure) -> Failure {
    let kind = if failure.kind.is_ambiguous() { FailureKind::Overloaded } else { failure.kind };
    Failure { kind, ..failure.clone() }
}

/// What moves bytes to and from a process. Dropping it ends the process.
struct Process(AbortHandle);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RemoteServers {
    /// Ends the servers of a session.
    pub(super) fn end(&self, session: SessionId) {
        self.lock().retain(|(of, _), _| *of != session);
    }

    /// Ends those of which nothing was asked for so long, and those that ended by themselves.
    pub(super) fn sweep(&self, idle_max: Duration) {
        let is_used = |running: &Running| {
            // Whoever asks it something holds it.
            let asked = Arc::strong_count(&running.reached) > 1 || running.used.elapsed() < idle_max;
            asked && !running.reached.is_over()
        };
        self.lock().retain(|_, running| is_used(running));
    }

    /// Ends the processes of a session that its agent does not have any more.
    fn keep(&self, session: SessionId, labels: &[String]) {
        self.lock().retain(|(of, label), running| {
            *of != session || labels.contains(label) || running.process.is_none()
        });
    }

    fn end_one(&self, session: SessionId, label: &str) {
        self.lock().remove(&(session, label.to_owned()));
    }

    fn find(&self, session: SessionId, label: &str, means: &Means) -> Option<Arc<Reached>> {
        let mut servers = self.lock();
        let key = (session, label.to_owned());
        let running = servers.get_mut(&key)?;
        if running.means == *means && !running.reached.is_over() {
            running.used = Instant::now();
            return Some(Arc::clone(&running.reached));
        }
        servers.remove(&key);
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SessionId, String), Running>> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a server, which is started if it does not run. `name` is unique to the attempt. Safe to cancel: a server
/// whose answer nobody hears is ended.
pub(super) async fn ask(
    shared: &Shared,
    servers: &RemoteServers,
    remote: &Remote,
    SessionKey { project, session }: SessionKey,
    name: &str,
    work: &ServerWork,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    servers.keep(session, &work.labels);
    let means = Means::Process(work.program.clone());
    let server = match servers.find(session, &work.label, &means) {
        Some(server) => server,
        None => start(servers, remote, session, name, work).await?,
    };
    let mut unheard = Unheard { servers, session, label: &work.label, is_armed: true };
    let answer = work.ask.put(shared, &server, cancel).await;
    unheard.is_armed = inside::is_unheard(&answer, cancel);
    drop((server, unheard));
    inside::answered(shared, project, answer?, None).await
}

/// Ends a server when dropped, unless its answer was heard.
struct Unheard<'a> {
    servers: &'a RemoteServers,
    session: SessionId,
    label: &'a str,
    is_armed: bool,
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            self.servers.end_one(self.session, self.label);
        }
    }
}

async fn start(
    servers: &RemoteServers,
    remote: &Remote,
    session: SessionId,
    name: &str,
    work: &ServerWork,
) -> Result<Arc<Reached>, Failure> {
    // What is only reached over HTTP takes nothing of the machine.
    let is_process = |of: SessionId, running: &Running| of == session && running.process.is_some();
    let count = servers.lock().iter().filter(|((of, _), running)| is_process(*of, running)).count();
    if count >= limit::SERVERS_INSIDE_MAX {
        let most = limit::SERVERS_INSIDE_MAX;
        let message = format!("a session runs at most {most} tool servers in its environment");
        return Err(failed(FailureKind::InvalidRequest, message));
    }
    let Program { command, args, cwd, env_vars, env } = &work.program;
    let cwd = Location::from_path(Path::new(cwd))
        .map_err(|error| failed(FailureKind::InvalidRequest, error.to_string()))?;
    let start = Start {
        process_id: ProcessId(format!("mcp-{name}")),
        argv: std::iter::once(command).chain(args).cloned().collect(),
        cwd,
        env_policy: Some(policy(env_vars)),
        env: env.clone(),
        tty: false,
        pipe_stdin: true,
        arg0: None,
        sandbox: None,
        enforce_managed_network: false,
    };
    let process = remote.start(&start).await.map_err(|error| not_started(&failure(&error)))?;
    let label = work.label.clone();
    let (stream, moving) = process.into_stdio(move |said| {
        // What it says may be secret.
        tracing::debug!(server = label, bytes = said.len(), "a tool server wrote to its standard error");
    });
    let moving = tasks::spawn(async move {
        if let Err(error) = moving.await {
            tracing::debug!(%error, "a tool server in a self-hosted environment ended");
        }
    });
    let process = Process(moving.abort_handle());
    let (output, input) = tokio::io::split(stream);
    let reached = Reached::over_pipes(work.label.clone(), Hints::default(), output, input).await;
    let reached = Arc::new(reached.map_err(|failure| not_started(&failure))?);
    let running = Running {
        means: Means::Process(work.program.clone()),
        reached: Arc::clone(&reached),
        used: Instant::now(),
        process: Some(process),
    };
    servers.lock().insert((session, work.label.clone()), running);
    Ok(reached)
}

/// Nothing but the start and the handshake was asked, so it is certain that no tool did anything.
fn not_started(failure: &Failure) -> Failure {
    let kind = match failure.kind {
        // It may be there again in a moment.
        FailureKind::Timeout => FailureKind::Overloaded,
        FailureKind::Authentication
        | FailureKind::NotFound
        | FailureKind::ContextTooLong
        | FailureKind::InvalidRequest
        | FailureKind::RateLimited
        | FailureKind::CreditExhausted
        | FailureKind::Overloaded
        | FailureKind::ServerError
        | FailureKind::ConnectionFailed
        | FailureKind::MaxOutputTokens
        | FailureKind::ContentPolicy
        | FailureKind::ToolNotFound
        | FailureKind::Protocol
        | FailureKind::Internal
        | FailureKind::Crashed
        | FailureKind::SignInRequired
        | FailureKind::FilesLost
        | FailureKind::NotBegun => FailureKind::NotFound,
    };
    failed(kind, format!("the tool server could not be started: {}", failure.message))
}

/// What a server inherits: what programs need, and what it names.
fn policy(env_vars: &[String]) -> EnvironmentPolicy {
    EnvironmentPolicy {
        inherit: Inherit::All,
        // Those that are named are meant, whatever they look like.
        ignore_default_excludes: true,
        exclude: Vec::new(),
        set: BTreeMap::new(),
        include_only: CORE.iter().map(|name| (*name).to_owned()).chain(env_vars.iter().cloned()).collect(),
    }
}
