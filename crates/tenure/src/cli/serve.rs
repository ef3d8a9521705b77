//! `tenure serve` and `tenure up`: run the server until it is asked to end.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use tenure_project::{Project, Redacted, Unset};

use super::Context;
use super::error::{CliError, Exit};
use crate::server::state::Database;
use crate::server::{MasterKey, Server, ServerConfig, StartError};

/// The lease of a server that is not told another.
const LEASE_SECONDS: u64 = 10;
/// How often `tenure up` looks whether a file was saved.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on [default: server.bind of tenure.yaml, else 127.0.0.1]
    #[arg(long)]
    bind: Option<IpAddr>,
    /// The port; 0 takes a free one [default: server.port of tenure.yaml, else 7878]
    #[arg(long)]
    port: Option<u16>,
    /// A PostgreSQL URL, for state that several nodes share [env: TENURE_DATABASE_URL, preferred: flags are
    /// visible to other users] [default: one file in the data directory]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where payloads are, beside PostgreSQL: a directory that all nodes share, or s3://bucket [default: in the
    /// database]
    #[arg(long, value_name = "PLACE")]
    blobs: Option<String>,
    /// The key file that seals secrets; all nodes on one database need the same [default: sealing.key in the
    /// data directory]
    #[arg(long, value_name = "FILE")]
    sealing_key: Option<PathBuf>,
    /// How long it takes at most until a silent node's sessions are at work on another node of its database
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE_SECONDS, value_parser = clap::value_parser!(u64).range(1..=600))]
    lease_seconds: u64,
    /// First withdraw the policies that were published while a server ran, so that its files alone hold: for
    /// whoever published what nobody may publish over
    #[arg(long)]
    withdraw_policies: bool,
}

/// Serves the project as it is now.
pub(crate) async fn serve(cx: &mut Context, args: &ServeArgs) -> Result<Exit, CliError> {
    let server = start(cx, args).await?;
    end(server.run(asked_to_end()).await)
}

/// Serves the project and follows its agents: saving a file makes a new version.
pub(crate) async fn up(cx: &mut Context, args: &ServeArgs) -> Result<Exit, CliError> {
    let server = start(cx, args).await?;
    cx.note("Saving a file of agents/ makes a new version; other changes need a restart. Ctrl-C ends.")?;
    let mut latest = newest_change(cx);
    let ended = asked_to_end();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let found = newest_change(cx);
        if found == latest {
            continue;
        }
        latest = found;
        match Project::load(&cx.project, &cx.world.env, Unset::Error) {
            Ok(project) => match server.save_agents(&project).await {
                Ok(0) => {}
                Ok(saved) => {
                    cx.note(&format!("{saved} agents saved as new versions; running sessions keep theirs"))?;
                }
                Err(error) => cx.note(&error.message)?,
            },
            Err(error) => cx.note(&format!("{error}\nThe server goes on with what it had."))?,
        }
    }
    end(server.run(std::future::ready(())).await)
}

/// Serves the project within this process, on a free port of this machine, for a command that needs a server
/// for as long as it runs.
pub(crate) async fn within(cx: &mut Context) -> Result<Server, CliError> {
    init_log(&cx.world.env, "warn");
    let args = ServeArgs {
        bind: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        port: Some(0),
        database: None,
        blobs: None,
        sealing_key: None,
        lease_seconds: LEASE_SECONDS,
        withdraw_policies: false,
    };
    open(cx, &args).await
}

async fn start(cx: &mut Context, args: &ServeArgs) -> Result<Server, CliError> {
    init_log(&cx.world.env, "info,rmcp=warn");
    let server = open(cx, args).await?;
    for note in &server.notes {
        cx.note(note)?;
    }
    let listening = json!({"listening": format!("{}/v1", server.url), "pid": std::process::id()});
    cx.world.out.line(&listening.to_string())?;
    Ok(server)
}

async fn open(cx: &mut Context, args: &ServeArgs) -> Result<Server, CliError> {
    let project = Project::load(&cx.project, &cx.world.env, Unset::Error)
        .map_err(|error| CliError::failed("project", format!("the project cannot be served\n{error}")))?;
    for warning in &project.warnings {
        cx.note(&warning.to_string())?;
    }
    let settings = &project.settings.server;
    let url = args.database.as_deref().or_else(|| project.env.find("TENURE_DATABASE_URL"));
    let url = url.map(|url| Redacted::new(url.trim().to_owned()));
    let database = Database::parse(url, args.blobs.as_deref(), &project.env)?;
    let config = ServerConfig {
        bind: args.bind.unwrap_or(settings.bind),
        port: args.port.unwrap_or(settings.port),
        preset_key: cx.world.env.find("TENURE_API_KEY").map(|key| Redacted::new(key.trim().to_owned())),
        environment: std::env::vars_os().collect(),
        data: cx.data.clone(),
        database,
        lease: Duration::from_secs(args.lease_seconds),
        withdraw_policies: args.withdraw_policies,
        master_key: MasterKey {
            command: cx.world.env.find("TENURE_MASTER_KEY_COMMAND").map(str::to_owned),
            text: cx.world.env.find("TENURE_MASTER_KEY").map(|key| Redacted::new(key.trim().to_owned())),
            file: args.sealing_key.as_ref().map(|file| cx.world.directory.join(file)),
        },
        project,
    };
    Ok(Server::start(config).await?)
}

pub(crate) fn end(fault: Option<String>) -> Result<Exit, CliError> {
    match fault {
        None => Ok(Exit::Done),
        Some(fault) => Err(CliError::failed("storage", "durable state failed, so the server ended")
            .cause(fault)
            .fix("see `tenure doctor`, then start it again")
            .kept("everything acknowledged is on disk")),
    }
}

/// Done when the process is asked to end: SIGTERM or Ctrl-C.
pub(super) async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process at once, which it survives as it survives kill -9.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// When a file that describes an agent was last changed, and how many there are.
fn newest_change(cx: &Context) -> (usize, Option<SystemTime>) {
    let mut files = 0;
    let mut newest = None;
    let mut folders = vec![cx.project.join("agents")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                newest = newest.max(metadata.modified().ok());
            }
        }
    }
    (files, newest)
}

/// Logs to standard error: what `TENURE_LOG` asks for, or `default`, as text for people or with `TENURE_LOG_FORMAT=json` as
/// JSON lines.
pub(super) fn init_log(env: &tenure_project::Env, default: &str) {
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::prelude::*;
    let read = |directives: &str| directives.parse::<Targets>();
    let filter = env.find("TENURE_LOG").map_or_else(|| read(default), read).or_else(|_| read(default));
    let subscriber = tracing_subscriber::registry().with(filter.expect("the defaults are directives"));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second subscriber in one process is refused; the first goes on.
    let _ = match env.find("TENURE_LOG_FORMAT") {
        Some("json") => subscriber.with(layer.json()).try_init(),
        _ => subscriber.with(layer.with_target(false)).try_init(),
    };
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        let mut told = Self::failed("start", error.message).kept("nothing was changed");
        if let Some(cause) = error.cause {
            told = told.cause(cause);
        }
        match error.fix {
            Some(fix) => told.fix(fix),
            None => told,
        }
    }
}
