//! The hub: who watches which session. Publishing never waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tenure_journal::{ItemId, SessionKey};
use tenure_session::StreamEvent;
use tokio::sync::mpsc;

use crate::Share;

/// Events a reader may be behind before its stream ends: several seconds of a fast model.
const BEHIND_MAX: usize = 4_096;

/// Who watches which session.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    watchers: Mutex<HashMap<SessionKey, Vec<Watcher>>>,
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
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.entry(key).or_default().push(watcher);
        Subscription { first: VecDeque::new(), shown: HashSet::new(), events, lagged, _share: share }
    }

    /// Tells everyone who watches the session. A reader that is too far behind is let go.
    pub(crate) fn publish(&self, key: SessionKey, event: StreamEvent) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(list) = watchers.get_mut(&key) else { return };
        let last = matches!(event, StreamEvent::Deleted);
        let event = Arc::new(event);
        list.retain(|watcher| match watcher.events.try_send(Arc::clone(&event)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                watcher.lagged.store(true, Ordering::Release);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
        if list.is_empty() || last {
            watchers.remove(&key);
        }
    }

    /// Forgets readers that went away, so that a session nobody watches any more costs nothing.
    pub(crate) fn sweep(&self) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|_, list| {
            list.retain(|watcher| !watcher.events.is_closed());
            !list.is_empty()
        });
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
