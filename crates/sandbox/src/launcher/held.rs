//! Directories in `/tmp` that go away with their owner, and what is left of them where the owner was killed.
//!
//! ```text
//!   made and locked ──▶ removed by its owner
//!         │ the owner is killed: the kernel takes the lock back
//!         ▼
//!   left, unlocked ──▶ removed by whoever sweeps next
//! ```
//!
//! The lock is one on the directory itself, so it says who lives whatever namespace of processes they are in, and needs
//! no file inside. Nothing is removed but a directory of this user's with exactly such a name, and only under its lock:
//! whoever is about to lock what they just made finds out, and makes another.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;

use super::watch;

/// Where they are: the one directory that every system has for what is temporary.
const ROOT: &str = "/tmp";
/// What the canary must not reach, and its workspace.
pub(crate) const CANARY: &str = "tenure-canary.";
/// The temporary files of a command whose tier has no file system for them.
pub(crate) const SANDBOX: &str = "tenure-sandbox.";
/// After those, 64 bits as hexadecimal digits. Before the dot a dash stood once, of directories that nobody locked.
const DIGITS: usize = 16;
/// Tries of making one that nobody takes for left.
const TRIES: u32 = 8;
/// Directories that are removed at one sweep; the next takes the rest.
const SWEPT_MAX: usize = 256;

/// A directory that is removed with this value.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    /// Gone when the last process is that had it. It does not survive an `exec`.
    _lock: OwnedFd,
}

impl Held {
    /// Makes one that only this user may enter.
    pub(crate) fn make(kind: &str) -> io::Result<Self> {
        Self::make_in(Path::new(ROOT), kind)
    }

    fn make_in(root: &Path, kind: &str) -> io::Result<Self> {
        for _ in 0..TRIES {
            let mut random = [0; 8];
            rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
            let path = root.join(format!("{kind}{:0DIGITS$x}", u64::from_le_bytes(random)));
            rustix::fs::mkdir(&path, Mode::RWXU)?;
            if let Some(lock) = lock(&path) {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::Error::other("every directory that was made in /tmp was taken away"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what killed processes left.
pub(crate) fn sweep() {
    sweep_in(Path::new(ROOT));
}

fn sweep_in(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    let mut swept = 0;
    for path in left.map(|entry| entry.path()) {
        if swept == SWEPT_MAX {
            return;
        }
        let Some(_lock) = lock(&path) else { continue };
        remove(&path);
        swept += 1;
    }
}

/// Whether a directory of this name is one of these.
fn is_ours(name: &str) -> bool {
    let digits = name.strip_prefix(CANARY).or_else(|| name.strip_prefix(SANDBOX));
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(is_digit))
}

/// Locks a directory of this user's; nothing if it is none, not theirs, locked, or gone meanwhile.
fn lock(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let found = fstat(&directory).ok()?;
    if found.st_uid != rustix::process::geteuid().as_raw() {
        return None;
    }
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    // Whoever had the lock a moment ago may have removed it.
    let named = rustix::fs::lstat(path).ok()?;
    let is_same = (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino);
    is_same.then_some(directory)
}

/// Removes a directory and everything in it. Everything that could be in it is dead. Nothing here follows a link.
fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_err() {
        if let Ok(root) = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            open_all(root.as_fd(), 0);
        }
        let _ = fs::remove_dir_all(path);
    }
}

/// Gives the owner every right to each directory, so that its entries can go.
fn open_all(directory: BorrowedFd<'_>, depth: usize) {
    if depth > watch::DEPTH_MAX {
        return;
    }
    let own = openat(directory, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let Ok(mut entries) = own.and_then(Dir::new) else { return };
    while let Some(Ok(entry)) = entries.read() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(found) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(found.st_mode).is_dir()
            && let Ok(below) = watch::open_below(directory, name, found.st_mode)
        {
            let _ = rustix::fs::fchmod(&below, Mode::RWXU);
            open_all(below.as_fd(), depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::{Command, Stdio};

    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).expect("readable");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_somebody_holds_stays_until_they_let_go() {
        let root = tempfile::tempdir().expect("made");
        let held = Held::make_in(root.path(), CANARY).expect("made");
        fs::write(held.path().join("file"), b"x").expect("written");
        sweep_in(root.path());
        assert!(held.path().join("file").exists());
        drop(held);
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_a_living_one_holds_stays() {
        let root = tempfile::tempdir().expect("made");
        let path = root.path().join("tenure-sandbox.0123456789abcdef");
        fs::create_dir(&path).expect("made");
        let below = path.join("below");
        fs::create_dir(&below).expect("made");
        fs::write(below.join("file"), b"x").expect("written");
        fs::set_permissions(&below, fs::Permissions::from_mode(0o000)).expect("changed");
        // Another process, which has the lock for as long as it lives.
        let mut other = Command::new("sh")
            .args(["-c", "exec 9< \"$0\" && flock -n 9 && echo held && exec sleep 600"])
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut said = String::new();
        let out = other.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut said).expect("readable");
        assert_eq!(said, "held\n");
        sweep_in(root.path());
        assert!(path.exists(), "its owner lives");
        other.kill().expect("killed");
        other.wait().expect("ended");
        sweep_in(root.path());
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[test]
    fn nothing_else_is_touched() {
        let root = tempfile::tempdir().expect("made");
        let elsewhere = tempfile::tempdir().expect("made");
        fs::write(elsewhere.path().join("file"), b"x").expect("written");
        let others = [
            "tenure-canary-0123456789abcdef",
            "tenure-canary.0123456789abcde",
            "tenure-canary.0123456789abcdef0",
            "tenure-canary.0123456789ABCDEF",
            "tenure-sandbox.0123456789abcdeg",
            "tenure-sandbox-lab-1-0123456789",
            "xtenure-canary.0123456789abcdef",
        ];
        for name in others {
            fs::create_dir(root.path().join(name)).expect("made");
        }
        let file = root.path().join("tenure-canary.0000000000000001");
        fs::write(&file, b"x").expect("written");
        symlink(elsewhere.path(), root.path().join("tenure-canary.0000000000000002")).expect("linked");
        let before = names(root.path());
        sweep_in(root.path());
        assert_eq!(names(root.path()), before);
        // What a link in such a directory leads to is not touched either.
        let left = root.path().join("tenure-canary.0000000000000003");
        fs::create_dir(&left).expect("made");
        symlink(elsewhere.path(), left.join("link")).expect("linked");
        sweep_in(root.path());
        assert!(!left.exists());
        assert!(elsewhere.path().join("file").exists());
    }

    #[test]
    fn what_is_taken_away_while_it_is_made_is_not_believed_in() {
        let root = tempfile::tempdir().expect("made");
        let path = root.path().join("tenure-canary.0000000000000001");
        fs::create_dir(&path).expect("made");
        let sweeper = lock(&path).expect("locked");
        assert!(lock(&path).is_none(), "somebody sweeps it");
        remove(&path);
        drop(sweeper);
        assert!(lock(&path).is_none(), "it is gone");
    }
}
