//! Vaults: what authenticates at tool servers and at the hosts that environments reach.
//!
//! ```text
//!   client ──▶ credential, sealed ──▶ store
//!                                       │ at each use, and not before
//!              tool call: authorization ◀┴▶ command: placeholder inside, secret at the proxy
//!                   │                             │
//!                   └── what comes back, masked ──┘──▶ journal, readers, model
//! ```
//!
//! - A session names vaults; which credential each of its tool servers gets is settled when it is opened
//!   ([`bind`]), and by the server's address as it is written and nothing else. A server that got none and asks for a
//!   sign-in gets one when a vault does ([`want`]).
//! - A secret is opened for one attempt. It goes into a header or to the proxy, and nowhere else.
//! - Whatever an attempt brings back is searched for the secrets of its session before anything of it is recorded or
//!   told ([`mask`]).
//!
//! Deleting a credential revokes nothing upstream and stops no session; its next use fails. Who waits for it is told
//! ([`tell`]).

mod access;
mod bind;
mod change;
mod documents;
mod error;
mod mask;
mod permission;
mod refresh;
mod secrets;
mod sign_in;
mod tell;
mod variables;
mod want;

use std::sync::OnceLock;
use std::time::Duration;

use tenure_webhook::{AddressError, Policy, Target, guarded_client};
use tokio::sync::Notify;

pub(crate) use access::{Authorized, authorize, known};
pub use bind::{Attached, BindError};
pub use change::{CredentialChange, NewCredential, RefreshRotation, Rotated, Rotation, VaultPatch};
pub use documents::{CREDENTIALS_MAX, SavedCredential, SavedVault, VaultFilter};
pub use error::VaultError;
pub use mask::MASKED_BYTES_MIN;
pub(crate) use mask::{Known, Mask};
pub use secrets::Secrets;
pub use sign_in::{NewSignIn, ShownSignIn, SignInAt, SignInError};
pub(crate) use tell::run;
pub(crate) use variables::{Variable, variables};
pub use variables::{check_variable, credential_host};
pub(crate) use want::want;

/// How long an authorization server may take for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// How vaults reach the outside.
#[derive(Debug, Clone, Default)]
pub struct VaultConfig {
    /// Where tool servers with credentials and authorization servers may be, beside public addresses over `https`.
    pub policy: Policy,
}

/// What uses of credentials share.
#[derive(Debug)]
pub(crate) struct Vaults {
    pub(crate) config: VaultConfig,
    http: OnceLock<Option<reqwest::Client>>,
    written: Notify,
}

impl VaultConfig {
    /// Whether a tool server with a credential may be at this address, as far as its text tells: over `https`, or on
    /// this machine where that is allowed. Where servers may stand otherwise is decided where they are connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn check_server(&self, url: &str) -> Result<(), AddressError> {
        match Target::parse(&self.policy, url) {
            Err(AddressError::Address) if url.starts_with("https://") => Ok(()),
            judged => judged.map(drop),
        }
    }

    /// Whether a token endpoint may be at this address, as far as its text tells.
    ///
    /// # Errors
    /// Why not.
    pub fn check_endpoint(&self, url: &str) -> Result<(), AddressError> {
        Target::parse(&self.policy, url).map(drop)
    }
}

impl Vaults {
    pub(crate) fn new(config: VaultConfig) -> Self {
        Self { config, http: OnceLock::new(), written: Notify::new() }
    }

    /// The one client for everything that is asked of authorization servers.
    pub(crate) fn http(&self) -> Option<&reqwest::Client> {
        let make = || {
            guarded_client(&self.config.policy, ANSWER_TIME_MAX)
                .inspect_err(|error| tracing::error!(%error, "authorization servers cannot be reached"))
                .ok()
        };
        self.http.get_or_init(make).as_ref()
    }

    /// Something was written that may be due.
    pub(crate) fn wake(&self) {
        self.written.notify_one();
    }
}
