//! Making connections to the outside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::connection::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::link::Link;
use crate::meter::Metered;
use crate::proxy::Shared;
use crate::record::{Failure, Outcome, Refusal};
use crate::target::Target;

/// How long finding a host's addresses may take.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long connecting may take, over all addresses of a host, TLS included.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// Addresses of one host that are tried.
const ADDRESSES_TRIED_MAX: usize = 4;

/// A connection over which requests are sent, and the task that moves it, which ends when this goes.
pub(crate) struct Upstream {
    pub(crate) sender: SendRequest<Incoming>,
    pub(crate) link: Arc<Link>,
    driver: AbortHandle,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to a target that the rules allow: resolves it once, judges all it resolves to, and dials what was
/// judged.
pub(crate) async fn dial(
    shared: &Shared,
    target: &Target,
    link: &Arc<Link>,
) -> Result<Metered<TcpStream>, Outcome> {
    let failed = Outcome::Failed;
    let resolved = timeout(RESOLVE_TIME_MAX, shared.resolver.resolve(target)).await;
    let Ok(Ok(addresses)) = resolved else { return Err(failed(Failure::Resolve)) };
    // A name that is half public is an attempt to get past this.
    let guard = shared.rules.borrow().addresses().clone();
    if let Some(refused) = addresses.iter().find(|address| !guard.allows(**address)) {
        link.dialled(*refused);
        return Err(Outcome::Refused(Refusal::Address));
    }
    if addresses.is_empty() {
        return Err(failed(Failure::Resolve));
    }
    match timeout(CONNECT_TIME_MAX, connect(&addresses, link)).await {
        Ok(Some(stream)) => Ok(Metered::new(stream, Arc::clone(link))),
        Ok(None) => Err(failed(Failure::Connect)),
        Err(_) => Err(failed(Failure::ConnectTime)),
    }
}

async fn connect(addresses: &[SocketAddr], link: &Link) -> Option<TcpStream> {
    for address in addresses.iter().take(ADDRESSES_TRIED_MAX) {
        if let Ok(stream) = TcpStream::connect(address).await {
            link.dialled(*address);
            // Small writes are someone waiting; if it cannot be set they wait a little longer.
            let _ = stream.set_nodelay(true);
            return Some(stream);
        }
    }
    None
}

/// Connects for requests in clear.
pub(crate) async fn dial_http(
    shared: &Arc<Shared>,
    target: &Target,
    link: &Arc<Link>,
) -> Result<Upstream, Outcome> {
    let stream = dial(shared, target, link).await?;
    begin_http(shared, target, link, stream).await
}

/// Connects for requests over TLS, to a host whose certificate is verified.
pub(crate) async fn dial_https(
    shared: &Arc<Shared>,
    target: &Target,
    link: &Arc<Link>,
) -> Result<Upstream, Outcome> {
    let stream = dial(shared, target, link).await?;
    let tls_failed = || link.outcome().cloned().unwrap_or(Outcome::Failed(Failure::Tls));
    let name = ServerName::try_from(target.host().to_string()).map_err(|_| tls_failed())?;
    let connector = TlsConnector::from(Arc::clone(&shared.trust.config));
    match timeout(CONNECT_TIME_MAX, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => begin_http(shared, target, link, stream).await,
        Ok(Err(_)) => Err(tls_failed()),
        Err(_) => Err(Outcome::Failed(Failure::ConnectTime)),
    }
}

async fn begin_http(
    shared: &Arc<Shared>,
    target: &Target,
    link: &Arc<Link>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Upstream, Outcome> {
    let handshake = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|_| Outcome::Failed(Failure::Broken))?;
    let (shared_of_driver, link_of_driver, target) = (Arc::clone(shared), Arc::clone(link), target.clone());
    let driver = shared.tasks.spawn(async move {
        tokio::select! {
            moved = connection => {
                if moved.is_err() {
                    link_of_driver.settle(Outcome::Failed(Failure::Broken));
                }
            }
            () = shared_of_driver.revoked(&target) => {
                link_of_driver.settle(Outcome::Refused(Refusal::RulesChanged));
            }
            () = shared_of_driver.closing.cancelled() => link_of_driver.settle(Outcome::Failed(Failure::Closed)),
        }
    });
    Ok(Upstream { sender, link: Arc::clone(link), driver: driver.abort_handle() })
}
