//! One connection: requests that wait for answers, and what the executor tells unasked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::body::BodySender;
use super::error::CallError;
use crate::message::{Failure, Message, Method, Params, RequestId};

/// Messages that wait to be sent. A caller waits when there are more.
const OUTGOING_MAX: usize = 64;

type Answer = Result<Params, Failure>;

/// A connection whose driver runs elsewhere.
pub(super) struct Wire {
    outgoing: mpsc::Sender<Vec<u8>>,
    next_id: AtomicI64,
    waiting: Mutex<HashMap<i64, oneshot::Sender<Answer>>>,
    bodies: Mutex<HashMap<String, BodySender>>,
    is_closed: AtomicBool,
    closed: watch::Sender<bool>,
}

impl Wire {
    /// A connection, and what is to be sent on it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
        let (closed, _) = watch::channel(false);
        let wire = Self {
            outgoing,
            next_id: AtomicI64::new(1),
            waiting: Mutex::default(),
            bodies: Mutex::default(),
            is_closed: AtomicBool::new(false),
            closed,
        };
        (wire, to_send)
    }

    pub(super) async fn request<M: Method>(&self, params: &M) -> Result<M::Outcome, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = Message::request(id, params).and_then(Message::encode);
        let bytes = bytes.map_err(|error| CallError::protocol(&error))?;
        let (sender, answer) = oneshot::channel();
        let _forget = Waiting::enter(self, id, sender);
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(CallError::interrupted());
        }
        self.outgoing.send(bytes).await.map_err(|_| CallError::interrupted())?;
        match answer.await {
            Ok(Ok(result)) => result.read().map_err(|error| CallError::protocol(&error)),
            Ok(Err(failure)) => Err(CallError::refused(failure)),
            Err(_) => Err(CallError::interrupted()),
        }
    }

    /// Sends a request whose answer nobody waits for, if there is room.
    pub(super) fn post<M: Method>(&self, params: &M) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if let Ok(bytes) = Message::request(id, params).and_then(Message::encode) {
            let _ = self.outgoing.try_send(bytes);
        }
    }

    pub(super) async fn notify<M: Method>(&self, params: &M) -> Result<(), CallError> {
        let bytes = Message::notification(params).and_then(Message::encode);
        let bytes = bytes.map_err(|error| CallError::protocol(&error))?;
        self.outgoing.send(bytes).await.map_err(|_| CallError::interrupted())
    }

    /// Refuses what an executor asks of us: the protocol has no such requests.
    pub(super) fn refuse(&self, id: RequestId, method: &str) {
        let error = Failure::new(crate::message::METHOD_NOT_FOUND, format!("there is no `{method}` here"));
        if let Ok(bytes) = (Message::Failure { id, error }).encode() {
            let _ = self.outgoing.try_send(bytes);
        }
    }

    pub(super) fn answer(&self, id: &RequestId, answer: Answer) {
        let sender = match id {
            RequestId::Number(id) => lock(&self.waiting).remove(id),
            RequestId::Text(_) => None,
        };
        // Nobody may wait any more: the call was cancelled, or was posted.
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    pub(super) fn open_body(&self, request_id: String, sender: BodySender) {
        lock(&self.bodies).insert(request_id, sender);
    }

    pub(super) fn close_body(&self, request_id: &str) {
        lock(&self.bodies).remove(request_id);
    }

    pub(super) fn with_body(&self, request_id: &str, then: impl FnOnce(&mut BodySender) -> bool) {
        let mut bodies = lock(&self.bodies);
        if bodies.get_mut(request_id).is_some_and(then) {
            bodies.remove(request_id);
        }
    }

    /// Ends the connection; everyone who waits learns of it. May be called more than once.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        lock(&self.waiting).clear();
        lock(&self.bodies).clear();
        self.closed.send_replace(true);
    }

    /// Waits until someone closed the connection.
    pub(super) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender is ours, so it is there while we are.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Message, CallError> {
        Message::decode(bytes).map_err(|error| CallError::protocol(&error))
    }
}

/// A request that waits; forgets it when its caller goes away.
struct Waiting<'a> {
    wire: &'a Wire,
    id: i64,
}

impl<'a> Waiting<'a> {
    fn enter(wire: &'a Wire, id: i64, sender: oneshot::Sender<Answer>) -> Self {
        lock(&wire.waiting).insert(id, sender);
        Self { wire, id }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.wire.waiting).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
