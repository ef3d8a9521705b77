//! `tenure policy`. `check` says what there is to say about a directory of policies, and reads files and nothing
//! else, but for a solver where it is to prove; the other commands are about what is published at a server.

mod publish;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tenure_policy::{DescribedTool, FindingKind, Invariant, Origin, PolicySet, PolicySource};

use super::Context;
use super::check::plural;
use super::contracts::proof::{self, Wanted};
use super::error::{CliError, Exit};
use super::output::{self, Column, Format};
use super::world::plain;
use crate::proofs::Whereabouts;

/// Files of one directory.
const FILES_MAX: usize = 1_000;
/// Where, in a directory of policies, it is said what they must never allow.
const INVARIANTS_DIRECTORY: &str = "invariants";

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check a directory of policies: schema, ids, policies that can never matter or that may fail
    Check {
        /// The directory [default: policies in the project directory]
        directory: Option<PathBuf>,
        /// What a server answers to `tools/list`, as JSON: policies about its tools are checked against it.
        /// The name of the file without `.json` is the server's label; may be given more than once
        #[arg(long, value_name = "FILE")]
        tools: Vec<PathBuf>,
        /// Fail on warnings too
        #[arg(long)]
        strict: bool,
        /// Prove what the policies must never allow, and fail where it is not proven: what is shipped, and the
        /// invariants of `invariants/` in the directory. Contracts are proven by `tenure contracts check`
        #[arg(long)]
        prove: bool,
    },
    /// Publish policies at the server, beside its files and in place of what was published before
    Publish(publish::PublishArgs),
    /// Print what is published, and which set decides
    Show {
        /// This publication instead of the latest
        #[arg(value_name = "VERSION")]
        number: Option<u64>,
    },
    /// List publications, the latest first
    History,
    /// Publish again what an earlier publication said
    Rollback {
        /// Its version; 0 for the server's files alone
        #[arg(value_name = "VERSION")]
        number: u64,
        #[command(flatten)]
        how: publish::How,
    },
}

pub(crate) async fn policy(cx: &mut Context, args: &PolicyArgs) -> Result<Exit, CliError> {
    match &args.command {
        PolicyCommand::Check { directory, tools, strict, prove } => {
            let directory = match directory {
                Some(directory) => cx.world.directory.join(directory),
                None => cx.project.join("policies"),
            };
            let tools: Vec<PathBuf> = tools.iter().map(|file| cx.world.directory.join(file)).collect();
            let wanted = if *prove { Wanted::Whole } else { Wanted::Nothing };
            check(cx, &directory, &tools, *strict, wanted).await
        }
        PolicyCommand::Publish(args) => publish::publish(cx, args).await,
        PolicyCommand::Show { number } => publish::show(cx, *number).await,
        PolicyCommand::History => publish::history(cx).await,
        PolicyCommand::Rollback { number, how } => publish::rollback(cx, *number, how).await,
    }
}

async fn check(
    cx: &mut Context,
    directory: &Path,
    tools: &[PathBuf],
    strict: bool,
    wanted: Wanted,
) -> Result<Exit, CliError> {
    let sources = read(directory)?;
    let (mut rows, mut note) = (Vec::new(), None);
    match PolicySet::new(&sources) {
        Ok(policies) => {
            rows.extend(said(&policies, tools)?);
            // What does not fit its tools cannot be proven about.
            if rows.iter().all(|row| row["severity"] != "error") {
                let invariants = invariants(directory)?;
                let whose: BTreeMap<String, Origin> =
                    invariants.iter().map(|it| (it.id.clone(), it.origin)).collect();
                let about = (invariants, described(tools)?);
                let solver = Whereabouts::of(&cx.world.env);
                let found = proof::look(wanted, solver, Arc::new(policies), about).await?;
                rows.extend(found.rows.into_iter().map(|row| proven(row, &whose)));
                note = found.note;
            }
        }
        Err(error) => rows.push(row("error", "", &error.to_string())),
    }
    let columns =
        [Column::at("SEVERITY", "/severity"), Column::at("POLICY", "/id"), Column::at("MESSAGE", "/message")];
    if !rows.is_empty() {
        output::list(&mut cx.world.out, cx.format, &columns, &rows)?;
    }
    if cx.format == Format::Table {
        for line in rows.iter().flat_map(proof::counterexample) {
            cx.world.out.line(&plain(&line))?;
        }
    }
    if let Some(note) = &note {
        cx.note(note)?;
    }
    let count = |severity: &str| rows.iter().filter(|row| row["severity"] == severity).count();
    let (errors, warnings) = (count("error"), count("warning"));
    cx.note(&format!(
        "{}: {}, {}",
        plural(sources.len(), "file"),
        plural(errors, "error"),
        plural(warnings, "warning")
    ))?;
    Ok(if errors > 0 || (strict && warnings > 0) { Exit::Failed } else { Exit::Done })
}

/// What there is to say about policies that fit the schema.
fn said(policies: &PolicySet, tools: &[PathBuf]) -> Result<Vec<Value>, CliError> {
    let mut rows = Vec::new();
    let mut known = Vec::new();
    for file in tools {
        for (tool, parameters) in listed(file)? {
            if let Err(error) = policies.check_tool(&tool, &parameters) {
                rows.push(row("error", &tool, &error.to_string()));
            }
            known.push(tool);
        }
    }
    let findings = policies.findings().map_err(|error| CliError::failed("policy", error.to_string()))?;
    for finding in findings {
        let message = finding.kind.to_string();
        let severity = match finding.kind {
            // It was checked above.
            FindingKind::Unchecked { tools }
                if !tools.is_empty() && tools.iter().all(|it| known.contains(it)) =>
            {
                continue;
            }
            FindingKind::Unchecked { .. } => "note",
            FindingKind::Unreachable | FindingKind::MayFail | FindingKind::Confusable => "warning",
        };
        rows.push(row(severity, &finding.policy, &message));
    }
    Ok(rows)
}

/// What must never be allowed: what is shipped, and what the directory adds.
fn invariants(directory: &Path) -> Result<Vec<Invariant>, CliError> {
    let own = directory.join(INVARIANTS_DIRECTORY);
    let sources = if own.is_dir() { read(&own)? } else { Vec::new() };
    let mut all = Invariant::shipped();
    let own = Invariant::parse(&sources);
    all.extend(own.map_err(|error| CliError::failed("policy", error.to_string()))?);
    Ok(all)
}

fn described(tools: &[PathBuf]) -> Result<Vec<DescribedTool>, CliError> {
    let mut all = Vec::new();
    for file in tools {
        let found = listed(file)?;
        all.extend(found.into_iter().map(|(id, parameters)| DescribedTool { id, parameters }));
    }
    Ok(all)
}

/// What a solver answered, as a row of this command. `whose` are the invariants, by their ids.
///
/// What is refuted is wrong, and so is an invariant that was to be proven and was not: a solver that never answers must
/// not pass for one that has proven everything. What else nobody knows may be wrong, and so may an invariant of the
/// project that says nothing; what is shipped may be about what a project allows to nobody.
fn proven(mut found: Value, whose: &BTreeMap<String, Origin>) -> Value {
    let what = found["what"].as_str().unwrap_or_default().to_owned();
    let origin = found["id"].as_str().and_then(|id| whose.get(id));
    let severity = match (what.as_str(), origin) {
        ("refuted", _) | ("unknown", Some(_)) => "error",
        ("vacuous", Some(Origin::Project | Origin::Contract)) => "warning",
        ("proven" | "vacuous" | "closed", _) => "note",
        _ => "warning",
    };
    let message = format!("{what}: {}", found["means"].as_str().unwrap_or_default());
    found["severity"] = severity.into();
    found["message"] = message.into();
    found
}

fn row(severity: &str, id: &str, message: &str) -> Value {
    json!({"id": id, "severity": severity, "message": message})
}

fn read(directory: &Path) -> Result<Vec<PolicySource>, CliError> {
    let cannot = |path: &Path, error: std::io::Error| {
        CliError::not_found(format!("`{}` cannot be read", path.display())).cause(error.to_string())
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| cannot(directory, error))? {
        let path = entry.map_err(|error| cannot(directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            files.push(path);
        }
    }
    if files.len() > FILES_MAX {
        return Err(CliError::failed(
            "policy",
            format!("the directory holds more than {FILES_MAX} policy files"),
        ));
    }
    files.sort();
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|error| cannot(&path, error))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(PolicySource { name, text })
    };
    files.into_iter().map(source).collect()
}

/// The tools of a server as `<label>/<name>`, each with the JSON schema of its arguments.
pub(super) fn listed(file: &Path) -> Result<Vec<(String, Value)>, CliError> {
    let wrong = |why: String| {
        CliError::failed(
            "policy",
            format!("`{}` is not what a server answers to `tools/list`", file.display()),
        )
        .cause(why)
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let read: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let label = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let tools =
        read.get("tools").unwrap_or(&read).as_array().ok_or_else(|| wrong("no `tools`".to_owned()))?;
    let tool = |tool: &Value| {
        let name = tool["name"].as_str().ok_or_else(|| wrong("a tool without a `name`".to_owned()))?;
        Ok((format!("{label}/{name}"), tool["inputSchema"].clone()))
    };
    tools.iter().map(tool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invariant_that_is_not_proven_is_an_error() {
        let whose = [("shipped", Origin::Shipped), ("own", Origin::Project)];
        let whose = BTreeMap::from(whose.map(|(id, origin)| (id.to_owned(), origin)));
        for (id, what, severity) in [
            ("shipped", "refuted", "error"),
            ("own", "refuted", "error"),
            ("shipped", "unknown", "error"),
            ("own", "unknown", "error"),
            ("shipped", "proven", "note"),
            ("own", "proven", "note"),
            ("shipped", "vacuous", "note"),
            ("own", "vacuous", "warning"),
            ("a policy", "unknown", "warning"),
            ("a policy", "may fail", "warning"),
            ("a policy", "dead policy", "warning"),
            ("model.call", "closed", "note"),
        ] {
            let row = json!({"id": id, "what": what, "means": "so", "counterexample": {"action": "a"}});
            let found = proven(row, &whose);
            assert_eq!(found["severity"], severity, "{id} {what}");
            assert_eq!(found["message"], format!("{what}: so"));
            assert_eq!(found["counterexample"]["action"], "a", "it is shown as well");
        }
    }

    #[test]
    fn a_directory_may_say_what_must_never_be_allowed() {
        let directory = tempfile::tempdir().expect("a directory");
        let shipped = Invariant::shipped().len();
        assert_eq!(invariants(directory.path()).expect("none of its own").len(), shipped);
        let own = directory.path().join(INVARIANTS_DIRECTORY);
        std::fs::create_dir(&own).expect("made");
        let text = r#"@id("no-refunds") forbid (principal, action == Action::"tool.call", resource == Tool::"pay/refund");"#;
        std::fs::write(own.join("own.cedar"), text).expect("written");
        assert_eq!(invariants(directory.path()).expect("valid").len(), shipped + 1);
        std::fs::write(own.join("own.cedar"), text.replace("forbid", "permit")).expect("written");
        assert!(invariants(directory.path()).is_err(), "an invariant only forbids");
    }

    #[test]
    fn policies_are_checked_with_their_tools() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        write(
            "a.cedar",
            r#"@id("limit") forbid (principal, action == Action::"tool.call:pay/transfer", resource)
               when { context.args.amount.greaterThan(decimal("5.0")) };
               @id("dead") permit (principal is User, action == Action::"audit.read", resource is Tool);"#,
        );
        write("notes.txt", "no policy");
        let sources = read(directory.path()).expect("readable");
        let policies = PolicySet::new(&sources).expect("valid");
        let shown = |tools: &[PathBuf]| -> Vec<String> {
            let rows = said(&policies, tools).expect("said");
            rows.iter()
                .map(|row| [&row["severity"], &row["id"]].map(|text| text.as_str().expect("text")).join(" "))
                .collect()
        };
        assert_eq!(shown(&[]), ["warning dead", "note limit"]);
        let schema = |kind: &str| {
            json!({"tools": [{"name": "transfer", "inputSchema": {
                "properties": {"amount": {"type": kind}}, "required": ["amount"]}}]})
            .to_string()
        };
        let fits = write("pay.json", &schema("number"));
        assert_eq!(shown(std::slice::from_ref(&fits)), ["warning dead"]);
        write("pay.json", &schema("string"));
        assert_eq!(shown(&[fits]), ["error pay/transfer", "warning dead"]);
    }
}
