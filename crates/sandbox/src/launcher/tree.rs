//! The processes of one sandbox as its supervisor sees them, and their end.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::sys::{self, Block};

/// How processes are found.
pub(crate) enum Tree {
    /// All that a `/proc` of the sandbox's own shows.
    Inside(OwnedFd),
    /// Whatever descends from this process, in the host's `/proc`.
    Below { proc: OwnedFd, root: i32 },
}

/// What one look at a process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    pid: i32,
    parent: i32,
    /// Its own processor time and that of its children that were waited for, in ticks.
    ticks: u64,
}

/// The processes of a tree at one moment.
pub(crate) struct Seen<'a> {
    proc: BorrowedFd<'a>,
    looks: Vec<Look>,
}

/// What the tree has of something that is counted in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deleted {
    /// On the file system of the workspace.
    pub(crate) disk_bytes: u64,
    /// In memory: files that never had a name.
    pub(crate) memory_bytes: u64,
}

impl Tree {
    /// What descends from `root`, itself excluded.
    pub(crate) fn below(root: i32) -> std::io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::Below { proc: rustix::fs::open("/proc", flags, Mode::empty())?, root })
    }

    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Inside(proc) => Self::Inside(proc.try_clone()?),
            Self::Below { proc, root } => Self::Below { proc: proc.try_clone()?, root: *root },
        })
    }

    fn proc(&self) -> BorrowedFd<'_> {
        match self {
            Self::Inside(proc) | Self::Below { proc, .. } => proc.as_fd(),
        }
    }

    /// Looks at every process once.
    pub(crate) fn see(&self) -> Seen<'_> {
        Seen { proc: self.proc(), looks: self.looks() }
    }

    /// Every process, as it is numbered in the `/proc` that was looked at.
    fn looks(&self) -> Vec<Look> {
        let all = pids(self.proc()).into_iter().filter_map(|pid| look(self.proc(), pid));
        match self {
            Self::Inside(_) => all.collect(),
            Self::Below { root, .. } => descendants(*root, all.collect()),
        }
    }

    /// Kills until nothing is left. Only for [`Tree::Below`] of this very process, which inherits whatever
    /// loses its parent; gives the processor time of what was buried.
    pub(crate) fn kill(&self) -> Duration {
        /// What cannot die at once waits in the kernel; it has no more to run and is looked at again.
        const PAUSE: Duration = Duration::from_millis(1);
        let mut cpu = Duration::ZERO;
        loop {
            // Whoever lost its parent is a child of this process, so without children nothing is left.
            if !sys::has_children() {
                return cpu;
            }
            let looks = self.looks();
            for look in &looks {
                // Whoever descends from this process is not reused for another before it is waited for
                // here or by its parent; a handle makes sure of the one that is looked at now.
                let Some(pid) = Pid::from_raw(look.pid) else { continue };
                if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
                    && self.looks_like(look)
                {
                    let _ = pidfd_send_signal(&handle, Signal::KILL);
                }
            }
            while let Some(ended) = sys::reap(None, Block::No) {
                cpu += ended.cpu;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether the process is still who it was.
    fn looks_like(&self, before: &Look) -> bool {
        look(self.proc(), before.pid).is_some_and(|now| now.ticks >= before.ticks)
    }
}

impl Seen<'_> {
    /// Processor time of all that lives and of what it waited for.
    pub(crate) fn cpu(&self) -> Duration {
        /// Linux counts in hundredths of a second for programs, whatever it uses itself.
        const TICK: Duration = Duration::from_millis(10);
        let ticks: u64 = self.looks.iter().map(|look| look.ticks).sum();
        TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Memory that exists because of the tree. What several processes share counts once for each, so this
    /// may be too much and is never too little; [`Self::memory_shared_bytes`] is exact and slow.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let of = |look: &Look| {
            let text = read(self.proc, &format!("{}/status", look.pid)).unwrap_or_default();
            kilobytes(&text, &["RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:"])
        };
        self.looks.iter().map(of).sum::<u64>() * 1024
    }

    /// The same with shared memory divided among those who share it.
    pub(crate) fn memory_shared_bytes(&self) -> u64 {
        let of = |look: &Look| {
            let text = read(self.proc, &format!("{}/smaps_rollup", look.pid)).unwrap_or_default();
            kilobytes(&text, &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"])
        };
        self.looks.iter().map(of).sum::<u64>() * 1024
    }

    /// Memory of which nothing is a file, for trees that keep the rest in files without names.
    pub(crate) fn memory_private_bytes(&self) -> u64 {
        let of = |look: &Look| {
            let text = read(self.proc, &format!("{}/status", look.pid)).unwrap_or_default();
            kilobytes(&text, &["RssAnon:", "VmSwap:", "VmPTE:"])
        };
        self.looks.iter().map(of).sum::<u64>() * 1024
    }

    /// Files that are open and have no name any more, each counted once.
    pub(crate) fn deleted(&self, workspace_device: u64) -> Deleted {
        let mut seen = BTreeSet::new();
        let mut sum = Deleted::default();
        for look in &self.looks {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(handles) = openat(self.proc, format!("{}/fd", look.pid), flags, Mode::empty()) else {
                continue;
            };
            let Ok(entries) = Dir::read_from(&handles) else { continue };
            for entry in entries.flatten() {
                let Ok(found) = statat(&handles, entry.file_name(), AtFlags::empty()) else { continue };
                let is_file = rustix::fs::FileType::from_raw_mode(found.st_mode).is_file();
                if !is_file || found.st_nlink > 0 || !seen.insert((found.st_dev, found.st_ino)) {
                    continue;
                }
                let bytes = u64::try_from(found.st_blocks).unwrap_or(0) * 512;
                if found.st_dev == workspace_device {
                    sum.disk_bytes += bytes;
                } else {
                    sum.memory_bytes += bytes;
                }
            }
        }
        sum
    }
}

fn pids(proc: BorrowedFd<'_>) -> Vec<i32> {
    // A directory of its own position: several threads look through one descriptor.
    let own = openat(proc, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let Ok(entries) = own.and_then(Dir::new) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok()).collect()
}

fn look(proc: BorrowedFd<'_>, pid: i32) -> Option<Look> {
    parse(pid, &read(proc, &format!("{pid}/stat"))?)
}

fn parse(pid: i32, stat: &str) -> Option<Look> {
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let parent = i32::try_from(number(1)?).ok()?;
    Some(Look { pid, parent, ticks: number(11)? + number(12)? + number(13)? + number(14)? })
}

fn descendants(root: i32, mut others: Vec<Look>) -> Vec<Look> {
    let mut known = BTreeSet::from([root]);
    let mut found = Vec::new();
    loop {
        let (children, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|look| look.pid != root && known.contains(&look.parent));
        if children.is_empty() {
            return found;
        }
        known.extend(children.iter().map(|look| look.pid));
        found.extend(children);
        others = rest;
    }
}

fn kilobytes(text: &str, names: &[&str]) -> u64 {
    let value = |line: &str| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    text.lines().filter_map(value).sum()
}

fn read(proc: BorrowedFd<'_>, path: &str) -> Option<String> {
    let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let stat = "7 (a) b) (c) S 3 7 7 0 -1 4194560 90 0 0 0 1 2 30 40 20 0 1 0 100 8 9";
        assert_eq!(parse(7, stat), Some(Look { pid: 7, parent: 3, ticks: 73 }));
        assert_eq!(parse(7, "7 (a) S"), None);
        let status = "Name:\tx\nRssAnon:\t    120 kB\nRssFile:\t 900 kB\nRssShmem:\t       4 kB\n";
        assert_eq!(kilobytes(status, &["RssAnon:", "RssShmem:"]), 124);
    }

    #[test]
    fn finds_who_descends() {
        let look = |pid, parent| Look { pid, parent, ticks: 0 };
        let all = vec![look(9, 8), look(2, 1), look(8, 3), look(3, 1), look(5, 2), look(1, 0)];
        let found: Vec<i32> = descendants(3, all).iter().map(|look| look.pid).collect();
        assert_eq!(found, [8, 9]);
    }
}
