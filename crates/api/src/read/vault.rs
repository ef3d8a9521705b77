//! Bodies that make or change vaults and credentials. What is secret in them is in no error.

use serde_json::Value;
use tenure_journal::{
    CredentialAuth, CredentialNetworking, OauthAuth, OauthRefresh, OauthState, Timestamp, TokenEndpointAuth,
    Vault,
};
use tenure_runtime::{
    CredentialChange, MASKED_BYTES_MIN, NewCredential, RefreshRotation, Rotation, SecretString, Secrets,
    VaultConfig, VaultPatch, check_variable, credential_host,
};

use super::metadata::read_metadata;
use super::reader::{Field, Reader};
use crate::error::ApiError;

/// Vaults of one session or environment.
const VAULTS_MAX: usize = 10;
/// Bytes of the name of a vault or a credential.
const NAME_BYTES_MAX: usize = 256;
/// Characters of an address.
const URL_CHARS_MAX: usize = 2048;
/// Characters of a token or another secret: what fits into a request's head.
const SECRET_CHARS_MAX: usize = 16 * 1024;
/// Characters of a client's id, of scopes or of a resource.
const TEXT_CHARS_MAX: usize = 4 * 1024;
/// Hosts of one credential.
const HOSTS_MAX: usize = 16;
/// Characters of the name of a variable.
const VARIABLE_CHARS_MAX: usize = 256;

/// The vaults that something names, each once.
pub(crate) fn read_vault_ids(field: &Field<'_>) -> Result<Vec<String>, ApiError> {
    let fields = field.array(VAULTS_MAX)?;
    let mut ids: Vec<String> = Vec::with_capacity(fields.len());
    for field in fields {
        let id = field.text(TEXT_CHARS_MAX)?;
        if ids.iter().any(|known| known == id) {
            let message = format!("Invalid '{}': the vault is named twice.", field.path());
            return Err(field.refuse("duplicate_value", message));
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

/// A name, without the space around it.
fn read_name(field: &Field<'_>) -> Result<String, ApiError> {
    let name = field.string()?.trim();
    let why = match name.len() {
        0 => "it must not be empty".to_owned(),
        1..=NAME_BYTES_MAX => {
            // What the reader of names refuses besides.
            let value = Value::String(name.to_owned());
            let checked = Reader::new("", &serde_json::json!({ "name": value }))
                .and_then(|mut reader| super::read_name(&reader.required("name")?, NAME_BYTES_MAX).map(drop));
            return match checked {
                Ok(()) => Ok(name.to_owned()),
                Err(error) => {
                    let message = error.message().replace("'name'", &format!("'{}'", field.path()));
                    Err(field.refuse("name_characters", message))
                }
            };
        }
        _ => format!("it must have at most {NAME_BYTES_MAX} bytes"),
    };
    Err(field.refuse("invalid_name", format!("Invalid '{}': {why}.", field.path())))
}

/// A new vault.
pub(crate) fn read_vault(body: &Value) -> Result<Vault, ApiError> {
    let mut reader = Reader::new("", body)?;
    let name = reader.optional_or_null("name").map(|field| read_name(&field)).transpose()?;
    let metadata = reader.optional("metadata").map(read_metadata).transpose()?.unwrap_or_default();
    reader.finish()?;
    Ok(Vault { name, metadata, ..Vault::default() })
}

/// A change of a vault.
pub(crate) fn read_vault_patch(body: &Value) -> Result<VaultPatch, ApiError> {
    let mut reader = Reader::new("", body)?;
    let name = reader.optional("name").map(|field| match field.nullable() {
        None => Ok(None),
        Some(field) => read_name(&field).map(Some),
    });
    let name = name.transpose()?;
    let metadata = reader.optional("metadata").map(read_metadata).transpose()?;
    reader.finish()?;
    Ok(VaultPatch { name, metadata })
}

const KINDS: &[&str] = &["mcp_oauth", "static_bearer", "environment_variable"];

fn read_kind(reader: &mut Reader<'_>) -> Result<&'static str, ApiError> {
    let field = reader.required("type")?;
    field.word(KINDS, |word| KINDS.iter().find(|known| **known == word).copied())
}

/// A new credential.
pub(crate) fn read_credential(body: &Value, config: &VaultConfig) -> Result<NewCredential, ApiError> {
    let mut reader = Reader::new("", body)?;
    let name = read_name(&reader.required("name")?)?;
    let (auth, secrets) = read_auth(reader.required("auth")?.object()?, config)?;
    let metadata = reader.optional("metadata").map(read_metadata).transpose()?.unwrap_or_default();
    reader.finish()?;
    Ok(NewCredential { name, metadata, auth, secrets })
}

fn read_auth(mut reader: Reader<'_>, config: &VaultConfig) -> Result<(CredentialAuth, Secrets), ApiError> {
    let kind = read_kind(&mut reader)?;
    let r = &mut reader;
    let mut secrets = Secrets::default();
    let auth = match kind {
        "static_bearer" => {
            secrets.token = Some(read_token(&r.required("token")?)?);
            CredentialAuth::StaticBearer {
                mcp_server_url: read_server(&r.required("mcp_server_url")?, config)?,
            }
        }
        "mcp_oauth" => {
            secrets.token = Some(read_token(&r.required("access_token")?)?);
            let mcp_server_url = read_server(&r.required("mcp_server_url")?, config)?;
            let expires_at = r.optional_or_null("expires_at").map(|field| read_time(&field)).transpose()?;
            let refresh =
                r.optional_or_null("refresh").map(|field| read_refresh(field, &mut secrets, config));
            CredentialAuth::McpOauth(Box::new(OauthAuth {
                mcp_server_url,
                expires_at,
                refresh: refresh.transpose()?,
                state: OauthState::Ready,
                releasing: Vec::new(),
            }))
        }
        _ => {
            let (name, value) = (r.required("secret_name")?, r.required("secret_value")?);
            let networking = read_networking(r.required("networking")?)?;
            let secret_name = name.text(VARIABLE_CHARS_MAX)?.to_owned();
            secrets.value = Some(read_value(&name, &value)?);
            CredentialAuth::EnvironmentVariable { secret_name, networking }
        }
    };
    reader.finish()?;
    Ok((auth, secrets))
}

/// Where secrets stand in a body that makes or rotates a credential.
const SECRETS: [&str; 5] = [
    "/auth/token",
    "/auth/access_token",
    "/auth/refresh/refresh_token",
    "/auth/refresh/token_endpoint_auth/client_secret",
    "/auth/secret_value",
];

/// The members of an accepted body whose secrets are too short to be masked where they come back.
pub(crate) fn unmasked_secrets(body: &Value) -> Vec<String> {
    let is_short = |pointer: &&&str| {
        let secret = body.pointer(pointer).and_then(Value::as_str);
        secret.is_some_and(|secret| secret.len() < MASKED_BYTES_MIN)
    };
    SECRETS.iter().filter(is_short).map(|pointer| pointer[1..].replace('/', ".")).collect()
}

fn read_refresh(
    field: Field<'_>,
    secrets: &mut Secrets,
    config: &VaultConfig,
) -> Result<OauthRefresh, ApiError> {
    let mut reader = field.object()?;
    let r = &mut reader;
    let endpoint = r.required("token_endpoint")?;
    let token_endpoint = endpoint.text(URL_CHARS_MAX)?.to_owned();
    config.check_endpoint(&token_endpoint).map_err(|why| bad_url(&endpoint, &why.to_string()))?;
    let client_id = r.required("client_id")?.text(TEXT_CHARS_MAX)?.to_owned();
    secrets.refresh_token = Some(read_token(&r.required("refresh_token")?)?);
    let text = |field: Option<Field<'_>>| {
        field.map(|field| field.text(TEXT_CHARS_MAX).map(str::to_owned)).transpose()
    };
    let scope = text(r.optional_or_null("scope"))?;
    let resource = text(r.optional_or_null("resource"))?;
    let mut auth = r.required("token_endpoint_auth")?.object()?;
    let token_endpoint_auth = read_method(&mut auth)?;
    match token_endpoint_auth {
        TokenEndpointAuth::None => {}
        TokenEndpointAuth::ClientSecretBasic | TokenEndpointAuth::ClientSecretPost => {
            secrets.client_secret = Some(read_token(&auth.required("client_secret")?)?);
        }
    }
    auth.finish()?;
    reader.finish()?;
    Ok(OauthRefresh { token_endpoint, client_id, scope, resource, token_endpoint_auth })
}

fn read_method(reader: &mut Reader<'_>) -> Result<TokenEndpointAuth, ApiError> {
    let words = &["none", "client_secret_basic", "client_secret_post"];
    reader.required("type")?.word(words, |word| {
        [TokenEndpointAuth::None, TokenEndpointAuth::ClientSecretBasic, TokenEndpointAuth::ClientSecretPost]
            .into_iter()
            .find(|method| method.as_str() == word)
    })
}

fn read_networking(field: Field<'_>) -> Result<CredentialNetworking, ApiError> {
    let mut reader = field.object()?;
    let words = &["unrestricted", "limited"];
    let kind =
        reader.required("type")?.word(words, |word| words.iter().find(|known| **known == word).copied())?;
    let networking = match kind {
        "unrestricted" => CredentialNetworking::Unrestricted,
        _ => {
            let field = reader.required("allowed_hosts")?;
            let mut allowed_hosts = Vec::new();
            for host in field.array(HOSTS_MAX)? {
                let name = credential_host(host.text(URL_CHARS_MAX)?).map_err(|why| {
                    host.refuse("invalid_host", format!("Invalid '{}': {why}.", host.path()))
                })?;
                if allowed_hosts.contains(&name) {
                    let message = format!("Invalid '{}': the host is listed twice.", host.path());
                    return Err(host.refuse("duplicate_value", message));
                }
                allowed_hosts.push(name);
            }
            if allowed_hosts.is_empty() {
                let message = format!("Invalid '{}': expected 1 to {HOSTS_MAX} hosts.", field.path());
                return Err(field.refuse("empty_array", message));
            }
            CredentialNetworking::Limited { allowed_hosts }
        }
    };
    reader.finish()?;
    Ok(networking)
}

/// A token or another secret that travels in a header: never empty, and without what would end the header.
fn read_token(field: &Field<'_>) -> Result<SecretString, ApiError> {
    let token = field.text(SECRET_CHARS_MAX)?;
    let is_fit = |byte: u8| byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80;
    if !token.bytes().all(is_fit) || token.trim() != token {
        let message =
            format!("Invalid '{}': control characters, and space around it, are not allowed.", field.path());
        return Err(field.refuse("invalid_value", message));
    }
    Ok(SecretString::from(token))
}

fn read_value(name: &Field<'_>, value: &Field<'_>) -> Result<SecretString, ApiError> {
    let text = value.text(SECRET_CHARS_MAX)?;
    check_variable(name.text(VARIABLE_CHARS_MAX)?, text).map_err(|(member, why)| {
        let field = if member == "secret_name" { name } else { value };
        field.refuse("invalid_value", format!("Invalid '{}': {why}.", field.path()))
    })?;
    Ok(SecretString::from(text))
}

fn read_server(field: &Field<'_>, config: &VaultConfig) -> Result<String, ApiError> {
    let url = field.text(URL_CHARS_MAX)?;
    config.check_server(url).map_err(|why| bad_url(field, &why.to_string()))?;
    Ok(url.to_owned())
}

fn bad_url(field: &Field<'_>, why: &str) -> ApiError {
    field.refuse("url_not_allowed", format!("Invalid '{}': {why}.", field.path()))
}

/// A moment in the form of RFC 3339.
fn read_time(field: &Field<'_>) -> Result<Timestamp, ApiError> {
    let text = field.text(64)?;
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        let message = format!(
            "Invalid '{}': expected a time in the form of RFC 3339, such as '2026-01-31T09:30:00Z'.",
            field.path()
        );
        field.refuse("invalid_time", message)
    })?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

/// A change of a credential.
pub(crate) fn read_credential_change(body: &Value) -> Result<CredentialChange, ApiError> {
    let mut reader = Reader::new("", body)?;
    let metadata = reader.optional("metadata").map(read_metadata).transpose()?;
    let rotation = reader.optional_or_null("auth").map(|field| read_rotation(field.object()?)).transpose()?;
    reader.finish()?;
    Ok(CredentialChange { metadata, rotation })
}

fn read_rotation(mut reader: Reader<'_>) -> Result<Rotation, ApiError> {
    let kind = read_kind(&mut reader)?;
    let r = &mut reader;
    let rotation = match kind {
        "static_bearer" => Rotation::StaticBearer { token: read_token(&r.required("token")?)? },
        "mcp_oauth" => Rotation::McpOauth {
            access_token: r.optional_or_null("access_token").map(|field| read_token(&field)).transpose()?,
            expires_at: r
                .optional("expires_at")
                .map(|field| field.nullable().map(|field| read_time(&field)).transpose())
                .transpose()?,
            refresh: r.optional_or_null("refresh").map(read_refresh_rotation).transpose()?,
        },
        _ => {
            let value = r.required("secret_value")?;
            let text = value.text(SECRET_CHARS_MAX)?;
            // The name was checked when it was given.
            check_variable("NAME", text).map_err(|(_, why)| {
                value.refuse("invalid_value", format!("Invalid '{}': {why}.", value.path()))
            })?;
            Rotation::EnvironmentVariable { value: SecretString::from(text) }
        }
    };
    reader.finish()?;
    Ok(rotation)
}

fn read_refresh_rotation(field: Field<'_>) -> Result<RefreshRotation, ApiError> {
    let mut reader = field.object()?;
    let refresh_token =
        reader.optional_or_null("refresh_token").map(|field| read_token(&field)).transpose()?;
    let scope = reader
        .optional("scope")
        .map(|field| field.nullable().map(|field| field.text(TEXT_CHARS_MAX).map(str::to_owned)).transpose())
        .transpose()?;
    let auth = reader.optional_or_null("token_endpoint_auth").map(|field| {
        let mut reader = field.object()?;
        let method = read_method(&mut reader)?;
        let secret = reader.optional_or_null("client_secret").map(|field| read_token(&field)).transpose()?;
        reader.finish()?;
        Ok::<_, ApiError>((method, secret))
    });
    let token_endpoint_auth = auth.transpose()?;
    reader.finish()?;
    Ok(RefreshRotation { refresh_token, scope, token_endpoint_auth })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read::tests::refusal;

    fn bearer(url: &str, token: Value) -> Value {
        json!({"name": "n", "auth": {"type": "static_bearer", "mcp_server_url": url, "token": token}})
    }

    fn variable(name: &str, value: &str, networking: Value) -> Value {
        json!({"name": "n", "auth": {"type": "environment_variable", "secret_name": name, "secret_value": value,
            "networking": networking}})
    }

    fn oauth(refresh: Value) -> Value {
        json!({"name": " n ", "auth": {"type": "mcp_oauth", "mcp_server_url": "https://x.example/mcp",
            "access_token": "a", "expires_at": "2026-01-31T10:30:00+01:00", "refresh": refresh}})
    }

    #[track_caller]
    fn refused(body: Value, message: &str, param: &str) {
        let outcome = read_credential(&body, &VaultConfig::default());
        assert_eq!(refusal(outcome), (message.to_owned(), Some(param.to_owned())));
    }

    #[test]
    fn secrets_that_are_too_short_to_be_masked_are_named() {
        for (body, expected) in [
            (bearer("https://x.example/mcp", json!("abcd")), &[][..]),
            (bearer("https://x.example/mcp", json!("abc")), &["auth.token"]),
            // Bytes count, not characters.
            (bearer("https://x.example/mcp", json!("éé")), &[]),
            (variable("PIN", "7", json!({"type": "unrestricted"})), &["auth.secret_value"]),
            (
                oauth(json!({"refresh_token": "r", "token_endpoint_auth": {"client_secret": "long enough"}})),
                &["auth.access_token", "auth.refresh.refresh_token"],
            ),
            (
                json!({"auth": {"refresh": {"token_endpoint_auth": {"client_secret": "s"}}}}),
                &["auth.refresh.token_endpoint_auth.client_secret"],
            ),
            (json!({"metadata": {}}), &[]),
        ] {
            assert_eq!(unmasked_secrets(&body), expected, "{body}");
        }
    }

    #[test]
    fn reads_each_kind() {
        let read = |body| read_credential(&body, &VaultConfig::default()).expect("accepted");
        let new = read(oauth(
            json!({"token_endpoint": "https://as.example/t", "client_id": "c", "refresh_token": "r",
            "token_endpoint_auth": {"type": "client_secret_post", "client_secret": "s"}}),
        ));
        assert_eq!(new.name, "n");
        let CredentialAuth::McpOauth(auth) = &new.auth else { panic!("an OAuth credential") };
        assert_eq!(auth.expires_at, Some(Timestamp::from_millis(1_769_851_800_000)));
        let exposed =
            |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let secrets = &new.secrets;
        let all = [&secrets.token, &secrets.refresh_token, &secrets.client_secret].map(exposed);
        assert_eq!(all, ["a", "r", "s"].map(|text| Some(text.to_owned())));
        assert!(!format!("{new:?}").contains("\"r\""), "no secret is printed: {new:?}");
        let hosts = json!({"type": "limited", "allowed_hosts": ["API.example.com", "192.0.2.1"]});
        let CredentialAuth::EnvironmentVariable { networking, .. } = read(variable("KEY", "v", hosts)).auth
        else {
            panic!("a variable")
        };
        let lower = vec!["api.example.com".to_owned(), "192.0.2.1".to_owned()];
        assert_eq!(networking, CredentialNetworking::Limited { allowed_hosts: lower });
    }

    #[test]
    fn names_the_mistake_and_never_the_secret() {
        let https = "https://x.example/mcp";
        let empty = "Invalid 'auth.token': it must not be empty.";
        refused(bearer(https, json!("")), empty, "auth.token");
        let control = "Invalid 'auth.token': control characters, and space around it, are not allowed.";
        refused(bearer(https, json!("s3cr3t\r\nX: y")), control, "auth.token");
        refused(bearer(https, json!(" s3cr3t")), control, "auth.token");
        for (url, why) in [
            ("http://x.example/mcp", "it must begin with `https://`"),
            ("http://127.0.0.1/mcp", "it must begin with `https://`"),
            ("https://u:p@x.example/mcp", "it must not contain credentials"),
            ("x.example", "it is not an absolute URL with a host"),
        ] {
            let message = format!("Invalid 'auth.mcp_server_url': {why}.");
            refused(bearer(url, json!("t")), &message, "auth.mcp_server_url");
        }
        let any = || json!({"type": "unrestricted"});
        for (name, value, param) in [
            ("1KEY", "v", "auth.secret_name"),
            ("A-B", "v", "auth.secret_name"),
            ("codex_x", "v", "auth.secret_name"),
            ("HTTPS_PROXY", "v", "auth.secret_name"),
            ("SSL_CERT_FILE", "v", "auth.secret_name"),
            ("KEY", "s3cr3t\n", "auth.secret_value"),
            ("KEY", "", "auth.secret_value"),
        ] {
            let (message, found) =
                refusal(read_credential(&variable(name, value, any()), &VaultConfig::default()));
            assert_eq!(found.as_deref(), Some(param), "{name}");
            assert!(!message.contains("s3cr3t"), "{message}");
        }
        for hosts in [
            json!([]),
            json!(["*.example.com"]),
            json!(["a.example", "A.example"]),
            json!(["https://a.example"]),
        ] {
            let body = variable("KEY", "v", json!({"type": "limited", "allowed_hosts": hosts}));
            assert!(read_credential(&body, &VaultConfig::default()).is_err(), "{body}");
        }
        let private = json!({"token_endpoint": "https://10.0.0.1/t", "client_id": "c", "refresh_token": "r",
            "token_endpoint_auth": {"type": "none"}});
        let (_, param) = refusal(read_credential(&oauth(private), &VaultConfig::default()));
        assert_eq!(param.as_deref(), Some("auth.refresh.token_endpoint"));
        let lacks = json!({"token_endpoint": "https://as.example/t", "client_id": "c", "refresh_token": "r",
            "token_endpoint_auth": {"type": "client_secret_basic"}});
        let missing = "Missing required parameter: 'auth.refresh.token_endpoint_auth.client_secret'.";
        refused(oauth(lacks), missing, "auth.refresh.token_endpoint_auth.client_secret");
        for (name, fits) in
            [(" a ", true), ("", false), ("  ", false), (&"x".repeat(256), true), (&"ä".repeat(129), false)]
        {
            assert_eq!(read_vault(&json!({ "name": name })).is_ok(), fits, "{name}");
        }
    }

    #[test]
    fn a_rotation_tells_absent_from_null() {
        let read =
            |auth: Value| read_credential_change(&json!({ "auth": auth })).map(|change| change.rotation);
        let rotation = read(json!({"type": "mcp_oauth", "expires_at": null, "refresh": {"scope": null}}));
        let Ok(Some(Rotation::McpOauth { access_token, expires_at, refresh })) = rotation else {
            panic!("accepted")
        };
        assert_eq!((access_token, expires_at), (None, Some(None)));
        assert_eq!(refresh.expect("given").scope, Some(None));
        assert!(read(json!({"type": "static_bearer", "token": ""})).is_err());
        assert!(read(json!({"type": "static_bearer", "token": "t", "mcp_server_url": "https://y"})).is_err());
        assert!(read_credential_change(&json!({"metadata": {}})).expect("accepted").rotation.is_none());
    }
}
