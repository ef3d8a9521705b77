//! What a client is told when a request is not carried out.
//!
//! One error type serves both dialects: the Agents API answers `{"error": {...}}`, Tenure's own endpoints
//! answer `application/problem+json` (RFC 9457). Which one is decided at the front of the server, after
//! the path, so that nothing below needs to know.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenure_runtime::{Full, RuntimeError, RuntimeErrorKind, Whose};
use tenure_session::Refusal;
use tenure_store::{StoreError, StoreErrorKind};

/// Seconds a client waits before it repeats a request that met a full queue or an unfinished twin.
const RETRY_AFTER_SECS: u64 = 1;
/// Told to the official client, which repeats 408, 409, 429 and 5xx by itself.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
    retry: Retry,
    allow: Option<&'static str>,
    close: bool,
}

/// Whether repeating the request can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// As the status says.
    Unsaid,
    /// It gives the same answer until something else changes.
    Never,
    /// Later.
    After(u64),
}

/// The form of an error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `{"error": {"message", "type", "code", "param"}}`.
    OpenAi,
    /// `application/problem+json`.
    Problem,
}

impl Dialect {
    /// The dialect of a path.
    pub(crate) fn of(path: &str) -> Self {
        let path = path.strip_prefix("/openai").unwrap_or(path);
        let is_under = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_under("/v1") && !is_under("/v1/tenure") { Self::OpenAi } else { Self::Problem }
    }
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: None,
            message: message.into(),
            param: None,
            retry: Retry::Unsaid,
            allow: None,
            close: false,
        }
    }

    /// 400.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404; the same for missing, malformed and foreign ids.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("No {what} with that id was found."))
    }

    /// 404 for a path that is none of the server's.
    pub(crate) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No such path.").code("not_found")
    }

    /// 409 that repeating does not mend.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self { retry: Retry::Never, ..Self::new(StatusCode::CONFLICT, message) }
    }

    /// 409 while the first request with the same idempotency key still runs.
    pub(crate) fn still_running() -> Self {
        let message = "A request with this idempotency key is still being carried out.";
        Self { retry: Retry::After(RETRY_AFTER_SECS), ..Self::new(StatusCode::CONFLICT, message) }
            .code("in_progress")
    }

    /// 400 for a feature of the Agents API that this server does not offer.
    pub(crate) fn unsupported(feature: &str) -> Self {
        Self::invalid(format!("This server does not support {feature} yet.")).code("unsupported_feature")
    }

    /// 405 with the methods that are served.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("This method is not allowed here; allowed: {allow}.");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
            .code("method_not_allowed")
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same about what lies within the member `path`.
    pub(crate) fn within(mut self, path: &str) -> Self {
        self.param = self.param.map(|param| format!("{path}.{param}"));
        self
    }

    /// The connection is closed after the answer.
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    #[cfg(test)]
    pub(crate) fn parameter(&self) -> Option<&str> {
        self.param.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn stable_code(&self) -> &'static str {
        self.code.unwrap_or_else(|| self.kind())
    }

    /// The error's type in the Agents API's dialect, and its code when there is none more exact.
    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::CONFLICT => "conflict_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "service_unavailable_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The response in a dialect, with the request's id for the logs.
    pub(crate) fn render(&self, dialect: Dialect, request_id: &str) -> Response {
        let code = self.code.unwrap_or_else(|| self.kind());
        let (content_type, body) = match dialect {
            Dialect::OpenAi => {
                // A missing beta header is its own type; everything else goes by status.
                let kind = if code == "invalid_beta" { code } else { self.kind() };
                let error = json!({"message": self.message, "type": kind, "code": code, "param": self.param});
                ("application/json", json!({"error": error}))
            }
            Dialect::Problem => {
                let mut problem = json!({
                    "type": "about:blank",
                    "title": self.status.canonical_reason().unwrap_or("Error"),
                    "status": self.status.as_u16(),
                    "code": code,
                    "detail": self.message,
                    "request_id": request_id,
                });
                if let Some(param) = &self.param {
                    problem["param"] = json!(param);
                }
                ("application/problem+json", problem)
            }
        };
        let mut response =
            (self.status, [(header::CONTENT_TYPE, content_type)], body.to_string()).into_response();
        let headers = response.headers_mut();
        match self.retry {
            Retry::Unsaid => {}
            Retry::Never => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            Retry::After(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tenure\""));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Travels as a response extension to the front, which knows the dialect and renders it.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        match error.kind() {
            RuntimeErrorKind::NotFound => Self::not_found("session"),
            RuntimeErrorKind::Refused(refusal) => refused(refusal),
            // Reached only if the receipt that exists could not be read back.
            RuntimeErrorKind::ReceiptExists => Self::still_running(),
            RuntimeErrorKind::Overloaded(full) => (*full).into(),
            RuntimeErrorKind::ShuttingDown => Self {
                retry: Retry::After(RETRY_AFTER_SECS),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down.")
            }
            .code("shutting_down"),
            RuntimeErrorKind::Storage => {
                tracing::error!(error = &error as &dyn std::error::Error, "durable storage failed");
                storage_unavailable()
            }
            RuntimeErrorKind::BeingErased => Self::conflict(
                "What is kept of this user is being erased; nothing new begins for them until that is done.",
            )
            .code("being_erased"),
            RuntimeErrorKind::Sealing => {
                tracing::error!("secrets cannot be sealed or opened");
                sealing()
            }
            RuntimeErrorKind::Damaged => {
                tracing::error!(error = &error as &dyn std::error::Error, "a journal is damaged");
                damaged("session's journal")
            }
        }
    }
}

impl ApiError {
    /// 403 for what policy does not let the key do.
    pub(crate) fn policy(policies: &[String]) -> Self {
        let by = if policies.is_empty() { "no policy permits it".to_owned() } else { policies.join(", ") };
        Self::new(StatusCode::FORBIDDEN, format!("Policy does not allow this ({by}).")).code("policy_denied")
    }
}

fn refused(refusal: &Refusal) -> ApiError {
    let message = refusal.to_string();
    match refusal {
        // The official client repeats a result when it reads exactly this.
        Refusal::UnknownCall { .. } => ApiError::invalid(message),
        Refusal::UnknownApproval { .. } => ApiError::invalid(message).param("events"),
        Refusal::NotAllowed { policies } => ApiError::policy(policies),
        Refusal::NotConnected => {
            ApiError::invalid("The environment is not connected.").code("environment_not_connected")
        }
        Refusal::EnvironmentTaken => attach("environment_taken", message),
        Refusal::EnvironmentExpired => attach("environment_expired", message),
        Refusal::EnvironmentFailed => attach("environment_failed", message),
        Refusal::UnknownArtifact { .. } => ApiError::not_found("artifact"),
        Refusal::ConflictingResult { .. }
        | Refusal::AlreadyDecided { .. }
        | Refusal::Busy
        | Refusal::Moved
        | Refusal::GrantsFull
        | Refusal::Failed => ApiError::conflict(message),
        Refusal::Running => ApiError::conflict(message).code("session_busy"),
        Refusal::UnknownPoint { .. } => ApiError::invalid(message).code("unknown_point"),
        Refusal::Hidden | Refusal::Deleted => ApiError::not_found("session"),
        Refusal::QueueFull { .. } => overloaded(StatusCode::TOO_MANY_REQUESTS, message),
    }
}

/// 409 for a session that is to be opened in an environment which takes none.
fn attach(code: &'static str, message: String) -> ApiError {
    ApiError::conflict(message).code(code).param("environment.environment_id")
}

/// The project's limit is the client's business, the node's is ours.
impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        let status = match full.whose {
            Whose::Project => StatusCode::TOO_MANY_REQUESTS,
            Whose::Node => StatusCode::SERVICE_UNAVAILABLE,
        };
        overloaded(status, full.to_string())
    }
}

pub(crate) fn overloaded(status: StatusCode, message: String) -> ApiError {
    ApiError { retry: Retry::After(RETRY_AFTER_SECS), ..ApiError::new(status, message) }.code("overloaded")
}

fn storage_unavailable() -> ApiError {
    let message = "Durable storage is not available; whether the request took effect is not known.";
    ApiError {
        retry: Retry::After(RETRY_AFTER_SECS),
        ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
    .code("storage_unavailable")
}

/// 503: the operator has to bring back the master key, or the service that holds it.
pub(crate) fn sealing() -> ApiError {
    let message = "Secrets cannot be sealed or opened now; nothing was changed.";
    ApiError {
        retry: Retry::After(RETRY_AFTER_SECS),
        ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
    .code("sealing_unavailable")
}

fn damaged(what: &str) -> ApiError {
    let message = format!("The {what} cannot be read; see the server's log for this request's id.");
    ApiError { retry: Retry::Never, ..ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message) }
        .code("damaged")
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::UnknownCursor => bad_cursor(),
            StoreErrorKind::Conflict { .. } => {
                ApiError::new(StatusCode::CONFLICT, "Someone else changed this at the same time; try again.")
            }
            StoreErrorKind::ReceiptExists => Self::still_running(),
            StoreErrorKind::Corrupt => {
                tracing::error!(error = &error as &dyn std::error::Error, "stored data is damaged");
                damaged("stored data")
            }
            StoreErrorKind::Held
            | StoreErrorKind::BudgetExceeded
            | StoreErrorKind::Unavailable
            | StoreErrorKind::Full
            | StoreErrorKind::Locked
            | StoreErrorKind::TooNew
            | StoreErrorKind::OlderNodes => {
                tracing::error!(error = &error as &dyn std::error::Error, "durable storage failed");
                storage_unavailable()
            }
        }
    }
}

/// 400 for an `after` that names nothing.
pub(crate) fn bad_cursor() -> ApiError {
    ApiError::invalid("Invalid 'after': it is not the id of an item of this list.")
        .code("bad_cursor")
        .param("after")
}

/// 500 for stored JSON that does not decode.
pub(crate) fn undecodable(what: &'static str, error: &serde_json::Error) -> ApiError {
    tracing::error!(error = error as &dyn std::error::Error, what, "stored data does not decode");
    damaged(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_and_code() {
        let approval: tenure_journal::ApprovalId =
            "apr_00000000000070008000000000000001".parse().expect("an id");
        let table = [
            (Refusal::UnknownCall { call_id: "c".into() }, 400, "invalid_request_error"),
            (Refusal::ConflictingResult { call_id: "c".into() }, 409, "conflict_error"),
            (Refusal::UnknownApproval { approval_id: approval }, 400, "invalid_request_error"),
            (Refusal::AlreadyDecided { approval_id: approval }, 409, "conflict_error"),
            (Refusal::Busy, 409, "conflict_error"),
            (Refusal::Failed, 409, "conflict_error"),
            (Refusal::Deleted, 404, "not_found_error"),
            (Refusal::NotAllowed { policies: vec!["p".into()] }, 403, "policy_denied"),
            (Refusal::QueueFull { waiting: 3 }, 429, "overloaded"),
        ];
        for (refusal, status, code) in table {
            let error = ApiError::from(RuntimeError::from(refusal.clone()));
            assert_eq!((error.status().as_u16(), error.stable_code()), (status, code), "{refusal:?}");
        }
        let unknown = Refusal::UnknownCall { call_id: "call_9".into() };
        assert_eq!(refused(&unknown).message(), "Unknown pending tool call: call_9");
    }

    #[test]
    fn every_runtime_error_has_its_status_and_code() {
        let full =
            |whose| RuntimeErrorKind::Overloaded(Full { limit: tenure_runtime::Limit::Streams, whose });
        let table = [
            (RuntimeErrorKind::NotFound, 404, "not_found_error"),
            (RuntimeErrorKind::ReceiptExists, 409, "in_progress"),
            (full(Whose::Project), 429, "overloaded"),
            (full(Whose::Node), 503, "overloaded"),
            (RuntimeErrorKind::ShuttingDown, 503, "shutting_down"),
            (RuntimeErrorKind::Storage, 503, "storage_unavailable"),
            (RuntimeErrorKind::Damaged, 500, "damaged"),
            (RuntimeErrorKind::Sealing, 503, "sealing_unavailable"),
            (RuntimeErrorKind::BeingErased, 409, "being_erased"),
        ];
        for (kind, status, code) in table {
            let error = ApiError::from(RuntimeError::from(kind.clone()));
            assert_eq!((error.status().as_u16(), error.stable_code()), (status, code), "{kind:?}");
        }
    }

    #[test]
    fn deterministic_conflicts_tell_the_client_not_to_repeat() {
        let response = ApiError::conflict("no").render(Dialect::OpenAi, "req_1");
        assert_eq!(response.headers()["x-should-retry"], "false");
        let response = ApiError::still_running().render(Dialect::OpenAi, "req_1");
        assert_eq!(response.headers()["retry-after"], "1");
    }

    #[test]
    fn the_path_decides_the_dialect() {
        for (path, dialect) in [
            ("/v1/agents", Dialect::OpenAi),
            ("/openai/v1/agents/sessions", Dialect::OpenAi),
            ("/v1", Dialect::OpenAi),
            ("/v1/tenure/keys", Dialect::Problem),
            ("/v1/tenures", Dialect::OpenAi),
            ("/healthz", Dialect::Problem),
            ("/v10", Dialect::Problem),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }
}
