//! Unpacking an archive into a workspace, all of it or nothing.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Entry, EntryKind, Format, read, unreadable};
use crate::host::{self, Dir, Kind, Use};
use crate::{Directory, Error, ErrorKind, FilePath, Limits};

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extracted {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Links.
    pub links: u64,
}

/// Bytes that are unpacked at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Unpacks an archive into the directory `at` of a workspace, creating it where it is absent.
///
/// Files that exist are replaced, directories are joined. Nothing changes unless the whole archive is good
/// and no directory of the workspace is where it has a file, or the other way round. If the host fails while
/// files are moved into place, some are there; each is whole.
///
/// # Errors
/// Those of [`super::read`]; `Exists` and `NotADirectory` for what is in the way; `Io`.
pub fn extract(
    format: Format,
    archive: &[u8],
    directory: &Directory,
    at: &FilePath,
    limits: &Limits,
) -> Result<Extracted, Error> {
    let (name, staged) = directory.stage()?;
    let result = stage(format, archive, &staged, limits).and_then(|extracted| {
        let mut path = at.clone();
        match directory.open(at, Use::Change) {
            Ok(existing) => check(&staged, &existing, &mut path).map_err(|error| error.at(&path))?,
            Err(error) if *error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        merge(&staged, &directory.make_directories(at)?, &mut path).map_err(|error| error.at(&path))?;
        Ok(extracted)
    });
    directory.unstage(&name, &staged)?;
    result
}

/// Unpacks into an empty directory that nobody else can reach.
fn stage(format: Format, archive: &[u8], staged: &Dir, limits: &Limits) -> Result<Extracted, Error> {
    let mut extracted = Extracted::default();
    read(format, archive, limits, &mut |entry, bytes| one(entry, bytes, staged, &mut extracted))?;
    Ok(extracted)
}

fn one(entry: &Entry, bytes: &mut dyn Read, staged: &Dir, extracted: &mut Extracted) -> Result<(), Error> {
    let directory = match &entry.kind {
        EntryKind::Directory => entry.path.clone(),
        EntryKind::File { .. } | EntryKind::Link { .. } => {
            entry.path.split().map(|(parent, _)| parent).unwrap_or_default()
        }
    };
    let parent = make_all(staged, &directory)?;
    let name = entry.path.names().next_back().unwrap_or_default();
    match &entry.kind {
        EntryKind::Directory => {}
        EntryKind::Link { target } => {
            host::make_link(target, &parent, name)?;
            extracted.links += 1;
        }
        EntryKind::File { size } => {
            let mut file = host::create_file(&parent, name)?;
            let mut buffer = vec![0; BUFFER_BYTES.min(*size as usize + 1)];
            let mut total = 0;
            loop {
                let read = bytes.read(&mut buffer).map_err(|error| unreadable(&error))?;
                if read == 0 {
                    break;
                }
                total += read as u64;
                file.write_all(&buffer[..read])?;
            }
            if total != *size {
                return Err(ErrorKind::Archive("it ends too early").into());
            }
            host::set_mode(&file, entry.mode)?;
            if let Some(modified) = entry.modified {
                host::set_modified(&file, modified)?;
            }
            extracted.files += 1;
            extracted.bytes += total;
        }
    }
    Ok(())
}

fn make_all(staged: &Dir, path: &FilePath) -> Result<Dir, Error> {
    let mut at = host::walk(staged.as_fd(), &FilePath::root(), Use::Change)?;
    for name in path.names() {
        match host::make_directory(&at, name, 0o755) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        at = host::open_directory(&at, name, Use::Change)?;
    }
    Ok(at)
}

/// Whether everything in `from` can be moved into `to`. On an error `path` says what is in the way.
fn check(from: &Dir, to: &Dir, path: &mut FilePath) -> Result<(), Error> {
    for name in host::names(from, usize::MAX)?.0 {
        path.push(&name)?;
        let is_directory = host::meta(from, &name)?.kind == Kind::Directory;
        match host::meta(to, &name) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
            Ok(existing) => match (is_directory, existing.kind == Kind::Directory) {
                (true, true) => check(
                    &host::open_directory(from, &name, Use::Read)?,
                    &host::open_directory(to, &name, Use::Read)?,
                    path,
                )?,
                (true, false) => return Err(ErrorKind::NotADirectory.into()),
                (false, true) => return Err(ErrorKind::Exists.into()),
                (false, false) => {}
            },
        }
        path.pop();
    }
    Ok(())
}

fn merge(from: &Dir, to: &Dir, path: &mut FilePath) -> Result<(), Error> {
    for name in host::names(from, usize::MAX)?.0 {
        path.push(&name)?;
        if host::meta(from, &name)?.kind != Kind::Directory {
            host::rename(from, &name, to, &name)?;
        } else if let Err(errno) = host::rename_new(from, &name, to, &name) {
            if errno != Errno::EXIST {
                return Err(errno.into());
            }
            let child = host::open_directory(from, &name, Use::Change)?;
            merge(&child, &host::open_directory(to, &name, Use::Change)?, path)?;
        }
        path.pop();
    }
    Ok(())
}
