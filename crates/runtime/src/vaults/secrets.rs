//! What is secret in a credential: one JSON text, sealed.

use serde::{Deserialize, Serialize};
use tenure_journal::CredentialAuth;
use tenure_seal::SecretString;

use crate::seal::SecretText;

/// The secrets of a credential; which of them there are follows from its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The token of a static bearer, or the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretString>,
    /// What gets a new access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<SecretString>,
    /// What the client authenticates with at the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretString>,
    /// What a variable stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SecretString>,
}

impl Secrets {
    /// As they are sealed.
    pub(super) fn encode(&self) -> SecretText {
        SecretText::new(serde_json::to_string(self).expect("secrets are texts"))
    }

    pub(super) fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Each of them.
    pub(super) fn each(&self) -> impl Iterator<Item = &SecretString> {
        [&self.token, &self.refresh_token, &self.client_secret, &self.value].into_iter().flatten()
    }

    /// What is shown in their place.
    pub(super) fn shown(name: &str, auth: &CredentialAuth) -> String {
        match auth {
            CredentialAuth::EnvironmentVariable { secret_name, .. } => format!("[secret {secret_name}]"),
            CredentialAuth::StaticBearer { .. } | CredentialAuth::McpOauth(_) => format!("[secret {name}]"),
        }
    }
}
