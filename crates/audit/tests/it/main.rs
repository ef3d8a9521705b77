//! The tree against its definition, and logs that somebody changed.

mod answers;
mod log;
mod proofs;
mod tampering;
