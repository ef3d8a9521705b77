//! `tenure run`: one turn, and its answer.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::Context;
use super::artifacts;
use super::client::{Client, Events};
use super::environment;
use super::error::{CliError, Exit, SESSIONS_KEPT};
use super::find::{self, SESSIONS};
use super::output::{self, text};
use super::talk::{ending, message, opening};
use super::transcript::{self, Follower, Happened, TurnEnd, waiting};
use super::world::plain;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The agent, by name or id; not needed with --session
    #[arg(required_unless_present = "session")]
    agent: Option<String>,
    /// What to do; `-` reads it from standard input
    #[arg(required_unless_present = "session")]
    prompt: Option<String>,
    /// Go on with this session: its id, the unique beginning of it, or `last`
    #[arg(long)]
    session: Option<String>,
    /// Serve the project meanwhile, so that no server has to be started before
    #[arg(long)]
    up: bool,
    /// Save what the turn published below this directory
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

/// Bytes of a prompt: what the API accepts in one body, with room for the rest of it.
const PROMPT_BYTES_MAX: u64 = 3 * 1024 * 1024;

/// What came of the turn.
struct Report {
    session: String,
    turn: String,
    end: Option<TurnEnd>,
    waits: Vec<Value>,
    usage: Value,
    answer: Option<String>,
    artifacts: Vec<Value>,
}

pub(crate) async fn run(cx: &mut Context, args: &RunArgs) -> Result<Exit, CliError> {
    if !args.up {
        let client = cx.client()?;
        return turn(cx, &client, args).await;
    }
    if cx.names_a_server() {
        let error = CliError::usage("--up serves the project itself, and --url names a server");
        return Err(error.fix("leave one of them out"));
    }
    let server = super::serve::within(cx).await?;
    let outcome = match cx.client_of(Some(&server.url)) {
        Ok(client) => turn(cx, &client, args).await,
        Err(error) => Err(error),
    };
    super::serve::end(server.run(std::future::ready(())).await)?;
    outcome
}

async fn turn(cx: &mut Context, client: &Client, args: &RunArgs) -> Result<Exit, CliError> {
    let (agent, prompt) = arguments(args)?;
    let prompt = read_prompt(prompt).await?;
    let (session, mut events, environment) = match &args.session {
        Some(typed) => {
            let session = find::session(client, typed).await?;
            let state = client.get(&format!("{SESSIONS}/{session}"), &[]).await?;
            let waits = transcript::actions(Some(&state));
            if !waits.is_empty() {
                // The message would wait behind it, and so would this command.
                return Err(waits_error(&session, &waits));
            }
            // Opened before the message is sent: the stream replays nothing.
            let events = client.events(&session).await?;
            super::decide::post_event(client, &session, message(&prompt)).await?;
            (session, events, text(&state, "/environment/type").to_owned())
        }
        None => {
            let agent = find::agent(client, agent).await?;
            let environment = environment::of_agent(cx, &agent)?;
            let events = client.post_events(SESSIONS, &opening(&agent, &prompt, &environment)).await?;
            (String::new(), events, text(&environment, "/type").to_owned())
        }
    };
    let mut report = follow(cx, &mut events, session).await?;
    if report.end.is_some() && !matches!(environment.as_str(), "" | "none") {
        report.artifacts = artifacts::of_turn(client, &report.session, &report.turn).await?;
    }
    let directory = args.save.as_ref().map(|directory| cx.world.directory.join(directory));
    artifacts::tell(cx, client, &report.artifacts, directory.as_deref()).await?;
    finish(cx, &report)
}

/// With `--session`, one positional argument is the prompt.
fn arguments(args: &RunArgs) -> Result<(Option<&str>, &str), CliError> {
    match (&args.session, args.agent.as_deref(), args.prompt.as_deref()) {
        (None, agent, Some(prompt)) => Ok((agent, prompt)),
        (Some(_), Some(prompt), None) => Ok((None, prompt)),
        (Some(_), Some(_), Some(_)) => Err(CliError::usage("a session keeps its agent")
            .fix("give the prompt alone: tenure run --session SESSION \"…\"")),
        _ => Err(CliError::usage("there is no prompt").fix("tenure run AGENT \"…\"")),
    }
}

async fn read_prompt(prompt: &str) -> Result<String, CliError> {
    if prompt != "-" {
        return Ok(prompt.to_owned());
    }
    let mut text = String::new();
    tokio::io::stdin().take(PROMPT_BYTES_MAX + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > PROMPT_BYTES_MAX {
        return Err(CliError::usage(format!("the prompt has more than {PROMPT_BYTES_MAX} bytes")));
    }
    Ok(text)
}

async fn follow(cx: &mut Context, events: &mut Events, session: String) -> Result<Report, CliError> {
    let mut follower = Follower::default();
    let mut report = Report {
        session,
        turn: String::new(),
        end: None,
        waits: Vec::new(),
        usage: Value::Null,
        answer: None,
        artifacts: Vec::new(),
    };
    loop {
        let Some(event) = events.next().await? else {
            return Err(CliError::new(
                Exit::Unreachable,
                "stream_ended",
                "the stream ended before the turn did",
            )
            .fix(format!("tenure logs {} -f", report.session))
            .kept(SESSIONS_KEPT));
        };
        for happened in follower.event(&event) {
            match happened {
                Happened::Opened { session } => {
                    cx.note(&session)?;
                    report.session = session;
                }
                Happened::TurnBegan { turn } => report.turn = turn,
                Happened::Calling(item) => cx.note(&transcript::item(&item))?,
                Happened::Item(item) if !matches!(text(&item, "/type"), "message" | "reasoning") => {
                    cx.note(&transcript::item(&item))?;
                }
                Happened::Item(_) | Happened::Text(_) | Happened::TextEnd => {}
                Happened::TurnEnded { end, .. } => {
                    report.usage = event.get("usage").cloned().unwrap_or_default();
                    report.answer = follower.answer.take();
                    report.end = Some(end);
                }
                Happened::Waits(actions) => {
                    report.waits = actions;
                    return Ok(report);
                }
                Happened::Idle if report.end.is_some() => return Ok(report),
                Happened::Idle => {}
                Happened::SessionFailed(error) => {
                    return Err(CliError::failed("session_failed", "the session cannot go on").cause(error));
                }
                Happened::Fault(message) => cx.note(&message)?,
            }
        }
    }
}

fn finish(cx: &mut Context, report: &Report) -> Result<Exit, CliError> {
    let status = match &report.end {
        Some(TurnEnd::Completed) => "completed",
        Some(TurnEnd::Cancelled) => "cancelled",
        Some(TurnEnd::Failed { .. }) => "failed",
        None => "waiting",
    };
    let answer = report.answer.clone().unwrap_or_default();
    let value = json!({
        "id": report.session,
        "session": report.session,
        "turn": report.turn,
        "status": status,
        "answer": report.answer,
        "required_actions": report.waits,
        "usage": report.usage,
        "artifacts": report.artifacts,
    });
    let is_table = cx.format == output::Format::Table;
    if !is_table || report.end == Some(TurnEnd::Completed) {
        output::one(&mut cx.world.out, cx.format, &plain(&answer), &value)?;
    }
    match &report.end {
        Some(TurnEnd::Completed) => Ok(Exit::Done),
        Some(end @ (TurnEnd::Cancelled | TurnEnd::Failed { .. })) => {
            let code = if let TurnEnd::Failed { code, .. } = end { code.as_str() } else { "cancelled" };
            Err(CliError::failed(code, ending(end)).fix(format!(
                "look at it with `tenure logs {}`; the session takes further messages",
                report.session
            )))
        }
        None => Err(waits_error(&report.session, &report.waits)),
    }
}

fn waits_error(session: &str, waits: &[Value]) -> CliError {
    let first = waits.first().map(waiting);
    let error = CliError::new(Exit::NeedsAction, "requires_action", format!("session {session} waits"))
        .kept("nothing is lost: it costs nothing while it waits");
    match first {
        Some(waiting) if waiting.kind == "approval" => error
            .cause(format!("{} {} needs an approval", waiting.name, waiting.arguments))
            .fix(format!("tenure approve {0}  (or: tenure deny {0})", waiting.id)),
        Some(waiting) => error
            .cause(format!("the {} `{}` is a client's to answer", waiting.kind, waiting.name))
            .fix("answer it through the API"),
        None => error.fix("tenure inbox"),
    }
}
