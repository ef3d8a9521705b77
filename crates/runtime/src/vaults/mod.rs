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
//!   ([`bind`]), and by the server's address as it is written and nothing else.
//! - A secret is opened for one attempt. It goes into a header or to the proxy, and nowhere else.
//! - Whatever an attempt brings back is searched for the secrets of its session before anything of it is recorded or
//!   told ([`mask`]).
//!
//! Deleting a credential revokes nothing upstream and stops no session; its next use fails.

mod access;
mod bind;
mod change;
mod documents;
mod error;
mod mask;
mod refresh;
mod secrets;
mod variables;

pub(crate) use access::{Authorized, authorize, known};
pub use bind::{Attached, BindError};
pub use change::{CredentialChange, NewCredential, RefreshRotation, Rotated, Rotation, VaultPatch};
pub use documents::{CREDENTIALS_MAX, SavedCredential, SavedVault, VaultFilter};
pub use error::VaultError;
pub(crate) use mask::{Known, Mask};
pub use secrets::Secrets;
pub(crate) use variables::{Variable, variables};
