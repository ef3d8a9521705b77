//! The way out of an environment whose network is restricted: a proxy for as long as a command runs.

use std::path::Path;
use std::sync::Arc;

use tenure_egress::{Handle, HostName, Proxy, Record, Resolver, Rules, Trust, variables};
use tenure_journal::{EnvironmentId, Failure, FailureKind};

/// What a restricted network may reach: exactly these hosts.
pub(super) fn rules(allowed: &[String]) -> Result<Rules, Failure> {
    let hosts: Result<Vec<HostName>, _> = allowed.iter().map(|host| HostName::parse(host)).collect();
    let hosts = hosts.map_err(|error| refused(format!("a host of the environment's network: {error}")))?;
    Rules::new(hosts).map_err(|error| refused(error.to_string()))
}

/// Opens the way out, at `socket`.
pub(super) fn open(
    socket: &Path,
    id: EnvironmentId,
    rules: Rules,
    resolver: Arc<dyn Resolver>,
) -> Result<Handle, Failure> {
    let opened = || -> Result<Handle, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(parent) = socket.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let sink = Arc::new(
            move |record: Record| tracing::info!(environment = %id, ?record, "a way out was asked for"),
        );
        Ok(Proxy::bind(socket, rules, resolver, Trust::system_and(&[])?, sink)?)
    };
    opened().map_err(|error| {
        tracing::error!(environment = %id, error = &*error, "an environment's proxy cannot be opened");
        refused("the environment's network cannot be opened".to_owned())
    })
}

fn refused(message: String) -> Failure {
    Failure { kind: FailureKind::InvalidRequest, message, retry_after_ms: None }
}

/// What tells programs inside where the way out is.
pub(super) fn proxy_variables() -> impl Iterator<Item = (String, String)> {
    let named = variables("", "").into_iter();
    named
        .filter(|(name, _)| name.to_ascii_lowercase().ends_with("_proxy"))
        .map(|(name, value)| (name.to_owned(), value))
}

/// Whether a host can be named in a restricted network; if not, why.
#[must_use]
pub(crate) fn host_mistake(host: &str) -> Option<String> {
    HostName::parse(host).err().map(|error| error.to_string())
}
