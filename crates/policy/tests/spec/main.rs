//! What policy says: tables of requests in, verdicts as text out.

mod arguments;
mod asked;
mod chains;
mod decisions;
mod guard_rails;
mod invariants;
mod many;
mod support;
mod text;
