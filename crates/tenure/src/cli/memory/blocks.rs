//! Pinned blocks on the command line.

use std::io::Read as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::Context;
use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::{self, Column, text};
use super::{BLOCKS, ScopeArgs, one_line};

#[derive(Debug, Args)]
pub(super) struct BlocksArgs {
    #[command(subcommand)]
    command: BlocksCommand,
}

#[derive(Debug, Subcommand)]
enum BlocksCommand {
    /// List the blocks of a scope
    Ls {
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Print a block's text
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Write a block; its text is read from standard input unless it is given
    Set {
        /// Its name: lower-case letters, digits, `-` and `_`
        name: String,
        /// Its text
        text: Option<String>,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Remove a block; its versions stay
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Show every version of a block
    History {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
}

pub(super) async fn blocks(cx: &mut Context, client: &Client, args: &BlocksArgs) -> Result<(), CliError> {
    match &args.command {
        BlocksCommand::Ls { scope } => {
            let found = of_scope(client, &scope.resolved(client).await?).await?;
            output::list(&mut cx.world.out, cx.format, &columns(), &found)
        }
        BlocksCommand::Show { name, scope } => {
            let found = named(client, scope, name).await?;
            output::one(&mut cx.world.out, cx.format, text(&found, "/text"), &found)
        }
        BlocksCommand::Set { name, text: given, scope } => {
            let given = match given {
                Some(text) => text.clone(),
                None => {
                    let mut text = String::new();
                    std::io::stdin().read_to_string(&mut text)?;
                    text
                }
            };
            let body = json!({"scope": scope.resolved(client).await?, "name": name, "text": given});
            let kept = client.post(BLOCKS, &body).await?;
            let shown = format!("{} is at version {}", text(&kept, "/name"), kept["version"]);
            output::one(&mut cx.world.out, cx.format, &shown, &kept)
        }
        BlocksCommand::Rm { name, scope } => {
            let found = named(client, scope, name).await?;
            let removed = client.delete(&format!("{BLOCKS}/{}", text(&found, "/id"))).await?;
            output::one(&mut cx.world.out, cx.format, &format!("removed {name}"), &removed)
        }
        BlocksCommand::History { name, scope } => {
            let found = named(client, scope, name).await?;
            let history = client.get(&format!("{BLOCKS}/{}/history", text(&found, "/id")), &[]).await?;
            let rows = history["data"].as_array().cloned().unwrap_or_default();
            output::list(&mut cx.world.out, cx.format, &columns(), &rows)
        }
    }
}

fn columns() -> [Column; 5] {
    [
        Column::at("NAME", "/name"),
        Column::new("VERSION", |row| row["version"].to_string()),
        Column::at("CHANGED", "/updated_at"),
        Column::new("WAITS", |row| if row["proposed"].is_null() { String::new() } else { "yes".to_owned() }),
        Column::new("TEXT", |row| one_line(text(row, "/text"))),
    ]
}

/// The blocks of a scope.
pub(super) async fn of_scope(client: &Client, scope: &str) -> Result<Vec<Value>, CliError> {
    let found = client.get(BLOCKS, &[("scope", scope)]).await?;
    Ok(found["data"].as_array().cloned().unwrap_or_default())
}

async fn named(client: &Client, scope: &ScopeArgs, name: &str) -> Result<Value, CliError> {
    let scope = scope.resolved(client).await?;
    let found = of_scope(client, &scope).await?.into_iter().find(|block| text(block, "/name") == name);
    found.ok_or_else(|| {
        CliError::not_found(format!("`{scope}` has no block `{name}`"))
            .fix(format!("tenure memory blocks ls --scope {scope}"))
    })
}
