//! Forks and rewinding: what of a session's past begins another, or is its own present again.

use std::collections::BTreeMap;

use tenure_journal::{
    ContextItem, Event, Item, ItemBody, ItemStatus, Network, SessionStatus, TurnId, TurnStatus, Version,
};
use tenure_session::{Attempted, Command, History, Point, Refusal};

use crate::bench::{
    Bench, Show, agent, async_function, call, defaults, exited, function, hosted, opened, root, say,
    self_hosted, server, shop,
};
use crate::random::history;

/// A session that did two turns, and the version after the first.
fn two_turns() -> (Bench, Version) {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", "{}")]);
    b.result("c1", "42");
    b.answer(vec![say("It is 42.")]);
    let first = b.version();
    b.message("And now?");
    b.answer(vec![say("Still 42.")]);
    (b, first)
}

#[test]
fn a_fork_begins_idle_with_the_conversation_so_far() {
    let (b, first) = two_turns();
    let mut fork = b.fork(first, 90);
    fork.status();
    fork.context();
    fork.message("What else?");
    fork.answer(vec![say("Nothing.")]);
    fork.check(
        r#"
        > fork at 15
          session opened for m
          forked at version 15 with 4 items (0 not in the context) of turn1 completed
            turn1 item1 completed: user "Go"
            turn1 item2 #0 completed: function ask c1 {}
            turn1 item3 completed: output of c1: "42"
            turn1 item4 #1 completed: message (final_answer) "It is 42."
          = idle
          | user: "Go"
          | call c1: ask {}
          | result c1: "42"
          | assistant: "It is 42."
          | tools: ask
        > message "What else?"
          inp1 accepted: "What else?"
          turn2 created
          inp1 joined turn2 as item5
          turn2 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn2 item6 #0 completed: message (final_answer) "Nothing."
          turn2 completed
    "#,
    );
    let from = fork.session.forked_from().unwrap();
    assert_eq!((from.session, from.version), (b.session.key().session, first));
}

/// Every call that had no result is closed, and says so; what a person or a client was to do is not asked.
#[test]
fn what_was_under_way_is_not_taken_up_by_a_fork() {
    let mut b = Bench::new(vec![function("ask"), async_function("report"), server("shop")], "Go");
    b.lists(shop());
    let calls = [("c1", "ask"), ("c2", "report"), ("c3", "shop__find"), ("c4", "shop__refund")];
    b.answer(calls.iter().map(|(id, name)| call(id, name, "{}")).collect());
    assert_eq!(b.session.status(), SessionStatus::RequiresAction);
    let mut fork = b.fork(b.version(), 90);
    assert_eq!(fork.session.status(), SessionStatus::Idle);
    assert_eq!(fork.session.pending().count(), 0);
    assert_eq!(fork.session.view().required_actions, []);
    for call in ["c1", "c3", "c4"] {
        assert!(fork.told(call).starts_with("Interrupted: not repeated in a fork."), "{}", fork.told(call));
    }
    let is_late = |item: &ContextItem| format!("{item:?}").contains("earlier call `c2` has arrived");
    assert!(fork.session.context().input.iter().any(is_late), "a function that nobody waited for has ended");
    let statuses: Vec<_> = fork.turns().map(|turn| turn.status).collect();
    assert_eq!(statuses, [TurnStatus::Cancelled]);
    fork.message("Go on");
    fork.lists(shop());
    fork.answer(vec![say("Done.")]);
    assert_eq!(fork.session.status(), SessionStatus::Idle);
    // The session it was forked from knows nothing of it.
    assert_eq!(b.session.status(), SessionStatus::RequiresAction);
    b.result("c1", "42");
}

#[test]
fn a_fork_shares_the_files_and_prepares_nothing() {
    let mut opening = opened(agent(vec![]));
    opening.environment = hosted(Network::Disabled);
    let mut b = Bench::open(opening, "Go", defaults(), Show::Events);
    let before = b.version();
    b.environment("prepared", Attempted::Placed(root(1)));
    b.answer(vec![call("c1", "shell", r#"{"command":"make"}"#)]);
    b.environment("command", Attempted::Ran(exited(0, "", Some(root(2)))));
    let after = b.version();
    // As of before the environment was ready, it has the files it was made ready with.
    for (at, expected) in [(before, 1), (after, 2)] {
        let fork = b.fork(at, 90 + at.0);
        assert_eq!(fork.session.workspace_root(), Some(root(expected)));
        assert_eq!(fork.session.pending().count(), 0, "nothing is prepared again");
        let id = fork.session.hosted().unwrap().id;
        assert_eq!(id.session(), fork.session.key().session, "its environment is its own");
    }
}

#[test]
fn a_fork_of_a_customers_machine_has_an_address_of_its_own() {
    let mut opening = opened(agent(vec![]));
    opening.environment = self_hosted();
    let b = Bench::open(opening, "Go", defaults(), Show::Events);
    let fork = b.fork(b.version(), 90);
    let (ours, own) = (b.session.view().environment, fork.session.view().environment);
    let (ours, own) = (ours.self_hosted().unwrap(), own.self_hosted().unwrap());
    assert_eq!(own.id.session(), fork.session.key().session);
    assert_eq!(own.workspace_directory, ours.workspace_directory);
    assert_ne!(own.remote_url, ours.remote_url, "its executor is not the other's");
}

#[test]
fn a_session_goes_back_and_on() {
    let (mut b, first) = two_turns();
    b.mute();
    let second = b.version();
    b.unmute();
    b.rewind(first).unwrap();
    b.context();
    b.message("Why?");
    b.answer(vec![say("Because.")]);
    b.rewind(second).unwrap();
    b.context();
    b.rewind(b.version()).unwrap();
    let shown = b.transcript_after("…");
    assert_eq!(
        shown,
        r#"> rewind to 15
  rewound to version 15: 4 items stay, without turn2
  | user: "Go"
  | call c1: ask {}
  | result c1: "42"
  | assistant: "It is 42."
  | tools: ask
> message "Why?"
  inp3 accepted: "Why?"
  turn3 created
  inp3 joined turn3 as item7
  turn3 started
  eff4 requested: ask m, step 0 (freely)
  eff4 attempt 1
> answer
  eff4 attempt 1 answered, settled
  turn3 item8 #0 completed: message (final_answer) "Because."
  turn3 completed
> rewind to 24
  rewound to version 24: 4 items stay, turn2 completed, without turn3
    at 4: turn2 item5 completed: user "And now?"
    at 5: turn2 item6 #0 completed: message (final_answer) "Still 42."
  | user: "Go"
  | call c1: ask {}
  | result c1: "42"
  | assistant: "It is 42."
  | user: "And now?"
  | assistant: "Still 42."
  | tools: ask
> rewind to 35
  nothing
"#
    );
}

#[test]
fn a_session_goes_back_only_when_nothing_is_under_way() {
    let (mut b, first) = two_turns();
    b.message("More");
    assert_eq!(b.rewind(first), Err(Refusal::Running));
    b.cancel();
    let history = History::of(b.session.key(), &b.journal, first).unwrap();
    let stale = history.rewind(b.now, &tenure_journal::Fresh::new(b.now, 1_000)).unwrap();
    b.message("Even more");
    b.answer(vec![say("Yes.")]);
    assert_eq!(b.command("rewind", stale), Err(Refusal::Moved));
    b.rewind(first).unwrap();
    b.delete();
    let history = History::of(b.session.key(), &b.journal, first).unwrap();
    assert_eq!(history.rewind(b.now, &tenure_journal::Fresh::new(b.now, 1_001)), Err(Refusal::Deleted));
}

#[test]
fn what_was_set_since_stays() {
    let (mut b, first) = two_turns();
    let patch = tenure_journal::SessionPatch {
        metadata: Some(BTreeMap::from([("k".to_owned(), "v".to_owned())])),
        ..tenure_journal::SessionPatch::default()
    };
    b.update("metadata", patch);
    let spent = b.spent;
    b.rewind(first).unwrap();
    assert_eq!(b.session.view().metadata["k"], "v");
    assert_eq!(b.spent, spent, "what was spent stays spent");
}

#[test]
fn files_and_what_was_published_go_back() {
    let mut opening = opened(agent(vec![]));
    opening.environment = hosted(Network::Disabled);
    let mut b = Bench::open(opening, "Go", defaults(), Show::Nothing);
    b.environment("prepared", Attempted::Placed(root(1)));
    let ready = b.version();
    b.answer(vec![call("c1", "shell", r#"{"command":"make"}"#)]);
    b.environment("command", Attempted::Ran(exited(0, "", Some(root(2)))));
    b.answer(vec![say("Done.")]);
    let done = b.version();
    assert_eq!(b.rewind(ready), Err(Refusal::Running), "its files are about to be published");
    b.environment("published", Attempted::Published(vec![]));
    b.rewind(done).unwrap();
    assert_eq!(b.session.workspace_root(), Some(root(2)));
    b.rewind(ready).unwrap();
    assert_eq!(b.session.workspace_root(), Some(root(1)));
}

/// Turns and items are points too: right after them.
#[test]
fn people_think_in_turns() {
    let (b, first) = two_turns();
    let key = b.session.key();
    let version = |point| History::version_of(key, &b.journal, point).map(|version| version.0);
    let turns: Vec<TurnId> = b.turns().map(|turn| turn.id).collect();
    let items: Vec<_> = b.session.items().map(|(_, item)| item.id).collect();
    let cases = [
        (Point::Latest, Some(24)),
        (Point::Version(Version(7)), Some(7)),
        (Point::Version(Version(0)), None),
        (Point::Version(Version(25)), None),
        (Point::Turn(turns[0]), Some(first.0)),
        (Point::Turn(turns[1]), Some(24)),
        // The first message, with what its append began; the call, once its result was there.
        (Point::Item(items[0]), Some(7)),
        (Point::Item(items[1]), Some(12)),
        (Point::Item(items[3]), Some(first.0)),
    ];
    for (point, expected) in cases {
        assert_eq!(version(point), expected, "{point}");
    }
    // What a fork began with has no point in the fork's own journal.
    let fork = b.fork(first, 90);
    let carried = fork.session.items().next().unwrap().1.id;
    let point = |point| History::version_of(fork.session.key(), &fork.journal, point);
    assert_eq!((point(Point::Item(carried)), point(Point::Turn(turns[0]))), (None, None));
}

/// A conversation that had left the context in part is whole in the fork, and the context is the same.
#[test]
fn long_conversations_are_forked_whole() {
    let mut b = Bench::new(vec![], "Go");
    b.show = Show::Nothing;
    b.answer(vec![say("Yes.")]);
    for round in 0..300 {
        b.context_tokens = (round % 100 == 99).then_some(400);
        b.message(&format!("Message {round}"));
        b.summarises_if_asked(&format!("Up to {round} they counted."));
        b.answer(vec![say(&"word ".repeat(5))]);
    }
    let trims = b.journal.iter().filter(|r| matches!(r.event, Event::ContextCompacted(_))).count();
    assert!(trims > 0, "something left the context");
    let fork = b.fork(b.version(), 90);
    let parts = fork.journal.iter().filter(|r| matches!(r.event, Event::Forked(_))).count();
    assert_eq!(parts, 3, "602 items in parts");
    assert_eq!(fork.session.context().input, b.session.context().input);
    let of = |b: &Bench| History::of(b.session.key(), &b.journal, b.version()).unwrap().items().len();
    assert_eq!(of(&fork), of(&b));
    // And a session that goes back to before the cut has in its context what had left it.
    let before = b.journal.iter().find(|r| matches!(r.event, Event::ContextCompacted(_))).unwrap().version;
    let before = Version(before.0 - 1);
    let then = History::of(b.session.key(), &b.journal, before).unwrap();
    let expected = then.state().items().count();
    b.rewind(before).unwrap();
    assert_eq!(b.session.items().count(), expected);
}

/// What the conversation says, whatever its ids and however far its calls are.
fn said(item: &Item) -> String {
    if let ItemBody::AssistantMessage { content, .. } = &item.body {
        return format!("assistant {content:?}");
    }
    if let ItemBody::UserMessage { content, .. } = &item.body {
        return format!("user {content:?}");
    }
    format!("{:?} {:?}", std::mem::discriminant(&item.body), item.call_id())
}

/// Any moment of any history can be forked and gone back to; nothing is under way in either, and both have
/// the same conversation.
#[test]
fn any_moment_can_be_forked_and_gone_back_to() {
    let mut went_back = 0;
    for seed in 0..150 {
        let mut b = history(seed, 40);
        if b.session.is_deleted() {
            continue;
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        for round in 0..3 {
            let at = Version(rng.u64(1..=b.version().0));
            let then = History::of(b.session.key(), &b.journal, at).unwrap();
            let mut fork = b.fork(at, 10_000 + round);
            let prepares = fork.session.workspace_root().is_none() && fork.session.hosted().is_some();
            assert_eq!(fork.session.pending().count(), usize::from(prepares), "nothing else is begun");
            assert_eq!(fork.session.status(), SessionStatus::Idle);
            assert_eq!(fork.session.view().required_actions, []);
            let expected: Vec<String> = then.items().values().map(|item| said(item)).collect();
            let of = |b: &Bench| History::of(b.session.key(), &b.journal, b.version()).unwrap().items();
            let in_fork: Vec<String> = of(&fork).values().map(|item| said(item)).collect();
            assert_eq!(in_fork[..expected.len()], expected, "seed {seed} at {}", at.0);
            let results = of(&fork).into_values().skip(expected.len());
            assert!(results.into_iter().all(|item| matches!(
                (&item.body, item.status),
                (ItemBody::FunctionCallOutput { error: Some(_), .. }, ItemStatus::Failed)
            )));
            if !prepares {
                fork.message("Go on");
            }

            let _ = b.command("cancel", Command::Cancel);
            for _ in 0..4 {
                if b.rewind(at) != Err(Refusal::Running) {
                    break;
                }
                b.finish_environment();
            }
            if b.session.forked_from().is_none()
                && b.journal
                    .last()
                    .is_some_and(|last| matches!(&last.event, Event::Rewound(rewound) if rewound.to == at))
            {
                went_back += 1;
                let back: Vec<String> = of(&b).values().map(|item| said(item)).collect();
                assert_eq!(back, in_fork, "seed {seed} at {}: both are the same conversation", at.0);
                b.message("Go on");
            }
        }
    }
    assert!(went_back > 100, "{went_back}");
}
