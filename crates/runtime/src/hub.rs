//! The hub: who watches which session. Publishing never waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenure_journal::{ItemId, SessionKey, Version};
use tenure_session::StreamEvent;
use tokio::sync::{Notify, mpsc};

use crate::Share;

/// Events a reader may be behind before its stream ends: several seconds of a fast model.
const BEHIND_MAX: usize = 4_096;

/// Who watches which session.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    channels: Mutex<HashMap<SessionKey, Channel>>,
}

/// A session that someone watches.
#[derive(Debug, Default)]
struct Channel {
    watchers: Vec<Watcher>,
    /// Up to where what was committed has been told, once that is known. Whoever brings the news of a
    /// commit, this keeps it from being told twice.
    told: Option<Version>,
    is_followed: bool,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Watcher {
    events: mpsc::Sender<Arc<StreamEvent>>,
    lagged: Arc<AtomicBool>,
}

/// A stream of what happens to one session from the moment of subscription on.
#[derive(Debug)]
pub struct Subscription {
    /// Snapshots that come first.
    first: VecDeque<Arc<StreamEvent>>,
    /// Items the snapshots have shown; their `ItemAdded` is not repeated.
    shown: HashSet<ItemId>,
    events: mpsc::Receiver<Arc<StreamEvent>>,
    lagged: Arc<AtomicBool>,
    /// Its part of the streams that may be open.
    _share: Share,
}

/// What a subscription yields.
#[derive(Debug, Clone)]
pub enum SubscriptionItem {
    /// Something happened.
    Event(Arc<StreamEvent>),
    /// This reader was too slow and missed something; the stream ends here.
    Lagged,
}

impl Hub {
    pub(crate) fn subscribe(&self, key: SessionKey, share: Share) -> Subscription {
        let (sender, events) = mpsc::channel(BEHIND_MAX);
        let lagged = Arc::new(AtomicBool::new(false));
        let watcher = Watcher { events: sender, lagged: Arc::clone(&lagged) };
        self.lock().entry(key).or_default().watchers.push(watcher);
        Subscription { first: VecDeque::new(), shown: HashSet::new(), events, lagged, _share: share }
    }

    /// Says that what was committed up to `version` need not be told, unless more was told already.
    pub(crate) fn start_at(&self, key: SessionKey, version: Version) {
        if let Some(channel) = self.lock().get_mut(&key) {
            channel.told.get_or_insert(version);
        }
    }

    /// Tells everyone who watches the session something that no commit brought.
    pub(crate) fn publish(&self, key: SessionKey, event: StreamEvent) {
        let mut channels = self.lock();
        if let Some(channel) = channels.get_mut(&key) {
            channel.tell(event);
            if channel.watchers.is_empty() {
                channels.remove(&key);
            }
        }
    }

    /// Tells everyone who watches the session what the commit of `version` brought, unless they know.
    pub(crate) fn publish_commit(&self, key: SessionKey, version: Version, notices: Vec<StreamEvent>) {
        let mut channels = self.lock();
        let Some(channel) = channels.get_mut(&key) else { return };
        if channel.told.is_some_and(|told| told >= version) {
            return;
        }
        channel.told = Some(version);
        let last = notices.iter().any(|notice| matches!(notice, StreamEvent::Deleted));
        for notice in notices {
            channel.tell(notice);
        }
        if last || channel.watchers.is_empty() {
            channels.remove(&key);
        }
    }

    /// Up to where the session's readers have been told; absent if it is not known, or nobody reads.
    pub(crate) fn told(&self, key: SessionKey) -> Option<Version> {
        self.lock().get(&key).and_then(|channel| channel.told)
    }

    /// What wakes a new follower of the session; absent if it is followed, or nobody reads.
    pub(crate) fn follow(&self, key: SessionKey) -> Option<Arc<Notify>> {
        let mut channels = self.lock();
        let channel = channels.get_mut(&key).filter(|channel| !channel.is_followed)?;
        channel.is_followed = true;
        Some(Arc::clone(&channel.wake))
    }

    /// Whether the follower that `wake` wakes is still wanted. Readers that went away are forgotten first.
    pub(crate) fn is_followed(&self, key: SessionKey, wake: &Arc<Notify>) -> bool {
        let mut channels = self.lock();
        let Some(channel) = channels.get_mut(&key).filter(|channel| Arc::ptr_eq(&channel.wake, wake)) else {
            return false;
        };
        channel.watchers.retain(|watcher| !watcher.events.is_closed());
        if channel.watchers.is_empty() {
            channels.remove(&key);
            return false;
        }
        true
    }

    /// Wakes the follower of a session, if there is one.
    pub(crate) fn wake(&self, key: SessionKey) {
        if let Some(channel) = self.lock().get(&key) {
            channel.wake.notify_one();
        }
    }

    /// Wakes every follower.
    pub(crate) fn wake_all(&self) {
        for channel in self.lock().values() {
            channel.wake.notify_one();
        }
    }

    /// Forgets readers that went away, so that a session nobody watches any more costs nothing.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|_, channel| {
            channel.watchers.retain(|watcher| !watcher.events.is_closed());
            !channel.watchers.is_empty()
        });
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    /// A reader that is too far behind is let go.
    fn tell(&mut self, event: StreamEvent) {
        let event = Arc::new(event);
        self.watchers.retain(|watcher| match watcher.events.try_send(Arc::clone(&event)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                watcher.lagged.store(true, Ordering::Release);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }
}

impl Subscription {
    pub(crate) fn show_first(&mut self, events: impl IntoIterator<Item = StreamEvent>) {
        for event in events {
            if let StreamEvent::ItemAdded { item } = &event {
                self.shown.insert(item.id);
            }
            self.first.push_back(Arc::new(event));
        }
    }

    /// The next item; `None` when the session was deleted or the server shuts down. Safe to cancel.
    pub async fn next(&mut self) -> Option<SubscriptionItem> {
        if let Some(event) = self.first.pop_front() {
            return Some(SubscriptionItem::Event(event));
        }
        loop {
            let Some(event) = self.events.recv().await else {
                let lagged = self.lagged.swap(false, Ordering::AcqRel);
                return lagged.then_some(SubscriptionItem::Lagged);
            };
            if matches!(&*event, StreamEvent::ItemAdded { item } if self.shown.remove(&item.id)) {
                continue;
            }
            if matches!(*event, StreamEvent::Deleted) {
                return None;
            }
            return Some(SubscriptionItem::Event(event));
        }
    }
}
