//! Accepting connections, serving each, and ending all of them in good order.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::gate::{Busy, Gate, Shared};
use super::upgrade::Upgrade;

/// How long to wait after the system refused to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a closed connection is read to its end, so that the client gets the answer before a reset.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read in that time.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Limits of connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait in the system's queue.
    pub connections_max: usize,
    /// How long a request head may take, from its first byte.
    pub head: Duration,
    /// How long a connection may wait without a request.
    pub idle: Duration,
    /// How long a client may read nothing of an answer.
    pub write_stall: Duration,
    /// How long answers may take to finish when the server shuts down.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(90),
            write_stall: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves `app` on `listener` with the default [`Limits`] until `shutdown` fires and every answer is
/// finished or given up.
///
/// # Errors
/// Never while running: a connection that fails ends alone, and a system that refuses connections is asked
/// again. The result leaves room for a listener that cannot be used at all.
pub async fn serve(listener: TcpListener, app: Router, shutdown: CancellationToken) -> io::Result<()> {
    serve_with(listener, app, Limits::default(), shutdown).await
}

/// As [`serve`], with limits.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let connections = TaskTracker::new();
    let give_up = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the system refused to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (app, shutdown, give_up) = (app.clone(), shutdown.clone(), give_up.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection(stream, app, limits, shutdown) => {}
                () = give_up.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::info!(connections = connections.len(), "cutting connections that are still open");
        give_up.cancel();
        connections.wait().await;
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Deltas are small and wanted at once.
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

async fn connection(stream: TcpStream, app: Router, limits: Limits, shutdown: CancellationToken) {
    let shared = Arc::new(Shared::default());
    let io = TokioIo::new(Gate::new(stream, limits, Arc::clone(&shared)));
    let requests = AtomicU64::new(0);
    let upgrade = Upgrade::default();
    let upgraded = upgrade.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mut request = request.map(Body::new);
        if let Some(refused) = shared.refused(number) {
            request.extensions_mut().insert(refused);
        }
        request.extensions_mut().insert(upgrade.clone());
        let busy = Busy::new(&shared);
        let app = app.clone();
        let answer = async move {
            let response = app.oneshot(request).await.unwrap_or_else(|never| match never {});
            Ok::<_, Infallible>(response.map(|body| Answer { body, _busy: busy }))
        };
        Box::pin(answer) as Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>
    });
    // The gate has its own clock for heads.
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut closing = false;
    let ended = loop {
        tokio::select! {
            ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            () = shutdown.cancelled(), if !closing => {
                closing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let takeover = match ended {
        Ok(()) => upgraded.taken_over(),
        Err(error) => {
            tracing::debug!(%error, "a connection ended early");
            None
        }
    };
    let parts = connection.into_parts();
    let stream = parts.io.into_inner().into_inner();
    match takeover {
        Some(takeover) => takeover(stream, parts.read_buf).await,
        None => linger(stream).await,
    }
}

/// Closes the sending side and reads what the client still sends: a reset would overtake the answer.
async fn linger(mut stream: TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        let mut bytes = vec![0; 16 * 1024];
        let mut total = 0;
        while total < LINGER_BYTES_MAX {
            match stream.read(&mut bytes).await? {
                0 => break,
                read => total += read,
            }
        }
        io::Result::Ok(())
    };
    // Whatever happens here, the connection is closed next.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// An answer's body; while it exists, its connection is busy.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
