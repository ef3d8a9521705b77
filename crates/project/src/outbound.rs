//! The parts of `tenure.yaml` about what leaves the server unasked.

use crate::node::{Fields, Node};
use crate::problem::{Code, Report, quote};
use crate::settings::check_url;

pub(crate) const TELEMETRY_KEYS: &[&str] = &["otlp", "content"];
pub(crate) const WEBHOOK_KEYS: &[&str] = &["allow_loopback", "private_hosts"];

/// Where webhooks may go, beside public addresses over `https`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhooks {
    /// Whether this machine's loopback addresses are allowed, over `http` too.
    pub allow_loopback: bool,
    /// Hosts, by name or address, that may be at private addresses.
    pub private_hosts: Vec<String>,
}

/// Where credentials of vaults may be used and renewed, beside public addresses over `https`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vaults {
    /// Whether this machine's loopback addresses are allowed, over `http` too.
    pub allow_loopback: bool,
    /// Hosts, by name or address, that may be at private addresses.
    pub private_hosts: Vec<String>,
}

/// What is told to those who watch the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The collector that traces are sent to; absent: the one of the environment, if any.
    pub otlp: Option<String>,
    /// Whether traces hold what users and models said.
    pub content: bool,
}

pub(crate) fn telemetry(node: &Node, report: &Report) -> Option<Telemetry> {
    let fields = Fields::open(node, "`telemetry`", TELEMETRY_KEYS, report)?;
    let mut telemetry = Telemetry::default();
    if let Some(node) = fields.find("otlp") {
        let url = node.filled("`otlp`", report)?;
        check_url(url, "`otlp`", node, report)?;
        telemetry.otlp = Some(url.trim_end_matches('/').to_owned());
    }
    if let Some(node) = fields.find("content") {
        telemetry.content = node.boolean("`content`", report)?;
    }
    Some(telemetry)
}

pub(crate) fn vaults(node: &Node, report: &Report) -> Option<Vaults> {
    let Webhooks { allow_loopback, private_hosts } = reached(node, "`vaults`", report)?;
    Some(Vaults { allow_loopback, private_hosts })
}

pub(crate) fn webhooks(node: &Node, report: &Report) -> Option<Webhooks> {
    reached(node, "`webhooks`", report)
}

fn reached(node: &Node, section: &str, report: &Report) -> Option<Webhooks> {
    let fields = Fields::open(node, section, WEBHOOK_KEYS, report)?;
    let mut webhooks = Webhooks::default();
    if let Some(node) = fields.find("allow_loopback") {
        webhooks.allow_loopback = node.boolean("`allow_loopback`", report)?;
    }
    if let Some(node) = fields.find("private_hosts") {
        webhooks.private_hosts = node.texts("`private_hosts`", report)?;
        for host in webhooks.private_hosts.iter().filter(|host| !is_name_or_address(host)) {
            let message = format!("`private_hosts` holds {}, which is no host name or address", quote(host));
            let hint =
                "a name such as `hooks.internal` or an address such as `10.0.0.5`, without scheme or port";
            report.hinted(Code::Url, node.at, message, hint);
        }
    }
    Some(webhooks)
}

fn is_name_or_address(text: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!text.is_empty() && text.bytes().all(is_name)) || text.parse::<std::net::IpAddr>().is_ok()
}
