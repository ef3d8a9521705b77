//! Tickets: who may answer, how many of them, until when; and what a refusal does to the session.

use std::sync::Arc;

use tenure_journal::{ApprovalId, Decision, EffectKind, Event, Network, Party};
use tenure_policy::{PolicySet, PolicySource};
use tenure_session::{Attempted, Command};

use crate::bench::{Bench, Show, agent, call, defaults, hosted, opened, root, server, shop};

fn policies(text: &str) -> Arc<PolicySet> {
    let source = PolicySource { name: "test.cedar".into(), text: text.into() };
    Arc::new(PolicySet::new(&[source]).unwrap())
}

/// A session that acts for the key `key_1` and has asked for a refund.
fn held(policy: Arc<PolicySet>) -> Bench {
    let mut opening = opened(agent(vec![server("shop")]));
    opening.opened_by = Some(Party::service("key_1", &["approvers", "finance"]));
    let mut b = Bench::open(opening, "Refund", policy, Show::Events);
    b.mute();
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", r#"{"amount": 5}"#)]);
    b.unmute();
    b
}

fn decide(b: &mut Bench, id: ApprovalId, decision: Decision, by: &Party) {
    let label = format!("{} {}: {decision:?}", by.id, by.groups.join(","));
    let _ = b.command(&label, Command::Decide { approval_id: id, decision, by: by.clone() });
}

#[track_caller]
fn check(b: &Bench, expected: &str) {
    let lines = || expected.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: String = lines().map(|line| format!("{}\n", &line[indent..])).collect();
    assert_eq!(b.transcript_after("  …\n"), expected);
}

const FINANCE: &str = r#"
    @id("refunds") @ask("finance") @expires("2h") @escalate("board")
    forbid (principal, action == Action::"tool.call", resource == Tool::"shop/refund")
    unless { context has approval && context.approval.approvers >= 2 };"#;

#[test]
fn as_many_approve_as_the_policy_says_and_of_whom_it_says() {
    let mut b = held(policies(FINANCE));
    let id = b.approval();
    for (who, groups) in [
        ("key_4", ["approvers"]),
        ("key_1", ["finance"]),
        ("key_2", ["finance"]),
        ("key_2", ["finance"]),
        ("key_3", ["finance"]),
        ("key_3", ["finance"]),
    ] {
        decide(&mut b, id, Decision::Approve, &Party::service(who, &groups));
    }
    check(
        &b,
        "
        > key_4 approvers: Approve
          refused: policy does not allow this (guard.approver-group)
        > key_1 finance: Approve
          refused: policy does not allow this (guard.four-eyes)
        > key_2 finance: Approve
          apr1 supported by key_2
        > key_2 finance: Approve
          nothing
        > key_3 finance: Approve
          apr1 decided: approve by key_3
          eff3 requested: call shop/refund {\"amount\":5} (with_key, approved by apr1)
          eff3 attempt 1
        > key_3 finance: Approve
          nothing
    ",
    );
}

#[test]
fn one_refusal_suffices_and_the_requester_may_refuse() {
    let mut b = held(policies(FINANCE));
    let id = b.approval();
    decide(&mut b, id, Decision::Approve, &Party::service("key_2", &["finance"]));
    decide(&mut b, id, Decision::Deny, &Party::service("key_1", &["finance"]));
    check(
        &b,
        r#"
        > key_2 finance: Approve
          apr1 supported by key_2
        > key_1 finance: Deny
          apr1 decided: deny by key_1
          item2 closed failed "A person was asked to approve this call and refused. It was not made."
          quarantined by key_1 for apr1
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
    "#,
    );
}

#[test]
fn a_quarantined_session_reads_until_it_is_released() {
    let mut b = held(defaults());
    b.mute();
    let id = b.approval();
    decide(&mut b, id, Decision::Deny, &Party::service("ann", &["approvers"]));
    b.unmute();
    b.answer(vec![
        call("c2", "shop__find", "{}"),
        call("c3", "shop__send", "{}"),
        call("c4", "shop__refund", "{}"),
    ]);
    assert_eq!(b.session.view().quarantined_by.as_deref(), Some("ann"));
    let release = || Command::Release { by: Party::service("ben", &["approvers"]) };
    b.command("release", release()).unwrap();
    b.command("release", release()).unwrap();
    b.returns("find", "found");
    b.answer(vec![call("c5", "shop__send", "{}")]);
    assert_eq!(b.session.view().quarantined_by, None);
    assert_eq!(
        b.transcript_after("  …\n").split_once("  …\n").unwrap().1,
        r#"> answer
  eff3 attempt 1 answered, settled
  turn1 item3 #1 in_progress: mcp shop/find c2 {}
  eff4 requested: call shop/find {} (freely)
  eff4 attempt 1
  turn1 item4 #2 in_progress: mcp shop/send c3 {}
  policy refuses tool.call shop/send: denied (guard.quarantine)
  item4 closed failed "Policy does not allow this call (guard.quarantine). It was not made."
  turn1 item5 #3 in_progress: mcp shop/refund c4 {}
  policy refuses tool.call shop/refund: denied (guard.quarantine)
  item5 closed failed "Policy does not allow this call (guard.quarantine). It was not made."
> release
  released by ben
> release
  nothing
> find returns
  eff4 attempt 1 returned "found", settled
  eff5 requested: ask m, step 2 (freely)
  eff5 attempt 1
> answer
  eff5 attempt 1 answered, settled
  turn1 item6 #4 in_progress: mcp shop/send c5 {}
  eff6 requested: call shop/send {} (never)
  eff6 attempt 1
"#
    );
}

#[test]
fn who_may_release_is_a_matter_of_policy() {
    let text = r#"@id("four") forbid (principal, action == Action::"session.release", resource)
        unless { principal.groups.contains("security") && principal.id != resource.owner };"#;
    let mut b = held(policies(text));
    let id = b.approval();
    decide(&mut b, id, Decision::Deny, &Party::service("ann", &["approvers"]));
    for (who, groups, released) in
        [("key_1", ["security"], false), ("ben", ["approvers"], false), ("ben", ["security"], true)]
    {
        let outcome = b.command("release", Command::Release { by: Party::service(who, &groups) });
        assert_eq!(
            (outcome.is_ok(), b.session.view().quarantined_by.is_none()),
            (released, released),
            "{who}"
        );
    }
}

#[test]
fn when_nobody_answers_others_are_asked() {
    let mut b = held(policies(FINANCE));
    let id = b.approval();
    assert_eq!(b.session.next_retry(&b.frozen), Some(b.now.plus_millis(2 * 3_600_000)));
    b.wait(2 * 3_600_000 - 1);
    b.wait(1);
    assert_eq!(b.session.next_retry(&b.frozen), None);
    decide(&mut b, id, Decision::Approve, &Party::service("key_2", &["finance"]));
    decide(&mut b, id, Decision::Approve, &Party::service("key_5", &["board"]));
    check(
        &b,
        "
        > 7199999 ms pass
          nothing
        > 1 ms pass
          apr1 escalated to board
        > key_2 finance: Approve
          refused: policy does not allow this (guard.approver-group)
        > key_5 board: Approve
          apr1 supported by key_5
    ",
    );
}

#[test]
fn an_approval_is_not_honoured_after_its_time() {
    let text = r#"@id("refunds") @expires("30m")
        forbid (principal, action == Action::"tool.call", resource == Tool::"shop/refund")
        unless { context has approval };"#;
    let mut b = held(policies(text));
    let id = b.approval();
    // The clock moved on, and nobody looked yet.
    b.now = b.now.plus_millis(30 * 60_000);
    decide(&mut b, id, Decision::Approve, &Party::service("ann", &["approvers"]));
    b.tick();
    check(
        &b,
        r#"
        > ann approvers: Approve
          refused: the approval request `apr1` was already decided
        > tick
          apr1 decided: deny by system
          item2 closed failed "Nobody approved this call in time. It was not made."
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
    "#,
    );
    assert_eq!(b.session.view().quarantined_by, None, "nobody refused");
}

#[test]
fn a_ticket_says_what_the_answer_is_about() {
    let b = held(policies(FINANCE));
    let asked = b.journal.iter().find_map(|recorded| {
        let Event::ApprovalRequested { approval } = &recorded.event else { return None };
        Some(approval.clone())
    });
    let asked = asked.unwrap();
    let ticket = asked.ticket.unwrap();
    assert_eq!(
        (ticket.action.as_str(), ticket.quorum, ticket.groups.as_slice()),
        ("tool.call", 2, &["finance".to_owned()][..])
    );
    assert_eq!(ticket.requester.on_behalf_of.as_deref(), Some("key_1"));
}

#[test]
fn the_agent_may_not_do_what_its_opener_may_not() {
    let text = r#"@id("no-finance") forbid (principal in Group::"finance", action == Action::"tool.call", resource)
        when { resource.name == "refund" };"#;
    let b = held(policies(text));
    assert!(b.told("c1").contains("(no-finance)"), "{}", b.told("c1"));
}

const RUN: &str = r#"{"command":"make"}"#;

fn environment(network: Network, text: &str) -> Bench {
    let mut opening = opened(agent(vec![]));
    opening.environment = hosted(network);
    let mut b = Bench::open(opening, "Go", policies(text), Show::Events);
    b.mute();
    b.environment("prepared", Attempted::Placed(root(1)));
    b.unmute();
    b.answer(vec![call("c1", "shell", RUN)]);
    b
}

#[test]
fn a_command_is_decided_as_what_it_is_and_can_wait_for_a_person() {
    let text = r#"@id("ask") forbid (principal, action == Action::"command.run", resource)
        when { context.tool == "shell" && context.command like "mak*" && resource.network == "disabled" }
        unless { context has approval };"#;
    let mut b = environment(Network::Disabled, text);
    b.status();
    let id = b.approval();
    decide(&mut b, id, Decision::Approve, &Party::service("ann", &["approvers"]));
    let told = b.transcript_after("  …\n");
    for line in [
        "asks: tenure/shell",
        "held by default.agent-effect,",
        "= requires_action, wants approval apr1 of shell",
        "apr1 decided: approve by ann",
        "eff3 attempt 1",
    ] {
        assert!(told.contains(line.trim_end_matches(',')), "{line}\n{told}");
    }
}

#[test]
fn a_command_that_is_forbidden_is_not_run() {
    let text = r#"@id("none") forbid (principal, action == Action::"command.run", resource);"#;
    let b = environment(Network::Disabled, text);
    assert!(b.told("c1").contains("Policy does not allow this command"), "{}", b.told("c1"));
    let told = b.transcript_after("  …\n");
    assert!(told.contains("policy refuses command.run"), "{told}");
}

#[test]
fn a_command_reaches_the_hosts_that_policy_allows() {
    let network = Network::Restricted {
        allowed_domains: vec!["a.example".into(), "b.example".into(), "db.internal".into()],
    };
    let text = r#"@id("not-b") forbid (principal, action == Action::"network.connect", resource == Host::"b.example:443");"#;
    let b = environment(network, text);
    let hosts = b.journal.iter().find_map(|recorded| {
        let Event::EffectRequested { effect } = &recorded.event else { return None };
        let EffectKind::Command { hosts, .. } = &effect.kind else { return None };
        Some(hosts.clone())
    });
    assert_eq!(hosts, Some(Some(vec!["a.example".to_owned()])));
    let told = b.transcript_after("  …\n");
    assert!(told.contains("policy refuses network.connect b.example:443: denied (not-b)"), "{told}");
    assert!(
        told.contains("policy refuses network.connect db.internal:443: denied (guard.private-network)"),
        "{told}"
    );
}
