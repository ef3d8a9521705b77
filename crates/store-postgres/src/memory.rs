//! Episodes: found by their terms, and, once they have vectors, by their meaning. They are written with their events,
//! in `batch.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tenure_journal::{Episode, Labels, MemorySpace, Remembered, Speaker, Timestamp};
use tenure_store::StoreError;
use tenure_store::recall::{
    Alike, COMPARED_MAX, COUNTED_MAX, Candidates, Embedded, Listed, Run, Unembedded, Wanted, filled,
    most_alike, pick,
};
use tenure_vector::{Likeness, likeness};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::connect::Connection;
use crate::error::damaged;
use crate::near::Near;
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
        let sql = include_str!("../sql/episodes_with_term.sql");
        lists.push(Listed::whole(numbers(connection, context, sql, &params).await?));
    }
    let frequencies = lists.iter().map(|list| list.having).collect();
    if let Some((from, until)) = wanted.window.filter(|_| wanted.terms.is_empty()) {
        let sql = include_str!("../sql/episodes_within.sql");
        let limit = limit_of(wanted.hits_max);
        let params: [&(dyn ToSql + Sync); 4] = [&mark, &from.as_millis(), &until.as_millis(), &limit];
        lists.push(Listed::whole(numbers(connection, context, sql, &params).await?));
    }
    let mut hits = pick(episodes, &lists, wanted.hits_max);
    if hits.len() < wanted.hits_max && !wanted.kindred.is_empty() {
        let kindred: Vec<String> = wanted.kindred.iter().map(|term| marked(&mark, term)).collect();
        let params: [&(dyn ToSql + Sync); 2] = [&kindred, &limit_of(wanted.hits_max)];
        let sql = include_str!("../sql/episodes_with_any_term.sql");
        hits = filled(hits, numbers(connection, context, sql, &params).await?, wanted.hits_max);
    }
    let runs = around_each(connection, &hits, &mark, wanted.reach).await?;
    let mut found = Candidates { episodes, frequencies, ..Candidates::default() };
    found.add(hits, runs);
    Ok(found)
}

pub(crate) async fn candidates_alike(
    pool: &Pool,
    near: &Near,
    space: &MemorySpace,
    alike: &Alike,
    mut found: Candidates,
) -> Result<Candidates, StoreError> {
    let context = "recalling";
    let mark = space.mark();
    let connection = &pool.take(context).await?;
    let nearest = match near.nearest(connection, &mark, alike).await {
        Some(nearest) => vectors_of(connection, &nearest, &mark, alike).await?,
        None => {
            let params: [&(dyn ToSql + Sync); 3] = [&mark, &alike.model, &limit_of(COMPARED_MAX)];
            rows(connection, context, include_str!("../sql/vectors_of_space.sql"), &params).await?
        }
    };
    let mut compared = HashMap::new();
    compare(&nearest, alike, &mut compared)?;
    let hits = found.lacking(most_alike(&compared, alike.hits_max));
    let runs = around_each(connection, &hits, &mark, alike.reach).await?;
    found.add(hits, runs);
    let near = found.near(alike.compared_reach);
    let missing = near.iter().filter(|number| !compared.contains_key(number));
    let missing: Vec<i64> = missing.copied().map(int).collect();
    compare(&vectors_of(connection, &missing, &mark, alike).await?, alike, &mut compared)?;
    let likenesses = near.into_iter().filter_map(|number| Some((number, *compared.get(&number)?)));
    found.likenesses = likenesses.collect();
    Ok(found)
}

/// Each of `hits` that is in the space with so many neighbours on either side as `reach` says.
async fn around_each(
    connection: &Connection,
    hits: &[u64],
    space: &str,
    reach: usize,
) -> Result<Vec<Run>, StoreError> {
    let hits: Vec<i64> = hits.iter().copied().map(int).collect();
    let params: [&(dyn ToSql + Sync); 3] = [&hits, &space, &limit_of(reach)];
    let found = rows(connection, "recalling", include_str!("../sql/neighbours.sql"), &params).await?;
    let mut runs: BTreeMap<i64, Run> = BTreeMap::new();
    for row in &found {
        let numbered = (value::<i64>(row, 9)?.unsigned_abs(), episode_of(row)?);
        runs.entry(value(row, 0)?).or_default().push(numbered);
    }
    Ok(runs.into_values().collect())
}

/// The vectors of episodes, each with its number.
async fn vectors_of(
    connection: &Connection,
    episodes: &[i64],
    space: &str,
    alike: &Alike,
) -> Result<Vec<Row>, StoreError> {
    let params: [&(dyn ToSql + Sync); 3] = [&episodes, &space, &alike.model];
    rows(connection, "recalling", include_str!("../sql/vectors_of_episodes.sql"), &params).await
}

/// Compares vectors, each with the number of its episode, with the question's. What cannot be vectors is passed over, as
/// if there were none: they can be made again.
fn compare(rows: &[Row], alike: &Alike, compared: &mut HashMap<u64, Likeness>) -> Result<(), StoreError> {
    for row in rows {
        let number = value::<i64>(row, 0)?.unsigned_abs();
        compared.extend(likeness(value(row, 1)?, &alike.vector).map(|likeness| (number, likeness)));
    }
    Ok(())
}

/// Episodes that have no vectors of the model.
pub(crate) async fn unembedded(
    pool: &Pool,
    model: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<Unembedded>, StoreError> {
    let context = "looking for what has no vectors";
    let connection = &pool.take(context).await?;
    let params: [&(dyn ToSql + Sync); 3] = [&model, &int(after), &limit_of(limit)];
    let found = rows(connection, context, include_str!("../sql/unembedded.sql"), &params).await?;
    let mut lacking: Vec<Unembedded> = Vec::new();
    for row in &found {
        let number = value::<i64>(row, 0)?.unsigned_abs();
        let episode = episode_of(row)?;
        match lacking.last_mut() {
            Some(last) if last.number == number => last.before = Some(episode),
            Some(_) | None => {
                lacking.push(Unembedded { number, project: parsed(row, 9)?, before: None, episode });
            }
        }
    }
    Ok(lacking)
}

/// Keeps vectors beside what they are of, if it is still there. Says of which spaces that is.
pub(crate) async fn embed(
    pool: &Pool,
    model: &str,
    embedded: &[Embedded],
) -> Result<BTreeSet<String>, StoreError> {
    let context = "keeping vectors";
    let column = |of: &dyn Fn(&Embedded) -> String| -> Vec<String> { embedded.iter().map(of).collect() };
    let projects = column(&|row| row.project.to_string());
    let sessions = column(&|row| row.episode.session.to_string());
    let texts = column(&|row| stored(&row.episode.text).into_owned());
    let ordinals: Vec<i64> = embedded.iter().map(|row| int(row.episode.ordinal)).collect();
    let vectors: Vec<&[u8]> = embedded.iter().map(|row| row.vectors.as_bytes()).collect();
    let params: [&(dyn ToSql + Sync); 6] = [&model, &projects, &sessions, &ordinals, &texts, &vectors];
    let connection = pool.take(context).await?;
    let kept = rows(&connection, context, include_str!("../sql/put_episode_vectors.sql"), &params).await?;
    kept.iter().map(|row| value(row, 0)).collect()
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
