//! Features of a passage that tell what a sentence says from what it asks.

use tenure_journal::{Episode, Fresh, ItemId, Labels, SessionId, Speaker, Timestamp};
use tenure_memory::Passages;
use tenure_memory::cue::{Question, cues};
use tenure_memory::rank::{Corpus, FEATURES, Weights, rank};

/// Says `turns`, asks `question`, and compares a feature of each turn in percent.
fn check(feature: &str, turns: &[(Speaker, &str)], question: &str, expected: &[f32]) {
    assert_eq!(found(feature, turns, question), expected, "{feature}: {question}");
}

/// A feature of each turn, in percent.
fn found(feature: &str, turns: &[(Speaker, &str)], question: &str) -> Vec<f32> {
    let fresh = Fresh::new(Timestamp::EPOCH, 1);
    let session = SessionId::fresh(&fresh);
    let said = |(ordinal, (speaker, text)): (u64, &(Speaker, &str))| Episode {
        session,
        item: ItemId::fresh(&fresh),
        ordinal,
        at: Timestamp::EPOCH,
        speaker: *speaker,
        name: None,
        text: (*text).to_owned(),
        labels: Labels::NEUTRAL,
    };
    let mut passages = Passages::default();
    passages.add((0..).zip(turns).map(|turn| (said(turn), None)));
    let cues = cues(&Question { text: question, now: Timestamp::EPOCH, names: &[] });
    let ranked = rank(&cues, &Corpus::default(), &passages, &Weights::default());
    let place = FEATURES.iter().position(|name| *name == feature).expect("a feature");
    let mut found = vec![0.0; turns.len()];
    ranked.iter().for_each(|one| found[one.place] = (100.0 * one.features[place]).round());
    found
}

#[test]
fn what_one_sentence_states_counts() {
    let turns = [
        (Speaker::User, "We saw the comet. It was cold on the mountain!"),
        (Speaker::Agent, "Was the comet over the mountain?"),
        (Speaker::User, "The comet stood over the mountain, yes. And you?"),
    ];
    check("said", &turns, "comet mountain", &[50.0, 0.0, 100.0]);
    let turns = [(Speaker::User, "我们看见了彗星。"), (Speaker::User, "你看见彗星了吗？")];
    check("said", &turns, "彗星", &[100.0, 0.0]);
}

#[test]
fn what_somebody_else_asked_before_counts() {
    let turns = [
        (Speaker::User, "It is cold on the mountain. Did you see the comet?"),
        (Speaker::Agent, "On Friday."),
        (Speaker::User, "Did you see the comet?"),
        (Speaker::User, "I did."),
        (Speaker::Agent, "So what?"),
    ];
    check("answers", &turns, "comet mountain", &[0.0, 50.0, 0.0, 0.0, 0.0]);
}

#[test]
fn what_nobody_says_is_no_part_of_the_question() {
    let turns = [(Speaker::User, "We saw the comet."), (Speaker::Agent, "On the mountain?")];
    for (question, expected) in [
        ("comet", [100.0, 0.0]),
        ("comet zeppelin", [100.0, 0.0]),
        ("comet mountain", [50.0, 50.0]),
        ("comet mountain zeppelin", [50.0, 50.0]),
    ] {
        check("own_coverage", &turns, question, &expected);
    }
}

#[test]
fn a_word_that_frames_the_question_counts_half() {
    let turns = [(Speaker::User, "It was one of a kind."), (Speaker::Agent, "The comet?")];
    check("own_coverage", &turns, "What kind of comet was it?", &[33.0, 67.0]);
}

#[test]
fn what_stands_near_the_best_is_in_good_company() {
    let near = [
        (Speaker::User, "We saw the comet."),
        (Speaker::Agent, "It was clear that night."),
        (Speaker::User, "It was."),
        (Speaker::Agent, "And the comet?"),
    ];
    let of = |question: &str| -> Vec<bool> {
        found("company", &near, question).iter().map(|one| *one > 0.0).collect()
    };
    assert_eq!(of("What did the comet do?"), [true; 4]);
    assert_eq!(of("What comets were seen?"), [false; 4], "several things may be said anywhere");
    let alone = [(Speaker::User, "We saw the comet.")];
    assert_eq!(found("company", &alone, "What did the comet do?"), [0.0]);
}
