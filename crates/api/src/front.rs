//! The front of the server: what every request passes before a handler sees it, and every answer after.
//!
//! Cheap checks of form come first, then who asks, then what the path needs. Bodies are read by handlers,
//! after all of this.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tenure_identity::looks_like_token;
use tenure_journal::RequestId;

use crate::call::{App, Caller};
use crate::connect;
use crate::error::{ApiError, Dialect};
use crate::hosts;
use crate::keys::{Key, KeyError, Scope};
use crate::query::Query;
use crate::record::{self, Asked};
use crate::scope::{self, covered};
use crate::verbs;
use crate::wire::Refused;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const BETA: HeaderName = HeaderName::from_static("openai-beta");
/// The value of the beta header that the Agents API needs.
const BETA_VALUE: &str = "agents=v1";
/// Where metrics are read.
pub(crate) const METRICS_PATH: &str = "/metrics";
/// Methods that some path of this server knows.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
/// Characters of a key: longer ones are none of ours and not worth hashing.
const KEY_CHARS_MAX: usize = 512;

/// Admits a request, runs it, and gives the answer its form and its id.
pub(crate) async fn front(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId::fresh(&app.runtime.fresh()).to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let dialect = Dialect::of(&path);
    let template =
        request.extensions().get::<MatchedPath>().map(|path| without_alias(path.as_str()).to_owned());
    let (caller, response) = match admit(&app, &mut request).await {
        Ok(caller) => (caller, next.run(request).await),
        Err((caller, error)) => (caller, error.into_response()),
    };
    if let Some(caller) = caller {
        let asked_path = without_alias(&path).to_owned();
        let action =
            format!("{method} {}", template.as_deref().unwrap_or(&asked_path).trim_start_matches("/v1"));
        let asked = Asked { action, path: asked_path, method: method.clone() };
        record::answered(&app, &caller, &asked, response.status()).await;
    }
    let response = dress(response, dialect, &id);
    app.runtime.metrics().answered(class(response.status()));
    tracing::info!(
        request_id = %id,
        %method,
        path = %path.chars().take(256).collect::<String>(),
        status = response.status().as_u16(),
        ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

fn dress(mut response: Response, dialect: Dialect, id: &str) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = error.render(dialect, id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The path without the alias it may be served under.
fn without_alias(path: &str) -> &str {
    path.strip_prefix("/openai").unwrap_or(path)
}

/// Admits a request. Who asks is known with the refusal, if it came after that.
async fn admit(app: &Arc<App>, request: &mut Request) -> Result<Option<Caller>, (Option<Caller>, ApiError)> {
    match form(app, request) {
        Ok(query) => admit_formed(app, request, query).await,
        Err(error) => Err((None, error)),
    }
}

/// The cheap checks of form.
fn form(app: &App, request: &Request) -> Result<Query, ApiError> {
    if let Some(refused) = request.extensions().get::<Refused>() {
        return Err(refused.to_error());
    }
    hosts::check_host(&app.config, request.uri(), request.headers())?;
    hosts::check_origin(&app.config, request.headers())?;
    check_precondition(request.headers())?;
    check_method(request.method())?;
    check_path(request.uri().path())?;
    Query::parse(request.uri().query().unwrap_or_default())
}

async fn admit_formed(
    app: &Arc<App>,
    request: &mut Request,
    query: Query,
) -> Result<Option<Caller>, (Option<Caller>, ApiError)> {
    let nobody = |error| (None, error);
    let path = without_alias(request.uri().path());
    if path == METRICS_PATH && !app.config.open_metrics {
        let caller = admit_caller(app, request.headers()).await.map_err(nobody)?;
        return match check_scopes(&caller.scopes, &[Scope::Admin]) {
            Ok(()) => Ok(None),
            Err(error) => Err((Some(caller), error)),
        };
    }
    // Executors are admitted by what they call.
    if !path.starts_with("/v1/") || path.starts_with(connect::PATH) {
        return Ok(None);
    }
    let caller = admit_caller(app, request.headers()).await.map_err(nobody)?;
    if needs_beta(path) {
        check_beta(request.headers()).map_err(nobody)?;
    }
    if let Err(error) = check_scopes(&caller.scopes, scope::needed(request.method(), path)) {
        return Err((Some(caller), error));
    }
    if let Err(error) = verbs::check_path(app, &caller, request.method(), path).await {
        return Err((Some(caller), error));
    }
    request.extensions_mut().insert(caller.clone());
    request.extensions_mut().insert(query);
    Ok(Some(caller))
}

fn check_method(method: &Method) -> Result<(), ApiError> {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    if known.contains(method) { Ok(()) } else { Err(ApiError::method_not_allowed(METHODS)) }
}

/// A condition on a version (RFC 9110, section 13.1.1). Nothing here has an entity tag, so that none ever matches;
/// a client that asks for one must not find its request carried out.
fn check_precondition(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get_all(header::IF_MATCH).iter().all(|value| value == "*") {
        return Ok(());
    }
    let message = "Nothing of this server has an entity tag, so 'If-Match' is never met; leave it out.";
    Err(ApiError::new(StatusCode::PRECONDITION_FAILED, message).code("precondition_failed"))
}

/// A path is taken as it is sent. Escapes are valid only where they could never be needed: no route of this
/// server contains a character that has to be escaped.
fn check_path(path: &str) -> Result<(), ApiError> {
    let bad = |why: &str| Err(ApiError::invalid(format!("The path {why}.")).code("bad_path"));
    if !path.contains('%') {
        return Ok(());
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let Some((digits, tail)) = rest.split_at_checked(2) else { return bad("has an unfinished escape") };
        let Some(byte) = crate::query::hex(digits) else { return bad("has an invalid escape") };
        decoded.push(byte);
        rest = tail;
    }
    if decoded.contains(&0) {
        return bad("contains a NUL");
    }
    if std::str::from_utf8(&decoded).is_err() {
        return bad("is not valid UTF-8");
    }
    Err(ApiError::no_route())
}

/// 401, the same for a missing, malformed, unknown, revoked and expired key.
pub(crate) fn unauthorized() -> ApiError {
    let message = "A valid API key is required: send it as 'Authorization: Bearer <key>'.";
    ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key")
}

/// Who asks: whoever has a key, or a person whose token the provider signed.
async fn admit_caller(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let text = bearer(headers)?;
    // A preset key may be any text; what no provider is configured for is a key or nothing.
    match &app.config.people {
        Some(people) if looks_like_token(text) => {
            people.admit(app.runtime.store(), app.runtime.now(), text).await
        }
        Some(_) | None => key_of(app, text).await.map(Caller::of_key),
    }
}

/// The key that a request comes with.
pub(crate) async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Key, ApiError> {
    key_of(app, bearer(headers)?).await
}

async fn key_of(app: &App, text: &str) -> Result<Key, ApiError> {
    if text.len() > KEY_CHARS_MAX {
        return Err(unauthorized());
    }
    let key = app.keys.verify(app.runtime.now(), text).await?;
    key.ok_or_else(unauthorized)
}

/// The one credential of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut found = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (found.next(), found.next()) {
        (None, _) => return Err(unauthorized()),
        (Some(_), Some(_)) => {
            let message = "The request has more than one Authorization header.";
            return Err(ApiError::invalid(message).code("ambiguous_credentials"));
        }
        (Some(value), None) => value.to_str().map_err(|_| unauthorized())?,
    };
    let (scheme, text) = value.split_once(' ').ok_or_else(unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") || text.is_empty() {
        return Err(unauthorized());
    }
    Ok(text)
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Damaged(error) => crate::error::undecodable("stored key", &error),
            KeyError::Random => {
                tracing::error!("the system gives no random bytes");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The server could not make a key.")
            }
        }
    }
}

fn needs_beta(path: &str) -> bool {
    ["/v1/agents", "/v1/vaults"]
        .iter()
        .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn check_beta(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut values = headers.get_all(BETA).iter().filter_map(|value| value.to_str().ok());
    if values.any(|value| value.split(',').any(|feature| feature.trim() == BETA_VALUE)) {
        return Ok(());
    }
    let message = "The Agents API is in beta: send the header 'OpenAI-Beta: agents=v1'.";
    Err(ApiError::invalid(message).code("invalid_beta"))
}

/// Refuses a caller that has none of the scopes.
pub(crate) fn check_scopes(scopes: &[Scope], any_of: &[Scope]) -> Result<(), ApiError> {
    if covered(scopes, any_of) {
        return Ok(());
    }
    let named: Vec<String> = any_of.iter().map(|scope| format!("'{}'", scope.as_str())).collect();
    let message = format!("Who asks does not have the scope {}, which this needs.", named.join(" or "));
    Err(ApiError::new(StatusCode::FORBIDDEN, message).code("insufficient_scope"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_never_decoded_into_a_match() {
        let code = |path: &str| check_path(path).err().map(|error| error.stable_code());
        assert_eq!(code("/v1/agents"), None);
        assert_eq!(code("/v1/agents/sessions/%2e%2e%2fadmin"), Some("not_found"));
        for path in ["/v1/%00", "/v1/%ff", "/v1/%zz", "/v1/%2", "/v1/%"] {
            assert_eq!(code(path), Some("bad_path"), "{path}");
        }
    }

    #[test]
    fn the_agents_api_is_in_beta() {
        for (path, needed) in [
            ("/v1/agents", true),
            ("/v1/agents/sessions", true),
            ("/v1/vaults/x", true),
            ("/v1/agentsx", false),
            ("/v1/models", false),
            ("/v1/tenure/keys", false),
        ] {
            assert_eq!(needs_beta(path), needed, "{path}");
        }
        let beta = |value: &'static str| {
            check_beta(&HeaderMap::from_iter([(BETA, HeaderValue::from_static(value))])).is_ok()
        };
        assert!(beta("agents=v1") && beta("assistants=v2, agents=v1"));
        assert!(!beta("agents=v2") && !beta("agents=v11"));
    }
}
