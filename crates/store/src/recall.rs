//! What is remembered, as a store finds it: candidates by their terms, with what was said around them.
//!
//! A store does not know what a term means or which passage answers a question best. It counts how many episodes of
//! a space have each term, picks those that share the rarest ones with the question, and gives them with their
//! neighbours. Who asks ranks them. Every key leads with the space, so nothing of another is ever looked at, not
//! even to count it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

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
    /// Neighbours of each that come with it, on either side.
    pub reach: usize,
    /// Neighbours of whatever is picked, for its terms too, that are compared as well, on either side.
    pub compared_reach: usize,
}

/// Episodes of one session without a gap, in their order, each with its number in the store.
pub type Run = Vec<(u64, Episode)>;

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
    /// The numbers of those that were picked; of one that has gone since, nothing stands in a stretch.
    pub hits: Vec<u64>,
    /// They with their neighbours, in the order of session and place.
    pub stretches: Vec<Run>,
    /// How alike those of them are that were compared, by number.
    pub likenesses: HashMap<u64, Likeness>,
}

impl Candidates {
    /// Of what was picked by other means, best first, that which was not picked yet.
    #[must_use]
    pub fn lacking(&self, picked: Vec<u64>) -> Vec<u64> {
        lacking(&self.hits, picked)
    }

    /// Adds what was picked beside, with its neighbours.
    pub fn add(&mut self, hits: Vec<u64>, runs: Vec<Run>) {
        self.hits.extend(hits);
        let all = std::mem::take(&mut self.stretches).into_iter().chain(runs);
        self.stretches = joined(all.collect());
    }

    /// The numbers of what was picked and of so many of its neighbours on either side, each once.
    #[must_use]
    pub fn near(&self, reach: usize) -> Vec<u64> {
        let hits: HashSet<u64> = self.hits.iter().copied().collect();
        let mut near = Vec::new();
        for run in &self.stretches {
            let mut taken = 0;
            for (place, _) in run.iter().enumerate().filter(|(_, (number, _))| hits.contains(number)) {
                let around = place.saturating_sub(reach).max(taken)..(place + reach + 1).min(run.len());
                taken = around.end;
                near.extend(run[around].iter().map(|(number, _)| *number));
            }
        }
        near
    }
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
pub fn filled(mut hits: Vec<u64>, kindred: Vec<u64>, hits_max: usize) -> Vec<u64> {
    hits.extend(lacking(&hits, kindred));
    hits.truncate(hits_max);
    hits
}

fn lacking(hits: &[u64], more: Vec<u64>) -> Vec<u64> {
    let known: HashSet<u64> = hits.iter().copied().collect();
    more.into_iter().filter(|hit| !known.contains(hit)).collect()
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

/// Puts neighbourhoods together that share episodes.
#[must_use]
pub fn joined(neighbourhoods: Vec<Run>) -> Vec<Run> {
    let mut sessions: BTreeMap<SessionId, Vec<Run>> = BTreeMap::new();
    for run in neighbourhoods {
        if let Some((_, first)) = run.first() {
            sessions.entry(first.session).or_default().push(run);
        }
    }
    sessions.into_values().flat_map(joined_in_session).collect()
}

fn joined_in_session(mut runs: Vec<Run>) -> Vec<Run> {
    let begin = |run: &Run| run.first().map(|(_, episode)| episode.ordinal);
    let end = |run: &Run| run.last().map(|(_, episode)| episode.ordinal);
    runs.sort_by_key(|run| (begin(run), end(run)));
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        let (begins, reaches) = (begin(&run), joined.last().and_then(end));
        match joined.last_mut() {
            Some(last) if begins <= reaches => {
                last.extend(run.into_iter().filter(|(_, episode)| Some(episode.ordinal) > reaches));
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

    /// Episodes at these places of a session, whose numbers are those ten times.
    fn run(session: SessionId, ordinals: &[u64]) -> Run {
        let episode = |ordinal: &u64| Episode {
            session,
            item: ItemId::none(),
            ordinal: *ordinal,
            at: Timestamp::EPOCH,
            speaker: Speaker::User,
            name: None,
            text: String::new(),
            labels: tenure_journal::Labels::NEUTRAL,
        };
        ordinals.iter().map(|ordinal| (10 * ordinal, episode(ordinal))).collect()
    }

    #[test]
    fn near_is_what_stands_around_hits() {
        let session = SessionId::fresh(&Fresh::new(Timestamp::EPOCH, 1));
        let mut found = Candidates::default();
        found.add(vec![50, 20], vec![run(session, &[1, 2, 4]), run(session, &[4, 5, 6, 9])]);
        assert_eq!(found.lacking(vec![60, 20, 10]), [60, 10]);
        for (reach, expected) in
            [(0, &[20, 50][..]), (1, &[10, 20, 40, 50, 60]), (2, &[10, 20, 40, 50, 60, 90])]
        {
            assert_eq!(found.near(reach), expected, "{reach}");
        }
    }

    #[test]
    fn joins_what_overlaps_and_nothing_else() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (one, other) = (SessionId::fresh(&fresh), SessionId::fresh(&fresh));
        let given = vec![run(one, &[4, 6, 7]), run(other, &[4, 5]), run(one, &[0, 2, 4]), run(one, &[9, 10])];
        let ordinals: Vec<(bool, Vec<u64>)> = joined(given)
            .iter()
            .map(|run| (run[0].1.session == one, run.iter().map(|(_, episode)| episode.ordinal).collect()))
            .collect();
        assert_eq!(ordinals, [(true, vec![0, 2, 4, 6, 7]), (true, vec![9, 10]), (false, vec![4, 5])]);
    }
}
