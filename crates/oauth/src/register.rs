//! Who we are to an authorization server.
//!
//! In this order: a client that an operator registered there; a document about us whose address is our id, where the
//! server reads such documents; registration at its endpoint (RFC 7591).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{OauthError, OauthErrorKind};
use crate::metadata::{DOCUMENT_BYTES_MAX, ServerMetadata};
use crate::token::ClientAuth;

/// Bytes of a client's id or secret.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// A client, as an authorization server knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// How it says who it is.
    pub auth: ClientAuth,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("auth", &self.auth).finish()
    }
}

/// What we say about ourselves, in a document or at registration.
#[derive(Debug, Clone, Serialize)]
pub struct ClientMetadata {
    /// Our id, where the document is at that address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Our name, which people are shown.
    pub client_name: String,
    /// Where people come back to.
    pub redirect_uris: Vec<String>,
    /// What we ask for.
    pub grant_types: Vec<String>,
    /// What comes back.
    pub response_types: Vec<String>,
    /// How we say who we are: not at all, for a secret that everyone could ask for proves nothing.
    pub token_endpoint_auth_method: String,
}

impl ClientMetadata {
    /// A client that comes back to `redirect_uri`.
    #[must_use]
    pub fn new(client_id: Option<String>, redirect_uri: &str) -> Self {
        Self {
            client_id,
            client_name: "Tenure".to_owned(),
            redirect_uris: vec![redirect_uri.to_owned()],
            grant_types: vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
            response_types: vec!["code".to_owned()],
            token_endpoint_auth_method: "none".to_owned(),
        }
    }

    /// As it is published or sent.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| json!({}))
    }
}

/// How a client is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// It is there.
    Known(Client),
    /// It registers at this endpoint.
    At(String),
}

impl Registration {
    /// How to be a client of this server. `given` is one that an operator registered; `document` the address of a
    /// document about us that the server could reach.
    ///
    /// # Errors
    /// `Unsupported`: none of the ways is open.
    pub fn choose(
        server: &ServerMetadata,
        given: Option<Client>,
        document: Option<&str>,
    ) -> Result<Self, OauthError> {
        if let Some(client) = given {
            return Ok(Self::Known(client));
        }
        if let Some(document) = document.filter(|_| server.client_id_metadata_document_supported) {
            return Ok(Self::Known(Client { id: document.to_owned(), auth: ClientAuth::None }));
        }
        match &server.registration_endpoint {
            Some(endpoint) => Ok(Self::At(endpoint.clone())),
            None => {
                let what = "lets no client register itself; register one there and name its `client_id`";
                Err(OauthErrorKind::Unsupported { what }.into())
            }
        }
    }

    /// Reads the answer to a registration (RFC 7591, section 3.2.1).
    ///
    /// # Errors
    /// `Unreadable`, `Unsupported`.
    pub fn answered(document: &[u8]) -> Result<Client, OauthError> {
        #[derive(Deserialize)]
        struct Answer {
            client_id: String,
            client_secret: Option<String>,
            token_endpoint_auth_method: Option<String>,
        }
        let unreadable = OauthErrorKind::Unreadable { what: "answer to the registration" };
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(unreadable.into());
        }
        let answer: Answer =
            serde_json::from_slice(document).map_err(|_| OauthError::from(unreadable.clone()))?;
        let is_sized = |text: &str| (1..=TEXT_BYTES_MAX).contains(&text.len());
        if !is_sized(&answer.client_id) || answer.client_secret.as_deref().is_some_and(|text| !is_sized(text))
        {
            return Err(unreadable.into());
        }
        let auth = match (answer.token_endpoint_auth_method.as_deref(), answer.client_secret) {
            (Some("none") | None, None) => ClientAuth::None,
            (Some("client_secret_post"), Some(secret)) => ClientAuth::Post(secret),
            (Some("client_secret_basic") | None, Some(secret)) => ClientAuth::Basic(secret),
            (Some("none"), Some(_)) => ClientAuth::None,
            (Some(_), _) => {
                let what =
                    "registered a client that would have to authenticate in a way that is not known here";
                return Err(OauthErrorKind::Unsupported { what }.into());
            }
        };
        Ok(Client { id: answer.client_id, auth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(more: &str) -> ServerMetadata {
        let document = format!(
            r#"{{"issuer":"https://as","authorization_endpoint":"https://as/a","token_endpoint":"https://as/t",
            "code_challenge_methods_supported":["S256"]{more}}}"#
        );
        ServerMetadata::parse(document.as_bytes(), "https://as").expect("metadata")
    }

    #[test]
    fn ways_to_be_a_client_are_tried_in_order() {
        let given = || Some(Client { id: "ours".into(), auth: ClientAuth::None });
        let document = Some("https://we.example/client.json");
        let both = r#","client_id_metadata_document_supported":true,"registration_endpoint":"https://as/r""#;
        let register = r#","registration_endpoint":"https://as/r""#;
        for (more, given, document, expected) in [
            (both, given(), document, Some("ours")),
            (both, None, document, Some("https://we.example/client.json")),
            (both, None, None, Some("at https://as/r")),
            (register, None, document, Some("at https://as/r")),
            ("", given(), None, Some("ours")),
            ("", None, document, None),
        ] {
            let chosen = Registration::choose(&server(more), given, document);
            let chosen = chosen.ok().map(|chosen| match chosen {
                Registration::Known(client) => client.id,
                Registration::At(endpoint) => format!("at {endpoint}"),
            });
            assert_eq!(chosen.as_deref(), expected, "{more}");
        }
    }

    #[test]
    fn a_registered_client_authenticates_as_it_was_told() {
        for (answer, expected) in [
            (r#"{"client_id":"c"}"#, Some(ClientAuth::None)),
            (r#"{"client_id":"c","token_endpoint_auth_method":"none"}"#, Some(ClientAuth::None)),
            (r#"{"client_id":"c","client_secret":"s"}"#, Some(ClientAuth::Basic("s".into()))),
            (
                r#"{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}"#,
                Some(ClientAuth::Post("s".into())),
            ),
            (r#"{"client_id":"c","token_endpoint_auth_method":"private_key_jwt"}"#, None),
            (r#"{"client_id":""}"#, None),
            ("[]", None),
            ("", None),
        ] {
            let client = Registration::answered(answer.as_bytes());
            assert_eq!(client.ok().map(|client| client.auth), expected, "{answer}");
        }
    }
}
