//! What a store would pick of one talk for a question, so that the ranker is measured on what it is given.

use std::collections::{BTreeSet, HashMap};

use tenure_journal::{Episode, ItemId};
use tenure_vector::Likeness;

use crate::Index;
use crate::cue::Cues;
use crate::lexicon::StemId;
use crate::passage::{Passage, Passages, Stretch};
use crate::rank::{Corpus, NEIGHBOURS, Ranked};
use crate::recall::{ALIKE_MAX, COMPARED_REACH, HITS_BESIDE_ALIKE_MAX, HITS_MAX};

/// Everything that was said in one talk, by the terms it has.
#[derive(Debug)]
pub(super) struct Shelf {
    all: Passages,
    /// Where each passage is, oldest first.
    order: Vec<(usize, usize)>,
    /// Which of those have a term.
    having: HashMap<StemId, Vec<usize>>,
}

/// What was picked.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) corpus: Corpus,
    pub(super) passages: Passages,
}

/// How alike the question and an episode are, if both have vectors.
pub(super) type LikenessOf<'a> = &'a dyn Fn(ItemId) -> Option<Likeness>;

impl Picked {
    pub(super) fn episode(&self, one: &Ranked) -> &Episode {
        &self.passages.of(one).episode
    }

    pub(super) fn item(&self, one: &Ranked) -> ItemId {
        self.episode(one).item
    }
}

impl Shelf {
    pub(super) fn new(index: &Index) -> Self {
        let all = index.passages();
        let stretches = &all.stretches;
        let places = |(number, stretch): (usize, &Stretch)| -> Vec<(usize, usize)> {
            (0..stretch.passages.len()).map(|place| (number, place)).collect()
        };
        let mut order: Vec<(usize, usize)> = stretches.iter().enumerate().flat_map(places).collect();
        order.sort_by_key(|(stretch, place)| stretches[*stretch].passages[*place].episode.at);
        let mut having: HashMap<StemId, Vec<usize>> = HashMap::new();
        for (number, (stretch, place)) in order.iter().enumerate() {
            let passage = &stretches[*stretch].passages[*place];
            // What is read once and kept is read before it is copied.
            passage.says_when();
            passage.capitals();
            passage.distinct().into_iter().for_each(|stem| having.entry(stem).or_default().push(number));
        }
        Self { all, order, having }
    }

    pub(super) fn stretches(&self) -> &[Stretch] {
        &self.all.stretches
    }

    /// What has to do with the question by its terms, or by `likeness` where a model tells it, with its neighbours.
    pub(super) fn pick(&self, cues: &Cues, likeness: Option<LikenessOf<'_>>) -> Picked {
        let hits_max = if likeness.is_some() { HITS_BESIDE_ALIKE_MAX } else { HITS_MAX };
        let mut hits = self.sharing(cues, hits_max);
        if let Some(likeness) = likeness {
            let alike = |number: usize| Some((number, f64::from(likeness(self.item(number))?.best())));
            hits.extend(most((0..self.order.len()).filter_map(alike).collect(), ALIKE_MAX));
        }
        let mut likenesses: HashMap<(usize, usize), Likeness> = HashMap::new();
        let mut brought: BTreeSet<(usize, usize)> = BTreeSet::new();
        for hit in hits {
            let (stretch, place) = self.order[hit];
            let passages = &self.all.stretches[stretch].passages;
            let around = |reach: usize| place.saturating_sub(reach)..(place + reach + 1).min(passages.len());
            brought.extend(around(NEIGHBOURS).map(|place| (stretch, place)));
            if let Some(likeness) = likeness {
                let likeness = |place: usize| likeness(passages[place].episode.item);
                let compared = around(COMPARED_REACH).filter_map(|at| Some(((stretch, at), likeness(at)?)));
                likenesses.extend(compared);
            }
        }
        let brought: Vec<(usize, usize)> = brought.into_iter().collect();
        let runs = brought.chunk_by(|one, next| (one.0, one.1 + 1) == *next);
        let passage = |at: &(usize, usize)| {
            let mut passage = self.all.stretches[at.0].passages[at.1].clone();
            passage.likeness = likenesses.get(at).copied();
            passage
        };
        let stretches = runs.map(|run| Stretch { passages: run.iter().map(passage).collect() }).collect();
        let frequency = |term: &String| (term.clone(), self.having(term).len() as u64);
        let frequencies = cues.sought().iter().map(frequency).collect();
        let passages = Passages { lexicon: self.all.lexicon.clone(), stretches, ..Passages::default() };
        Picked { corpus: Corpus { episodes: self.order.len() as u64, frequencies }, passages }
    }

    /// Those that share the rarest terms, and the newest of what is kindred where there is room.
    fn sharing(&self, cues: &Cues, hits_max: usize) -> Vec<usize> {
        let all = self.order.len();
        let mut shared: HashMap<usize, f64> = HashMap::new();
        for term in &cues.sought() {
            let having = self.having(term);
            let rarity = (1.0 + all as f64 / (having.len() as f64 + 0.5)).ln();
            having.iter().for_each(|number| *shared.entry(*number).or_default() += rarity);
        }
        if let Some(window) = cues.window.filter(|_| cues.terms.is_empty()) {
            let is_within = |number: &usize| window.nearness(self.passage(*number).episode.at) >= 1.0;
            shared.extend((0..all).rev().filter(is_within).take(hits_max).map(|number| (number, 0.0)));
        }
        let mut hits = most(shared, hits_max);
        let kindred: BTreeSet<usize> =
            cues.kindred().iter().flat_map(|term| self.having(term)).copied().collect();
        let newest = kindred.into_iter().rev().take(hits_max);
        let more: Vec<usize> = newest.filter(|number| !hits.contains(number)).collect();
        hits.extend(more);
        hits.truncate(hits_max);
        hits
    }

    fn having(&self, term: &str) -> &[usize] {
        let having = self.all.lexicon.find(term).and_then(|stem| self.having.get(&stem));
        having.map_or(&[], Vec::as_slice)
    }

    fn passage(&self, number: usize) -> &Passage {
        let (stretch, place) = self.order[number];
        &self.all.stretches[stretch].passages[place]
    }

    fn item(&self, number: usize) -> ItemId {
        self.passage(number).episode.item
    }
}

/// Those that have most, of equals the newer.
fn most(shared: HashMap<usize, f64>, at_most: usize) -> Vec<usize> {
    let mut shared: Vec<(usize, f64)> = shared.into_iter().collect();
    shared.sort_by(|one, other| other.1.total_cmp(&one.1).then(other.0.cmp(&one.0)));
    shared.into_iter().map(|(number, _)| number).take(at_most).collect()
}

#[cfg(test)]
mod tests {
    use tenure_journal::Timestamp;

    use super::*;
    use crate::bench::synthetic;
    use crate::cue::{Question, cues};

    #[test]
    fn picks_as_many_as_a_store_does_with_their_neighbours() {
        let talk = synthetic::conversations(1, 1).remove(0);
        let mut index = Index::default();
        talk.episodes.iter().cloned().for_each(|episode| index.put(episode));
        let shelf = Shelf::new(&index);
        let of = |text| cues(&Question { text, now: Timestamp::EPOCH, names: &[] });
        let item =
            |picked: &Picked| picked.passages.stretches.first().map(|one| one.passages[0].episode.item);
        assert_eq!(item(&shelf.pick(&of("zeppelin"), None)), None);
        let cues = of("Which breed is my dog?");
        let picked = shelf.pick(&cues, None);
        let passages = picked.passages.stretches.iter().flat_map(|stretch| &stretch.passages);
        let asked: Vec<StemId> =
            cues.sought().iter().filter_map(|term| picked.passages.lexicon.find(term)).collect();
        let has = |passage: &&Passage| asked.iter().any(|stem| passage.stems.contains(stem));
        let (hits, others): (Vec<&Passage>, Vec<&Passage>) = passages.partition(has);
        assert!(!hits.is_empty() && hits.len() <= HITS_MAX, "{}", hits.len());
        assert!(others.len() <= 2 * NEIGHBOURS * HITS_MAX, "{}", others.len());
        assert_eq!(picked.corpus.episodes, talk.episodes.len() as u64);
    }
}
