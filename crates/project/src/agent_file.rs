//! `agents/<name>.md`: YAML front matter between two lines of `---`, and instructions below it.

use std::collections::BTreeMap;

use serde::Serialize;
use tenure_journal::{
    AgentConfig, AgentId, ApprovalMode, Effort, ExtractionChoice, Grant, InstalledSkill, McpTool,
    McpTransport, MultiAgent, Origin, Reasoning, ReasoningSummary, ServiceTier, TextConfig, TextFormat, Tool,
    Verbosity, json,
};

use crate::environment::{ProjectEnvironment, environment};
use crate::extraction;
use crate::grants;
#[cfg(test)]
use crate::grants::GRANT_KEYS;
use crate::name::{AGENT_NAME_BYTES_MAX, AgentName, as_name};
use crate::node::{Data, Fields, Key, Node};
use crate::problem::{Code, Place, Problem, Report, quote, settle, suggest};
use crate::skill::{self, ProjectSkill};
use crate::tools;
use crate::{ProjectError, yaml};

/// An agent as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectAgent {
    /// Its name: the file's name.
    pub name: AgentName,
    /// What it is for; shown to people only.
    pub description: Option<String>,
    /// Its model; absent: the project's default.
    pub model: Option<String>,
    /// Instructions to the model: the body of the file.
    pub instructions: Option<String>,
    /// How much to think and how to show it.
    pub reasoning: Reasoning,
    /// The form of its text.
    pub text: TextConfig,
    /// The provider's service tier.
    pub service_tier: ServiceTier,
    /// Its tools: built-in ones, then functions, then MCP servers, each in the order written.
    pub tools: Vec<Tool>,
    /// Subagents.
    pub multi_agent: MultiAgent,
    /// Whether the context is compacted in the background.
    pub compaction_async: bool,
    /// Whether facts are read out of its turns; absent: as the settings say.
    pub extraction: Option<ExtractionChoice>,
    /// Whether the model is told the time.
    pub time_awareness: bool,
    /// Which tool calls wait for a person.
    pub approval: ApprovalMode,
    /// Key-value pairs of the saved agent.
    pub metadata: BTreeMap<String, String>,
    /// What every session of it is granted.
    pub grants: Vec<Grant>,
    /// Its skills, in the order written. They are found with the rest of the project.
    pub skills: Vec<ProjectSkill>,
    /// Where the command line opens its sessions; absent: they have no environment. Not part of the saved
    /// agent.
    pub environment: Option<ProjectEnvironment>,
    /// The file, relative to the project directory.
    pub source: String,
    /// What in the file was worth a warning.
    pub warnings: Vec<Problem>,
    /// Where the file names each MCP server, in the order of `tools`.
    pub(crate) servers: Vec<(String, Place)>,
    /// Where the file names each skill.
    pub(crate) skill_names: Vec<(String, Place)>,
    /// Where the file names the model.
    pub(crate) model_at: Place,
}

/// What a digest binds: everything that changes what the agent does or how it is saved.
#[derive(Serialize)]
struct Bound<'a> {
    name: &'a str,
    description: &'a Option<String>,
    model: &'a str,
    instructions: &'a Option<String>,
    reasoning: Reasoning,
    text: &'a TextConfig,
    service_tier: ServiceTier,
    tools: &'a [Tool],
    multi_agent: MultiAgent,
    compaction_async: bool,
    time_awareness: bool,
    approval: ApprovalMode,
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skills: Vec<InstalledSkill>,
    #[serde(skip_serializing_if = "<[Grant]>::is_empty")]
    grants: &'a [Grant],
    #[serde(skip_serializing_if = "Option::is_none")]
    extraction: &'a Option<ExtractionChoice>,
}

impl ProjectAgent {
    /// The configuration of version `version` of the saved agent `id`, which runs `model` unless the
    /// file names one.
    #[must_use]
    pub fn config(&self, id: AgentId, version: u64, default_model: &str) -> AgentConfig {
        AgentConfig {
            id,
            version: Some(version),
            name: Some(self.name.to_string()),
            model: self.model.clone().unwrap_or_else(|| default_model.to_owned()),
            instructions: self.instructions.clone(),
            reasoning: self.reasoning,
            text: self.text.clone(),
            service_tier: self.service_tier,
            tools: self.tools.clone(),
            multi_agent: self.multi_agent,
            compaction_async: self.compaction_async,
            time_awareness: self.time_awareness,
            approval: self.approval,
            skills: self.skills.iter().map(ProjectSkill::installed).collect(),
            grants: self.grants.clone(),
            extraction: self.extraction.clone(),
        }
    }

    /// The digest of what the file means, as `b3:` and 64 hexadecimal digits. Comments, key order and
    /// spelling do not change it; the default model does, where the file names none.
    #[must_use]
    pub fn digest(&self, default_model: &str) -> String {
        let bound = Bound {
            name: self.name.as_str(),
            description: &self.description,
            model: self.model.as_deref().unwrap_or(default_model),
            instructions: &self.instructions,
            reasoning: self.reasoning,
            text: &self.text,
            service_tier: self.service_tier,
            tools: &self.tools,
            multi_agent: self.multi_agent,
            compaction_async: self.compaction_async,
            time_awareness: self.time_awareness,
            approval: self.approval,
            metadata: &self.metadata,
            skills: self.skills.iter().map(ProjectSkill::installed).collect(),
            grants: &self.grants,
            extraction: &self.extraction,
        };
        let value = serde_json::to_value(bound).expect("names, texts and JSON values have a JSON form");
        json::digest(&value)
    }
}

/// Reads the text of the file of the agent `name`.
///
/// Pure. The names of models and MCP servers are looked up later, with the rest of the project.
///
/// # Errors
/// Every problem of the name and the file.
pub fn parse_agent_file(name: &str, text: &str) -> Result<ProjectAgent, ProjectError> {
    parse_agent_source(name, &format!("agents/{name}.md"), text)
}

/// The same for a file at another place.
pub(crate) fn parse_agent_source(name: &str, source: &str, text: &str) -> Result<ProjectAgent, ProjectError> {
    let report = Report::new(source);
    let agent = read(name, source, text, &report);
    let (mut agent, warnings) = settle(agent, report.into_problems())?;
    agent.warnings = warnings;
    Ok(agent)
}

fn read(name: &str, source: &str, text: &str, report: &Report) -> Option<ProjectAgent> {
    let parsed = AgentName::parse(name);
    if parsed.is_none() {
        let message = format!("{} cannot name an agent", quote(name));
        let rule = format!(
            "lower-case letters, digits and hyphens, at most {AGENT_NAME_BYTES_MAX}, beginning with a letter or digit"
        );
        let hint = match as_name(name) {
            Some(near) => format!("rename it to `{near}`: {rule}"),
            None => rule,
        };
        report.hinted(Code::Name, Place::default(), message, hint);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (front, body) = split(text, report)?;
    let root = yaml::read(front, FRONT_LINES_BEFORE, report)?;
    let fields = Fields::open(&root, "", KEYS, report)?;
    let instructions = body.trim();
    if instructions.contains('\0') {
        report.error(Code::Encoding, Place::default(), "the instructions hold a NUL character");
    }
    let mut agent = ProjectAgent {
        name: parsed?,
        description: None,
        model: None,
        instructions: (!instructions.is_empty()).then(|| instructions.to_owned()),
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        tools: Vec::new(),
        multi_agent: MultiAgent::default(),
        compaction_async: false,
        extraction: None,
        time_awareness: false,
        approval: ApprovalMode::Destructive,
        metadata: BTreeMap::new(),
        grants: Vec::new(),
        skills: Vec::new(),
        environment: None,
        source: source.to_owned(),
        warnings: Vec::new(),
        servers: Vec::new(),
        skill_names: Vec::new(),
        model_at: Place::default(),
    };
    if agent.instructions.is_none() {
        let message = "the agent has no instructions";
        report.warning(Code::Missing, Place::default(), message, "write them below the front matter");
    }
    fill(&mut agent, &fields, report);
    Some(agent)
}

const KEYS: &[&str] = &[
    "description",
    "model",
    "tools",
    "functions",
    "mcp",
    "skills",
    "reasoning",
    "text",
    "service_tier",
    "approval",
    "multi_agent",
    "compaction",
    "time_awareness",
    "metadata",
    "environment",
    "grants",
    "extraction",
];
const REASONING_KEYS: &[&str] = &["effort", "summary"];
const TEXT_KEYS: &[&str] = &["format", "verbosity"];
const FORMAT_KEYS: &[&str] = &["type", "name", "description", "schema", "strict"];
const FORMAT_TYPES: &[&str] = &["text", "json_schema"];
const MULTI_AGENT_KEYS: &[&str] = &["enabled", "max_concurrent_subagents"];
const COMPACTION_KEYS: &[&str] = &["async"];
const MCP_KEYS: &[&str] = &["server", "allowed_tools", "required"];

/// What the reference page must name.
#[cfg(test)]
pub(crate) const DOCUMENTED: &[&[&str]] =
    &[KEYS, REASONING_KEYS, TEXT_KEYS, MULTI_AGENT_KEYS, COMPACTION_KEYS, MCP_KEYS, GRANT_KEYS];

/// The opening `---` is the line before the front matter.
const FRONT_LINES_BEFORE: u32 = 1;
/// Characters of a description.
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// The API's limits on metadata.
const METADATA_PAIRS_MAX: usize = 16;
const METADATA_KEY_CHARS_MAX: usize = 64;
const METADATA_VALUE_CHARS_MAX: usize = 512;
/// Subagents at once, where the file enables them and gives no number.
const SUBAGENTS_DEFAULT: u32 = 6;
const SUBAGENTS_MAX: u64 = 64;

/// The front matter and the body; a file without front matter is all body.
fn split<'a>(text: &'a str, report: &Report) -> Option<(&'a str, &'a str)> {
    let is_fence = |line: &str| line.trim_end() == "---";
    let first = text.split_inclusive('\n').next().unwrap_or_default();
    if !is_fence(first) {
        return Some(("", text));
    }
    let front = &text[first.len()..];
    let mut offset = 0;
    for line in front.split_inclusive('\n') {
        if is_fence(line) {
            return Some((&front[..offset], &front[offset + line.len()..]));
        }
        offset += line.len();
    }
    let at = Place { line: 1, column: 1 };
    report.hinted(
        Code::FrontMatter,
        at,
        "the front matter does not end",
        "close it with a line `---` above the instructions",
    );
    None
}

fn fill(agent: &mut ProjectAgent, fields: &Fields<'_>, report: &Report) {
    if let Some(node) = fields.find("description") {
        agent.description = bounded(node, "`description`", DESCRIPTION_CHARS_MAX, report);
    }
    if let Some(node) = fields.find("model") {
        agent.model = node.filled("`model`", report).map(str::to_owned);
        agent.model_at = node.at;
    }
    if let Some(node) = fields.find("reasoning") {
        agent.reasoning = reasoning(node, report).unwrap_or_default();
    }
    if let Some(node) = fields.find("text") {
        agent.text = text_config(node, report).unwrap_or_default();
    }
    if let Some(node) = fields.find("service_tier") {
        let tier = node.word("`service_tier`", ServiceTier::WORDS, ServiceTier::from_word, report);
        agent.service_tier = tier.unwrap_or(ServiceTier::Auto);
    }
    if let Some(node) = fields.find("approval") {
        let mode = node.word("`approval`", ApprovalMode::WORDS, ApprovalMode::from_word, report);
        agent.approval = mode.unwrap_or(ApprovalMode::Always);
    }
    if let Some(node) = fields.find("multi_agent") {
        agent.multi_agent = multi_agent(node, report).unwrap_or_default();
    }
    if let Some(node) = fields.find("compaction") {
        agent.compaction_async = compaction(node, report).unwrap_or_default();
    }
    if let Some(node) = fields.find("extraction") {
        agent.extraction = extraction::choice(node, report);
    }
    if let Some(node) = fields.find("time_awareness") {
        agent.time_awareness = node.boolean("`time_awareness`", report).unwrap_or_default();
    }
    if let Some(node) = fields.find("grants") {
        agent.grants = grants::grants(node, report).unwrap_or_default();
    }
    if let Some(node) = fields.find("metadata") {
        agent.metadata = metadata(node, report);
    }
    if let Some(node) = fields.find("environment") {
        agent.environment = environment(node, report);
    }
    if let Some(node) = fields.find("tools") {
        agent.tools.extend(tools::built_in(node, report));
    }
    if let Some(node) = fields.find("functions") {
        agent.tools.extend(tools::functions(node, report).into_iter().map(Tool::Function));
    }
    if let Some(node) = fields.find("mcp") {
        mcp(agent, node, report);
    }
    if let Some(node) = fields.find("skills") {
        agent.skill_names = skill::names(node, report);
    }
}

fn bounded(node: &Node, what: &str, chars_max: usize, report: &Report) -> Option<String> {
    let text = node.text(what, report)?;
    if text.chars().count() > chars_max {
        report.error(Code::TooLarge, node.at, format!("{what} has more than {chars_max} characters"));
        return None;
    }
    Some(text.trim_end().to_owned())
}

fn reasoning(node: &Node, report: &Report) -> Option<Reasoning> {
    let fields = Fields::open(node, "`reasoning`", REASONING_KEYS, report)?;
    Some(Reasoning {
        effort: fields
            .find("effort")
            .and_then(|node| node.word("`effort`", Effort::WORDS, Effort::from_word, report)),
        summary: fields.find("summary").and_then(|node| {
            node.word("`summary`", ReasoningSummary::WORDS, ReasoningSummary::from_word, report)
        }),
    })
}

fn text_config(node: &Node, report: &Report) -> Option<TextConfig> {
    let fields = Fields::open(node, "`text`", TEXT_KEYS, report)?;
    let verbosity = fields
        .find("verbosity")
        .and_then(|node| node.word("`verbosity`", Verbosity::WORDS, Verbosity::from_word, report));
    let format = fields.find("format").and_then(|node| text_format(node, report));
    Some(TextConfig {
        format: format.unwrap_or(TextFormat::Text),
        verbosity: verbosity.unwrap_or(Verbosity::Medium),
    })
}

fn text_format(node: &Node, report: &Report) -> Option<TextFormat> {
    let fields = Fields::open(node, "`text.format`", FORMAT_KEYS, report)?;
    let kind = fields.require("type")?;
    let structured = kind.word(
        "`type`",
        FORMAT_TYPES,
        |word| FORMAT_TYPES.contains(&word).then_some(word == "json_schema"),
        report,
    )?;
    if !structured {
        return Some(TextFormat::Text);
    }
    let schema = fields.require("schema")?;
    schema.map("`schema`", report)?;
    let text = |key: &str| {
        let node = fields.find(key)?;
        node.text(&format!("`{key}`"), report).map(str::to_owned)
    };
    Some(TextFormat::JsonSchema {
        name: text("name"),
        description: text("description"),
        schema: schema.value("`schema`", report)?,
        strict: fields.find("strict").and_then(|node| node.boolean("`strict`", report)),
    })
}

fn multi_agent(node: &Node, report: &Report) -> Option<MultiAgent> {
    let fields = Fields::open(node, "`multi_agent`", MULTI_AGENT_KEYS, report)?;
    let enabled = fields.require("enabled")?.boolean("`enabled`", report)?;
    let number = fields.find("max_concurrent_subagents");
    if let (false, Some(node)) = (enabled, number) {
        let message = "`max_concurrent_subagents` has no meaning while `enabled` is false";
        report.error(Code::Conflict, node.at, message);
    }
    let wanted = match number {
        Some(node) => {
            let found = node.integer("`max_concurrent_subagents`", 1..=SUBAGENTS_MAX, report)?;
            u32::try_from(found).unwrap_or(SUBAGENTS_DEFAULT)
        }
        None => SUBAGENTS_DEFAULT,
    };
    Some(MultiAgent { enabled, max_concurrent_subagents: enabled.then_some(wanted) })
}

fn compaction(node: &Node, report: &Report) -> Option<bool> {
    let fields = Fields::open(node, "`compaction`", COMPACTION_KEYS, report)?;
    fields.find("async")?.boolean("`async`", report)
}

fn metadata(node: &Node, report: &Report) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    let entries = node.map("`metadata`", report).unwrap_or_default();
    if entries.len() > METADATA_PAIRS_MAX {
        let message = format!("`metadata` has more than {METADATA_PAIRS_MAX} pairs");
        report.error(Code::TooLarge, node.at, message);
    }
    for (Key { at, name }, node) in entries {
        if name.is_empty() || name.chars().count() > METADATA_KEY_CHARS_MAX {
            let message = format!("a key of `metadata` has 1 to {METADATA_KEY_CHARS_MAX} characters");
            report.error(Code::Name, *at, message);
        }
        let what = quote(&format!("metadata.{name}"));
        if let Some(value) = bounded(node, &what, METADATA_VALUE_CHARS_MAX, report) {
            pairs.insert(name.clone(), value);
        }
    }
    pairs
}

fn mcp(agent: &mut ProjectAgent, node: &Node, report: &Report) {
    for entry in node.list("`mcp`", report).unwrap_or_default() {
        let Some((tool, at)) = mcp_tool(entry, report) else { continue };
        if agent.servers.iter().any(|(name, _)| *name == tool.server_label) {
            let message = format!("the server {} is listed twice", quote(&tool.server_label));
            report.error(Code::Duplicate, at, message);
            continue;
        }
        agent.servers.push((tool.server_label.clone(), at));
        agent.tools.push(Tool::Mcp(tool));
    }
}

/// A server's name, or a map with its name and how it may be used.
fn mcp_tool(node: &Node, report: &Report) -> Option<(McpTool, Place)> {
    let mut tool = McpTool {
        server_label: String::new(),
        transport: McpTransport::Project,
        allowed_tools: None,
        origin: Origin::Service,
        credential_id: None,
        required: false,
        request_metadata: serde_json::Map::new(),
    };
    if let Data::Text(_) = &node.data {
        tool.server_label = node.filled("a name in `mcp`", report)?.to_owned();
        return Some((tool, node.at));
    }
    let fields = Fields::open(node, "`mcp`", MCP_KEYS, report)?;
    let server = fields.require("server")?;
    tool.server_label = server.filled("`server`", report)?.to_owned();
    if let Some(node) = fields.find("allowed_tools") {
        tool.allowed_tools = Some(node.texts("`allowed_tools`", report)?);
    }
    if let Some(node) = fields.find("required") {
        tool.required = node.boolean("`required`", report)?;
    }
    Some((tool, server.at))
}

/// Reports servers that `mcp.json` does not have.
pub(crate) fn check_servers(agent: &ProjectAgent, known: &[&str], disabled: &[String], report: &Report) {
    for (name, at) in &agent.servers {
        if disabled.contains(name) {
            let message = format!("the server {} is disabled in `mcp.json`", quote(name));
            report.hinted(Code::Reference, *at, message, "enable it there, or remove it here");
        } else if !known.contains(&name.as_str()) {
            let message = format!("`mcp.json` has no server {}", quote(name));
            report.hinted(Code::Reference, *at, message, suggest(name, "servers", known));
        }
    }
}
