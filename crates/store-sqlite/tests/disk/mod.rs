//! A disk that forgets what was never synced.
//!
//! Content is durable after a sync of its file, and a file's name only after a sync of the directory,
//! which is all that POSIX promises. A cut drops the rest, or keeps parts of it: a disk may have written
//! anything it was given, in any order, and the last piece in part.

mod mount;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use fastrand::Rng;

pub(crate) use mount::{Mounted, say_not_run, unavailable};

/// What one device writes whole.
const SECTOR_BYTES: usize = 512;

/// What is on a disk that has no power.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// Writes its files to an ordinary directory.
    pub(crate) fn write_to(&self, directory: &Path) -> io::Result<()> {
        self.files.iter().try_for_each(|(name, content)| fs::write(directory.join(name), content))
    }
}

/// What a cut keeps of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing.
    Nothing,
    /// The first changes of each file, the last of them torn.
    Prefix,
    /// Any sectors of any changes.
    Scattered,
}

/// A disk in use.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct State {
    /// Names as they are seen, and as they are durable.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    files: HashMap<u64, File>,
    last_inode: u64,
    power: Power,
    syncs: Syncs,
    /// Bytes that fit on it.
    capacity: usize,
    rng: Rng,
}

#[derive(Debug, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// INVARIANT: `durable` after these is `seen`.
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

#[derive(Debug)]
enum Power {
    /// On for good.
    On,
    /// On for so many more changes.
    Until(usize, Keep),
    /// Gone, and what is left.
    Off(Image),
}

/// What a sync does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// It makes durable.
    Honest,
    /// That of a file reports success and does nothing.
    Lying,
    /// It reports failure and does nothing.
    Failing,
}

/// Why a change was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoSuchFile,
    Exists,
    Full,
    Broken,
}

impl Disk {
    pub(crate) fn new(image: &Image, seed: u64) -> Self {
        let mut state = State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            files: HashMap::new(),
            last_inode: 1,
            power: Power::On,
            syncs: Syncs::Honest,
            capacity: usize::MAX,
            rng: Rng::with_seed(seed),
        };
        for (name, content) in &image.files {
            state.last_inode += 1;
            let file = File { seen: content.clone(), durable: content.clone(), unsynced: Vec::new() };
            state.files.insert(state.last_inode, file);
            state.names.insert(name.clone(), state.last_inode);
        }
        state.durable_names = state.names.clone();
        Self(Arc::new(Mutex::new(state)))
    }

    /// Cuts the power at the change after `changes` more.
    pub(crate) fn cut_after(self, changes: usize, keep: Keep) -> Self {
        self.lock().power = Power::Until(changes, keep);
        self
    }

    pub(crate) fn set_syncs(&self, syncs: Syncs) {
        self.lock().syncs = syncs;
    }

    /// Leaves room for `bytes` more.
    pub(crate) fn leave_room(&self, bytes: usize) {
        let mut state = self.lock();
        state.capacity = state.used().saturating_add(bytes);
    }

    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.lock().power, Power::Off(_))
    }

    /// What is left after the cut; without one, what a cut now would leave at least.
    pub(crate) fn image(&self) -> Image {
        let mut state = self.lock();
        match &state.power {
            Power::Off(image) => image.clone(),
            Power::On | Power::Until(..) => state.survivors(Keep::Nothing),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn inode(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.names.iter()
    }

    pub(crate) fn content(&self, inode: u64) -> Option<&[u8]> {
        self.files.get(&inode).map(|file| &file.seen[..])
    }

    pub(crate) fn create(&mut self, name: &str) -> Result<u64, Refusal> {
        self.change(None)?;
        self.last_inode += 1;
        self.files.insert(self.last_inode, File::default());
        self.names.insert(name.to_owned(), self.last_inode);
        Ok(self.last_inode)
    }

    pub(crate) fn unlink(&mut self, name: &str) -> Result<(), Refusal> {
        self.change(None)?;
        self.names.remove(name).map(|_| ()).ok_or(Refusal::NoSuchFile)
    }

    /// Replaces what has the new name, as a whole.
    pub(crate) fn rename(&mut self, old: &str, new: &str) -> Result<(), Refusal> {
        self.change(None)?;
        let inode = self.names.remove(old).ok_or(Refusal::NoSuchFile)?;
        self.names.insert(new.to_owned(), inode);
        Ok(())
    }

    /// Gives a file another name, which nothing may have.
    pub(crate) fn link(&mut self, inode: u64, new: &str) -> Result<(), Refusal> {
        self.change(None)?;
        if self.names.contains_key(new) {
            return Err(Refusal::Exists);
        }
        self.names.insert(new.to_owned(), inode);
        Ok(())
    }

    pub(crate) fn write(&mut self, inode: u64, offset: usize, data: &[u8]) -> Result<(), Refusal> {
        self.alter(inode, Change::Write(offset, data.to_vec()))
    }

    pub(crate) fn resize(&mut self, inode: u64, len: usize) -> Result<(), Refusal> {
        self.alter(inode, Change::Resize(len))
    }

    fn alter(&mut self, inode: u64, change: Change) -> Result<(), Refusal> {
        self.change(None)?;
        let others = self.used() - self.content(inode).map_or(0, <[u8]>::len);
        let capacity = self.capacity;
        let file = self.files.get_mut(&inode).ok_or(Refusal::NoSuchFile)?;
        if change.end() > file.seen.len() && others.saturating_add(change.end()) > capacity {
            return Err(Refusal::Full);
        }
        change.apply(&mut file.seen);
        file.unsynced.push(change);
        Ok(())
    }

    pub(crate) fn sync(&mut self, inode: u64) -> Result<(), Refusal> {
        self.change(Some(inode))?;
        let file = self.files.get_mut(&inode).ok_or(Refusal::NoSuchFile)?;
        match self.syncs {
            Syncs::Honest => {
                file.durable.clone_from(&file.seen);
                file.unsynced.clear();
                Ok(())
            }
            Syncs::Lying => Ok(()),
            Syncs::Failing => Err(Refusal::Broken),
        }
    }

    pub(crate) fn sync_names(&mut self) -> Result<(), Refusal> {
        self.change(None)?;
        match self.syncs {
            Syncs::Honest | Syncs::Lying => self.durable_names.clone_from(&self.names),
            Syncs::Failing => return Err(Refusal::Broken),
        }
        Ok(())
    }

    /// Counts a change, and cuts the power instead of making it when its turn has come. A sync that is cut
    /// may have synced all of its file.
    fn change(&mut self, syncing: Option<u64>) -> Result<(), Refusal> {
        match self.power {
            Power::On => Ok(()),
            Power::Off(_) => Err(Refusal::Broken),
            Power::Until(0, keep) => {
                if let Some(file) = syncing.and_then(|inode| self.files.get_mut(&inode))
                    && self.syncs == Syncs::Honest
                    && self.rng.bool()
                {
                    file.durable.clone_from(&file.seen);
                    file.unsynced.clear();
                }
                self.power = Power::Off(self.survivors(keep));
                Err(Refusal::Broken)
            }
            Power::Until(left, keep) => {
                self.power = Power::Until(left - 1, keep);
                Ok(())
            }
        }
    }

    fn used(&self) -> usize {
        self.names.values().map(|inode| self.files[inode].seen.len()).sum()
    }

    fn survivors(&mut self, keep: Keep) -> Image {
        let renamed = keep != Keep::Nothing && self.rng.bool();
        let names = if renamed { &self.names } else { &self.durable_names };
        let rng = &mut self.rng;
        let files = names.iter().map(|(name, inode)| (name.clone(), self.files[inode].survivor(keep, rng)));
        Image { files: files.collect() }
    }
}

impl File {
    fn survivor(&self, keep: Keep, rng: &mut Rng) -> Vec<u8> {
        let mut content = self.durable.clone();
        match keep {
            Keep::Nothing => {}
            Keep::Prefix => {
                let whole = rng.usize(..=self.unsynced.len());
                self.unsynced[..whole].iter().for_each(|change| change.apply(&mut content));
                if let Some(Change::Write(offset, data)) = self.unsynced.get(whole) {
                    let sectors = rng.usize(..=data.len() / SECTOR_BYTES);
                    let torn = data[..sectors * SECTOR_BYTES].to_vec();
                    Change::Write(*offset, torn).apply(&mut content);
                }
            }
            Keep::Scattered => {
                for change in &self.unsynced {
                    change.scattered(&mut content, rng);
                }
            }
        }
        content
    }
}

impl Change {
    fn end(&self) -> usize {
        match self {
            Self::Write(offset, data) => offset + data.len(),
            Self::Resize(len) => *len,
        }
    }

    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(_, data) if data.is_empty() => {}
            Self::Write(offset, data) => {
                content.resize(content.len().max(self.end()), 0);
                content[*offset..self.end()].copy_from_slice(data);
            }
            Self::Resize(len) => content.resize(*len, 0),
        }
    }

    fn scattered(&self, content: &mut Vec<u8>, rng: &mut Rng) {
        match self {
            Self::Write(offset, data) => {
                for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                    if rng.bool() {
                        Self::Write(offset + index * SECTOR_BYTES, sector.to_vec()).apply(content);
                    }
                }
            }
            Self::Resize(_) if rng.bool() => self.apply(content),
            Self::Resize(_) => {}
        }
    }
}
