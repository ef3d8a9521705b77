//! Functions that the client carries out.

use crate::bench::{Bench, async_function, call, deferred_function, function, say, server, shop};

#[test]
fn a_function_waits_for_its_result() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![say("Asking."), call("c1", "ask", r#"{"n": 1}"#)]);
    b.status();
    b.wait(3_000_000);
    b.resumed();
    b.result("c1", "42");
    b.context();
    b.answer(vec![say("It is 42.")]);
    b.check("");
}

#[test]
fn a_function_may_fail() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", "{}")]);
    let turn = b.turn_of("c1");
    b.result_in(turn, "c1", Err("no such row"));
    b.context();
    b.check("");
}

#[test]
fn results_are_accepted_once_for_calls_that_wait() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", "{}")]);
    let turn = b.turn_of("c1");
    b.result("c1", "42");
    b.result("c1", "42");
    b.result("c1", "43");
    b.result_in(turn, "c1", Err("42"));
    b.result_in(turn, "c9", Ok("42"));
    b.answer(vec![say("Ok.")]);
    b.message("Again");
    b.answer(vec![call("c2", "ask", "{}")]);
    b.note("a result for the wrong turn, then after a cancel");
    b.result_in(turn, "c2", Ok("1"));
    b.cancel();
    b.result("c2", "1");
    b.result("c1", "42");
    b.check("");
}

#[test]
fn the_model_goes_on_when_every_parallel_call_has_a_result() {
    let mut b = Bench::new(vec![function("ask"), server("shop")], "Go");
    b.lists(shop());
    b.answer(vec![
        call("c1", "ask", r#"{"n":1}"#),
        call("c2", "shop__find", "{}"),
        call("c3", "ask", r#"{"n":2}"#),
        call("c4", "shop__pay", "{}"),
        call("c5", "nothing", "{}"),
    ]);
    b.result("c3", "three");
    b.returns("pay", "paid");
    b.status();
    b.result("c1", "one");
    b.returns("find", "found");
    b.context();
    b.check("");
}

#[test]
fn an_async_call_does_not_hold_the_turn() {
    let mut b = Bench::new(vec![async_function("report")], "Go");
    b.answer(vec![call("c1", "report", "{}")]);
    b.context();
    b.answer(vec![say("It will come.")]);
    b.status();
    b.note("its result starts a turn of its own");
    b.result("c1", "the report");
    b.context();
    b.answer(vec![say("Here it is.")]);
    b.result("c1", "the report");
    b.result("c1", "another");
    b.check("");
}

#[test]
fn an_async_result_that_no_running_request_shows_is_shown_by_the_next() {
    let mut b = Bench::new(vec![async_function("report")], "Go");
    b.answer(vec![call("c1", "report", "{}")]);
    b.result("c1", "the report");
    b.answer(vec![say("Waiting for it.")]);
    b.context();
    b.answer(vec![say("Here it is.")]);
    b.check("");
}

#[test]
fn deferred_functions_are_found_by_searching() {
    let mut b = Bench::new(vec![deferred_function("weather"), deferred_function("stocks")], "Go");
    b.context();
    b.answer(vec![call("c1", "weather", "{}")]);
    b.answer(vec![
        call("c2", "tool_search", r#"{"query":"Weather?"}"#),
        call("c3", "tool_search", r#"{"query":"tea"}"#),
        call("c4", "tool_search", r#"{"words":"tea"}"#),
    ]);
    b.context();
    b.answer(vec![call("c5", "weather", "{}")]);
    b.status();
    b.check("");
}
