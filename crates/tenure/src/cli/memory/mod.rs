//! `tenure memory`: what an agent's earlier sessions said, and what it remembers on purpose, and having it forgotten.

mod blocks;
mod exchange;
mod facts;
mod procedures;
mod review;

use clap::{Args, Subcommand};
use tenure_journal::{MemoryScope, ScopeKind};

use super::Context;
use super::client::Client;
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
    /// Find what was said, what tools returned, and facts, best first
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
        /// Of facts, those that were true then: a date or a moment
        #[arg(long, value_name = "WHEN")]
        true_at: Option<String>,
        /// Of facts, those that were believed then
        #[arg(long, value_name = "WHEN")]
        known_at: Option<String>,
        /// Also facts that are believed no more
        #[arg(long)]
        closed: bool,
    },
    /// List the facts of a scope
    Ls(facts::LsArgs),
    /// Show a fact with its times and sources
    Show {
        /// Its id
        fact: String,
    },
    /// Keep a fact
    Add(facts::AddArgs),
    /// Put a statement in the place of a fact
    Edit(facts::EditArgs),
    /// Show every version of a fact
    History {
        /// Its id
        fact: String,
    },
    /// Believe a closed fact again
    Restore {
        /// Its id
        fact: String,
    },
    /// Believe a fact no more; its history is kept
    Close(facts::CloseArgs),
    /// Look at what waits for a person, and answer it
    Review(review::ReviewArgs),
    /// Look at pinned blocks and change them
    Blocks(blocks::BlocksArgs),
    /// Look at procedures, change them, answer what is proposed, and write them as skills
    Procedures(procedures::ProceduresArgs),
    /// Write scopes as Markdown files, or as JSON lines
    Export(exchange::ExportArgs),
    /// Read facts, blocks and procedures from Markdown files or JSON lines
    Import(exchange::ImportArgs),
    /// Erase everything of a user, a session, or what rests on a file, and get a signed receipt
    Forget(ForgetArgs),
    /// List erasures, or print the receipt of one
    Receipts(ReceiptsArgs),
}

/// Where the server keeps facts.
const FACTS: &str = "/v1/tenure/memory/facts";
/// Where it keeps pinned blocks.
const BLOCKS: &str = "/v1/tenure/memory/blocks";
/// Where it keeps procedures.
const PROCEDURES: &str = "/v1/tenure/memory/procedures";
/// How scopes are written to.
const SETTINGS: &str = "/v1/tenure/memory/settings";
const SEARCH: &str = "/v1/tenure/memory/search";

/// A scope as it is typed.
#[derive(Debug, Args)]
struct ScopeArgs {
    /// For whom: `project`, `agent:AGENT`, `user:USER`, `space:AGENT`, `space:AGENT:USER` or `session:ID`; agents by
    /// name or id
    #[arg(long, value_name = "SCOPE", default_value = "project")]
    scope: String,
}

impl ScopeArgs {
    async fn resolved(&self, client: &Client) -> Result<String, CliError> {
        resolved(client, &self.scope).await
    }
}

/// A typed scope with the agent's id in the place of its name.
pub(super) async fn resolved(client: &Client, typed: &str) -> Result<String, CliError> {
    let words = typed.split_once(':').map(|(word, rest)| (ScopeKind::from_word(word), rest));
    let scope = match words {
        Some((Some(ScopeKind::Agent), agent)) => format!("agent:{}", find::agent_id(client, agent).await?),
        Some((Some(ScopeKind::Space), rest)) => {
            let (agent, user) =
                rest.split_once(':').map_or((rest, None), |(agent, user)| (agent, Some(user)));
            let agent = find::agent_id(client, agent).await?;
            user.map_or_else(|| format!("space:{agent}"), |user| format!("space:{agent}:{user}"))
        }
        Some((Some(ScopeKind::Project | ScopeKind::User | ScopeKind::Session) | None, _)) | None => {
            typed.to_owned()
        }
    };
    match scope.parse::<MemoryScope>() {
        Ok(scope) => Ok(scope.to_string()),
        Err(error) => Err(CliError::usage(error.to_string())),
    }
}

pub(crate) async fn memory(cx: &mut Context, args: &MemoryArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match &args.command {
        MemoryCommand::Search { question, agent, user, limit, true_at, known_at, closed } => {
            let agent = match agent {
                Some(typed) => find::agent_id(&client, typed).await?,
                None => text(&find::agent(&client, None).await?, "/id").to_owned(),
            };
            let limit = limit.to_string();
            let mut query =
                vec![("agent_id", agent.as_str()), ("question", question.as_str()), ("limit", &limit)];
            let given = [("user_id", user), ("true_at", true_at), ("known_at", known_at)];
            query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
            query.extend(closed.then_some(("closed", "true")));
            let found = client.get(SEARCH, &query).await?;
            let rows = found["data"].as_array().cloned().unwrap_or_default();
            output::list(&mut cx.world.out, cx.format, &columns(), &rows)?;
        }
        MemoryCommand::Ls(args) => facts::ls(cx, &client, args).await?,
        MemoryCommand::Show { fact } => facts::show(cx, &client, fact).await?,
        MemoryCommand::Add(args) => facts::add(cx, &client, args).await?,
        MemoryCommand::Edit(args) => facts::edit(cx, &client, args).await?,
        MemoryCommand::History { fact } => facts::history(cx, &client, fact).await?,
        MemoryCommand::Restore { fact } => facts::restore(cx, &client, fact).await?,
        MemoryCommand::Close(args) => facts::close(cx, &client, args).await?,
        MemoryCommand::Review(args) => review::review(cx, &client, args).await?,
        MemoryCommand::Blocks(args) => blocks::blocks(cx, &client, args).await?,
        MemoryCommand::Procedures(args) => procedures::procedures(cx, &client, args).await?,
        MemoryCommand::Export(args) => exchange::export(cx, &client, args).await?,
        MemoryCommand::Import(args) => exchange::import(cx, &client, args).await?,
        MemoryCommand::Forget(args) => return forget::forget(cx, args).await,
        MemoryCommand::Receipts(args) => return forget::receipts(cx, args).await,
    }
    Ok(Exit::Done)
}

fn columns() -> [Column; 4] {
    [
        Column::at("SAID", "/said_at"),
        Column::at("BY", "/speaker"),
        Column::at("SESSION", "/session_id"),
        Column::new("TEXT", |row| one_line(text(row, "/text"))),
    ]
}

/// A text on one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
