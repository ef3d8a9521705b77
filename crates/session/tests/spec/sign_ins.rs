//! Waiting for a person to sign in where a tool server's credential is not accepted, or there is none.

use std::sync::Arc;

use tenure_journal::{
    AgentPatch, AuditFact, Decision, EffectKind, Event, FailureKind, McpTool, McpTransport, Origin, Secret,
    SecretId, SessionPatch, SessionStatus, Tool,
};
use tenure_policy::{PolicySet, PolicySource};
use tenure_session::{Command, Refusal};

use crate::bench::{Bench, Show, agent, call, mcp, opened, say, server, shop};

const SHOP: &str = "https://shop.example/mcp";

/// How long a test lets pass: longer than anything waits that has a deadline.
const LONG_MS: u64 = 7 * 24 * 60 * 60 * 1000;

#[test]
fn a_listing_waits_without_end_and_goes_on_when_a_person_has_signed_in() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.fails(FailureKind::SignInRequired);
    b.status();
    assert_eq!(b.session.next_retry(&b.frozen), None, "no clock ends it");
    assert_eq!(b.session.head().wake_at, None, "nobody has to look after it");
    b.wait(LONG_MS);
    b.status();
    b.command("signed in", Command::SignedIn).unwrap();
    b.lists(shop());
    b.answer(vec![say("Hello.")]);
    b.status();
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
        > SignInRequired
          eff1 attempt 1 failed: sign_in_required "SignInRequired happened", again in 2592000000 ms
          = requires_action, wants a sign-in at shop
        > 604800000 ms pass
          nothing
          = requires_action, wants a sign-in at shop
        > signed in
          a person signed in
          eff1 attempt 2
        > listing
          eff1 attempt 2 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
          = idle
    "#,
    );
}

#[test]
fn a_call_that_must_not_be_repeated_waits_too_for_it_was_never_sent() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", r#"{"to":"ann"}"#)]);
    b.fails(FailureKind::SignInRequired);
    b.status();
    // However often it has to wait, that is no failure of the call.
    for _ in 0..20 {
        b.command("signed in", Command::SignedIn).unwrap();
        b.fails(FailureKind::SignInRequired);
    }
    b.command("signed in", Command::SignedIn).unwrap();
    b.returns("send", "sent");
    b.answer(vec![say("Done.")]);
    assert!(b.transcript().contains("message (final_answer) \"Done.\""), "{}", b.transcript());
}

#[test]
fn a_person_who_signs_in_changes_nothing_where_nobody_waits() {
    let mut b = Bench::new(vec![], "Hi");
    b.mute();
    b.answer(vec![say("Hello.")]);
    let before = b.version();
    b.command("signed in", Command::SignedIn).unwrap();
    assert_eq!(b.version(), before);
    b.delete();
    assert_eq!(b.command("signed in", Command::SignedIn), Ok::<(), Refusal>(()));
}

#[test]
fn cancelling_ends_the_wait() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.fails(FailureKind::SignInRequired);
    b.cancel();
    b.command("signed in", Command::SignedIn).unwrap();
    assert!(b.transcript().contains("turn1 cancelled"), "{}", b.transcript());
    assert!(!b.transcript().contains("a person signed in"), "{}", b.transcript());
}

/// A server over HTTP that has no credential.
fn open_server(label: &str, url: &str) -> Tool {
    let transport = McpTransport::Http { server_url: url.to_owned(), headers: [].into(), secret: None };
    Tool::Mcp(McpTool { transport, ..mcp(label) })
}

fn ruled(tools: Vec<Tool>, text: &str) -> Bench {
    let source = PolicySource { name: "p.cedar".to_owned(), text: text.to_owned() };
    let policy = Arc::new(PolicySet::new(&[source]).expect("valid policies"));
    Bench::open(opened(agent(tools)), "Hi", policy, Show::Events)
}

/// A credential for this address came to lie in one of the session's vaults.
fn bind(b: &mut Bench, server_url: &str) {
    let credential_id = "cred_1".to_owned();
    b.command("credential", Command::BindCredential { server_url: server_url.to_owned(), credential_id })
        .unwrap();
}

fn credential(b: &Bench, label: &str) -> Option<String> {
    b.session.agent().tools.iter().find_map(|tool| {
        let Tool::Mcp(mcp) = tool else { return None };
        (mcp.server_label == label).then(|| mcp.credential_id.clone())?
    })
}

fn bindings(b: &Bench) -> usize {
    b.journal.iter().filter(|one| matches!(one.event, Event::CredentialBound { .. })).count()
}

/// The calls that are under way or waited for, by what they ask.
fn asked(b: &Bench) -> Vec<&'static str> {
    let word = |kind: &EffectKind| {
        if matches!(kind, EffectKind::ListTools { .. }) {
            "listing"
        } else if matches!(kind, EffectKind::ToolCall { .. }) {
            "call"
        } else {
            "other"
        }
    };
    b.running.iter().map(|(effect, _)| word(&effect.kind)).collect()
}

#[test]
fn a_server_that_has_no_credential_waits_for_one_and_is_shown_it() {
    let mut b = Bench::new(vec![open_server("shop", SHOP)], "Hi");
    b.fails(FailureKind::SignInRequired);
    b.status();
    assert_eq!(b.session.head().wake_at, None, "nobody has to look after it");
    // Another address is another server, however like it looks.
    bind(&mut b, "https://shop.example/mcp/");
    bind(&mut b, SHOP);
    b.lists(shop());
    b.answer(vec![say("Hello.")]);
    b.status();
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
        > SignInRequired
          eff1 attempt 1 failed: sign_in_required "SignInRequired happened", again in 2592000000 ms
          = requires_action, wants a sign-in at shop
        > credential
          nothing
        > credential
          shop is shown cred_1
          eff1 may show cred_1
          eff1 attempt 2
        > listing
          eff1 attempt 2 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
          = idle
    "#,
    );
    assert_eq!(credential(&b, "shop").as_deref(), Some("cred_1"));
    let permitted = |fact: &AuditFact| matches!(fact, AuditFact::Allowed { action, resource, .. } if action == "secret.use" && resource == "cred_1");
    assert_eq!(
        b.records.iter().filter(|record| permitted(&record.fact)).count(),
        1,
        "an auditor is told of it"
    );
}

#[test]
fn a_call_that_must_not_be_repeated_is_made_with_the_credential_for_it_was_refused() {
    let mut b = Bench::new(vec![open_server("shop", SHOP)], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", r#"{"to":"ann"}"#)]);
    b.fails(FailureKind::SignInRequired);
    bind(&mut b, SHOP);
    b.returns("send", "sent");
    // The next call is allowed with its credential from the start.
    b.answer(vec![call("c2", "shop__send", r#"{"to":"bob"}"#)]);
    b.returns("send", "sent");
    b.answer(vec![say("Done.")]);
    assert_eq!(bindings(&b), 1);
    assert!(b.transcript().contains("message (final_answer) \"Done.\""), "{}", b.transcript());
}

#[test]
fn one_who_hears_of_it_before_the_attempt_has_ended_does_not_wait() {
    let mut b = Bench::new(vec![open_server("shop", SHOP)], "Hi");
    bind(&mut b, SHOP);
    b.fails(FailureKind::SignInRequired);
    assert_eq!(b.session.view().status, SessionStatus::InProgress, "{}", b.transcript());
    b.wait(0);
    b.lists(shop());
    b.answer(vec![say("Hello.")]);
    assert!(b.transcript().contains("eff1 may show cred_1"), "{}", b.transcript());
    // A second credential changes nothing, nor does one where nobody asks.
    let before = b.version();
    bind(&mut b, SHOP);
    assert_eq!(b.version(), before);
}

#[test]
fn one_who_hears_of_a_sign_in_before_the_attempt_has_ended_asks_once_more() {
    let mut b = Bench::new(vec![open_server("shop", SHOP), server("own")], "Hi");
    b.command("signed in", Command::SignedIn).unwrap();
    // Who says it twice changes nothing.
    let before = b.version();
    b.command("signed in", Command::SignedIn).unwrap();
    assert_eq!(b.version(), before);
    b.fails(FailureKind::SignInRequired);
    assert_eq!(b.session.view().status, SessionStatus::InProgress, "{}", b.transcript());
    b.lists(shop());
    b.wait(0);
    // It looked again, and nobody said anything since.
    b.fails(FailureKind::SignInRequired);
    assert_eq!(b.session.view().status, SessionStatus::RequiresAction, "{}", b.transcript());
    b.command("signed in", Command::SignedIn).unwrap();
    b.lists(shop());
    b.answer(vec![say("Hello.")]);
    assert_eq!(b.session.view().status, SessionStatus::Idle, "{}", b.transcript());
}

/// The session's tools are these from here on.
fn give_tools(b: &mut Bench, tools: Vec<Tool>) {
    let agent = AgentPatch { tools: Some(tools), ..AgentPatch::default() };
    let patch = Box::new(SessionPatch { agent: Some(agent), ..SessionPatch::default() });
    b.command("other tools", Command::Update { patch }).unwrap();
}

/// The server with a credential that it was given.
fn bound_server(label: &str, url: &str, credential_id: &str) -> Tool {
    let Tool::Mcp(mcp) = open_server(label, url) else { panic!("it is one") };
    Tool::Mcp(McpTool { credential_id: Some(credential_id.to_owned()), ..mcp })
}

#[test]
fn a_call_whose_server_is_another_now_does_not_wait_for_the_one_before() {
    let mut b = Bench::new(vec![open_server("shop", SHOP)], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", r#"{"to":"ann"}"#)]);
    b.fails(FailureKind::SignInRequired);
    // What is nothing to the server changes nothing about the wait.
    b.command("update", Command::Update { patch: Box::default() }).unwrap();
    assert_eq!(asked(&b), [""; 0]);
    give_tools(&mut b, vec![]);
    assert_eq!(asked(&b), ["call"], "{}", b.transcript());
    b.fails(FailureKind::NotFound);
    b.answer(vec![say("It is gone.")]);
    assert_eq!(b.session.view().status, SessionStatus::Idle, "{}", b.transcript());
}

#[test]
fn a_credential_that_comes_with_other_tools_is_asked_about_before_it_is_shown() {
    let mut b = Bench::new(vec![open_server("shop", SHOP)], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", r#"{"to":"ann"}"#)]);
    b.fails(FailureKind::SignInRequired);
    give_tools(&mut b, vec![bound_server("shop", SHOP, "cred_2")]);
    assert!(b.transcript().contains("may show cred_2"), "{}", b.transcript());
    assert_eq!(asked(&b), ["call"], "{}", b.transcript());
    // It was deleted, and the tools are given anew without it: nothing is shown, and the call waits again.
    give_tools(&mut b, vec![open_server("shop", SHOP)]);
    b.fails(FailureKind::SignInRequired);
    assert_eq!(b.session.view().status, SessionStatus::RequiresAction, "{}", b.transcript());
    let keep = r#"@id("keep") forbid (principal, action == Action::"secret.use", resource);"#;
    let mut b = ruled(vec![open_server("shop", SHOP)], keep);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", r#"{"to":"ann"}"#)]);
    b.fails(FailureKind::SignInRequired);
    give_tools(&mut b, vec![bound_server("shop", SHOP, "cred_2")]);
    assert!(b.transcript().contains("Policy does not allow the credential"), "{}", b.transcript());
}

#[test]
fn each_server_is_waited_for_by_itself() {
    const OTHER: &str = "https://other.example/mcp";
    let mut b = Bench::new(vec![open_server("shop", SHOP), open_server("other", OTHER)], "Hi");
    b.fails(FailureKind::SignInRequired);
    b.fails(FailureKind::SignInRequired);
    bind(&mut b, OTHER);
    assert_eq!((credential(&b, "shop"), credential(&b, "other").as_deref()), (None, Some("cred_1")));
    assert_eq!(b.running.len(), 1);
    b.lists(shop());
    assert_eq!(b.session.view().status, SessionStatus::RequiresAction);
    bind(&mut b, SHOP);
    b.lists(shop());
    b.answer(vec![say("Hello.")]);
    assert_eq!(b.session.view().status, SessionStatus::Idle, "{}", b.transcript());
}

#[test]
fn servers_that_no_credential_is_for_are_given_none() {
    let fresh = tenure_journal::Fresh::new(crate::bench::START, 9);
    let secret = Some(Secret(SecretId::fresh(&fresh)));
    let http = |secret| McpTransport::Http { server_url: SHOP.to_owned(), headers: [].into(), secret };
    for (transport, origin) in [
        (http(secret), Origin::Service),
        (http(None), Origin::Environment),
        (McpTransport::Project, Origin::Service),
    ] {
        let mut b = Bench::new(vec![Tool::Mcp(McpTool { transport, origin, ..mcp("shop") })], "Hi");
        let before = b.version();
        bind(&mut b, SHOP);
        assert_eq!((b.version(), credential(&b, "shop")), (before, None));
    }
}

#[test]
fn a_listing_that_policy_keeps_the_credential_from_fails_its_turn() {
    let keep = r#"@id("keep") forbid (principal, action == Action::"secret.use", resource);"#;
    let mut b = ruled(vec![open_server("shop", SHOP), open_server("other", SHOP)], keep);
    b.fails(FailureKind::SignInRequired);
    b.fails(FailureKind::SignInRequired);
    bind(&mut b, SHOP);
    assert_eq!(asked(&b), [""; 0]);
    let transcript = b.transcript();
    assert!(transcript.contains("policy does not allow the tool server `"), "{transcript}");
    assert!(!transcript.contains("may show"), "{transcript}");
    assert_eq!(b.session.view().status, SessionStatus::Idle);
}

#[test]
fn a_call_that_policy_keeps_the_credential_from_is_refused_and_the_turn_goes_on() {
    let keep =
        r#"@id("keep") forbid (principal, action == Action::"secret.use", resource == Secret::"cred_1");"#;
    let mut b = ruled(vec![open_server("shop", SHOP)], keep);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", r#"{"to":"ann"}"#)]);
    b.fails(FailureKind::SignInRequired);
    bind(&mut b, SHOP);
    assert_eq!(asked(&b), ["other"], "the model is asked what now: {}", b.transcript());
    assert!(b.transcript().contains("Policy does not allow the credential"), "{}", b.transcript());
    b.answer(vec![say("It is not allowed.")]);
    assert_eq!(b.session.view().status, SessionStatus::Idle);
}

#[test]
fn a_credential_that_people_must_approve_is_asked_about_when_the_call_is_made_again() {
    let ask = r#"@id("ask") @ask("approvers") forbid (principal, action == Action::"secret.use", resource)
        unless { context has approval };"#;
    let mut b = ruled(vec![open_server("shop", SHOP)], ask);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__find", r#"{"order":7}"#)]);
    b.fails(FailureKind::SignInRequired);
    bind(&mut b, SHOP);
    assert!(b.transcript().contains("make it again"), "{}", b.transcript());
    b.answer(vec![call("c2", "shop__find", r#"{"order":7}"#)]);
    b.decide(b.approval(), Decision::Approve);
    b.returns("find", "a bicycle");
    b.answer(vec![say("Found.")]);
    assert_eq!(b.session.view().status, SessionStatus::Idle, "{}", b.transcript());
}

#[test]
fn cancelling_ends_the_wait_for_a_credential() {
    let mut b = Bench::new(vec![open_server("shop", SHOP)], "Hi");
    b.fails(FailureKind::SignInRequired);
    b.cancel();
    let before = b.version();
    bind(&mut b, SHOP);
    assert_eq!((b.version(), credential(&b, "shop")), (before, None));
}
