//! Turns: begun by a message, joined by others, ended by an answer; and the order of notices.

use tenure_journal::{FailureKind, limit};

use crate::bench::{Bench, Show, agent, call, defaults, function, opened, say, server, shop, think};

#[test]
fn a_message_starts_a_turn_and_an_answer_ends_it() {
    let mut b = Bench::new(vec![], "Hi");
    b.context();
    b.answer(vec![say("Hello.")]);
    b.status();
    b.message("And you?");
    b.context();
    b.answer(vec![think("hm"), say("Fine.")]);
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
          | user: "Hi"
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
          = idle
        > message "And you?"
          inp2 accepted: "And you?"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Hi"
          | assistant: "Hello."
          | user: "And you?"
        > answer
          eff2 attempt 1 answered, settled
          turn2 item4 #0 completed: reasoning by m sealed "hm"
          turn2 item5 #1 completed: message (final_answer) "Fine."
          turn2 completed
    "#,
    );
}

#[test]
fn a_session_may_open_without_a_message() {
    let mut b = Bench::new(vec![], "");
    b.tick();
    b.status();
    b.message("Hi");
    b.check(
        r#"
        > open
          session opened for m
        > tick
          nothing
          = idle
        > message "Hi"
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
    "#,
    );
}

#[test]
fn a_message_during_a_tool_call_joins_the_next_step() {
    let mut b = Bench::new(vec![server("shop")], "Pay");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__pay", r#"{"n":1}"#)]);
    b.message("Make it quick");
    b.returns("pay", "paid");
    b.context();
    b.answer(vec![say("Done.")]);
    b.check(
        r#"
        > open "Pay"
          session opened for m
          inp1 accepted: "Pay"
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
          turn1 item2 #0 in_progress: mcp shop/pay c1 {"n":1}
          eff3 requested: call shop/pay {"n":1} (with_key)
          eff3 attempt 1
        > message "Make it quick"
          inp2 accepted: "Make it quick"
        > pay returns
          eff3 attempt 1 returned "paid", settled
          inp2 joined turn1 as item3
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
          | user: "Pay"
          | call c1: shop__pay {"n":1}
          | result c1: "paid"
          | user: "Make it quick"
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
        > answer
          eff4 attempt 1 answered, settled
          turn1 item4 #1 completed: message (final_answer) "Done."
          turn1 completed
    "#,
    );
}

#[test]
fn a_message_with_no_step_left_is_the_next_turn() {
    let mut b = Bench::new(vec![], "One");
    b.message("Two");
    b.message("Three");
    b.answer(vec![say("First.")]);
    b.context();
    b.answer(vec![say("Second.")]);
    b.check(
        r#"
        > open "One"
          session opened for m
          inp1 accepted: "One"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > message "Two"
          inp2 accepted: "Two"
        > message "Three"
          inp3 accepted: "Three"
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "First."
          turn1 completed
          turn2 created
          inp2 joined turn2 as item3
          inp3 joined turn2 as item4
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "One"
          | assistant: "First."
          | user: "Two"
          | user: "Three"
        > answer
          eff2 attempt 1 answered, settled
          turn2 item5 #0 completed: message (final_answer) "Second."
          turn2 completed
    "#,
    );
}

#[test]
fn a_message_while_a_function_is_awaited_joins_after_its_result() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", "{}")]);
    b.message("Also this");
    b.result("c1", "42");
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
        > message "Also this"
          inp2 accepted: "Also this"
        > result of c1: "42"
          item2 returned "42" as item3 in turn1
          inp2 joined turn1 as item4
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
          | user: "Go"
          | call c1: ask {}
          | result c1: "42"
          | user: "Also this"
          | tools: ask
    "#,
    );
}

#[test]
fn an_empty_answer_ends_the_turn() {
    let mut b = Bench::new(vec![], "Hi");
    b.answer(vec![]);
    b.message("Still there?");
    b.answer(vec![say("")]);
    b.context();
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
        > answer
          eff1 attempt 1 answered, settled
          turn1 completed
        > message "Still there?"
          inp2 accepted: "Still there?"
          turn2 created
          inp2 joined turn2 as item2
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn2 item3 #0 completed: message (final_answer) ""
          turn2 completed
          | user: "Hi"
          | user: "Still there?"
    "#,
    );
}

#[test]
fn too_many_waiting_messages_are_refused() {
    let mut b = Bench::new(vec![], "Hi");
    b.mute();
    for n in 0..limit::QUEUED_INPUTS_MAX {
        b.message(&n.to_string());
    }
    b.unmute();
    b.message("One too many");
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
        > message "One too many"
          refused: 256 messages already wait in this session; wait until some have been taken up
    "#,
    );
}

#[test]
fn notices_of_a_plain_turn_come_in_the_order_of_the_specification() {
    let mut b = Bench::open(opened(agent(vec![])), "Hi", defaults(), Show::Notices);
    b.answer(vec![think("hm"), say("Hello.")]);
    b.message("More");
    b.fails(FailureKind::Authentication);
    b.message("Stop");
    b.cancel();
    b.cancel();
    b.delete();
    b.check(
        r#"
        > open "Hi"
          session created (idle)
          turn1 created (queued)
          item.added turn1 item1 completed: user "Hi"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
        > answer
          item.added turn1 item2 #0 in_progress: reasoning by m ""
          part 0 of item2 added
          part 0 of item2 delta "hm"
          part 0 of item2 text done "hm"
          part 0 of item2 done
          item.done turn1 item2 #0 completed: reasoning by m sealed "hm"
          item.added turn1 item3 #1 in_progress: message (no phase) ""
          part 0 of item3 added
          part 0 of item3 delta "Hello."
          part 0 of item3 text done "Hello."
          part 0 of item3 done
          item.done turn1 item3 #1 completed: message (final_answer) "Hello."
          turn1 completed (completed)
          session idle (idle)
        > message "More"
          turn2 created (queued)
          item.added turn2 item4 completed: user "More"
          session in_progress (in_progress)
          turn2 in_progress (in_progress)
        > Authentication
          error authentication_error
          turn2 failed (failed)
          session idle (idle)
        > message "Stop"
          turn3 created (queued)
          item.added turn3 item5 completed: user "Stop"
          session in_progress (in_progress)
          turn3 in_progress (in_progress)
        > cancel
          turn3 cancelled (cancelled)
          session idle (idle)
        > cancel
          nothing
        > delete
          deleted
    "#,
    );
}

#[test]
fn notices_of_calls_come_in_the_order_of_the_specification() {
    let mut b =
        Bench::open(opened(agent(vec![function("ask"), server("shop")])), "Hi", defaults(), Show::Notices);
    b.lists(shop());
    b.answer(vec![say("Let me see."), call("c1", "ask", r#"{"n":1}"#)]);
    b.result("c1", "42");
    b.answer(vec![
        call("c2", "shop__find", "{}"),
        call("c3", "shop__refund", "{}"),
        call("c4", "what", "{}"),
    ]);
    b.returns("find", "found");
    let approval = b.approval();
    b.decide(approval, tenure_journal::Decision::Approve);
    b.returns("refund", "refunded");
    b.message("Wait");
    b.answer(vec![say("Done.")]);
    b.answer(vec![say("Waiting.")]);
    b.check(
        r#"
        > open "Hi"
          session created (idle)
          turn1 created (queued)
          item.added turn1 item1 completed: user "Hi"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
        > listing
        > answer
          item.added turn1 item2 #0 in_progress: message (no phase) ""
          part 0 of item2 added
          part 0 of item2 delta "Let me see."
          part 0 of item2 text done "Let me see."
          part 0 of item2 done
          item.done turn1 item2 #0 completed: message (commentary) "Let me see."
          item.added turn1 item3 #1 in_progress: function ask c1 {"n":1}
          session requires_action (requires_action)
        > result of c1: "42"
          item.done turn1 item3 #1 completed: function ask c1 {"n":1}
          item.added turn1 item4 completed: output of c1: "42"
          session in_progress (in_progress)
        > answer
          item.added turn1 item5 #2 in_progress: mcp shop/find c2 {}
          item.added turn1 item6 #3 in_progress: mcp shop/refund c3 {}
          session requires_action (requires_action)
        > find returns
          item.done turn1 item5 #2 completed: mcp shop/find c2 {} gave "found"
        > Approve apr1
          session in_progress (in_progress)
        > refund returns
          item.done turn1 item6 #3 completed: mcp shop/refund c3 {} gave "refunded"
        > message "Wait"
        > answer
          item.added turn1 item7 #4 in_progress: message (no phase) ""
          part 0 of item7 added
          part 0 of item7 delta "Done."
          part 0 of item7 text done "Done."
          part 0 of item7 done
          item.done turn1 item7 #4 completed: message (final_answer) "Done."
          turn1 completed (completed)
          turn2 created (queued)
          item.added turn2 item8 completed: user "Wait"
          session in_progress (in_progress)
          turn2 in_progress (in_progress)
        > answer
          item.added turn2 item9 #0 in_progress: message (no phase) ""
          part 0 of item9 added
          part 0 of item9 delta "Waiting."
          part 0 of item9 text done "Waiting."
          part 0 of item9 done
          item.done turn2 item9 #0 completed: message (final_answer) "Waiting."
          turn2 completed (completed)
          session idle (idle)
    "#,
    );
}
