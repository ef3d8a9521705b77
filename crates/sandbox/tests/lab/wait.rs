//! Waiting for what the kernel does by itself.

use std::time::{Duration, Instant};

/// Waits until it is so, and gives how long that took; fails after `limit`.
pub(crate) fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < limit, "{what} did not come about within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}
