//! Calls that wait for a person, and calls that policy refuses.

use std::sync::Arc;

use tenure_journal::{AgentPatch, ApprovalId, Decision, Fresh, Review, SessionPatch};
use tenure_policy::{PolicySet, PolicySource};

use crate::bench::{Bench, Show, agent, call, defaults, function, mcp, opened, say, server, shop};

fn held() -> Bench {
    let mut b = Bench::new(vec![server("shop")], "Refund");
    b.mute();
    b.lists(shop());
    b.unmute();
    b.answer(vec![call("c1", "shop__refund", r#"{"amount": 5}"#)]);
    b
}

#[test]
fn an_approved_call_is_made_once() {
    let mut b = held();
    b.status();
    b.wait(1_000_000_000);
    b.resumed();
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.decide(approval, Decision::Approve);
    b.decide(approval, Decision::Deny);
    b.returns("refund", "refunded");
    b.decide(approval, Decision::Approve);
    b.context();
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
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"amount":5}
          apr1 asks: shop/refund {"amount":5} held by default.approved-tool
          = requires_action, wants approval apr1 of refund
        > 1000000000 ms pass
          nothing
        > restart
          nothing
        > Approve apr1
          apr1 decided: approve by ann
          eff3 requested: call shop/refund {"amount":5} (with_key, approved by apr1)
          eff3 attempt 1
        > Approve apr1
          nothing
        > Deny apr1
          refused: the approval request `apr1` was already decided
        > refund returns
          eff3 attempt 1 returned "refunded", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
        > Approve apr1
          nothing
          | user: "Refund"
          | call c1: shop__refund {"amount":5}
          | result c1: "refunded"
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

#[test]
fn a_denied_call_is_not_made() {
    let mut b = held();
    let approval = b.approval();
    b.decide(approval, Decision::Deny);
    b.decide(approval, Decision::Deny);
    b.decide(approval, Decision::Approve);
    b.context();
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
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"amount":5}
          apr1 asks: shop/refund {"amount":5} held by default.approved-tool
        > Deny apr1
          apr1 decided: deny by ann
          item2 closed failed "A person was asked to approve this call and refused. It was not made."
          quarantined by ann for apr1
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
        > Deny apr1
          nothing
        > Approve apr1
          refused: the approval request `apr1` was already decided
          | user: "Refund"
          | call c1: shop__refund {"amount":5}
          | result c1: "A person was asked to approve this call and refused. It was not made."
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

#[test]
fn a_dismissed_question_is_told_to_the_model() {
    let mut b = held();
    let approval = b.approval();
    b.decide(approval, Decision::Cancel);
    b.context();
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
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"amount":5}
          apr1 asks: shop/refund {"amount":5} held by default.approved-tool
        > Cancel apr1
          apr1 decided: cancel by ann
          item2 closed failed "The approval request for this call was dismissed. It was not made."
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
          | user: "Refund"
          | call c1: shop__refund {"amount":5}
          | result c1: "The approval request for this call was dismissed. It was not made."
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

#[test]
fn an_unknown_approval_is_refused() {
    let mut b = held();
    let unknown = ApprovalId::fresh(&Fresh::new(b.now, 99));
    b.decide(unknown, Decision::Approve);
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
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"amount":5}
          apr1 asks: shop/refund {"amount":5} held by default.approved-tool
        > Approve apr2
          refused: no approval request `apr2` in this session
    "#,
    );
}

#[test]
fn each_held_call_has_its_own_answer() {
    let mut b = Bench::new(vec![server("shop")], "Refund");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", r#"{"n":1}"#), call("c2", "shop__refund", r#"{"n":2}"#)]);
    let first = b.approval();
    b.decide(first, Decision::Approve);
    let second = b.approval();
    b.decide(second, Decision::Deny);
    b.returns("refund", "refunded");
    b.context();
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
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"n":1}
          apr1 asks: shop/refund {"n":1} held by default.approved-tool
          turn1 item3 #1 in_progress: mcp shop/refund c2 {"n":2}
          apr2 asks: shop/refund {"n":2} held by default.approved-tool
        > Approve apr1
          apr1 decided: approve by ann
          eff3 requested: call shop/refund {"n":1} (with_key, approved by apr1)
          eff3 attempt 1
        > Deny apr2
          apr2 decided: deny by ann
          item3 closed failed "A person was asked to approve this call and refused. It was not made."
          quarantined by ann for apr2
        > refund returns
          eff3 attempt 1 returned "refunded", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
          | user: "Refund"
          | call c1: shop__refund {"n":1}
          | call c2: shop__refund {"n":2}
          | result c1: "refunded"
          | result c2: "A person was asked to approve this call and refused. It was not made."
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

#[test]
fn an_interrupted_approved_call_is_repeated_with_its_key_and_its_approval() {
    let mut b = held();
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.resumed();
    b.returns("refund", "refunded");
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
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"amount":5}
          apr1 asks: shop/refund {"amount":5} held by default.approved-tool
        > Approve apr1
          apr1 decided: approve by ann
          eff3 requested: call shop/refund {"amount":5} (with_key, approved by apr1)
          eff3 attempt 1
        > restart
          eff3 attempt 1 unknown, again in 0 ms
          eff3 attempt 2
        > refund returns
          eff3 attempt 2 returned "refunded", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
    "#,
    );
}

#[test]
fn automatic_review_denies_what_would_ask() {
    let mut opening = opened(agent(vec![server("shop")]));
    opening.review = Some(Review::AutoReview);
    let mut b = Bench::open(opening, "Refund", defaults(), Show::Events);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", "{}")]);
    b.context();
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
          policy refuses tool.call shop/refund: nobody can be asked (default.approved-tool)
          item2 closed failed "The call needs approval, and this session denies what needs it."
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
          | user: "Refund"
          | call c1: shop__refund {}
          | result c1: "The call needs approval, and this session denies what needs it."
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

fn with_policy(text: &str, tools: Vec<tenure_journal::Tool>) -> Bench {
    let source = PolicySource { name: "test.cedar".into(), text: text.into() };
    let policy = Arc::new(PolicySet::new(&[source]).unwrap());
    Bench::open(opened(agent(tools)), "Go", policy, Show::Events)
}

#[test]
fn policy_denies_a_call() {
    let text = r#"@id("no-mail") forbid (principal, action == Action::"tool.call",
        resource == Tool::"shop/send");"#;
    let mut b = with_policy(text, vec![server("shop")]);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", "{}")]);
    b.context();
    b.check(
        r#"
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
          turn1 item2 #0 in_progress: mcp shop/send c1 {}
          policy refuses tool.call shop/send: denied (no-mail)
          item2 closed failed "Policy does not allow this call (no-mail). It was not made."
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
          | user: "Go"
          | call c1: shop__send {}
          | result c1: "Policy does not allow this call (no-mail). It was not made."
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

#[test]
fn policy_denies_a_model() {
    let text = r#"@id("no-m") forbid (principal, action == Action::"model.call", resource == Model::"m");"#;
    let mut b = with_policy(text, vec![]);
    b.message("Again");
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          policy refuses model.call m: denied (no-m)
          turn1 failed: invalid_request "policy does not allow the model `m`"
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
          inp2 joined turn2 as item2
          turn2 started
          policy refuses model.call m: denied (no-m)
          turn2 failed: invalid_request "policy does not allow the model `m`"
    "#,
    );
}

#[test]
fn policy_denies_a_server() {
    let text = r#"@id("no-shop") forbid (principal, action == Action::"tools.list",
        resource == Server::"shop");"#;
    with_policy(text, vec![server("shop"), server("other")]).check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          policy refuses tools.list shop: denied (no-shop)
          turn1 failed: invalid_request "policy does not allow the tool server `shop`"
    "#,
    );
}

#[test]
fn an_approval_outlives_a_change_of_other_tools() {
    let mut b = held();
    let tools = Some(vec![server("shop"), function("ask")]);
    let agent = Some(AgentPatch { tools, ..AgentPatch::default() });
    b.update("tools: one more", SessionPatch { agent, ..SessionPatch::default() });
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
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
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"amount":5}
          apr1 asks: shop/refund {"amount":5} held by default.approved-tool
        > update tools: one more
          session updated
        > Approve apr1
          apr1 decided: approve by ann
          eff3 requested: call shop/refund {"amount":5} (with_key, approved by apr1)
          eff3 attempt 1
    "#,
    );
}

#[test]
fn an_approval_of_a_tool_that_is_gone_makes_no_call() {
    let mut b = held();
    let mut narrower = mcp("shop");
    narrower.allowed_tools = Some(vec!["find".to_owned()]);
    let tools = Some(vec![tenure_journal::Tool::Mcp(narrower)]);
    let agent = Some(AgentPatch { tools, ..AgentPatch::default() });
    b.update("tools: fewer", SessionPatch { agent, ..SessionPatch::default() });
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.lists(shop());
    b.answer(vec![say("I cannot.")]);
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
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/refund c1 {"amount":5}
          apr1 asks: shop/refund {"amount":5} held by default.approved-tool
        > update tools: fewer
          session updated
        > Approve apr1
          apr1 decided: approve by ann
          item2 closed failed "The call was approved, but the tool is no longer offered. It was not made."
          eff3 requested: list shop (freely)
          eff3 attempt 1
        > listing
          eff3 attempt 1 listed 5 tools, settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
        > answer
          eff4 attempt 1 answered, settled
          turn1 item3 #1 completed: message (final_answer) "I cannot."
          turn1 completed
    "#,
    );
}
