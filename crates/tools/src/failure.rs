//! What an error of the transport or of the server means. The crate's documentation has the table.

use std::error::Error;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rmcp::ServiceError;
use rmcp::model::{ErrorCode, ErrorData};
use rmcp::service::ClientInitializeError;
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use tenure_journal::{Failure, FailureKind};

use crate::http::HttpError;
use crate::outcome::error_text;

/// A longer wait than a server may ask for.
const RETRY_AFTER_MS_MAX: u64 = 24 * 60 * 60 * 1000;

pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retry_after_ms: None }
}

pub(crate) fn cancelled() -> Failure {
    failure(FailureKind::ConnectionFailed, "the request to the tool server was cancelled")
}

pub(crate) fn timed_out() -> Failure {
    failure(FailureKind::Timeout, "the tool server did not answer in time")
}

pub(crate) fn broken() -> Failure {
    failure(FailureKind::ConnectionFailed, "the connection to the tool server broke")
}

pub(crate) fn unexpected() -> Failure {
    failure(FailureKind::Protocol, "the tool server answered with something that is not a result")
}

pub(crate) fn too_large() -> Failure {
    failure(FailureKind::Protocol, "the tool server's answer is larger than 16 MiB")
}

/// Why a request has no result.
pub(crate) enum Refused {
    /// Nobody looked at the request: the connection had ended before it was sent, or the server refused it
    /// for having forgotten the session.
    Untaken,
    /// The server answered with an error.
    Answered(ErrorData),
    /// Anything else.
    Failed(Failure),
}

/// Why a request that was handed to the transport has no result.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
pub(crate) fn of_request(error: ServiceError) -> Refused {
    match error {
        ServiceError::McpError(error) => Refused::Answered(error),
        ServiceError::TransportSend(error) => match http_error(&error) {
            Some(StreamableHttpError::SessionExpired) => Refused::Untaken,
            Some(error) => Refused::Failed(of_http(error)),
            None => Refused::Failed(broken()),
        },
        ServiceError::UnexpectedResponse => Refused::Failed(unexpected()),
        ServiceError::Timeout { .. } => Refused::Failed(timed_out()),
        // `TransportClosed` and whatever else a newer protocol brings: the answer will not come.
        _ => Refused::Failed(broken()),
    }
}

/// Why a connection could not be opened.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
pub(crate) fn of_opening(error: &ClientInitializeError) -> Failure {
    match error {
        ClientInitializeError::TransportError { error, .. } => http_error(error).map_or_else(broken, of_http),
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::Cancelled => failure(
            FailureKind::ConnectionFailed,
            "the tool server closed the connection while it was opened",
        ),
        ClientInitializeError::JsonRpcError(error) => {
            let words = error_text(error);
            failure(FailureKind::Protocol, format!("the tool server refused to open a session: {words}"))
        }
        _ => failure(FailureKind::Protocol, "the tool server did not open a session as the protocol demands"),
    }
}

/// The failure of a call whose connection could not be opened: nothing was sent, so it is certain that
/// the tool did not act.
pub(crate) fn unsent(mut opening: Failure) -> Failure {
    opening.kind = match opening.kind {
        FailureKind::ServerError | FailureKind::ConnectionFailed | FailureKind::Timeout => {
            FailureKind::Overloaded
        }
        FailureKind::Protocol | FailureKind::Internal | FailureKind::Crashed | FailureKind::NotBegun => {
            FailureKind::NotFound
        }
        certain @ (FailureKind::Authentication
        | FailureKind::NotFound
        | FailureKind::ContextTooLong
        | FailureKind::InvalidRequest
        | FailureKind::RateLimited
        | FailureKind::CreditExhausted
        | FailureKind::Overloaded
        | FailureKind::MaxOutputTokens
        | FailureKind::ContentPolicy
        | FailureKind::ToolNotFound
        | FailureKind::SignInRequired
        | FailureKind::FilesLost) => certain,
    };
    opening.message.push_str("; the call was not sent");
    opening
}

/// The same failure of a server that nobody signs in at: to be asked for that is to be refused.
pub(crate) fn without_sign_in(mut failed: Failure) -> Failure {
    if failed.kind == FailureKind::SignInRequired {
        failed.kind = FailureKind::Authentication;
    }
    failed
}

/// The failure of a call that the server refused as it stands, or nothing if its error is a result.
pub(crate) fn of_answer(error: &ErrorData) -> Option<Failure> {
    match error.code {
        ErrorCode::METHOD_NOT_FOUND => {
            Some(failure(FailureKind::ToolNotFound, "the tool server does not know this tool"))
        }
        ErrorCode::INVALID_PARAMS | ErrorCode::INVALID_REQUEST => {
            let words = error_text(error);
            Some(failure(FailureKind::InvalidRequest, format!("the tool server refused the call: {words}")))
        }
        _ => None,
    }
}

fn http_error(error: &DynamicTransportError) -> Option<&StreamableHttpError<HttpError>> {
    let error: &(dyn Error + 'static) = error.error.as_ref();
    error.downcast_ref()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
fn of_http(error: &StreamableHttpError<HttpError>) -> Failure {
    match error {
        StreamableHttpError::Client(HttpError::Connect) => {
            failure(FailureKind::ConnectionFailed, "no connection to the tool server could be made")
        }
        StreamableHttpError::Client(HttpError::Broke) => broken(),
        StreamableHttpError::Client(HttpError::Status(status)) => of_status(*status, None, Timestamp::now()),
        StreamableHttpError::Client(HttpError::Invalid) => unexpected(),
        StreamableHttpError::Client(HttpError::TooLarge) => too_large(),
        StreamableHttpError::HttpStatus(error) => {
            of_status(error.status, error.retry_after.as_deref(), Timestamp::now())
        }
        StreamableHttpError::UnexpectedServerResponse(_) | StreamableHttpError::Deserialize(_) => {
            unexpected()
        }
        _ => broken(),
    }
}

fn of_status(status: u16, retry_after: Option<&str>, now: Timestamp) -> Failure {
    let refused = "the tool server refused the credentials";
    let (kind, message) = match status {
        // The request was not applied, for want of credentials that are valid (RFC 9110, section 15.5.2).
        401 => (FailureKind::SignInRequired, refused.to_owned()),
        403 => (FailureKind::Authentication, refused.to_owned()),
        404 => (FailureKind::NotFound, "the tool server has no endpoint at its address".to_owned()),
        429 => (FailureKind::RateLimited, "the tool server received too many requests".to_owned()),
        300..400 => (
            FailureKind::InvalidRequest,
            "the tool server redirects elsewhere, which is not followed; use its final address".to_owned(),
        ),
        400..500 => (
            FailureKind::InvalidRequest,
            format!("the tool server refused the request with HTTP status {status}"),
        ),
        _ => (FailureKind::ServerError, format!("the tool server failed with HTTP status {status}")),
    };
    Failure { kind, message, retry_after_ms: retry_after.and_then(|text| retry_after_ms(text, now)) }
}

/// The delay of a `Retry-After` (RFC 9110, section 10.2.3), in seconds or until a date. A date that has passed,
/// perhaps by a clock that is ahead of the server's, asks for no delay.
fn retry_after_ms(value: &str, now: Timestamp) -> Option<u64> {
    let value = value.trim();
    let asked = if let Ok(seconds) = value.parse::<u64>() {
        seconds.saturating_mul(1000)
    } else {
        let then = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        u64::try_from(then.as_millisecond().saturating_sub(now.as_millisecond())).unwrap_or(0)
    };
    Some(asked.min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_whether_the_tool_may_have_acted() {
        use FailureKind::{
            Authentication, InvalidRequest, NotFound, RateLimited, ServerError, SignInRequired,
        };
        let now = "2015-10-21T07:26:30Z".parse().expect("a time");
        for (status, retry_after, kind, ms, ambiguous) in [
            (401, None, SignInRequired, None, false),
            (403, None, Authentication, None, false),
            (404, None, NotFound, None, false),
            (302, None, InvalidRequest, None, false),
            (405, None, InvalidRequest, None, false),
            (413, None, InvalidRequest, None, false),
            (429, Some("7"), RateLimited, Some(7_000), false),
            (429, Some("999999999999999999"), RateLimited, Some(RETRY_AFTER_MS_MAX), false),
            (429, Some("Wed, 21 Oct 2015 07:28:00 GMT"), RateLimited, Some(90_000), false),
            (429, Some("Wed, 21 Oct 2015 07:26:29 GMT"), RateLimited, Some(0), false),
            (429, Some("Thu, 31 Dec 2099 23:59:59 GMT"), RateLimited, Some(RETRY_AFTER_MS_MAX), false),
            (429, Some("soon"), RateLimited, None, false),
            (500, None, ServerError, None, true),
            (503, Some(" 2 "), ServerError, Some(2_000), true),
        ] {
            let failed = of_status(status, retry_after, now);
            assert_eq!((failed.kind, failed.retry_after_ms), (kind, ms), "{status}");
            assert_eq!(failed.kind.is_ambiguous(), ambiguous, "{status}");
        }
    }

    #[test]
    fn what_was_not_sent_is_certain() {
        for kind in [
            FailureKind::ConnectionFailed,
            FailureKind::Timeout,
            FailureKind::ServerError,
            FailureKind::Protocol,
            FailureKind::Internal,
            FailureKind::Authentication,
            FailureKind::RateLimited,
        ] {
            let failed = unsent(failure(kind, "m"));
            assert!(!failed.kind.is_ambiguous(), "{kind:?}");
            assert_eq!(failed.message, "m; the call was not sent");
        }
    }

    #[test]
    fn answers_are_refusals_or_results() {
        for (code, kind) in [
            (-32601, Some(FailureKind::ToolNotFound)),
            (-32602, Some(FailureKind::InvalidRequest)),
            (-32600, Some(FailureKind::InvalidRequest)),
            (-32603, None),
            (-32000, None),
        ] {
            let answer = of_answer(&ErrorData::new(ErrorCode(code), "m", None));
            assert_eq!(answer.map(|failed| failed.kind), kind, "{code}");
        }
    }
}
