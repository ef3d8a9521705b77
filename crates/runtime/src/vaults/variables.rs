//! Credentials of hosted environments: a placeholder inside, the secret at the proxy.

use tenure_egress::{HostName, Placeholder, Secret, SecretError, SecretHosts};
use tenure_journal::{CredentialAuth, CredentialId, CredentialNetworking, Failure, SessionKey, VaultId};
use tenure_seal::SecretString;
use tenure_session::Standing;

use super::access::unusable;
use super::documents;
use super::permission::{Asking, Permitted};
use crate::handle::Shared;

/// A variable of a command, for one attempt.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) placeholder: String,
    /// What the proxy puts in its place, and where; nothing where it can go nowhere.
    pub(crate) secret: Option<Secret>,
}

/// The variables that the vaults of a session give its environment, as far as policy lets it use them. Of two of one
/// name the first counts, which can only be after a vault was changed: such sessions are not opened.
///
/// # Errors
/// `Overloaded`, `Authentication`: they cannot be had, and nothing ran.
pub(crate) async fn variables(
    shared: &Shared,
    session: SessionKey,
    vault_ids: &[String],
    standing: &Standing,
) -> Result<Vec<Variable>, Failure> {
    let mut variables: Vec<Variable> = Vec::new();
    if vault_ids.is_empty() {
        return Ok(variables);
    }
    let mut asking = Asking::new(shared, standing).await?;
    let mut withheld: Vec<String> = Vec::new();
    for id in vault_ids.iter().filter_map(|id| id.parse::<VaultId>().ok()) {
        for credential in documents::all(&*shared.store, session.project, id).await.map_err(unusable)? {
            let CredentialAuth::EnvironmentVariable { secret_name, networking } = &credential.body.auth
            else {
                continue;
            };
            if variables.iter().any(|known| known.name == *secret_name) || withheld.contains(secret_name) {
                continue;
            }
            let Some(permitted) = asking.ask(&credential.id.to_string(), &audiences(networking)) else {
                withheld.push(secret_name.clone());
                continue;
            };
            let secrets = credential.open((&shared.sealer, &*shared.store)).await.map_err(unusable)?;
            let value = secrets.value.as_ref().map(SecretString::expose).unwrap_or_default();
            let placeholder = placeholder(shared, session, credential.id);
            let made = hosts(networking, &permitted).map(|hosts| {
                let made = Placeholder::parse(&placeholder)
                    .and_then(|placeholder| Secret::new(secret_name, placeholder, value, hosts));
                // It was checked when it was written; a later release may be stricter.
                made.inspect_err(|error| {
                    tracing::error!(credential = %credential.id, %error, "a variable's secret cannot be used");
                })
            });
            let secret = made.and_then(Result::ok);
            variables.push(Variable { name: secret_name.clone(), placeholder, secret });
        }
    }
    asking.record().await?;
    Ok(variables)
}

/// What stands for a secret in a session: always the same there, so that files may hold it, and nowhere else the same.
fn placeholder(shared: &Shared, session: SessionKey, credential: CredentialId) -> String {
    let key = shared.sealer.derived("placeholders of secrets");
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher
        .update(session.project.as_bytes())
        .update(session.session.as_bytes())
        .update(credential.as_bytes());
    let hash = hasher.finalize().to_hex();
    format!("tenure-placeholder-{}", &hash.as_str()[..32])
}

/// Where it may be shown. Addresses are none of an environment's hosts, so that nothing may be left.
fn hosts(networking: &CredentialNetworking, permitted: &Permitted) -> Option<SecretHosts> {
    match networking {
        CredentialNetworking::Unrestricted => Some(SecretHosts::Allowed),
        CredentialNetworking::Limited { .. } => {
            let hosts = permitted.hosts().iter().filter_map(|host| HostName::parse(host).ok());
            let hosts: Vec<HostName> = hosts.collect();
            (!hosts.is_empty()).then_some(SecretHosts::Listed(hosts))
        }
    }
}

/// Names that are not for secrets, beside those of proxies and certificates.
const RESERVED_PREFIX: &str = "CODEX_";

/// Whether a variable may have this name and stand for this value; if not, the member that is wrong, and why.
///
/// # Errors
/// The member and why, without the value.
pub fn check_variable(name: &str, value: &str) -> Result<(), (&'static str, String)> {
    if name.to_ascii_uppercase().starts_with(RESERVED_PREFIX) {
        return Err(("secret_name", format!("names that begin with '{RESERVED_PREFIX}' are reserved")));
    }
    let placeholder = Placeholder::generate().map_err(|error| ("secret_value", error.to_string()))?;
    let member = |error: SecretError| match error {
        SecretError::Name | SecretError::Reserved => ("secret_name", error.to_string()),
        SecretError::Value | SecretError::Hosts | SecretError::Placeholder | SecretError::Random => {
            ("secret_value", error.to_string())
        }
    };
    Secret::new(name, placeholder, value, SecretHosts::Allowed).map(drop).map_err(member)
}

/// A host of a credential in its one spelling: a name, or an IPv4 address.
///
/// # Errors
/// Why it is none.
pub fn credential_host(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(address.to_string());
    }
    HostName::parse(text).map(|host| host.as_str().to_owned()).map_err(|error| error.to_string())
}

/// The hosts that policy is asked about; `*` where the environment's network alone says which.
fn audiences(networking: &CredentialNetworking) -> Vec<String> {
    match networking {
        CredentialNetworking::Unrestricted => vec!["*".to_owned()],
        CredentialNetworking::Limited { allowed_hosts } => allowed_hosts.clone(),
    }
}
