//! The MCP servers that a plugin names: in its `plugin.json`, or in a file beside it.
//!
//! ```text
//!   plugin.json: `mcpServers` ──┬── an object ────────────────────────▶ read_servers
//!                               ├── a path `./…` ──▶ that file ───────▶ read_servers
//!                               └── (nothing) ─────▶ `.mcp.json`, if it is there ─┘
//! ```
//!
//! Only programs that are in the environment, and no secrets: a plugin's files are read by whoever reads the
//! environment, and what they say is kept for ever, so a value of a variable is refused whatever it is. A server that
//! is wrong takes no other with it: what is refused is named with the reason, so that it can be told.
//!
//! The two forms of the file, and what its members mean, are those that Codex reads.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tenure_workspace::FilePath;

use crate::{Error, MANIFEST_BYTES_MAX, NAME_CHARS_MAX};

/// The file of a plugin that names its servers, where its `plugin.json` says nothing of them.
pub const SERVERS_FILE: &str = ".mcp.json";
/// Servers that one plugin may name. Further ones are refused.
pub const SERVERS_MAX: usize = 8;
/// Bytes of all texts of one server together, with the plugin's directory filled in.
pub const SERVER_BYTES_MAX: usize = 32 * 1024;
/// Arguments, variables and tools of one server.
const LISTED_MAX: usize = 256;
/// What stands for the plugin's directory in `command`, `args` and `cwd`.
const DIRECTORY_WORDS: [&str; 2] = ["${PLUGIN_ROOT}", "${CLAUDE_PLUGIN_ROOT}"];

/// Where a plugin names its servers.
#[derive(Debug, Clone, PartialEq)]
pub enum ServersAt {
    /// In [`SERVERS_FILE`], if it has one.
    Default,
    /// In this file of it, relative to its directory.
    File(FilePath),
    /// In its `plugin.json`.
    Inline(NamedServers),
}

/// The servers that a plugin names, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedServers {
    /// Programs that can be started.
    pub servers: Vec<PluginServer>,
    /// The others: what they are called, and why they are not started.
    pub refused: Vec<(String, String)>,
}

/// A server that is a program.
///
/// INVARIANT: the name is 1 to 64 letters, digits, `-` and `_`. The command is a name without `/`, or a path below the
/// plugin's directory; `cwd` is that directory or below it; both paths are absolute and have no `..`. No text holds a
/// NUL, and all of them together have at most [`SERVER_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginServer {
    /// What the plugin calls it.
    pub name: String,
    /// The program: one of `PATH`, or a file of the plugin.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it starts: the plugin's directory if nothing is said.
    pub cwd: String,
    /// Variables of the environment that it is given, by name.
    pub env_vars: Vec<String>,
    /// The tools that may be used; absent means all.
    pub tools: Option<Vec<String>>,
}

/// Why a file that names servers was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRead {
    /// There is none.
    Missing,
    /// It is a link, or behind one, or no file.
    NotPlain,
    /// It is longer than [`MANIFEST_BYTES_MAX`].
    TooLong,
}

impl NotRead {
    /// What is said of `file`, relative to the plugin's directory.
    #[must_use]
    pub fn of(self, file: &str) -> Error {
        let file = format!("the plugin's file `{}`", shown(file));
        Error::manifest(match self {
            Self::Missing => format!("{file} is not there"),
            Self::NotPlain => format!("{file} is a link or no file; links are not followed"),
            Self::TooLong => format!("{file} is longer than {MANIFEST_BYTES_MAX} bytes"),
        })
    }
}

/// What the `plugin.json` of the plugin in `directory`, which is absolute, says of its servers.
///
/// # Errors
/// `Manifest`.
pub fn servers_at(plugin_json: &[u8], directory: &str) -> Result<ServersAt, Error> {
    let place = "`.codex-plugin/plugin.json`";
    match object(plugin_json, place)?.remove("mcpServers") {
        None => Ok(ServersAt::Default),
        // A path of a plugin begins with `./`; one that does not is taken to be meant so.
        Some(Value::String(path)) => file(&path).map(ServersAt::File),
        Some(Value::Object(servers)) => Ok(ServersAt::Inline(named(servers, directory))),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            Err(Error::manifest(format!("`mcpServers` of {place} must be a path or an object")))
        }
    }
}

/// What a file says of the servers of the plugin in `directory`: an object of them by their names, or one whose
/// `mcpServers` is that.
///
/// # Errors
/// `Manifest`: nothing of it can be used.
pub fn read_servers(text: &[u8], directory: &str) -> Result<NamedServers, Error> {
    let place = "the file that names the plugin's MCP servers";
    let mut written = object(text, place)?;
    match written.remove("mcpServers") {
        Some(Value::Object(servers)) => Ok(named(servers, directory)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(Error::manifest(format!("`mcpServers` of {place} must be an object")))
        }
        None => Ok(named(written, directory)),
    }
}

fn object(text: &[u8], place: &str) -> Result<Map<String, Value>, Error> {
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(Error::manifest(format!("{place} is longer than {MANIFEST_BYTES_MAX} bytes")));
    }
    serde_json::from_slice(text).map_err(|error| {
        Error::manifest(format!(
            "{place} is no JSON object (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

fn file(path: &str) -> Result<FilePath, Error> {
    let refused = || {
        Error::manifest(format!(
            "`mcpServers` of `.codex-plugin/plugin.json` must be the path of a file of the plugin, such as \
             `./{SERVERS_FILE}`"
        ))
    };
    FilePath::parse(path.as_bytes()).ok().filter(|path| !path.is_root()).ok_or_else(refused)
}

fn named(written: Map<String, Value>, directory: &str) -> NamedServers {
    let mut named = NamedServers::default();
    let sorted: BTreeMap<String, Value> = written.into_iter().collect();
    for (name, value) in sorted {
        let read = if named.servers.len() < SERVERS_MAX {
            server(&name, value, directory)
        } else {
            Err(format!("a plugin may name at most {SERVERS_MAX} servers"))
        };
        match read {
            Ok(server) => named.servers.push(server),
            Err(why) => named.refused.push((shown(&name), why)),
        }
    }
    named
}

/// The members that matter. Others belong to other programs and are left alone.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<Value>,
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    cwd: Option<String>,
    #[serde(default)]
    env_vars: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    enabled: Option<bool>,
    disabled: Option<bool>,
    enabled_tools: Option<Vec<String>>,
    disabled_tools: Option<Vec<String>>,
}

fn server(name: &str, value: Value, directory: &str) -> Result<PluginServer, String> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_plain) {
        return Err(format!("its name must be 1 to {NAME_CHARS_MAX} letters, digits, `-` and `_`"));
    }
    // A list would do for a struct as well.
    let written: Option<Written> = value.is_object().then(|| serde_json::from_value(value).ok()).flatten();
    let written = written.ok_or(
        "it must be an object with the text `command`, and `args`, `env_vars`, `enabled_tools` (lists of texts), `env` \
         (texts by name), `cwd` (a text) and `enabled` (true or false) where they are needed",
    )?;
    if written.url.is_some() || written.kind.is_some_and(|kind| kind != "stdio") {
        return Err(
            "it is no program of the plugin, and a plugin opens no way into a network; name it among the \
                    agent's tools"
                .to_owned(),
        );
    }
    if written.enabled == Some(false) || written.disabled == Some(true) {
        return Err("the plugin says that it is switched off".to_owned());
    }
    if written.disabled_tools.is_some() {
        return Err(
            "`disabled_tools` is not known here; name those that may be used in `enabled_tools`".to_owned()
        );
    }
    let lists = [written.args.len(), written.env_vars.len(), written.env.len()];
    let tools = written.enabled_tools;
    if lists.into_iter().chain(tools.as_ref().map(Vec::len)).any(|length| length > LISTED_MAX) {
        return Err(format!("it has more than {LISTED_MAX} arguments, variables or tools"));
    }
    let cwd = written.cwd.as_deref().unwrap_or_default();
    let cwd = within(cwd, &FilePath::root()).ok_or("its `cwd` must be a path within the plugin")?;
    let server = PluginServer {
        name: name.to_owned(),
        command: command(written.command.as_deref().ok_or("it has no `command`")?, &cwd, directory)?,
        args: written.args.iter().map(|argument| filled_in(argument, directory)).collect::<Result<_, _>>()?,
        cwd: absolute(&cwd, directory),
        env_vars: variables(written.env_vars, &written.env)?,
        tools,
    };
    check_texts(&server)?;
    Ok(server)
}

/// A program: a name that is looked for, or a file of the plugin. Whoever writes an absolute path means a machine, and
/// a plugin does not know on which it is.
fn command(written: &str, cwd: &FilePath, directory: &str) -> Result<String, String> {
    if !written.contains('/') && !matches!(written, "" | "." | "..") {
        return Ok(written.to_owned());
    }
    let path = within(written, cwd).filter(|path| path != cwd && !path.is_root());
    let path = path.ok_or("its `command` must be the name of a program, or a path within the plugin")?;
    Ok(absolute(&path, directory))
}

/// A path within the plugin, relative to its directory: as it is written it is relative to `from`, or begins with what
/// stands for the directory.
fn within(written: &str, from: &FilePath) -> Option<FilePath> {
    let below_directory = DIRECTORY_WORDS.iter().find_map(|word| written.strip_prefix(word));
    let (from, rest) = match below_directory {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            (FilePath::root(), rest.trim_start_matches('/'))
        }
        Some(_) => return None,
        None => (from.clone(), written),
    };
    let path = FilePath::parse(rest.as_bytes()).ok()?;
    path.names().try_fold(from, |path, name| path.join(name)).ok()
}

fn absolute(path: &FilePath, directory: &str) -> String {
    let directory = directory.trim_end_matches('/');
    match std::str::from_utf8(path.as_bytes()) {
        Ok("") if directory.is_empty() => "/".to_owned(),
        Ok("") => directory.to_owned(),
        Ok(path) => format!("{directory}/{path}"),
        // It was read from text, and cut at slashes.
        Err(_) => directory.to_owned(),
    }
}

/// An argument with the plugin's directory in it. What was put in is not looked at again, since a directory may be called
/// anything; and it ends where there is too much of it, so that a short file makes no long text.
fn filled_in(argument: &str, directory: &str) -> Result<String, String> {
    let first = |text: &str| {
        let found = DIRECTORY_WORDS.iter().filter_map(|word| Some((text.find(word)?, word.len())));
        found.min()
    };
    let (mut text, mut rest) = (String::new(), argument);
    while let Some((at, length)) = first(rest) {
        text += &rest[..at];
        text += directory;
        if text.len() > SERVER_BYTES_MAX {
            return Err(too_long());
        }
        rest = &rest[at + length..];
    }
    Ok(text + rest)
}

/// The variables that a server is given, by name. `env` may say once more which, and nothing else.
fn variables(mut names: Vec<String>, env: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let is_variable = |name: &String| {
        !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_word)
    };
    if !names.iter().chain(env.keys()).all(is_variable) {
        return Err(
            "the names of variables must be letters, digits and `_`, and begin with none of the digits"
                .to_owned(),
        );
    }
    for (name, value) in env {
        if *value != format!("${{{name}}}") {
            let name = shown(name);
            return Err(format!(
                "its `env` gives `{name}` a value, and a plugin is no place for values, which may be secret; set the \
                 variable in the environment, and name it in `env_vars` or write `${{{name}}}`"
            ));
        }
    }
    let more: Vec<String> = env.keys().filter(|name| !names.contains(name)).cloned().collect();
    names.extend(more);
    Ok(names)
}

fn check_texts(server: &PluginServer) -> Result<(), String> {
    let PluginServer { name: _, command, args, cwd, env_vars, tools } = server;
    let lists = args.iter().chain(env_vars).chain(tools.iter().flatten());
    let (mut bytes, mut has_nul) = (0, false);
    for text in lists.chain([command, cwd]) {
        bytes += text.len();
        has_nul |= text.contains('\0');
    }
    if has_nul {
        return Err("no text of it may hold a NUL character".to_owned());
    }
    if bytes > SERVER_BYTES_MAX {
        return Err(too_long());
    }
    Ok(())
}

fn too_long() -> String {
    format!("its texts have more than {SERVER_BYTES_MAX} bytes together")
}

/// A name that someone got wrong, short and harmless.
fn shown(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
