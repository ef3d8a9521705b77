//! The library against `codex exec-server`. A test target of its own, because its program is 230 MB that
//! only `cargo xtask codex` installs.

#[path = "it/codex.rs"]
mod codex;
#[path = "it/scenarios.rs"]
mod scenarios;
#[path = "it/server.rs"]
mod server;
