//! `tenure mock`: the services that demos, examples and tests talk to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use tenure_model::Script;
use tenure_testkit::mock_openai;

use super::Context;
use super::error::{CliError, Exit};
use crate::mock::{Listen, orders, payments};

#[derive(Debug, Args)]
pub(crate) struct MockArgs {
    #[command(subcommand)]
    command: MockCommand,
}

#[derive(Debug, Subcommand)]
enum MockCommand {
    /// Serve a scripted model over the OpenAI wire formats
    Openai {
        /// The script
        script: PathBuf,
        /// The address to listen on; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Serve an MCP server with invented orders
    Orders {
        /// The address to listen on instead of standard input and output; port 0 takes a free one
        #[arg(long)]
        listen: Option<SocketAddr>,
    },
    /// Serve an MCP server that makes invented refunds, each idempotency key once
    Payments {
        /// The file that refunds are written to, one JSON object a line; made if it does not exist
        #[arg(long)]
        ledger: PathBuf,
        /// While this file exists, a refund is not answered once it is made
        #[arg(long, value_name = "FILE")]
        hold_after_commit: Option<PathBuf>,
        /// The address to listen on instead of standard input and output; port 0 takes a free one
        #[arg(long)]
        listen: Option<SocketAddr>,
    },
}

pub(crate) async fn mock(cx: &mut Context, args: &MockArgs) -> Result<Exit, CliError> {
    let over = |listen: &Option<SocketAddr>| listen.map_or(Listen::Stdio, Listen::Http);
    let served = match &args.command {
        MockCommand::Openai { script, listen } => return openai(cx, script, *listen).await,
        MockCommand::Orders { listen } => orders::serve(orders::Options { listen: over(listen) }).await,
        MockCommand::Payments { ledger, hold_after_commit, listen } => {
            let options = payments::Options {
                listen: over(listen),
                ledger: cx.project.join(ledger),
                hold_after_commit: hold_after_commit.as_ref().map(|path| cx.project.join(path)),
            };
            payments::serve(options).await
        }
    };
    served.map(|()| Exit::Done).map_err(|error| CliError::failed("mock", error.to_string()))
}

/// Says where it listens as the other services do, and serves until it is ended.
async fn openai(cx: &mut Context, script: &PathBuf, listen: SocketAddr) -> Result<Exit, CliError> {
    let shown = script.display();
    let text = tokio::fs::read_to_string(cx.project.join(script)).await.map_err(|error| {
        CliError::failed("unreadable", format!("`{shown}` cannot be read")).cause(error.to_string())
    })?;
    let script = Script::parse(&text).map_err(|error| {
        CliError::failed("script", format!("`{shown}` is not a script")).cause(error.to_string())
    })?;
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| {
        CliError::failed("listen", format!("`{listen}` cannot be listened on")).cause(error.to_string())
    })?;
    let address = listener.local_addr()?;
    cx.world.out.line(&json!({"listening": format!("http://{address}/v1")}).to_string())?;
    let app = mock_openai::router(Arc::new(script), mock_openai::RequestLog::default());
    axum::serve(listener, app).await?;
    Ok(Exit::Done)
}
