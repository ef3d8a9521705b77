//! Waiting for what the kernel does by itself, and how long it took a machine that had time for it.

use std::fs;
use std::time::{Duration, Instant};

/// How long something that must come about may take on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A stretch of time, less what the machine was busy with something else.
///
/// "Within a second" is a promise about what is done in that second, and no test can keep it for a machine that
/// runs something else meanwhile. Linux says how long anything had to wait for a processor or a disk.
pub(crate) struct Stretch {
    began: Instant,
    stalled: Duration,
}

impl Stretch {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), stalled: stalled() }
    }

    /// How long something waited meanwhile.
    pub(crate) fn stalled(&self) -> Duration {
        stalled().saturating_sub(self.stalled)
    }

    /// What is left of the time that passed.
    pub(crate) fn granted(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.stalled())
    }

    /// Fails if it took longer than `limit`, all else taken away.
    pub(crate) fn assert_within(&self, limit: Duration, what: &str) {
        let (granted, stalled) = (self.granted(), self.stalled());
        assert!(granted < limit, "{what}: {granted:?}, and {stalled:?} that the machine was busy");
    }
}

/// For how long something waited for a processor or a disk, since the host started; nothing where the kernel
/// does not count it.
fn stalled() -> Duration {
    let of = |resource: &str| {
        let text = fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?;
        let total = text.lines().next()?.rsplit_once("total=")?.1.trim().parse().ok()?;
        Some(Duration::from_micros(total))
    };
    ["cpu", "io"].into_iter().filter_map(of).sum()
}

/// Waits until it is so; fails if that takes longer than `limit`, all else taken away.
pub(crate) fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let stretch = Stretch::begin();
    while !is_so() {
        assert!(stretch.began.elapsed() < PATIENCE, "{what} did not come about within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    stretch.assert_within(limit, what);
}
