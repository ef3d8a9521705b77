//! The routes. Nouns of the glossary; the same tree is served under `/v1` and `/openai/v1`.

mod agents;
mod audit;
mod automations;
mod blocks;
mod budgets;
mod context;
mod environments;
mod erasures;
mod events;
mod facts;
mod files;
mod forks;
mod freezes;
mod labels;
mod lists;
mod master_key;
mod memory;
mod models;
mod people;
mod policies;
mod procedures;
mod sessions;
mod sign_in;
mod skills;
mod stream;
mod subagents;
mod table;
mod templates;
mod tenure;
mod vaults;
mod versions;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, middleware, routing};
use serde_json::{Value, json};

use crate::call::App;
use crate::connect;
use crate::error::ApiError;
use crate::front::{METRICS_PATH, front};
use table::{Table, delete, get, post};

/// Every route, behind the front.
pub(crate) fn router(app: Arc<App>) -> Router {
    let v1 = v1().into_router();
    Router::new()
        .route("/healthz", routing::get(healthz))
        .route("/.well-known/tenure", routing::get(people::server))
        .route("/.well-known/jwks.json", routing::get(people::agent_keys))
        .route("/.well-known/openid-configuration", routing::get(people::agent_issuer))
        .route(METRICS_PATH, routing::get(metrics))
        .route(sign_in::CALLBACK_PATH, routing::get(sign_in::callback))
        .route(sign_in::CLIENT_PATH, routing::get(sign_in::client))
        .nest("/v1", v1.clone())
        .nest("/openai/v1", v1)
        .fallback(no_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), front))
        .with_state(app)
}

/// Every path of the API under `/v1`, with its parameters in braces.
pub(crate) fn paths() -> Vec<String> {
    v1().into_paths()
}

fn v1() -> Table {
    let session = "/agents/sessions/{session}";
    let at = |rest: &str| format!("{session}{rest}");
    let webhook = "/tenure/webhooks/{webhook}";
    Table::new()
        .route("/agents", get(agents::list).post(agents::create))
        .route("/agents/{agent}", get(agents::retrieve).post(agents::update).delete(agents::delete))
        .route("/agents/sessions", get(sessions::list).post(sessions::create))
        .merge(automation_routes())
        .route(session, get(sessions::retrieve).post(sessions::update).delete(sessions::delete))
        .route(&at("/events"), get(events::subscribe).post(events::submit))
        .route(&at("/items"), get(lists::items))
        .route(&at("/turns"), get(lists::turns))
        .route(&at("/turns/{turn}"), get(lists::turn))
        .route(&at("/turns/{turn}/items"), get(lists::turn_items))
        .route(&at("/subagents"), get(subagents::list))
        .route(&at("/subagents/{subagent}"), get(subagents::retrieve))
        .route(&at("/subagents/{subagent}/items"), get(subagents::items))
        .route(&at("/subagents/{subagent}/turns"), get(subagents::turns))
        .route(&at("/subagents/{subagent}/turns/{turn}"), get(subagents::turn))
        .route(&at("/subagents/{subagent}/turns/{turn}/items"), get(subagents::turn_items))
        .route(&at("/artifacts"), get(environments::artifacts))
        .route(
            &at("/artifacts/{artifact}"),
            get(environments::artifact).delete(environments::delete_artifact),
        )
        .route(&at("/artifacts/{artifact}/content"), get(environments::artifact_content))
        .route(&at("/traces"), get(lists::traces))
        .merge(environment_routes())
        .merge(connect_routes())
        .merge(vault_routes())
        .merge(library_routes())
        .route("/models", get(models::list))
        .route("/models/{*model}", get(models::retrieve))
        .route("/tenure/keys", get(tenure::keys).post(tenure::create_key))
        .route("/tenure/keys/{key}", delete(tenure::revoke_key))
        .route("/tenure/sessions/{session}/journal", get(tenure::journal))
        .route("/tenure/sessions", get(tenure::sessions))
        .route("/tenure/sessions/{session}/history", get(forks::history))
        .route("/tenure/sessions/{session}/labels", get(labels::retrieve))
        .route("/tenure/sessions/{session}/context", get(context::retrieve))
        .route("/tenure/sessions/{session}/grants", post(labels::grant_more))
        .route("/tenure/sessions/{session}/fork", post(forks::fork))
        .route("/tenure/sessions/{session}/rewind", post(forks::rewind))
        .route("/tenure/sessions/{session}/release", post(tenure::release))
        .route("/tenure/collect", post(forks::collect))
        .route("/tenure/master_key", get(master_key::retrieve))
        .route("/tenure/master_key/rewrap", post(master_key::rewrap))
        .route("/tenure/people", get(people::list))
        .route("/tenure/whoami", get(people::whoami))
        .route("/tenure/freezes", get(freezes::list).post(freezes::create))
        .route("/tenure/freezes/{freeze}", delete(freezes::delete))
        .route("/tenure/budgets", get(budgets::list))
        .route("/tenure/budgets/{target}", get(budgets::retrieve).put(budgets::put))
        .route("/tenure/sessions/{session}/budgets", get(budgets::of_session))
        .route("/tenure/policies", get(policies::current).post(policies::publish))
        .route("/tenure/policies/history", get(policies::history))
        .route("/tenure/policies/rollback", post(policies::rollback))
        .route("/tenure/policies/sets/{digest}", get(policies::set))
        .route("/tenure/policies/{version}", get(policies::version))
        .route("/tenure/memory/forget", post(erasures::forget))
        .route("/tenure/memory/erasures", get(erasures::list))
        .route("/tenure/memory/erasures/{erasure}", get(erasures::retrieve))
        .merge(memory_routes())
        .route("/tenure/audit", get(audit::retrieve))
        .route("/tenure/audit/records", get(audit::records))
        .route("/tenure/audit/records/{index}/evidence", get(audit::evidence))
        .route("/tenure/sessions/{session}", get(tenure::session))
        .route("/tenure/agents", get(versions::agents))
        .route("/tenure/agents/{agent}", get(versions::agent))
        .route("/tenure/agents/{agent}/versions", get(versions::list))
        .route("/tenure/agents/{agent}/versions/{version}", get(versions::retrieve))
        .route("/tenure/agents/{agent}/diff", get(versions::difference))
        .route("/tenure/agents/{agent}/rollback", post(versions::rollback))
        .route(
            "/tenure/agents/{agent}/split",
            get(versions::split).put(versions::put_split).delete(versions::end_split),
        )
        .route("/tenure/webhooks", get(webhooks::list).post(webhooks::create))
        .route(webhook, get(webhooks::retrieve).post(webhooks::update).delete(webhooks::delete))
        .route(&format!("{webhook}/rotate_secret"), post(webhooks::rotate))
        .route(&format!("{webhook}/dead_letters"), get(webhooks::dead_letters))
        .route(&format!("{webhook}/dead_letters/{{delivery}}/redeliver"), post(webhooks::redeliver))
}

fn environment_routes() -> Table {
    let environment = "/agents/environments/{environment}";
    Table::new()
        .route("/agents/environments", get(environments::list).post(environments::prewarm))
        .route("/agents/environments/templates", get(templates::list).post(templates::create))
        .route(
            "/agents/environments/templates/{template}",
            get(templates::retrieve).post(templates::update).delete(templates::delete),
        )
        .route(environment, get(environments::retrieve))
        .route(&format!("{environment}/files"), get(environments::files).post(environments::place_file))
}

fn library_routes() -> Table {
    let (skill, version) = ("/skills/{skill}", "/skills/{skill}/versions/{version}");
    Table::new()
        .route("/files", get(files::list).post(files::create))
        .route("/files/{file}", get(files::retrieve).delete(files::delete))
        .route("/files/{file}/content", get(files::content))
        .route("/skills", get(skills::list).post(skills::create))
        .route(skill, get(skills::retrieve).post(skills::update).delete(skills::delete))
        .route(&format!("{skill}/content"), get(skills::content))
        .route(&format!("{skill}/versions"), get(skills::versions).post(skills::create_version))
        .route(version, get(skills::version).delete(skills::delete_version))
        .route(&format!("{version}/content"), get(skills::version_content))
}

fn connect_routes() -> Table {
    let at = |rest: &str| format!("{}{rest}", connect::ENVIRONMENT);
    Table::new()
        .route(&at("/register"), routing::post(connect::register))
        .route(&at("/validate"), routing::post(connect::validate))
        .route(&at("/direct/register"), routing::post(connect::register_direct))
        .route(connect::SOCKET, routing::get(connect::socket))
}

fn automation_routes() -> Table {
    let automation = "/agents/automations/{automation}";
    let at = |rest: &str| format!("{automation}{rest}");
    Table::new()
        .route("/agents/automations", get(automations::list).post(automations::create))
        .route(automation, get(automations::retrieve).post(automations::update).delete(automations::delete))
        .route(&at("/pause"), post(automations::pause))
        .route(&at("/resume"), post(automations::resume))
        .route(&at("/invocations"), get(automations::invocations).post(automations::invoke))
        .route(&at("/invocations/{invocation}"), get(automations::invocation))
}

fn memory_routes() -> Table {
    let (fact, block) = ("/tenure/memory/facts/{fact}", "/tenure/memory/blocks/{block}");
    let procedure = "/tenure/memory/procedures/{procedure}";
    Table::new()
        .route("/tenure/memory/search", get(memory::search))
        .route("/tenure/memory/facts", get(facts::list).post(facts::create))
        .route(fact, get(facts::retrieve))
        .route(&format!("{fact}/history"), get(facts::history))
        .route(&format!("{fact}/correct"), post(facts::correct))
        .route(&format!("{fact}/close"), post(facts::close))
        .route(&format!("{fact}/restore"), post(facts::restore))
        .route(&format!("{fact}/accept"), post(facts::accept))
        .route(&format!("{fact}/reject"), post(facts::reject))
        .route("/tenure/memory/blocks", get(blocks::list).post(blocks::put))
        .route(block, get(blocks::retrieve).delete(blocks::delete))
        .route(&format!("{block}/history"), get(blocks::history))
        .route(&format!("{block}/accept"), post(blocks::accept))
        .route(&format!("{block}/reject"), post(blocks::reject))
        .route("/tenure/memory/procedures", get(procedures::list).post(procedures::put))
        .route(procedure, get(procedures::retrieve).delete(procedures::delete))
        .route(&format!("{procedure}/history"), get(procedures::history))
        .route(&format!("{procedure}/accept"), post(procedures::accept))
        .route(&format!("{procedure}/reject"), post(procedures::reject))
        .route("/tenure/memory/settings", get(blocks::settings).put(blocks::put_settings))
}

fn vault_routes() -> Table {
    let (vault, credential) = ("/vaults/{vault}", "/vaults/{vault}/credentials/{credential}");
    Table::new()
        .route("/vaults", get(vaults::list).post(vaults::create))
        .route(vault, get(vaults::retrieve).post(vaults::update).delete(vaults::delete))
        .route(&format!("{vault}/credentials"), get(vaults::list_credentials).post(vaults::create_credential))
        .route(
            credential,
            get(vaults::retrieve_credential)
                .post(vaults::update_credential)
                .delete(vaults::delete_credential),
        )
        .route("/tenure/vaults/{vault}/credentials", get(vaults::list_states))
        .route("/tenure/vaults/{vault}/sign_ins", post(sign_in::start))
        .route("/tenure/sign_ins/{sign_in}", get(sign_in::retrieve))
}

async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// The metrics of this node, for Prometheus.
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let media_type = tenure_runtime::METRICS_MEDIA_TYPE;
    ([(header::CONTENT_TYPE, media_type)], app.runtime.metrics_text()).into_response()
}

async fn no_route() -> ApiError {
    ApiError::no_route()
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not know that method.")
        .code("method_not_allowed")
}

/// 201 with what was made.
fn created(body: &Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}
