//! The way out of an environment whose network is restricted: a proxy for as long as a command runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenure_egress::{Handle, HostName, PORTS_DEFAULT, Proxy, Record, Resolver, Rules, Trust, variables};
use tenure_journal::{EnvironmentId, Failure, FailureKind, Network};
use tenure_tools::Addresses;

use crate::handle::Shared;

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

/// What programs inside are told to trust, so that they reach hosts whose requests are given secrets: the
/// environment's own authority, beside the system's roots. The files lie beside the way out's socket, and are removed with this.
pub(super) struct Trusted {
    /// On the host: the authority with the system's roots, and the authority alone.
    bundle: PathBuf,
    certificate: PathBuf,
}

/// A way out while it is open, with what it takes to trust it.
pub(super) struct WayOut {
    pub(super) handle: Handle,
    /// Where it has secrets to put in.
    pub(super) trusted: Option<Trusted>,
}

/// Where the files are inside.
const BUNDLE: &str = "/run/tenure/roots.pem";
const CERTIFICATE: &str = "/run/tenure/authority.pem";
/// Where systems keep the roots they trust, in one file.
const SYSTEM_ROOTS: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Writes what is to be trusted while `way_out` is open.
pub(super) fn trusted(socket: &Path, id: EnvironmentId, way_out: &Handle) -> Result<Trusted, Failure> {
    let authority = way_out.certificate_pem();
    let roots = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let trusted = Trusted {
        bundle: socket.with_extension("roots.pem"),
        certificate: socket.with_extension("authority.pem"),
    };
    let written = std::fs::write(&trusted.bundle, format!("{authority}\n{roots}"))
        .and_then(|()| std::fs::write(&trusted.certificate, &authority));
    written.map_err(|error| {
        tracing::error!(environment = %id, %error, "an environment's roots cannot be written");
        refused("the environment's network cannot be opened".to_owned())
    })?;
    Ok(trusted)
}

impl Trusted {
    /// What tells programs of them.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let named = variables(BUNDLE, CERTIFICATE).into_iter();
        named.map(|(name, value)| (name.to_owned(), value))
    }

    /// The files, on the host and inside.
    pub(super) fn files(&self) -> [(PathBuf, PathBuf); 2] {
        [(self.bundle.clone(), BUNDLE.into()), (self.certificate.clone(), CERTIFICATE.into())]
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        for file in [&self.bundle, &self.certificate] {
            // It holds nothing secret; what is left is written over by the next command.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Where a tool server over HTTP may stand that an environment's own network is to reach. The connection is made by
/// this server under the rule that holds for commands there.
///
/// # Errors
/// `InvalidRequest`: the network does not reach it.
pub(crate) fn reach_from_inside(
    shared: &Shared,
    network: Option<&Network>,
    url: &str,
) -> Result<Addresses, Failure> {
    reached(network, url, shared.environments.config.open_network)
}

fn reached(network: Option<&Network>, url: &str, is_open: bool) -> Result<Addresses, Failure> {
    match network {
        Some(Network::Enabled) if is_open => Ok(Addresses::Any),
        // As for commands: never a private address, whatever a name resolves to.
        Some(Network::Restricted { allowed_domains }) if is_among(url, allowed_domains) => {
            Ok(Addresses::Public)
        }
        Some(Network::Enabled | Network::Restricted { .. } | Network::Disabled) => {
            Err(refused("the environment's network does not reach the tool server".to_owned()))
        }
        None => Err(refused("the tool server is reached from an environment, and there is none".to_owned())),
    }
}

/// Whether an address names one of these hosts, at a port that commands could reach it at.
fn is_among(url: &str, hosts: &[String]) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let is_named =
        url.host_str().is_some_and(|host| hosts.iter().any(|known| known.eq_ignore_ascii_case(host)));
    is_named && url.port_or_known_default().is_some_and(|port| PORTS_DEFAULT.contains(&port))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_reached_as_commands_reach_it() {
        let hosts = Network::Restricted { allowed_domains: vec!["mcp.example".to_owned()] };
        for (network, url, is_open, reached) in [
            (Some(&hosts), "https://mcp.example/mcp", false, Some(Addresses::Public)),
            (Some(&hosts), "https://MCP.example:8443/mcp", false, Some(Addresses::Public)),
            (Some(&hosts), "https://mcp.example:22/mcp", false, None),
            (Some(&hosts), "https://other.example/mcp", true, None),
            (Some(&hosts), "https://mcp.example.evil/mcp", false, None),
            (Some(&hosts), "not an address", false, None),
            (Some(&Network::Disabled), "https://mcp.example/mcp", true, None),
            (Some(&Network::Enabled), "http://10.0.0.1/mcp", true, Some(Addresses::Any)),
            (Some(&Network::Enabled), "http://10.0.0.1/mcp", false, None),
            (None, "https://mcp.example/mcp", true, None),
        ] {
            assert_eq!(self::reached(network, url, is_open).ok(), reached, "{url}");
        }
    }
}
