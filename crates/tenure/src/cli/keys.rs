//! `tenure keys`: API keys.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tenure_api::keys::Scope;
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
    #[command(alias = "ls")]
    List,
    /// Create a key and print it, once
    Create(CreateArgs),
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

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("named").required(true).args(["name", "name_flag"]))]
struct CreateArgs {
    /// What it is for
    name: Option<String>,
    /// The same as a flag
    #[arg(long = "name", value_name = "NAME")]
    name_flag: Option<String>,
    /// What it may do, once for each scope [default: read and write]
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', value_parser = PossibleValuesParser::new(Scope::WORDS))]
    scopes: Vec<String>,
    /// When it ends: after `90d`, `12h` or `30m`, on a day (`2027-01-31`), or at a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// For `exec-server`: it connects executors of self-hosted environments and can do nothing else
    #[arg(long, conflicts_with = "scopes")]
    executor: bool,
    /// A group that policies know its user by; may be given more than once
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
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
        KeysCommand::Create(args) => create(cx, &client, args).await?,
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

async fn create(cx: &mut Context, client: &Client, args: &CreateArgs) -> Result<(), CliError> {
    let mut new = json!({"name": args.name.as_ref().or(args.name_flag.as_ref())});
    if args.executor {
        new["scopes"] = json!(["environments.connect"]);
    } else if !args.scopes.is_empty() {
        new["scopes"] = json!(args.scopes);
    }
    if !args.groups.is_empty() {
        new["groups"] = json!(args.groups);
    }
    if let Some(expires) = &args.expires {
        new["expires_at"] = json!(moment(expires, cx.world.now)?);
    }
    let created = client.post(PATH, &new).await?;
    cx.note("this is the only time the key is shown")?;
    if args.executor {
        let pair = |name| text(&created, name).to_owned();
        let (id, secret) = (pair("/pair/access_key_id"), pair("/pair/secret_access_key"));
        cx.note(&format!("for the direct transport: AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret}"))?;
    }
    output::one(&mut cx.world.out, cx.format, text(&created, "/key"), &created)
}

/// The moment that a person means, in seconds since 1970.
fn moment(typed: &str, now: i64) -> Result<i64, CliError> {
    let bad = || {
        CliError::usage(format!("`{typed}` is no time")).fix(
            "use a length such as `90d`, `12h` or `30m`, a day such as `2027-01-31`, or a time such as \
                 `2027-01-31T12:00:00Z`",
        )
    };
    let seconds = [("d", 86_400), ("h", 3_600), ("m", 60)].iter().find_map(|(unit, seconds)| {
        let count: i64 = typed.strip_suffix(unit)?.parse().ok().filter(|count| *count > 0)?;
        count.checked_mul(*seconds)?.checked_add(now)
    });
    let at = seconds
        .or_else(|| typed.parse::<Timestamp>().ok().map(Timestamp::as_second))
        .or_else(|| Some(typed.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()));
    at.ok_or_else(bad)
}

fn columns(now: i64) -> [Column; 7] {
    let ago = move |name: &'static str| {
        move |key: &Value| key[name].as_i64().map(|at| age(now, at)).unwrap_or_default()
    };
    [
        Column::at("ID", "/id"),
        Column::at("NAME", "/name"),
        Column::at("PREFIX", "/prefix"),
        Column::new("SCOPES", |key| {
            let scopes = key["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
            scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }),
        Column::new("AGE", ago("created_at")),
        Column::new("USED", ago("last_used_at")),
        Column::new("EXPIRES", |key| {
            let at = key["expires_at"].as_i64().and_then(|at| Timestamp::from_second(at).ok());
            at.map(|at| at.strftime("%F").to_string()).unwrap_or_default()
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_lengths_days_or_moments() {
        const NOW: i64 = 1_790_000_000;
        for (typed, at) in [
            ("90d", Some(NOW + 90 * 86_400)),
            ("12h", Some(NOW + 12 * 3_600)),
            ("30m", Some(NOW + 1_800)),
            ("2027-01-31", Some(1_801_353_600)),
            ("2027-01-31T01:00:00+01:00", Some(1_801_353_600)),
            ("0d", None),
            ("-1d", None),
            ("90", None),
            ("d", None),
            ("9223372036854775807d", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(moment(typed, NOW).ok(), at, "{typed}");
        }
    }
}
