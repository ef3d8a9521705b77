//! Episodes: written with their events, found by their terms, and, once they have vectors, by their meaning.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, ToSql, Transaction};
use tenure_journal::{Episode, Labels, MemorySpace, Remembered, SessionId, Speaker, Timestamp};
use tenure_store::recall::{
    Alike, COMPARED_MAX, Candidates, Embedded, Listed, Unembedded, Wanted, filled, most_alike, pick,
};
use tenure_vector::{Likeness, Sketched, likeness};

use crate::index::{Having, Index};
use crate::lists::listed;
use crate::neighbours::around_each;
use crate::read::{Read, bytes, damaged, limit_of, text};
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
    let mut blocks = BTreeSet::new();
    for episode in &gone {
        terms.execute((episode,))?;
        let space = vectors.query_row((episode,), |row| row.get::<_, String>(0)).optional()?;
        blocks.extend(space.map(|space| (space, episode >> BLOCK_BITS)));
    }
    sketch(connection, &blocks)?;
    Ok(gone.len() as u64)
}

/// Keeps vectors beside what they are of, if it is still there.
pub(crate) fn embed(connection: &Connection, model: &str, embedded: &[Embedded]) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(include_str!("../sql/put_episode_vectors.sql"))?;
    let mut blocks = BTreeSet::new();
    for Embedded { project, episode, vectors } in embedded {
        let place = (project.to_string(), episode.session.to_string(), int(episode.ordinal));
        let kept = (vectors.as_bytes(), vectors.sketch());
        let row = (place.0, place.1, place.2, &episode.text, model, kept.0, kept.1);
        let put = put.query_row(row, |row| Ok((row.get(0)?, row.get::<_, i64>(1)? >> BLOCK_BITS)));
        blocks.extend(put.optional()?);
    }
    sketch(connection, &blocks)
}

/// Episodes whose numbers differ in this many of their last bits alone have their sketches in one row: few enough that
/// one more writes a few pages anew, so many that those of a space are read at once.
const BLOCK_BITS: u32 = 6;

/// Keeps the sketches of some spaces and blocks as the vectors are now.
fn sketch(connection: &Connection, blocks: &BTreeSet<(String, i64)>) -> rusqlite::Result<()> {
    let mut empty = connection.prepare_cached(include_str!("../sql/empty_sketches.sql"))?;
    let mut fill = connection.prepare_cached(include_str!("../sql/fill_sketches.sql"))?;
    for block in blocks {
        empty.execute((&block.0, block.1))?;
        fill.execute((&block.0, block.1))?;
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
    let mut hits = pick(episodes, &lists, wanted.hits_max);
    if hits.len() < wanted.hits_max && !wanted.kindred.is_empty() {
        let kindred = Having::any(wanted.kindred.iter().map(String::as_str));
        hits = filled(hits, index.having(&kindred, wanted.hits_max)?, wanted.hits_max);
    }
    let runs = around_each(connection, &mark, &hits, wanted.reach)?;
    let mut found = Candidates { episodes, frequencies, ..Candidates::default() };
    found.add(hits, runs);
    Ok(found)
}

pub(crate) fn candidates_alike(
    connection: &Transaction<'_>,
    space: &MemorySpace,
    alike: &Alike,
    mut found: Candidates,
) -> Read<Candidates> {
    let mark = space.mark();
    let mut compared = Compared::new(connection, &mark, alike)?;
    let hits = found.lacking(compared.hits());
    let runs = around_each(connection, &mark, &hits, alike.reach)?;
    found.add(hits, runs);
    let near = found.near(alike.compared_reach);
    compared.compare(near.clone())?;
    let likenesses = near.into_iter().filter_map(|number| Some((number, compared.likeness(number)?)));
    found.likenesses = likenesses.collect();
    Ok(found)
}

/// Episodes whose vectors are compared themselves, those whose sketches are most alike, for each that is wanted: enough
/// that hardly one is missed.
const REFINED_FOR_EACH: usize = 4;

/// A question's vector on its way through a space.
struct Compared<'c> {
    mark: &'c str,
    alike: &'c Alike,
    vectors: CachedStatement<'c>,
    /// Those that were compared; nothing for one that has no vectors of the model.
    known: HashMap<u64, Option<Likeness>>,
}

impl<'c> Compared<'c> {
    /// Compares those of the newest episodes whose sketches are most alike.
    fn new(connection: &'c Connection, mark: &'c str, alike: &'c Alike) -> Read<Self> {
        let vectors = connection.prepare_cached(include_str!("../sql/vectors_of_episodes.sql"))?;
        let mut compared = Self { mark, alike, vectors, known: HashMap::new() };
        compared.compare(likely(connection, mark, alike)?)?;
        Ok(compared)
    }

    fn hits(&self) -> Vec<u64> {
        let compared =
            self.known.iter().filter_map(|(number, likeness)| Some((*number, (*likeness)?))).collect();
        most_alike(&compared, self.alike.hits_max)
    }

    fn likeness(&self, number: u64) -> Option<Likeness> {
        self.known.get(&number).copied().flatten()
    }

    /// Compares the episodes of these numbers, as far as they were not yet.
    fn compare(&mut self, mut numbers: Vec<u64>) -> rusqlite::Result<()> {
        numbers.retain(|number| !self.known.contains_key(number));
        numbers.sort_unstable();
        self.known.extend(numbers.iter().map(|number| (*number, None)));
        // Only numbers without a gap, between which there can be nothing of another space.
        for run in numbers.chunk_by(|one, next| one + 1 == *next) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let mut rows = self.vectors.query((int(*first), int(*last), self.mark, &self.alike.model))?;
            while let Some(row) = rows.next()? {
                // What cannot be vectors is passed over, as if there were none: they can be made again.
                let found = likeness(bytes(row, 1)?, &self.alike.vector);
                self.known.insert(row.get::<_, i64>(0)?.unsigned_abs(), found);
            }
        }
        Ok(())
    }
}

/// Those of the newest episodes that are most alike by their sketches; of equals the newer. One without a sketch may
/// be anything.
fn likely(connection: &Connection, mark: &str, alike: &Alike) -> Read<Vec<u64>> {
    let asked = Sketched::of(&alike.vector);
    let mut blocks = connection.prepare_cached(include_str!("../sql/sketches_of_space.sql"))?;
    let mut blocks = blocks.query((mark, &alike.model))?;
    let mut found: Vec<(Reverse<i32>, Reverse<u64>)> = Vec::new();
    while found.len() < COMPARED_MAX
        && let Some(row) = blocks.next()?
    {
        let block = sketches(bytes(row, 0)?).ok_or_else(|| damaged("reading sketches"))?;
        for (number, sketch) in block.into_iter().rev().take(COMPARED_MAX - found.len()) {
            let likeness = asked.likeness(sketch);
            found.push((Reverse(likeness.unwrap_or(i32::MAX)), Reverse(number)));
        }
    }
    let unknown = found.iter().filter(|(likeness, _)| likeness.0 == i32::MAX).count();
    let refined = (unknown + REFINED_FOR_EACH * alike.hits_max).min(found.len());
    if refined < found.len() {
        found.select_nth_unstable(refined);
        found.truncate(refined);
    }
    Ok(found.into_iter().map(|(_, number)| number.0).collect())
}

/// The episodes of a block with their sketches, oldest first.
fn sketches(mut block: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    while !block.is_empty() {
        let (number, rest) = block.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (sketch, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        found.push((u64::from_be_bytes(*number), sketch));
        block = rest;
    }
    Some(found)
}

fn numbers(statement: &mut CachedStatement<'_>, params: impl rusqlite::Params) -> rusqlite::Result<Vec<u64>> {
    statement.query_map(params, |row| row.get::<_, i64>(0).map(i64::unsigned_abs))?.collect()
}

pub(crate) fn episode_of(row: &Row<'_>) -> Read<Episode> {
    episode_in(id_of(row, 0)?, row)
}

/// The same of a session that is known.
pub(crate) fn episode_in(session: SessionId, row: &Row<'_>) -> Read<Episode> {
    let word = text(row, 4)?;
    let speaker =
        Speaker::from_word(word).ok_or_else(|| damaged(format!("reading an episode of `{word}`")))?;
    Ok(Episode {
        session,
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
    let word = text(row, index)?;
    word.parse().map_err(|_| ReadError::from(damaged(format!("reading an episode of `{word}`"))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tenure_journal::{Fresh, ItemId, ProjectId, SessionId};
    use tenure_vector::Vectors;

    use super::*;
    use crate::schema;

    const EPISODE: &str = "INSERT INTO episodes
        (episode, project_id, session_id, ordinal, item_id, space, agent_id, at, speaker, text)
        VALUES (?1, 'p', ?2, ?1, 'i', ?3, 'a', 0, 'user', '')";

    /// How many blocks are not what the vectors say.
    fn missed(connection: &Connection) -> rusqlite::Result<i64> {
        let missed = format!("SELECT count(*) FROM ({})", include_str!("../sql/sketches_missed.sql"));
        connection.query_row(&missed, (100,), |row| row.get(0))
    }

    /// The numbers of each block, each with how long its sketch is.
    fn blocks(connection: &Connection) -> rusqlite::Result<Vec<Vec<(u64, usize)>>> {
        let mut kept = connection.prepare("SELECT sketches FROM episode_sketches ORDER BY space, block")?;
        let mut rows = kept.query(())?;
        let mut blocks = Vec::new();
        while let Some(row) = rows.next()? {
            let block = sketches(bytes(row, 0)?).expect("numbers, lengths and sketches");
            blocks.push(block.into_iter().map(|(number, sketch)| (number, sketch.len())).collect());
        }
        Ok(blocks)
    }

    #[test]
    fn sketches_stand_together_whatever_is_kept_and_forgotten() {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::migrate_to(&mut connection, 9).expect("an earlier schema");
        let old = "INSERT INTO episode_vectors VALUES (?1, 'm', 'tiny', x'00', ?2)";
        for (number, sketch) in [(1, Some(vec![7; 3])), (70, None), (71, Some(vec![0]))] {
            connection.execute(EPISODE, (number, "old", "m")).expect("a row");
            connection.execute(old, (number, sketch)).expect("its vectors");
        }
        schema::migrate(&mut connection).expect("migrates");
        let kept = vec![vec![(1, 3)], vec![(70, 0), (71, 1)]];
        assert_eq!((missed(&connection), blocks(&connection)), (Ok(0), Ok(kept)));

        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let session = SessionId::fresh(&fresh);
        let project = ProjectId::fresh(&fresh);
        let put = EPISODE.replace("'p'", "?4");
        for number in 100..400 {
            let space = if number % 3 == 0 { "n" } else { "m" };
            let row = (number, session.to_string(), space, project.to_string());
            connection.execute(&put, row).expect("a row");
        }
        let embedded = |number: u64| Embedded {
            project,
            episode: Episode {
                session,
                item: ItemId::fresh(&fresh),
                ordinal: number,
                at: Timestamp::EPOCH,
                speaker: Speaker::User,
                name: None,
                text: String::new(),
                labels: Labels::NEUTRAL,
            },
            vectors: Vectors::of(&vec![vec![1.0; 9]; 2 + (number % 5) as usize]).expect("vectors"),
        };
        let mut random = fastrand::Rng::with_seed(5);
        let (mut there, mut expected): (BTreeSet<u64>, _) = ((100..400).collect(), BTreeMap::new());
        for round in 0..40 {
            let some: Vec<Embedded> =
                (0..random.usize(1..30)).map(|_| embedded(random.u64(95..405))).collect();
            embed(&connection, if round < 30 { "tiny" } else { "other" }, &some).expect("keeps");
            let kept = some.iter().filter(|one| there.contains(&one.episode.ordinal));
            expected.extend(kept.map(|one| (one.episode.ordinal, one.vectors.sketch().len())));
            let (first, last) = (random.u64(90..410), random.u64(0..6));
            let of = (&*project.to_string(), &*session.to_string());
            forget(&connection, of, first, first + last).expect("forgets");
            there.retain(|number| !(first..=first + last).contains(number));
            expected.retain(|number, _| there.contains(number));
            assert_eq!(missed(&connection), Ok(0));
            let kept: BTreeMap<u64, usize> = blocks(&connection)
                .expect("reads")
                .into_iter()
                .flatten()
                .filter(|(number, _)| *number >= 100)
                .collect();
            assert_eq!(kept, expected);
        }
        assert!(!expected.is_empty());
    }
}
