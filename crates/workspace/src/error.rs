//! What can go wrong, and whose fault it is.

use std::error::Error as StdError;
use std::{fmt, io};

use rustix::io::Errno;

use crate::{Digest, FilePath, Limit, PathError};

/// Why something could not be done, and where in the workspace.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    path: Option<FilePath>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is nothing of that name.
    NotFound,
    /// Something of that name is in the way.
    Exists,
    /// A part of the path is not a directory.
    NotADirectory,
    /// It is a directory, a fifo, a socket or a device, where a file is expected.
    NotAFile,
    /// A symbolic link is where a file or directory is expected. Links are never followed.
    Link,
    /// It is no path of a workspace.
    Path(PathError),
    /// Something is larger than allowed.
    Limit(Limit),
    /// A chunk that is referred to is not in the store.
    Missing(Digest),
    /// The store returned bytes with another digest.
    Corrupt(Digest),
    /// A node with the right digest that no snapshot would have written; the text says what is wrong.
    Manifest(&'static str),
    /// An archive that is damaged, or that would escape, overwrite or confuse; the text says what is wrong.
    Archive(&'static str),
    /// A file changes faster than it can be read or removed.
    Busy,
    /// The chunk store failed; the source says how.
    Chunks,
    /// The host's file system failed; the source says how.
    Io,
}

impl Error {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, path: None, source: None }
    }

    /// A failure of a chunk store, for those who write one.
    pub fn chunks(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: ErrorKind::Chunks, path: None, source: Some(source.into()) }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Where, if it is about one place.
    #[must_use]
    pub fn path(&self) -> Option<&FilePath> {
        self.path.as_ref()
    }

    /// Says where, unless that is known already.
    #[must_use]
    pub(crate) fn at(mut self, path: &FilePath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "`{path}`: ")?;
        }
        match &self.kind {
            ErrorKind::NotFound => f.write_str("no such file or directory"),
            ErrorKind::Exists => f.write_str("something of that name exists"),
            ErrorKind::NotADirectory => f.write_str("not a directory"),
            ErrorKind::NotAFile => f.write_str("not a regular file"),
            ErrorKind::Link => f.write_str("a symbolic link, which is not followed"),
            ErrorKind::Path(error) => error.fmt(f),
            ErrorKind::Limit(limit) => limit.fmt(f),
            ErrorKind::Missing(digest) => write!(f, "chunk {digest} is missing"),
            ErrorKind::Corrupt(digest) => write!(f, "chunk {digest} does not have that digest"),
            ErrorKind::Manifest(what) => write!(f, "the manifest is not valid: {what}"),
            ErrorKind::Archive(what) => write!(f, "the archive is refused: {what}"),
            ErrorKind::Busy => f.write_str("it changes all the time"),
            ErrorKind::Chunks => f.write_str("the chunk store failed"),
            ErrorKind::Io => f.write_str("the file system failed"),
        }?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::new(ErrorKind::Path(error))
    }
}

impl From<Limit> for Error {
    fn from(limit: Limit) -> Self {
        Self::new(ErrorKind::Limit(limit))
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        let kind = match errno {
            Errno::NOENT => ErrorKind::NotFound,
            Errno::EXIST | Errno::NOTEMPTY => ErrorKind::Exists,
            Errno::NOTDIR => ErrorKind::NotADirectory,
            Errno::LOOP => ErrorKind::Link,
            Errno::ISDIR => ErrorKind::NotAFile,
            _ => {
                let source = Some(io::Error::from(errno).into());
                return Self { kind: ErrorKind::Io, path: None, source };
            }
        };
        Self::new(kind)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self { kind: ErrorKind::Io, path: None, source: Some(error.into()) },
        }
    }
}
