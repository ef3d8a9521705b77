//! Freezes: what is frozen is asked for and not begun, and goes on where it was once it is not.

use tenure_journal::{AgentId, FailureKind, Fresh};
use tenure_session::{Frozen, Input};

use crate::bench::{Bench, call, say, server, shop};

fn tools(names: &[&str]) -> Frozen {
    Frozen { tools: names.iter().map(|name| (*name).to_owned()).collect(), ..Frozen::default() }
}

fn project() -> Frozen {
    Frozen { project: true, ..Frozen::default() }
}

#[test]
fn a_message_to_a_frozen_project_waits_and_goes_on() {
    let mut b = Bench::new(vec![], "Hi");
    b.answer(vec![say("Hello.")]);
    b.frozen = project();
    b.message("And now?");
    assert!(b.running.is_empty() && b.session.is_frozen(&b.frozen));
    b.crank("tick", &Input::Tick).unwrap();
    b.crank("resume", &Input::Resumed).unwrap();
    assert!(b.session.head().wake_at.is_some(), "a node that starts finds it due");
    b.frozen = Frozen::default();
    b.crank("tick", &Input::Tick).unwrap();
    assert_eq!(b.running.len(), 1);
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
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
        > message "And now?"
          inp2 accepted: "And now?"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff2 requested: ask m, step 0 (freely)
        > tick
          nothing
        > resume
          nothing
        > tick
          eff2 attempt 1
    "#,
    );
}

#[test]
fn an_agent_is_frozen_in_its_sessions_alone() {
    let mut b = Bench::new(vec![], "Hi");
    b.answer(vec![say("Hello.")]);
    let other = AgentId::fresh(&Fresh::new(b.now, 99));
    let own = b.session.agent().id;
    for (agent, begins) in [(other, 1), (own, 0)] {
        b.frozen = Frozen { agents: [agent].into(), ..Frozen::default() };
        b.message("And now?");
        assert_eq!(b.running.len(), begins);
        b.cancel();
        assert!(!b.session.is_frozen(&b.frozen), "a cancelled turn waits for nothing");
    }
}

/// A session whose model called a tool that is frozen in the meantime; gives how many attempts began.
fn called(frozen: Frozen) -> (Bench, usize) {
    let mut b = Bench::new(vec![server("shop")], "Look.");
    b.lists(shop());
    b.frozen = frozen;
    b.answer(vec![call("c1", "shop__find", "{}")]);
    let begun = b.running.len();
    (b, begun)
}

#[test]
fn a_tool_is_frozen_by_its_name_or_its_servers() {
    for (names, begins) in [
        (&[][..], 1),
        (&["shop/find"], 0),
        (&["shop"], 0),
        (&["shop/refund"], 1),
        (&["sho"], 1),
        (&["find"], 1),
        (&["builtin"], 1),
    ] {
        let (mut b, begun) = called(tools(names));
        assert_eq!(begun, begins, "{names:?}");
        assert_eq!(b.session.is_frozen(&b.frozen), begins == 0, "{names:?}");
        b.frozen = Frozen::default();
        b.crank("tick", &Input::Tick).unwrap();
        assert_eq!(b.running.len(), 1, "{names:?}");
    }
}

#[test]
fn a_server_is_not_asked_for_its_tools_either() {
    let mut b = Bench::new(vec![server("shop")], "Look.");
    assert_eq!(b.running.len(), 1, "it was not frozen when it was opened");
    b.frozen = tools(&["shop"]);
    b.fails(FailureKind::NotBegun);
    assert!(b.running.is_empty() && b.session.is_frozen(&b.frozen));
    assert_eq!(b.session.next_retry(&b.frozen), None, "no time ends a freeze");
    let at = b.session.next_retry(&Frozen::default()).expect("it is tried again");
    b.now = at;
    b.crank("tick", &Input::Tick).unwrap();
    assert!(b.running.is_empty());
    b.frozen = Frozen::default();
    b.crank("tick", &Input::Tick).unwrap();
    assert_eq!(b.running.len(), 1);
}
