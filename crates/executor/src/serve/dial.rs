//! Dials a socket, plain or TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use super::register::{Registered, Registry, judge};
use super::{ServeError, ServeErrorKind};
use crate::frame::FRAME_BYTES_MAX;
use crate::record::MESSAGE_BYTES_MAX;
use crate::socket::{Socket, websocket};

/// How long dialling may take, from name to upgraded socket.
const DIAL: Duration = Duration::from_secs(10);

trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// A socket to where the registry said, signed if that is how the executor speaks.
pub(super) async fn dial(
    registry: &Registry,
    registered: &Registered,
) -> Result<impl Socket + use<>, ServeError> {
    let (url, bytes_max, headers) = match registered {
        Registered::Noise { url, .. } => (url, FRAME_BYTES_MAX, Vec::new()),
        Registered::Direct { url } => {
            // A signature is over the address as HTTP has it.
            let http = url.as_str().replacen("ws", "http", 1);
            (url, MESSAGE_BYTES_MAX, registry.headers("GET", &http, &[], b"")?)
        }
    };
    let connecting = connect(url, bytes_max, headers);
    let socket = timeout(DIAL, connecting).await.map_err(|_| transient("dialling took too long"))??;
    Ok(websocket(socket))
}

async fn connect(
    url: &Url,
    bytes_max: usize,
    headers: Vec<(&'static str, String)>,
) -> Result<WebSocketStream<Box<dyn Transport>>, ServeError> {
    let broken = |error: std::io::Error| transient(format!("the server cannot be reached: {error}"));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let stream: Box<dyn Transport> = if url.scheme() == "wss" {
        let name = ServerName::try_from(host).map_err(|error| transient(error.to_string()))?;
        Box::new(TlsConnector::from(tls()?).connect(name, stream).await.map_err(broken)?)
    } else {
        Box::new(stream)
    };
    let mut request = url.as_str().into_client_request().map_err(refused)?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value).map_err(|_| transient("a header cannot be sent"))?;
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    let config = WebSocketConfig::default().max_message_size(Some(bytes_max)).max_frame_size(Some(bytes_max));
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await.map_err(refused)?;
    Ok(socket)
}

fn tls() -> Result<Arc<ClientConfig>, ServeError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        let message = "this machine has no certificate authorities; install `ca-certificates`";
        return Err(ServeError::new(ServeErrorKind::Options, message));
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// Why the handshake of a socket failed. A status is judged as the registry's are.
#[allow(clippy::wildcard_enum_match_arm, reason = "the library's errors are not exhaustive")]
fn refused(error: Error) -> ServeError {
    match error {
        Error::Http(response) => {
            let status = response.status().as_u16();
            ServeError::new(judge(status), format!("the server refused the socket with status {status}"))
        }
        error => transient(format!("the socket cannot be opened: {error}")),
    }
}

fn transient(message: impl Into<String>) -> ServeError {
    ServeError::new(ServeErrorKind::Transient, message)
}
