//! The context: what is shown, what is shortened, and what is said beside it.

use tenure_journal::{FailureKind, limit};

use crate::bench::{Bench, Show, agent, async_function, call, defaults, function, opened, say};

/// A bench whose session has `turns` turns of one message and one answer behind it, and a message more.
fn long(turns: usize) -> Bench {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.mute();
    for n in 0..turns {
        b.answer(vec![say(&format!("Answer {n} {}", "x".repeat(300)))]);
        b.message(&format!("Question {n}"));
    }
    b.unmute();
    b
}

#[test]
fn a_context_that_is_too_long_is_shortened_and_tried_again() {
    let mut b = long(4);
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.answer(vec![say("Short enough.")]);
    b.message("More");
    b.context();
    b.check("");
}

#[test]
fn a_context_that_cannot_be_shortened_fails_the_turn() {
    let mut b = Bench::new(vec![], "Hi");
    b.fails(FailureKind::ContextTooLong);
    b.check("");
}

#[test]
fn a_context_is_shortened_only_so_often_in_one_turn() {
    let mut b = long(40);
    for _ in 0..=limit::CONTEXT_TRIMS_PER_TURN_MAX {
        b.fails(FailureKind::ContextTooLong);
    }
    b.check("");
}

#[test]
fn a_context_is_shortened_beforehand_where_the_window_is_known() {
    let mut b = long(4);
    b.answer(vec![say("Ok.")]);
    b.context_tokens = Some(300);
    b.message("More");
    b.context();
    b.check("");
}

#[test]
fn calls_stay_with_their_results_when_the_context_is_shortened() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.answer(vec![say("Asking."), call("c1", "ask", "{}"), call("c2", "ask", "{}")]);
    b.result("c2", &"y".repeat(600));
    b.result("c1", "one");
    b.answer(vec![call("c3", "ask", "{}")]);
    b.result("c3", "three");
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.check("");
}

#[test]
fn an_async_result_whose_call_left_the_context_is_still_shown() {
    let mut b = Bench::new(vec![async_function("report")], "Hi");
    b.answer(vec![call("c1", "report", "{}")]);
    b.answer(vec![say(&"x".repeat(900))]);
    b.result("c1", "the report");
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.check("");
}

#[test]
fn the_model_is_told_the_time_where_the_agent_wants_it() {
    let mut opening = opened(agent(vec![]));
    opening.agent.time_awareness = true;
    let mut b = Bench::open(opening, "Hi", defaults(), Show::Events);
    b.context();
    b.answer(vec![say("Hello.")]);
    b.wait(90_000);
    b.message("And now?");
    b.context();
    b.check("");
}
