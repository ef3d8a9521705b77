//! `mcp.json`: MCP servers in the shape that other clients read, and what only the operator knows of them.

use std::collections::BTreeMap;

use crate::env::{Env, Redacted, Resolver, Unset};
use crate::node::{Data, Fields, Key, Node};
use crate::problem::{Code, Place, Problem, Report, quote, settle};
use crate::settings::check_url;
use crate::terms::{self, ToolHints};
use crate::{ProjectError, json};

/// The file's name.
pub const MCP_FILE: &str = "mcp.json";

/// An MCP server of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// How to reach it.
    pub reach: Reach,
    /// What its tools' annotations do not say.
    pub hints: ServerHints,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A child process that speaks over standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Its environment, beside the little that every child process gets.
        env: BTreeMap<String, Redacted>,
        /// Its working directory, relative to the project directory; absent: that directory.
        cwd: Option<String>,
    },
    /// Streamable HTTP.
    Http {
        /// The endpoint.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, Redacted>,
    },
}

/// What the operator knows about a server's tools; it wins over the server's annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerHints {
    /// Tools that recognise the idempotency key; `*` means all.
    pub keyed: Vec<String>,
    /// Tools that change nothing.
    pub read_only: Vec<String>,
    /// Tools that may destroy or spend.
    pub destructive: Vec<String>,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// On which terms tools are used, by name; `*` is all.
    pub tools: BTreeMap<String, ToolHints>,
    /// The audience of tokens that say which agent calls; absent: it is not told.
    pub identity: Option<String>,
}

/// What `mcp.json` means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McpFile {
    /// The servers, by name.
    pub servers: BTreeMap<String, McpServer>,
    /// Servers with `"disabled": true`, by name.
    pub disabled: Vec<String>,
}

/// Reads the text of `mcp.json`. `${NAME}` in `env` and `headers` is taken from `env`.
///
/// # Errors
/// Every problem of the file. The second value of a success is its warnings.
pub fn parse_mcp_file(text: &str, env: &Env, unset: Unset) -> Result<(McpFile, Vec<Problem>), ProjectError> {
    let report = Report::new(MCP_FILE);
    let resolver = Resolver { env, unset };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = json::read(text, &report).and_then(|root| read(&root, resolver, &report));
    settle(file, report.into_problems())
}

const ROOT_KEYS: &[&str] = &["mcpServers"];
const STDIO_KEYS: &[&str] = &["type", "command", "args", "env", "cwd", "disabled", "tenure"];
const HTTP_KEYS: &[&str] = &["type", "url", "headers", "disabled", "tenure"];
const HINT_KEYS: &[&str] = &["keyed", "read_only", "destructive", "timeout_ms", "tools", "identity"];
/// What other clients write beside these; none of it changes what the server does.
const IGNORED_KEYS: &[&str] =
    &["autoApprove", "alwaysAllow", "description", "name", "timeout", "version", "icon", "trust"];
const TYPES: &[&str] = &["stdio", "http", "streamable-http"];

/// What the reference page must name.
#[cfg(test)]
pub(crate) const DOCUMENTED: &[&[&str]] = &[ROOT_KEYS, STDIO_KEYS, HTTP_KEYS, HINT_KEYS, IGNORED_KEYS, TYPES];

/// A server's name is part of the names of its tools.
const SERVER_NAME_BYTES_MAX: usize = 64;
/// The longest time one call may be given: a day.
const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1000;

fn read(root: &Node, resolver: Resolver<'_>, report: &Report) -> Option<McpFile> {
    let fields = Fields::open_any(root, "", report)?;
    for (key, _) in fields.entries() {
        match key.name.as_str() {
            "mcpServers" | "$schema" => {}
            "servers" => {
                let message = "unknown key `servers`";
                report.hinted(Code::UnknownKey, key.at, message, "the servers are under `mcpServers`");
            }
            _ => fields.unknown(key, ROOT_KEYS),
        }
    }
    let mut file = McpFile::default();
    let Some(servers) = fields.find("mcpServers") else { return Some(file) };
    for (key, node) in servers.map("`mcpServers`", report)? {
        if !is_server_name(&key.name) {
            let message = format!("{} cannot name a server", quote(&key.name));
            let hint = format!("letters, digits, `_` and `-`, at most {SERVER_NAME_BYTES_MAX}");
            report.hinted(Code::Name, key.at, message, hint);
            continue;
        }
        match server(&key.name, node, resolver, report) {
            Some(Entry::Enabled(server)) => drop(file.servers.insert(key.name.clone(), server)),
            Some(Entry::Disabled) => file.disabled.push(key.name.clone()),
            None => {}
        }
    }
    Some(file)
}

fn is_server_name(name: &str) -> bool {
    (1..=SERVER_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[expect(clippy::large_enum_variant, reason = "made once for each server of a file, and taken apart at once")]
enum Entry {
    Enabled(McpServer),
    Disabled,
}

fn server(name: &str, node: &Node, resolver: Resolver<'_>, report: &Report) -> Option<Entry> {
    let what = format!("server {}", quote(name));
    let fields = Fields::open_any(node, &what, report)?;
    let is_http = is_http(&fields, &what, report)?;
    let known = if is_http { HTTP_KEYS } else { STDIO_KEYS };
    for (key, _) in fields.entries() {
        let key_name = key.name.as_str();
        if !known.contains(&key_name) && !IGNORED_KEYS.contains(&key_name) {
            fields.unknown(key, known);
        }
    }
    let disabled = match fields.find("disabled") {
        Some(node) => node.boolean("`disabled`", report)?,
        None => false,
    };
    if disabled {
        // What it would need, such as a key in the environment, may be absent for that very reason.
        return Some(Entry::Disabled);
    }
    let hints = match fields.find("tenure") {
        Some(node) => hints(node, report),
        None => Some(ServerHints::default()),
    };
    let reach = if is_http { http(&fields, resolver, report) } else { stdio(&fields, resolver, report) };
    Some(Entry::Enabled(McpServer { reach: reach?, hints: hints? }))
}

/// Whether the server is reached over HTTP: by its type, or by which of `command` and `url` it has.
fn is_http(fields: &Fields<'_>, what: &str, report: &Report) -> Option<bool> {
    if let Some(node) = fields.find("type") {
        if let Data::Text(word) = &node.data
            && word == "sse"
        {
            let message = format!("{what} has the type `sse`, which the protocol has replaced");
            report.hinted(
                Code::Unsupported,
                node.at,
                message,
                "use `http` with the server's streamable HTTP endpoint",
            );
            return None;
        }
        return node.word(
            "`type`",
            TYPES,
            |word| match word {
                "stdio" => Some(false),
                "http" | "streamable-http" | "streamableHttp" | "streamable_http" => Some(true),
                _ => None,
            },
            report,
        );
    }
    match (fields.find("command"), fields.find("url")) {
        (Some(_), None) => Some(false),
        (None, Some(_)) => Some(true),
        (Some(_), Some(url)) => {
            let message = format!("{what} has both `command` and `url`");
            report.hinted(Code::Conflict, url.at, message, "keep one of them");
            None
        }
        (None, None) => {
            let message = format!("{what} has neither `command` nor `url`");
            report.error(Code::Missing, fields.at, message);
            None
        }
    }
}

fn stdio(fields: &Fields<'_>, resolver: Resolver<'_>, report: &Report) -> Option<Reach> {
    let command = literal(fields.require("command")?, "`command`", report)?;
    let args = match fields.find("args") {
        Some(node) => {
            let values = node.list("`args`", report)?;
            let args: Option<Vec<_>> =
                values.iter().map(|value| literal(value, "each of `args`", report)).collect();
            args?
        }
        None => Vec::new(),
    };
    let cwd = match fields.find("cwd") {
        Some(node) => Some(literal(node, "`cwd`", report)?),
        None => None,
    };
    let env = match fields.find("env") {
        Some(node) => secrets(node, "env", resolver, report, check_variable)?,
        None => BTreeMap::new(),
    };
    if command.trim().is_empty() {
        report.error(Code::Missing, fields.at, "`command` is empty");
        return None;
    }
    Some(Reach::Stdio { command, args, env, cwd })
}

fn http(fields: &Fields<'_>, resolver: Resolver<'_>, report: &Report) -> Option<Reach> {
    let node = fields.require("url")?;
    let url = literal(node, "`url`", report)?;
    check_url(&url, "`url`", node, report)?;
    let headers = match fields.find("headers") {
        Some(node) => secrets(node, "headers", resolver, report, check_header)?,
        None => BTreeMap::new(),
    };
    Some(Reach::Http { url, headers })
}

/// Text in which nothing is substituted, and which does not look as if something should be.
fn literal(node: &Node, what: &str, report: &Report) -> Option<String> {
    let text = node.text(what, report)?;
    if text.contains("${") {
        let message = format!("{what} holds `${{`, and nothing is substituted there");
        report.hinted(Code::Env, node.at, message, "variables are substituted in `env` and `headers` only");
        return None;
    }
    if text.contains('\0') {
        report.error(Code::Encoding, node.at, format!("{what} holds a NUL character"));
        return None;
    }
    Some(text.to_owned())
}

/// A map whose values may be secret, references replaced.
fn secrets(
    node: &Node,
    what: &str,
    resolver: Resolver<'_>,
    report: &Report,
    check: impl Fn(&Key, &str, Place, &Report) -> Option<()>,
) -> Option<BTreeMap<String, Redacted>> {
    let mut found = BTreeMap::new();
    let mut complete = true;
    for (key, node) in node.map(&format!("`{what}`"), report)? {
        let label = quote(&format!("{what}.{}", key.name));
        let value = node.text(&label, report).and_then(|text| {
            check(key, text, node.at, report)?;
            resolver.substitute(text, &label, node.at, report)
        });
        match value {
            Some(value) if value.contains(['\0', '\r', '\n']) => {
                report.error(Code::Encoding, node.at, format!("{label} holds a line end or a NUL character"));
                complete = false;
            }
            Some(value) => drop(found.insert(key.name.clone(), Redacted::new(value))),
            None => complete = false,
        }
    }
    complete.then_some(found)
}

fn check_variable(key: &Key, _: &str, _: Place, report: &Report) -> Option<()> {
    if crate::env::is_name(&key.name) {
        return Some(());
    }
    let message = format!("{} cannot name an environment variable", quote(&key.name));
    report.hinted(Code::Name, key.at, message, "letters, digits and underscores");
    None
}

fn check_header(key: &Key, value: &str, at: Place, report: &Report) -> Option<()> {
    // RFC 9110, section 5.6.2.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if key.name.is_empty() || !key.name.bytes().all(token) {
        report.error(Code::Name, key.at, format!("{} cannot name a header", quote(&key.name)));
        return None;
    }
    let secret = ["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"];
    if secret.contains(&key.name.to_ascii_lowercase().as_str()) && !value.contains("${") {
        let message = format!("the header {} is written out in a file that is committed", quote(&key.name));
        report.warning(Code::Secret, at, message, "write `${NAME}` and put the value into `.env`");
    }
    Some(())
}

fn hints(node: &Node, report: &Report) -> Option<ServerHints> {
    let fields = Fields::open(node, "`tenure`", HINT_KEYS, report)?;
    let names = |key: &str| match fields.find(key) {
        Some(node) => node.texts(&format!("`{key}`"), report),
        None => Some(Vec::new()),
    };
    let keyed = match fields.find("keyed") {
        Some(Node { data: Data::Bool(all), .. }) => {
            Some(if *all { vec!["*".to_owned()] } else { Vec::new() })
        }
        _ => names("keyed"),
    };
    let timeout_ms = match fields.find("timeout_ms") {
        Some(node) => Some(node.integer("`timeout_ms`", 1..=TIMEOUT_MS_MAX, report)?),
        None => None,
    };
    let tools = match fields.find("tools") {
        Some(node) => terms::tools(node, report)?,
        None => BTreeMap::new(),
    };
    let identity = match fields.find("identity") {
        Some(node) => Some(node.filled("`identity`", report)?.to_owned()),
        None => None,
    };
    let hints = ServerHints {
        keyed: keyed?,
        read_only: names("read_only")?,
        destructive: names("destructive")?,
        timeout_ms,
        identity,
        tools,
    };
    if let Some(both) = hints.read_only.iter().find(|name| hints.destructive.contains(name)) {
        let message = format!("the tool {} is both `read_only` and `destructive`", quote(both));
        report.error(Code::Conflict, fields.at, message);
    }
    Some(hints)
}
