//! `tenure check`: is this project directory in order? Reads files and nothing else.

use clap::Args;
use serde_json::{Value, json};
use tenure_model::Script;
use tenure_project::{Problem, Project, Provider, Severity, Unset};

use super::Context;
use super::error::{CliError, Exit};
use super::output::{self, Format};
use super::world::{Output, Tone, plain};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Report environment variables that are not set as warnings: for checking without secrets
    #[arg(long)]
    without_secrets: bool,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

pub(crate) fn check(cx: &mut Context, args: &CheckArgs) -> Result<Exit, CliError> {
    let unset = if args.without_secrets { Unset::Warning } else { Unset::Error };
    let (problems, further, summary) = match Project::load(&cx.project, &cx.world.env, unset) {
        Ok(project) => {
            let further = findings(&project);
            let counts = [(project.agents.len(), "agent"), (project.servers.len(), "MCP server")];
            let counted: Vec<String> = counts.iter().map(|(count, what)| plural(*count, what)).collect();
            (project.warnings, further, counted.join(", "))
        }
        Err(error) => (error.problems().to_vec(), Vec::new(), String::new()),
    };
    let errors =
        problems.iter().filter(|problem| problem.severity == Severity::Error).count() + further.len();
    let warnings = problems.len() + further.len() - errors;
    if cx.format == Format::Table {
        for problem in &problems {
            let shown = shown(&cx.world.out, problem);
            cx.world.out.line(&shown)?;
        }
        for (file, message) in &further {
            let label = cx.world.out.tone(Tone::Red, "error[invalid]");
            cx.world.out.line(&format!("{label}: {}\n  --> {file}\n", plain(message)))?;
        }
    } else {
        let rows: Vec<Value> = problems.iter().map(row).chain(further.iter().map(finding_row)).collect();
        output::list(&mut cx.world.out, cx.format, &[], &rows)?;
    }
    let verdict = match (errors, warnings) {
        (0, 0) => format!("{summary}: no problems"),
        _ => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    };
    cx.note(&verdict)?;
    let failed = errors > 0 || (args.strict && warnings > 0);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

pub(crate) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A problem with its label in colour and an empty line after it.
fn shown(out: &Output, problem: &Problem) -> String {
    let text = plain(&problem.to_string());
    let tone = match problem.severity {
        Severity::Error => Tone::Red,
        Severity::Warning => Tone::Yellow,
    };
    match text.split_once(": ") {
        Some((label, rest)) => format!("{}: {rest}\n", out.tone(tone, label)),
        None => text,
    }
}

fn row(problem: &Problem) -> Value {
    json!({
        "id": problem.location(),
        "severity": match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "code": problem.code.as_str(),
        "file": problem.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "message": problem.message,
        "hint": problem.hint,
    })
}

fn finding_row((file, message): &(String, String)) -> Value {
    json!({"id": file, "severity": "error", "code": "invalid", "file": file, "line": 0, "column": 0,
           "message": message, "hint": null})
}

/// What the project's own reading does not look into: scripts and policies, as file and message.
pub(crate) fn findings(project: &Project) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for provider in project.settings.providers.values() {
        let Provider::Scripted { script, .. } = provider else { continue };
        let parsed = match std::fs::read_to_string(project.root.join(script)) {
            Ok(text) => Script::parse(&text).map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        if let Err(message) = parsed {
            found.push((script.clone(), message));
        }
    }
    match crate::contracts::policy_set(project) {
        Ok(set) => {
            if let Err(error) = crate::proofs::invariants(project, set.contracts()) {
                found.push(("policies/invariants".to_owned(), error.to_string()));
            }
        }
        Err(error) => found.push(("policies".to_owned(), error.to_string())),
    }
    found
}
