//! Stream events as server-sent events: an `event:` line and one `data:` line, and never an `id:` line,
//! because nothing can be resumed and the official client misreads a heartbeat after one.

use serde_json::{Value, json};
use tenure_journal::{Item, SessionId};
use tenure_session::{
    EnvironmentNotice, HostedBy, PartNotice, PartOf, SessionNotice, StreamEvent, SubagentNotice, TurnNotice,
};

/// Ids of the events of one stream: unique, without order.
#[derive(Debug)]
pub(crate) struct EventIds {
    stream: u64,
    count: u64,
}

impl EventIds {
    /// A source for one stream; `stream` tells it from every other.
    pub(crate) fn new(stream: u64) -> Self {
        Self { stream, count: 0 }
    }

    fn next(&mut self) -> String {
        self.count += 1;
        format!("event_{:016x}{:08x}", self.stream, self.count)
    }
}

/// The frames of one stream event; none for a deletion, which only ends the stream.
pub(crate) fn frames(session_id: SessionId, event: &StreamEvent, ids: &mut EventIds) -> String {
    let mut out = String::new();
    match event {
        StreamEvent::Session { kind, session } => {
            let body = json!({"session": super::session(session)});
            frame(&mut out, &format!("agent.session.{}", session_word(*kind)), body, ids);
        }
        StreamEvent::Turn { kind, turn } => {
            let mut body = json!({
                "session_id": session_id,
                "turn_id": turn.id,
                "turn": super::turn(session_id, None, turn),
            });
            if has_usage(*kind) {
                body["usage"] = super::usage(turn.usage.as_ref());
            }
            frame(&mut out, &format!("agent.session.turn.{}", turn_word(*kind)), body, ids);
        }
        StreamEvent::ItemAdded { item } => {
            frame(&mut out, "agent.session.turn.item.added", item_body(session_id, item), ids);
        }
        StreamEvent::ItemDone { item } => {
            frame(&mut out, "agent.session.turn.item.done", item_body(session_id, item), ids);
        }
        StreamEvent::Part { turn_id, item_id, output_index, part, of, notice } => {
            let mut body = json!({
                "session_id": session_id,
                "turn_id": turn_id,
                "item_id": item_id,
                "output_index": output_index,
            });
            let name = part_body(&mut body, *part, *of, notice);
            frame(&mut out, name, body, ids);
        }
        StreamEvent::Subagent { kind, subagent } => {
            let name = format!("agent.session.subagent.{}", subagent_word(*kind));
            frame(&mut out, &name, json!({"subagent": super::subagent(subagent)}), ids);
        }
        StreamEvent::Environment { kind: EnvironmentNotice::Reset { count }, id, .. } => {
            let body = json!({
                "session_id": session_id,
                "turn_id": null,
                "environment_id": id,
                "reset_count": count,
            });
            frame(&mut out, "agent.session.environment.reset", body, ids);
        }
        StreamEvent::Environment { kind, id, by, error } => {
            let word = environment_word(*kind);
            let error = error.as_ref().map(|message| {
                json!({"type": "environment_error", "code": "environment_failed", "message": message})
            });
            let hosting = match by {
                HostedBy::Server => "openai_hosted",
                HostedBy::Customer => "self_hosted",
            };
            let environment = json!({"id": id, "type": hosting, "status": word, "error": error});
            let body = json!({"session_id": session_id, "turn_id": null, "environment": environment});
            frame(&mut out, &format!("agent.session.environment.{word}"), body, ids);
        }
        StreamEvent::CommandOutput { turn_id, item_id, output_index, delta } => {
            let body = json!({
                "session_id": session_id,
                "turn_id": turn_id,
                "item_id": item_id,
                "output_index": output_index,
                "delta": delta,
            });
            frame(&mut out, "agent.output.command_execution_output.delta", body, ids);
        }
        StreamEvent::Error { error, .. } => {
            error_frame(&mut out, session_id, &error.code, &error.message, ids);
        }
        StreamEvent::Deleted => {}
    }
    out
}

/// The last frame of a reader that was too slow.
pub(crate) fn lagged(session_id: SessionId, ids: &mut EventIds) -> String {
    let mut out = String::new();
    let message = "This stream was read too slowly and is closed; list the items and open a new one.";
    error_frame(&mut out, session_id, "stream_lagged", message, ids);
    out
}

fn session_word(kind: SessionNotice) -> &'static str {
    match kind {
        SessionNotice::Created => "created",
        SessionNotice::InProgress => "in_progress",
        SessionNotice::RequiresAction => "requires_action",
        SessionNotice::Idle => "idle",
        SessionNotice::Failed => "failed",
    }
}

fn turn_word(kind: TurnNotice) -> &'static str {
    match kind {
        TurnNotice::Created => "created",
        TurnNotice::InProgress => "in_progress",
        TurnNotice::Completed => "completed",
        TurnNotice::Failed => "failed",
        TurnNotice::Cancelled => "cancelled",
    }
}

fn subagent_word(kind: SubagentNotice) -> &'static str {
    match kind {
        SubagentNotice::Created => "created",
        SubagentNotice::Active => "active",
        SubagentNotice::Closed => "closed",
    }
}

fn environment_word(kind: EnvironmentNotice) -> &'static str {
    match kind {
        EnvironmentNotice::Pending => "pending",
        EnvironmentNotice::Ready => "ready",
        EnvironmentNotice::Connected => "connected",
        EnvironmentNotice::Suspended => "suspended",
        EnvironmentNotice::Disconnected => "disconnected",
        EnvironmentNotice::Reset { .. } => "reset",
        EnvironmentNotice::Failed => "failed",
    }
}

fn has_usage(kind: TurnNotice) -> bool {
    match kind {
        TurnNotice::Completed | TurnNotice::Failed | TurnNotice::Cancelled => true,
        TurnNotice::Created | TurnNotice::InProgress => false,
    }
}

fn item_body(session_id: SessionId, item: &Item) -> Value {
    json!({
        "session_id": session_id,
        "turn_id": item.turn_id,
        "item_id": item.id,
        "output_index": item.output_index,
        "item": super::item(item),
    })
}

/// Adds what belongs to the part and gives the event's name.
fn part_body(body: &mut Value, index: u32, of: PartOf, notice: &PartNotice) -> &'static str {
    let (index_name, part_type) = match of {
        PartOf::Message => ("content_index", "output_text"),
        PartOf::Reasoning => ("summary_index", "summary_text"),
    };
    body[index_name] = json!(index);
    let part = |text: &str| json!({"type": part_type, "text": text});
    match notice {
        PartNotice::Added => body["part"] = part(""),
        PartNotice::Delta(delta) => body["delta"] = json!(delta),
        PartNotice::TextDone(text) => body["text"] = json!(text),
        PartNotice::Done { text, incomplete } => {
            body["part"] = part(text);
            if *incomplete && of == PartOf::Reasoning {
                body["status"] = json!("incomplete");
            }
        }
    }
    match (of, notice) {
        (PartOf::Message, PartNotice::Added) => "agent.session.turn.content_part.added",
        (PartOf::Message, PartNotice::Delta(_)) => "agent.session.turn.output_text.delta",
        (PartOf::Message, PartNotice::TextDone(_)) => "agent.session.turn.output_text.done",
        (PartOf::Message, PartNotice::Done { .. }) => "agent.session.turn.content_part.done",
        (PartOf::Reasoning, PartNotice::Added) => "agent.session.turn.reasoning_summary_part.added",
        (PartOf::Reasoning, PartNotice::Delta(_)) => "agent.session.turn.reasoning_summary_text.delta",
        (PartOf::Reasoning, PartNotice::TextDone(_)) => "agent.session.turn.reasoning_summary_text.done",
        (PartOf::Reasoning, PartNotice::Done { .. }) => "agent.session.turn.reasoning_summary_part.done",
    }
}

fn error_frame(out: &mut String, session_id: SessionId, code: &str, message: &str, ids: &mut EventIds) {
    let error = json!({"type": "server_error", "code": code, "message": message, "param": null});
    frame(out, "error", json!({"session_id": session_id, "error": error}), ids);
}

fn frame(out: &mut String, name: &str, mut body: Value, ids: &mut EventIds) {
    body["type"] = json!(name);
    body["event_id"] = json!(ids.next());
    // Compact JSON escapes every line break, so the data is one line.
    out.push_str(&format!("event: {name}\ndata: {body}\n\n"));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tenure_journal::{
        AgentId, ItemBody, ItemId, ItemStatus, Timestamp, Turn, TurnError, TurnId, TurnStatus,
    };

    use super::*;
    use crate::show::session::tests::{fresh, view};

    fn parse(text: &str) -> Vec<(String, Value)> {
        let frames = text.split_terminator("\n\n");
        frames
            .map(|frame| {
                let (event, data) = frame.split_once('\n').expect("two lines");
                let data = data.strip_prefix("data: ").expect("data");
                assert!(!data.contains('\n'));
                let body: Value = serde_json::from_str(data).expect("JSON");
                let event = event.strip_prefix("event: ").expect("event");
                assert_eq!(body["type"], event);
                (event.to_owned(), body)
            })
            .collect()
    }

    fn shown(event: &StreamEvent) -> Vec<(String, Value)> {
        let session = view().key.session;
        parse(&frames(session, event, &mut EventIds::new(1)))
    }

    fn part(of: PartOf, notice: PartNotice) -> (String, Value) {
        let fresh = fresh();
        let event = StreamEvent::Part {
            turn_id: TurnId::fresh(&fresh),
            item_id: ItemId::fresh(&fresh),
            output_index: 2,
            part: 1,
            of,
            notice,
        };
        shown(&event).remove(0)
    }

    #[test]
    fn session_events_carry_the_whole_session() {
        for (kind, name) in [
            (SessionNotice::Created, "agent.session.created"),
            (SessionNotice::InProgress, "agent.session.in_progress"),
            (SessionNotice::RequiresAction, "agent.session.requires_action"),
            (SessionNotice::Idle, "agent.session.idle"),
            (SessionNotice::Failed, "agent.session.failed"),
        ] {
            let event = StreamEvent::Session { kind, session: Arc::new(view()) };
            let (found, body) = shown(&event).remove(0);
            assert_eq!((found.as_str(), &body["session"]["object"]), (name, &json!("agent.session")));
        }
    }

    #[test]
    fn part_events_are_named_after_what_they_belong_to() {
        let (name, body) = part(PartOf::Message, PartNotice::Delta("a\nb".into()));
        assert_eq!(name, "agent.session.turn.output_text.delta");
        assert_eq!(
            (&body["delta"], &body["content_index"], &body["output_index"]),
            (&json!("a\nb"), &json!(1), &json!(2))
        );
        let (name, body) = part(PartOf::Message, PartNotice::Added);
        assert_eq!(name, "agent.session.turn.content_part.added");
        assert_eq!(body["part"], json!({"type": "output_text", "text": ""}));
        let (name, body) = part(PartOf::Reasoning, PartNotice::Done { text: "t".into(), incomplete: true });
        assert_eq!(name, "agent.session.turn.reasoning_summary_part.done");
        assert_eq!(body["part"], json!({"type": "summary_text", "text": "t"}));
        assert_eq!((&body["status"], &body["summary_index"]), (&json!("incomplete"), &json!(1)));
        let (name, body) = part(PartOf::Reasoning, PartNotice::TextDone("t".into()));
        assert_eq!(
            (name.as_str(), &body["text"]),
            ("agent.session.turn.reasoning_summary_text.done", &json!("t"))
        );
    }

    #[test]
    fn inputs_have_a_null_output_index() {
        let fresh = fresh();
        let item = Item {
            id: ItemId::fresh(&fresh),
            turn_id: TurnId::fresh(&fresh),
            status: ItemStatus::Completed,
            output_index: None,
            step: None,
            body: ItemBody::UserMessage { content: vec![], by_agent: false },
            labels: tenure_journal::Labels::NEUTRAL,
        };
        let (name, body) = shown(&StreamEvent::ItemAdded { item: item.clone() }).remove(0);
        assert_eq!((name.as_str(), &body["output_index"]), ("agent.session.turn.item.added", &Value::Null));
        assert_eq!(body["item"]["id"], json!(item.id));
    }

    #[test]
    fn a_failed_turn_and_its_error_are_two_events() {
        let fresh = fresh();
        let turn = Turn {
            id: TurnId::fresh(&fresh),
            agent_id: AgentId::fresh(&fresh),
            status: TurnStatus::Failed,
            created_at: Timestamp::EPOCH,
            started_at: None,
            completed_at: None,
            error: Some(TurnError { code: "rate_limit_exceeded".into(), message: "slow".into() }),
            usage: None,
            cache_ttl: None,
        };
        let mut ids = EventIds::new(1);
        let session = view().key.session;
        let error = turn.error.clone().expect("failed");
        let mut text = frames(session, &StreamEvent::Error { turn_id: turn.id, error }, &mut ids);
        text.push_str(&frames(session, &StreamEvent::Turn { kind: TurnNotice::Failed, turn }, &mut ids));
        let found = parse(&text);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["error", "agent.session.turn.failed"]);
        assert_eq!(found[0].1["error"]["code"], "rate_limit_exceeded");
        assert_eq!(found[1].1["usage"], Value::Null);
        assert_ne!(found[0].1["event_id"], found[1].1["event_id"]);
    }

    #[test]
    fn a_deletion_is_silent() {
        assert!(shown(&StreamEvent::Deleted).is_empty());
    }
}
