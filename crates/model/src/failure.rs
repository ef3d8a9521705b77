//! What went wrong upstream, in the session's words: kinds it can act on, messages safe for customers.
//!
//! A provider's own message is never passed on: it may quote keys, paths, account names or the prompt.
//! It is read in exactly one place, to recognise a context that is too long on servers that have no code
//! for it.

use jiff::fmt::rfc2822;
use serde_json::Value;
use tenure_journal::{Failure, FailureKind, Timestamp};

/// The longest wait a provider may ask for, in milliseconds: an hour. Whoever asks for more is asked again.
pub const RETRY_AFTER_MS_MAX: u64 = 60 * 60 * 1000;

/// A response whose status is not a success.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header: seconds or an HTTP date.
    pub retry_after: Option<&'a str>,
    /// The `retry-after-ms` header.
    pub retry_after_ms: Option<&'a str>,
    /// The body, possibly cut.
    pub body: &'a [u8],
}

impl Refused<'_> {
    /// The failure this response means, when it arrives at `now`.
    #[must_use]
    pub fn to_failure(&self, now: Timestamp) -> Failure {
        let error = ErrorBody::of_bytes(self.body);
        let kind = kind_of_status(self.status, &error);
        let mut failure = of_kind(kind);
        if kind.is_transient() {
            failure.retry_after_ms = self.wait_ms(now);
        }
        failure
    }

    fn wait_ms(&self, now: Timestamp) -> Option<u64> {
        let millis = |text: &str| text.trim().parse::<f64>().ok().filter(|millis| millis.is_finite());
        let asked = match self.retry_after_ms.and_then(millis) {
            Some(asked) => asked,
            None => {
                let text = self.retry_after?.trim();
                match text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
                    Some(seconds) => seconds * 1000.0,
                    None => return until_date(text, now).map(|wait| wait.min(RETRY_AFTER_MS_MAX)),
                }
            }
        };
        // A cast saturates: negative waits are none, absurd ones the longest.
        Some((asked.ceil() as u64).min(RETRY_AFTER_MS_MAX))
    }
}

fn until_date(text: &str, now: Timestamp) -> Option<u64> {
    let then = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(now.millis_until(Timestamp::from_millis(then.as_millisecond())))
}

/// What an error says about itself, in OpenAI's shape, Anthropic's or Amazon's.
#[derive(Debug, Default)]
pub(crate) struct ErrorBody {
    code: String,
    kind: String,
    status: Option<u16>,
    says_too_long: bool,
}

impl ErrorBody {
    fn of_bytes(body: &[u8]) -> Self {
        serde_json::from_slice::<Value>(body).map(|value| Self::of_value(&value)).unwrap_or_default()
    }

    /// Reads `{"error": {...}}`, or the error object itself.
    pub(crate) fn of_value(value: &Value) -> Self {
        let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = error.get("code");
        let says_too_long = [
            "maximum context length",
            "context window",
            "exceeds the available context",
            "prompt is too long",
            "Input is too long",
            "input is too long",
        ]
        .iter()
        .any(|phrase| text("message").contains(phrase));
        Self {
            code: text("code"),
            kind: text("type"),
            status: code.and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
            says_too_long,
        }
    }

    /// The failure an error inside an answer means: there is no status but what the error says.
    pub(crate) fn to_failure(&self) -> Failure {
        let kind = match (self.kind_by_name(), self.status) {
            (Some(kind), _) => kind,
            (None, Some(status @ 400..=599)) => kind_of_status(status, self),
            (None, _) if self.says_too_long => FailureKind::ContextTooLong,
            (None, _) if self.kind == "validationException" => FailureKind::InvalidRequest,
            (None, _) => FailureKind::ServerError,
        };
        of_kind(kind)
    }

    /// An exception of Amazon's, whose name is beside its body.
    pub(crate) fn named(name: &str, value: &Value) -> Self {
        Self { kind: name.to_owned(), ..Self::of_value(value) }
    }

    fn kind_by_name(&self) -> Option<FailureKind> {
        [&self.code, &self.kind].into_iter().find_map(|name| kind_of_name(name))
    }
}

fn kind_of_name(name: &str) -> Option<FailureKind> {
    Some(match name {
        "context_length_exceeded" | "exceed_context_size_error" | "string_above_max_length" => {
            FailureKind::ContextTooLong
        }
        "insufficient_quota"
        | "billing_not_active"
        | "billing_hard_limit_reached"
        | "billing_error"
        | "credit_balance_exhausted" => FailureKind::CreditExhausted,
        "rate_limit_exceeded" | "rate_limit_error" | "requests" | "tokens" => FailureKind::RateLimited,
        "throttlingException" => FailureKind::RateLimited,
        "server_overloaded"
        | "server_is_overloaded"
        | "overloaded_error"
        | "slow_down"
        | "serviceUnavailableException" => FailureKind::Overloaded,
        "server_error"
        | "internal_error"
        | "vector_store_timeout"
        | "api_error"
        | "internalServerException"
        | "modelStreamErrorException" => FailureKind::ServerError,
        "timeout_error" | "modelTimeoutException" => FailureKind::Timeout,
        "request_too_large" => FailureKind::ContextTooLong,
        "invalid_api_key" | "authentication_error" | "permission_error" => FailureKind::Authentication,
        "model_not_found" | "not_found_error" => FailureKind::NotFound,
        "content_filter"
        | "content_policy_violation"
        | "image_content_policy_violation"
        | "bio_policy"
        | "cyber_policy"
        | "misalignment_policy_violation" => FailureKind::ContentPolicy,
        "invalid_prompt"
        | "invalid_request_error"
        | "data_residency_mismatch"
        | "invalid_image"
        | "invalid_image_format"
        | "invalid_base64_image"
        | "invalid_image_url"
        | "invalid_image_mode"
        | "image_too_large"
        | "image_too_small"
        | "image_parse_error"
        | "image_file_too_large"
        | "unsupported_image_media_type"
        | "empty_image_file"
        | "failed_to_download_image"
        | "image_file_not_found" => FailureKind::InvalidRequest,
        _ => return None,
    })
}

fn kind_of_status(status: u16, error: &ErrorBody) -> FailureKind {
    let named = error.kind_by_name();
    match status {
        401 | 403 => FailureKind::Authentication,
        402 => FailureKind::CreditExhausted,
        404 => FailureKind::NotFound,
        408 => FailureKind::Timeout,
        // Bedrock: the model itself failed.
        424 => FailureKind::ServerError,
        // A body over the server's limit shrinks with the context.
        413 => FailureKind::ContextTooLong,
        429 if named == Some(FailureKind::CreditExhausted) => FailureKind::CreditExhausted,
        429 => FailureKind::RateLimited,
        400..=499 => match named {
            Some(kind @ (FailureKind::ContextTooLong | FailureKind::ContentPolicy)) => kind,
            _ if error.says_too_long => FailureKind::ContextTooLong,
            _ => FailureKind::InvalidRequest,
        },
        503 | 529 => FailureKind::Overloaded,
        500.. => FailureKind::ServerError,
        // Neither success nor error: a redirect, which is never followed.
        _ => FailureKind::Protocol,
    }
}

/// A failure of `kind` with the message customers may read.
pub(crate) fn of_kind(kind: FailureKind) -> Failure {
    let message = match kind {
        FailureKind::Authentication => "the model provider refused the credentials",
        FailureKind::NotFound => "the model provider does not know the model",
        FailureKind::ContextTooLong => "the context is longer than the model accepts",
        FailureKind::InvalidRequest => "the model provider refused the request as invalid",
        FailureKind::RateLimited => "the model provider limits the rate of requests",
        FailureKind::CreditExhausted => "the account at the model provider has no credit left",
        FailureKind::Overloaded => "the model provider is overloaded",
        FailureKind::ServerError => "the model provider failed",
        FailureKind::ConnectionFailed => "the connection to the model provider failed",
        FailureKind::Timeout => "the model provider did not answer in time",
        FailureKind::MaxOutputTokens => "the answer was cut at the model's output limit",
        FailureKind::ContentPolicy => "the model provider withheld the answer under its usage policy",
        FailureKind::ToolNotFound => "the tool does not exist",
        FailureKind::SignInRequired => "a person must sign in first",
        FailureKind::Protocol => "the model provider sent something that is not an answer",
        FailureKind::Internal | FailureKind::Crashed | FailureKind::NotBegun | FailureKind::FilesLost => {
            "internal error"
        }
    };
    with_message(kind, message)
}

/// A failure of `kind` with a message of its own, which must be safe for customers.
pub(crate) fn with_message(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retry_after_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);

    #[track_caller]
    fn check(status: u16, body: &str, expected: FailureKind) {
        let refused = Refused { status, retry_after: None, retry_after_ms: None, body: body.as_bytes() };
        let failure = refused.to_failure(NOW);
        assert_eq!(failure.kind, expected, "{status} {body}");
        assert!(!failure.message.contains("SECRET"), "the provider's words leak: {}", failure.message);
    }

    #[test]
    fn maps_status_and_code() {
        let error = |code: &str| format!(r#"{{"error":{{"message":"SECRET","type":null,"code":"{code}"}}}}"#);
        check(401, &error("invalid_api_key"), FailureKind::Authentication);
        check(403, "", FailureKind::Authentication);
        check(402, "", FailureKind::CreditExhausted);
        check(404, &error("model_not_found"), FailureKind::NotFound);
        check(400, &error("context_length_exceeded"), FailureKind::ContextTooLong);
        check(400, &error("unknown_parameter"), FailureKind::InvalidRequest);
        check(400, &error("content_filter"), FailureKind::ContentPolicy);
        check(400, &error("insufficient_quota"), FailureKind::InvalidRequest);
        check(400, "<html>SECRET</html>", FailureKind::InvalidRequest);
        check(422, "", FailureKind::InvalidRequest);
        check(409, "", FailureKind::InvalidRequest);
        check(413, "", FailureKind::ContextTooLong);
        check(408, "", FailureKind::Timeout);
        check(429, &error("rate_limit_exceeded"), FailureKind::RateLimited);
        check(429, &error("insufficient_quota"), FailureKind::CreditExhausted);
        check(429, r#"{"error":{"type":"insufficient_quota"}}"#, FailureKind::CreditExhausted);
        check(500, &error("context_length_exceeded"), FailureKind::ServerError);
        check(502, "", FailureKind::ServerError);
        check(503, "", FailureKind::Overloaded);
        check(504, "", FailureKind::ServerError);
        check(529, "", FailureKind::Overloaded);
        check(302, "", FailureKind::Protocol);
        check(424, r#"{"message":"SECRET"}"#, FailureKind::ServerError);
        let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: SECRET"}}"#;
        check(400, anthropic, FailureKind::ContextTooLong);
        check(400, r#"{"message":"Input is too long for SECRET"}"#, FailureKind::ContextTooLong);
        let vllm =
            r#"{"object":"error","message":"This model's maximum context length is 8 SECRET","code":400}"#;
        check(400, vllm, FailureKind::ContextTooLong);
        let llama = r#"{"error":{"code":400,"message":"SECRET","type":"exceed_context_size_error"}}"#;
        check(400, llama, FailureKind::ContextTooLong);
    }

    #[test]
    fn reads_how_long_to_wait() {
        let cases: &[(Option<&str>, Option<&str>, Option<u64>)] = &[
            (None, None, None),
            (Some("3"), None, Some(3000)),
            (Some(" 0.5 "), None, Some(500)),
            (Some("3"), Some("250"), Some(250)),
            (Some("3"), Some("soon"), Some(3000)),
            (None, Some("1.2"), Some(2)),
            (Some("Sun, 06 Nov 1994 08:49:47 GMT"), None, Some(10_000)),
            (Some("Sun, 06 Nov 1994 08:49:27 GMT"), None, Some(0)),
            (Some("Fri, 06 Nov 2093 08:49:37 GMT"), None, Some(RETRY_AFTER_MS_MAX)),
            (Some("-5"), None, Some(0)),
            (Some("1e300"), None, Some(RETRY_AFTER_MS_MAX)),
            (Some("NaN"), None, None),
            (Some("tomorrow"), None, None),
        ];
        for &(retry_after, retry_after_ms, expected) in cases {
            let refused = |status| Refused { status, retry_after, retry_after_ms, body: b"" };
            let wait = refused(429).to_failure(NOW).retry_after_ms;
            assert_eq!(wait, expected, "{retry_after:?} {retry_after_ms:?}");
            assert_eq!(refused(400).to_failure(NOW).retry_after_ms, None, "a final failure asks for nothing");
        }
    }

    #[test]
    fn maps_errors_inside_an_answer() {
        let cases = [
            (r#"{"code":"server_error","message":"x"}"#, FailureKind::ServerError),
            (r#"{"error":{"code":"rate_limit_exceeded"}}"#, FailureKind::RateLimited),
            (r#"{"error":{"code":502,"message":"x"}}"#, FailureKind::ServerError),
            (r#"{"error":{"code":429,"message":"x"}}"#, FailureKind::RateLimited),
            (r#"{"code":"cyber_policy"}"#, FailureKind::ContentPolicy),
            (r#"{"code":"context_length_exceeded"}"#, FailureKind::ContextTooLong),
            (r#"{"error":{"message":"the context window is full"}}"#, FailureKind::ContextTooLong),
            (r#"{"error":null}"#, FailureKind::ServerError),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
                FailureKind::Overloaded,
            ),
            (r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#, FailureKind::ServerError),
            (r#"{"type":"error","error":{"type":"billing_error"}}"#, FailureKind::CreditExhausted),
        ];
        for (text, expected) in cases {
            let value = serde_json::from_str(text).expect("a case is JSON");
            assert_eq!(ErrorBody::of_value(&value).to_failure().kind, expected, "{text}");
        }
    }
}
