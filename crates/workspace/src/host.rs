//! The file system calls, each relative to an open directory and each for a single name.
//!
//! A program in the sandbox may swap any folder for a link at any moment. So no call here is given a path of
//! more than one name: a path is walked one directory at a time, each opened relative to the one before with
//! `O_NOFOLLOW`, and a name is never `..`. That is what `openat2` does with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS`; done by hand it works on every kernel and in containers that refuse `openat2`, and
//! for paths longer than `PATH_MAX`. Nor is anything but regular files and directories opened for reading:
//! opening a fifo would block and opening a device may do anything.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::{Errno, Result};

use crate::manifest::{MODE_MASK, Time};
use crate::{Error, ErrorKind, FilePath};

/// Names that are read of a directory at once while it is emptied.
const EMPTY_NAMES_MAX: usize = 10_000;

/// Times a directory is listed while it is emptied, far more than any tree within the limits needs: how long
/// a program that keeps filling it can keep us.
const EMPTY_PASSES_MAX: usize = 100_000;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const CREATE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    /// Fifo, socket, device, or whatever else there is.
    Special,
}

/// What is known of something without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) size: u64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

impl Meta {
    // The widths of these fields differ between architectures.
    #[allow(clippy::unnecessary_cast)]
    fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Kind::Special,
        };
        Self {
            kind,
            mode: stat.st_mode as u16 & MODE_MASK,
            size: stat.st_size as u64,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            modified: Time { seconds: stat.st_mtime as i64, nanoseconds: stat.st_mtime_nsec as u32 },
            changed: Time { seconds: stat.st_ctime as i64, nanoseconds: stat.st_ctime_nsec as u32 },
        }
    }
}

/// The moment now, as files are stamped with it. A clock before 1970 counts as 1970.
pub(crate) fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: now.as_secs() as i64, nanoseconds: now.subsec_nanos() }
}

pub(crate) fn meta(at: impl AsFd, name: &[u8]) -> Result<Meta> {
    fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Meta::of(&stat))
}

pub(crate) fn meta_of(file: impl AsFd) -> Result<Meta> {
    fs::fstat(file).map(|stat| Meta::of(&stat))
}

/// An open directory. One that its owner locked is unlocked for as long as it is open, because the right to
/// look up names in it is checked at each of them.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    locked: Option<Mode>,
}

/// What an open directory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Read = 0o500,
    Change = 0o700,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if let Some(mode) = self.locked {
            // It was unlocked through the same right; at worst it stays so.
            let _ = fs::fchmod(&self.fd, mode);
        }
    }
}

impl Dir {
    /// A directory that is not locked.
    pub(crate) fn unlocked(fd: OwnedFd) -> Self {
        Self { fd, locked: None }
    }

    /// Leaves it locked with this mode when it is closed.
    pub(crate) fn set_mode(&mut self, bits: u16) -> Result<()> {
        self.locked = None;
        set_mode(&self.fd, bits)
    }
}

/// Opens a directory, even one that its owner may not use. `NotDir` stands for everything that is none, links
/// included.
pub(crate) fn open_directory(at: impl AsFd, name: &[u8], r#for: Use) -> Result<Dir> {
    let open = || fs::openat(&at, name, DIRECTORY, Mode::empty());
    let (fd, before) = match open() {
        Err(Errno::ACCESS) => forced(&at, name, r#for as u16, open)?,
        result => (result?, None),
    };
    let mut directory = Dir::unlocked(fd);
    let bits = before.map_or_else(|| meta_of(&directory).map(|meta| meta.mode), Ok)?;
    if bits & r#for as u16 != r#for as u16 {
        set_mode(&directory, bits | r#for as u16)?;
        directory.locked = Some(mode(bits));
    }
    Ok(directory)
}

/// Opens a regular file for reading, even one that its owner may not read. `Loop` stands for a link,
/// `IsDir` for whatever else is no file.
pub(crate) fn open_file(at: impl AsFd, name: &[u8]) -> Result<(File, Meta)> {
    let open = || fs::openat(&at, name, READ, Mode::empty());
    let file = match open() {
        Err(Errno::ACCESS) => forced(&at, name, 0o600, open).map(|(file, _)| file),
        // A socket, or a fifo or device without an other end.
        Err(Errno::NXIO | Errno::NODEV) => Err(Errno::ISDIR),
        result => result,
    }?;
    let meta = meta_of(&file)?;
    if meta.kind != Kind::File {
        return Err(Errno::ISDIR);
    }
    Ok((File::from(file), meta))
}

/// Opens something whose owner has no right to, by granting `bits` for a moment; says what its mode was.
///
/// The program in the sandbox has our user, so what it locked is ours to unlock. The inode is taken hold of
/// first and changed through that, because a change by name would follow a link that took its place.
#[cfg(target_os = "linux")]
fn forced<T>(
    at: impl AsFd,
    name: &[u8],
    bits: u16,
    open: impl Fn() -> Result<T>,
) -> Result<(T, Option<u16>)> {
    use std::os::fd::AsRawFd;

    let handle = fs::openat(&at, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let meta = meta_of(&handle)?;
    if !matches!(meta.kind, Kind::File | Kind::Directory) || meta.mode & bits == bits {
        return Err(Errno::ACCESS);
    }
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    fs::chmod(path.as_str(), mode(meta.mode | bits))?;
    let opened = open();
    fs::chmod(path.as_str(), mode(meta.mode))?;
    Ok((opened?, Some(meta.mode)))
}

#[cfg(not(target_os = "linux"))]
fn forced<T>(_: impl AsFd, _: &[u8], _: u16, _: impl Fn() -> Result<T>) -> Result<(T, Option<u16>)> {
    Err(Errno::ACCESS)
}

fn mode(bits: u16) -> Mode {
    Mode::from_raw_mode(bits.into())
}

/// Up to `most` names in an open directory in the file system's order, and whether there are more.
pub(crate) fn names(directory: impl AsFd, most: usize) -> Result<(Vec<Vec<u8>>, bool)> {
    let own = rustix::io::fcntl_dupfd_cloexec(directory, 0)?;
    let mut entries = fs::Dir::new(own)?;
    entries.rewind();
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if names.len() == most {
            return Ok((names, true));
        }
        names.push(name.to_vec());
    }
    Ok((names, false))
}

/// Opens the directory at `path` beneath `root`.
pub(crate) fn walk(root: BorrowedFd<'_>, path: &FilePath, r#for: Use) -> std::result::Result<Dir, Error> {
    let mut at = Dir::unlocked(rustix::io::fcntl_dupfd_cloexec(root, 0)?);
    for name in path.names() {
        at = open_directory(&at, name, r#for).map_err(|errno| not_a_directory(&at, name, errno).at(path))?;
    }
    Ok(at)
}

/// Why something could not be opened as a directory.
pub(crate) fn not_a_directory(at: impl AsFd, name: &[u8], errno: Errno) -> Error {
    match (errno, meta(at, name)) {
        (Errno::NOTDIR | Errno::LOOP, Ok(Meta { kind: Kind::Link, .. })) => ErrorKind::Link.into(),
        (errno, _) => errno.into(),
    }
}

pub(crate) fn make_directory(at: impl AsFd, name: &[u8], bits: u16) -> Result<()> {
    fs::mkdirat(at, name, mode(bits))
}

/// Creates a file that must not exist, for its owner alone.
pub(crate) fn create_file(at: impl AsFd, name: &[u8]) -> Result<File> {
    fs::openat(at, name, CREATE, mode(0o600)).map(File::from)
}

pub(crate) fn make_link(target: &[u8], at: impl AsFd, name: &[u8]) -> Result<()> {
    fs::symlinkat(target, at, name)
}

pub(crate) fn read_link(at: impl AsFd, name: &[u8]) -> Result<Vec<u8>> {
    fs::readlinkat(at, name, Vec::new()).map(std::ffi::CString::into_bytes)
}

/// Sets the mode of something that is open.
pub(crate) fn set_mode(file: impl AsFd, bits: u16) -> Result<()> {
    fs::fchmod(file, mode(bits))
}

pub(crate) fn set_modified(file: impl AsFd, modified: Time) -> Result<()> {
    let time = fs::Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanoseconds.into() };
    fs::futimens(file, &fs::Timestamps { last_access: time, last_modification: time })
}

pub(crate) fn rename(from: impl AsFd, old: &[u8], to: impl AsFd, new: &[u8]) -> Result<()> {
    fs::renameat(from, old, to, new)
}

/// Renames to a name that must not exist.
pub(crate) fn rename_new(from: impl AsFd, old: &[u8], to: impl AsFd, new: &[u8]) -> Result<()> {
    fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE)
}

/// Lets two names of one directory change places, in one step.
pub(crate) fn exchange(at: impl AsFd, one: &[u8], other: &[u8]) -> Result<()> {
    fs::renameat_with(&at, one, &at, other, RenameFlags::EXCHANGE)
}

/// Renames something out of `from`, whatever its mode: moving a directory to another one needs the right to
/// change it.
pub(crate) fn take_out(from: impl AsFd, old: &[u8], to: impl AsFd, new: &[u8]) -> Result<()> {
    match rename_new(&from, old, &to, new) {
        Err(Errno::ACCESS) => {
            let _unlocked = open_directory(&from, old, Use::Change)?;
            rename_new(from, old, to, new)
        }
        result => result,
    }
}

/// Removes a file or link.
pub(crate) fn unlink(at: impl AsFd, name: &[u8]) -> Result<()> {
    fs::unlinkat(at, name, AtFlags::empty())
}

/// A name that this process did not use before.
pub(crate) fn fresh() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}", NEXT.fetch_add(1, Ordering::Relaxed)).into_bytes()
}

/// Makes a directory of a fresh name.
pub(crate) fn make_fresh(at: impl AsFd) -> Result<Vec<u8>> {
    loop {
        let name = fresh();
        match make_directory(&at, &name, 0o700) {
            Err(Errno::EXIST) => {}
            result => return result.map(|()| name),
        }
    }
}

/// Removes a file or a whole tree. It is gone in one step, moved to `aside`, where nobody else can reach it;
/// what takes time is done there.
pub(crate) fn discard(from: impl AsFd, name: &[u8], aside: impl AsFd) -> std::result::Result<(), Error> {
    let bin = make_fresh(&aside)?;
    let opened = open_directory(&aside, &bin, Use::Change)?;
    let taken = take_out(from, name, &opened, b"removed");
    let emptied = empty(opened.as_fd());
    fs::unlinkat(&aside, bin.as_slice(), AtFlags::REMOVEDIR)?;
    taken?;
    emptied
}

/// Removes everything in an open directory.
///
/// Depth costs nothing: what is in a subdirectory is moved up into `top` before the subdirectory is removed,
/// so only two directories are ever open and nothing recurses. Links are removed, not followed.
pub(crate) fn empty(top: BorrowedFd<'_>) -> std::result::Result<(), Error> {
    let mut fresh = 0u64;
    for _ in 0..EMPTY_PASSES_MAX {
        let (names, _) = names(top, EMPTY_NAMES_MAX)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            match remove_shallow(top, &name, &mut fresh) {
                // Someone else removed it, or keeps filling it: the next pass will see.
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Err(ErrorKind::Busy.into())
}

/// Removes `name` from `top`; if it is a directory, its own directories go into `top` first.
fn remove_shallow(top: BorrowedFd<'_>, name: &[u8], fresh: &mut u64) -> Result<()> {
    match unlink(top, name) {
        // Linux says the first, others the second.
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return result,
    }
    let directory = open_directory(top, name, Use::Change)?;
    loop {
        let (children, more) = names(&directory, EMPTY_NAMES_MAX)?;
        for child in &children {
            match unlink(&directory, child) {
                Err(Errno::ISDIR | Errno::PERM) => move_up(&directory, child, top, fresh)?,
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        if !more {
            break;
        }
    }
    fs::unlinkat(top, name, AtFlags::REMOVEDIR)
}

fn move_up(from: &Dir, name: &[u8], top: BorrowedFd<'_>, fresh: &mut u64) -> Result<()> {
    loop {
        *fresh += 1;
        match take_out(from, name, top, format!(".{fresh}").as_bytes()) {
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(()),
            result => return result,
        }
    }
}
