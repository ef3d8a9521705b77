//! Messages for a session whose executor is not connected: their client waits before they are accepted.
//!
//! ```text
//!   message ──▶ needs the executor?  no: accepted
//!           ──▶ the journal says until when a client waits: `requires_action`
//!           ──▶ the executor connects ──▶ accepted, and a turn begins
//!               the time is over, or someone cancels ──▶ refused
//! ```
//!
//! What happens if the process dies: while the client waits, its message was never accepted and nobody told it
//! otherwise; that a client waits stands in the journal and lapses by itself. Afterwards the message is in the
//! journal and waits there, however long, should the executor be gone again.

use std::time::Duration;

use tenure_journal::SessionKey;
use tenure_session::{Command, Refusal, SessionView};

use crate::{ReceiptDraft, Runtime, RuntimeError, RuntimeErrorKind};

/// The first pause between two looks at whether the executor is there.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// The longest such pause.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(500);

impl Runtime {
    /// As [`Runtime::submit`]; a batch with a message waits first until the session's executor is connected, if
    /// the message would begin a turn in a self-hosted environment. Nothing is accepted before. Safe to cancel.
    ///
    /// # Errors
    /// As [`Runtime::submit`]; `Refused` with `NotConnected` when no executor came in time or a cancellation
    /// ended the wait.
    pub async fn submit_when_connected(
        &self,
        key: SessionKey,
        commands: Vec<Command>,
        receipt: Option<ReceiptDraft>,
    ) -> Result<std::sync::Arc<SessionView>, RuntimeError> {
        if commands.iter().any(|command| matches!(command, Command::Message { .. })) {
            self.connected(key).await?;
        }
        self.submit(key, commands, receipt).await
    }

    /// Waits until a message would not have to wait.
    async fn connected(&self, key: SessionKey) -> Result<(), RuntimeError> {
        if !self.needs_connection(key).await? {
            return Ok(());
        }
        let _waiting = self.shared().waiting(key.project)?;
        let wait = self.shared().environments.config.connection_wait;
        let until = self.now().plus_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.submit(key, vec![Command::AwaitConnection { until }], None).await?;
        let mut pause = LOOK_PAUSE;
        loop {
            let Some(state) = self.session_state(key).await? else {
                return Err(RuntimeErrorKind::NotFound.into());
            };
            if !state.needs_connection() {
                return Ok(());
            }
            // That nobody waits any more was recorded: the time is over, or someone cancelled.
            if state.connection_awaited_until().is_none() || self.now() >= until {
                return Err(RuntimeErrorKind::Refused(Refusal::NotConnected).into());
            }
            tokio::select! {
                () = self.shared().closing.cancelled() => return Err(RuntimeErrorKind::ShuttingDown.into()),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LOOK_PAUSE_MAX),
            }
        }
    }

    async fn needs_connection(&self, key: SessionKey) -> Result<bool, RuntimeError> {
        Ok(self.session_state(key).await?.is_some_and(|state| state.needs_connection()))
    }
}
