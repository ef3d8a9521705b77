//! What is told of each connection, and why one was refused.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::host::HostName;
use crate::target::TargetError;

/// One connection to the outside, or one request that led to none. It has no path, no header and no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The host, if the request named one.
    pub host: Option<HostName>,
    /// Its port.
    pub port: Option<u16>,
    /// What was dialled, if anything was.
    pub address: Option<SocketAddr>,
    /// How it was reached.
    pub way: Way,
    /// Bytes sent to the address, of TLS too.
    pub bytes_out: u64,
    /// Bytes received from it.
    pub bytes_in: u64,
    /// Names of the secrets whose values were sent.
    pub secrets: BTreeSet<String>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request goes through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A request for an `http` URL.
    Plain,
    /// Bytes in both directions, unread.
    Tunnel,
    /// TLS that ends here and begins again, because the host has secrets.
    Intercepted,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// One of the two sides ended it.
    Ended,
    /// The rules are against it.
    Refused(Refusal),
    /// Something did not work.
    Failed(Failure),
}

/// What the rules are against.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be read.
    #[error("the request's head is malformed or too long")]
    Head,
    /// It names no place to go.
    #[error("{0}")]
    Target(TargetError),
    /// The host is not on the list.
    #[error("this host is not among the allowed hosts of the environment's network")]
    Host,
    /// The port is not on the list.
    #[error("this port is not allowed")]
    Port,
    /// The name leads to an address that is not public.
    #[error("the host is at an address that may not be reached")]
    Address,
    /// A tunnel to a port of TLS that does not begin with TLS for the host.
    #[error("a tunnel to this port must begin with TLS for the host that it was asked for")]
    ServerName,
    /// The placeholder of a secret that is not for this host.
    #[error("the secret `{0}` is not for this host; it was not sent")]
    SecretElsewhere(String),
    /// The placeholder of a secret, without TLS.
    #[error("the secret `{0}` is only sent over https, on ports 443 and 8443; it was not sent")]
    SecretInClear(String),
    /// The placeholder of a secret where it is not replaced.
    #[error("the secret `{0}` is only replaced in header values and in the query, not in the path")]
    SecretInPath(String),
    /// A placeholder that stands for nothing any more.
    #[error("the request has the placeholder of a secret that does not exist any more")]
    SecretUnknown,
    /// The value does not fit into the request.
    #[error("with its secrets the request's head is too long")]
    SecretTooLong,
    /// All bytes of this direction are used.
    #[error("the environment has used all bytes that its network may carry")]
    ByteCap,
    /// The rules were changed while it ran.
    #[error("the environment's network was changed and does not allow this host any more")]
    RulesChanged,
}

/// What did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name leads nowhere.
    #[error("the host's name cannot be resolved")]
    Resolve,
    /// Nobody answers there.
    #[error("no connection could be made to the host")]
    Connect,
    /// Making the connection took too long.
    #[error("connecting to the host took too long")]
    ConnectTime,
    /// The host's certificate is not good, or it does not speak TLS.
    #[error("the host's TLS certificate could not be verified")]
    Tls,
    /// The client inside does not trust the environment's certificate, or does not speak TLS.
    #[error("the client did not accept the certificate of the environment's proxy")]
    InsideTls,
    /// The connection broke, or the host does not speak HTTP/1.1.
    #[error("the connection to the host broke")]
    Broken,
    /// The answer to a request with a secret cannot be searched for it.
    #[error("the host's answer is compressed or partial and cannot be searched for the secret that was sent")]
    Unsearchable,
    /// Nothing moved for too long.
    #[error("the connection was idle for too long")]
    Idle,
    /// The proxy was closed.
    #[error("the proxy was closed")]
    Closed,
}

impl Outcome {
    /// One word for it, for logs and for the client.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Refused(refusal) => refusal.code(),
            Self::Failed(failure) => failure.code(),
        }
    }
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Head => "malformed_head",
            Self::Target(_) => "malformed_target",
            Self::Host => "host_not_allowed",
            Self::Port => "port_not_allowed",
            Self::Address => "address_not_allowed",
            Self::ServerName => "tls_for_other_host",
            Self::SecretElsewhere(_) => "secret_not_for_host",
            Self::SecretInClear(_) => "secret_needs_tls",
            Self::SecretInPath(_) => "secret_in_path",
            Self::SecretUnknown => "secret_unknown",
            Self::SecretTooLong => "secret_too_long",
            Self::ByteCap => "byte_cap",
            Self::RulesChanged => "rules_changed",
        }
    }
}

impl Failure {
    fn code(self) -> &'static str {
        match self {
            Self::Resolve => "not_resolved",
            Self::Connect => "not_connected",
            Self::ConnectTime => "connect_timeout",
            Self::Tls => "tls_not_verified",
            Self::InsideTls => "certificate_not_trusted",
            Self::Broken => "connection_broken",
            Self::Unsearchable => "answer_not_searchable",
            Self::Idle => "idle",
            Self::Closed => "closed",
        }
    }
}
