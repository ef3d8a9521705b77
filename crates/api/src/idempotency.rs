//! Idempotency keys: a repeated POST is answered with the outcome of the first.
//!
//! The outcome is written in the transaction that makes it true, so there is no moment at which a crash can
//! leave the one without the other. A request that was refused changed nothing and is tried anew.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tenure_journal::{ProjectId, Timestamp, json};
use tenure_runtime::ReceiptDraft;
use tenure_session::SessionView;
use tenure_store::Receipt;

use crate::call::Call;
use crate::error::{ApiError, Dialect};

/// Characters of a client's key.
const KEY_CHARS_MAX: usize = 256;

/// Keys of requests that are being carried out by this process.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<(ProjectId, String)>>>);

/// Whether a request is to be carried out.
pub(crate) enum Begin {
    /// It is, and with a key its outcome is to be kept.
    Run(Option<Ticket>),
    /// It was; this was the outcome.
    Replay(Response),
}

/// The right to carry out the one request with a key. Dropping it lets others try.
pub(crate) struct Ticket {
    project: ProjectId,
    key: String,
    digest: String,
    in_flight: InFlight,
    dialect: Dialect,
}

/// Looks at the request's idempotency key, and whether its outcome is known.
pub(crate) async fn begin(call: &Call, body: &Value) -> Result<Begin, ApiError> {
    let Some(key) = client_key(call)? else { return Ok(Begin::Run(None)) };
    let (project, key) = (call.project(), format!("{} {} {key}", call.method, call.path));
    let in_flight = call.app.in_flight.clone();
    if !in_flight.enter(project, &key) {
        return Err(ApiError::still_running());
    }
    let ticket = Ticket { project, key, digest: json::digest(body), in_flight, dialect: call.dialect() };
    match ticket.replay(call).await? {
        Some(response) => {
            // It was recorded when it was carried out.
            call.caller.log.settle();
            Ok(Begin::Replay(response))
        }
        None => Ok(Begin::Run(Some(ticket))),
    }
}

fn client_key(call: &Call) -> Result<Option<String>, ApiError> {
    let mut keys = call.headers.get_all("idempotency-key").iter();
    let invalid = |why: &str| {
        Err(ApiError::invalid(format!("Invalid Idempotency-Key: {why}.")).code("invalid_idempotency_key"))
    };
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(None),
        (Some(_), Some(_)) => return invalid("it is given more than once"),
        (Some(key), None) => key.to_str(),
    };
    match key {
        Ok(key) if !key.is_empty() && key.len() <= KEY_CHARS_MAX => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => invalid("expected 1 to 256 printable ASCII characters"),
    }
}

impl Ticket {
    /// The outcome of the request that used the key first, if one did.
    pub(crate) async fn replay(&self, call: &Call) -> Result<Option<Response>, ApiError> {
        let Some(receipt) = call.store().receipt(self.project, &self.key).await? else { return Ok(None) };
        if receipt.digest != self.digest {
            let message = "This idempotency key was used with another request body.";
            return Err(match self.dialect {
                Dialect::OpenAi => ApiError::conflict(message),
                Dialect::Problem => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message),
            }
            .code("idempotency_mismatch"));
        }
        let status = StatusCode::from_u16(receipt.status).unwrap_or(StatusCode::OK);
        if receipt.body.is_empty() {
            return Ok(Some(status.into_response()));
        }
        Ok(Some((status, [(header::CONTENT_TYPE, "application/json")], receipt.body).into_response()))
    }

    /// The receipt of a change to a session.
    pub(crate) fn draft(
        &self,
        status: StatusCode,
        body: impl Fn(&SessionView) -> String + Send + Sync + 'static,
    ) -> ReceiptDraft {
        ReceiptDraft {
            key: self.key.clone(),
            digest: self.digest.clone(),
            status: status.as_u16(),
            body: Box::new(body),
        }
    }

    /// The receipt of a change to a document.
    pub(crate) fn receipt(&self, status: StatusCode, body: String, at: Timestamp) -> Receipt {
        Receipt {
            project: self.project,
            key: self.key.clone(),
            digest: self.digest.clone(),
            status: status.as_u16(),
            body,
            at,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.in_flight.lock().remove(&(self.project, std::mem::take(&mut self.key)));
    }
}

impl InFlight {
    fn enter(&self, project: ProjectId, key: &str) -> bool {
        self.lock().insert((project, key.to_owned()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(ProjectId, String)>> {
        // A set is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::Fresh;

    use super::*;

    #[test]
    fn one_request_with_a_key_runs_at_a_time() {
        let in_flight = InFlight::default();
        let project = ProjectId::fresh(&Fresh::new(Timestamp::EPOCH, 1));
        let other = ProjectId::fresh(&Fresh::new(Timestamp::EPOCH, 2));
        assert!(in_flight.enter(project, "POST /v1/agents k"));
        assert!(!in_flight.enter(project, "POST /v1/agents k"));
        assert!(in_flight.enter(other, "POST /v1/agents k"));
        assert!(in_flight.enter(project, "POST /v1/agents/sessions k"));
        let ticket = Ticket {
            project,
            key: "POST /v1/agents k".into(),
            digest: String::new(),
            in_flight: in_flight.clone(),
            dialect: Dialect::OpenAi,
        };
        drop(ticket);
        assert!(in_flight.enter(project, "POST /v1/agents k"));
    }
}
