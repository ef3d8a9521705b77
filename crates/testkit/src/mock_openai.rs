//! A model server that serves a script over every wire format, for real.
//!
//! It behaves as the providers do, streamed or not, at the paths of all of them: OpenAI (`/v1/responses`,
//! `/v1/chat/completions`, `/v1/embeddings`, `/v1/models`), Anthropic (`/v1/messages`), Bedrock (`/model/{model}/converse-stream`,
//! `/model/{model}/converse`) and Azure (`/openai/v1/...`, `/openai/deployments/{deployment}/...`, and the tokens
//! of Entra ID at `/{tenant}/oauth2/v2.0/token`). Faults happen where they would: a status with its headers, a
//! connection closed before the response or in the middle of it, silence. Every request is held against the
//! strict validator and kept; `GET /mock/requests` shows the latest, and a violation never changes the answer. No
//! key is checked, and headers are not kept, because they hold one.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tenure_journal::{ModelAnswer, ModelRequest};
use tenure_model::Wire;
use tenure_model::codec::server::{BadRequest, Frame};
use tenure_model::codec::{Framing, anthropic, chat, converse, responses};
use tenure_model::scripted::{Fault, Play, PlayError, Player, Script};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

mod embeddings;
mod log;
mod stream;

pub use log::{LOGGED_REQUESTS_MAX, Received, RequestLog};

/// Bytes of a request body. Contexts with images are large; providers allow about as much.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The server as a function.
pub fn router(script: Arc<Script>, log: RequestLog) -> Router {
    let server = Arc::new(Server { player: Player::new(script), log });
    Router::new()
        .route("/v1/responses", post(|state, request| serve(Wire::Responses, state, request)))
        .route("/v1/chat/completions", post(|state, request| serve(Wire::Chat, state, request)))
        .route("/v1/messages", post(|state, request| serve(Wire::Anthropic, state, request)))
        .route("/v1/models", get(models))
        .route("/v1/embeddings", post(vectors))
        .route("/openai/v1/embeddings", post(vectors))
        .route("/openai/deployments/{deployment}/embeddings", post(vectors))
        .route("/openai/v1/responses", post(|state, request| serve(Wire::Responses, state, request)))
        .route("/openai/v1/chat/completions", post(|state, request| serve(Wire::Chat, state, request)))
        .route("/openai/deployments/{deployment}/responses", post(deployed_responses))
        .route("/openai/deployments/{deployment}/chat/completions", post(deployed_chat))
        .route("/model/{model}/converse-stream", post(converse_stream))
        .route("/model/{model}/converse", post(converse_whole))
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route("/mock/requests", get(requests))
        .with_state(server)
}

/// Serves a script on a free port of the loopback for as long as its task runs; gives the address.
///
/// # Errors
/// No port is free.
pub async fn start(script: Arc<Script>, log: RequestLog) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let app = router(script, log);
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the mock server failed");
        }
    });
    Ok((address, serving))
}

struct Server {
    player: Player,
    log: RequestLog,
}

async fn models(State(server): State<Arc<Server>>) -> Json<Value> {
    let id = server.player.script().model().unwrap_or("scripted");
    let model = json!({ "id": id, "object": "model", "created": 0, "owned_by": "scripted" });
    Json(json!({ "object": "list", "data": [model] }))
}

async fn vectors(State(server): State<Arc<Server>>, request: Request) -> Response {
    embeddings::answer(&server.log, request).await
}

async fn requests(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(server.log.to_json())
}

async fn serve(
    wire: Wire,
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, Infallible> {
    Ok(server.answer(wire, None, request).await)
}

async fn deployed_responses(
    State(server): State<Arc<Server>>,
    Path(deployment): Path<String>,
    request: Request,
) -> Response {
    server.answer(Wire::Responses, Some(Target { model: deployment, streams: None }), request).await
}

async fn deployed_chat(
    State(server): State<Arc<Server>>,
    Path(deployment): Path<String>,
    request: Request,
) -> Response {
    server.answer(Wire::Chat, Some(Target { model: deployment, streams: None }), request).await
}

async fn converse_stream(
    State(server): State<Arc<Server>>,
    Path(model): Path<String>,
    request: Request,
) -> Response {
    server.answer(Wire::Converse, Some(Target { model, streams: Some(true) }), request).await
}

async fn converse_whole(
    State(server): State<Arc<Server>>,
    Path(model): Path<String>,
    request: Request,
) -> Response {
    server.answer(Wire::Converse, Some(Target { model, streams: Some(false) }), request).await
}

/// A token of Entra ID that says nothing and lasts an hour.
async fn token() -> Json<Value> {
    Json(json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "mock-token" }))
}

/// What the address of a request says.
struct Target {
    model: String,
    /// Absent where the body says it.
    streams: Option<bool>,
}

impl Server {
    async fn answer(&self, wire: Wire, target: Option<Target>, request: Request) -> Response {
        let body = match to_bytes(request.into_body(), REQUEST_BYTES_MAX).await {
            Ok(body) => body,
            Err(_) => return error(wire, StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", None),
        };
        let body: Value = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(_) => return error(wire, StatusCode::BAD_REQUEST, "the body is not JSON", None),
        };
        let violations = match wire {
            Wire::Responses => crate::validator::responses(&body),
            Wire::Chat => crate::validator::chat(&body),
            Wire::Anthropic => crate::validator::anthropic(&body),
            Wire::Converse => crate::validator::converse(&body),
        };
        let written = body.get("stream") == Some(&Value::Bool(true));
        let streams = target.as_ref().and_then(|target| target.streams).unwrap_or(written);
        let decoded = decode(wire, target.map(|target| target.model), &body);
        let played = decoded.as_ref().ok().map(|request| self.player.play(request));
        let rule = played.as_ref().and_then(|played| played.as_ref().ok()).map(|play| play.rule.clone());
        self.log.add(Received { wire: wire.as_str(), violations, rule, body });
        match (decoded, played) {
            (Err(bad), _) => error(wire, StatusCode::BAD_REQUEST, &bad.message, Some(&bad.param)),
            (Ok(_), Some(Err(unplayable))) => refuse(wire, &unplayable),
            (Ok(request), Some(Ok(play))) => act(wire, &request.model, play, streams).await,
            (Ok(_), None) => error(wire, StatusCode::INTERNAL_SERVER_ERROR, "nothing was played", None),
        }
    }
}

/// Reads a request; a model in the address is the one that is meant.
fn decode(wire: Wire, model: Option<String>, body: &Value) -> Result<ModelRequest, BadRequest> {
    let mut request = match wire {
        Wire::Responses => responses::server::decode_request(body),
        Wire::Chat => chat::server::decode_request(body),
        Wire::Anthropic => anthropic::server::decode_request(body),
        Wire::Converse => converse::server::decode_request("", body),
    }?;
    if let Some(model) = model {
        request.model = model;
    }
    Ok(request)
}

fn refuse(wire: Wire, unplayable: &PlayError) -> Response {
    tracing::error!(script_error = %unplayable, "the script has no answer");
    error(wire, StatusCode::BAD_REQUEST, &unplayable.to_failure().message, None)
}

fn error(wire: Wire, status: StatusCode, message: &str, param: Option<&str>) -> Response {
    (status, Json(error_body(wire, message, Some("invalid_request_error"), None, param))).into_response()
}

/// An error in the shape of the providers that speak `wire`.
fn error_body(
    wire: Wire,
    message: &str,
    kind: Option<&str>,
    code: Option<&str>,
    param: Option<&str>,
) -> Value {
    match wire {
        Wire::Responses | Wire::Chat => {
            json!({ "error": { "message": message, "type": kind, "code": code, "param": param } })
        }
        Wire::Anthropic => {
            let kind = code.or(kind).unwrap_or("api_error");
            json!({ "type": "error", "error": { "type": kind, "message": message } })
        }
        Wire::Converse => json!({ "message": message }),
    }
}

async fn act(wire: Wire, model: &str, play: Play, streams: bool) -> Response {
    match &play.fault {
        Some(Fault::Status { status, code, retry_after_ms }) => {
            return refused(wire, *status, code.as_deref(), *retry_after_ms);
        }
        // The head is written with the first part of the body, so a body that fails at once leaves nothing.
        Some(Fault::Disconnect) => return Response::new(stream::broken()),
        Some(Fault::Stall { ms, after_tokens: None }) => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
        }
        Some(Fault::Cut { .. } | Fault::Stall { .. }) | None => {}
    }
    if streams {
        let mut response = Response::new(stream::body(frames(wire, &play.answer, model), &play));
        let kind = HeaderValue::from_static(match wire.framing() {
            Framing::Sse => "text/event-stream; charset=utf-8",
            Framing::EventStream => "application/vnd.amazon.eventstream",
        });
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    } else if matches!(play.fault, Some(Fault::Cut { .. })) {
        Response::new(stream::broken())
    } else {
        whole(wire, &play, model).await
    }
}

fn frames(wire: Wire, answer: &ModelAnswer, model: &str) -> Vec<Frame> {
    match wire {
        Wire::Responses => responses::server::encode_stream(answer, model),
        Wire::Chat => chat::server::encode_stream(answer, model),
        Wire::Anthropic => anthropic::server::encode_stream(answer, model),
        Wire::Converse => converse::server::encode_stream(answer),
    }
}

async fn whole(wire: Wire, play: &Play, model: &str) -> Response {
    if let Some(Fault::Stall { ms, after_tokens: Some(_) }) = play.fault {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let body = match wire {
        Wire::Responses => responses::server::encode_body(&play.answer, model),
        Wire::Chat => chat::server::encode_body(&play.answer, model),
        Wire::Anthropic => anthropic::server::encode_body(&play.answer, model),
        Wire::Converse => converse::server::encode_body(&play.answer),
    };
    Json(body).into_response()
}

fn refused(wire: Wire, status: u16, code: Option<&str>, retry_after_ms: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = error_body(wire, "a fault of the script", None, code, None);
    let mut response = (status, Json(body)).into_response();
    if let Some(ms) = retry_after_ms {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        headers.insert("retry-after-ms", HeaderValue::from(ms));
    }
    response
}
