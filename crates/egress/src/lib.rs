//! The way out of a sandbox whose network is restricted.

mod address;
mod host;
mod record;
mod replace;
mod rules;
mod secret;
mod target;

pub use address::{AddressGuard, Reach, reach};
pub use host::{HOST_BYTES_MAX, HostError, HostName};
pub use record::{Failure, Outcome, Record, Refusal, Way};
pub use replace::Replacer;
pub use rules::{
    BYTES_IN_MAX_DEFAULT, BYTES_OUT_MAX_DEFAULT, ByteCaps, HOSTS_MAX, PORTS_DEFAULT, PORTS_MAX, Rules, RulesError,
    SECRETS_MAX,
};
pub use secret::{
    Placeholder, SEARCHED_BYTES_MIN, SECRET_BYTES_MAX, SECRET_HOSTS_MAX, SECRET_PORTS, Secret, SecretError, SecretHosts,
};
pub use target::{PORT_HTTP, PORT_HTTPS, Target, TargetError};
