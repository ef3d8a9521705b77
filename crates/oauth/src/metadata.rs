//! Metadata of protected resources (RFC 9728) and of authorization servers (RFC 8414, OpenID Connect Discovery).

use serde::Deserialize;
use url::Url;

use crate::error::{OauthError, OauthErrorKind, shown};

/// Bytes of a document that are read: those of large providers have ten thousand.
pub const DOCUMENT_BYTES_MAX: usize = 128 * 1024;
/// Authorization servers of one resource that are looked at.
const SERVERS_MAX: usize = 8;
/// Bytes of one address.
const URL_BYTES_MAX: usize = 2048;

/// What a server says about who gives out tokens for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ResourceMetadata {
    /// The resource that tokens are for.
    pub resource: String,
    /// Issuers, the preferred one first.
    #[serde(default)]
    pub authorization_servers: Vec<String>,
    /// Scopes there are.
    #[serde(default)]
    pub scopes_supported: Vec<String>,
}

/// What an authorization server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServerMetadata {
    /// Who it is.
    pub issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: String,
    /// Where tokens are had.
    pub token_endpoint: String,
    /// Where clients register themselves.
    #[serde(default)]
    pub registration_endpoint: Option<String>,
    /// Ways to challenge the code.
    #[serde(default)]
    pub code_challenge_methods_supported: Vec<String>,
    /// Ways of clients to say who they are; absent means `client_secret_basic` (RFC 8414, section 2).
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether a client id may be the address of a document about the client.
    #[serde(default)]
    pub client_id_metadata_document_supported: bool,
    /// Whether it names itself in what comes back (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// Where the metadata of a resource may be: where it said, or else at the well-known places, the nearest first.
///
/// # Errors
/// `Unreadable`: the server has no address that has such places.
pub fn resource_candidates(server_url: &str, told: Option<&str>) -> Result<Vec<String>, OauthError> {
    if let Some(told) = told {
        return Ok(vec![parse(told, "address of the resource's metadata")?.to_string()]);
    }
    let url = parse(server_url, "server's address")?;
    let path = url.path().trim_end_matches('/').to_owned();
    let mut candidates = Vec::new();
    if !path.is_empty() {
        candidates.push(well_known(&url, &format!("oauth-protected-resource{path}")));
    }
    candidates.push(well_known(&url, "oauth-protected-resource"));
    Ok(candidates)
}

/// Where the metadata of an authorization server may be, in the order of the MCP specification.
///
/// # Errors
/// `Unreadable`: the issuer is no address.
pub fn server_candidates(issuer: &str) -> Result<Vec<String>, OauthError> {
    let url = parse(issuer, "issuer")?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(OauthErrorKind::Unreadable { what: "issuer" }.into());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let inserted = |name: &str| well_known(&url, &format!("{name}{path}"));
    let mut candidates = vec![inserted("oauth-authorization-server"), inserted("openid-configuration")];
    if !path.is_empty() {
        let mut appended = url.clone();
        appended.set_path(&format!("{path}/.well-known/openid-configuration"));
        candidates.push(appended.to_string());
    }
    Ok(candidates)
}

impl ResourceMetadata {
    /// Reads a document about the server at `server_url`.
    ///
    /// # Errors
    /// `Unreadable`; `Mismatch`: it is about another resource; `Unsupported`: it names nobody who gives out tokens.
    pub fn parse(document: &[u8], server_url: &str) -> Result<Self, OauthError> {
        const WHAT: &str = "resource's metadata";
        let mut metadata: Self = read(document, WHAT)?;
        if !covers(&metadata.resource, server_url) {
            return Err(OauthErrorKind::Mismatch { what: WHAT, found: shown(&metadata.resource) }.into());
        }
        metadata.authorization_servers.truncate(SERVERS_MAX);
        if metadata.authorization_servers.is_empty() {
            return Err(
                OauthErrorKind::Unsupported { what: "of this server is not named in its metadata" }.into()
            );
        }
        Ok(metadata)
    }
}

impl ServerMetadata {
    /// Reads a document about the authorization server `issuer`.
    ///
    /// # Errors
    /// `Unreadable`; `Mismatch`: it is about another, compared byte for byte; `Unsupported`: it does not say that it
    /// checks code challenges of the method S256.
    pub fn parse(document: &[u8], issuer: &str) -> Result<Self, OauthError> {
        const WHAT: &str = "authorization server's metadata";
        let metadata: Self = read(document, WHAT)?;
        if metadata.issuer != issuer {
            return Err(OauthErrorKind::Mismatch { what: WHAT, found: shown(&metadata.issuer) }.into());
        }
        if !metadata.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err(OauthErrorKind::Unsupported { what: "does not support PKCE with S256" }.into());
        }
        for endpoint in [Some(&metadata.authorization_endpoint), Some(&metadata.token_endpoint)]
            .into_iter()
            .chain([metadata.registration_endpoint.as_ref()])
            .flatten()
        {
            parse(endpoint, WHAT)?;
        }
        Ok(metadata)
    }

    /// Whether clients may say who they are in this way.
    #[must_use]
    pub fn accepts(&self, method: &str) -> bool {
        match &self.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().any(|known| known == method),
            None => method == "client_secret_basic",
        }
    }
}

/// Whether a resource is the server at this address, or what it is a part of: the same origin, and a path that the
/// server's begins with, whole segments at a time.
fn covers(resource: &str, server_url: &str) -> bool {
    if resource == server_url {
        return true;
    }
    let (Ok(resource), Ok(server)) = (Url::parse(resource), Url::parse(server_url)) else { return false };
    if resource.origin() != server.origin() || resource.query().is_some() || resource.fragment().is_some() {
        return false;
    }
    let whole = resource.path().trim_end_matches('/');
    server.path().strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn well_known(url: &Url, rest: &str) -> String {
    let mut found = url.clone();
    found.set_path(&format!("/.well-known/{rest}"));
    found.set_query(None);
    found.set_fragment(None);
    found.to_string()
}

fn read<'a, T: Deserialize<'a>>(document: &'a [u8], what: &'static str) -> Result<T, OauthError> {
    let unreadable = OauthErrorKind::Unreadable { what };
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(unreadable.into());
    }
    serde_json::from_slice(document).map_err(|_| unreadable.into())
}

pub(crate) fn parse(text: &str, what: &'static str) -> Result<Url, OauthError> {
    let url = Url::parse(text).ok().filter(|url| {
        text.len() <= URL_BYTES_MAX
            && matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    url.ok_or_else(|| OauthErrorKind::Unreadable { what }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_places_are_tried_in_order() {
        let candidates = |url: &str| resource_candidates(url, None).expect("an address");
        assert_eq!(
            candidates("https://x.example"),
            ["https://x.example/.well-known/oauth-protected-resource"]
        );
        assert_eq!(
            candidates("https://x.example/a/mcp/?q=1"),
            [
                "https://x.example/.well-known/oauth-protected-resource/a/mcp",
                "https://x.example/.well-known/oauth-protected-resource"
            ]
        );
        let told = resource_candidates("https://x.example/mcp", Some("https://x.example/m"));
        assert_eq!(told.expect("told"), ["https://x.example/m"]);
        for told in ["file:///etc/passwd", "//x", "javascript:alert(1)", "https://u:p@x.example/"] {
            assert!(resource_candidates("https://x.example/mcp", Some(told)).is_err(), "{told}");
        }
        assert_eq!(
            server_candidates("https://as.example/tenant").expect("an issuer"),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant",
                "https://as.example/.well-known/openid-configuration/tenant",
                "https://as.example/tenant/.well-known/openid-configuration"
            ]
        );
        assert_eq!(server_candidates("https://as.example").expect("an issuer").len(), 2);
        assert!(server_candidates("https://as.example/?x=1").is_err());
    }

    #[test]
    fn a_resource_is_the_servers_own() {
        for (resource, mine) in [
            ("https://x.example/mcp", true),
            ("https://x.example", true),
            ("https://x.example/", true),
            ("https://x.example/mcp/", true),
            ("https://x.example/mc", false),
            ("https://x.example/other", false),
            ("https://x.example/mcp/deeper", false),
            ("https://evil.example/mcp", false),
            ("http://x.example/mcp", false),
            ("https://x.example:8443/mcp", false),
            ("https://x.example/mcp?x", false),
            ("", false),
        ] {
            let document = format!(r#"{{"resource":"{resource}","authorization_servers":["https://as"]}}"#);
            let read = ResourceMetadata::parse(document.as_bytes(), "https://x.example/mcp");
            assert_eq!(read.is_ok(), mine, "{resource}");
        }
        let nobody = ResourceMetadata::parse(br#"{"resource":"https://x"}"#, "https://x");
        assert!(matches!(nobody.expect_err("nobody").kind(), OauthErrorKind::Unsupported { .. }));
    }

    #[test]
    fn an_issuer_is_compared_byte_for_byte_and_checks_challenges() {
        let document = |issuer: &str, methods: &str| {
            format!(
                r#"{{"issuer":"{issuer}","authorization_endpoint":"https://as.example/a",
                "token_endpoint":"https://as.example/t","code_challenge_methods_supported":{methods},"x":1}}"#
            )
        };
        for (issuer, methods, accepted) in [
            ("https://as.example", r#"["S256"]"#, true),
            ("https://as.example", r#"["plain","S256"]"#, true),
            ("https://as.example/", r#"["S256"]"#, false),
            ("https://AS.example", r#"["S256"]"#, false),
            ("https://as.example:443", r#"["S256"]"#, false),
            ("https://as.example", r#"["plain"]"#, false),
            ("https://as.example", "[]", false),
        ] {
            let text = document(issuer, methods);
            let read = ServerMetadata::parse(text.as_bytes(), "https://as.example");
            assert_eq!(read.is_ok(), accepted, "{issuer} {methods}");
        }
        let hostile =
            document("https://as.example", r#"["S256"]"#).replace("https://as.example/t", "file:///x");
        assert!(ServerMetadata::parse(hostile.as_bytes(), "https://as.example").is_err());
        assert!(ServerMetadata::parse(&[b' '; DOCUMENT_BYTES_MAX + 1], "https://as.example").is_err());
    }
}
