//! What the strict reader accepts has one canonical form, which reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::json;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = json::parse(bytes) {
        let canonical = json::canonical(&value);
        let again = json::parse(canonical.as_bytes()).expect("the canonical form is acceptable");
        assert_eq!(json::canonical(&again), canonical);
        assert_eq!(json::digest(&again), json::digest(&value));
    }
});
