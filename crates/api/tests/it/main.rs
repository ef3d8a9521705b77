//! The app over a live runtime. One binary: each links the whole server, and takes seconds and 200 MB to do it.

mod agents_api;
mod automations_api;
mod bad_inputs;
mod budgets_api;
mod contexts_api;
mod erasures;
mod facts;
mod freezes_api;
mod keys_api;
mod load;
mod memory;
mod metrics;
mod mirror;
mod people_api;
mod policies_api;
mod procedures;
mod proofs_api;
mod records;
mod support;
mod vaults_api;
mod versions;
mod webhooks;
