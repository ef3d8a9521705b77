//! One admitted request, as handlers see it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, OriginalUri, RawPathParams, Request};
use axum::http::{HeaderMap, Method};
use serde_json::Value;
use tenure_journal::{
    Author, ProjectId, RequestFact, RequestKind, RequestOutcome, RequestRecord, Tool, json,
};
use tenure_runtime::{Kept, Runtime, Share};
use tenure_store::{AuditEntry, Store};

use crate::body;
use crate::config::ApiConfig;
use crate::error::{ApiError, Dialect};
use crate::form::Form;
use crate::front::check_scopes;
use crate::idempotency::InFlight;
use crate::keys::{Key, KeyRing, Scope};
use crate::query::Query;
use crate::read::refuse_servers;
use crate::record::RequestLog;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: ApiConfig,
    pub(crate) runtime: Runtime,
    pub(crate) keys: KeyRing,
    pub(crate) in_flight: InFlight,
    /// Tells event streams apart, within this process and, by its start, from those of others.
    streams: AtomicU64,
}

impl App {
    pub(crate) fn new(config: ApiConfig, runtime: Runtime) -> Self {
        let keys = KeyRing::new(Arc::clone(runtime.store()));
        // The clock spreads processes apart; a stream takes one number, so ranges never meet in practice.
        let start = u64::try_from(runtime.now().as_millis()).unwrap_or(0) << 20;
        Self { config, runtime, keys, in_flight: InFlight::default(), streams: AtomicU64::new(start) }
    }

    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }
}

/// Who asks: attached to a request that passed the front.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) project: ProjectId,
    pub(crate) scopes: Vec<Scope>,
    /// Groups that policies know them by, beside those of their scopes.
    pub(crate) groups: Vec<String>,
    pub(crate) author: Author,
    pub(crate) log: Arc<RequestLog>,
}

impl Caller {
    pub(crate) fn of_key(key: Key) -> Self {
        let Key { id, project_id, name, scopes, groups, .. } = key;
        Self { project: project_id, scopes, groups, author: Author::Key { id, name }, log: Arc::default() }
    }
}

/// A request with everything a handler needs; the body is not read yet.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) method: Method,
    /// The path without the alias it may be served under.
    pub(crate) path: String,
    params: Vec<(String, String)>,
    /// A body can be sent between threads but not shared; the mutex is never locked.
    body: Mutex<Body>,
    /// The body's part of the bytes in flight, for as long as the request is being handled.
    _body_share: Option<Share>,
    /// Says that payloads may be kept that are not referred to yet, for as long as the request is being handled.
    _kept: Option<Kept>,
}

impl FromRequest<Arc<App>> for Call {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let params = RawPathParams::from_request_parts(&mut parts, app).await;
        let params =
            params.map_err(|_| ApiError::invalid("The path is not valid UTF-8.").code("bad_path"))?;
        let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let caller = parts.extensions.remove::<Caller>().ok_or_else(crate::front::unauthorized)?;
        let query = parts.extensions.remove::<Query>().unwrap_or_default();
        // Inside a nest the request's own URI has lost the nest's prefix.
        let whole = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(whole)| whole);
        let path = whole.path();
        let path = path.strip_prefix("/openai").unwrap_or(path).to_owned();
        // What reads keeps nothing.
        let kept = (!parts.method.is_safe()).then(|| app.runtime.keeps());
        Ok(Self {
            app: Arc::clone(app),
            caller,
            query,
            headers: parts.headers,
            method: parts.method,
            path,
            params,
            body: Mutex::new(body),
            _body_share: None,
            _kept: kept,
        })
    }
}

impl Call {
    pub(crate) fn project(&self) -> ProjectId {
        self.caller.project
    }

    /// Who asks, as it is recorded with a change that is written with a record of it.
    pub(crate) fn author(&self) -> Author {
        self.caller.log.settle();
        self.caller.author.clone()
    }

    /// The runtime, for who asks: what it changes is written with records of it.
    pub(crate) fn acting(&self) -> Runtime {
        self.caller.log.settle();
        self.app.runtime.acting(&self.principal())
    }

    /// Who asks, as one word: an id.
    pub(crate) fn principal(&self) -> String {
        self.caller.author.principal()
    }

    /// The record of a change that the caller makes, to be written with it.
    pub(crate) fn changed(&self, action: &str, resource: &str, arguments: &Value) -> Vec<AuditEntry> {
        self.caller.log.settle();
        vec![self.record(RequestKind::Changed, action, resource, arguments)]
    }

    fn record(&self, kind: RequestKind, action: &str, resource: &str, arguments: &Value) -> AuditEntry {
        let fact = RequestFact {
            kind,
            action: action.to_owned(),
            resource: resource.to_owned(),
            arguments: json::digest(arguments),
            by: self.principal(),
            outcome: RequestOutcome::Done,
        };
        let record = RequestRecord { at: self.app.runtime.now(), project: self.project(), fact };
        AuditEntry { project: record.project, record: record.to_bytes().into() }
    }

    /// Refuses a caller that has not the scope, beyond what its path needs.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), ApiError> {
        check_scopes(&self.caller.scopes, &[scope])
    }

    /// Refuses what would begin something new in a project that is frozen.
    pub(crate) async fn refuse_frozen(&self) -> Result<(), ApiError> {
        if self.app.runtime.is_project_frozen(self.project()).await? {
            let message = "The project is frozen: nothing new begins until it is unfrozen.";
            return Err(ApiError::conflict(message).code("project_frozen"));
        }
        Ok(())
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.app.runtime.store()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::of(&self.path)
    }

    /// The id in the path; one that is not an id of that kind is as unknown as one that does not exist.
    pub(crate) fn id<Id: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Id, ApiError> {
        let text = self.params.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        text.and_then(|text| text.parse().ok()).ok_or_else(|| ApiError::not_found(what))
    }

    /// Refuses tools that name servers where this server does not go.
    pub(crate) fn check_servers(&self, tools: &[Tool], path: &str) -> Result<(), ApiError> {
        refuse_servers(tools, self.app.config.tool_addresses, path)
    }

    /// The body as a form of up to so many bytes; it can be read once. `hint` says what to do about a larger one.
    pub(crate) fn form(&mut self, bytes_max: u64, hint: &'static str) -> Result<Form, ApiError> {
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        Form::new(&self.headers, body, body::PACE_WINDOW, bytes_max, hint)
    }

    /// The project's share of the bytes in flight, for what a handler keeps of a form.
    pub(crate) fn body_share(&self) -> Share {
        self.app.runtime.body_share(self.project())
    }

    /// Reads the body; it can be read once.
    pub(crate) async fn read_body(&mut self) -> Result<Value, ApiError> {
        self.read_body_of(body::BODY_BYTES_MAX).await
    }

    /// Reads a body of up to so many bytes; it can be read once.
    pub(crate) async fn read_body_of(&mut self, bytes_max: usize) -> Result<Value, ApiError> {
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut share = self.app.runtime.body_share(self.project());
        let mut take = |bytes| share.grow(bytes).map_err(|full| ApiError::from(full).closing());
        let read = body::read_json(&self.headers, body, body::PACE_WINDOW, bytes_max, &mut take).await;
        self._body_share = Some(share);
        if let Ok(body) = &read {
            self.caller.log.body(body);
        }
        read
    }
}
