//! Why an automation cannot be had or changed.

use tenure_schedule::{CronError, ZoneError};
use tenure_store::StoreError;

/// A request about automations that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AutomationError {
    /// No such automation in the project.
    #[error("there is no such automation")]
    NotFound,
    /// The automation does not do that.
    #[error(transparent)]
    Refused(#[from] AutomationRefusal),
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored automation or invocation does not decode.
    #[error("a stored automation cannot be read")]
    Damaged(#[source] serde_json::Error),
}

/// Why an automation does not do what it is asked. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AutomationRefusal {
    /// The expression is none.
    #[error("the cron expression cannot be read: {0}")]
    Expression(CronError),
    /// The time zone is none.
    #[error("{0}")]
    Timezone(ZoneError),
    /// An expression or a time zone for an automation that runs once.
    #[error("an automation that runs once has no expression and no time zone")]
    NotPeriodic,
    /// A moment for a periodic automation.
    #[error("a periodic automation has no `run_at`")]
    NotOnce,
    /// The moment is not in the future.
    #[error("`run_at` must lie in the future")]
    RunAtPast,
    /// The moment cannot be changed any more.
    #[error("`run_at` cannot be changed: its invocation exists already")]
    RunAtFixed,
    /// The automation has run.
    #[error("the automation is completed; it cannot be paused or resumed")]
    Completed,
    /// Another type of target.
    #[error("the type of an automation's target cannot be changed")]
    TargetType,
    /// Another session, for an automation that an agent made for its own.
    #[error("an automation made by an agent keeps its session")]
    TargetSession,
    /// The target is too large.
    #[error("the target is larger than {most} bytes; save the agent and name it by its id")]
    TargetTooLarge {
        /// Bytes it may have.
        most: usize,
    },
    /// Too many automations reach the session.
    #[error("{most} automations reach this session already; delete one first")]
    TooMany {
        /// How many may.
        most: usize,
    },
    /// Too many manual runs wait.
    #[error("{most} runs of this automation are queued already; wait until some are delivered")]
    TooManyQueued {
        /// How many may wait.
        most: usize,
    },
}
