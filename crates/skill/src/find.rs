//! Finding the skills and the plugins that are in an environment.

use std::collections::BTreeSet;

use tenure_workspace::{Directory, Error, ErrorKind, FilePath, FoundKind};

use crate::manifest::{read_plugin, read_skill};
use crate::servers::{NamedServers, NotRead, SERVERS_FILE, ServersAt, read_servers, servers_at};
use crate::{FILE_BYTES_MAX, Kind, MANIFEST_BYTES_MAX, Manifest};

/// Directories below a searched one that are looked into: a plugin's skills are four deep.
const SEARCH_DEPTH_MAX: usize = 6;
/// Directories that one search looks into.
const SEARCHED_MAX: usize = 2_000;
/// Entries of one directory that are looked at.
const ENTRIES_MAX: usize = 1_000;
/// Plugins that one search finds; further ones are left out.
pub const PLUGINS_FOUND_MAX: usize = 64;

/// What one search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Skills, in the order of the searched directories and then of their paths.
    pub skills: Vec<FoundSkill>,
    /// Plugins, in the same order.
    pub plugins: Vec<FoundPlugin>,
}

/// A skill in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSkill {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Its `SKILL.md`.
    pub path: FilePath,
}

/// A plugin in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPlugin {
    /// Its directory, absolute.
    pub directory: String,
    /// What it says about itself and its servers, or why nothing of it can be used.
    pub plugin: Result<Plugin, crate::Error>,
}

/// What a plugin says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// About itself.
    pub manifest: Manifest,
    /// Of the MCP servers that it brings along.
    pub servers: NamedServers,
}

/// Skills and plugins in the directories `roots` and below, each once; at most `most` skills and
/// [`PLUGINS_FOUND_MAX`] plugins. `home` is where `files` are for what runs there, absolute.
///
/// A directory with a `SKILL.md` is a skill, and is not looked into further; one whose `SKILL.md` is wrong is left
/// out, as are links and roots that do not exist. A directory with a `.codex-plugin/plugin.json` is a plugin, below
/// which skills are found and no other plugins.
///
/// # Errors
/// `Io`: the host failed.
pub fn find(files: &Directory, home: &str, roots: &[FilePath], most: usize) -> Result<Found, Error> {
    let mut search = Search { files, home, most, found: Found::default(), seen: BTreeSet::new() };
    for root in roots {
        search.directory(root, 0, Within::Nothing)?;
    }
    Ok(search.found)
}

struct Search<'a> {
    files: &'a Directory,
    home: &'a str,
    most: usize,
    found: Found,
    seen: BTreeSet<FilePath>,
}

/// What a directory is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Plugin,
}

impl Search<'_> {
    fn directory(&mut self, at: &FilePath, depth: usize, within: Within) -> Result<(), Error> {
        if self.seen.len() >= SEARCHED_MAX || depth > SEARCH_DEPTH_MAX || !self.seen.insert(at.clone()) {
            return Ok(());
        }
        let is_plugin = within == Within::Nothing && self.plugin(at)?;
        let within = if is_plugin { Within::Plugin } else { within };
        let path = at.join(Kind::Skill.manifest_path().as_bytes())?;
        match self.files.read(&path, FILE_BYTES_MAX as u64) {
            Ok(text) => {
                if let Ok(manifest) = read_skill(&text)
                    && self.found.skills.len() < self.most
                {
                    self.found.skills.push(FoundSkill { manifest, path });
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
                FoundKind::Directory => self.directory(&entry.path, depth + 1, within)?,
                FoundKind::File | FoundKind::Link | FoundKind::Special => {}
            }
        }
        Ok(())
    }

    /// Takes up the plugin at `at`, and says whether there is one.
    fn plugin(&mut self, at: &FilePath) -> Result<bool, Error> {
        let manifest = Kind::Plugin.manifest_path();
        let text = match self.read(at, &FilePath::parse(manifest.as_bytes())?)? {
            Err(NotRead::Missing) => return Ok(false),
            read => read.map_err(|why| why.of(manifest)),
        };
        // One whose name is no text can be told to nobody.
        let Ok(path) = std::str::from_utf8(at.as_bytes()) else { return Ok(true) };
        if self.found.plugins.len() < PLUGINS_FOUND_MAX {
            let directory =
                if path.is_empty() { self.home.to_owned() } else { format!("{}/{path}", self.home) };
            let plugin = match text {
                Ok(text) => self.says(at, &text, &directory)?,
                Err(error) => Err(error),
            };
            self.found.plugins.push(FoundPlugin { directory, plugin });
        }
        Ok(true)
    }

    fn says(
        &self,
        at: &FilePath,
        text: &[u8],
        directory: &str,
    ) -> Result<Result<Plugin, crate::Error>, Error> {
        let said = read_plugin(text).and_then(|manifest| Ok((manifest, servers_at(text, directory)?)));
        let (manifest, servers) = match said {
            Ok((manifest, ServersAt::Inline(servers))) => (manifest, Ok(servers)),
            Ok((manifest, ServersAt::File(file))) => {
                let read = self.read(at, &file)?.map_err(|why| why.of(&file.to_string()));
                (manifest, read.and_then(|text| read_servers(&text, directory)))
            }
            Ok((manifest, ServersAt::Default)) => {
                let servers = match self.read(at, &FilePath::parse(SERVERS_FILE.as_bytes())?)? {
                    Ok(text) => read_servers(&text, directory),
                    Err(NotRead::Missing) => Ok(NamedServers::default()),
                    Err(why) => Err(why.of(SERVERS_FILE)),
                };
                (manifest, servers)
            }
            Err(error) => return Ok(Err(error)),
        };
        Ok(servers.map(|servers| Plugin { manifest, servers }))
    }

    /// The bytes of a small file of the plugin at `at`, or what is wrong with what is there.
    fn read(&self, at: &FilePath, file: &FilePath) -> Result<Result<Vec<u8>, NotRead>, Error> {
        let path = file.names().try_fold(at.clone(), |path, name| path.join(name))?;
        match self.files.read(&path, MANIFEST_BYTES_MAX as u64) {
            Ok(text) => Ok(Ok(text)),
            Err(error) if !is_elsewhere(&error) => Err(error),
            Err(error) => Ok(Err(match error.kind() {
                ErrorKind::Link | ErrorKind::NotAFile => NotRead::NotPlain,
                ErrorKind::Limit(_) => NotRead::TooLong,
                ErrorKind::NotFound
                | ErrorKind::Exists
                | ErrorKind::NotADirectory
                | ErrorKind::Path(_)
                | ErrorKind::Missing(_)
                | ErrorKind::Corrupt(_)
                | ErrorKind::Manifest(_)
                | ErrorKind::Archive(_)
                | ErrorKind::Busy
                | ErrorKind::Chunks
                | ErrorKind::Io => NotRead::Missing,
            })),
        }
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
