//! Stored bytes are an event or an error, and an event is stored as what it reads back from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::{Recorded, Timestamp, Version};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(recorded) = Recorded::decode(Version(1), Timestamp::EPOCH, bytes) {
        let stored = Recorded::encode(&recorded.event);
        let again = Recorded::decode(Version(1), Timestamp::EPOCH, &stored).expect("our own event");
        assert_eq!(again, recorded);
    }
});
