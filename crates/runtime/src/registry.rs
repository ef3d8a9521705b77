//! The registry: which sessions have an actor. An actor leaves when it has nothing to do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tenure_journal::SessionKey;
use tokio::sync::mpsc;

use crate::actor::Mail;

/// Mails that may wait for one actor; senders beyond that wait their turn.
const MAILBOX_MAX: usize = 64;

/// Which sessions have an actor.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    actors: Mutex<HashMap<SessionKey, mpsc::Sender<Mail>>>,
}

impl Registry {
    /// The mailbox of a session's actor, and what to start one with if there is none.
    ///
    /// `None` when there are `actors_max` already and this would be one more.
    pub(crate) fn mailbox(
        &self,
        key: SessionKey,
        actors_max: usize,
    ) -> Option<(mpsc::Sender<Mail>, Option<mpsc::Receiver<Mail>>)> {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mailbox) = actors.get(&key).filter(|mailbox| !mailbox.is_closed()) {
            return Some((mailbox.clone(), None));
        }
        if actors.len() >= actors_max {
            return None;
        }
        let (sender, receiver) = mpsc::channel(MAILBOX_MAX);
        actors.insert(key, sender.clone());
        Some((sender, Some(receiver)))
    }

    /// Leaves the registry, unless someone holds the mailbox or has put something into it.
    pub(crate) fn leave(&self, key: SessionKey, mailbox: &mpsc::Receiver<Mail>) -> bool {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        // Mailboxes are cloned only under this lock, so with one holder, the registry, nobody can write.
        if mailbox.sender_strong_count() > 1 || !mailbox.is_empty() {
            return false;
        }
        actors.remove(&key);
        true
    }

    /// Removes an actor that ended without leaving.
    pub(crate) fn remove_closed(&self, key: SessionKey) {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if actors.get(&key).is_some_and(mpsc::Sender::is_closed) {
            actors.remove(&key);
        }
    }

    /// How many sessions have an actor.
    pub(crate) fn len(&self) -> usize {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
