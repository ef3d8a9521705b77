//! `tenure automations`: schedules and what they delivered.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::find;
use super::output::{self, Column, Format, age, text};

#[derive(Debug, Args)]
pub(crate) struct AutomationsArgs {
    #[command(subcommand)]
    command: AutomationsCommand,
}

#[derive(Debug, Subcommand)]
enum AutomationsCommand {
    /// List automations, the latest first
    Ls {
        /// Only those that reach this session
        #[arg(long)]
        session: Option<String>,
    },
    /// Show one, and what it delivered last
    Show(Named),
    /// Stop scheduled deliveries until it is resumed
    Pause(Named),
    /// Go on with scheduled deliveries
    Resume(Named),
    /// Deliver once now; the schedule stays as it is
    Run(Named),
    /// Delete one; the sessions it opened stay
    Rm(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Its name, its id, or the unique beginning of its id
    automation: String,
}

const PATH: &str = "/v1/agents/automations";
/// Invocations that are shown with an automation.
const SHOWN_MAX: usize = 10;

pub(crate) async fn automations(cx: &mut Context, args: &AutomationsArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match &args.command {
        AutomationsCommand::Ls { session } => ls(cx, &client, session.as_deref()).await?,
        AutomationsCommand::Show(named) => show(cx, &client, &named.automation).await?,
        AutomationsCommand::Pause(named) => switch(cx, &client, &named.automation, "pause").await?,
        AutomationsCommand::Resume(named) => switch(cx, &client, &named.automation, "resume").await?,
        AutomationsCommand::Run(named) => {
            let id = find(&client, &named.automation).await?;
            let made = client.post(&format!("{PATH}/{id}/invocations"), &json!({})).await?;
            output::one(&mut cx.world.out, cx.format, text(&made, "/id"), &made)?;
        }
        AutomationsCommand::Rm(named) => {
            let id = find(&client, &named.automation).await?;
            let deleted = client.delete(&format!("{PATH}/{id}")).await?;
            output::one(&mut cx.world.out, cx.format, &format!("deleted {id}"), &deleted)?;
        }
    }
    Ok(Exit::Done)
}

async fn ls(cx: &mut Context, client: &Client, session: Option<&str>) -> Result<(), CliError> {
    let session = match session {
        Some(session) => Some(find::session(client, session).await?),
        None => None,
    };
    let mut query = vec![("order", "desc")];
    query.extend(session.as_deref().map(|session| ("session_id", session)));
    let found = client.list(PATH, &query).await?;
    if found.is_empty() {
        cx.note("no automations")?;
    }
    output::list(&mut cx.world.out, cx.format, &columns(), &found)
}

fn columns() -> [Column; 5] {
    [
        Column::at("AUTOMATION", "/id"),
        Column::at("NAME", "/name"),
        Column::new("STATUS", status),
        Column::new("SCHEDULE", schedule),
        Column::new("TARGET", target),
    ]
}

fn status(automation: &Value) -> String {
    match text(automation, "/pause_reason") {
        "" => text(automation, "/status").to_owned(),
        reason => format!("{} ({reason})", text(automation, "/status")),
    }
}

fn schedule(automation: &Value) -> String {
    match automation.get("run_at").and_then(Value::as_i64) {
        Some(at) => format!("once at {}", moment(at)),
        None => format!("{} {}", text(automation, "/expression"), text(automation, "/timezone")),
    }
}

fn target(automation: &Value) -> String {
    match text(automation, "/target/session_id") {
        "" => match text(automation, "/target/agent_id") {
            "" => format!("new session of model {}", text(automation, "/target/agent/model")),
            agent => format!("new session of {agent}"),
        },
        session => session.to_owned(),
    }
}

fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

async fn show(cx: &mut Context, client: &Client, typed: &str) -> Result<(), CliError> {
    let path = format!("{PATH}/{}", find(client, typed).await?);
    let mut automation = client.get(&path, &[]).await?;
    let limit = SHOWN_MAX.to_string();
    let query = [("order", "desc"), ("limit", limit.as_str())];
    let page = client.get(&format!("{path}/invocations"), &query).await?;
    let invocations = page.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
    if cx.format != Format::Table {
        automation["invocations"] = Value::Array(invocations);
        return output::one(&mut cx.world.out, cx.format, "", &automation);
    }
    let out = &mut cx.world.out;
    for column in columns() {
        let line = format!("{:<12}{}", column.title.to_lowercase(), (column.cell)(&automation));
        out.line(&super::world::brief(&line, usize::MAX))?;
    }
    if !invocations.is_empty() {
        out.line("")?;
    }
    output::list(out, cx.format, &invocation_columns(cx.world.now), &invocations)
}

fn invocation_columns(now: i64) -> [Column; 5] {
    let seconds = |row: &Value, name: &str| row.get(name).and_then(Value::as_i64);
    [
        Column::at("INVOCATION", "/id"),
        Column::new("OCCURRENCE", move |row| {
            seconds(row, "scheduled_at").map_or("manual".to_owned(), moment)
        }),
        Column::new("STATUS", |row| match text(row, "/error/message") {
            "" => text(row, "/status").to_owned(),
            message => format!("{}: {message}", text(row, "/status")),
        }),
        Column::at("SESSION", "/session_id"),
        Column::new("AGE", move |row| seconds(row, "created_at").map(|at| age(now, at)).unwrap_or_default()),
    ]
}

async fn switch(cx: &mut Context, client: &Client, typed: &str, verb: &str) -> Result<(), CliError> {
    let id = find(client, typed).await?;
    let automation = client.post(&format!("{PATH}/{id}/{verb}"), &json!({})).await?;
    let shown = format!("{id} is {}", text(&automation, "/status"));
    output::one(&mut cx.world.out, cx.format, &shown, &automation)
}

/// The id of the automation that `typed` means: an id, an exact name, or the unique beginning of an id.
async fn find(client: &Client, typed: &str) -> Result<String, CliError> {
    if typed.parse::<tenure_journal::AutomationId>().is_ok() {
        return Ok(typed.to_owned());
    }
    let found = client.list(PATH, &[("order", "desc")]).await?;
    pick(&found, typed)
}

fn pick(found: &[Value], typed: &str) -> Result<String, CliError> {
    let named: Vec<&Value> = found.iter().filter(|automation| text(automation, "/name") == typed).collect();
    match named.as_slice() {
        [only] => return Ok(text(only, "/id").to_owned()),
        [] => {}
        several => {
            let message = format!("{} automations are named `{typed}`", several.len());
            return Err(CliError::usage(message).fix("use the id of one: tenure automations ls"));
        }
    }
    let ids: Vec<&str> = found.iter().map(|automation| text(automation, "/id")).collect();
    find::one_of("automation", "auto_", typed, &ids, "tenure automations ls")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::Captured;

    fn some() -> [Value; 3] {
        [
            json!({"id": "auto_1", "name": "daily", "status": "active", "pause_reason": null,
                   "expression": "0 9 * * *", "timezone": "Europe/Berlin",
                   "target": {"type": "new_session", "agent_id": "agt_1", "agent": null}}),
            json!({"id": "auto_2a", "name": "again", "status": "paused", "pause_reason": "target_session_failed",
                   "run_at": 1_790_000_000, "target": {"type": "existing_session", "session_id": "sess_1"}}),
            json!({"id": "auto_2b", "name": "again", "status": "completed", "pause_reason": null,
                   "run_at": 1_790_000_000, "target": {"type": "new_session", "agent_id": null,
                   "agent": {"model": "fast"}}}),
        ]
    }

    #[test]
    fn lists_automations() {
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &columns(), &some()).expect("written");
        assert_eq!(
            captured.text(),
            "AUTOMATION  NAME   STATUS                          SCHEDULE                      TARGET\n\
             auto_1      daily  active                          0 9 * * * Europe/Berlin       new session of agt_1\n\
             auto_2a     again  paused (target_session_failed)  once at 2026-09-21T14:13:20Z  sess_1\n\
             auto_2b     again  completed                       once at 2026-09-21T14:13:20Z  new session of model fast\n"
        );
    }

    #[test]
    fn finds_by_name_and_by_the_beginning_of_an_id() {
        let found = some();
        let pick = |typed: &str| pick(&found, typed).map_err(|error| error.message);
        assert_eq!(pick("daily").as_deref(), Ok("auto_1"));
        assert_eq!(pick("2b").as_deref(), Ok("auto_2b"));
        assert_eq!(pick("again").expect_err("two"), "2 automations are named `again`");
        assert_eq!(pick("auto_2").expect_err("two"), "`auto_2` begins the ids of 2 automations");
        assert_eq!(pick("weekly").expect_err("none"), "there is no automation `weekly`");
    }
}
