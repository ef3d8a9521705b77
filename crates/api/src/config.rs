//! What the binary decides about the API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tenure_runtime::{Addresses, VaultConfig};
use tokio_util::sync::CancellationToken;

use crate::{People, Prover};

/// Silence after which an open stream says that it is alive.
const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(15);

/// What the API is told when it starts.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Names of models, as `GET /v1/models` lists them.
    pub models: Vec<String>,
    /// Host names, without a port, under which the server may be addressed; `*` admits any.
    ///
    /// The allow-list is what keeps a foreign web page from reaching the server through a name of its own
    /// that it points here (DNS rebinding).
    pub hosts: Vec<String>,
    /// Origins of web pages that may call the server, as browsers send them: `https://console.example`.
    pub origins: Vec<String>,
    /// Where executors of self-hosted environments find the server, without a path: `https://tenure.example`.
    pub public_url: String,
    /// Whether any address literal is a host of this server: true when it listens on all addresses.
    pub any_address: bool,
    /// Whether metrics are shown without a key: true when only this machine can ask.
    pub open_metrics: bool,
    /// Where tool servers that clients name may stand.
    pub tool_addresses: Addresses,
    /// Where credentials of vaults may be used and renewed.
    pub vaults: VaultConfig,
    /// How people are admitted; absent: API keys are all there is.
    pub people: Option<Arc<People>>,
    /// What looks for proof of policies before they are published; absent: they are published without.
    pub prover: Option<Arc<dyn Prover>>,
    /// Whether the audit log is told who read what.
    pub record_reads: bool,
    /// Silence after which an open stream sends a comment.
    pub keepalive: Duration,
    /// Ends every open stream when it fires.
    pub shutdown: CancellationToken,
}

impl ApiConfig {
    /// What fits a server that listens on `bind`: itself and the names of the local machine.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        hosts.push(match bind.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
        Self {
            models: Vec::new(),
            hosts,
            origins: Vec::new(),
            public_url: format!("http://{}", reachable(bind)),
            any_address: bind.ip().is_unspecified(),
            open_metrics: bind.ip().is_loopback(),
            tool_addresses: Addresses::Private,
            vaults: VaultConfig::default(),
            people: None,
            prover: None,
            record_reads: true,
            keepalive: KEEPALIVE_DEFAULT,
            shutdown: CancellationToken::new(),
        }
    }
}

/// An address that reaches a server which listens on all of them, from this machine.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => bind.ip(),
    };
    SocketAddr::new(ip, bind.port())
}
