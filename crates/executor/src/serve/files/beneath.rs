//! Paths below one directory, where no link leads out, whoever changes links meanwhile.
//!
//! On Linux the kernel sees to it: `openat2` with `RESOLVE_BENEATH` refuses any step out of the directory,
//! and everything else is done through the descriptor that it gives. Elsewhere a path is resolved and
//! compared first, which a process that changes links at the same moment could outrun.

use std::fs::{File, Metadata, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

pub(super) struct Beneath {
    root: File,
    #[cfg(not(target_os = "linux"))]
    path: PathBuf,
}

/// A path that stays what it is as long as this value lives.
pub(super) struct Place {
    path: PathBuf,
    _anchor: Option<File>,
}

impl Place {
    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self { path, _anchor: None }
    }
}

impl Beneath {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let file = File::open(root)?;
        if !file.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(Self {
            root: file,
            #[cfg(not(target_os = "linux"))]
            path: root.to_owned(),
        })
    }

    /// What is at a path and, if it is a link, what that leads to.
    pub(super) fn metadata(&self, below: &Path) -> io::Result<(Metadata, Metadata)> {
        let target = self.target(below)?;
        let target = std::fs::metadata(target.as_path())?;
        if below.as_os_str().is_empty() {
            return Ok((target.clone(), target));
        }
        Ok((std::fs::symlink_metadata(self.place(below)?.as_path())?, target))
    }

    pub(super) fn make_directory(&self, below: &Path) -> io::Result<()> {
        std::fs::create_dir(self.place(below)?.as_path())
    }

    pub(super) fn is_directory(&self, below: &Path) -> bool {
        self.target(below).is_ok_and(|place| place.as_path().is_dir())
    }

    pub(super) fn list(&self, below: &Path) -> io::Result<ReadDir> {
        std::fs::read_dir(self.target(below)?.as_path())
    }

    /// A name in its directory, not followed if it is a link.
    pub(super) fn place(&self, below: &Path) -> io::Result<Place> {
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            let message = "the working directory itself cannot be changed";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let parent = self.target(parent)?;
        Ok(Place { path: parent.path.join(name), _anchor: parent._anchor })
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

    use super::*;

    impl Beneath {
        fn openat(&self, below: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
            let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            let opened = openat2(&self.root, below, flags | OFlags::CLOEXEC, mode, resolve);
            opened.map(File::from).map_err(|error| match error {
                rustix::io::Errno::XDEV => io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("`{}` leads out of the executor's working directory", below.display()),
                ),
                error => error.into(),
            })
        }

        /// What a path leads to, held so that it cannot become something else.
        pub(super) fn target(&self, below: &Path) -> io::Result<Place> {
            let anchor = self.openat(below, OFlags::PATH, Mode::empty())?;
            let path = PathBuf::from(format!("/proc/self/fd/{}", anchor.as_raw_fd()));
            Ok(Place { path, _anchor: Some(anchor) })
        }

        pub(in super::super) fn resolve(&self, below: &Path) -> io::Result<PathBuf> {
            std::fs::read_link(self.target(below)?.as_path())
        }

        /// Does not wait for someone to write into a pipe; who asks finds that it is no file.
        pub(in super::super) fn open(&self, below: &Path) -> io::Result<File> {
            self.openat(below, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        }

        pub(in super::super) fn create(&self, below: &Path) -> io::Result<File> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
            self.openat(below, flags, Mode::from_raw_mode(0o666))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::*;

    impl Beneath {
        pub(super) fn target(&self, below: &Path) -> io::Result<Place> {
            self.resolve(below).map(Place::from)
        }

        pub(in super::super) fn resolve(&self, below: &Path) -> io::Result<PathBuf> {
            let resolved = self.path.join(below).canonicalize()?;
            if resolved.starts_with(&self.path) {
                return Ok(resolved);
            }
            let message = format!("`{}` leads out of the executor's working directory", below.display());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }

        pub(in super::super) fn open(&self, below: &Path) -> io::Result<File> {
            File::open(self.resolve(below)?)
        }

        pub(in super::super) fn create(&self, below: &Path) -> io::Result<File> {
            match self.resolve(below) {
                Ok(path) => File::create(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    File::create_new(self.place(below)?.as_path())
                }
                Err(error) => Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out() {
        let place = tempfile::tempdir().expect("a directory");
        let (root, outside) = (place.path().join("root"), place.path().join("outside"));
        std::fs::create_dir(&root).expect("creates");
        std::fs::create_dir(&outside).expect("creates");
        std::fs::write(outside.join("secret"), "secret").expect("writes");
        std::fs::write(root.join("file"), "inside").expect("writes");
        symlink("../outside", root.join("up")).expect("links");
        symlink(&outside, root.join("away")).expect("links");
        symlink("../outside/secret", root.join("leak")).expect("links");
        symlink("file", root.join("near")).expect("links");
        let beneath = Beneath::new(&root.canonicalize().expect("is there")).expect("opens");
        for below in ["up/secret", "away/secret", "leak", "../outside/secret"] {
            let below = Path::new(below);
            assert!(beneath.open(below).is_err(), "{below:?} was opened");
            assert!(beneath.create(below).is_err(), "{below:?} was written");
            assert!(beneath.resolve(below).is_err(), "{below:?} was resolved");
        }
        assert!(beneath.make_directory(Path::new("up/new")).is_err());
        assert!(beneath.list(Path::new("away")).is_err());
        assert!(beneath.place(Path::new("")).is_err());
        assert_eq!(std::fs::read_to_string(outside.join("secret")).expect("reads"), "secret");
        assert!(beneath.open(Path::new("near")).is_ok());
        let (link, target) = beneath.metadata(Path::new("near")).expect("is there");
        assert!(link.is_symlink() && target.is_file());
    }
}
