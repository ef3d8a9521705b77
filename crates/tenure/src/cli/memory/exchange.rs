//! The memory as files: written in an order that depends on what is kept alone, and read with the place of mistakes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tenure_journal::{Confidence, Labels, MemoryScope};
use tenure_memory::exchange::{
    BlockRecord, ExchangeError, FactRecord, ProcedureRecord, Record, Standing, TEXT_BYTES_MAX, file_name,
    from_lines, from_markdown, to_lines, to_markdown,
};
use tenure_memory::moment;
use tenure_memory::procedure::ProcedureText;

use super::super::Context;
use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::{self, text};
use super::{BLOCKS, FACTS, PROCEDURES, blocks, procedures, resolved};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The directory that the files are written to [default: standard output]
    directory: Option<PathBuf>,
    /// A scope to write; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", default_value = "project")]
    scopes: Vec<String>,
    /// How
    #[arg(long = "as", value_name = "FORM", value_enum, default_value = "markdown")]
    form: Form,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Files of Markdown (`.md`) or JSON lines (`.jsonl`)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Read them and say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One file for each scope
    Markdown,
    /// One record a line
    Jsonl,
}

pub(super) async fn export(cx: &mut Context, client: &Client, args: &ExportArgs) -> Result<(), CliError> {
    let mut files = Vec::new();
    for typed in &args.scopes {
        let scope = resolved(client, typed).await?;
        let scope: MemoryScope = scope.parse().map_err(|_| unreadable("scope"))?;
        let records = records(client, &scope).await?;
        files.push(match args.form {
            Form::Markdown => (file_name(&scope), to_markdown(&scope, &records)),
            Form::Jsonl => (file_name(&scope).replace(".md", ".jsonl"), to_lines(&records)),
        });
    }
    let Some(directory) = &args.directory else {
        for (_, text) in files {
            cx.world.out.write(&text)?;
        }
        return Ok(());
    };
    std::fs::create_dir_all(directory)?;
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text)?;
        cx.world.out.line(&path.display().to_string())?;
    }
    Ok(())
}

/// Everything that is kept for a scope, as records.
async fn records(client: &Client, scope: &MemoryScope) -> Result<Vec<Record>, CliError> {
    let word = scope.to_string();
    let facts = client.list(FACTS, &[("scope", &word), ("order", "asc")]).await?;
    let mut records = Vec::new();
    for fact in &facts {
        records.push(Record::Fact(fact_record(scope, fact)?));
    }
    for block in blocks::of_scope(client, &word).await? {
        let (name, text) = (text(&block, "/name").to_owned(), text(&block, "/text").to_owned());
        // One that is only proposed is not kept yet.
        if !text.is_empty() {
            records.push(Record::Block(BlockRecord { scope: scope.clone(), name, text }));
        }
    }
    for procedure in procedures::of_scope(client, &word, "accepted").await? {
        let of = |pointer: &str| text(&procedure, pointer).to_owned();
        let read = ProcedureText::new(&of("/name"), &of("/description"), &of("/steps"));
        let read = read.map_err(|_| unreadable("steps"))?;
        records.push(Record::Procedure(ProcedureRecord { scope: scope.clone(), text: read }));
    }
    Ok(records)
}

fn fact_record(scope: &MemoryScope, fact: &Value) -> Result<FactRecord, CliError> {
    let at = |pointer: &str| moment(text(fact, pointer));
    let some = |pointer: &str| Some(text(fact, pointer)).filter(|text| !text.is_empty()).map(str::to_owned);
    let standing = Standing::from_word(text(fact, "/state")).ok_or_else(|| unreadable("state"))?;
    let percent = fact["confidence"].as_u64().and_then(Confidence::percent);
    let source = fact.pointer("/sources/0").map(|source| match text(source, "/type") {
        "agent" => format!("{} {}", text(source, "/session_id"), text(source, "/item_id")),
        _ => text(source, "/id").to_owned(),
    });
    Ok(FactRecord {
        subject: some("/subject"),
        standing,
        valid_from: at("/valid_from"),
        valid_to: at("/valid_to"),
        learned_at: at("/learned_at"),
        closed_at: at("/closed_at"),
        reason: some("/reason"),
        confidence: percent.ok_or_else(|| unreadable("confidence"))?,
        labels: serde_json::from_value::<Labels>(fact["labels"].clone()).map_err(|_| unreadable("labels"))?,
        id: text(fact, "/id").parse().ok(),
        source: source.filter(|source| !source.is_empty()),
        ..FactRecord::new(scope.clone(), text(fact, "/statement").to_owned())
    })
}

pub(super) fn unreadable(member: &str) -> CliError {
    CliError::failed("unexpected", format!("the server's answer has a `{member}` that cannot be read"))
        .fix("use a `tenure` of the server's release")
}

/// What was done with the records of all files.
#[derive(Debug, Default)]
struct Counts {
    added: u64,
    known: u64,
    blocks: u64,
    procedures: u64,
    passed_over: u64,
}

pub(super) async fn import(cx: &mut Context, client: &Client, args: &ImportArgs) -> Result<(), CliError> {
    // Everything is read before anything is written.
    let mut all = Vec::new();
    for path in &args.files {
        all.extend(read(path)?);
    }
    let mut counts = Counts::default();
    for record in &all {
        match record {
            Record::Fact(fact) if fact.standing != Standing::Active => counts.passed_over += 1,
            Record::Fact(_) | Record::Block(_) | Record::Procedure(_) if args.dry_run => counts.added += 1,
            Record::Fact(fact) => {
                let kept = client.post(FACTS, &body(fact)).await?;
                match text(&kept, "/outcome") {
                    "confirmed" => counts.known += 1,
                    _ => counts.added += 1,
                }
            }
            Record::Block(BlockRecord { scope, name, text }) => {
                let body = json!({"scope": scope, "name": name, "text": text});
                client.post(BLOCKS, &body).await?;
                counts.blocks += 1;
            }
            Record::Procedure(ProcedureRecord { scope, text }) => {
                let ProcedureText { name, description, steps } = text;
                let body = json!({"scope": scope, "name": name, "description": description, "steps": steps});
                client.post(PROCEDURES, &body).await?;
                counts.procedures += 1;
            }
        }
    }
    let Counts { added, known, blocks, procedures, passed_over } = counts;
    let shown = match args.dry_run {
        true => format!("{added} records would be kept, {passed_over} passed over"),
        false => {
            format!(
                "{added} facts added, {known} known already, {blocks} blocks, {procedures} procedures, \
                 {passed_over} passed over"
            )
        }
    };
    if passed_over > 0 {
        cx.note("what is closed, proposed or rejected is for reading and is not imported")?;
    }
    let told = json!({"added": added, "known": known, "blocks": blocks, "procedures": procedures,
        "passed_over": passed_over});
    output::one(&mut cx.world.out, cx.format, &shown, &told)
}

fn body(fact: &FactRecord) -> Value {
    let moment = |at: Option<tenure_journal::Timestamp>| at.map(tenure_memory::rfc3339);
    json!({
        "scope": fact.scope,
        "statement": fact.statement,
        "subject": fact.subject,
        "valid_from": moment(fact.valid_from),
        "valid_to": moment(fact.valid_to),
        "confidence": fact.confidence.as_percent(),
        "labels": (!fact.labels.is_neutral()).then_some(&fact.labels),
    })
}

fn read(path: &Path) -> Result<Vec<Record>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::failed("io", format!("`{}` cannot be read", path.display())).cause(error.to_string())
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > TEXT_BYTES_MAX as u64 {
        return Err(CliError::failed("too_large", format!("`{}` has {size} bytes", path.display()))
            .fix(format!("split it into files of at most {TEXT_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let parsed = match path.extension().and_then(|extension| extension.to_str()) {
        Some("md") => from_markdown(&text),
        Some("jsonl") => from_lines(&text),
        Some(_) | None => {
            return Err(CliError::usage(format!("`{}` is neither `.md` nor `.jsonl`", path.display())));
        }
    };
    parsed.map_err(|error: ExchangeError| {
        CliError::failed("not_memory", format!("`{}`, {error}", path.display())).kept("nothing was written")
    })
}
