//! A WebSocket as both sides need one, whichever library it comes from.

use bytes::Bytes;
use futures_util::{Sink, Stream};

/// One message of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A frame of the relay.
    Binary(Bytes),
    /// A message of the direct transport.
    Text(String),
    /// Asks whether the other side lives. The library answers.
    Ping,
    /// The other side lives.
    Pong,
    /// The other side closes.
    Close,
}

/// A socket broke.
#[derive(Debug, thiserror::Error)]
#[error("the socket broke: {0}")]
pub struct SocketError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl SocketError {
    /// From the library's own error.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// A socket: packets in, packets out. Pings are answered below.
pub trait Socket:
    Stream<Item = Result<Packet, SocketError>> + Sink<Packet, Error = SocketError> + Send + Unpin + 'static
{
}

impl<S> Socket for S where
    S: Stream<Item = Result<Packet, SocketError>>
        + Sink<Packet, Error = SocketError>
        + Send
        + Unpin
        + 'static
{
}
