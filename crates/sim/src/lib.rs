//! Deterministic simulation: the whole of Tenure but its network and its disk, under faults, from one seed.
//!
//! The session machine and the store's model are the real ones. Around them everything is simulated and
//! drawn from one seed: the clock, the order of events, the disk (a write is durable only after its sync), the
//! processes that run sessions and die at any step (in half of the worlds several nodes on one store), a model, a tool server with a ledger, and clients who
//! repeat what was not acknowledged. While it runs, an [oracle](Property) reads every durable event and every
//! request that reaches the outside. First come faults; then the world heals, and everything must come to
//! rest.
//!
//! The same seed gives the same history, always. [`Bug`] switches on one deliberate bug of the simulated
//! shell; a test shows that each is caught.
//!
//! What this does not do: run the asynchronous runtime or a real database. Killing the real process does.

mod budgets;
mod bug;
mod call;
mod client;
mod executors;
mod follower;
mod nodes;
mod oracle;
mod outside;
mod part;
mod property;
mod rebuild;
mod said;
mod shell;
mod sign_ins;
#[path = "../../session/tests/spec/strict.rs"]
mod strict;
mod subagents;
mod world;

pub use bug::Bug;
pub use property::{Property, Violation};
pub use world::{Failure, Summary, run, trace};
