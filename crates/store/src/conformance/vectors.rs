//! Vectors of episodes: made later, found by meaning, gone with what they are of.

use tenure_journal::{Episode, MemorySpace, SessionKey};
use tenure_vector::{AskedVector, Likeness, Vectors};

use super::build::{accepted, append, fresh, key};
use super::episodes::{said, space, wanted};
use crate::{Alike, Append, Candidates, Embedded, GoneRows, Store, Wanted};

const MODEL: &str = "tiny@1";

/// Vectors of an episode that points in one direction of three, by the first letter of its text.
fn vectors(episode: &Episode) -> Vectors {
    let direction = direction(&episode.text);
    Vectors::of(&[direction.clone(), direction]).expect("two vectors of three numbers")
}

fn direction(text: &str) -> Vec<f32> {
    match text.chars().next() {
        Some('a') => vec![1.0, 0.0, 0.0],
        Some('b') => vec![0.6, 0.8, 0.0],
        Some(_) | None => vec![0.0, 0.0, 1.0],
    }
}

/// What is alike a text, with so many neighbours, of which the next are compared.
fn alike(model: &str, text: &str, hits_max: usize, reach: usize) -> Alike {
    let vector = AskedVector::of(&direction(text)).expect("three numbers");
    Alike { model: model.to_owned(), vector, hits_max, reach, compared_reach: 1 }
}

async fn keep(store: &dyn Store, model: &str) {
    let lacking = accepted(store.unembedded(model, 0, 100).await);
    let made = lacking.into_iter().map(|one| {
        let vectors = vectors(&one.episode);
        Embedded { project: one.project, episode: one.episode, vectors }
    });
    accepted(store.embed(model, made.collect()).await);
}

/// The texts of what was found, each with how alike it is, in hundredths.
async fn found(
    store: &dyn Store,
    space: &MemorySpace,
    (wanted, alike): &(Wanted, Alike),
) -> Vec<(String, Option<i32>)> {
    let candidates = accepted(store.candidates(space, wanted).await);
    found_beside(store, space, alike, candidates).await
}

/// The same, once something was found by its terms.
async fn found_beside(
    store: &dyn Store,
    space: &MemorySpace,
    alike: &Alike,
    candidates: Candidates,
) -> Vec<(String, Option<i32>)> {
    let candidates = accepted(store.candidates_alike(space, alike, candidates).await);
    let hundredths = |likeness: &Likeness| (likeness.best() * 100.0).round() as i32;
    let told = |(number, episode): &(u64, Episode)| {
        (episode.text.clone(), candidates.likenesses.get(number).map(hundredths))
    };
    candidates.stretches.iter().flatten().map(told).collect()
}

fn pairs(expected: &[(&str, Option<i32>)]) -> Vec<(String, Option<i32>)> {
    expected.iter().map(|(text, likeness)| ((*text).to_owned(), *likeness)).collect()
}

async fn say(store: &dyn Store, key: SessionKey, space: &MemorySpace, version: u64, texts: &[(u64, &str)]) {
    let fresh = fresh(version + 1);
    let rows = texts.iter().map(|(place, text)| said(&fresh, space, key, *place, text)).collect();
    accepted(store.append(Append { episodes: rows, ..append(&fresh, key, version, &["x"]) }).await);
}

pub(super) async fn finds_what_is_alike(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let space = space(&fresh, key);
    say(store, key, &space, 0, &[(0, "a first"), (1, "b second"), (2, "c third"), (3, "a fourth")]).await;
    let asked = |hits_max, reach| (wanted(&["third"], reach), alike(MODEL, "a", hits_max, reach));
    let told = found(store, &space, &asked(2, 0)).await;
    assert_eq!(told, pairs(&[("c third", None)]), "what has no vectors yet is found by its terms");
    keep(store, MODEL).await;
    for (hits_max, reach, expected) in [
        (0, 0, &[("c third", Some(0))][..]),
        (1, 0, &[("c third", Some(0)), ("a fourth", Some(100))]),
        (2, 0, &[("a first", Some(100)), ("c third", Some(0)), ("a fourth", Some(100))]),
        (1, 1, &[("b second", Some(60)), ("c third", Some(0)), ("a fourth", Some(100))]),
        (0, 2, &[("a first", None), ("b second", Some(60)), ("c third", Some(0)), ("a fourth", Some(100))]),
    ] {
        let told = found(store, &space, &asked(hits_max, reach)).await;
        let sentence = "the most alike are found, of equals the newer, and near neighbours are compared";
        assert_eq!(told, pairs(expected), "{sentence}: {hits_max} and {reach}");
    }
    let wide = (wanted(&["third"], 0), alike(MODEL, "a", 1, 9));
    let expected =
        pairs(&[("a first", None), ("b second", Some(60)), ("c third", Some(0)), ("a fourth", Some(100))]);
    assert_eq!(found(store, &space, &wide).await, expected, "what is alike has a reach of its own");
    let other = (wanted(&[], 0), alike("tiny@2", "a", 9, 0));
    assert_eq!(found(store, &space, &other).await, [], "vectors of another model are not compared");
    let stranger = MemorySpace { user: Some("ada".to_owned()), ..space.clone() };
    assert_eq!(found(store, &stranger, &asked(9, 9)).await, [], "nor those of another space");
    keep(store, "tiny@2").await;
    assert_eq!(found(store, &space, &other).await.len(), 4, "another model's take their place");
    assert_eq!(
        found(store, &space, &asked(9, 0)).await,
        pairs(&[("c third", None)]),
        "and the first are gone"
    );
}

pub(super) async fn says_what_has_no_vectors(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let (one, other) = (space(&fresh, key), space(&fresh, key));
    say(store, key, &one, 0, &[(0, "a"), (4, "b")]).await;
    say(store, key, &other, 1, &[(5, "c")]).await;
    say(store, key, &one, 2, &[(9, "d")]).await;
    let lacking = accepted(store.unembedded(MODEL, 0, 9).await);
    let told: Vec<(&str, Option<&str>)> = lacking
        .iter()
        .map(|one| (one.episode.text.as_str(), one.before.as_ref().map(|before| before.text.as_str())))
        .collect();
    let expected = [("a", None), ("b", Some("a")), ("c", None), ("d", Some("b"))];
    assert_eq!(told, expected, "each comes with what was said before it in its space");
    assert!(lacking.iter().all(|one| one.project == key.project), "and with its project");
    let first = accepted(store.unembedded(MODEL, 0, 2).await);
    assert_eq!(first, lacking[..2], "the oldest come first");
    let rest = accepted(store.unembedded(MODEL, first[1].number, 9).await);
    assert_eq!(rest, lacking[2..], "the others come after them");
    keep(store, MODEL).await;
    assert_eq!(accepted(store.unembedded(MODEL, 0, 9).await), [], "nothing is left");
    assert_eq!(accepted(store.unembedded("tiny@2", 0, 9).await).len(), 4, "for another model everything is");
}

pub(super) async fn keeps_no_vectors_of_what_is_gone(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let space = space(&fresh, key);
    say(store, key, &space, 0, &[(0, "a one"), (1, "a two"), (2, "a three")]).await;
    let late = accepted(store.unembedded(MODEL, 0, 9).await);
    keep(store, MODEL).await;
    let asked = (wanted(&[], 0), alike(MODEL, "a", 9, 0));
    say(store, key, &space, 1, &[(1, "c two")]).await;
    let told = found(store, &space, &asked).await;
    let sentence = "what took another's place has none of its vectors";
    assert_eq!(told, pairs(&[("a one", Some(100)), ("a three", Some(100))]), "{sentence}");
    // Vectors that were being made meanwhile come too late.
    let made = late.into_iter().map(|one| Embedded {
        project: one.project,
        vectors: vectors(&one.episode),
        episode: one.episode,
    });
    let made: Vec<Embedded> = made.collect();
    accepted(store.embed(MODEL, made.clone()).await);
    assert_eq!(found(store, &space, &asked).await, told, "nor those that come too late");
    let by_terms = accepted(store.candidates(&space, &wanted(&["three"], 0)).await);
    let gone = GoneRows { items_from: Some(2), turns: Vec::new() };
    accepted(store.append(Append { gone, ..append(&fresh, key, 2, &["x"]) }).await);
    accepted(store.embed(MODEL, made.clone()).await);
    assert_eq!(
        found(store, &space, &asked).await,
        pairs(&[("a one", Some(100))]),
        "going back takes them back"
    );
    assert_eq!(
        found_beside(store, &space, &asked.1, by_terms).await,
        pairs(&[("a one", Some(100)), ("a three", None)]),
        "what went after it was found stays found, and is not compared"
    );
    let mut deletion = append(&fresh, key, 3, &["x"]);
    deletion.head.deleted = true;
    accepted(store.append(deletion).await);
    accepted(store.embed(MODEL, made).await);
    assert_eq!(found(store, &space, &asked).await, [], "a deleted session has none");
    assert_eq!(accepted(store.unembedded(MODEL, 0, 9).await), [], "and gets none");
}
