//! The session machine's specification, as tables: what goes in, and every event, notice and context that
//! comes out, as text. [`bench`] drives a session and holds each step against what must always be true.

#![allow(clippy::unwrap_used, reason = "a test stops where its story does")]

mod bench;
mod budgets;
mod shared_budgets;
mod strict;
mod text;

mod approvals;
mod attempts;
mod audits;
mod automations;
mod cancels;
mod compactions;
mod environments;
mod executors;
mod extractions;
mod forks;
mod frozen;
mod functions;
mod guests;
mod inside;
mod journals;
mod labels;
mod memories;
mod models;
mod plugins;
mod points;
mod prewarmed;
mod prompts;
mod random;
mod reviews;
mod routes;
mod servers;
mod settings;
mod sign_ins;
mod skills;
mod subagents;
mod tickets;
mod tokens;
mod turns;
