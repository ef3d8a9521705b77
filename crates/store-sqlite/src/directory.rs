//! The data directory: private to its owner, and held by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure_store::{StoreError, StoreErrorKind};

const DATABASE_FILE: &str = "tenure.db";
const LOCK_FILE: &str = "tenure.lock";

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Bytes read from a lock file to name its holder; a process id is shorter.
const HOLDER_BYTES_MAX: u64 = 32;
/// Tries to take the lock, and the pause between two: whoever only looks who holds it has it for an instant.
const LOCK_TRIES_MAX: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A data directory that this process holds until the value is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock goes with the open file, so a killed process never leaves one behind.
    lock: File,
}

impl Directory {
    /// Creates `path` where it is missing and takes hold of it.
    pub(crate) fn hold(path: &Path) -> Result<Self, StoreError> {
        let unavailable = |error| unavailable(path, error);
        create(path).map_err(unavailable)?;
        let lock = lock(path)?;
        // SQLite gives its `-wal` and `-shm` files the permissions of the database file.
        private_file(&path.join(DATABASE_FILE)).map_err(unavailable)?;
        sync(path).map_err(unavailable)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE_FILE)
    }

    /// Makes the names of the files in it durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        sync(&self.path).map_err(|error| unavailable(&self.path, error))
    }
}

/// Who holds a data directory, as a noun; `None` when it is free or does not exist. Changes nothing in it.
pub(crate) fn held_by(path: &Path) -> Result<Option<String>, StoreError> {
    let failed = |error| {
        let context = format!("looking who holds `{}`", path.display());
        StoreError::new(StoreErrorKind::Unavailable, context).with_source(error)
    };
    let mut file = match File::open(path.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Shared, so that several may look at once; the process id in the file outlives the process.
    match file.try_lock_shared() {
        Ok(()) => {
            file.unlock().map_err(failed)?;
            Ok(None)
        }
        Err(TryLockError::WouldBlock) => Ok(Some(holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The database file of a data directory, once something was written to it.
pub(crate) fn existing_database(path: &Path) -> Option<PathBuf> {
    Some(path.join(DATABASE_FILE)).filter(|path| path.metadata().is_ok_and(|found| found.len() > 0))
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A process being started at this moment has a copy of the open file until it executes its program;
        // closing ours would leave the lock with it.
        let _ = self.lock.unlock();
    }
}

fn unavailable(path: &Path, error: io::Error) -> StoreError {
    let context = format!("preparing the data directory `{}`", path.display());
    StoreError::new(StoreErrorKind::Unavailable, context).with_source(error)
}

fn create(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync(parent)?;
        }
    }
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let unavailable = |error| unavailable(path, error);
    let mut file = private_file(&path.join(LOCK_FILE)).map_err(unavailable)?;
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES_MAX => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                let context = format!("opening `{}`, which {} holds", path.display(), holder(&mut file));
                return Err(StoreError::new(StoreErrorKind::Locked, context));
            }
        }
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(unavailable)?;
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}
