//! The `environment` of an agent file: where the command line opens the agent's sessions, and which files of
//! the project are there.

use std::path::{Component, Path};

use crate::node::{Data, Fields, Node};
use crate::problem::{Code, Place, Report, quote};

const KEYS: &[&str] = &["network", "size", "files", "setup"];
const SIZES: &[&str] = &["small", "medium", "large"];
const NETWORK_KEYS: &[&str] = &["allowed_domains"];
const NETWORKS: &[&str] = &["disabled", "enabled"];
/// What a server accepts in one environment.
const SETUP_MAX: usize = 16;

/// What the reference page must name.
#[cfg(test)]
pub(crate) const DOCUMENTED: &[&[&str]] = &[KEYS, SIZES, NETWORK_KEYS, NETWORKS];

/// An environment on the server that a session of this agent is opened with from the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectEnvironment {
    /// What commands reach.
    pub network: ProjectNetwork,
    /// `small`, `medium` or `large`; absent: the server's choice.
    pub size: Option<String>,
    /// A directory, relative to the project's, whose files are there from the start.
    pub files: Option<String>,
    /// Commands that make it ready, in order.
    pub setup: Vec<String>,
    /// Where the file names the directory.
    pub(crate) files_at: Place,
}

/// What commands of an environment reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectNetwork {
    /// Nothing.
    Disabled,
    /// These hosts, by exact name.
    Restricted(Vec<String>),
    /// Whatever the server reaches.
    Enabled,
}

pub(crate) fn environment(node: &Node, report: &Report) -> Option<ProjectEnvironment> {
    let fields = Fields::open(node, "`environment`", KEYS, report)?;
    let mut environment = ProjectEnvironment {
        network: ProjectNetwork::Disabled,
        size: None,
        files: None,
        setup: Vec::new(),
        files_at: Place::default(),
    };
    if let Some(node) = fields.find("network") {
        environment.network = network(node, report).unwrap_or(ProjectNetwork::Disabled);
    }
    if let Some(node) = fields.find("size") {
        let known = |word: &str| SIZES.contains(&word).then(|| word.to_owned());
        environment.size = node.word("`size`", SIZES, known, report);
    }
    if let Some(node) = fields.find("files") {
        environment.files = directory(node, report);
        environment.files_at = node.at;
    }
    if let Some(node) = fields.find("setup") {
        environment.setup = node.texts("`setup`", report).unwrap_or_default();
        if environment.setup.len() > SETUP_MAX {
            report.error(Code::TooLarge, node.at, format!("`setup` has more than {SETUP_MAX} commands"));
        }
    }
    Some(environment)
}

/// A word, or a map of the hosts that are allowed.
fn network(node: &Node, report: &Report) -> Option<ProjectNetwork> {
    if let Data::Map(_) = &node.data {
        let fields = Fields::open(node, "`network`", NETWORK_KEYS, report)?;
        let domains = fields.require("allowed_domains")?.texts("`allowed_domains`", report)?;
        return Some(ProjectNetwork::Restricted(domains));
    }
    let word = |word: &str| match word {
        "disabled" => Some(ProjectNetwork::Disabled),
        "enabled" => Some(ProjectNetwork::Enabled),
        _ => None,
    };
    node.word("`network`", NETWORKS, word, report)
}

/// The path of a directory within the project.
fn directory(node: &Node, report: &Report) -> Option<String> {
    let path = node.filled("`files`", report)?;
    let is_within = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_within {
        let message = format!("`files` cannot be {}", quote(path));
        report.hinted(
            Code::UnknownValue,
            node.at,
            message,
            "name a directory of the project, such as `files`",
        );
        return None;
    }
    Some(path.to_owned())
}
