//! Looking at what no kernel mechanism here limits, and saying when it is too much.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::tree::Tree;

/// Between two looks at files; longer where a look takes long.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Time not looking for each time looking.
const PAUSE_RATIO: u32 = 4;
/// Entries that are counted before the command starts, about a millisecond's worth.
const ENTRIES_BEFORE: u64 = 1_000;
/// Levels that are looked into. Nothing deeper can be reached with one path, but a patient program can
/// build deeper; what is that deep counts as too much.
pub(crate) const DEPTH_MAX: usize = 400;
/// What one entry costs a file system beside its blocks.
const ENTRY_BYTES: u64 = 512;

/// A directory of the host and how much it may grow.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) growth_bytes_max: u64,
}

/// A look at a directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    bytes: u64,
    entries: u64,
}

/// One watched directory.
struct Watched {
    root: OwnedFd,
    device: u64,
    before: Option<u64>,
    growth_bytes_max: u64,
}

/// Looks at files beside the supervisor's other work, which must not wait for a large directory.
pub(crate) struct Files(Vec<Watched>);

impl Files {
    /// Takes the measure of each place; of a large one it is taken after the start.
    pub(crate) fn new(places: Vec<Place>) -> std::io::Result<Self> {
        let watched = places.into_iter().map(|place| {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let root = rustix::fs::open(&place.path, flags, Mode::empty())?;
            let device = rustix::fs::fstat(&root)?.st_dev;
            let before = size(&root, ENTRIES_BEFORE).map(|size| size.bytes);
            Ok(Watched { root, device, before, growth_bytes_max: place.growth_bytes_max })
        });
        watched.collect::<std::io::Result<_>>().map(Self)
    }

    /// Looks again and again, and closes `tell` when something is too large. Ends with the process.
    pub(crate) fn watch(mut self, tree: Tree, tell: OwnedFd) {
        thread::spawn(move || {
            self.0.iter_mut().for_each(Watched::measure_first);
            let mut pause = PAUSE_MIN;
            loop {
                thread::sleep(pause);
                let began = Instant::now();
                if self.0.iter().any(|watched| watched.is_too_large(&tree)) {
                    break;
                }
                pause = PAUSE_MIN.max(began.elapsed() * PAUSE_RATIO);
            }
            drop(tell);
        });
    }
}

impl Watched {
    /// Of a large place only after the start.
    fn measure_first(&mut self) {
        if self.before.is_none() {
            self.before = size(&self.root, u64::MAX).map(|size| size.bytes);
        }
    }

    fn is_too_large(&self, tree: &Tree) -> bool {
        // A place that cannot be counted may hold anything.
        let (Some(now), Some(before)) = (size(&self.root, u64::MAX), self.before) else { return true };
        let growth = now.bytes.saturating_sub(before);
        growth > self.growth_bytes_max
            || growth + tree.see().deleted(self.device).disk_bytes > self.growth_bytes_max
    }
}

/// What lies below `root`; none if that is more than `entries_max` or deeper than anyone may build.
fn size(root: &OwnedFd, entries_max: u64) -> Option<Size> {
    let mut sum = Size::default();
    let own = openat(root, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    add(own, entries_max, 0, &mut sum).then_some(sum)
}

fn add(directory: OwnedFd, entries_max: u64, depth: usize, sum: &mut Size) -> bool {
    if depth > DEPTH_MAX {
        return false;
    }
    // One descriptor for each level.
    let Ok(mut entries) = Dir::new(directory) else { return false };
    while let Some(entry) = entries.read() {
        let Ok(entry) = entry else { return true };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(directory) = entries.fd() else { return false };
        // Gone again, or being renamed: the next look sees it.
        let Ok(found) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        sum.entries += 1;
        sum.bytes += u64::try_from(found.st_blocks).unwrap_or(0) * 512 + ENTRY_BYTES;
        if sum.entries > entries_max {
            return false;
        }
        if FileType::from_raw_mode(found.st_mode).is_dir() {
            match open_below(directory, name, found.st_mode) {
                Ok(below) => {
                    if !add(below, entries_max, depth + 1, sum) {
                        return false;
                    }
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                // What cannot be counted may hold anything.
                Err(_) => return false,
            }
        }
    }
    true
}

/// Opens a directory whatever its owner made of its mode, which is the supervisor's own user unless that is
/// root. The mode is put back: it is part of the workspace.
pub(crate) fn open_below(directory: BorrowedFd<'_>, name: &CStr, mode: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {}
        opened => return opened,
    }
    // By descriptor, so that it is this directory whose mode changes, whatever takes its name meanwhile.
    let place = openat(directory, name, flags | OFlags::PATH, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let set = |bits: u32| rustix::fs::chmod(&path, Mode::from_raw_mode(bits & 0o7777));
    set(mode | 0o500)?;
    let opened = openat(CWD, &path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    set(mode)?;
    opened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_hidden_and_stops_where_it_must() {
        let directory = tempfile::tempdir().expect("a directory");
        let hidden = directory.path().join("hidden");
        std::fs::create_dir(&hidden).expect("made");
        std::fs::write(hidden.join("file"), vec![1; 1 << 20]).expect("written");
        let mode = |bits| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(bits)).expect("set");
        };
        mode(0o000);
        let root = rustix::fs::open(directory.path(), OFlags::DIRECTORY, Mode::empty()).expect("opened");
        let whole = size(&root, u64::MAX).expect("counted");
        assert_eq!(whole.entries, 2);
        assert!(whole.bytes >= 1 << 20, "{whole:?}");
        assert_eq!(size(&root, 1), None);
        mode(0o700);
    }
}
