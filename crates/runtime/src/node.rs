//! This process as one of the nodes that share a store: its lease, the sessions it takes over, and the news
//! of what others commit.
//!
//! ```text
//!   every quarter of the lease   heartbeat
//!   every second, and as long as claim a few of what is due and held by no living node, and give them
//!   there is more and room       actors
//!   at a wake                    the actor or the follower of that session looks at the journal
//!   every five seconds           the same for everything held here, in case a wake was lost; and the places
//!                                of providers are divided among the nodes that live
//! ```
//!
//! A store that no other process uses needs none of it beyond the claims: they resume what an earlier process
//! left. What is due is taken a batch at a time and only while there is room, so a start costs no more than
//! the limit on active sessions lets it, however much there is to resume, and nodes that come after the first
//! have their part. A session that waits for its next try is due when that time has come, not before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_store::{StoreError, Wake};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::actor::Mail;
use crate::clock;
use crate::handle::Shared;

/// How often what is due is looked for, once there was no more.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// How often a node that is full looks whether it has room again.
const ROOM_EVERY: Duration = Duration::from_millis(100);
/// Sessions claimed at once; others may want some too.
const CLAIMED_MAX: usize = 256;
/// How often everything held here is compared with the store.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// Heartbeats within one lease, so that a few may be lost.
const HEARTBEATS_PER_LEASE: u32 = 4;

/// How long this node keeps its sessions without a sign of life, and until when, as far as it knows.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Duration,
    until: Mutex<Instant>,
}

impl Lease {
    /// A lease that has not begun.
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, until: Mutex::new(Instant::now()) }
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
    if shared.lease.until() < Instant::now() + shared.lease.length / 2 {
        extend(shared).await?;
    }
    Ok(Some(shared.lease.until()))
}

async fn extend(shared: &Shared) -> Result<(), StoreError> {
    // Before the call: it may take long, and the store counts from some moment within it.
    let asked = Instant::now();
    shared.store.heartbeat(shared.node, shared.lease.length).await?;
    shared.lease.extend(asked + shared.lease.length);
    Ok(())
}

/// What a look for due sessions came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Some, and there may be more.
    Some,
    /// All there were.
    All,
    /// Not known: this node has all it may have.
    NoRoom,
}

/// Takes hold of some of what is due, as far as there is room, and gives it actors.
///
/// # Errors
/// As [`tenure_store::Store::claim_due`].
pub(crate) async fn claim(shared: &Arc<Shared>) -> Result<Found, StoreError> {
    let limit = shared.registry.room().min(CLAIMED_MAX);
    if limit == 0 {
        return Ok(Found::NoRoom);
    }
    let claimed = shared.store.claim_due(shared.node, shared.clock.now(), limit).await?;
    for key in &claimed {
        shared.wake(*key, Mail::Look);
    }
    if !claimed.is_empty() {
        tracing::info!(sessions = claimed.len(), "resuming unfinished sessions");
    }
    Ok(if claimed.len() < limit { Found::All } else { Found::Some })
}

/// Starts what a node does all its life, after a first look at what is due.
pub(crate) fn start(shared: &Arc<Shared>, found: Found) {
    shared.tasks.spawn(take_over(Arc::clone(shared), found));
    if shared.store.is_shared() {
        shared.tasks.spawn(beat(Arc::clone(shared)));
        shared.tasks.spawn(compare(Arc::clone(shared)));
        shared.tasks.spawn(listen(Arc::clone(shared)));
    }
}

/// Frees what the node holds, once it runs nothing any more.
pub(crate) async fn leave(shared: &Shared) {
    if let Err(error) = shared.store.retire(shared.node).await {
        tracing::warn!(%error, "this node's sessions are free only when its lease has run out");
    }
}

async fn beat(shared: Arc<Shared>) {
    let pause = shared.lease.length / HEARTBEATS_PER_LEASE;
    while sleep(&shared, pause).await {
        if let Err(error) = extend(&shared).await {
            tracing::warn!(%error, "the lease could not be extended; trying again");
        }
    }
}

async fn take_over(shared: Arc<Shared>, mut found: Found) {
    // Nodes that were started together do not look together.
    let jitter = Duration::from_millis(clock::chance() % 250);
    loop {
        let pause = match found {
            Found::Some => Duration::ZERO,
            Found::All => CLAIM_EVERY + jitter,
            Found::NoRoom => ROOM_EVERY,
        };
        tokio::select! {
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        found = claim(&shared).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is due cannot be looked up; trying again");
            Found::All
        });
    }
}

async fn compare(shared: Arc<Shared>) {
    while sleep(&shared, COMPARE_EVERY).await {
        match shared.store.nodes().await {
            Ok(nodes) => shared.models.providers().for_each(|provider| provider.gate().divide(nodes)),
            Err(error) => tracing::warn!(%error, "the nodes cannot be counted; trying again"),
        }
        match shared.store.held(shared.node).await {
            Ok(held) => {
                let mut lost: std::collections::HashSet<_> = shared.registry.holding().into_iter().collect();
                for (key, version) in held {
                    lost.remove(&key);
                    shared.wake(key, Mail::Wake { version });
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
