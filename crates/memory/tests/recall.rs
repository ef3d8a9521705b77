//! Which passages answer a question, and why.

use tenure_journal::{Episode, Fresh, ItemId, Labels, SessionId, Speaker, Timestamp};
use tenure_memory::cue::Question;
use tenure_memory::rank::Corpus;
use tenure_memory::recall::{Known, Recall, Recalled};
use tenure_memory::{Index, Passages};
use tenure_vector::Likeness;

/// 17 October 2024, at noon.
const NOW: Timestamp = Timestamp::from_millis(1_729_166_400_000);
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What was said in sessions, each so many days ago, with who said what: `u` the user, `a` the agent, `t` a tool.
fn said(sessions: &[(u64, &[(char, &str)])]) -> Vec<Vec<Episode>> {
    let fresh = Fresh::new(NOW, 1);
    let session = |(days, said): &(u64, &[(char, &str)])| {
        let session = SessionId::fresh(&fresh);
        let episode = |(ordinal, (who, text)): (u64, &(char, &str))| Episode {
            session,
            item: ItemId::fresh(&fresh),
            ordinal,
            at: NOW.minus_millis(days * DAY_MS).plus_millis(ordinal * 1_000),
            speaker: match who {
                'u' => Speaker::User,
                'a' => Speaker::Agent,
                _ => Speaker::Tool,
            },
            name: None,
            text: (*text).to_owned(),
            labels: Labels::NEUTRAL,
        };
        (0..).zip(*said).map(episode).collect()
    };
    sessions.iter().map(session).collect()
}

/// The same, to be asked, with the sessions.
fn index(sessions: &[(u64, &[(char, &str)])]) -> (Index, Vec<SessionId>) {
    let said = said(sessions);
    let ids = said.iter().map(|session| session[0].session).collect();
    let mut index = Index::default();
    said.into_iter().flatten().for_each(|episode| index.put(episode));
    (index, ids)
}

fn ask(index: &Index, question: &str, known: Option<Known>) -> Vec<Recalled> {
    let mut recall = Recall::of(&Question { text: question, now: NOW, names: &[] });
    let answer =
        |recall: &Recall, limit| recall.answer(&index.corpus(recall.cues()), &index.passages(), known, limit);
    if let Some(anchor) = recall.anchor() {
        let first = Recall::of(&Question { text: &anchor.what, now: NOW, names: &[] });
        if let Some(found) = answer(&first, 1).first() {
            recall.anchored(found.episode.at);
        }
    }
    answer(&recall, 5)
}

fn texts(found: &[Recalled]) -> Vec<&str> {
    found.iter().map(|one| one.episode.text.as_str()).collect()
}

#[test]
fn a_short_answer_is_found_by_its_question() {
    let (index, _) = index(&[
        (9, &[('a', "What breed is your dog?"), ('u', "A whippet!"), ('a', "Lovely.")]),
        (3, &[('u', "The dog next door barks a lot."), ('a', "That must be tiring.")]),
    ]);
    let found = ask(&index, "Which breed is my dog?", None);
    assert_eq!(texts(&found)[0], "A whippet!");
    assert_eq!(found[0].why.to_string(), "nearby: breed, dog; speaker");
}

#[test]
fn what_may_stand_for_a_word_is_as_good_as_one_of_its_root() {
    let (index, _) = index(&[
        (9, &[('u', "My mom is coming to stay.")]),
        (8, &[('u', "Fue mi abuelita quien lo dijo.")]),
        (7, &[('u', "A roadtrip along the coast would be lovely.")]),
        (6, &[('u', "Das Frontend ist fertig.")]),
        (5, &[('u', "妈妈今天做了饭。")]),
    ]);
    for (question, text, why) in [
        ("When does her mother arrive?", "My mom is coming to stay.", "terms: mother"),
        ("¿Qué dijo su abuela?", "Fue mi abuelita quien lo dijo.", "terms: dij, abuel"),
        ("Where does the road trip go?", "A roadtrip along the coast would be lovely.", "terms: road, trip"),
        ("Is the front-end done?", "Das Frontend ist fertig.", "terms: front, end"),
        ("母亲", "妈妈今天做了饭。", "terms: 母亲"),
    ] {
        let found = ask(&index, question, None);
        assert_eq!(texts(&found), [text], "{question}");
        assert_eq!(found[0].why.to_string(), why, "{question}");
    }
}

#[test]
fn a_document_borrows_nothing() {
    let document = "lorem ".repeat(400);
    let (index, _) =
        index(&[(1, &[('u', "Where is the invoice?"), ('t', &document), ('a', "In the drawer.")])]);
    let found = ask(&index, "where is the invoice", None);
    let of_document = found.iter().find(|one| one.episode.text.starts_with("lorem"));
    assert!(of_document.is_none_or(|one| one.why.nearby.is_empty()), "{found:?}");
}

#[test]
fn time_decides_between_equals() {
    let (index, _) = index(&[
        (200, &[('u', "We hiked up to the old mill.")]),
        (40, &[('u', "We hiked up to the quarry.")]),
        (10, &[('u', "We hiked up to the beacon.")]),
    ]);
    for (question, expected) in [
        ("where did we hike last month", "We hiked up to the quarry."),
        ("where did we hike in March 2024", "We hiked up to the old mill."),
        ("where did we hike last week", "We hiked up to the beacon."),
        ("where did we hike before the quarry", "We hiked up to the old mill."),
        ("where did we hike after the quarry", "We hiked up to the beacon."),
    ] {
        let found = ask(&index, question, None);
        let best = found.iter().find(|one| one.why.time).expect("something was then");
        assert_eq!(best.episode.text, expected, "{question}");
        assert_eq!(texts(&found)[0], expected, "{question}");
    }
}

#[test]
fn what_is_brought_up_on_the_side_that_is_asked_for_counts() {
    let (index, _) = index(&[
        (50, &[('u', "Ada cooked rice before the storm came.")]),
        (40, &[('u', "The storm took the roof.")]),
        (30, &[('u', "Ada cooked soup, the storm still in her ears.")]),
        (20, &[('u', "Ada cooked fish, as she does every week.")]),
    ]);
    let found = ask(&index, "what did Ada cook after the storm", None);
    assert_eq!(texts(&found)[0], "Ada cooked soup, the storm still in her ears.");
    let place = |text| texts(&found).iter().position(|one| *one == text).expect("it shares a term");
    let (fish, rice) = ("Ada cooked fish, as she does every week.", "Ada cooked rice before the storm came.");
    assert!(place(fish) < place(rice), "{found:?}");
}

#[test]
fn a_time_alone_is_a_question() {
    let (index, _) = index(&[(40, &[('u', "The roof leaks.")]), (10, &[('u', "The roof is tight.")])]);
    let found = ask(&index, "last month", None);
    assert_eq!(texts(&found), ["The roof leaks."]);
}

#[test]
fn nothing_is_said_twice_and_the_newest_stays() {
    let (index, ids) = index(&[
        (9, &[('u', "My locker code is 4711.")]),
        (5, &[('u', "my locker code is 4711")]),
        (2, &[('u', "The locker is blue.")]),
    ]);
    let found = ask(&index, "what is my locker code", None);
    assert_eq!(texts(&found), ["my locker code is 4711", "The locker is blue."]);
    assert_eq!(found[0].episode.session, ids[1]);
}

#[test]
fn what_the_asker_has_before_them_is_no_answer() {
    let (index, ids) = index(&[
        (9, &[('u', "My locker code is 4711.")]),
        (0, &[('u', "I lost something."), ('u', "What is my locker code?")]),
    ]);
    let known = Known { session: ids[1], from: 0 };
    let found = ask(&index, "What is my locker code?", Some(known));
    assert_eq!(texts(&found), ["My locker code is 4711."]);
}

#[test]
fn forgetting_leaves_no_trace_in_the_ranking() {
    let sessions: &[(u64, &[(char, &str)])] = &[
        (9, &[('u', "The kitchen will be green.")]),
        (5, &[('u', "A green kitchen and a green hall.")]),
        (2, &[('u', "The hall stays white.")]),
    ];
    let (mut with, ids) = index(sessions);
    with.forget(ids[1]);
    let (without, _) = index(&[sessions[0], sessions[2]]);
    let scores = |index: &Index| -> Vec<(String, f32)> {
        ask(index, "green hall", None).into_iter().map(|one| (one.episode.text, one.score)).collect()
    };
    assert_eq!(scores(&with), scores(&without));
}

#[test]
fn vectors_help_where_words_do_not() {
    let sessions: &[(u64, &[(char, &str)])] = &[
        (9, &[('u', "Our spaniel is ill.")]),
        (5, &[('u', "The pet shop is closed."), ('a', "Try the other one.")]),
    ];
    let (index, _) = index(sessions);
    let recall = Recall::of(&Question { text: "How is the animal?", now: NOW, names: &[] });
    let corpus = index.corpus(recall.cues());
    assert_eq!(recall.answer(&corpus, &index.passages(), None, 5), []);
    let alike = |episode: Episode| {
        let cosine = if episode.text.contains("spaniel") { 0.9 } else { 0.1 };
        (episode, Some(Likeness { whole: cosine, window: cosine, sentence: cosine }))
    };
    let mut passages = Passages::default();
    said(sessions).into_iter().for_each(|run| passages.add(run.into_iter().map(alike)));
    let with = recall.answer(&corpus, &passages, None, 5);
    assert_eq!(with[0].episode.text, "Our spaniel is ill.");
    assert!(with[0].why.to_string().starts_with("vector: "), "{}", with[0].why);
}

#[test]
fn of_one_thing_what_stands_near_the_best_comes_first() {
    let filler = ('a', "Hm.");
    let near = [('u', "We saw the comet."), filler, filler, filler, filler, filler, ('u', "It was bright.")];
    let runs = said(&[(9, &near), (2, &[('u', "It was cold.")])]);
    let alike = |episode: Episode| {
        let likeness = Likeness { whole: 0.5, window: 0.5, sentence: 0.5 };
        let is_compared = episode.text != filler.1;
        (episode, is_compared.then_some(likeness))
    };
    let mut passages = Passages::default();
    runs.into_iter().for_each(|run| passages.add(run.into_iter().map(alike)));
    for (question, second) in [
        ("What did the comet do?", "It was bright."),
        // Far apart as well as near: of equals the newer.
        ("What comets did we see?", "It was cold."),
    ] {
        let recall = Recall::of(&Question { text: question, now: NOW, names: &[] });
        let found = recall.answer(&Corpus::default(), &passages, None, 9);
        let told: Vec<&str> = texts(&found).into_iter().filter(|text| text.starts_with("It was")).collect();
        assert_eq!(told[0], second, "{question}");
    }
}

#[test]
fn who_asks_for_a_name_is_told_one() {
    let (index, _) = index(&[
        (9, &[('u', "The trip to the coast was long and warm.")]),
        (5, &[('u', "The trip went on to Porto and Braga.")]),
        (2, &[('u', "The trip was a surprise, I will tell you.")]),
    ]);
    let found = ask(&index, "Which cities were on the trip?", None);
    assert_eq!(found[0].episode.text, "The trip went on to Porto and Braga.");
    let found = ask(&index, "How was the trip?", None);
    assert_ne!(found[0].episode.text, "The trip went on to Porto and Braga.");
}
