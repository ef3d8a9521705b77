//! From the project's `mcp.json` to tool servers.

use std::collections::BTreeMap;
use std::path::Path;

use tenure_project::{McpServer, Reach, Redacted, ServerHints, ToolHints};
use tenure_tools::{Addresses, Hints, SaidTerms, Server};

/// The project's servers; relative working directories are under `root`.
pub(crate) fn servers(written: &BTreeMap<String, McpServer>, root: &Path) -> BTreeMap<String, Server> {
    written.iter().map(|(name, server)| (name.clone(), one(server, root))).collect()
}

fn one(written: &McpServer, root: &Path) -> Server {
    let shown = |secrets: &BTreeMap<String, Redacted>| {
        secrets.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
    };
    let hints = hints(&written.hints);
    match &written.reach {
        Reach::Stdio { command, args, env, cwd } => Server::Stdio {
            command: command.clone(),
            args: args.clone(),
            env: shown(env),
            cwd: Some(cwd.as_ref().map_or_else(|| root.to_owned(), |cwd| root.join(cwd))),
            hints,
        },
        Reach::Http { url, headers } => Server::Http { url: url.clone(), headers: shown(headers), hints },
    }
}

fn terms(written: &ToolHints) -> SaidTerms {
    SaidTerms {
        effect: written.effect,
        clearance: written.clearance,
        result: written.result.clone(),
        fields: written.fields.clone(),
        critical: written.critical.clone(),
    }
}

fn hints(written: &ServerHints) -> Hints {
    Hints {
        keyed: written.keyed.clone(),
        read_only: written.read_only.clone(),
        destructive: written.destructive.clone(),
        timeout_ms: written.timeout_ms,
        known: true,
        terms: written.tools.iter().map(|(name, said)| (name.clone(), terms(said))).collect(),
        addresses: Addresses::Any,
    }
}
