//! The way out of a sandbox whose network is restricted.
//!
//! A sandbox without a network has one hole: a Unix socket, behind which this proxy lives on the host. Inside,
//! `127.0.0.1:3128` leads to it, and `HTTP_PROXY` and `HTTPS_PROXY` name that. It lets requests through to a
//! list of hosts, and nothing else.
//!
//! * A host is a name in one spelling ([`HostName`]), on the list ([`Rules`]), at a public address
//!   ([`AddressGuard`]). A name is resolved once for each connection, all addresses are judged, and one of
//!   those is dialled. Redirects are answers like others; following one is a new request.
//! * A host without secrets is reached through a tunnel. Of its bytes, only the name that TLS begins with is
//!   read.
//! * A host with secrets is reached over two TLS connections that meet here: one from the inside, under a
//!   certificate of the environment's own authority, and one to the host, verified. In between, placeholders
//!   become values on the way out, in headers and in the query, and values become placeholders on the way in.
//! * Every connection ends as one [`Record`], and every byte counts against the caps of the environment.
//!
//! What is not here: UDP, other protocols, HTTP/2 and WebSockets to hosts with secrets, and any judgement of
//! what is said to an allowed host. Where records and rules are kept is the caller's business.

mod address;
#[cfg(feature = "proxy")]
mod authority;
#[cfg(feature = "proxy")]
mod body;
#[cfg(feature = "proxy")]
mod connection;
#[cfg(feature = "proxy")]
mod dial;
#[cfg(feature = "proxy")]
mod exchange;
mod host;
mod inside;
#[cfg(feature = "proxy")]
mod link;
#[cfg(feature = "proxy")]
mod meter;
#[cfg(feature = "proxy")]
mod proxy;
mod record;
mod replace;
#[cfg(feature = "proxy")]
mod resolve;
mod rules;
mod secret;
mod target;
#[cfg(feature = "proxy")]
mod trust;
#[cfg(feature = "proxy")]
mod tunnel;

pub use address::{AddressGuard, Reach, reach};
#[cfg(feature = "proxy")]
pub use authority::AuthorityError;
#[cfg(feature = "proxy")]
pub use connection::{HEAD_BYTES_MAX, HEADERS_MAX, IDLE_TIME_MAX, REQUESTS_MAX};
pub use host::{HOST_BYTES_MAX, HostError, HostName};
pub use inside::{INSIDE_PORT, is_reserved, variables};
#[cfg(feature = "proxy")]
pub use proxy::{BindError, CONNECTIONS_MAX, Handle, Proxy, Sink};
pub use record::{Failure, Outcome, Record, Refusal, Way};
pub use replace::Replacer;
#[cfg(feature = "proxy")]
pub use resolve::{Resolver, SystemResolver, TableResolver};
pub use rules::{
    BYTES_IN_MAX_DEFAULT, BYTES_OUT_MAX_DEFAULT, ByteCaps, HOSTS_MAX, PORTS_DEFAULT, PORTS_MAX, Rules,
    RulesError, SECRETS_MAX,
};
pub use secret::{
    Placeholder, SEARCHED_BYTES_MIN, SECRET_BYTES_MAX, SECRET_HOSTS_MAX, SECRET_PORTS, Secret, SecretError,
    SecretHosts, WORD_BYTES_MIN, in_headers, in_query, inwards,
};
pub use target::{PORT_HTTP, PORT_HTTPS, Target, TargetError};
#[cfg(feature = "proxy")]
pub use trust::{Trust, TrustError};
