//! Who in this process may be between keeping a payload and referring to it, or between asking whether a session may
//! begin and beginning it.
//!
//! A collection is safe because what is kept is referred to within a grace; see `tenure_store`. An erasure cannot wait
//! an hour where it need not: in a process that has its store to itself, everybody who keeps payloads is here, and
//! says so. Once all who had begun have ended, whatever was kept before is referred to or is nobody's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Those who may keep payloads.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Numbers of those who have begun and not ended.
    running: BTreeSet<u64>,
    next: u64,
}

/// Somebody who may keep payloads, until it is dropped: hold it until what was kept is referred to.
#[derive(Debug)]
pub struct Kept {
    of: Arc<Keeping>,
    number: u64,
}

impl Keeping {
    /// Somebody begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Kept {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.running.insert(number);
        Kept { of: Arc::clone(self), number }
    }

    /// Waits until everybody has ended who had begun before. Whoever begins meanwhile is not waited for.
    pub(crate) async fn settled(&self) {
        let until = self.lock().next;
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Before the look, so that no end in between is missed.
            ended.as_mut().enable();
            if self.lock().running.first().is_none_or(|first| *first >= until) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.of.lock().running.remove(&self.number);
        self.of.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn those_who_began_before_are_waited_for_and_no_others() {
        let keeping = Arc::new(Keeping::default());
        assert!(keeping.settled().now_or_never().is_some(), "nobody is there");
        let (one, two) = (keeping.begin(), keeping.begin());
        let mut settled = Box::pin(keeping.settled());
        assert!(settled.as_mut().now_or_never().is_none(), "two are there");
        let three = keeping.begin();
        drop(two);
        assert!(settled.as_mut().now_or_never().is_none(), "one is there");
        drop(one);
        assert!(settled.as_mut().now_or_never().is_some(), "the third began later");
        drop(three);
    }
}
