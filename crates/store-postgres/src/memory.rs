//! Episodes: found by their terms. They are written with their events, in `batch.rs`.

use std::collections::BTreeMap;

use tenure_journal::{Episode, Labels, MemorySpace, Remembered, Speaker, Timestamp};
use tenure_store::StoreError;
use tenure_store::recall::{COUNTED_MAX, Candidates, Wanted, joined, pick};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::connect::Connection;
use crate::error::damaged;
use crate::pool::Pool;
use crate::read::{limit_of, parsed, required_text, rows, text, value};
use crate::text::stored;
use crate::write::int;

/// An episode as a row: its texts as they are stored.
#[derive(Debug)]
pub(crate) struct EpisodeRow {
    pub(crate) remembered: Remembered,
    pub(crate) space: String,
    pub(crate) user: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) text: String,
    pub(crate) labels: Option<String>,
    /// Parted by spaces.
    pub(crate) terms: String,
}

impl EpisodeRow {
    pub(crate) fn of(remembered: Remembered) -> Self {
        let space = remembered.space.mark();
        let terms: Vec<String> = remembered.terms.iter().map(|term| marked(&space, term)).collect();
        let optional = |text: &Option<String>| text.as_deref().map(|text| stored(text).into_owned());
        Self {
            user: optional(&remembered.space.user),
            name: optional(&remembered.episode.name),
            text: stored(&remembered.episode.text).into_owned(),
            labels: labels_text(&remembered.episode.labels),
            terms: terms.join(" "),
            space,
            remembered,
        }
    }
}

/// A term as it is kept: behind the mark of its space, so that no other space's is ever met.
fn marked(mark: &str, term: &str) -> String {
    stored(&format!("{mark}·{term}")).into_owned()
}

pub(crate) async fn candidates(
    pool: &Pool,
    space: &MemorySpace,
    wanted: &Wanted,
) -> Result<Candidates, StoreError> {
    let context = "recalling";
    let mark = space.mark();
    let connection = &pool.take(context).await?;
    let counted = limit_of(COUNTED_MAX);
    let params: [&(dyn ToSql + Sync); 2] = [&mark, &counted];
    let found = rows(connection, context, include_str!("../sql/count_episodes.sql"), &params).await?;
    let episodes = found.first().map_or(Ok(0), |row| value::<i64>(row, 0))?.unsigned_abs();
    let mut lists = Vec::new();
    for term in &wanted.terms {
        let params: [&(dyn ToSql + Sync); 2] = [&marked(&mark, term), &counted];
        lists.push(
            numbers(connection, context, include_str!("../sql/episodes_with_term.sql"), &params).await?,
        );
    }
    let frequencies = lists.iter().map(|list| list.len() as u64).collect();
    if let Some((from, until)) = wanted.window.filter(|_| wanted.terms.is_empty()) {
        let sql = include_str!("../sql/episodes_within.sql");
        let limit = limit_of(wanted.hits_max);
        let params: [&(dyn ToSql + Sync); 4] = [&mark, &from.as_millis(), &until.as_millis(), &limit];
        lists.push(numbers(connection, context, sql, &params).await?);
    }
    let hits: Vec<i64> = pick(episodes, &lists, wanted.hits_max).into_iter().map(int).collect();
    let params: [&(dyn ToSql + Sync); 3] = [&hits, &mark, &limit_of(wanted.reach)];
    let found = rows(connection, context, include_str!("../sql/neighbours.sql"), &params).await?;
    let mut runs: BTreeMap<i64, Vec<Episode>> = BTreeMap::new();
    for row in &found {
        runs.entry(value(row, 0)?).or_default().push(episode_of(row)?);
    }
    Ok(Candidates { episodes, frequencies, stretches: joined(runs.into_values().collect()) })
}

fn labels_text(labels: &Labels) -> Option<String> {
    let text = || serde_json::to_string(labels).expect("labels are words and sets of words");
    (!labels.is_neutral()).then(|| stored(&text()).into_owned())
}

fn labels_of(text: Option<String>) -> Result<Labels, StoreError> {
    let Some(text) = text else { return Ok(Labels::NEUTRAL) };
    serde_json::from_str(&text).map_err(|_| damaged(format!("reading the labels `{text}`")))
}

async fn numbers(
    connection: &Connection,
    context: &str,
    sql: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<u64>, StoreError> {
    let rows = rows(connection, context, sql, params).await?;
    rows.iter().map(|row| Ok(value::<i64>(row, 0)?.unsigned_abs())).collect()
}

fn episode_of(row: &Row) -> Result<Episode, StoreError> {
    let word: String = value(row, 5)?;
    Ok(Episode {
        session: parsed(row, 1)?,
        item: parsed(row, 2)?,
        ordinal: value::<i64>(row, 3)?.unsigned_abs(),
        at: Timestamp::from_millis(value(row, 4)?),
        speaker: Speaker::from_word(&word)
            .ok_or_else(|| damaged(format!("reading an episode of `{word}`")))?,
        name: text(row, 6)?,
        text: required_text(row, 7)?,
        labels: labels_of(text(row, 8)?)?,
    })
}
