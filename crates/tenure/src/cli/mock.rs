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
    /// Serve a scripted model as OpenAI does; the others are at its paths too
    Openai(ModelArgs),
    /// Serve a scripted model as Anthropic does
    Anthropic(ModelArgs),
    /// Serve a scripted model as Amazon Bedrock does
    Bedrock(ModelArgs),
    /// Serve a scripted model as Azure OpenAI does
    Azure(ModelArgs),
    /// Serve an MCP server with invented orders
    Orders {
        /// The loopback port to listen on instead of standard input and output; 0 takes a free one
        #[arg(long)]
        port: Option<u16>,
    },
    /// Serve an MCP server that makes invented refunds, each idempotency key once
    Payments {
        /// The file that refunds are written to, one JSON object a line; made if it does not exist
        #[arg(long)]
        ledger: PathBuf,
        /// While this file exists, a refund is not answered once it is made
        #[arg(long, value_name = "FILE")]
        hold_after_commit: Option<PathBuf>,
        /// The loopback port to listen on instead of standard input and output; 0 takes a free one
        #[arg(long)]
        port: Option<u16>,
    },
}

#[derive(Debug, Args)]
struct ModelArgs {
    /// The script
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// The loopback port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
}

pub(crate) async fn mock(cx: &mut Context, args: &MockArgs) -> Result<Exit, CliError> {
    let over = |port: &Option<u16>| port.map_or(Listen::Stdio, |port| Listen::Http(loopback(port)));
    let served = match &args.command {
        MockCommand::Openai(args) | MockCommand::Anthropic(args) => return model(cx, args, "/v1").await,
        MockCommand::Bedrock(args) => return model(cx, args, "").await,
        MockCommand::Azure(args) => return model(cx, args, "/openai/v1").await,
        MockCommand::Orders { port } => orders::serve(orders::Options { listen: over(port) }).await,
        MockCommand::Payments { ledger, hold_after_commit, port } => {
            let options = payments::Options {
                listen: over(port),
                ledger: cx.project.join(ledger),
                hold_after_commit: hold_after_commit.as_ref().map(|path| cx.project.join(path)),
            };
            payments::serve(options).await
        }
    };
    served.map(|()| Exit::Done).map_err(|error| CliError::failed("mock", error.to_string()))
}

/// Mocks serve this machine only.
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Says where it listens as the other services do, and serves until it is ended. The API begins at `base`.
async fn model(cx: &mut Context, args: &ModelArgs, base: &str) -> Result<Exit, CliError> {
    let ModelArgs { script, port } = args;
    let listen = loopback(*port);
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
    cx.world.out.line(&json!({"listening": format!("http://{address}{base}")}).to_string())?;
    let app = mock_openai::router(Arc::new(script), mock_openai::RequestLog::default());
    axum::serve(listener, app).await?;
    Ok(Exit::Done)
}
