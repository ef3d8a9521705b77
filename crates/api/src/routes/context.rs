//! `/v1/tenure/sessions/{session}/context`: what the model was shown at a step, by section, and why.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_session::{Entry, Part, Section, Session, Shown, ShownStep, Why};

use super::sessions::key;
use crate::call::Call;
use crate::error::ApiError;

/// The context of the step that `step` names, counted from 1, or of the latest: built again from the journal.
pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["step"])?;
    let wanted = call.query.one("step")?.map(number).transpose()?;
    let key = key(&call)?;
    let journal = call.app.runtime.journal(key).await?;
    let exists = Session::fold(key, None, &journal).is_some_and(|state| !state.is_deleted());
    if !exists {
        return Err(ApiError::not_found("session"));
    }
    let step = Session::shown_at(key, &journal, wanted).ok_or_else(|| ApiError::not_found("step"))?;
    let mut body = shown(&step);
    body["session_id"] = json!(key.session);
    Ok(Json(body).into_response())
}

fn number(text: &str) -> Result<u64, ApiError> {
    let wrong = || ApiError::invalid("Invalid 'step': it is the number of a step, from 1.").param("step");
    text.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)
}

fn shown(step: &ShownStep) -> Value {
    let total: u64 = step.context.sections.iter().map(|section| section.tokens).sum();
    let request = &step.context.request;
    json!({
        "object": "tenure.session.context",
        "step": step.number,
        "steps": step.steps,
        "turn_id": step.turn.map(|(turn, _)| turn),
        "turn_step": step.turn.map(|(_, step)| step),
        "attempt": step.attempt,
        "version": step.version,
        "at": step.at.as_millis(),
        "model": request.model,
        "window": step.size.map(|size| json!({"tokens": size.window, "reserved": size.reserved})),
        "tokens": {
            "counted": step.size.map_or(total, |size| size.counted),
            "expected": step.size.map(|size| size.expected),
            "measured": step.usage.map(|usage| usage.input_tokens),
        },
        "sections": step.context.sections.iter().map(|one| section(one, total)).collect::<Vec<_>>(),
    })
}

fn section(section: &Section, total: u64) -> Value {
    let percent = (section.tokens as f64 * 1_000.0 / total.max(1) as f64).round() / 10.0;
    json!({
        "section": part(section.part),
        "tokens": section.tokens,
        "percent": percent,
        "entries": section.entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn entry(entry: &Entry) -> Value {
    let (kind, content) = match &entry.content {
        Shown::Text(text) => ("text", json!(text)),
        Shown::Item(item) => ("item", json!(item)),
        Shown::Tool(tool) => ("tool", json!(tool)),
    };
    json!({
        "why": why(entry.why),
        "tokens": entry.tokens,
        "item_id": entry.item,
        "place": entry.place,
        "kind": kind,
        "content": content,
    })
}

fn part(part: Part) -> &'static str {
    match part {
        Part::Instructions => "instructions",
        Part::Skills => "skills",
        Part::Pinned => "pinned",
        Part::Past => "past",
        Part::Recent => "recent",
        Part::Tools => "tools",
    }
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Kept => "kept",
        Why::Shortened => "shortened",
        Why::Pinned => "pinned",
        Why::Compacted => "compacted",
        Why::Dropped => "dropped",
    }
}
