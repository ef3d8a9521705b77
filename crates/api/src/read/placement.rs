//! Whether tool servers can be where an agent wants them: one that runs in the session's environment, or is
//! reached from there, needs an environment that has it.

use tenure_journal::{Environment, McpTool, McpTransport, Network, Origin, Tool};

use super::tool::Tools;
use crate::error::ApiError;

/// Where a hosted environment's files are.
const WORKSPACE: &str = "/workspace";

/// Refuses tool servers that a session with this environment cannot have. The path names the member.
pub(crate) fn refuse_misplaced(
    tools: &[Tool],
    environment: &Environment,
    path: &str,
) -> Result<(), ApiError> {
    for (index, tool) in tools.iter().enumerate() {
        let Tool::Mcp(server) = tool else { continue };
        if let Some((member, why)) = misplaced(server, environment) {
            let path = format!("{path}[{index}].{member}");
            let message = format!("Invalid '{path}': {why}.");
            return Err(ApiError::invalid(message).code("tool_server_not_reachable").param(path));
        }
    }
    Ok(())
}

/// Refuses variables that come with a request for servers on the client's own machine: they belong there.
pub(crate) fn refuse_variables(tools: &Tools, environment: &Environment, path: &str) -> Result<(), ApiError> {
    match (environment, tools.with_variables()) {
        (Environment::SelfHosted(_), Some(index)) => {
            let path = format!("{path}[{index}].transport.env");
            let message = format!(
                "Invalid '{path}': a self-hosted environment takes no variables; set them where the executor runs \
                 and name them in 'env_vars'."
            );
            Err(ApiError::invalid(message).code("invalid_value").param(path))
        }
        (Environment::SelfHosted(_) | Environment::Hosted(_) | Environment::None, _) => Ok(()),
    }
}

fn misplaced(server: &McpTool, environment: &Environment) -> Option<(&'static str, &'static str)> {
    let origin = "connection_origin";
    match (&server.transport, server.origin, environment) {
        (McpTransport::Stdio { .. }, _, Environment::None) => Some((
            "transport",
            "a server over standard input and output runs in an environment, and there is none",
        )),
        (McpTransport::Stdio { cwd, .. }, _, Environment::Hosted(_)) => {
            let is_below = cwd == WORKSPACE || cwd.starts_with("/workspace/");
            (!is_below).then_some(("transport.cwd", "it must be /workspace or below it"))
        }
        (McpTransport::Stdio { .. }, _, Environment::SelfHosted(_))
        | (McpTransport::Http { .. } | McpTransport::Project, Origin::Service, _)
        | (McpTransport::Http { .. }, Origin::Environment, Environment::SelfHosted(_)) => None,
        (McpTransport::Project, Origin::Environment, _) => {
            Some((origin, "a server of the project's mcp.json is reached by the server itself"))
        }
        (McpTransport::Http { .. }, Origin::Environment, Environment::None) => {
            Some((origin, "there is no environment to connect from"))
        }
        (McpTransport::Http { server_url, .. }, Origin::Environment, Environment::Hosted(hosted)) => {
            let is_reached = match &hosted.network {
                Network::Disabled => false,
                Network::Enabled => true,
                Network::Restricted { allowed_domains } => host(server_url).is_some_and(|host| {
                    allowed_domains.iter().any(|known| known.eq_ignore_ascii_case(&host))
                }),
            };
            (!is_reached).then_some((origin, "the environment's network does not reach the server"))
        }
    }
}

fn host(url: &str) -> Option<String> {
    let uri: axum::http::Uri = url.parse().ok()?;
    uri.host().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tenure_journal::{
        Capabilities, ContainerSize, EnvironmentId, Fresh, HostedEnvironment, Packages,
        SelfHostedEnvironment, SessionId, Timestamp,
    };

    use super::super::reader::Reader;
    use super::super::tool::ToolScope;
    use super::*;

    fn id() -> EnvironmentId {
        EnvironmentId::of_session(SessionId::fresh(&Fresh::new(Timestamp::from_millis(1), 1)))
    }

    fn hosted(network: Network) -> Environment {
        Environment::Hosted(Box::new(HostedEnvironment {
            id: id(),
            network,
            size: ContainerSize::Small,
            files: Vec::new(),
            packages: Packages::default(),
            setup: Vec::new(),
            variables: None,
            base: None,
            capabilities: Capabilities::default(),
        }))
    }

    fn own() -> Environment {
        Environment::SelfHosted(Box::new(SelfHostedEnvironment {
            id: id(),
            remote_url: "http://x/connect/rt_1".into(),
            workspace_directory: "/srv".into(),
            capability_directories: Vec::new(),
            found: Vec::new(),
            servers: tenure_journal::PluginServers::default(),
        }))
    }

    fn read(transport: &Value, origin: &str) -> Tools {
        let body = json!({"tools": [{"type": "mcp", "server_label": "s", "transport": transport,
            "connection_origin": origin}]});
        let mut reader = Reader::new("agent", &body).expect("an object");
        Tools::read(reader.required("tools").expect("there"), ToolScope::Session).expect("accepted")
    }

    #[test]
    fn a_server_is_where_it_can_be() {
        let restricted = || hosted(Network::Restricted { allowed_domains: vec!["mcp.example".into()] });
        let http = json!({"type": "http", "server_url": "https://mcp.example/mcp"});
        let elsewhere = json!({"type": "http", "server_url": "https://other.example/mcp"});
        let process = json!({"type": "stdio", "command": "x", "cwd": "/workspace/a"});
        let outside = json!({"type": "stdio", "command": "x", "cwd": "/srv"});
        let project = json!({"type": "project"});
        let (none, closed) = (|| Environment::None, || hosted(Network::Disabled));
        let (service, environment) = ("service", "environment");
        for (transport, origin, there, refused) in [
            (&http, service, none(), None),
            (&http, environment, none(), Some("connection_origin")),
            (&http, environment, closed(), Some("connection_origin")),
            (&http, environment, restricted(), None),
            (&elsewhere, environment, restricted(), Some("connection_origin")),
            (&elsewhere, environment, hosted(Network::Enabled), None),
            (&elsewhere, environment, own(), None),
            (&process, service, none(), Some("transport")),
            (&process, service, closed(), None),
            (&process, environment, own(), None),
            (&outside, service, closed(), Some("transport.cwd")),
            (&outside, service, own(), None),
            (&project, service, own(), None),
            (&project, environment, own(), Some("connection_origin")),
        ] {
            let tools = read(transport, origin);
            let error = refuse_misplaced(tools.as_slice(), &there, "agent.tools").err();
            let param = error.as_ref().and_then(|error| error.parameter()).map(str::to_owned);
            let expected = refused.map(|member| format!("agent.tools[0].{member}"));
            assert_eq!(param, expected, "{transport} from {origin}");
        }
    }

    #[test]
    fn variables_of_a_machine_of_the_clients_are_set_there() {
        let process = json!({"type": "stdio", "command": "x", "cwd": "/srv", "env": {"A": "b"}});
        let tools = read(&process, "service");
        let refused = refuse_variables(&tools, &own(), "agent.tools").expect_err("refused");
        assert_eq!(refused.parameter(), Some("agent.tools[0].transport.env"));
        assert_eq!(refuse_variables(&tools, &hosted(Network::Disabled), "agent.tools"), Ok(()));
    }
}
