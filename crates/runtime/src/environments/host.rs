//! The copies of environments on this machine: one at a time is changed by one caller, and each says which
//! files it holds.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tenure_journal::{EnvironmentId, Failure, FailureKind, ProjectId, SessionKey, WorkspaceRoot};
use tenure_sandbox::Backend;
use tenure_workspace::{Chunks, Digest, Directory, Error, Limits, Place, StatCache, restore, snapshot};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::EnvironmentConfig;
use super::inside::{Inside, SERVERS_MAX};
use super::run::failed;
use crate::fair::Gate;

/// What one environment may hold: bytes and entries for which a snapshot stays a matter of seconds.
pub(super) fn limits() -> Limits {
    Limits::default()
}

/// The copies on this machine, and what commands share.
pub(crate) struct Host {
    pub(crate) config: EnvironmentConfig,
    /// Places for commands.
    pub(super) gate: Arc<Gate>,
    /// Ways out that were opened so far.
    ways_out: AtomicU64,
    copies: Mutex<HashMap<EnvironmentId, Arc<tokio::sync::Mutex<Copy>>>>,
    /// Places for servers that run in environments.
    servers: Arc<Semaphore>,
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
    /// Whose it is, once it was used.
    project: Option<ProjectId>,
    /// The servers that run on these files.
    pub(super) servers: Inside,
}

/// A copy that nobody else uses meanwhile.
pub(super) type Held = OwnedMutexGuard<Copy>;

impl Host {
    pub(crate) fn new(config: EnvironmentConfig) -> Self {
        Self {
            gate: Gate::new(config.commands),
            config,
            ways_out: AtomicU64::default(),
            copies: Mutex::default(),
            servers: Arc::new(Semaphore::new(SERVERS_MAX)),
        }
    }

    /// What runs commands.
    ///
    /// # Errors
    /// `InvalidRequest`: nothing can here.
    pub(super) fn backend(&self) -> Result<&Arc<dyn Backend>, Failure> {
        self.config.sandbox.as_ref().map_err(|why| {
            failed(FailureKind::InvalidRequest, format!("this server cannot run commands: {why}"))
        })
    }

    /// A place for a server, for which the one that was unused for longest makes room if there is no other.
    /// Blocks.
    pub(super) fn server_place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.servers).try_acquire_owned() {
                return Some(permit);
            }
            let unused = {
                let copies = self.lock();
                let held = copies.values().filter_map(|copy| Arc::clone(copy).try_lock_owned().ok());
                held.filter(|copy| !copy.servers.is_empty()).min_by_key(|copy| copy.used)
            };
            unused?.servers.end_all();
        }
    }

    /// Ends the servers of an environment that is over, or another node's. Blocks.
    pub(crate) fn end_servers(&self, id: EnvironmentId) {
        let copy = self.lock().get(&id).cloned();
        if let Some(copy) = copy {
            copy.blocking_lock().servers.end_all();
        }
    }

    /// Whether servers may run in an environment.
    pub(crate) fn may_serve(&self, id: EnvironmentId) -> bool {
        let copies = self.lock();
        // One that is in use is asked when it is free.
        copies.get(&id).is_some_and(|copy| copy.try_lock().map_or(true, |copy| !copy.servers.is_empty()))
    }

    /// Waits until nobody uses the copy. It may be of any files, or none.
    pub(super) async fn hold(&self, project: ProjectId, id: EnvironmentId) -> Held {
        let copy = {
            let mut copies = self.lock();
            Arc::clone(copies.entry(id).or_default())
        };
        let mut copy = copy.lock_owned().await;
        copy.project = Some(project);
        copy
    }

    pub(super) fn home(&self, id: EnvironmentId) -> PathBuf {
        self.config.directory.join(id.to_string())
    }

    /// A socket of its own for a command's way out. Beside the copies, which are made anew while it is open, and
    /// with a short name: a socket's path has 107 bytes at most, of which the operator's directories take most.
    pub(super) fn way_out(&self) -> PathBuf {
        let number = self.ways_out.fetch_add(1, Ordering::Relaxed);
        self.config.directory.join(format!("{number}.out"))
    }

    /// Removes copies that nothing used for long, those of earlier processes included. They are made anew from
    /// the store when they are needed. Gives the sessions of those that this process used. Blocks.
    pub(crate) fn sweep(&self) -> Vec<SessionKey> {
        let mut swept = Vec::new();
        let idle: Vec<(EnvironmentId, Held)> = {
            let copies = self.lock();
            let held =
                copies.iter().filter_map(|(id, copy)| Some((*id, Arc::clone(copy).try_lock_owned().ok()?)));
            held.filter(|(_, copy)| copy.used.is_none_or(|used| used.elapsed() >= self.config.suspend))
                .collect()
        };
        for (id, mut copy) in idle {
            let session = id.session();
            swept.extend(copy.project.map(|project| SessionKey { project, session }));
            copy.forget();
            remove(&self.home(id));
            drop(copy);
            let mut copies = self.lock();
            // Whoever waited for it meanwhile keeps it.
            if copies.get(&id).is_some_and(|copy| Arc::strong_count(copy) == 1) {
                copies.remove(&id);
            }
        }
        for id in self.strays() {
            // Held, so that nobody begins to use it while it goes.
            let copy = Arc::clone(self.lock().entry(id).or_default());
            if let Ok(copy) = copy.try_lock_owned()
                && copy.used.is_none()
            {
                remove(&self.home(id));
            }
        }
        swept
    }

    /// Removes the copy of an environment that is over, once nobody uses it.
    pub(crate) async fn erase_copy(self: &Arc<Self>, id: EnvironmentId) {
        if self.config.directory.as_os_str().is_empty() {
            return;
        }
        let copy = Arc::clone(self.lock().entry(id).or_default());
        let mut copy = copy.lock_owned().await;
        let host = Arc::clone(self);
        // Removing a tree takes time.
        let removed = tokio::task::spawn_blocking(move || {
            copy.forget();
            remove(&host.home(id));
            drop(copy);
            let mut copies = host.lock();
            if copies.get(&id).is_some_and(|copy| Arc::strong_count(copy) == 1) {
                copies.remove(&id);
            }
        });
        if removed.await.is_err() {
            tracing::error!(environment = %id, "removing the copy of an environment panicked");
        }
    }

    /// Copies on the disk that this process has not used, and that nobody changed for long.
    fn strays(&self) -> Vec<EnvironmentId> {
        let Ok(entries) = std::fs::read_dir(&self.config.directory) else { return Vec::new() };
        let known: HashSet<EnvironmentId> = self.lock().keys().copied().collect();
        let is_old = |entry: &std::fs::DirEntry| {
            let modified = entry.metadata().and_then(|found| found.modified());
            modified
                .ok()
                .and_then(|modified| modified.elapsed().ok())
                .is_some_and(|age| age >= self.config.suspend)
        };
        let ids =
            entries.flatten().filter(is_old).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| !known.contains(id)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EnvironmentId, Arc<tokio::sync::Mutex<Copy>>>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
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
        // Whatever runs there works on files that are about to be others.
        let Some(root) = root else {
            self.forget();
            self.used = Some(Instant::now());
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
        self.servers.end_all();
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
        self.servers.end_all();
        *self = Self { project: self.project, ..Self::default() };
    }
}

pub(super) fn digest(root: WorkspaceRoot) -> Digest {
    Digest::from_bytes(*root.digest())
}

fn missing_place() -> Error {
    Error::from(std::io::Error::other("the copy was not made"))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tenure_journal::{Fresh, SessionId, Timestamp};
    use tenure_workspace::MemoryChunks;

    use super::*;

    fn host(directory: &Path) -> Host {
        let config = EnvironmentConfig { directory: directory.to_owned(), ..EnvironmentConfig::default() };
        Host::new(config)
    }

    fn id(seed: u64) -> EnvironmentId {
        EnvironmentId::of_session(SessionId::fresh(&Fresh::new(Timestamp::from_millis(5), seed)))
    }

    fn wrote(copy: &Copy, name: &str) {
        let path = tenure_workspace::FilePath::parse(name.as_bytes()).expect("a path");
        copy.files().and_then(|files| files.write(&path, name.as_bytes())).expect("written");
    }

    fn names(home: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(home.join("files")).expect("a copy").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_is_made_that_of_the_root_whatever_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let (home, chunks) = (directory.path().join("env"), MemoryChunks::default());
        let mut copy = Copy::default();
        copy.make(&home, None, false, &chunks).expect("an empty copy");
        wrote(&copy, "a");
        let first = copy.snapshot(None, &chunks).expect("a snapshot");
        // A command that was cut off, seen by the process that ran it and by one that starts anew.
        for mut copy in [copy, Copy::default()] {
            copy.dirty();
            if copy.place.is_none() {
                copy.make(&home, Some(first), false, &chunks).expect("made");
                copy.dirty();
            }
            wrote(&copy, "b");
            assert_eq!(names(&home), ["a", "b"]);
            copy.make(&home, Some(first), false, &chunks).expect("made");
            assert_eq!(names(&home), ["a"]);
        }
        // What a command left that may not be repeated stays, and what lies there of other files does not.
        let mut copy = Copy::default();
        copy.make(&home, Some(first), false, &chunks).expect("made");
        wrote(&copy, "left");
        let mut next = Copy::default();
        next.make(&home, Some(first), true, &chunks).expect("made");
        assert_eq!(names(&home), ["a", "left"]);
        let second = next.snapshot(Some(first), &chunks).expect("a snapshot");
        let mut other = Copy::default();
        other.make(&home, Some(first), true, &chunks).expect("made");
        assert_eq!(names(&home), ["a"]);
        std::fs::remove_dir_all(&home).expect("removed");
        Copy::default().make(&home, Some(second), false, &chunks).expect("made");
        assert_eq!(names(&home), ["a", "left"]);
    }

    #[tokio::test]
    async fn copies_go_that_nothing_uses() {
        let directory = tempfile::tempdir().expect("a directory");
        let (host, chunks) = (host(directory.path()), MemoryChunks::default());
        let [used, idle, old, fresh] = [1, 2, 3, 4].map(id);
        let project = ProjectId::fresh(&Fresh::new(Timestamp::from_millis(5), 5));
        for id in [used, idle] {
            let mut copy = host.hold(project, id).await;
            copy.make(&host.home(id), None, false, &chunks).expect("made");
            if id == idle {
                copy.used = Instant::now().checked_sub(host.config.suspend);
            }
        }
        for id in [old, fresh] {
            std::fs::create_dir(host.home(id)).expect("made");
        }
        let long_ago = SystemTime::now() - host.config.suspend;
        std::fs::File::open(host.home(old)).and_then(|home| home.set_modified(long_ago)).expect("set");
        assert_eq!(host.sweep(), [SessionKey { project, session: idle.session() }]);
        let left = [used, idle, old, fresh].map(|id| host.home(id).exists());
        assert_eq!(left, [true, false, false, true]);
    }
}
