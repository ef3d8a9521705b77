//! `tenure exec-server`: the executor of a self-hosted environment, on the machine that it is about.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tenure_executor::serve::{Credentials, Options, Reach, ServeErrorKind, Unconfined};
use tenure_executor::sigv4::KeyPair;
use tenure_project::Env;

use super::Context;
use super::error::{CliError, Exit};
use super::serve::{asked_to_end, init_log};

/// Variables that hold a key for the encrypted transport; the first that is set is used.
const KEYS: [&str; 2] = ["TENURE_EXECUTOR_KEY", "CODEX_API_KEY"];
/// Variables that hold a pair for the direct transport.
const PAIR: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
/// Further variables that processes do not inherit.
const OURS: [&str; 3] = ["TENURE_API_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"];
/// What signatures say where no region is set; the server does not care.
const REGION: &str = "local";

#[derive(Debug, Args)]
#[command(after_help = KEYS_HELP)]
pub(crate) struct ExecServerArgs {
    /// What to connect to: the environment's `remote_url`
    #[arg(long, value_name = "URL")]
    remote: String,
    /// The environment
    #[arg(long, value_name = "ID")]
    environment_id: String,
    /// How to speak: encrypted end to end with a key, or direct with signed requests over TLS
    #[arg(long, value_enum, default_value_t = Transport::Encrypted)]
    transport: Transport,
    /// Where commands run; usually the environment's workspace directory [default: the current directory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Which files the server may read and write itself: commands reach what the account reaches in either case
    #[arg(long, value_enum, default_value_t = Files::Directory)]
    files: Files,
}

const KEYS_HELP: &str = "\
The key is read from TENURE_EXECUTOR_KEY, or else CODEX_API_KEY. The direct transport signs with the pair in
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. `tenure keys create NAME --executor` makes both.
Commands run with the rights of this account: use a container, or an account that may do what agents may do.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    Encrypted,
    Direct,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Files {
    /// Those below the directory
    Directory,
    /// Every file of the account
    Account,
}

/// Serves the environment until the process is asked to end, or the server refuses for good.
pub(crate) async fn exec_server(cx: &mut Context, args: &ExecServerArgs) -> Result<Exit, CliError> {
    init_log(&cx.world.env, "info,rmcp=warn");
    let directory = match &args.directory {
        Some(directory) => cx.world.directory.join(directory),
        None => cx.world.directory.clone(),
    };
    let options = Options {
        remote_url: args.remote.clone(),
        environment_id: args.environment_id.clone(),
        credentials: credentials(&cx.world.env, args.transport)?,
        reach: match args.files {
            Files::Directory => Reach::WorkingDirectory,
            Files::Account => Reach::Account,
        },
        variables: inherited(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        ),
        launcher: Arc::new(Unconfined),
        directory,
    };
    cx.note(&format!("serving {} in {}", args.environment_id, options.directory.display()))?;
    let failed = tokio::select! {
        () = asked_to_end() => return Ok(Exit::Done),
        served = tenure_executor::serve::serve(options) => match served {
            Ok(never) => match never {},
            Err(error) => error,
        },
    };
    Err(match failed.kind {
        ServeErrorKind::Options => CliError::usage(failed.message),
        ServeErrorKind::Credentials => {
            CliError::new(Exit::Unauthorized, "credentials", "the server does not accept the key")
                .cause(failed.message)
                .fix("make one with `tenure keys create NAME --executor`")
        }
        ServeErrorKind::Server | ServeErrorKind::Transient | ServeErrorKind::Expired => {
            CliError::failed("server", "the server refuses this executor for good").cause(failed.message)
        }
    })
}

fn credentials(env: &Env, transport: Transport) -> Result<Credentials, CliError> {
    let value = |name: &str| env.find(name).map(str::trim).filter(|value| !value.is_empty());
    match transport {
        Transport::Encrypted => {
            let key = KEYS.into_iter().find_map(value);
            key.map(|key| Credentials::Key(key.to_owned())).ok_or_else(|| {
                CliError::usage("no key is set")
                    .fix("set TENURE_EXECUTOR_KEY to one that `tenure keys create NAME --executor` made")
            })
        }
        Transport::Direct => {
            let [id, secret] = PAIR.map(value);
            let (id, secret) = id.zip(secret).ok_or_else(|| {
                CliError::usage("no pair is set").fix(
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a pair that `tenure keys create NAME \
                     --executor` made",
                )
            })?;
            let region = value("AWS_REGION").unwrap_or(REGION).to_owned();
            Ok(Credentials::Pair { pair: KeyPair::new(id, secret), region })
        }
    }
}

/// What processes may inherit: everything but our own secrets.
fn inherited(variables: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let is_ours = |name: &str| KEYS.contains(&name) || PAIR.contains(&name) || OURS.contains(&name);
    variables.filter(|(name, _)| !is_ours(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(transport: Transport, env: &[(&str, &str)], expected: &str) {
        let env: Env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = match credentials(&env, transport) {
            Ok(Credentials::Key(key)) => key,
            Ok(Credentials::Pair { pair, region }) => format!("{} in {region}", pair.access_key_id),
            Err(error) => error.message,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_come_from_the_environment() {
        use Transport::{Direct, Encrypted};
        check(Encrypted, &[("CODEX_API_KEY", "c"), ("TENURE_EXECUTOR_KEY", " t\n")], "t");
        check(Encrypted, &[("CODEX_API_KEY", "c"), ("TENURE_EXECUTOR_KEY", "")], "c");
        check(Encrypted, &[("TENURE_API_KEY", "k")], "no key is set");
        let pair = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s")];
        check(Direct, &pair, "id in local");
        check(Direct, &[pair[0], pair[1], ("AWS_REGION", "us-east-1")], "id in us-east-1");
        check(Direct, &pair[..1], "no pair is set");
    }

    #[test]
    fn processes_do_not_inherit_our_keys() {
        let given =
            ["PATH", "CODEX_API_KEY", "TENURE_EXECUTOR_KEY", "TENURE_API_KEY", "AWS_SECRET_ACCESS_KEY"];
        let given = given.into_iter().map(|name| (name.to_owned(), "x".to_owned()));
        assert_eq!(inherited(given).into_keys().collect::<Vec<_>>(), ["PATH"]);
    }
}
