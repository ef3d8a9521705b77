//! Changing a workspace as a patch says.

use std::fmt;

use super::parse::{FileChange, Patch};
use super::place::{HunkError, apply_hunks};
use crate::{Directory, Error, ErrorKind, FilePath};

/// Bytes of a file that is patched.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a patch did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Files that are new.
    pub added: Vec<FilePath>,
    /// Files that were changed where they are.
    pub updated: Vec<FilePath>,
    /// Files that moved, from and to.
    pub moved: Vec<(FilePath, FilePath)>,
    /// Files that are gone.
    pub deleted: Vec<FilePath>,
}

/// Why a patch was not applied.
#[derive(Debug)]
pub enum PatchFailure {
    /// A hunk does not fit. Nothing was changed.
    Hunk(FilePath, HunkError),
    /// A file that is patched is not UTF-8 text. Nothing was changed.
    NotText(FilePath),
    /// A file that should be there is not, or the other way round. Nothing was changed.
    Refused(Error),
    /// The host failed while files were written. Those that were changed before have their old content again,
    /// except where that failed, too: these are listed.
    Interrupted(Error, Vec<FilePath>),
}

impl fmt::Display for PatchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hunk(path, error) => write!(f, "`{path}`, {error}"),
            Self::NotText(path) => write!(f, "`{path}`: not a text file in UTF-8"),
            Self::Refused(error) => error.fmt(f),
            Self::Interrupted(error, changed) => {
                error.fmt(f)?;
                changed.iter().try_for_each(|path| write!(f, "; `{path}` was changed already"))
            }
        }
    }
}

impl std::error::Error for PatchFailure {}

/// Applies all of a patch or nothing of it.
///
/// Every file is read, every hunk placed and every name checked before the first file is written. What can go
/// wrong after that is the host: then what was written is taken back. Programs that run in the workspace
/// meanwhile may see some of it.
///
/// # Errors
/// Where it does not fit, in words that help whoever wrote the patch.
pub fn apply(patch: &Patch, directory: &Directory) -> Result<Applied, PatchFailure> {
    let mut steps = Vec::new();
    let mut removals = Vec::new();
    let mut applied = Applied::default();
    for change in &patch.changes {
        match change {
            FileChange::Add { path, text } => {
                absent(directory, path)?;
                steps.push(Step::Write { path, old: None, new: text.clone().into_bytes() });
                applied.added.push(path.clone());
            }
            FileChange::Delete { path } => {
                removals.push(Step::Remove { path, old: read(directory, path)? });
                applied.deleted.push(path.clone());
            }
            FileChange::Update { path, to, hunks } => {
                let old = read(directory, path)?;
                let text = std::str::from_utf8(&old).map_err(|_| PatchFailure::NotText(path.clone()))?;
                let new =
                    apply_hunks(text, hunks).map_err(|error| PatchFailure::Hunk(path.clone(), error))?;
                let end = to.as_ref().unwrap_or(path);
                if let Some(to) = to {
                    absent(directory, to)?;
                    // Renamed and not made anew, so that it keeps its mode.
                    steps.push(Step::Rename { from: path, to });
                    applied.moved.push((path.clone(), to.clone()));
                } else {
                    applied.updated.push(path.clone());
                }
                steps.push(Step::Write { path: end, new: new.into_bytes(), old: Some(old) });
            }
        }
    }
    steps.append(&mut removals);
    for (index, step) in steps.iter().enumerate() {
        if let Err(error) = step.run(directory) {
            let back = steps[..index].iter().rev();
            let failed = back.filter(|step| step.undo(directory).is_err());
            return Err(PatchFailure::Interrupted(error, failed.map(|step| step.path().clone()).collect()));
        }
    }
    Ok(applied)
}

/// One change of the workspace.
enum Step<'a> {
    Rename { from: &'a FilePath, to: &'a FilePath },
    Write { path: &'a FilePath, old: Option<Vec<u8>>, new: Vec<u8> },
    Remove { path: &'a FilePath, old: Vec<u8> },
}

impl Step<'_> {
    fn run(&self, directory: &Directory) -> Result<(), Error> {
        match self {
            Self::Rename { from, to } => directory.rename(from, to),
            Self::Write { path, new, .. } => directory.write(path, new),
            Self::Remove { path, .. } => directory.remove(path),
        }
    }

    fn undo(&self, directory: &Directory) -> Result<(), Error> {
        match self {
            Self::Rename { from, to } => directory.rename(to, from),
            Self::Write { path, old: Some(old), .. } | Self::Remove { path, old } => {
                directory.write(path, old)
            }
            Self::Write { path, old: None, .. } => directory.remove(path),
        }
    }

    fn path(&self) -> &FilePath {
        match self {
            Self::Rename { from: path, .. } | Self::Write { path, .. } | Self::Remove { path, .. } => path,
        }
    }
}

fn read(directory: &Directory, path: &FilePath) -> Result<Vec<u8>, PatchFailure> {
    directory.read(path, FILE_BYTES_MAX).map_err(PatchFailure::Refused)
}

/// That nothing is at `path`, and that it could be.
fn absent(directory: &Directory, path: &FilePath) -> Result<(), PatchFailure> {
    match directory.stat(path) {
        Ok(_) => Err(PatchFailure::Refused(Error::new(ErrorKind::Exists).at(path))),
        Err(error) if *error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PatchFailure::Refused(error)),
    }
}
