//! Episodes, in the plainest form that answers every question.

use std::collections::BTreeMap;

use tenure_journal::{Episode, MemorySpace, ProjectId, Remembered, SessionId, SessionKey};

use super::state::State;
use crate::recall::{COUNTED_MAX, Candidates, Wanted, joined, pick};

/// Every episode by its session and place, with a number that grows with time.
#[derive(Debug, Clone, Default)]
pub(super) struct Episodes {
    rows: BTreeMap<(SessionKey, u64), (u64, Remembered)>,
    numbers: u64,
}

impl Episodes {
    pub(super) fn put(&mut self, key: SessionKey, gone_from: Option<u64>, rows: Vec<Remembered>) {
        if let Some(from) = gone_from {
            self.forget(key, from);
        }
        for row in rows {
            self.numbers += 1;
            self.rows.insert((key, row.episode.ordinal), (self.numbers, row));
        }
    }

    /// The sessions of a project in which something was remembered of a user.
    pub(super) fn sessions_of(&self, project: ProjectId, user: &str) -> impl Iterator<Item = SessionId> {
        let rows = self.rows.iter().filter(move |((key, _), (_, row))| {
            key.project == project && row.space.user.as_deref() == Some(user)
        });
        rows.map(|((key, _), _)| key.session)
    }

    pub(super) fn count(&self, key: SessionKey) -> usize {
        self.rows.range((key, 0)..=(key, u64::MAX)).count()
    }

    pub(super) fn forget(&mut self, key: SessionKey, from: u64) {
        self.rows.retain(|(of, ordinal), _| *of != key || *ordinal < from);
    }
}

impl State {
    pub(super) fn candidates(&self, space: &MemorySpace, wanted: &Wanted) -> Candidates {
        let all = || self.episodes.rows.iter().filter(|(_, (_, row))| row.space == *space);
        let newest = |has: &dyn Fn(&Remembered) -> bool, limit: usize| {
            let mut numbers: Vec<u64> =
                all().filter(|(_, (_, row))| has(row)).map(|(_, (number, _))| *number).collect();
            numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
            numbers.truncate(limit);
            numbers
        };
        let with = |term: &String| newest(&|row| row.terms.contains(term), COUNTED_MAX);
        let mut lists: Vec<Vec<u64>> = wanted.terms.iter().map(with).collect();
        let frequencies = lists.iter().map(|list| list.len() as u64).collect();
        let episodes = all().take(COUNTED_MAX).count() as u64;
        if let Some((from, until)) = wanted.window.filter(|_| wanted.terms.is_empty()) {
            lists.push(newest(&|row| (from..until).contains(&row.episode.at), wanted.hits_max));
        }
        let places: BTreeMap<u64, (SessionKey, u64)> =
            all().map(|(place, (number, _))| (*number, *place)).collect();
        let hits = pick(episodes, &lists, wanted.hits_max);
        let hits = hits.iter().filter_map(|number| places.get(number));
        let runs = hits.map(|(key, ordinal)| self.neighbours(*key, *ordinal, space, wanted.reach)).collect();
        Candidates { episodes, frequencies, stretches: joined(runs) }
    }

    fn neighbours(&self, key: SessionKey, ordinal: u64, space: &MemorySpace, reach: usize) -> Vec<Episode> {
        let rows = &self.episodes.rows;
        let of_space = |row: &&Remembered| row.space == *space;
        let before = rows.range((key, 0)..=(key, ordinal)).rev().map(|(_, (_, row))| row).filter(of_space);
        let mut run: Vec<&Remembered> = before.take(reach + 1).collect();
        run.reverse();
        let after =
            rows.range((key, ordinal + 1)..=(key, u64::MAX)).map(|(_, (_, row))| row).filter(of_space);
        run.extend(after.take(reach));
        run.into_iter().map(|row| row.episode.clone()).collect()
    }
}
