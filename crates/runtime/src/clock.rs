//! Wall time and chance: the only place of the runtime that asks for either.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tenure_journal::{DigestKey, Fresh, Timestamp};

/// The wall clock, never behind what it said before.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    latest: AtomicI64,
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.latest.fetch_max(millis, Ordering::Relaxed).max(millis))
    }

    pub(crate) fn fresh(&self) -> Fresh {
        Fresh::new(self.now(), chance())
    }
}

/// Sixty-four random bits from the operating system.
pub(crate) fn chance() -> u64 {
    getrandom::u64().expect("the operating system has a source of randomness from boot on")
}

/// A key that nobody can guess, for the digests in one session's audit records.
pub(crate) fn digest_key() -> DigestKey {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has a source of randomness from boot on");
    DigestKey::new(bytes)
}
