//! Whatever a provider answers to a request for vectors, what is taken of it is one vector of length one for each text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_model::embeddings::decode;
use tenure_vector::VECTOR_NUMBERS_MAX;

fuzz_target!(|input: (u8, &[u8])| {
    let (texts, body) = input;
    let Ok(answer) = decode(body, usize::from(texts)) else { return };
    assert_eq!(answer.vectors.len(), usize::from(texts));
    for vector in &answer.vectors {
        assert_eq!(vector.len(), answer.vectors[0].len());
        assert!((1..=VECTOR_NUMBERS_MAX).contains(&vector.len()));
        let length: f64 = vector.iter().map(|number| f64::from(*number).powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
    }
});
