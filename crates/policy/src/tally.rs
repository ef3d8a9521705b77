//! How many decisions there were, by what was said.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of decisions since the process started.
#[derive(Debug, Default)]
pub struct Tally {
    allowed: AtomicU64,
    held: AtomicU64,
    denied: AtomicU64,
    faults: AtomicU64,
}

impl Tally {
    /// Requests that were allowed.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        self.allowed.load(Ordering::Relaxed)
    }

    /// Requests that a person was to be asked about.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Requests that were denied, those that could not be decided included.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Requests that could not be decided, and were denied for it: each is a reason to look.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    pub(crate) fn allow(&self) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn deny(&self, fault: bool) {
        self.denied.fetch_add(1, Ordering::Relaxed);
        self.faults.fetch_add(u64::from(fault), Ordering::Relaxed);
    }
}
