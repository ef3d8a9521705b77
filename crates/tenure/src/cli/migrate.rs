//! `tenure migrate`: moves everything from the embedded database to PostgreSQL, and compares.
//!
//! Sessions are moved as their journals: each append is followed as a reader would and written with the rows
//! that follow from it, so what arrives is derived anew and not copied. What is there already is compared and
//! skipped; a migration that was interrupted is finished by running it again.

mod logs;
mod uses;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::json;
use tenure_journal::{SessionKey, Version};
use tenure_project::{Project, Redacted, Unset};
use tenure_runtime::{budget_entries, budget_uses};
use tenure_session::{NO_BUDGETS, Session, appends};
use tenure_store::{
    Append, BudgetChange, BudgetEntry, GoneRows, ItemRow, Order, Page, Store, StoreError, StoreErrorKind,
};
use tenure_store_postgres::{Options, PostgresStore};
use tenure_store_sqlite::SqliteStore;

use super::Context;
use super::error::{CliError, Exit};
use super::output;
use crate::server::state::Database;

/// Rows read at once.
const PAGE: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// What is moved from: the data directory
    #[arg(long, value_enum)]
    from: Source,
    /// What is moved to
    #[arg(long, value_enum)]
    to: Target,
    /// The PostgreSQL URL [env: TENURE_DATABASE_URL, preferred: flags are visible to other users]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where payloads go, beside PostgreSQL: a directory, or s3://bucket [default: into the database]
    #[arg(long, value_name = "PLACE")]
    blobs: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Source {
    Sqlite,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    Postgres,
}

/// How much was moved, or was there already, and compared.
#[derive(Debug, Default)]
struct Moved {
    sessions: u64,
    events: u64,
    documents: u64,
    receipts: u64,
    blobs: u64,
    audit: u64,
}

pub(crate) async fn migrate(cx: &mut Context, args: &MigrateArgs) -> Result<Exit, CliError> {
    let (Source::Sqlite, Target::Postgres) = (args.from, args.to);
    let env = Project::load(&cx.project, &cx.world.env, Unset::Warning).map(|project| project.env);
    let env = env.unwrap_or_else(|_| cx.world.env.clone());
    let url = args.database.as_deref().or_else(|| env.find("TENURE_DATABASE_URL"));
    let Some(url) = url.map(|url| Redacted::new(url.trim().to_owned())) else {
        return Err(CliError::usage("the database to move to is not named")
            .fix("set TENURE_DATABASE_URL, or give --database postgres://..."));
    };
    let database = Database::parse(Some(url), args.blobs.as_deref(), &env)?;
    let Database::Postgres { url, blobs } = database else {
        return Err(CliError::usage("only PostgreSQL can be moved to"));
    };
    let from = SqliteStore::open(&cx.data).map_err(|error| failed("opening the data directory", &error))?;
    let options = Options::parse(url.expose()).map_err(|error| failed("reading the URL", &error))?;
    let to = PostgresStore::open(&options.with_blobs(blobs))
        .await
        .map_err(|error| failed("opening the database", &error))?;
    let moved = everything(&from, &to).await;
    let checked = if moved.is_ok() { Some(to.integrity().await) } else { None };
    let closed = (from.close().await, to.close().await);
    let moved = moved?;
    if let Some(checked) = checked {
        let found = checked.map_err(|error| failed("checking the database", &error))?;
        if let Some(problem) = found.problems.first() {
            return Err(CliError::failed("integrity", format!("the database is not sound: {problem}"))
                .kept("the data directory is unchanged"));
        }
    }
    closed.0.and(closed.1).map_err(|error| failed("closing", &error))?;
    let Moved { sessions, events, documents, receipts, blobs, audit } = moved;
    let told = json!({
        "sessions": sessions, "events": events, "documents": documents, "receipts": receipts, "blobs": blobs,
        "audit_records": audit,
    });
    cx.note("everything is in the database and was compared; the data directory is unchanged")?;
    cx.note("copy its `sealing.key` to every node, or name it with --sealing-key")?;
    let text = format!(
        "{sessions} sessions, {events} events, {documents} documents, {receipts} receipts, {blobs} payloads, {audit} audit records"
    );
    output::one(&mut cx.world.out, cx.format, &text, &told)?;
    Ok(Exit::Done)
}

fn failed(doing: &str, error: &StoreError) -> CliError {
    let told = CliError::failed("storage", format!("{doing} failed: {error}"))
        .fix("run the same command again when that is mended: it goes on where it stopped")
        .kept("the data directory is unchanged");
    match std::error::Error::source(error) {
        Some(source) => told.cause(source.to_string()),
        None => told,
    }
}

fn differs(what: impl std::fmt::Display) -> CliError {
    CliError::failed("differs", format!("the database holds {what} that is not the data directory's"))
        .fix("move into an empty database")
        .kept("the data directory is unchanged")
}

async fn everything(from: &SqliteStore, to: &PostgresStore) -> Result<Moved, CliError> {
    let reading = |error: StoreError| failed("reading the data directory", &error);
    let mut moved = Moved::default();
    let mut after = None;
    loop {
        let page = from.every_blob(after, PAGE).await.map_err(reading)?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        for (project, blob) in page {
            let payload = from.blob(project, blob).await.map_err(reading)?;
            let payload = payload
                .ok_or_else(|| CliError::failed("damaged", format!("the payload `{blob}` is gone")))?;
            to.put_blob(project, payload).await.map_err(|error| failed("writing a payload", &error))?;
            moved.blobs += 1;
        }
    }
    moved.documents = documents(from, to).await?;
    moved.receipts = receipts(from, to).await?;
    moved.audit = logs::logs(from, to).await?;
    // Subagents first: the limit of a tree is set with the last events of its root, so that no reservation of
    // the past is refused for the order in which sessions are moved.
    for is_child in [true, false] {
        let mut after = None;
        loop {
            let page = from.every_session(after, PAGE).await.map_err(reading)?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for key in page {
                let head = from.head(key).await.map_err(reading)?;
                if head.is_some_and(|head| head.parent.is_some()) == is_child {
                    moved.events += session(from, to, key).await?;
                    moved.sessions += 1;
                }
            }
        }
    }
    // What journals say is counted by now; what is more was used by sessions that are erased.
    uses::uses(from, to).await?;
    Ok(moved)
}

async fn documents(from: &SqliteStore, to: &PostgresStore) -> Result<u64, CliError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = from.every_document(after.as_ref(), PAGE).await;
        let page = page.map_err(|error| failed("reading a document", &error))?;
        let Some(last) = page.last().cloned() else { return Ok(count) };
        after = Some(last);
        for document in page {
            let indexed = tenure_runtime::indexed(document.clone())
                .map_err(|error| CliError::failed("damaged", error.to_string()))?;
            let put = match indexed.terms.is_empty() {
                true => to.put(vec![indexed.document], None).await,
                false => to.put_indexed(vec![indexed], None, Vec::new()).await,
            };
            match put {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), StoreErrorKind::Conflict { .. }) => {}
                Err(error) => return Err(failed("writing a document", &error)),
            }
            let found = to
                .document(document.project, document.kind, &document.id, Some(document.version))
                .await
                .map_err(|error| failed("comparing a document", &error))?;
            if found.as_ref() != Some(&document) {
                return Err(differs(format!(
                    "version {} of {} `{}`",
                    document.version,
                    document.kind.as_str(),
                    document.id
                )));
            }
            count += 1;
        }
    }
}

async fn receipts(from: &SqliteStore, to: &PostgresStore) -> Result<u64, CliError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = from.every_receipt(after.as_ref(), PAGE).await;
        let page = page.map_err(|error| failed("reading a receipt", &error))?;
        let Some(last) = page.last().cloned() else { return Ok(count) };
        after = Some(last);
        for receipt in page {
            match to.put(Vec::new(), Some(receipt.clone())).await {
                Ok(()) => {}
                Err(error) if error.kind() == StoreErrorKind::ReceiptExists => {}
                Err(error) => return Err(failed("writing a receipt", &error)),
            }
            let found = to.receipt(receipt.project, &receipt.key).await;
            if found.map_err(|error| failed("comparing a receipt", &error))?.as_ref() != Some(&receipt) {
                return Err(differs(format!("a receipt of project `{}`", receipt.project)));
            }
            count += 1;
        }
    }
}

/// Moves a session, or what is missing of it, and compares all of it. Gives the number of its events.
async fn session(from: &SqliteStore, to: &PostgresStore, key: SessionKey) -> Result<u64, CliError> {
    let reading = |error: StoreError| failed("reading a session", &error);
    let comparing = |error: StoreError| failed("comparing a session", &error);
    let events = from.events(key, Version::ZERO, usize::MAX).await.map_err(reading)?;
    let there = to.events(key, Version::ZERO, usize::MAX).await.map_err(comparing)?;
    let mut state: Option<Session> = None;
    let mut limit = None;
    for part in appends(&events) {
        let followed = Session::follow(key, state.as_ref(), part);
        let batch = followed.ok_or_else(|| {
            CliError::failed("damaged", format!("the journal of `{}` has a gap", key.session))
        })?;
        let version = batch.after.version();
        let is_last = events.last().is_some_and(|last| last.version == version);
        let is_limit = |entry: &BudgetEntry| matches!(entry.change, BudgetChange::Limit(_));
        let (limits, mut budget): (Vec<_>, Vec<_>) = budget_entries(&batch).into_iter().partition(is_limit);
        limit = limits.into_iter().next_back().or(limit);
        if version.0 > there.len() as u64 {
            budget.extend(limit.take_if(|_| is_last));
            // What was set aside once is not asked for again.
            let uses = budget_uses(&batch, &NO_BUDGETS);
            let append = Append {
                expected: batch.expected,
                at: batch.at,
                events: batch.events,
                head: batch.after.head(),
                items: batch.items.into_iter().map(|(ordinal, item)| ItemRow { ordinal, item }).collect(),
                turns: batch.turns,
                gone: GoneRows { items_from: batch.gone.items_from, turns: batch.gone.turns },
                snapshot: is_last.then(|| Bytes::from(batch.after.encode())),
                receipt: None,
                holder: None,
                documents: Vec::new(),
                indexed: Vec::new(),
                budget,
                uses,
                audit: Vec::new(),
                episodes: batch.episodes,
            };
            to.append(append).await.map_err(|error| failed("writing a session", &error))?;
        }
        state = Some(batch.after);
    }
    let found = to.events(key, Version::ZERO, usize::MAX).await.map_err(comparing)?;
    let rows = async |store: &dyn Store| {
        let page = Page { after: None, limit: usize::MAX, order: Order::Ascending };
        let items = store.items(key, None, &page).await?;
        let turns = store.turns(key, &page).await?;
        Ok::<_, StoreError>((store.head(key).await?, items, turns))
    };
    let (ours, theirs) = (rows(from).await.map_err(reading)?, rows(to).await.map_err(comparing)?);
    if found != events || ours != theirs {
        return Err(differs(format!("a session `{}`", key.session)));
    }
    let ours = from.budget(key.project, key.session).await.map_err(reading)?;
    if ours != to.budget(key.project, key.session).await.map_err(comparing)? {
        return Err(differs(format!("the budget of a session `{}`", key.session)));
    }
    Ok(events.len() as u64)
}
