//! Publishing policies at a server, and what was published there.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tenure_policy::PolicySource;

use super::super::Context;
use super::super::check::plural;
use super::super::error::{CliError, Exit};
use super::super::output::{self, Column, Format, age, text};
use super::super::world::plain;
use super::read;

const PATH: &str = "/v1/tenure/policies";

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// A `.cedar` file, or a directory of them; nothing else stays published
    #[arg(value_name = "FILE|DIRECTORY")]
    path: PathBuf,
    /// Only say whether the server would take them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct How {
    /// Why, for whoever reads the history
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Publish even what nobody could publish over again
    #[arg(long)]
    force: bool,
    /// Only if this version is the latest
    #[arg(long, value_name = "VERSION")]
    expect: Option<u64>,
    /// Publish even what an invariant is refuted of, for this reason, which is recorded
    #[arg(long = "override", value_name = "REASON")]
    overriding: Option<String>,
}

impl How {
    fn body(&self, mut body: Value) -> Value {
        body["note"] = json!(self.note);
        body["force"] = json!(self.force);
        body["expected_version"] = json!(self.expect);
        body["override"] = json!(self.overriding);
        body
    }
}

pub(crate) async fn publish(cx: &mut Context, args: &PublishArgs) -> Result<Exit, CliError> {
    let path = cx.world.directory.join(&args.path);
    let sources = if path.is_dir() { read(&path)? } else { vec![file(&path)?] };
    if sources.is_empty() {
        return Err(CliError::not_found(format!("`{}` holds no `.cedar` file", args.path.display()))
            .fix("tenure policy rollback 0    # to let the server's files alone hold"));
    }
    let files: Vec<Value> =
        sources.iter().map(|source| json!({"name": source.name, "text": source.text})).collect();
    let mut body = args.how.body(json!({ "files": files }));
    body["dry_run"] = json!(args.dry_run);
    let published = cx.client()?.post(PATH, &body).await?;
    let verb = if args.dry_run { "would be published" } else { "published" };
    done(cx, &format!("{} {verb}", plural(sources.len(), "file")), &published)
}

pub(crate) async fn rollback(cx: &mut Context, version: u64, how: &How) -> Result<Exit, CliError> {
    let body = how.body(json!({ "version": version }));
    let published = cx.client()?.post(&format!("{PATH}/rollback"), &body).await?;
    let what = match version {
        0 => "the server's files alone hold".to_owned(),
        version => format!("the policies of version {version} are published again"),
    };
    done(cx, &what, &published)
}

fn done(cx: &mut Context, what: &str, published: &Value) -> Result<Exit, CliError> {
    for finding in published["findings"].as_array().into_iter().flatten() {
        cx.note(&format!("{}: {}", text(finding, "/policy"), text(finding, "/message")))?;
    }
    for line in proven(&published["proof"]) {
        cx.note(&line)?;
    }
    let shown = match published["version"].as_u64() {
        Some(version) => format!("{what}: version {version}, set {}", text(published, "/digest")),
        None => format!("{what}: set {}", text(published, "/digest")),
    };
    output::one(&mut cx.world.out, cx.format, &shown, published)?;
    Ok(Exit::Done)
}

/// What a server says of having proven something, for people.
fn proven(proof: &Value) -> Vec<String> {
    if proof.is_null() {
        return Vec::new();
    }
    if let Some(why) = proof["missing"].as_str() {
        return vec![format!("not proven: {why}")];
    }
    let results = proof["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (proven, open): (Vec<_>, Vec<_>) = results.iter().partition(|it| text(it, "/outcome") == "proven");
    let mut lines: Vec<String> = open
        .iter()
        .map(|it| format!("{} {}: {}", text(it, "/outcome"), text(it, "/invariant"), text(it, "/detail")))
        .collect();
    lines.push(format!(
        "{} of {} proven by {}",
        proven.len(),
        plural(results.len(), "invariant"),
        text(proof, "/solver")
    ));
    lines
}

pub(crate) async fn show(cx: &mut Context, version: Option<u64>) -> Result<Exit, CliError> {
    let path = version.map_or_else(|| PATH.to_owned(), |version| format!("{PATH}/{version}"));
    let published = cx.client()?.get(&path, &[]).await?;
    if cx.format == Format::Table {
        if let Some(why) = published["unusable"].as_str() {
            cx.note(&format!("everything is denied: {why}"))?;
        }
        if let Some(digest) = published["in_force"].as_str() {
            cx.note(&format!("set {digest}"))?;
        }
        for name in published["server_files"]["names"].as_array().into_iter().flatten() {
            cx.note(&format!("of the server: {}", name.as_str().unwrap_or_default()))?;
        }
    }
    output::one(&mut cx.world.out, cx.format, &as_text(&published), &published)?;
    Ok(Exit::Done)
}

/// The published files as one text, each under its name.
fn as_text(published: &Value) -> String {
    let files = published["files"].as_array().into_iter().flatten();
    let shown: Vec<String> =
        files.map(|file| format!("// {}\n{}", text(file, "/name"), text(file, "/text").trim_end())).collect();
    // Whoever reads it in a terminal sees what it says and nothing else.
    let shown: Vec<String> = shown.iter().map(|text| plain(text)).collect();
    if shown.is_empty() { "// nothing is published".to_owned() } else { shown.join("\n\n") }
}

pub(crate) async fn history(cx: &mut Context) -> Result<Exit, CliError> {
    let published = cx.client()?.list(&format!("{PATH}/history"), &[]).await?;
    if published.is_empty() {
        cx.note("nothing was published; the server's files alone hold")?;
    }
    let now = cx.world.now;
    output::list(&mut cx.world.out, cx.format, &columns(now), &published)?;
    Ok(Exit::Done)
}

fn columns(now: i64) -> [Column; 6] {
    [
        Column::at("VERSION", "/id"),
        Column::new("FILES", |published| published["files"].as_array().map_or(0, Vec::len).to_string()),
        Column::new("AGE", move |published| {
            published["created_at"].as_i64().map(|at| age(now, at)).unwrap_or_default()
        }),
        Column::at("BY", "/by"),
        Column::new("SET", |published| text(published, "/digest").chars().take(SHOWN_CHARS).collect()),
        Column::new("NOTE", |published| match (published["restores"].as_u64(), text(published, "/note")) {
            (Some(version), "") => format!("version {version} again"),
            (_, note) => note.to_owned(),
        }),
    ]
}

/// Characters of a digest in a table.
const SHOWN_CHARS: usize = 15;

fn file(path: &std::path::Path) -> Result<PolicySource, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        CliError::not_found(format!("`{}` cannot be read", path.display())).cause(error.to_string())
    })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(PolicySource { name, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_proven_is_said() {
        assert_eq!(proven(&Value::Null), Vec::<String>::new());
        assert_eq!(proven(&json!({"missing": "no cvc5 on the path"})), ["not proven: no cvc5 on the path"]);
        let results = json!([
            {"invariant": "a", "outcome": "proven"},
            {"invariant": "b", "outcome": "refuted", "detail": "Agent::\"x\" may"},
        ]);
        assert_eq!(
            proven(&json!({"solver": "cvc5 1.0.3", "results": results})),
            ["refuted b: Agent::\"x\" may", "1 of 2 invariants proven by cvc5 1.0.3"]
        );
    }

    #[test]
    fn what_is_published_is_shown_as_it_was_written() {
        assert_eq!(as_text(&json!({"files": []})), "// nothing is published");
        let two = json!({"files": [{"name": "a.cedar", "text": "permit;\n"}, {"name": "b.cedar", "text": "forbid;"}]});
        assert_eq!(as_text(&two), "// a.cedar\npermit;\n\n// b.cedar\nforbid;");
    }
}
