//! `tenure keys`: API keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure_runtime::{KeyFile, LocalKey, SealError};

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::find;
use super::output::{self, Column, age, text};
use crate::server::SEALING_KEY_FILE;

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
    /// Change the master key that seals secrets, without stopping anything
    RotateMaster {
        /// Where the keys are; all nodes need the same [default: sealing.key in the data directory]
        #[arg(long, value_name = "FILE")]
        sealing_key: Option<PathBuf>,
        /// One step of three, for nodes with copies of the file of their own: copy it to every node after each
        #[arg(long, value_enum)]
        stage: Option<Stage>,
    },
    /// Revoke a key
    Revoke {
        /// Its id, or the unique beginning of it
        id: String,
    },
}

/// Steps of a change of the master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    /// Make a new key, which is known and not used yet
    Add,
    /// Use the newest key: wrap every other with it
    Use,
    /// Forget all keys but the one that is used
    Retire,
}

const PATH: &str = "/v1/tenure/keys";
const MASTER: &str = "/v1/tenure/master_key";

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
        KeysCommand::RotateMaster { sealing_key, stage } => {
            let file = sealing_key.as_ref().map(|file| cx.world.directory.join(file));
            let path = file.unwrap_or_else(|| cx.data.join(SEALING_KEY_FILE));
            let file = KeyFile::existing(&path).map_err(|error| {
                CliError::failed("master_key", "the file of master keys cannot be used")
                    .cause(error.to_string())
            })?;
            let stages = match stage {
                Some(stage) => vec![*stage],
                None => vec![Stage::Add, Stage::Use, Stage::Retire],
            };
            let mut done = json!({});
            for stage in stages {
                done = rotate(&client, &file, stage).await?;
            }
            let print = text(&done, "/fingerprint").to_owned();
            output::one(&mut cx.world.out, cx.format, &format!("the master key is {print}"), &done)?;
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

/// One step of a change. Each leaves keys that open everything there is, whatever happens before the next.
async fn rotate(client: &Client, file: &KeyFile, stage: Stage) -> Result<Value, CliError> {
    let failed = |error: SealError| {
        CliError::failed("master_key", "the file of master keys cannot be changed").cause(error.to_string())
    };
    let mut keys = file.read().map_err(failed)?;
    let current = || keys.first().map(LocalKey::fingerprint).unwrap_or_default().to_owned();
    match stage {
        Stage::Add => {
            let answered = client.get(MASTER, &[]).await?;
            must_be(&answered, &current())?;
            keys.push(LocalKey::generate());
            file.write(&keys).map_err(failed)?;
            Ok(answered)
        }
        Stage::Use => {
            let answered = client.get(MASTER, &[]).await?;
            must_be(&answered, &current())?;
            let used = answered.get("used").and_then(Value::as_array).cloned().unwrap_or_default();
            // The newest stands last until it is used; doing this again after it was changes nothing.
            if keys.last().is_some_and(|last| !used.contains(&json!(last.fingerprint()))) {
                keys.rotate_right(1);
                file.write(&keys).map_err(failed)?;
            }
            let done = client.post(&format!("{MASTER}/rewrap"), &json!({})).await?;
            must_be(&done, keys.first().map(LocalKey::fingerprint).unwrap_or_default())?;
            Ok(done)
        }
        Stage::Retire => {
            let done = client.post(&format!("{MASTER}/rewrap"), &json!({})).await?;
            must_be(&done, &current())?;
            keys.truncate(1);
            file.write(&keys).map_err(failed)?;
            Ok(done)
        }
    }
}

/// The server must use the first key of this very file, or changing the file would lock it out.
fn must_be(answered: &Value, fingerprint: &str) -> Result<(), CliError> {
    if text(answered, "/fingerprint") == fingerprint {
        return Ok(());
    }
    Err(CliError::failed("master_key", "the server does not use the master key of this file")
        .fix("name the server's file with --sealing-key, and the server with --url")
        .kept("nothing was changed"))
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
