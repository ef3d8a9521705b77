//! Chunks as files of a directory that one process uses.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Chunks, Collect, Generation, Generations, Hold, Swept};
use crate::{Digest, Error, ErrorKind, Limit};

/// Above this many files in a batch, one sync of the whole file system is quicker than one for each.
const SYNC_EACH_MAX: usize = 8;

/// Chunks as files `ab/cdef…`, named by digest. Each is written beside, synced, renamed into place, and its
/// directory synced, so that a file under a digest is whole whatever happens.
///
/// Stamps and holds are in memory: when the process ends, so do its snapshots, and what they left without a
/// root may go. For this reason only one process may use the directory at a time; the caller locks.
#[derive(Debug)]
pub struct DirectoryChunks {
    root: PathBuf,
    generations: Generations,
    /// What was found or written since the process began, until a sweep makes it meaningless.
    stamps: Mutex<HashMap<Digest, Generation>>,
}

impl DirectoryChunks {
    /// Opens the store at `root`, creating it when it is absent. What a crash left half written goes.
    ///
    /// # Errors
    /// `Chunks`: the file system refused.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let incoming = root.join("incoming");
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::chunks(error)),
            Ok(()) | Err(_) => {}
        }
        for byte in 0..=u8::MAX {
            create(&root.join(format!("{byte:02x}")))?;
        }
        create(&incoming)?;
        File::open(root).and_then(|root| root.sync_all()).map_err(Error::chunks)?;
        Ok(Self { root: root.to_owned(), generations: Generations::default(), stamps: Mutex::default() })
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(&name[2..])
    }

    fn incoming(&self, digest: &Digest, nonce: u64) -> PathBuf {
        self.root.join("incoming").join(format!("{digest}-{nonce}"))
    }

    fn stamps(&self) -> MutexGuard<'_, HashMap<Digest, Generation>> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_write(&self, batch: &[(Digest, Vec<u8>)]) -> io::Result<()> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NONCE: AtomicU64 = AtomicU64::new(0);

        let mut moves = Vec::new();
        let sync_each = batch.len() <= SYNC_EACH_MAX;
        for (digest, bytes) in batch {
            let from = self.incoming(digest, NONCE.fetch_add(1, Ordering::Relaxed));
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&from)?;
            file.write_all(bytes)?;
            if sync_each {
                file.sync_data()?;
            }
            moves.push((from, self.file(digest)));
        }
        if !sync_each {
            self.sync_all()?;
        }
        let mut parents = BTreeSet::new();
        for (from, to) in &moves {
            fs::rename(from, to)?;
            parents.extend(to.parent());
        }
        if sync_each {
            return parents.into_iter().try_for_each(|parent| File::open(parent)?.sync_all());
        }
        self.sync_all()
    }

    /// Makes everything on the file system durable.
    #[cfg(target_os = "linux")]
    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.root)?)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_all(&self) -> io::Result<()> {
        rustix::fs::sync();
        Ok(())
    }
}

fn create(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::chunks)
}

impl Chunks for DirectoryChunks {
    fn read(&self, digest: &Digest, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let file = match File::open(self.file(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ErrorKind::Missing(*digest).into());
            }
            Err(error) => return Err(Error::chunks(error)),
        };
        let length = file.metadata().map_err(Error::chunks)?.len();
        if length > bytes_max as u64 {
            return Err(Limit::FileBytes(bytes_max as u64).into());
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(bytes_max as u64).read_to_end(&mut bytes).map_err(Error::chunks)?;
        Ok(bytes)
    }

    fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
        let mut stamps = self.stamps();
        let current = self.generations.current();
        let mut missing = Vec::new();
        for digest in digests {
            match self.file(digest).try_exists() {
                Ok(true) => _ = stamps.insert(*digest, current),
                Ok(false) => missing.push(*digest),
                Err(error) => return Err(Error::chunks(error)),
            }
        }
        Ok(missing)
    }

    fn write(&self, batch: &[(Digest, Vec<u8>)]) -> Result<(), Error> {
        // Stamped before any of them appears, so that no sweep sees one without its stamp.
        let current = self.generations.current();
        self.stamps().extend(batch.iter().map(|(digest, _)| (*digest, current)));
        self.try_write(batch).map_err(Error::chunks)
    }

    fn hold(&self) -> Result<Hold, Error> {
        Ok(self.generations.hold())
    }
}

impl Collect for DirectoryChunks {
    fn advance(&self) -> Result<Generation, Error> {
        Ok(self.generations.advance())
    }

    fn sweep(&self, live: &HashSet<Digest>, before: Generation) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for byte in 0..=u8::MAX {
            let prefix = format!("{byte:02x}");
            for entry in fs::read_dir(self.root.join(&prefix)).map_err(Error::chunks)? {
                let entry = entry.map_err(Error::chunks)?;
                // Whatever has no digest for a name is not ours to delete.
                let Some(digest) = entry
                    .file_name()
                    .to_str()
                    .and_then(|rest| format!("{prefix}{rest}").parse::<Digest>().ok())
                else {
                    continue;
                };
                let mut stamps = self.stamps();
                let young = stamps.get(&digest).is_some_and(|stamp| *stamp >= before);
                if young || live.contains(&digest) {
                    swept.kept += 1;
                    continue;
                }
                let bytes = entry.metadata().map_err(Error::chunks)?.len();
                fs::remove_file(entry.path()).map_err(Error::chunks)?;
                stamps.remove(&digest);
                swept.deleted += 1;
                swept.deleted_bytes += bytes;
            }
        }
        self.stamps().retain(|_, stamp| *stamp >= before);
        Ok(swept)
    }
}
