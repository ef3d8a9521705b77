//! The imperative shell: everything around the session machine that touches the world.
//!
//! Each session with something to do has one actor, a task that owns its state. The actor turns one crank:
//! load, decide, append in one transaction, and only then publish, stop and start. Effects run as tasks of
//! their actor and come back as numbered outcomes. A session with nothing to do has no actor and no memory.
//!
//! ```text
//!   API ──commands──▶ actor ──append──▶ store
//!                      │ ▲                       committed
//!              starts  ▼ │ outcomes                 │
//!                    effects (model, tools)         ▼
//!                      │ deltas ───────────────▶   hub ──▶ subscriptions
//! ```
//!
//! What happens if the process dies between any two of these is decided by what was appended: on start every
//! unfinished session is found by one indexed query, and the session machine says what may be repeated.

mod actor;
mod clock;
mod effects;
mod error;
mod handle;
mod hub;
mod live;
mod models;
mod registry;
mod seal;

pub use error::{RuntimeError, RuntimeErrorKind};
pub use handle::{Limits, Opening, Parts, ReceiptDraft, Runtime};
pub use hub::{Subscription, SubscriptionItem};
pub use models::{ModelTable, Prices, Provider, Route};
pub use seal::{Sealer, SealerError};
pub use tenure_tools::is_private_url;
