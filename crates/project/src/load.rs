//! Reading a project directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::ProjectError;
use crate::agent_file::{ProjectAgent, check_servers, parse_agent_source};
use crate::contract::{CONTRACTS_DIRECTORY, CONTRACTS_MAX, ContractFile, parse_contract};
use crate::env::{Env, Unset, parse_dot_env};
use crate::mcp::{MCP_FILE, McpFile, McpServer, parse_mcp_file};
use crate::name::AgentName;
use crate::problem::{Code, Place, Problem, Report, quote, settle};
use crate::settings::{Provider, SETTINGS_FILE, Settings, parse_settings};
use crate::skill::{self, ProjectSkill, SKILLS_DIRECTORY};

/// Bytes of one project file: people write them.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Agents of one project directory.
pub const AGENTS_MAX: usize = 1000;
/// Policy files of one project directory.
pub const POLICIES_MAX: usize = 1000;
/// Where policies are.
const POLICIES_DIRECTORY: &str = "policies";
/// Where it is written down what policies must never allow.
const INVARIANTS_DIRECTORY: &str = "policies/invariants";
/// Skills in one directory of skills.
pub const SKILLS_MAX: usize = 1000;

/// A project directory that has been read and checked as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// The directory.
    pub root: PathBuf,
    /// `tenure.yaml`.
    pub settings: Settings,
    /// `agents/`, by name.
    pub agents: BTreeMap<AgentName, ProjectAgent>,
    /// `mcp.json`, by name, without disabled servers.
    pub servers: BTreeMap<String, McpServer>,
    /// `policies/*.cedar`, by path. They are not parsed here.
    pub policies: Vec<PolicyFile>,
    /// `policies/invariants/*.cedar`, by path: what the policies must never allow. They are not parsed here.
    pub invariants: Vec<PolicyFile>,
    /// `contracts/*.yaml`, by name.
    pub contracts: Vec<ContractFile>,
    /// The environment: what was given and, beneath it, `.env`.
    pub env: Env,
    /// What is worth knowing and stops nothing.
    pub warnings: Vec<Problem>,
}

/// A file of Cedar policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Where it is, relative to the project directory.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Project {
    /// Reads and checks the directory `root`. `env` is the real environment; `.env` never overrides it.
    ///
    /// Reads files and nothing else: no network, no process, no environment.
    ///
    /// # Errors
    /// Every problem of every file, in the order of files and places.
    pub fn load(root: &Path, env: &Env, unset: Unset) -> Result<Self, ProjectError> {
        let mut found = Found::default();
        if !root.is_dir() {
            let report = Report::new(&root.display().to_string());
            report.error(Code::Missing, Place::default(), "there is no such directory");
            return settle(None, report.into_problems()).map(|(project, _)| project);
        }
        let env = match found.read(root, ".env") {
            Some(text) => env.or(&found.keep(parse_dot_env(&text)).unwrap_or_default()),
            None => env.clone(),
        };
        let settings = match found.read(root, SETTINGS_FILE) {
            Some(text) => {
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                found.keep_with_warnings(parse_settings(text, &env, unset))
            }
            None => Some(Settings::default()),
        };
        let mcp = match found.read(root, MCP_FILE) {
            Some(text) => found.keep_with_warnings(parse_mcp_file(&text, &env, unset)),
            None => Some(McpFile::default()),
        };
        let mut agents = found.agents(root);
        found.give_skills(root, &mut agents);
        let policies = found.policies(root, POLICIES_DIRECTORY);
        let invariants = found.policies(root, INVARIANTS_DIRECTORY);
        let contracts = found.contracts(root);
        if let Some(settings) = &settings {
            found.check_scripts(root, settings);
        }
        found.check_agents(&agents, settings.as_ref(), mcp.as_ref());
        found.check_files(root, &agents);
        let servers = mcp.unwrap_or_default().servers;
        let settings = settings.unwrap_or_default();
        let project = Self {
            root: root.to_owned(),
            settings,
            agents,
            servers,
            policies,
            invariants,
            contracts,
            env,
            warnings: Vec::new(),
        };
        let (mut project, warnings) = settle(Some(project), found.problems)?;
        project.warnings = warnings;
        Ok(project)
    }
}

/// Problems found so far.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
}

impl Found {
    fn keep<T>(&mut self, parsed: Result<T, ProjectError>) -> Option<T> {
        parsed.map_err(|error| self.problems.extend_from_slice(error.problems())).ok()
    }

    fn keep_with_warnings<T>(&mut self, parsed: Result<(T, Vec<Problem>), ProjectError>) -> Option<T> {
        let (value, warnings) = self.keep(parsed)?;
        self.problems.extend(warnings);
        Some(value)
    }

    fn report(&mut self, file: &str, tell: impl FnOnce(&Report)) {
        let report = Report::new(file);
        tell(&report);
        self.problems.extend(report.into_problems());
    }

    /// The text of a file, or `None` if there is none or it was reported.
    fn read(&mut self, root: &Path, path: &str) -> Option<String> {
        match read_text(&root.join(path)) {
            Ok(text) => text,
            Err((code, message)) => {
                self.report(path, |report| report.error(code, Place::default(), message));
                None
            }
        }
    }

    /// The entries of a directory, hidden ones left out, sorted; empty if it does not exist.
    fn entries(&mut self, root: &Path, directory: &str) -> Option<Vec<String>> {
        let entries = match fs::read_dir(root.join(directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                let message = format!("cannot be read: {}", reason(&error));
                self.report(directory, |report| report.error(Code::Unreadable, Place::default(), message));
                return None;
            }
        };
        let mut names = Vec::new();
        for entry in entries.flatten() {
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with('.') => {}
                Ok(name) => names.push(name),
                Err(name) => {
                    let path = format!("{directory}/{}", name.to_string_lossy());
                    self.report(&path, |report| {
                        report.error(Code::Encoding, Place::default(), "the file's name is not UTF-8");
                    });
                }
            }
        }
        names.sort();
        Some(names)
    }

    fn agents(&mut self, root: &Path) -> BTreeMap<AgentName, ProjectAgent> {
        const DIRECTORY: &str = "agents";
        let mut agents: BTreeMap<AgentName, ProjectAgent> = BTreeMap::new();
        let Some(entries) = self.entries(root, DIRECTORY) else {
            if !root.join(DIRECTORY).exists() {
                let hint = "run `tenure init`, or write `agents/assistant.md`";
                self.report(DIRECTORY, |report| {
                    report.warning(Code::Missing, Place::default(), "there is no `agents` directory", hint);
                });
            }
            return agents;
        };
        let sources: Vec<_> = entries.iter().filter_map(|entry| self.agent_source(root, entry)).collect();
        if sources.is_empty() {
            self.report(DIRECTORY, |report| {
                let hint = "write one: `agents/assistant.md`";
                report.warning(Code::Missing, Place::default(), "the directory holds no agents", hint);
            });
        }
        if sources.len() > AGENTS_MAX {
            let message = format!("the directory holds more than {AGENTS_MAX} agents");
            self.report(DIRECTORY, |report| report.error(Code::TooLarge, Place::default(), message));
        }
        for (name, source) in sources.into_iter().take(AGENTS_MAX) {
            let Some(text) = self.read(root, &source) else { continue };
            let Some(agent) = self.keep(parse_agent_source(&name, &source, &text)) else { continue };
            self.problems.extend_from_slice(&agent.warnings);
            if let Some(other) = agents.get(&agent.name) {
                let message = format!("the agent {} is also in `{}`", quote(&name), other.source);
                self.report(&source, |report| {
                    report.hinted(Code::Duplicate, Place::default(), message, "keep one of the two files");
                });
                continue;
            }
            agents.insert(agent.name.clone(), agent);
        }
        agents
    }

    /// The name and file of an agent at `agents/<entry>`, if it is one.
    fn agent_source(&mut self, root: &Path, entry: &str) -> Option<(String, String)> {
        let path = format!("agents/{entry}");
        if !root.join(&path).is_dir() {
            return entry.strip_suffix(".md").map(|name| (name.to_owned(), path));
        }
        let source = format!("{path}/agent.md");
        if root.join(&source).exists() {
            return Some((entry.to_owned(), source));
        }
        self.report(&path, |report| {
            let message = "the directory has no `agent.md` and is not an agent";
            report.warning(
                Code::Missing,
                Place::default(),
                message,
                "add the file, or move the directory away",
            );
        });
        None
    }

    /// Reads every skill, so that a mistake in one that nobody uses yet is seen, and gives agents those they name.
    fn give_skills(&mut self, root: &Path, agents: &mut BTreeMap<AgentName, ProjectAgent>) {
        let shared = self.skills(root, SKILLS_DIRECTORY);
        for agent in agents.values_mut() {
            let own = match agent.source.strip_suffix("/agent.md") {
                Some(directory) => self.skills(root, &format!("{directory}/{SKILLS_DIRECTORY}")),
                None => BTreeMap::new(),
            };
            let report = Report::new(&agent.source);
            skill::resolve(agent, &own, &shared, &report);
            self.problems.extend(report.into_problems());
        }
    }

    /// The skills of a directory, by name.
    fn skills(&mut self, root: &Path, directory: &str) -> BTreeMap<String, ProjectSkill> {
        let mut entries = self.entries(root, directory).unwrap_or_default();
        if entries.len() > SKILLS_MAX {
            let message = format!("the directory holds more than {SKILLS_MAX} skills");
            self.report(directory, |report| report.error(Code::TooLarge, Place::default(), message));
            entries.truncate(SKILLS_MAX);
        }
        let mut skills = BTreeMap::new();
        for source in entries.iter().map(|entry| format!("{directory}/{entry}")) {
            if !root.join(&source).is_dir() {
                self.report(&source, |report| {
                    let hint = "a skill is a folder with a `SKILL.md`";
                    report.warning(Code::Unsupported, Place::default(), "this file is no skill", hint);
                });
                continue;
            }
            let report = Report::new(&source);
            let skill = skill::read(root, &source, &report);
            self.problems.extend(report.into_problems());
            skills.extend(skill.map(|skill| (skill.name.clone(), skill)));
        }
        skills
    }

    fn policies(&mut self, root: &Path, directory: &'static str) -> Vec<PolicyFile> {
        let entries = self.entries(root, directory).unwrap_or_default();
        let paths: Vec<_> = entries
            .into_iter()
            .filter(|entry| entry.ends_with(".cedar"))
            .map(|entry| format!("{directory}/{entry}"))
            .collect();
        if paths.len() > POLICIES_MAX {
            let message = format!("the directory holds more than {POLICIES_MAX} policy files");
            self.report(directory, |report| report.error(Code::TooLarge, Place::default(), message));
        }
        let read = |path: String| self.read(root, &path).map(|text| PolicyFile { path, text });
        paths.into_iter().take(POLICIES_MAX).filter_map(read).collect()
    }

    fn contracts(&mut self, root: &Path) -> Vec<ContractFile> {
        let entries = self.entries(root, CONTRACTS_DIRECTORY).unwrap_or_default();
        let names: Vec<_> =
            entries.iter().filter_map(|entry| Some((entry, entry.strip_suffix(".yaml")?))).collect();
        if names.len() > CONTRACTS_MAX {
            let message = format!("the directory holds more than {CONTRACTS_MAX} contracts");
            self.report(CONTRACTS_DIRECTORY, |report| {
                report.error(Code::TooLarge, Place::default(), message);
            });
        }
        let mut contracts = Vec::new();
        for (entry, name) in names.into_iter().take(CONTRACTS_MAX) {
            let path = format!("{CONTRACTS_DIRECTORY}/{entry}");
            let Some(text) = self.read(root, &path) else { continue };
            contracts.extend(self.keep_with_warnings(parse_contract(name, &path, &text)));
        }
        contracts
    }

    fn check_scripts(&mut self, root: &Path, settings: &Settings) {
        for (name, provider) in &settings.providers {
            let Provider::Scripted { script, .. } = provider else { continue };
            if !root.join(script).is_file() {
                let message =
                    format!("the script {} of provider {} does not exist", quote(script), quote(name));
                self.report(SETTINGS_FILE, |report| {
                    report.error(Code::Reference, Place::default(), message);
                });
            }
        }
    }

    /// The directory of an environment's files must be there.
    fn check_files(&mut self, root: &Path, agents: &BTreeMap<AgentName, ProjectAgent>) {
        for agent in agents.values() {
            let Some(environment) = &agent.environment else { continue };
            let Some(files) = &environment.files else { continue };
            if !root.join(files).is_dir() {
                let message = format!("there is no directory {} for the environment's files", quote(files));
                self.report(&agent.source, |report| {
                    report.hinted(
                        Code::Reference,
                        environment.files_at,
                        message,
                        "make it in the project directory, or leave `files` out",
                    );
                });
            }
        }
    }

    fn check_agents(
        &mut self,
        agents: &BTreeMap<AgentName, ProjectAgent>,
        settings: Option<&Settings>,
        mcp: Option<&McpFile>,
    ) {
        let known: Vec<_> =
            mcp.map(|mcp| mcp.servers.keys().map(String::as_str).collect()).unwrap_or_default();
        for agent in agents.values() {
            self.report(&agent.source, |report| {
                // With a broken file every name in it would be unknown, which helps nobody.
                if let Some(mcp) = mcp {
                    check_servers(agent, &known, &mcp.disabled, report);
                }
                if let Some(settings) = settings {
                    check_model(agent, settings, report);
                }
            });
        }
    }
}

/// An agent's model must be known, or there must be a provider to ask for it.
fn check_model(agent: &ProjectAgent, settings: &Settings, report: &Report) {
    let Some(name) = agent.model.as_ref().or(settings.default_model.as_ref()) else {
        let hint = "write `model: …` in the front matter, or `default_model: …` in `tenure.yaml`";
        report.hinted(
            Code::Missing,
            Place::default(),
            "the agent names no model and there is no default",
            hint,
        );
        return;
    };
    let alias = settings.model(name);
    let is_nowhere = alias.routes.iter().any(|route| route.provider.is_none());
    if is_nowhere && settings.default_provider().is_none() && settings.providers.len() > 1 {
        let aliases: Vec<_> = settings.models.keys().map(String::as_str).collect();
        let hint = match crate::problem::nearest(name, aliases) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add it under `models` of `tenure.yaml` with its `provider`: {}", quote(name)),
        };
        let message = format!("no provider is known for the model {}", quote(name));
        report.hinted(Code::Reference, agent.model_at, message, hint);
    }
}

/// The text of a file, `None` if it does not exist.
fn read_text(path: &Path) -> Result<Option<String>, (Code, String)> {
    let unreadable =
        |error: std::io::Error| (Code::Unreadable, format!("cannot be read: {}", reason(&error)));
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err((Code::TooLarge, format!("the file has more than {FILE_BYTES_MAX} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            Err((Code::Encoding, format!("the file is not UTF-8: byte {at} is invalid")))
        }
    }
}

/// The system's words without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
