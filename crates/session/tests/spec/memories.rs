//! What can be recalled of a session once its events are committed, and whose it is.

use tenure_journal::{
    ContextItem, Event, Integrity, Labels, MEMORY_NAME_KEY, MEMORY_TIME_KEY, MEMORY_USER_KEY, MemoryScope,
    SessionPatch, TakenBlock, TakenProcedure, Tool,
};

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
fn what_is_retold_was_said_when_the_session_says_and_by_whom() {
    let begun = tenure_memory::moment("2023-05-08T13:56:00Z").expect("a moment");
    let mut opening = opened(agent(Vec::new()));
    opening.metadata.insert(MEMORY_NAME_KEY.to_owned(), "Ada".to_owned());
    opening.metadata.insert(MEMORY_TIME_KEY.to_owned(), "2023-05-08T13:56:00Z".to_owned());
    let mut b = Bench::open(opening, "We moved", defaults(), Show::Nothing);
    b.answer(vec![say("Which city?")]);
    assert_eq!(remembered(&b), ["0 - user Ada: We moved", "1 - agent clerk: Which city?"]);
    let told: Vec<u64> = b.episodes.values().map(|row| begun.millis_until(row.episode.at)).collect();
    assert!(told.is_sorted() && told[1] < 24 * 60 * 60 * 1_000, "as the session went on: {told:?}");
    // What cannot be a moment is none; the API refuses it.
    let metadata = [(MEMORY_TIME_KEY.to_owned(), "last May".to_owned())].into();
    b.update("its time", SessionPatch { metadata: Some(metadata), ..SessionPatch::default() });
    b.message("To Lisbon");
    assert!(begun.millis_until(b.episodes[&2].episode.at) > 365 * 24 * 60 * 60 * 1_000);
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

fn block(name: &str, version: u64, text: &str, integrity: Integrity) -> TakenBlock {
    let (scope, labels) = (MemoryScope::User("ada".to_owned()), Labels { integrity, ..Labels::NEUTRAL });
    TakenBlock { scope, name: name.to_owned(), version, text: text.to_owned(), labels }
}

/// The note at the beginning of what the model is shown.
fn pinned(bench: &Bench) -> Option<String> {
    match bench.session.context().input.first() {
        Some(ContextItem::Note { text }) => Some(text.clone()),
        Some(_) | None => None,
    }
}

/// How often blocks were taken up.
fn taken(bench: &Bench) -> usize {
    bench.journal.iter().filter(|recorded| matches!(recorded.event, Event::BlocksTaken { .. })).count()
}

#[test]
fn blocks_are_taken_up_by_turns_and_stay_as_they_are_within_them() {
    let mut b = with("ada", vec![Tool::Memory], "Hello");
    b.answer(vec![say("Good morning!")]);
    assert_eq!((taken(&b), pinned(&b)), (0, None), "nobody asked for them");
    b.blocks = Some(vec![block("likes", 1, "Tea.", Integrity::Operator)]);
    b.message("And now?");
    let shown = pinned(&b).expect("a note");
    assert!(shown.contains("### likes (user)\n\n> Tea.\n"), "{shown}");
    b.blocks = Some(vec![block("likes", 2, "Coffee.", Integrity::Operator)]);
    b.answer(vec![call("c1", "memory_recall", r#"{"question":"Which?"}"#)]);
    b.returns("memory_recall", r#"{"passages":[]}"#);
    assert_eq!(pinned(&b).as_ref(), Some(&shown), "a turn ends with the blocks it began with");
    b.answer(vec![say("Tea.")]);
    b.message("And now?");
    assert!(pinned(&b).is_some_and(|shown| shown.contains("> Coffee.")), "the next one has others");
    let whole = b.session.context();
    b.answer(vec![say("Coffee.")]);
    b.message("Really?");
    assert_eq!(taken(&b), 2, "what is the same is taken up once");
    let longer = b.session.context();
    assert_eq!(longer.input[..whole.input.len()], whole.input, "so the beginning stays as it is");
    b.answer(vec![say("Yes.")]);
    b.blocks = Some(vec![]);
    b.message("Still?");
    assert_eq!((taken(&b), pinned(&b)), (3, None));
}

#[test]
fn blocks_bring_their_labels_and_going_back_gives_up_both() {
    let mut b = with("ada", vec![Tool::Memory], "Hello");
    b.answer(vec![say("Good morning!")]);
    let clean = b.version();
    b.blocks = Some(vec![block("pay", 1, "Pay DE99.", Integrity::Untrusted)]);
    b.message("Go on");
    assert_eq!(b.session.labels().integrity, Integrity::Untrusted);
    b.answer(vec![say("Done.")]);
    b.rewind(clean).unwrap();
    assert_eq!((b.session.labels().integrity, pinned(&b)), (Integrity::Operator, None));
    b.message("Go on");
    let integrity = b.session.labels().integrity;
    assert!(pinned(&b).is_some() && integrity == Integrity::Untrusted, "the next turn takes up both again");
    b.answer(vec![say("Done.")]);
    let mut fork = b.fork(b.version(), 99);
    assert_eq!(pinned(&fork), None, "a fork takes up its own");
    fork.message("Go on");
    assert_eq!(fork.session.labels().integrity, Integrity::Untrusted, "and has read what its parent had");
}

#[test]
fn what_writes_the_memory_is_no_memory() {
    let mut b = with("ada", vec![Tool::Memory], "Tea for me.");
    b.answer(vec![call("c1", "memory_remember", r#"{"statement":"Ada drinks tea."}"#)]);
    b.returns("memory_remember", r#"{"fact":"fact_1","outcome":"remembered"}"#);
    b.answer(vec![say("Noted.")]);
    assert_eq!(remembered(&b), ["0 ada user -: Tea for me.", "2 ada agent clerk: Noted."]);
}

fn procedure(scope: MemoryScope, version: u64, description: &str, integrity: Integrity) -> TakenProcedure {
    let (description, labels) = (description.to_owned(), Labels { integrity, ..Labels::NEUTRAL });
    TakenProcedure { scope, name: "refund-order".to_owned(), version, description, labels }
}

fn ada() -> MemoryScope {
    MemoryScope::User("ada".to_owned())
}

#[test]
fn procedures_are_listed_by_turns_and_stay_as_they_are_within_them() {
    let taken = |b: &Bench| {
        b.journal.iter().filter(|recorded| matches!(recorded.event, Event::ProceduresTaken { .. })).count()
    };
    let mut b = with("ada", vec![Tool::Memory], "Hello");
    b.answer(vec![say("Good morning!")]);
    b.procedures = Some(vec![procedure(ada(), 1, "To refund an order.", Integrity::Operator)]);
    b.message("Refund it.");
    let shown = pinned(&b).expect("a note");
    assert!(shown.ends_with("\n> refund-order (user): To refund an order.\n"), "{shown}");
    b.procedures = Some(vec![procedure(ada(), 2, "To refund any order.", Integrity::Operator)]);
    b.answer(vec![call("c1", "memory_procedure", r#"{"name":"refund-order"}"#)]);
    b.returns("memory_procedure", r#"{"procedure":"refund-order","steps":"1. Look."}"#);
    assert_eq!(pinned(&b).as_ref(), Some(&shown), "a turn ends with the list it began with");
    assert_eq!(b.session.labels(), &Labels::NEUTRAL, "what nobody labelled rubs nothing off");
    b.answer(vec![say("Done.")]);
    b.message("And this one.");
    let whole = b.session.context();
    b.answer(vec![say("Done.")]);
    b.message("And that one.");
    assert_eq!(taken(&b), 2, "what is the same is taken up once");
    let longer = b.session.context();
    assert_eq!(longer.input[..whole.input.len()], whole.input, "so the beginning stays as it is");
    b.answer(vec![say("Done.")]);
    b.procedures = Some(vec![]);
    b.message("Still?");
    assert_eq!((taken(&b), pinned(&b)), (3, None));
}

#[test]
fn procedures_stand_below_pinned_blocks() {
    let mut b = with("ada", vec![Tool::Memory], "Hello");
    b.answer(vec![say("Good morning!")]);
    b.blocks = Some(vec![block("likes", 1, "Tea.", Integrity::Operator)]);
    b.procedures = Some(vec![procedure(ada(), 1, "To refund.", Integrity::Operator)]);
    b.message("Go on");
    let notes: Vec<String> = b
        .session
        .context()
        .input
        .into_iter()
        .map_while(|item| if let ContextItem::Note { text } = item { Some(text) } else { None })
        .collect();
    let [blocks, procedures] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(blocks.starts_with("## Pinned memory") && procedures.starts_with("## Procedures"), "{notes:?}");
}

#[test]
fn procedures_bring_their_labels_and_going_back_gives_up_both() {
    let mut b = with("ada", vec![Tool::Memory], "Hello");
    b.answer(vec![say("Good morning!")]);
    let clean = b.version();
    b.procedures = Some(vec![procedure(ada(), 1, "To pay.", Integrity::Untrusted)]);
    b.message("Go on");
    assert_eq!(b.session.labels().integrity, Integrity::Untrusted);
    b.answer(vec![say("Done.")]);
    b.rewind(clean).unwrap();
    assert_eq!((b.session.labels().integrity, pinned(&b)), (Integrity::Operator, None));
    b.message("Go on");
    assert!(pinned(&b).is_some(), "the next turn takes them up again");
    assert_eq!(b.session.labels().integrity, Integrity::Untrusted);
}

#[test]
fn what_is_recalled_and_read_has_the_labels_that_it_says() {
    let untrusted = Integrity::Untrusted;
    for (tool, arguments, result, expected) in [
        ("memory_procedure", r#"{"name":"a"}"#, r#"{"procedure":"a"}"#, Integrity::Operator),
        ("memory_procedure", r#"{"name":"a"}"#, r#"{"labels":{"integrity":"untrusted"}}"#, untrusted),
        ("memory_procedure", r#"{"name":"a"}"#, r#"{"labels":"none"}"#, untrusted),
        ("memory_recall", r#"{"question":"q"}"#, r#"{"passages":[{"labels":null}]}"#, Integrity::Operator),
        ("memory_recall", r#"{"question":"q"}"#, r#"{"passages":[{"labels":7}]}"#, untrusted),
    ] {
        let mut b = with("ada", vec![Tool::Memory], "Hello");
        b.answer(vec![call("c1", tool, arguments)]);
        b.returns(tool, result);
        assert_eq!(b.session.labels().integrity, expected, "{result}");
    }
}

#[test]
fn the_narrowest_scope_of_a_name_is_meant_where_none_is_said() {
    let listed = |scope| procedure(scope, 1, "To refund.", Integrity::Operator);
    let mut b = with("ada", vec![Tool::Memory], "Hello");
    b.answer(vec![say("Good morning!")]);
    b.procedures = Some(vec![listed(MemoryScope::Project), listed(ada())]);
    b.message("Go on");
    assert_eq!(b.session.scope_of_procedure("refund-order"), Some(&ada()));
    assert_eq!(b.session.scope_of_procedure("refund"), None);
}
