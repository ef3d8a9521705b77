//! `tenure memory`: what an agent's earlier sessions said, and having it forgotten.

use clap::{Args, Subcommand};

use super::Context;
use super::error::{CliError, Exit};
use super::find;
use super::forget::{self, ForgetArgs, ReceiptsArgs};
use super::output::{self, Column, text};

#[derive(Debug, Args)]
pub(crate) struct MemoryArgs {
    #[command(subcommand)]
    command: MemoryCommand,
}

#[derive(Debug, Subcommand)]
enum MemoryCommand {
    /// Find what was said and what tools returned, best first
    Search {
        /// A whole question, in the language it was talked about
        question: String,
        /// Whose sessions: the agent, by name or id [default: the only agent]
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// The user that the sessions were opened for: `user_id` in their metadata [default: those of nobody in
        /// particular]
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// How many passages at most
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=50))]
        limit: u8,
    },
    /// Erase everything of a user, a session, or what rests on a file, and get a signed receipt
    Forget(ForgetArgs),
    /// List erasures, or print the receipt of one
    Receipts(ReceiptsArgs),
}

const SEARCH: &str = "/v1/tenure/memory/search";

pub(crate) async fn memory(cx: &mut Context, args: &MemoryArgs) -> Result<Exit, CliError> {
    let (question, agent, user, limit) = match &args.command {
        MemoryCommand::Search { question, agent, user, limit } => (question, agent, user, limit),
        MemoryCommand::Forget(args) => return forget::forget(cx, args).await,
        MemoryCommand::Receipts(args) => return forget::receipts(cx, args).await,
    };
    let client = cx.client()?;
    let agent = match agent {
        Some(typed) => find::agent_id(&client, typed).await?,
        None => text(&find::agent(&client, None).await?, "/id").to_owned(),
    };
    let limit = limit.to_string();
    let mut query = vec![("agent_id", agent.as_str()), ("question", question.as_str()), ("limit", &limit)];
    query.extend(user.as_deref().map(|user| ("user_id", user)));
    let found = client.get(SEARCH, &query).await?;
    let rows = found["data"].as_array().cloned().unwrap_or_default();
    output::list(&mut cx.world.out, cx.format, &columns(), &rows)?;
    Ok(Exit::Done)
}

fn columns() -> [Column; 4] {
    [
        Column::at("SAID", "/said_at"),
        Column::at("BY", "/speaker"),
        Column::at("SESSION", "/session_id"),
        Column::new("TEXT", |row| text(row, "/text").split_whitespace().collect::<Vec<_>>().join(" ")),
    ]
}
