//! Request bodies: their declared form, their size, and the speed at which they come.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};
use tenure_journal::json;
use tokio::time::Instant;

use crate::error::ApiError;

/// Bytes of one body: the documented maximum of the Agents API.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a body that carries a file inline: 5 MiB in base64, and what is around it.
pub(crate) const FILE_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes a second that a body must come with, measured over [`PACE_WINDOW`].
const PACE_BYTES_PER_SEC: u64 = 1024;
/// How long a body may be slower than that.
pub(crate) const PACE_WINDOW: Duration = Duration::from_secs(30);
/// How long a body may take altogether.
const BODY_TIME_MAX: Duration = Duration::from_secs(300);

/// Reads a body as one JSON object; an absent one counts as an empty object. `take` is asked for bytes before
/// they are read, and may refuse.
pub(crate) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    window: Duration,
    bytes_max: usize,
    take: &mut (dyn FnMut(u64) -> Result<(), ApiError> + Send),
) -> Result<Value, ApiError> {
    let declared = declared_length(headers);
    if declared.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    check_encoding(headers)?;
    if declared != Some(0) {
        check_type(headers, declared)?;
    }
    // What is declared is taken at once, so that bodies that come slowly do not find themselves one too many
    // halfway.
    let taken = declared.unwrap_or(0);
    take(taken)?;
    let bytes = collect(body, window, bytes_max, taken, take).await?;
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    json::parse(&bytes).map_err(|error| {
        let refusal = ApiError::invalid(format!("We could not read the request body: {error}."))
            .code(error.kind().code());
        if error.path().is_empty() { refusal } else { refusal.param(error.path()) }
    })
}

pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(bytes_max: usize) -> ApiError {
    let message = format!("The request body is larger than {bytes_max} bytes.");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).code("body_too_large").closing()
}

fn unsupported(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).code(code)
}

pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(unsupported("encoding", "Compressed request bodies are not supported; send the body as it is."))
}

/// A body must say that it is JSON in UTF-8. A request that declares no body need not say anything.
fn check_type(headers: &HeaderMap, declared: Option<u64>) -> Result<(), ApiError> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let wrong = || Err(unsupported("content_type", "Send the body with 'Content-Type: application/json'."));
    let content_type = match (types.next(), types.next()) {
        (None, _) if declared.is_none() && !headers.contains_key(header::TRANSFER_ENCODING) => return Ok(()),
        (Some(content_type), None) => content_type.to_str().unwrap_or_default(),
        (_, _) => return wrong(),
    };
    let mut parameters = content_type.split(';').map(str::trim);
    if !parameters.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return wrong();
    }
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim_matches('"');
        if name.eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(unsupported("charset", "JSON is sent in UTF-8; leave the charset out."));
        }
    }
    Ok(())
}

async fn collect(
    body: Body,
    window: Duration,
    bytes_max: usize,
    mut taken: u64,
    take: &mut (dyn FnMut(u64) -> Result<(), ApiError> + Send),
) -> Result<Bytes, ApiError> {
    let mut body = Paced::new(body, window, BODY_TIME_MAX);
    let mut collected = BytesMut::new();
    while let Some(data) = body.next().await? {
        let total = collected.len() + data.len();
        if total > bytes_max {
            return Err(too_large(bytes_max));
        }
        if total as u64 > taken {
            take(total as u64 - taken)?;
            taken = total as u64;
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// A body that is given up when it comes too slowly.
pub(crate) struct Paced {
    body: Body,
    window: Duration,
    deadline: Instant,
    ends: Instant,
    in_window: u64,
}

impl Paced {
    /// A body that may take `whole` altogether, and comes with the pace of this server in each `window`.
    pub(crate) fn new(body: Body, window: Duration, whole: Duration) -> Self {
        let now = Instant::now();
        Self { body, window, deadline: now + whole, ends: now + window, in_window: 0 }
    }

    /// The next bytes; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let next = tokio::time::timeout_at(self.ends.min(self.deadline), self.body.frame()).await;
            let data = match next {
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    let message = "The request body was cut off or is not framed as declared.";
                    return Err(ApiError::invalid(message).code("body_framing").closing());
                }
                Ok(Some(Ok(frame))) => frame.into_data().ok(),
                Err(_) => None,
            };
            self.in_window += data.as_ref().map_or(0, |data| data.len() as u64);
            let now = Instant::now();
            let pace = PACE_BYTES_PER_SEC * self.window.as_secs().max(1);
            if now >= self.deadline || (now >= self.ends && self.in_window < pace) {
                let message = "The request body came too slowly.";
                return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
                    .code("body_timeout")
                    .closing());
            }
            if now >= self.ends {
                (self.ends, self.in_window) = (now + self.window, 0);
            }
            if data.is_some() {
                return Ok(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<axum::http::HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        pairs.iter().map(pair).fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    #[tokio::test]
    async fn only_json_in_utf_8_is_read() {
        let json = ("content-type", "application/json");
        for (found, code) in [
            (vec![json], ""),
            (vec![("content-type", "Application/JSON; charset=UTF-8")], ""),
            (vec![], "content_type"),
            (vec![("content-type", "text/plain")], "content_type"),
            (vec![json, json], "content_type"),
            (vec![("content-type", "application/json; charset=utf-16")], "charset"),
            (vec![json, ("content-encoding", "gzip")], "encoding"),
            (vec![json, ("content-encoding", "identity")], ""),
        ] {
            let mut all = headers(&found);
            all.insert("content-length", "2".parse().expect("a value"));
            let outcome =
                read_json(&all, Body::from("{}"), PACE_WINDOW, BODY_BYTES_MAX, &mut |_| Ok(())).await;
            assert_eq!(outcome.as_ref().err().map_or("", ApiError::stable_code), code, "{found:?}");
        }
    }

    #[tokio::test]
    async fn an_absent_body_is_an_empty_object() {
        for pairs in [vec![], vec![("content-length", "0"), ("content-type", "application/json")]] {
            let value =
                read_json(&headers(&pairs), Body::empty(), PACE_WINDOW, BODY_BYTES_MAX, &mut |_| Ok(()))
                    .await
                    .expect("read");
            assert_eq!(value, serde_json::json!({}));
        }
    }

    #[tokio::test]
    async fn a_large_body_is_refused_when_declared_and_when_not() {
        let declared = headers(&[("content-length", "10737418240"), ("content-type", "application/json")]);
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let error = read_json(&declared, never, PACE_WINDOW, BODY_BYTES_MAX, &mut |_| Ok(()))
            .await
            .expect_err("too large");
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let chunked = headers(&[("transfer-encoding", "chunked"), ("content-type", "application/json")]);
        let large = Body::from(vec![b' '; BODY_BYTES_MAX + 1]);
        let error = read_json(&chunked, large, PACE_WINDOW, BODY_BYTES_MAX, &mut |_| Ok(()))
            .await
            .expect_err("too large");
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        let drip = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let headers = headers(&[("transfer-encoding", "chunked"), ("content-type", "application/json")]);
        let began = Instant::now();
        let error =
            read_json(&headers, Body::from_stream(drip), PACE_WINDOW, BODY_BYTES_MAX, &mut |_| Ok(()))
                .await
                .expect_err("too slow");
        assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
        assert!(began.elapsed() < Duration::from_secs(32), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn mistakes_of_the_json_itself_have_codes() {
        let json = headers(&[("content-type", "application/json")]);
        for (text, code) in [
            (r#"{"a":1,"a":2}"#, "duplicate_key"),
            (r#"{"a":9223372036854775808}"#, "range"),
            (r#"{"a":1e400}"#, "number"),
            (r#"{"a":"\ud800"}"#, "encoding"),
            (r#"{"a":"\u0000"}"#, "nul"),
            (r#"{"a":1} x"#, "json"),
            (&format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100)), "depth"),
        ] {
            let error =
                read_json(&json, Body::from(text.to_owned()), PACE_WINDOW, BODY_BYTES_MAX, &mut |_| Ok(()))
                    .await
                    .expect_err("refused");
            assert_eq!(error.stable_code(), code, "{text}");
        }
    }
}
