//! The tree against its definition, and logs that somebody changed.

mod log;
mod proofs;
mod tampering;
