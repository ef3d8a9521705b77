//! Agents, saved or in a session.

use serde_json::{Map, Value, json};
use tenure_journal::{
    AgentConfig, FunctionTool, McpTool, McpTransport, Pinned, TextConfig, TextFormat, Tool,
};
use tenure_store::Document;

use crate::agents::Saved;
use crate::read::LOCATION_PARTS;
use crate::split::Split;

/// A saved agent.
pub(crate) fn saved_agent(document: &Document, pinned: &Pinned) -> Value {
    let mut agent = configuration(&pinned.config, Place::Saved);
    agent.insert("id".into(), json!(document.id));
    agent.insert("object".into(), json!("agent"));
    agent.insert("metadata".into(), json!(pinned.metadata));
    agent.insert("created_at".into(), json!(document.created_at.as_secs()));
    agent.insert("updated_at".into(), json!(document.updated_at.as_secs()));
    Value::Object(agent)
}

/// A saved agent as Tenure's own endpoints show it: its version, who made that, and its split are added.
pub(crate) fn tenure_agent(saved: &Saved, split: Option<&Split>) -> Value {
    let mut agent = saved_agent(&saved.document, &saved.pinned);
    agent["object"] = json!("tenure.agent");
    agent["version"] = json!(saved.document.version);
    agent["author"] = json!(saved.pinned.provenance.author);
    agent["split"] = json!(split.map(|split| split.versions));
    agent
}

/// One version of a saved agent.
pub(crate) fn agent_version(saved: &Saved) -> Value {
    let Saved { document, pinned } = saved;
    json!({
        "id": document.version.to_string(),
        "object": "tenure.agent.version",
        "agent_id": document.id,
        "version": document.version,
        "created_at": document.updated_at.as_secs(),
        "author": pinned.provenance.author,
        "restores": pinned.provenance.restores,
        "agent": saved_agent(document, pinned),
    })
}

/// What two versions are compared by: everything that a person chose.
pub(crate) fn compared(pinned: &Pinned) -> Value {
    let mut agent = configuration(&pinned.config, Place::Saved);
    agent.insert("approval".into(), json!(pinned.config.approval));
    agent.insert("metadata".into(), json!(pinned.metadata));
    if !pinned.config.skills.is_empty() {
        let skills = pinned.config.skills.iter();
        let skills = skills.map(|skill| (skill.name.clone(), json!(skill.archive.to_string())));
        agent.insert("skills".into(), Value::Object(skills.collect()));
    }
    Value::Object(agent)
}

/// The agent inside a session.
pub(super) fn session_agent(config: &AgentConfig) -> Value {
    let mut agent = configuration(config, Place::Session);
    agent.insert("id".into(), json!(config.id));
    Value::Object(agent)
}

/// The agent of an automation: without the name and the id that each of its sessions gets.
pub(super) fn automation_agent(config: &AgentConfig) -> Value {
    let mut agent = configuration(config, Place::Saved);
    agent.remove("name");
    Value::Object(agent)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Saved,
    Session,
}

fn configuration(config: &AgentConfig, place: Place) -> Map<String, Value> {
    let members = [
        ("name", json!(config.name)),
        ("model", json!(config.model)),
        ("instructions", json!(config.instructions)),
        ("reasoning", json!({"effort": config.reasoning.effort, "summary": config.reasoning.summary})),
        ("text", text(&config.text)),
        ("service_tier", json!(config.service_tier)),
        ("tools", Value::Array(config.tools.iter().filter_map(|t| tool(t, place)).collect())),
        (
            "multi_agent",
            json!({
                "enabled": config.multi_agent.enabled,
                "max_concurrent_subagents": config.multi_agent.max_concurrent_subagents,
            }),
        ),
        ("compaction", json!({"async": config.compaction_async})),
        ("experimental", json!({"time_awareness": config.time_awareness})),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(config: &TextConfig) -> Value {
    let format = match &config.format {
        TextFormat::Text => json!({"type": "text"}),
        TextFormat::JsonSchema { name, description, schema, strict } => {
            let mut format = json!({"type": "json_schema", "schema": schema});
            let optional =
                [("name", json!(name)), ("description", json!(description)), ("strict", json!(strict))];
            for (member, value) in optional {
                if !value.is_null() {
                    format[member] = value;
                }
            }
            format
        }
    };
    json!({"format": format, "verbosity": config.verbosity})
}

/// One tool; `tool_search` is not shown inside a session.
fn tool(tool: &Tool, place: Place) -> Option<Value> {
    Some(match tool {
        Tool::Function(function) => self::function(function),
        Tool::ToolSearch if place == Place::Session => return None,
        Tool::ToolSearch => json!({"type": "tool_search"}),
        Tool::ProgrammaticToolCalling { enabled } => {
            json!({"type": "programmatic_tool_calling", "enabled": enabled})
        }
        Tool::Mcp(server) => mcp(server, place),
        Tool::WebSearch { mode, context_size, allowed_domains, location } => json!({
            "type": "web_search",
            "mode": mode,
            "context_size": context_size,
            "allowed_domains": allowed_domains,
            "location": location.as_ref().map(whole_location),
        }),
        Tool::ComputerUse { include_screenshots } => {
            json!({"type": "computer_use", "include_screenshots": include_screenshots})
        }
        Tool::Automations => json!({"type": "automations"}),
        Tool::Memory => json!({"type": "memory"}),
    })
}

fn whole_location(location: &Value) -> Value {
    let parts = LOCATION_PARTS.iter();
    parts.map(|part| ((*part).to_owned(), location.get(part).cloned().unwrap_or_default())).collect()
}

fn function(function: &FunctionTool) -> Value {
    json!({
        "type": "function",
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
        "defer_loading": function.defer_loading,
        "async": function.is_async,
    })
}

fn mcp(server: &McpTool, place: Place) -> Value {
    let transport = match (&server.transport, place) {
        (McpTransport::Http { server_url, .. }, Place::Session) => {
            json!({"type": "http", "server_url": server_url})
        }
        (McpTransport::Http { server_url, headers, .. }, Place::Saved) => {
            json!({"type": "http", "server_url": server_url, "headers": headers})
        }
        (McpTransport::Project, _) => json!({"type": "project"}),
        (McpTransport::Stdio { command, args, cwd, env_vars, secret: _ }, _) => json!({
            "type": "stdio", "command": command, "args": args, "cwd": cwd, "env_vars": env_vars,
        }),
    };
    json!({
        "type": "mcp",
        "server_label": server.server_label,
        "transport": transport,
        "allowed_tools": server.allowed_tools,
        "connection_origin": server.origin,
        "credential_id": server.credential_id,
        "required": server.required,
        "request_metadata": server.request_metadata,
    })
}

#[cfg(test)]
mod tests {
    use tenure_journal::{AgentId, Fresh, Origin, Secret, SecretId, Timestamp};

    use super::*;

    fn config() -> AgentConfig {
        AgentConfig::new(AgentId::fresh(&Fresh::new(Timestamp::from_millis(1), 1)), "m1")
    }

    #[test]
    fn shows_every_default() {
        let mut config = config();
        config.instructions = Some("Be brief.".into());
        assert_eq!(
            session_agent(&config),
            json!({
                "id": config.id, "name": null, "model": "m1", "instructions": "Be brief.",
                "reasoning": {"effort": null, "summary": null}, "service_tier": "auto",
                "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tools": [],
                "multi_agent": {"enabled": false, "max_concurrent_subagents": null},
                "compaction": {"async": false}, "experimental": {"time_awareness": false},
            })
        );
    }

    #[test]
    fn a_session_hides_tool_search_and_all_that_is_sealed() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let mut config = config();
        config.tools = vec![
            Tool::ToolSearch,
            Tool::Mcp(McpTool {
                server_label: "s".into(),
                transport: McpTransport::Http {
                    server_url: "https://x.example".into(),
                    headers: [("x-team".to_owned(), "a".to_owned())].into(),
                    secret: Some(Secret(SecretId::fresh(&fresh))),
                },
                allowed_tools: None,
                origin: Origin::Service,
                credential_id: None,
                required: false,
                request_metadata: Map::new(),
            }),
        ];
        let shown = session_agent(&config)["tools"].clone();
        assert_eq!(
            shown,
            json!([{"type": "mcp", "server_label": "s",
                "transport": {"type": "http", "server_url": "https://x.example"}, "allowed_tools": null,
                "connection_origin": "service", "credential_id": null, "required": false, "request_metadata": {}}])
        );
        let saved = configuration(&config, Place::Saved)["tools"].clone();
        assert_eq!(saved[0], json!({"type": "tool_search"}));
        assert_eq!(saved[1]["transport"]["headers"], json!({"x-team": "a"}));
    }
}
