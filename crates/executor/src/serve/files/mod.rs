//! Files, as far as the server may reach them.

mod beneath;
mod tree;

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{ServeError, ServeErrorKind};
use crate::location::Location;
use crate::message::{Failure, INTERNAL, INVALID_REQUEST, NOT_FOUND};
use crate::protocol::files::{
    BLOCK_BYTES_MAX, Block, Canonical, Contents, Copy, CreateDirectory, Entry, Found, Listing, Remove,
    WalkOptions, Walked, WriteFile,
};
use beneath::Beneath;

/// Bytes of a file that is read at once. In base64 it has to fit into one message.
const FILE_BYTES_MAX: u64 = 40 * 1024 * 1024;
/// Files that one conversation has open.
const HANDLES_MAX: usize = 64;
/// Bytes of a handle's name.
const HANDLE_ID_BYTES_MAX: usize = 32;

/// Which files the server may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those below the working directory. Links that lead out of it are refused, and so are absolute ones.
    WorkingDirectory,
    /// Every file of the account, as the official executor has it.
    Account,
}

pub(super) struct Files {
    /// Both ways in which the working directory may be written: as it was given, and without links.
    directories: [PathBuf; 2],
    /// Nothing when all of the account's files may be reached.
    beneath: Option<Beneath>,
}

/// The files that one conversation has open.
#[derive(Default)]
pub(super) struct Handles(HashMap<String, Arc<File>>);

impl Files {
    pub(super) fn new(directory: &Path, reach: Reach) -> Result<Self, ServeError> {
        let wrong = |error: io::Error| {
            let message = format!("the working directory `{}`: {error}", directory.display());
            ServeError::new(ServeErrorKind::Options, message)
        };
        let canonical = directory.canonicalize().map_err(wrong)?;
        let beneath = match reach {
            Reach::WorkingDirectory => Some(Beneath::new(&canonical).map_err(wrong)?),
            Reach::Account => None,
        };
        Ok(Self { directories: [directory.to_owned(), canonical], beneath })
    }

    /// The working directory.
    pub(super) fn root(&self) -> &Path {
        &self.directories[1]
    }

    /// A directory for a process.
    pub(super) async fn directory(self: &Arc<Self>, location: &Location) -> Result<PathBuf, Failure> {
        self.on(location, |files, path| {
            let path = files.resolve(path)?;
            if path.is_dir() {
                Ok(path)
            } else {
                Err(io::Error::new(io::ErrorKind::NotFound, "no directory"))
            }
        })
        .await
    }

    pub(super) async fn read(self: &Arc<Self>, location: &Location) -> Result<Contents, Failure> {
        self.on(location, |files, path| {
            let mut file = files.open(path)?;
            let length = file.metadata()?.len();
            if length > FILE_BYTES_MAX {
                let message = format!("the file has {length} bytes; read it in blocks with `fs/open`");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            let mut bytes = Vec::new();
            (&mut file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(Contents { data_base64: bytes.into() })
        })
        .await
    }

    pub(super) async fn write(self: &Arc<Self>, write: WriteFile) -> Result<(), Failure> {
        self.on(&write.path, move |files, path| files.create(path)?.write_all(&write.data_base64.0)).await
    }

    pub(super) async fn create_directory(self: &Arc<Self>, create: &CreateDirectory) -> Result<(), Failure> {
        let recursive = create.recursive.unwrap_or(true);
        self.on(&create.path, move |files, path| files.make_directory(path, recursive)).await
    }

    pub(super) async fn metadata(self: &Arc<Self>, location: &Location) -> Result<Found, Failure> {
        self.on(location, |files, path| files.found(path)).await
    }

    pub(super) async fn canonicalize(self: &Arc<Self>, location: &Location) -> Result<Canonical, Failure> {
        let path = self.on(location, Self::resolve).await?;
        located(&path).map(|path| Canonical { path })
    }

    pub(super) async fn list(self: &Arc<Self>, location: &Location) -> Result<Listing, Failure> {
        self.on(location, |files, path| {
            let entries = files.entries(path)?;
            let entry = |(name, found): (std::ffi::OsString, Option<Found>)| Entry {
                file_name: name.to_string_lossy().into_owned(),
                is_directory: found.as_ref().is_some_and(|found| found.is_directory),
                is_file: found.as_ref().is_some_and(|found| found.is_file),
            };
            Ok(Listing { entries: entries.into_iter().map(entry).collect() })
        })
        .await
    }

    pub(super) async fn walk(
        self: &Arc<Self>,
        location: &Location,
        options: WalkOptions,
    ) -> Result<Walked, Failure> {
        self.on(location, move |files, path| tree::walk(files, path, options)).await
    }

    pub(super) async fn remove(self: &Arc<Self>, remove: &Remove) -> Result<(), Failure> {
        let (recursive, force) = (remove.recursive.unwrap_or(true), remove.force.unwrap_or(true));
        self.on(&remove.path, move |files, path| match files.unlink(path, recursive) {
            Err(error) if force && error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    pub(super) async fn copy(self: &Arc<Self>, copy: &Copy) -> Result<(), Failure> {
        let (to, recursive) = (path(&copy.destination_path)?, copy.recursive);
        self.on(&copy.source_path, move |files, from| tree::copy(files, from, &to, recursive)).await
    }

    pub(super) async fn open_handle(
        self: &Arc<Self>,
        handles: &mut Handles,
        handle_id: &str,
        location: &Location,
    ) -> Result<(), Failure> {
        let problem = match handle_id {
            id if id.is_empty() || id.len() > HANDLE_ID_BYTES_MAX => "`handleId` has not 1 to 32 bytes",
            id if handles.0.contains_key(id) => "`handleId` is in use",
            _ if handles.0.len() >= HANDLES_MAX => "too many files are open; close some with `fs/close`",
            _ => {
                let file = self.on(location, Self::open).await?;
                handles.0.insert(handle_id.to_owned(), Arc::new(file));
                return Ok(());
            }
        };
        Err(Failure::new(INVALID_REQUEST, problem))
    }

    /// Does `work` on a path of this machine, where waiting for a disk holds up nobody.
    async fn on<T: Send + 'static>(
        self: &Arc<Self>,
        location: &Location,
        work: impl FnOnce(&Self, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (files, path) = (Arc::clone(self), path(location)?);
        blocking(move || work(&files, &path)).await
    }

    /// The part of a path that is below the working directory.
    fn below<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        let below = self.directories.iter().find_map(|directory| path.strip_prefix(directory).ok());
        below.ok_or_else(|| {
            let message = format!("`{}` is outside of the executor's working directory", path.display());
            io::Error::new(io::ErrorKind::PermissionDenied, message)
        })
    }

    /// The path without links in it.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.beneath {
            Some(beneath) => beneath.resolve(self.below(path)?),
            None => path.canonicalize(),
        }
    }

    /// A regular file, to be read.
    fn open(&self, path: &Path) -> io::Result<File> {
        let file = match &self.beneath {
            Some(beneath) => beneath.open(self.below(path)?)?,
            None => File::open(path)?,
        };
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no regular file", path.display())))
    }

    /// A regular file, to be written from its beginning.
    fn create(&self, path: &Path) -> io::Result<File> {
        match &self.beneath {
            Some(beneath) => beneath.create(self.below(path)?),
            None => File::create(path),
        }
    }

    fn found(&self, path: &Path) -> io::Result<Found> {
        let (link, target) = match &self.beneath {
            Some(beneath) => beneath.metadata(self.below(path)?)?,
            None => (std::fs::symlink_metadata(path)?, std::fs::metadata(path)?),
        };
        Ok(found(&link, &target))
    }

    fn make_directory(&self, path: &Path, recursive: bool) -> io::Result<()> {
        let Some(beneath) = &self.beneath else {
            return if recursive { std::fs::create_dir_all(path) } else { std::fs::create_dir(path) };
        };
        let below = self.below(path)?;
        if !recursive {
            return beneath.make_directory(below);
        }
        let mut ancestors: Vec<&Path> =
            below.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            match beneath.make_directory(ancestor) {
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && beneath.is_directory(ancestor) => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn unlink(&self, path: &Path, recursive: bool) -> io::Result<()> {
        let place = match &self.beneath {
            Some(beneath) => beneath.place(self.below(path)?)?,
            None => path.to_owned().into(),
        };
        let path = place.as_path();
        if !std::fs::symlink_metadata(path)?.is_dir() {
            std::fs::remove_file(path)
        } else if recursive {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_dir(path)
        }
    }

    /// What a directory holds, by name. What cannot be looked at is there without more.
    fn entries(&self, path: &Path) -> io::Result<Vec<(std::ffi::OsString, Option<Found>)>> {
        let listing = match &self.beneath {
            Some(beneath) => beneath.list(self.below(path)?)?,
            None => std::fs::read_dir(path)?,
        };
        let mut entries = Vec::new();
        for entry in listing {
            let name = entry?.file_name();
            let found = self.found(&path.join(&name)).ok();
            entries.push((name, found));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }
}

impl Handles {
    pub(super) async fn read(&self, handle_id: &str, offset: u64, length: usize) -> Result<Block, Failure> {
        let unknown = || Failure::new(INVALID_REQUEST, format!("there is no handle `{handle_id}`"));
        let file = Arc::clone(self.0.get(handle_id).ok_or_else(unknown)?);
        blocking(move || {
            let mut bytes = vec![0; length.min(BLOCK_BYTES_MAX)];
            let mut filled = 0;
            while filled < bytes.len() {
                match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))? {
                    0 => break,
                    read => filled += read,
                }
            }
            bytes.truncate(filled);
            let eof = offset.saturating_add(filled as u64) >= file.metadata()?.len();
            Ok(Block { chunk: bytes.into(), eof })
        })
        .await
    }

    pub(super) fn close(&mut self, handle_id: &str) {
        self.0.remove(handle_id);
    }
}

fn found(link: &Metadata, target: &Metadata) -> Found {
    let milliseconds = |time: io::Result<SystemTime>| {
        let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
    };
    Found {
        is_directory: target.is_dir(),
        is_file: target.is_file(),
        is_symlink: link.is_symlink(),
        size: target.len(),
        created_at_ms: milliseconds(target.created()),
        modified_at_ms: milliseconds(target.modified()),
    }
}

fn path(location: &Location) -> Result<PathBuf, Failure> {
    location.to_path().map_err(|error| Failure::new(INVALID_REQUEST, error.to_string()))
}

fn located(path: &Path) -> Result<Location, Failure> {
    Location::from_path(path).map_err(|error| Failure::new(INTERNAL, error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::new(INTERNAL, "the operation ended by a fault")),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "kinds of errors are not exhaustive")]
fn failure(error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied => INVALID_REQUEST,
        _ => INTERNAL,
    };
    Failure::new(code, error.to_string())
}
