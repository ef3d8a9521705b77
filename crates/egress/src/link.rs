//! The account of one connection to the outside, from the first look at its target until nothing holds it any
//! more. That is when its record is told, however it came to that.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::meter::Used;
use crate::proxy::Shared;
use crate::record::{Outcome, Record, Way};
use crate::target::Target;

pub(crate) struct Link {
    shared: Arc<Shared>,
    target: Option<Target>,
    way: Way,
    address: OnceLock<SocketAddr>,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    secrets: Mutex<BTreeSet<String>>,
    outcome: OnceLock<Outcome>,
}

impl Link {
    pub(crate) fn new(shared: &Arc<Shared>, way: Way, target: Option<&Target>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            target: target.cloned(),
            way,
            address: OnceLock::new(),
            bytes_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            secrets: Mutex::default(),
            outcome: OnceLock::new(),
        })
    }

    /// Says how it ended. What is said first stays: later troubles follow from it.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    pub(crate) fn dialled(&self, address: SocketAddr) {
        let _ = self.address.set(address);
    }

    pub(crate) fn sent_secrets(&self, names: impl IntoIterator<Item = String>) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    pub(crate) fn used_in(&self) -> &Used {
        &self.shared.used_in
    }

    pub(crate) fn used_out(&self) -> &Used {
        &self.shared.used_out
    }

    pub(crate) fn cap_in(&self) -> u64 {
        self.shared.rules.borrow().byte_caps().into
    }

    pub(crate) fn cap_out(&self) -> u64 {
        self.shared.rules.borrow().byte_caps().out
    }

    pub(crate) fn count_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        (self.shared.sink)(Record {
            host: self.target.as_ref().map(|target| target.host().clone()),
            port: self.target.as_ref().map(Target::port),
            address: self.address.get().copied(),
            way: self.way,
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            secrets: std::mem::take(&mut self.secrets.lock().unwrap_or_else(PoisonError::into_inner)),
            outcome: self.outcome.take().unwrap_or(Outcome::Ended),
        });
    }
}
