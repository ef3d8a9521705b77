//! A directory becomes a model, or an error that says which file and what in it.

use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::{Value, json};
use tenure_embed::{Model, ModelErrorKind, Tokenizer};

use crate::plain;
use crate::tiny::{self, HIDDEN, POSITIONS};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

fn model(seed: u64) -> Model {
    let directory = tempfile::tempdir().expect("a directory");
    tiny::write(directory.path(), seed);
    Model::open(directory.path()).expect("a model")
}

const TEXTS: [&str; 7] = [
    "",
    "the dog barks",
    "The DOG barked, at night.",
    "cat",
    "犬犬 nothing that is known",
    "the dog barks at the cat at night, the cat barks at the dog, the dog barks at night",
    "[SEP] cat",
];

#[test]
fn vectors_are_those_of_the_plain_encoder() {
    for seed in 1..4 {
        let model = model(seed);
        let tokenizer = Tokenizer::from_json(tiny::tokenizer().to_string().as_bytes()).expect("a tokenizer");
        assert_eq!((model.dimensions(), model.tokens_max()), (HIDDEN, POSITIONS));
        for (text, found) in TEXTS.iter().zip(model.encode(&TEXTS, ONE)) {
            let expected = plain::vector(&tiny::weights(seed), &tokenizer.encode(text, POSITIONS));
            let off =
                found.iter().zip(&expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
            let off = off.fold(0.0, f64::max);
            assert!(off < 1e-5, "seed {seed}, `{text}`: off by {off}");
        }
    }
}

#[test]
fn a_text_has_the_same_vector_alone_and_among_others() {
    let model = model(1);
    let many: Vec<&str> = TEXTS.iter().copied().cycle().take(200).collect();
    let alone: Vec<Vec<f32>> = TEXTS.iter().flat_map(|text| model.encode(&[text], ONE)).collect();
    for threads in [1, 2, 3, 64] {
        let found = model.encode(&many, NonZeroUsize::new(threads).expect("not zero"));
        assert_eq!(found.len(), many.len());
        for (place, vector) in found.iter().enumerate() {
            assert_eq!(*vector, alone[place % TEXTS.len()], "text {place} on {threads} threads");
        }
    }
    assert_eq!(model.encode(&[], ONE), Vec::<Vec<f32>>::new());
}

#[test]
fn a_name_stands_for_all_that_was_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = |folder: &str, seed: u64, change: &dyn Fn(&Path)| {
        let folder = directory.path().join(folder);
        tiny::write(&folder, seed);
        change(&folder);
        Model::open(&folder).expect("a model").name().to_owned()
    };
    let nothing = |_: &Path| {};
    let first = open("tiny", 1, &nothing);
    assert!(first.starts_with("tiny@"), "{first}");
    assert_eq!(open("tiny", 1, &nothing), first);
    let shorter = |folder: &Path| {
        std::fs::write(folder.join("sentence_bert_config.json"), r#"{"max_seq_length": 9}"#).expect("writes");
    };
    for other in [open("tiny", 2, &nothing), open("other", 1, &nothing), open("third", 1, &shorter)] {
        assert_ne!(other, first);
    }
}

#[test]
fn a_vocabulary_may_be_a_list() {
    let directory = tempfile::tempdir().expect("a directory");
    tiny::write(directory.path(), 1);
    let from_json = Model::open(directory.path()).expect("a model").encode(&TEXTS, ONE);
    std::fs::remove_file(directory.path().join("tokenizer.json")).expect("removes");
    std::fs::write(directory.path().join("vocab.txt"), tiny::PIECES.join("\n")).expect("writes");
    assert_eq!(Model::open(directory.path()).expect("a model").encode(&TEXTS, ONE), from_json);
}

fn with(mut document: Value, pointer: &str, value: Value) -> Vec<u8> {
    *document.pointer_mut(pointer).expect("is there") = value;
    document.to_string().into_bytes()
}

#[test]
fn what_is_no_model_is_named() {
    let config = |field: &str, value: Value| with(tiny::config(), &format!("/{field}"), value);
    let tokenizer = |pointer: &str, value: Value| with(tiny::tokenizer(), pointer, value);
    let tensors = |change: &dyn Fn(&mut tiny::Weights)| {
        let mut weights = tiny::weights(1);
        change(&mut weights);
        tiny::safetensors(&weights)
    };
    let query = "encoder.layer.1.attention.self.query.weight";
    use ModelErrorKind::{Malformed, Unreadable, Unsupported};
    for (file, bytes, kind, words) in [
        ("config.json", None, Unreadable, "no such file"),
        ("tokenizer.json", None, Unreadable, "no `vocab.txt`"),
        ("model.safetensors", None, Unreadable, "no such file"),
        ("config.json", Some(b"{".to_vec()), Malformed, "EOF"),
        ("config.json", Some(b"{}".to_vec()), Malformed, "`model_type`"),
        ("config.json", Some(config("model_type", json!("gpt2"))), Unsupported, "`model_type` is `gpt2`"),
        ("config.json", Some(config("hidden_act", json!("relu"))), Unsupported, "`hidden_act` is `relu`"),
        ("config.json", Some(config("num_hidden_layers", json!(0))), Unsupported, "`num_hidden_layers` is 0"),
        ("config.json", Some(config("hidden_size", json!(1 << 30))), Unsupported, "`hidden_size`"),
        ("config.json", Some(config("num_attention_heads", json!(5))), Malformed, "`num_attention_heads` 5"),
        ("config.json", Some(config("layer_norm_eps", json!(0))), Malformed, "`layer_norm_eps`"),
        (
            "config.json",
            Some(config("hidden_size", json!(15))),
            Malformed,
            "`embeddings.position_embeddings.weight` is",
        ),
        ("tokenizer.json", Some(tokenizer("/model/type", json!("BPE"))), Unsupported, "`model.type`"),
        (
            "tokenizer.json",
            Some(tokenizer("/normalizer/type", json!("NFC"))),
            Unsupported,
            "`normalizer.type`",
        ),
        ("tokenizer.json", Some(tokenizer("/model/vocab", json!({"a": 1}))), Malformed, "no `[UNK]`"),
        ("tokenizer.json", Some(tokenizer("/model/vocab/the", json!(99))), Malformed, "`vocab_size`"),
        ("model.safetensors", Some(b"short".to_vec()), Malformed, "shorter"),
        ("model.safetensors", Some(vec![0xff; 64]), Malformed, "table"),
        (
            "model.safetensors",
            Some(tensors(&|weights| drop(weights.remove(query)))),
            Malformed,
            "no tensor `encoder.layer.1.attention.self.query.weight`",
        ),
        (
            "model.safetensors",
            Some(tensors(&|weights| weights.get_mut(query).expect("is there").1[3] = f32::NAN)),
            Malformed,
            "holds what is no number",
        ),
        (
            "1_Pooling/config.json",
            Some(br#"{"pooling_mode_max_tokens": true}"#.to_vec()),
            Unsupported,
            "`pooling_mode_mean_tokens`",
        ),
        (
            "sentence_bert_config.json",
            Some(br#"{"max_seq_length": 0}"#.to_vec()),
            Malformed,
            "`max_seq_length`",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        tiny::write(directory.path(), 1);
        let path = directory.path().join(file);
        // The error names `config.json` as what another file does not fit, and stands at that file.
        let at = if words.contains("position_embeddings") {
            directory.path().join("model.safetensors")
        } else {
            path.clone()
        };
        match bytes {
            Some(bytes) => {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                std::fs::write(&path, bytes).expect("writes");
            }
            None => std::fs::remove_file(&path).expect("removes"),
        }
        let error = Model::open(directory.path()).expect_err(words);
        assert_eq!((error.kind(), error.file()), (kind, &*at), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
