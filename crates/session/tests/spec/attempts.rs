//! Attempts: every kind of failure, pauses, interruptions, and outcomes that come late.

use tenure_journal::{Failure, FailureKind, limit};
use tenure_session::Attempted;

use crate::bench::{Bench, Show, async_function, call, failure, say, server, shop, whole};

const KINDS: [FailureKind; 17] = [
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
    FailureKind::Crashed,
    FailureKind::NotBegun,
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
    table.check(
        r#"
        > each in turn
          = Authentication: 1 tries, authentication_error
          = NotFound: 1 tries, resource_not_found
          = ContextTooLong: 1 tries, context_length_exceeded
          = InvalidRequest: 1 tries, invalid_request
          = RateLimited: 8 tries, rate_limit_exceeded
          = CreditExhausted: 1 tries, credit_balance_exhausted
          = Overloaded: 8 tries, server_overloaded
          = ServerError: 4 tries, server_error
          = ConnectionFailed: 4 tries, connection_failed
          = Timeout: 4 tries, request_timeout
          = MaxOutputTokens: 1 tries, max_output_tokens
          = ContentPolicy: 1 tries, invalid_request
          = ToolNotFound: 1 tries, internal_error
          = Protocol: 1 tries, server_error
          = Internal: 1 tries, internal_error
          = Crashed: 1 tries, internal_error
          = NotBegun: 32 tries, server_overloaded
    "#,
    );
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
    table.check(
        r#"
        > each in turn
          = find Authentication: 1 tries, Authentication happened
          = find NotFound: 1 tries, NotFound happened
          = find ContextTooLong: 1 tries, ContextTooLong happened
          = find InvalidRequest: 1 tries, InvalidRequest happened
          = find RateLimited: 4 tries, RateLimited happened
          = find CreditExhausted: 1 tries, CreditExhausted happened
          = find Overloaded: 4 tries, Overloaded happened
          = find ServerError: 4 tries, ServerError happened
          = find ConnectionFailed: 4 tries, ConnectionFailed happened
          = find Timeout: 4 tries, Timeout happened
          = find MaxOutputTokens: 1 tries, MaxOutputTokens happened
          = find ContentPolicy: 1 tries, ContentPolicy happened
          = find ToolNotFound: 1 tries, ToolNotFound happened
          = find Protocol: 1 tries, Protocol happened
          = find Internal: 1 tries, Internal happened
          = find Crashed: 1 tries, Crashed happened
          = find NotBegun: 32 tries, NotBegun happened
          = pay Authentication: 1 tries, Authentication happened
          = pay NotFound: 1 tries, NotFound happened
          = pay ContextTooLong: 1 tries, ContextTooLong happened
          = pay InvalidRequest: 1 tries, InvalidRequest happened
          = pay RateLimited: 4 tries, RateLimited happened
          = pay CreditExhausted: 1 tries, CreditExhausted happened
          = pay Overloaded: 4 tries, Overloaded happened
          = pay ServerError: 4 tries, outcome unknown
          = pay ConnectionFailed: 4 tries, outcome unknown
          = pay Timeout: 4 tries, outcome unknown
          = pay MaxOutputTokens: 1 tries, MaxOutputTokens happened
          = pay ContentPolicy: 1 tries, ContentPolicy happened
          = pay ToolNotFound: 1 tries, ToolNotFound happened
          = pay Protocol: 1 tries, outcome unknown
          = pay Internal: 1 tries, outcome unknown
          = pay Crashed: 1 tries, outcome unknown
          = pay NotBegun: 32 tries, NotBegun happened
          = send Authentication: 1 tries, Authentication happened
          = send NotFound: 1 tries, NotFound happened
          = send ContextTooLong: 1 tries, ContextTooLong happened
          = send InvalidRequest: 1 tries, InvalidRequest happened
          = send RateLimited: 4 tries, RateLimited happened
          = send CreditExhausted: 1 tries, CreditExhausted happened
          = send Overloaded: 4 tries, Overloaded happened
          = send ServerError: 1 tries, outcome unknown
          = send ConnectionFailed: 1 tries, outcome unknown
          = send Timeout: 1 tries, outcome unknown
          = send MaxOutputTokens: 1 tries, MaxOutputTokens happened
          = send ContentPolicy: 1 tries, ContentPolicy happened
          = send ToolNotFound: 1 tries, ToolNotFound happened
          = send Protocol: 1 tries, outcome unknown
          = send Internal: 1 tries, outcome unknown
          = send Crashed: 1 tries, outcome unknown
          = send NotBegun: 32 tries, NotBegun happened
    "#,
    );
}

#[test]
fn pauses_grow_and_end() {
    let mut b = Bench::new(vec![], "Hi");
    for _ in 0..limit::THROTTLED_ATTEMPTS_MAX {
        b.fails(FailureKind::Overloaded);
        b.tick();
        b.wait(limit::BACKOFF_MS_MAX);
    }
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > Overloaded
          eff1 attempt 1 failed: overloaded "Overloaded happened", again in 100 ms
        > tick
          nothing
        > 30000 ms pass
          eff1 attempt 2
        > Overloaded
          eff1 attempt 2 failed: overloaded "Overloaded happened", again in 200 ms
        > tick
          nothing
        > 30000 ms pass
          eff1 attempt 3
        > Overloaded
          eff1 attempt 3 failed: overloaded "Overloaded happened", again in 400 ms
        > tick
          nothing
        > 30000 ms pass
          eff1 attempt 4
        > Overloaded
          eff1 attempt 4 failed: overloaded "Overloaded happened", again in 800 ms
        > tick
          nothing
        > 30000 ms pass
          eff1 attempt 5
        > Overloaded
          eff1 attempt 5 failed: overloaded "Overloaded happened", again in 1600 ms
        > tick
          nothing
        > 30000 ms pass
          eff1 attempt 6
        > Overloaded
          eff1 attempt 6 failed: overloaded "Overloaded happened", again in 3200 ms
        > tick
          nothing
        > 30000 ms pass
          eff1 attempt 7
        > Overloaded
          eff1 attempt 7 failed: overloaded "Overloaded happened", again in 6400 ms
        > tick
          nothing
        > 30000 ms pass
          eff1 attempt 8
        > Overloaded
          eff1 attempt 8 failed: overloaded "Overloaded happened", settled
          turn1 failed: server_overloaded "Overloaded happened"
        > tick
          nothing
        > 30000 ms pass
          nothing
    "#,
    );
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
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > RateLimited
          eff1 attempt 1 failed: rate_limited "RateLimited happened", again in 100 ms
        > 100 ms pass
          eff1 attempt 2
        > RateLimited
          eff1 attempt 2 failed: rate_limited "RateLimited happened", again in 90000 ms
        > 89999 ms pass
          nothing
        > 1 ms pass
          eff1 attempt 3
        > RateLimited
          eff1 attempt 3 failed: rate_limited "RateLimited happened", again in 3600000 ms
        > 3600000 ms pass
          eff1 attempt 4
        > answer
          eff1 attempt 4 answered, settled
          turn1 item2 #0 completed: message (final_answer) "At last."
          turn1 completed
    "#,
    );
}

#[test]
fn throttling_is_waited_out_longer_than_failing() {
    let mut b = Bench::new(vec![], "Hi");
    for _ in 0..limit::MODEL_ATTEMPTS_MAX {
        b.fails(FailureKind::RateLimited);
        b.wait(limit::BACKOFF_MS_MAX);
    }
    b.note("patience for throttling is not patience for failures, and not used up by it");
    for _ in 0..limit::MODEL_ATTEMPTS_MAX {
        b.fails(FailureKind::ServerError);
        b.wait(limit::BACKOFF_MS_MAX);
    }
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > RateLimited
          eff1 attempt 1 failed: rate_limited "RateLimited happened", again in 100 ms
        > 30000 ms pass
          eff1 attempt 2
        > RateLimited
          eff1 attempt 2 failed: rate_limited "RateLimited happened", again in 200 ms
        > 30000 ms pass
          eff1 attempt 3
        > RateLimited
          eff1 attempt 3 failed: rate_limited "RateLimited happened", again in 400 ms
        > 30000 ms pass
          eff1 attempt 4
        > RateLimited
          eff1 attempt 4 failed: rate_limited "RateLimited happened", again in 800 ms
        > 30000 ms pass
          eff1 attempt 5
          = patience for throttling is not patience for failures, and not used up by it
        > ServerError
          eff1 attempt 5 failed: server_error "ServerError happened", again in 100 ms
        > 30000 ms pass
          eff1 attempt 6
        > ServerError
          eff1 attempt 6 failed: server_error "ServerError happened", again in 200 ms
        > 30000 ms pass
          eff1 attempt 7
        > ServerError
          eff1 attempt 7 failed: server_error "ServerError happened", again in 400 ms
        > 30000 ms pass
          eff1 attempt 8
        > ServerError
          eff1 attempt 8 failed: server_error "ServerError happened", settled
          turn1 failed: server_error "ServerError happened"
        > 30000 ms pass
          nothing
    "#,
    );
}

#[test]
fn an_interrupted_model_call_is_made_again() {
    let mut b = Bench::new(vec![], "Hi");
    b.resumed();
    b.resumed();
    b.answer(vec![say("Hello.")]);
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > restart
          eff1 attempt 1 unknown, again in 0 ms
          eff1 attempt 2
        > restart
          eff1 attempt 2 unknown, again in 0 ms
          eff1 attempt 3
        > answer
          eff1 attempt 3 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
    "#,
    );
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
    b.check(r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > listing
          eff1 attempt 1 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/find c1 {}
          eff3 requested: call shop/find {} (freely)
          eff3 attempt 1
          turn1 item3 #1 in_progress: mcp shop/pay c2 {}
          eff4 requested: call shop/pay {} (with_key)
          eff4 attempt 1
          turn1 item4 #2 in_progress: mcp shop/tag c3 {}
          eff5 requested: call shop/tag {} (with_key)
          eff5 attempt 1
          turn1 item5 #3 in_progress: mcp shop/send c4 {}
          eff6 requested: call shop/send {} (never)
          eff6 attempt 1
        > restart
          eff3 attempt 1 unknown, again in 0 ms
          eff4 attempt 1 unknown, again in 0 ms
          eff5 attempt 1 unknown, again in 0 ms
          eff6 attempt 1 unknown, settled
          eff3 attempt 2
          eff4 attempt 2
          eff5 attempt 2
        > restart
          eff3 attempt 2 unknown, again in 0 ms
          eff4 attempt 2 unknown, again in 0 ms
          eff5 attempt 2 unknown, again in 0 ms
          eff3 attempt 3
          eff4 attempt 3
          eff5 attempt 3
        > find returns
          eff3 attempt 3 returned "found", settled
        > tag returns
          eff5 attempt 3 returned "tagged", settled
        > pay returns
          eff4 attempt 3 returned "paid", settled
          eff7 requested: ask m, step 1 (freely)
          eff7 attempt 1
          | user: "Hi"
          | call c1: shop__find {}
          | call c2: shop__pay {}
          | call c3: shop__tag {}
          | call c4: shop__send {}
          | result c1: "found"
          | result c2: "paid"
          | result c3: "tagged"
          | result c4: "The call was interrupted and its outcome is unknown: it may or may not"… (158 characters)
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#);
}

#[test]
fn restarts_do_not_use_up_the_patience_for_failures() {
    let mut b = Bench::new(vec![], "Hi");
    b.mute();
    for _ in 1..limit::INTERRUPTED_ATTEMPTS_MAX {
        b.resumed();
    }
    b.unmute();
    b.fails(FailureKind::ConnectionFailed);
    b.wait(limit::BACKOFF_MS_MAX);
    b.note("but there is a limit for all together");
    b.mute();
    let mut failures = 1;
    while !b.running.is_empty() {
        failures += 1;
        b.fails(if failures % 3 == 0 { FailureKind::ConnectionFailed } else { FailureKind::Overloaded });
        b.wait(limit::BACKOFF_MS_MAX);
    }
    b.unmute();
    let turn = b.turns().next().unwrap().clone();
    b.note(&format!("{failures} failures, {}", turn.error.unwrap().code));
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
        > ConnectionFailed
          eff1 attempt 32 failed: connection_failed "ConnectionFailed happened", again in 100 ms
        > 30000 ms pass
          eff1 attempt 33
          = but there is a limit for all together
          …
          = 9 failures, connection_failed
    "#,
    );
}

#[test]
fn a_retry_pause_survives_a_restart() {
    let mut b = Bench::new(vec![], "Hi");
    b.fails(FailureKind::Overloaded);
    b.resumed();
    b.wait(100);
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > Overloaded
          eff1 attempt 1 failed: overloaded "Overloaded happened", again in 100 ms
        > restart
          nothing
        > 100 ms pass
          eff1 attempt 2
    "#,
    );
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
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
        > restart
          eff1 attempt 32 unknown, settled
          turn1 failed: internal_error "the turn was interrupted too often and was given up"
    "#,
    );
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
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
          …
        > restart
          eff3 attempt 32 unknown, settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
    "#,
    );
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
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > restart
          eff1 attempt 1 unknown, again in 0 ms
          eff1 attempt 2
        > answer of attempt 1
          nothing
        > answer of attempt 3
          nothing
        > Overloaded
          eff1 attempt 2 failed: overloaded "Overloaded happened", again in 100 ms
        > answer of attempt 2, twice reported
          nothing
        > 1000 ms pass
          eff1 attempt 3
        > answer
          eff1 attempt 3 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Fresh."
          turn1 completed
        > answer of attempt 3, twice reported
          nothing
    "#,
    );
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
    b.check(r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > listing
          eff1 attempt 1 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/pay c1 {}
          eff3 requested: call shop/pay {} (with_key)
          eff3 attempt 1
          turn1 item3 #1 in_progress: mcp shop/find c2 {}
          eff4 requested: call shop/find {} (freely)
          eff4 attempt 1
        > ConnectionFailed
          eff3 attempt 1 failed: connection_failed "ConnectionFailed happened", again in 100 ms
        > ConnectionFailed
          eff4 attempt 1 failed: connection_failed "ConnectionFailed happened", again in 100 ms
        > 1000 ms pass
          eff3 attempt 2
          eff4 attempt 2
          = the second attempt is refused, the first may have acted
        > Authentication
          eff3 attempt 2 unknown, settled
        > Authentication
          eff4 attempt 2 failed: authentication "Authentication happened", settled
          eff5 requested: ask m, step 1 (freely)
          eff5 attempt 1
          | user: "Hi"
          | call c1: shop__pay {}
          | call c2: shop__find {}
          | result c1: "The call was tried more than once and its outcome is unknown: it may o"… (146 characters)
          | result c2: "Authentication happened"
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#);
}

#[test]
fn a_session_whose_model_calls_always_crash_is_stopped_for_good() {
    let mut b = Bench::new(vec![], "Hi");
    b.mute();
    b.fails(FailureKind::Crashed);
    b.message("Again");
    b.fails(FailureKind::Crashed);
    b.message("Once more");
    b.answer(vec![say("Here I am.")]);
    b.message("Good");
    b.unmute();
    for n in 0..limit::CRASHES_MAX {
        b.fails(FailureKind::Crashed);
        b.message(&format!("Message {n}"));
    }
    b.status();
    b.resumed();
    b.cancel();
    b.delete();
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
        > Crashed
          eff4 attempt 1 failed: crashed "Crashed happened", settled
          turn4 failed: internal_error "Crashed happened"
        > message "Message 0"
          inp5 accepted: "Message 0"
          turn5 created
          inp5 joined turn5 as item6
          turn5 started
          eff5 requested: ask m, step 0 (freely)
          eff5 attempt 1
        > Crashed
          eff5 attempt 1 failed: crashed "Crashed happened", settled
          turn5 failed: internal_error "Crashed happened"
        > message "Message 1"
          inp6 accepted: "Message 1"
          turn6 created
          inp6 joined turn6 as item7
          turn6 started
          eff6 requested: ask m, step 0 (freely)
          eff6 attempt 1
        > Crashed
          eff6 attempt 1 failed: crashed "Crashed happened", settled
          turn6 failed: internal_error "Crashed happened"
          session failed: an internal error ended every one of its latest model calls; it was stopped for good
        > message "Message 2"
          refused: the session has failed and accepts no more input
          = failed
        > restart
          nothing
        > cancel
          nothing
        > delete
          session deleted
    "#,
    );
}

#[test]
fn messages_that_wait_are_not_taken_up_by_a_session_that_was_stopped() {
    let mut b = Bench::new(vec![async_function("report")], "Hi");
    b.show = Show::Notices;
    b.mute();
    b.answer(vec![call("c1", "report", "{}")]);
    for _ in 1..limit::CRASHES_MAX {
        b.fails(FailureKind::Crashed);
        b.message("Again");
    }
    b.unmute();
    b.message("And this");
    b.fails(FailureKind::Crashed);
    b.result("c1", "too late");
    b.status();
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
        > message "And this"
        > Crashed
          error internal_error
          turn3 failed (failed)
          session failed (failed)
        > result of c1: "too late"
          refused: Unknown pending tool call: c1
          = failed
    "#,
    );
}

#[test]
fn a_tool_call_that_crashes_is_told_to_the_model() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.mute();
    b.lists(shop());
    b.answer((0..4).map(|n| call(&format!("c{n}"), "shop__find", "{}")).collect());
    b.unmute();
    for _ in 0..4 {
        b.fails(FailureKind::Crashed);
    }
    b.status();
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
          …
        > Crashed
          eff3 attempt 1 failed: crashed "Crashed happened", settled
        > Crashed
          eff4 attempt 1 failed: crashed "Crashed happened", settled
        > Crashed
          eff5 attempt 1 failed: crashed "Crashed happened", settled
        > Crashed
          eff6 attempt 1 failed: crashed "Crashed happened", settled
          eff7 requested: ask m, step 1 (freely)
          eff7 attempt 1
          = in_progress
    "#,
    );
}
