//! Which credential each tool server of a session gets, and which variables its environment.
//!
//! It is settled once, when a session is opened or given other tools, and written into its tools: what a vault is given
//! later changes nothing about sessions that run, but for a server that has none and asks for a sign-in
//! ([`super::want`]). A server and a credential belong together if their addresses are the same text; nothing is
//! guessed, resolved or normalised, for each of those would be a way to be sent a token.

use std::collections::BTreeSet;

use tenure_journal::{
    CredentialAuth, CredentialId, CredentialNetworking, Environment, McpTool, McpTransport, Network, Origin,
    ProjectId, Tool, VaultId,
};

use super::{SavedCredential, VaultError, documents};
use crate::Runtime;

/// The credentials of the vaults that a session names.
#[derive(Debug, Clone, Default)]
pub struct Attached {
    named: bool,
    credentials: Vec<SavedCredential>,
}

/// Why a session cannot have its credentials. Indices count tools, or vault ids.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No such vault.
    #[error("there is no vault with that id")]
    NoVault {
        /// Which of the ids.
        index: usize,
    },
    /// A tool names a credential, and the session no vault.
    #[error("a credential is named, and no vault")]
    NothingAttached {
        /// The tool.
        tool: usize,
    },
    /// A tool names a credential that is in none of the vaults.
    #[error("the credential is in none of the session's vaults")]
    NotAttached {
        /// The tool.
        tool: usize,
    },
    /// A tool names a credential that is not for its server.
    #[error("the credential is for another server")]
    OtherServer {
        /// The tool.
        tool: usize,
    },
    /// Several credentials fit a tool that names none.
    #[error("{count} credentials of the session's vaults are for this server; name one as `credential_id`")]
    Ambiguous {
        /// The tool.
        tool: usize,
        /// How many.
        count: usize,
    },
    /// A tool has an authorization of its own and names a credential too.
    #[error("the server has an authorization of its own; give either that or a credential")]
    Twice {
        /// The tool.
        tool: usize,
    },
    /// A tool that cannot have a credential names one.
    #[error("a credential is for servers that are reached from this one over HTTP")]
    NotForThis {
        /// The tool.
        tool: usize,
    },
    /// Two credentials are for one variable.
    #[error("two credentials of the session's vaults are for the variable `{name}`")]
    VariableTwice {
        /// The variable.
        name: String,
    },
    /// The environment's network does not fit a variable.
    #[error("the secret of `{name}` needs an environment whose network is restricted to named hosts")]
    Network {
        /// The variable.
        name: String,
    },
    /// Vaults cannot be read.
    #[error(transparent)]
    Vault(VaultError),
}

/// What is done about a vault that is not there.
#[derive(Debug, Clone, Copy)]
enum Missing {
    Refused,
    LeftOut,
}

impl Runtime {
    /// The credentials of these vaults.
    ///
    /// # Errors
    /// `NoVault`, `Vault`.
    pub async fn attach(&self, project: ProjectId, vault_ids: &[String]) -> Result<Attached, BindError> {
        self.attached(project, vault_ids, Missing::Refused).await
    }

    /// The credentials of those of these vaults that are still there.
    ///
    /// # Errors
    /// `Vault`.
    pub async fn attach_left(&self, project: ProjectId, vault_ids: &[String]) -> Result<Attached, BindError> {
        self.attached(project, vault_ids, Missing::LeftOut).await
    }

    async fn attached(
        &self,
        project: ProjectId,
        vault_ids: &[String],
        missing: Missing,
    ) -> Result<Attached, BindError> {
        let store = &**self.store();
        let mut attached = Attached { named: !vault_ids.is_empty(), credentials: Vec::new() };
        for (index, id) in vault_ids.iter().enumerate() {
            let found = match id.parse::<VaultId>() {
                Ok(id) => documents::vault(store, project, id).await,
                Err(_) => Err(VaultError::NoVault),
            };
            let id = match (found, missing) {
                (Ok(vault), _) => vault.id,
                (Err(VaultError::NoVault), Missing::LeftOut) => continue,
                (Err(VaultError::NoVault), Missing::Refused) => return Err(BindError::NoVault { index }),
                (Err(error), _) => return Err(BindError::Vault(error)),
            };
            attached.credentials.extend(documents::all(store, project, id).await.map_err(BindError::Vault)?);
        }
        Ok(attached)
    }
}

impl Attached {
    /// Gives each tool server its credential. Those in `own`, by their places, have an authorization of their own that is
    /// not sealed yet.
    ///
    /// # Errors
    /// The first tool that cannot have one.
    pub fn bind(&self, tools: &mut [Tool], own: &BTreeSet<usize>) -> Result<(), BindError> {
        for (tool, found) in tools.iter_mut().enumerate() {
            match found {
                Tool::Mcp(mcp) => mcp.credential_id = self.of(tool, mcp, own.contains(&tool))?,
                Tool::Function(_)
                | Tool::ToolSearch
                | Tool::ProgrammaticToolCalling { .. }
                | Tool::WebSearch { .. }
                | Tool::ComputerUse { .. }
                | Tool::Automations
                | Tool::Memory => {}
            }
        }
        Ok(())
    }

    fn of(&self, tool: usize, mcp: &McpTool, has_own: bool) -> Result<Option<String>, BindError> {
        let (server_url, has_own) = match (&mcp.transport, mcp.origin) {
            (McpTransport::Http { server_url, secret, .. }, Origin::Service) => {
                (server_url, has_own || secret.is_some())
            }
            (McpTransport::Http { .. }, Origin::Environment)
            | (McpTransport::Stdio { .. } | McpTransport::Project, _) => {
                return match mcp.credential_id {
                    Some(_) => Err(BindError::NotForThis { tool }),
                    None => Ok(None),
                };
            }
        };
        let fits = |credential: &&SavedCredential| credential.body.auth.mcp_server_url() == Some(server_url);
        if let Some(id) = &mcp.credential_id {
            if has_own {
                return Err(BindError::Twice { tool });
            }
            if !self.named {
                return Err(BindError::NothingAttached { tool });
            }
            let id = id.parse::<CredentialId>().ok();
            let named = self.credentials.iter().find(|credential| Some(credential.id) == id);
            let named = named.ok_or(BindError::NotAttached { tool })?;
            return match fits(&named) {
                true => Ok(Some(named.id.to_string())),
                false => Err(BindError::OtherServer { tool }),
            };
        }
        // What the client wrote for this session alone says more than what lies in a vault.
        if has_own {
            return Ok(None);
        }
        let fitting: Vec<&SavedCredential> = self.credentials.iter().filter(fits).collect();
        match fitting.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.id.to_string())),
            several => Err(BindError::Ambiguous { tool, count: several.len() }),
        }
    }

    /// Whether the environment can have the variables of these credentials. One that is not hosted here has none.
    ///
    /// # Errors
    /// `VariableTwice`, `Network`.
    pub fn check_environment(&self, environment: &Environment) -> Result<(), BindError> {
        let Environment::Hosted(hosted) = environment else { return Ok(()) };
        self.check_network(&hosted.network)
    }

    /// The same for an environment with this network.
    ///
    /// # Errors
    /// `VariableTwice`, `Network`.
    pub fn check_network(&self, network: &Network) -> Result<(), BindError> {
        let mut seen = BTreeSet::new();
        for credential in &self.credentials {
            let CredentialAuth::EnvironmentVariable { secret_name, networking } = &credential.body.auth
            else {
                continue;
            };
            let name = || secret_name.clone();
            if !seen.insert(secret_name) {
                return Err(BindError::VariableTwice { name: name() });
            }
            match (networking, network) {
                (_, Network::Restricted { .. }) => {}
                // Nothing leaves it, a secret neither.
                (CredentialNetworking::Limited { .. }, Network::Disabled) => {}
                // An open network passes no proxy that could put the secret in.
                (CredentialNetworking::Limited { .. }, Network::Enabled)
                | (CredentialNetworking::Unrestricted, Network::Disabled | Network::Enabled) => {
                    return Err(BindError::Network { name: name() });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Map;
    use tenure_journal::{Credential, Fresh, Secret, SecretId, Timestamp};
    use tenure_store::DocumentKind;

    use super::*;

    /// Credentials as `<name>@<server>`, or `<name>=<variable>`, with `*` for any host; ids count from 1.
    fn attached(written: &[&str]) -> Attached {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (project, vault_id) = (ProjectId::fresh(&fresh), VaultId::fresh(&fresh));
        let credentials = written.iter().map(|written| {
            let auth = match (written.split_once('@'), written.split_once('=')) {
                (Some((_, server)), _) => CredentialAuth::StaticBearer { mcp_server_url: server.to_owned() },
                (None, Some((_, name))) => CredentialAuth::EnvironmentVariable {
                    secret_name: name.trim_end_matches('*').to_owned(),
                    networking: match name.ends_with('*') {
                        true => CredentialNetworking::Unrestricted,
                        false => CredentialNetworking::Limited { allowed_hosts: vec!["a.example".into()] },
                    },
                },
                (None, None) => panic!("no credential: {written}"),
            };
            let id = CredentialId::fresh(&fresh);
            let body = Credential {
                name: (*written).to_owned(),
                metadata: BTreeMap::new(),
                auth,
                sealed: Vec::new(),
            };
            let place = (project, DocumentKind::Credential, id.to_string());
            let document = documents::first(
                place,
                Some(vault_id.to_string()),
                documents::encode(&body),
                Timestamp::EPOCH,
            );
            SavedCredential { id, vault_id, document, body }
        });
        Attached { named: true, credentials: credentials.collect() }
    }

    fn tool(transport: McpTransport, credential_id: Option<String>) -> Tool {
        Tool::Mcp(McpTool {
            server_label: "s".into(),
            transport,
            allowed_tools: None,
            origin: Origin::Service,
            credential_id,
            required: false,
            request_metadata: Map::new(),
        })
    }

    fn http(secret: bool) -> McpTransport {
        let secret = secret.then(|| Secret(SecretId::fresh(&Fresh::new(Timestamp::from_millis(1), 2))));
        McpTransport::Http { server_url: "https://x/mcp".into(), headers: BTreeMap::new(), secret }
    }

    /// Which credential is bound, or why none can be.
    fn bound(attached: &Attached, mut tool: Tool) -> String {
        match attached.bind(std::slice::from_mut(&mut tool), &BTreeSet::new()) {
            Ok(()) => {
                let Tool::Mcp(mcp) = tool else { panic!("it stays a server") };
                let id = mcp.credential_id.unwrap_or_default();
                let found = attached.credentials.iter().find(|credential| credential.id.to_string() == id);
                found.map_or_else(|| "none".to_owned(), |found| found.body.name.clone())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_server_gets_the_credential_that_is_for_its_very_address() {
        for (credentials, expected) in [
            (&[][..], "none"),
            (&["a@https://y/mcp"], "none"),
            (&["a@https://x/mcp/"], "none"),
            (&["a@https://X/mcp"], "none"),
            (&["a@http://x/mcp"], "none"),
            (&["a@https://x:443/mcp"], "none"),
            (&["a=KEY"], "none"),
            (&["a@https://y/mcp", "b@https://x/mcp"], "b@https://x/mcp"),
            (
                &["a@https://x/mcp", "b@https://x/mcp"],
                "2 credentials of the session's vaults are for this server; name one as `credential_id`",
            ),
        ] {
            assert_eq!(bound(&attached(credentials), tool(http(false), None)), expected, "{credentials:?}");
        }
        let attached = attached(&["a@https://x/mcp"]);
        assert_eq!(bound(&attached, tool(http(true), None)), "none", "its own authorization comes first");
        assert_eq!(bound(&attached, tool(McpTransport::Project, None)), "none");
    }

    #[test]
    fn a_credential_that_is_named_must_be_there_and_fit() {
        let attached = attached(&["a@https://x/mcp", "b@https://x/mcp", "c@https://y/mcp", "d=KEY"]);
        let id = |index: usize| Some(attached.credentials[index].id.to_string());
        let fresh = CredentialId::fresh(&Fresh::new(Timestamp::from_millis(3), 3)).to_string();
        for (credential_id, expected) in [
            (id(0), "a@https://x/mcp"),
            (id(1), "b@https://x/mcp"),
            (id(2), "the credential is for another server"),
            (id(3), "the credential is for another server"),
            (Some(fresh), "the credential is in none of the session's vaults"),
            (Some("x".into()), "the credential is in none of the session's vaults"),
        ] {
            assert_eq!(bound(&attached, tool(http(false), credential_id)), expected);
        }
        let own = "the server has an authorization of its own; give either that or a credential";
        assert_eq!(bound(&attached, tool(http(true), id(0))), own);
        let not = "a credential is for servers that are reached from this one over HTTP";
        assert_eq!(bound(&attached, tool(McpTransport::Project, id(0))), not);
        let nothing = bound(&Attached::default(), tool(http(false), id(0)));
        assert_eq!(nothing, "a credential is named, and no vault");
    }

    #[test]
    fn a_variable_needs_a_network_that_the_proxy_sees() {
        let restricted = Network::Restricted { allowed_domains: vec!["a.example".into()] };
        let needs = |name| {
            Some(format!(
                "the secret of `{name}` needs an environment whose network is restricted to named hosts"
            ))
        };
        for (credentials, network, expected) in [
            (&["a=KEY"][..], &restricted, None),
            (&["a=KEY*"], &restricted, None),
            (&["a=KEY"], &Network::Disabled, None),
            (&["a=KEY*"], &Network::Disabled, needs("KEY")),
            (&["a=KEY"], &Network::Enabled, needs("KEY")),
            (&["a=KEY*"], &Network::Enabled, needs("KEY")),
            (&["a@https://x/mcp"], &Network::Enabled, None),
            (
                &["a=KEY", "b=KEY"],
                &restricted,
                Some("two credentials of the session's vaults are for the variable `KEY`".to_owned()),
            ),
        ] {
            let refused = attached(credentials).check_network(network).err().map(|error| error.to_string());
            assert_eq!(refused, expected, "{credentials:?} {network:?}");
        }
        assert!(attached(&["a=KEY*"]).check_environment(&Environment::None).is_ok());
    }
}
