//! The benchmarks themselves: their data is what it says, and the ranker is worth what the manual says.

use tenure_memory::bench::{Kind, Prepared, locomo, measure, synthetic};
use tenure_memory::rank::Weights;

#[test]
fn the_same_seed_makes_the_same_talk() {
    let names = |seed| -> Vec<String> {
        synthetic::conversations(seed, 1)
            .iter()
            .flat_map(|talk| talk.episodes.iter().map(|e| e.text.clone()))
            .collect()
    };
    assert_eq!(names(1), names(1));
    assert_ne!(names(1), names(2));
}

#[test]
fn every_question_has_its_evidence() {
    let talks = synthetic::conversations(7, 2);
    assert_eq!(talks.len(), 8);
    for talk in &talks {
        assert!(talk.asked.len() >= 12, "{}", talk.name);
        for asked in &talk.asked {
            let expected = if asked.kind == Kind::MultiHop { 2 } else { 1 };
            assert_eq!(asked.evidence.len(), expected, "{}: {}", talk.name, asked.question);
            let known =
                |item: &tenure_journal::ItemId| talk.episodes.iter().any(|episode| episode.item == *item);
            assert!(asked.evidence.iter().all(known), "{}", asked.question);
            assert!(!asked.question.contains('{'), "{}", asked.question);
        }
        assert!(talk.episodes.iter().all(|episode| !episode.text.contains('{')), "{}", talk.name);
        for kind in [Kind::Single, Kind::MultiHop, Kind::Time, Kind::Update] {
            assert!(talk.asked.iter().any(|asked| asked.kind == kind), "{} has {kind:?}", talk.name);
        }
    }
}

#[test]
fn the_ranker_answers_in_every_language() {
    let talks = synthetic::conversations(1, 2);
    for talk in &talks {
        let measured = measure(&[Prepared::new(talk)], &Weights::default());
        assert!(measured.recall_10 > 60.0, "{}: {measured:?}", talk.name);
    }
}

#[test]
fn reads_locomo() {
    let file = serde_json::json!([{
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ada", "speaker_b": "Bob",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ada", "dia_id": "D1:1", "text": "Look!", "blip_caption": "a photo of a cat"},
                {"speaker": "Bob", "dia_id": "D1:2", "text": "Cute."},
            ],
            "session_2_date_time": "9:00 am on 1 June, 2023",
        },
        "qa": [
            {"question": "What is on the photo?", "answer": "a cat", "evidence": ["D1:1"], "category": 4},
            {"question": "Who?", "answer": 2, "evidence": ["D1:1; D1:2", "D9:9"], "category": 1},
            {"question": "Which dog?", "evidence": ["D1:1"], "adversarial_answer": "x", "category": 5},
            {"question": "Nothing?", "answer": "x", "evidence": [], "category": 2},
        ],
        "event_summary": {}, "observation": {}, "session_summary": {},
    }]);
    let talks = locomo::read(file.to_string().as_bytes()).expect("LoCoMo");
    let [talk] = &talks[..] else { panic!("one talk") };
    let texts: Vec<&str> = talk.episodes.iter().map(|episode| episode.text.as_str()).collect();
    assert_eq!(texts, ["Look! [a photo of a cat]", "Cute."]);
    assert_eq!(tenure_memory::rfc3339(talk.episodes[0].at), "2023-05-08T13:56:00Z");
    let asked: Vec<(usize, Kind)> =
        talk.asked.iter().map(|asked| (asked.evidence.len(), asked.kind)).collect();
    assert_eq!(asked, [(1, Kind::Single), (2, Kind::MultiHop)]);
    for broken in [
        "",
        "{}",
        "[{}]",
        r#"[{"sample_id":"x","conversation":{"session_1":[],"session_1_date_time":"then"},"qa":[]}]"#,
    ] {
        assert!(locomo::read(broken.as_bytes()).is_err(), "{broken}");
    }
}
