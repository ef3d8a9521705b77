//! Whatever the files of a model hold: tensors that exist can be read, and texts have tokens within the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_embed::{Casing, Tensors, Tokenizer};

fuzz_target!(|input: (&[u8], &str)| {
    let (bytes, text) = input;
    if let Ok(tensors) = Tensors::parse(bytes) {
        for name in tensors.names() {
            let tensor = tensors.tensor(name).expect("it was named");
            if let Some(numbers) = tensor.numbers() {
                assert_eq!(numbers.len(), tensor.shape.iter().product::<usize>());
            }
        }
    }
    let read = [
        Tokenizer::from_json(bytes),
        Tokenizer::from_vocabulary(bytes, Casing::Uncased),
        Tokenizer::from_vocabulary(bytes, Casing::Cased),
    ];
    for tokenizer in read.into_iter().flatten() {
        assert!((2..=32).contains(&tokenizer.encode(text, 32).len()));
    }
});
