//! A model server that serves a script over both wire formats, for real.
//!
//! `POST /v1/responses`, `POST /v1/chat/completions`, streamed or not, and `GET /v1/models` behave as a
//! provider's do. Faults happen where they would: a status with its headers, a connection closed before the
//! response or in the middle of it, silence. Every request is held against the strict validator and kept;
//! `GET /mock/requests` shows the latest, and a violation never changes the answer. No key is checked, and
//! headers are not kept, because they hold one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tenure_journal::{ModelAnswer, ModelRequest};
use tenure_model::Wire;
use tenure_model::codec::server::{BadRequest, Frame};
use tenure_model::codec::{chat, responses};
use tenure_model::scripted::{Fault, Play, PlayError, Player, Script};

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
        .route("/v1/models", get(models))
        .route("/mock/requests", get(requests))
        .with_state(server)
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

async fn requests(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(server.log.to_json())
}

async fn serve(
    wire: Wire,
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, Infallible> {
    let body = match to_bytes(request.into_body(), REQUEST_BYTES_MAX).await {
        Ok(body) => body,
        Err(_) => return Ok(error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", None)),
    };
    let body: Value = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(_) => return Ok(error(StatusCode::BAD_REQUEST, "the body is not JSON", None)),
    };
    let violations = match wire {
        Wire::Responses => crate::validator::responses(&body),
        Wire::Chat => crate::validator::chat(&body),
    };
    let streams = body.get("stream") == Some(&Value::Bool(true));
    let decoded = decode(wire, &body);
    let played = decoded.as_ref().ok().map(|request| server.player.play(request));
    let rule = played.as_ref().and_then(|played| played.as_ref().ok()).map(|play| play.rule.clone());
    server.log.add(Received { wire: wire.as_str(), violations, rule, body });
    Ok(match (decoded, played) {
        (Err(bad), _) => error(StatusCode::BAD_REQUEST, &bad.message, Some(&bad.param)),
        (Ok(_), Some(Err(unplayable))) => refuse(&unplayable),
        (Ok(request), Some(Ok(play))) => act(wire, &request.model, play, streams).await,
        (Ok(_), None) => error(StatusCode::INTERNAL_SERVER_ERROR, "nothing was played", None),
    })
}

fn decode(wire: Wire, body: &Value) -> Result<ModelRequest, BadRequest> {
    match wire {
        Wire::Responses => responses::server::decode_request(body),
        Wire::Chat => chat::server::decode_request(body),
    }
}

fn refuse(unplayable: &PlayError) -> Response {
    tracing::error!(script_error = %unplayable, "the script has no answer");
    error(StatusCode::BAD_REQUEST, &unplayable.to_failure().message, None)
}

fn error(status: StatusCode, message: &str, param: Option<&str>) -> Response {
    let body = json!({ "message": message, "type": "invalid_request_error", "code": null, "param": param });
    (status, Json(json!({ "error": body }))).into_response()
}

async fn act(wire: Wire, model: &str, play: Play, streams: bool) -> Response {
    match &play.fault {
        Some(Fault::Status { status, code, retry_after_ms }) => {
            return refused(*status, code.as_deref(), *retry_after_ms);
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
        let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
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
    }
}

async fn whole(wire: Wire, play: &Play, model: &str) -> Response {
    if let Some(Fault::Stall { ms, after_tokens: Some(_) }) = play.fault {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let body = match wire {
        Wire::Responses => responses::server::encode_body(&play.answer, model),
        Wire::Chat => chat::server::encode_body(&play.answer, model),
    };
    Json(body).into_response()
}

fn refused(status: u16, code: Option<&str>, retry_after_ms: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = json!({ "message": "a fault of the script", "type": null, "code": code, "param": null });
    let mut response = (status, Json(json!({ "error": error }))).into_response();
    if let Some(ms) = retry_after_ms {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        headers.insert("retry-after-ms", HeaderValue::from(ms));
    }
    response
}
