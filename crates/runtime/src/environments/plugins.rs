//! Tool servers that plugins bring along: from what each plugin says to the labels that the session knows them by.
//!
//! A label is the plugin's name, `-`, and the server's. Policies, approvals and freezes name servers by their labels, so
//! no plugin gets one that means another server: the project's own are not to be had, and the first of two plugins
//! with the same one has it. The agent's own servers go before, whenever they come; see `servers.rs` of the session. The
//! project's may come later, too, with another `mcp.json`: each listing and each call looks once more.
//!
//! What happens if the process dies: the search is part of the preparation, which is made again from the beginning.
//! What it found is in the journal or is not; a server is asked for nothing before.

use std::collections::BTreeSet;

use serde_json::Map;
use tenure_journal::{
    Failure, FailureKind, McpTool, McpTransport, Origin, PluginServers, RefusedServer, limit,
};
use tenure_session::Session;
use tenure_skill::{FoundPlugin, Plugin, PluginServer};

use super::run::failed;

/// What a name of a variable holds that is probably a secret, whatever the case. Executors hold the same back from
/// commands.
const SECRETS: [&str; 3] = ["KEY", "SECRET", "TOKEN"];

/// Whose machine the plugins are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// A sandbox of this server: its variables are those that the environment was given, and commands have all.
    Sandbox,
    /// The customer's: its variables are those of the executor, from which commands get no secrets.
    Customers,
}

/// Who brought a tool server along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Agent,
    Plugin,
}

impl Owner {
    /// Whose the session's server with this label is.
    pub(super) fn of(state: &Session, label: &str) -> Self {
        if state.is_of_plugin(label) { Self::Plugin } else { Self::Agent }
    }

    /// Refuses to ask a plugin's server under a label that means one of the project's by now.
    pub(super) fn check(self, label: &str, is_taken: impl Fn(&str) -> bool) -> Result<(), Failure> {
        if self == Self::Agent || !is_taken(label) {
            return Ok(());
        }
        let message = format!(
            "the label `{label}` of a plugin's tool server is that of a server of the project by now; the plugin's was \
             not asked"
        );
        Err(failed(FailureKind::InvalidRequest, message))
    }
}

/// What `plugins` bring along, in their order. `is_taken` says which labels mean other servers.
pub(super) fn gather(
    plugins: Vec<FoundPlugin>,
    machine: Machine,
    is_taken: impl Fn(&str) -> bool,
) -> PluginServers {
    let mut gathering = Gathering { machine, is_taken, found: PluginServers::default(), untold: 0 };
    for FoundPlugin { directory, plugin } in plugins {
        match plugin {
            Ok(plugin) => gathering.plugin(&directory, plugin),
            Err(error) => gathering.refuse(&directory, None, error.to_string()),
        }
    }
    gathering.finish()
}

struct Gathering<F> {
    machine: Machine,
    is_taken: F,
    found: PluginServers,
    /// Refusals that there was no room for.
    untold: usize,
}

impl<F: Fn(&str) -> bool> Gathering<F> {
    fn plugin(&mut self, directory: &str, plugin: Plugin) {
        let Plugin { manifest, servers } = plugin;
        for server in servers.servers {
            let label = format!("{}-{}", manifest.name(), server.name);
            match self.obstacle(&label, &server) {
                Some(why) => self.refuse(directory, Some(server.name), why),
                None => self.found.servers.push(tool(label, server)),
            }
        }
        for (name, why) in servers.refused {
            self.refuse(directory, Some(name), why);
        }
    }

    /// Why a server is not started.
    fn obstacle(&self, label: &str, server: &PluginServer) -> Option<String> {
        if label.len() > limit::SERVER_LABEL_CHARS_MAX {
            let most = limit::SERVER_LABEL_CHARS_MAX;
            return Some(format!(
                "its label `{label}` has more than {most} characters; a shorter name will do"
            ));
        }
        if (self.is_taken)(label) {
            return Some(format!("its label `{label}` is that of a server of the project"));
        }
        if self.found.servers.iter().any(|found| found.server_label == label) {
            return Some(format!("another plugin has a server of the label `{label}`"));
        }
        if self.found.servers.len() >= limit::SERVERS_INSIDE_MAX {
            return Some(format!("an environment runs at most {} tool servers", limit::SERVERS_INSIDE_MAX));
        }
        let secret = server.env_vars.iter().find(|name| looks_secret(name));
        match (self.machine, secret) {
            (Machine::Customers, Some(name)) => Some(format!(
                "its variable `{name}` is named like a secret, and plugins get none of the executor's; name the server \
                 among the agent's tools"
            )),
            (Machine::Customers, None) | (Machine::Sandbox, _) => None,
        }
    }

    fn refuse(&mut self, plugin: &str, name: Option<String>, reason: String) {
        if self.found.refused.len() >= limit::SERVERS_REFUSED_MAX {
            self.untold += 1;
            return;
        }
        self.found.refused.push(RefusedServer { plugin: plugin.to_owned(), name, reason });
    }

    fn finish(mut self) -> PluginServers {
        if self.untold > 0
            && let Some(last) = self.found.refused.last_mut()
        {
            last.reason += &format!("; {} more are not started, and not listed", self.untold);
        }
        self.found
    }
}

/// A server of a plugin as the session has it: as one of the agent's in its environment, and never worth a turn.
fn tool(label: String, server: PluginServer) -> McpTool {
    let PluginServer { name: _, command, args, cwd, env_vars, tools } = server;
    let env_vars: BTreeSet<String> = env_vars.into_iter().collect();
    McpTool {
        server_label: label,
        transport: McpTransport::Stdio {
            command,
            args,
            cwd,
            env_vars: env_vars.into_iter().collect(),
            secret: None,
        },
        allowed_tools: tools,
        origin: Origin::Environment,
        credential_id: None,
        required: false,
        request_metadata: Map::new(),
    }
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRETS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use tenure_skill::{read_plugin, read_servers};

    use super::*;

    /// A plugin of this name that names these servers.
    fn plugin(name: &str, servers: &str) -> FoundPlugin {
        let directory = format!("/workspace/{name}");
        let manifest = read_plugin(format!(r#"{{"name":"{name}","description":"d"}}"#).as_bytes());
        let said = manifest.and_then(|manifest| {
            Ok(Plugin { manifest, servers: read_servers(servers.as_bytes(), &directory)? })
        });
        FoundPlugin { directory, plugin: said }
    }

    /// One line a server: its label, or what it is called and why it is refused.
    fn told(found: &PluginServers) -> Vec<String> {
        let refused = |refused: &RefusedServer| {
            let name = refused.name.as_deref().unwrap_or("everything");
            format!("{name} of {}: {}", refused.plugin, refused.reason)
        };
        let labels = found.servers.iter().map(|server| server.server_label.clone());
        labels.chain(found.refused.iter().map(refused)).collect()
    }

    #[track_caller]
    fn check(machine: Machine, plugins: Vec<FoundPlugin>, expected: &[&str]) {
        let found = gather(plugins, machine, |label| label == "orders-prod");
        assert_eq!(told(&found), expected);
        assert!(found.servers.iter().all(McpTool::runs_inside));
    }

    const ONE: &str = r#"{"db":{"command":"serve","env_vars":["A","A"]}}"#;

    #[test]
    fn each_has_a_label_that_means_no_other() {
        let prod = r#"{"prod":{"command":"serve"},"test":{"command":"serve"}}"#;
        let long = format!(r#"{{"{}":{{"command":"serve"}}}}"#, "s".repeat(63));
        let name = "s".repeat(63);
        let why = format!(
            "{name} of /workspace/x: its label `x-{name}` has more than 64 characters; a shorter name will do"
        );
        check(
            Machine::Sandbox,
            vec![
                plugin("orders", prod),
                plugin("x", &long),
                plugin("a-b", ONE),
                plugin("a", r#"{"b-db":{"command":"x"}}"#),
            ],
            &[
                "orders-test",
                "a-b-db",
                "prod of /workspace/orders: its label `orders-prod` is that of a server of the project",
                &why,
                "b-db of /workspace/a: another plugin has a server of the label `a-b-db`",
            ],
        );
    }

    #[test]
    fn a_label_that_the_project_took_later_is_the_plugins_no_longer() {
        let is_taken = |label: &str| label == "orders-prod";
        assert_eq!(Owner::Plugin.check("orders-test", is_taken), Ok(()));
        assert_eq!(Owner::Agent.check("orders-prod", is_taken), Ok(()), "clients decide that");
        let failure = Owner::Plugin.check("orders-prod", is_taken).expect_err("refused");
        assert!(!failure.kind.is_transient() && !failure.kind.is_ambiguous());
        assert!(failure.message.contains("`orders-prod`"), "{}", failure.message);
    }

    #[test]
    fn there_are_as_many_as_run_in_one_environment_and_the_rest_is_told() {
        let servers: Vec<String> = (0..6).map(|n| format!(r#""s{n}":{{"command":"x"}}"#)).collect();
        let six = format!("{{{}}}", servers.join(","));
        let plugins = (0..9).map(|n| plugin(&format!("p{n}"), &six)).collect();
        let found = gather(plugins, Machine::Sandbox, |_| false);
        assert_eq!(found.servers.len(), limit::SERVERS_INSIDE_MAX);
        assert_eq!(found.refused.len(), limit::SERVERS_REFUSED_MAX);
        assert_eq!(found.refused[0].reason, "an environment runs at most 8 tool servers");
        let left = 9 * 6 - limit::SERVERS_INSIDE_MAX - limit::SERVERS_REFUSED_MAX;
        let last = &found.refused[limit::SERVERS_REFUSED_MAX - 1].reason;
        assert!(last.ends_with(&format!("; {left} more are not started, and not listed")), "{last}");
    }

    #[test]
    fn what_is_wrong_is_told_and_takes_nothing_with_it() {
        check(
            Machine::Sandbox,
            vec![plugin("not a name", ONE), plugin("odd", "[]"), plugin("fine", ONE)],
            &[
                "fine-db",
                "everything of /workspace/not a name: the plugin's name `not a name` must be 1 to 64 letters, digits, \
                 `-` and `_`, beginning with a letter or a digit",
                "everything of /workspace/odd: the file that names the plugin's MCP servers is no JSON object (line 1, \
                 column 0)",
            ],
        );
    }

    #[test]
    fn secrets_of_a_customers_machine_are_not_for_plugins() {
        let needs = r#"{"db":{"command":"x","env":{"Api_Key":"${Api_Key}"}},"ok":{"command":"x","env_vars":["HOST"]}}"#;
        check(Machine::Sandbox, vec![plugin("p", needs)], &["p-db", "p-ok"]);
        check(
            Machine::Customers,
            vec![plugin("p", needs)],
            &[
                "p-ok",
                "db of /workspace/p: its variable `Api_Key` is named like a secret, and plugins get none of the \
                 executor's; name the server among the agent's tools",
            ],
        );
    }
}
