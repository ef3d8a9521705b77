//! Whatever a secret's value is and however an answer is cut, no value gets in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_egress::{Placeholder, SEARCHED_BYTES_MIN, Secret, SecretHosts, in_headers, in_query, inwards};

const PLACEHOLDER: &str = "tenure-placeholder-00112233445566778899aabbccddeeff";

fuzz_target!(|input: (&str, &str, &str, u8)| {
    let (value, before, after, piece) = input;
    let placeholder = Placeholder::parse(PLACEHOLDER).expect("one");
    let secret = |value| Secret::new("NAME", placeholder.clone(), value, SecretHosts::Allowed);
    let Ok(secret_of_value) = secret(value) else { return };
    assert_eq!(format!("{secret_of_value:?}"), format!("{:?}", secret("another").expect("valid")));
    let secret = secret_of_value;
    for mut outwards in [in_headers(&[&secret]), in_query(&[&secret])] {
        let text = format!("{before}{PLACEHOLDER}{after}");
        let mut sent = outwards.push(text.as_bytes());
        sent.extend(outwards.finish());
        let mut back = inwards(&[&secret], &["NAME".to_owned()], &[]);
        let mut told = Vec::new();
        for piece in sent.chunks(usize::from(piece).max(1)) {
            told.extend(back.push(piece));
        }
        told.extend(back.finish());
        // A value that can be part of the placeholder is found in what was put in its place.
        if value.len() >= SEARCHED_BYTES_MIN && !overlaps(value) {
            let found = told.windows(value.len()).any(|window| window == value.as_bytes());
            assert!(!found, "{value:?} in {:?}", String::from_utf8_lossy(&told));
        }
    }
});

/// Whether a value and the placeholder, beside each other or within each other, can make the value once more.
fn overlaps(value: &str) -> bool {
    let begins =
        (1..value.len()).filter_map(|length| value.get(..length)).any(|front| PLACEHOLDER.ends_with(front));
    let ends =
        (1..value.len()).filter_map(|length| value.get(length..)).any(|back| PLACEHOLDER.starts_with(back));
    begins || ends || PLACEHOLDER.contains(value)
}
