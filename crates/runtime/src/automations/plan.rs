//! Which occurrence is made when an automation is found due, and when the next one is. Pure.

use tenure_journal::{AutomationId, Schedule, Timestamp};
use tenure_schedule::Periodic;

use super::{AutomationRefusal, BACKOFF_FIRST_MS, BACKOFF_MS_MAX, LATE_MS_MAX, ON_TIME_MS, SPREAD_MS};

/// What follows from an automation that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The occurrence to make, if one is to be made.
    pub(super) occurrence: Option<Timestamp>,
    /// The next one.
    pub(super) next: Option<Timestamp>,
}

/// The schedule `expression` in `timezone`.
pub(super) fn periodic(expression: &str, timezone: &str) -> Result<Periodic, AutomationRefusal> {
    let cron = expression.parse().map_err(AutomationRefusal::Expression)?;
    let zone = timezone.parse().map_err(AutomationRefusal::Timezone)?;
    Ok(Periodic::new(cron, zone))
}

/// The first occurrence after `now`; a single one in the past is refused.
pub(super) fn first(schedule: &Schedule, now: Timestamp) -> Result<Option<Timestamp>, AutomationRefusal> {
    match schedule {
        Schedule::Periodic { expression, timezone } => Ok(periodic(expression, timezone)?.next_after(now)),
        Schedule::Once { run_at } if *run_at <= now => Err(AutomationRefusal::RunAtPast),
        Schedule::Once { run_at } => Ok(Some(*run_at)),
    }
}

/// What follows at `now`, once `planned` has come.
pub(super) fn due(schedule: &Schedule, planned: Timestamp, now: Timestamp) -> Result<Due, AutomationRefusal> {
    match schedule {
        Schedule::Once { .. } => Ok(Due { occurrence: Some(planned), next: None }),
        Schedule::Periodic { expression, timezone } => {
            let periodic = periodic(expression, timezone)?;
            let oldest = now.minus_millis(LATE_MS_MAX);
            // An occurrence exactly at the limit still counts, hence one millisecond before it.
            let after = planned.max(oldest).minus_millis(1);
            let occurrence = periodic.latest_within(after, now);
            Ok(Due { occurrence, next: periodic.next_after(now) })
        }
    }
}

/// When an occurrence that is made at `now` is delivered: at once, or at the automation's own place within the
/// time that late deliveries are spread over.
pub(super) fn deliver_at(automation: AutomationId, occurrence: Timestamp, now: Timestamp) -> Timestamp {
    if occurrence.millis_until(now) <= ON_TIME_MS {
        return now;
    }
    let digest = blake3::hash(automation.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    now.plus_millis(u64::from_be_bytes(bytes) % SPREAD_MS)
}

/// The pause after an attempt that failed.
pub(super) fn backoff_ms(attempts: u32) -> u64 {
    BACKOFF_FIRST_MS.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(BACKOFF_MS_MAX)
}

#[cfg(test)]
mod tests {
    use tenure_journal::{EffectId, Fresh};

    use super::*;

    const MINUTE: u64 = 60_000;
    /// 2026-09-21 at 14:00 UTC.
    const T: Timestamp = Timestamp::from_millis(1_789_999_200_000);

    fn cron(expression: &str) -> Schedule {
        Schedule::Periodic { expression: expression.into(), timezone: "UTC".into() }
    }

    #[track_caller]
    fn check(schedule: &Schedule, late_ms: u64, occurrence: Option<i64>, next: Option<i64>) {
        let minutes = |at: Timestamp| (at.as_millis() - T.as_millis()) / 60_000;
        let due = due(schedule, T, T.plus_millis(late_ms)).expect("a good schedule");
        assert_eq!((due.occurrence.map(minutes), due.next.map(minutes)), (occurrence, next));
    }

    #[test]
    fn the_latest_missed_occurrence_is_made_and_no_other() {
        let (hourly, daily) = (cron("0 * * * *"), cron("0 14 * * *"));
        check(&hourly, 0, Some(0), Some(60));
        check(&hourly, 59 * MINUTE, Some(0), Some(60));
        check(&hourly, 60 * MINUTE, Some(60), Some(120));
        check(&hourly, 61 * MINUTE, Some(60), Some(120));
        check(&hourly, 1_000 * 60 * MINUTE + 7, Some(60_000), Some(60_060));
        check(&daily, 60 * MINUTE, Some(0), Some(24 * 60));
        check(&daily, 60 * MINUTE + 1, None, Some(24 * 60));
        check(&cron("* * * * *"), 365 * 24 * 60 * MINUTE, Some(365 * 24 * 60), Some(365 * 24 * 60 + 1));
    }

    #[test]
    fn a_single_occurrence_is_made_however_late() {
        check(&Schedule::Once { run_at: T }, 1_000_000 * MINUTE, Some(0), None);
    }

    #[test]
    fn late_deliveries_are_spread_and_punctual_ones_are_not() {
        let id = |seed| AutomationId::of_effect(EffectId::fresh(&Fresh::new(T, seed)));
        assert_eq!(deliver_at(id(1), T, T.plus_millis(ON_TIME_MS)), T.plus_millis(ON_TIME_MS));
        let now = T.plus_millis(30 * MINUTE);
        let mut quarters = [0; 4];
        for seed in 0..1_000 {
            let after = now.millis_until(deliver_at(id(seed), T, now));
            assert!(after < SPREAD_MS);
            assert_eq!(deliver_at(id(seed), T, now), deliver_at(id(seed), T, now));
            quarters[usize::try_from(after * 4 / SPREAD_MS).expect("small")] += 1;
        }
        assert!(quarters.iter().all(|count| (150..350).contains(count)), "{quarters:?}");
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<u64> = (1..=8).map(|attempts| backoff_ms(attempts) / 1_000).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff_ms(u32::MAX), BACKOFF_MS_MAX);
    }

    #[test]
    fn a_first_occurrence_lies_in_the_future() {
        assert_eq!(first(&Schedule::Once { run_at: T }, T), Err(AutomationRefusal::RunAtPast));
        let later = T.plus_millis(1);
        assert_eq!(first(&Schedule::Once { run_at: later }, T), Ok(Some(later)));
        assert_eq!(first(&cron("0 * * * *"), T), Ok(Some(T.plus_millis(60 * MINUTE))));
    }
}
