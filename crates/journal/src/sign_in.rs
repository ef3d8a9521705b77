//! A person's sign-in, under way, as its document holds it.

use serde::{Deserialize, Serialize};

use crate::{CredentialId, Timestamp, TokenEndpointAuth, VaultId};

/// A sign-in that a browser carries out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Where the tokens go.
    pub vault_id: VaultId,
    /// The credential that gets them; absent makes a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<CredentialId>,
    /// What a new credential is called.
    pub name: String,
    /// The server that they are for.
    pub mcp_server_url: String,
    /// Who gives them, byte for byte.
    pub issuer: String,
    /// Whether it names itself in what comes back.
    pub names_itself: bool,
    /// Where the code is redeemed.
    pub token_endpoint: String,
    /// As which client.
    pub client_id: String,
    /// How the client says who it is.
    pub token_endpoint_auth: TokenEndpointAuth,
    /// For which resource.
    pub resource: String,
    /// With which scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Where the browser comes back to.
    pub redirect_uri: String,
    /// How far it is.
    pub status: SignInStatus,
    /// The code's verifier and the client's secret, sealed.
    pub sealed: Vec<u8>,
}

/// How far a sign-in is.
///
/// ```text
///   Pending ── the browser comes back ──▶ Redeeming ──▶ Done
///      │ too late                             └───────▶ Failed
///      └──────────────────────────────────────────────▶ Failed
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SignInStatus {
    /// The browser has not come back.
    Pending {
        /// Until when it may.
        until: Timestamp,
    },
    /// It came back, once; the code is being redeemed.
    Redeeming,
    /// The tokens are in a credential.
    Done {
        /// Which.
        credential_id: CredentialId,
    },
    /// It came to nothing.
    Failed {
        /// Why.
        why: String,
    },
}
