//! Skills of a project: `skills/<name>/` for every agent, `agents/<agent>/skills/<name>/` for one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use tenure_journal::{BlobRef, InstalledSkill, limit};
use tenure_skill::{BUNDLE_BYTES_MAX, Bundle, DEPTH_MAX, ErrorKind, FILES_MAX, Kind};

use crate::agent_file::ProjectAgent;
use crate::node::Node;
use crate::problem::{Code, Place, Report, nearest, quote};

/// Where every agent's skills are.
pub(crate) const SKILLS_DIRECTORY: &str = "skills";

/// A skill as its folder has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectSkill {
    /// Its name: the folder's name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its files as a zip: one directory, named like the skill. Equal folders make equal zips.
    pub archive: Arc<[u8]>,
    /// The folder, relative to the project directory.
    pub source: String,
}

impl ProjectSkill {
    /// The skill as an agent's configuration names it. Whoever uses that must have kept the archive.
    #[must_use]
    pub fn installed(&self) -> InstalledSkill {
        InstalledSkill {
            name: self.name.clone(),
            description: self.description.clone(),
            archive: BlobRef::of(&self.archive),
            stored: None,
            follows: None,
        }
    }
}

/// The names that an agent's `skills` gives, with their places.
pub(crate) fn names(node: &Node, report: &Report) -> Vec<(String, Place)> {
    let nodes = node.list("`skills`", report).unwrap_or_default();
    if nodes.len() > limit::SKILLS_INSTALLED_MAX {
        let message = format!("`skills` has more than {} names", limit::SKILLS_INSTALLED_MAX);
        report.error(Code::TooLarge, node.at, message);
        return Vec::new();
    }
    let mut names: Vec<(String, Place)> = Vec::new();
    for node in nodes {
        let Some(name) = node.filled("a skill", report) else { continue };
        if names.iter().any(|(known, _)| known == name) {
            report.error(Code::Duplicate, node.at, format!("the skill {} is named twice", quote(name)));
            continue;
        }
        names.push((name.to_owned(), node.at));
    }
    names
}

/// Gives an agent the skills it names: its own before those of every agent.
pub(crate) fn resolve(
    agent: &mut ProjectAgent,
    own: &BTreeMap<String, ProjectSkill>,
    shared: &BTreeMap<String, ProjectSkill>,
    report: &Report,
) {
    for (name, at) in &agent.skill_names {
        if let Some(skill) = own.get(name).or_else(|| shared.get(name)) {
            agent.skills.push(skill.clone());
            continue;
        }
        let known: Vec<&str> = own.keys().chain(shared.keys()).map(String::as_str).collect();
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write it: `{SKILLS_DIRECTORY}/{name}/SKILL.md`"),
        };
        report.hinted(Code::Reference, *at, format!("there is no skill {}", quote(name)), hint);
    }
}

/// Reads the skill whose folder is `source`.
pub(crate) fn read(root: &Path, source: &str, report: &Report) -> Option<ProjectSkill> {
    let mut files = Vec::new();
    let mut folder = Folder { files: &mut files, left: BUNDLE_BYTES_MAX, report };
    folder.read(&root.join(source), "", 0)?;
    let bundle = match Bundle::from_files(Kind::Skill, files) {
        Ok(bundle) => bundle,
        Err(error) => {
            let code = match error.kind() {
                ErrorKind::TooLarge => Code::TooLarge,
                ErrorKind::Archive => Code::Unsupported,
                ErrorKind::Manifest => Code::FrontMatter,
            };
            report.error(code, Place::default(), error.to_string());
            return None;
        }
    };
    let name = bundle.manifest().name().to_owned();
    let folder = source.rsplit('/').next().unwrap_or(source);
    if name != folder {
        let message = format!("the skill is named {} and its folder is not", quote(&name));
        report.hinted(Code::Name, Place::default(), message, "give both the same name");
        return None;
    }
    Some(ProjectSkill {
        name,
        description: bundle.manifest().description().to_owned(),
        archive: bundle.to_zip().into(),
        source: source.to_owned(),
    })
}

/// A folder that is being read, within the limits of a bundle.
struct Folder<'a> {
    files: &'a mut Vec<(String, Vec<u8>)>,
    left: usize,
    report: &'a Report,
}

impl Folder<'_> {
    /// Reads the directory at `path`, which is `prefix` below the folder. Nothing if something was reported.
    fn read(&mut self, path: &Path, prefix: &str, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return self.refuse(Code::TooLarge, &format!("{prefix} is deeper than {DEPTH_MAX} directories"));
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(prefix, &error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.unreadable(prefix, &error),
            };
            let Ok(name) = entry.file_name().into_string() else {
                return self.refuse(Code::Encoding, "the name of one of its files is not UTF-8");
            };
            let below = format!("{prefix}{name}");
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) => return self.unreadable(&below, &error),
            };
            if kind.is_dir() {
                // What a version control system keeps there is none of the skill's.
                if name != ".git" {
                    self.read(&entry.path(), &format!("{below}/"), depth + 1)?;
                }
            } else if kind.is_file() {
                self.file(&entry.path(), below)?;
            } else {
                let message = format!("`{below}` is a link or no regular file; put the file itself there");
                return self.refuse(Code::Unsupported, &message);
            }
        }
        Some(())
    }

    fn file(&mut self, path: &Path, below: String) -> Option<()> {
        if self.files.len() >= FILES_MAX {
            return self.refuse(Code::TooLarge, &format!("the skill has more than {FILES_MAX} files"));
        }
        let mut bytes = Vec::new();
        let read =
            fs::File::open(path).and_then(|file| file.take(self.left as u64 + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return self.unreadable(&below, &error);
        }
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            return self.refuse(Code::TooLarge, &format!("the skill has more than {BUNDLE_BYTES_MAX} bytes"));
        };
        self.left = left;
        self.files.push((below, bytes));
        Some(())
    }

    fn unreadable(&self, below: &str, error: &std::io::Error) -> Option<()> {
        self.refuse(Code::Unreadable, &format!("`{below}` cannot be read: {}", crate::load::reason(error)))
    }

    fn refuse(&self, code: Code, message: &str) -> Option<()> {
        self.report.error(code, Place::default(), message.to_owned());
        None
    }
}
