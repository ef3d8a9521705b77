//! The HTTP API as a client of it: requests, pages and event streams.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tenure_model::sse::Decoder;
use tenure_project::Redacted;

use super::error::{CliError, Exit, SESSIONS_KEPT};
use super::target::Target;

/// Time to connect; a server of ours accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for an answer that is not a stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence after which a stream counts as broken: four heartbeats.
const STREAM_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Things on one page: the most the API gives.
const PAGE_LIMIT: &str = "100";
/// Things that one listing walks through.
pub(crate) const LISTED_MAX: usize = 10_000;
/// Tries of one request whose connection failed, and the time before the second; it doubles.
const ATTEMPTS_MAX: u32 = 3;
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// A connection to one server.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<Redacted>,
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self, CliError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| CliError::failed("tls", "cannot set up connections").cause(chain(&error)))?;
        Ok(Self { http, base: target.base, key: target.key })
    }

    /// The server's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, CliError> {
        read_json(self.send(Method::GET, path, query, None, Some(ANSWER_TIMEOUT)).await?).await
    }

    /// Posts with a fresh idempotency key, so that a repetition after a broken connection acts once.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        read_json(self.send(Method::POST, path, &[], Some(body), Some(ANSWER_TIMEOUT)).await?).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        read_json(self.send(Method::PUT, path, &[], Some(body), Some(ANSWER_TIMEOUT)).await?).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, CliError> {
        read_json(self.send(Method::DELETE, path, &[], None, Some(ANSWER_TIMEOUT)).await?).await
    }

    /// Opens the event stream of a session. It is open when this returns.
    pub(crate) async fn events(&self, session: &str) -> Result<Events, CliError> {
        let path = format!("/v1/agents/sessions/{session}/events");
        Ok(Events::new(self.send(Method::GET, &path, &[("include_obfuscation", "false")], None, None).await?))
    }

    /// Posts and reads the answer as an event stream.
    pub(crate) async fn post_events(&self, path: &str, body: &Value) -> Result<Events, CliError> {
        Ok(Events::new(self.send(Method::POST, path, &[], Some(body), None).await?))
    }

    /// Writes what is at a path into a file, which is made or replaced.
    pub(crate) async fn save(&self, path: &str, file: &std::path::Path) -> Result<(), CliError> {
        use std::io::Write as _;
        let mut response = self.send(Method::GET, path, &[], None, None).await?;
        let failed = |error: std::io::Error| {
            CliError::failed("write", format!("`{}` cannot be written", file.display()))
                .cause(error.to_string())
        };
        let mut written = std::fs::File::create(file).map_err(failed)?;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            written.write_all(&chunk).map_err(failed)?;
        }
        Ok(())
    }

    /// All things of a list, page by page, at most [`LISTED_MAX`].
    pub(crate) async fn list(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, CliError> {
        let mut found: Vec<Value> = Vec::new();
        loop {
            let after = found.last().map(|last| super::output::text(last, "/id").to_owned());
            let mut query = query.to_vec();
            query.push(("limit", PAGE_LIMIT));
            if let Some(after) = &after {
                query.push(("after", after));
            }
            let mut page = self.get(path, &query).await?;
            let more = page.get("has_more").and_then(Value::as_bool).unwrap_or(false);
            let Some(Value::Array(data)) = page.get_mut("data").map(Value::take) else {
                return Err(unexpected("a list without `data`"));
            };
            let empty = data.is_empty();
            found.extend(data);
            if !more || empty || found.len() >= LISTED_MAX {
                found.truncate(LISTED_MAX);
                return Ok(found);
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        timeout: Option<Duration>,
    ) -> Result<Response, CliError> {
        let mut url = url::Url::parse(&self.base).map_err(|error| unexpected(&error.to_string()))?;
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let idempotency = body.map(|_| fresh_key()).transpose()?;
        let mut delay = RETRY_DELAY;
        let mut attempt = 1;
        loop {
            let mut request =
                self.http.request(method.clone(), url.clone()).header("OpenAI-Beta", "agents=v1");
            if let Some(key) = &self.key {
                request = request.bearer_auth(key.expose());
            }
            if let (Some(body), Some(idempotency)) = (body, &idempotency) {
                request = request.json(body).header("Idempotency-Key", idempotency);
            }
            if let Some(timeout) = timeout {
                request = request.timeout(timeout);
            }
            match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let error = refusal(response).await;
                    let is_slip =
                        self.key.as_ref().is_some_and(|key| tenure_api::keys::is_mistyped(key.expose()));
                    let hint = "the key's checksum is wrong: it was mistyped or cut when it was copied";
                    return Err(if is_slip { error.fix(hint) } else { error });
                }
                // A connection that was refused stays refused; one that broke may be a restart.
                Err(error) if attempt < ATTEMPTS_MAX && !error.is_connect() && !error.is_timeout() => {
                    tokio::time::sleep(delay).await;
                    delay *= 2;
                    attempt += 1;
                }
                Err(error) => return Err(self.unreachable(&error)),
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        CliError::new(Exit::Unreachable, "unreachable", format!("no server answers at `{}`", self.base))
            .cause(chain(error))
            .fix("run `tenure up` in the project directory, or name another server with `--url`")
            .kept(SESSIONS_KEPT)
    }
}

/// The innermost reason: the outer ones repeat the address.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn fresh_key() -> Result<String, CliError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        CliError::failed("random", "the system gives no random bytes").cause(error.to_string())
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn unexpected(what: &str) -> CliError {
    CliError::failed("protocol", "the server's answer was not understood")
        .cause(what.to_owned())
        .fix("check that the address is a Tenure server of this version: `tenure doctor`")
}

/// What the API's refusal means to a person.
async fn refusal(response: Response) -> CliError {
    let status = response.status();
    let request = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = read_bytes(response).await.unwrap_or_default();
    refused(status, request.as_deref(), &serde_json::from_slice(&body).unwrap_or_default())
}

/// The two forms of an error: `{"error": {...}}` of the Agents API, and the members of
/// `application/problem+json` (RFC 9457) of Tenure's own paths.
fn refused(status: StatusCode, request: Option<&str>, body: &Value) -> CliError {
    let first = |pointers: &[&str]| {
        let found = pointers.iter().map(|pointer| super::output::text(body, pointer));
        found.into_iter().find(|text| !text.is_empty()).map(str::to_owned)
    };
    let message = first(&["/error/message", "/detail", "/title"])
        .unwrap_or_else(|| format!("the server answered {}", status.as_u16()));
    let code = first(&["/error/code", "/error/type", "/code"]);
    let request = request.map(str::to_owned).or_else(|| first(&["/request_id"]));
    let mut error = CliError::new(exit_of(status), code.as_deref().unwrap_or("http"), message);
    if let Some(id) = request {
        error = error.cause(format!("status {}, request {id}", status.as_u16()));
    }
    if let Some(hint) = first(&["/hint"]) {
        error = error.fix(hint);
    } else if error.exit == Exit::Unauthorized {
        error = error
            .fix("set TENURE_API_KEY, or run this in the directory of the project that `tenure up` serves");
    }
    error
}

fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 => Exit::Unauthorized,
        404 => Exit::NotFound,
        _ => Exit::Failed,
    }
}

async fn read_bytes(mut response: Response) -> Result<Vec<u8>, CliError> {
    let broken = |error: reqwest::Error| {
        CliError::new(Exit::Unreachable, "broken", "the server's answer broke off")
            .cause(chain(&error))
            .kept(SESSIONS_KEPT)
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(unexpected("an answer that is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn read_json(response: Response) -> Result<Value, CliError> {
    let bytes = read_bytes(response).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| unexpected(&error.to_string()))
}

/// An open event stream.
pub(crate) struct Events {
    response: Response,
    decoder: Decoder,
    ready: std::collections::VecDeque<tenure_model::sse::Event>,
}

impl Events {
    fn new(response: Response) -> Self {
        Self { response, decoder: Decoder::new(), ready: std::collections::VecDeque::new() }
    }

    /// The next event, or `None` at the end of the stream. Safe to cancel: nothing read is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, CliError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return serde_json::from_str(&event.data)
                    .map(Some)
                    .map_err(|error| unexpected(&error.to_string()));
            }
            let broken = |cause: String| {
                CliError::new(Exit::Unreachable, "stream_broken", "the event stream broke off")
                    .cause(cause)
                    .kept(SESSIONS_KEPT)
            };
            let chunk = tokio::time::timeout(STREAM_SILENCE_MAX, self.response.chunk())
                .await
                .map_err(|_| broken("the server fell silent".to_owned()))?
                .map_err(|error| broken(chain(&error)))?;
            let Some(chunk) = chunk else { return Ok(None) };
            let mut events = Vec::new();
            self.decoder.feed(&chunk, &mut events).map_err(|error| unexpected(&error.to_string()))?;
            self.ready.extend(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_both_forms_of_an_error() {
        let table = [
            (401, json!({"error": {"message": "no", "type": "t", "code": null}}), "t", "no", true),
            (404, json!({"error": {"message": "no", "type": "t", "code": "c"}}), "c", "no", false),
            (400, json!({"title": "Bad", "code": "c", "detail": "no", "request_id": "r"}), "c", "no", false),
            (403, json!({"title": "Bad", "code": "c", "hint": "ask"}), "c", "Bad", true),
            (502, json!(null), "http", "the server answered 502", false),
        ];
        for (status, body, code, message, fix) in table {
            let error = refused(StatusCode::from_u16(status).expect("a status"), None, &body);
            let seen = (error.code.as_str(), error.message.as_str(), error.fix.is_some());
            assert_eq!(seen, (code, message, fix), "{body}");
            assert_eq!(error.cause.is_some(), body.get("request_id").is_some(), "{body}");
        }
    }
}
