//! Whatever is said and asked.

use proptest::prelude::*;
use tenure_journal::{Episode, Fresh, ItemId, Labels, SessionId, Speaker, Timestamp};
use tenure_memory::bench::locomo;
use tenure_memory::cue::Question;
use tenure_memory::recall::Recall;
use tenure_memory::{Index, text};

/// Texts that meet each other, and texts of anything.
fn any_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "dog", "dogs", "painted", "before", "last", "may", "2023", "5月", "昨天", "vor", "zwei", "Wochen",
        "?", "'s", "I", "99999", "in", "hace", "年前", "é",
    ]);
    prop_oneof![prop::collection::vec(word, 0..8).prop_map(|words| words.join(" ")), ".{0,60}"]
}

proptest! {
    #[test]
    fn terms_are_clean(text in any_text()) {
        for stem in text::stems(&text) {
            prop_assert!(!stem.is_empty());
            prop_assert!(!stem.contains(char::is_whitespace), "{stem:?}");
        }
        prop_assert_eq!(text::stems(&text), text::stems(&text.to_uppercase().to_lowercase()).iter().map(Clone::clone).collect::<Vec<_>>());
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
        let found = recall.answer(&index.corpus(recall.cues()), &index.stretches(), None, 5, None);
        prop_assert!(found.len() <= 5);
        let mut items: Vec<ItemId> = found.iter().map(|one| one.episode.item).collect();
        items.sort_unstable();
        items.dedup();
        prop_assert_eq!(items.len(), found.len());
        prop_assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
        prop_assert!(found.iter().all(|one| one.score.is_finite()));
    }

    #[test]
    fn other_files_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(locomo::read(&bytes).is_err());
    }
}
