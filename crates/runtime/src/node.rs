//! This process as one of the nodes that share a store: its lease, the sessions it takes over, and the news
//! of what others commit.
//!
//! ```text
//!   every quarter of the lease   heartbeat
//!   every second                 claim what is due and held by no living node, and give it an actor
//!   at a wake                    the actor or the follower of that session looks at the journal
//!   every five seconds           the same for everything held here, in case a wake was lost
//! ```
//!
//! A store that no other process uses needs none of it beyond the claims at the start.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_store::{StoreError, Wake};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::actor::Mail;
use crate::clock;
use crate::handle::{Runtime, Shared};

/// How often what is due is looked for.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// Sessions claimed at once; others may want some too.
const CLAIMED_MAX: usize = 256;
/// How often everything held here is compared with the store.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// Heartbeats within one lease, so that a few may be lost.
const HEARTBEATS_PER_LEASE: u32 = 4;

/// Until when this node's lease runs, as far as it knows.
#[derive(Debug)]
pub(crate) struct Lease {
    until: Mutex<Instant>,
}

impl Lease {
    /// A lease that has not begun.
    pub(crate) fn new() -> Self {
        Self { until: Mutex::new(Instant::now()) }
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Begins the lease. The node takes nothing before this.
pub(crate) async fn enter(shared: &Shared) -> Result<(), StoreError> {
    if shared.store.is_shared() { extend(shared).await } else { Ok(()) }
}

/// A moment before which nobody takes over what this node comes to hold now; absent where nobody could.
/// Extends a lease that ends soon.
pub(crate) async fn covered(shared: &Shared) -> Result<Option<Instant>, StoreError> {
    if !shared.store.is_shared() {
        return Ok(None);
    }
    if shared.lease.until() < Instant::now() + shared.limits.lease / 2 {
        extend(shared).await?;
    }
    Ok(Some(shared.lease.until()))
}

async fn extend(shared: &Shared) -> Result<(), StoreError> {
    // Before the call: it may take long, and the store counts from some moment within it.
    let asked = Instant::now();
    shared.store.heartbeat(shared.node, shared.limits.lease).await?;
    shared.lease.extend(asked + shared.limits.lease);
    Ok(())
}

/// Starts what a node does all its life.
pub(crate) fn start(runtime: &Runtime) {
    let shared = runtime.shared();
    if !shared.store.is_shared() {
        return;
    }
    shared.tasks.spawn(beat(Arc::clone(shared)));
    shared.tasks.spawn(take_over(runtime.clone()));
    shared.tasks.spawn(compare(runtime.clone()));
    shared.tasks.spawn(listen(Arc::clone(shared)));
}

/// Frees what the node holds, once it runs nothing any more.
pub(crate) async fn leave(shared: &Shared) {
    if let Err(error) = shared.store.retire(shared.node).await {
        tracing::warn!(%error, "this node's sessions are free only when its lease has run out");
    }
}

async fn beat(shared: Arc<Shared>) {
    let pause = shared.limits.lease / HEARTBEATS_PER_LEASE;
    while sleep(&shared, pause).await {
        if let Err(error) = extend(&shared).await {
            tracing::warn!(%error, "the lease could not be extended; trying again");
        }
    }
}

async fn take_over(runtime: Runtime) {
    let shared = runtime.shared();
    // Nodes that were started together do not look together.
    let jitter = Duration::from_millis(clock::chance() % 250);
    while sleep(shared, CLAIM_EVERY + jitter).await {
        match runtime.claim_due(shared.clock.now(), CLAIMED_MAX).await {
            Ok(0) => {}
            Ok(sessions) => tracing::info!(sessions, "taking over sessions"),
            Err(error) => tracing::warn!(%error, "what is due cannot be looked up; trying again"),
        }
    }
}

async fn compare(runtime: Runtime) {
    let shared = runtime.shared();
    while sleep(shared, COMPARE_EVERY).await {
        match shared.store.held(shared.node).await {
            Ok(held) => {
                let mut lost: std::collections::HashSet<_> = shared.registry.holding().into_iter().collect();
                for (key, version) in held {
                    lost.remove(&key);
                    runtime.wake(key, Mail::Wake { version });
                }
                for key in lost {
                    shared.registry.tell(key, Mail::Look);
                }
            }
            Err(error) => tracing::warn!(%error, "what this node holds cannot be looked up; trying again"),
        }
    }
}

async fn listen(shared: Arc<Shared>) {
    let mut wakes = shared.store.wakes();
    loop {
        let wake = tokio::select! {
            () = shared.stop.cancelled() => return,
            wake = wakes.recv() => wake,
        };
        match wake {
            Ok(Wake::Session { key, version }) => {
                shared.registry.tell(key, Mail::Wake { version });
                shared.hub.wake(key);
            }
            Ok(Wake::Missed) | Err(RecvError::Lagged(_)) => {
                for key in shared.registry.holding() {
                    shared.registry.tell(key, Mail::Look);
                }
                shared.hub.wake_all();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Whether there is still something to do after a pause.
async fn sleep(shared: &Shared, pause: Duration) -> bool {
    tokio::select! {
        () = shared.stop.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}
