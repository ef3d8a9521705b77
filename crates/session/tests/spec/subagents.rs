//! Subagents: what an agent may do with them, what its session knows of them, and what becomes of them when
//! its turn ends.

use tenure_journal::{
    AgentConfig, ApprovalId, Decision, EffectId, EffectKind, EndHow, Event, FailureKind, Fresh, InputPart,
    MultiAgent, Party, ReportStatus, SessionKey, SubagentId, SubagentReport, SubagentRequest, Timestamp,
    Tool, TurnId,
};
use tenure_policy::{PolicySet, PolicySource};
use tenure_session::{
    Command, Context, FromParent, NO_BUDGETS, NOTHING_FROZEN, Refusal, Reserving, Role, Routes, Session,
    SubagentReply,
};

use crate::bench::{Bench, Show, agent, call, defaults, function, opened, say, server, shop};

/// An agent that may have `most` subagents at once.
fn leader(most: u32, tools: Vec<Tool>) -> AgentConfig {
    let mut agent = agent(tools);
    agent.multi_agent = MultiAgent { enabled: true, max_concurrent_subagents: Some(most) };
    agent
}

fn lead(most: u32) -> Bench {
    Bench::open(opened(leader(most, vec![])), "Go", defaults(), Show::Events)
}

fn turn(number: u64) -> Option<TurnId> {
    Some(TurnId::fresh(&Fresh::new(Timestamp::from_millis(5), number)))
}

fn only(b: &Bench) -> SubagentId {
    b.session.subagents().next().unwrap().id
}

fn report(b: &Bench, turn_id: Option<TurnId>, status: ReportStatus, text: &str) -> SubagentReply {
    SubagentReply::Reports(vec![SubagentReport {
        subagent_id: only(b),
        turn_id,
        status,
        text: text.into(),
        labels: tenure_journal::Labels::NEUTRAL,
    }])
}

#[test]
fn calls_are_carried_out_one_after_the_other_and_reports_are_given_once() {
    let mut b = lead(2);
    b.answer(vec![
        call("c1", "create_subagent", r#"{"task":"Look.","name":"scout"}"#),
        call("c2", "create_subagent", r#"{"task":"Count."}"#),
    ]);
    b.replies(SubagentReply::Done);
    b.replies(SubagentReply::Done);
    b.answer(vec![call("c3", "wait_for_subagents", r#"{"subagents":["scout"]}"#)]);
    let found = report(&b, turn(1), ReportStatus::Completed, "Found it.");
    b.replies(found.clone());
    b.answer(vec![call("c4", "wait_for_subagents", r#"{"subagents":["scout"],"timeout_seconds":5}"#)]);
    b.replies(found);
    b.answer(vec![say("It was found.")]);
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
          turn1 item2 #0 in_progress: c1 create subagent1 scout: "Look."
          eff2 requested: create subagent1 scout: "Look." (with_key)
          turn1 item3 #1 in_progress: c2 create subagent2 subagent-1: "Count."
          eff3 requested: create subagent2 subagent-1: "Count." (with_key)
          eff2 attempt 1
        > subagent
          eff2 attempt 1 returned "{\"subagent_id\":\"subagent1\",\"name\":\"scout\"}", settled
          subagent1 opened: scout
          eff3 attempt 1
        > subagent
          eff3 attempt 1 returned "{\"subagent_id\":\"subagent2\",\"name\":\"subagent-1\"}", settled
          subagent2 opened: subagent-1
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
        > answer
          eff4 attempt 1 answered, settled
          turn1 item4 #2 in_progress: c3 wait for subagent1
          eff5 requested: wait for subagent1 (with_key)
          eff5 attempt 1
        > subagent
          eff5 attempt 1 returned "{\"subagents\":[{\"subagent_id\":\"subagent1\",\"name\":\"scout\",\"status\":\"completed\",\"message\":\"Found it.\"}]}", settled
          turn1 item5 #3 completed: subagent1 to agt1 of turn2 "Found it."
          eff6 requested: ask m, step 2 (freely)
          eff6 attempt 1
        > answer
          eff6 attempt 1 answered, settled
          turn1 item6 #4 in_progress: c4 wait for subagent1, for a while
          eff7 requested: wait for subagent1, for a while (with_key)
          eff7 attempt 1
        > subagent
          eff7 attempt 1 returned "{\"subagents\":[{\"subagent_id\":\"subagent1\",\"name\":\"scout\",\"status\":\"completed\",\"note\":\"nothing new\"}]}", settled
          eff8 requested: ask m, step 3 (freely)
          eff8 attempt 1
        > answer
          eff8 attempt 1 answered, settled
          turn1 item7 #5 completed: message (final_answer) "It was found."
          turn1 completed
          | user: "Go"
          | call c1: create_subagent {"task":"Look.","name":"scout"}
          | call c2: create_subagent {"task":"Count."}
          | result c1: "{\"subagent_id\":\"subagent1\",\"name\":\"scout\"}"
          | result c2: "{\"subagent_id\":\"subagent2\",\"name\":\"subagent-1\"}"
          | call c3: wait_for_subagents {"subagents":["scout"]}
          | result c3: "{\"subagents\":[{\"subagent_id\":\"subagent1\",\"name\":\"scout\",\"status\":\"completed\",\"message\":\"Found it.\"}]}"
          | call c4: wait_for_subagents {"subagents":["scout"],"timeout_seconds":5}
          | result c4: "{\"subagents\":[{\"subagent_id\":\"subagent1\",\"name\":\"scout\",\"status\":\"completed\",\"note\":\"nothing new\"}]}"
          | assistant: "It was found."
          | tools: create_subagent, send_subagent_input, wait_for_subagents, interrupt_subagent, close_subagent, resume_subagent
    "#);
}

#[test]
fn a_subagent_is_steered_interrupted_closed_and_resumed() {
    let mut b = lead(1);
    b.mute();
    b.answer(vec![call("c1", "create_subagent", r#"{"task":"Look.","name":"scout"}"#)]);
    b.replies(SubagentReply::Done);
    b.unmute();
    b.answer(vec![
        call("c2", "send_subagent_input", r#"{"subagent":"scout","input":"Further left."}"#),
        call("c3", "interrupt_subagent", r#"{"subagent":"scout"}"#),
        call("c4", "create_subagent", r#"{"task":"Count."}"#),
        call("c5", "resume_subagent", r#"{"subagent":"scout"}"#),
        call("c6", "close_subagent", r#"{"subagent":"nobody"}"#),
        call("c7", "close_subagent", r#"{"subagent":"scout"}"#),
    ]);
    b.replies(SubagentReply::Done);
    b.replies(SubagentReply::Refused("Not done: it is gone.".into()));
    b.replies(SubagentReply::Done);
    b.answer(vec![
        call("c8", "send_subagent_input", r#"{"subagent":"scout","input":"Hello?"}"#),
        call("c9", "resume_subagent", r#"{"subagent":"scout"}"#),
    ]);
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
        > answer
          eff3 attempt 1 answered, settled
          turn1 item3 #1 in_progress: c2 send subagent1 "Further left."
          eff4 requested: send subagent1 "Further left." (with_key)
          turn1 item4 #2 in_progress: c3 interrupt subagent1
          eff5 requested: interrupt subagent1 (with_key)
          turn1 item5 failed: internal create_subagent c4 "{\"task\":\"Count.\"}" told "Not done: as many subagents are active as may be (1); close one first."
          turn1 item6 failed: internal resume_subagent c5 "{\"subagent\":\"scout\"}" told "Not done: as many subagents are active as may be (1); close one first."
          turn1 item7 failed: internal close_subagent c6 "{\"subagent\":\"nobody\"}" told "Not done: there is no subagent of that id or name. Subagents: scout."
          turn1 item8 #3 in_progress: c7 close subagent1
          eff6 requested: close subagent1 (with_key)
          eff4 attempt 1
        > subagent
          eff4 attempt 1 returned "{\"subagent_id\":\"subagent1\"}", settled
          eff5 attempt 1
        > subagent
          eff5 attempt 1 returned an error "Not done: it is gone.", settled
          eff6 attempt 1
        > subagent
          eff6 attempt 1 returned "{\"subagent_id\":\"subagent1\"}", settled
          subagent1 closed
          eff7 requested: ask m, step 2 (freely)
          eff7 attempt 1
        > answer
          eff7 attempt 1 answered, settled
          turn1 item9 failed: internal send_subagent_input c8 "{\"subagent\":\"scout\",\"input\":\"Hello?\"}" told "Not done: the subagent is closed; resume it first."
          turn1 item10 #4 completed: c9 resume subagent1 gave "{\"subagent_id\":\"subagent1\"}"
          subagent1 resumed
          eff8 requested: ask m, step 3 (freely)
          eff8 attempt 1
    "#);
}

#[test]
fn a_cancelled_turn_stops_what_it_started_and_the_next_waits_for_it() {
    let mut b = lead(3);
    b.mute();
    b.answer(vec![call("c1", "create_subagent", r#"{"task":"Look.","name":"scout"}"#)]);
    b.replies(SubagentReply::Done);
    b.unmute();
    b.answer(vec![
        call("c2", "send_subagent_input", r#"{"subagent":"scout","input":"Left."}"#),
        call("c3", "create_subagent", r#"{"task":"Count."}"#),
    ]);
    b.cancel();
    b.message("Again");
    b.resumed();
    b.ended();
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
          …
        > answer
          eff3 attempt 1 answered, settled
          turn1 item3 #1 in_progress: c2 send subagent1 "Left."
          eff4 requested: send subagent1 "Left." (with_key)
          turn1 item4 #2 in_progress: c3 create subagent2 subagent-1: "Count."
          eff5 requested: create subagent2 subagent-1: "Count." (with_key)
          eff4 attempt 1
        > cancel
          eff4 abandoned
          eff5 abandoned
          item3 closed incomplete
          item4 closed incomplete
          turn1 cancelled
          eff6 requested: interrupt subagent1 against eff4 (freely)
          eff6 attempt 1
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
        > restart
          eff6 attempt 1 unknown, again in 0 ms
          eff6 attempt 2
        > subagents stopped
          eff6 attempt 2 done, settled
          inp2 joined turn2 as item5
          turn2 started
          eff7 requested: ask m, step 0 (freely)
          eff7 attempt 1
    "#,
    );
}

#[test]
fn what_is_just_being_created_is_deleted_with_its_turn() {
    let mut b = lead(3);
    b.mute();
    b.answer(vec![call("c1", "create_subagent", r#"{"task":"Look."}"#)]);
    b.unmute();
    b.resumed();
    b.cancel();
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
          …
        > restart
          eff2 attempt 1 unknown, again in 0 ms
          eff2 attempt 2
        > cancel
          eff2 abandoned
          item2 closed incomplete
          turn1 cancelled
          eff3 requested: delete subagent1 against eff2 (freely)
          eff3 attempt 1
    "#,
    );
}

#[test]
fn a_failed_turn_stops_them_and_a_completed_one_does_not() {
    for fails in [true, false] {
        let mut b = lead(1);
        b.mute();
        b.answer(vec![call("c1", "create_subagent", r#"{"task":"Look."}"#)]);
        b.replies(SubagentReply::Done);
        if fails {
            b.fails(FailureKind::Authentication);
        } else {
            b.answer(vec![say("It works on.")]);
        }
        assert_eq!(b.session.pending().count(), usize::from(fails), "fails: {fails}");
        if !fails {
            b.cancel();
            assert_eq!(b.session.pending().count(), 1, "cancelling an idle session stops its subagents");
        }
        b.ended();
        b.delete();
        let deletes =
            b.session.pending().all(|effect| matches!(effect.kind, EffectKind::EndSubagents { .. }));
        assert!(deletes && b.session.pending().count() == 1, "deleting a session deletes its subagents");
        assert!(b.session.head().wake_at.is_some(), "a restart finds a deleted session that is not done");
        b.ended();
        assert!(b.session.head().wake_at.is_none());
    }
}

#[test]
fn policy_may_forbid_a_tool_of_subagents() {
    let text = r#"@id("no-help") forbid (principal, action == Action::"tool.call", resource)
        when { resource.builtin && resource.name == "create_subagent" };"#;
    let source = PolicySource { name: "project".into(), text: text.into() };
    let policy = PolicySet::new(&[source]).unwrap();
    let mut b = Bench::open(opened(leader(1, vec![])), "Go", std::sync::Arc::new(policy), Show::Events);
    b.mute();
    b.answer(vec![call("c1", "create_subagent", r#"{"task":"Look."}"#)]);
    b.context();
    assert_eq!(b.session.subagents().count(), 0);
    let item = b.session.items().last().unwrap().1.clone();
    assert_eq!(item.status, tenure_journal::ItemStatus::Failed);
}

#[test]
fn no_more_are_active_than_the_settings_allow() {
    let mut b = lead(2);
    b.mute();
    let create = |id: &str| call(id, "create_subagent", r#"{"task":"Look."}"#);
    b.answer(vec![create("c1"), create("c2"), create("c3")]);
    b.replies(SubagentReply::Done);
    b.replies(SubagentReply::Done);
    assert_eq!(b.session.subagents().count(), 2);
    let names: Vec<String> = b.session.subagents().map(|subagent| subagent.name).collect();
    assert_eq!(names, ["subagent-1", "subagent-2"]);
    assert!(b.session.items().any(|(_, item)| matches!(&item.body,
        tenure_journal::ItemBody::InternalCall { output, .. } if output.contains("as may be (2)"))));
}

#[test]
fn a_child_inherits_servers_and_no_functions_and_obeys_its_parent_alone() {
    let b =
        Bench::open(opened(leader(2, vec![function("ask"), server("shop")])), "", defaults(), Show::Nothing);
    let subagent_id = SubagentId::of_effect(EffectId::fresh(&Fresh::new(b.now, 7)));
    let (opening, input) = b
        .session
        .child(&SubagentRequest::Create {
            subagent_id,
            name: "scout".into(),
            task: "Look.".into(),
            model: Some("small".into()),
            effort: None,
        })
        .unwrap();
    assert_eq!(input, vec![vec![InputPart::text("Look.")]]);
    assert_eq!(opening.agent.tools, [server("shop")]);
    assert_eq!((opening.agent.model.as_str(), opening.agent.id), ("small", b.session.agent().id));
    let fresh = Fresh::new(b.now, 8);
    let cx = Context {
        now: b.now,
        role: Role::Holder,
        fresh: &fresh,
        chance: 0,
        policy: &defaults(),
        window: tenure_session::Window::DEFAULT,
        tools_changed: &b.tools_changed,
        prices: &b.prices,
        routes: Routes::UNKNOWN,
        reserving: Reserving::Asked,
        budgets: &NO_BUDGETS,
        partial: &[],
        frozen: &NOTHING_FROZEN,
        blocks: None,
        procedures: None,
    };
    let key = SessionKey { session: subagent_id.session(), ..b.session.key() };
    let child = Session::crank_open(key, opening, input, &cx).unwrap().after;
    assert_eq!(
        (child.budget_root(), child.head().parent),
        (b.session.key().session, Some(b.session.key().session))
    );
    assert!(!child.context().tools.iter().any(|tool| tool.name.contains("subagent")), "they do not nest");
    for command in [
        Command::Message { content: vec![InputPart::text("Hi")] },
        Command::Cancel,
        Command::Delete,
        Command::Update { patch: Box::default() },
    ] {
        let refused = child.decide(&tenure_session::Input::Commands(&[command]), &cx);
        assert_eq!(refused, Err(Refusal::Hidden));
    }
    let mine = Command::Parent(FromParent::End(EndHow::Interrupt));
    let refused = b.session.decide(&tenure_session::Input::Commands(&[mine]), &cx);
    assert_eq!(refused, Err(Refusal::Hidden));
}

#[test]
fn a_child_is_halted_with_everything_that_waits() {
    let parent = lead(1);
    let mut opening = opened(agent(vec![server("shop")]));
    opening.parent = Some(tenure_journal::Parent {
        session: parent.session.key().session,
        root: parent.session.key().session,
        agent: parent.session.as_agent(),
        subagent_id: SubagentId::of_effect(EffectId::fresh(&Fresh::new(parent.now, 7))),
        depth: 1,
    });
    let mut b = Bench::open(opening, "Look.", defaults(), Show::Events);
    b.lists(shop());
    let input = |text: &str| {
        Command::Parent(FromParent::Input { text: text.into(), labels: tenure_journal::Labels::NEUTRAL })
    };
    b.command("input", input("Further left.")).unwrap();
    b.command("halt", Command::Parent(FromParent::End(EndHow::Interrupt))).unwrap();
    b.command("halt", Command::Parent(FromParent::End(EndHow::Interrupt))).unwrap();
    b.command("input", input("Again.")).unwrap();
    b.command("delete", Command::Parent(FromParent::End(EndHow::Delete))).unwrap();
    b.command("delete", Command::Parent(FromParent::End(EndHow::Delete))).unwrap();
    b.command("input", input("Hello?")).unwrap_err();
    b.check(
        r#"
        > open "Look."
          session opened for m
          inp1 accepted: "Look."
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > listing
          eff1 attempt 1 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > input
          inp2 accepted: "Further left."
        > halt
          inp2 joined turn1 as item2
          eff2 abandoned
          turn1 cancelled
        > halt
          nothing
        > input
          inp3 accepted: "Again."
          turn2 created
          inp3 joined turn2 as item3
          turn2 started
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
        > delete
          eff3 abandoned
          turn2 cancelled
          session deleted
        > delete
          nothing
        > input
          refused: the session is deleted
    "#,
    );
}

/// What its running effect says to subagents.
fn said(b: &Bench) -> Vec<(SubagentId, EndHow)> {
    let said = b.running.iter().filter_map(|(effect, _)| {
        let EffectKind::EndSubagents { ends } = &effect.kind else { return None };
        Some(ends)
    });
    said.flatten().map(|end| (end.subagent_id, end.how.clone())).collect()
}

#[test]
fn a_refusal_reaches_every_subagent_and_so_does_the_release() {
    let mut b = Bench::open(opened(leader(3, vec![server("shop")])), "Go", defaults(), Show::Events);
    b.mute();
    b.lists(shop());
    b.answer(vec![call("c1", "create_subagent", r#"{"task":"Look.","name":"scout"}"#)]);
    b.replies(SubagentReply::Done);
    // One is there, and one is on its way when the refund is refused.
    b.answer(vec![
        call("c2", "create_subagent", r#"{"task":"Count.","name":"late"}"#),
        call("c3", "shop__refund", "{}"),
    ]);
    let approval = b.approval();
    b.unmute();
    let by = Party::service("ann", &["approvers"]);
    let decide = Command::Decide { approval_id: approval, decision: Decision::Deny, by };
    b.command("deny", decide).unwrap();
    let first = said(&b);
    b.replies(SubagentReply::Done);
    b.ended();
    b.ended();
    let second: Vec<SubagentId> = b.session.subagents().map(|subagent| subagent.id).collect();
    b.command("release", Command::Release { by: Party::service("ben", &["approvers"]) }).unwrap();
    let released = said(&b);
    assert_eq!(
        b.transcript_after("  …\n"),
        r#"> deny
  apr1 decided: deny by ann
  item4 closed failed "A person was asked to approve this call and refused. It was not made."
  quarantined by ann for apr1
  eff6 requested: quarantine by ann for apr1 of subagent1 (freely)
  eff6 attempt 1
> subagent
  eff5 attempt 1 returned "{\"subagent_id\":\"subagent2\",\"name\":\"late\"}", settled
  subagent2 opened: late
  eff7 requested: quarantine by ann for apr1 of subagent2 (freely)
  eff7 attempt 1
> subagents stopped
  eff6 attempt 1 done, settled
> subagents stopped
  eff7 attempt 1 done, settled
  eff8 requested: ask m, step 2 (freely)
  eff8 attempt 1
> release
  released by ben
  eff9 requested: release by ben of subagent1, release by ben of subagent2 (freely)
  eff9 attempt 1
"#
    );
    assert!(matches!(first.as_slice(), [(id, EndHow::Quarantine { .. })] if *id == second[0]));
    let released: Vec<SubagentId> = released.into_iter().map(|(id, _)| id).collect();
    assert_eq!(released, second);
}

#[test]
fn a_snapshot_that_does_not_say_what_was_refused_is_not_read_and_a_fold_knows_it() {
    let mut b = Bench::open(opened(leader(1, vec![server("shop")])), "Go", defaults(), Show::Events);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", "{}")]);
    let approval = b.approval();
    let by = Party::service("ann", &["approvers"]);
    let decide = Command::Decide { approval_id: approval, decision: Decision::Deny, by };
    b.command("deny", decide).unwrap();
    let folded = Session::fold(b.session.key(), None, &b.journal).unwrap();
    let mut state: serde_json::Value = serde_json::from_slice(&folded.encode()).unwrap();
    assert_eq!(state["quarantined_for"], serde_json::json!(approval));
    assert_eq!(Session::decode(state.to_string().as_bytes()).unwrap(), folded);
    state.as_object_mut().unwrap().remove("quarantined_for");
    assert!(Session::decode(state.to_string().as_bytes()).is_err());
}

#[test]
fn a_subagent_obeys_the_youngest_word_of_its_parent() {
    let parent = lead(1);
    let mut opening = opened(agent(vec![server("shop")]));
    opening.parent = Some(tenure_journal::Parent {
        session: parent.session.key().session,
        root: parent.session.key().session,
        agent: parent.session.as_agent(),
        subagent_id: SubagentId::of_effect(EffectId::fresh(&Fresh::new(parent.now, 7))),
        depth: 1,
    });
    let mut b = Bench::open(opening, "Look.", defaults(), Show::Events);
    b.mute();
    b.lists(shop());
    b.unmute();
    let approval_id = ApprovalId::fresh(&Fresh::new(b.now, 9));
    let quarantine = |of| {
        let of = tenure_journal::Version(of);
        Command::Parent(FromParent::End(EndHow::Quarantine { approval_id, by: "ann".into(), of }))
    };
    let permit = b.journal.iter().find_map(|recorded| {
        let Event::EffectRequested { effect } = &recorded.event else { return None };
        Some(effect.permit.clone())
    });
    let permit = Box::new(permit.unwrap());
    let release = |of| {
        let (permit, of) = (permit.clone(), tenure_journal::Version(of));
        Command::Parent(FromParent::End(EndHow::Release { by: "ben".into(), permit, of }))
    };
    b.command("quarantine of 9", quarantine(9)).unwrap();
    b.command("quarantine of 9", quarantine(9)).unwrap();
    b.answer(vec![call("c1", "shop__find", "{}"), call("c2", "shop__send", "{}")]);
    b.command("release of 12", release(12)).unwrap();
    b.command("quarantine of 9", quarantine(9)).unwrap();
    b.returns("find", "found");
    b.answer(vec![call("c3", "shop__find", "{}")]);
    assert_eq!(b.session.view().quarantined_by, None);
    assert_eq!(
        b.transcript_after("  …\n"),
        r#"> quarantine of 9
  quarantined by ann for apr1
> quarantine of 9
  nothing
> answer
  eff2 attempt 1 answered, settled
  turn1 item2 #0 in_progress: mcp shop/find c1 {}
  eff3 requested: call shop/find {} (freely)
  eff3 attempt 1
  turn1 item3 #1 in_progress: mcp shop/send c2 {}
  policy refuses tool.call shop/send: denied (guard.quarantine)
  item3 closed failed "Policy does not allow this call (guard.quarantine). It was not made."
> release of 12
  released by ben
> quarantine of 9
  nothing
> find returns
  eff3 attempt 1 returned "found", settled
  eff4 requested: ask m, step 1 (freely)
  eff4 attempt 1
> answer
  eff4 attempt 1 answered, settled
  turn1 item4 #2 in_progress: mcp shop/find c3 {}
  eff5 requested: call shop/find {} (freely)
  eff5 attempt 1
"#
    );
}
