//! Tool servers: listing, refreshing, failing, and changing under a session.

use tenure_journal::{AgentPatch, BlobRef, FailureKind, SessionPatch, Tool, ToolResult, limit};

use crate::bench::{Bench, call, function, mcp, say, server, shop};

#[test]
fn servers_are_listed_before_the_model_is_asked() {
    let mut b = Bench::new(vec![server("a b"), server("shop")], "Hi");
    b.lists(shop());
    b.lists(shop()[..1].to_vec());
    b.context();
    b.answer(vec![say("Hello.")]);
    b.message("Again");
    b.check("");
}

#[test]
fn an_old_listing_is_asked_for_again_by_the_next_turn() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.wait(limit::LISTING_AGE_MS_MAX);
    b.answer(vec![say("Hello.")]);
    b.message("Still fresh");
    b.answer(vec![say("Ok.")]);
    b.wait(1);
    b.message("Old");
    b.lists(shop());
    b.check("");
}

#[test]
fn a_server_that_is_down_is_left_out_and_asked_again_by_the_next_turn() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.fails(FailureKind::Authentication);
    b.context();
    b.answer(vec![say("Without tools.")]);
    b.wait(1);
    b.message("Again");
    b.lists(shop());
    b.context();
    b.check("");
}

#[test]
fn a_required_server_that_is_down_fails_the_turn() {
    let mut required = mcp("shop");
    required.required = true;
    let mut b = Bench::new(vec![Tool::Mcp(required)], "Hi");
    for _ in 0..limit::TOOL_ATTEMPTS_MAX {
        b.fails(FailureKind::ConnectionFailed);
        b.wait(limit::BACKOFF_MS_MAX);
    }
    b.message("Again");
    b.check("");
}

#[test]
fn only_allowed_tools_are_shown_and_called() {
    let mut narrow = mcp("shop");
    narrow.allowed_tools = Some(vec!["find".to_owned(), "fly".to_owned()]);
    let mut b = Bench::new(vec![Tool::Mcp(narrow)], "Hi");
    b.lists(shop());
    b.context();
    b.answer(vec![call("c1", "shop__pay", "{}")]);
    b.check("");
}

#[test]
fn changed_tools_count_from_the_next_request_on() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    let agent = Some(AgentPatch { tools: Some(vec![server("shop")]), ..AgentPatch::default() });
    b.update("tools", SessionPatch { agent, ..SessionPatch::default() });
    b.answer(vec![call("c1", "ask", "{}")]);
    b.lists(shop());
    b.context();
    b.check("");
}

#[test]
fn a_listing_of_a_server_that_was_replaced_meanwhile_does_not_count() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    let (effect, attempt) = b.running[0].clone();
    let mut other = mcp("shop");
    other.transport =
        tenure_journal::McpTransport::Http { server_url: "https://other.example".into(), secret: None };
    let agent = Some(AgentPatch { tools: Some(vec![Tool::Mcp(other)]), ..AgentPatch::default() });
    b.update("tools", SessionPatch { agent, ..SessionPatch::default() });
    b.attempted("listing of the old one", effect.id, attempt, tenure_session::Attempted::Listed(shop()));
    b.lists(shop()[..1].to_vec());
    b.context();
    b.check("");
}

#[test]
fn a_tool_may_report_an_error() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__find", "{}")]);
    b.returns_as("find", ToolResult { text: "no such thing".into(), is_error: true, stored: None });
    b.context();
    b.check("");
}

#[test]
fn a_long_output_is_stored_and_can_be_read() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__find", "{}")]);
    let stored = Some(BlobRef::of(b"a very long text"));
    b.returns_as("find", ToolResult { text: "a very…".into(), is_error: false, stored });
    b.context();
    let id = b.item_of("c1").to_string();
    b.answer(vec![
        call("c2", "read_output", &format!(r#"{{"output_id":"{id}","offset":7}}"#)),
        call("c3", "read_output", r#"{"output_id":"item_of_another"}"#),
        call("c4", "read_output", "{}"),
    ]);
    b.resumed();
    b.returns("read_output", "long text");
    b.context();
    b.check("");
}
