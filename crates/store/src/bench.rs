//! Sessions that append one event after the other, as the benchmarks of every store have them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tenure_journal::{
    AgentId, Event, Fresh, Head, Input, InputId, InputPart, Labels, ProjectId, SessionId, SessionKey,
    SessionStatus, Timestamp, Version,
};

use crate::{Append, Store, StoreError};

/// How many sessions are busy at once, for each row.
pub const BUSY_SESSIONS: [usize; 3] = [1, 8, 64];
/// Bytes of one event's text, so that it is stored as about 1 KiB.
const TEXT_BYTES: usize = 940;

/// How often something was done, and how long that took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// How often.
    pub count: u64,
    /// How long, altogether.
    pub time: Duration,
}

impl Rate {
    /// How often in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }
}

/// A session whose next event has 1 KiB.
#[derive(Debug)]
pub struct Session {
    head: Head,
    version: Version,
    event: Event,
}

impl Session {
    /// One that nothing was appended to. The same index is the same session.
    #[must_use]
    pub fn new(index: usize) -> Self {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let project = ProjectId::fresh(&Fresh::new(now, 1));
        let session = SessionId::fresh(&Fresh::new(now.plus_millis(index as u64), 2));
        let content = vec![InputPart::text("x".repeat(TEXT_BYTES))];
        let id = InputId::fresh(&Fresh::new(now, 3));
        Self {
            head: Head {
                status: SessionStatus::InProgress,
                agent_name: Some("bench".to_owned()),
                ..Head::idle(SessionKey { project, session }, AgentId::fresh(&Fresh::new(now, 4)), now)
            },
            version: Version::ZERO,
            event: Event::InputAccepted {
                input: Input { id, content, labels: Labels::NEUTRAL, by_agent: false },
            },
        }
    }

    /// The session.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        self.head.key
    }

    /// The append of its next event.
    #[must_use]
    pub fn next(&self) -> Append {
        Append::of(self.version, self.head.created_at, vec![self.event.clone()], self.head.clone())
    }

    /// Appends its next event.
    ///
    /// # Errors
    /// The store's.
    pub async fn append(&mut self, store: &impl Store) -> Result<(), StoreError> {
        self.version = store.append(self.next()).await?;
        Ok(())
    }

    /// Appends one event after the other, and says how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn append_until(
        mut self,
        store: Arc<impl Store>,
        until: Instant,
    ) -> Result<(Self, u64), StoreError> {
        let mut appended = 0;
        while Instant::now() < until {
            self.append(&*store).await?;
            appended += 1;
        }
        Ok((self, appended))
    }
}
