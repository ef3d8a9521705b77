//! What is remembered, as a store finds it: candidates by their terms, with what was said around them.
//!
//! A store does not know what a term means or which passage answers a question best. It counts how many episodes of
//! a space have each term, picks those that share the rarest ones with the question, and gives them with their
//! neighbours. Who asks ranks them. Every key leads with the space, so nothing of another is ever looked at, not
//! even to count it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use tenure_journal::{Episode, ProjectId, SessionId, Timestamp};
use tenure_vector::{AskedVector, Likeness, Vectors};

/// Episodes that are counted at most of a space, and of a term in it, one by one. How many more there are is
/// reckoned, or what is more frequent counts as being everywhere; of such a term the newest are looked at, and what a
/// store finds of the older ones beside a rarer term.
pub const COUNTED_MAX: usize = 20_000;
/// Episodes of a space whose vectors are compared with a question's, the newest; older ones are compared where their
/// terms, or a neighbour, brought them.
pub const COMPARED_MAX: usize = 20_000;

/// What to look for in one space.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Distinct terms, none of them necessary.
    pub terms: Vec<String>,
    /// Terms that an answer may have instead. Where the others bring fewer than `hits_max`, the newest episodes that
    /// have any of these are picked as well.
    pub kindred: Vec<String>,
    /// Where there are no terms: the newest from the first moment to before the second.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Episodes that are picked at most.
    pub hits_max: usize,
    /// Neighbours of each that come with it, on either side.
    pub reach: usize,
    /// The question's vector, where a model made one.
    pub alike: Option<Alike>,
}

/// What is to be looked for by its meaning, beside what shares terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Alike {
    /// The model that made the vector; those of others are not compared with it.
    pub model: String,
    /// The question's vector.
    pub vector: AskedVector,
    /// Episodes that are picked for it at most.
    pub hits_max: usize,
    /// Neighbours of whatever is picked that are compared as well, on either side.
    pub reach: usize,
}

/// An episode that has no vectors of a model yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unembedded {
    /// What is asked for after it: numbers grow with time.
    pub number: u64,
    /// The project of its session.
    pub project: ProjectId,
    /// What was said right before it, in the same session and space.
    pub before: Option<Episode>,
    /// The episode.
    pub episode: Episode,
}

/// Vectors of an episode, to be kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// The project of its session.
    pub project: ProjectId,
    /// The episode as it was when they were made.
    pub episode: Episode,
    /// The vectors.
    pub vectors: Vectors,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidates {
    /// How many episodes the space has, counted to [`COUNTED_MAX`].
    pub episodes: u64,
    /// How many of them have each of the terms; of frequent ones about how many.
    pub frequencies: Vec<u64>,
    /// The picked ones with their neighbours: runs of one session without a gap, in the order of session and place.
    pub stretches: Vec<Vec<Episode>>,
    /// How alike those of them are that were compared, by session and place.
    pub likenesses: BTreeMap<(SessionId, u64), Likeness>,
}

/// Picks among the episodes that were compared those that are most alike; of equals the newer.
#[must_use]
pub fn most_alike(compared: &HashMap<u64, Likeness>, hits_max: usize) -> Vec<u64> {
    let mut found: Vec<(u64, f32)> =
        compared.iter().map(|(episode, likeness)| (*episode, likeness.best())).collect();
    let best = |one: &(u64, f32), other: &(u64, f32)| other.1.total_cmp(&one.1).then(other.0.cmp(&one.0));
    if found.len() > hits_max {
        found.select_nth_unstable_by(hits_max, best);
        found.truncate(hits_max);
    }
    found.sort_unstable_by(best);
    found.into_iter().map(|(episode, _)| episode).collect()
}

/// Of a run of numbered episodes in their order, those that are no farther from one of them than `reach`.
#[must_use]
pub fn around<T>(run: &[(u64, T)], hit: u64, reach: usize) -> &[(u64, T)] {
    let place = run.iter().position(|(number, _)| *number == hit);
    place.map_or(&[], |place| &run[place.saturating_sub(reach)..(place + reach + 1).min(run.len())])
}

/// Adds what is not there yet.
#[must_use]
pub fn both(mut hits: Vec<u64>, more: Vec<u64>) -> Vec<u64> {
    let known: std::collections::HashSet<u64> = hits.iter().copied().collect();
    hits.extend(more.into_iter().filter(|hit| !known.contains(hit)));
    hits
}

/// The episodes that have one term.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// How many have it.
    pub having: u64,
    /// Those that are looked at, newest first. An episode is named by what grows with time.
    pub newest: Vec<u64>,
}

impl Listed {
    /// All that have it, newest first.
    #[must_use]
    pub fn whole(newest: Vec<u64>) -> Self {
        Self { having: newest.len() as u64, newest }
    }
}

/// Fills up what was picked with what is kindred, newest first.
#[must_use]
pub fn filled(hits: Vec<u64>, kindred: Vec<u64>, hits_max: usize) -> Vec<u64> {
    let mut hits = both(hits, kindred);
    hits.truncate(hits_max);
    hits
}

/// Picks among the episodes that have each term those that share the most with the question; of equals the newer.
#[must_use]
pub fn pick(episodes: u64, lists: &[Listed], hits_max: usize) -> Vec<u64> {
    let rarities: Vec<f64> = lists.iter().map(|list| rarity(episodes, list.having)).collect();
    let mut left: Vec<&[u64]> = lists.iter().map(|list| list.newest.as_slice()).collect();
    let mut best = Best { kept: BinaryHeap::new(), hits_max };
    // The lists are walked together, newest first, so that nothing has to be looked up.
    while let Some(newest) = left.iter().filter_map(|list| list.first().copied()).max() {
        let mut shared = 0.0;
        for (list, rarity) in left.iter_mut().zip(&rarities) {
            if let Some(rest) = list.strip_prefix(&[newest]) {
                *list = rest;
                shared += rarity;
            }
        }
        best.meet(shared, newest);
    }
    best.in_order()
}

/// The best that were met, each newer than the next.
struct Best {
    /// The worst of them on top.
    kept: BinaryHeap<Reverse<(Shared, u64)>>,
    hits_max: usize,
}

/// What an episode shares with a question; in order as numbers are.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shared(f64);

impl Eq for Shared {}

impl PartialOrd for Shared {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Shared {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Best {
    fn meet(&mut self, shared: f64, episode: u64) {
        if self.kept.len() < self.hits_max {
            self.kept.push(Reverse((Shared(shared), episode)));
        } else if let Some(mut worst) = self.kept.peek_mut()
            // Of equals the one that was met first is the newer.
            && worst.0.0 < Shared(shared)
        {
            *worst = Reverse((Shared(shared), episode));
        }
    }

    fn in_order(self) -> Vec<u64> {
        self.kept.into_sorted_vec().into_iter().map(|Reverse((_, episode))| episode).collect()
    }
}

/// How much a term tells that so many have, as information.
fn rarity(episodes: u64, having: u64) -> f64 {
    (1.0 + episodes.max(having) as f64 / (having as f64 + 0.5)).ln()
}

/// Puts neighbourhoods together that share episodes. Each is a run of one session without a gap.
#[must_use]
pub fn joined(neighbourhoods: Vec<Vec<Episode>>) -> Vec<Vec<Episode>> {
    let mut sessions: BTreeMap<SessionId, Vec<Vec<Episode>>> = BTreeMap::new();
    for run in neighbourhoods {
        if let Some(first) = run.first() {
            sessions.entry(first.session).or_default().push(run);
        }
    }
    sessions.into_values().flat_map(joined_in_session).collect()
}

fn joined_in_session(mut runs: Vec<Vec<Episode>>) -> Vec<Vec<Episode>> {
    let end = |run: &[Episode]| run.last().map(|episode| episode.ordinal);
    runs.sort_by_key(|run| (run.first().map(|episode| episode.ordinal), end(run)));
    let mut joined: Vec<Vec<Episode>> = Vec::new();
    for run in runs {
        let (begins, reaches) =
            (run.first().map(|episode| episode.ordinal), joined.last().and_then(|last| end(last)));
        match joined.last_mut() {
            Some(last) if begins <= reaches => {
                last.extend(run.into_iter().filter(|episode| Some(episode.ordinal) > reaches));
            }
            Some(_) | None => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, ItemId, Speaker};

    use super::*;

    #[test]
    fn picks_what_shares_the_rarest_terms() {
        let lists = [vec![9, 7, 5, 3, 1], vec![5], vec![7, 3]].map(Listed::whole);
        for (hits_max, expected) in [(1, vec![5]), (2, vec![5, 7]), (9, vec![5, 7, 3, 9, 1])] {
            assert_eq!(pick(10, &lists, hits_max), expected, "{hits_max}");
        }
        assert_eq!(pick(0, &[], 5), Vec::<u64>::new());
    }

    #[test]
    fn around_a_hit_is_what_stands_near() {
        let run = [4, 7, 9, 12].map(|number| (number, ()));
        for (hit, reach, expected) in
            [(4, 1, &run[..2]), (9, 0, &run[2..3]), (9, 1, &run[1..]), (7, 9, &run[..]), (5, 9, &[])]
        {
            assert_eq!(around(&run, hit, reach), expected, "{hit} {reach}");
        }
    }

    #[test]
    fn joins_what_overlaps_and_nothing_else() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (one, other) = (SessionId::fresh(&fresh), SessionId::fresh(&fresh));
        let item = ItemId::fresh(&fresh);
        let run = |session, ordinals: &[u64]| -> Vec<Episode> {
            let episode = |ordinal: &u64| Episode {
                session,
                item,
                ordinal: *ordinal,
                at: Timestamp::EPOCH,
                speaker: Speaker::User,
                name: None,
                text: String::new(),
                labels: tenure_journal::Labels::NEUTRAL,
            };
            ordinals.iter().map(episode).collect()
        };
        let given = vec![run(one, &[4, 6, 7]), run(other, &[4, 5]), run(one, &[0, 2, 4]), run(one, &[9, 10])];
        let ordinals: Vec<(bool, Vec<u64>)> = joined(given)
            .iter()
            .map(|run| (run[0].session == one, run.iter().map(|episode| episode.ordinal).collect()))
            .collect();
        assert_eq!(ordinals, [(true, vec![0, 2, 4, 6, 7]), (true, vec![9, 10]), (false, vec![4, 5])]);
    }
}
