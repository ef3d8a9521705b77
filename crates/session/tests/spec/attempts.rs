//! Attempts: every kind of failure, pauses, interruptions, and outcomes that come late.

use tenure_journal::{Failure, FailureKind, limit};
use tenure_session::Attempted;

use crate::bench::{Bench, call, failure, say, server, shop, whole};

const KINDS: [FailureKind; 15] = [
    FailureKind::Authentication,
    FailureKind::NotFound,
    FailureKind::ContextTooLong,
    FailureKind::InvalidRequest,
    FailureKind::RateLimited,
    FailureKind::CreditExhausted,
    FailureKind::Overloaded,
    FailureKind::ServerError,
    FailureKind::ConnectionFailed,
    FailureKind::Timeout,
    FailureKind::MaxOutputTokens,
    FailureKind::ContentPolicy,
    FailureKind::ToolNotFound,
    FailureKind::Protocol,
    FailureKind::Internal,
];

/// How often a call is tried that fails in one way again and again, and how it ends.
#[test]
fn every_kind_of_failure_of_a_model_is_tried_again_or_ends_the_turn() {
    let mut table = Bench::quiet();
    for kind in KINDS {
        let mut b = Bench::new(vec![], "Hi");
        let mut tries = 0;
        while !b.running.is_empty() {
            tries += 1;
            b.fails(kind);
            b.wait(limit::BACKOFF_MS_MAX);
        }
        let turn = b.turns().next().unwrap().clone();
        table.note(&format!("{kind:?}: {tries} tries, {}", turn.error.unwrap().code));
    }
    table.check("");
}

#[test]
fn every_kind_of_failure_of_a_tool_is_tried_again_where_that_is_safe() {
    let mut table = Bench::quiet();
    for tool in ["find", "pay", "send"] {
        for kind in KINDS {
            let mut b = Bench::new(vec![server("shop")], "Hi");
            b.lists(shop());
            b.answer(vec![call("c1", &format!("shop__{tool}"), "{}")]);
            let effect = b.running[0].0.id;
            let mut tries = 0;
            while b.running.iter().any(|(running, _)| running.id == effect) {
                tries += 1;
                b.fails(kind);
                b.wait(limit::BACKOFF_MS_MAX);
            }
            let told = b.told("c1");
            let told = if told.contains("unknown") { "outcome unknown" } else { &told };
            table.note(&format!("{tool} {kind:?}: {tries} tries, {told}"));
        }
    }
    table.check("");
}

#[test]
fn pauses_grow_and_end() {
    let mut b = Bench::new(vec![], "Hi");
    for _ in 0..limit::THROTTLED_ATTEMPTS_MAX {
        b.fails(FailureKind::Overloaded);
        b.tick();
        b.wait(limit::BACKOFF_MS_MAX);
    }
    b.check("");
}

#[test]
fn the_other_side_may_ask_for_a_longer_pause_within_limits() {
    let mut b = Bench::new(vec![], "Hi");
    let asked = |millis| Failure { retry_after_ms: Some(millis), ..failure(FailureKind::RateLimited) };
    b.fails_as(asked(1));
    b.wait(100);
    b.fails_as(asked(90_000));
    b.wait(89_999);
    b.wait(1);
    b.fails_as(asked(u64::MAX));
    b.wait(limit::RETRY_AFTER_MS_MAX);
    b.answer(vec![say("At last.")]);
    b.check("");
}

#[test]
fn throttling_is_waited_out_longer_than_failing() {
    let mut b = Bench::new(vec![], "Hi");
    for _ in 0..limit::MODEL_ATTEMPTS_MAX {
        b.fails(FailureKind::RateLimited);
        b.wait(limit::BACKOFF_MS_MAX);
    }
    b.note("patience for throttling is not patience for failures");
    b.fails(FailureKind::ServerError);
    b.check("");
}

#[test]
fn an_interrupted_model_call_is_made_again() {
    let mut b = Bench::new(vec![], "Hi");
    b.resumed();
    b.resumed();
    b.answer(vec![say("Hello.")]);
    b.check("");
}

#[test]
fn an_interrupted_call_is_repeated_as_its_effect_allows() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![
        call("c1", "shop__find", "{}"),
        call("c2", "shop__pay", "{}"),
        call("c3", "shop__tag", "{}"),
        call("c4", "shop__send", "{}"),
    ]);
    b.resumed();
    b.resumed();
    b.returns("find", "found");
    b.returns("tag", "tagged");
    b.returns("pay", "paid");
    b.context();
    b.check("");
}

#[test]
fn a_retry_pause_survives_a_restart() {
    let mut b = Bench::new(vec![], "Hi");
    b.fails(FailureKind::Overloaded);
    b.resumed();
    b.wait(100);
    b.check("");
}

#[test]
fn an_effect_that_is_always_there_when_the_process_dies_is_given_up() {
    let mut b = Bench::new(vec![], "Hi");
    b.mute();
    for _ in 1..limit::INTERRUPTED_ATTEMPTS_MAX {
        b.resumed();
    }
    b.unmute();
    b.resumed();
    b.check("");
}

#[test]
fn a_tool_call_that_is_always_interrupted_stays_unknown() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.mute();
    b.lists(shop());
    b.answer(vec![call("c1", "shop__pay", "{}")]);
    for _ in 1..limit::INTERRUPTED_ATTEMPTS_MAX {
        b.resumed();
    }
    b.unmute();
    b.resumed();
    b.check("");
}

#[test]
fn outcomes_of_other_attempts_are_ignored() {
    let mut b = Bench::new(vec![], "Hi");
    let (effect, _) = b.running[0].clone();
    b.resumed();
    let stale = || Attempted::Answered { answer: whole(vec![say("Stale.")]), cost_nano_usd: None };
    b.attempted("answer of attempt 1", effect.id, 1, stale());
    b.attempted("answer of attempt 3", effect.id, 3, stale());
    b.fails(FailureKind::Overloaded);
    b.attempted("answer of attempt 2, twice reported", effect.id, 2, stale());
    b.wait(1_000);
    b.answer(vec![say("Fresh.")]);
    b.attempted("answer of attempt 3, twice reported", effect.id, 3, stale());
    b.check("");
}

#[test]
fn doubt_about_an_earlier_attempt_is_not_forgotten() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__pay", "{}"), call("c2", "shop__find", "{}")]);
    b.fails(FailureKind::ConnectionFailed);
    b.fails(FailureKind::ConnectionFailed);
    b.wait(1_000);
    b.note("the second attempt is refused, the first may have acted");
    b.fails(FailureKind::Authentication);
    b.fails(FailureKind::Authentication);
    b.context();
    b.check("");
}
