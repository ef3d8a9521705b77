//! Executors of self-hosted environments: each dials whichever process serves, loses its connection after a
//! while, and dials again. A process that dies takes its connections along, and whoever is next finds that out.

use std::collections::BTreeMap;

use tenure_journal::SessionKey;

use crate::shell::Message;
use crate::world::{Happening, Stop, World};

/// The longest pause before an executor dials again, in milliseconds.
const PAUSE_MS_MAX: u64 = 30_000;
/// How long a connection holds at most, in milliseconds.
const CONNECTED_MS_MAX: u64 = 90_000;

/// The process that each executor is connected to.
pub(crate) type Executors = BTreeMap<SessionKey, u64>;

impl World {
    /// A session with a self-hosted environment is going to be opened: its executor starts some time.
    pub(crate) fn start_executor(&mut self, key: SessionKey) {
        let pause = self.rng.u64(1..PAUSE_MS_MAX);
        self.after(pause, Happening::Dial { key });
    }

    /// An executor connects to a process.
    pub(crate) fn dial(&mut self, key: SessionKey) -> Result<(), Stop> {
        let Some(process) = self.serving() else {
            self.dial_again(key);
            return Ok(());
        };
        self.note(|| format!("the executor of {} connects to process {process}", key.session));
        self.executors.insert(key, process);
        // In the end every executor is gone, so that the world can come to rest.
        let holds = self.rng.u64(1..CONNECTED_MS_MAX);
        self.after(holds, Happening::HangUp { key, process });
        self.tell_of_executor(process, key)
    }

    /// A connection breaks.
    pub(crate) fn hang_up(&mut self, key: SessionKey, process: u64) -> Result<(), Stop> {
        if self.executors.get(&key) != Some(&process) {
            return Ok(());
        }
        self.note(|| format!("the executor of {} loses process {process}", key.session));
        self.executors.remove(&key);
        self.dial_again(key);
        self.tell_of_executor(process, key)
    }

    /// Whether the session's executor is connected to this process.
    pub(crate) fn has_executor(&self, process: u64, key: SessionKey) -> bool {
        self.executors.get(&key) == Some(&process)
    }

    /// Another node holds the session: its executor has to look for that one.
    pub(crate) fn turn_away(&mut self, process: u64, key: SessionKey) {
        if self.has_executor(process, key) {
            self.note(|| format!("process {process} turns the executor of {} away", key.session));
            self.executors.remove(&key);
            self.dial_again(key);
        }
    }

    fn tell_of_executor(&mut self, process: u64, key: SessionKey) -> Result<(), Stop> {
        self.expect_holding(process, key);
        self.deliver(process, key, Message::Executor)
    }

    fn dial_again(&mut self, key: SessionKey) {
        if self.healed {
            return;
        }
        let pause = self.rng.u64(1_000..PAUSE_MS_MAX);
        self.after(pause, Happening::Dial { key });
    }
}
