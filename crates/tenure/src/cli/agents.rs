//! `tenure agents`: saved agents, their versions, and which of them new sessions run.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::client::Client;
use super::diff::{self, Line};
use super::error::{CliError, Exit};
use super::find;
use super::output::{self, Column, Format, age, text};
use super::world::{Output, Tone, brief, plain};

#[derive(Debug, Args)]
pub(crate) struct AgentsArgs {
    #[command(subcommand)]
    command: AgentsCommand,
}

#[derive(Debug, Subcommand)]
enum AgentsCommand {
    /// List saved agents with their versions and splits
    #[command(alias = "list")]
    Ls,
    /// Print an agent
    Show {
        /// The agent, by name or id
        agent: String,
        /// This version instead of the latest
        #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
        number: Option<u64>,
    },
    /// List the versions of an agent, the latest first
    Versions {
        /// The agent, by name or id; the id of a deleted agent works
        agent: String,
    },
    /// Show what differs between two versions; without versions, between the latest and the one before
    Diff {
        /// The agent, by name or id
        agent: String,
        /// The earlier version
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        from: Option<u64>,
        /// The later version; the latest if not given
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        to: Option<u64>,
    },
    /// Make a new version that is equal to an earlier one; running sessions keep theirs
    Rollback {
        /// The agent, by name or id
        agent: String,
        /// The version to go back to
        #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
        number: u64,
    },
    /// Split new sessions between two versions, or show or end a split
    Split {
        /// The agent, by name or id
        agent: String,
        /// Two versions with their weights, such as `3=90 4=10`
        #[arg(value_name = "VERSION=WEIGHT", num_args = 2, value_parser = weighted, conflicts_with = "end")]
        versions: Vec<(u64, u64)>,
        /// End the split: new sessions run the latest version again
        #[arg(long)]
        end: bool,
    },
}

const PATH: &str = "/v1/tenure/agents";

fn weighted(typed: &str) -> Result<(u64, u64), String> {
    let parsed = typed.split_once('=').and_then(|(version, weight)| {
        Some((version.parse().ok().filter(|version| *version > 0)?, weight.parse().ok()?))
    });
    parsed.ok_or_else(|| "expected a version and its weight, such as `3=90`".to_owned())
}

pub(crate) async fn agents(cx: &mut Context, args: &AgentsArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match &args.command {
        AgentsCommand::Ls => {
            let agents = client.list(PATH, &[("order", "asc")]).await?;
            if agents.is_empty() {
                cx.note("no agents")?;
            }
            let now = cx.world.now;
            output::list(&mut cx.world.out, cx.format, &columns(now), &agents)?;
        }
        AgentsCommand::Show { agent, number } => show(cx, &client, agent, *number).await?,
        AgentsCommand::Versions { agent } => {
            let id = find::agent_id(&client, agent).await?;
            let versions = client.list(&format!("{PATH}/{id}/versions"), &[("order", "desc")]).await?;
            let now = cx.world.now;
            output::list(&mut cx.world.out, cx.format, &version_columns(now), &versions)?;
        }
        AgentsCommand::Diff { agent, from, to } => difference(cx, &client, agent, *from, *to).await?,
        AgentsCommand::Rollback { agent, number: old } => {
            let id = find::agent_id(&client, agent).await?;
            let body = json!({"version": old});
            let made = client.post(&format!("{PATH}/{id}/rollback"), &body).await?;
            let shown = format!("version {} is equal to version {old}", number(&made, "/version"));
            output::one(&mut cx.world.out, cx.format, &shown, &made)?;
            cx.note("new sessions run it; running sessions keep their version")?;
        }
        AgentsCommand::Split { agent, versions, end } => {
            let path = format!("{PATH}/{}/split", find::agent_id(&client, agent).await?);
            if *end {
                let ended = client.delete(&path).await?;
                output::one(&mut cx.world.out, cx.format, "new sessions run the latest version", &ended)?;
                return Ok(Exit::Done);
            }
            let split = if versions.is_empty() {
                client.get(&path, &[]).await?
            } else {
                let pair = |(version, weight): &(u64, u64)| json!({"version": version, "weight": weight});
                client.put(&path, &json!({"versions": versions.iter().map(pair).collect::<Vec<_>>()})).await?
            };
            output::one(&mut cx.world.out, cx.format, &shares(split.get("versions")), &split)?;
        }
    }
    Ok(Exit::Done)
}

fn number(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_u64).map_or("-".to_owned(), |number| number.to_string())
}

fn named(name: &str) -> String {
    if name.is_empty() { "-".to_owned() } else { name.to_owned() }
}

fn since(now: i64, value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_i64).map(|at| age(now, at)).unwrap_or_default()
}

/// Who made something.
fn author(author: Option<&Value>) -> String {
    let Some(author) = author.filter(|author| !author.is_null()) else { return "-".to_owned() };
    match text(author, "/type") {
        "project_files" => "project files".to_owned(),
        _ => format!("key {}", text(author, "/name")),
    }
}

/// A split in a few words: `3: 90%, 4: 10%`.
fn shares(versions: Option<&Value>) -> String {
    let versions = versions.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let weight = |version: &Value| version.get("weight").and_then(Value::as_u64).unwrap_or(0);
    let total = versions.iter().map(weight).sum::<u64>().max(1);
    let share = |version: &Value| {
        let percent = format!("{:.2}", 100.0 * weight(version) as f64 / total as f64);
        let percent = percent.trim_end_matches('0').trim_end_matches('.').to_owned();
        format!("{}: {percent}%", number(version, "/version"))
    };
    if versions.is_empty() {
        "-".to_owned()
    } else {
        versions.iter().map(share).collect::<Vec<_>>().join(", ")
    }
}

fn columns(now: i64) -> [Column; 6] {
    [
        Column::new("NAME", |agent| named(text(agent, "/name"))),
        Column::at("ID", "/id"),
        Column::at("MODEL", "/model"),
        Column::new("VERSION", |agent| number(agent, "/version")),
        Column::new("SPLIT", |agent| shares(agent.get("split"))),
        Column::new("CHANGED", move |agent| since(now, agent, "/updated_at")),
    ]
}

fn version_columns(now: i64) -> [Column; 5] {
    [
        Column::new("VERSION", |version| number(version, "/version")),
        Column::new("AGE", move |version| since(now, version, "/created_at")),
        Column::new("AUTHOR", |version| author(version.get("author"))),
        Column::at("MODEL", "/agent/model"),
        Column::new("EQUAL TO", |version| number(version, "/restores")),
    ]
}

async fn show(cx: &mut Context, client: &Client, typed: &str, version: Option<u64>) -> Result<(), CliError> {
    let id = find::agent_id(client, typed).await?;
    let shown = match version {
        None => client.get(&format!("{PATH}/{id}"), &[]).await?,
        Some(version) => client.get(&format!("{PATH}/{id}/versions/{version}"), &[]).await?,
    };
    let told = told(&shown);
    output::one(&mut cx.world.out, cx.format, &told, &shown)
}

/// An agent, or one version of it, for a person.
fn told(shown: &Value) -> String {
    let agent = shown.get("agent").unwrap_or(shown);
    let tools = agent.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let tool = |tool: &Value| {
        let name = match text(tool, "/name") {
            "" => text(tool, "/server_label"),
            name => name,
        };
        format!("{} {name}", text(tool, "/type")).trim_end().to_owned()
    };
    let tools = tools.iter().map(tool).collect::<Vec<_>>().join(", ");
    let rows = [
        ("name", named(text(agent, "/name"))),
        ("id", text(agent, "/id").to_owned()),
        ("version", number(shown, "/version")),
        ("author", author(shown.get("author"))),
        ("model", text(agent, "/model").to_owned()),
        ("tools", named(&tools)),
        ("split", shares(shown.get("split"))),
    ];
    let rows = rows.map(|(label, value)| format!("{label:10} {}", brief(&value, usize::MAX)));
    let instructions = plain(text(agent, "/instructions").trim_end());
    if instructions.is_empty() {
        return rows.join("\n");
    }
    format!("{}\n\n{instructions}", rows.join("\n"))
}

async fn difference(
    cx: &mut Context,
    client: &Client,
    typed: &str,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<(), CliError> {
    let id = find::agent_id(client, typed).await?;
    let from = match from {
        Some(from) => from,
        None => {
            let latest =
                client.get(&format!("{PATH}/{id}/versions"), &[("limit", "1"), ("order", "desc")]).await?;
            let latest = latest.pointer("/data/0/version").and_then(Value::as_u64).unwrap_or(1);
            if latest < 2 {
                return Err(CliError::not_found(format!("`{typed}` has one version only")));
            }
            latest - 1
        }
    };
    let (from, to) = (from.to_string(), to.map(|to| to.to_string()));
    let mut query = vec![("from", from.as_str())];
    query.extend(to.as_deref().map(|to| ("to", to)));
    let found = client.get(&format!("{PATH}/{id}/diff"), &query).await?;
    if cx.format != Format::Table {
        return output::one(&mut cx.world.out, cx.format, "", &found);
    }
    let title = format!("{typed}: version {} to {}", number(&found, "/from"), number(&found, "/to"));
    cx.note(&title)?;
    let changes = found.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        cx.note("no difference")?;
    }
    changes.iter().try_for_each(|change| write_change(&mut cx.world.out, change))?;
    Ok(())
}

/// Characters of one value in a difference.
const VALUE_CHARS_MAX: usize = 400;

fn write_change(out: &mut Output, change: &Value) -> Result<(), CliError> {
    let path = brief(text(change, "/path"), usize::MAX);
    let (from, to) = (change.get("from"), change.get("to"));
    let is_long = |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|t| t.contains('\n'));
    let line = match (from, to) {
        (Some(from), Some(to)) if is_long(Some(from)) || is_long(Some(to)) => {
            out.line(&out.tone(Tone::Bold, &format!("~ {path}")))?;
            return write_lines(out, from.as_str().unwrap_or_default(), to.as_str().unwrap_or_default());
        }
        (Some(from), Some(to)) => {
            out.line(&out.tone(Tone::Bold, &format!("~ {path}")))?;
            out.line(&out.tone(Tone::Red, &format!("  - {}", value(from))))?;
            out.tone(Tone::Green, &format!("  + {}", value(to)))
        }
        (Some(from), None) => out.tone(Tone::Red, &format!("- {path}: {}", value(from))),
        (None, to) => out.tone(Tone::Green, &format!("+ {path}: {}", to.map(value).unwrap_or_default())),
    };
    Ok(out.line(&line)?)
}

fn value(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    brief(&text, VALUE_CHARS_MAX)
}

fn write_lines(out: &mut Output, from: &str, to: &str) -> Result<(), CliError> {
    let (from, to) = (plain(from), plain(to));
    for line in diff::lines(&from, &to) {
        let line = match line {
            Line::Same(line) => format!("    {line}").trim_end().to_owned(),
            Line::Removed(line) => out.tone(Tone::Red, &format!("  - {line}")),
            Line::Added(line) => out.tone(Tone::Green, &format!("  + {line}")),
            Line::Skipped(1) => out.tone(Tone::Dim, "    (1 line)"),
            Line::Skipped(count) => out.tone(Tone::Dim, &format!("    ({count} lines)")),
        };
        out.line(&line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::Captured;

    #[test]
    fn lists_agents_with_their_splits() {
        let agents = [
            json!({"id": "agt_1", "name": "helper", "model": "m", "version": 4, "updated_at": 40,
                   "split": [{"version": 3, "weight": 999}, {"version": 4, "weight": 1}]}),
            json!({"id": "agt_2", "name": null, "model": "m", "version": 1, "updated_at": 100, "split": null}),
        ];
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &columns(100), &agents).expect("written");
        assert_eq!(
            captured.text(),
            "NAME    ID     MODEL  VERSION  SPLIT              CHANGED\n\
             helper  agt_1  m      4        3: 99.9%, 4: 0.1%  1m\n\
             -       agt_2  m      1        -                  0s\n"
        );
    }

    #[test]
    fn writes_changes_for_people() {
        let captured = Captured::default();
        let mut out = captured.output();
        for change in [
            json!({"change": "changed", "path": "model", "from": "m1", "to": "m2"}),
            json!({"change": "changed", "path": "instructions", "from": "Be kind.\nSay yes.", "to": "Be kind.\nSay no."}),
            json!({"change": "added", "path": "tools[function f]", "to": {"type": "function"}}),
            json!({"change": "removed", "path": "metadata.a", "from": "1\u{1b}[2J"}),
        ] {
            write_change(&mut out, &change).expect("written");
        }
        assert_eq!(
            captured.text(),
            "~ model\n  - m1\n  + m2\n\
             ~ instructions\n    Be kind.\n  - Say yes.\n  + Say no.\n\
             + tools[function f]: {\"type\":\"function\"}\n\
             - metadata.a: 1 [2J\n"
        );
    }

    #[test]
    fn tells_about_one_version() {
        let version = json!({"version": 2, "author": {"type": "key", "name": "ops"}, "agent": {
            "id": "agt_1", "name": "helper", "model": "m", "instructions": "Be brief.\n",
            "tools": [{"type": "tool_search"}, {"type": "mcp", "server_label": "orders"}]}});
        assert_eq!(
            told(&version),
            "name       helper\nid         agt_1\nversion    2\nauthor     key ops\nmodel      m\n\
             tools      tool_search, mcp orders\nsplit      -\n\nBe brief."
        );
    }
}
