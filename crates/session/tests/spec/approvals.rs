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
    b.check("");
}

#[test]
fn a_denied_call_is_not_made() {
    let mut b = held();
    let approval = b.approval();
    b.decide(approval, Decision::Deny);
    b.decide(approval, Decision::Deny);
    b.decide(approval, Decision::Approve);
    b.context();
    b.check("");
}

#[test]
fn a_dismissed_question_is_told_to_the_model() {
    let mut b = held();
    let approval = b.approval();
    b.decide(approval, Decision::Cancel);
    b.context();
    b.check("");
}

#[test]
fn an_unknown_approval_is_refused() {
    let mut b = held();
    let unknown = ApprovalId::fresh(&Fresh::new(b.now, 99));
    b.decide(unknown, Decision::Approve);
    b.check("");
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
    b.check("");
}

#[test]
fn an_interrupted_approved_call_is_repeated_with_its_key_and_its_approval() {
    let mut b = held();
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.resumed();
    b.returns("refund", "refunded");
    b.check("");
}

#[test]
fn automatic_review_denies_what_would_ask() {
    let mut opening = opened(agent(vec![server("shop")]));
    opening.review = Some(Review::AutoReview);
    let mut b = Bench::open(opening, "Refund", defaults(), Show::Events);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", "{}")]);
    b.context();
    b.check("");
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
    b.check("");
}

#[test]
fn policy_denies_a_model() {
    let text = r#"@id("no-m") forbid (principal, action == Action::"model.call", resource == Model::"m");"#;
    let mut b = with_policy(text, vec![]);
    b.message("Again");
    b.check("");
}

#[test]
fn policy_denies_a_server() {
    let text = r#"@id("no-shop") forbid (principal, action == Action::"tools.list",
        resource == Server::"shop");"#;
    with_policy(text, vec![server("shop"), server("other")]).check("");
}

#[test]
fn an_approval_outlives_a_change_of_other_tools() {
    let mut b = held();
    let tools = Some(vec![server("shop"), function("ask")]);
    let agent = Some(AgentPatch { tools, ..AgentPatch::default() });
    b.update("tools: one more", SessionPatch { agent, ..SessionPatch::default() });
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.check("");
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
    b.check("");
}
