//! The copies of environments on this machine: one at a time is changed by one caller, and each says which
//! files it holds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tenure_journal::{EnvironmentId, WorkspaceRoot};
use tenure_workspace::{Chunks, Digest, Directory, Error, Limits, Place, StatCache, restore, snapshot};
use tokio::sync::OwnedMutexGuard;

use super::EnvironmentConfig;
use crate::fair::Gate;

/// How long a copy that nothing uses stays on the disk. It is made anew from the store when it is needed.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);

/// What one environment may hold: bytes and entries for which a snapshot stays a matter of seconds.
pub(super) fn limits() -> Limits {
    Limits::default()
}

/// The copies on this machine, and what commands share.
pub(crate) struct Host {
    pub(super) config: EnvironmentConfig,
    /// Places for commands.
    pub(super) gate: Arc<Gate>,
    copies: Mutex<HashMap<EnvironmentId, Arc<tokio::sync::Mutex<Copy>>>>,
}

/// One environment's files on this machine.
#[derive(Debug, Default)]
pub(super) struct Copy {
    /// The root whose files these are for certain; absent while a command may have changed them, and before
    /// anyone has looked.
    clean: Option<WorkspaceRoot>,
    /// Where they are, once they were opened.
    place: Option<Place>,
    cache: StatCache,
    used: Option<Instant>,
}

/// A copy that nobody else uses meanwhile.
pub(super) type Held = OwnedMutexGuard<Copy>;

impl Host {
    pub(crate) fn new(config: EnvironmentConfig) -> Self {
        Self { gate: Gate::new(config.commands), config, copies: Mutex::default() }
    }

    /// Waits until nobody uses the copy. It may be of any files, or none.
    pub(super) async fn hold(&self, id: EnvironmentId) -> Held {
        let copy = {
            let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(copies.entry(id).or_default())
        };
        copy.lock_owned().await
    }

    pub(super) fn home(&self, id: EnvironmentId) -> PathBuf {
        self.config.directory.join(id.to_string())
    }

    /// Forgets copies that nothing used for long, and removes their files.
    pub(crate) fn sweep(&self) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.retain(|id, copy| {
            // Somebody waits for it, or uses it.
            let Ok(mut held) = copy.try_lock() else { return true };
            if Arc::strong_count(copy) > 1 || held.used.is_some_and(|used| used.elapsed() < IDLE) {
                return true;
            }
            held.forget();
            remove(&self.config.directory.join(id.to_string()));
            false
        });
    }
}

/// Removes a copy. What cannot be removed stays, is logged, and is overwritten when it is needed again.
fn remove(home: &Path) {
    match std::fs::remove_dir_all(home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(directory = %home.display(), %error, "the copy of an environment cannot be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

impl Copy {
    /// Makes the files those of `root`, or none at all. With `left`, files that a command left there which
    /// began with `root` stay as they are. Blocks.
    pub(super) fn make(
        &mut self,
        home: &Path,
        root: Option<WorkspaceRoot>,
        left: bool,
        chunks: &dyn Chunks,
    ) -> Result<(), Error> {
        self.used = Some(Instant::now());
        if self.clean.is_some() && self.clean == root {
            return Ok(());
        }
        self.clean = None;
        if let Some(parent) = home.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let Some(root) = root else {
            self.forget();
            remove(home);
            self.place = Some(Place::open(home)?);
            return Ok(());
        };
        let wanted = digest(root);
        if self.place.is_none() {
            let place = Place::open(home)?;
            self.cache = place.load_cache()?;
            self.place = Some(place);
        }
        let place = self.place.as_ref().ok_or_else(missing_place)?;
        let is_based = place.base()? == Some(wanted);
        if is_based && left {
            return Ok(());
        }
        if is_based {
            let hold = chunks.hold()?;
            let seen = snapshot(&place.files()?, chunks, &hold, Some(&wanted), &mut self.cache, &limits());
            if seen.is_ok_and(|seen| seen.root == wanted) {
                self.clean = Some(root);
                return Ok(());
            }
        }
        restore(&wanted, chunks, place, &limits())?;
        self.cache = StatCache::default();
        self.clean = Some(root);
        Ok(())
    }

    /// The files as they are now.
    pub(super) fn files(&self) -> Result<Directory, Error> {
        self.place.as_ref().ok_or_else(missing_place)?.files()
    }

    /// Says that something is about to change the files.
    pub(super) fn dirty(&mut self) {
        self.clean = None;
    }

    /// The root of the files as they are now, every chunk of it durable. Blocks.
    pub(super) fn snapshot(
        &mut self,
        before: Option<WorkspaceRoot>,
        chunks: &dyn Chunks,
    ) -> Result<WorkspaceRoot, Error> {
        let place = self.place.as_ref().ok_or_else(missing_place)?;
        let base = before.map(digest);
        let hold = chunks.hold()?;
        let taken = snapshot(&place.files()?, chunks, &hold, base.as_ref(), &mut self.cache, &limits())?;
        let root = WorkspaceRoot::new(*taken.root.as_bytes());
        place.set_base(&taken.root)?;
        place.save_cache(&self.cache)?;
        self.clean = Some(root);
        self.used = Some(Instant::now());
        Ok(root)
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}

pub(super) fn digest(root: WorkspaceRoot) -> Digest {
    Digest::from_bytes(*root.digest())
}

fn missing_place() -> Error {
    Error::from(std::io::Error::other("the copy was not made"))
}
