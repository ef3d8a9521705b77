//! A socket becomes a connection: handshake, session, and then the loop that drives it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::error::{CallError, CallErrorKind};
use super::wire::Wire;
use super::{RESUME, Remote};
use crate::channel::{ChannelError, Receiving, Sending};
use crate::frame::{self, Frame, FrameError, StreamId};
use crate::message::{ALREADY_ATTACHED, Message, Method, Params};
use crate::noise::handshake::{Initiator, InitiatorRandom};
use crate::noise::{NoiseError, Prologue, Random};
use crate::protocol::http::BodyDelta;
use crate::protocol::process::{Closed, Exited, Wrote};
use crate::protocol::{Initialize, Initialized};
use crate::registry::{Authority, Registration, Seconds, Transport};
use crate::socket::{Packet, Socket, SocketError};

/// How long a handshake may take. The executor asks the registry meanwhile, for at most ten seconds.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How long opening a session may take.
const OPEN: Duration = Duration::from_secs(10);
/// How often the socket is asked whether it lives.
const PING: Duration = Duration::from_secs(15);
/// How long a socket may be silent. Three pings went unanswered.
const SILENCE: Duration = Duration::from_secs(50);
/// Pause before asking again for a session that the executor still takes for attached.
const ATTACHED_PAUSE: Duration = Duration::from_millis(200);
const CLIENT_NAME: &str = "tenure";

/// A connection whose session is open. It lives as long as [`Attached::ended`] is polled.
pub struct Attached {
    driver: BoxFuture<'static, AttachError>,
    /// Whether it is the session of before.
    pub session: Session,
}

/// Which session a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// A new one. Whatever ran before is lost.
    Fresh,
    /// The one of the connection before.
    Resumed,
}

/// Why a socket did not become a connection, or how a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The registration is for another transport, or another environment.
    #[error("the registration is not for this socket")]
    Registration,
    /// The handshake took too long.
    #[error("the executor did not finish the handshake in time")]
    Slow,
    /// The socket closed.
    #[error("the executor closed the connection")]
    Closed,
    /// Another connection took this one's place.
    #[error("another connection of the executor took the place of this one")]
    Replaced,
    /// Nothing was heard for too long.
    #[error("the executor was silent for too long")]
    Silent,
    /// The executor reset the stream.
    #[error("the executor reset the stream: {0}")]
    Reset(String),
    /// The socket broke.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A frame is not one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] NoiseError),
    /// The stream's records do not fit together.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A packet that has no place here.
    #[error("the executor sent {0}")]
    Unexpected(&'static str),
    /// The session could not be opened.
    #[error("the session could not be opened: {0}")]
    Session(#[source] CallError),
}

impl Attached {
    /// Drives the connection until it ends, and says why it did. Dropping the future closes it.
    pub async fn ended(self) -> AttachError {
        self.driver.await
    }
}

impl Remote {
    /// Makes a connection of a socket that an executor dialled with a ticket of the encrypted transport.
    /// A connection before it is closed.
    ///
    /// # Errors
    /// See [`AttachError`]; the socket is closed.
    pub async fn attach_relay(
        &self,
        mut socket: impl Socket,
        registration: &Registration,
        authority: &Authority,
        now: Seconds,
    ) -> Result<Attached, AttachError> {
        let (stream, sealed) =
            timeout(HANDSHAKE, self.shake_hands(&mut socket, registration, authority, now))
                .await
                .map_err(|_| AttachError::Slow)??;
        let (sending, receiving) = sealed;
        self.attach(socket, Encoder::Relay(Box::new(sending)), Decoder::Relay(stream, Box::new(receiving)))
            .await
    }

    /// Makes a connection of a socket of the direct transport. The caller has verified its signature.
    ///
    /// # Errors
    /// See [`AttachError`]; the socket is closed.
    pub async fn attach_direct(
        &self,
        socket: impl Socket,
        registration: &Registration,
    ) -> Result<Attached, AttachError> {
        if registration.environment_id != *self.environment_id()
            || registration.transport != Transport::Direct
        {
            return Err(AttachError::Registration);
        }
        self.attach(socket, Encoder::Direct, Decoder::Direct).await
    }

    async fn shake_hands(
        &self,
        socket: &mut impl Socket,
        registration: &Registration,
        authority: &Authority,
        now: Seconds,
    ) -> Result<(StreamId, (Sending, Receiving)), AttachError> {
        let executor = match &registration.transport {
            Transport::Noise(key) if registration.environment_id == *self.environment_id() => key,
            Transport::Noise(_) | Transport::Direct => return Err(AttachError::Registration),
        };
        let identity = &self.shared.identity;
        let stream = StreamId::new(uuid(&Random::fresh()?))?;
        let prologue = Prologue::new(self.environment_id().as_str(), &registration.id, stream.as_str());
        let authorization = authority.authorize(registration, identity.public(), now);
        let random = InitiatorRandom::fresh()?;
        let (initiator, first) = Initiator::start(identity, executor, &prologue, &authorization, &random)?;
        let resume = frame::Body::Resume { next_seq: 0 };
        for body in [resume, frame::Body::Handshake { payload: first.into() }] {
            let frame = Frame { stream: stream.clone(), body };
            socket.send(Packet::Binary(frame.encode().into())).await?;
        }
        let second = loop {
            match next_frame(socket, &stream).await? {
                Some(frame::Body::Handshake { payload }) => break payload,
                Some(frame::Body::Reset { reason }) => return Err(AttachError::Reset(reason)),
                Some(frame::Body::Data { .. }) => {
                    return Err(AttachError::Unexpected("data before the handshake"));
                }
                Some(frame::Body::Ack | frame::Body::Resume { .. } | frame::Body::Heartbeat) | None => {}
            }
        };
        let (sealer, opener) = initiator.finish(&second)?;
        Ok((stream.clone(), (Sending::new(stream, sealer), Receiving::new(opener))))
    }

    async fn attach(
        &self,
        socket: impl Socket,
        encoder: Encoder,
        decoder: Decoder,
    ) -> Result<Attached, AttachError> {
        let (wire, to_send) = Wire::new();
        let wire = Arc::new(wire);
        let guard = Guard { remote: self.clone(), wire: Arc::clone(&wire) };
        let mut driver = drive(socket, encoder, decoder, to_send, guard).boxed();
        let (session_id, session) = tokio::select! {
            ended = &mut driver => return Err(ended),
            opened = timeout(OPEN, self.open(&wire)) => {
                opened.map_err(|_| AttachError::Slow)?.map_err(AttachError::Session)?
            }
        };
        self.connect(wire, session_id, session);
        Ok(Attached { driver, session })
    }

    /// Opens the session of before if it may still be there, and a fresh one otherwise.
    async fn open(&self, wire: &Wire) -> Result<(String, Session), CallError> {
        let before = {
            let inner = self.inner();
            let is_fresh = inner.disconnected_at.is_none_or(|since| since.elapsed() < RESUME);
            inner.session_id.clone().filter(|_| is_fresh)
        };
        let (session_id, session) = match before {
            Some(before) => match self.resume(wire, before).await? {
                Some(session_id) => (session_id, Session::Resumed),
                None => (initialize(wire, None).await?, Session::Fresh),
            },
            None => (initialize(wire, None).await?, Session::Fresh),
        };
        wire.notify(&Initialized {}).await?;
        Ok((session_id, session))
    }

    /// The session of before, or nothing when the executor no longer has it.
    async fn resume(&self, wire: &Wire, session_id: String) -> Result<Option<String>, CallError> {
        loop {
            match initialize(wire, Some(session_id.clone())).await {
                Ok(session_id) => return Ok(Some(session_id)),
                // The connection before has not ended there yet. It ends here, now.
                Err(CallError { kind: CallErrorKind::Refused { code: ALREADY_ATTACHED }, .. }) => {
                    if let Some(before) = self.inner().wire.clone() {
                        before.close();
                    }
                    tokio::time::sleep(ATTACHED_PAUSE).await;
                }
                Err(CallError { kind: CallErrorKind::Refused { .. }, .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

async fn initialize(wire: &Wire, resume_session_id: Option<String>) -> Result<String, CallError> {
    let initialize = Initialize { client_name: CLIENT_NAME.to_owned(), resume_session_id };
    wire.request(&initialize).await.map(|opened| opened.session_id)
}

/// Marks the connection as broken when its driver ends or is dropped.
struct Guard {
    remote: Remote,
    wire: Arc<Wire>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.wire.close();
        self.remote.disconnect(&self.wire);
    }
}

/// How messages leave.
enum Encoder {
    Relay(Box<Sending>),
    Direct,
}

/// How messages arrive.
enum Decoder {
    Relay(StreamId, Box<Receiving>),
    Direct,
}

async fn drive(
    socket: impl Socket,
    encoder: Encoder,
    decoder: Decoder,
    to_send: mpsc::Receiver<Vec<u8>>,
    guard: Guard,
) -> AttachError {
    let (sink, stream) = socket.split();
    tokio::select! {
        error = write(sink, encoder, to_send) => error,
        error = read(stream, decoder, &guard) => error,
        () = guard.wire.closed() => AttachError::Replaced,
    }
}

async fn write(
    mut sink: SplitSink<impl Socket, Packet>,
    mut encoder: Encoder,
    mut to_send: mpsc::Receiver<Vec<u8>>,
) -> AttachError {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let packets = tokio::select! {
            message = to_send.recv() => match message {
                Some(message) => match encoder.packets(message) {
                    Ok(packets) => packets,
                    Err(error) => return error,
                },
                None => return AttachError::Closed,
            },
            _ = ping.tick() => vec![Packet::Ping],
        };
        for packet in packets {
            if let Err(error) = sink.send(packet).await {
                return error.into();
            }
        }
    }
}

async fn read(mut stream: SplitStream<impl Socket>, mut decoder: Decoder, guard: &Guard) -> AttachError {
    loop {
        let messages = match timeout(SILENCE, stream.next()).await {
            Err(_) => return AttachError::Silent,
            Ok(None | Some(Ok(Packet::Close))) => return AttachError::Closed,
            Ok(Some(Err(error))) => return error.into(),
            Ok(Some(Ok(packet))) => match decoder.messages(packet) {
                Ok(messages) => messages,
                Err(error) => return error,
            },
        };
        for message in &messages {
            if let Err(error) = take(guard, message) {
                return AttachError::Session(error);
            }
        }
    }
}

impl Encoder {
    fn packets(&mut self, message: Vec<u8>) -> Result<Vec<Packet>, AttachError> {
        match self {
            Self::Relay(sending) => {
                let frames = sending.frames(&message)?;
                Ok(frames.iter().map(|frame| Packet::Binary(frame.encode().into())).collect())
            }
            Self::Direct => {
                let text = String::from_utf8(message).map_err(|_| AttachError::Unexpected("no text"))?;
                Ok(vec![Packet::Text(text)])
            }
        }
    }
}

impl Decoder {
    fn messages(&mut self, packet: Packet) -> Result<Vec<Bytes>, AttachError> {
        match (self, packet) {
            (_, Packet::Ping | Packet::Pong | Packet::Close) => Ok(Vec::new()),
            (Self::Direct, Packet::Text(text)) => Ok(vec![text.into()]),
            (Self::Direct, Packet::Binary(_)) => Err(AttachError::Unexpected("bytes on a transport of text")),
            (Self::Relay(..), Packet::Text(_)) => {
                Err(AttachError::Unexpected("text on a transport of frames"))
            }
            (Self::Relay(stream, receiving), Packet::Binary(bytes)) => {
                let frame = Frame::decode(&bytes)?;
                if frame.stream != *stream {
                    return Ok(Vec::new());
                }
                match frame.body {
                    frame::Body::Data { seq, payload } => Ok(receiving.push(seq, payload)?),
                    frame::Body::Reset { reason } => Err(AttachError::Reset(reason)),
                    frame::Body::Handshake { .. } => Err(AttachError::Unexpected("a second handshake")),
                    frame::Body::Ack | frame::Body::Resume { .. } | frame::Body::Heartbeat => Ok(Vec::new()),
                }
            }
        }
    }
}

/// Takes one message of the executor to whoever it is for.
fn take(guard: &Guard, bytes: &Bytes) -> Result<(), CallError> {
    match Wire::decode(bytes)? {
        Message::Response { id, result } => guard.wire.answer(&id, Ok(result)),
        Message::Failure { id, error } => guard.wire.answer(&id, Err(error)),
        Message::Request { id, method, .. } => guard.wire.refuse(id, &method),
        Message::Notification { method, params } => told(guard, &method, &params)?,
    }
    Ok(())
}

fn told(guard: &Guard, method: &str, params: &Params) -> Result<(), CallError> {
    let protocol = |error| CallError::protocol(&error);
    match method {
        Wrote::NAME => {
            let wrote: Wrote = params.read().map_err(protocol)?;
            if let Some(tail) = guard.remote.tail(&wrote.process_id) {
                tail.wrote(wrote.chunk);
            }
        }
        Exited::NAME => {
            let exited: Exited = params.read().map_err(protocol)?;
            if let Some(tail) = guard.remote.tail(&exited.process_id) {
                tail.exited(exited.seq, exited.exit_code);
            }
        }
        Closed::NAME => {
            let closed: Closed = params.read().map_err(protocol)?;
            if let Some(tail) = guard.remote.tail(&closed.process_id) {
                tail.closed(closed.seq);
            }
        }
        BodyDelta::NAME => {
            let delta: BodyDelta = params.read().map_err(protocol)?;
            let request_id = delta.request_id.clone();
            guard.wire.with_body(&request_id, |body| body.push(delta));
        }
        // What a later version tells is not for us.
        _ => tracing::debug!(method, "an executor told something unknown"),
    }
    Ok(())
}

/// The body of the next frame of our stream; nothing for what belongs to others.
async fn next_frame(socket: &mut impl Socket, stream: &StreamId) -> Result<Option<frame::Body>, AttachError> {
    match socket.next().await {
        None | Some(Ok(Packet::Close)) => Err(AttachError::Closed),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(Packet::Ping | Packet::Pong)) => Ok(None),
        Some(Ok(Packet::Text(_))) => Err(AttachError::Unexpected("text on a transport of frames")),
        Some(Ok(Packet::Binary(bytes))) => {
            let frame = Frame::decode(&bytes)?;
            Ok((frame.stream == *stream).then_some(frame.body))
        }
    }
}

/// A random UUID (version 4).
fn uuid(random: &Random<16>) -> String {
    let mut bytes: [u8; 16] = random.piece(0);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
