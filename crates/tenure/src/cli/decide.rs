//! `tenure inbox`, `tenure approve`, `tenure deny`: what waits for a person, and the answers.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::find::{self, PINNED_SESSIONS, SESSIONS};
use super::output::{self, Column, age, text};
use super::transcript::{actions, waiting};

#[derive(Debug, Args)]
pub(crate) struct InboxArgs {
    /// Only what waits for a person's approval
    #[arg(long)]
    approvals: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// The request's id, or the unique beginning of it
    request: String,
    /// The session it belongs to; looked up if not given
    #[arg(long)]
    session: Option<String>,
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Approve,
    Deny,
}

impl Answer {
    fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }

    pub(crate) fn past(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }
}

pub(crate) async fn inbox(cx: &mut Context, args: &InboxArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let mut rows = pending(&client).await?;
    if args.approvals {
        rows.retain(|row| text(row, "/kind") == "approval");
    }
    if rows.is_empty() {
        cx.note("nothing waits")?;
    }
    let now = cx.world.now;
    let columns = [
        Column::at("ID", "/id"),
        Column::at("KIND", "/kind"),
        Column::at("AGENT", "/agent"),
        Column::at("TOOL", "/tool"),
        Column::at("ARGUMENTS", "/arguments"),
        Column::new("SINCE", move |row| {
            row.get("since").and_then(Value::as_i64).map(|since| age(now, since)).unwrap_or_default()
        }),
        Column::at("SESSION", "/session"),
    ];
    output::list(&mut cx.world.out, cx.format, &columns, &rows)?;
    Ok(Exit::Done)
}

/// Every required action of every session, the longest waiting first.
async fn pending(client: &Client) -> Result<Vec<Value>, CliError> {
    let sessions = client.list(PINNED_SESSIONS, &[("order", "desc"), ("status", "requires_action")]).await?;
    let waits = |session: &&Value| text(session, "/status") == "requires_action";
    let mut rows: Vec<Value> = sessions.iter().filter(waits).flat_map(rows_of).collect();
    rows.sort_by_key(|row| row.get("since").and_then(Value::as_i64));
    Ok(rows)
}

fn rows_of(session: &Value) -> Vec<Value> {
    let row = |action: &Value| {
        let waiting = waiting(action);
        json!({
            "id": waiting.id,
            "kind": waiting.kind,
            "agent": text(session, "/agent/name"),
            "tool": waiting.name,
            "arguments": waiting.arguments,
            "since": session.get("last_active_at"),
            "session": text(session, "/id"),
        })
    };
    // Either is what `tenure vaults sign-in` takes.
    let wanted = |server: &Value| match text(server, "/credential_id") {
        "" => text(server, "/server_url").to_owned(),
        credential => credential.to_owned(),
    };
    let sign_in = |server: &Value| {
        json!({
            "id": wanted(server),
            "kind": "sign_in",
            "agent": text(session, "/agent/name"),
            "tool": text(server, "/server_label"),
            "arguments": "",
            "since": session.get("last_active_at"),
            "session": text(session, "/id"),
        })
    };
    let sign_ins = session.get("sign_ins").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    actions(Some(session)).iter().map(row).chain(sign_ins.iter().map(sign_in)).collect()
}

pub(crate) async fn decide(cx: &mut Context, args: &DecideArgs, answer: Answer) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let rows = match &args.session {
        Some(session) => {
            let session = find::session(&client, session).await?;
            rows_of(&client.get(&format!("{SESSIONS}/{session}"), &[]).await?)
        }
        None => pending(&client).await?,
    };
    let row = pick(&rows, &args.request)?;
    let (id, session) = (text(row, "/id").to_owned(), text(row, "/session").to_owned());
    cx.note(&format!("{} {}", text(row, "/tool"), text(row, "/arguments")))?;
    send(&client, &session, &id, answer).await?;
    let answered = json!({"id": id, "session": session, "decision": answer.word()});
    output::one(&mut cx.world.out, cx.format, &format!("{} {id}", answer.past()), &answered)?;
    Ok(Exit::Done)
}

fn pick<'a>(rows: &'a [Value], typed: &str) -> Result<&'a Value, CliError> {
    let approvals: Vec<&Value> = rows.iter().filter(|row| text(row, "/kind") == "approval").collect();
    let ids: Vec<&str> = approvals.iter().map(|row| text(row, "/id")).collect();
    if let Some(other) = rows.iter().find(|row| text(row, "/id") == typed && text(row, "/kind") != "approval")
    {
        let message = format!("`{typed}` waits for a {}, not for an approval", text(other, "/kind"));
        return Err(CliError::usage(message));
    }
    let id = find::one_of("request", "apr_", typed, &ids, "tenure inbox")?;
    approvals
        .into_iter()
        .find(|row| text(row, "/id") == id)
        .ok_or_else(|| CliError::not_found(format!("there is no request `{typed}`")))
}

/// Posts the answer to one request of one session.
pub(crate) async fn send(
    client: &Client,
    session: &str,
    request: &str,
    answer: Answer,
) -> Result<(), CliError> {
    let event = json!({
        "type": "agent.session.input.mcp_approval_request_result",
        "request_id": request,
        "response": {"type": "mcp_tool_call", "decision": answer.word()},
    });
    post_event(client, session, event).await
}

/// Posts one input event.
pub(crate) async fn post_event(client: &Client, session: &str, event: Value) -> Result<(), CliError> {
    client.post(&format!("{SESSIONS}/{session}/events"), &json!({"events": [event]})).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Value {
        json!({"id": "sess_1", "status": "requires_action", "last_active_at": 5, "agent": {"name": "refunds"},
               "required_actions": [
                   {"type": "mcp_approval_request", "request_id": "apr_1a", "request":
                       {"type": "mcp_tool_call", "server_label": "pay", "name": "refund", "arguments": {"o": 1}}},
                   {"type": "function_call", "call_id": "call_9", "name": "ask", "arguments": {}}]})
    }

    #[test]
    fn lists_what_waits() {
        let rows = rows_of(&session());
        assert_eq!(
            rows[0],
            json!({"id": "apr_1a", "kind": "approval", "agent": "refunds", "tool": "pay.refund",
                   "arguments": "{\"o\":1}", "since": 5, "session": "sess_1"})
        );
        assert_eq!(text(&rows[1], "/kind"), "function");
    }

    #[test]
    fn picks_approvals_only() {
        let rows = rows_of(&session());
        assert_eq!(pick(&rows, "1a").map(|row| text(row, "/id")), Ok("apr_1a"));
        assert_eq!(
            pick(&rows, "call_9").expect_err("a function").message,
            "`call_9` waits for a function, not for an approval"
        );
        assert_eq!(pick(&rows, "apr_2").expect_err("none").exit, Exit::NotFound);
    }
}
