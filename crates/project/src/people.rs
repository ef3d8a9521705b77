//! The part of `tenure.yaml` about people: who says who they are, and what their groups may do.

use std::collections::BTreeMap;

use crate::node::{Fields, Node};
use crate::problem::{Code, Report, quote, suggest};
use crate::settings::check_url;

pub(crate) const PEOPLE_KEYS: &[&str] =
    &["issuer", "audience", "client_id", "algorithms", "groups_claim", "groups"];
pub(crate) const ALGORITHMS: &[&str] = &["RS256", "PS256", "ES256", "ES384", "EdDSA"];
/// What groups may be given: the scopes of API keys, but that for executors.
pub const PEOPLE_SCOPES: &[&str] = &[
    "sessions:read",
    "sessions:write",
    "agents:read",
    "agents:write",
    "approvals:decide",
    "vaults:write",
    "audit:read",
    "memory:erase",
    "admin",
    "read",
    "write",
];

/// How people sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct People {
    /// Who says who they are: the address of an OpenID provider, byte for byte as its tokens have it.
    pub issuer: String,
    /// For whom its tokens must be.
    pub audience: String,
    /// What `tenure login` calls itself there.
    pub client_id: String,
    /// How its tokens may be signed; never empty.
    pub algorithms: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// What the members of each group may do, in scopes.
    pub groups: BTreeMap<String, Vec<String>>,
}

pub(crate) fn people(node: &Node, report: &Report) -> Option<People> {
    let fields = Fields::open(node, "`people`", PEOPLE_KEYS, report)?;
    let issuer = fields.require("issuer").and_then(|node| issuer(node, report));
    let audience = fields.require("audience").and_then(|node| node.filled("`audience`", report));
    let client_id = match fields.find("client_id") {
        Some(node) => Some(node.filled("`client_id`", report)?.to_owned()),
        None => None,
    };
    let algorithms = match fields.find("algorithms") {
        Some(node) => algorithms(node, report)?,
        None => vec!["RS256".to_owned()],
    };
    let groups_claim = match fields.find("groups_claim") {
        Some(node) => node.filled("`groups_claim`", report)?.to_owned(),
        None => "groups".to_owned(),
    };
    let groups = fields.require("groups").and_then(|node| groups(node, report));
    let audience = audience?.to_owned();
    Some(People {
        issuer: issuer?,
        client_id: client_id.unwrap_or_else(|| audience.clone()),
        audience,
        algorithms,
        groups_claim,
        groups: groups?,
    })
}

fn issuer(node: &Node, report: &Report) -> Option<String> {
    let url = node.filled("`issuer`", report)?;
    check_url(url, "`issuer`", node, report)?;
    let host = url.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    if host.is_some_and(|host| !matches!(host, "127.0.0.1" | "localhost" | "[")) {
        let message =
            "`issuer` must begin with `https://`: whoever reads its keys on the way could change them";
        report.error(Code::Url, node.at, message);
        return None;
    }
    Some(url.to_owned())
}

fn algorithms(node: &Node, report: &Report) -> Option<Vec<String>> {
    let words = node.texts("`algorithms`", report)?;
    if words.is_empty() {
        report.error(Code::Missing, node.at, "`algorithms` is empty");
        return None;
    }
    for word in words.iter().filter(|word| !ALGORITHMS.contains(&word.as_str())) {
        let message = format!("`algorithms` holds {}, which is none", quote(word));
        report.hinted(Code::UnknownValue, node.at, message, suggest(word, "algorithms", ALGORITHMS));
    }
    Some(words)
}

fn groups(node: &Node, report: &Report) -> Option<BTreeMap<String, Vec<String>>> {
    let mut groups = BTreeMap::new();
    for (key, node) in node.map("`groups`", report)? {
        let what = format!("the scopes of {}", quote(&key.name));
        let scopes = node.texts(&what, report)?;
        for scope in scopes.iter().filter(|scope| !PEOPLE_SCOPES.contains(&scope.as_str())) {
            let message = format!("{what} hold {}, which is none", quote(scope));
            report.hinted(Code::UnknownValue, node.at, message, suggest(scope, "scopes", PEOPLE_SCOPES));
        }
        groups.insert(key.name.clone(), scopes);
    }
    Some(groups)
}
