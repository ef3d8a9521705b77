//! `/v1/models`: the names that the server's routes know.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::ApiError;
use crate::query;

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    let models = call.app.config.models.iter().map(|model| shown(model)).collect();
    Ok(query::list(models, false))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    let wanted = call.path.strip_prefix("/v1/models/").unwrap_or_default();
    let found = call.app.config.models.iter().find(|model| *model == wanted);
    let model = found.ok_or_else(|| ApiError::not_found("model"))?;
    Ok(Json(shown(model)).into_response())
}

fn shown(model: &str) -> Value {
    json!({"id": model, "object": "model", "created": 0, "owned_by": "tenure"})
}
