//! Why a call failed, as far as the caller can do something about it.

use std::time::Duration;

use crate::message::{Failure, MessageError};
use crate::registry::EnvironmentId;

/// A call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// What the caller can do.
    pub kind: CallErrorKind,
    /// For a person.
    pub message: String,
}

/// What the caller of a failed call can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// Nobody is connected. Nothing was asked; try when someone is.
    Disconnected,
    /// The connection broke before the answer. It may have been done, or not.
    Interrupted,
    /// There was no answer in time. It may have been done, or not.
    TimedOut,
    /// The executor said no, with a code of [`crate::message`].
    Refused {
        /// The code.
        code: i64,
    },
    /// The process went away with its session.
    Lost,
    /// The executor's answer is not one. It has a fault, or speaks another version.
    Protocol,
}

impl CallErrorKind {
    /// Whether the executor may have done what was asked although the call failed.
    pub fn outcome_is_unknown(self) -> bool {
        match self {
            Self::Interrupted | Self::TimedOut => true,
            Self::Disconnected | Self::Refused { .. } | Self::Lost | Self::Protocol => false,
        }
    }
}

impl CallError {
    pub(super) fn new(kind: CallErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn disconnected(environment_id: &EnvironmentId) -> Self {
        let message = format!("no executor is connected to environment `{environment_id}`");
        Self::new(CallErrorKind::Disconnected, message)
    }

    pub(super) fn interrupted() -> Self {
        Self::new(CallErrorKind::Interrupted, "the connection to the executor broke before it answered")
    }

    pub(super) fn timed_out(method: &str, limit: Duration) -> Self {
        let message = format!("the executor did not answer `{method}` within {} s", limit.as_secs());
        Self::new(CallErrorKind::TimedOut, message)
    }

    pub(super) fn refused(failure: Failure) -> Self {
        Self::new(CallErrorKind::Refused { code: failure.code }, failure.message)
    }

    pub(super) fn protocol(error: &MessageError) -> Self {
        Self::new(CallErrorKind::Protocol, error.to_string())
    }
}
