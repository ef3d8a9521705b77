//! Episodes, in the plainest form that answers every question.

use std::collections::BTreeMap;

use tenure_journal::{MemorySpace, ProjectId, Remembered, SessionId, SessionKey};
use tenure_vector::{Likeness, Vectors};

use super::state::State;
use crate::recall::{
    Alike, COMPARED_MAX, COUNTED_MAX, Candidates, Embedded, Listed, Run, Unembedded, Wanted, filled,
    most_alike, pick,
};

/// Every episode by its session and place, with a number that grows with time.
#[derive(Debug, Clone, Default)]
pub(super) struct Episodes {
    rows: BTreeMap<(SessionKey, u64), (u64, Remembered)>,
    numbers: u64,
    /// By the number of their episode, with the model that made them.
    vectors: BTreeMap<u64, (String, Vectors)>,
}

impl Episodes {
    pub(super) fn put(&mut self, key: SessionKey, gone_from: Option<u64>, rows: Vec<Remembered>) {
        if let Some(from) = gone_from {
            self.forget(key, from);
        }
        for row in rows {
            self.numbers += 1;
            if let Some((replaced, _)) = self.rows.insert((key, row.episode.ordinal), (self.numbers, row)) {
                self.vectors.remove(&replaced);
            }
        }
    }

    pub(super) fn embed(&mut self, model: &str, embedded: Vec<Embedded>) {
        for Embedded { project, episode, vectors } in embedded {
            let key = SessionKey { project, session: episode.session };
            if let Some((number, row)) = self.rows.get(&(key, episode.ordinal))
                && row.episode.text == episode.text
            {
                self.vectors.insert(*number, (model.to_owned(), vectors));
            }
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
        let gone = self.rows.range((key, from)..=(key, u64::MAX)).map(|(_, (number, _))| *number);
        gone.collect::<Vec<_>>().iter().for_each(|number| drop(self.vectors.remove(number)));
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
        let mut lists: Vec<Listed> = wanted.terms.iter().map(with).map(Listed::whole).collect();
        let frequencies = lists.iter().map(|list| list.having).collect();
        let episodes = all().take(COUNTED_MAX).count() as u64;
        if let Some((from, until)) = wanted.window.filter(|_| wanted.terms.is_empty()) {
            let within = all().filter(|(_, (_, row))| (from..until).contains(&row.episode.at));
            let mut within: Vec<_> = within.map(|(_, (number, row))| (row.episode.at, *number)).collect();
            within.sort_unstable_by(|one, other| other.cmp(one));
            let numbers = within.into_iter().take(wanted.hits_max).map(|(_, number)| number);
            lists.push(Listed::whole(numbers.collect()));
        }
        let mut hits = pick(episodes, &lists, wanted.hits_max);
        let has_any = |row: &Remembered| wanted.kindred.iter().any(|term| row.terms.contains(term));
        hits = filled(hits, newest(&has_any, wanted.hits_max), wanted.hits_max);
        let mut found = Candidates { episodes, frequencies, ..Candidates::default() };
        let runs = self.around_each(&self.places(space), &hits, space, wanted.reach);
        found.add(hits, runs);
        found
    }

    pub(super) fn candidates_alike(
        &self,
        space: &MemorySpace,
        alike: &Alike,
        mut found: Candidates,
    ) -> Candidates {
        let places = self.places(space);
        let likeness = |number: &u64| {
            places.get(number)?;
            Some((*number, self.likeness(*number, alike)?))
        };
        let compared = places.keys().rev().filter_map(likeness).take(COMPARED_MAX).collect();
        let hits = found.lacking(most_alike(&compared, alike.hits_max));
        let runs = self.around_each(&places, &hits, space, alike.reach);
        found.add(hits, runs);
        found.likenesses = found.near(alike.compared_reach).iter().filter_map(likeness).collect();
        found
    }

    /// Where the episodes of a space are, by their numbers.
    fn places(&self, space: &MemorySpace) -> BTreeMap<u64, (SessionKey, u64)> {
        let rows = self.episodes.rows.iter().filter(|(_, (_, row))| row.space == *space);
        rows.map(|(place, (number, _))| (*number, *place)).collect()
    }

    /// Each of `hits` that is at one of `places` with so many neighbours on either side as `reach` says.
    fn around_each(
        &self,
        places: &BTreeMap<u64, (SessionKey, u64)>,
        hits: &[u64],
        space: &MemorySpace,
        reach: usize,
    ) -> Vec<Run> {
        let places = hits.iter().filter_map(|hit| places.get(hit));
        places.map(|(key, ordinal)| self.neighbours(*key, *ordinal, space, reach)).collect()
    }

    fn likeness(&self, number: u64, alike: &Alike) -> Option<Likeness> {
        let (model, vectors) = self.episodes.vectors.get(&number)?;
        (*model == alike.model).then(|| vectors.likeness(&alike.vector)).flatten()
    }

    pub(super) fn unembedded(&self, model: &str, after: u64, limit: usize) -> Vec<Unembedded> {
        let has =
            |number: &u64| self.episodes.vectors.get(number).is_some_and(|(made_by, _)| made_by == model);
        let rows = self.episodes.rows.iter();
        let mut found: Vec<Unembedded> = rows
            .filter(|(_, (number, _))| *number > after && !has(number))
            .map(|((key, ordinal), (number, row))| {
                let mut run = self.neighbours(*key, *ordinal, &row.space, 1);
                run.retain(|(_, episode)| episode.ordinal < *ordinal);
                let before = run.pop().map(|(_, episode)| episode);
                let episode = row.episode.clone();
                Unembedded { number: *number, project: key.project, before, episode }
            })
            .collect();
        found.sort_unstable_by_key(|one| one.number);
        found.truncate(limit);
        found
    }

    fn neighbours(&self, key: SessionKey, ordinal: u64, space: &MemorySpace, reach: usize) -> Run {
        let rows = &self.episodes.rows;
        let of_space = |(_, row): &&(u64, Remembered)| row.space == *space;
        let before = rows.range((key, 0)..=(key, ordinal)).rev().map(|(_, row)| row).filter(of_space);
        let mut run: Vec<&(u64, Remembered)> = before.take(reach + 1).collect();
        run.reverse();
        let after = rows.range((key, ordinal + 1)..=(key, u64::MAX)).map(|(_, row)| row).filter(of_space);
        run.extend(after.take(reach));
        run.into_iter().map(|(number, row)| (*number, row.episode.clone())).collect()
    }
}
