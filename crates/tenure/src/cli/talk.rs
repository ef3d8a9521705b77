//! `tenure chat` and `tenure attach`: a conversation on the terminal, line by line.

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use super::Context;
use super::client::{Client, Events};
use super::decide::{self, Answer};
use super::environment;
use super::error::{CliError, Exit};
use super::find::{self, SESSIONS};
use super::output::text;
use super::transcript::{self, Follower, Happened, TurnEnd, waiting};
use super::world::{Tone, plain};

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// The agent, by name or id; may be left out where there is only one
    agent: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The session: its id, the unique beginning of it, or `last`
    session: String,
}

/// Times a broken stream is opened again without an event in between.
const REOPENINGS_MAX: u32 = 5;

pub(crate) async fn chat(cx: &mut Context, args: &ChatArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let agent = find::agent(&client, args.agent.as_deref()).await?;
    cx.note(&format!("talking to {}; /help for help", text(&agent, "/name")))?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    prompt(cx)?;
    let first = loop {
        match lines.next_line().await?.as_deref().map(str::trim) {
            None | Some("/exit") => return Ok(Exit::Done),
            Some("/help") => cx.note(HELP)?,
            Some("") => prompt(cx)?,
            Some(line) => break line.to_owned(),
        }
    };
    let environment = environment::of_agent(cx, &agent)?;
    let events = client.post_events(SESSIONS, &opening(&agent, &first, &environment)).await?;
    Talk::new(cx, client, None, Some(events), lines).run().await
}

pub(crate) async fn attach(cx: &mut Context, args: &AttachArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let session = find::session(&client, &args.session).await?;
    let events = client.events(&session).await?;
    let lines = BufReader::new(tokio::io::stdin()).lines();
    let state = client.get(&format!("{SESSIONS}/{session}"), &[]).await?;
    cx.note(&format!("{session} is {}; /help for help", text(&state, "/status")))?;
    let mut talk = Talk::new(cx, client, Some(session), Some(events), lines);
    talk.busy = text(&state, "/status") == "in_progress";
    let waits = transcript::actions(Some(&state));
    if !waits.is_empty() {
        talk.waits(&waits)?;
    }
    talk.run().await
}

/// The body that opens a session with its first message and streams what happens.
pub(crate) fn opening(agent: &Value, message: &str, environment: &Value) -> Value {
    json!({
        "agent_id": agent.get("id"),
        "environment": environment,
        "input": message,
        "stream": true,
    })
}

/// One user message as an input event.
pub(crate) fn message(words: &str) -> Value {
    json!({
        "type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": words}]}],
    })
}

/// How a turn's end is told on the progress stream.
pub(crate) fn ending(end: &TurnEnd) -> String {
    match end {
        TurnEnd::Completed => "the turn is complete".to_owned(),
        TurnEnd::Cancelled => "the turn was cancelled".to_owned(),
        TurnEnd::Failed { code, message } => format!("the turn failed: {message} [{code}]"),
    }
}

fn prompt(cx: &mut Context) -> Result<(), CliError> {
    if cx.world.stdin_is_terminal && cx.world.err.is_terminal {
        cx.world.err.write("> ")?;
    }
    Ok(())
}

const HELP: &str = "a line is a message; /cancel stops the turn, /exit leaves (the session stays), \
                    `y` or `n` answers a question";

/// A conversation in progress.
struct Talk<'c> {
    cx: &'c mut Context,
    client: Client,
    /// Known from the start, or from the first event.
    session: Option<String>,
    events: Option<Events>,
    /// Whether `events` is the answer to the session's creation, which ends with its turn.
    opening: bool,
    lines: Lines<BufReader<Stdin>>,
    follower: Follower,
    busy: bool,
    input_open: bool,
    /// Requests the person is being asked about, first one first.
    asked: Vec<Value>,
    reopenings: u32,
}

/// What a step of the conversation leads to.
enum Next {
    Go,
    Leave(Exit),
}

impl<'c> Talk<'c> {
    fn new(
        cx: &'c mut Context,
        client: Client,
        session: Option<String>,
        events: Option<Events>,
        lines: Lines<BufReader<Stdin>>,
    ) -> Self {
        Self {
            cx,
            client,
            busy: session.is_none(),
            opening: session.is_none(),
            session,
            events,
            lines,
            follower: Follower::default(),
            input_open: true,
            asked: Vec::new(),
            reopenings: 0,
        }
    }

    async fn run(mut self) -> Result<Exit, CliError> {
        if !self.busy {
            prompt(self.cx)?;
        }
        loop {
            // A person may steer a running turn; a script's next line waits for the turn to end.
            let listens = self.input_open && (self.cx.world.stdin_is_terminal || !self.busy);
            if !self.input_open && !self.busy {
                return Ok(Exit::Done);
            }
            let Some(events) = self.events.as_mut() else {
                if let Next::Leave(exit) = self.reopen().await? {
                    return Ok(exit);
                }
                continue;
            };
            let next = tokio::select! {
                event = events.next() => self.on_event(event).await?,
                line = self.lines.next_line(), if listens => self.on_line(line?).await?,
            };
            if let Next::Leave(exit) = next {
                return Ok(exit);
            }
        }
    }

    async fn on_event(&mut self, event: Result<Option<Value>, CliError>) -> Result<Next, CliError> {
        let event = match event {
            Ok(Some(event)) => event,
            // A creation stream ends with its turn; a broken one is opened again.
            Ok(None) => {
                self.events = None;
                return Ok(Next::Go);
            }
            Err(error) if self.session.is_some() && self.reopenings < REOPENINGS_MAX => {
                self.cx.note(&error.message)?;
                self.events = None;
                return Ok(Next::Go);
            }
            Err(error) => return Err(error),
        };
        self.reopenings = 0;
        for happened in self.follower.event(&event) {
            if let Next::Leave(exit) = self.on_happened(happened)? {
                return Ok(Next::Leave(exit));
            }
        }
        Ok(Next::Go)
    }

    fn on_happened(&mut self, happened: Happened) -> Result<Next, CliError> {
        match happened {
            Happened::Opened { session } => {
                self.cx.note(&session)?;
                self.session = Some(session);
            }
            Happened::TurnBegan { .. } => self.busy = true,
            Happened::Text(words) => self.cx.world.out.write(&plain(&words))?,
            Happened::TextEnd => self.cx.world.out.line("")?,
            Happened::Calling(item) => self.cx.note(&transcript::item(&item))?,
            Happened::Item(item) => {
                if !matches!(text(&item, "/type"), "message" | "reasoning") {
                    self.cx.note(&transcript::item(&item))?;
                }
            }
            Happened::TurnEnded { end: TurnEnd::Completed, .. } => {}
            Happened::TurnEnded { end, .. } => self.cx.note(&ending(&end))?,
            Happened::Waits(actions) => return self.waits(&actions),
            Happened::Idle => {
                self.busy = false;
                self.asked.clear();
                if std::mem::take(&mut self.opening) {
                    self.events = None;
                }
                prompt(self.cx)?;
            }
            Happened::SessionFailed(error) => {
                return Err(CliError::failed("session_failed", "the session cannot go on").cause(error));
            }
            Happened::Fault(message) => self.cx.note(&message)?,
        }
        Ok(Next::Go)
    }

    /// Asks the person about approvals; what only a client can do is said.
    fn waits(&mut self, actions: &[Value]) -> Result<Next, CliError> {
        self.asked = actions.iter().filter(|action| waiting(action).kind == "approval").cloned().collect();
        for other in actions.iter().map(waiting).filter(|waiting| waiting.kind != "approval") {
            self.cx.note(&format!(
                "waits for the {} `{}` {}, which a client of the API must give; /cancel stops the turn",
                other.kind, other.name, other.id
            ))?;
        }
        if self.cx.world.stdin_is_terminal {
            self.ask()?;
            return Ok(Next::Go);
        }
        for waiting in self.asked.iter().map(waiting) {
            self.cx.note(&format!("waits for approval of {} {}", waiting.name, waiting.arguments))?;
            self.cx.note(&format!("fix: tenure approve {}", waiting.id))?;
        }
        Ok(Next::Leave(Exit::NeedsAction))
    }

    fn ask(&mut self) -> Result<(), CliError> {
        if let Some(waiting) = self.asked.first().map(waiting) {
            let question = format!("approve {} {}? [y/n] ", waiting.name, waiting.arguments);
            let question = self.cx.world.err.tone(Tone::Yellow, &plain(&question));
            self.cx.world.err.write(&question)?;
        }
        Ok(())
    }

    async fn on_line(&mut self, line: Option<String>) -> Result<Next, CliError> {
        let Some(line) = line else {
            self.input_open = false;
            return Ok(Next::Go);
        };
        let Some(session) = self.session.clone() else {
            self.cx.note("the session is still being opened")?;
            return Ok(Next::Go);
        };
        let words = line.trim();
        if let Some(answer) = self.asked.first().and_then(|_| answer_of(words)) {
            let request = self.asked.remove(0);
            decide::send(&self.client, &session, &waiting(&request).id, answer).await?;
            self.ask()?;
            return Ok(Next::Go);
        }
        match words {
            "" if self.asked.is_empty() => prompt(self.cx)?,
            "" => self.ask()?,
            "/exit" => return Ok(Next::Leave(Exit::Done)),
            "/help" => self.cx.note(HELP)?,
            "/cancel" => {
                let cancel = json!({"type": "agent.session.input.cancel"});
                decide::post_event(&self.client, &session, cancel).await?;
            }
            words => {
                // Opened before the message is sent: the stream replays nothing.
                if self.events.is_none()
                    && let Next::Leave(exit) = self.reopen().await?
                {
                    return Ok(Next::Leave(exit));
                }
                decide::post_event(&self.client, &session, message(words)).await?;
                self.busy = true;
            }
        }
        Ok(Next::Go)
    }

    /// Opens the stream again and catches up with what happened in between.
    async fn reopen(&mut self) -> Result<Next, CliError> {
        let Some(session) = self.session.clone() else {
            return Err(super::client::unexpected("a stream that ended before the session was opened"));
        };
        self.reopenings += 1;
        let events = match self.client.events(&session).await {
            Ok(events) => events,
            Err(error) if error.exit == Exit::Unreachable && self.reopenings < REOPENINGS_MAX => {
                tokio::time::sleep(std::time::Duration::from_millis(200) * 2_u32.pow(self.reopenings)).await;
                return Ok(Next::Go);
            }
            Err(error) => return Err(error),
        };
        self.events = Some(events);
        let state = self.client.get(&format!("{SESSIONS}/{session}"), &[]).await?;
        let mut query = vec![("order", "asc")];
        let last = self.follower.last_item.clone();
        if let Some(last) = &last {
            query.push(("after", last));
        }
        for item in self.client.list(&format!("{SESSIONS}/{session}/items"), &query).await? {
            if text(&item, "/status") == "in_progress" {
                continue;
            }
            for happened in self.follower.item(&item) {
                self.on_happened(happened)?;
            }
        }
        let was_busy = std::mem::replace(&mut self.busy, text(&state, "/status") == "in_progress");
        if was_busy && !self.busy {
            let waits = transcript::actions(Some(&state));
            if !waits.is_empty() {
                return self.waits(&waits);
            }
            prompt(self.cx)?;
        }
        Ok(Next::Go)
    }
}

fn answer_of(words: &str) -> Option<Answer> {
    match words.to_lowercase().as_str() {
        "y" | "yes" => Some(Answer::Approve),
        "n" | "no" => Some(Answer::Deny),
        _ => None,
    }
}
