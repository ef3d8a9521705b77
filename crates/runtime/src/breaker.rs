//! Whether an account of a provider is well: a circuit breaker, with the time as an argument.
//!
//! What counts against an account is what says something about it: that it cannot be reached, does not answer, or
//! refuses the key. A request that was refused for what is in it says that the account is there.

use std::time::Duration;

use tenure_journal::FailureKind;
use tokio::time::Instant;

/// Failures in a row until an account is left alone.
const FAILURES_MAX: u32 = 3;
/// How long it is left alone before one call tries it again.
const OPEN_FOR: Duration = Duration::from_secs(30);
/// How long that call may take before another one tries. It is no deadline, only patience with silence.
const PROBE_FOR: Duration = Duration::from_secs(30);

/// ```text
///           failures in a row             its time is over       a call begins
///   Closed ───────────────────▶ Open ───────────────────────▶ (may be tried) ──▶ Probing
///     ▲                           ▲                                                 │
///     │                           └───────────────── fails ─────────────────────────┤
///     └────────────────────────────────────────── succeeds ─────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) enum Breaker {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing { until: Instant },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Whether a decision at `now` may choose the account without need.
    pub(crate) fn is_well(&self, now: Instant) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { until } | Self::Probing { until } => *until <= now,
        }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        match self {
            Self::Open { until } | Self::Probing { until } if *until <= now => {
                *self = Self::Probing { until: now + PROBE_FOR };
            }
            Self::Closed { .. } | Self::Open { .. } | Self::Probing { .. } => {}
        }
    }

    /// A call ended: with an answer, or with a failure of this kind. Returns whether the account is left alone from
    /// now on.
    pub(crate) fn end(&mut self, failed: Option<FailureKind>, now: Instant) -> bool {
        let was_well = self.is_well(now);
        let open = Self::Open { until: now + OPEN_FOR };
        *self = match (*self, failed.is_some_and(counts)) {
            (_, false) => Self::default(),
            (Self::Closed { failures }, true) if failures + 1 < FAILURES_MAX => {
                Self::Closed { failures: failures + 1 }
            }
            (Self::Closed { .. } | Self::Probing { .. }, true) => open,
            // A call that began before it was opened says nothing new.
            (Self::Open { until }, true) => Self::Open { until },
        };
        was_well && !self.is_well(now)
    }
}

/// Whether a failure says that the account is unwell.
fn counts(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Authentication
        | FailureKind::CreditExhausted
        | FailureKind::Overloaded
        | FailureKind::ServerError
        | FailureKind::ConnectionFailed
        | FailureKind::Timeout
        | FailureKind::Protocol => true,
        FailureKind::NotFound
        | FailureKind::SignInRequired
        | FailureKind::FilesLost
        | FailureKind::ContextTooLong
        | FailureKind::InvalidRequest
        | FailureKind::RateLimited
        | FailureKind::MaxOutputTokens
        | FailureKind::ContentPolicy
        | FailureKind::ToolNotFound
        | FailureKind::Internal
        | FailureKind::Crashed
        | FailureKind::NotBegun => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: Option<FailureKind> = Some(FailureKind::ConnectionFailed);

    #[test]
    fn opens_after_failures_in_a_row_and_is_probed_by_one_call() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::default();
        for failed in
            [BROKEN, BROKEN, None, BROKEN, BROKEN, Some(FailureKind::InvalidRequest), BROKEN, BROKEN]
        {
            breaker.end(failed, at(0));
            assert!(breaker.is_well(at(0)), "{breaker:?}");
        }
        breaker.end(BROKEN, at(0));
        assert!(!breaker.is_well(at(0)) && !breaker.is_well(at(29)) && breaker.is_well(at(30)));
        breaker.begin(at(10));
        assert!(breaker.is_well(at(30)), "who was desperate enough to try it earlier is no probe");
        breaker.begin(at(30));
        assert!(!breaker.is_well(at(31)), "one call probes");
        assert!(breaker.is_well(at(60)), "a probe that never ends is replaced");
        breaker.end(BROKEN, at(31));
        assert!(!breaker.is_well(at(60)) && breaker.is_well(at(61)));
        breaker.begin(at(61));
        breaker.end(None, at(62));
        breaker.end(BROKEN, at(62));
        assert!(breaker.is_well(at(62)), "it is closed, and one failure is not three");
    }
}
