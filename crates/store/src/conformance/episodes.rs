//! What can be recalled, as soon as it was appended.

use tenure_journal::{
    AgentId, Episode, Fresh, Integrity, ItemId, Labels, MemorySpace, Remembered, SessionKey, Speaker,
    Timestamp,
};

use super::build::{NOW, accepted, append, fresh, key};
use crate::recall::Run;
use crate::{Append, GoneRows, Store, Wanted};

pub(super) fn space(fresh: &Fresh, key: SessionKey) -> MemorySpace {
    MemorySpace { project: key.project, agent: AgentId::fresh(fresh), user: None }
}

/// An episode at a place, a second after the one before it, that is found by the words of its text.
pub(super) fn said(
    fresh: &Fresh,
    space: &MemorySpace,
    key: SessionKey,
    ordinal: u64,
    text: &str,
) -> Remembered {
    Remembered {
        space: space.clone(),
        episode: Episode {
            session: key.session,
            item: ItemId::fresh(fresh),
            ordinal,
            at: NOW.plus_millis(ordinal * 1_000),
            speaker: Speaker::User,
            name: (ordinal % 2 == 1).then(|| "Ada".to_owned()),
            text: text.to_owned(),
            labels: labels(ordinal),
        },
        terms: text.split(' ').map(str::to_owned).collect(),
    }
}

fn labels(ordinal: u64) -> Labels {
    let categories = ["pii".to_owned(), "\"é\0".to_owned()].into();
    let untrusted = Labels { integrity: Integrity::Untrusted, categories, ..Labels::NEUTRAL };
    if ordinal.is_multiple_of(2) { untrusted } else { Labels::NEUTRAL }
}

pub(super) fn wanted(terms: &[&str], reach: usize) -> Wanted {
    let terms = terms.iter().map(|term| (*term).to_owned()).collect();
    Wanted { terms, kindred: Vec::new(), window: None, hits_max: 100, reach }
}

/// The texts of what was found, run by run.
pub(super) async fn found(store: &dyn Store, space: &MemorySpace, wanted: &Wanted) -> Vec<Vec<String>> {
    let candidates = accepted(store.candidates(space, wanted).await);
    let texts = |run: &Run| run.iter().map(|(_, episode)| episode.text.clone()).collect();
    candidates.stretches.iter().map(texts).collect()
}

pub(super) async fn finds_what_shares_terms(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let space = space(&fresh, key);
    let texts = ["red dog", "blue cat", "ключ dog", "犬種 or and", "redé"];
    let rows: Vec<Remembered> =
        (0..).zip(texts).map(|(place, text)| said(&fresh, &space, key, place, text)).collect();
    let first = rows[0].episode.clone();
    accepted(store.append(Append { episodes: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    for (terms, expected) in [
        (&["dog"][..], &[&["red dog"][..], &["ключ dog"]][..]),
        (&["ключ"], &[&["ключ dog"]]),
        (&["犬種"], &[&["犬種 or and"]]),
        (&["and", "or"], &[&["犬種 or and"]]),
        (&["red"], &[&["red dog"]]),
        (&["cat", "redé"], &[&["blue cat"], &["redé"]]),
        (&["nothing", "re"], &[]),
        (&[], &[]),
    ] {
        let told = found(store, &space, &wanted(terms, 0)).await;
        assert_eq!(told, expected, "episodes are found by whole terms: {terms:?}");
    }
    let candidates = accepted(store.candidates(&space, &wanted(&["dog", "nothing", "cat"], 0)).await);
    assert_eq!(candidates.episodes, 5, "the episodes of a space are counted");
    assert_eq!(candidates.frequencies, [2, 0, 1], "the episodes with each term are counted");
    let kindred = |hits_max| Wanted { hits_max, kindred: vec!["cat".to_owned()], ..wanted(&["red"], 0) };
    assert_eq!(
        found(store, &space, &kindred(1)).await,
        [["red dog"]],
        "what is kindred takes nobody's place"
    );
    assert_eq!(found(store, &space, &kindred(2)).await, [["red dog"], ["blue cat"]], "it fills up");
    let one = Wanted { hits_max: 1, ..wanted(&["dog", "red"], 0) };
    let candidates = accepted(store.candidates(&space, &one).await);
    let episodes: Vec<&Episode> = candidates.stretches.iter().flatten().map(|(_, episode)| episode).collect();
    assert_eq!(episodes, [&first], "what shares the most is picked, and comes back as it was");
}

pub(super) async fn brings_neighbours_without_gaps(store: &dyn Store) {
    let fresh = fresh(1);
    let (one, other) = (key(&fresh), key(&fresh));
    let other = SessionKey { project: one.project, ..other };
    let space = space(&fresh, one);
    // Items that are no episodes lie between them.
    let texts = [(0, "a"), (3, "b"), (4, "hit c"), (9, "d"), (10, "e"), (15, "f"), (16, "hit g")];
    for key in [one, other] {
        let rows = texts.iter().map(|(place, text)| said(&fresh, &space, key, *place, text)).collect();
        accepted(store.append(Append { episodes: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    }
    for (reach, expected) in [
        (0, &[&["hit c"][..], &["hit g"]][..]),
        (1, &[&["b", "hit c", "d"], &["f", "hit g"]]),
        (2, &[&["a", "b", "hit c", "d", "e", "f", "hit g"][..]]),
        (100, &[&["a", "b", "hit c", "d", "e", "f", "hit g"]]),
    ] {
        let told = found(store, &space, &wanted(&["hit"], reach)).await;
        let twice: Vec<&[&str]> = [expected, expected].concat();
        assert_eq!(told, twice, "neighbours come once, in order, session by session: {reach}");
    }
}

pub(super) async fn replaces_and_gives_up_places(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let space = space(&fresh, key);
    let say = |place, text| said(&fresh, &space, key, place, text);
    let rows = vec![say(0, "one two"), say(1, "two three"), say(2, "three four")];
    accepted(store.append(Append { episodes: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    let rows = vec![say(1, "five")];
    accepted(store.append(Append { episodes: rows, ..append(&fresh, key, 1, &["x"]) }).await);
    let all = wanted(&["one", "two", "three", "four", "five"], 0);
    let told = found(store, &space, &all).await.concat();
    assert_eq!(
        told,
        ["one two", "five", "three four"],
        "an episode takes the place of the one that was there"
    );
    let candidates = accepted(store.candidates(&space, &all).await);
    assert_eq!(candidates.frequencies, [1, 1, 1, 1, 1], "what was replaced is found by none of its terms");

    let gone = GoneRows { items_from: Some(1), turns: Vec::new() };
    let rows = vec![say(1, "six")];
    accepted(store.append(Append { gone, episodes: rows, ..append(&fresh, key, 2, &["x"]) }).await);
    let told = found(store, &space, &wanted(&["two", "five", "three", "six"], 9)).await.concat();
    assert_eq!(told, ["one two", "six"], "places that are given up are empty before they are filled again");
}

pub(super) async fn forgets_a_deleted_session(store: &dyn Store) {
    let fresh = fresh(1);
    let (gone, kept) = (key(&fresh), key(&fresh));
    let kept = SessionKey { project: gone.project, ..kept };
    let space = space(&fresh, gone);
    for key in [gone, kept] {
        let rows = vec![said(&fresh, &space, key, 0, "secret word")];
        accepted(store.append(Append { episodes: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    }
    let mut deletion = append(&fresh, gone, 1, &["x"]);
    deletion.head.deleted = true;
    deletion.episodes = vec![said(&fresh, &space, gone, 1, "secret end")];
    accepted(store.append(deletion).await);
    let candidates = accepted(store.candidates(&space, &wanted(&["secret"], 9)).await);
    let sessions: Vec<_> =
        candidates.stretches.iter().flatten().map(|(_, episode)| episode.session).collect();
    assert_eq!(sessions, [kept.session], "a deleted session is remembered by nothing");
    assert_eq!((candidates.episodes, &candidates.frequencies[..]), (1, &[1][..]), "nor counted");
}

pub(super) async fn finds_a_stretch_of_time(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let space = space(&fresh, key);
    let rows = (0..9).map(|place| said(&fresh, &space, key, place, &format!("w{place}"))).collect();
    accepted(store.append(Append { episodes: rows, ..append(&fresh, key, 0, &["x"]) }).await);
    let at = |second: u64| NOW.plus_millis(second * 1_000);
    let mut asked = Wanted { window: Some((at(2), at(5))), ..wanted(&[], 0) };
    assert_eq!(found(store, &space, &asked).await.concat(), ["w2", "w3", "w4"], "the end is not part of it");
    asked.hits_max = 2;
    assert_eq!(found(store, &space, &asked).await.concat(), ["w3", "w4"], "the newest are picked");
    asked.window = Some((Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX)));
    assert_eq!(found(store, &space, &asked).await.concat(), ["w7", "w8"], "a window may be open");
    asked.terms = vec!["w1".to_owned()];
    assert_eq!(found(store, &space, &asked).await.concat(), ["w1"], "terms are asked for instead of a time");
}
