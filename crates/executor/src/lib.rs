//! The protocol between a server and an executor, both sides of it.
//!
//! An *executor* is a program on a machine of the customer's. It dials out, so that nothing has to be
//! opened there, and then does what the server asks: run processes, read and write files, make HTTP
//! requests from inside that network. Two programs are executors: `tenure exec-server`, which is
//! `serve` here, and `codex exec-server`, unmodified.
//!
//! Byte layouts follow the public sources of the latter and were checked against its binary.

pub mod channel;
pub mod frame;
#[cfg(feature = "harness")]
pub mod harness;
pub mod location;
pub mod message;
pub mod noise;
pub mod protocol;
pub mod record;
pub mod registry;
#[cfg(feature = "serve")]
pub mod serve;
pub mod sigv4;
#[cfg(any(feature = "harness", feature = "serve"))]
pub mod socket;
