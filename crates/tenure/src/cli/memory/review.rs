//! What agents want remembered, and a person's answer.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure_journal::is_proposal_id;

use super::super::Context;
use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::{self, Column, text};
use super::{BLOCKS, FACTS, PROCEDURES, SETTINGS, ScopeArgs, blocks, one_line, procedures};

#[derive(Debug, Args)]
pub(super) struct ReviewArgs {
    #[command(subcommand)]
    command: ReviewCommand,
}

#[derive(Debug, Subcommand)]
enum ReviewCommand {
    /// List what waits in a scope
    Ls {
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Accept what waits: it is believed, shown or gone by, from then on
    Accept {
        /// The id of a fact, a block or a procedure
        id: String,
    },
    /// Reject what waits
    Reject {
        /// The id of a fact, a block or a procedure
        id: String,
        /// Why; kept with a fact and a procedure
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let what agents write in a scope wait for a person
    On {
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Let agents write in a scope directly
    Off {
        #[command(flatten)]
        scope: ScopeArgs,
    },
}

pub(super) async fn review(cx: &mut Context, client: &Client, args: &ReviewArgs) -> Result<(), CliError> {
    match &args.command {
        ReviewCommand::Ls { scope } => {
            let scope = scope.resolved(client).await?;
            let query = [("scope", scope.as_str()), ("state", "proposed"), ("order", "asc")];
            let mut waiting = client.list(FACTS, &query).await?;
            let proposed = blocks::of_scope(client, &scope).await?;
            waiting.extend(proposed.into_iter().filter(|block| !block["proposed"].is_null()));
            waiting.extend(procedures::of_scope(client, &scope, "proposed").await?);
            output::list(&mut cx.world.out, cx.format, &columns(), &waiting)
        }
        ReviewCommand::Accept { id } => answer(cx, client, id, "accept", &json!({})).await,
        ReviewCommand::Reject { id, reason } => {
            let body = if kind(id) == BLOCKS { json!({}) } else { json!({ "reason": reason }) };
            answer(cx, client, id, "reject", &body).await
        }
        ReviewCommand::On { scope } => set(cx, client, scope, true).await,
        ReviewCommand::Off { scope } => set(cx, client, scope, false).await,
    }
}

fn columns() -> [Column; 4] {
    [
        Column::at("ID", "/id"),
        Column::new("BY", |row| {
            let by = row["sources"].as_array().and_then(|sources| sources.first());
            let by = by.or_else(|| row.pointer("/proposed/by")).unwrap_or(&Value::Null);
            let session = text(by, "/session_id");
            if session.is_empty() { text(by, "/id").to_owned() } else { session.to_owned() }
        }),
        Column::new("INTEGRITY", |row| {
            let labels = row.pointer("/proposed/labels").unwrap_or(&row["labels"]);
            labels["integrity"].as_str().unwrap_or("operator").to_owned()
        }),
        Column::new("WHAT", |row| {
            let statement = text(row, "/statement");
            if !statement.is_empty() {
                return one_line(statement);
            }
            let steps = text(row, "/steps");
            let what = if steps.is_empty() { text(row, "/proposed/text") } else { steps };
            format!("{}: {}", text(row, "/name"), one_line(what))
        }),
    ]
}

/// Where the server keeps what has this id.
fn kind(id: &str) -> &'static str {
    match id {
        _ if id.starts_with("fact_") => FACTS,
        _ if is_proposal_id(id) => PROCEDURES,
        _ => BLOCKS,
    }
}

async fn answer(
    cx: &mut Context,
    client: &Client,
    id: &str,
    answer: &str,
    body: &Value,
) -> Result<(), CliError> {
    let kept = client.post(&format!("{}/{id}/{answer}", kind(id)), body).await?;
    output::one(&mut cx.world.out, cx.format, &format!("{answer}ed {id}"), &kept)
}

async fn set(cx: &mut Context, client: &Client, scope: &ScopeArgs, review: bool) -> Result<(), CliError> {
    let body = json!({"scope": scope.resolved(client).await?, "review": review});
    let kept = client.put(SETTINGS, &body).await?;
    let said = if review { "what agents write waits for a person" } else { "agents write directly" };
    output::one(&mut cx.world.out, cx.format, &format!("{}: {said}", text(&kept, "/scope")), &kept)
}
