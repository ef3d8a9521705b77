//! The session machine.

mod command;
mod stream;
mod view;

pub use command::{Command, Refusal};
pub use stream::{PartNotice, PartOf, SessionNotice, StreamEvent, TurnNotice};
pub use view::{RequiredAction, SessionView, Spend};
