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
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: message (commentary) "Asking."
          turn1 item3 #1 in_progress: function ask c1 {"n":1}
          = requires_action, turn1 wants ask c1
        > 3000000 ms pass
          nothing
        > restart
          nothing
        > result of c1: "42"
          item3 returned "42" as item4 in turn1
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
          | user: "Go"
          | assistant: "Asking."
          | call c1: ask {"n":1}
          | result c1: "42"
          | tools: ask
        > answer
          eff2 attempt 1 answered, settled
          turn1 item5 #2 completed: message (final_answer) "It is 42."
          turn1 completed
    "#,
    );
}

#[test]
fn a_function_may_fail() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", "{}")]);
    let turn = b.turn_of("c1");
    b.result_in(turn, "c1", Err("no such row"));
    b.context();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
        > result of c1: error "no such row"
          item2 failed none error "no such row" as item3 in turn1
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
          | user: "Go"
          | call c1: ask {}
          | result c1: "no such row"
          | tools: ask
    "#,
    );
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
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
        > result of c1: "42"
          item2 returned "42" as item3 in turn1
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
        > result of c1: "42"
          nothing
        > result of c1: "43"
          refused: the tool call `c1` already has a different result
        > result of c1: error "42"
          refused: the tool call `c1` already has a different result
        > result of c9: "42"
          refused: Unknown pending tool call: c9
        > answer
          eff2 attempt 1 answered, settled
          turn1 item4 #1 completed: message (final_answer) "Ok."
          turn1 completed
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
          inp2 joined turn2 as item5
          turn2 started
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
        > answer
          eff3 attempt 1 answered, settled
          turn2 item6 #0 in_progress: function ask c2 {}
          = a result for the wrong turn, then after a cancel
        > result of c2: "1"
          refused: Unknown pending tool call: c2
        > cancel
          item6 closed incomplete
          turn2 cancelled
        > result of c2: "1"
          refused: Unknown pending tool call: c2
        > result of c1: "42"
          nothing
    "#,
    );
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
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
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
          turn1 item2 #0 in_progress: function ask c1 {"n":1}
          turn1 item3 #1 in_progress: mcp shop/find c2 {}
          eff3 requested: call shop/find {} (freely)
          eff3 attempt 1
          turn1 item4 #2 in_progress: function ask c3 {"n":2}
          turn1 item5 #3 in_progress: mcp shop/pay c4 {}
          eff4 requested: call shop/pay {} (with_key)
          eff4 attempt 1
          turn1 item6 failed: internal nothing c5 "{}" told "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
        > result of c3: "three"
          item4 returned "three" as item7 in turn1
        > pay returns
          eff4 attempt 1 returned "paid", settled
          = requires_action, turn1 wants ask c1
        > result of c1: "one"
          item2 returned "one" as item8 in turn1
        > find returns
          eff3 attempt 1 returned "found", settled
          eff5 requested: ask m, step 1 (freely)
          eff5 attempt 1
          | user: "Go"
          | call c1: ask {"n":1}
          | call c2: shop__find {}
          | call c3: ask {"n":2}
          | call c4: shop__pay {}
          | call c5: nothing {}
          | result c1: "one"
          | result c2: "found"
          | result c3: "three"
          | result c4: "paid"
          | result c5: "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
          | tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#);
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
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: async function report c1 {}
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
          | user: "Go"
          | call c1: report {}
          | result c1: "Accepted. The result will follow in a later message."
          | tools: report
        > answer
          eff2 attempt 1 answered, settled
          turn1 item3 #1 completed: message (final_answer) "It will come."
          turn1 completed
          = idle, turn1 wants report c1
          = its result starts a turn of its own
        > result of c1: "the report"
          turn2 created
          item2 returned "the report" as item4 in turn2
          turn2 started
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
          | user: "Go"
          | call c1: report {}
          | result c1: "Accepted. The result will follow in a later message."
          | assistant: "It will come."
          | user: "The result of the earlier call `c1` has arrived:" "the report"
          | tools: report
        > answer
          eff3 attempt 1 answered, settled
          turn2 item5 #0 completed: message (final_answer) "Here it is."
          turn2 completed
        > result of c1: "the report"
          nothing
        > result of c1: "another"
          refused: the tool call `c1` already has a different result
    "#,
    );
}

#[test]
fn an_async_result_that_no_running_request_shows_is_shown_by_the_next() {
    let mut b = Bench::new(vec![async_function("report")], "Go");
    b.answer(vec![call("c1", "report", "{}")]);
    b.result("c1", "the report");
    b.answer(vec![say("Waiting for it.")]);
    b.context();
    b.answer(vec![say("Here it is.")]);
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: async function report c1 {}
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
        > result of c1: "the report"
          item2 returned "the report" as item3 in turn1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item4 #1 completed: message (final_answer) "Waiting for it."
          eff3 requested: ask m, step 2 (freely)
          eff3 attempt 1
          | user: "Go"
          | call c1: report {}
          | result c1: "Accepted. The result will follow in a later message."
          | user: "The result of the earlier call `c1` has arrived:" "the report"
          | assistant: "Waiting for it."
          | tools: report
        > answer
          eff3 attempt 1 answered, settled
          turn1 item5 #2 completed: message (final_answer) "Here it is."
          turn1 completed
    "#,
    );
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
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          | user: "Go"
          | tools: tool_search
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 failed: internal weather c1 "{}" told "Not called: there is no tool of that name. Tools: tool_search."
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          loaded weather
          turn1 item3 completed: internal tool_search c2 "{\"query\":\"Weather?\"}" told "These functions can be called now:\n- weather: Does weather."
          turn1 item4 completed: internal tool_search c3 "{\"query\":\"tea\"}" told "No function fits these words. Try others."
          turn1 item5 failed: internal tool_search c4 "{\"words\":\"tea\"}" told "Not called: `query` must be a string."
          eff3 requested: ask m, step 2 (freely)
          eff3 attempt 1
          | user: "Go"
          | call c1: weather {}
          | result c1: "Not called: there is no tool of that name. Tools: tool_search."
          | call c2: tool_search {"query":"Weather?"}
          | call c3: tool_search {"query":"tea"}
          | call c4: tool_search {"words":"tea"}
          | result c2: "These functions can be called now:\n- weather: Does weather."
          | result c3: "No function fits these words. Try others."
          | result c4: "Not called: `query` must be a string."
          | tools: weather, tool_search
        > answer
          eff3 attempt 1 answered, settled
          turn1 item6 #0 in_progress: function weather c5 {}
          = requires_action, turn1 wants weather c5
    "#);
}
