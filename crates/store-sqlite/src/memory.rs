//! Episodes: written with their events, found by their terms, and, once they have vectors, by their meaning.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, ToSql, Transaction};
use tenure_journal::{
    Episode, Labels, Likeness, MemorySpace, Remembered, Sketched, Speaker, Timestamp, likeness,
};
use tenure_store::recall::{
    Alike, COMPARED_MAX, Candidates, Embedded, Listed, Unembedded, Wanted, around, both, filled, joined,
    most_alike, pick,
};

use crate::index::{Having, Index};
use crate::lists::listed;
use crate::neighbours::around_each;
use crate::read::{Read, bytes, damaged, limit_of};
use crate::readers::ReadError;
use crate::write::int;

/// Writes an episode of a session, given with its project, to be indexed; one that is at its place already goes.
pub(crate) fn put(connection: &Connection, session: (&str, &str), row: &Remembered) -> rusqlite::Result<()> {
    if insert(connection, session, row)? == 0 {
        let place = row.episode.ordinal;
        forget(connection, session, place, place)?;
        insert(connection, session, row)?;
    }
    Ok(())
}

fn insert(
    connection: &Connection,
    (project, session): (&str, &str),
    row: &Remembered,
) -> rusqlite::Result<usize> {
    let (space, episode) = (&row.space, &row.episode);
    let values: [&dyn ToSql; 13] = [
        &project,
        &session,
        &int(episode.ordinal),
        &episode.item.to_string(),
        &space.mark(),
        &space.agent.to_string(),
        &space.user,
        &episode.at.as_millis(),
        &episode.speaker.as_str(),
        &episode.name,
        &episode.text,
        &labels_text(&episode.labels),
        &row.terms.join(" "),
    ];
    connection.prepare_cached(include_str!("../sql/put_episode.sql"))?.execute(&values[..])
}

/// Removes the episodes of a session whose places are from `first` to `last`; says how many.
pub(crate) fn forget(
    connection: &Connection,
    (project, session): (&str, &str),
    first: u64,
    last: u64,
) -> rusqlite::Result<u64> {
    let place = (project, session, int(first), int(last));
    let mut statement = connection.prepare_cached(include_str!("../sql/forget_episodes.sql"))?;
    let gone = statement.query_map(place, |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut terms = connection.prepare_cached(include_str!("../sql/forget_episode_terms.sql"))?;
    let mut vectors = connection.prepare_cached(include_str!("../sql/forget_episode_vectors.sql"))?;
    for episode in &gone {
        terms.execute((episode,))?;
        vectors.execute((episode,))?;
    }
    Ok(gone.len() as u64)
}

/// Keeps vectors beside what they are of, if it is still there.
pub(crate) fn embed(connection: &Connection, model: &str, embedded: &[Embedded]) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(include_str!("../sql/put_episode_vectors.sql"))?;
    for Embedded { project, episode, vectors } in embedded {
        let place = (project.to_string(), episode.session.to_string(), int(episode.ordinal));
        let kept = (vectors.as_bytes(), vectors.sketch());
        put.execute((place.0, place.1, place.2, &episode.text, model, kept.0, kept.1))?;
    }
    Ok(())
}

/// Episodes that have no vectors of the model.
pub(crate) fn unembedded(
    connection: &Transaction<'_>,
    model: &str,
    after: u64,
    limit: usize,
) -> Read<Vec<Unembedded>> {
    let mut lacking = connection.prepare_cached(include_str!("../sql/unembedded.sql"))?;
    let mut near = connection.prepare_cached(include_str!("../sql/episode_and_before.sql"))?;
    let mut found = Vec::new();
    for number in numbers(&mut lacking, (model, int(after), limit_of(limit)))? {
        let mut rows = near.query((int(number),))?;
        let Some(row) = rows.next()? else { continue };
        let (episode, project) = (episode_of(row)?, id_of(row, 8)?);
        let before = rows.next()?.map(episode_of).transpose()?;
        found.push(Unembedded { number, project, before, episode });
    }
    Ok(found)
}

pub(crate) fn candidates(
    connection: &Transaction<'_>,
    space: &MemorySpace,
    wanted: &Wanted,
) -> Read<Candidates> {
    let mark = space.mark();
    let asked = wanted.terms.iter().chain(&wanted.kindred).map(String::as_str);
    let index = Index::of_space(connection, &mark, asked)?;
    let episodes = index.count()?;
    let mut lists = listed(&index, &wanted.terms, episodes)?;
    let frequencies = lists.iter().map(|list| list.having).collect();
    if let Some((from, until)) = wanted.window.filter(|_| wanted.terms.is_empty()) {
        let within = index.within(from.as_millis(), until.as_millis(), wanted.hits_max)?;
        lists.push(Listed::whole(within));
    }
    let mut compared = Compared::new(connection, &mark, wanted.alike.as_ref())?;
    let mut hits = pick(episodes, &lists, wanted.hits_max);
    if hits.len() < wanted.hits_max && !wanted.kindred.is_empty() {
        let kindred = Having::any(wanted.kindred.iter().map(String::as_str));
        hits = filled(hits, index.having(&kindred, wanted.hits_max)?, wanted.hits_max);
    }
    hits = both(hits, compared.hits());
    let mut likenesses = BTreeMap::new();
    let runs = around_each(connection, &mark, &hits, wanted.reach, |hit, run| {
        let Some(alike) = &wanted.alike else { return Ok(()) };
        for (number, episode) in around(run, hit, alike.reach) {
            let likeness = compared.likeness(*number)?;
            likenesses.extend(likeness.map(|likeness| ((episode.session, episode.ordinal), likeness)));
        }
        Ok(())
    })?;
    let runs = runs.into_iter().map(|run| run.into_iter().map(|(_, episode)| episode).collect());
    Ok(Candidates { episodes, frequencies, stretches: joined(runs.collect()), likenesses })
}

/// Episodes whose vectors are compared themselves, those whose sketches are most alike: enough that of the hundred that
/// are, hardly one is missed.
const REFINED_MAX: usize = 400;

/// A question's vector on its way through a space.
struct Compared<'c> {
    mark: &'c str,
    alike: Option<&'c Alike>,
    vectors: CachedStatement<'c>,
    /// Those that were compared; nothing for one that has no vectors of the model.
    known: HashMap<u64, Option<Likeness>>,
}

impl<'c> Compared<'c> {
    /// Compares those of the newest episodes whose sketches are most alike.
    fn new(connection: &'c Connection, mark: &'c str, alike: Option<&'c Alike>) -> rusqlite::Result<Self> {
        let vectors = connection.prepare_cached(include_str!("../sql/vectors_of_episode.sql"))?;
        let mut compared = Self { mark, alike, vectors, known: HashMap::new() };
        if let Some(alike) = alike {
            for number in likely(connection, mark, alike)? {
                compared.likeness(number)?;
            }
        }
        Ok(compared)
    }

    fn hits(&self) -> Vec<u64> {
        let compared =
            self.known.iter().filter_map(|(number, likeness)| Some((*number, (*likeness)?))).collect();
        self.alike.map_or_else(Vec::new, |alike| most_alike(&compared, alike.hits_max))
    }

    fn likeness(&mut self, number: u64) -> rusqlite::Result<Option<Likeness>> {
        let Some(alike) = self.alike else { return Ok(None) };
        if let Some(known) = self.known.get(&number) {
            return Ok(*known);
        }
        let row = (int(number), self.mark, &alike.model);
        // What cannot be vectors is passed over, as if there were none: they can be made again.
        let found = self.vectors.query_row(row, |row| Ok(likeness(bytes(row, 0)?, &alike.vector)));
        let found = found.optional()?.flatten();
        self.known.insert(number, found);
        Ok(found)
    }
}

/// Those of the newest episodes that are most alike by their sketches; of equals the newer. One without a sketch may
/// be anything.
fn likely(connection: &Connection, mark: &str, alike: &Alike) -> rusqlite::Result<Vec<u64>> {
    let asked = Sketched::of(&alike.vector);
    let mut sketches = connection.prepare_cached(include_str!("../sql/sketches_of_space.sql"))?;
    let mut rows = sketches.query((mark, &alike.model, limit_of(COMPARED_MAX)))?;
    let mut found: Vec<(Reverse<i32>, Reverse<u64>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let likeness = row.get_ref(1)?.as_bytes_or_null()?.and_then(|sketch| asked.likeness(sketch));
        let number = row.get::<_, i64>(0)?.unsigned_abs();
        found.push((Reverse(likeness.unwrap_or(i32::MAX)), Reverse(number)));
    }
    let unknown = found.iter().filter(|(likeness, _)| likeness.0 == i32::MAX).count();
    let refined = (unknown + REFINED_MAX).min(found.len());
    if refined < found.len() {
        found.select_nth_unstable(refined);
        found.truncate(refined);
    }
    Ok(found.into_iter().map(|(_, number)| number.0).collect())
}

fn numbers(statement: &mut CachedStatement<'_>, params: impl rusqlite::Params) -> rusqlite::Result<Vec<u64>> {
    statement.query_map(params, |row| row.get::<_, i64>(0).map(i64::unsigned_abs))?.collect()
}

pub(crate) fn episode_of(row: &Row<'_>) -> Read<Episode> {
    let word: String = row.get(4)?;
    let speaker =
        Speaker::from_word(&word).ok_or_else(|| damaged(format!("reading an episode of `{word}`")))?;
    Ok(Episode {
        session: id_of(row, 0)?,
        item: id_of(row, 1)?,
        ordinal: row.get::<_, i64>(2)?.unsigned_abs(),
        at: Timestamp::from_millis(row.get(3)?),
        speaker,
        name: row.get(5)?,
        text: row.get(6)?,
        labels: labels_of(row.get(7)?)?,
    })
}

fn labels_text(labels: &Labels) -> Option<String> {
    let text = || serde_json::to_string(labels).expect("labels are words and sets of words");
    (!labels.is_neutral()).then(text)
}

fn labels_of(text: Option<String>) -> Read<Labels> {
    let Some(text) = text else { return Ok(Labels::NEUTRAL) };
    serde_json::from_str(&text).map_err(|_| ReadError::from(damaged(format!("reading the labels `{text}`"))))
}

fn id_of<T: std::str::FromStr>(row: &Row<'_>, index: usize) -> Read<T> {
    let text: String = row.get(index)?;
    text.parse().map_err(|_| ReadError::from(damaged(format!("reading an episode of `{text}`"))))
}
