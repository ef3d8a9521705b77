//! `tenure ps`, `tenure logs` and `tenure sessions`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::client::Client;
use super::context::{self, ContextArgs};
use super::error::{CliError, Exit};
use super::find::{self, PINNED_SESSIONS, SESSIONS};
use super::output::{self, Column, Format, age, text};
use super::transcript::{self, Follower, Happened, actions};

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Only sessions of this agent, by name or id
    #[arg(long)]
    agent: Option<String>,
    /// Only sessions with this status
    #[arg(long, value_parser = ["idle", "in_progress", "requires_action", "failed"])]
    status: Option<String>,
    /// At most this many, the latest first
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The session: its id, the unique beginning of it, or `last`
    session: String,
    /// Go on as things happen, until interrupted or the session is deleted
    #[arg(long, short = 'f')]
    follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// End the quarantine that a refusal began: the agent may do again what policy allows
    Release {
        /// The session: its id, the unique beginning of it, or `last`
        session: String,
    },
    /// Show exactly what the model was shown at a step, by section, with what it takes and why it is there
    Context(ContextArgs),
}

pub(crate) async fn sessions(cx: &mut Context, args: &SessionsArgs) -> Result<Exit, CliError> {
    let session = match &args.command {
        SessionsCommand::Context(args) => return context::context(cx, args).await,
        SessionsCommand::Release { session } => session,
    };
    let client = cx.client()?;
    let session = find::session(&client, session).await?;
    let released = client.post(&format!("{PINNED_SESSIONS}/{session}/release"), &json!({})).await?;
    output::one(&mut cx.world.out, cx.format, &format!("{session} is released"), &released)?;
    Ok(Exit::Done)
}

pub(crate) async fn ps(cx: &mut Context, args: &PsArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let agent = match &args.agent {
        Some(agent) => Some(text(&find::agent(&client, Some(agent)).await?, "/id").to_owned()),
        None => None,
    };
    let mut query = vec![("order", "desc")];
    if let Some(agent) = &agent {
        query.push(("agent_id", agent));
    }
    let mut sessions = client.list(PINNED_SESSIONS, &query).await?;
    if let Some(status) = &args.status {
        sessions.retain(|session| text(session, "/status") == status);
    }
    sessions.truncate(args.limit);
    if sessions.is_empty() {
        cx.note("no sessions")?;
    }
    let now = cx.world.now;
    output::list(&mut cx.world.out, cx.format, &columns(now), &sessions)?;
    Ok(Exit::Done)
}

fn columns(now: i64) -> [Column; 7] {
    [
        Column::at("SESSION", "/id"),
        Column::new("AGENT", |session| match text(session, "/agent/name") {
            "" => "-".to_owned(),
            name => name.to_owned(),
        }),
        Column::new("VERSION", |session| {
            session
                .pointer("/agent/version")
                .and_then(Value::as_u64)
                .map_or("-".to_owned(), |n| n.to_string())
        }),
        Column::at("MODEL", "/agent/model"),
        Column::at("STATUS", "/status"),
        Column::new("WAITING", |session| match actions(Some(session)).len() {
            0 => "-".to_owned(),
            count => count.to_string(),
        }),
        Column::new("ACTIVE", move |session| {
            let at = session.get("last_active_at").and_then(Value::as_i64);
            at.map(|at| age(now, at)).unwrap_or_default()
        }),
    ]
}

pub(crate) async fn logs(cx: &mut Context, args: &LogsArgs) -> Result<Exit, CliError> {
    if args.follow && matches!(cx.format, Format::Json | Format::Yaml) {
        return Err(CliError::usage("a log without end is not one document").fix("use `-o jsonl` with `-f`"));
    }
    let client = cx.client()?;
    let session = find::session(&client, &args.session).await?;
    let pinned = client.get(&format!("{PINNED_SESSIONS}/{session}"), &[]).await?;
    if let Some(version) = pinned.pointer("/agent/version").and_then(Value::as_u64) {
        cx.note(&format!("{} version {version}", text(&pinned, "/agent/name")))?;
    }
    if let Some(origin) = super::forks::origin(&pinned) {
        cx.note(&format!("forked from {origin}"))?;
    }
    let path = format!("{SESSIONS}/{session}/items");
    if !args.follow {
        let items = client.list(&path, &[("order", "asc")]).await?;
        if cx.format != Format::Table {
            output::list(&mut cx.world.out, cx.format, &[], &items)?;
            return Ok(Exit::Done);
        }
        items.iter().try_for_each(|item| cx.world.out.line(&transcript::item(item)))?;
        return Ok(Exit::Done);
    }
    follow(cx, &client, &session, &path).await
}

/// The stream is opened before the items are listed, so that nothing falls between the two.
async fn follow(cx: &mut Context, client: &Client, session: &str, path: &str) -> Result<Exit, CliError> {
    let mut events = client.events(session).await?;
    let mut follower = Follower::default();
    for item in client.list(path, &[("order", "asc")]).await? {
        follower.item(&item);
        print(cx, &item)?;
    }
    while let Some(event) = events.next().await? {
        let complete = match text(&event, "/type") {
            "agent.session.turn.item.done" => true,
            "agent.session.turn.item.added" => text(&event, "/item/status") != "in_progress",
            _ => false,
        };
        let item = event.get("item").filter(|_| complete);
        if let Some(item) = item.filter(|item| !follower.item(item).is_empty()) {
            print(cx, item)?;
        }
        for happened in follower.event(&event) {
            if let Happened::TurnEnded { end, .. } = happened {
                cx.note(&super::talk::ending(&end))?;
            }
        }
    }
    cx.note("the stream has ended: the session was deleted or the server stops")?;
    Ok(Exit::Done)
}

fn print(cx: &mut Context, item: &Value) -> Result<(), CliError> {
    match cx.format {
        Format::Table => cx.world.out.line(&transcript::item(item))?,
        Format::Name => cx.world.out.line(text(item, "/id"))?,
        Format::Json | Format::Jsonl | Format::Yaml => cx.world.out.line(&item.to_string())?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::tests::Captured;

    #[test]
    fn lists_sessions() {
        let sessions = [
            json!({"id": "sess_1", "agent": {"name": "refunds", "model": "fast", "version": 12}, "status": "requires_action",
                   "required_actions": [{}], "last_active_at": 40}),
            json!({"id": "sess_2", "agent": {"name": null, "model": "m"}, "status": "idle",
                   "required_actions": [], "last_active_at": 100}),
        ];
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &columns(100), &sessions).expect("written");
        assert_eq!(
            captured.text(),
            "SESSION  AGENT    VERSION  MODEL  STATUS           WAITING  ACTIVE\n\
             sess_1   refunds  12       fast   requires_action  1        1m\n\
             sess_2   -        -        m      idle             -        0s\n"
        );
    }
}
