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

/// The socket that a stream is once its handshake is done, of either side.
#[cfg(feature = "serve")]
pub fn websocket<S>(stream: tokio_tungstenite::WebSocketStream<S>) -> impl Socket
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    use futures_util::{SinkExt as _, StreamExt as _, future};
    use tokio_tungstenite::tungstenite::{Error, Message};

    let incoming = |message: Result<Message, Error>| {
        message.map_err(SocketError::new).map(|message| match message {
            Message::Binary(bytes) => Packet::Binary(bytes),
            Message::Text(text) => Packet::Text(text.as_str().to_owned()),
            Message::Ping(_) => Packet::Ping,
            // A raw frame is never read.
            Message::Pong(_) | Message::Frame(_) => Packet::Pong,
            Message::Close(_) => Packet::Close,
        })
    };
    let outgoing = |packet: Packet| {
        future::ok::<_, SocketError>(match packet {
            Packet::Binary(bytes) => Message::Binary(bytes),
            Packet::Text(text) => Message::Text(text.into()),
            Packet::Ping => Message::Ping(Bytes::new()),
            Packet::Pong => Message::Pong(Bytes::new()),
            Packet::Close => Message::Close(None),
        })
    };
    stream.map(incoming).sink_map_err(SocketError::new).with(outgoing)
}
