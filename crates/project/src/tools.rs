//! The `tools` and `functions` of an agent file.

use serde_json::{Value, json};
use tenure_journal::{FunctionTool, Tool, limit};

use crate::node::{Data, Fields, Node};
use crate::problem::{Code, Report, quote};

const BUILT_IN: &[&str] =
    &["tool_search", "programmatic_tool_calling", "web_search", "computer_use", "automations", "memory"];
const WEB_SEARCH_KEYS: &[&str] = &["type", "mode", "context_size", "allowed_domains", "location"];
const WEB_SEARCH_MODES: &[&str] = &["live", "cached", "disabled"];
const CONTEXT_SIZES: &[&str] = &["low", "medium", "high"];
const FUNCTION_KEYS: &[&str] = &["name", "description", "parameters", "defer_loading", "async"];

/// What the reference page must name.
#[cfg(test)]
pub(crate) const DOCUMENTED: &[&[&str]] =
    &[BUILT_IN, WEB_SEARCH_KEYS, WEB_SEARCH_MODES, CONTEXT_SIZES, FUNCTION_KEYS];

/// Domains one web search may be limited to.
const DOMAINS_MAX: usize = 100;
/// What every provider accepts as a function's name.
const FUNCTION_NAME_BYTES_MAX: usize = 64;

/// The built-in tools of a list; each is a word, or a map with its `type`.
pub(crate) fn built_in(node: &Node, report: &Report) -> Vec<Tool> {
    let mut tools: Vec<(&str, Tool)> = Vec::new();
    for entry in node.list("`tools`", report).unwrap_or_default() {
        let Some((kind, tool)) = one(entry, report) else { continue };
        if tools.iter().any(|(other, _)| *other == kind) {
            report.error(Code::Duplicate, entry.at, format!("the tool `{kind}` is listed twice"));
        } else {
            tools.push((kind, tool));
        }
    }
    tools.into_iter().map(|(_, tool)| tool).collect()
}

fn one(node: &Node, report: &Report) -> Option<(&'static str, Tool)> {
    let type_node = if let Data::Text(_) = &node.data {
        node
    } else {
        Fields::open_any(node, "a tool", report)?.require("type")?
    };
    if let Data::Text(word) = &type_node.data
        && let Some(hint) = elsewhere(word)
    {
        let message = format!("{} is not listed under `tools`", quote(word));
        report.hinted(Code::UnknownValue, type_node.at, message, hint);
        return None;
    }
    let kind = type_node.word(
        "a tool",
        BUILT_IN,
        |word| BUILT_IN.iter().copied().find(|known| *known == word),
        report,
    )?;
    let tool = match kind {
        "tool_search" => plain(node, kind, report, Tool::ToolSearch),
        "automations" => plain(node, kind, report, Tool::Automations),
        "memory" => plain(node, kind, report, Tool::Memory),
        "programmatic_tool_calling" => {
            flag(node, kind, "enabled", true, report).map(|enabled| Tool::ProgrammaticToolCalling { enabled })
        }
        "computer_use" => flag(node, kind, "include_screenshots", false, report)
            .map(|include_screenshots| Tool::ComputerUse { include_screenshots }),
        _ => web_search(node, report),
    };
    tool.map(|tool| (kind, tool))
}

/// Tools of the API that an agent file writes in another place.
fn elsewhere(word: &str) -> Option<&'static str> {
    match word {
        "function" => Some("list functions under `functions`, without `type`"),
        "mcp" => Some("list MCP servers under `mcp`, by their names in `mcp.json`"),
        _ => None,
    }
}

fn options<'a>(node: &'a Node, kind: &str, keys: &[&str], report: &'a Report) -> Option<Option<Fields<'a>>> {
    if let Data::Text(_) = &node.data {
        return Some(None);
    }
    Fields::open(node, &format!("`{kind}`"), keys, report).map(Some)
}

fn plain(node: &Node, kind: &str, report: &Report, tool: Tool) -> Option<Tool> {
    options(node, kind, &["type"], report).map(|_| tool)
}

fn flag(node: &Node, kind: &str, key: &str, default: bool, report: &Report) -> Option<bool> {
    let fields = options(node, kind, &["type", key], report)?;
    match fields.and_then(|fields| fields.find(key)) {
        Some(value) => value.boolean(&format!("`{key}`"), report),
        None => Some(default),
    }
}

fn web_search(node: &Node, report: &Report) -> Option<Tool> {
    let fields = options(node, "web_search", WEB_SEARCH_KEYS, report)?;
    let find = |key: &str| fields.as_ref().and_then(|fields| fields.find(key));
    let word = |key: &str, words: &[&str], default: &str| match find(key) {
        Some(value) => value.word(
            &format!("`{key}`"),
            words,
            |text| words.contains(&text).then(|| text.to_owned()),
            report,
        ),
        None => Some(default.to_owned()),
    };
    let allowed_domains = match find("allowed_domains") {
        Some(value) => {
            let domains = value.texts("`allowed_domains`", report)?;
            if domains.len() > DOMAINS_MAX {
                let message = format!("`allowed_domains` has more than {DOMAINS_MAX} entries");
                report.error(Code::TooLarge, value.at, message);
            }
            Some(domains)
        }
        None => None,
    };
    let location = match find("location") {
        Some(value) => Some(value.value("`location`", report)?),
        None => None,
    };
    Some(Tool::WebSearch {
        mode: word("mode", WEB_SEARCH_MODES, "live")?,
        context_size: word("context_size", CONTEXT_SIZES, "medium")?,
        allowed_domains,
        location,
    })
}

/// The functions of a list, which the client carries out.
pub(crate) fn functions(node: &Node, report: &Report) -> Vec<FunctionTool> {
    let mut functions: Vec<FunctionTool> = Vec::new();
    for entry in node.list("`functions`", report).unwrap_or_default() {
        let Some(function) = function(entry, report) else { continue };
        if functions.iter().any(|other| other.name == function.name) {
            let message = format!("the function {} is defined twice", quote(&function.name));
            report.error(Code::Duplicate, entry.at, message);
        } else {
            functions.push(function);
        }
    }
    functions
}

fn function(node: &Node, report: &Report) -> Option<FunctionTool> {
    let fields = Fields::open(node, "a function", FUNCTION_KEYS, report)?;
    let name_node = fields.require("name")?;
    let name = name_node.filled("`name`", report)?;
    if name.len() > FUNCTION_NAME_BYTES_MAX
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    {
        let message = format!("{} cannot name a function", quote(name));
        let hint = format!("letters, digits, `_` and `-`, at most {FUNCTION_NAME_BYTES_MAX}");
        report.hinted(Code::Name, name_node.at, message, hint);
    }
    let description_node = fields.require("description")?;
    let description = description_node.filled("`description`", report)?;
    if description.len() > limit::TOOL_DESCRIPTION_BYTES_MAX {
        let message = format!("`description` has more than {} bytes", limit::TOOL_DESCRIPTION_BYTES_MAX);
        report.error(Code::TooLarge, description_node.at, message);
    }
    let parameters = match fields.find("parameters") {
        Some(node) => parameters(node, report)?,
        None => json!({"type": "object", "properties": {}}),
    };
    let flag = |key: &str| match fields.find(key) {
        Some(node) => node.boolean(&format!("`{key}`"), report),
        None => Some(false),
    };
    Some(FunctionTool {
        name: name.to_owned(),
        description: description.trim_end().to_owned(),
        parameters,
        defer_loading: flag("defer_loading")?,
        is_async: flag("async")?,
    })
}

fn parameters(node: &Node, report: &Report) -> Option<Value> {
    node.map("`parameters`", report)?;
    let schema = node.value("`parameters`", report)?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        let message = "the root type of `parameters` must be `object`";
        report.hinted(
            Code::Type,
            node.at,
            message,
            "write `type: object` and list the arguments under `properties`",
        );
        return None;
    }
    if schema.to_string().len() > limit::TOOL_SCHEMA_BYTES_MAX {
        let message = format!("`parameters` has more than {} bytes", limit::TOOL_SCHEMA_BYTES_MAX);
        report.error(Code::TooLarge, node.at, message);
        return None;
    }
    Some(schema)
}
