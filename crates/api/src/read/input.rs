//! What a client submits to a session: messages, results and answers.

use tenure_journal::{ApprovalId, Decision, FunctionOutput, InputPart, Party, Timestamp, limit};
use tenure_session::{Command, Refusal};

use super::reader::{Field, Reader};
use super::trust::{read_expiry, read_uses};
use crate::error::ApiError;

/// Characters of one text: the body limit is what really bounds it.
const TEXT_CHARS_MAX: usize = 4 * 1024 * 1024;
/// Parts of one message.
const PARTS_MAX: usize = 256;
/// Events of one batch.
const EVENTS_MAX: usize = 256;
/// Characters of a call's id.
const CALL_ID_CHARS_MAX: usize = 256;

/// The body of `POST /events`. `by` is who answers approvals.
pub(crate) fn read_events(mut reader: Reader<'_>, by: &Party) -> Result<Vec<Command>, ApiError> {
    let events = reader.required("events")?.array(EVENTS_MAX)?;
    reader.finish()?;
    let mut commands = Vec::new();
    for event in events {
        read_event(event, by, &mut commands)?;
    }
    Ok(commands)
}

const EVENT_TYPES: &[&str] = &[
    "agent.session.input.message",
    "agent.session.input.cancel",
    "agent.session.input.tool_result",
    "agent.session.input.mcp_approval_request_result",
    "agent.session.input.computer_use_approval_request_result",
];

fn read_event(field: Field<'_>, by: &Party, commands: &mut Vec<Command>) -> Result<(), ApiError> {
    let path = field.path().to_owned();
    let mut reader = field.object()?;
    let kind = reader
        .required("type")?
        .word(EVENT_TYPES, |word| EVENT_TYPES.iter().find(|known| **known == word).copied())?;
    match kind {
        "agent.session.input.message" => {
            let messages = read_messages(&reader.required("input")?)?;
            commands.extend(messages.into_iter().map(|content| Command::Message { content }));
        }
        "agent.session.input.cancel" => commands.push(Command::Cancel),
        "agent.session.input.tool_result" => commands.push(read_result(&mut reader)?),
        "agent.session.input.mcp_approval_request_result" => read_decision(&mut reader, by, commands)?,
        _ => return Err(ApiError::unsupported("computer use").param(format!("{path}.type"))),
    }
    reader.finish()
}

/// A session's first input: a string, or messages.
pub(super) fn read_input(field: &Field<'_>) -> Result<Vec<Vec<InputPart>>, ApiError> {
    if field.value().is_string() {
        return Ok(vec![vec![InputPart::text(field.text(TEXT_CHARS_MAX)?)]]);
    }
    read_messages(field)
}

fn read_messages(field: &Field<'_>) -> Result<Vec<Vec<InputPart>>, ApiError> {
    let messages = field.array(limit::QUEUED_INPUTS_MAX)?;
    if messages.is_empty() {
        return Err(empty(field));
    }
    messages.into_iter().map(read_message).collect()
}

fn read_message(field: Field<'_>) -> Result<Vec<InputPart>, ApiError> {
    let mut reader = field.object()?;
    let only = |expected: &'static str| move |word: &str| (word == expected).then_some(());
    reader.required("role")?.word(&["user"], only("user"))?;
    if let Some(kind) = reader.optional("type") {
        kind.word(&["message"], only("message"))?;
    }
    let content = reader.required("content")?;
    let parts = read_parts(&content)?;
    reader.finish()?;
    if parts.is_empty() {
        return Err(empty(&content));
    }
    Ok(parts)
}

fn read_parts(field: &Field<'_>) -> Result<Vec<InputPart>, ApiError> {
    field.array(PARTS_MAX)?.into_iter().map(read_part).collect()
}

fn read_part(field: Field<'_>) -> Result<InputPart, ApiError> {
    enum Kind {
        Text,
        Image,
    }
    let mut reader = field.object()?;
    let kind = reader.required("type")?.word(&["input_text", "input_image"], |word| match word {
        "input_text" => Some(Kind::Text),
        "input_image" => Some(Kind::Image),
        _ => None,
    })?;
    let part = match kind {
        Kind::Text => InputPart::text(reader.required("text")?.text(TEXT_CHARS_MAX)?),
        Kind::Image => {
            let url = reader.required("image_url")?;
            let image_url = url.text(TEXT_CHARS_MAX)?;
            if !is_image_url(image_url) {
                let message =
                    format!("Invalid '{}': expected an http://, https:// or data: URL.", url.path());
                return Err(url.refuse("invalid_image_url", message));
            }
            InputPart::Image { image_url: image_url.to_owned() }
        }
    };
    reader.finish()?;
    Ok(part)
}

fn is_image_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once(':') else { return false };
    let has_host = || {
        let uri = url.parse::<axum::http::Uri>().ok();
        uri.as_ref().and_then(axum::http::Uri::host).is_some_and(|host| !host.is_empty())
    };
    match scheme.to_ascii_lowercase().as_str() {
        "data" => rest.contains(','),
        "http" | "https" => has_host(),
        _ => false,
    }
}

fn read_result(reader: &mut Reader<'_>) -> Result<Command, ApiError> {
    let turn_id = reader.required("turn_id")?.string()?;
    let call_id = reader.required("call_id")?.text(CALL_ID_CHARS_MAX)?.to_owned();
    let success = reader.required("success")?.bool()?;
    let output = reader.optional_or_null("output").map(|field| read_output(&field)).transpose()?;
    let error = reader.optional_or_null("error");
    let error = error.map(|field| field.any_text(TEXT_CHARS_MAX).map(str::to_owned)).transpose()?;
    // A turn id that is none cannot name a waiting turn: the answer is that of any unknown call.
    let Ok(turn_id) = turn_id.parse() else {
        return Err(ApiError::invalid(Refusal::UnknownCall { call_id }.to_string()));
    };
    Ok(Command::FunctionResult { turn_id, call_id, success, output, error })
}

fn read_output(field: &Field<'_>) -> Result<FunctionOutput, ApiError> {
    if field.value().is_string() {
        return Ok(FunctionOutput::Text(field.any_text(TEXT_CHARS_MAX)?.to_owned()));
    }
    Ok(FunctionOutput::Content(read_parts(field)?))
}

fn read_decision(reader: &mut Reader<'_>, by: &Party, commands: &mut Vec<Command>) -> Result<(), ApiError> {
    let request_id = reader.required("request_id")?;
    let request = request_id.string()?;
    let mut response = reader.required("response")?.object()?;
    response.required("type")?.word(&["mcp_tool_call"], |word| (word == "mcp_tool_call").then_some(()))?;
    let decision =
        response.required("decision")?.word(&["approve", "deny", "cancel"], |word| match word {
            "approve" => Some(Decision::Approve),
            "deny" => Some(Decision::Deny),
            "cancel" => Some(Decision::Cancel),
            _ => None,
        })?;
    let again = response.optional_or_null("tenure").map(read_again).transpose()?.flatten();
    response.finish()?;
    match request.parse::<ApprovalId>() {
        Ok(approval_id) => {
            if let (Some((uses_max, expires_at)), Decision::Approve) = (again, decision) {
                commands.push(Command::GrantAgain { approval_id, uses_max, expires_at });
            }
            commands.push(Command::Decide { approval_id, decision, by: by.clone() });
            Ok(())
        }
        Err(_) => {
            let message = format!("no approval request `{}` in this session", super::shortened(request));
            Err(ApiError::invalid(message).param(request_id.path()))
        }
    }
}

/// Leave for further calls with the targets of the approved one: how many with it, and until when.
fn read_again(field: Field<'_>) -> Result<Option<(u32, Option<Timestamp>)>, ApiError> {
    let mut reader = field.object()?;
    let again = reader.optional_or_null("again");
    let again = again.map(|field| {
        let mut reader = field.object()?;
        let again = (read_uses(&mut reader)?, read_expiry(&mut reader)?);
        reader.finish().map(|()| again)
    });
    let again = again.transpose()?;
    reader.finish()?;
    Ok(again)
}

fn empty(field: &Field<'_>) -> ApiError {
    field.refuse("empty_array", format!("Invalid '{}': it must not be empty.", field.path()))
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::read::tests::refusal;

    fn read(events: Value) -> Result<Vec<Command>, ApiError> {
        let body = json!({"events": events});
        read_events(Reader::new("", &body)?, &Party::service("key_1", &[]))
    }

    #[track_caller]
    fn refused(events: Value, message: &str, param: Option<&str>) {
        assert_eq!(refusal(read(events)), (message.to_owned(), param.map(str::to_owned)));
    }

    fn message(content: Value) -> Value {
        json!([{"type": "agent.session.input.message", "input": [{"role": "user", "content": content}]}])
    }

    #[test]
    fn reads_each_input() {
        let text = |text: &str| json!([{"type": "input_text", "text": text}]);
        assert_eq!(
            read(message(text(" \n"))).expect("whitespace is text"),
            [Command::Message { content: vec![InputPart::text(" \n")] }]
        );
        let two = json!([{"type": "agent.session.input.message", "input": [
            {"role": "user", "type": "message", "content": text("a")}, {"role": "user", "content": text("b")}]},
            {"type": "agent.session.input.cancel"}]);
        assert!(matches!(
            read(two).expect("accepted").as_slice(),
            [Command::Message { .. }, Command::Message { .. }, Command::Cancel]
        ));
        let image = message(json!([{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]));
        assert!(read(image).is_ok());
        assert!(read(json!([])).expect("no events is no change").is_empty());

        let turn = "turn_00000000000070008000000000000001";
        let result = json!([{"type": "agent.session.input.tool_result", "turn_id": turn, "call_id": "c",
            "success": true, "output": text("done"), "error": null}]);
        assert_eq!(
            read(result).expect("accepted"),
            [Command::FunctionResult {
                turn_id: turn.parse().expect("an id"),
                call_id: "c".into(),
                success: true,
                output: Some(FunctionOutput::Content(vec![InputPart::text("done")])),
                error: None,
            }]
        );
        let approval = "apr_00000000000070008000000000000001";
        let decide = json!([{"type": "agent.session.input.mcp_approval_request_result", "request_id": approval,
            "response": {"type": "mcp_tool_call", "decision": "deny"}}]);
        assert_eq!(
            read(decide).expect("accepted"),
            [Command::Decide {
                approval_id: approval.parse().expect("an id"),
                decision: Decision::Deny,
                by: Party::service("key_1", &[]),
            }]
        );
    }

    #[test]
    fn names_the_mistake() {
        refused(
            Value::Null,
            "Invalid type for 'events': expected an array, but got null instead.",
            Some("events"),
        );
        refused(
            message(json!([])),
            "Invalid 'events[0].input[0].content': it must not be empty.",
            Some("events[0].input[0].content"),
        );
        refused(
            message(json!([{"type": "input_text", "text": ""}])),
            "Invalid 'events[0].input[0].content[0].text': it must not be empty.",
            Some("events[0].input[0].content[0].text"),
        );
        refused(
            json!([{"type": "agent.session.input.message", "input": []}]),
            "Invalid 'events[0].input': it must not be empty.",
            Some("events[0].input"),
        );
        refused(
            json!([{"type": "agent.session.input.message", "input": [{"role": "system", "content": []}]}]),
            "Invalid value: 'system'. Supported values are: 'user'.",
            Some("events[0].input[0].role"),
        );
        for url in ["file:///x", "x", "javascript:1", "https://"] {
            refused(
                message(json!([{"type": "input_image", "image_url": url}])),
                "Invalid 'events[0].input[0].content[0].image_url': expected an http://, https:// or data: URL.",
                Some("events[0].input[0].content[0].image_url"),
            );
        }
        refused(
            json!([{"type": "agent.session.input.tool_result", "turn_id": "x", "call_id": "call_7", "success": true}]),
            "Unknown pending tool call: call_7",
            None,
        );
        let (message, _) = refusal(read(json!([{"type": "agent.session.input.interrupt"}])));
        assert!(message.starts_with("Invalid value: 'agent.session.input.interrupt'."), "{message}");
    }

    #[test]
    fn input_may_be_a_string() {
        let body = json!({"input": "hi"});
        let field = Reader::new("", &body).expect("an object").required("input").expect("present");
        assert_eq!(read_input(&field).expect("accepted"), [vec![InputPart::text("hi")]]);
    }
}
