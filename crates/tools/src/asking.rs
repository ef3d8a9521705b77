//! What is asked of a server, however it is reached: its tools, and one call.

use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ListToolsRequest, PaginatedRequestParams,
    ServerResult,
};
use serde_json::{Map, Value};
use tenure_journal::{Failure, FailureKind, ToolDef};
use tokio_util::sync::CancellationToken;

use crate::definition::Definitions;
use crate::failure::{Refused, failure, of_answer, unexpected, unsent};
use crate::http::{self, KEY_IN_META};
use crate::{Call, CallResult, Hints, outcome};

/// How long a request may take without a sign of progress, unless the hints say otherwise.
const REQUEST_TIME_DEFAULT: Duration = Duration::from_secs(60);
/// A longer patience than the hints may ask for; beyond it deadlines could not be computed.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Pages of one listing; a server that needs more is sending the same ones again.
const PAGES_MAX: usize = 64;
/// `_meta` members that belong to the protocol.
const RESERVED_META: [&str; 2] = ["io.modelcontextprotocol/", "progressToken"];

/// A server that can be sent requests.
pub(crate) trait Ask: Sync {
    /// Its name in logs.
    fn name(&self) -> String;

    /// How its tools are to be read.
    fn hints(&self) -> &Hints;

    /// Sends one request and waits for its result.
    fn ask(
        &self,
        request: ClientRequest,
        meta: Map<String, Value>,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Result<ServerResult, Unfulfilled>> + Send;
}

/// Why a request has no result, and whether it was sent.
pub(crate) enum Unfulfilled {
    /// It was not.
    Unsent(Failure),
    /// It may have been.
    Refused(Refused),
}

/// The server's tools; see [`crate::Servers::list`].
pub(crate) async fn list(asked: &impl Ask, cancel: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
    let mut definitions = Definitions::new(asked.name(), asked.hints());
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let request = ClientRequest::ListToolsRequest(ListToolsRequest::with_param(params));
        let page = asked.ask(request, Map::new(), cancel).await.map_err(listing_failure)?;
        cursor = take_page(page, &mut definitions)?;
        if cursor.is_none() || definitions.is_full() {
            break;
        }
    }
    if cursor.is_some() {
        tracing::warn!(server = asked.name(), "the tool server has more tools than are read");
    }
    Ok(definitions.finish())
}

/// One attempt at one call; see [`crate::Servers::call`].
pub(crate) async fn call(
    asked: &impl Ask,
    call: Call<'_>,
    cancel: &CancellationToken,
) -> Result<CallResult, Failure> {
    let meta = meta_of(&call)?;
    let Value::Object(arguments) = call.arguments else {
        return Err(failure(FailureKind::InvalidRequest, "the tool's `arguments` are not an object"));
    };
    let params = CallToolRequestParams::new(call.name.to_owned()).with_arguments(arguments.clone());
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    match asked.ask(request, meta, cancel).await {
        Ok(ServerResult::CallToolResult(result)) => Ok(outcome::of_result(&result)),
        Ok(_) => Err(unexpected()),
        Err(Unfulfilled::Unsent(failure)) => Err(unsent(failure)),
        Err(Unfulfilled::Refused(Refused::Answered(error))) => {
            of_answer(&error).map_or_else(|| Ok(outcome::of_error(&error)), Err)
        }
        Err(Unfulfilled::Refused(refused)) => Err(into_failure(refused)),
    }
}

/// The members of `_meta` that travel with a call.
fn meta_of(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let invalid = |message: String| failure(FailureKind::InvalidRequest, message);
    if !http::is_header_value(call.idempotency_key) {
        return Err(invalid("the call's idempotency key is empty or cannot travel in a header".to_owned()));
    }
    if let Some(name) =
        call.metadata.keys().find(|name| RESERVED_META.iter().any(|own| name.starts_with(own)))
    {
        let name = name.escape_debug();
        return Err(invalid(format!("the request metadata `{name}` is reserved by the protocol; rename it")));
    }
    let mut meta = call.metadata.clone();
    meta.insert(KEY_IN_META.to_owned(), Value::from(call.idempotency_key));
    Ok(meta)
}

/// Takes one page's tools and returns where the next begins.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
fn take_page(page: ServerResult, definitions: &mut Definitions<'_>) -> Result<Option<String>, Failure> {
    match page {
        ServerResult::ListToolsResult(page) => {
            page.tools.into_iter().for_each(|tool| definitions.push(tool));
            Ok(page.next_cursor)
        }
        // A page with one malformed definition is no listing to the protocol crate; the others still are.
        ServerResult::CustomResult(page) => {
            let Value::Object(mut page) = page.0 else { return Err(unexpected()) };
            let Some(Value::Array(tools)) = page.remove("tools") else { return Err(unexpected()) };
            tools.into_iter().for_each(|tool| definitions.push_raw(tool));
            Ok(page.remove("nextCursor").and_then(|cursor| cursor.as_str().map(str::to_owned)))
        }
        _ => Err(unexpected()),
    }
}

fn listing_failure(unfulfilled: Unfulfilled) -> Failure {
    match unfulfilled {
        Unfulfilled::Unsent(failure) => failure,
        Unfulfilled::Refused(Refused::Answered(error)) => of_answer(&error)
            .unwrap_or_else(|| failure(FailureKind::ServerError, "the tool server failed to list its tools")),
        Unfulfilled::Refused(refused) => into_failure(refused),
    }
}

fn into_failure(refused: Refused) -> Failure {
    match refused {
        Refused::Failed(failure) => failure,
        Refused::Answered(_) | Refused::Untaken => unexpected(),
    }
}

pub(crate) fn patience(hints: &Hints) -> Duration {
    hints.timeout_ms.map_or(REQUEST_TIME_DEFAULT, Duration::from_millis).min(REQUEST_TIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_as_configured_within_a_day() {
        for (timeout_ms, seconds) in [(None, 60), (Some(5_000), 5), (Some(u64::MAX), 24 * 60 * 60)] {
            let hints = Hints { timeout_ms, ..Hints::default() };
            assert_eq!(patience(&hints), Duration::from_secs(seconds));
        }
    }
}
