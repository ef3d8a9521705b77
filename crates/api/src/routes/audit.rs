//! `/v1/tenure/audit`: a project's audit log, for those who keep it and those who check it.
//!
//! Reading seals what waits first, so what a client saw happen is in what it reads.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::ApiError;
use crate::query;

/// Records of one answer.
const RECORDS_MAX: u64 = 1_000;
const RECORDS: u64 = 100;

/// The log: its key, its size, its newest checkpoint.
pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    call.app.runtime.seal_audit(call.project()).await?;
    let log = call.app.runtime.audit_log(call.project()).await?;
    let sealed = log.sealed.as_ref();
    Ok(Json(json!({
        "object": "tenure.audit_log",
        "id": log.key.name(),
        "project_id": call.project(),
        "key": log.key.to_string(),
        "size": sealed.map_or(0, |sealed| sealed.size),
        "checkpoint": sealed.map(|sealed| &sealed.checkpoint),
    }))
    .into_response())
}

/// Records in order, from the number `from` on. Each is the exact text that was hashed.
pub(super) async fn records(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["from", "limit"])?;
    let from = number(&call, "from", 0, u64::MAX)?.unwrap_or(0);
    let limit = number(&call, "limit", 1, RECORDS_MAX)?.unwrap_or(RECORDS);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = call.store().sealed_records(call.project(), from, limit + 1).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let shown = (from..).zip(&found).map(|(index, record)| entry(index, record)).collect();
    Ok(query::list(shown, has_more))
}

/// One record with the evidence that it is in the log.
pub(super) async fn evidence(call: Call) -> Result<Response, ApiError> {
    let index: u64 = call.id("index", "record")?;
    let missing = || ApiError::not_found("record");
    let evidence = call.app.runtime.audit_evidence(call.project(), index).await?.ok_or_else(missing)?;
    let found = call.store().sealed_records(call.project(), index, 1).await?;
    let mut shown = entry(index, found.first().ok_or_else(missing)?);
    shown["evidence"] = json!(evidence.to_string());
    Ok(Json(shown).into_response())
}

fn entry(index: u64, record: &[u8]) -> Value {
    json!({
        "id": index.to_string(),
        "object": "tenure.audit_record",
        "index": index,
        "record": String::from_utf8_lossy(record),
    })
}

fn number(call: &Call, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = call.query.one(name)? else { return Ok(None) };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| text.parse().ok()).flatten().filter(|number| (least..=most).contains(number));
    number.map(Some).ok_or_else(|| {
        let most = if most == u64::MAX { "up".to_owned() } else { format!("to {most}") };
        ApiError::invalid(format!("Invalid '{name}': expected a whole number from {least} {most}."))
            .param(name)
    })
}
