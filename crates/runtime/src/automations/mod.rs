//! Automations: schedules that open sessions, or wake one, exactly once for each occurrence.
//!
//! Everything is in documents. An automation's document wakes at its next occurrence, an invocation's while
//! it is to be delivered; whichever node looks first does what is due, and whatever it had not written when
//! it died is still due.
//!
//! ```text
//!   automation due ──▶ one transaction: the automation's next occurrence
//!                                     + the invocation, its id made from automation and occurrence
//!   invocation due ──▶ claim: one more attempt, due again if this node dies
//!                  ──▶ open or submit, with a receipt under the invocation's id
//!                  ──▶ one transaction: the outcome, and what it means for the automation
//! ```
//!
//! Why each happens once: two nodes that find the same automation due write the same version of it, so one of
//! them meets a conflict. Two that deliver the same invocation use the same receipt, so one of them is told
//! that it exists. And a delivery that is given up takes that receipt itself, so that nothing that is still
//! under way can deliver it afterwards.
//!
//! **What was missed.** Occurrences are not backfilled. A periodic automation that is found due late, because
//! no node was up, makes its latest missed occurrence if that is at most [`LATE_MS_MAX`] ago, and no earlier
//! one. One that runs once runs however late it is. Late deliveries are spread over [`SPREAD_MS`], each
//! automation at a place of its own.

mod change;
mod deliver;
mod documents;
mod error;
mod occur;
mod plan;
mod scheduler;
#[cfg(test)]
mod sim;
mod tool;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tenure_journal::AgentConfig;

use crate::Runtime;
use world::Live;

pub use change::{Automations, Change, NewAutomation};
pub use documents::{Saved, SavedAutomation, SavedInvocation};
pub use error::{AutomationError, AutomationRefusal};
pub(crate) use tool::Call;

/// Says why a session cannot run an agent, if it cannot.
pub type AgentCheck = Arc<dyn Fn(&AgentConfig) -> Result<(), String> + Send + Sync>;

/// How late a missed periodic occurrence may still be made: an hour. What is later is no longer what was
/// asked for.
const LATE_MS_MAX: u64 = 60 * 60 * 1000;
/// How late an occurrence may be and still count as on time: a busy moment, not a time without a server.
const ON_TIME_MS: u64 = 15 * 1000;
/// Over how long late deliveries are spread, so that a start after a night does not meet all of them at once.
const SPREAD_MS: u64 = 60 * 1000;
/// How long one attempt has before others may try: the time a dead node costs.
const CLAIM_MS: u64 = 30 * 1000;
/// Attempts at one delivery, those cut off included. With the pauses between them, a quarter of an hour.
const ATTEMPTS_MAX: u32 = 16;
/// The first pause between two attempts; each further one is twice as long.
const BACKOFF_FIRST_MS: u64 = 1_000;
/// The longest pause between two attempts.
const BACKOFF_MS_MAX: u64 = 60 * 1000;
/// Deliveries one node makes at the same time; further ones wait.
const DELIVERIES_AT_ONCE: usize = 16;
/// Documents of one look at what is due.
const DUE_MAX: usize = 256;
/// How often a node looks without being told to: what other nodes wrote may be due then.
const POLL_MS: u64 = 5 * 1000;
/// How long a node waits after durable state failed it.
const TROUBLE: Duration = Duration::from_secs(1);
/// Times a change is made again because someone else wrote first.
const CONFLICTS_MAX: u32 = 8;
/// Automations that reach one session; an agent that schedules more of them is looping.
const PER_SESSION_MAX: usize = 32;
/// Manual runs of one automation that may be queued.
const QUEUED_MAX: usize = 16;
/// Bytes of a target as JSON: it is written with every version of its automation.
const TARGET_BYTES_MAX: usize = 256 * 1024;

const _: () = assert!(POLL_MS < ON_TIME_MS, "a server that is up is never late for having slept");
const _: () = assert!(ON_TIME_MS + SPREAD_MS < LATE_MS_MAX, "what is spread is still wanted");
const _: () = assert!(BACKOFF_FIRST_MS < BACKOFF_MS_MAX, "pauses grow");

impl Runtime {
    /// The automations of all projects.
    #[must_use]
    pub fn automations(&self) -> Automations {
        Automations { world: Arc::new(Live { runtime: self.clone(), check: None }) }
    }

    /// Carries out automations from now on, until the runtime is shut down. `check` is asked about the agent
    /// of every session that is to be opened. Called once, by each node that is to carry them out.
    pub fn run_automations(&self, check: AgentCheck) {
        let world = Arc::new(Live { runtime: self.clone(), check: Some(check) });
        let (wake, closing) = (Arc::clone(&self.shared.automations), self.shared.closing.clone());
        let unreadable = Arc::clone(&self.shared.unreadable);
        self.shared.tasks.spawn(scheduler::run(world, unreadable, wake, closing));
    }

    fn wake_automations(&self) {
        self.shared.automations.notify_one();
    }
}
