//! `tenure audit`: the audit log, listed, exported, proven, and checked without a server.

mod ocsf;
mod question;
mod replay;
mod witness;

use std::collections::VecDeque;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure_audit::{
    Answer, Bundle, Checkpoint, Directory, Evidence, Hash, RECORD_BYTES_MAX, Receipt, Report, TILE_WIDTH,
    TileId, Tree, VerifierKey, verify,
};
use tenure_journal::AuditRecord;

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::output::{self, Column, age, text};
use super::world::brief;

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// List records: what was allowed, refused, asked, answered and done
    List {
        /// The number of the first record that is looked at
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from: u64,
        /// How many are listed: the newest
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        limit: u16,
        /// Only those of this session
        #[arg(long, value_name = "SESSION")]
        session: Option<String>,
        /// Only refusals
        #[arg(long)]
        refused: bool,
    },
    /// Print the key that checks the log: give it to whoever is to check
    Key,
    /// Print the newest signed checkpoint: who keeps it finds out whoever rewrites the log
    Checkpoint,
    /// Write the whole log into a directory, or its records into a file
    Export {
        /// The directory; the checkpoints of earlier exports there are kept, and checked with the log. For `jsonl` and
        /// `ocsf` a file, or `-` for standard output
        directory: PathBuf,
        /// A log that can be checked, the records alone one a line, or events of OCSF one a line
        #[arg(long, value_enum, default_value_t = ExportFormat::Tiles, value_name = "FORMAT")]
        format: ExportFormat,
    },
    /// Sign along: compare the log with what was signed before in a directory, and sign what it is now
    Witness {
        /// The directory, of whoever witnesses; what is in it is written once
        directory: PathBuf,
        /// The log's key, which `tenure audit key` printed once
        #[arg(long)]
        key: VerifierKey,
        /// What the witness is called in its signatures [default: `witness/` and the log's name]
        #[arg(long)]
        name: Option<String>,
    },
    /// Check an exported log; needs no server
    Verify {
        /// The directory
        directory: PathBuf,
        /// The key that `tenure audit key` printed
        #[arg(long)]
        key: VerifierKey,
        /// A checkpoint that was kept elsewhere
        #[arg(long, value_name = "FILE")]
        known: Vec<PathBuf>,
    },
    /// Decide again what policy decided, from the stored questions and policy sets, and say what comes out otherwise
    Replay {
        /// The number of the first record that is looked at
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from: u64,
        /// Only decisions of this session
        #[arg(long, value_name = "SESSION")]
        session: Option<String>,
    },
    /// Write one record and the evidence that it is in the log, or the answer to a question
    Prove(ProveArgs),
    /// Check a record against its evidence, an answer, or the receipt of an erasure; needs no server
    Check {
        /// The record's file, or that of an answer or a receipt
        record: PathBuf,
        /// The evidence's file; an answer and a receipt have none beside them
        evidence: Option<PathBuf>,
        /// The key that `tenure audit key` printed
        #[arg(long)]
        key: VerifierKey,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["index", "question"]))]
struct ProveArgs {
    /// The number of the record
    index: Option<u64>,
    /// What is asked, in words: every record that fits the filters is proven in one file
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
    #[command(flatten)]
    filter: question::Filter,
    /// The directory for `record-<index>.json` and `record-<index>.tlog-proof`, or for `answer.txt`
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    out: PathBuf,
}

/// What an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    Tiles,
    Jsonl,
    Ocsf,
}

/// The file of an answer.
const ANSWER_FILE: &str = "answer.txt";
/// Bytes of an answer: some hundred thousand records with their proofs.
const ANSWER_BYTES_MAX: u64 = 512 * 1024 * 1024;

const PATH: &str = "/v1/tenure/audit";
/// Records of one request.
const PAGE: &str = "1000";

pub(crate) async fn audit(cx: &mut Context, args: &AuditArgs) -> Result<Exit, CliError> {
    match &args.command {
        AuditCommand::List { from, limit, session, refused } => {
            let client = cx.client()?;
            let is_wanted = |row: &Value| {
                let of = session.as_ref().is_none_or(|id| text(row, "/record/session") == id);
                of && (!*refused || text(row, "/record/fact/type") == "refused")
            };
            let end = end_of(&client).await?;
            let all = session.is_none() && !refused;
            let from = if all { end.saturating_sub(u64::from(*limit)).max(*from) } else { *from };
            let rows = newest(&client, from..end, usize::from(*limit), is_wanted).await?;
            let now = cx.world.now;
            output::list(&mut cx.world.out, cx.format, &columns(now), &rows)?;
        }
        AuditCommand::Key => {
            let log = cx.client()?.get(PATH, &[]).await?;
            output::one(&mut cx.world.out, cx.format, text(&log, "/key"), &log)?;
        }
        AuditCommand::Checkpoint => {
            let log = cx.client()?.get(PATH, &[]).await?;
            let Some(note) = log["checkpoint"].as_str() else { return Err(nothing()) };
            output::one(&mut cx.world.out, cx.format, note.trim_end(), &log)?;
        }
        AuditCommand::Export { directory, format: ExportFormat::Jsonl } => {
            lines(cx, directory, |_, _, record| record.to_owned()).await?;
        }
        AuditCommand::Export { directory, format: ExportFormat::Ocsf } => {
            let event = |origin: &str, index, record: &str| {
                ocsf::event(origin, index, &serde_json::from_str(record).unwrap_or_default()).to_string()
            };
            lines(cx, directory, event).await?;
        }
        AuditCommand::Witness { directory, key, name } => {
            let name = name.clone().unwrap_or_else(|| witness::default_name(key));
            let now = cx.world.now;
            let seen = witness::witness(&cx.client()?, directory, key, &name, now).await?;
            let before =
                seen.before.map_or_else(|| "for the first time".to_owned(), |size| format!("after {size}"));
            let line = format!("signed {} records {before}: {}", seen.size, seen.file.display());
            let shown = json!({"id": seen.file.display().to_string(), "size": seen.size, "before": seen.before,
                "witness": seen.key});
            output::one(&mut cx.world.out, cx.format, &line, &shown)?;
        }
        AuditCommand::Export { directory, format: ExportFormat::Tiles } => {
            let size = export(&cx.client()?, directory).await?;
            cx.note("check it with `tenure audit verify`; keep the checkpoint where nobody can change both")?;
            let line = format!("{size} records in {}", directory.display());
            let shown = json!({"id": directory.display().to_string(), "size": size});
            output::one(&mut cx.world.out, cx.format, &line, &shown)?;
        }
        AuditCommand::Verify { directory, key, known } => {
            let known = known.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
            let report = verify(&Directory::new(directory), key, &known);
            let shown = shown(&report);
            let line = format!("sound: {} records, {} checkpoints", report.sound, report.checkpoints);
            if !report.is_sound() {
                let faults =
                    report.faults.iter().map(|fault| format!("- {fault}")).collect::<Vec<_>>().join("\n");
                return Err(CliError::failed("log_changed", "the log is not what was signed").cause(faults));
            }
            output::one(&mut cx.world.out, cx.format, &line, &shown)?;
        }
        AuditCommand::Replay { from, session } => {
            return replay::replay(cx, *from, session.as_deref()).await;
        }
        AuditCommand::Prove(ProveArgs { question: Some(asked), filter, out, .. }) => {
            let answer = question::answer(&cx.client()?, asked, filter).await?;
            let file = out.join(ANSWER_FILE);
            write(&file, &answer.to_string())?;
            let line = format!("{} of {} records: {}", answer.proven.len(), answer.looked_at, file.display());
            let shown = json!({"id": file.display().to_string(), "found": answer.proven.len(),
                "looked_at": answer.looked_at, "filter": answer.filter});
            output::one(&mut cx.world.out, cx.format, &line, &shown)?;
        }
        AuditCommand::Prove(ProveArgs { index, out, .. }) => {
            let index = index.ok_or_else(|| CliError::usage("name a record, or ask a --question"))?;
            let found = cx.client()?.get(&format!("{PATH}/records/{index}/evidence"), &[]).await?;
            let (record, evidence) =
                (out.join(format!("record-{index}.json")), out.join(format!("record-{index}.tlog-proof")));
            write(&record, text(&found, "/record"))?;
            write(&evidence, text(&found, "/evidence"))?;
            let line = format!("{}\n{}", record.display(), evidence.display());
            output::one(&mut cx.world.out, cx.format, &line, &found)?;
        }
        AuditCommand::Check { record, evidence: None, key } => {
            let bytes = read_up_to(record, ANSWER_BYTES_MAX)?;
            if Receipt::is_one(&bytes) {
                return erasure(cx, &bytes, key);
            }
            let parsed: Answer = bytes.parse().map_err(|error| unproven(&error))?;
            let checkpoint = parsed.verify(key).map_err(|error| unproven(&error))?;
            let line = format!(
                "{} records are in the log `{}` of {} records, of which {} were looked at for: {}",
                parsed.proven.len(),
                checkpoint.origin,
                checkpoint.size,
                parsed.looked_at,
                parsed.filter
            );
            let shown = json!({"id": checkpoint.origin, "found": parsed.proven.len(), "size": checkpoint.size,
                "looked_at": parsed.looked_at, "question": parsed.question, "filter": parsed.filter});
            output::one(&mut cx.world.out, cx.format, &line, &shown)?;
        }
        AuditCommand::Check { record, evidence: Some(evidence), key } => {
            let bytes = read(record)?;
            let parsed: Evidence = read(evidence)?.parse().map_err(|error| not_shown(&error))?;
            let checkpoint = parsed.verify(bytes.as_bytes(), key).map_err(|error| not_shown(&error))?;
            let line = format!(
                "record {} is in the log `{}` of {} records",
                parsed.index, checkpoint.origin, checkpoint.size
            );
            let shown = json!({"id": checkpoint.origin, "index": parsed.index, "size": checkpoint.size});
            output::one(&mut cx.world.out, cx.format, &line, &shown)?;
        }
    }
    Ok(Exit::Done)
}

/// Checks the receipt of an erasure, and says what it says.
fn erasure(cx: &mut Context, note: &str, key: &VerifierKey) -> Result<Exit, CliError> {
    let receipt = Receipt::open(note, key).map_err(|error| {
        CliError::failed("not_shown", "the receipt cannot be trusted").cause(error.to_string())
    })?;
    let body: Value = serde_json::from_str(&receipt.body).map_err(|error| {
        CliError::failed("not_shown", "the receipt is signed and cannot be read").cause(error.to_string())
    })?;
    let shown = json!({"id": body["erasure"], "receipt": body});
    let rows: u64 = body["rows"].as_object().map_or(0, |rows| rows.values().filter_map(Value::as_u64).sum());
    let line = format!(
        "the log `{}` signed that {rows} rows of {} sessions were erased on {}",
        key.name(),
        body["sessions"]["count"],
        text(&body, "/done_at"),
    );
    output::one(&mut cx.world.out, cx.format, &line, &shown)?;
    Ok(Exit::Done)
}

fn nothing() -> CliError {
    CliError::not_found("the log has no records yet")
}

fn not_shown(error: &tenure_audit::EvidenceError) -> CliError {
    CliError::failed("not_shown", "the evidence does not show this record").cause(error.to_string())
}

fn unproven(error: &tenure_audit::AnswerError) -> CliError {
    CliError::failed("not_shown", "the answer does not show its records").cause(error.to_string())
}

/// Writes every record as a line, to a file or to standard output. `line` is given the log's name, the number and
/// the record.
async fn lines(
    cx: &mut Context,
    file: &Path,
    line: impl Fn(&str, u64, &str) -> String,
) -> Result<(), CliError> {
    let client = cx.client()?;
    let log = client.get(PATH, &[]).await?;
    let (origin, end) = (text(&log, "/id").to_owned(), log["size"].as_u64().unwrap_or(0));
    let failed = |error: std::io::Error| {
        CliError::failed("not_written", format!("cannot write `{}`", file.display())).cause(error.to_string())
    };
    let is_standard = file == Path::new("-");
    let mut written = match is_standard {
        true => None,
        false => Some(std::io::BufWriter::new(std::fs::File::create(file).map_err(failed)?)),
    };
    let mut next = 0;
    while next < end {
        let records = page(&client, next).await?;
        if records.is_empty() {
            return Err(CliError::failed("log_cut", "the log has fewer records than it says"));
        }
        for (index, record) in records {
            next = index + 1;
            let line = line(&origin, index, &record);
            match &mut written {
                Some(file) => writeln!(file, "{line}").map_err(failed)?,
                None => cx.world.out.line(&line)?,
            }
        }
    }
    if let Some(mut written) = written {
        written.flush().map_err(failed)?;
        let shown = json!({"id": file.display().to_string(), "size": end});
        output::one(&mut cx.world.out, cx.format, &format!("{end} records in {}", file.display()), &shown)?;
    }
    Ok(())
}

async fn end_of(client: &Client) -> Result<u64, CliError> {
    let log = client.get(PATH, &[]).await?;
    Ok(log["size"].as_u64().unwrap_or(0))
}

/// The newest `limit` of the wanted records of a part of the log, in order. A page of the log at a time is in memory.
async fn newest(
    client: &Client,
    part: Range<u64>,
    limit: usize,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>, CliError> {
    let (mut rows, mut next) = (VecDeque::new(), part.start);
    while next < part.end {
        let page = page(client, next).await?;
        if page.is_empty() {
            break;
        }
        next += page.len() as u64;
        rows.extend(page.iter().map(|(index, record)| row(*index, record)).filter(&is_wanted));
        rows.drain(..rows.len().saturating_sub(limit));
    }
    Ok(rows.into())
}

/// Records from a number on, with their numbers.
async fn page(client: &Client, from: u64) -> Result<Vec<(u64, String)>, CliError> {
    let from_text = from.to_string();
    let page = client.get(&format!("{PATH}/records"), &[("from", &from_text), ("limit", PAGE)]).await?;
    let records = page["data"].as_array().cloned().unwrap_or_default();
    Ok((from..).zip(records.iter().map(|entry| text(entry, "/record").to_owned())).collect())
}

/// Hands every record of a session whose fact is of one of these types to `take`, in order. A page of the log at a
/// time is in memory.
pub(crate) async fn each(
    client: &Client,
    types: &[&str],
    mut take: impl FnMut(AuditRecord),
) -> Result<(), CliError> {
    let (mut next, end) = (0, end_of(client).await?);
    while next < end {
        let page = page(client, next).await?;
        if page.is_empty() {
            break;
        }
        next += page.len() as u64;
        for (_, record) in page {
            let parsed: Value = serde_json::from_str(&record).map_err(|error| damaged(&error))?;
            // Records of requests belong to no session.
            if types.contains(&text(&parsed, "/fact/type")) && parsed.get("session").is_some() {
                take(serde_json::from_str(&record).map_err(|error| damaged(&error))?);
            }
        }
    }
    Ok(())
}

/// Writes the log into a directory, with tiles computed from the records: what the server keeps of them is not
/// asked for. Returns its size.
async fn export(client: &Client, directory: &Path) -> Result<u64, CliError> {
    let log = client.get(PATH, &[]).await?;
    let note = log["checkpoint"].as_str().ok_or_else(nothing)?;
    let key: VerifierKey = text(&log, "/key").parse().map_err(|error| damaged(&error))?;
    let checkpoint = Checkpoint::open(note, &key).map_err(|error| damaged(&error))?;
    let files = Directory::new(directory);
    let failed = |error: tenure_audit::DirectoryError| CliError::failed("not_written", error.to_string());
    let (mut tree, mut bundle, mut first) = (Tree::new(), Bundle::new(), 0);
    while tree.size() < checkpoint.size {
        let records = page(client, tree.size()).await?;
        if records.is_empty() {
            return Err(CliError::failed("log_cut", "the log has fewer records than its checkpoint says"));
        }
        for (_, record) in
            records.into_iter().take(usize::try_from(checkpoint.size - tree.size()).unwrap_or(usize::MAX))
        {
            bundle.push(record.as_bytes()).map_err(|error| damaged(&error))?;
            let mut full = Vec::new();
            tree.push(Hash::of_record(record.as_bytes()), &mut full);
            for tile in &full {
                files.write_tile(tile).map_err(failed)?;
            }
            if bundle.len() == TILE_WIDTH || tree.size() == checkpoint.size {
                let id = TileId::of(tree.size(), 0, first).expect("it has at least one record");
                files.write_records(id, &bundle).map_err(failed)?;
                (bundle, first) = (Bundle::new(), first + 1);
            }
        }
    }
    for tile in tree.partial_tiles() {
        files.write_tile(&tile).map_err(failed)?;
    }
    if tree.root() != checkpoint.root {
        return Err(CliError::failed(
            "log_changed",
            "the records are not those that the checkpoint was signed for",
        )
        .fix("keep the data directory as it is, and compare it with an earlier export"));
    }
    files.write_checkpoint(checkpoint.size, note).map_err(failed)?;
    Ok(checkpoint.size)
}

fn damaged(error: &dyn std::error::Error) -> CliError {
    CliError::failed("bad_answer", "the server's audit log cannot be used").cause(error.to_string())
}

fn read(path: &Path) -> Result<String, CliError> {
    read_up_to(path, RECORD_BYTES_MAX as u64)
}

fn read_up_to(path: &Path, bytes_max: u64) -> Result<String, CliError> {
    let failed = |error: std::io::Error| {
        CliError::failed("not_read", format!("cannot read `{}`", path.display())).cause(error.to_string())
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > bytes_max {
        return Err(CliError::failed(
            "not_read",
            format!("`{}` is too long for a record, a proof or a checkpoint", path.display()),
        ));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn write(path: &Path, content: &str) -> Result<(), CliError> {
    std::fs::write(path, content).map_err(|error| {
        CliError::failed("not_written", format!("cannot write `{}`", path.display())).cause(error.to_string())
    })
}

fn shown(report: &Report) -> Value {
    json!({"id": "log", "size": report.size, "sound": report.sound, "checkpoints": report.checkpoints,
        "faults": report.faults.iter().map(ToString::to_string).collect::<Vec<_>>()})
}

/// A record with its number, parsed for people.
fn row(index: u64, record: &str) -> Value {
    let record: Value = serde_json::from_str(record).unwrap_or(Value::Null);
    json!({"id": index.to_string(), "index": index, "record": record})
}

fn columns(now: i64) -> [Column; 5] {
    [
        Column::at("INDEX", "/id"),
        Column::new("AGE", move |row| {
            let at = row.pointer("/record/at").and_then(Value::as_i64);
            at.map(|at| age(now, at / 1000)).unwrap_or_default()
        }),
        Column::new("SESSION", |row| brief(text(row, "/record/session"), 13)),
        Column::new("WHAT", |row| {
            let fact = |name: &str| text(row, &format!("/record/fact/{name}")).to_owned();
            let words = ["type", "action", "resource", "outcome", "decision"].map(fact);
            words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        }),
        Column::new("BY", |row| {
            let by = text(row, "/record/fact/by");
            let policies = row.pointer("/record/fact/policies").and_then(Value::as_array);
            let names =
                policies.map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
            if by.is_empty() { names.unwrap_or_default() } else { by.to_owned() }
        }),
    ]
}
