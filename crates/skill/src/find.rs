//! Finding the skills that are in an environment.

use std::collections::BTreeSet;

use tenure_workspace::{Directory, Error, ErrorKind, FilePath, FoundKind};

use crate::manifest::read_skill;
use crate::{FILE_BYTES_MAX, Kind, Manifest};

/// Directories below a searched one that are looked into: a plugin's skills are four deep.
const SEARCH_DEPTH_MAX: usize = 6;
/// Directories that one search looks into.
const SEARCHED_MAX: usize = 2_000;
/// Entries of one directory that are looked at.
const ENTRIES_MAX: usize = 1_000;

/// A skill in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Its `SKILL.md`.
    pub path: FilePath,
}

/// Skills in the directories `roots` and below, each once, in the order of the roots and then of their paths; at most
/// `most`.
///
/// A directory with a `SKILL.md` is a skill, and is not looked into further; one whose `SKILL.md` is wrong is left
/// out, as are links and roots that do not exist.
///
/// # Errors
/// `Io`: the host failed.
pub fn find(files: &Directory, roots: &[FilePath], most: usize) -> Result<Vec<Found>, Error> {
    let mut search = Search { files, most, found: Vec::new(), seen: BTreeSet::new() };
    for root in roots {
        search.directory(root, 0)?;
    }
    Ok(search.found)
}

struct Search<'a> {
    files: &'a Directory,
    most: usize,
    found: Vec<Found>,
    seen: BTreeSet<FilePath>,
}

impl Search<'_> {
    fn directory(&mut self, at: &FilePath, depth: usize) -> Result<(), Error> {
        if self.found.len() >= self.most
            || self.seen.len() >= SEARCHED_MAX
            || depth > SEARCH_DEPTH_MAX
            || !self.seen.insert(at.clone())
        {
            return Ok(());
        }
        let path = at.join(Kind::Skill.manifest_path().as_bytes())?;
        match self.files.read(&path, FILE_BYTES_MAX as u64) {
            Ok(text) => {
                if let Ok(manifest) = read_skill(&text) {
                    self.found.push(Found { manifest, path });
                }
                return Ok(());
            }
            Err(error) if is_elsewhere(&error) => {}
            Err(error) => return Err(error),
        }
        let page = match self.files.list(at, None, ENTRIES_MAX) {
            Ok(page) => page,
            Err(error) if is_elsewhere(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in page.found {
            match entry.kind {
                FoundKind::Directory => self.directory(&entry.path, depth + 1)?,
                FoundKind::File | FoundKind::Link | FoundKind::Special => {}
            }
        }
        Ok(())
    }
}

/// Whether an error is about what is there, and not about the host.
fn is_elsewhere(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::Exists
        | ErrorKind::NotADirectory
        | ErrorKind::NotAFile
        | ErrorKind::Link
        | ErrorKind::Path(_)
        | ErrorKind::Limit(_) => true,
        ErrorKind::Missing(_)
        | ErrorKind::Corrupt(_)
        | ErrorKind::Manifest(_)
        | ErrorKind::Archive(_)
        | ErrorKind::Busy
        | ErrorKind::Chunks
        | ErrorKind::Io => false,
    }
}
