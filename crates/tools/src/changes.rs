//! Which servers said that their tools have changed, and when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Server;

/// Servers that are remembered. Forgetting one costs nothing but the time until its listing is too old.
const SERVERS_MAX: usize = 1024;

/// Changes by the address of their server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Arc<Mutex<HashMap<Server, Instant>>>);

impl Changes {
    /// The server at this address says that its tools have changed.
    pub(crate) fn note(&self, address: &Server) {
        let mut changes = self.lock();
        if changes.len() >= SERVERS_MAX && !changes.contains_key(address) {
            let oldest = changes.iter().min_by_key(|(_, at)| **at).map(|(server, _)| server.clone());
            oldest.and_then(|oldest| changes.remove(&oldest));
        }
        changes.insert(address.clone(), Instant::now());
    }

    /// How long ago it last said so.
    pub(crate) fn ago(&self, address: &Server) -> Option<Duration> {
        self.lock().get(address).map(Instant::elapsed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Server, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
