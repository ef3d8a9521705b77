//! Webhooks as a sender sees them: what is signed, where it may go, and one try at sending it.
//!
//! Signatures follow the [Standard Webhooks](https://www.standardwebhooks.com) specification, symmetric
//! scheme `v1`: HMAC-SHA256 over `id.timestamp.body` under a secret written `whsec_` and base64.
//!
//! An address comes from a client, so it is judged twice: as text when it is saved, and as the addresses
//! its host resolves to each time a connection is made. The connection goes to an address that was judged
//! and to no other: a name is resolved once, and redirects are not followed.
//!
//! What is not here: when to try again, in which order, and how anything is stored.

mod address;
mod payload;
#[cfg(feature = "http")]
mod send;
mod signature;

pub use address::{AddressError, Policy, Reach, Target, reach};
pub use payload::{Event, EventType};
#[cfg(feature = "http")]
pub use send::{Message, SendError, SendErrorKind, Sender, SenderError, guarded_client};
pub use signature::{SECRET_BYTES, SigningSecret, SigningSecretError};
