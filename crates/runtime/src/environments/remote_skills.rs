//! Skills and plugins on a customer's machine: looked for in the directories that the environment names, through its
//! executor, by the rules that hold in hosted environments.

use std::collections::BTreeSet;
use std::path::Path;

use tenure_executor::harness::{CallErrorKind, Remote};
use tenure_executor::location::Location;
use tenure_executor::protocol::files::{Metadata, Walk, WalkKind, WalkOptions};
use tenure_journal::{Failure, FailureKind, SkillEntry, limit};
use tenure_skill::{FoundPlugin, Kind, Manifest, PLUGINS_FOUND_MAX, read_skill};

use super::remote::failure;
use super::remote_plugins;
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

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) skills: Vec<SkillEntry>,
    pub(super) plugins: Vec<FoundPlugin>,
}

/// The skills and plugins in `directories` and below, each once, in the order of the directories and then of their
/// paths. A directory that does not exist has none, and a `SKILL.md` that is wrong is passed over.
pub(super) async fn find(remote: &Remote, directories: &[String]) -> Result<Found, Failure> {
    let (mut found, mut seen) = (Found::default(), BTreeSet::new());
    for directory in directories {
        let there = manifests(remote, directory).await?;
        for path in there.skills {
            if found.skills.len() < limit::SKILLS_FOUND_MAX
                && seen.insert(path.clone())
                && let Some(manifest) = manifest(remote, &path).await?
            {
                found.skills.push(SkillEntry {
                    name: manifest.name().to_owned(),
                    description: manifest.description().to_owned(),
                    path,
                });
            }
        }
        for directory in there.plugins {
            if found.plugins.len() < PLUGINS_FOUND_MAX && seen.insert(directory.clone()) {
                let plugin = remote_plugins::read(remote, &directory).await?;
                found.plugins.push(FoundPlugin { directory, plugin });
            }
        }
    }
    Ok(found)
}

/// Where something says what it is.
struct Manifests {
    /// The `SKILL.md`s: none below another, for what is below a skill is part of it.
    skills: Vec<String>,
    /// The directories of plugins: none below another, and none below a skill.
    plugins: Vec<String>,
}

async fn manifests(remote: &Remote, directory: &str) -> Result<Manifests, Failure> {
    let options = WalkOptions {
        max_depth: DEPTH_MAX + 1,
        max_directories: DIRECTORIES_MAX,
        max_entries: ENTRIES_MAX,
        follow_directory_symlinks: false,
    };
    let walk = Walk { path: location(directory)?, options, sandbox: None };
    let walked = there(remote.call(&walk).await)?.unwrap_or_default();
    let files = walked.entries.into_iter().filter(|entry| entry.kind == WalkKind::File);
    // A name that is no text cannot be told to a model.
    let paths: Vec<String> =
        files.filter_map(|entry| entry.path.to_path().ok()?.into_os_string().into_string().ok()).collect();
    Ok(sorted_out(&paths))
}

/// What makes a directory a skill or a plugin, among the paths of files.
fn sorted_out(paths: &[String]) -> Manifests {
    let is_skill = |path: &&String| Path::new(path).file_name().is_some_and(|name| name == MANIFEST);
    let mut skills: Vec<String> = paths.iter().filter(is_skill).cloned().collect();
    skills.sort();
    let plugin = |path: &String| {
        let directory = path.strip_suffix(Kind::Plugin.manifest_path())?.strip_suffix('/')?;
        Some(if directory.is_empty() { "/".to_owned() } else { directory.to_owned() })
    };
    let mut plugins: Vec<String> = paths.iter().filter_map(plugin).collect();
    plugins.sort();
    let skills = outermost(skills);
    let of_skills: BTreeSet<&Path> = skills.iter().filter_map(|path| Path::new(path).parent()).collect();
    let of_plugins: BTreeSet<String> = plugins.iter().cloned().collect();
    plugins.retain(|directory| {
        let mut above = Path::new(directory).ancestors().skip(1);
        !above.any(|above| {
            of_skills.contains(above) || above.to_str().is_some_and(|above| of_plugins.contains(above))
        })
    });
    Manifests { skills, plugins }
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

pub(super) fn location(path: &str) -> Result<Location, Failure> {
    Location::from_path(Path::new(path))
        .map_err(|error| failed(FailureKind::InvalidRequest, error.to_string()))
}

/// An answer of the executor; nothing where it says that there is none.
pub(super) fn there<T>(answer: Result<T, tenure_executor::harness::CallError>) -> Result<Option<T>, Failure> {
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

    #[test]
    fn what_is_below_a_plugin_or_a_skill_is_no_other_plugin() {
        let paths = [
            "/p/.codex-plugin/plugin.json",
            "/p/skills/s/SKILL.md",
            "/p/skills/s/.codex-plugin/plugin.json",
            "/p/inner/.codex-plugin/plugin.json",
            "/pq/.codex-plugin/plugin.json",
            "/q/x.codex-plugin/plugin.json",
            "/r/.codex-plugin/plugin.json.bak",
        ];
        let Manifests { skills, plugins } = sorted_out(&paths.map(str::to_owned));
        assert_eq!((skills.join(" "), plugins.join(" ")), ("/p/skills/s/SKILL.md".into(), "/p /pq".into()));
        let root = ["/.codex-plugin/plugin.json".to_owned(), "/p/.codex-plugin/plugin.json".to_owned()];
        assert_eq!(sorted_out(&root).plugins, ["/"]);
    }
}
