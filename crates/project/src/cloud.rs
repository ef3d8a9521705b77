//! Providers that are not plain OpenAI servers: Anthropic, Amazon Bedrock, Azure OpenAI.

use crate::env::{Redacted, Resolver, as_reference};
use crate::node::{Fields, Node};
use crate::problem::{Code, Report};
use crate::settings::{Wire, api_key, base_url, store};

/// The types of such providers in the file.
pub(crate) const CLOUD_TYPES: &[&str] = &["anthropic", "bedrock", "azure"];
/// Keys of Anthropic.
pub(crate) const ANTHROPIC_KEYS: &[&str] = &["base_url", "api_key", "api_key_env"];
/// Keys of Bedrock.
pub(crate) const BEDROCK_KEYS: &[&str] = &[
    "wire",
    "base_url",
    "api_key",
    "api_key_env",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "store",
];
/// Keys of Azure OpenAI.
pub(crate) const AZURE_KEYS: &[&str] =
    &["wire", "base_url", "api_version", "api_key", "api_key_env", "entra", "store"];
/// Keys of a client of Entra ID.
pub(crate) const ENTRA_KEYS: &[&str] = &["tenant_id", "client_id", "client_secret", "scope", "token_url"];

const ANTHROPIC_BASE_URL: &str = "https://api.anthropic.com/v1";
/// What a token is for at the address without a version, and at the dated one.
const SCOPE_V1: &str = "https://ai.azure.com/.default";
const SCOPE_DATED: &str = "https://cognitiveservices.azure.com/.default";

/// A provider with a proof or an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// Whose it is: `anthropic`, `bedrock` or `azure`.
    pub kind: &'static str,
    /// What it speaks.
    pub wire: Wire,
    /// The address that paths are appended to; no final slash, a query for every request where it has one.
    pub base_url: String,
    /// Whether requests name the deployment in their path.
    pub deployments: bool,
    /// What proves who asks.
    pub auth: CloudAuth,
    /// Whether the provider is asked to keep the answers.
    pub store: bool,
    /// As for the others.
    pub model_calls_max: Option<u64>,
}

/// What proves who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudAuth {
    /// Nothing, or a key in the header that the provider wants.
    Key(Option<Redacted>),
    /// A signature of each request.
    SigV4 {
        /// The region that requests are signed for.
        region: String,
        /// Names the key.
        access_key_id: String,
        /// The key.
        secret_access_key: Redacted,
        /// What temporary keys come with.
        session_token: Option<Redacted>,
    },
    /// A token that a client of Entra ID fetches.
    Entra {
        /// Where tokens are given.
        token_url: String,
        /// The client.
        client_id: String,
        /// Its secret.
        client_secret: Redacted,
        /// What the token is for.
        scope: String,
    },
}

/// Reads a provider whose type is one of [`CLOUD_TYPES`]; its keys were judged before.
pub(crate) fn cloud(
    kind: &str,
    fields: &Fields<'_>,
    resolver: Resolver<'_>,
    model_calls_max: Option<u64>,
    report: &Report,
) -> Option<Cloud> {
    let written = match fields.find("base_url") {
        Some(node) => Some(base_url(node, resolver, report)?),
        None => None,
    };
    match kind {
        "anthropic" => Some(Cloud {
            kind: "anthropic",
            wire: Wire::Anthropic,
            base_url: written.unwrap_or_else(|| ANTHROPIC_BASE_URL.to_owned()),
            deployments: false,
            auth: CloudAuth::Key(api_key(fields, resolver, report)),
            store: false,
            model_calls_max,
        }),
        "bedrock" => bedrock(fields, written, resolver, model_calls_max, report),
        _ => azure(fields, written, resolver, model_calls_max, report),
    }
}

fn bedrock(
    fields: &Fields<'_>,
    written: Option<String>,
    resolver: Resolver<'_>,
    model_calls_max: Option<u64>,
    report: &Report,
) -> Option<Cloud> {
    let region = fields.require("region")?.filled("`region`", report)?.to_owned();
    let wire = match fields.find("wire") {
        None => Wire::Converse,
        Some(node) => node.word(
            "`wire`",
            &["converse", "responses", "chat"],
            |word| match word {
                "converse" => Some(Wire::Converse),
                "responses" => Some(Wire::Responses),
                "chat" => Some(Wire::Chat),
                _ => None,
            },
            report,
        )?,
    };
    let base_url = written.unwrap_or_else(|| {
        let path = if wire == Wire::Converse { "" } else { "/openai/v1" };
        format!("https://bedrock-runtime.{region}.amazonaws.com{path}")
    });
    let auth = match fields.find("access_key_id") {
        None => CloudAuth::Key(api_key(fields, resolver, report)),
        Some(node) => {
            if let Some(other) = fields.find("api_key").or(fields.find("api_key_env")) {
                let message = "`api_key` and `access_key_id` exclude each other";
                report.hinted(Code::Conflict, other.at, message, "keep one of them");
            }
            CloudAuth::SigV4 {
                region,
                access_key_id: secret(node, "access_key_id", resolver, report)?.expose().to_owned(),
                secret_access_key: secret(
                    fields.require("secret_access_key")?,
                    "secret_access_key",
                    resolver,
                    report,
                )?,
                session_token: match fields.find("session_token") {
                    Some(node) => Some(secret(node, "session_token", resolver, report)?),
                    None => None,
                },
            }
        }
    };
    let store = store(fields, report)?;
    Some(Cloud { kind: "bedrock", wire, base_url, deployments: false, auth, store, model_calls_max })
}

fn azure(
    fields: &Fields<'_>,
    written: Option<String>,
    resolver: Resolver<'_>,
    model_calls_max: Option<u64>,
    report: &Report,
) -> Option<Cloud> {
    if fields.find("base_url").is_none() {
        fields.require("base_url");
        return None;
    }
    let wire = match fields.find("wire") {
        None => Wire::Responses,
        Some(node) => node.word(
            "`wire`",
            &["responses", "chat"],
            |word| match word {
                "responses" => Some(Wire::Responses),
                "chat" => Some(Wire::Chat),
                _ => None,
            },
            report,
        )?,
    };
    let root = written?;
    let root = root.trim_end_matches("/v1").trim_end_matches("/openai");
    let version = match fields.find("api_version") {
        Some(node) => Some(node.filled("`api_version`", report)?),
        None => None,
    };
    let (base_url, scope) = match version {
        None => (format!("{root}/openai/v1"), SCOPE_V1),
        Some(version) => (format!("{root}/openai?api-version={version}"), SCOPE_DATED),
    };
    let auth = match fields.find("entra") {
        None => CloudAuth::Key(api_key(fields, resolver, report)),
        Some(node) => entra(node, scope, resolver, report)?,
    };
    // Responses has no place for a deployment in its path, whatever the version.
    let deployments = version.is_some() && wire == Wire::Chat;
    let store = store(fields, report)?;
    Some(Cloud { kind: "azure", wire, base_url, deployments, auth, store, model_calls_max })
}

fn entra(node: &Node, scope: &str, resolver: Resolver<'_>, report: &Report) -> Option<CloudAuth> {
    let fields = Fields::open(node, "`entra`", ENTRA_KEYS, report)?;
    let text = |key: &str| {
        let node = fields.find(key)?;
        resolver.substitute(node.filled(&format!("`{key}`"), report)?, &format!("`{key}`"), node.at, report)
    };
    let token_url = match fields.find("token_url") {
        Some(node) => base_url(node, resolver, report)?,
        None => {
            fields.require("tenant_id")?;
            format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", text("tenant_id")?)
        }
    };
    fields.require("client_id")?;
    Some(CloudAuth::Entra {
        token_url,
        client_id: text("client_id")?,
        client_secret: secret(fields.require("client_secret")?, "client_secret", resolver, report)?,
        scope: text("scope").unwrap_or_else(|| scope.to_owned()),
    })
}

/// A value that must stand in the environment.
fn secret(node: &Node, key: &str, resolver: Resolver<'_>, report: &Report) -> Option<Redacted> {
    let what = format!("`{key}`");
    let text = node.filled(&what, report)?;
    let Some(name) = as_reference(text) else {
        let message =
            format!("{what} must refer to an environment variable: files are committed, keys are not");
        let hint = format!("write `{key}: ${{NAME}}` and put the value into `.env`");
        report.hinted(Code::Secret, node.at, message, hint);
        return None;
    };
    resolver.value(name, &what, node.at, report).map(Redacted::new)
}
