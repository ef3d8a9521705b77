//! The server's side: one [`Remote`] for each environment, whatever connections come and go.
//!
//! ```text
//!               attach_relay, attach_direct           the socket breaks
//!   Waiting ───────────────────────────────▶ Connected ───────────────▶ Disconnected
//!                                                ▲                            │
//!                                                └── the executor dials again ┘
//! ```
//!
//! An executor that dials again within [`RESUME`] finds its session and the processes in it. A call that
//! is made meanwhile waits; one whose answer was lost is made again when that is harmless, and otherwise
//! fails as *interrupted*: the executor may or may not have done it. After that, or when the executor is
//! another process than before, the session is a fresh one and what ran in the old one is lost.
//!
//! Nothing is spawned here. [`Attached::ended`] is the connection; whoever accepted the socket awaits it.

mod attach;
mod body;
mod error;
mod process;
mod stdio;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub use attach::{AttachError, Attached, Session};
pub use body::{Body, HttpResponse};
pub use error::{CallError, CallErrorKind};
pub use process::{Process, ProcessEvent};

use crate::location::Location;
use crate::message::{INVALID_REQUEST, Method};
use crate::noise::Identity;
use crate::protocol::process::{ProcessId, Start};
use crate::protocol::{Base64, Environment, EnvironmentInfo, files, http};
use crate::registry::EnvironmentId;
use process::Tail;
use wire::Wire;

/// How long a session outlives its connection, as far as we count on it. Executors keep it for 30 seconds.
pub const RESUME: Duration = Duration::from_secs(25);
/// How long a call may take unless it says otherwise.
pub const CALL: Duration = Duration::from_secs(60);

/// An environment's executor, as the server holds it. Clones are the same one.
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
}

/// Whether someone is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has connected yet.
    Waiting,
    /// An executor is connected.
    Connected,
    /// The connection broke.
    Disconnected,
}

struct Shared {
    environment_id: EnvironmentId,
    identity: Identity,
    state: watch::Sender<State>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    wire: Option<Arc<Wire>>,
    /// The session of the last connection, and when that broke.
    session_id: Option<String>,
    disconnected_at: Option<Instant>,
    tails: HashMap<ProcessId, Weak<Tail>>,
}

impl Remote {
    /// An environment that waits for its executor. `identity` is the server's in its handshakes.
    pub fn new(environment_id: EnvironmentId, identity: Identity) -> Self {
        let (state, _) = watch::channel(State::Waiting);
        let inner = Mutex::new(Inner::default());
        Self { shared: Arc::new(Shared { environment_id, identity, state, inner }) }
    }

    /// Whose executor it is.
    pub fn environment_id(&self) -> &EnvironmentId {
        &self.shared.environment_id
    }

    /// Whether someone is there, now and whenever that changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Asks the executor something and waits up to [`CALL`] for what comes of it, the time in which
    /// nobody is connected included. Safe to cancel; what was asked may be done all the same.
    ///
    /// # Errors
    /// See [`CallErrorKind`].
    pub async fn call<M: Method>(&self, params: &M) -> Result<M::Outcome, CallError> {
        self.call_within(params, CALL).await
    }

    /// As [`Remote::call`], with a limit of its own.
    ///
    /// # Errors
    /// See [`CallErrorKind`].
    pub async fn call_within<M: Method>(&self, params: &M, limit: Duration) -> Result<M::Outcome, CallError> {
        let deadline = Instant::now() + limit;
        loop {
            let wire = self.wire(deadline).await?;
            match timeout_at(deadline, wire.request(params)).await {
                Err(_) => return Err(CallError::timed_out(M::NAME, limit)),
                Ok(Err(error)) if M::REPEATABLE && error.kind == CallErrorKind::Interrupted => {}
                Ok(result) => return result,
            }
        }
    }

    /// What the executor says of its machine.
    ///
    /// # Errors
    /// See [`CallErrorKind`].
    pub async fn info(&self) -> Result<EnvironmentInfo, CallError> {
        self.call(&Environment {}).await
    }

    /// Starts a process, which is ended when its handle is dropped. A call that was cancelled, or failed
    /// with an unknown outcome, ends it as well if it was started.
    ///
    /// # Errors
    /// See [`CallErrorKind`]. `Refused` also for the name of a process that has not ended and is held here.
    pub async fn start(&self, start: &Start) -> Result<Process, CallError> {
        let tail = self.tail_of(&start.process_id)?;
        let process = Process::new(self.clone(), start.process_id.clone(), tail);
        match self.call(start).await {
            Ok(_) => Ok(process),
            Err(error) => {
                if !error.kind.outcome_is_unknown() {
                    process.was_not_started();
                }
                Err(error)
            }
        }
    }

    /// A whole file.
    ///
    /// # Errors
    /// See [`CallErrorKind`]; a file that is not there is refused with `NOT_FOUND`.
    pub async fn read_file(&self, path: Location) -> Result<bytes::Bytes, CallError> {
        let contents = self.call(&files::ReadFile { path, sandbox: None }).await?;
        Ok(contents.data_base64.0)
    }

    /// Writes a whole file, over what was there.
    ///
    /// # Errors
    /// See [`CallErrorKind`].
    pub async fn write_file(&self, path: Location, bytes: bytes::Bytes) -> Result<(), CallError> {
        let write = files::WriteFile { path, data_base64: Base64(bytes), sandbox: None };
        self.call(&write).await.map(drop)
    }

    /// Makes an HTTP request from where the executor is. The response's body is a stream.
    ///
    /// # Errors
    /// See [`CallErrorKind`].
    pub async fn http(&self, request: http::Request) -> Result<HttpResponse, CallError> {
        let wire = self.wire(Instant::now() + RESUME).await?;
        body::request(wire, request).await
    }

    /// The connection, as soon as there is one and at the latest by `deadline`.
    async fn wire(&self, deadline: Instant) -> Result<Arc<Wire>, CallError> {
        let mut state = self.state();
        loop {
            let (wire, since) = {
                let inner = self.inner();
                (inner.wire.clone(), inner.disconnected_at)
            };
            if let Some(wire) = wire {
                return Ok(wire);
            }
            let until = since.map_or(deadline, |since| deadline.min(since + RESUME));
            match timeout_at(until, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(CallError::disconnected(&self.shared.environment_id)),
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What is inside is whole between any two statements, so a panic elsewhere is no reason to stop.
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for what a process with this name will do.
    fn tail_of(&self, id: &ProcessId) -> Result<Arc<Tail>, CallError> {
        let mut inner = self.inner();
        if inner.tails.get(id).and_then(Weak::upgrade).is_some_and(|tail| !tail.is_over()) {
            let kind = CallErrorKind::Refused { code: INVALID_REQUEST };
            return Err(CallError::new(kind, format!("a process `{}` is still held", id.0)));
        }
        let tail = Arc::new(Tail::default());
        inner.tails.insert(id.clone(), Arc::downgrade(&tail));
        Ok(tail)
    }

    fn tail(&self, id: &ProcessId) -> Option<Arc<Tail>> {
        self.inner().tails.get(id).and_then(Weak::upgrade)
    }

    /// Puts a connection whose session is open in place of the one before, which is closed.
    fn connect(&self, wire: Arc<Wire>, session_id: String, session: Session) {
        let (before, tails) = {
            let mut inner = self.inner();
            inner.tails.retain(|_, tail| tail.strong_count() > 0);
            inner.session_id = Some(session_id);
            inner.disconnected_at = None;
            let tails: Vec<_> = inner.tails.values().filter_map(Weak::upgrade).collect();
            (inner.wire.replace(wire), tails)
        };
        if let Some(before) = before {
            before.close();
        }
        for tail in tails {
            match session {
                Session::Resumed => tail.fall_behind(),
                Session::Fresh => tail.lose(),
            }
        }
        self.shared.state.send_replace(State::Connected);
    }

    /// Takes note that `wire` broke, unless another has taken its place.
    fn disconnect(&self, wire: &Arc<Wire>) {
        let mut inner = self.inner();
        if inner.wire.as_ref().is_some_and(|current| Arc::ptr_eq(current, wire)) {
            inner.wire = None;
            inner.disconnected_at = Some(Instant::now());
            self.shared.state.send_replace(State::Disconnected);
        }
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = *self.shared.state.borrow();
        f.debug_struct("Remote")
            .field("environment_id", self.environment_id())
            .field("state", &state)
            .finish()
    }
}
