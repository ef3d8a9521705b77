//! What is seen, and what of it a crash would leave.

use super::state::{State, Write};

#[derive(Debug)]
pub(super) struct Inner {
    /// What readers see.
    pub(super) seen: State,
    /// Absent when every write is durable at once.
    pub(super) disk: Option<Disk>,
    /// What leases are measured by, in milliseconds: it stands still unless [`MemoryStore::pass`] moves it.
    pub(super) clock: u64,
    /// Loads that are still to fail.
    pub(super) loads_failing: u32,
}

/// INVARIANT: `durable` after all of `unsynced`, in order, is `Inner::seen`.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) durable: State,
    pub(super) unsynced: Vec<Write>,
}

impl Inner {
    pub(super) fn write(&mut self, write: Write) {
        if let Some(disk) = &mut self.disk {
            disk.unsynced.push(write.clone());
        }
        self.seen.write(write);
    }
}
