//! The section `environments` of the settings: what holds for environments that a server hosts.

use std::time::Duration;

use crate::node::{Fields, Node};
use crate::packages::{PackageSources, packages};
use crate::problem::Report;

/// What holds for environments that this server hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environments {
    /// Whether they may reach everything this machine reaches.
    pub open_network: bool,
    /// How strongly commands must be kept apart, at least.
    pub min_isolation: MinIsolation,
    /// How long nothing is done in one before it is suspended.
    pub suspend: Duration,
    /// How long one that was made ready waits for its session before it expires.
    pub prewarmed: Duration,
    /// Where packages come from.
    pub packages: PackageSources,
}

impl Default for Environments {
    fn default() -> Self {
        Self {
            open_network: false,
            min_isolation: MinIsolation::default(),
            suspend: Duration::from_secs(SUSPEND_SECONDS_DEFAULT),
            prewarmed: Duration::from_secs(PREWARMED_SECONDS_DEFAULT),
            packages: PackageSources::default(),
        }
    }
}

/// How strongly commands must be kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MinIsolation {
    /// Landlock and seccomp are enough.
    #[default]
    Landlock,
    /// Namespaces of their own.
    Namespaces,
    /// A kernel of their own, which is gVisor. Never used but where this is asked for.
    Gvisor,
}

impl MinIsolation {
    /// The words in the file.
    pub const WORDS: &'static [&'static str] = &["landlock", "namespaces", "gvisor"];
}

pub(crate) const ENVIRONMENT_KEYS: &[&str] =
    &["open_network", "min_isolation", "suspend_seconds", "prewarmed_seconds", "packages"];
/// How long nothing is done in an environment before it is suspended: a person may think so long, and its files
/// are made anew in a moment.
const SUSPEND_SECONDS_DEFAULT: u64 = 30 * 60;
/// The longest that a file may say: a day.
const SUSPEND_SECONDS_MAX: u64 = 24 * 3_600;
/// How long an environment waits for its session: a day.
const PREWARMED_SECONDS_DEFAULT: u64 = 24 * 3_600;
/// The longest that a file may say: thirty days.
const PREWARMED_SECONDS_MAX: u64 = 30 * 24 * 3_600;

pub(crate) fn environments(node: &Node, report: &Report) -> Option<Environments> {
    let fields = Fields::open(node, "`environments`", ENVIRONMENT_KEYS, report)?;
    let mut environments = Environments::default();
    if let Some(node) = fields.find("open_network") {
        environments.open_network = node.boolean("`open_network`", report)?;
    }
    if let Some(node) = fields.find("min_isolation") {
        let read = |word: &str| match word {
            "landlock" => Some(MinIsolation::Landlock),
            "namespaces" => Some(MinIsolation::Namespaces),
            "gvisor" => Some(MinIsolation::Gvisor),
            _ => None,
        };
        environments.min_isolation = node.word("`min_isolation`", MinIsolation::WORDS, read, report)?;
    }
    if let Some(node) = fields.find("suspend_seconds") {
        let seconds = node.integer("`suspend_seconds`", 1..=SUSPEND_SECONDS_MAX, report)?;
        environments.suspend = Duration::from_secs(seconds);
    }
    if let Some(node) = fields.find("prewarmed_seconds") {
        let seconds = node.integer("`prewarmed_seconds`", 1..=PREWARMED_SECONDS_MAX, report)?;
        environments.prewarmed = Duration::from_secs(seconds);
    }
    if let Some(node) = fields.find("packages") {
        environments.packages = packages(node, report)?;
    }
    Some(environments)
}
