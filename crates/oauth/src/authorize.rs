//! Sending a person to the authorization server, and what comes back with them.

use url::Url;

use crate::error::{OauthError, OauthErrorKind, shown};
use crate::metadata::{ServerMetadata, parse};
use crate::pkce::Verifier;

/// Bytes of one parameter of what comes back.
const PARAMETER_BYTES_MAX: usize = 8 * 1024;

/// What a person is asked to allow.
#[derive(Debug, Clone)]
pub struct AuthorizationRequest<'a> {
    /// Where.
    pub server: &'a ServerMetadata,
    /// To which client.
    pub client_id: &'a str,
    /// Where they come back to.
    pub redirect_uri: &'a str,
    /// For which resource (RFC 8707).
    pub resource: &'a str,
    /// With which scopes.
    pub scope: Option<&'a str>,
    /// What comes back with them.
    pub state: &'a str,
    /// What proves that the code is ours.
    pub verifier: &'a Verifier,
}

impl AuthorizationRequest<'_> {
    /// Where to send the person.
    ///
    /// # Errors
    /// `Unreadable`: the endpoint is no address of the web.
    pub fn url(&self) -> Result<Url, OauthError> {
        let mut url = parse(&self.server.authorization_endpoint, "authorization endpoint")?;
        url.set_fragment(None);
        let challenge = self.verifier.challenge();
        let mut pairs = url.query_pairs_mut();
        pairs
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client_id)
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", self.resource)
            .append_pair("state", self.state);
        if let Some(scope) = self.scope {
            pairs.append_pair("scope", scope);
        }
        drop(pairs);
        Ok(url)
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callback {
    /// Whose sign-in it is.
    pub state: Option<String>,
    code: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
}

impl Callback {
    /// Reads the decoded parameters. One that is given twice makes all of it worthless.
    ///
    /// # Errors
    /// `Forged`.
    pub fn read<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, OauthError> {
        let mut callback = Self::default();
        for (name, value) in pairs {
            let slot = match name {
                "state" => &mut callback.state,
                "code" => &mut callback.code,
                "iss" => &mut callback.issuer,
                "error" => &mut callback.error,
                _ => continue,
            };
            if slot.is_some() || value.len() > PARAMETER_BYTES_MAX {
                return Err(OauthErrorKind::Forged.into());
            }
            *slot = Some(value.to_owned());
        }
        Ok(callback)
    }

    /// The code, if it is from this issuer, which names itself where `named` says that it does (RFC 9207).
    ///
    /// # Errors
    /// `Forged`: from another, or without a code. `Refused`: the person or the server said no.
    pub fn code(&self, issuer: &str, named: bool) -> Result<&str, OauthError> {
        match &self.issuer {
            Some(found) if found != issuer => return Err(OauthErrorKind::Forged.into()),
            None if named => return Err(OauthErrorKind::Forged.into()),
            Some(_) | None => {}
        }
        if let Some(error) = &self.error {
            return Err(OauthErrorKind::Refused { code: shown(error) }.into());
        }
        let code = self.code.as_deref().filter(|code| !code.is_empty());
        code.ok_or_else(|| OauthErrorKind::Forged.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_server_must_know_is_in_the_address() {
        let document =
            br#"{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a?tenant=1#x",
            "token_endpoint":"https://as.example/t","code_challenge_methods_supported":["S256"]}"#;
        let server = ServerMetadata::parse(document, "https://as.example").expect("metadata");
        let verifier = Verifier::from_text("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        let request = AuthorizationRequest {
            server: &server,
            client_id: "me & you",
            redirect_uri: "http://127.0.0.1:1/oauth/callback",
            resource: "https://x.example/mcp",
            scope: Some("a b"),
            state: "s",
            verifier: &verifier,
        };
        assert_eq!(
            request.url().expect("an address").as_str(),
            "https://as.example/a?tenant=1&response_type=code&client_id=me+%26+you&\
             redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Foauth%2Fcallback&\
             code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&\
             resource=https%3A%2F%2Fx.example%2Fmcp&state=s&scope=a+b"
        );
    }

    #[test]
    fn what_comes_back_is_this_issuers() {
        let code = |pairs: &[(&str, &str)], named| {
            let callback = Callback::read(pairs.iter().copied());
            callback.and_then(|callback| callback.code("https://as", named).map(str::to_owned))
        };
        let forged = || Err(OauthError::from(OauthErrorKind::Forged));
        let refused = Err(OauthErrorKind::Refused { code: "access_denied".into() }.into());
        for (pairs, named, expected) in [
            (&[("code", "c"), ("state", "s")][..], false, Ok("c".to_owned())),
            (&[("code", "c"), ("iss", "https://as"), ("x", "y")], true, Ok("c".to_owned())),
            (&[("code", "c")], true, forged()),
            (&[("code", "c"), ("iss", "https://as/")], false, forged()),
            (&[("code", "c"), ("code", "d")], false, forged()),
            (&[("code", "")], false, forged()),
            (&[("error", "access_denied")], false, refused),
            (&[("error", "access_denied"), ("iss", "https://evil")], false, forged()),
            (&[], false, forged()),
        ] {
            assert_eq!(code(pairs, named), expected, "{pairs:?}");
        }
    }
}
