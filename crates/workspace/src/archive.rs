//! Archives that people upload: zip, tar and gzipped tar, read with suspicion; and tar to download.
//!
//! Refused, each with its reason: absolute paths and `..`; two entries of one name; anything beneath a file or
//! a link of the same archive, the trick that writes through a link; links that lead out; hard links, devices,
//! fifos and sockets; encrypted entries; entries of a zip that overlap, or are named differently in its two
//! lists; anything that unpacks to more than [`RATIO_MAX`] times its size or beyond the limits.
//!
//! [`extract`] unpacks out of the sandbox's reach and moves the result into the workspace when all of it is
//! there, so that a bad archive leaves nothing behind. Owners, set-user-id bits and the modes of directories
//! are not taken over.

mod extract;
mod guard;
mod tar;
mod write;
mod zip;

use std::io::Read;

use flate2::bufread::GzDecoder;

pub use extract::{Extracted, extract};
pub use write::{write_tar, write_tar_gz};

use crate::manifest::Time;
use crate::{Error, ErrorKind, FilePath, Limit, Limits};
use guard::Guard;

/// How many times its own size an archive may unpack to, above [`RATIO_BYTES_MIN`]. Text compresses five to
/// ten times, logs a hundred times; deflate at its best a thousand times.
pub const RATIO_MAX: u64 = 200;

/// What any archive may unpack to, however small it is.
pub const RATIO_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Bytes of a path in an archive, as other programs have it.
pub const ARCHIVE_PATH_BYTES_MAX: usize = 4096;

/// A format of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Zip, stored or deflated.
    Zip,
    /// Tar: ustar with the extensions of POSIX (pax) and GNU for long names.
    Tar,
    /// Tar in gzip.
    TarGz,
}

impl Format {
    /// The format that `bytes` seem to have.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
            return Some(Self::Zip);
        }
        if bytes.starts_with(b"\x1f\x8b") {
            return Some(Self::TarGz);
        }
        (bytes.get(257..262) == Some(b"ustar")).then_some(Self::Tar)
    }
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where; never the root.
    pub path: FilePath,
    /// What.
    pub kind: EntryKind,
    /// Nine permission bits; for files, the owner may always read and write.
    pub mode: u16,
    /// When it was last modified, where the archive says.
    pub modified: Option<Time>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its bytes, as the archive says; reading it fails if that is not so.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, which leads to somewhere in the archive.
    Link {
        /// Relative.
        target: Vec<u8>,
    },
}

/// Calls `entry` for every entry of an archive, with a reader of its bytes that are valid to their end once
/// they have been read to their end.
///
/// The archive is in memory; whoever receives uploads has a limit on them.
///
/// # Errors
/// `Archive`, `Path` or `Limit`, with the path where there is one; entries before it were reported. Those of
/// `entry`.
pub fn read(
    format: Format,
    archive: &[u8],
    limits: &Limits,
    entry: &mut dyn FnMut(&Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let most = RATIO_BYTES_MIN.max((archive.len() as u64).saturating_mul(RATIO_MAX));
    let mut guard = Guard::new(limits, most);
    match format {
        Format::Zip => zip::read(archive, &mut guard, entry),
        Format::Tar => tar::read(archive, &mut guard, entry),
        Format::TarGz => {
            // The headers count as well: an archive of a million empty files is a bomb, too.
            let mut bounded = Bounded { inner: GzDecoder::new(archive), left: most };
            tar::read(&mut bounded, &mut guard, entry)?;
            // To the end, where the sum of everything is.
            std::io::copy(&mut bounded, &mut std::io::sink()).map_err(|error| unreadable(&error))?;
            Ok(())
        }
    }
}

/// A reader that fails once more was read than expected.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::FileTooLarge, Limit::Ratio(RATIO_MAX).to_string())
        })?;
        Ok(read)
    }
}

/// A failure to read an archive that is in memory: it is damaged, or a bomb.
fn unreadable(error: &std::io::Error) -> Error {
    let is = |kind| error.kind() == kind;
    if is(std::io::ErrorKind::FileTooLarge) {
        Limit::Ratio(RATIO_MAX).into()
    } else if is(std::io::ErrorKind::UnexpectedEof) {
        ErrorKind::Archive("it ends too early").into()
    } else {
        ErrorKind::Archive("it is damaged").into()
    }
}
