//! Bytes in both directions.
//!
//! Where TLS is spoken, its first message must name the host that the tunnel was asked for: many hosts share an
//! address, and another name would reach another of them. What is encrypted after that is not read.

use std::io;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::HANDSHAKE_TIME_MAX;
use crate::link::Link;
use crate::meter::Metered;
use crate::proxy::Shared;
use crate::record::{Outcome, Refusal};
use crate::secret::SECRET_PORTS;
use crate::target::Target;

/// Bytes of TLS's first message, keys of the newest kinds included.
const HELLO_BYTES_MAX: usize = 16 * 1024;

/// Moves bytes until one side has no more, or the rules do not allow it any more.
pub(crate) async fn run(
    shared: &Shared,
    target: &Target,
    link: &Link,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut outside: Metered<TcpStream>,
) {
    if SECRET_PORTS.contains(&target.port()) {
        let hello = timeout(HANDSHAKE_TIME_MAX, read_hello(&mut stream)).await;
        let Ok(Ok((hello, name))) = hello else { return link.settle(Outcome::Refused(Refusal::ServerName)) };
        if name.is_none_or(|name| !name.eq_ignore_ascii_case(target.host().as_str())) {
            return link.settle(Outcome::Refused(Refusal::ServerName));
        }
        if outside.write_all(&hello).await.is_err() {
            return;
        }
    }
    tokio::select! {
        // How a tunnel broke is known to those who speak through it.
        _ = tokio::io::copy_bidirectional(&mut stream, &mut outside) => {}
        () = shared.revoked(target) => link.settle(Outcome::Refused(Refusal::RulesChanged)),
    }
}

/// The bytes with which TLS begins, and the name in them.
async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, Option<String>)> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    while bytes.len() < HELLO_BYTES_MAX {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..read]);
        let mut rest = &piece[..read];
        while !rest.is_empty() && acceptor.read_tls(&mut rest)? > 0 {}
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                return Ok((bytes, accepted.client_hello().server_name().map(str::to_owned)));
            }
            Err(_) => break,
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
