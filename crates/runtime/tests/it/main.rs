//! The runtime with stores, models and tool servers that a test can steer. One binary: each links a whole server.

mod budgets;
mod collect;
mod contexts;
mod embedding;
mod embedding_routes;
mod extractions;
mod facts;
mod flood;
mod freezes;
mod identity;
mod nodes;
mod policies;
mod procedures;
mod quarantine;
mod resume;
mod reviews;
mod sign_ins;
mod subagents;
mod support;
mod traces;
mod turns;
mod webhooks;
