//! Skills on a customer's machine: looked for in the directories that the environment names, through its executor,
//! by the rules that hold in hosted environments.

use std::collections::BTreeSet;
use std::path::Path;

use tenure_executor::harness::{CallErrorKind, Remote};
use tenure_executor::location::Location;
use tenure_executor::protocol::files::{Metadata, Walk, WalkKind, WalkOptions};
use tenure_journal::{Failure, FailureKind, SkillEntry, limit};
use tenure_skill::{Manifest, read_skill};

use super::remote::failure;
use super::run::failed;

/// What makes a directory a skill.
const MANIFEST: &str = "SKILL.md";
/// Directories below a searched one that are looked into.
const DEPTH_MAX: usize = 6;
/// Directories that one search looks into.
const DIRECTORIES_MAX: usize = 2_000;
/// Entries that one search looks at.
const ENTRIES_MAX: usize = 20_000;
/// Bytes of a `SKILL.md` that is read: it all goes through the executor's connection.
const BYTES_MAX: u64 = 1024 * 1024;

/// The skills in `directories` and below, each once, in the order of the directories and then of their paths. A
/// directory that does not exist has none, and a `SKILL.md` that is wrong is passed over.
pub(super) async fn find(remote: &Remote, directories: &[String]) -> Result<Vec<SkillEntry>, Failure> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for directory in directories {
        for path in manifests(remote, directory).await? {
            if found.len() >= limit::SKILLS_FOUND_MAX {
                return Ok(found);
            }
            if seen.insert(path.clone())
                && let Some(manifest) = manifest(remote, &path).await?
            {
                found.push(SkillEntry {
                    name: manifest.name().to_owned(),
                    description: manifest.description().to_owned(),
                    path,
                });
            }
        }
    }
    Ok(found)
}

/// Where the `SKILL.md`s are: none below another, for what is below a skill is part of it.
async fn manifests(remote: &Remote, directory: &str) -> Result<Vec<String>, Failure> {
    let options = WalkOptions {
        max_depth: DEPTH_MAX + 1,
        max_directories: DIRECTORIES_MAX,
        max_entries: ENTRIES_MAX,
        follow_directory_symlinks: false,
    };
    let walk = Walk { path: location(directory)?, options, sandbox: None };
    let Some(walked) = there(remote.call(&walk).await)? else { return Ok(Vec::new()) };
    let files = walked.entries.into_iter().filter(|entry| entry.kind == WalkKind::File);
    // A name that is no text cannot be told to a model.
    let mut paths: Vec<String> = files
        .filter_map(|entry| entry.path.to_path().ok()?.into_os_string().into_string().ok())
        .filter(|path| Path::new(path).file_name().is_some_and(|name| name == MANIFEST))
        .collect();
    paths.sort();
    Ok(outermost(paths))
}

/// The paths whose directory is below that of none of the others. They come sorted.
fn outermost(paths: Vec<String>) -> Vec<String> {
    let directories: BTreeSet<String> =
        paths.iter().filter_map(|path| Some(Path::new(path).parent()?.to_str()?.to_owned())).collect();
    let is_inner = |path: &String| {
        let mut above = Path::new(path).ancestors().skip(2);
        above.any(|above| above.to_str().is_some_and(|above| directories.contains(above)))
    };
    paths.into_iter().filter(|path| !is_inner(path)).collect()
}

async fn manifest(remote: &Remote, path: &str) -> Result<Option<Manifest>, Failure> {
    let at = location(path)?;
    let metadata = there(remote.call(&Metadata { path: at.clone(), sandbox: None }).await)?;
    if metadata.is_none_or(|metadata| metadata.size > BYTES_MAX) {
        return Ok(None);
    }
    let text = there(remote.read_file(at).await)?;
    Ok(text.and_then(|text| read_skill(&text).ok()))
}

fn location(path: &str) -> Result<Location, Failure> {
    Location::from_path(Path::new(path))
        .map_err(|error| failed(FailureKind::InvalidRequest, error.to_string()))
}

/// An answer of the executor; nothing where it says that there is none.
fn there<T>(answer: Result<T, tenure_executor::harness::CallError>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.kind {
            CallErrorKind::Refused { .. } => Ok(None),
            CallErrorKind::Disconnected
            | CallErrorKind::Interrupted
            | CallErrorKind::TimedOut
            | CallErrorKind::Lost
            | CallErrorKind::Protocol => Err(failure(&error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_skill_is_part_of_it() {
        let paths = [
            "/s/a/SKILL.md",
            "/s/a/more/SKILL.md",
            "/s/ab/SKILL.md",
            "/s/b/c/SKILL.md",
            "/s/b/c/d/e/SKILL.md",
        ];
        let kept = outermost(paths.map(str::to_owned).to_vec());
        assert_eq!(kept, ["/s/a/SKILL.md", "/s/ab/SKILL.md", "/s/b/c/SKILL.md"]);
        assert_eq!(outermost(vec!["/SKILL.md".to_owned(), "/x/SKILL.md".to_owned()]), ["/SKILL.md"]);
    }
}
