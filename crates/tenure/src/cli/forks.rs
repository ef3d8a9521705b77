//! `tenure fork`, `tenure rewind`, `tenure history` and `tenure gc`.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::error::{CliError, Exit};
use super::find::{self, PINNED_SESSIONS};
use super::output::{self, Column, age, text};
use super::transcript;

#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// The session: its id, the unique beginning of it, or `last`
    session: String,
    /// As of this moment: a version, a turn's id, or an item's id [default: now]
    #[arg(long, value_name = "MOMENT")]
    at: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RewindArgs {
    /// The session: its id, the unique beginning of it, or `last`
    session: String,
    /// The moment it goes back to: a version, a turn's id, or an item's id
    #[arg(long, value_name = "MOMENT")]
    to: String,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The session: its id, the unique beginning of it, or `last`
    session: String,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Leave alone what was last stored within this many hours, at least one
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=87_660))]
    grace_hours: Option<u64>,
}

pub(crate) async fn fork(cx: &mut Context, args: &ForkArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let session = find::session(&client, &args.session).await?;
    let body = json!({"at": args.at.as_deref().unwrap_or("latest")});
    let forked = client.post(&format!("{PINNED_SESSIONS}/{session}/fork"), &body).await?;
    cx.note(&format!("forked from {}", origin(&forked).unwrap_or_default()))?;
    output::one(&mut cx.world.out, cx.format, text(&forked, "/id"), &forked)?;
    Ok(Exit::Done)
}

pub(crate) async fn rewind(cx: &mut Context, args: &RewindArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let session = find::session(&client, &args.session).await?;
    let path = format!("{PINNED_SESSIONS}/{session}/rewind");
    let rewound = client.post(&path, &json!({"to": args.to})).await?;
    cx.note("what happened since stays in its journal: `tenure history` shows it")?;
    output::one(&mut cx.world.out, cx.format, &format!("{session} is as it was at {}", args.to), &rewound)?;
    Ok(Exit::Done)
}

pub(crate) async fn history(cx: &mut Context, args: &HistoryArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let session = find::session(&client, &args.session).await?;
    let moments = client.list(&format!("{PINNED_SESSIONS}/{session}/history"), &[]).await?;
    if moments.is_empty() {
        cx.note("nothing happened yet")?;
    }
    let now = cx.world.now;
    output::list(&mut cx.world.out, cx.format, &columns(now), &moments)?;
    Ok(Exit::Done)
}

pub(crate) async fn gc(cx: &mut Context, args: &GcArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let body = match args.grace_hours {
        Some(hours) => json!({"grace_seconds": hours * 3600}),
        None => json!({}),
    };
    let collected = client.post("/v1/tenure/collect", &body).await?;
    if collected["damaged"] == true {
        return Err(CliError::failed(
            "damaged",
            "files that sessions refer to are missing; nothing was removed",
        )
        .fix("run `tenure doctor`, and restore a backup"));
    }
    let count = |name: &str| collected[name].as_u64().unwrap_or(0);
    let line = format!(
        "removed {} of {} old payloads, {} bytes; read {} sessions",
        count("payloads_removed"),
        count("payloads_old"),
        count("bytes_removed"),
        count("sessions_read")
    );
    output::one(&mut cx.world.out, cx.format, &line, &collected)?;
    Ok(Exit::Done)
}

/// Where a session comes from, if it is a fork: `sess_…@version`.
pub(crate) fn origin(session: &Value) -> Option<String> {
    let version = session.pointer("/forked_from/version").and_then(Value::as_u64)?;
    Some(format!("{}@{version}", text(session, "/forked_from/session_id")))
}

fn columns(now: i64) -> [Column; 4] {
    [
        Column::new("VERSION", |moment| {
            moment
                .get("version")
                .and_then(Value::as_u64)
                .map_or_else(String::new, |version| version.to_string())
        }),
        Column::new("AGE", move |moment| {
            let at = moment.get("at").and_then(Value::as_i64);
            at.map(|at| age(now, at)).unwrap_or_default()
        }),
        Column::at("MOMENT", "/id"),
        Column::new("WHAT", |moment| match text(moment, "/type") {
            "item" => {
                let whole = transcript::item(&moment["item"]);
                let words: Vec<&str> = whole.split_whitespace().collect();
                words.join(" ").chars().take(WHAT_CHARS_MAX).collect()
            }
            "rewound" => format!("went back to version {}", moment["to"]),
            _ => format!("turn {}", text(moment, "/status")),
        }),
    ]
}

/// Characters of what is shown of a moment.
const WHAT_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::output::tests::Captured;

    #[test]
    fn lists_moments() {
        let moments = [
            json!({"version": 7, "at": 40, "id": "item_1", "type": "item", "item":
                {"type": "message", "role": "user", "status": "completed",
                 "content": [{"type": "input_text", "text": "Refund\nplease"}]}}),
            json!({"version": 12, "at": 100, "id": "turn_1", "type": "turn", "status": "completed"}),
            json!({"version": 13, "at": 100, "id": "13", "type": "rewound", "to": 7}),
        ];
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &columns(100), &moments).expect("written");
        assert_eq!(
            captured.text(),
            "VERSION  AGE  MOMENT  WHAT\n\
             7        1m   item_1  user Refund please\n\
             12       0s   turn_1  turn completed\n\
             13       0s   13      went back to version 7\n"
        );
    }

    #[test]
    fn says_where_a_fork_comes_from() {
        let fork = json!({"forked_from": {"session_id": "sess_1", "version": 9}});
        assert_eq!(origin(&fork).as_deref(), Some("sess_1@9"));
        assert_eq!(origin(&json!({"forked_from": null})), None);
    }
}
