//! What is put into an environment before its setup commands run: files, skills, plugins; and the skills and plugins
//! that are found there afterwards.

use std::io::Read;

use bytes::Bytes;
use tenure_journal::{BlobRef, Capabilities, EnvironmentFile, InstalledSkill, SkillEntry, limit};
use tenure_skill::{Found, FoundPlugin, FoundSkill};
use tenure_store::StoreError;
use tenure_workspace::archive::{self, Format};
use tenure_workspace::{Directory, Error, FilePath};

use super::chunks::StoreChunks;
use super::files::WORKSPACE;
use super::host::limits;

/// Where installed skills are, each in a directory of its name. Clients cannot place files there; commands could
/// change what is there, and are told not to.
const SKILLS: &str = ".managed-agents/skills";
/// Where installed plugins are.
const PLUGINS: &str = ".managed-agents/plugins";

/// Why something cannot be put into an environment.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallError {
    /// The store cannot be reached: nothing is wrong with what was to be put there.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has lost it.
    #[error("its content is lost")]
    Lost,
    /// It cannot be where it is to be, or the host failed.
    #[error(transparent)]
    Files(#[from] Error),
}

/// Puts a file where it belongs, piece by piece.
pub(super) fn place(
    files: &Directory,
    chunks: &StoreChunks,
    file: &EnvironmentFile,
) -> Result<(), InstallError> {
    let at = below(&file.path)?;
    let pieces: Vec<BlobRef> = file.pieces().collect();
    let mut content = Pieces { chunks, left: pieces.into_iter(), piece: Bytes::new(), failure: None };
    let written = files.write_from(&at, &mut content);
    match content.failure {
        Some(failure) => Err(failure),
        None => Ok(written?),
    }
}

/// Unpacks skills and plugins, one after the other.
///
/// # Errors
/// The name of the one that could not be installed, and why.
pub(super) fn install(
    files: &Directory,
    chunks: &StoreChunks,
    capabilities: &Capabilities,
) -> Result<(), (String, InstallError)> {
    let skills = capabilities.skills.iter().map(|skill| (SKILLS, &skill.name, skill.archive));
    let plugins = capabilities.plugins.iter().map(|plugin| (PLUGINS, &plugin.name, plugin.archive));
    for (directory, name, blob) in skills.chain(plugins) {
        let unpack = || -> Result<(), InstallError> {
            let bytes = read(chunks, blob)?;
            archive::extract(Format::Zip, &bytes, files, &path(directory)?, &limits())?;
            Ok(())
        };
        unpack().map_err(|error| (name.clone(), error))?;
    }
    Ok(())
}

/// Unpacks the skills of `capabilities` that are not there yet.
///
/// # Errors
/// As [`install`].
pub(super) fn install_missing(
    files: &Directory,
    chunks: &StoreChunks,
    capabilities: &Capabilities,
) -> Result<(), (String, InstallError)> {
    let is_missing = |skill: &&InstalledSkill| {
        let manifest = path(&format!("{SKILLS}/{}/SKILL.md", skill.name));
        manifest.is_ok_and(|manifest| files.read(&manifest, tenure_skill::FILE_BYTES_MAX as u64).is_err())
    };
    let skills = capabilities.skills.iter().filter(is_missing).cloned().collect();
    install(files, chunks, &Capabilities { skills, ..Capabilities::default() })
}

/// The skills of an environment: installed ones, those of plugins, and those in the directories it names; and the
/// plugins, installed ones and those in the directories.
pub(super) fn find(
    files: &Directory,
    capabilities: &Capabilities,
) -> Result<(Vec<SkillEntry>, Vec<FoundPlugin>), Error> {
    if capabilities.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut roots = vec![path(SKILLS)?, path(PLUGINS)?];
    for directory in &capabilities.directories {
        roots.push(below(directory)?);
    }
    let Found { skills, mut plugins } =
        tenure_skill::find(files, WORKSPACE, &roots, limit::SKILLS_FOUND_MAX)?;
    // A skill is instructions, whatever else is packed with it.
    let skills_only = format!("{WORKSPACE}/{SKILLS}/");
    plugins.retain(|plugin| !plugin.directory.starts_with(&skills_only));
    let entry = |found: FoundSkill| {
        // A name that is no text cannot be told to a model.
        let path = std::str::from_utf8(found.path.as_bytes()).ok()?;
        Some(SkillEntry {
            name: found.manifest.name().to_owned(),
            description: found.manifest.description().to_owned(),
            path: format!("{WORKSPACE}/{path}"),
        })
    };
    Ok((skills.into_iter().filter_map(entry).collect(), plugins))
}

/// A path below the workspace, which clients give absolute.
fn below(absolute: &str) -> Result<FilePath, Error> {
    path(absolute.strip_prefix(WORKSPACE).unwrap_or(absolute).trim_matches('/'))
}

fn path(text: &str) -> Result<FilePath, Error> {
    Ok(FilePath::parse(text.as_bytes())?)
}

fn read(chunks: &StoreChunks, blob: BlobRef) -> Result<Bytes, InstallError> {
    chunks.payload(blob)?.ok_or(InstallError::Lost)
}

/// The content of a file, of which one piece at a time is in memory.
struct Pieces<'a> {
    chunks: &'a StoreChunks,
    left: std::vec::IntoIter<BlobRef>,
    piece: Bytes,
    /// What the reader's error stands for.
    failure: Option<InstallError>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            let Some(next) = self.left.next() else { return Ok(0) };
            match read(self.chunks, next) {
                Ok(piece) => self.piece = piece,
                Err(failure) => {
                    self.failure = Some(failure);
                    return Err(std::io::Error::other("a piece of the file cannot be read"));
                }
            }
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tenure_journal::{Fresh, InstalledPlugin, ProjectId, Timestamp};
    use tenure_skill::{Bundle, Kind};
    use tenure_store::{MemoryStore, Store};
    use tenure_workspace::Place;
    use tokio::runtime::Handle;

    use super::*;

    const SKILL: &str = "---\nname: sum\ndescription: Adds.\n---\n";

    /// Runs `work` where it may block, with an empty environment and a store that holds `payloads`.
    async fn with(
        payloads: &[&[u8]],
        work: impl FnOnce(&Directory, &StoreChunks, &[BlobRef]) + Send + 'static,
    ) {
        let home = tempfile::tempdir().expect("a directory");
        let files =
            Place::open(&home.path().join("env")).and_then(|place| place.files()).expect("an environment");
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let project = ProjectId::fresh(&Fresh::new(Timestamp::from_millis(5), 1));
        let mut blobs = Vec::new();
        for payload in payloads {
            blobs.push(store.put_blob(project, Bytes::copy_from_slice(payload)).await.expect("kept"));
        }
        let chunks = StoreChunks::new(store, project, Handle::current());
        tokio::task::spawn_blocking(move || work(&files, &chunks, &blobs)).await.expect("no panic");
        drop(home);
    }

    fn content(files: &Directory, at: &str) -> Option<String> {
        let bytes = files.read(&path(at).expect("a path"), 1_000).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn a_file_is_put_together_from_its_pieces_or_not_there() {
        with(&[b"one, ", b"", b"two"], |files, chunks, blobs| {
            let mut file = EnvironmentFile::inline("/workspace/in/a.txt".to_owned(), blobs[0]);
            file.rest = blobs[1..].to_vec();
            place(files, chunks, &file).expect("placed");
            assert_eq!(content(files, "in/a.txt").as_deref(), Some("one, two"));
            file.rest.push(BlobRef::of(b"never kept"));
            assert!(matches!(place(files, chunks, &file), Err(InstallError::Lost)));
            assert_eq!(
                content(files, "in/a.txt").as_deref(),
                Some("one, two"),
                "the old file or the new one"
            );
            let blocked = EnvironmentFile::inline("/workspace/in/a.txt/b".to_owned(), blobs[0]);
            assert!(matches!(place(files, chunks, &blocked), Err(InstallError::Files(_))));
        })
        .await;
    }

    #[tokio::test]
    async fn skills_and_plugins_are_unpacked_and_found() {
        let skill = vec![("x/SKILL.md".to_owned(), SKILL.into())];
        let skill = Bundle::from_files(Kind::Skill, skill).expect("a skill").to_zip();
        let plugin = vec![
            (
                "p/.codex-plugin/plugin.json".to_owned(),
                br#"{"name":"maths","description":"Counts."}"#.to_vec(),
            ),
            ("p/skills/tax/SKILL.md".to_owned(), SKILL.replace("sum", "tax").into()),
        ];
        let plugin = Bundle::from_files(Kind::Plugin, plugin).expect("a plugin").to_zip();
        with(&[&skill, &plugin, b"no zip"], |files, chunks, blobs| {
            let installed = |name: &str, archive| InstalledSkill {
                name: name.to_owned(),
                description: "Adds.".to_owned(),
                archive,
                stored: None,
                follows: None,
            };
            let mut capabilities = Capabilities {
                skills: vec![installed("sum", blobs[0])],
                plugins: vec![InstalledPlugin {
                    name: "maths".to_owned(),
                    description: "Counts.".to_owned(),
                    archive: blobs[1],
                }],
                directories: vec!["/workspace/repo".to_owned(), "/workspace".to_owned()],
                ..Capabilities::default()
            };
            files
                .write(&path("repo/own/SKILL.md").expect("a path"), SKILL.replace("sum", "own").as_bytes())
                .expect("written");
            install(files, chunks, &capabilities).expect("installed");
            // Installing again, after a crash for instance, changes nothing.
            install(files, chunks, &capabilities).expect("installed");
            let (found, _) = find(files, &capabilities).expect("searched");
            let told: Vec<String> =
                found.iter().map(|skill| format!("{} {}", skill.name, skill.path)).collect();
            assert_eq!(
                told,
                [
                    "sum /workspace/.managed-agents/skills/sum/SKILL.md",
                    "tax /workspace/.managed-agents/plugins/maths/skills/tax/SKILL.md",
                    "own /workspace/repo/own/SKILL.md",
                ]
            );
            for (archive, name) in [(blobs[2], "damaged"), (BlobRef::of(b"never kept"), "lost")] {
                capabilities.skills.push(installed(name, archive));
                let (what, error) = install(files, chunks, &capabilities).expect_err("refused");
                capabilities.skills.pop();
                assert_eq!((what.as_str(), matches!(error, InstallError::Lost)), (name, name == "lost"));
            }
            assert_eq!(find(files, &Capabilities::default()).expect("searched"), (vec![], vec![]));
        })
        .await;
    }
}
