//! What can be recalled of a session once its events are committed, and whose it is.

use tenure_journal::{MEMORY_USER_KEY, SessionPatch, Tool};

use crate::bench::{Bench, Show, agent, call, defaults, function, opened, say, server, shop};

/// A session whose metadata names `user`.
fn with(user: &str, tools: Vec<Tool>, first: &str) -> Bench {
    let mut opening = opened(agent(tools));
    opening.metadata.insert(MEMORY_USER_KEY.to_owned(), user.to_owned());
    Bench::open(opening, first, defaults(), Show::Nothing)
}

/// Place, user, speaker and text of everything that is remembered.
fn remembered(bench: &Bench) -> Vec<String> {
    let line = |row: &tenure_journal::Remembered| {
        let episode = &row.episode;
        let user = row.space.user.as_deref().unwrap_or("-");
        let name = episode.name.as_deref().unwrap_or("-");
        format!("{} {user} {} {name}: {}", episode.ordinal, episode.speaker.as_str(), episode.text)
    };
    bench.episodes.values().map(line).collect()
}

#[test]
fn what_was_said_and_returned_is_remembered_when_it_is_committed() {
    let mut b = with("ada", vec![server("shop"), function("look_up")], "Find order 7");
    assert_eq!(remembered(&b), ["0 ada user -: Find order 7"], "at once");
    b.lists(shop());
    b.answer(vec![
        say("Let me look."),
        call("c1", "shop__find", r#"{"order":7}"#),
        call("c2", "look_up", r#"{"text":"seven"}"#),
    ]);
    let so_far = ["0 ada user -: Find order 7", "1 ada agent clerk: Let me look."];
    assert_eq!(remembered(&b), so_far, "a call that waits for its result is none");
    b.returns("find", "a red bicycle");
    b.result("c2", "shipped on Monday");
    b.answer(vec![say("It is a red bicycle.")]);
    let all = remembered(&b);
    assert!(all.contains(&"2 ada tool find: a red bicycle".to_owned()), "{all:?}");
    assert!(all.iter().any(|line| line.ends_with("tool -: shipped on Monday")), "{all:?}");
    assert_eq!(all.last().map(|line| line.ends_with("ada agent clerk: It is a red bicycle.")), Some(true));
    let terms = &b.episodes[&0].terms;
    assert_eq!(terms, &["find", "order", "7"]);
}

#[test]
fn what_is_said_belongs_to_the_user_of_that_moment() {
    for (user, expected) in [("ada", "ada"), ("", "-"), (" ", " ")] {
        let b = with(user, Vec::new(), "Hello there");
        assert_eq!(remembered(&b), [format!("0 {expected} user -: Hello there")]);
    }
    let mut b = with("ada", Vec::new(), "Hello there");
    b.answer(vec![say("Good morning!")]);
    let metadata = [(MEMORY_USER_KEY.to_owned(), "bob".to_owned())].into();
    b.update("its user", SessionPatch { metadata: Some(metadata), ..SessionPatch::default() });
    b.message("Bicycle please");
    let all = remembered(&b);
    assert_eq!(all[..2], ["0 ada user -: Hello there", "1 ada agent clerk: Good morning!"]);
    assert_eq!(all[2], "2 bob user -: Bicycle please");
}

#[test]
fn what_was_recalled_is_not_said_again() {
    let mut b = with("ada", vec![Tool::Memory], "What was my bicycle?");
    b.answer(vec![call("c1", "memory_recall", r#"{"question":"Which bicycle?"}"#)]);
    b.returns("memory_recall", r#"{"passages":[{"text":"a red bicycle"}]}"#);
    b.answer(vec![say("Red.")]);
    assert_eq!(remembered(&b), ["0 ada user -: What was my bicycle?", "2 ada agent clerk: Red."]);
}

#[test]
fn going_back_takes_back_what_was_said_since() {
    let mut b = with("ada", Vec::new(), "First things");
    b.answer(vec![say("Second things.")]);
    let then = b.version();
    b.message("Third things");
    b.answer(vec![say("Fourth things.")]);
    assert_eq!(remembered(&b).len(), 4);
    b.rewind(then).unwrap();
    assert_eq!(
        remembered(&b),
        ["0 ada user -: First things", "1 ada agent clerk: Second things."],
        "and nothing of before"
    );
}

#[test]
fn a_fork_leaves_its_past_to_its_parent() {
    let mut b = with("ada", Vec::new(), "First things");
    b.answer(vec![say("Second things.")]);
    let mut fork = b.fork(b.version(), 99);
    assert_eq!(remembered(&fork), Vec::<String>::new());
    fork.message("Third things");
    assert_eq!(remembered(&fork), ["2 ada user -: Third things"]);
}
