//! HTTP requests that the executor makes, for MCP servers that only its network reaches.

use serde::{Deserialize, Serialize};

use super::{Base64, Nothing};
use crate::message::Method;

/// One request.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// `http://` or `https://`.
    pub url: String,
    /// In order; a name may come more than once.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// The body, if there is one.
    #[serde(default, rename = "bodyBase64", skip_serializing_if = "Option::is_none")]
    pub body: Option<Base64>,
    /// Milliseconds until the response's headers, or all of it when it is not streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What to do with a redirect.
    #[serde(default)]
    pub redirect_policy: Redirects,
    /// Names the response's stream, unique while it is open.
    pub request_id: String,
    /// Whether the body comes in pieces, as [`BodyDelta`]s, after the response.
    #[serde(default)]
    pub stream_response: bool,
}

/// A header. Values may be secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What to do with a redirect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Redirects {
    /// Go where it says.
    #[default]
    Follow,
    /// Give it as the response.
    Stop,
}

/// A response, with its body unless that is streamed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// In order.
    pub headers: Vec<Header>,
    /// The body; empty when it is streamed.
    #[serde(rename = "bodyBase64")]
    pub body: Base64,
}

/// Told: a piece of a streamed body.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BodyDelta {
    /// Of which request.
    pub request_id: String,
    /// Counts from 1.
    pub seq: u64,
    /// The bytes.
    #[serde(rename = "deltaBase64")]
    pub delta: Base64,
    /// Whether it is the last.
    #[serde(default)]
    pub done: bool,
    /// Why the stream broke; only in the last.
    #[serde(default)]
    pub error: Option<String>,
}

impl Method for Request {
    const NAME: &'static str = "http/request";
    type Outcome = Response;
}

impl Method for BodyDelta {
    const NAME: &'static str = "http/request/bodyDelta";
    type Outcome = Nothing;
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} {}, {} headers)", self.method, self.request_id, self.headers.len())
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header({})", self.name)
    }
}
