//! Cancelling, in every state: the turn ends, nothing of it goes on, and the session stays usable.

use tenure_journal::{Decision, FailureKind, Item, ItemBody, ItemId, ItemStatus};
use tenure_session::Attempted;

use crate::bench::{Bench, call, function, say, server, shop, whole};

#[test]
fn while_the_model_runs() {
    let mut b = Bench::new(vec![], "Hi");
    let (effect, attempt) = b.running[0].clone();
    let body = |text: &str| ItemBody::AssistantMessage { content: vec![text.to_owned()], phase: None };
    b.partial = vec![Item {
        id: ItemId::of_output(effect.id, attempt, 0),
        turn_id: effect.turn_id,
        status: ItemStatus::Incomplete,
        output_index: Some(0),
        step: Some(0),
        body: body("Once upon a"),
    }];
    b.cancel();
    b.status();
    b.note("the answer comes too late");
    let answer = whole(vec![say("Once upon a time.")]);
    b.attempted("answer", effect.id, attempt, Attempted::Answered { answer, cost_nano_usd: None });
    b.message("Go on");
    b.context();
    b.check("");
}

#[test]
fn while_a_tool_runs() {
    let mut b = Bench::new(vec![server("shop")], "Pay");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", "{}"), call("c2", "shop__find", "{}")]);
    b.returns("find", "found");
    b.cancel();
    b.message("What happened?");
    b.context();
    b.check("");
}

#[test]
fn while_servers_are_listed() {
    let mut b = Bench::new(vec![server("shop")], "Pay");
    b.cancel();
    b.message("Pay");
    b.check("");
}

#[test]
fn while_a_function_is_awaited() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", "{}"), call("c2", "ask", "{}")]);
    b.result("c2", "2");
    b.cancel();
    b.status();
    b.message("Go on");
    b.context();
    b.check("");
}

#[test]
fn while_an_approval_is_awaited() {
    let mut b = Bench::new(vec![server("shop")], "Refund");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", "{}")]);
    let approval = b.approval();
    b.cancel();
    b.status();
    b.decide(approval, Decision::Approve);
    b.decide(approval, Decision::Cancel);
    b.check("");
}

#[test]
fn between_two_attempts() {
    let mut b = Bench::new(vec![], "Hi");
    b.fails(FailureKind::Overloaded);
    b.cancel();
    b.wait(60_000);
    b.check("");
}

#[test]
fn when_idle_or_deleted() {
    let mut b = Bench::new(vec![], "");
    b.cancel();
    b.delete();
    let _ = b.command("cancel", tenure_session::Command::Cancel);
    b.check("");
}

#[test]
fn with_messages_waiting_these_are_the_next_turn() {
    let mut b = Bench::new(vec![], "One");
    b.message("Two");
    b.cancel();
    b.context();
    b.check("");
}
