//! The session machine: what happens in a session, as pure functions over values.
//!
//! [`Session::decide`] turns commands, outcomes, restarts and the passing of time into events;
//! [`Session::apply`] folds events; [`Session::pending`] lists the effects a restarted process must
//! resume; [`Session::context`] is the exact request the next step sends to a model. [`Session::crank`]
//! puts them together as the one value a shell needs.
//!
//! Facts, not code, are replayed: whatever could differ a second time (a model's answer, a policy's
//! verdict, a clock) is an argument of a decision and part of an event. There is no clock, no randomness and
//! no I/O anywhere below this crate.

mod apply;
mod audit;
mod batch;
mod budget;
mod calls;
mod catalogue;
mod command;
mod compaction;
mod connection;
mod context;
mod decide;
mod environment;
mod extraction;
mod flow;
mod fork;
mod frozen;
mod gauge;
mod history;
mod moments;
mod names;
mod pinned;
mod plain;
mod prewarmed;
mod procedures;
mod remember;
mod review;
mod route;
mod servers;
mod shared_budget;
mod shortening;
mod shown;
mod sign_in;
mod skills;
mod standing;
mod state;
mod stream;
mod subagent;
mod ticket;
mod tokens;
mod vectors;
mod view;
mod window;

pub use audit::named_policies;
pub use batch::{Batch, Gone, appends, begun};
pub use budget::{BudgetStep, Price, Reserving};
pub use command::{Command, FromParent, Refusal};
pub use context::{Part, Why};
pub use decide::{Attempted, Context, Input, Role, SubagentReply};
pub use extraction::{KnownProcedure, Learned, TurnToRead};
pub use flow::{GrantView, LabelChange};
pub use frozen::{Frozen, NOTHING_FROZEN};
pub use history::{History, Point};
pub use moments::{Happened, Moment, moments};
pub use plain::plain;
pub use prewarmed::{Prewarmed, PrewarmedPhase};
pub use route::{Candidate, Routes, facts};
pub use servers::{PluginServerView, PluginServersView, ServerStanding};
pub use shared_budget::{Budgets, NO_BUDGETS, SharedBudget, TreeBudget, UseStep, shown as shown_amount};
pub use shown::{Entry, ModelContext, Section, Shown, ShownStep};
pub use standing::Standing;
pub use state::Session;
pub use stream::{
    EnvironmentNotice, HostedBy, PartNotice, PartOf, SessionNotice, StreamEvent, SubagentNotice, TurnNotice,
};
pub use tokens::{ERROR_PERCENT, Family};
pub use vectors::{Deciding, Rememberer, Unsent, Way};
pub use view::{RequiredAction, SessionView, Spend, SubagentView};
pub use window::Window;
