//! The exact index in memory: every episode, every term. What stores answer is compared with it.

use std::collections::{BTreeMap, HashMap, HashSet};

use tenure_journal::{Episode, SessionId};

use crate::cue::{Cues, Question, cues};
use crate::passage::{Passage, Stretch};
use crate::rank::{Corpus, Ranked, Similarity, Weights, names_of, rank};

/// Every episode of one space.
#[derive(Debug, Clone, Default)]
pub struct Index {
    sessions: BTreeMap<SessionId, BTreeMap<u64, Passage>>,
    /// How many episodes have each term.
    frequencies: HashMap<String, u64>,
    episodes: u64,
}

impl Index {
    /// Adds an episode; one with the same place in the same session is replaced.
    pub fn put(&mut self, episode: Episode) {
        let session = self.sessions.entry(episode.session).or_default();
        let passage = Passage::from(episode);
        let distinct: HashSet<String> = passage.stems.iter().cloned().collect();
        if let Some(replaced) = session.insert(passage.episode.ordinal, passage) {
            self.forget_terms(&replaced);
        }
        for stem in distinct {
            *self.frequencies.entry(stem).or_default() += 1;
        }
        self.episodes += 1;
    }

    /// Removes everything of a session.
    pub fn forget(&mut self, session: SessionId) {
        for passage in self.sessions.remove(&session).unwrap_or_default().into_values() {
            self.forget_terms(&passage);
        }
    }

    fn forget_terms(&mut self, passage: &Passage) {
        self.episodes -= 1;
        for stem in passage.stems.iter().collect::<HashSet<_>>() {
            if let Some(count) = self.frequencies.get_mut(stem) {
                *count -= 1;
            }
        }
    }

    /// What is known of the terms of a question.
    #[must_use]
    pub fn corpus(&self, cues: &Cues) -> Corpus {
        let frequency = |term: &String| (term.clone(), self.frequencies.get(term).copied().unwrap_or(0));
        Corpus { episodes: self.episodes, frequencies: cues.terms.iter().map(frequency).collect() }
    }

    /// The sessions, each as one stretch.
    #[must_use]
    pub fn stretches(&self) -> Vec<Stretch> {
        let stretch =
            |passages: &BTreeMap<u64, Passage>| Stretch { passages: passages.values().cloned().collect() };
        self.sessions.values().map(stretch).collect()
    }

    /// The names of everyone who said something.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names_of(self.sessions.values().flat_map(BTreeMap::values).map(|passage| &passage.episode))
    }

    /// Every passage that has to do with the question, best first, with the stretches they are in.
    #[must_use]
    pub fn rank(
        &self,
        question: &Question<'_>,
        weights: &Weights,
        similarity: Option<Similarity<'_>>,
    ) -> (Vec<Stretch>, Vec<Ranked>) {
        let cues = cues(question);
        let stretches = self.stretches();
        let ranked = rank(&cues, &self.corpus(&cues), &stretches, weights, similarity);
        (stretches, ranked)
    }
}
