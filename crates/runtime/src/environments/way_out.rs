//! The way out of an environment whose network is restricted: a proxy for as long as a command runs.

use std::path::Path;
use std::sync::Arc;

use tenure_egress::{Handle, HostName, Proxy, Record, Rules, SystemResolver, Trust, variables};
use tenure_journal::{EnvironmentId, Failure, FailureKind};

/// Opens the way to exactly these hosts, at `socket`.
pub(super) fn open(socket: &Path, id: EnvironmentId, allowed: &[String]) -> Result<Handle, Failure> {
    let refused =
        |message: String| Failure { kind: FailureKind::InvalidRequest, message, retry_after_ms: None };
    let hosts: Result<Vec<HostName>, _> = allowed.iter().map(|host| HostName::parse(host)).collect();
    let hosts = hosts.map_err(|error| refused(format!("a host of the environment's network: {error}")))?;
    let rules = Rules::new(hosts).map_err(|error| refused(error.to_string()))?;
    let opened = || -> Result<Handle, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(parent) = socket.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let sink = Arc::new(
            move |record: Record| tracing::info!(environment = %id, ?record, "a way out was asked for"),
        );
        Ok(Proxy::bind(socket, rules, Arc::new(SystemResolver), Trust::system_and(&[])?, sink)?)
    };
    opened().map_err(|error| {
        tracing::error!(environment = %id, error = &*error, "an environment's proxy cannot be opened");
        refused("the environment's network cannot be opened".to_owned())
    })
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
