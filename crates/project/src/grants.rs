//! The `grants` of an agent file: what every session of the agent may do, whatever it reads.

use std::collections::BTreeMap;

use tenure_journal::{GRANT_PINS_MAX, GRANT_USES_MAX, GRANTS_MAX, Grant, GrantSource};

use crate::node::{Fields, Node};
use crate::problem::{Code, Report, quote};

pub(crate) const GRANT_KEYS: &[&str] = &["tool", "arguments", "uses_max"];

/// The standing grants of a list.
pub(crate) fn grants(node: &Node, report: &Report) -> Option<Vec<Grant>> {
    let entries = node.list("`grants`", report)?;
    if entries.len() > GRANTS_MAX {
        report.error(Code::TooLarge, node.at, format!("`grants` has more than {GRANTS_MAX} entries"));
        return None;
    }
    entries.iter().map(|entry| grant(entry, report)).collect()
}

fn grant(node: &Node, report: &Report) -> Option<Grant> {
    let fields = Fields::open(node, "a grant", GRANT_KEYS, report)?;
    let tool_node = fields.require("tool")?;
    let tool = tool_node.filled("`tool`", report)?;
    if !tool.split_once('/').is_some_and(|(server, name)| !server.is_empty() && !name.is_empty()) {
        let message = format!("{} names no tool of a server", quote(tool));
        report.hinted(Code::Name, tool_node.at, message, "write `server/tool`");
        return None;
    }
    let mut arguments = BTreeMap::new();
    if let Some(node) = fields.find("arguments") {
        let pins = node.map("`arguments`", report)?;
        if pins.len() > GRANT_PINS_MAX {
            let message = format!("`arguments` pins more than {GRANT_PINS_MAX} arguments");
            report.error(Code::TooLarge, node.at, message);
            return None;
        }
        for (key, node) in pins {
            arguments.insert(key.name.clone(), node.value("a pinned argument", report)?);
        }
    }
    let uses_max = match fields.find("uses_max") {
        Some(node) => node.integer("`uses_max`", 1..=u64::from(GRANT_USES_MAX), report)?,
        None => 1,
    };
    let uses_max = u32::try_from(uses_max).unwrap_or(GRANT_USES_MAX);
    Some(Grant { tool: tool.to_owned(), arguments, uses_max, expires_at: None, by: GrantSource::Agent })
}
