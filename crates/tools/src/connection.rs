//! One open connection: requests with their deadlines, progress, cancellation.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientCapabilities, ClientConfig, ClientRequest,
    Implementation, MetaObject, ProgressNotificationParam, ProgressToken, ProtocolVersion, RequestId,
    RequestMetaObject, ServerResult,
};
use rmcp::service::{
    NotificationContext, Peer, PeerRequestOptions, RequestHandle, RunningService, serve_client_with_ct,
};
use rmcp::transport::IntoTransport;
use rmcp::{ClientHandler, RoleClient, ServiceError};
use serde_json::{Map, Value};
use tenure_journal::{Failure, FailureKind};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::changes::Changes;
use crate::failure::{Refused, cancelled, failure, of_opening, of_request, timed_out, too_large};
use crate::stdio::{ChildTransport, Output, Program};
use crate::{Addresses, Server, http};

/// How long opening a connection may take, from start or connect to the end of the handshake.
const OPEN_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a request may take in all, however much progress is reported.
const PROGRESS_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// How long telling a server that a request was given up may take.
const NOTICE_TIME_MAX: Duration = Duration::from_secs(5);

/// What all connections of a pool share.
pub(crate) struct Ground {
    pub(crate) http: reqwest::Client,
    /// For servers at [`Addresses::Private`].
    pub(crate) private_http: reqwest::Client,
    /// For servers at [`Addresses::Public`].
    pub(crate) public_http: reqwest::Client,
    /// The variables that every child sees.
    pub(crate) inherited: BTreeMap<OsString, OsString>,
    /// Every task that a connection leaves behind; joined at shutdown.
    pub(crate) tasks: TaskTracker,
    /// Ends every connection.
    pub(crate) stop: CancellationToken,
    /// What servers said about their tools.
    pub(crate) changes: Changes,
}

/// An open connection. Dropping it ends it.
pub(crate) struct Connection {
    peer: Peer<RoleClient>,
    progress: Progress,
    output: Arc<Output>,
    tasks: TaskTracker,
    _end: DropGuard,
}

impl Connection {
    /// Opens a connection and performs the handshake.
    ///
    /// # Errors
    /// Why not; nothing but the handshake was sent.
    pub(crate) async fn open(server: &Server, ground: &Ground) -> Result<Self, Failure> {
        let end = ground.stop.child_token();
        let guard = end.clone().drop_guard();
        let output = Arc::new(Output::default());
        let opening = start(server, ground, end, &output);
        let running = match timeout(OPEN_TIME_MAX, opening).await {
            Ok(opened) => opened?,
            Err(_) => return Err(no_handshake()),
        };
        tracing::debug!(server = server.shown(), "tool server connected");
        Ok(Self::attach(running, output, ground.tasks.clone(), guard))
    }

    /// Performs the handshake over a transport that somebody else made, whose `output` is watched.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(crate) async fn over<E, A>(
        transport: impl IntoTransport<RoleClient, E, A>,
        output: Arc<Output>,
        tasks: TaskTracker,
    ) -> Result<Self, Failure>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let end = CancellationToken::new();
        let guard = end.clone().drop_guard();
        let opening = serve_client_with_ct(Handler::default(), transport, end);
        match timeout(OPEN_TIME_MAX, opening).await {
            Ok(Ok(running)) => Ok(Self::attach(running, output, tasks, guard)),
            Ok(Err(_)) if output.has_overflowed.load(Ordering::Acquire) => Err(too_large()),
            Ok(Err(error)) => Err(of_opening(&error)),
            Err(_) => Err(no_handshake()),
        }
    }

    fn attach(
        running: RunningService<RoleClient, Handler>,
        output: Arc<Output>,
        tasks: TaskTracker,
        end: DropGuard,
    ) -> Self {
        let peer = running.peer().clone();
        let progress = running.service().progress.clone();
        tasks.spawn(running.waiting());
        Self { peer, progress, output, tasks, _end: end }
    }

    /// Whether it has ended or broken, as far as is known.
    pub(crate) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed() || self.output.has_ended.load(Ordering::Acquire)
    }

    /// Sends one request and waits for its result, at most `patience` after the last sign of progress.
    ///
    /// Cancel safe: when `cancel` fires, the deadline passes or the future is dropped, the server is told
    /// that nobody waits any more.
    ///
    /// # Errors
    /// Why there is no result.
    pub(crate) async fn request(
        &self,
        request: ClientRequest,
        meta: Map<String, Value>,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<ServerResult, Refused> {
        let limit = Instant::now() + patience.max(PROGRESS_TIME_MAX);
        let options = PeerRequestOptions::no_options().with_meta(RequestMetaObject(MetaObject(meta)));
        let mut handle = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Refused::Failed(cancelled())),
            sent = self.peer.send_request_with_option(request, options) => sent.map_err(|e| self.refusal(e))?,
            () = sleep_until(Instant::now() + patience) => return Err(Refused::Failed(timed_out())),
        };
        let notice = Notice::arm(self, handle.id.clone());
        let result = self.answer(&mut handle, patience, limit, cancel).await;
        if !matches!(&result, Err(Unanswered::GivenUp(_))) {
            notice.disarm();
        }
        result.map_err(|unanswered| match unanswered {
            Unanswered::GivenUp(failure) => Refused::Failed(failure),
            Unanswered::Refused(error) => self.refusal(error),
        })
    }

    async fn answer(
        &self,
        handle: &mut RequestHandle<RoleClient>,
        patience: Duration,
        limit: Instant,
        cancel: &CancellationToken,
    ) -> Result<ServerResult, Unanswered> {
        let watched = self.progress.watch(handle.progress_token.clone());
        let mut idle = Instant::now() + patience;
        loop {
            tokio::select! {
                biased;
                answer = &mut handle.rx => {
                    return answer.unwrap_or(Err(ServiceError::TransportClosed)).map_err(Unanswered::Refused);
                }
                () = cancel.cancelled() => return Err(Unanswered::GivenUp(cancelled())),
                () = watched.made.notified() => idle = Instant::now() + patience,
                () = sleep_until(idle.min(limit)) => return Err(Unanswered::GivenUp(timed_out())),
            }
        }
    }

    fn refusal(&self, error: ServiceError) -> Refused {
        if self.output.has_overflowed.load(Ordering::Acquire) {
            return Refused::Failed(too_large());
        }
        of_request(error)
    }
}

fn no_handshake() -> Failure {
    failure(FailureKind::Timeout, "the tool server did not complete the handshake in time")
}

enum Unanswered {
    /// We stopped waiting.
    GivenUp(Failure),
    /// The transport or the server said so.
    Refused(ServiceError),
}

async fn start(
    server: &Server,
    ground: &Ground,
    end: CancellationToken,
    output: &Arc<Output>,
) -> Result<RunningService<RoleClient, Handler>, Failure> {
    let handler =
        Handler { progress: Progress::default(), listens: Some((server.address(), ground.changes.clone())) };
    let opened = match server {
        Server::Http { url, headers, hints } => {
            http::check_address(url, hints.addresses)?;
            let client = match hints.addresses {
                Addresses::Any => &ground.http,
                Addresses::Private => &ground.private_http,
                Addresses::Public => &ground.public_http,
            };
            let transport = http::transport(client.clone(), url, headers)?;
            serve_client_with_ct(handler, transport, end).await
        }
        Server::Stdio { command, args, env, cwd, .. } => {
            let program = Program { command, args, env, cwd: cwd.as_deref() };
            let transport =
                ChildTransport::start(&program, &ground.inherited, output.clone(), &ground.tasks)?;
            serve_client_with_ct(handler, transport, end).await
        }
    };
    opened.map_err(|error| {
        if output.has_overflowed.load(Ordering::Acquire) { too_large() } else { of_opening(&error) }
    })
}

/// Tells the server, when dropped, that a request was given up.
struct Notice<'a> {
    connection: &'a Connection,
    request: Option<RequestId>,
}

impl<'a> Notice<'a> {
    fn arm(connection: &'a Connection, request: RequestId) -> Self {
        Self { connection, request: Some(request) }
    }

    fn disarm(mut self) {
        self.request = None;
    }
}

impl Drop for Notice<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else { return };
        // Outside a runtime there is no connection left to send on.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let peer = self.connection.peer.clone();
        let params = CancelledNotificationParam::new(Some(request), Some("given up".to_owned()));
        let notice = async move {
            let notification = CancelledNotification::new(params);
            let _ = timeout(NOTICE_TIME_MAX, peer.send_notification(notification.into())).await;
        };
        self.connection.tasks.spawn_on(notice, &runtime);
    }
}

/// The client's side of the protocol: it offers a server nothing, and listens for progress and for changes of
/// its tools. Over HTTP these arrive only within the answer to a request.
#[derive(Debug, Default)]
struct Handler {
    progress: Progress,
    /// Which server it listens to, and where its changes are kept.
    listens: Option<(Server, Changes)>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let name = Implementation::new("tenure", env!("CARGO_PKG_VERSION"));
        // The newest revision that begins with a handshake: every server in use understands it.
        ClientConfig::new(ClientCapabilities::default(), name)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        // Its message is the server's, which may repeat what it was sent: it is not logged.
        tracing::debug!(progress = params.progress, total = params.total, "tool call progress");
        self.progress.made(&params.progress_token);
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        let Some((server, changes)) = &self.listens else { return };
        tracing::debug!(server = server.shown(), "the tool server's tools have changed");
        changes.note(server);
    }
}

/// Which requests wait for signs of progress.
#[derive(Debug, Clone, Default)]
struct Progress(Arc<Mutex<HashMap<ProgressToken, Arc<Notify>>>>);

/// One request's wait.
struct Watched {
    made: Arc<Notify>,
    token: ProgressToken,
    progress: Progress,
}

impl Progress {
    fn watch(&self, token: ProgressToken) -> Watched {
        let made = Arc::new(Notify::new());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), made.clone());
        Watched { made, token, progress: self.clone() }
    }

    fn made(&self, token: &ProgressToken) {
        if let Some(made) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token) {
            made.notify_one();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.progress.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolRequest, CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData};
    use rmcp::service::{RequestContext, RoleServer};
    use rmcp::{ServerHandler, ServiceExt};

    use super::*;

    /// Answers after `reports` signs of progress, each `every` after the one before.
    struct Slow {
        reports: u32,
        every: Duration,
    }

    impl ServerHandler for Slow {
        async fn call_tool(
            &self,
            _request: CallToolRequestParams,
            context: RequestContext<RoleServer>,
        ) -> Result<CallToolResponse, ErrorData> {
            let token = context.meta.get_progress_token().expect("a token travels with each request");
            for report in 1..=self.reports {
                tokio::time::sleep(self.every).await;
                let params = ProgressNotificationParam::new(token.clone(), f64::from(report));
                context.peer.notify_progress(params).await.expect("a client that listens");
            }
            tokio::time::sleep(self.every).await;
            Ok(CallToolResult::success(vec![]).into())
        }
    }

    /// How long a call of `server` takes and how it ends. The transport is memory and the clock virtual, so
    /// hours pass at once and always in the same order.
    async fn call(server: Slow, patience: Duration) -> (Duration, Result<(), FailureKind>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let serving =
            tokio::spawn(async move { server.serve(theirs).await.expect("a handshake").waiting().await });
        let end = CancellationToken::new();
        let running = serve_client_with_ct(Handler::default(), ours, end.clone()).await.expect("a handshake");
        let tasks = TaskTracker::new();
        let connection = Connection::attach(running, Arc::default(), tasks.clone(), end.drop_guard());
        let request = CallToolRequest::new(CallToolRequestParams::new("slow"));
        let begun = Instant::now();
        let result = connection
            .request(ClientRequest::CallToolRequest(request), Map::new(), patience, &CancellationToken::new())
            .await;
        let took = begun.elapsed();
        drop(connection);
        tasks.close();
        tasks.wait().await;
        serving.await.expect("no panic").expect("a served connection");
        let kind = result.map(|_| ()).map_err(|refused| match refused {
            Refused::Failed(failure) => failure.kind,
            Refused::Untaken | Refused::Answered(_) => panic!("neither is possible here"),
        });
        (took, kind)
    }

    #[tokio::test(start_paused = true)]
    async fn progress_extends_the_wait_up_to_a_limit() {
        let minute = Duration::from_secs(60);
        let second = Duration::from_secs(1);
        let cases = [
            ("in time", 0, minute - second, minute, Ok(()), minute - second),
            ("no progress, too late", 0, minute + second, minute, Err(FailureKind::Timeout), minute),
            ("progress", 9, minute - second, minute, Ok(()), 10 * (minute - second)),
            ("progress ends", 3, 61 * second, minute, Err(FailureKind::Timeout), minute),
            (
                "progress without end",
                1000,
                minute - second,
                minute,
                Err(FailureKind::Timeout),
                PROGRESS_TIME_MAX,
            ),
            (
                "a longer patience is kept",
                0,
                5 * PROGRESS_TIME_MAX,
                6 * PROGRESS_TIME_MAX,
                Ok(()),
                5 * PROGRESS_TIME_MAX,
            ),
        ];
        for (what, reports, every, patience, result, took) in cases {
            let (elapsed, got) = call(Slow { reports, every }, patience).await;
            assert_eq!(got, result, "{what}");
            // The virtual clock ticks in milliseconds.
            assert!(elapsed.abs_diff(took) < second, "{what}: {elapsed:?} and not {took:?}");
        }
    }
}
