//! What policy says: tables of requests in, verdicts as text out.

mod arguments;
mod chains;
mod decisions;
mod guard_rails;
mod many;
mod support;
mod text;
