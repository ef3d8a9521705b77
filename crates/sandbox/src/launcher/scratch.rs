//! The directory for temporary files of a tier that has no file systems of its own.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use super::failure::{Failure, Or as _, random_name};
use super::identity::{Identity, Source};
use super::watch;

/// It goes away with this value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn make(identity: Identity) -> Result<Self, Failure> {
        let path = PathBuf::from(format!("/tmp/tenure-sandbox-{}", random_name()?));
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)).failed("making a temporary directory")?;
        let made = Self(path);
        match identity.source {
            Source::Server => {}
            Source::Passing | Source::Lasting => {
                std::os::unix::fs::chown(&made.0, Some(identity.uid), Some(identity.gid))
                    .failed("giving the temporary directory to the command's user")?;
            }
        }
        Ok(made)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Everything that could be in it is dead. Nothing here follows a link.
        if std::fs::remove_dir_all(&self.0).is_err() {
            if let Ok(root) = rustix::fs::open(&self.0, OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
                open_all(root.as_fd(), 0);
            }
            let _ = std::fs::remove_dir_all(&self.0);
        }
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
