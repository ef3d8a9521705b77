//! Vaults and credentials: everything but what is secret.

use serde_json::{Value, json};
use tenure_journal::{CredentialAuth, CredentialNetworking, OauthAuth, OauthState, Timestamp};
use tenure_runtime::{SavedCredential, SavedVault};

/// A vault.
pub(crate) fn vault(saved: &SavedVault) -> Value {
    json!({
        "id": saved.id,
        "object": "vault",
        "name": saved.body.name,
        "metadata": saved.body.metadata,
        "created_at": saved.document.created_at.as_secs(),
    })
}

/// A credential.
pub(crate) fn credential(saved: &SavedCredential) -> Value {
    json!({
        "id": saved.id,
        "object": "vault.credential",
        "vault_id": saved.vault_id,
        "name": saved.body.name,
        "metadata": saved.body.metadata,
        "auth": auth(&saved.body.auth),
        "created_at": saved.document.created_at.as_secs(),
        "updated_at": saved.document.updated_at.as_secs(),
    })
}

/// A credential as Tenure's own endpoints show it: whether it works is added, and who waits for it.
pub(crate) fn tenure_credential(saved: &SavedCredential) -> Value {
    let mut shown = credential(saved);
    shown["object"] = json!("tenure.vault.credential");
    shown["state"] = match &saved.body.auth {
        CredentialAuth::McpOauth(oauth) => state(oauth),
        CredentialAuth::StaticBearer { .. } | CredentialAuth::EnvironmentVariable { .. } => {
            json!({"type": "ready"})
        }
    };
    shown
}

fn state(oauth: &OauthAuth) -> Value {
    match &oauth.state {
        OauthState::Ready => json!({"type": "ready"}),
        OauthState::Refreshing { .. } => json!({"type": "refreshing"}),
        OauthState::NeedsSignIn { why, since, waiting, .. } => json!({
            "type": "needs_sign_in",
            "why": why,
            "since": since.as_secs(),
            "waiting_sessions": waiting,
        }),
    }
}

fn auth(auth: &CredentialAuth) -> Value {
    match auth {
        CredentialAuth::StaticBearer { mcp_server_url } => {
            json!({"type": "static_bearer", "mcp_server_url": mcp_server_url})
        }
        CredentialAuth::McpOauth(oauth) => json!({
            "type": "mcp_oauth",
            "mcp_server_url": oauth.mcp_server_url,
            "expires_at": oauth.expires_at.and_then(rfc3339),
            "refresh": oauth.refresh.as_ref().map(|refresh| json!({
                "token_endpoint": refresh.token_endpoint,
                "client_id": refresh.client_id,
                "scope": refresh.scope,
                "resource": refresh.resource,
                "token_endpoint_auth": {"type": refresh.token_endpoint_auth.as_str()},
            })),
        }),
        CredentialAuth::EnvironmentVariable { secret_name, networking } => json!({
            "type": "environment_variable",
            "secret_name": secret_name,
            "networking": match networking {
                CredentialNetworking::Unrestricted => json!({"type": "unrestricted"}),
                CredentialNetworking::Limited { allowed_hosts } => {
                    json!({"type": "limited", "allowed_hosts": allowed_hosts})
                }
            },
        }),
    }
}

fn rfc3339(at: Timestamp) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.as_millis()).ok().map(|at| at.to_string())
}
