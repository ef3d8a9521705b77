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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use async_trait::async_trait;
    use tenure_journal::{
        AgentConfig, AgentId, EffectId, Failure, FailureKind, ProjectId, SessionOpened, ToolDef, Vault,
    };
    use tenure_policy::{PolicySet, PolicySource};
    use tenure_session::Session;
    use tenure_store::MemoryStore;
    use tenure_tools::{Call, CallResult, Server, Servers};
    use tokio_util::sync::CancellationToken;

    use super::super::{NewCredential, Secrets};
    use super::*;
    use crate::{EnvironmentConfig, Limits, ModelTable, Outbound, Parts, Runtime, Sealer};

    /// No tool servers.
    struct Nowhere;

    fn nowhere() -> Failure {
        Failure { kind: FailureKind::NotFound, message: "no such server".into(), retry_after_ms: None }
    }

    #[async_trait]
    impl Servers for Nowhere {
        async fn list(&self, _: &Server, _: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
            Err(nowhere())
        }

        async fn call(&self, _: &Server, _: Call<'_>, _: &CancellationToken) -> Result<CallResult, Failure> {
            Err(nowhere())
        }
    }

    async fn start(policy: &str) -> Runtime {
        // What webhooks are sent with; another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let source = PolicySource { name: "test.cedar".into(), text: policy.into() };
        let parts = Parts {
            store: Arc::new(MemoryStore::unshared()),
            models: ModelTable { named: BTreeMap::new(), fallback: None },
            servers: Arc::new(Nowhere),
            project_servers: BTreeMap::new(),
            policy: Arc::new(PolicySet::new(&[source]).expect("valid")),
            sealer: Sealer::ephemeral(),
            limits: Limits::default(),
            outbound: Outbound::default(),
            environments: EnvironmentConfig::default(),
        };
        Runtime::start(parts).await.expect("starts")
    }

    fn variable(name: &str, hosts: &[&str]) -> NewCredential {
        let allowed_hosts = hosts.iter().map(ToString::to_string).collect();
        NewCredential {
            name: name.to_owned(),
            metadata: BTreeMap::new(),
            auth: CredentialAuth::EnvironmentVariable {
                secret_name: name.to_owned(),
                networking: CredentialNetworking::Limited { allowed_hosts },
            },
            secrets: Secrets {
                value: Some(SecretString::new(format!("canary-of-{name}"))),
                ..Secrets::default()
            },
        }
    }

    #[tokio::test]
    async fn a_secret_that_policy_keeps_is_given_to_neither_the_sandbox_nor_the_proxy() {
        let policy = r#"@id("keep") forbid (principal, action == Action::"secret.use", resource)
            when { context.host == "kept.example" };"#;
        let runtime = start(policy).await;
        let project = ProjectId::fresh(&runtime.fresh());
        let vault = Vault::default();
        let vault = runtime.create_vault(project, vault, |_| None).await.expect("made").id;
        for new in [
            variable("OPEN", &["open.example"]),
            variable("KEPT", &["kept.example"]),
            variable("HALF", &["open.example", "kept.example"]),
        ] {
            runtime.create_credential(project, vault, new, |_| None).await.expect("made");
        }
        let agent = AgentConfig::new(AgentId::fresh(&runtime.fresh()), "m");
        let key = SessionKey { project, session: tenure_journal::SessionId::fresh(&runtime.fresh()) };
        let state = Session::opened(key, runtime.now(), &SessionOpened::new(project, agent));
        let effect: EffectId = EffectId::fresh(&runtime.fresh());
        let standing = Standing::of(&state, effect, None);
        let found =
            variables(runtime.shared(), key, &[vault.to_string()], &standing).await.expect("readable");
        let mut shown: Vec<(&str, String)> =
            found.iter().map(|variable| (variable.name.as_str(), format!("{:?}", variable.secret))).collect();
        shown.sort();
        let names: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
        // What is withheld has no placeholder either: the command does not learn that there is one.
        assert_eq!(names, ["HALF", "OPEN"]);
        for (name, secret) in &shown {
            assert!(secret.contains("open.example") && !secret.contains("kept.example"), "{name}: {secret}");
            assert!(!secret.contains("canary"), "no secret is printed: {secret}");
        }
        let records = runtime.store().unsealed(&[], usize::MAX).await.expect("readable");
        let told: Vec<String> =
            records.iter().map(|record| String::from_utf8_lossy(&record.record).into_owned()).collect();
        let refused = told.iter().filter(|record| record.contains("\"refused\"") && record.contains("keep"));
        assert_eq!(refused.count(), 2, "each refusal is recorded before anything begins: {told:?}");
        assert!(!told.iter().any(|record| record.contains("canary")), "{told:?}");
    }
}
