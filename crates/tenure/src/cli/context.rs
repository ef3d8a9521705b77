//! `tenure sessions context`: what the model was shown at a step.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::error::{CliError, Exit};
use super::find::{self, PINNED_SESSIONS};
use super::output::{self, Column, Format, text};

#[derive(Debug, Args)]
pub(crate) struct ContextArgs {
    /// The session: its id, the unique beginning of it, or `last`
    session: String,
    /// Which of the session's steps, counted from 1 [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    step: Option<u64>,
}

pub(crate) async fn context(cx: &mut Context, args: &ContextArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let session = find::session(&client, &args.session).await?;
    let step = args.step.map(|step| step.to_string());
    let query: Vec<(&str, &str)> = step.iter().map(|step| ("step", step.as_str())).collect();
    let found = client.get(&format!("{PINNED_SESSIONS}/{session}/context"), &query).await?;
    if cx.format != Format::Table {
        output::one(&mut cx.world.out, cx.format, &session, &found)?;
        return Ok(Exit::Done);
    }
    cx.note(&heading(&found))?;
    output::list(&mut cx.world.out, cx.format, &columns(), &rows(&found))?;
    Ok(Exit::Done)
}

/// Which step it is, of what size.
fn heading(found: &Value) -> String {
    let number = |path: &str| found.pointer(path).and_then(Value::as_u64);
    let known = |path: &str| number(path).map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    format!(
        "step {} of {} with {}: {} tokens counted, {} by the provider; the window holds {}, {} of them for the answer",
        known("/step"),
        known("/steps"),
        text(found, "/model"),
        known("/tokens/counted"),
        known("/tokens/measured"),
        known("/window/tokens"),
        known("/window/reserved"),
    )
}

/// A row for each section, and below it one for each thing in it.
fn rows(found: &Value) -> Vec<Value> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for section in list(found, "sections") {
        let entries = list(&section, "entries");
        rows.push(
            json!({"id": section["section"], "section": section["section"], "tokens": section["tokens"],
            "share": format!("{} %", section["percent"]), "what": format!("{} entries", entries.len())}),
        );
        for entry in entries {
            rows.push(json!({"id": entry["item_id"], "tokens": entry["tokens"], "why": entry["why"],
                "item": entry["item_id"], "what": what(&entry)}));
        }
    }
    rows
}

/// An entry in a few words.
fn what(entry: &Value) -> String {
    let content = &entry["content"];
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let output = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (text(entry, "/kind"), text(content, "/type")) {
        ("text", _) => words(content.as_str().unwrap_or_default()),
        ("tool", _) => words(&format!("{}: {}", text(content, "/name"), text(content, "/description"))),
        (_, "user") => {
            let parts = content["content"].as_array().cloned().unwrap_or_default();
            let texts: Vec<&str> =
                parts.iter().map(|part| part["text"].as_str().unwrap_or("[image]")).collect();
            words(&format!("user: {}", texts.join(" ")))
        }
        (_, "call") => words(&format!("call {} {}", text(content, "/name"), text(content, "/arguments"))),
        (_, "call_result") => words(&format!("result: {}", output(&content["output"]))),
        (_, "reasoning") => "reasoning".to_owned(),
        (_, kind) => words(&format!("{kind}: {}", text(content, "/text"))),
    }
}

fn columns() -> [Column; 6] {
    [
        Column::at("SECTION", "/section"),
        Column::new("TOKENS", |row| row.get("tokens").map(Value::to_string).unwrap_or_default()),
        Column::at("SHARE", "/share"),
        Column::at("WHY", "/why"),
        Column::at("ITEM", "/item"),
        Column::at("WHAT", "/what"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::Captured;

    #[test]
    fn a_context_is_shown_by_section() {
        let found = json!({"step": 2, "steps": 3, "model": "m", "tokens": {"counted": 100, "measured": 90},
            "window": {"tokens": 8192, "reserved": 2048}, "sections": [
                {"section": "instructions", "tokens": 10, "percent": 10.0, "entries": [
                    {"why": "kept", "tokens": 10, "item_id": null, "kind": "text", "content": "Be\nbrief."}]},
                {"section": "past", "tokens": 60, "percent": 60.0, "entries": [
                    {"why": "compacted", "tokens": 60, "item_id": null, "kind": "item",
                     "content": {"type": "user", "content": [{"type": "text", "text": "A summary."}]}}]},
                {"section": "recent", "tokens": 30, "percent": 30.0, "entries": [
                    {"why": "kept", "tokens": 10, "item_id": "item_1", "kind": "item",
                     "content": {"type": "call", "call_id": "c", "name": "find", "arguments": "{}"}},
                    {"why": "shortened", "tokens": 20, "item_id": "item_1", "kind": "item",
                     "content": {"type": "call_result", "call_id": "c", "output": "a … b"}}]}]});
        assert_eq!(
            heading(&found),
            "step 2 of 3 with m: 100 tokens counted, 90 by the provider; the window holds 8192, 2048 of them for the answer"
        );
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &columns(), &rows(&found)).expect("written");
        assert_eq!(
            captured.text(),
            "SECTION       TOKENS  SHARE   WHY        ITEM    WHAT\n\
             instructions  10      10.0 %                     1 entries\n\
             \x20             10              kept               Be brief.\n\
             past          60      60.0 %                     1 entries\n\
             \x20             60              compacted          user: A summary.\n\
             recent        30      30.0 %                     2 entries\n\
             \x20             10              kept       item_1  call find {}\n\
             \x20             20              shortened  item_1  result: a … b\n"
        );
    }
}
