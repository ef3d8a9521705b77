//! Skills and plugins: folders with instructions that an agent turns to when a task asks for them.
//!
//! A *skill* is a folder with a `SKILL.md`, whose front matter names and describes it (the Agent Skills format). A
//! *plugin* is a folder with a `.codex-plugin/plugin.json`, which may hold several skills and name MCP servers.
//!
//! ```text
//!   zip or files of a request ──▶ Bundle: read with suspicion, bounded, named ──▶ one canonical zip
//!                                                                                     │ unpacked into an
//!                                                                                     ▼ environment
//!   name, description, path  ◀── find: searches an environment for folders with a `SKILL.md`,
//!   servers, refusals        ◀──       and for plugins and the programs that they name as servers
//! ```
//!
//! Equal folders make equal zips, so that storing one twice stores it once. What this crate deliberately has not:
//! versions, stores, and an opinion of what the instructions say; they are the model's to read.

mod bundle;
mod error;
mod find;
mod manifest;
mod servers;
mod zip;

pub use bundle::{Bundle, Kind};
pub use error::{Error, ErrorKind};
pub use find::{Found, FoundPlugin, FoundSkill, PLUGINS_FOUND_MAX, Plugin, find};
pub use manifest::{Manifest, read_plugin, read_skill};
pub use servers::{
    NamedServers, NotRead, PluginServer, SERVER_BYTES_MAX, SERVERS_FILE, SERVERS_MAX, ServersAt,
    read_servers, servers_at,
};

/// Bytes of an uploaded archive or of all files of an uploaded folder, and of what an archive unpacks to.
pub const BUNDLE_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Bytes of one file of a bundle.
pub const FILE_BYTES_MAX: usize = 25 * 1024 * 1024;
/// Files of a bundle.
pub const FILES_MAX: usize = 500;
/// Names in a path of a bundle, relative to its folder.
pub const DEPTH_MAX: usize = 16;
/// Bytes of a path of a bundle, relative to its folder: with the folder's name it stays a path that archives can have.
pub const PATH_BYTES_MAX: usize = 4_000;
/// Bytes of a front matter or of a `plugin.json`.
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024;
/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of a description: a model is told all of them at every step.
pub const DESCRIPTION_CHARS_MAX: usize = 1_024;

const _: () = assert!(
    PATH_BYTES_MAX + 1 + NAME_CHARS_MAX <= tenure_workspace::archive::ARCHIVE_PATH_BYTES_MAX,
    "what we write can be read"
);
const _: () = assert!(FILE_BYTES_MAX <= BUNDLE_BYTES_MAX, "a file is part of a bundle");
