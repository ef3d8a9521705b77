//! A session: processes, and who is told of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::process::Process;
use crate::message::{Failure, INVALID_REQUEST, Message, Method};
use crate::protocol::process::ProcessId;

/// Processes of one session, those included that have ended and are still remembered.
const PROCESSES_MAX: usize = 256;

pub(super) struct Session {
    id: String,
    inner: Mutex<Inner>,
}

struct Inner {
    told: Option<mpsc::Sender<Vec<u8>>>,
    detached_at: Option<Instant>,
    processes: HashMap<ProcessId, Arc<Process>>,
}

impl Session {
    pub(super) fn new(id: String) -> Self {
        let inner = Inner { told: None, detached_at: None, processes: HashMap::new() };
        Self { id, inner: Mutex::new(inner) }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Takes a connection, unless there is one.
    pub(super) fn attach(&self, told: mpsc::Sender<Vec<u8>>) -> bool {
        let mut inner = self.inner();
        // One whose receiver is gone is no connection any more.
        if inner.told.as_ref().is_some_and(|told| !told.is_closed()) {
            return false;
        }
        inner.told = Some(told);
        inner.detached_at = None;
        true
    }

    /// Gives up a connection, unless another has taken its place.
    pub(super) fn detach(&self, told: &mpsc::Sender<Vec<u8>>, now: Instant) {
        let mut inner = self.inner();
        if inner.told.as_ref().is_some_and(|current| current.same_channel(told)) {
            inner.told = None;
            inner.detached_at = Some(now);
        }
    }

    pub(super) fn detached_at(&self) -> Option<Instant> {
        self.inner().detached_at
    }

    /// Tells the connection something. Without one it is not told: whoever comes back reads.
    pub(super) async fn tell<M: Method>(&self, params: &M) {
        let told = self.inner().told.clone();
        if let Some(told) = told
            && let Ok(message) = Message::notification(params).and_then(Message::encode)
        {
            let _ = told.send(message).await;
        }
    }

    pub(super) fn insert(&self, id: &ProcessId, process: Arc<Process>) -> Result<(), Failure> {
        let mut inner = self.inner();
        if inner.processes.contains_key(id) {
            return Err(Failure::new(INVALID_REQUEST, format!("process {} already exists", id.0)));
        }
        if inner.processes.len() >= PROCESSES_MAX {
            return Err(Failure::new(INVALID_REQUEST, "there are too many processes"));
        }
        inner.processes.insert(id.clone(), process);
        Ok(())
    }

    pub(super) fn remove(&self, id: &ProcessId) {
        self.inner().processes.remove(id);
    }

    pub(super) fn process(&self, id: &ProcessId) -> Option<Arc<Process>> {
        self.inner().processes.get(id).cloned()
    }

    pub(super) fn known(&self, id: &ProcessId) -> Result<Arc<Process>, Failure> {
        self.process(id).ok_or_else(|| Failure::new(INVALID_REQUEST, format!("unknown process id {}", id.0)))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
