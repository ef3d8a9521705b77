//! A question is read whatever it is, and a passage that says the same is an answer to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::{Episode, Fresh, ItemId, Labels, SessionId, Speaker, Timestamp};
use tenure_memory::cue::Question;
use tenure_memory::recall::Recall;
use tenure_memory::{Index, text};

fuzz_target!(|input: (i64, &str)| {
    let (millis, text) = input;
    let now = Timestamp::from_millis(millis);
    for stem in text::stems(text) {
        assert!(!stem.is_empty() && !stem.contains(char::is_whitespace));
    }
    let recall = Recall::of(&Question { text, now, names: &["Caroline".to_owned()] });
    let fresh = Fresh::new(Timestamp::EPOCH, 1);
    let (session, item) = (SessionId::fresh(&fresh), ItemId::fresh(&fresh));
    let mut index = Index::default();
    let speaker = Speaker::User;
    index.put(Episode {
        session,
        item,
        ordinal: 0,
        at: now,
        speaker,
        name: None,
        text: text.to_owned(),
        labels: Labels::NEUTRAL,
    });
    let found = recall.answer(&index.corpus(recall.cues()), &index.passages(), None, 5);
    assert!(found.len() <= 1);
    assert!(found.iter().all(|one| one.score.is_finite()));
});
