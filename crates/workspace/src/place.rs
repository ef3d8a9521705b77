//! Where a workspace is on a host.
//!
//! ```text
//!   <place>/files/     what the sandbox sees
//!   <place>/building/  a restore in progress
//!   <place>/aside/     what is being written, and what is being removed: out of the sandbox's reach
//!   <place>/base       the root that `files` was last equal to, and the boot of the machine
//!   <place>/cache      the stat cache
//! ```
//!
//! Nothing here is synced, because nothing here is the truth: that is the committed root and its chunks. After
//! a crash of the process the files are as they were. After the machine went down they may be anything, and
//! so the base, which names the boot it was written in, is then no longer believed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::host::{Dir, Use};
use crate::{Digest, Directory, Error, ErrorKind, StatCache, host};

const FILES: &[u8] = b"files";
const BUILDING: &[u8] = b"building";
pub(crate) const ASIDE: &[u8] = b"aside";
const BASE: &[u8] = b"base";
const CACHE: &[u8] = b"cache";

/// Bytes of the base file: two short words.
const BASE_BYTES_MAX: u64 = 256;

/// Bytes of a cache that is loaded; a larger one is as good as none.
const CACHE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A directory of the host with one workspace in it. One process, and one caller at a time, uses it.
#[derive(Debug)]
pub struct Place {
    home: OwnedFd,
}

impl Place {
    /// Opens the place at `path`, creating it where it is absent. What a crash left half done is removed.
    ///
    /// `path` itself is the operator's and may contain links; only its last name may not be one.
    ///
    /// # Errors
    /// `Io` and its relatives: the host refused.
    pub fn open(path: &Path) -> Result<Self, Error> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = Self { home: rustix::fs::openat(CWD, path, flags, Mode::empty())? };
        place.make(FILES)?;
        place.make(ASIDE)?;
        host::empty(host::open_directory(&place.home, ASIDE, Use::Change)?.as_fd())?;
        place.discard_building()?;
        Ok(place)
    }

    /// The workspace, as the sandboxed program sees it. After a restore, ask again: an older handle is of the
    /// directory that was replaced.
    ///
    /// # Errors
    /// `Io` and its relatives: the host refused.
    pub fn files(&self) -> Result<Directory, Error> {
        Directory::new(
            host::open_directory(&self.home, FILES, Use::Change)?,
            host::open_directory(&self.home, ASIDE, Use::Change)?,
        )
    }

    /// The root that the files were last equal to, after a snapshot or a restore; programs may have changed
    /// them since. None if there is none, a restore did not end, or the machine was started anew since: then
    /// restore before anything uses the files.
    ///
    /// # Errors
    /// `Io`: the host refused.
    pub fn base(&self) -> Result<Option<Digest>, Error> {
        let Some(bytes) = self.load(BASE, BASE_BYTES_MAX)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let mut words = text.split_whitespace();
        let root = words.next().and_then(|word| word.parse().ok());
        Ok(root.filter(|_| words.next() == Some(boot().as_str())))
    }

    /// Says that the files are those of `root` now. For after a snapshot whose root was committed;
    /// [`crate::restore`] does it itself.
    ///
    /// # Errors
    /// `Io`: the host refused.
    pub fn set_base(&self, root: &Digest) -> Result<(), Error> {
        self.save(BASE, format!("{root} {}\n", boot()).as_bytes())
    }

    /// The cache that was saved here; an empty one if there is none that can be used.
    ///
    /// # Errors
    /// `Io`: the host refused.
    pub fn load_cache(&self) -> Result<StatCache, Error> {
        if self.base()?.is_none() {
            return Ok(StatCache::default());
        }
        let bytes = self.load(CACHE, CACHE_BYTES_MAX)?;
        Ok(bytes.and_then(|bytes| StatCache::from_bytes(&bytes).ok()).unwrap_or_default())
    }

    /// Saves the cache beside the files.
    ///
    /// # Errors
    /// `Io`: the host refused.
    pub fn save_cache(&self, cache: &StatCache) -> Result<(), Error> {
        self.save(CACHE, &cache.to_bytes())
    }

    /// An empty directory to build a workspace in.
    pub(crate) fn begin_building(&self) -> Result<Dir, Error> {
        self.discard_building()?;
        host::make_directory(&self.home, BUILDING, 0o700)?;
        Ok(host::open_directory(&self.home, BUILDING, Use::Change)?)
    }

    /// Removes what was built, or what it replaced.
    pub(crate) fn discard_building(&self) -> Result<(), Error> {
        let aside = host::open_directory(&self.home, ASIDE, Use::Change)?;
        match host::discard(&self.home, BUILDING, &aside) {
            Err(error) if *error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Puts what was built in the place of the files, in one step, and says that they are those of `root`.
    ///
    /// Dying before the exchange leaves the old files without a base, dying after it the new ones; in both
    /// cases the caller finds no base and restores again.
    pub(crate) fn exchange_building(&self, root: &Digest) -> Result<(), Error> {
        self.forget(BASE)?;
        self.forget(CACHE)?;
        host::exchange(&self.home, BUILDING, FILES)?;
        self.set_base(root)
    }

    fn make(&self, name: &[u8]) -> Result<(), Error> {
        match host::make_directory(&self.home, name, 0o700) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn load(&self, name: &[u8], bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let (file, meta) = match host::open_file(&self.home, name) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if meta.size > bytes_max {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(meta.size as usize);
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn save(&self, name: &[u8], bytes: &[u8]) -> Result<(), Error> {
        let fresh = [name, b".new"].concat();
        self.forget(&fresh)?;
        let mut file: File = host::create_file(&self.home, &fresh)?;
        file.write_all(bytes)?;
        Ok(host::rename(&self.home, &fresh, &self.home, name)?)
    }

    fn forget(&self, name: &[u8]) -> Result<(), Error> {
        match host::unlink(&self.home, name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Which run of the machine this is. Where the system does not say, each process is one of its own.
fn boot() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => format!("process-{}", rustix::process::getpid().as_raw_nonzero()),
    }
}
