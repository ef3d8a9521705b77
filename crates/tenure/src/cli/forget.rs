//! `tenure memory forget` and `tenure memory receipts`: erasing, and what shows that it was done.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::memory;
use super::output::{self, Column, text};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["subject", "session", "source", "fact", "scope"]))]
pub(crate) struct ForgetArgs {
    /// Everything of a user: `user_id` in the metadata of their sessions
    #[arg(long, value_name = "USER")]
    subject: Option<String>,
    /// One session, with its subagents and its forks
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// An uploaded file, with every session that was given it
    #[arg(long, value_name = "FILE")]
    source: Option<String>,
    /// One fact with all its versions; what sessions said of it stays, and is looked for and told
    #[arg(long, value_name = "FACT")]
    fact: Option<String>,
    /// What is kept for a scope: its facts, pinned blocks and procedures; what sessions said of it stays
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// A text that must be found nowhere afterwards; can be given several times
    #[arg(long, value_name = "TEXT")]
    verify: Vec<String>,
    /// Say what would go, and leave it
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
    /// Write the receipt into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReceiptsArgs {
    /// One erasure: its receipt is printed as it was signed
    id: Option<String>,
    /// Only those of a user
    #[arg(long, value_name = "USER", conflicts_with = "id")]
    subject: Option<String>,
}

const FORGET: &str = "/v1/tenure/memory/forget";
const ERASURES: &str = "/v1/tenure/memory/erasures";
/// How often it is asked how far an erasure is.
const ASK_EVERY: Duration = Duration::from_millis(200);

pub(crate) async fn forget(cx: &mut Context, args: &ForgetArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let scope = match &args.scope {
        Some(scope) => Some(memory::resolved(&client, scope).await?),
        None => None,
    };
    let body = json!({
        "scope": scope,
        "subject": args.subject,
        "session_id": args.session,
        "file_id": args.source,
        "fact_id": args.fact,
        "verify": args.verify,
        "dry_run": args.dry_run,
    });
    let mut erasure = client.post(FORGET, &body).await?;
    if args.dry_run {
        let sessions = erasure["sessions"].as_array().map_or(0, Vec::len);
        let line = format!("would go: {sessions} sessions; {}", rows(&erasure));
        output::one(&mut cx.world.out, cx.format, &line, &erasure)?;
        return Ok(Exit::Done);
    }
    let id = text(&erasure, "/id").to_owned();
    if !args.no_wait {
        cx.note("it goes on by itself, also if you stop waiting")?;
        erasure = wait(cx, &client, &id).await?;
    }
    let Some(receipt) = erasure["receipt"].as_str() else {
        let line = format!("{id}: {}", text(&erasure, "/status"));
        output::one(&mut cx.world.out, cx.format, &line, &erasure)?;
        return Ok(Exit::Done);
    };
    if let Some(file) = &args.out {
        std::fs::write(file, receipt).map_err(|error| {
            CliError::failed("not_written", format!("cannot write `{}`", file.display()))
                .cause(error.to_string())
        })?;
    }
    let line = format!("erased: {}", rows(&erasure));
    output::one(&mut cx.world.out, cx.format, &line, &erasure)?;
    let found = found(receipt);
    if found.is_empty() {
        cx.note(&format!("the signed receipt: tenure memory receipts {id}"))?;
        return Ok(Exit::Done);
    }
    Err(CliError::failed("still_found", "a text that was to be gone is still found")
        .cause(found)
        .fix("look whether somebody else said the same there; forget that too if it has to go"))
}

/// Waits until an erasure is done, or has to wait itself.
async fn wait(cx: &mut Context, client: &Client, id: &str) -> Result<Value, CliError> {
    let mut told = String::new();
    loop {
        let erasure = client.get(&format!("{ERASURES}/{id}"), &[]).await?;
        if erasure["receipt"].is_string() {
            return Ok(erasure);
        }
        let why = match (erasure["problem"].as_str(), text(&erasure, "/status")) {
            (Some(problem), _) => format!("it is tried again: {problem}"),
            (None, "payloads") => {
                format!(
                    "payloads that others may be about to refer to go after {}",
                    text(&erasure, "/next_at")
                )
            }
            (None, _) => String::new(),
        };
        if !why.is_empty() && why != told {
            cx.note(&why)?;
            told = why;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

pub(crate) async fn receipts(cx: &mut Context, args: &ReceiptsArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    if let Some(id) = &args.id {
        let erasure = client.get(&format!("{ERASURES}/{id}"), &[]).await?;
        let receipt = erasure["receipt"].as_str().ok_or_else(|| {
            CliError::not_found(format!(
                "`{id}` has no receipt yet: it is at `{}`",
                text(&erasure, "/status")
            ))
        })?;
        output::one(&mut cx.world.out, cx.format, receipt.trim_end(), &erasure)?;
        return Ok(Exit::Done);
    }
    let query: Vec<(&str, &str)> =
        args.subject.as_deref().map(|subject| ("subject", subject)).into_iter().collect();
    let found = client.list(ERASURES, &query).await?;
    output::list(&mut cx.world.out, cx.format, &columns(), &found)?;
    Ok(Exit::Done)
}

fn columns() -> [Column; 5] {
    [
        Column::at("ID", "/id"),
        Column::at("ASKED", "/created_at"),
        Column::at("BY", "/asked_by"),
        Column::at("STATUS", "/status"),
        Column::new("ROWS", rows),
    ]
}

/// Rows that went or would go, in words.
fn rows(erasure: &Value) -> String {
    let Some(rows) = erasure["rows"].as_object().filter(|rows| !rows.is_empty()) else {
        return "nothing was there".to_owned();
    };
    rows.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

/// Where the receipt says that something is still found.
fn found(receipt: &str) -> String {
    let body = receipt.lines().nth(1).and_then(|line| serde_json::from_str::<Value>(line).ok());
    let found = body.as_ref().and_then(|body| body["verified"]["found"].as_object());
    let places = found.map(|found| found.iter().map(|(place, count)| format!("{count} in {place}")));
    places.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_what_is_found_are_said() {
        assert_eq!(rows(&json!({"rows": {"events": 3, "items": 1}})), "events 3, items 1");
        assert_eq!(rows(&json!({"rows": {}})), "nothing was there");
        let receipt = |found: Value| format!("head\n{}\n\n— sig\n", json!({"verified": {"found": found}}));
        assert_eq!(found(&receipt(json!({}))), "");
        assert_eq!(found(&receipt(json!({"journal": 2, "tenure.db": 1}))), "2 in journal, 1 in tenure.db");
    }
}
