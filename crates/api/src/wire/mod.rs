//! Connections: HTTP/1.1 by hyper, behind a gate that reads every request head first.
//!
//! Two readers that disagree about where a request ends are how requests are smuggled, so what can be read
//! in two ways is refused here, before hyper sees it: bare line feeds, repeated or conflicting lengths,
//! folded headers. The gate follows the framing of every body it lets through and therefore knows where the
//! next head begins. A refused head is replaced by a harmless request that hyper reads instead; the service
//! knows by its number which one it is, answers it in order like any other, and the connection closes.

mod chunked;
mod gate;
mod head;
mod serve;
mod upgrade;

use axum::http::StatusCode;

pub(crate) use head::Refused;
pub use serve::{Limits, serve, serve_with};
pub(crate) use upgrade::Upgrade;

use crate::error::ApiError;

impl Refused {
    pub(crate) fn to_error(self) -> ApiError {
        let (status, code, message) = match self {
            Self::RequestLine => (400, "bad_request_line", "The request line is not one of HTTP/1.1."),
            Self::Version => (505, "http_version", "This server speaks HTTP/1.1."),
            Self::UriTooLong => (414, "uri_too_long", "The request target is longer than 8 KiB."),
            Self::HeadersTooLarge => {
                (431, "headers_too_large", "The headers are larger than 16 KiB or more than 100.")
            }
            Self::LineEnd => (400, "line_end", "Every line of a request head ends with CR LF."),
            Self::Header => (400, "bad_header", "A header is not written as HTTP/1.1 requires."),
            Self::Framing => {
                (400, "body_framing", "The request does not say in exactly one way where its body ends.")
            }
            Self::Timeout => (408, "request_timeout", "The request head did not arrive in time."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        ApiError::new(status, message).code(code).closing()
    }
}
