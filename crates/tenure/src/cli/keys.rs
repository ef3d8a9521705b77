//! `tenure keys`: API keys.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::error::{CliError, Exit};
use super::find;
use super::output::{self, Column, age, text};

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// List keys; the keys themselves are never shown again
    List,
    /// Create a key and print it, once
    Create {
        /// What it is for
        name: String,
        /// For `exec-server`: it connects executors of self-hosted environments and can do nothing else
        #[arg(long)]
        executor: bool,
    },
    /// Revoke a key
    Revoke {
        /// Its id, or the unique beginning of it
        id: String,
    },
}

const PATH: &str = "/v1/tenure/keys";

pub(crate) async fn keys(cx: &mut Context, args: &KeysArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match &args.command {
        KeysCommand::List => {
            let keys = client.list(PATH, &[]).await?;
            let now = cx.world.now;
            output::list(&mut cx.world.out, cx.format, &columns(now), &keys)?;
        }
        KeysCommand::Create { name, executor } => {
            let mut new = json!({"name": name});
            if *executor {
                new["scopes"] = json!(["environments.connect"]);
            }
            let created = client.post(PATH, &new).await?;
            cx.note("this is the only time the key is shown")?;
            if *executor {
                let pair = |name| text(&created, name).to_owned();
                let (id, secret) = (pair("/pair/access_key_id"), pair("/pair/secret_access_key"));
                cx.note(&format!(
                    "for the direct transport: AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret}"
                ))?;
            }
            output::one(&mut cx.world.out, cx.format, text(&created, "/key"), &created)?;
        }
        KeysCommand::Revoke { id } => {
            let keys = client.list(PATH, &[]).await?;
            let ids: Vec<&str> = keys.iter().map(|key| text(key, "/id")).collect();
            let id = find::one_of("key", "key_", id, &ids, "tenure keys list")?;
            let revoked = client.delete(&format!("{PATH}/{id}")).await?;
            let revoked = if revoked.is_null() { json!({"id": id, "deleted": true}) } else { revoked };
            output::one(&mut cx.world.out, cx.format, &format!("revoked {id}"), &revoked)?;
        }
    }
    Ok(Exit::Done)
}

fn columns(now: i64) -> [Column; 4] {
    [
        Column::at("ID", "/id"),
        Column::at("NAME", "/name"),
        Column::at("PREFIX", "/prefix"),
        Column::new("AGE", move |key| {
            key.get("created_at").and_then(Value::as_i64).map(|at| age(now, at)).unwrap_or_default()
        }),
    ]
}
