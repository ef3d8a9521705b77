//! This process as one of the nodes that share a store: its lease, the sessions it takes over, and the news
//! of what others commit.
//!
//! ```text
//!   every quarter of the lease   heartbeat
//!   every second, and as long as claim a few of what is due and held by no living node, and give them
//!   there is more and room       actors
//!   at a wake                    the actor or the follower of that session looks at the journal
//!   when a node came or went     divide the places of providers among the nodes that live, and claim
//!   every five seconds           all of it for everything held here, in case a wake was lost
//! ```
//!
//! The configured lease is the time within which the sessions of a node that died are at work elsewhere. What
//! is written in the store is shorter, by the time until the next look: it runs out and is seen.
//!
//! A store that no other process uses needs none of it beyond the claims: they resume what an earlier process
//! left. What is due is taken a batch at a time and only while there is room, so a start costs no more than
//! the limit on active sessions lets it, however much there is to resume, and nodes that come after the first
//! have their part. A session that waits for its next try is due when that time has come, not before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_store::{StoreError, Wake};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use crate::actor::Mail;
use crate::clock;
use crate::handle::Shared;

/// How often what is due is looked for at least, once there was no more.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// Looks within one configured lease, or more where that is long.
const CLAIMS_PER_LEASE: u32 = 8;
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
    /// As it is written: what is configured, less the time in which others notice its end.
    length: Duration,
    /// How much of it is left at least when an append begins: half of what is configured.
    covers: Duration,
    /// Between two looks at what others left.
    claim_every: Duration,
    until: Mutex<Instant>,
}

impl Lease {
    /// A lease that has not begun.
    pub(crate) fn new(configured: Duration) -> Self {
        let most = (configured / CLAIMS_PER_LEASE).min(CLAIM_EVERY);
        // Nodes that were started together do not look together.
        let jitter = most.mul_f64((clock::chance() % 256) as f64 / 1024.0);
        Self {
            length: configured - configured / CLAIMS_PER_LEASE,
            covers: configured / 2,
            claim_every: most - jitter,
            until: Mutex::new(Instant::now()),
        }
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Begins the lease and takes this node's part of the places that all share; the others are told and keep
/// theirs. The node takes nothing before this. Gives the news from then on.
pub(crate) async fn enter(shared: &Shared) -> Result<broadcast::Receiver<Wake>, StoreError> {
    // Before the lease: who comes after this is heard.
    let wakes = shared.store.wakes();
    if shared.store.is_shared() {
        extend(shared).await?;
        divide(shared).await?;
    }
    Ok(wakes)
}

/// Divides the places of every provider among the nodes that live.
async fn divide(shared: &Shared) -> Result<(), StoreError> {
    let nodes = shared.store.nodes().await?;
    shared.models.providers().for_each(|provider| provider.gate().divide(nodes));
    Ok(())
}

async fn divide_or_warn(shared: &Shared) {
    if let Err(error) = divide(shared).await {
        tracing::warn!(%error, "the nodes cannot be counted; trying again");
    }
}

/// A moment before which nobody takes over what this node comes to hold now; absent where nobody could.
/// Extends a lease that ends soon.
pub(crate) async fn covered(shared: &Shared) -> Result<Option<Instant>, StoreError> {
    if !shared.store.is_shared() {
        return Ok(None);
    }
    if shared.lease.until() < Instant::now() + shared.lease.covers {
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
    let left = shared.unreadable.sessions.all();
    let claimed = shared.store.claim_due(shared.node, shared.clock.now(), limit, &left).await?;
    for key in &claimed {
        shared.wake(*key, Mail::Look);
    }
    if !claimed.is_empty() {
        tracing::info!(sessions = claimed.len(), "resuming unfinished sessions");
    }
    Ok(if claimed.len() < limit { Found::All } else { Found::Some })
}

/// Starts what a node does all its life, after a first look at what is due.
pub(crate) fn start(shared: &Arc<Shared>, wakes: broadcast::Receiver<Wake>, found: Found) {
    let news = Arc::new(Notify::new());
    shared.tasks.spawn(take_over(Arc::clone(shared), found, Arc::clone(&news)));
    if shared.store.is_shared() {
        shared.tasks.spawn(beat(Arc::clone(shared)));
        shared.tasks.spawn(compare(Arc::clone(shared)));
        shared.tasks.spawn(listen(Arc::clone(shared), wakes, news));
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

async fn take_over(shared: Arc<Shared>, mut found: Found, news: Arc<Notify>) {
    loop {
        let pause = match found {
            Found::Some => Duration::ZERO,
            Found::All => shared.lease.claim_every,
            Found::NoRoom => ROOM_EVERY,
        };
        tokio::select! {
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = news.notified() => {}
        }
        found = claim(&shared).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is due cannot be looked up; trying again");
            Found::All
        });
    }
}

async fn compare(shared: Arc<Shared>) {
    while sleep(&shared, COMPARE_EVERY).await {
        divide_or_warn(&shared).await;
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

async fn listen(shared: Arc<Shared>, mut wakes: broadcast::Receiver<Wake>, news: Arc<Notify>) {
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
            Ok(Wake::Nodes) => {
                divide_or_warn(&shared).await;
                news.notify_one();
            }
            Ok(Wake::Missed) | Err(RecvError::Lagged(_)) => {
                for key in shared.registry.holding() {
                    shared.registry.tell(key, Mail::Look);
                }
                shared.hub.wake_all();
                divide_or_warn(&shared).await;
                news.notify_one();
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
