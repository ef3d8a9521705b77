//! Whatever the bytes: an answer or an error, and nothing else.

use proptest::prelude::*;
use tenure_embed::{Casing, Tensors, Tokenizer};

use crate::tiny;

/// A file with some of its bytes changed, and cut off somewhere.
fn damaged(file: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = file.len();
    (prop::collection::vec((0..length.min(3_000), any::<u8>()), 0..6), 0..=length).prop_map(
        move |(changes, end)| {
            let mut file = file.clone();
            for (place, byte) in changes {
                file[place] = byte;
            }
            file.truncate(end);
            file
        },
    )
}

proptest! {
    #[test]
    fn tensors_that_exist_can_be_read(bytes in prop_oneof![
        damaged(tiny::safetensors(&tiny::weights(1))),
        prop::collection::vec(any::<u8>(), 0..300),
    ]) {
        if let Ok(tensors) = Tensors::parse(&bytes) {
            for name in tensors.names() {
                let tensor = tensors.tensor(name).expect("it was named");
                if let Some(numbers) = tensor.numbers() {
                    prop_assert_eq!(numbers.len(), tensor.shape.iter().product::<usize>());
                }
            }
        }
    }

    #[test]
    fn vocabularies_are_read_or_refused(bytes in damaged(tiny::tokenizer().to_string().into_bytes()), text in ".{0,80}") {
        let read = [Tokenizer::from_json(&bytes), Tokenizer::from_vocabulary(&bytes, Casing::Uncased)];
        for tokenizer in read.into_iter().flatten() {
            prop_assert!(tokenizer.encode(&text, 16).len() <= 16);
        }
    }

    #[test]
    fn every_text_has_tokens_within_the_limit(text in ".{0,200}", tokens_max in 0..20_usize) {
        let tokenizer = Tokenizer::from_json(tiny::tokenizer().to_string().as_bytes()).expect("a tokenizer");
        let tokens = tokenizer.encode(&text, tokens_max);
        prop_assert!((2..=tokens_max.max(2)).contains(&tokens.len()), "{} of {tokens_max}", tokens.len());
        prop_assert!(tokens.iter().all(|token| (*token as usize) < tiny::PIECES.len()));
    }
}
