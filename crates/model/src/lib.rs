//! Talk to language models: one pure codec per wire format, one transport, the scripted model.
//!
//! A [`Model`] makes exactly one attempt and reports honestly what came of it. Retrying, spending and
//! choosing between models belong to the session and the runtime.

use async_trait::async_trait;
use tenure_journal::{Failure, ModelAnswer, ModelRequest};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "http")]
pub mod auth;
pub mod codec;
pub mod embeddings;
#[cfg(feature = "http")]
mod entra;
pub mod eventstream;
pub mod failure;
#[cfg(feature = "http")]
pub mod http;
pub mod record;
pub mod scripted;
mod secret;
#[cfg(feature = "http")]
pub mod sigv4;
pub mod sse;

#[cfg(feature = "http")]
pub use auth::Auth;
pub use codec::Wire;
pub use embeddings::{EmbedAnswer, EmbedRequest, Embeddings};
#[cfg(feature = "http")]
pub use http::{Addressing, HttpConfig, HttpModel};
pub use scripted::{Script, ScriptedModel};
pub use secret::Secret;

/// A language model, or a service that offers many.
#[async_trait]
pub trait Model: Send + Sync + 'static {
    /// Makes one attempt at `request` and returns the complete answer.
    ///
    /// Deltas are handed to `sink` as they arrive, in order; they are chatter and the answer is what
    /// counts. When `cancel` fires the upstream connection is closed and a failure of kind
    /// `ConnectionFailed` is returned.
    ///
    /// # Errors
    /// What kind of failure it was; its message is safe for customers.
    async fn answer(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure>;
}

/// A streamed fragment of an answer. `index` counts the answer's items from 0, in the order of
/// [`ModelAnswer::items`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// A message begins.
    MessageStarted {
        /// Which item.
        index: u32,
    },
    /// More text of one part of a message. Parts count from 0; a part begins with its first fragment.
    Text {
        /// Which item.
        index: u32,
        /// Which part of it.
        part: u32,
        /// The fragment.
        delta: String,
    },
    /// Thinking begins.
    ReasoningStarted {
        /// Which item.
        index: u32,
    },
    /// More of one summary of the thinking.
    Summary {
        /// Which item.
        index: u32,
        /// Which summary of it.
        part: u32,
        /// The fragment.
        delta: String,
    },
    /// A message or thinking is complete; what it holds will not change.
    ItemDone {
        /// Which item.
        index: u32,
    },
}
