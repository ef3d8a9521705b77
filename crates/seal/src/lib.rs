//! Sealed secrets: what keeps them closed in a database that someone else may read.
//!
//! ```text
//!   master key            outside the database: a file, a variable, or a key service
//!       │ wraps
//!   data key              one for each project, kept wrapped beside what it seals
//!       │ seals, bound to project, record and version
//!   record                a token, a password, a signing secret
//! ```
//!
//! - A record is XChaCha20-Poly1305 under its project's data key: nonces of 192 bits may be random for ever.
//!   Project, record id and version are its associated data, so that a record opens nowhere else, not even in
//!   the place of an earlier version of itself.
//! - A new master key wraps the data keys anew and touches no record, so changing it is quick and interrupts
//!   nobody; [`MasterKeys`] says how several nodes get there one after the other.
//! - Keys and opened secrets are overwritten when they are dropped.
//!
//! What is not here: where wrapped keys and records are kept, and who may ask for them. Who holds both the
//! database and the master key holds every secret.

mod aead;
mod command;
mod data_key;
mod error;
mod local;
mod master;
mod secret;

pub use command::{COMMAND_ANSWER_BYTES_MAX, COMMAND_TIME_MAX, KeyCommand};
pub use data_key::{DataKey, Place};
pub use error::{SealError, SealErrorKind};
pub use local::{KEY_BYTES, KEYS_MAX, KeyFile, LocalKey};
pub use master::{MasterKeys, Wrapped};
pub use secret::SecretString;
pub use zeroize::Zeroizing;

/// Random bytes from the operating system.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a source of randomness from boot on");
    bytes
}

/// Whether bytes are in the format that this release seals in; an earlier one began with a random nonce, which
/// looks like it once in four thousand million times, and does not open as it then.
#[must_use]
pub fn is_current_format(sealed: &[u8]) -> bool {
    sealed.starts_with(aead::MAGIC)
}
