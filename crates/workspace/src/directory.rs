//! The host's access to a workspace: read, write, list, remove, beneath it and never through a link.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::host::{self, Dir, Kind, Meta, Use};
use crate::limits::Tally;
use crate::manifest::Time;
use crate::{Error, ErrorKind, FilePath, Limit, Limits};

/// The mode of files and directories that the host creates in a workspace.
const FILE_MODE: u16 = 0o644;
const DIRECTORY_MODE: u16 = 0o755;

/// Names of a directory that is listed; beyond it, the rest is left out and the page says so.
const LISTED_MAX: usize = 1_000_000;

/// An open workspace. Everything is relative to it; see `host.rs` for why nothing leads out of it.
#[derive(Debug)]
pub struct Directory {
    root: Dir,
    /// On the same file system and out of the sandbox's reach: files are written and trees removed here.
    aside: Dir,
    device: u64,
}

/// Something in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: FilePath,
    /// What it is.
    pub kind: FoundKind,
    /// Nine permission bits.
    pub mode: u16,
    /// Bytes of a file; of no meaning for others.
    pub bytes: u64,
    /// When its content was last modified.
    pub modified: Time,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; what it points to is not looked at.
    Link,
    /// A fifo, a socket or a device: never opened, never kept.
    Special,
}

/// A part of a list, in the order of the names' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What is there.
    pub found: Vec<Found>,
    /// The name to go on after; none at the end.
    pub next: Option<Vec<u8>>,
}

impl Directory {
    pub(crate) fn new(root: Dir, aside: Dir) -> Result<Self, Error> {
        let device = host::meta_of(&root)?.device;
        Ok(Self { root, aside, device })
    }

    /// What is at `path`, without following it if it is a link.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` or `Link`: a part of the path is none.
    pub fn stat(&self, path: &FilePath) -> Result<Found, Error> {
        let meta = match path.split() {
            None => host::meta_of(&self.root)?,
            Some((parent, name)) => {
                let parent = self.open(&parent, Use::Read)?;
                host::meta(parent, name).map_err(|errno| Error::from(errno).at(path))?
            }
        };
        Ok(found(path.clone(), &meta))
    }

    /// The bytes of the file at `path`.
    ///
    /// # Errors
    /// `Limit`: there are more than `bytes_max`; `NotAFile` or `Link`: it is something else; those of
    /// [`Directory::stat`].
    pub fn read(&self, path: &FilePath, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let (file, found) = self.open_file(path)?;
        let too_large = || Error::from(Limit::FileBytes(bytes_max)).at(path);
        if found.bytes > bytes_max {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(found.bytes as usize);
        // One byte more than allowed, so that a file that grows meanwhile is noticed.
        file.take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| Error::from(error).at(path))?;
        if bytes.len() as u64 > bytes_max {
            return Err(too_large());
        }
        Ok(bytes)
    }

    /// The file at `path`, open for reading: for what is too large for memory.
    ///
    /// # Errors
    /// Those of [`Directory::read`], but for its limit.
    pub fn open_file(&self, path: &FilePath) -> Result<(File, Found), Error> {
        let (parent, name) = path.split().ok_or(ErrorKind::NotAFile)?;
        let parent = self.open(&parent, Use::Read)?;
        let (file, meta) = host::open_file(&parent, name).map_err(|errno| Error::from(errno).at(path))?;
        let found = found(path.clone(), &meta);
        Ok((file, found))
    }

    /// Makes `bytes` the content of the file at `path`, in one step: a reader sees the old or the new.
    ///
    /// Directories on the way are created. A file that exists keeps its mode; a link is replaced and not
    /// followed. Not durable by itself: the next snapshot is.
    ///
    /// # Errors
    /// `NotAFile`: a directory is there; those of [`Directory::stat`].
    pub fn write(&self, path: &FilePath, mut bytes: &[u8]) -> Result<(), Error> {
        self.write_from(path, &mut bytes)
    }

    /// The same for content that is read to its end meanwhile: for what is too large for memory.
    ///
    /// # Errors
    /// Those of [`Directory::write`]; `Io` if `content` fails, and then nothing was changed.
    pub fn write_from(&self, path: &FilePath, content: &mut dyn Read) -> Result<(), Error> {
        let (parent, name) = path.split().ok_or(ErrorKind::NotAFile)?;
        let parent = self.make_directories(&parent)?;
        let mode = match host::meta(&parent, name) {
            Ok(meta) if meta.kind == Kind::Directory => return Err(Error::from(ErrorKind::NotAFile).at(path)),
            Ok(meta) if meta.kind == Kind::File => meta.mode,
            Ok(_) | Err(Errno::NOENT) => FILE_MODE,
            Err(errno) => return Err(Error::from(errno).at(path)),
        };
        let (aside, mut file) = self.create_aside()?;
        let written = std::io::copy(content, &mut file).map_err(Error::from).and_then(|_| {
            host::set_mode(&file, mode)?;
            Ok(host::rename(&self.aside, &aside, &parent, name)?)
        });
        written.map_err(|error| {
            // What is left aside is removed when the place is opened again, if not now.
            let _ = host::unlink(&self.aside, &aside);
            error.at(path)
        })
    }

    /// Makes a directory at `path`, and those on the way; nothing if it is there.
    ///
    /// # Errors
    /// `NotADirectory` or `Link`: something else is in the way.
    pub fn make_directory(&self, path: &FilePath) -> Result<(), Error> {
        self.make_directories(path).map(drop)
    }

    /// Renames a file, link or directory. Directories on the way to `to` are created; a file that is there
    /// is replaced.
    ///
    /// # Errors
    /// `NotFound`; `Exists` or `NotAFile`: a directory is in the way.
    pub fn rename(&self, from: &FilePath, to: &FilePath) -> Result<(), Error> {
        let (from_parent, from_name) = from.split().ok_or(ErrorKind::NotAFile)?;
        let (to_parent, to_name) = to.split().ok_or(ErrorKind::Exists)?;
        let from_parent = self.open(&from_parent, Use::Change)?;
        host::meta(&from_parent, from_name).map_err(|errno| Error::from(errno).at(from))?;
        let to_parent = self.make_directories(&to_parent)?;
        host::rename(from_parent, from_name, to_parent, to_name).map_err(|errno| Error::from(errno).at(to))
    }

    /// Removes what is at `path`, a directory with everything in it. It is gone in one step; what takes time
    /// is done out of the sandbox's reach.
    ///
    /// # Errors
    /// `NotFound`, and those of [`Directory::stat`]. The root stays: `NotAFile`.
    pub fn remove(&self, path: &FilePath) -> Result<(), Error> {
        let (parent, name) = path.split().ok_or(ErrorKind::NotAFile)?;
        let parent = self.open(&parent, Use::Change)?;
        host::discard(&parent, name, &self.aside).map_err(|error| error.at(path))
    }

    /// Up to `most` entries of the directory at `path` whose names come after `after`.
    ///
    /// # Errors
    /// Those of [`Directory::stat`]; `NotADirectory`.
    pub fn list(&self, path: &FilePath, after: Option<&[u8]>, most: usize) -> Result<Page, Error> {
        let directory = self.open(path, Use::Read)?;
        let (mut names, _) = host::names(&directory, LISTED_MAX)?;
        names.retain(|name| after.is_none_or(|after| name.as_slice() > after));
        names.sort_unstable();
        let next = (names.len() > most).then(|| names[..most].last().cloned()).flatten();
        names.truncate(most);
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            match host::meta(&directory, &name) {
                Ok(meta) => listed.push(found(path.join(&name)?, &meta)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::from(errno).at(path)),
            }
        }
        Ok(Page { found: listed, next })
    }

    /// Everything beneath `path`, each directory before what is in it. What disappears meanwhile, and
    /// directories of other file systems, are left out.
    ///
    /// # Errors
    /// `Limit`: there is more, or it is deeper, than `limits` allows.
    pub fn walk(&self, path: &FilePath, limits: &Limits) -> Result<Vec<Found>, Error> {
        let mut all = Vec::new();
        let directory = self.open(path, Use::Read)?;
        self.walk_into(&directory, path, &mut Tally::new(limits), &mut all)?;
        Ok(all)
    }

    fn walk_into(
        &self,
        directory: &Dir,
        path: &FilePath,
        tally: &mut Tally,
        all: &mut Vec<Found>,
    ) -> Result<(), Error> {
        let (mut names, _) = host::names(directory, LISTED_MAX)?;
        names.sort_unstable();
        for name in names {
            let Ok(meta) = host::meta(directory, &name) else { continue };
            let path = path.join(&name)?;
            tally
                .entry()
                .and_then(|()| tally.depth(path.depth()))
                .map_err(|limit| Error::from(limit).at(&path))?;
            let enter = meta.kind == Kind::Directory && meta.device == self.device;
            all.push(found(path.clone(), &meta));
            if enter && let Ok(child) = host::open_directory(directory, &name, Use::Read) {
                self.walk_into(&child, &path, tally, all)?;
            }
        }
        Ok(())
    }

    /// The open directory at `path`.
    pub(crate) fn open(&self, path: &FilePath, r#for: Use) -> Result<Dir, Error> {
        host::walk(self.root.as_fd(), path, r#for)
    }

    /// The device of the workspace; what is on another one is not part of it.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// An empty directory out of the sandbox's reach, by name and opened.
    pub(crate) fn stage(&self) -> Result<(Vec<u8>, Dir), Error> {
        let name = host::make_fresh(&self.aside)?;
        let opened = host::open_directory(&self.aside, &name, Use::Change)?;
        Ok((name, opened))
    }

    /// Removes what [`Directory::stage`] made.
    pub(crate) fn unstage(&self, name: &[u8], staged: &Dir) -> Result<(), Error> {
        host::empty(staged.as_fd())?;
        Ok(rustix::fs::unlinkat(&self.aside, name, rustix::fs::AtFlags::REMOVEDIR)?)
    }

    pub(crate) fn make_directories(&self, path: &FilePath) -> Result<Dir, Error> {
        let mut at = self.open(&FilePath::root(), Use::Change)?;
        for name in path.names() {
            match host::make_directory(&at, name, DIRECTORY_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::from(errno).at(path)),
            }
            at = host::open_directory(&at, name, Use::Change)
                .map_err(|errno| host::not_a_directory(&at, name, errno).at(path))?;
        }
        Ok(at)
    }

    fn create_aside(&self) -> Result<(Vec<u8>, File), Error> {
        loop {
            let name = host::fresh();
            match host::create_file(&self.aside, &name) {
                Err(Errno::EXIST) => {}
                result => return Ok((name, result?)),
            }
        }
    }
}

fn found(path: FilePath, meta: &Meta) -> Found {
    let kind = match meta.kind {
        Kind::File => FoundKind::File,
        Kind::Directory => FoundKind::Directory,
        Kind::Link => FoundKind::Link,
        Kind::Special => FoundKind::Special,
    };
    Found { path, kind, mode: meta.mode, bytes: meta.size, modified: meta.modified }
}
