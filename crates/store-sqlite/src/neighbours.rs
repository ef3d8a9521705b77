//! What was said around episodes that were picked: each is read once, however many of those that are asked for
//! together it stands near.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{CachedStatement, OptionalExtension as _, Transaction};
use tenure_store::recall::Run;

use crate::memory::episode_in;
use crate::read::{Read, damaged, limit_of};
use crate::write::int;

/// Reads each of `hits` that is in the space with its neighbours, so many on either side as `reach` says.
pub(crate) fn around_each(
    connection: &Transaction<'_>,
    mark: &str,
    hits: &[u64],
    reach: usize,
) -> Read<Vec<Run>> {
    let mut place = connection.prepare_cached(include_str!("../sql/place_of_episode.sql"))?;
    let mut sessions: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    for hit in hits {
        let found = place.query_row((int(*hit), mark), |row| {
            Ok(((row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?.unsigned_abs()))
        });
        if let Some((session, ordinal)) = found.optional()? {
            sessions.entry(session).or_default().insert(ordinal);
        }
    }
    let mut before = connection.prepare_cached(include_str!("../sql/neighbours_before.sql"))?;
    let mut behind = connection.prepare_cached(include_str!("../sql/neighbours_behind.sql"))?;
    let mut runs = Vec::new();
    for ((project, session), hits) in &sessions {
        let id = session.parse().map_err(|_| damaged(format!("reading an episode of `{session}`")))?;
        let side = |statement: &mut CachedStatement<'_>, from: u64, until: Option<u64>, limit: usize| {
            let place = (project, session, int(from), mark, limit_of(limit));
            let mut rows = statement.query(place)?;
            let mut run = Run::new();
            while let Some(row) = rows.next()? {
                if until.is_some_and(|until| row.get::<_, i64>(2).is_ok_and(|at| at <= int(until))) {
                    break;
                }
                run.push((row.get::<_, i64>(8)?.unsigned_abs(), episode_in(id, row)?));
            }
            Read::Ok(run)
        };
        let mut run = Run::new();
        for ordinal in hits {
            let end = run.last().map(|(_, episode)| episode.ordinal);
            if end.is_none_or(|end| end < *ordinal) {
                let mut new = side(&mut before, *ordinal, end, reach + 1)?;
                new.reverse();
                // It met the run, or stands for itself.
                if new.len() > reach && !run.is_empty() {
                    runs.push(std::mem::take(&mut run));
                }
                run.extend(new);
            }
            let known = run.iter().rev().take_while(|(_, episode)| episode.ordinal > *ordinal).count();
            if let Some((_, last)) = run.last().filter(|_| known < reach) {
                let from = last.ordinal;
                run.extend(side(&mut behind, from, None, reach - known)?);
            }
        }
        runs.push(run);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use tenure_journal::{Episode, Fresh, ItemId, SessionId, Timestamp};
    use tenure_store::recall::joined;

    use super::*;
    use crate::schema;

    /// Two sessions with every second of their episodes in the space `m`; gives the numbers of those, by session.
    fn filled(connection: &Connection) -> rusqlite::Result<[Vec<u64>; 2]> {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let row = "INSERT INTO episodes (project_id, session_id, ordinal, item_id, space, agent_id, at, speaker, text)
                   VALUES ('p', ?1, ?2, ?3, ?4, 'a', 0, 'user', '')";
        let mut numbers = [Vec::new(), Vec::new()];
        for numbers in &mut numbers {
            let session = SessionId::fresh(&fresh).to_string();
            for place in 0..80_i64 {
                let space = if place % 2 == 0 { "m" } else { "n" };
                let item = ItemId::fresh(&fresh).to_string();
                connection.execute(row, (&session, 3 * place, item, space))?;
                if space == "m" {
                    numbers.push(connection.last_insert_rowid().unsigned_abs());
                }
            }
        }
        Ok(numbers)
    }

    #[test]
    fn what_stands_near_several_is_read_once() {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::migrate(&mut connection).expect("a schema");
        let numbers = filled(&connection).expect("rows");
        let transaction = connection.transaction().expect("begins");
        let mut random = fastrand::Rng::with_seed(7);
        for reach in [0, 1, 3, 7] {
            for count in [0, 1, 2, 5, 20, 60] {
                let all: Vec<u64> = numbers.iter().flatten().copied().collect();
                // One that is there no more is passed over.
                let mut hits = vec![u64::MAX >> 1];
                hits.extend(random.choose_multiple(all.iter().copied(), count));
                let runs = around_each(&transaction, "m", &hits, reach);
                let Ok(runs) = runs else { panic!("reads") };
                let near = |hit: &u64| {
                    let session = numbers.iter().find(|session| session.contains(hit))?;
                    let place = session.iter().position(|number| number == hit)?;
                    Some(
                        session[place.saturating_sub(reach)..(place + reach + 1).min(session.len())].to_vec(),
                    )
                };
                let expected: BTreeMap<u64, Vec<u64>> =
                    hits.iter().filter_map(|hit| Some((*hit, near(hit)?))).collect();
                let episode: BTreeMap<u64, &Episode> =
                    runs.iter().flatten().map(|(number, episode)| (*number, episode)).collect();
                assert_eq!(episode.len(), runs.iter().map(Vec::len).sum::<usize>(), "each once");
                let apart = expected.values();
                let apart = apart.map(|run| run.iter().map(|one| (*one, episode[one].clone())).collect());
                let apart = joined(apart.collect());
                assert_eq!(joined(runs), apart, "{reach} {count}");
            }
        }
    }
}
