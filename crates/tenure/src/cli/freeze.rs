//! `tenure freeze` and `tenure unfreeze`: what must not begin for now.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::find;
use super::output::{self, Column, age, text};

#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    #[command(subcommand)]
    command: FreezeCommand,
}

#[derive(Debug, Subcommand)]
enum FreezeCommand {
    /// Freeze an agent in all its sessions: what it does next waits
    Agent {
        /// Its name or id
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Freeze a tool, or all tools of a server: calls wait
    Tool {
        /// `server/name`, or `server`; this program's own tools are those of `builtin`
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Freeze everything in the project; messages are refused until it is unfrozen
    Project {
        #[command(flatten)]
        why: Why,
    },
    /// List what is frozen
    #[command(alias = "list")]
    Ls,
}

#[derive(Debug, Args)]
struct Why {
    /// Why, for whoever finds it frozen
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct UnfreezeArgs {
    #[command(subcommand)]
    command: UnfreezeCommand,
}

#[derive(Debug, Subcommand)]
enum UnfreezeCommand {
    /// An agent
    Agent {
        /// Its name or id
        name: String,
    },
    /// A tool, or a server
    Tool {
        /// As it was frozen
        name: String,
    },
    /// The project
    Project,
}

const PATH: &str = "/v1/tenure/freezes";

pub(crate) async fn freeze(cx: &mut Context, args: &FreezeArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let (target, why) = match &args.command {
        FreezeCommand::Ls => {
            let frozen = client.list(PATH, &[]).await?;
            let now = cx.world.now;
            output::list(&mut cx.world.out, cx.format, &columns(now), &frozen)?;
            return Ok(Exit::Done);
        }
        FreezeCommand::Agent { name, why } => (agent(&client, name).await?, why),
        FreezeCommand::Tool { name, why } => (json!({"type": "tool", "name": name}), why),
        FreezeCommand::Project { why } => (json!({"type": "project"}), why),
    };
    let frozen = client.post(PATH, &json!({"target": target, "reason": why.reason})).await?;
    cx.note("nothing of it begins any more; what runs goes on to its end")?;
    output::one(&mut cx.world.out, cx.format, &format!("frozen: {}", named(&frozen)), &frozen)?;
    Ok(Exit::Done)
}

pub(crate) async fn unfreeze(cx: &mut Context, args: &UnfreezeArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let target = match &args.command {
        UnfreezeCommand::Agent { name } => agent(&client, name).await?,
        UnfreezeCommand::Tool { name } => json!({"type": "tool", "name": name}),
        UnfreezeCommand::Project => json!({"type": "project"}),
    };
    let frozen = client.list(PATH, &[]).await?;
    let found = frozen.iter().find(|freeze| freeze["target"] == target);
    let found = found.ok_or_else(|| CliError::not_found("it is not frozen").fix("tenure freeze ls"))?;
    let ended = client.delete(&format!("{PATH}/{}", text(found, "/id"))).await?;
    output::one(&mut cx.world.out, cx.format, &format!("unfrozen: {}", named(found)), &ended)?;
    Ok(Exit::Done)
}

async fn agent(client: &Client, name: &str) -> Result<Value, CliError> {
    Ok(json!({"type": "agent", "id": find::agent_id(client, name).await?}))
}

fn named(freeze: &Value) -> String {
    let what = |name: &str| text(freeze, &format!("/target/{name}")).to_owned();
    [what("type"), what("id"), what("name")]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn columns(now: i64) -> [Column; 4] {
    [
        Column::new("WHAT", named),
        Column::new("SINCE", move |freeze| {
            freeze["created_at"].as_i64().map(|at| age(now, at)).unwrap_or_default()
        }),
        Column::at("BY", "/by"),
        Column::at("REASON", "/reason"),
    ]
}
