//! `tenure labels`: what flowed into a session, which events made it so, and what was granted.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::error::{CliError, Exit};
use super::find::{self, PINNED_SESSIONS};
use super::output::{self, Column, Format, age, text};

#[derive(Debug, Args)]
pub(crate) struct LabelsArgs {
    /// The session: its id, the unique beginning of it, or `last`
    session: String,
}

pub(crate) async fn labels(cx: &mut Context, args: &LabelsArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let session = find::session(&client, &args.session).await?;
    let found = client.get(&format!("{PINNED_SESSIONS}/{session}/labels"), &[]).await?;
    if cx.format != Format::Table {
        output::one(&mut cx.world.out, cx.format, &session, &found)?;
        return Ok(Exit::Done);
    }
    let rows = |name: &str| found.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut changes = rows("changes");
    changes.push(json!({"what": "now", "labels": found["labels"]}));
    changes.push(json!({"what": "its files", "labels": found["files"]}));
    let now = cx.world.now;
    output::list(&mut cx.world.out, cx.format, &columns(now), &changes)?;
    for grant in rows("grants") {
        let uses = format!("{} of {} uses", grant["uses"], grant["uses_max"]);
        cx.note(&format!("granted: {} {} ({uses})", text(&grant, "/tool"), grant["arguments"]))?;
    }
    Ok(Exit::Done)
}

fn columns(now: i64) -> [Column; 7] {
    let words = |path: &'static str| {
        move |row: &Value| match row.pointer(path).and_then(Value::as_array) {
            Some(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            None => String::new(),
        }
    };
    [
        Column::new("VERSION", |row| row.get("version").map(Value::to_string).unwrap_or_default()),
        Column::new("SINCE", move |row| {
            let at = row.get("at").and_then(Value::as_i64);
            at.map(|at| age(now, at / 1_000)).unwrap_or_default()
        }),
        Column::at("WHAT", "/what"),
        Column::at("INTEGRITY", "/labels/integrity"),
        Column::at("CONFIDENTIALITY", "/labels/confidentiality"),
        Column::new("CATEGORIES", words("/labels/categories")),
        Column::new("REGIONS", words("/labels/regions")),
    ]
}
