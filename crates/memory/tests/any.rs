//! Whatever is said and asked.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tenure_journal::{
    Episode, Fresh, ItemId, Labels, SessionId, Speaker, Timestamp, is_procedure_name, limit,
};
use tenure_memory::bench::locomo;
use tenure_memory::cue::Question;
use tenure_memory::recall::Recall;
use tenure_memory::{Index, extract, fact, text};

/// Texts that meet each other, and texts of anything.
fn any_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "dog", "dogs", "painted", "before", "last", "may", "2023", "5月", "昨天", "vor", "zwei", "Wochen",
        "?", "'s", "I", "99999", "in", "hace", "年前", "é",
    ]);
    prop_oneof![prop::collection::vec(word, 0..8).prop_map(|words| words.join(" ")), ".{0,60}"]
}

/// Answers of about the form that is asked for.
fn any_answer() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("\"Ada\"".to_owned()),
        Just("\"\"".to_owned()),
        Just("7".to_owned()),
        ".{0,9}".prop_map(|text| format!("{text:?}"))
    ];
    let sources = prop::collection::vec(-1_i64..7, 0..4).prop_map(|numbers| format!("{numbers:?}"));
    let moment = prop::sample::select(vec!["null", "\"2026-01-01\"", "\"2025-01-01\"", "\"May\"", "1"]);
    let name = prop::sample::select(vec!["\"refund-order\"", "\"a--b\"", "7"]);
    let procedure = (name, text.clone(), text.clone(), sources.clone()).prop_map(|(name, description, steps, sources)| {
        format!(",\"procedure\":{{\"name\":{name},\"description\":{description},\"steps\":{steps},\"sources\":{sources}}}")
    });
    let procedure = prop_oneof![Just(String::new()), Just(",\"procedure\":null".to_owned()), procedure];
    let fact = (text.clone(), text, sources, moment.clone(), moment, 0_u8..120).prop_map(|(subject, statement, sources, from, to, sure)| {
        format!("{{\"subject\":{subject},\"statement\":{statement},\"sources\":{sources},\"valid_from\":{from},\"valid_to\":{to},\"confidence\":{sure}}}")
    });
    let facts = (prop::collection::vec(fact, 0..5), procedure)
        .prop_map(|(facts, procedure)| format!("{{\"facts\":[{}]{procedure}}}", facts.join(",")));
    prop_oneof![4 => facts, 1 => ".{0,60}"]
}

#[test]
fn every_letter_is_one_term_however_it_is_written() {
    let mut apart = Vec::new();
    for letter in '\0'..=char::MAX {
        let (small, large): (String, String) =
            (letter.to_lowercase().collect(), letter.to_uppercase().collect());
        if small == large {
            continue;
        }
        for (before, after) in [("", ""), ("b", ""), ("", "b"), ("b", "d")] {
            let stems = |letter: &str| text::stems(&format!("{before}{letter}{after}"));
            if stems(&small) != stems(&large) {
                apart.push((letter, before, after));
            }
        }
    }
    assert!(apart.is_empty(), "{apart:?}");
}

proptest! {
    #[test]
    fn terms_are_clean(text in any_text()) {
        for stem in text::stems(&text) {
            prop_assert!(!stem.is_empty());
            prop_assert!(!stem.contains(char::is_whitespace), "{stem:?}");
        }
        prop_assert_eq!(text::stems(&text), text::stems(&text.to_uppercase().to_lowercase()));
    }

    #[test]
    fn every_answer_was_said_and_comes_once(said in prop::collection::vec(any_text(), 0..12), question in any_text(), now in any::<i64>()) {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let session = SessionId::fresh(&fresh);
        let mut index = Index::default();
        for (ordinal, text) in (0..).zip(&said) {
            let item = ItemId::fresh(&fresh);
            let at = Timestamp::from_millis(now).plus_millis(ordinal);
            index.put(Episode { session, item, ordinal, at, speaker: Speaker::User, name: None, text: text.clone(), labels: Labels::NEUTRAL });
        }
        let recall = Recall::of(&Question { text: &question, now: Timestamp::from_millis(now), names: &["Dog".to_owned()] });
        let found = recall.answer(&index.corpus(recall.cues()), &index.passages(), None, 5);
        prop_assert!(found.len() <= 5);
        let mut items: Vec<ItemId> = found.iter().map(|one| one.episode.item).collect();
        items.sort_unstable();
        items.dedup();
        prop_assert_eq!(items.len(), found.len());
        prop_assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
        prop_assert!(found.iter().all(|one| one.score.is_finite()));
    }

    #[test]
    fn what_is_taken_of_an_answer_is_within_every_limit(answer in any_answer(), shown in 0_usize..5, calls in 0_usize..5, facts_max in 0_u32..40) {
        let Ok(read) = extract::read(&answer, extract::Shown { items: shown, calls }, facts_max) else { return Ok(()) };
        prop_assert!(read.facts.len() <= facts_max.min(limit::EXTRACTED_FACTS_MAX) as usize);
        let statements: BTreeSet<String> = read.facts.iter().map(|one| fact::normalised(&one.statement)).collect();
        prop_assert_eq!(statements.len(), read.facts.len());
        for one in read.facts {
            prop_assert!((1..=limit::FACT_STATEMENT_BYTES_MAX).contains(&one.statement.len()));
            prop_assert!((1..=limit::FACT_SUBJECT_BYTES_MAX).contains(&one.subject.len()));
            prop_assert!(!one.sources.is_empty() && one.sources.iter().all(|place| *place < shown));
            prop_assert!(one.valid_from.zip(one.valid_to).is_none_or(|(from, to)| from < to));
        }
        if let Some(one) = read.procedure {
            prop_assert!(is_procedure_name(&one.text.name));
            prop_assert!((1..=limit::PROCEDURE_STEPS_BYTES_MAX).contains(&one.text.steps.len()));
            prop_assert!(one.sources.iter().all(|place| *place < shown + calls));
            prop_assert!(one.sources.iter().any(|place| *place >= shown));
        }
    }

    #[test]
    fn other_files_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(locomo::read(&bytes).is_err());
    }
}
