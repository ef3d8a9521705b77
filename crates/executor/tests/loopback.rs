//! Both sides of the library against each other, over real sockets.

#[path = "it/ours.rs"]
mod ours;
#[path = "it/scenarios.rs"]
mod scenarios;
#[path = "it/server.rs"]
mod server;
