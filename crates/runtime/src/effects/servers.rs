//! Asking tool servers: how one is reached, with which credential, and what of an answer must not be seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use tenure_journal::{
    Failure, FailureKind, McpTool, McpTransport, Network, Origin, ProjectId, Secret, SecretId, ToolDef,
};
use tenure_session::Attempted;
use tenure_store::DocumentKind;
use tenure_tools::{Call, CallResult, Hints, Server};
use tokio_util::sync::CancellationToken;

use super::{Begin, Desk, cancelled, failure, gone};
use crate::environments;
use crate::fair::Place;
use crate::handle::Shared;
use crate::seal::SecretText;
use crate::vaults::{self, Authorized, Known, Mask};

pub(super) async fn list(
    begin: &Begin<'_>,
    desk: &Desk,
    tool: &McpTool,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let Begin { shared, project, .. } = *begin;
    let _place = tool_place(shared, project, cancel).await?;
    begin.check().await?;
    let _running = shared.load.tool_calls_running.hold();
    match reached(begin, desk, tool, &Ask::List, cancel).await {
        (Ok(Answer::Tools(tools)), mask) => Ok(Attempted::Listed(mask.tools(tools))),
        (Ok(Answer::Result(_)), _) => Err(gone()),
        (Err(failure), mask) => Err(mask.failure(failure)),
    }
}

/// What a tool server is asked.
enum Ask<'a> {
    List,
    Call(Call<'a>),
}

/// What it says.
enum Answer {
    Tools(Vec<ToolDef>),
    Result(CallResult),
}

async fn ask_server(
    shared: &Shared,
    server: &Server,
    ask: &Ask<'_>,
    cancel: &CancellationToken,
) -> Result<Answer, Failure> {
    match ask {
        Ask::List => shared.servers.list(server, cancel).await.map(Answer::Tools),
        Ask::Call(call) => {
            let began = Instant::now();
            let result = shared.servers.call(server, call.clone(), cancel).await;
            shared.metrics.tool_called(began.elapsed(), result.as_ref().map(|result| result.is_error));
            result.map(Answer::Result)
        }
    }
}

pub(super) async fn call(
    begin: &Begin<'_>,
    desk: &Desk,
    tool: &McpTool,
    call: Call<'_>,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let Begin { shared, project, .. } = *begin;
    let _place = tool_place(shared, project, cancel).await?;
    begin.check().await?;
    let _running = shared.load.tool_calls_running.hold();
    let (result, mask) = match reached(begin, desk, tool, &Ask::Call(call), cancel).await {
        (Ok(Answer::Result(result)), mask) => (result, mask),
        (Ok(Answer::Tools(_)), _) => return Err(gone()),
        (Err(failure), mask) => return Err(mask.failure(failure)),
    };
    // Before anything of it is stored or shown.
    let result = CallResult { text: mask.text(result.text), ..result };
    environments::stored(shared, project, result).await.map(Attempted::Returned)
}

/// Asks a tool server something with the session's credential for it, and with another token once more if it refuses
/// the first: a refusal is certain, nothing was done. Gives with the answer what must be masked in it.
async fn reached(
    begin: &Begin<'_>,
    desk: &Desk,
    tool: &McpTool,
    ask: &Ask<'_>,
    cancel: &CancellationToken,
) -> (Result<Answer, Failure>, Mask) {
    let shared = begin.shared;
    let nothing = || Mask::of(&[]);
    let known = match vaults::known(shared, desk.session.project, &desk.vault_ids).await {
        Ok(known) => known,
        Err(failure) => return (Err(failure), nothing()),
    };
    let mut server = match reach(begin, tool, desk.network.as_ref()).await {
        Ok(server) => server,
        Err(failure) => return (Err(failure), nothing()),
    };
    let mut known = with_headers(known, &server);
    let authorized = match authorize(shared, desk, tool, &mut server).await {
        Ok(authorized) => authorized,
        Err(failure) => return (Err(failure), nothing()),
    };
    let first = ask_server(shared, &server, ask, cancel).await;
    let Some(authorized) = authorized else {
        let answered = match first {
            Err(refused) if is_refusal(&refused) => {
                Err(without_credential(shared, desk, tool, &server, refused).await)
            }
            answered => answered,
        };
        return (answered, Mask::of(&known));
    };
    known.extend(authorized.known());
    if !first.as_ref().is_err_and(is_refusal) {
        return (first, Mask::of(&known));
    }
    let other = match authorized.refused(shared, desk.session).await {
        Ok(other) => other,
        Err(failure) => return (Err(failure), Mask::of(&known)),
    };
    known.extend(other.known());
    put_authorization(&mut server, &other);
    let second = match ask_server(shared, &server, ask, cancel).await {
        Err(failure) if is_refusal(&failure) => Err(other.refused_again(shared, desk.session).await),
        answered => answered,
    };
    (second, Mask::of(&known))
}

/// Whether a server did nothing because of who asks.
fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Authentication | FailureKind::SignInRequired)
}

/// What comes of being refused without a credential: the session waits for one if the server asks for a sign-in and a
/// person can put it into one of the session's vaults. Otherwise the call failed, and what is said of it is what to do.
async fn without_credential(
    shared: &Arc<Shared>,
    desk: &Desk,
    tool: &McpTool,
    server: &Server,
    refused: Failure,
) -> Failure {
    let authentication = FailureKind::Authentication;
    let shows_nothing = match server {
        Server::Http { headers, .. } => {
            !headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"))
        }
        Server::Stdio { .. } => false,
    };
    let Some(server_url) = tool.credential_url().filter(|_| shows_nothing) else {
        return Failure { kind: authentication, ..refused };
    };
    let label = &tool.server_label;
    if refused.kind == FailureKind::SignInRequired {
        match vaults::want(shared, desk.session, &desk.vault_ids, server_url).await {
            Ok(true) => {
                let message = format!("a person must sign in: the tool server `{label}` wants a token");
                return failure(FailureKind::SignInRequired, message);
            }
            Ok(false) => {}
            Err(failure) => return failure,
        }
    }
    let message = format!(
        "the tool server `{label}` wants a token and the session has none for it: sign in with `tenure vaults sign-in`, \
         and open a session with that vault"
    );
    failure(authentication, message)
}

async fn authorize(
    shared: &Arc<Shared>,
    desk: &Desk,
    tool: &McpTool,
    server: &mut Server,
) -> Result<Option<Authorized>, Failure> {
    let McpTransport::Http { server_url, .. } = &tool.transport else { return Ok(None) };
    let authorized = vaults::authorize(shared, desk.session, tool, server_url).await?;
    if let Some(authorized) = &authorized {
        put_authorization(server, authorized);
    }
    Ok(authorized)
}

fn put_authorization(server: &mut Server, authorized: &Authorized) {
    if let Server::Http { headers, .. } = server {
        headers.insert("authorization".to_owned(), authorized.header());
    }
}

/// What a server is sent in its headers must not come back either. What is no authorization is often a plain word.
fn with_headers(mut known: Vec<Known>, server: &Server) -> Vec<Known> {
    let Server::Http { headers, .. } = server else { return known };
    for (name, value) in headers {
        let shown = format!("[header {name}]");
        if name.eq_ignore_ascii_case("authorization")
            && let Some((_, token)) = value.split_once(' ')
        {
            known.push(Known { shown: shown.clone(), value: token.into(), was_sent: true });
        }
        known.push(Known { shown, value: value.as_str().into(), was_sent: false });
    }
    known
}

async fn tool_place(
    shared: &Shared,
    project: ProjectId,
    cancel: &CancellationToken,
) -> Result<Place, Failure> {
    let _waiting = shared.load.tool_calls_waiting.hold();
    shared.tool_gate.enter(project, cancel).await.ok_or_else(cancelled)
}

/// How to reach an agent's server, with its secrets. `network` is that of the session's hosted environment.
async fn reach(begin: &Begin<'_>, tool: &McpTool, network: Option<&Network>) -> Result<Server, Failure> {
    let Begin { shared, project, .. } = *begin;
    match &tool.transport {
        McpTransport::Project => {
            let found = shared.project_servers.get(&tool.server_label).cloned().ok_or_else(|| {
                let message = format!("the project has no tool server `{}`", tool.server_label);
                failure(FailureKind::NotFound, message)
            })?;
            identified(begin, &tool.server_label, found).await
        }
        McpTransport::Stdio { .. } => {
            Err(failure(FailureKind::NotFound, "the tool server runs in an environment, and there is none"))
        }
        McpTransport::Http { server_url, headers, secret } => {
            let mut headers = headers.clone();
            if let Some(secret) = secret {
                headers.extend(sealed_headers(shared, project, *secret).await?);
            }
            let addresses = match tool.origin {
                Origin::Service => shared.tool_addresses,
                Origin::Environment => environments::reach_from_inside(shared, network, server_url)?,
            };
            let hints = Hints { addresses, ..Hints::default() };
            Ok(Server::Http { url: server_url.clone(), headers, hints })
        }
    }
}

/// A server of the project, with who calls it where it asks.
async fn identified(begin: &Begin<'_>, label: &str, server: Server) -> Result<Server, Failure> {
    let Server::Http { url, mut headers, hints } = server else { return Ok(server) };
    let Begin { shared, project, agent, version, .. } = *begin;
    let shown = shared.identities.authorization(shared, project, (agent, version), label).await?;
    headers.extend(shown.map(|shown| ("authorization".to_owned(), shown)));
    Ok(Server::Http { url, headers, hints })
}

/// Where an agent's server is, without its secrets.
pub(crate) fn address(shared: &Shared, tool: &McpTool) -> Option<Server> {
    match &tool.transport {
        McpTransport::Project => shared.project_servers.get(&tool.server_label).cloned(),
        McpTransport::Stdio { .. } => None,
        McpTransport::Http { server_url, .. } => {
            Some(Server::Http { url: server_url.clone(), headers: BTreeMap::new(), hints: Hints::default() })
        }
    }
}

/// A secret's headers: `{"authorization": ..., "headers": {...}}`, as the API sealed them.
pub(crate) async fn sealed_headers(
    shared: &Shared,
    project: ProjectId,
    Secret(id): Secret,
) -> Result<BTreeMap<String, String>, Failure> {
    let unusable = || failure(FailureKind::Authentication, "the tool server's credentials cannot be read");
    let text = sealed_text(shared, project, id).await?;
    let parsed: Value = serde_json::from_str(&text).map_err(|_| unusable())?;
    let empty = Map::new();
    let given = parsed.get("headers").and_then(Value::as_object).unwrap_or(&empty);
    let mut headers: BTreeMap<_, _> = given
        .iter()
        .filter_map(|(name, value)| value.as_str().map(|value| (name.to_lowercase(), value.to_owned())))
        .collect();
    if let Some(authorization) = parsed.get("authorization").and_then(Value::as_str) {
        let bearer = if authorization.contains(' ') {
            authorization.to_owned()
        } else {
            format!("Bearer {authorization}")
        };
        headers.insert("authorization".to_owned(), bearer);
    }
    Ok(headers)
}

/// What was sealed under this id.
pub(crate) async fn sealed_text(
    shared: &Shared,
    project: ProjectId,
    id: SecretId,
) -> Result<SecretText, Failure> {
    let unusable = || failure(FailureKind::Authentication, "a sealed secret cannot be read");
    let document = shared.store.document(project, DocumentKind::Secret, &id.to_string(), None).await;
    let document = document.ok().flatten().ok_or_else(unusable)?;
    let sealed: Vec<u8> = serde_json::from_value(document.body["sealed"].clone()).map_err(|_| unusable())?;
    let opened = shared.sealer.unseal(&*shared.store, project, id, &sealed).await;
    opened.map_err(|error| {
        tracing::error!(secret = %id, %error, "a sealed secret cannot be opened");
        unusable()
    })
}
