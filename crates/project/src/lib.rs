//! Project files: what a directory of agents says, read in two stages.
//!
//! The first stage reads what was written into values with places ([`Problem`] tells file, line and
//! column); the second gives them meaning and checks the directory as a whole, so that nothing starts
//! half configured. All problems are told at once.
//!
//! Parsing is pure: [`parse_agent_file`], [`parse_settings`], [`parse_mcp_file`] and [`parse_dot_env`]
//! take text and give values. Only [`Project::load`] touches the disk. Nothing here reads the process's
//! environment: whoever does passes it as [`Env`]. Policies are collected and not parsed; scripts of the
//! scripted model are checked for existence only.

mod agent_file;
mod budgets;
mod cloud;
mod contract;
mod env;
mod environment;
mod extraction;
mod grants;
mod hosting;
mod json;
mod load;
mod mcp;
mod memory;
mod name;
mod node;
mod outbound;
mod packages;
mod people;
mod problem;
mod provider;
mod route;
mod settings;
mod skill;
mod terms;
mod tools;
mod yaml;

pub use agent_file::{ProjectAgent, parse_agent_file};
pub use budgets::Budgets;
pub use cloud::{Cloud, CloudAuth};
pub use contract::{
    AppliesFile, CLAUSES_MAX, CONTRACTS_MAX, ClauseFile, ContractFile, TermsFile, parse_contract,
};
pub use env::{Env, Redacted, Unset, parse_dot_env};
pub use environment::{ProjectEnvironment, ProjectNetwork};
pub use hosting::{Environments, MinIsolation};
pub use load::{AGENTS_MAX, FILE_BYTES_MAX, POLICIES_MAX, PolicyFile, Project, SKILLS_MAX};
pub use mcp::{MCP_FILE, McpFile, McpServer, Reach, ServerHints, parse_mcp_file};
pub use memory::{Embedding, EmbeddingModel, Memory};
pub use name::{AGENT_NAME_BYTES_MAX, AgentName};
pub use outbound::{Telemetry, Vaults, Webhooks};
pub use packages::PackageSources;
pub use people::{PEOPLE_SCOPES, People};
pub use problem::{Code, Place, Problem, ProjectError, Severity};
pub use provider::{Detected, detect};
pub use route::{Facts, ModelAlias, ModelRoute, ROUTES_MAX};
pub use settings::{
    Limit, Limits, PORT_DEFAULT, Price, Provider, SETTINGS_FILE, Server, Settings, Wire, parse_settings,
};
pub use skill::ProjectSkill;
pub use terms::ToolHints;

#[cfg(test)]
mod tests {
    /// The reference pages document each key exactly where a reader looks for it: in a table.
    #[test]
    fn every_key_is_documented() {
        let page = concat!(
            include_str!("../../../docs/project-files.md"),
            include_str!("../../../docs/contracts.md")
        );
        let keys = crate::settings::DOCUMENTED
            .iter()
            .chain(crate::agent_file::DOCUMENTED)
            .chain(crate::environment::DOCUMENTED)
            .chain(crate::tools::DOCUMENTED)
            .chain(crate::mcp::DOCUMENTED)
            .chain(crate::terms::DOCUMENTED);
        for key in keys.copied().flatten() {
            let named = page.lines().any(|line| line.contains(&format!("`{key}`")));
            assert!(named, "neither docs/project-files.md nor docs/contracts.md mentions `{key}`");
        }
    }
}
