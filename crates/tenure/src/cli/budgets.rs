//! `tenure budgets`: what may be used of models, by whom, in what time, and what was.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tenure_journal::Measure;

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::find;
use super::output::{self, Column, text};

#[derive(Debug, Args)]
pub(crate) struct BudgetsArgs {
    #[command(subcommand)]
    command: BudgetsCommand,
}

#[derive(Debug, Subcommand)]
enum BudgetsCommand {
    /// List what is limited, what was used of it and what is set aside
    #[command(alias = "list")]
    Ls {
        /// Of all that holds for one session
        #[arg(long, value_name = "SESSION")]
        session: Option<String>,
    },
    /// Show the budgets of one target
    Show {
        #[command(subcommand)]
        whose: Whose,
    },
    /// Set limits of one target
    Set {
        #[command(subcommand)]
        whose: Setting,
    },
}

#[derive(Debug, Subcommand)]
enum Whose {
    /// Everything in the project
    Project,
    /// Each session, with its subagents
    Session,
    /// An agent, in all its sessions
    Agent {
        /// Its name or id
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum Setting {
    /// Everything in the project
    Project {
        #[command(flatten)]
        limits: Limits,
    },
    /// Each session, with its subagents
    Session {
        #[command(flatten)]
        limits: Limits,
    },
    /// An agent, in all its sessions
    Agent {
        /// Its name or id
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
}

#[derive(Debug, Args)]
struct Limits {
    /// How long they hold before the next begins, in UTC
    #[arg(long, default_value = "month", value_parser = ["day", "month", "total"])]
    period: String,
    /// US dollars, such as 20 or 0.50; `none` takes the limit away
    #[arg(long, value_name = "USD", required_unless_present_any = ["tokens", "calls", "time"])]
    money: Option<Wanted<Dollars>>,
    /// Tokens read and written, or `none`
    #[arg(long, value_name = "TOKENS")]
    tokens: Option<Wanted<Count>>,
    /// Model calls, or `none`
    #[arg(long, value_name = "CALLS")]
    calls: Option<Wanted<Count>>,
    /// Time that model calls take, such as 90s, 30m or 8h, or `none`
    #[arg(long, value_name = "TIME")]
    time: Option<Wanted<Seconds>>,
}

/// An amount, or that nothing limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted<T> {
    None,
    Some(T),
}

impl<T: FromStr> FromStr for Wanted<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Some) }
    }
}

/// Millionths of a US dollar, written as dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dollars(u64);

impl FromStr for Dollars {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected US dollars with at most six decimals, such as 20 or 0.50";
        /// Decimals of a millionth.
        const PLACES: usize = 6;
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > PLACES {
            return Err(WRONG);
        }
        let micros = format!("{whole}{part:0<PLACES$}").parse().map_err(|_| WRONG)?;
        Ok(Self(micros))
    }
}

/// A whole number, `_` allowed between its digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count(u64);

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.replace('_', "").parse().map(Self).map_err(|_| "expected a whole number")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seconds(u64);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a time such as 90s, 30m or 8h";
        let unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some(_) | None => return Err(WRONG),
        };
        let count: u64 = text[..text.len() - 1].parse().map_err(|_| WRONG)?;
        count.checked_mul(unit).map(Self).ok_or(WRONG)
    }
}

const PATH: &str = "/v1/tenure/budgets";

pub(crate) async fn budgets(cx: &mut Context, args: &BudgetsArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match &args.command {
        BudgetsCommand::Ls { session: None } => {
            let found = client.list(PATH, &[]).await?;
            show(cx, &found.iter().flat_map(rows).collect::<Vec<_>>())
        }
        BudgetsCommand::Ls { session: Some(session) } => {
            let session = find::session(&client, session).await?;
            let path = format!("/v1/tenure/sessions/{session}/budgets");
            let found = client.list(&path, &[]).await?;
            show(cx, &found.iter().flat_map(|standing| measured(standing, "")).collect::<Vec<_>>())
        }
        BudgetsCommand::Show { whose } => {
            let target = match whose {
                Whose::Project => "project".to_owned(),
                Whose::Session => "session".to_owned(),
                Whose::Agent { name } => find::agent_id(&client, name).await?,
            };
            let found = client.get(&format!("{PATH}/{target}"), &[]).await?;
            let rows = rows(&found);
            if rows.is_empty() {
                cx.note("nothing limits it")?;
            }
            show(cx, &rows)
        }
        BudgetsCommand::Set { whose } => {
            let (target, limits) = match whose {
                Setting::Project { limits } => ("project".to_owned(), limits),
                Setting::Session { limits } => ("session".to_owned(), limits),
                Setting::Agent { name, limits } => (find::agent_id(&client, name).await?, limits),
            };
            set(cx, &client, &target, limits).await
        }
    }
}

/// Changes what flags name, and leaves the rest as it was set.
async fn set(cx: &mut Context, client: &Client, target: &str, limits: &Limits) -> Result<Exit, CliError> {
    let path = format!("{PATH}/{target}");
    let known = client.get(&path, &[]).await?;
    let mut all = known["limits"].as_object().cloned().unwrap_or_default();
    let period = all.entry(limits.period.clone()).or_insert_with(|| json!({}));
    for (name, wanted) in limits.wanted() {
        period[name] = wanted.map_or(Value::Null, Value::from);
    }
    let body = json!({"limits": all, "expected_version": known["version"]});
    let found = client.put(&path, &body).await?;
    cx.note("it holds from now on for what begins; what runs goes on to its end")?;
    let lower = Measure::ALL.into_iter().filter(|measure| {
        let at = |of: &str| found.pointer(&format!("/{of}/{}/{}", limits.period, member(*measure))).cloned();
        at("limits").is_some() && at("limits") != at("in_force")
    });
    for measure in lower {
        let what = measure.as_str();
        cx.note(&format!("tenure.yaml limits its {what} further; who runs the server can raise that"))?;
    }
    show(cx, &rows(&found))
}

impl Limits {
    /// Members that flags name, and what they are to be; nothing to take a limit away.
    fn wanted(&self) -> Vec<(&'static str, Option<u64>)> {
        fn amount<T: Copy>(wanted: Option<Wanted<T>>, number: fn(T) -> u64) -> Option<Option<u64>> {
            wanted.map(|wanted| match wanted {
                Wanted::None => None,
                Wanted::Some(amount) => Some(number(amount)),
            })
        }
        let pairs = [
            (Measure::Money, amount(self.money, |Dollars(micros)| micros)),
            (Measure::Tokens, amount(self.tokens, |Count(count)| count)),
            (Measure::Calls, amount(self.calls, |Count(count)| count)),
            (Measure::Time, amount(self.time, |Seconds(seconds)| seconds)),
        ];
        pairs.into_iter().filter_map(|(measure, wanted)| Some((member(measure), wanted?))).collect()
    }
}

/// What the API calls it.
fn member(measure: Measure) -> &'static str {
    match measure {
        Measure::Money => "money_micros",
        Measure::Tokens => "tokens",
        Measure::Calls => "calls",
        Measure::Time => "seconds",
    }
}

/// A line for each thing that is limited of a target.
fn rows(target: &Value) -> Vec<Value> {
    let whose = match text(target, "/target/name") {
        "" => text(target, "/id").to_owned(),
        name => format!("agent {name}"),
    };
    if let Some(periods) = target["periods"].as_array().filter(|periods| !periods.is_empty()) {
        return periods.iter().flat_map(|standing| measured(standing, &whose)).collect();
    }
    // Of all sessions nothing is counted together.
    let none = Map::new();
    let in_force = target["in_force"].as_object().unwrap_or(&none);
    let of = |(period, limits): (&String, &Value)| {
        let standing = json!({"id": format!("session/{period}"), "period": period, "limits": limits});
        measured(&standing, "each session")
    };
    in_force.iter().flat_map(of).collect()
}

/// A line for each thing that a budget limits.
fn measured(standing: &Value, whose: &str) -> Vec<Value> {
    let id = text(standing, "/id");
    let whose = if whose.is_empty() { id.split('/').next().unwrap_or_default() } else { whose };
    let limited = |measure: &Measure| standing["limits"].get(member(*measure)).is_some();
    let row = |measure: Measure| {
        let of = |part: &str| standing[part].get(member(measure)).and_then(Value::as_u64);
        json!({
            "id": format!("{id}/{}", measure.as_str()),
            "whose": whose,
            "period": standing["period"],
            "span": standing["span"],
            "measure": measure.as_str(),
            "limit": of("limits"),
            "spent": of("spent"),
            "reserved": of("reserved"),
        })
    };
    Measure::ALL.into_iter().filter(limited).map(row).collect()
}

fn show(cx: &mut Context, rows: &[Value]) -> Result<Exit, CliError> {
    let amount = |title, part: &'static str| {
        Column::new(title, move |row: &Value| {
            let measure = Measure::ALL.into_iter().find(|measure| measure.as_str() == text(row, "/measure"));
            measure
                .zip(row[part].as_u64())
                .map_or_else(String::new, |(measure, amount)| cell(measure, amount))
        })
    };
    let columns = [
        Column::at("WHOSE", "/whose"),
        Column::new("PERIOD", |row| match text(row, "/span") {
            "" => text(row, "/period").to_owned(),
            span => span.to_owned(),
        }),
        Column::at("OF", "/measure"),
        amount("LIMIT", "limit"),
        amount("SPENT", "spent"),
        amount("SET ASIDE", "reserved"),
    ];
    output::list(&mut cx.world.out, cx.format, &columns, rows)?;
    Ok(Exit::Done)
}

/// An amount as the API says it, for people.
fn cell(measure: Measure, amount: u64) -> String {
    match measure {
        Measure::Money => tenure_session::shown_amount(measure, amount.saturating_mul(1_000)),
        Measure::Tokens | Measure::Calls => amount.to_string(),
        Measure::Time => format!("{amount} s"),
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::Period;

    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, micros) in [("20", 20_000_000), ("0.5", 500_000), ("1.000001", 1_000_001), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Dollars(micros)), "{text}");
        }
        for wrong in ["", "-1", "1.", ".5", "1.0000001", "1e3", "$5", "99999999999999999999"] {
            assert!(wrong.parse::<Dollars>().is_err(), "{wrong}");
        }
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("8h", 28_800)] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for wrong in ["", "s", "90", "1d", "-1s", "1.5h", "99999999999999999999h", "é"] {
            assert!(wrong.parse::<Seconds>().is_err(), "{wrong}");
        }
        assert_eq!("1_000".parse(), Ok(Count(1_000)));
        assert_eq!("none".parse(), Ok(Wanted::<Count>::None));
        assert!("nothing".parse::<Wanted<Count>>().is_err());
    }

    #[test]
    fn each_limited_thing_has_a_line() {
        let standing = json!({
            "id": "project/month/2026-11", "period": "month", "span": "2026-11",
            "limits": {"money_micros": 20_000_000, "calls": 5},
            "spent": {"money_micros": 1_500_000, "tokens": 9, "calls": 2, "seconds": 1},
            "reserved": {"money_micros": 0, "tokens": 0, "calls": 1, "seconds": 0},
        });
        let project = json!({"id": "project", "target": {"type": "project"}, "periods": [standing]});
        let lines: Vec<_> = rows(&project)
            .iter()
            .map(|row| (text(row, "/id").to_owned(), row["limit"].clone(), row["spent"].clone()))
            .collect();
        let expected = [
            ("project/month/2026-11/money".to_owned(), json!(20_000_000), json!(1_500_000)),
            ("project/month/2026-11/calls".to_owned(), json!(5), json!(2)),
        ];
        assert_eq!(lines, expected);
        let session = json!({"id": "session", "in_force": {"total": {"tokens": 7}}, "periods": []});
        let line = &rows(&session)[0];
        assert_eq!((text(line, "/id"), text(line, "/whose")), ("session/total/tokens", "each session"));
    }

    #[test]
    fn every_period_is_a_flag() {
        let words: Vec<&str> = Period::ALL.into_iter().map(Period::as_str).collect();
        assert_eq!(words, ["day", "month", "total"]);
    }
}
