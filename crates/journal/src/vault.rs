//! Vaults and credentials as documents hold them. What is secret stands in one sealed text; everything else may be
//! shown to whoever may read the project.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CredentialId, NodeId, SessionId, Timestamp};

/// A collection of credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The client's key-value pairs.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Sessions that wait until it holds a credential for a tool server that asked them for a sign-in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<WantedCredential>,
    /// What they have been given and not been told of yet; the document is due while there is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<FoundCredential>,
}

/// A session waits for a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedCredential {
    /// The session.
    pub session: SessionId,
    /// The server, compared as it is written.
    pub mcp_server_url: String,
}

/// A session has a credential that it waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundCredential {
    /// The session.
    pub session: SessionId,
    /// The server.
    pub mcp_server_url: String,
    /// The credential.
    pub credential_id: CredentialId,
}

/// What nobody can sign in for any more, because it was deleted: who waits for that and has not been told yet. The
/// document is due while there is anyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostSignIn {
    /// The sessions.
    pub sessions: Vec<SessionId>,
}

impl Vault {
    /// Gives those a credential who wait for one for its server. Says whether anyone does.
    pub fn give(&mut self, mcp_server_url: &str, credential_id: CredentialId) -> bool {
        let (given, wanted): (Vec<_>, Vec<_>) = std::mem::take(&mut self.wanted)
            .into_iter()
            .partition(|one| one.mcp_server_url == mcp_server_url);
        self.wanted = wanted;
        let anyone = !given.is_empty();
        let found = |WantedCredential { session, mcp_server_url }| FoundCredential {
            session,
            mcp_server_url,
            credential_id,
        };
        self.found.extend(given.into_iter().map(found));
        anyone
    }
}

/// What authenticates somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// What people call it.
    pub name: String,
    /// The client's key-value pairs.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Where, and how.
    pub auth: CredentialAuth,
    /// Its secrets, sealed for this version of the document.
    pub sealed: Vec<u8>,
}

/// Where a credential authenticates, and how. Never changes its kind, nor its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialAuth {
    /// A token for one MCP server.
    StaticBearer {
        /// The server, compared as it is written.
        mcp_server_url: String,
    },
    /// Tokens of an authorization server for one MCP server.
    McpOauth(Box<OauthAuth>),
    /// A secret that leaves a hosted environment towards some hosts, and never enters it.
    EnvironmentVariable {
        /// The variable that holds a placeholder.
        secret_name: String,
        /// Where the secret may go.
        networking: CredentialNetworking,
    },
}

impl CredentialAuth {
    /// The MCP server it is for.
    #[must_use]
    pub fn mcp_server_url(&self) -> Option<&str> {
        match self {
            Self::StaticBearer { mcp_server_url } => Some(mcp_server_url),
            Self::McpOauth(auth) => Some(&auth.mcp_server_url),
            Self::EnvironmentVariable { .. } => None,
        }
    }

    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StaticBearer { .. } => "static_bearer",
            Self::McpOauth(_) => "mcp_oauth",
            Self::EnvironmentVariable { .. } => "environment_variable",
        }
    }
}

/// Tokens for one MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OauthAuth {
    /// The server, compared as it is written.
    pub mcp_server_url: String,
    /// When the access token stops working, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How a new one is had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<OauthRefresh>,
    /// Whether it works, as far as is known.
    #[serde(default, skip_serializing_if = "OauthState::is_ready")]
    pub state: OauthState,
    /// Sessions that waited for a sign-in and have not been told of it yet; the document is due while there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releasing: Vec<SessionId>,
}

impl OauthAuth {
    /// Makes it work again, as far as is known, and lets those go on who waited.
    pub fn make_ready(&mut self) {
        if let OauthState::NeedsSignIn { waiting, .. } = std::mem::take(&mut self.state) {
            self.releasing.extend(waiting);
        }
    }
}

/// How a new access token is had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OauthRefresh {
    /// Where.
    pub token_endpoint: String,
    /// As which client.
    pub client_id: String,
    /// With which scopes; absent sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// For which resource (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// How the client says who it is.
    pub token_endpoint_auth: TokenEndpointAuth,
}

/// How a client says who it is at a token endpoint (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenEndpointAuth {
    /// It names itself.
    None,
    /// With its secret in HTTP Basic authentication.
    ClientSecretBasic,
    /// With its secret in the form.
    ClientSecretPost,
}

impl TokenEndpointAuth {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}

/// Whether tokens work.
///
/// ```text
///            used when expired           new tokens are written
///   Ready ───────────────────▶ Refreshing ─────────────────────▶ Ready
///     │                           │ the authorization server refuses
///     │ the server refuses        ▼                 a person signed in
///     └──────────────────────▶ NeedsSignIn ─────────────────────▶ Ready
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OauthState {
    /// As far as is known.
    #[default]
    Ready,
    /// One node asks for new ones; others wait for what it writes.
    Refreshing {
        /// Which.
        node: NodeId,
        /// When others may try.
        until: Timestamp,
    },
    /// Nothing but a person's sign-in makes them work again.
    NeedsSignIn {
        /// Why, in words for operators.
        why: String,
        /// Since when.
        since: Timestamp,
        /// Sessions that wait for it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<SessionId>,
        /// Where the server says its metadata is (RFC 9728), if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource_metadata: Option<String>,
        /// The scopes that it says are needed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
    },
}

impl OauthState {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Ready => true,
            Self::Refreshing { .. } | Self::NeedsSignIn { .. } => false,
        }
    }
}

/// Where the secret of a variable may go, within what the environment may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialNetworking {
    /// To every host that the environment may reach.
    Unrestricted,
    /// To these of them.
    Limited {
        /// Host names and IPv4 addresses, in lower case.
        allowed_hosts: Vec<String>,
    },
}
