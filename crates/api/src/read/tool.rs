//! An agent's tools, and the secrets that come with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use axum::http::{HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value, json};
use tenure_journal::{AgentConfig, FunctionTool, McpTool, McpTransport, Origin, ProjectId, Tool};
use tenure_runtime::{Addresses, Runtime};

use super::name::read_name;
use super::reader::{Field, Reader};
use crate::error::ApiError;

/// Bytes of an agent's tools as compact JSON.
const TOOLS_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Tools of one agent.
const TOOLS_MAX: usize = 512;
/// Characters of a function's name; its spelling is the client's own business.
const FUNCTION_NAME_CHARS_MAX: usize = 256;
/// Characters of a function's description.
const DESCRIPTION_CHARS_MAX: usize = 64 * 1024;
/// Characters of an MCP server's label.
const LABEL_CHARS_MAX: usize = tenure_journal::limit::SERVER_LABEL_CHARS_MAX;
/// Characters of a URL.
const URL_CHARS_MAX: usize = 2048;
/// Headers of one MCP server.
const HEADERS_MAX: usize = 32;
/// Characters of a header's value or of an authorization.
const HEADER_CHARS_MAX: usize = 8 * 1024;
/// Arguments of a program.
const ARGUMENTS_MAX: usize = 256;
/// Characters of a program, one of its arguments or a variable's value.
const ARGUMENT_CHARS_MAX: usize = 32 * 1024;
/// Variables of a program.
const VARIABLES_MAX: usize = 256;
/// Domains a web search may be narrowed to.
const DOMAINS_MAX: usize = 100;
/// Characters of a host name or a tool's name.
const WORD_CHARS_MAX: usize = 256;

/// Headers that the transport writes itself.
const TRANSPORT_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that carry credentials, which a saved agent must not hold.
const CREDENTIAL_HEADERS: &[&str] =
    &["authorization", "cookie", "proxy-authorization", "x-api-key", "api-key", "x-auth-token"];

/// Where tools are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolScope {
    /// On a saved agent, which holds no credentials.
    Saved,
    /// On one session.
    Session,
}

/// Tools as a client sent them; secrets are not sealed yet.
#[derive(Debug)]
pub(crate) struct Tools {
    tools: Vec<Tool>,
    /// Which MCP tool each secret belongs to.
    secrets: Vec<(usize, Unsealed)>,
}

/// JSON text `{"authorization", "headers"}` of one server over HTTP, or the variables of a process.
struct Unsealed(String);

impl fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsealed(..)")
    }
}

impl Tools {
    /// Reads a tool list; a null is an empty one.
    pub(crate) fn read(field: Field<'_>, scope: ToolScope) -> Result<Self, ApiError> {
        let mut read = Self { tools: Vec::new(), secrets: Vec::new() };
        let Some(list) = field.nullable() else { return Ok(read) };
        let fields = list.array(TOOLS_MAX)?;
        if list.value().to_string().len() > TOOLS_BYTES_MAX {
            let message = format!("Invalid '{}': more than {TOOLS_BYTES_MAX} bytes of JSON.", list.path());
            return Err(list.refuse("tools_too_large", message));
        }
        let mut unique = Unique::default();
        for (index, field) in fields.into_iter().enumerate() {
            let path = field.path().to_owned();
            let (tool, secret) = read_tool(field, scope)?;
            unique.admit(&tool, &path)?;
            read.tools.push(tool);
            read.secrets.extend(secret.map(|secret| (index, secret)));
        }
        Ok(read)
    }

    /// The tools, with every secret replaced by a reference to its sealed form.
    pub(crate) async fn seal(self, runtime: &Runtime, project: ProjectId) -> Result<Vec<Tool>, ApiError> {
        let Self { mut tools, secrets } = self;
        for (index, Unsealed(text)) in secrets {
            let sealed = runtime.seal(project, &text).await?;
            if let Tool::Mcp(McpTool {
                transport: McpTransport::Http { secret, .. } | McpTransport::Stdio { secret, .. },
                ..
            }) = &mut tools[index]
            {
                *secret = Some(sealed);
            }
        }
        Ok(tools)
    }

    /// The tools, to be changed before they are sealed, and the places of those that have secrets.
    pub(crate) fn parts(&mut self) -> (&mut [Tool], BTreeSet<usize>) {
        let own = self.secrets.iter().map(|(index, _)| *index).collect();
        (&mut self.tools, own)
    }

    /// The first tool that came with variables for a process.
    pub(crate) fn with_variables(&self) -> Option<usize> {
        let is_process =
            |tool: &Tool| matches!(tool, Tool::Mcp(McpTool { transport: McpTransport::Stdio { .. }, .. }));
        self.secrets.iter().map(|(index, _)| *index).find(|index| is_process(&self.tools[*index]))
    }

    /// The tools as sent, for checks that do not need their secrets.
    pub(crate) fn as_slice(&self) -> &[Tool] {
        &self.tools
    }
}

/// What may occur only once in a list.
#[derive(Default)]
struct Unique {
    functions: BTreeSet<String>,
    servers: BTreeSet<String>,
    web_search: bool,
    tool_search: bool,
}

impl Unique {
    fn admit(&mut self, tool: &Tool, path: &str) -> Result<(), ApiError> {
        let (is_new, what, member) = match tool {
            Tool::Function(function) => (
                self.functions.insert(function.name.clone()),
                format!("function '{}'", function.name),
                ".name",
            ),
            Tool::Mcp(server) => {
                let label = &server.server_label;
                (self.servers.insert(label.clone()), format!("MCP server '{label}'"), ".server_label")
            }
            Tool::WebSearch { .. } => {
                (!std::mem::replace(&mut self.web_search, true), "tool 'web_search'".into(), "")
            }
            Tool::ToolSearch => {
                (!std::mem::replace(&mut self.tool_search, true), "tool 'tool_search'".into(), "")
            }
            Tool::ProgrammaticToolCalling { .. }
            | Tool::ComputerUse { .. }
            | Tool::Automations
            | Tool::Memory => {
                return Ok(());
            }
        };
        if is_new {
            return Ok(());
        }
        let message = format!("Invalid '{path}': the {what} occurs more than once.");
        Err(ApiError::invalid(message).code("duplicate_tool").param(format!("{path}{member}")))
    }
}

/// Refuses what a session of this server cannot run, wherever its agent came from.
///
/// Refusing at the start beats a session whose agent believes it has a tool: the path names it.
pub(crate) fn refuse_unavailable(agent: &AgentConfig) -> Result<(), ApiError> {
    refuse_unavailable_tools(&agent.tools, "agent.tools")
}

/// The part of [`refuse_unavailable`] that is about tools at `path`.
pub(crate) fn refuse_unavailable_tools(tools: &[Tool], path: &str) -> Result<(), ApiError> {
    for (index, tool) in tools.iter().enumerate() {
        let feature = match tool {
            Tool::ComputerUse { .. } => "the tool 'computer_use'",
            Tool::WebSearch { mode, .. } if mode != "disabled" => {
                "the tool 'web_search' (set its mode to 'disabled')"
            }
            Tool::Function(_)
            | Tool::ToolSearch
            | Tool::ProgrammaticToolCalling { .. }
            | Tool::Mcp(_)
            | Tool::WebSearch { .. }
            | Tool::Automations
            | Tool::Memory => continue,
        };
        return Err(ApiError::unsupported(feature).param(format!("{path}[{index}]")));
    }
    Ok(())
}

/// Refuses tool servers where this server does not go. What a name resolves to is judged when it is connected
/// to.
pub(crate) fn refuse_servers(tools: &[Tool], allowed: Addresses, path: &str) -> Result<(), ApiError> {
    for (index, tool) in tools.iter().enumerate() {
        // Where an environment reaches is its own network's business.
        if let Tool::Mcp(McpTool {
            transport: McpTransport::Http { server_url, .. },
            origin: Origin::Service,
            ..
        }) = tool
            && !allowed.allow_url(server_url)
        {
            let path = format!("{path}[{index}].transport.server_url");
            let message = format!("Invalid '{path}': {}.", refusal(allowed));
            return Err(ApiError::invalid(message).code("url_not_allowed").param(path));
        }
    }
    Ok(())
}

fn refusal(allowed: Addresses) -> &'static str {
    match allowed {
        Addresses::Any | Addresses::Private => {
            "no tool server may be at a link-local address or at a cloud's metadata service"
        }
        Addresses::Public => "this server does not allow private addresses",
    }
}

const TOOL_TYPES: &[&str] = &[
    "function",
    "tool_search",
    "programmatic_tool_calling",
    "mcp",
    "web_search",
    "computer_use",
    "automations",
    "memory",
];

fn read_tool(field: Field<'_>, scope: ToolScope) -> Result<(Tool, Option<Unsealed>), ApiError> {
    let mut reader = field.object()?;
    let kind = reader
        .required("type")?
        .word(TOOL_TYPES, |word| TOOL_TYPES.iter().find(|known| **known == word).copied())?;
    let r = &mut reader;
    let mut secret = None;
    let tool = match kind {
        "function" => Tool::Function(read_function(r)?),
        "tool_search" => Tool::ToolSearch,
        "programmatic_tool_calling" => Tool::ProgrammaticToolCalling { enabled: flag(r, "enabled", true)? },
        "mcp" => {
            let (tool, unsealed) = read_mcp(r, scope)?;
            secret = unsealed;
            Tool::Mcp(tool)
        }
        "web_search" => read_web_search(r)?,
        "computer_use" => Tool::ComputerUse { include_screenshots: flag(r, "include_screenshots", false)? },
        "memory" => Tool::Memory,
        _ => Tool::Automations,
    };
    reader.finish()?;
    Ok((tool, secret))
}

fn flag(reader: &mut Reader<'_>, name: &'static str, default: bool) -> Result<bool, ApiError> {
    Ok(reader.optional(name).map(|field| field.bool()).transpose()?.unwrap_or(default))
}

fn read_function(reader: &mut Reader<'_>) -> Result<FunctionTool, ApiError> {
    let name = read_name(&reader.required("name")?, FUNCTION_NAME_CHARS_MAX)?.to_owned();
    let description = reader.required("description")?.any_text(DESCRIPTION_CHARS_MAX)?.to_owned();
    let parameters = reader.required("parameters")?;
    match parameters.map()?.get("type") {
        Some(Value::String(kind)) if kind == "object" => {}
        found => {
            let found =
                found.map_or_else(|| "nothing".to_owned(), |kind| super::shortened(&kind.to_string()));
            let message = format!(
                "Invalid schema for function '{}': the root must have type 'object', but has {found}.",
                super::shortened(&name)
            );
            return Err(parameters.refuse("invalid_function_parameters", message));
        }
    }
    Ok(FunctionTool {
        name,
        description,
        parameters: parameters.value().clone(),
        defer_loading: flag(reader, "defer_loading", false)?,
        is_async: flag(reader, "async", false)?,
    })
}

fn read_mcp(reader: &mut Reader<'_>, scope: ToolScope) -> Result<(McpTool, Option<Unsealed>), ApiError> {
    let server_label = read_name(&reader.required("server_label")?, LABEL_CHARS_MAX)?.to_owned();
    let (transport, secret) = read_transport(reader.required("transport")?, scope)?;
    let allowed_tools = reader.optional_or_null("allowed_tools");
    let allowed_tools = allowed_tools.map(|field| read_words(&field, TOOLS_MAX)).transpose()?;
    let origin = reader.optional_or_null("connection_origin");
    let origin = origin.map(|field| field.word(Origin::WORDS, Origin::from_word)).transpose()?;
    let credential_id = reader.optional_or_null("credential_id");
    let credential_id =
        credential_id.map(|field| field.text(WORD_CHARS_MAX).map(str::to_owned)).transpose()?;
    let request_metadata = reader.optional_or_null("request_metadata");
    let request_metadata = request_metadata.map(|field| field.map().cloned()).transpose()?;
    let tool = McpTool {
        server_label,
        transport,
        allowed_tools,
        origin: origin.unwrap_or(Origin::Service),
        credential_id,
        required: flag(reader, "required", false)?,
        request_metadata: request_metadata.unwrap_or_default(),
    };
    Ok((tool, secret))
}

fn read_words(field: &Field<'_>, max: usize) -> Result<Vec<String>, ApiError> {
    let words = field.array(max)?;
    words.iter().map(|word| word.text(WORD_CHARS_MAX).map(str::to_owned)).collect()
}

fn read_transport(field: Field<'_>, scope: ToolScope) -> Result<(McpTransport, Option<Unsealed>), ApiError> {
    enum Kind {
        Http,
        Stdio,
        Project,
    }
    let mut reader = field.object()?;
    let kind = reader.required("type")?.word(&["http", "stdio", "project"], |word| match word {
        "http" => Some(Kind::Http),
        "stdio" => Some(Kind::Stdio),
        "project" => Some(Kind::Project),
        _ => None,
    })?;
    let read = match kind {
        Kind::Http => read_http(&mut reader, scope)?,
        Kind::Project => (McpTransport::Project, None),
        Kind::Stdio => read_stdio(&mut reader, scope)?,
    };
    reader.finish()?;
    Ok(read)
}

fn read_stdio(
    reader: &mut Reader<'_>,
    scope: ToolScope,
) -> Result<(McpTransport, Option<Unsealed>), ApiError> {
    let command = reader.required("command")?;
    command.text(ARGUMENT_CHARS_MAX)?;
    let command = plain(&command)?;
    let cwd = reader.required("cwd")?;
    let directory = plain(&cwd)?;
    if !directory.starts_with('/') || directory.split('/').any(|part| part == "..") {
        let message = format!("Invalid '{}': it must be absolute, without '..'.", cwd.path());
        return Err(cwd.refuse("invalid_value", message));
    }
    let words = |field: Field<'_>| {
        field.array(ARGUMENTS_MAX)?.iter().map(plain).collect::<Result<Vec<String>, ApiError>>()
    };
    let args = reader.optional_or_null("args").map(words).transpose()?.unwrap_or_default();
    let env_vars =
        reader.optional_or_null("env_vars").map(|field| read_variable_names(&field)).transpose()?;
    // A saved agent has no such member.
    let env = match scope {
        ToolScope::Saved => None,
        ToolScope::Session => {
            reader.optional_or_null("env").map(|field| read_variables(&field)).transpose()?
        }
    };
    let secret = env.filter(|env| !env.is_empty()).map(|env| Unsealed(json!(env).to_string()));
    let env_vars = env_vars.unwrap_or_default();
    Ok((McpTransport::Stdio { command, args, cwd: directory, env_vars, secret: None }, secret))
}

/// A word that a program can be given.
fn plain(field: &Field<'_>) -> Result<String, ApiError> {
    let text = field.any_text(ARGUMENT_CHARS_MAX)?;
    if text.contains('\0') {
        let message = format!("Invalid '{}': it must not hold a NUL character.", field.path());
        return Err(field.refuse("invalid_value", message));
    }
    Ok(text.to_owned())
}

fn read_variable_names(field: &Field<'_>) -> Result<Vec<String>, ApiError> {
    let names = field.array(VARIABLES_MAX)?;
    let name = |field: &Field<'_>| {
        let name = field.text(WORD_CHARS_MAX)?;
        if is_variable(name) {
            return Ok(name.to_owned());
        }
        let message = format!("Invalid '{}': {VARIABLE_FORM}.", field.path());
        Err(field.refuse("invalid_value", message))
    };
    names.iter().map(name).collect()
}

fn read_variables(field: &Field<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut variables = BTreeMap::new();
    for (name, value) in field.strings(VARIABLES_MAX, ARGUMENT_CHARS_MAX)? {
        let path = format!("{}.{}", field.path(), super::shortened(name));
        let refuse = |why: &str| {
            let message = format!("Invalid '{path}': {why}.");
            Err(ApiError::invalid(message).code("invalid_value").param(path.clone()))
        };
        if !is_variable(name) {
            return refuse(VARIABLE_FORM);
        }
        if value.contains('\0') {
            return refuse("it must not hold a NUL character");
        }
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

fn is_variable(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word) && name.starts_with(|first: char| !first.is_ascii_digit())
}

/// What the name of a variable is.
const VARIABLE_FORM: &str = "a variable's name has letters, digits and '_' and does not begin with a digit";

fn read_http(
    reader: &mut Reader<'_>,
    scope: ToolScope,
) -> Result<(McpTransport, Option<Unsealed>), ApiError> {
    let url = reader.required("server_url")?;
    let server_url = read_http_url(&url)?.to_owned();
    let headers = reader.optional_or_null("headers");
    let headers = headers.map(|field| read_headers(&field, scope)).transpose()?.unwrap_or_default();
    let authorization = match scope {
        // Left unknown on purpose: a saved agent has no such member.
        ToolScope::Saved => None,
        ToolScope::Session => {
            reader.optional_or_null("authorization").map(|f| read_authorization(&f)).transpose()?
        }
    };
    if scope == ToolScope::Saved {
        return Ok((McpTransport::Http { server_url, headers, secret: None }, None));
    }
    let secret = (authorization.is_some() || !headers.is_empty()).then(|| {
        let mut text = Map::new();
        text.extend(authorization.map(|value| ("authorization".to_owned(), json!(value))));
        text.insert("headers".to_owned(), json!(headers));
        Unsealed(Value::Object(text).to_string())
    });
    Ok((McpTransport::Http { server_url, headers: BTreeMap::new(), secret: None }, secret))
}

fn read_http_url<'a>(field: &Field<'a>) -> Result<&'a str, ApiError> {
    let text = field.text(URL_CHARS_MAX)?;
    let refuse =
        |why: &str| Err(field.refuse("url_not_allowed", format!("Invalid '{}': {why}.", field.path())));
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return refuse("it must begin with http:// or https://");
    }
    let Ok(uri) = text.parse::<Uri>() else { return refuse("it is not a URL") };
    match uri.authority() {
        None => refuse("it has no host"),
        Some(authority) if authority.host().is_empty() => refuse("it has no host"),
        Some(authority) if authority.as_str().contains('@') => {
            refuse("it must not hold credentials; use 'authorization'")
        }
        Some(_) => Ok(text),
    }
}

fn read_headers(field: &Field<'_>, scope: ToolScope) -> Result<BTreeMap<String, String>, ApiError> {
    let mut headers = BTreeMap::new();
    for (name, value) in field.strings(HEADERS_MAX, HEADER_CHARS_MAX)? {
        let refuse = |why: &str| {
            let path = format!("{}.{}", field.path(), super::shortened(name));
            Err(ApiError::invalid(format!("Invalid '{path}': {why}.")).code("invalid_header").param(path))
        };
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return refuse("it is not a header name");
        };
        if HeaderValue::from_str(value).is_err() {
            return refuse("the value holds characters a header cannot carry");
        }
        if TRANSPORT_HEADERS.contains(&parsed.as_str()) {
            return refuse("this header is set by the connection itself");
        }
        if scope == ToolScope::Saved && CREDENTIAL_HEADERS.contains(&parsed.as_str()) {
            return refuse("a saved agent cannot hold credentials; give them when a session is created");
        }
        if headers.insert(parsed.as_str().to_owned(), value.to_owned()).is_some() {
            return refuse("the header occurs twice");
        }
    }
    Ok(headers)
}

fn read_authorization(field: &Field<'_>) -> Result<String, ApiError> {
    let value = field.text(HEADER_CHARS_MAX)?;
    if HeaderValue::from_str(value).is_err() {
        let message = format!("Invalid '{}': it holds characters a header cannot carry.", field.path());
        return Err(field.refuse("invalid_header", message));
    }
    Ok(value.to_owned())
}

fn read_web_search(reader: &mut Reader<'_>) -> Result<Tool, ApiError> {
    let mut choice = |name, words: &'static [&'static str], default: &str| {
        let field: Option<Field<'_>> = reader.optional_or_null(name);
        let word = field
            .map(|field| field.word(words, |word| words.contains(&word).then(|| word.to_owned())))
            .transpose()?;
        Ok::<_, ApiError>(word.unwrap_or_else(|| default.to_owned()))
    };
    let mode = choice("mode", &["disabled", "cached", "live"], "live")?;
    let context_size = choice("context_size", &["low", "medium", "high"], "medium")?;
    let allowed_domains = reader.optional_or_null("allowed_domains");
    let allowed_domains = allowed_domains.map(|field| read_words(&field, DOMAINS_MAX)).transpose()?;
    let location = reader.optional_or_null("location").map(read_location).transpose()?;
    Ok(Tool::WebSearch { mode, context_size, allowed_domains, location })
}

/// The parts of an approximate place, in the order they are shown.
pub(crate) const LOCATION_PARTS: [&str; 4] = ["city", "country", "region", "timezone"];

fn read_location(field: Field<'_>) -> Result<Value, ApiError> {
    let mut reader = field.object()?;
    let mut location = Map::new();
    for part in LOCATION_PARTS {
        if let Some(field) = reader.optional_or_null(part) {
            location.insert(part.to_owned(), json!(field.any_text(WORD_CHARS_MAX)?));
        }
    }
    reader.finish()?;
    Ok(Value::Object(location))
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
mod tests {
    use super::*;
    use crate::read::tests::refusal;

    fn read_in(tools: Value, scope: ToolScope) -> Result<Tools, ApiError> {
        let body = json!({"tools": tools});
        Tools::read(Reader::new("agent", &body)?.required("tools")?, scope)
    }

    fn read(tools: Value) -> Result<Tools, ApiError> {
        read_in(tools, ToolScope::Session)
    }

    #[track_caller]
    fn refused(tools: Value, message: &str, param: &str) {
        assert_eq!(refusal(read(tools)), (message.to_owned(), Some(param.to_owned())));
    }

    fn function(name: &str) -> Value {
        json!({"type": "function", "name": name, "description": "", "parameters": {"type": "object"}})
    }

    #[test]
    fn reads_each_type_with_its_defaults() {
        let tools = read(json!([
            function("a b/c"), {"type": "tool_search"}, {"type": "programmatic_tool_calling"},
            {"type": "mcp", "server_label": "s", "transport": {"type": "http", "server_url": "https://x.example/mcp"}},
            {"type": "mcp", "server_label": "p", "transport": {"type": "project"}},
            {"type": "web_search"}, {"type": "computer_use"}, {"type": "automations"},
        ]))
        .expect("accepted");
        let [function, search, code, mcp, project, web, computer, automations] = tools.as_slice() else {
            panic!("eight tools");
        };
        assert!(
            matches!(function, Tool::Function(f) if f.name == "a b/c" && !f.defer_loading && !f.is_async)
        );
        assert_eq!(*search, Tool::ToolSearch);
        assert_eq!(*code, Tool::ProgrammaticToolCalling { enabled: true });
        assert!(
            matches!(mcp, Tool::Mcp(m) if m.origin == Origin::Service && m.allowed_tools.is_none() && !m.required)
        );
        assert!(matches!(project, Tool::Mcp(m) if m.transport == McpTransport::Project));
        assert!(
            matches!(web, Tool::WebSearch { mode, context_size, .. } if mode == "live" && context_size == "medium")
        );
        assert_eq!(*computer, Tool::ComputerUse { include_screenshots: false });
        assert_eq!(*automations, Tool::Automations);
        assert!(tools.secrets.is_empty());
        assert!(read(Value::Null).expect("a null clears").as_slice().is_empty());
    }

    #[test]
    fn names_the_mistake() {
        refused(
            json!([{"type": "shell"}]),
            "Invalid value: 'shell'. Supported values are: 'function', 'tool_search', \
             'programmatic_tool_calling', 'mcp', 'web_search', 'computer_use', 'automations', and 'memory'.",
            "agent.tools[0].type",
        );
        refused(
            json!([function("a"), function("a")]),
            "Invalid 'agent.tools[1]': the function 'a' occurs more than once.",
            "agent.tools[1].name",
        );
        for kind in ["web_search", "tool_search"] {
            refused(
                json!([{"type": kind}, {"type": kind}]),
                &format!("Invalid 'agent.tools[1]': the tool '{kind}' occurs more than once."),
                "agent.tools[1]",
            );
        }
        refused(
            json!([{"type": "function", "name": "f", "description": "d", "parameters": {"type": "string"}}]),
            "Invalid schema for function 'f': the root must have type 'object', but has \"string\".",
            "agent.tools[0].parameters",
        );
        refused(
            json!([{"type": "function", "name": "f", "description": "d", "parameters": {}}]),
            "Invalid schema for function 'f': the root must have type 'object', but has nothing.",
            "agent.tools[0].parameters",
        );
        refused(
            json!([{"type": "tool_search", "x": 1}]),
            "Unknown parameter: 'agent.tools[0].x'.",
            "agent.tools[0].x",
        );
        let large = json!([{"type": "function", "name": "f", "description": "d",
            "parameters": {"type": "object", "x": "y".repeat(TOOLS_BYTES_MAX)}}]);
        refused(large, "Invalid 'agent.tools': more than 3145728 bytes of JSON.", "agent.tools");
    }

    fn mcp(transport: Value) -> Value {
        json!([{"type": "mcp", "server_label": "s", "transport": transport}])
    }

    #[test]
    fn servers_are_reached_over_http_without_credentials_in_the_url() {
        for (url, why) in [
            ("file:///etc/passwd", "it must begin with http:// or https://"),
            ("ftp://x", "it must begin with http:// or https://"),
            ("https://u:p@x.example", "it must not hold credentials; use 'authorization'"),
            ("not a url", "it must begin with http:// or https://"),
            ("https://a b", "it is not a URL"),
        ] {
            refused(
                mcp(json!({"type": "http", "server_url": url})),
                &format!("Invalid 'agent.tools[0].transport.server_url': {why}."),
                "agent.tools[0].transport.server_url",
            );
        }
    }

    #[test]
    fn processes_are_read_with_their_variables_apart() {
        let transport = json!({"type": "stdio", "command": "serve", "args": ["-x", ""], "cwd": "/workspace/a",
            "env": {"TOKEN": "s3cret"}, "env_vars": ["HOME_TOWN"]});
        let tools = read(mcp(transport)).expect("accepted");
        let [
            Tool::Mcp(McpTool {
                transport: McpTransport::Stdio { command, args, cwd, env_vars, secret },
                ..
            }),
        ] = tools.as_slice()
        else {
            panic!("one process: {tools:?}");
        };
        assert_eq!((command.as_str(), cwd.as_str(), *secret), ("serve", "/workspace/a", None));
        assert_eq!(
            (args.as_slice(), env_vars.as_slice()),
            (&["-x".into(), String::new()][..], &["HOME_TOWN".into()][..])
        );
        assert!(matches!(tools.secrets.as_slice(), [(0, Unsealed(text))] if text == r#"{"TOKEN":"s3cret"}"#));
        assert_eq!(tools.with_variables(), Some(0));
        let base = || json!({"type": "stdio", "command": "x", "cwd": "/"});
        for (name, value, member, message) in [
            ("command", json!(""), "command", "it must not be empty."),
            ("cwd", json!("a"), "cwd", "it must be absolute, without '..'."),
            ("cwd", json!("/workspace/../etc"), "cwd", "it must be absolute, without '..'."),
            ("args", json!(["a\u{0}b"]), "args[0]", "it must not hold a NUL character."),
            (
                "env_vars",
                json!(["A*"]),
                "env_vars[0]",
                "a variable's name has letters, digits and '_' and does not begin with a digit.",
            ),
            (
                "env",
                json!({"1A": "x"}),
                "env.1A",
                "a variable's name has letters, digits and '_' and does not begin with a digit.",
            ),
        ] {
            let mut transport = base();
            transport[name] = value;
            let path = format!("agent.tools[0].transport.{member}");
            refused(mcp(transport), &format!("Invalid '{path}': {message}"), &path);
        }
        let saved = base().as_object().map(|base| {
            let mut transport = base.clone();
            transport.insert("env".into(), json!({"A": "b"}));
            refusal(read_in(mcp(Value::Object(transport)), ToolScope::Saved)).0
        });
        assert_eq!(saved.as_deref(), Some("Unknown parameter: 'agent.tools[0].transport.env'."));
    }

    #[test]
    fn secrets_wait_to_be_sealed_and_never_show() {
        let transport = json!({"type": "http", "server_url": "https://x.example", "authorization": "Bearer s3cret",
            "headers": {"X-Tenant": "t"}});
        let tools = read(mcp(transport)).expect("accepted");
        let expected = r#"{"authorization":"Bearer s3cret","headers":{"x-tenant":"t"}}"#;
        assert!(matches!(tools.secrets.as_slice(), [(0, Unsealed(text))] if text == expected));
        assert!(!format!("{tools:?}").contains("s3cret"));
    }

    #[test]
    fn saved_agents_hold_no_credentials() {
        let saved = |transport: Value| refusal(read_in(mcp(transport), ToolScope::Saved)).0;
        let unknown = saved(json!({"type": "http", "server_url": "https://x.example", "authorization": "x"}));
        assert_eq!(unknown, "Unknown parameter: 'agent.tools[0].transport.authorization'.");
        let header =
            saved(json!({"type": "http", "server_url": "https://x.example", "headers": {"X-Api-Key": "x"}}));
        assert!(header.contains("a saved agent cannot hold credentials"), "{header}");
    }

    #[test]
    fn sessions_refuse_what_cannot_run() {
        let place = |tools: Value| {
            refusal(refuse_unavailable_tools(read(tools).expect("accepted").as_slice(), "agent.tools")).1
        };
        assert_eq!(place(json!([{"type": "computer_use"}])).as_deref(), Some("agent.tools[0]"));
        assert_eq!(place(json!([function("f"), {"type": "web_search"}])).as_deref(), Some("agent.tools[1]"));
        let runs = json!([{"type": "web_search", "mode": "disabled"}, {"type": "automations"}]);
        let runs = read(runs).expect("accepted");
        assert_eq!(refuse_unavailable_tools(runs.as_slice(), "agent.tools"), Ok(()));
    }
}
