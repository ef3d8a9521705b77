//! One socket: the conversations that share it.
//!
//! A stream is *asked* while the registry is asked about its server's key, and *open* after that. The loop
//! that reads never waits for anything else, so that one slow conversation does not hold up the others: a
//! conversation whose queue is full is reset.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::conversation;
use super::host::Host;
use super::register::Registry;
use crate::channel::{RESET_REASON, Receiving, Sending};
use crate::frame::{Body, Frame, StreamId};
use crate::noise::handshake::{Asked, ResponderRandom, receive};
use crate::noise::{Identity, Prologue};
use crate::socket::{Packet, Socket};

/// Conversations on one socket.
const STREAMS_MAX: usize = 128;
/// Handshakes that wait for the registry at once.
const ASKED_MAX: usize = 32;
/// Handshakes that may fail on one socket. Each costs two decapsulations.
const FAILED_MAX: usize = 8;
/// Messages that wait for one conversation, and packets that wait for the socket.
const QUEUE: usize = 128;
/// How long the registry may take over a key.
const VALIDATE: Duration = Duration::from_secs(10);
/// How often the socket is asked whether it lives, and how long it may be silent.
const PING: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(50);

/// What a task on behalf of one stream ended with.
enum Done {
    /// The registry has answered about a stream that asked.
    Judged { stream: StreamId, number: u64, asked: Option<Box<Asked>> },
    /// A conversation is over.
    Over { stream: StreamId, number: u64 },
}

/// A stream. Ids are the other side's and may be used again, so each also has a number of ours.
enum Stream {
    Asked { number: u64 },
    Open { number: u64, receiving: Box<Receiving>, to: mpsc::Sender<Bytes> },
}

/// Serves the conversations of one socket until it breaks. All of them end with it; their sessions stay.
pub(super) async fn run(
    socket: impl Socket,
    registry: &Arc<Registry>,
    registration_id: &str,
    identity: &Arc<Identity>,
    host: &Arc<Host>,
) {
    let (sink, mut stream) = socket.split();
    let (outgoing, to_send) = mpsc::channel(QUEUE);
    let mut relay = Relay {
        registry: Arc::clone(registry),
        registration_id: registration_id.to_owned(),
        identity: Arc::clone(identity),
        host: Arc::clone(host),
        outgoing,
        streams: HashMap::new(),
        tasks: JoinSet::new(),
        next_number: 0,
        failed: 0,
    };
    let writing = write(sink, to_send);
    tokio::pin!(writing);
    while relay.failed < FAILED_MAX {
        tokio::select! {
            () = &mut writing => return,
            Some(done) = relay.tasks.join_next() => match done {
                Ok(done) => relay.done(done),
                // A conversation panicked. Its stream stays silent; the others go on.
                Err(error) => tracing::error!(%error, "a conversation ended by a fault"),
            },
            packet = timeout(SILENCE, stream.next()) => match packet {
                Ok(Some(Ok(Packet::Binary(bytes)))) => relay.frame(&bytes),
                Ok(Some(Ok(Packet::Ping | Packet::Pong | Packet::Text(_)))) => {}
                Ok(Some(Ok(Packet::Close)) | None) => return,
                Ok(Some(Err(error))) => return tracing::debug!(%error, "the socket broke"),
                Err(_) => return tracing::warn!("the server was silent for too long"),
            },
        }
    }
    tracing::warn!(failed = relay.failed, "too many handshakes failed; dialling again");
}

/// Serves the one conversation of a socket of the direct transport.
pub(super) async fn run_direct(socket: impl Socket, host: &Arc<Host>) {
    let (sink, mut stream) = socket.split();
    let (outgoing, to_send) = mpsc::channel(QUEUE);
    let (to, incoming) = mpsc::channel(QUEUE);
    let (messages, mut to_encode) = mpsc::channel::<Vec<u8>>(QUEUE);
    let encode = async {
        while let Some(message) = to_encode.recv().await {
            let text = String::from_utf8(message).expect("JSON is UTF-8");
            if outgoing.send(Packet::Text(text)).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        loop {
            match timeout(SILENCE, stream.next()).await {
                // Nothing shares the socket, so a conversation that is slow slows its server down.
                Ok(Some(Ok(Packet::Text(text)))) => {
                    if to.send(text.into()).await.is_err() {
                        break;
                    }
                }
                Ok(Some(Ok(Packet::Ping | Packet::Pong | Packet::Binary(_)))) => {}
                Ok(Some(_) | None) | Err(_) => break,
            }
        }
    };
    tokio::select! {
        () = write(sink, to_send) => {}
        () = encode => {}
        () = read => {}
        () = conversation::run(Arc::clone(host), incoming, messages) => {}
    }
}

async fn write(mut sink: impl futures_util::Sink<Packet> + Unpin, mut to_send: mpsc::Receiver<Packet>) {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let packet = tokio::select! {
            packet = to_send.recv() => packet,
            _ = ping.tick() => Some(Packet::Ping),
        };
        let Some(packet) = packet else { return };
        if sink.send(packet).await.is_err() {
            return;
        }
    }
}

struct Relay {
    registry: Arc<Registry>,
    registration_id: String,
    identity: Arc<Identity>,
    host: Arc<Host>,
    outgoing: mpsc::Sender<Packet>,
    streams: HashMap<StreamId, Stream>,
    /// Ends with the socket, and every task with it.
    tasks: JoinSet<Done>,
    next_number: u64,
    failed: usize,
}

impl Relay {
    fn frame(&mut self, bytes: &Bytes) {
        let Frame { stream, body } = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return tracing::warn!(%error, "a frame was dropped"),
        };
        match body {
            Body::Handshake { payload } => self.handshake(stream, &payload),
            Body::Data { seq, payload } => self.data(stream, seq, payload),
            Body::Reset { reason } => {
                tracing::debug!(reason, "the server reset a stream");
                self.streams.remove(&stream);
            }
            Body::Ack | Body::Resume { .. } | Body::Heartbeat => {}
        }
    }

    /// Message 1 of a handshake: reads it, and asks the registry about whoever wrote it.
    fn handshake(&mut self, stream: StreamId, message: &[u8]) {
        let asked = self.streams.values().filter(|stream| matches!(stream, Stream::Asked { .. })).count();
        if self.streams.contains_key(&stream) || self.streams.len() >= STREAMS_MAX || asked >= ASKED_MAX {
            return self.reset(stream);
        }
        let environment_id = self.registry.environment_id().as_str();
        let prologue = Prologue::new(environment_id, &self.registration_id, stream.as_str());
        let asked = match receive(&self.identity, &prologue, message) {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, "a handshake failed");
                self.failed += 1;
                return self.reset(stream);
            }
        };
        let number = self.next_number;
        self.next_number += 1;
        self.streams.insert(stream.clone(), Stream::Asked { number });
        let (registry, registration_id) = (Arc::clone(&self.registry), self.registration_id.clone());
        self.tasks.spawn(async move {
            let answer = registry.validate(&registration_id, asked.initiator(), asked.authorization());
            let is_valid = match timeout(VALIDATE, answer).await {
                Ok(Ok(is_valid)) => is_valid,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the registry did not answer about a server's key");
                    false
                }
                Err(_) => false,
            };
            Done::Judged { stream, number, asked: is_valid.then(|| Box::new(asked)) }
        });
    }

    fn data(&mut self, stream: StreamId, seq: u32, payload: Bytes) {
        let Some(Stream::Open { receiving, to, .. }) = self.streams.get_mut(&stream) else {
            self.streams.remove(&stream);
            return self.reset(stream);
        };
        let problem = match receiving.push(seq, payload) {
            Ok(messages) => messages
                .into_iter()
                .find_map(|message| to.try_send(message).err())
                .map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            tracing::warn!(problem, "a stream was reset");
            self.streams.remove(&stream);
            self.reset(stream);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Judged { stream, number, asked } => {
                let is_current = matches!(self.streams.get(&stream), Some(Stream::Asked { number: current }) if *current == number);
                if is_current && let Err(error) = self.answer(&stream, number, asked) {
                    tracing::warn!(error, "a handshake was not answered");
                    self.failed += 1;
                    self.streams.remove(&stream);
                    self.reset(stream);
                }
            }
            Done::Over { stream, number } => {
                let is_current = matches!(self.streams.get(&stream), Some(Stream::Open { number: current, .. }) if *current == number);
                if is_current {
                    self.streams.remove(&stream);
                    self.reset(stream);
                }
            }
        }
    }

    /// Message 2 of a handshake, and with it the conversation.
    fn answer(&mut self, stream: &StreamId, number: u64, asked: Option<Box<Asked>>) -> Result<(), String> {
        let asked = asked.ok_or("the registry does not know the server's key")?;
        let random = ResponderRandom::fresh().map_err(|error| error.to_string())?;
        let (sealer, opener, message) = asked.answer(&random).map_err(|error| error.to_string())?;
        self.send(&Frame { stream: stream.clone(), body: Body::Handshake { payload: message.into() } });
        let (to, incoming) = mpsc::channel(QUEUE);
        let (messages, to_encode) = mpsc::channel(QUEUE);
        let sending = Sending::new(stream.clone(), sealer);
        let (host, outgoing, id) = (Arc::clone(&self.host), self.outgoing.clone(), stream.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = encode(sending, to_encode, outgoing) => {}
                () = conversation::run(host, incoming, messages) => {}
            }
            Done::Over { stream: id, number }
        });
        let receiving = Box::new(Receiving::new(opener));
        self.streams.insert(stream.clone(), Stream::Open { number, receiving, to });
        Ok(())
    }

    fn reset(&self, stream: StreamId) {
        self.send(&Frame { stream, body: Body::Reset { reason: RESET_REASON.to_owned() } });
    }

    /// Best effort: whoever does not get it learns the same from silence.
    fn send(&self, frame: &Frame) {
        let _ = self.outgoing.try_send(Packet::Binary(frame.encode().into()));
    }
}

async fn encode(
    mut sending: Sending,
    mut to_encode: mpsc::Receiver<Vec<u8>>,
    outgoing: mpsc::Sender<Packet>,
) {
    while let Some(message) = to_encode.recv().await {
        let frames = match sending.frames(&message) {
            Ok(frames) => frames,
            Err(error) => return tracing::warn!(%error, "a message cannot be sent"),
        };
        for frame in frames {
            if outgoing.send(Packet::Binary(frame.encode().into())).await.is_err() {
                return;
            }
        }
    }
}
