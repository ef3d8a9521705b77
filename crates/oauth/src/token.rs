//! The token endpoint: a form, and its answer (RFC 6749, sections 4.1.3, 5 and 6).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::error::{OauthError, OauthErrorKind, shown};
use crate::metadata::DOCUMENT_BYTES_MAX;
use crate::register::Client;

/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// A longer life of a token than is believed: a year.
const LIFE_SECS_MAX: u64 = 366 * 24 * 60 * 60;

/// How a client says who it is at the token endpoint.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// It names itself.
    None,
    /// With its secret in HTTP Basic authentication.
    Basic(String),
    /// With its secret in the form.
    Post(String),
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic(_) => "Basic([redacted])",
            Self::Post(_) => "Post([redacted])",
        })
    }
}

/// What is offered for a token.
#[derive(Clone, Copy)]
pub enum Grant<'a> {
    /// What came back with a person.
    Code {
        /// The code.
        code: &'a str,
        /// Where it came back to.
        redirect_uri: &'a str,
        /// The proof that it is ours.
        verifier: &'a str,
    },
    /// What came with a token before.
    Refresh {
        /// The refresh token.
        token: &'a str,
        /// With which scopes.
        scope: Option<&'a str>,
    },
}

/// A request for tokens.
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// What is offered.
    pub grant: Grant<'a>,
    /// For which resource (RFC 8707).
    pub resource: Option<&'a str>,
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("client", self.client).finish_non_exhaustive()
    }
}

impl TokenRequest<'_> {
    /// The form, to be sent as `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn form(&self) -> String {
        let mut form = Serializer::new(String::new());
        match self.grant {
            Grant::Code { code, redirect_uri, verifier } => {
                form.append_pair("grant_type", "authorization_code")
                    .append_pair("code", code)
                    .append_pair("redirect_uri", redirect_uri)
                    .append_pair("code_verifier", verifier);
            }
            Grant::Refresh { token, scope } => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
                if let Some(scope) = scope {
                    form.append_pair("scope", scope);
                }
            }
        }
        if let Some(resource) = self.resource {
            form.append_pair("resource", resource);
        }
        match &self.client.auth {
            ClientAuth::None => {
                form.append_pair("client_id", &self.client.id);
            }
            ClientAuth::Post(secret) => {
                form.append_pair("client_id", &self.client.id).append_pair("client_secret", secret);
            }
            ClientAuth::Basic(_) => {}
        }
        form.finish()
    }

    /// The value of `Authorization`, where the client authenticates so: both parts form-encoded first (RFC 6749,
    /// section 2.3.1).
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        let ClientAuth::Basic(secret) = &self.client.auth else { return None };
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let both = format!("{}:{}", encode(&self.client.id), encode(secret));
        Some(format!("Basic {}", STANDARD.encode(both)))
    }
}

/// What was given.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// What gets the next one; absent: the one before stays.
    pub refresh_token: Option<String>,
    /// How long the access token lives, in seconds, if that was said.
    pub expires_in: Option<u64>,
    /// With which scopes, where they are not those that were asked for.
    pub scope: Option<String>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads an answer of the token endpoint with this status.
    ///
    /// # Errors
    /// `Refused`, with the server's word, or `server_error` for a status that says as much; `Unreadable`.
    pub fn parse(status: u16, document: &[u8]) -> Result<Self, OauthError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            token_type: Option<String>,
            refresh_token: Option<String>,
            expires_in: Option<serde_json::Value>,
            scope: Option<String>,
        }
        #[derive(Deserialize)]
        struct No {
            error: String,
        }
        let unreadable =
            || OauthError::from(OauthErrorKind::Unreadable { what: "answer of the token endpoint" });
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(unreadable());
        }
        if !(200..300).contains(&status) {
            let code = match serde_json::from_slice::<No>(document) {
                // A status that says to come back counts more than words beside it.
                Ok(_) | Err(_) if matches!(status, 408 | 429 | 500..=599) => "server_error".to_owned(),
                Ok(no) => shown(&no.error),
                Err(_) => format!("http_{status}"),
            };
            return Err(OauthErrorKind::Refused { code }.into());
        }
        // Some servers say no with status 200.
        if let Ok(no) = serde_json::from_slice::<No>(document) {
            return Err(OauthErrorKind::Refused { code: shown(&no.error) }.into());
        }
        let answer: Answer = serde_json::from_slice(document).map_err(|_| unreadable())?;
        let is_bearer = answer.token_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        if !is_bearer {
            return Err(
                OauthErrorKind::Unsupported { what: "gives tokens of another type than bearer" }.into()
            );
        }
        let is_token = |text: &str| {
            (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !is_token(&answer.access_token)
            || answer.refresh_token.as_deref().is_some_and(|text| !is_token(text))
        {
            return Err(unreadable());
        }
        // Written as a text by some.
        let seconds = answer.expires_in.and_then(|value| match value {
            serde_json::Value::Number(number) => number.as_u64(),
            serde_json::Value::String(text) => text.parse().ok(),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => None,
        });
        Ok(Self {
            access_token: answer.access_token,
            refresh_token: answer.refresh_token,
            expires_in: seconds.map(|seconds| seconds.min(LIFE_SECS_MAX)),
            scope: answer.scope,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_who_it_is_in_one_of_three_ways() {
        let grant = Grant::Refresh { token: "r&t", scope: Some("a b") };
        let ask = |auth| {
            let client = Client { id: "c:1".into(), auth };
            let request = TokenRequest { client: &client, grant, resource: Some("https://x/mcp") };
            (request.form(), request.authorization())
        };
        let form = "grant_type=refresh_token&refresh_token=r%26t&scope=a+b&resource=https%3A%2F%2Fx%2Fmcp";
        assert_eq!(ask(ClientAuth::None), (format!("{form}&client_id=c%3A1"), None));
        assert_eq!(
            ask(ClientAuth::Post("s 1".into())),
            (format!("{form}&client_id=c%3A1&client_secret=s+1"), None)
        );
        // `c%3A1:s+1`
        let basic = Some("Basic YyUzQTE6cysx".to_owned());
        assert_eq!(ask(ClientAuth::Basic("s 1".into())), (form.to_owned(), basic));
        assert!(!format!("{:?}", ClientAuth::Basic("s3cr3t".into())).contains("s3cr3t"));
    }

    #[test]
    fn answers_are_tokens_or_a_reason() {
        let refused = |code: &str| Err(OauthErrorKind::Refused { code: code.into() });
        let unreadable = || Err(OauthErrorKind::Unreadable { what: "answer of the token endpoint" });
        for (status, document, expected) in [
            (200, r#"{"access_token":"a","token_type":"Bearer","expires_in":60}"#, Ok(Some(60))),
            (200, r#"{"access_token":"a","expires_in":"60"}"#, Ok(Some(60))),
            (200, r#"{"access_token":"a","expires_in":-1}"#, Ok(None)),
            (200, r#"{"access_token":"a","expires_in":1e30}"#, Ok(None)),
            (200, r#"{"access_token":"a","expires_in":99999999999}"#, Ok(Some(LIFE_SECS_MAX))),
            (200, r#"{"error":"bad_refresh_token"}"#, refused("bad_refresh_token")),
            (400, r#"{"error":"invalid_grant","error_description":"secret"}"#, refused("invalid_grant")),
            (400, "<html>", refused("http_400")),
            (401, r#"{"error":"invalid_client"}"#, refused("invalid_client")),
            (503, r#"{"error":"invalid_grant"}"#, refused("server_error")),
            (429, "", refused("server_error")),
            (200, r#"{"access_token":""}"#, unreadable()),
            (200, r#"{"access_token":"a\r\nX: y"}"#, unreadable()),
            (200, "nothing", unreadable()),
            (
                200,
                r#"{"access_token":"a","token_type":"DPoP"}"#,
                Err(OauthErrorKind::Unsupported { what: "gives tokens of another type than bearer" }),
            ),
        ] {
            let read = Tokens::parse(status, document.as_bytes());
            let read = read.map(|tokens| tokens.expires_in).map_err(|error| error.kind().clone());
            assert_eq!(read, expected, "{status} {document}");
        }
        for (code, transient) in
            [("server_error", true), ("temporarily_unavailable", true), ("invalid_grant", false)]
        {
            let error = OauthError::from(OauthErrorKind::Refused { code: code.into() });
            assert_eq!(error.is_transient(), transient, "{code}");
        }
    }
}
