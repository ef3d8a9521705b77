//! HTTP and SSE: the OpenAI Agents API over a [`Runtime`], and what Tenure adds beside it.
//!
//! The app is a function, [`app`]; connections are [`serve`]. A request passes the connection's gate
//! (framing), the front (hosts, origins, credentials, scopes) and a handler, which reads the body into
//! journal types and shows views as JSON. Wire types exist nowhere else, and nothing here decides what a
//! session does.

pub mod agents;
mod body;
mod call;
mod config;
mod connect;
mod diff;
mod error;
mod files;
mod form;
mod front;
mod hosts;
mod idempotency;
mod key_use;
pub mod keys;
mod people;
mod prover;
mod query;
mod read;
mod record;
mod routes;
mod scope;
mod show;
mod skills;
pub mod split;
mod verbs;
mod wire;

use std::sync::Arc;

use axum::Router;
use tenure_journal::AgentConfig;
use tenure_runtime::Runtime;

pub use config::ApiConfig;
pub use people::People;
pub use prover::Prover;
pub use wire::{Limits, serve, serve_with};

/// Why a session of this server cannot run an agent, if it cannot: what refuses it when a session is created.
///
/// # Errors
/// What is not available here, in words for a client.
pub fn check_agent(agent: &AgentConfig) -> Result<(), String> {
    read::refuse_unavailable(agent).map_err(|error| error.message().to_owned())
}

/// Every path of the API under `/v1`, with its parameters in braces: what a test walks that is about all of them.
#[must_use]
pub fn paths() -> Vec<String> {
    routes::paths()
}

/// The whole API as a service.
pub fn app(config: ApiConfig, runtime: Runtime) -> Router {
    routes::router(Arc::new(call::App::new(config, runtime)))
}
