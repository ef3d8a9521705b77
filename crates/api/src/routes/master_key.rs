//! `/v1/tenure/master_key`: what wraps the keys of projects, and its change.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenure_runtime::SealerError;

use crate::call::Call;
use crate::error::{ApiError, sealing};

fn failed(error: SealerError) -> ApiError {
    match error {
        SealerError::Store(error) => error.into(),
        SealerError::Seal(_) | SealerError::Damaged { .. } | SealerError::NotText => {
            tracing::error!(%error, "keys cannot be wrapped anew");
            sealing()
        }
    }
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let fingerprint = call.app.runtime.master_key().map_err(failed)?;
    let used = call.app.runtime.used_master_keys().await.map_err(failed)?;
    Ok(Json(json!({"object": "tenure.master_key", "fingerprint": fingerprint, "used": used})).into_response())
}

/// Wraps everything with the current master key. Repeating it changes nothing.
pub(super) async fn rewrap(call: Call) -> Result<Response, ApiError> {
    let done = call.app.runtime.rewrap_keys().await.map_err(failed)?;
    Ok(Json(json!({
        "object": "tenure.master_key",
        "fingerprint": done.master_key,
        "keys": done.keys,
        "secrets": done.secrets,
    }))
    .into_response())
}
