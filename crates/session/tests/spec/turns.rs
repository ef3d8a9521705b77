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
    b.check("");
}

#[test]
fn a_session_may_open_without_a_message() {
    let mut b = Bench::new(vec![], "");
    b.tick();
    b.status();
    b.message("Hi");
    b.check("");
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
    b.check("");
}

#[test]
fn a_message_with_no_step_left_is_the_next_turn() {
    let mut b = Bench::new(vec![], "One");
    b.message("Two");
    b.message("Three");
    b.answer(vec![say("First.")]);
    b.context();
    b.answer(vec![say("Second.")]);
    b.check("");
}

#[test]
fn a_message_while_a_function_is_awaited_joins_after_its_result() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", "{}")]);
    b.message("Also this");
    b.result("c1", "42");
    b.context();
    b.check("");
}

#[test]
fn an_empty_answer_ends_the_turn() {
    let mut b = Bench::new(vec![], "Hi");
    b.answer(vec![]);
    b.message("Still there?");
    b.answer(vec![say("")]);
    b.context();
    b.check("");
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
    b.check("");
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
    b.check("");
}

#[test]
fn notices_of_calls_come_in_the_order_of_the_specification() {
    let mut b = Bench::open(
        opened(agent(vec![function("ask"), server("shop")])),
        "Hi",
        defaults(),
        Show::Notices,
    );
    b.lists(shop());
    b.answer(vec![say("Let me see."), call("c1", "ask", r#"{"n":1}"#)]);
    b.result("c1", "42");
    b.answer(vec![call("c2", "shop__find", "{}"), call("c3", "shop__refund", "{}"), call("c4", "what", "{}")]);
    b.returns("find", "found");
    let approval = b.approval();
    b.decide(approval, tenure_journal::Decision::Approve);
    b.returns("refund", "refunded");
    b.message("Wait");
    b.answer(vec![say("Done.")]);
    b.answer(vec![say("Waiting.")]);
    b.check("");
}
