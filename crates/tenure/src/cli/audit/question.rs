//! `tenure audit prove --question`: every record that matches, with the proof that it is in the log, in one file.
//!
//! The log is read whole and its tree computed anew, as for an export; so all proofs lead to one checkpoint, and
//! what the server keeps of the tree is not asked for. An attempt is told of by the id of its effect alone, so
//! what was allowed brings along what came of it.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use tenure_audit::{
    ANSWER_RECORDS_MAX, Answer, Checkpoint, Hash, Proven, TileId, Tiles, Tree, VerifierKey, inclusion,
};

use super::super::client::Client;
use super::super::error::CliError;
use super::super::find;
use super::super::output::text;
use super::{PATH, damaged, nothing, page};

/// What records are compared with. What is not given is not looked at.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only this action, such as `tool.call`, or this kind of record, such as `refused`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only with this: a model, `server/name`, or an id
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Only by this agent: its name or id
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Only by this key or person
    #[arg(long, value_name = "ID")]
    by: Option<String>,
    /// Only over this route
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only under this contract
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<String>,
    /// Not before this day (UTC) or time
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// Before the end of this day (UTC), or before this time
    #[arg(long, value_name = "WHEN")]
    to: Option<String>,
}

/// The filter with its words looked up.
#[derive(Debug, Default)]
struct Wanted {
    action: Option<String>,
    resource: Option<String>,
    agent: Option<String>,
    by: Option<String>,
    route: Option<String>,
    contract: Option<String>,
    /// Milliseconds since 1970, the second exclusive.
    from: Option<i64>,
    to: Option<i64>,
}

/// The answer to a question, computed from the whole log.
pub(super) async fn answer(client: &Client, question: &str, filter: &Filter) -> Result<Answer, CliError> {
    let wanted = Wanted::of(client, filter).await?;
    let log = client.get(PATH, &[]).await?;
    let note = log["checkpoint"].as_str().ok_or_else(nothing)?;
    let key: VerifierKey = text(&log, "/key").parse().map_err(|error| damaged(&error))?;
    let checkpoint = Checkpoint::open(note, &key).map_err(|error| damaged(&error))?;
    let (mut tree, mut kept) = (Tree::new(), Kept::default());
    let mut found = Vec::new();
    let mut effects = BTreeSet::new();
    while tree.size() < checkpoint.size {
        let records = page(client, tree.size()).await?;
        if records.is_empty() {
            return Err(CliError::failed("log_cut", "the log has fewer records than its checkpoint says"));
        }
        let rest = usize::try_from(checkpoint.size - tree.size()).unwrap_or(usize::MAX);
        for (index, record) in records.into_iter().take(rest) {
            let mut full = Vec::new();
            tree.push(Hash::of_record(record.as_bytes()), &mut full);
            kept.0.extend(full.into_iter().map(|tile| (tile.id, tile.hashes)));
            if wanted.is_met(&serde_json::from_str(&record).unwrap_or_default(), &mut effects) {
                found.push((index, record));
            }
            if found.len() > ANSWER_RECORDS_MAX {
                return Err(CliError::failed(
                    "too_many",
                    format!("more than {ANSWER_RECORDS_MAX} records match"),
                )
                .fix("ask about a shorter time: --from and --to"));
            }
        }
    }
    if tree.root() != checkpoint.root {
        return Err(CliError::failed(
            "log_changed",
            "the records are not those that the checkpoint was signed for",
        )
        .fix("keep the data directory as it is, and compare it with an earlier export"));
    }
    kept.0.extend(tree.partial_tiles().into_iter().map(|tile| (tile.id, tile.hashes)));
    let prove = |(index, record)| {
        let path = inclusion(&kept, checkpoint.size, index).map_err(|error| damaged(&error))?;
        let path = path.ok_or_else(|| damaged(&NotKept))?;
        Ok(Proven { index, record, path })
    };
    Ok(Answer {
        question: question.to_owned(),
        filter: filter.shown(),
        looked_at: checkpoint.size,
        proven: found.into_iter().map(prove).collect::<Result<_, CliError>>()?,
        checkpoint: note.to_owned(),
    })
}

impl Filter {
    /// As one line, for whoever reads the answer.
    fn shown(&self) -> String {
        let Self { action, resource, agent, by, route, contract, from, to } = self;
        let parts = [
            ("action", action),
            ("resource", resource),
            ("agent", agent),
            ("by", by),
            ("route", route),
            ("contract", contract),
            ("from", from),
            ("to", to),
        ];
        let shown = parts.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        let shown: Vec<String> = shown.collect();
        if shown.is_empty() { "all".to_owned() } else { shown.join(" ") }
    }
}

impl Wanted {
    async fn of(client: &Client, filter: &Filter) -> Result<Self, CliError> {
        let agent = match &filter.agent {
            Some(agent) => Some(find::agent_id(client, agent).await?),
            None => None,
        };
        Ok(Self {
            action: filter.action.clone(),
            resource: filter.resource.clone(),
            agent,
            by: filter.by.clone(),
            route: filter.route.clone(),
            contract: filter.contract.clone(),
            from: filter.from.as_deref().map(|typed| moment(typed, Edge::Beginning)).transpose()?,
            to: filter.to.as_deref().map(|typed| moment(typed, Edge::End)).transpose()?,
        })
    }

    /// Whether a record matches, or tells of an attempt at what matched. `effects` are those.
    fn is_met(&self, record: &Value, effects: &mut BTreeSet<String>) -> bool {
        let fact = &record["fact"];
        let effect = fact["effect"].as_str();
        let is = |wanted: &Option<String>, found: &[&Value]| {
            wanted.as_ref().is_none_or(|wanted| found.iter().any(|found| mentions(found, wanted)))
        };
        let at = record["at"].as_i64().unwrap_or_default();
        let in_time = self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to);
        let matches = is(&self.action, &[&fact["action"], &fact["type"]])
            && is(&self.resource, &[&fact["resource"], &record["session"], &fact["approval"]])
            && is(&self.agent, &[&record["agent"]])
            && is(&self.by, &[&fact["by"]])
            && is(&self.route, &[&fact["route"]])
            && is(&self.contract, &[&fact["contract"], &fact["contracts"], &fact["route"]["contract"]])
            && in_time;
        if matches && let Some(effect) = effect {
            effects.insert(effect.to_owned());
        }
        let is_attempt = matches!(text(fact, "/type"), "attempt_started" | "attempt_ended");
        matches || (is_attempt && effect.is_some_and(|effect| effects.contains(effect)))
    }
}

/// Whether a value is the word, is named by it, or is a list with one that is.
fn mentions(value: &Value, word: &str) -> bool {
    match value {
        Value::String(text) => text == word,
        Value::Array(values) => values.iter().any(|value| mentions(value, word)),
        Value::Object(members) => {
            ["id", "name"].iter().any(|name| members.get(*name).and_then(Value::as_str) == Some(word))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Which end of a time that is a day is meant.
#[derive(Clone, Copy)]
enum Edge {
    Beginning,
    End,
}

fn moment(typed: &str, edge: Edge) -> Result<i64, CliError> {
    let day = || {
        let day: Date = typed.parse().ok()?;
        let day = match edge {
            Edge::Beginning => day,
            Edge::End => day.tomorrow().ok()?,
        };
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
    };
    let time = typed.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    time.or_else(day).ok_or_else(|| {
        CliError::usage(format!("`{typed}` is no time"))
            .fix("use a day such as `2027-01-31`, or a time such as `2027-01-31T12:00:00Z`")
    })
}

/// Tiles in memory: 32 bytes a record.
#[derive(Default)]
struct Kept(BTreeMap<TileId, Vec<Hash>>);

#[derive(Debug, thiserror::Error)]
#[error("the log's tree is not whole")]
struct NotKept;

impl Tiles for Kept {
    type Error = NotKept;

    fn tile(&self, id: TileId) -> Result<Vec<Hash>, NotKept> {
        self.0.get(&id).cloned().ok_or(NotKept)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_compared_with_what_was_asked() {
        let records = [
            json!({"at": 1_000, "agent": "agt_1", "session": "sess_1", "fact": {"type": "allowed", "effect": "eff_1",
                "action": "tool.call", "resource": "pay/refund", "route": {"id": "eu", "contract": "C1"}}}),
            json!({"at": 2_000, "agent": "agt_1", "session": "sess_1", "fact": {"type": "attempt_ended",
                "effect": "eff_1", "outcome": "done"}}),
            json!({"at": 3_000, "agent": "agt_2", "session": "sess_2", "fact": {"type": "refused",
                "action": "model.call", "resource": "m", "route": "us", "contracts": ["C1", "C2"]}}),
            json!({"at": 4_000, "fact": {"type": "changed", "action": "keys.create", "resource": "key_2",
                "by": "key_1", "outcome": "done"}}),
            json!({"at": 5_000, "agent": "agt_2", "session": "sess_2", "fact": {"type": "attempt_ended",
                "effect": "eff_9", "outcome": "done"}}),
        ];
        let found = |wanted: Wanted| {
            let mut effects = BTreeSet::new();
            let met = records.iter().enumerate().filter(|(_, record)| wanted.is_met(record, &mut effects));
            met.map(|(index, _)| index).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found(Wanted::default()), [0, 1, 2, 3, 4]);
        assert_eq!(
            found(Wanted { action: some("tool.call"), ..Wanted::default() }),
            [0, 1],
            "and what came of it"
        );
        assert_eq!(found(Wanted { action: some("refused"), ..Wanted::default() }), [2]);
        assert_eq!(found(Wanted { agent: some("agt_2"), ..Wanted::default() }), [2, 4]);
        assert_eq!(found(Wanted { route: some("eu"), ..Wanted::default() }), [0, 1]);
        assert_eq!(found(Wanted { contract: some("C1"), ..Wanted::default() }), [0, 1, 2]);
        assert_eq!(found(Wanted { by: some("key_1"), ..Wanted::default() }), [3]);
        assert_eq!(found(Wanted { resource: some("sess_1"), ..Wanted::default() }), [0, 1]);
        assert_eq!(found(Wanted { from: Some(2_000), to: Some(4_000), ..Wanted::default() }), [1, 2]);
    }

    #[test]
    fn a_day_is_whole() {
        let edges = |typed| (moment(typed, Edge::Beginning).ok(), moment(typed, Edge::End).ok());
        assert_eq!(edges("2027-01-31"), (Some(1_801_353_600_000), Some(1_801_440_000_000)));
        let time = Some(1_801_353_600_500);
        assert_eq!(edges("2027-01-31T00:00:00.5Z"), (time, time));
        assert_eq!(edges("January"), (None, None));
    }
}
