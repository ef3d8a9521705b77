//! Facts on the command line.

use clap::Args;
use serde_json::{Value, json};

use super::super::Context;
use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::{self, Column, text};
use super::{FACTS, ScopeArgs, one_line};

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only those that are `active`, `proposed`, `closed` or `rejected`
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those about this
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only those that were true then: a date or a moment
    #[arg(long, value_name = "WHEN")]
    true_at: Option<String>,
    /// Only those that were believed then
    #[arg(long, value_name = "WHEN")]
    known_at: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// What is so, in one sentence or two
    statement: String,
    #[command(flatten)]
    scope: ScopeArgs,
    /// What it is about
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Since when it is true: a date or a moment
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// Until when it is true
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// How sure you are, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    confidence: u8,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// Its id
    fact: String,
    /// What is so instead
    statement: String,
    /// Since when that is true: a date or a moment [default: now]
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// The old statement never was true, and not only until then
    #[arg(long)]
    was_wrong: bool,
}

#[derive(Debug, Args)]
pub(super) struct CloseArgs {
    /// Its id
    fact: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// It never was true, and not only until now
    #[arg(long)]
    was_wrong: bool,
}

pub(super) async fn ls(cx: &mut Context, client: &Client, args: &LsArgs) -> Result<(), CliError> {
    let scope = args.scope.resolved(client).await?;
    let mut query = vec![("scope", scope.as_str()), ("order", "asc")];
    let given = [
        ("state", &args.state),
        ("subject", &args.subject),
        ("true_at", &args.true_at),
        ("known_at", &args.known_at),
    ];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
    let mut facts = client.list(FACTS, &query).await?;
    facts.sort_by_key(|fact| (text(fact, "/subject").to_owned(), text(fact, "/learned_at").to_owned()));
    output::list(&mut cx.world.out, cx.format, &columns(), &facts)
}

pub(super) fn columns() -> [Column; 5] {
    [
        Column::at("FACT", "/id"),
        Column::at("STATE", "/state"),
        Column::at("LEARNED", "/learned_at"),
        Column::at("SUBJECT", "/subject"),
        Column::new("STATEMENT", |row| one_line(text(row, "/statement"))),
    ]
}

pub(super) async fn show(cx: &mut Context, client: &Client, fact: &str) -> Result<(), CliError> {
    let found = client.get(&format!("{FACTS}/{fact}"), &[]).await?;
    let lines = [
        ("statement", text(&found, "/statement")),
        ("subject", text(&found, "/subject")),
        ("scope", text(&found, "/scope")),
        ("state", text(&found, "/state")),
        ("true from", text(&found, "/valid_from")),
        ("true until", text(&found, "/valid_to")),
        ("learned", text(&found, "/learned_at")),
        ("closed", text(&found, "/closed_at")),
        ("reason", text(&found, "/reason")),
        ("supersedes", text(&found, "/supersedes")),
        ("superseded by", text(&found, "/superseded_by")),
    ];
    let mut shown: Vec<String> = lines
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<14} {}", one_line(value)))
        .collect();
    for source in found["sources"].as_array().into_iter().flatten() {
        let who = match text(source, "/type") {
            "agent" => format!("{} {}", text(source, "/session_id"), text(source, "/item_id")),
            _ => text(source, "/id").to_owned(),
        };
        shown.push(format!("{:<14} {} {who}", "said", text(source, "/at")));
    }
    output::one(&mut cx.world.out, cx.format, &shown.join("\n"), &found)
}

pub(super) async fn history(cx: &mut Context, client: &Client, fact: &str) -> Result<(), CliError> {
    let found = client.get(&format!("{FACTS}/{fact}/history"), &[]).await?;
    let rows = found["data"].as_array().cloned().unwrap_or_default();
    let columns = [
        Column::new("VERSION", |row| row["version"].to_string()),
        Column::at("AT", "/updated_at"),
        Column::at("STATE", "/state"),
        Column::new("SAID", |row| row["said"].to_string()),
        Column::new("STATEMENT", |row| one_line(text(row, "/statement"))),
    ];
    output::list(&mut cx.world.out, cx.format, &columns, &rows)
}

pub(super) async fn add(cx: &mut Context, client: &Client, args: &AddArgs) -> Result<(), CliError> {
    let body = json!({
        "scope": args.scope.resolved(client).await?,
        "statement": args.statement,
        "subject": args.subject,
        "valid_from": args.from,
        "valid_to": args.until,
        "confidence": args.confidence,
    });
    let kept = client.post(FACTS, &body).await?;
    told(cx, &kept)
}

pub(super) async fn edit(cx: &mut Context, client: &Client, args: &EditArgs) -> Result<(), CliError> {
    let body = json!({"statement": args.statement, "valid_from": args.from, "was_wrong": args.was_wrong});
    let kept = client.post(&format!("{FACTS}/{}/correct", args.fact), &body).await?;
    told(cx, &kept)
}

pub(super) async fn restore(cx: &mut Context, client: &Client, fact: &str) -> Result<(), CliError> {
    let kept = client.post(&format!("{FACTS}/{fact}/restore"), &json!({})).await?;
    told(cx, &kept)
}

pub(super) async fn close(cx: &mut Context, client: &Client, args: &CloseArgs) -> Result<(), CliError> {
    let body = json!({"reason": args.reason, "was_wrong": args.was_wrong});
    let kept = client.post(&format!("{FACTS}/{}/close", args.fact), &body).await?;
    told(cx, &kept)
}

/// What came of a change, and to which fact.
pub(super) fn told(cx: &mut Context, kept: &Value) -> Result<(), CliError> {
    let shown = format!("{} {}", text(kept, "/outcome"), text(kept, "/id"));
    output::one(&mut cx.world.out, cx.format, &shown, kept)
}
