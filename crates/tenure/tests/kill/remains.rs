//! What a server that was killed left running: processes of its sandboxes, found in `/proc`.
//!
//! The server's working directory has a name that nothing else has. A supervisor works in that directory, the
//! inside of a sandbox has the workspace below it among its mounts, and every command is given the name as a
//! variable.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a sandbox may outlive its server.
const AFTERLIFE: Duration = Duration::from_secs(1);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The variable that every command is given.
pub(crate) const MARK: &str = "TENURE_TEST_MARK";

/// When a process began, in hundredths of a second since the machine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Began(u64);

impl Began {
    pub(crate) fn now() -> Self {
        let uptime = fs::read_to_string("/proc/uptime").expect("/proc");
        let (seconds, rest) = uptime.split_once('.').expect("a decimal number");
        let hundredths = seconds.parse::<u64>().expect("seconds") * 100;
        Self(hundredths + rest[..2].parse::<u64>().expect("hundredths"))
    }
}

/// Waits until nothing is left that belongs to `directory` and began by then; gives how long that took.
pub(crate) async fn gone(directory: &Path, by: Began) -> Duration {
    let (mark, began) = (mark(directory), Instant::now());
    loop {
        let left = left(&mark, by);
        if left.is_empty() {
            return began.elapsed();
        }
        assert!(began.elapsed() < AFTERLIFE, "outlived their server by a second: {left:#?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How many processes belong to `directory` now.
pub(crate) fn count(directory: &Path) -> usize {
    left(&mark(directory), Began::now()).len()
}

/// The name that marks what belongs to a directory.
pub(crate) fn mark(directory: &Path) -> String {
    directory.file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
}

fn left(mark: &str, by: Began) -> Vec<String> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| belongs(pid, mark, by)).collect()
}

/// What a process is, if it is one of them. One that ends meanwhile is none.
fn belongs(pid: u32, mark: &str, by: Began) -> Option<String> {
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let holds = |name: &str| {
        let text = file(name);
        text.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    let stat = String::from_utf8_lossy(&file("stat")).into_owned();
    // The name of the program comes second and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let (state, parent, began) = (*fields.first()?, *fields.get(1)?, Began(fields.get(19)?.parse().ok()?));
    if state == "Z" || state == "X" || began > by {
        return None;
    }
    let works =
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.to_string_lossy().contains(mark));
    let is_one = works || holds("environ") || holds("mountinfo");
    let words = String::from_utf8_lossy(&file("cmdline")).replace('\0', " ");
    is_one.then(|| format!("{pid} of {parent}, {state}: {words}"))
}
