//! The imperative shell.
mod error;
mod handle;
pub use error::{RuntimeError, RuntimeErrorKind};
pub use handle::{Opening, ReceiptDraft, Runtime, Subscription, SubscriptionItem};
