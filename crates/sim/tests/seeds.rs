//! The histories of twenty thousand seeds keep every property; each deliberate bug breaks the one it should;
//! and the histories reach what they are meant to reach.

#![allow(clippy::unwrap_used, reason = "a test stops where its story does")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tenure_sim::{Bug, Failure, Property, run, trace};

/// Seeds of every change. More with `TENURE_SIM_SEEDS`.
const SEEDS: u64 = 20_000;
/// Seeds within which a deliberate bug is caught.
const SEEDS_PER_BUG_MAX: u64 = 4_000;
/// Seeds in which everything must happen that can.
const SEEDS_TO_REACH_ALL_MAX: u64 = 10_000;
/// Seeds that broke something once.
const REGRESSIONS: &[u64] = &[2928, 4426, 6963];

fn each(seeds: u64, test: impl Fn(u64) -> Result<(), Box<Failure>> + Sync) {
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    if let Err(failure) = test(seed) {
                        failed.lock().unwrap().get_or_insert(failure);
                    }
                }
            });
        }
    });
    if let Some(failure) = failed.into_inner().unwrap() {
        panic!("{failure}");
    }
}

#[test]
fn every_seed_keeps_every_property() {
    let seeds = std::env::var("TENURE_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let faults = AtomicU64::new(0);
    each(seeds, |seed| {
        let summary = run(seed, None)?;
        faults.fetch_add(summary.faults, Ordering::Relaxed);
        Ok(())
    });
    let faults = faults.into_inner() / seeds;
    assert!(faults >= 20, "{faults} faults a seed are too few");
}

#[test]
fn seeds_that_once_failed_hold() {
    for seed in REGRESSIONS {
        if let Err(failure) = run(*seed, None) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_gives_one_history() {
    for seed in 0..20 {
        assert_eq!(trace(seed, None), trace(seed, None));
    }
}

#[test]
fn every_bug_is_caught_by_its_property() {
    for bug in Bug::ALL {
        let breaks = |seed| run(seed, Some(*bug)).err().map(|failure| failure.violation.property);
        let mut seen = BTreeSet::new();
        let caught = (0..SEEDS_PER_BUG_MAX).filter_map(breaks).any(|property| {
            seen.insert(property);
            property == bug.breaks()
        });
        assert!(caught, "{} breaks {seen:?} and should break {}", bug.name(), bug.breaks());
    }
}

#[test]
fn every_property_has_a_bug_that_breaks_it() {
    let broken: BTreeSet<Property> = Bug::ALL.iter().map(|bug| bug.breaks()).collect();
    assert_eq!(broken, Property::ALL.iter().copied().collect());
}

#[test]
fn the_histories_reach_every_crash_point_and_every_event() {
    const MARKS: [&str; 75] = [
        ": EnvironmentOpened",
        ": EnvironmentExpired",
        ": EnvironmentSuspended",
        ": EnvironmentResumed",
        ": Forked",
        ": Rewound",
        "done: Placed",
        "done: Command",
        ": SignedIn",
        ": CredentialBound",
        ": SecretPermitted",
        "CRASH whenever",
        "CRASH before recovery",
        "CRASH before the decision",
        "CRASH before the append",
        "CRASH after the append",
        "CRASH after the sync",
        "CRASH after the acknowledgement",
        "CRASH after the publication",
        "CRASH before an effect starts",
        "is fenced and ends",
        "is killed",
        "is frozen until",
        "retires",
        "is a guest in",
        "over when asked",
        "is not begun: the lease has passed",
        " shows ",
        "CRASH together with the store",
        "is unavailable and wrote nothing",
        "is unavailable, though it wrote",
        "is lost on its way",
        ": SessionOpened",
        ": SessionUpdated",
        ": SessionDeleted",
        ": InputAccepted",
        ": InputJoined",
        ": TurnCreated",
        ": TurnStarted",
        ": TurnEnded",
        "end: Completed",
        "end: Failed",
        "end: Cancelled",
        ": ItemAdded",
        ": ItemClosed",
        ": EffectRequested",
        ": AttemptStarted",
        ": AttemptEnded",
        "outcome: Unknown, next: Settled",
        "outcome: Unknown, next: Retry",
        ": EffectAbandoned",
        ": ApprovalRequested",
        "decision: Approve",
        "decision: Deny",
        ": FunctionReturned",
        ": ContextCompacted",
        ": OutputsShortened",
        "by: Model",
        "by: Extract",
        "kind: Compact {",
        "kind: Extract {",
        "again: true",
        "done: Extracted {",
        "why: NoUser",
        "ahead: true",
        "the budget has not enough left",
        "session_budget_exceeded",
        ": SubagentOpened",
        ": SubagentClosed",
        ": SubagentResumed",
        "reports: Some(",
        "how: Interrupt, fences: []",
        "how: Interrupt, fences: [eff_",
        "how: Delete, fences: []",
        "how: Delete, fences: [eff_",
    ];
    let mut missing: BTreeSet<&str> = MARKS.into();
    for seed in 0..SEEDS_TO_REACH_ALL_MAX {
        let (lines, _) = trace(seed, None);
        missing.retain(|mark| !lines.iter().any(|line| line.contains(mark)));
        if missing.is_empty() {
            return;
        }
    }
    panic!("no history reaches {missing:?}");
}

#[test]
fn the_manual_lists_every_property_and_its_bug() {
    let manual = include_str!("../../../docs/testing.md");
    for bug in Bug::ALL {
        let property = bug.breaks();
        let row = format!("| `{property}` | {} | `{}` |", property.proves(), bug.name());
        assert!(manual.contains(&row), "docs/testing.md lacks the row\n{row}");
    }
}
