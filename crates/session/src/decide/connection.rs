//! Executors that come and go, and clients that wait for them.

use tenure_journal::{Event, Timestamp};

use super::Draft;
use crate::Refusal;

impl Draft<'_> {
    /// Records that the executor is there, unless that is known. What waited for it goes on.
    pub(super) fn executor_connected(&mut self) {
        if self.state.connects().is_some() && !self.state.is_connected() {
            self.push(Event::EnvironmentConnected);
            self.find_skills();
        }
    }

    /// Records that the executor is gone. A command that it runs has its own end.
    pub(super) fn executor_gone(&mut self) {
        if self.state.is_connected() {
            self.push(Event::EnvironmentDisconnected);
        }
    }

    /// Records that a client waits with a message, if it has to.
    pub(super) fn await_connection(&mut self, until: Timestamp) -> Result<(), Refusal> {
        if self.state.failed.is_some() {
            return Err(Refusal::Failed);
        }
        if self.state.needs_connection() && self.state.connection_awaited_until() < Some(until) {
            self.push(Event::ConnectionAwaited { until });
        }
        Ok(())
    }

    /// Records that nobody waits any more once `time` is over, or at once.
    pub(super) fn lapse_connection(&mut self, at: Option<Timestamp>) {
        let awaited = self.state.connection_awaited_until();
        if awaited.is_some_and(|until| at.is_none_or(|now| until <= now)) {
            self.push(Event::ConnectionLapsed);
        }
    }
}
