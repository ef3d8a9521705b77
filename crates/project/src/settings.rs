//! `tenure.yaml`: providers, models, limits and the server's address.
//!
//! Everything is optional. Without `providers` the server looks for one at start ([`crate::provider`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::budgets::{Budgets, budgets};
use crate::cloud::{ANTHROPIC_KEYS, AZURE_KEYS, BEDROCK_KEYS, CLOUD_TYPES, Cloud, cloud};
use crate::env::{Env, Redacted, Resolver, Unset, as_reference, is_name};
use crate::hosting::{Environments, environments};
use crate::memory::{Memory, memory};
use crate::node::{Fields, Node};
use crate::outbound::{Telemetry, Vaults, Webhooks, telemetry, vaults, webhooks};
use crate::people::{People, people};
use crate::problem::{Code, Problem, Report, listed, quote, settle, suggest};
use crate::route::{FACT_KEYS, Facts, ModelAlias, facts, model};
use crate::{ProjectError, yaml};

/// The file's name.
pub const SETTINGS_FILE: &str = "tenure.yaml";

/// What `tenure.yaml` means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Where models are, by the name the file gives each. Empty: look for one at start.
    pub providers: BTreeMap<String, Provider>,
    /// What the file says of all routes through a provider, by its name.
    pub facts: BTreeMap<String, Facts>,
    /// Names for models.
    pub models: BTreeMap<String, ModelAlias>,
    /// The model of agents that name none: a name of `models`, or one the default provider knows.
    pub default_model: Option<String>,
    /// The model that is asked about calls of sessions with `review: auto_review`, before people are.
    pub reviewer: Option<String>,
    /// How much at once.
    pub limits: Limits,
    /// Where the server listens and whom it answers.
    pub server: Server,
    /// Where webhooks may go.
    pub webhooks: Webhooks,
    /// Where credentials may be used and renewed.
    pub vaults: Vaults,
    /// What is told to those who watch the server.
    pub telemetry: Telemetry,
    /// What holds for tool servers that clients name.
    pub tool_servers: ToolServers,
    /// What holds for environments that this server hosts.
    pub environments: Environments,
    /// Whether the audit log is told who read what.
    pub audit: AuditSettings,
    /// How what was said is recalled.
    pub memory: Memory,
    /// What may be used of models, by whom, in what time.
    pub budgets: Budgets,
    /// How people sign in; absent: they do not, and API keys are all there is.
    pub people: Option<People>,
}

/// What holds for tool servers that clients name; those of `mcp.json` are the operator's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolServers {
    /// Whether they may stand at private addresses.
    pub private_addresses: bool,
}

impl Default for ToolServers {
    /// They may: a server of one's own often stands beside this one.
    fn default() -> Self {
        Self { private_addresses: true }
    }
}

/// What the audit log is told beside what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSettings {
    /// Who read what of sessions and files.
    pub reads: bool,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { reads: true }
    }
}

/// A service that offers models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// Speaks one of OpenAI's wire formats.
    OpenAi {
        /// Which.
        wire: Wire,
        /// The address that paths such as `/responses` are appended to; no final slash.
        base_url: String,
        /// Sent as a bearer token.
        api_key: Option<Redacted>,
        /// Whether the provider is asked to keep the answers: such calls make state there.
        store: bool,
        /// Model calls in flight there, from all nodes; absent: as many as `limits` lets a server make.
        model_calls_max: Option<u64>,
    },
    /// Anthropic, Amazon Bedrock or Azure OpenAI.
    Cloud(Box<Cloud>),
    /// The scripted model.
    Scripted {
        /// Its script, relative to the project directory.
        script: String,
        /// As for the others.
        model_calls_max: Option<u64>,
    },
}

impl Provider {
    /// Model calls in flight there, from all nodes; absent: as many as `limits` lets a server make.
    #[must_use]
    pub fn model_calls_max(&self) -> Option<u64> {
        match self {
            Self::OpenAi { model_calls_max, .. } | Self::Scripted { model_calls_max, .. } => *model_calls_max,
            Self::Cloud(cloud) => cloud.model_calls_max,
        }
    }
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions.
    Chat,
    /// Anthropic Messages.
    Anthropic,
    /// Bedrock Converse.
    Converse,
}

impl Wire {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Chat => "chat",
            Self::Anthropic => "anthropic",
            Self::Converse => "converse",
        }
    }
}

/// What a model costs, in millionths of a US dollar per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Input tokens that were not cached.
    pub input: u64,
    /// Input tokens read from the provider's cache.
    pub cached_input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
}

/// How much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions held in memory; others wait on disk.
    pub sessions_active: Limit,
    /// Requests that sessions are carrying out.
    pub messages_waiting: Limit,
    /// Open event streams.
    pub streams: Limit,
    /// Bytes of request bodies that are being handled.
    pub body_bytes_in_flight: Limit,
    /// Model calls in flight, over all sessions.
    pub model_calls: Limit,
    /// Tool calls in flight, over all sessions.
    pub tool_calls: Limit,
    /// Places in a round of a project, by its name, where others have one.
    pub project_weights: BTreeMap<String, u64>,
}

/// How much of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// In the whole server.
    pub max: u64,
    /// In one project.
    pub per_project_max: u64,
}

impl Limit {
    /// So much, of which one project may have three quarters.
    fn leaving_room(max: u64) -> Self {
        Self { max, per_project_max: (max - max / 4).max(1) }
    }

    /// So much, all of which one project may have.
    fn shared(max: u64) -> Self {
        Self { max, per_project_max: max }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_active: Limit::leaving_room(1024),
            messages_waiting: Limit::leaving_room(4096),
            streams: Limit::leaving_room(2048),
            body_bytes_in_flight: Limit::leaving_room(256 * 1024 * 1024),
            model_calls: Limit::shared(64),
            tool_calls: Limit::shared(64),
            project_weights: BTreeMap::new(),
        }
    }
}

/// Where the server listens and whom it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port; zero lets the system choose.
    pub port: u16,
    /// Names accepted in the `Host` header beside loopback names and `bind`, without a port.
    pub allowed_hosts: Vec<String>,
    /// Where clients and executors elsewhere find the server, such as `https://agents.example`.
    pub public_url: Option<String>,
    /// Origins of web pages that may call the server, such as `https://app.example`.
    pub allowed_origins: Vec<String>,
}

/// Where a server listens if nothing says otherwise.
pub const PORT_DEFAULT: u16 = 7878;

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            port: PORT_DEFAULT,
            allowed_hosts: Vec::new(),
            public_url: None,
            allowed_origins: Vec::new(),
        }
    }
}

impl Settings {
    /// The provider of models that name none: that of the default model, or else the only one.
    /// `None` when there are several and nothing chooses, or when none is configured.
    #[must_use]
    pub fn default_provider(&self) -> Option<&str> {
        let of_default = self.default_model.as_deref().and_then(|name| self.models.get(name));
        let named =
            of_default.and_then(|alias| alias.routes.iter().find_map(|route| route.provider.as_deref()));
        named.or_else(|| match self.providers.len() {
            1 => self.providers.keys().next().map(String::as_str),
            _ => None,
        })
    }

    /// The alias of that name, or the name itself as a model of the default provider.
    #[must_use]
    pub fn model(&self, name: &str) -> ModelAlias {
        self.models.get(name).cloned().unwrap_or_else(|| ModelAlias::of_name(name))
    }
}

/// Reads the text of `tenure.yaml`. `${NAME}` in `base_url` and `api_key` is taken from `env`.
///
/// # Errors
/// Every problem of the file. The second value of a success is its warnings.
pub fn parse_settings(text: &str, env: &Env, unset: Unset) -> Result<(Settings, Vec<Problem>), ProjectError> {
    let report = Report::new(SETTINGS_FILE);
    let resolver = Resolver { env, unset };
    let settings = yaml::read(text, 0, &report).and_then(|root| read(&root, resolver, &report));
    settle(settings, report.into_problems())
}

const KEYS: &[&str] = &[
    "providers",
    "models",
    "default_model",
    "reviewer",
    "limits",
    "server",
    "webhooks",
    "vaults",
    "telemetry",
    "tool_servers",
    "environments",
    "people",
    "audit",
    "memory",
    "budgets",
];
/// Keys of every provider, beside the facts about its routes.
const COMMON_KEYS: &[&str] = &["type", "model_calls_max"];
const OPENAI_KEYS: &[&str] = &["wire", "base_url", "api_key", "api_key_env", "store"];
const SCRIPTED_KEYS: &[&str] = &["script"];
const PROVIDER_TYPES: &[&str] = &["openai", "anthropic", "bedrock", "azure", "scripted"];
const PRICE_KEYS: &[&str] = &["input", "cached_input", "output"];
const LIMIT_KEYS: &[&str] = &[
    "sessions_active_max",
    "sessions_active_per_project_max",
    "messages_waiting_max",
    "messages_waiting_per_project_max",
    "streams_max",
    "streams_per_project_max",
    "body_bytes_in_flight_max",
    "body_bytes_in_flight_per_project_max",
    "model_calls_max",
    "model_calls_per_project_max",
    "tool_calls_max",
    "tool_calls_per_project_max",
    "project_weights",
];
const TOOL_SERVER_KEYS: &[&str] = &["private_addresses"];
const AUDIT_KEYS: &[&str] = &["reads"];
const SERVER_KEYS: &[&str] = &["bind", "port", "allowed_hosts", "allowed_origins", "public_url"];

/// What the reference page must name.
#[cfg(test)]
pub(crate) const DOCUMENTED: &[&[&str]] = &[
    KEYS,
    COMMON_KEYS,
    OPENAI_KEYS,
    SCRIPTED_KEYS,
    BEDROCK_KEYS,
    AZURE_KEYS,
    crate::cloud::ENTRA_KEYS,
    PROVIDER_TYPES,
    FACT_KEYS,
    crate::route::ROUTE_KEYS,
    crate::route::MODEL_KEYS,
    crate::contract::CONTRACT_KEYS,
    crate::contract::CLAUSE_KEYS,
    crate::contract::APPLIES_KEYS,
    crate::contract::TERM_KEYS,
    PRICE_KEYS,
    LIMIT_KEYS,
    SERVER_KEYS,
    crate::outbound::WEBHOOK_KEYS,
    crate::outbound::TELEMETRY_KEYS,
    TOOL_SERVER_KEYS,
    AUDIT_KEYS,
    crate::hosting::ENVIRONMENT_KEYS,
    crate::packages::PACKAGE_KEYS,
    crate::hosting::MinIsolation::WORDS,
    crate::people::PEOPLE_KEYS,
    crate::memory::MEMORY_KEYS,
    crate::memory::EMBEDDING_KEYS,
    crate::budgets::BUDGET_KEYS,
    crate::budgets::PERIOD_KEYS,
    crate::budgets::CAP_KEYS,
    crate::extraction::EXTRACTION_KEYS,
    crate::people::ALGORITHMS,
    crate::people::PEOPLE_SCOPES,
];

/// The official address, used when a provider of type `openai` names none.
pub(crate) const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";

fn read(root: &Node, resolver: Resolver<'_>, report: &Report) -> Option<Settings> {
    let fields = Fields::open(root, "", KEYS, report)?;
    let mut settings = Settings::default();
    if let Some(node) = fields.find("providers") {
        settings.providers =
            named(node, "providers", report, |name, node| provider(name, node, resolver, report));
        for (key, node) in node.map("`providers`", report).unwrap_or_default() {
            if settings.providers.contains_key(&key.name) {
                let fields = Fields::open_any(node, "", report)?;
                settings.facts.insert(key.name.clone(), facts(&fields, report)?);
            }
        }
    }
    if let Some(node) = fields.find("models") {
        settings.models = named(node, "models", report, |name, node| model(name, node, report));
        check_model_providers(node, &settings, report);
    }
    if let Some(node) = fields.find("default_model") {
        settings.default_model = node.filled("`default_model`", report).map(str::to_owned);
    }
    if let Some(node) = fields.find("reviewer") {
        settings.reviewer = node.filled("`reviewer`", report).map(str::to_owned);
    }
    if let Some(node) = fields.find("limits") {
        settings.limits = limits(node, report)?;
    }
    if let Some(node) = fields.find("server") {
        settings.server = server(node, report)?;
    }
    if let Some(node) = fields.find("webhooks") {
        settings.webhooks = webhooks(node, report)?;
    }
    if let Some(node) = fields.find("vaults") {
        settings.vaults = vaults(node, report)?;
    }
    if let Some(node) = fields.find("audit") {
        let fields = Fields::open(node, "`audit`", AUDIT_KEYS, report)?;
        if let Some(node) = fields.find("reads") {
            settings.audit.reads = node.boolean("`reads`", report)?;
        }
    }
    if let Some(node) = fields.find("memory") {
        settings.memory = memory(node, report)?;
    }
    if let Some(node) = fields.find("budgets") {
        settings.budgets = budgets(node, report)?;
    }
    if let Some(node) = fields.find("people") {
        settings.people = Some(people(node, report)?);
    }
    if let Some(node) = fields.find("telemetry") {
        settings.telemetry = telemetry(node, report)?;
    }
    if let Some(node) = fields.find("tool_servers") {
        let fields = Fields::open(node, "`tool_servers`", TOOL_SERVER_KEYS, report)?;
        if let Some(node) = fields.find("private_addresses") {
            settings.tool_servers.private_addresses = node.boolean("`private_addresses`", report)?;
        }
    }
    if let Some(node) = fields.find("environments") {
        settings.environments = environments(node, report)?;
    }
    Some(settings)
}

/// A map from names that people choose; entries with problems are left out.
fn named<T>(
    node: &Node,
    what: &str,
    report: &Report,
    read: impl Fn(&str, &Node) -> Option<T>,
) -> BTreeMap<String, T> {
    let entries = node.map(&format!("`{what}`"), report).unwrap_or_default();
    let mut found = BTreeMap::new();
    for (key, node) in entries {
        if key.name.trim().is_empty() || key.name.len() > NAME_BYTES_MAX {
            let message = format!("a name in `{what}` has 1 to {NAME_BYTES_MAX} bytes");
            report.error(Code::Name, key.at, message);
        } else if let Some(value) = read(&key.name, node) {
            found.insert(key.name.clone(), value);
        }
    }
    found
}

/// What may be counted at once.
const NUMBERS: RangeInclusive<u64> = 1..=1_000_000;

/// Model names of gateways are paths; longer ones are mistakes.
const NAME_BYTES_MAX: usize = 128;

fn provider(name: &str, node: &Node, resolver: Resolver<'_>, report: &Report) -> Option<Provider> {
    let what = format!("provider {}", quote(name));
    // The keys depend on the type, so a wrong key is judged once the type is known.
    let fields = Fields::open_any(node, &what, report)?;
    let kind = fields.require("type")?.word(
        "`type`",
        PROVIDER_TYPES,
        |word| PROVIDER_TYPES.iter().copied().find(|known| *known == word),
        report,
    )?;
    let known = keys_of(kind);
    for (key, _) in fields.entries() {
        if known.contains(&key.name.as_str()) {
            continue;
        }
        if PROVIDER_TYPES.iter().any(|kind| keys_of(kind).contains(&key.name.as_str())) {
            let message = format!("{} has no meaning for a provider of type `{kind}`", listed(&[&key.name]));
            report.hinted(Code::Conflict, key.at, message, format!("the keys are {}", listed(&known)));
        } else {
            fields.unknown(key, &known);
        }
    }
    let model_calls_max =
        fields.find("model_calls_max").and_then(|node| node.integer("`model_calls_max`", NUMBERS, report));
    if kind == "scripted" {
        let script = fields.require("script")?.filled("`script`", report)?;
        return Some(Provider::Scripted { script: script.to_owned(), model_calls_max });
    }
    if CLOUD_TYPES.contains(&kind) {
        let cloud = cloud(kind, &fields, resolver, model_calls_max, report)?;
        return Some(Provider::Cloud(Box::new(cloud)));
    }
    let wire = match fields.find("wire") {
        Some(node) => node.word("`wire`", &["responses", "chat"], wire, report),
        None => Some(Wire::Responses),
    };
    let base_url = match fields.find("base_url") {
        Some(node) => base_url(node, resolver, report),
        None => Some(OPENAI_BASE_URL.to_owned()),
    };
    let api_key = api_key(&fields, resolver, report);
    let store = store(&fields, report)?;
    Some(Provider::OpenAi { wire: wire?, base_url: base_url?, api_key, store, model_calls_max })
}

/// Whether the provider is asked to keep the answers.
pub(crate) fn store(fields: &Fields<'_>, report: &Report) -> Option<bool> {
    match fields.find("store") {
        Some(node) => node.boolean("`store`", report),
        None => Some(false),
    }
}

/// The keys of providers of a type.
fn keys_of(kind: &str) -> Vec<&'static str> {
    let own = match kind {
        "scripted" => SCRIPTED_KEYS,
        "anthropic" => ANTHROPIC_KEYS,
        "bedrock" => BEDROCK_KEYS,
        "azure" => AZURE_KEYS,
        _ => OPENAI_KEYS,
    };
    [COMMON_KEYS, own, FACT_KEYS].concat()
}

fn wire(word: &str) -> Option<Wire> {
    match word {
        "responses" => Some(Wire::Responses),
        "chat" => Some(Wire::Chat),
        _ => None,
    }
}

pub(crate) fn base_url(node: &Node, resolver: Resolver<'_>, report: &Report) -> Option<String> {
    let text = node.filled("`base_url`", report)?;
    let url = resolver.substitute(text, "`base_url`", node.at, report)?;
    if url.is_empty() {
        // Only for a variable that is not set and only warned about.
        return Some(url);
    }
    check_url(&url, "`base_url`", node, report)?;
    Some(url.trim_end_matches('/').to_owned())
}

/// An absolute HTTP address without credentials. The values may be secret: they are not quoted.
pub(crate) fn check_url(url: &str, what: &str, node: &Node, report: &Report) -> Option<()> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let problem = match authority {
        None => "must begin with `http://` or `https://`",
        Some("") => "has no host",
        Some(authority) if authority.contains('@') => "must not hold a user name or password",
        Some(_) if url.contains(|c: char| c.is_whitespace() || c.is_control()) => "has a space in it",
        Some(_) => return Some(()),
    };
    report.error(Code::Url, node.at, format!("{what} {problem}"));
    None
}

pub(crate) fn api_key(fields: &Fields<'_>, resolver: Resolver<'_>, report: &Report) -> Option<Redacted> {
    let named = fields.find("api_key_env");
    let Some(node) = fields.find("api_key") else {
        let node = named?;
        let name = node.filled("`api_key_env`", report)?;
        let value = resolver.value(name, "`api_key_env`", node.at, report)?;
        return Some(Redacted::new(value));
    };
    if let Some(other) = named {
        let message = "`api_key` and `api_key_env` exclude each other";
        report.hinted(Code::Conflict, other.at, message, "keep one of them");
    }
    let text = node.filled("`api_key`", report)?;
    let Some(name) = as_reference(text) else {
        // Whoever wrote a bare name here meant the variable of that name.
        let wanted = if text.len() < 64 && text.contains('_') && is_name(text) && !text.starts_with("sk") {
            format!("${{{text}}}")
        } else {
            "${OPENAI_API_KEY}".to_owned()
        };
        let message = "`api_key` must refer to an environment variable: files are committed, keys are not";
        report.hinted(
            Code::Secret,
            node.at,
            message,
            format!("write `api_key: {wanted}` and put the value into `.env`"),
        );
        return None;
    };
    resolver.value(name, "`api_key`", node.at, report).map(Redacted::new)
}

/// A bound on token counts that no model comes near.
pub(crate) const TOKENS_MAX: u64 = 1_000_000_000;

pub(crate) fn price(node: &Node, report: &Report) -> Option<Price> {
    let fields = Fields::open(node, "`price_usd_per_million`", PRICE_KEYS, report)?;
    let amount = |node: &Node, key: &str| micro_dollars(node, &format!("`{key}`"), report);
    let input = amount(fields.require("input")?, "input");
    let output = amount(fields.require("output")?, "output");
    let cached = fields.find("cached_input").map(|node| amount(node, "cached_input"));
    let (input, output) = (input?, output?);
    Some(Price { input, cached_input: cached.unwrap_or(Some(input))?, output })
}

fn micro_dollars(node: &Node, what: &str, report: &Report) -> Option<u64> {
    const DOLLARS_MAX: f64 = 1_000_000.0;
    let dollars = node.number(what, report)?;
    if !(0.0..=DOLLARS_MAX).contains(&dollars) {
        report.error(Code::Range, node.at, format!("{what} must be from 0 to 1000000 US dollars"));
        return None;
    }
    // Below 10^12, so the rounding to an integer is exact.
    Some((dollars * 1e6).round() as u64)
}

/// A model's provider must be one of the file's; without any, the one found at start serves all.
fn check_model_providers(node: &Node, settings: &Settings, report: &Report) {
    let known: Vec<_> = settings.providers.keys().map(String::as_str).collect();
    let Some(entries) = node.map("`models`", report) else { return };
    for (key, node) in entries {
        let Some(alias) = settings.models.get(&key.name) else { continue };
        for route in &alias.routes {
            let Some(wanted) = route.provider.as_deref().filter(|wanted| !known.contains(wanted)) else {
                continue;
            };
            let at = Fields::open_any(node, "", report).and_then(|fields| fields.find("provider"));
            let at = at.map_or(key.at, |node| node.at);
            let message = format!("model {} wants a provider {}", quote(&key.name), quote(wanted));
            report.hinted(Code::Reference, at, message, suggest(wanted, "providers", &known));
        }
    }
}

fn limits(node: &Node, report: &Report) -> Option<Limits> {
    /// From the largest body that there may be to more than a machine has.
    const BYTES: RangeInclusive<u64> = 4 * 1024 * 1024..=1 << 40;
    const WEIGHTS: RangeInclusive<u64> = 1..=100;
    let fields = Fields::open(node, "`limits`", LIMIT_KEYS, report)?;
    let number = |key: &str, range: RangeInclusive<u64>| {
        fields.find(key).and_then(|node| node.integer(&format!("`{key}`"), range, report))
    };
    // A project's limit follows the server's where only that is written.
    let read = |what: &str, range: RangeInclusive<u64>, default: Limit, follow: fn(u64) -> Limit| {
        let limit = number(&format!("{what}_max"), range.clone()).map_or(default, follow);
        let key = format!("{what}_per_project_max");
        let per_project_max = number(&key, range).unwrap_or(limit.per_project_max);
        if per_project_max > limit.max
            && let Some(node) = fields.find(&key)
        {
            let message = format!("`{key}` is above `{what}_max`");
            report.hinted(
                Code::Range,
                node.at,
                message,
                format!("{per_project_max} is more than {}", limit.max),
            );
        }
        Limit { per_project_max, ..limit }
    };
    let (room, all) = (Limit::leaving_room, Limit::shared);
    let default = Limits::default();
    let mut project_weights = BTreeMap::new();
    if let Some(node) = fields.find("project_weights") {
        project_weights = named(node, "project_weights", report, |name, node| {
            node.integer(&format!("the weight of {}", quote(name)), WEIGHTS, report)
        });
    }
    Some(Limits {
        sessions_active: read("sessions_active", NUMBERS, default.sessions_active, room),
        messages_waiting: read("messages_waiting", NUMBERS, default.messages_waiting, room),
        streams: read("streams", NUMBERS, default.streams, room),
        body_bytes_in_flight: read("body_bytes_in_flight", BYTES, default.body_bytes_in_flight, room),
        model_calls: read("model_calls", NUMBERS, default.model_calls, all),
        tool_calls: read("tool_calls", NUMBERS, default.tool_calls, all),
        project_weights,
    })
}

fn server(node: &Node, report: &Report) -> Option<Server> {
    let fields = Fields::open(node, "`server`", SERVER_KEYS, report)?;
    let mut server = Server::default();
    if let Some(node) = fields.find("bind") {
        let text = node.filled("`bind`", report)?;
        match text.parse() {
            Ok(address) => server.bind = address,
            Err(_) => {
                let message = format!("`bind` is not an IP address: {}", quote(text));
                report.hinted(
                    Code::Type,
                    node.at,
                    message,
                    "such as `127.0.0.1` or `0.0.0.0`; the port is a key of its own",
                );
            }
        }
    }
    if let Some(node) = fields.find("port") {
        let port = node.integer("`port`", 0..=u64::from(u16::MAX), report)?;
        server.port = u16::try_from(port).unwrap_or(PORT_DEFAULT);
    }
    if let Some(node) = fields.find("allowed_hosts") {
        server.allowed_hosts = node.texts("`allowed_hosts`", report)?;
        for host in server.allowed_hosts.iter().filter(|host| !is_host(host)) {
            let message = format!("`allowed_hosts` holds {}, which is not a host name", quote(host));
            report.hinted(
                Code::Url,
                node.at,
                message,
                "a name such as `agents.example`, without scheme or port",
            );
        }
    }
    if let Some(node) = fields.find("public_url") {
        let url = node.text("`public_url`", report)?.to_owned();
        if !is_origin(&url) {
            let message = format!("`public_url` is {}, which is not an address of a server", quote(&url));
            report.hinted(
                Code::Url,
                node.at,
                message,
                "scheme, host and port only, such as `https://agents.example`",
            );
        }
        server.public_url = Some(url);
    }
    if let Some(node) = fields.find("allowed_origins") {
        server.allowed_origins = node.texts("`allowed_origins`", report)?;
        for origin in server.allowed_origins.iter().filter(|origin| !is_origin(origin)) {
            let message = format!("`allowed_origins` holds {}, which is not an origin", quote(origin));
            report.hinted(
                Code::Url,
                node.at,
                message,
                "scheme, host and port only, such as `https://app.example`",
            );
        }
    }
    Some(server)
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let (host, port) = rest.split_once(':').unwrap_or((rest, "443"));
        is_host(host) && port.parse::<u16>().is_ok()
    })
}
