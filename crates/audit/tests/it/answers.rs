//! Answers prove what they hold, and cosignatures what they saw.

use std::collections::BTreeMap;

use tenure_audit::{
    Answer, Checkpoint, Hash, NoteError, Proven, SigningKey, TileId, Tiles, Tree, WitnessKey,
    WitnessVerifier, inclusion,
};

use crate::log::{ORIGIN, key};

#[derive(Default)]
struct Kept(BTreeMap<TileId, Vec<Hash>>);

#[derive(Debug, thiserror::Error)]
#[error("not kept")]
struct NotKept;

impl Tiles for Kept {
    type Error = NotKept;

    fn tile(&self, id: TileId) -> Result<Vec<Hash>, NotKept> {
        self.0.get(&id).cloned().ok_or(NotKept)
    }
}

fn record(number: u64) -> String {
    format!(r#"{{"n":{number}}}"#)
}

/// Every third record of a log of `size`.
fn answer(size: u64) -> Answer {
    let (mut tree, mut kept) = (Tree::new(), Kept::default());
    for number in 0..size {
        let mut full = Vec::new();
        tree.push(Hash::of_record(record(number).as_bytes()), &mut full);
        kept.0.extend(full.into_iter().map(|tile| (tile.id, tile.hashes)));
    }
    kept.0.extend(tree.partial_tiles().into_iter().map(|tile| (tile.id, tile.hashes)));
    let proven = (0..size).step_by(3).map(|index| {
        let path = inclusion(&kept, size, index).expect("kept").expect("inside");
        Proven { index, record: record(index), path }
    });
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: tree.root() };
    Answer {
        question: "every third?".to_owned(),
        filter: "n=3".to_owned(),
        looked_at: size,
        proven: proven.collect(),
        checkpoint: checkpoint.sign(&key()).expect("signs"),
    }
}

#[test]
fn an_answer_reads_back_and_proves_each_record() {
    for size in [1, 2, 3, 255, 256, 257, 700] {
        let answer = answer(size);
        let read: Answer = answer.to_string().parse().expect("an answer");
        assert_eq!(read, answer);
        assert_eq!(read.verify(&key().verifier()).expect("sound").size, size);
    }
    let none = Answer { proven: Vec::new(), ..answer(5) };
    assert_eq!(none.to_string().parse(), Ok(none.clone()));
    none.verify(&key().verifier()).expect("nothing found is an answer too");
}

#[test]
fn a_changed_answer_proves_nothing() {
    let good = answer(300).to_string();
    let verifier = key().verifier();
    let check = |what: &str, text: String, expected: &str| {
        let outcome = text.parse::<Answer>().and_then(|answer| answer.verify(&verifier));
        let error = outcome.expect_err(what).to_string();
        assert!(error.contains(expected), "{what}: {error}");
    };
    check(
        "a record that was changed",
        good.replacen(r#"{"n":3}"#, r#"{"n":4}"#, 1),
        "record 3 is not in the log",
    );
    check(
        "a record that was moved",
        good.replacen("index 3\n", "index 4\n", 1),
        "record 4 is not in the log",
    );
    check("a record twice", good.replacen("index 3\n", "index 0\n", 1), "order");
    check(
        "more than there is",
        good.replacen("looked_at 300", "looked_at 301", 1),
        "more records were looked at",
    );
    check("another root", good.replacen("\n300\n", "\n301\n", 1), "signature");
    check("no checkpoint", good[..good.find("checkpoint\n").expect("there")].to_owned(), "not an answer");
    check("another form", good.replacen("@v1", "@v2", 1), "not an answer");
    check("an index in another form", good.replacen("index 3\n", "index 03\n", 1), "not an answer");
    let other = SigningKey::new(ORIGIN, &[9; 32]).expect("a key").verifier();
    assert!(good.parse::<Answer>().expect("an answer").verify(&other).is_err(), "another log's key");
}

#[test]
fn the_words_of_a_question_cannot_forge_the_rest() {
    let mut answer = answer(2);
    answer.question = "a\n\nindex 0\nrecord {}\n".to_owned();
    answer.filter = "x".repeat(10_000);
    let read: Answer = answer.to_string().parse().expect("an answer");
    assert_eq!((read.proven.len(), read.filter.len()), (1, 4_096));
    assert!(!read.question.contains('\n'));
}

#[test]
fn a_cosignature_says_who_saw_what_when() {
    let note = answer(7).checkpoint;
    let (ann, bob) =
        (WitnessKey::new("ann", &[3; 32]).expect("a key"), WitnessKey::new("bob", &[4; 32]).expect("a key"));
    let by_both = bob.cosign(&ann.cosign(&note, 1_000).expect("a note"), 2_000).expect("a note");
    assert_eq!(ann.verifier().seen(&by_both), Ok(1_000));
    assert_eq!(bob.verifier().seen(&by_both), Ok(2_000));
    Checkpoint::open(&by_both, &key().verifier()).expect("the log's own signature still holds");
    assert_eq!(ann.verifier().seen(&note), Err(NoteError::Unsigned { name: "ann".into() }));
    let other = WitnessKey::new("ann", &[5; 32]).expect("a key").verifier();
    assert!(matches!(other.seen(&by_both), Err(NoteError::Unsigned { .. })), "another key of that name");
    let changed = by_both.replacen("\n7\n", "\n8\n", 1);
    assert!(matches!(ann.verifier().seen(&changed), Err(NoteError::Signature { .. })));
    let key = ann.verifier().to_string();
    assert_eq!(key.parse::<WitnessVerifier>().expect("a key"), ann.verifier());
    assert!(key.replace("ann", "eve").parse::<WitnessVerifier>().is_err());
    assert!(key.parse::<tenure_audit::VerifierKey>().is_err(), "a witness's key signs no log");
    assert!(!format!("{ann:?}").contains("pair"));
}
