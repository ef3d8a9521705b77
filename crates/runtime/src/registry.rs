//! The registry: which sessions have an actor. An actor leaves when it has nothing to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenure_journal::SessionKey;
use tokio::sync::mpsc;

use crate::actor::Mail;
use crate::load::Quota;
use crate::{Full, Share};

/// Mails that may wait for one actor; senders beyond that wait their turn.
const MAILBOX_MAX: usize = 64;

/// Which sessions have an actor.
#[derive(Debug)]
pub(crate) struct Registry {
    quota: Arc<Quota>,
    actors: Mutex<HashMap<SessionKey, Entry>>,
}

#[derive(Debug)]
struct Entry {
    mailbox: mpsc::Sender<Mail>,
    /// Whether the actor appends as the session's holder and so tells its readers.
    is_holding: bool,
    /// Its part of the sessions that may be active.
    _share: Share,
}

/// Whether the limit on active sessions stands in the way of one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It does: something new begins.
    Bounded,
    /// It does not: what was let in before goes on.
    Always,
}

impl Registry {
    pub(crate) fn new(quota: Arc<Quota>) -> Self {
        Self { quota, actors: Mutex::default() }
    }

    /// The mailbox of a session's actor, and what to start one with if there is none.
    ///
    /// # Errors
    /// The limit that one more actor would exceed.
    pub(crate) fn mailbox(
        &self,
        key: SessionKey,
        admission: Admission,
    ) -> Result<(mpsc::Sender<Mail>, Option<mpsc::Receiver<Mail>>), Full> {
        let mut actors = self.lock();
        if let Some(entry) = actors.get(&key).filter(|entry| !entry.mailbox.is_closed()) {
            return Ok((entry.mailbox.clone(), None));
        }
        // One that has ended makes room for its successor.
        actors.remove(&key);
        let share = match admission {
            Admission::Bounded => self.quota.take(key.project, 1)?,
            Admission::Always => self.quota.take_anyway(key.project, 1),
        };
        let (sender, receiver) = mpsc::channel(MAILBOX_MAX);
        actors.insert(key, Entry { mailbox: sender.clone(), is_holding: false, _share: share });
        Ok((sender, Some(receiver)))
    }

    /// Leaves the registry, unless someone holds the mailbox or has put something into it.
    pub(crate) fn leave(&self, key: SessionKey, mailbox: &mpsc::Receiver<Mail>) -> bool {
        let mut actors = self.lock();
        // Mailboxes are cloned only under this lock, so with one holder, the registry, nobody can write.
        if mailbox.sender_strong_count() > 1 || !mailbox.is_empty() {
            return false;
        }
        actors.remove(&key);
        true
    }

    /// Removes an actor that ended without leaving.
    pub(crate) fn remove_closed(&self, key: SessionKey) {
        let mut actors = self.lock();
        if actors.get(&key).is_some_and(|entry| entry.mailbox.is_closed()) {
            actors.remove(&key);
        }
    }

    /// Puts a mail into the mailbox of the session's actor, if it has one with room.
    pub(crate) fn tell(&self, key: SessionKey, mail: Mail) -> bool {
        let actors = self.lock();
        actors.get(&key).is_some_and(|entry| entry.mailbox.try_send(mail).is_ok())
    }

    /// Whether a session has an actor.
    pub(crate) fn has(&self, key: SessionKey) -> bool {
        self.lock().contains_key(&key)
    }

    /// Sessions whose actor appends as holder.
    pub(crate) fn holding(&self) -> Vec<SessionKey> {
        self.lock().iter().filter(|(_, entry)| entry.is_holding).map(|(key, _)| *key).collect()
    }

    pub(crate) fn is_holding(&self, key: SessionKey) -> bool {
        self.lock().get(&key).is_some_and(|entry| entry.is_holding)
    }

    pub(crate) fn set_holding(&self, key: SessionKey, is_holding: bool) {
        if let Some(entry) = self.lock().get_mut(&key) {
            entry.is_holding = is_holding;
        }
    }

    /// For how many more due sessions there is room. A quarter of the limit is left to what clients begin.
    pub(crate) fn room(&self) -> usize {
        let max = self.quota.bound().max;
        let resumed_max = usize::try_from((max - max / 4).max(1)).unwrap_or(usize::MAX);
        resumed_max.saturating_sub(self.len())
    }

    /// How many sessions have an actor.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Entry>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
