//! `tenure keys`: API keys.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tenure_api::keys::Scope;

use super::Context;
use super::client::Client;
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
    #[command(alias = "ls")]
    List,
    /// Create a key and print it, once
    Create(CreateArgs),
    /// Revoke a key
    Revoke {
        /// Its id, or the unique beginning of it
        id: String,
    },
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

pub(crate) async fn keys(cx: &mut Context, args: &KeysArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match &args.command {
        KeysCommand::List => {
            let keys = client.list(PATH, &[]).await?;
            let now = cx.world.now;
            output::list(&mut cx.world.out, cx.format, &columns(now), &keys)?;
        }
        KeysCommand::Create(args) => create(cx, &client, args).await?,
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
