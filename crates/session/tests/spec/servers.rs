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
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list a b (freely)
          eff1 attempt 1
          eff2 requested: list shop (freely)
          eff2 attempt 1
        > listing
          eff1 attempt 1 listed 5 tools, settled
        > listing
          eff2 attempt 1 listed 1 tools, settled
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
          | user: "Hi"
          | tools: a_b__find, a_b__pay, a_b__tag, a_b__send, a_b__refund, shop__find
        > answer
          eff3 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff4 requested: ask m, step 0 (freely)
          eff4 attempt 1
    "#,
    );
}

#[test]
fn an_old_listing_is_asked_for_again_by_the_next_turn() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.wait(limit::LISTING_AGE_MS_MAX - 10);
    b.answer(vec![say("Hello.")]);
    b.message("Still fresh");
    b.answer(vec![say("Ok.")]);
    b.wait(10);
    b.message("Old");
    b.lists(shop());
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > listing
          eff1 attempt 1 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > 599990 ms pass
          nothing
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
        > message "Still fresh"
          inp2 accepted: "Still fresh"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
        > answer
          eff3 attempt 1 answered, settled
          turn2 item4 #0 completed: message (final_answer) "Ok."
          turn2 completed
        > 10 ms pass
          nothing
        > message "Old"
          inp3 accepted: "Old"
          turn3 created
          inp3 joined turn3 as item5
          turn3 started
          eff4 requested: list shop (freely)
          eff4 attempt 1
        > listing
          eff4 attempt 1 listed 5 tools, settled
          eff5 requested: ask m, step 0 (freely)
          eff5 attempt 1
    "#,
    );
}

#[test]
fn a_server_whose_tools_have_changed_is_asked_again_at_the_next_step() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.mute();
    b.lists(shop());
    b.unmute();
    b.answer(vec![call("c1", "shop__find", "{}")]);
    b.wait(1);
    b.tools_changed.insert("shop".to_owned(), b.now);
    b.returns("find", "found");
    b.wait(1);
    b.lists(shop());
    b.note("once it has been asked, it is not asked again");
    b.answer(vec![call("c2", "shop__find", "{}")]);
    b.returns("find", "found");
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: mcp shop/find c1 {}
          eff3 requested: call shop/find {} (freely)
          eff3 attempt 1
        > 1 ms pass
          nothing
        > find returns
          eff3 attempt 1 returned "found", settled
          eff4 requested: list shop (freely)
          eff4 attempt 1
        > 1 ms pass
          nothing
        > listing
          eff4 attempt 1 listed 5 tools, settled
          eff5 requested: ask m, step 1 (freely)
          eff5 attempt 1
          = once it has been asked, it is not asked again
        > answer
          eff5 attempt 1 answered, settled
          turn1 item3 #1 in_progress: mcp shop/find c2 {}
          eff6 requested: call shop/find {} (freely)
          eff6 attempt 1
        > find returns
          eff6 attempt 1 returned "found", settled
          eff7 requested: ask m, step 2 (freely)
          eff7 attempt 1
    "#,
    );
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
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > Authentication
          eff1 attempt 1 failed: authentication "Authentication happened", settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Hi"
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Without tools."
          turn1 completed
        > 1 ms pass
          nothing
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff3 requested: list shop (freely)
          eff3 attempt 1
        > listing
          eff3 attempt 1 listed 5 tools, settled
          eff4 requested: ask m, step 0 (freely)
          eff4 attempt 1
          | user: "Hi"
          | assistant: "Without tools."
          | user: "Again"
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
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
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > ConnectionFailed
          eff1 attempt 1 failed: connection_failed "ConnectionFailed happened", again in 100 ms
        > 30000 ms pass
          eff1 attempt 2
        > ConnectionFailed
          eff1 attempt 2 failed: connection_failed "ConnectionFailed happened", again in 200 ms
        > 30000 ms pass
          eff1 attempt 3
        > ConnectionFailed
          eff1 attempt 3 failed: connection_failed "ConnectionFailed happened", again in 400 ms
        > 30000 ms pass
          eff1 attempt 4
        > ConnectionFailed
          eff1 attempt 4 failed: connection_failed "ConnectionFailed happened", settled
          turn1 failed: connection_failed "the required tool server `shop` cannot be used"
        > 30000 ms pass
          nothing
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
          inp2 joined turn2 as item2
          turn2 started
          eff2 requested: list shop (freely)
          eff2 attempt 1
    "#,
    );
}

#[test]
fn only_allowed_tools_are_shown_and_called() {
    let mut narrow = mcp("shop");
    narrow.allowed_tools = Some(vec!["find".to_owned(), "fly".to_owned()]);
    let mut b = Bench::new(vec![Tool::Mcp(narrow)], "Hi");
    b.lists(shop());
    b.context();
    b.answer(vec![call("c1", "shop__pay", "{}")]);
    b.check(r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > listing
          eff1 attempt 1 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Hi"
          | tools: shop__find
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 failed: internal shop__pay c1 "{}" told "Not called: there is no tool of that name. Tools: shop__find."
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
    "#);
}

#[test]
fn changed_tools_count_from_the_next_request_on() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    let agent = Some(AgentPatch { tools: Some(vec![server("shop")]), ..AgentPatch::default() });
    b.update("tools", SessionPatch { agent, ..SessionPatch::default() });
    b.answer(vec![call("c1", "ask", "{}")]);
    b.lists(shop());
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
        > update tools
          session updated
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 failed: internal ask c1 "{}" told "Not called: there is no tool of that name. Tools: ."
          eff2 requested: list shop (freely)
          eff2 attempt 1
        > listing
          eff2 attempt 1 listed 5 tools, settled
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
          | user: "Hi"
          | call c1: ask {}
          | result c1: "Not called: there is no tool of that name. Tools: ."
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

#[test]
fn a_listing_of_a_server_that_was_replaced_meanwhile_does_not_count() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    let (effect, attempt) = b.running[0].clone();
    let mut other = mcp("shop");
    other.transport = tenure_journal::McpTransport::Http {
        server_url: "https://other.example".into(),
        headers: [].into(),
        secret: None,
    };
    let agent = Some(AgentPatch { tools: Some(vec![Tool::Mcp(other)]), ..AgentPatch::default() });
    b.update("tools", SessionPatch { agent, ..SessionPatch::default() });
    b.attempted("listing of the old one", effect.id, attempt, tenure_session::Attempted::Listed(shop()));
    b.lists(shop()[..1].to_vec());
    b.context();
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > update tools
          session updated
          eff1 abandoned
          eff2 requested: list shop (freely)
          eff2 attempt 1
        > listing of the old one
          nothing
        > listing
          eff2 attempt 1 listed 1 tools, settled
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
          | user: "Hi"
          | tools: shop__find
    "#,
    );
}

#[test]
fn a_tool_may_report_an_error() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__find", "{}")]);
    b.returns_as("find", ToolResult::inline("no such thing".into(), true));
    b.context();
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
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
          turn1 item2 #0 in_progress: mcp shop/find c1 {}
          eff3 requested: call shop/find {} (freely)
          eff3 attempt 1
        > find returns
          eff3 attempt 1 returned an error "no such thing", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
          | user: "Hi"
          | call c1: shop__find {}
          | result c1: "no such thing"
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#,
    );
}

#[test]
fn a_long_output_is_stored_and_can_be_read() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__find", "{}")]);
    let stored = Some(BlobRef::of(b"a very long text"));
    b.returns_as("find", ToolResult { stored, ..ToolResult::inline("a very…".into(), false) });
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
    b.check(r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
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
          turn1 item2 #0 in_progress: mcp shop/find c1 {}
          eff3 requested: call shop/find {} (freely)
          eff3 attempt 1
        > find returns
          eff3 attempt 1 returned "a very…", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
          | user: "Hi"
          | call c1: shop__find {}
          | result c1: "a very…\n[Shortened. Read more with read_output, output_id `item2`.]"
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund, read_output
        > answer
          eff4 attempt 1 answered, settled
          turn1 item3 #1 in_progress: mcp tenure/read_output c2 {"output_id":"item2","offset":7}
          eff5 requested: call built-in read_output {"blob":"b3:3bb6321ebff353036a580223339b89307c6668269aaeb286cb35e26c8bb013eb:16","offset":7} (freely)
          eff5 attempt 1
          turn1 item4 #2 in_progress: mcp tenure/read_output c3 {"output_id":"item_of_another"}
          item4 closed failed "`output_id` names no stored output; use the id given in the shortened output."
          turn1 item5 #3 in_progress: mcp tenure/read_output c4 {}
          item5 closed failed "`output_id` names no stored output; use the id given in the shortened output."
        > restart
          eff5 attempt 1 unknown, again in 0 ms
          eff5 attempt 2
        > read_output returns
          eff5 attempt 2 returned "long text", settled
          eff6 requested: ask m, step 2 (freely)
          eff6 attempt 1
          | user: "Hi"
          | call c1: shop__find {}
          | result c1: "a very…\n[Shortened. Read more with read_output, output_id `item2`.]"
          | call c2: read_output {"output_id":"item2","offset":7}
          | call c3: read_output {"output_id":"item_of_another"}
          | call c4: read_output {}
          | result c2: "long text"
          | result c3: "`output_id` names no stored output; use the id given in the shortened output."
          | result c4: "`output_id` names no stored output; use the id given in the shortened output."
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund, read_output
    "#);
}
