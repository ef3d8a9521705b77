//! Procedures on the command line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure_journal::{is_procedure_name, is_proposal_id};
use tenure_memory::procedure::skill;

use super::super::Context;
use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::{self, Column, text};
use super::{PROCEDURES, ScopeArgs, one_line};

#[derive(Debug, Args)]
pub(super) struct ProceduresArgs {
    #[command(subcommand)]
    command: ProceduresCommand,
}

#[derive(Debug, Subcommand)]
enum ProceduresCommand {
    /// List the procedures of a scope that are in force
    Ls {
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Print what a procedure, or a proposal, says to do
    Show(NamedArgs),
    /// Write a procedure: it is in force at once; its steps are read from standard input unless they are given
    Set {
        /// Its name: lower-case letters and digits, with single hyphens between them
        name: String,
        /// Its steps, in Markdown
        steps: Option<String>,
        /// When to use it, on one line
        #[arg(long, value_name = "TEXT")]
        description: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// List what waits for a person in a scope, or was rejected
    Review {
        /// What was rejected
        #[arg(long)]
        rejected: bool,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Accept a proposal: it is in force from then on
    Accept(NamedArgs),
    /// Reject a proposal: the same is not proposed again
    Reject {
        #[command(flatten)]
        named: NamedArgs,
        /// Why; kept with it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Remove a procedure, or a proposal; its versions stay
    Rm(NamedArgs),
    /// Show every version of a procedure, or of a proposal
    History(NamedArgs),
    /// Write procedures that are in force as Agent Skills: a folder with a `SKILL.md` for each
    Export {
        /// The directory that the folders are written to
        directory: PathBuf,
        /// Those of these names alone
        names: Vec<String>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
}

#[derive(Debug, Args)]
struct NamedArgs {
    /// Its name, or its id
    name: String,
    #[command(flatten)]
    scope: ScopeArgs,
}

pub(super) async fn procedures(
    cx: &mut Context,
    client: &Client,
    args: &ProceduresArgs,
) -> Result<(), CliError> {
    match &args.command {
        ProceduresCommand::Ls { scope } => {
            let found = of_scope(client, &scope.resolved(client).await?, "accepted").await?;
            output::list(&mut cx.world.out, cx.format, &columns(), &found)
        }
        ProceduresCommand::Show(named) => {
            let found = found(client, named, &["accepted", "proposed"]).await?;
            output::one(&mut cx.world.out, cx.format, text(&found, "/steps"), &found)
        }
        ProceduresCommand::Set { name, steps, description, scope } => {
            let steps = match steps {
                Some(steps) => steps.clone(),
                None => {
                    let mut steps = String::new();
                    std::io::stdin().read_to_string(&mut steps)?;
                    steps
                }
            };
            let scope = scope.resolved(client).await?;
            let body = json!({"scope": scope, "name": name, "description": description, "steps": steps});
            let kept = client.post(PROCEDURES, &body).await?;
            let shown = format!("{} is at version {}", text(&kept, "/name"), kept["version"]);
            output::one(&mut cx.world.out, cx.format, &shown, &kept)
        }
        ProceduresCommand::Review { rejected, scope } => {
            let status = if *rejected { "rejected" } else { "proposed" };
            let found = of_scope(client, &scope.resolved(client).await?, status).await?;
            output::list(&mut cx.world.out, cx.format, &waiting(), &found)
        }
        ProceduresCommand::Accept(named) => answer(cx, client, named, "accept", &json!({})).await,
        ProceduresCommand::Reject { named, reason } => {
            answer(cx, client, named, "reject", &json!({ "reason": reason })).await
        }
        ProceduresCommand::Rm(named) => {
            let found = found(client, named, &["accepted"]).await?;
            let removed = client.delete(&path(&found)).await?;
            let shown = format!("removed {}", text(&found, "/name"));
            output::one(&mut cx.world.out, cx.format, &shown, &removed)
        }
        ProceduresCommand::History(named) => {
            let found = found(client, named, &["accepted"]).await?;
            let history = client.get(&format!("{}/history", path(&found)), &[]).await?;
            let rows = history["data"].as_array().cloned().unwrap_or_default();
            output::list(&mut cx.world.out, cx.format, &columns(), &rows)
        }
        ProceduresCommand::Export { directory, names, scope } => {
            export(cx, client, (directory, names), scope).await
        }
    }
}

fn columns() -> [Column; 5] {
    [
        Column::at("NAME", "/name"),
        Column::new("VERSION", |row| row["version"].to_string()),
        Column::at("CHANGED", "/updated_at"),
        Column::new("BY", by),
        Column::at("DESCRIPTION", "/description"),
    ]
}

fn waiting() -> [Column; 5] {
    [
        Column::at("ID", "/id"),
        Column::new("REVISES", |row| match row["revises"].as_u64() {
            Some(version) => format!("version {version}"),
            None => String::new(),
        }),
        Column::new("BY", by),
        Column::new("INTEGRITY", |row| row.pointer("/labels/integrity").map_or("operator", word).to_owned()),
        Column::new("WHAT", |row| {
            format!("{}: {}", text(row, "/description"), one_line(text(row, "/steps")))
        }),
    ]
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Who wrote it first: the session, or the person.
fn by(row: &Value) -> String {
    let session = text(row, "/sources/0/session_id");
    if session.is_empty() { text(row, "/sources/0/id").to_owned() } else { session.to_owned() }
}

fn path(procedure: &Value) -> String {
    format!("{PROCEDURES}/{}", text(procedure, "/id"))
}

/// The procedures of a scope that stand so.
pub(super) async fn of_scope(client: &Client, scope: &str, status: &str) -> Result<Vec<Value>, CliError> {
    let found = client.get(PROCEDURES, &[("scope", scope), ("status", status)]).await?;
    Ok(found["data"].as_array().cloned().unwrap_or_default())
}

/// What a name or an id stands for: the first of these statuses that has it.
async fn found(client: &Client, named: &NamedArgs, statuses: &[&str]) -> Result<Value, CliError> {
    let name = &named.name;
    if !is_procedure_name(name) {
        return client.get(&format!("{PROCEDURES}/{name}"), &[]).await;
    }
    let scope = named.scope.resolved(client).await?;
    for status in statuses {
        let found = of_scope(client, &scope, status).await?;
        let mut found = found.into_iter().filter(|procedure| text(procedure, "/name") == name);
        match (found.next(), found.next()) {
            (None, _) => {}
            (Some(one), None) => return Ok(one),
            (Some(_), Some(_)) => {
                return Err(CliError::usage(format!("several proposals are called `{name}`; give an id"))
                    .fix(format!("tenure memory procedures review --scope {scope}")));
            }
        }
    }
    Err(CliError::not_found(format!("`{scope}` has no such procedure `{name}`"))
        .fix(format!("tenure memory procedures ls --scope {scope}")))
}

async fn answer(
    cx: &mut Context,
    client: &Client,
    named: &NamedArgs,
    answer: &str,
    body: &Value,
) -> Result<(), CliError> {
    let id = match is_proposal_id(&named.name) {
        true => named.name.clone(),
        false => text(&found(client, named, &["proposed"]).await?, "/id").to_owned(),
    };
    let kept = client.post(&format!("{PROCEDURES}/{id}/{answer}"), body).await?;
    output::one(&mut cx.world.out, cx.format, &format!("{answer}ed {}", text(&kept, "/name")), &kept)
}

/// Writes folders; a `SKILL.md` that is there is written anew.
async fn export(
    cx: &mut Context,
    client: &Client,
    (directory, names): (&Path, &[String]),
    scope: &ScopeArgs,
) -> Result<(), CliError> {
    let scope = scope.resolved(client).await?;
    let all = of_scope(client, &scope, "accepted").await?;
    let wanted =
        |procedure: &&Value| names.is_empty() || names.iter().any(|name| name == text(procedure, "/name"));
    let found: Vec<&Value> = all.iter().filter(wanted).collect();
    if let Some(name) = names.iter().find(|name| found.iter().all(|one| text(one, "/name") != name.as_str()))
    {
        return Err(CliError::not_found(format!("`{scope}` has no such procedure `{name}`"))
            .fix(format!("tenure memory procedures ls --scope {scope}")));
    }
    for procedure in found {
        let name = text(procedure, "/name");
        // It becomes the name of a directory.
        if !is_procedure_name(name) {
            return Err(super::exchange::unreadable("name"));
        }
        let folder = directory.join(name);
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("SKILL.md");
        std::fs::write(&file, skill(name, text(procedure, "/description"), text(procedure, "/steps")))?;
        cx.world.out.line(&file.display().to_string())?;
    }
    Ok(())
}
