//! The part of `tenure.yaml` about where packages of environments come from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::node::{Fields, Node};
use crate::problem::{Code, Report, quote};
use crate::settings::check_url;

pub(crate) const PACKAGE_KEYS: &[&str] = &["python_index", "npm_registry", "hosts", "private_hosts"];

/// Where packages of environments come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageSources {
    /// The URL of an index of Python packages.
    pub python_index: Option<String>,
    /// The URL of an npm registry.
    pub npm_registry: Option<String>,
    /// Other hosts that these refer to.
    pub hosts: Vec<String>,
    /// Hosts of these that stand at a private address, and which.
    pub private_hosts: BTreeMap<String, IpAddr>,
}

pub(crate) fn packages(node: &Node, report: &Report) -> Option<PackageSources> {
    let fields = Fields::open(node, "`packages`", PACKAGE_KEYS, report)?;
    let url = |name: &str| match fields.find(name) {
        None => Some(None),
        Some(node) => {
            let what = format!("`{name}`");
            let url = node.filled(&what, report)?;
            check_url(url, &what, node, report)?;
            check_host(host_of(url), node, report)?;
            Some(Some(url.to_owned()))
        }
    };
    let mut sources = PackageSources {
        python_index: url("python_index")?,
        npm_registry: url("npm_registry")?,
        ..PackageSources::default()
    };
    if let Some(node) = fields.find("hosts") {
        sources.hosts = node.texts("`hosts`", report)?;
        for host in &sources.hosts {
            check_host(host, node, report)?;
        }
    }
    if let Some(node) = fields.find("private_hosts") {
        for (key, node) in node.map("`private_hosts`", report)? {
            check_host(&key.name, node, report)?;
            let text = node.filled(&format!("the address of {}", quote(&key.name)), report)?;
            let Ok(address) = text.parse() else {
                let message = format!("{} is no address", quote(text));
                report.hinted(Code::Url, node.at, message, "an address such as `10.0.0.5`, without a port");
                return None;
            };
            sources.private_hosts.insert(key.name.to_ascii_lowercase(), address);
        }
    }
    Some(sources)
}

/// The host of a URL that was checked.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.split(':').next().unwrap_or_default()
}

/// Packages come through a proxy that knows hosts by name.
fn check_host(host: &str, node: &Node, report: &Report) -> Option<()> {
    let is_label = |label: &str| {
        let ends = !label.starts_with('-') && !label.ends_with('-');
        ends && !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let mut labels = host.split('.');
    let last_is_number =
        labels.clone().next_back().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if host.contains('.') && labels.all(is_label) && !last_is_number {
        return Some(());
    }
    let message = format!("{} is no full host name", quote(host));
    let hint = "a name with a dot in it, such as `packages.internal`; where its address is private, write \
                that under `private_hosts`";
    report.hinted(Code::Url, node.at, message, hint);
    None
}
