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
        turn_id: effect.turn_id.unwrap(),
        status: ItemStatus::Incomplete,
        output_index: Some(0),
        step: Some(0),
        body: body("Once upon a"),
        labels: tenure_journal::Labels::NEUTRAL,
    }];
    b.cancel();
    b.status();
    b.note("the answer comes too late");
    let answer = whole(vec![say("Once upon a time.")]);
    b.attempted("answer", effect.id, attempt, Attempted::Answered { answer, cost_nano_usd: None });
    b.message("Go on");
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
        > cancel
          turn1 item2 #0 incomplete: message (no phase) "Once upon a"
          eff1 abandoned
          turn1 cancelled
          = idle
          = the answer comes too late
        > answer
          nothing
        > message "Go on"
          inp2 accepted: "Go on"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Hi"
          | assistant: "Once upon a"
          | user: "Go on"
    "#,
    );
}

#[test]
fn what_another_node_has_recorded_meanwhile_is_not_said_again() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    let (effect, attempt) = b.running[0].clone();
    b.answer(vec![say("A moment."), call("c1", "ask", "{}")]);
    b.partial = vec![Item {
        id: ItemId::of_output(effect.id, attempt + 1, 0),
        turn_id: effect.turn_id.unwrap(),
        status: ItemStatus::Incomplete,
        output_index: Some(2),
        step: Some(0),
        body: ItemBody::AssistantMessage { content: vec!["A mom".to_owned()], phase: None },
        labels: tenure_journal::Labels::NEUTRAL,
    }];
    b.cancel();
    b.message("Go on");
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
          turn1 item2 #0 completed: message (commentary) "A moment."
          turn1 item3 #1 in_progress: function ask c1 {}
        > cancel
          item3 closed incomplete
          turn1 cancelled
        > message "Go on"
          inp2 accepted: "Go on"
          turn2 created
          inp2 joined turn2 as item4
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Hi"
          | assistant: "A moment."
          | call c1: ask {}
          | result c1: "The call was interrupted because the turn was cancelled. It may or may not have taken effect."
          | user: "Go on"
          | tools: ask
    "#,
    );
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
    b.check(r#"
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
          turn1 item2 #0 in_progress: mcp shop/send c1 {}
          eff3 requested: call shop/send {} (never)
          eff3 attempt 1
          turn1 item3 #1 in_progress: mcp shop/find c2 {}
          eff4 requested: call shop/find {} (freely)
          eff4 attempt 1
        > find returns
          eff4 attempt 1 returned "found", settled
        > cancel
          eff3 abandoned
          item2 closed incomplete
          turn1 cancelled
        > message "What happened?"
          inp2 accepted: "What happened?"
          turn2 created
          inp2 joined turn2 as item4
          turn2 started
          eff5 requested: ask m, step 0 (freely)
          eff5 attempt 1
          | user: "Pay"
          | call c1: shop__send {}
          | call c2: shop__find {}
          | result c1: "The call was interrupted because the turn was cancelled. It may or may not have taken effect."
          | result c2: "found"
          | user: "What happened?"
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#);
}

#[test]
fn while_servers_are_listed() {
    let mut b = Bench::new(vec![server("shop")], "Pay");
    b.cancel();
    b.message("Pay");
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
        > cancel
          eff1 abandoned
          turn1 cancelled
        > message "Pay"
          inp2 accepted: "Pay"
          turn2 created
          inp2 joined turn2 as item2
          turn2 started
          eff2 requested: list shop (freely)
          eff2 attempt 1
    "#,
    );
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
    b.check(r#"
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
          turn1 item3 #1 in_progress: function ask c2 {}
        > result of c2: "2"
          item3 returned "2" as item4 in turn1
        > cancel
          item2 closed incomplete
          turn1 cancelled
          = idle
        > message "Go on"
          inp2 accepted: "Go on"
          turn2 created
          inp2 joined turn2 as item5
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Go"
          | call c1: ask {}
          | call c2: ask {}
          | result c1: "The call was interrupted because the turn was cancelled. It may or may not have taken effect."
          | result c2: "2"
          | user: "Go on"
          | tools: ask
    "#);
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
    b.check(
        r#"
        > open "Refund"
          session opened for m
          inp1 accepted: "Refund"
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
          turn1 item2 #0 in_progress: mcp shop/refund c1 {}
          apr1 asks: shop/refund {} held by default.approved-tool
        > cancel
          apr1 decided: cancel by system
          item2 closed incomplete
          turn1 cancelled
          = idle
        > Approve apr1
          refused: the approval request `apr1` was already decided
        > Cancel apr1
          nothing
    "#,
    );
}

#[test]
fn between_two_attempts() {
    let mut b = Bench::new(vec![], "Hi");
    b.fails(FailureKind::Overloaded);
    b.cancel();
    b.wait(60_000);
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
        > cancel
          eff1 abandoned
          turn1 cancelled
        > 60000 ms pass
          nothing
    "#,
    );
}

#[test]
fn when_idle_or_deleted() {
    let mut b = Bench::new(vec![], "");
    b.cancel();
    b.delete();
    let _ = b.command("cancel", tenure_session::Command::Cancel);
    b.check(
        r#"
        > open
          session opened for m
        > cancel
          nothing
        > delete
          session deleted
        > cancel
          refused: the session is deleted
    "#,
    );
}

#[test]
fn with_messages_waiting_these_are_the_next_turn() {
    let mut b = Bench::new(vec![], "One");
    b.message("Two");
    b.cancel();
    b.context();
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
        > cancel
          eff1 abandoned
          turn1 cancelled
          turn2 created
          inp2 joined turn2 as item2
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "One"
          | user: "Two"
    "#,
    );
}
