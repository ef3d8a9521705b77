//! Sessions.

use serde_json::{Value, json};
use tenure_journal::{
    Approval, Artifact, BlobRef, Environment, EnvironmentFile, EnvironmentId, EnvironmentStatus, Follows,
    InstalledPlugin, InstalledSkill, McpTool, McpTransport, RefusedServer, Review, SessionId, Tool,
};
use tenure_session::{PluginServerView, PluginServersView, RequiredAction, ServerStanding, SessionView};

use super::agent::session_agent;
use super::environment::{network, packages};

/// A session as every answer and every event shows it.
pub(crate) fn session(view: &SessionView) -> Value {
    let mut session = json!({
        "id": view.key.session,
        "object": "agent.session",
        "agent": session_agent(&view.agent),
        "environment": environment(&view.environment),
        "status": view.status,
        "required_actions": view.required_actions.iter().filter_map(required_action).collect::<Vec<_>>(),
        "error": view.error,
        "usage": super::usage(view.usage.as_ref()),
        "vault_ids": view.vault_ids,
        "metadata": view.metadata,
        "created_at": view.created_at.as_secs(),
        "last_active_at": view.last_active_at.as_secs(),
    });
    if let Some(review) = view.review {
        session["review"] = json!(review_word(review));
    }
    if let Some((limit, spend)) = view.spend.and_then(|spend| Some((spend.limit?, spend))) {
        session["spend_control"] = json!({"limit": limit, "consumed": spend.consumed});
    }
    if let Some(cache) = &view.prompt_cache {
        session["prompt_cache_options"] = json!({"ttl": cache.ttl});
    }
    session
}

/// A session as Tenure's own endpoints show it: the version of the agent is added.
pub(crate) fn tenure_session(view: &SessionView) -> Value {
    let mut session = session(view);
    session["object"] = json!("tenure.session");
    session["agent"]["version"] = json!(view.agent.version);
    session["sign_ins"] = sign_ins(view);
    let from = view.forked_from;
    session["forked_from"] =
        json!(from.map(|from| json!({"session_id": from.session, "version": from.version})));
    session["quarantined_by"] = json!(view.quarantined_by);
    session["opened_by"] = json!(view.opened_by);
    session["plugin_servers"] = plugin_servers(&view.plugin_servers);
    let mut tickets = Vec::new();
    for action in &view.required_actions {
        if let RequiredAction::Approval(approval) = action {
            tickets.push(ticket(approval));
        }
    }
    session["tickets"] = json!(tickets);
    session
}

/// What plugins of the environment brought along of tool servers.
fn plugin_servers(view: &PluginServersView) -> Value {
    let found = |PluginServerView { server, standing }: &PluginServerView| {
        let mut shown = json!({
            "server_label": server.server_label,
            "status": standing.as_str(),
            "tools": match standing {
                ServerStanding::Listed(tools) => Some(*tools),
                ServerStanding::Unasked
                | ServerStanding::Down
                | ServerStanding::Shadowed
                | ServerStanding::NoRoom => None,
            },
            "allowed_tools": server.allowed_tools,
        });
        if let McpTransport::Stdio { command, args, cwd, env_vars, secret: _ } = &server.transport {
            shown["command"] = json!(command);
            shown["args"] = json!(args);
            shown["cwd"] = json!(cwd);
            shown["env_vars"] = json!(env_vars);
        }
        shown
    };
    let refused = |refused: &RefusedServer| json!({"plugin": refused.plugin, "name": refused.name, "reason": refused.reason});
    json!({
        "found": view.found.iter().map(found).collect::<Vec<_>>(),
        "refused": view.refused.iter().map(refused).collect::<Vec<_>>(),
    })
}

/// An approval with what binds its answer.
fn ticket(approval: &Approval) -> Value {
    let ticket = approval.ticket.as_deref();
    let expiry = ticket.and_then(|ticket| ticket.expiry.as_ref());
    json!({
        "id": approval.id,
        "action": ticket.map(|ticket| &ticket.action),
        "server_label": approval.server_label,
        "name": approval.name,
        "arguments": approval.arguments,
        "arguments_digest": approval.digest,
        "message": approval.message,
        "policies": approval.policies,
        "policy_set": approval.policy_digest,
        "groups": ticket.map(|ticket| &ticket.groups),
        "quorum": ticket.map_or(1, |ticket| ticket.quorum),
        "reviewer": ticket.and_then(|ticket| ticket.reviewer.as_ref()),
        "labels": approval.labels,
        "untrusted_arguments": approval.untrusted,
        "requester": ticket.map(|ticket| &ticket.requester),
        "expires_at": expiry.map(|expiry| expiry.at.as_secs()),
        "on_expiry": expiry.map(|expiry| &expiry.then),
    })
}

pub(super) fn environment(environment: &Environment) -> Value {
    match environment {
        Environment::None => json!({"type": "none"}),
        Environment::SelfHosted(own) => json!({
            "type": "self_hosted",
            "id": own.id,
            "remote_url": own.remote_url,
            "workspace_directory": own.workspace_directory,
            "capability_directories": own.capability_directories,
        }),
        Environment::Hosted(hosted) => json!({
                "type": "openai_hosted",
                "id": hosted.id,
                "capability_directories": hosted.capabilities.directories,
                "files": hosted.files.iter().map(installed_file).collect::<Vec<_>>(),
                "skills": hosted.capabilities.skills.iter().map(installed_skill).collect::<Vec<_>>(),
                "plugins": hosted.capabilities.plugins.iter().map(installed_plugin).collect::<Vec<_>>(),
                "network": network(&hosted.network),
                "packages": packages(&hosted.packages),
                "container_size": hosted.size.as_str(),
                "desktop": {"enabled": false},
        }),
    }
}

fn installed_file(file: &EnvironmentFile) -> Value {
    let digest = BlobRef::prefix(*file.blob.digest());
    let id = format!("file_{}", &digest.trim_start_matches("b3:")[..32]);
    let mut shown = json!({"type": "inline", "id": id, "path": file.path, "size_bytes": file.size_bytes()});
    if let Some(file_id) = file.file_id {
        shown["type"] = json!("file_id");
        shown["file_id"] = json!(file_id);
    }
    shown
}

pub(super) fn installed_skill(skill: &InstalledSkill) -> Value {
    let mut shown = json!({"type": "inline", "name": skill.name, "description": skill.description});
    if let Some(stored) = skill.stored {
        shown["type"] = json!("skill_reference");
        shown["skill_id"] = json!(stored.skill_id);
        shown["version"] = match skill.follows {
            Some(Follows::Latest) => json!("latest"),
            Some(Follows::Default) | None => json!(stored.number.to_string()),
        };
    }
    shown
}

pub(super) fn installed_plugin(plugin: &InstalledPlugin) -> Value {
    json!({"type": "inline", "name": plugin.name, "description": plugin.description})
}

/// A list that is shown as one, also where there is none.
fn listed(shown: &mut Value) -> Value {
    if shown.is_null() { json!([]) } else { shown.take() }
}

/// An environment as its own endpoint shows it.
pub(crate) fn environment_info(view: &SessionView) -> Value {
    let mut shown = environment(&view.environment);
    let status = view.environment_status.as_ref().map(EnvironmentStatus::as_str);
    json!({
        "id": shown["id"],
        "object": "agent.environment",
        "type": shown["type"],
        "status": status,
        "files": listed(&mut shown["files"]),
        "plugins": listed(&mut shown["plugins"]),
        "skills": listed(&mut shown["skills"]),
    })
}

/// A published file.
pub(crate) fn artifact(session: SessionId, artifact: &Artifact) -> Value {
    json!({
        "id": artifact.id,
        "object": "agent.session.artifact",
        "session_id": session,
        "environment_id": EnvironmentId::of_session(session),
        "turn_id": artifact.turn_id,
        "created_at": artifact.created_at.as_secs(),
        "path": artifact.path,
        "size_bytes": artifact.size_bytes,
    })
}

fn review_word(review: Review) -> &'static str {
    match review {
        Review::None => "none",
        Review::AutoReview => "auto_review",
    }
}

/// What only a client or a person can do, in the words of the Agents API, which has none for a sign-in.
fn required_action(action: &RequiredAction) -> Option<Value> {
    Some(match action {
        RequiredAction::FunctionCall { turn_id, call_id, name, arguments } => json!({
            "type": "function_call",
            "turn_id": turn_id,
            "call_id": call_id,
            "name": name,
            "arguments": arguments,
        }),
        RequiredAction::EnvironmentConnection { environment_id } => json!({
            "type": "environment_connection",
            "environment_id": environment_id,
        }),
        RequiredAction::Approval(approval) => json!({
            "type": "mcp_approval_request",
            "request_id": approval.id,
            "turn_id": approval.turn_id,
            "request": {
                "type": "mcp_tool_call",
                "server_label": approval.server_label,
                "name": approval.name,
                "arguments": approval.arguments,
                "message": approval.message,
            },
        }),
        RequiredAction::SignIn { .. } => return None,
    })
}

/// The tool servers at which a person must sign in before the session goes on: with the credential that needs it, or
/// with none, where a vault of the session needs one for that address.
fn sign_ins(view: &SessionView) -> Value {
    let server = |label: &str| {
        view.agent.tools.iter().find_map(|tool| match tool {
            Tool::Mcp(mcp) if mcp.server_label == label => Some(mcp),
            Tool::Mcp(_)
            | Tool::Function(_)
            | Tool::ToolSearch
            | Tool::ProgrammaticToolCalling { .. }
            | Tool::WebSearch { .. }
            | Tool::ComputerUse { .. }
            | Tool::Automations
            | Tool::Memory => None,
        })
    };
    let shown = view.required_actions.iter().filter_map(|action| match action {
        RequiredAction::SignIn { server_label } => {
            let mcp = server(server_label);
            Some(json!({
                "server_label": server_label,
                "server_url": mcp.and_then(McpTool::credential_url),
                "credential_id": mcp.and_then(|mcp| mcp.credential_id.as_deref()),
            }))
        }
        RequiredAction::FunctionCall { .. }
        | RequiredAction::EnvironmentConnection { .. }
        | RequiredAction::Approval(_) => None,
    });
    Value::Array(shown.collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use tenure_journal::{
        AgentConfig, AgentId, ApprovalId, Fresh, ItemId, ProjectId, PromptCache, SessionId, SessionKey,
        SessionStatus, Timestamp, TurnId, Usage,
    };
    use tenure_session::Spend;

    use super::*;

    pub(crate) fn fresh() -> Fresh {
        Fresh::new(Timestamp::from_millis(1_790_000_000_000), 7)
    }

    pub(crate) fn view() -> SessionView {
        let fresh = fresh();
        SessionView {
            key: SessionKey { project: ProjectId::fresh(&fresh), session: SessionId::fresh(&fresh) },
            status: SessionStatus::InProgress,
            agent: AgentConfig::new(AgentId::fresh(&fresh), "m1"),
            environment: Environment::None,
            environment_status: None,
            required_actions: Vec::new(),
            error: None,
            usage: None,
            vault_ids: Vec::new(),
            metadata: BTreeMap::new(),
            created_at: Timestamp::from_millis(1_790_000_000_999),
            last_active_at: Timestamp::from_millis(1_790_000_001_000),
            review: None,
            spend: None,
            prompt_cache: None,
            forked_from: None,
            quarantined_by: None,
            opened_by: None,
            plugin_servers: Box::default(),
        }
    }

    #[test]
    fn every_member_is_there_before_anything_is_known() {
        let view = view();
        assert_eq!(
            session(&view),
            json!({
                "id": view.key.session, "object": "agent.session", "status": "in_progress",
                "agent": session_agent(&view.agent), "environment": {"type": "none"},
                "required_actions": [], "error": null, "usage": null, "vault_ids": [], "metadata": {},
                "created_at": 1_790_000_000, "last_active_at": 1_790_000_001,
            })
        );
    }

    #[test]
    fn some_members_are_there_only_when_set() {
        let mut view = view();
        view.review = Some(Review::AutoReview);
        view.spend = Some(Spend { limit: Some(500), consumed: None });
        view.prompt_cache = Some(PromptCache { ttl: "12h".into() });
        view.usage = Some(Usage { input_tokens: 5, cached_tokens: 1, output_tokens: 7, reasoning_tokens: 2 });
        let shown = session(&view);
        assert_eq!(shown["review"], "auto_review");
        assert_eq!(shown["spend_control"], json!({"limit": 500, "consumed": null}));
        assert_eq!(shown["prompt_cache_options"], json!({"ttl": "12h"}));
        assert_eq!(
            shown["usage"],
            json!({"input_tokens": 5, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 7,
                "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 12})
        );
        view.spend = Some(Spend { limit: None, consumed: Some(3) });
        assert!(session(&view).get("spend_control").is_none());
    }

    #[test]
    fn shows_what_it_waits_for() {
        let fresh = fresh();
        let turn_id = TurnId::fresh(&fresh);
        let approval = Approval {
            id: ApprovalId::fresh(&fresh),
            turn_id,
            item_id: ItemId::fresh(&fresh),
            server_label: "payments".into(),
            name: "refund".into(),
            arguments: json!({"cents": 5}),
            digest: "b3:0".into(),
            message: "Refund?".into(),
            policies: vec!["p1".into()],
            policy_digest: None,
            labels: tenure_journal::Labels::NEUTRAL,
            untrusted: Vec::new(),
            ticket: None,
            asked: Vec::new(),
        };
        let mut view = view();
        view.required_actions = vec![
            RequiredAction::FunctionCall {
                turn_id,
                call_id: "c1".into(),
                name: "f".into(),
                arguments: json!({"a": 1}),
            },
            RequiredAction::Approval(approval.clone()),
        ];
        assert_eq!(
            session(&view)["required_actions"],
            json!([
                {"type": "function_call", "turn_id": turn_id, "call_id": "c1", "name": "f", "arguments": {"a": 1}},
                {"type": "mcp_approval_request", "request_id": approval.id, "turn_id": turn_id, "request": {
                    "type": "mcp_tool_call", "server_label": "payments", "name": "refund",
                    "arguments": {"cents": 5}, "message": "Refund?"}},
            ])
        );
    }

    #[test]
    fn tenures_own_endpoint_tells_what_plugins_brought_along() {
        let transport = McpTransport::Stdio {
            command: "/w/p/serve".into(),
            args: vec!["-v".into()],
            cwd: "/w/p".into(),
            env_vars: vec!["A".into()],
            secret: None,
        };
        let server = tenure_journal::McpTool {
            server_label: "p-notes".into(),
            transport,
            allowed_tools: Some(vec!["find".into()]),
            origin: tenure_journal::Origin::Environment,
            credential_id: None,
            required: false,
            request_metadata: serde_json::Map::new(),
        };
        let refused = RefusedServer { plugin: "/w/q".into(), name: None, reason: "damaged".into() };
        let mut view = view();
        let found = PluginServerView { server, standing: ServerStanding::Listed(2) };
        *view.plugin_servers = PluginServersView { found: vec![found], refused: vec![refused] };
        assert_eq!(
            tenure_session(&view)["plugin_servers"],
            json!({
                "found": [{
                    "server_label": "p-notes", "status": "listed", "tools": 2, "allowed_tools": ["find"],
                    "command": "/w/p/serve", "args": ["-v"], "cwd": "/w/p", "env_vars": ["A"],
                }],
                "refused": [{"plugin": "/w/q", "name": null, "reason": "damaged"}],
            })
        );
        assert!(session(&view).get("plugin_servers").is_none(), "the Agents API has no such member");
    }
}
