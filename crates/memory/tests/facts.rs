//! What was believed when: the pure answer against a table that is kept the plainest way there is.

use proptest::prelude::*;
use tenure_journal::{
    Closing, Confidence, Fact, FactAuthor, FactId, FactSource, FactState, Fresh, Integrity, Labels,
    MemoryScope, ProjectId, Timestamp, limit,
};
use tenure_memory::fact::{
    self, Asked, FactRefusal, KnownFact, Saying, When, believed, normalised, said_term, terms,
};
use tenure_memory::rank::Corpus;
use tenure_memory::recall::Recall;
use tenure_memory::{Passages, Window, moment};

/// Moments that are told apart.
const TICKS: i64 = 12;

fn at(tick: i64) -> Timestamp {
    Timestamp::from_millis(tick)
}

fn by(tick: i64) -> FactSource {
    FactSource { at: at(tick), by: FactAuthor::Caller { id: "key_1".to_owned() } }
}

fn saying(statement: &str, tick: i64) -> Saying {
    Saying {
        scope: MemoryScope::Project,
        subject: None,
        statement: statement.to_owned(),
        valid_from: None,
        valid_to: None,
        confidence: Confidence::FULL,
        labels: Labels::NEUTRAL,
        by: by(tick),
    }
}

fn active(statement: &str, tick: i64) -> Fact {
    saying(statement, tick).to_fact(FactState::Active).expect("a statement")
}

fn closing(tick: i64, true_until: Option<i64>) -> Closing {
    Closing { at: at(tick), true_until: true_until.map(at), by: by(tick), reason: None }
}

/// One life of a fact: when it is learned, what is said of its time, and when and how it is closed.
#[derive(Debug, Clone)]
struct Life {
    proposed: Option<i64>,
    learned: i64,
    from: Option<i64>,
    to: Option<i64>,
    closed: Option<(i64, Option<i64>)>,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let tick = || 0..TICKS;
    let life = (
        proptest::option::of(tick()),
        tick(),
        proptest::option::of(tick()),
        proptest::option::of(tick()),
        proptest::option::of((tick(), proptest::option::of(tick()))),
    );
    let life = life.prop_map(|(proposed, learned, from, to, closed)| Life {
        proposed: proposed.filter(|proposed| *proposed <= learned),
        learned,
        from,
        to: to.filter(|to| from.is_none_or(|from| from < *to)),
        closed: closed.filter(|(at, _)| learned <= *at),
    });
    proptest::collection::vec(life, 0..6)
}

/// `table[known][true]` for one fact, filled moment by moment as somebody with a pencil would.
fn pencilled(life: &Life) -> Vec<Vec<bool>> {
    let mut page = vec![false; TICKS as usize];
    let mut table = Vec::new();
    for known in 0..TICKS {
        if known == life.learned {
            for (tick, cell) in (0..).zip(&mut page) {
                *cell = life.from.is_none_or(|from| from <= tick) && life.to.is_none_or(|to| tick < to);
            }
        }
        if let Some((closed, true_until)) = life.closed
            && known == closed
        {
            for (tick, cell) in (0..).zip(&mut page) {
                *cell &= true_until.is_some_and(|until| tick < until);
            }
        }
        table.push(page.clone());
    }
    table
}

fn lived(number: usize, life: &Life) -> KnownFact {
    let said = Saying { valid_from: life.from.map(at), valid_to: life.to.map(at), ..saying("x", 0) };
    let said = Saying { by: by(life.proposed.unwrap_or(life.learned)), ..said };
    let fact = match life.proposed {
        Some(_) => {
            let proposed = said.to_fact(FactState::Proposed).expect("a statement");
            fact::accepted(&proposed, by(life.learned)).expect("it was proposed")
        }
        None => said.to_fact(FactState::Active).expect("a statement"),
    };
    let fact = match life.closed {
        Some((tick, until)) => fact::closed(&fact, closing(tick, until), None).expect("it is active"),
        None => fact,
    };
    KnownFact { id: FactId::of("mark", &number.to_string(), None), fact }
}

proptest! {
    #[test]
    fn what_was_believed_is_what_stood_on_the_page(lives in lives()) {
        let facts: Vec<KnownFact> = lives.iter().enumerate().map(|(number, life)| lived(number, life)).collect();
        let tables: Vec<Vec<Vec<bool>>> = lives.iter().map(pencilled).collect();
        for known in 0..TICKS {
            for then in 0..TICKS {
                let when = When { known_at: at(known), true_at: at(then) };
                let found: Vec<FactId> = believed(&facts, when).map(|known| known.id).collect();
                let expected: Vec<FactId> = facts
                    .iter()
                    .zip(&tables)
                    .filter(|(_, table)| table[known as usize][then as usize])
                    .map(|(fact, _)| fact.id)
                    .collect();
                prop_assert_eq!(found, expected, "at {} about {}", known, then);
            }
        }
        // A window is asked about as each of its moments would be.
        for fact in &facts {
            for (from, until) in [(0, 3), (2, 9), (5, 6), (0, TICKS)] {
                let window = Some(Window { from: at(from), until: at(until) });
                let any = (from..until).any(|then| {
                    let when = When { known_at: at(TICKS), true_at: at(then) };
                    fact::is_believed(&fact.fact, when)
                });
                prop_assert_eq!(Asked::default().admits(&fact.fact, window, at(TICKS)), any);
            }
        }
    }

    #[test]
    fn normalising_twice_changes_nothing(text in "\\PC{0,40}") {
        let once = normalised(&text);
        prop_assert_eq!(normalised(&once), once);
    }
}

#[test]
fn what_makes_no_difference_makes_none() {
    for (one, other, same) in [
        ("Ada lives in Paris.", "ada  lives in\nparis", true),
        ("Ada lives in Paris.", "\"Ada lives in Paris!\"", true),
        ("Ａda", "ada", true),
        ("Ada lives in Paris.", "Ada does not live in Paris.", false),
        ("3 days", "4 days", false),
        ("C", "C++", false),
    ] {
        assert_eq!(said_term(one) == said_term(other), same, "{one:?} and {other:?}");
    }
}

#[test]
fn only_what_was_believed_is_found_by_its_words() {
    let fact = active("Ada lives in Paris.", 1);
    let said = said_term("Ada lives in Paris.");
    assert_eq!(terms(&fact), ["ada", "lif", "paris", &said].map(str::to_owned).to_vec());
    let proposed = saying("Ada lives in Paris.", 1).to_fact(FactState::Proposed).expect("a statement");
    assert_eq!(terms(&proposed), std::slice::from_ref(&said));
    let rejected = fact::rejected(&proposed, by(2), None).expect("it was proposed");
    assert_eq!(terms(&rejected), [said]);
    let closed = fact::closed(&fact, closing(2, Some(2)), None).expect("it is active");
    assert!(terms(&closed).len() > 1, "it is found for questions about the past");
}

#[test]
fn a_fact_goes_from_state_to_state_as_it_may() {
    let proposed = saying("x", 1).to_fact(FactState::Proposed).expect("a statement");
    let active = fact::accepted(&proposed, by(2)).expect("it was proposed");
    assert_eq!((active.learned_at, active.sources.len()), (at(2), 2));
    let closed = fact::closed(&active, closing(3, Some(3)), None).expect("it is active");
    let rejected = fact::rejected(&proposed, by(2), None).expect("it was proposed");
    let all = [&proposed, &active, &closed, &rejected];
    let verdicts = |result: &dyn Fn(&Fact) -> Result<Fact, FactRefusal>| {
        all.map(|fact| result(fact).err().map(|error| error.to_string()))
    };
    let not_proposed = || Some("the fact does not wait for a person".to_owned());
    let no = || [None, not_proposed(), not_proposed(), not_proposed()];
    assert_eq!(verdicts(&|fact| fact::accepted(fact, by(9))), no());
    assert_eq!(verdicts(&|fact| fact::rejected(fact, by(9), None)), no());
    let close = verdicts(&|fact| fact::closed(fact, closing(9, None), None));
    assert_eq!(close.map(|refused| refused.is_some()), [true, false, true, true]);
    let by_other = Fact { superseded_by: Some(FactId::of("m", "y", None)), ..closed };
    let told = fact::closed(&by_other, closing(9, None), None).expect_err("closed").to_string();
    assert!(told.contains("fact_") && told.contains("took its place"), "{told}");
}

#[test]
fn what_is_said_again_keeps_its_trust_and_its_first_source() {
    let untrusted = Labels { integrity: Integrity::Untrusted, ..Labels::NEUTRAL };
    let half = Confidence::percent(50).expect("a percentage");
    let mut fact =
        Saying { confidence: half, ..saying("x", 0) }.to_fact(FactState::Active).expect("a statement");
    let again = Saying { labels: untrusted, ..saying("X.", 1) };
    fact = fact::confirmed(&fact, &again);
    assert_eq!((fact.said, fact.confidence, &fact.labels), (2, half, &Labels::NEUTRAL), "not by hearsay");
    for tick in 2..40 {
        fact = fact::confirmed(&fact, &saying("x", tick));
    }
    assert_eq!((fact.said, fact.confidence), (40, Confidence::FULL));
    assert_eq!(fact.sources.len(), limit::FACT_SOURCES_MAX);
    assert_eq!((fact.sources[0].at, fact.sources.last().map(|last| last.at)), (at(0), Some(at(39))));
}

#[test]
fn what_cannot_be_kept_is_named() {
    let long = "x".repeat(limit::FACT_STATEMENT_BYTES_MAX + 1);
    let told = |saying: &Saying| saying.to_fact(FactState::Active).expect_err("refused").to_string();
    assert_eq!(told(&saying(" \n", 0)), "`statement` must not be empty");
    assert_eq!(told(&saying("...", 0)), "`statement` must not be empty");
    assert_eq!(told(&saying(&long, 0)), "`statement` must have at most 2048 bytes");
    let subject = Some("x".repeat(limit::FACT_SUBJECT_BYTES_MAX + 1));
    assert_eq!(told(&Saying { subject, ..saying("x", 0) }), "`subject` must have at most 200 bytes");
    let backwards = Saying { valid_from: Some(at(5)), valid_to: Some(at(5)), ..saying("x", 0) };
    assert_eq!(told(&backwards), "`valid_to` must be later than `valid_from`");
    let kept = active("Ada\u{1b}[0m  lives\nhere", 0);
    assert_eq!((kept.statement.as_str(), kept.subject.as_str()), ("Ada[0m lives here", "general"));
}

/// Facts as they are answers to a question.
fn answer(question: &str, asked: Asked, now: i64, facts: &[KnownFact]) -> Vec<String> {
    let question = tenure_memory::cue::Question { text: question, now: at(now), names: &[] };
    let recall = Recall::of(&question);
    let window = recall.cues().window;
    let admitted = facts.iter().filter(|known| asked.admits(&known.fact, window, at(now)));
    let mut passages = Passages::default();
    admitted.cloned().for_each(|known| passages.add_fact(known));
    let found = recall.answer(&Corpus::default(), &passages, None, 9);
    found.into_iter().map(|one| one.episode.text).collect()
}

#[test]
fn questions_about_now_meet_what_is_true_now_and_those_about_then_what_was() {
    let day = |text: &str| moment(text).expect("a date").as_millis();
    let moved = day("2024-05-01");
    let berlin =
        Fact { valid_from: Some(at(day("2020-01-01"))), ..active("Ada lives in Berlin.", day("2020-02-01")) };
    let berlin = fact::closed(&berlin, closing(moved + 9, Some(moved)), None).expect("it is active");
    let paris = Fact { valid_from: Some(at(moved)), ..active("Ada lives in Paris.", moved + 9) };
    let never =
        fact::closed(&active("Ada lives in Rome.", moved), closing(moved + 1, None), None).expect("active");
    let facts: Vec<KnownFact> = [berlin, paris, never]
        .into_iter()
        .map(|fact| KnownFact { id: FactId::of("m", &fact.statement, None), fact })
        .collect();
    let now = day("2025-01-01");
    let (berlin, paris, rome) = ("Ada lives in Berlin.", "Ada lives in Paris.", "Ada lives in Rome.");
    let none = Asked::default();
    let then = |tick: i64| Some(at(tick));
    for (question, asked, expected) in [
        ("Where does Ada live?", none, vec![paris]),
        ("Where did Ada live in March 2023?", none, vec![berlin]),
        ("Where did Ada live in May 2024?", none, vec![paris]),
        ("Where does Ada live?", Asked { true_at: then(moved - 1), ..none }, vec![berlin]),
        ("Where does Ada live?", Asked { known_at: then(moved + 5), ..none }, vec![berlin]),
        (
            "Where does Ada live?",
            Asked { known_at: then(moved), true_at: then(moved + 1), ..none },
            vec![berlin, rome],
        ),
        (
            "Where does Ada live?",
            Asked { known_at: then(moved + 9), true_at: then(moved - 1), ..none },
            vec![berlin],
        ),
        ("Where does Ada live?", Asked { closed: true, ..none }, vec![berlin, paris, rome]),
        ("Where does Ada live?", Asked { known_at: then(day("2019-01-01")), ..none }, vec![]),
    ] {
        let mut found = answer(question, asked, now, &facts);
        found.sort();
        assert_eq!(found, expected, "{question} {asked:?}");
    }
    assert!(fact::asks_about_past("Where did Ada use to live previously?"));
    assert!(fact::asks_about_past("Wo wohnte Ada früher?") && !fact::asks_about_past("Where does Ada live?"));
}

#[test]
fn ids_of_scopes_are_of_their_project() {
    let fresh = Fresh::new(Timestamp::EPOCH, 1);
    let (one, other) = (ProjectId::fresh(&fresh), ProjectId::fresh(&fresh));
    assert_ne!(MemoryScope::Project.mark(one), MemoryScope::Project.mark(other));
}

#[test]
fn facts_that_say_the_same_in_other_words_resemble_each_other() {
    let said = |subject: &str, statement: &str| {
        let saying = Saying { subject: Some(subject.to_owned()), ..saying(statement, 0) };
        saying.to_fact(FactState::Active).expect("a statement")
    };
    let known = said("Ada", "Ada lives in the old town of Köln.");
    for (subject, statement, expected) in [
        ("ada", "ada lives in old town of koln", true),
        ("Ada", "Ada lives in an old town, of Köln!", true),
        ("Ada", "Ada lived in the old town of Köln.", false),
        ("Ada", "Ada does not live in the old town of Köln.", false),
        ("Ada", "Ada lives in the old town of Bonn.", false),
        ("Ada", "In the old town of Köln lives Ada.", false),
        ("Köln", "Ada lives in the old town of Köln.", false),
    ] {
        assert_eq!(fact::resembles(&known, &said(subject, statement)), expected, "{subject}: {statement}");
    }
    assert!(!fact::resembles(&said("Ada", "Lunch is before noon."), &said("Ada", "Lunch is after noon.")));
}
