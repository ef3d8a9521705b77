//! Records of requests, for the audit log: what was changed that has no record of its own, what was read, and what
//! was denied.
//!
//! A change of a document is written with its record, in one transaction, by whoever changes it, and says so here.
//! Every other change that was carried out is recorded before it is answered, but for the everyday use of sessions,
//! which their journals have: that, and reads, are recorded soon. The answer does not wait for the disk then, and a
//! process that dies may lose the last of them. What this is about is decided by the path, so no route can be
//! forgotten.
//!
//! A body is shown as a keyed digest: what people say is short, and a plain one could be guessed. It is keyed with the
//! key of the session it is about, which an erasure takes with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::http::{Method, StatusCode};
use serde_json::Value;
use tenure_journal::{
    EnvironmentId, RequestFact, RequestKind, RequestOutcome, RequestRecord, SessionId, json,
};
use tenure_store::AuditEntry;

use crate::call::{App, Caller};

/// What became known of a request while it was handled.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    /// Whether a record was written with the change, or nothing was changed.
    settled: AtomicBool,
    /// The digest of the body.
    arguments: Mutex<Option<String>>,
    /// The id of what was made.
    made: Mutex<Option<String>>,
}

impl RequestLog {
    /// Nothing more is to be recorded of the request.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// The request has this body.
    pub(crate) fn body(&self, body: &Value) {
        *self.arguments.lock().unwrap_or_else(PoisonError::into_inner) = Some(json::digest(body));
    }

    /// The request made this.
    pub(crate) fn made(&self, id: String) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }
}

/// A request that was admitted, as it is recorded.
pub(crate) struct Asked {
    /// The method and the path with its parameters in braces.
    pub(crate) action: String,
    /// The path.
    pub(crate) path: String,
    pub(crate) method: Method,
}

impl Asked {
    /// Whether it reads what was said and done: not lists of sessions or settings, and not the audit log, which
    /// would grow by being read.
    fn reads(&self) -> bool {
        let segments: Vec<&str> = self.path.trim_start_matches("/v1/").split('/').collect();
        match segments.as_slice() {
            ["agents" | "tenure", "sessions", _, rest, ..] => !rest.is_empty(),
            // How far an erasure is says nothing of anybody.
            ["tenure", "memory", "erasures", ..] => false,
            ["files", _, ..] | ["agents", "environments", _, "files", ..] | ["tenure", "memory", ..] => true,
            _ => false,
        }
    }
}

impl Asked {
    /// The session that it is about, as far as its path says: an environment is its session's.
    fn session(&self) -> Option<SessionId> {
        let segments: Vec<&str> = self.path.trim_start_matches("/v1/").split('/').collect();
        match segments.as_slice() {
            ["agents" | "tenure", "sessions", session, ..] => session.parse().ok(),
            ["agents", "environments", environment, ..] => {
                environment.parse().ok().map(|id: EnvironmentId| id.session())
            }
            _ => None,
        }
    }

    /// Whether it opens a session or talks to one: what a message must not cost is a second sync of the disk.
    fn is_use(&self) -> bool {
        let segments: Vec<&str> = self.path.trim_start_matches("/v1/").split('/').collect();
        self.method == Method::POST
            && matches!(segments.as_slice(), ["agents", "sessions"] | ["agents", "sessions", _, "events"])
    }
}

/// Records a request that was answered with `status`.
pub(crate) async fn answered(app: &App, caller: &Caller, asked: &Asked, status: StatusCode) {
    let kind = match asked.method {
        Method::GET | Method::HEAD => RequestKind::Read,
        _ => RequestKind::Changed,
    };
    let is_denied = status == StatusCode::FORBIDDEN;
    let wanted = match kind {
        RequestKind::Read => is_denied || (status.is_success() && app.config.record_reads && asked.reads()),
        RequestKind::Changed => is_denied || (status.is_success() && !caller.log.is_settled()),
    };
    if !wanted {
        return;
    }
    let outcome = if is_denied { RequestOutcome::Denied } else { RequestOutcome::Done };
    let entry = entry(app, caller, asked, kind, outcome).await;
    match (kind, outcome) {
        (RequestKind::Changed, RequestOutcome::Done) if !asked.is_use() => {
            if let Err(error) = app.runtime.record(entry).await {
                tracing::error!(error = &error as &dyn std::error::Error, "a change is not in the audit log");
            }
        }
        (RequestKind::Read | RequestKind::Changed, RequestOutcome::Done | RequestOutcome::Denied) => {
            app.runtime.record_soon(entry).await;
        }
    }
}

async fn entry(
    app: &App,
    caller: &Caller,
    asked: &Asked,
    kind: RequestKind,
    outcome: RequestOutcome,
) -> AuditEntry {
    let kept = |value: &Mutex<Option<String>>| value.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let resource = kept(&caller.log.made).unwrap_or_else(|| asked.path.clone());
    let plain = kept(&caller.log.arguments).unwrap_or_else(|| json::digest(&Value::Null));
    let session = asked.session().or_else(|| resource.parse().ok());
    let fact = RequestFact {
        kind,
        action: asked.action.clone(),
        resource,
        arguments: app.runtime.keyed_digest(caller.project, session, &plain).await,
        by: caller.author.principal(),
        outcome,
    };
    let record = RequestRecord { at: app.runtime.now(), project: caller.project, fact };
    AuditEntry { project: record.project, record: record.to_bytes().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_and_done_is_read_and_lists_are_not() {
        let reads =
            |path: &str| Asked { action: String::new(), path: path.to_owned(), method: Method::GET }.reads();
        for path in [
            "/v1/agents/sessions/sess_1/items",
            "/v1/agents/sessions/sess_1/events",
            "/v1/agents/sessions/sess_1/subagents/subagent_1/turns/turn_1/items",
            "/v1/agents/sessions/sess_1/artifacts/artifact_1/content",
            "/v1/tenure/sessions/sess_1/journal",
            "/v1/files/file_1/content",
            "/v1/agents/environments/env_1/files",
        ] {
            assert!(reads(path), "{path}");
        }
        for path in [
            "/v1/agents",
            "/v1/agents/sessions",
            "/v1/agents/sessions/sess_1",
            "/v1/files",
            "/v1/skills/skill_1",
            "/v1/tenure/audit/records",
            "/v1/tenure/keys",
            "/v1/tenure/memory/erasures/erasure_1",
            "/v1/models",
        ] {
            assert!(!reads(path), "{path}");
        }
    }
}
