//! Connections, kept and shared.
//!
//! ```text
//!            first use                handshake done
//!  absent ─────────────▶ opening ─────────────────▶ open
//!    ▲                      │ failed                  │ broke, idle, or made room for another
//!    └──────────────────────┴─────────────────────────┘
//! ```
//!
//! Every caller that meets a server while it is being opened waits for the same opening, and a failed one
//! fails them all: a server that is down costs one time-out and not one per waiting session.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use rmcp::model::{ClientRequest, ServerResult};
use serde_json::{Map, Value};
use tenure_journal::{Failure, FailureKind, ToolDef};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::asking::{self, Ask, Unfulfilled, patience};
use crate::changes::Changes;
use crate::connection::{Connection, Ground};
use crate::failure::{Refused, cancelled, failure, timed_out};
use crate::http;
use crate::stdio::INHERITED;
use crate::{Addresses, Call, CallResult, Hints, Server, Servers};

/// How long ending all connections may take.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(10);
/// How often idle connections are looked for.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// How many connections are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, each of them perhaps a process. When all are in use, a further server is
    /// refused as overloaded; otherwise the one unused for longest makes room.
    pub connections_max: usize,
    /// How long an unused connection is kept.
    pub idle_max: Duration,
}

impl Default for Limits {
    /// 64 connections, ten minutes.
    fn default() -> Self {
        Self { connections_max: 64, idle_max: Duration::from_secs(10 * 60) }
    }
}

/// MCP servers, reached over connections that are opened on first use, shared by everyone who names the
/// same endpoint, and opened again after they break.
///
/// Dropping it ends every connection without waiting; [`McpServers::shutdown`] waits.
pub struct McpServers {
    pool: Arc<Pool>,
}

struct Pool {
    ground: Ground,
    limits: Limits,
    slots: Mutex<HashMap<Server, Slot>>,
    next_id: AtomicU64,
    has_sweeper: AtomicBool,
}

type Opening = Shared<BoxFuture<'static, Result<Arc<Connection>, Failure>>>;

/// One endpoint's connection, opening or open.
struct Slot {
    id: u64,
    opening: Opening,
    /// Held by everyone who uses the connection.
    in_use: Arc<()>,
    used: Instant,
}

/// The use of one connection.
struct Lease {
    id: u64,
    opening: Opening,
    _in_use: Arc<()>,
}

impl McpServers {
    /// A pool without connections. Of `environment`, child processes see `PATH`, `HOME`, `LANG` and
    /// `TMPDIR` only.
    ///
    /// # Errors
    /// `Internal`: TLS could not be set up, for instance because the system's roots cannot be read.
    pub fn new(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let tls = |error| failure(FailureKind::Internal, format!("TLS could not be set up: {error}"));
        let http = http::client().map_err(tls)?;
        let private_http = http::client_within(Addresses::Private).map_err(tls)?;
        let public_http = http::client_within(Addresses::Public).map_err(tls)?;
        let inherited = environment
            .into_iter()
            .filter(|(name, _)| INHERITED.iter().any(|known| name == *known))
            .collect();
        let ground = Ground {
            http,
            private_http,
            public_http,
            inherited,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            changes: Changes::default(),
        };
        let pool = Pool {
            ground,
            limits,
            slots: Mutex::default(),
            next_id: AtomicU64::new(0),
            has_sweeper: AtomicBool::new(false),
        };
        Ok(Self { pool: Arc::new(pool) })
    }

    /// How many connections are open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.pool.slots().len()
    }

    /// Ends every connection and child process, and waits for them, 10 seconds at most. Calls under way
    /// fail as `ConnectionFailed`; later ones are refused.
    pub async fn shutdown(&self) {
        self.pool.ground.stop.cancel();
        self.pool.slots().clear();
        self.pool.ground.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIME_MAX, self.pool.ground.tasks.wait()).await.is_err() {
            tracing::warn!("tool server connections did not end in time");
        }
    }

    /// Sends a request; with a fresh connection once more if the first turns out to have been closed
    /// before anything was sent, or if the server refuses it because it has forgotten the session. In
    /// neither case was the request looked at.
    async fn request(
        &self,
        server: &Server,
        request: ClientRequest,
        meta: Map<String, Value>,
        cancel: &CancellationToken,
    ) -> Result<ServerResult, Unfulfilled> {
        let first = self.request_once(server, request.clone(), meta.clone(), cancel).await;
        let second = match first {
            Err(Unfulfilled::Refused(Refused::Untaken)) => {
                self.request_once(server, request, meta, cancel).await
            }
            Ok(_) | Err(_) => return first,
        };
        match second {
            Err(Unfulfilled::Refused(Refused::Untaken)) => Err(Unfulfilled::Unsent(failure(
                FailureKind::NotFound,
                "the tool server ends each session right after opening it",
            ))),
            Ok(_) | Err(_) => second,
        }
    }

    async fn request_once(
        &self,
        server: &Server,
        request: ClientRequest,
        meta: Map<String, Value>,
        cancel: &CancellationToken,
    ) -> Result<ServerResult, Unfulfilled> {
        let lease = self.pool.lease(server).map_err(Unfulfilled::Unsent)?;
        let opened = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Unfulfilled::Refused(Refused::Failed(cancelled()))),
            opened = lease.opening.clone() => opened,
            () = tokio::time::sleep(patience(server.hints())) => return Err(Unfulfilled::Unsent(timed_out())),
        };
        let connection = opened.map_err(|failure| {
            self.pool.discard(server, lease.id);
            Unfulfilled::Unsent(failure)
        })?;
        let result = connection.request(request, meta, patience(server.hints()), cancel).await;
        if result.as_ref().is_err_and(|refused| is_broken(refused, cancel)) {
            self.pool.discard(server, lease.id);
        }
        result.map_err(Unfulfilled::Refused)
    }
}

impl Drop for McpServers {
    fn drop(&mut self) {
        self.pool.ground.stop.cancel();
    }
}

#[async_trait]
impl Servers for McpServers {
    async fn list(&self, server: &Server, cancel: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
        asking::list(&Pooled { servers: self, server }, cancel).await
    }

    async fn call(
        &self,
        server: &Server,
        call: Call<'_>,
        cancel: &CancellationToken,
    ) -> Result<CallResult, Failure> {
        asking::call(&Pooled { servers: self, server }, call, cancel).await
    }

    fn tools_changed(&self, server: &Server) -> Option<Duration> {
        self.pool.ground.changes.ago(&server.address())
    }
}

/// One server of the pool.
struct Pooled<'a> {
    servers: &'a McpServers,
    server: &'a Server,
}

impl Ask for Pooled<'_> {
    fn name(&self) -> String {
        self.server.shown()
    }

    fn hints(&self) -> &Hints {
        self.server.hints()
    }

    async fn ask(
        &self,
        request: ClientRequest,
        meta: Map<String, Value>,
        cancel: &CancellationToken,
    ) -> Result<ServerResult, Unfulfilled> {
        self.servers.request(self.server, request, meta, cancel).await
    }
}

/// Whether a connection is not to be used again. A call that was cancelled says nothing about it.
fn is_broken(refused: &Refused, cancel: &CancellationToken) -> bool {
    match refused {
        Refused::Untaken => true,
        Refused::Answered(_) => false,
        Refused::Failed(failure) => failure.kind == FailureKind::ConnectionFailed && !cancel.is_cancelled(),
    }
}

impl Pool {
    fn slots(&self) -> MutexGuard<'_, HashMap<Server, Slot>> {
        // Nothing that holds the lock leaves the map half changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(self: &Arc<Self>, server: &Server) -> Result<Lease, Failure> {
        if self.ground.stop.is_cancelled() {
            return Err(failure(FailureKind::Overloaded, "tool servers are not reached during shutdown"));
        }
        let endpoint = server.endpoint();
        let mut slots = self.slots();
        if slots.get(&endpoint).is_some_and(Slot::is_spent) {
            slots.remove(&endpoint);
        }
        if let Some(slot) = slots.get_mut(&endpoint) {
            return Ok(slot.lease());
        }
        self.make_room(&mut slots)?;
        let mut slot = self.open(endpoint.clone());
        let lease = slot.lease();
        slots.insert(endpoint, slot);
        Ok(lease)
    }

    /// Starts opening a connection, in a task of its own: callers come and go.
    fn open(self: &Arc<Self>, endpoint: Server) -> Slot {
        self.start_sweeper();
        let pool = self.clone();
        let opening = async move { Connection::open(&endpoint, &pool.ground).await.map(Arc::new) };
        let opening = opening.boxed().shared();
        self.ground.tasks.spawn(opening.clone());
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Slot { id, opening, in_use: Arc::new(()), used: Instant::now() }
    }

    fn make_room(&self, slots: &mut HashMap<Server, Slot>) -> Result<(), Failure> {
        if slots.len() < self.limits.connections_max {
            return Ok(());
        }
        let oldest = slots.iter().filter(|(_, slot)| !slot.is_in_use()).min_by_key(|(_, slot)| slot.used);
        let Some(oldest) = oldest.map(|(server, _)| server.clone()) else {
            return Err(failure(FailureKind::Overloaded, "all connections to tool servers are in use"));
        };
        slots.remove(&oldest);
        Ok(())
    }

    fn discard(&self, server: &Server, id: u64) {
        let endpoint = server.endpoint();
        let mut slots = self.slots();
        if slots.get(&endpoint).is_some_and(|slot| slot.id == id) {
            slots.remove(&endpoint);
        }
    }

    fn sweep(&self, now: Instant) {
        let idle_max = self.limits.idle_max;
        self.slots().retain(|_, slot| slot.is_in_use() || now.duration_since(slot.used) < idle_max);
    }

    fn start_sweeper(self: &Arc<Self>) {
        if self.has_sweeper.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = self.clone();
        self.ground.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = pool.ground.stop.cancelled() => return pool.slots().clear(),
                    () = tokio::time::sleep(IDLE_CHECK_INTERVAL) => pool.sweep(Instant::now()),
                }
            }
        });
    }
}

impl Slot {
    fn lease(&mut self) -> Lease {
        self.used = Instant::now();
        Lease { id: self.id, opening: self.opening.clone(), _in_use: self.in_use.clone() }
    }

    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.in_use) > 1
    }

    fn is_spent(&self) -> bool {
        match self.opening.peek() {
            None => false,
            Some(Ok(connection)) => connection.is_closed(),
            Some(Err(_)) => true,
        }
    }
}
