//! Whatever an auditor is handed, what is accepted is what writing it again gives, and nothing forged is trusted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_audit::{
    Answer, Bundle, Checkpoint, Evidence, RECORD_BYTES_MAX, Receipt, SigningKey, TileId, VerifierKey,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = Bundle::read(bytes) {
        let mut again = Bundle::new();
        for record in records {
            assert!(record.len() <= RECORD_BYTES_MAX);
            again.push(record).expect("it was read");
        }
        assert_eq!(again.as_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(tile) = text.parse::<TileId>() {
        assert_eq!(tile.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert!(text.starts_with(&checkpoint.to_string()));
    }
    if let Ok(answer) = text.parse::<Answer>() {
        assert_eq!(answer.to_string().parse(), Ok(answer));
    }
    // A key that the text cannot have been signed by.
    let key = SigningKey::new("log.example", &[9; 32]).expect("a key").verifier();
    assert!(key.open(text).is_err());
    assert!(Receipt::open(text, &key).is_err());
    if let Ok(evidence) = text.parse::<Evidence>() {
        assert_eq!(evidence.to_string().parse(), Ok(evidence.clone()));
        assert!(evidence.verify(b"record", &key).is_err());
    }
});
