//! A session's items and events as lines of text.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::output::text;
use super::world::{brief, plain};

/// Characters of arguments and outputs on one line.
const DETAIL_CHARS_MAX: usize = 160;

/// What an item says to a reader of logs: one or more lines, without a final line end.
pub(crate) fn item(item: &Value) -> String {
    let kind = text(item, "/type");
    let status = match text(item, "/status") {
        "" | "completed" => String::new(),
        other => format!(" ({other})"),
    };
    let (label, body) = match kind {
        "message" => (text(item, "/role").to_owned(), message_text(item)),
        "reasoning" => ("reasoning".to_owned(), joined(item, "/summary")),
        "mcp_call" => {
            let name = format!("{}.{}", text(item, "/server_label"), text(item, "/name"));
            ("call".to_owned(), call(item, &name))
        }
        "function_call" => ("call".to_owned(), call(item, text(item, "/name"))),
        "function_call_output" => ("result".to_owned(), outcome(item)),
        "command_execution" => {
            let output = brief(text(item, "/output"), DETAIL_CHARS_MAX);
            ("command".to_owned(), format!("{}\n{output}", text(item, "/command")))
        }
        other => (other.replace('_', " "), joined(item, "/content")),
    };
    let body = plain(body.trim_end());
    indent(&format!("{label}{status}"), &body)
}

/// The label in a column of its own, further lines beneath the first.
fn indent(label: &str, body: &str) -> String {
    const LABEL_WIDTH: usize = 11;
    let mut lines = body.lines();
    let first = lines.next().unwrap_or_default();
    let mut out = format!("{label:width$} {first}", width = LABEL_WIDTH - 1).trim_end().to_owned();
    for line in lines {
        out.push('\n');
        out.push_str(format!("{:LABEL_WIDTH$}{line}", "").trim_end());
    }
    out
}

fn call(item: &Value, name: &str) -> String {
    let arguments = match item.get("arguments") {
        Some(Value::String(arguments)) => arguments.clone(),
        Some(arguments) => arguments.to_string(),
        None => String::new(),
    };
    let called = format!("{name} {}", brief(&arguments, DETAIL_CHARS_MAX));
    match outcome(item) {
        outcome if outcome.is_empty() => called,
        outcome => format!("{called}\n{outcome}"),
    }
}

fn outcome(item: &Value) -> String {
    let part = |key: &str| match item.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    match (part("error"), part("output")) {
        (Some(error), _) => format!("error: {}", brief(&error, DETAIL_CHARS_MAX)),
        (None, Some(output)) => brief(&output, DETAIL_CHARS_MAX),
        (None, None) => String::new(),
    }
}

/// All text of a message.
pub(crate) fn message_text(item: &Value) -> String {
    joined(item, "/content")
}

fn joined(item: &Value, pointer: &str) -> String {
    let parts = item.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<&str> = parts
        .iter()
        .map(|part| match text(part, "/type") {
            "input_image" => "[image]",
            _ => text(part, "/text"),
        })
        .collect();
    texts.join("\n")
}

/// What a required action waits for: its kind, its id and what it is about.
pub(crate) struct Waiting {
    /// `approval`, `function` or `environment`; other kinds as the API calls them.
    pub(crate) kind: String,
    /// What answers name it by.
    pub(crate) id: String,
    /// The tool.
    pub(crate) name: String,
    /// Its arguments as JSON text.
    pub(crate) arguments: String,
}

/// Reads one entry of `required_actions`.
pub(crate) fn waiting(action: &Value) -> Waiting {
    let json = |pointer: &str| match action.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match text(action, "/type") {
        "mcp_approval_request" => Waiting {
            kind: "approval".to_owned(),
            id: text(action, "/request_id").to_owned(),
            name: format!("{}.{}", text(action, "/request/server_label"), text(action, "/request/name")),
            arguments: json("/request/arguments"),
        },
        "function_call" => Waiting {
            kind: "function".to_owned(),
            id: text(action, "/call_id").to_owned(),
            name: text(action, "/name").to_owned(),
            arguments: json("/arguments"),
        },
        "environment_connection" => Waiting {
            kind: "environment".to_owned(),
            id: text(action, "/environment_id").to_owned(),
            name: String::new(),
            arguments: String::new(),
        },
        other => Waiting {
            kind: other.to_owned(),
            id: text(action, "/request_id").to_owned(),
            name: String::new(),
            arguments: String::new(),
        },
    }
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TurnEnd {
    Completed,
    Cancelled,
    Failed { code: String, message: String },
}

/// What an event means to someone who follows a session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happened {
    /// The session was opened.
    Opened { session: String },
    /// A turn began.
    TurnBegan { turn: String },
    /// More of the agent's words.
    Text(String),
    /// A message of the agent is complete and its words were all given.
    TextEnd,
    /// An item is complete that was not given as text.
    Item(Value),
    /// A call began.
    Calling(Value),
    /// A turn ended.
    TurnEnded { turn: String, end: TurnEnd },
    /// The session waits for others.
    Waits(Vec<Value>),
    /// The session does nothing.
    Idle,
    /// The session cannot go on.
    SessionFailed(String),
    /// The server reports a fault of the stream.
    Fault(String),
}

/// Items remembered as given: more than a stream repeats when it is opened again.
const GIVEN_MAX: usize = 10_000;

/// Follows events and tells each word and item once.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// The words given so far of messages that are not complete.
    open: BTreeMap<String, String>,
    /// Items that were given, by id: a stream may repeat them when it is opened again.
    given: BTreeSet<String>,
    /// The last message that answers: what a turn is about.
    pub(crate) answer: Option<String>,
    /// The last item that was complete.
    pub(crate) last_item: Option<String>,
}

impl Follower {
    /// Reads one event.
    pub(crate) fn event(&mut self, event: &Value) -> Vec<Happened> {
        let kind = text(event, "/type");
        let turn = || text(event, "/turn_id").to_owned();
        match kind.strip_prefix("agent.session.").unwrap_or(kind) {
            "created" => vec![Happened::Opened { session: text(event, "/session/id").to_owned() }],
            "idle" => vec![Happened::Idle],
            "requires_action" => vec![Happened::Waits(actions(event.get("session")))],
            "failed" => vec![Happened::SessionFailed(text(event, "/session/error").to_owned())],
            "error" => vec![Happened::Fault(text(event, "/error/message").to_owned())],
            "turn.created" => {
                self.answer = None;
                vec![Happened::TurnBegan { turn: turn() }]
            }
            "turn.completed" => vec![Happened::TurnEnded { turn: turn(), end: TurnEnd::Completed }],
            "turn.cancelled" => vec![Happened::TurnEnded { turn: turn(), end: TurnEnd::Cancelled }],
            "turn.failed" => vec![Happened::TurnEnded { turn: turn(), end: failed(event) }],
            "turn.output_text.delta" => self.delta(event),
            "turn.item.added" => event.get("item").map(|item| self.added(item)).unwrap_or_default(),
            "turn.item.done" => event.get("item").map(|item| self.item(item)).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn delta(&mut self, event: &Value) -> Vec<Happened> {
        let delta = text(event, "/delta");
        let id = text(event, "/item_id");
        if self.given.contains(id) {
            return Vec::new();
        }
        self.open.entry(id.to_owned()).or_default().push_str(delta);
        vec![Happened::Text(delta.to_owned())]
    }

    /// Inputs and results are complete when added; calls are worth a word.
    fn added(&mut self, item: &Value) -> Vec<Happened> {
        match (text(item, "/type"), text(item, "/status")) {
            ("mcp_call" | "function_call" | "command_execution", "in_progress") => {
                vec![Happened::Calling(item.clone())]
            }
            (_, "in_progress") => Vec::new(),
            _ => self.item(item),
        }
    }

    /// Reads one complete item, from the stream or from the list of items.
    pub(crate) fn item(&mut self, item: &Value) -> Vec<Happened> {
        let id = text(item, "/id").to_owned();
        if id.is_empty() || !self.given.insert(id.clone()) {
            return Vec::new();
        }
        if self.given.len() > GIVEN_MAX {
            // Ids rise with time, so this is the oldest.
            self.given.pop_first();
        }
        self.last_item = Some(id.clone());
        let begun = self.open.remove(&id);
        if text(item, "/type") != "message" || text(item, "/role") != "assistant" {
            return vec![Happened::Item(item.clone())];
        }
        let whole = message_text(item);
        if text(item, "/phase") != "commentary" {
            self.answer = Some(whole.clone());
        }
        // The complete item is what counts: deltas may be missing.
        match begun {
            None => vec![Happened::Text(whole), Happened::TextEnd],
            Some(begun) => match whole.strip_prefix(&begun) {
                Some("") => vec![Happened::TextEnd],
                Some(rest) => vec![Happened::Text(rest.to_owned()), Happened::TextEnd],
                None => vec![Happened::TextEnd, Happened::Text(whole), Happened::TextEnd],
            },
        }
    }
}

fn failed(event: &Value) -> TurnEnd {
    TurnEnd::Failed {
        code: text(event, "/turn/error/code").to_owned(),
        message: text(event, "/turn/error/message").to_owned(),
    }
}

/// What a session waits for.
pub(crate) fn actions(session: Option<&Value>) -> Vec<Value> {
    let actions = session.and_then(|session| session.get("required_actions")).and_then(Value::as_array);
    actions.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_items_as_lines() {
        for (value, expected) in [
            (
                json!({"type": "message", "role": "user", "status": "completed",
                       "content": [{"type": "input_text", "text": "Hi\nthere"}, {"type": "input_image"}]}),
                "user       Hi\n           there\n           [image]",
            ),
            (
                json!({"type": "mcp_call", "server_label": "pay", "name": "refund", "status": "failed",
                       "arguments": {"order": "A-1"}, "output": null, "error": "no\u{1b}[31m money"}),
                "call (failed) pay.refund {\"order\":\"A-1\"}\n           error: no [31m money",
            ),
            (
                json!({"type": "function_call_output", "call_id": "c", "output": {"a": 1}, "error": null}),
                "result     {\"a\":1}",
            ),
            (json!({"type": "reasoning", "summary": []}), "reasoning"),
            (json!({"type": "web_search_call", "status": "completed"}), "web search call"),
        ] {
            assert_eq!(item(&value), expected);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "everything else is shown by its name")]
    fn follow(events: &[Value]) -> (String, Follower) {
        let mut follower = Follower::default();
        let mut out = String::new();
        for happened in events.iter().flat_map(|event| follower.event(event)) {
            match happened {
                Happened::Text(text) => out.push_str(&text),
                Happened::TextEnd => out.push('|'),
                other => out.push_str(&format!(
                    "<{}>",
                    format!("{other:?}").split([' ', '(']).next().expect("a word")
                )),
            }
        }
        (out, follower)
    }

    fn delta(item: &str, delta: &str) -> Value {
        json!({"type": "agent.session.turn.output_text.delta", "item_id": item, "delta": delta})
    }

    fn done(item: &str, text: &str, phase: Option<&str>) -> Value {
        json!({"type": "agent.session.turn.item.done", "item": {"id": item, "type": "message",
               "role": "assistant", "status": "completed", "phase": phase,
               "content": [{"type": "output_text", "text": text}]}})
    }

    #[test]
    fn gives_every_word_once() {
        assert_eq!(follow(&[delta("m", "Hel"), delta("m", "lo"), done("m", "Hello", None)]).0, "Hello|");
        assert_eq!(follow(&[delta("m", "Hel"), done("m", "Hello", None)]).0, "Hello|");
        assert_eq!(
            follow(&[done("m", "Hello", None), done("m", "Hello", None), delta("m", "x")]).0,
            "Hello|"
        );
        assert_eq!(follow(&[delta("m", "Jell"), done("m", "Hello", None)]).0, "Jell|Hello|");
    }

    #[test]
    fn the_answer_is_not_commentary() {
        let (_, follower) = follow(&[
            json!({"type": "agent.session.turn.created", "turn_id": "t"}),
            done("a", "The answer.", Some("final_answer")),
            done("b", "Thinking aloud.", Some("commentary")),
        ]);
        assert_eq!(follower.answer.as_deref(), Some("The answer."));
        assert_eq!(follower.last_item.as_deref(), Some("b"));
    }

    #[test]
    fn tells_how_turns_end() {
        let mut follower = Follower::default();
        let event = json!({"type": "agent.session.turn.failed", "turn_id": "t",
                           "turn": {"error": {"code": "server_error", "message": "it broke"}}});
        let end = TurnEnd::Failed { code: "server_error".into(), message: "it broke".into() };
        assert_eq!(follower.event(&event), [Happened::TurnEnded { turn: "t".into(), end }]);
        let event = json!({"type": "agent.session.requires_action",
                           "session": {"required_actions": [{"type": "function_call"}]}});
        assert_eq!(follower.event(&event), [Happened::Waits(vec![json!({"type": "function_call"})])]);
        assert_eq!(follower.event(&json!({"type": "something.new"})), []);
    }
}
