//! The JSON-RPC dialect: as version 2.0, without its `jsonrpc` member.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A request was malformed, or made in the wrong state.
pub const INVALID_REQUEST: i64 = -32600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters are not those of the method.
pub const INVALID_PARAMS: i64 = -32602;
/// It went wrong on the executor's side.
pub const INTERNAL: i64 = -32603;
/// There is no such file.
pub const NOT_FOUND: i64 = -32004;
/// The session that should be resumed is attached to a connection that still lives.
pub const ALREADY_ATTACHED: i64 = -32010;

/// One message in either direction.
#[derive(Debug)]
pub enum Message {
    /// Asks for a response with the same id.
    Request {
        /// Chosen by who asks, unique while it waits.
        id: RequestId,
        /// What is asked.
        method: String,
        /// With what.
        params: Params,
    },
    /// Tells something.
    Notification {
        /// What is told.
        method: String,
        /// With what.
        params: Params,
    },
    /// The result of a request.
    Response {
        /// That of the request.
        id: RequestId,
        /// What came of it.
        result: Params,
    },
    /// The failure of a request.
    Failure {
        /// That of the request.
        id: RequestId,
        /// Why.
        error: Failure,
    },
}

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// What we use.
    Number(i64),
    /// What others may use.
    Text(String),
}

/// Parameters or a result, as they are written, until someone knows their type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(Box<RawValue>);

/// Why a request failed, as the other side says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct Failure {
    /// One of the constants of this module, or another.
    pub code: i64,
    /// For a person.
    pub message: String,
}

/// The bytes are not a message.
#[derive(Debug, thiserror::Error)]
#[error("not a message of the protocol: {0}")]
pub struct MessageError(String);

/// A method of the protocol by its parameters.
pub trait Method: Serialize {
    /// Its name on the wire.
    const NAME: &'static str;
    /// What it gives.
    type Outcome: DeserializeOwned;
    /// Whether asking twice is as good as asking once, so that a request whose answer was lost with its
    /// connection is simply made again.
    const REPEATABLE: bool = false;
}

impl Params {
    /// # Errors
    /// The value is not expressible in JSON, which no type of this crate is.
    pub fn of(value: &impl Serialize) -> Result<Self, MessageError> {
        serde_json::value::to_raw_value(value).map(Self).map_err(|error| MessageError(error.to_string()))
    }

    /// The parameters as `T`. None at all is read as an empty object where `null` is not a `T`.
    ///
    /// # Errors
    /// They are not a `T`; the text says at which member.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        let text = self.0.get();
        serde_json::from_str(text)
            .or_else(|error| if text == "null" { serde_json::from_str("{}") } else { Err(error) })
            .map_err(|error| MessageError(error.to_string()))
    }

    fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl Failure {
    /// A failure of ours.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        Self::new(INVALID_PARAMS, error.to_string())
    }
}

/// A message as JSON has it: which members are there tells what it is.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Params>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Params>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

impl Message {
    /// A request of a known method.
    ///
    /// # Errors
    /// As [`Params::of`].
    pub fn request<M: Method>(id: i64, params: &M) -> Result<Self, MessageError> {
        let (id, method) = (RequestId::Number(id), M::NAME.to_owned());
        Ok(Self::Request { id, method, params: Params::of(params)? })
    }

    /// A notification of a known method.
    ///
    /// # Errors
    /// As [`Params::of`].
    pub fn notification<M: Method>(params: &M) -> Result<Self, MessageError> {
        Ok(Self::Notification { method: M::NAME.to_owned(), params: Params::of(params)? })
    }

    /// # Errors
    /// Not JSON, or neither method, result nor error.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| MessageError(error.to_string()))?;
        match written {
            Written { id: Some(id), method: Some(method), params, .. } => {
                Ok(Self::Request { id, method, params: params.unwrap_or_else(Params::null) })
            }
            Written { id: None, method: Some(method), params, .. } => {
                Ok(Self::Notification { method, params: params.unwrap_or_else(Params::null) })
            }
            Written { id: Some(id), error: Some(error), .. } => Ok(Self::Failure { id, error }),
            // `"result": null` and no result look alike, and are.
            Written { id: Some(id), result, .. } => {
                Ok(Self::Response { id, result: result.unwrap_or_else(Params::null) })
            }
            Written { id: None, .. } => Err(MessageError("neither `id` nor `method`".to_owned())),
        }
    }

    /// # Errors
    /// As [`Params::of`].
    pub fn encode(self) -> Result<Vec<u8>, MessageError> {
        let empty = Written { id: None, method: None, params: None, result: None, error: None };
        let written = match self {
            Self::Request { id, method, params } => {
                Written { id: Some(id), method: Some(method), params: Some(params), ..empty }
            }
            Self::Notification { method, params } => {
                Written { method: Some(method), params: Some(params), ..empty }
            }
            Self::Response { id, result } => Written { id: Some(id), result: Some(result), ..empty },
            Self::Failure { id, error } => Written { id: Some(id), error: Some(error), ..empty },
        };
        serde_json::to_vec(&written).map_err(|error| MessageError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes and encodes again; what is unknown, such as `trace`, is left out.
    fn check(text: &str, expected: &str) {
        let message = Message::decode(text.as_bytes()).expect(text);
        let kind = match &message {
            Message::Request { .. } => "request",
            Message::Notification { .. } => "notification",
            Message::Response { .. } => "response",
            Message::Failure { .. } => "failure",
        };
        let written = String::from_utf8(message.encode().expect("writes")).expect("UTF-8");
        assert_eq!(format!("{kind} {written}"), expected);
    }

    #[test]
    fn members_tell_what_a_message_is() {
        check(
            r#"{"id":1,"method":"fs/open","params":{"a":[1.0]},"trace":{"traceparent":"x"}}"#,
            r#"request {"id":1,"method":"fs/open","params":{"a":[1.0]}}"#,
        );
        check(r#"{"id":"a","method":"m"}"#, r#"request {"id":"a","method":"m","params":null}"#);
        check(r#"{"method":"initialized"}"#, r#"notification {"method":"initialized","params":null}"#);
        check(r#"{"id":1,"result":{}}"#, r#"response {"id":1,"result":{}}"#);
        check(r#"{"id":1,"result":null}"#, r#"response {"id":1,"result":null}"#);
        check(
            r#"{"error":{"code":-1,"message":"no","data":{}},"id":1}"#,
            r#"failure {"id":1,"error":{"code":-1,"message":"no"}}"#,
        );
    }

    #[test]
    fn what_is_not_a_message_says_why() {
        for (text, expected) in [
            ("", "EOF"),
            ("[]", "invalid"),
            ("{}", "neither `id` nor `method`"),
            (r#"{"id":{},"method":"m"}"#, "did not match"),
            (r#"{"result":1}"#, "neither `id` nor `method`"),
        ] {
            let error = Message::decode(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
