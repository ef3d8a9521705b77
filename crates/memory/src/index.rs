//! The exact index in memory: every episode, every term. What stores answer is compared with it.

use std::collections::{BTreeMap, HashMap};

use tenure_journal::{Episode, SessionId};

use crate::cue::Cues;
use crate::lexicon::{Lexicon, StemId};
use crate::passage::{Passage, Passages, Stretch};
use crate::rank::{Corpus, names_of};

/// Every episode of one space.
#[derive(Debug, Clone, Default)]
pub struct Index {
    lexicon: Lexicon,
    sessions: BTreeMap<SessionId, BTreeMap<u64, Passage>>,
    /// How many episodes have each term.
    frequencies: HashMap<StemId, u64>,
    episodes: u64,
}

impl Index {
    /// Adds an episode; one with the same place in the same session is replaced.
    pub fn put(&mut self, episode: Episode) {
        let session = self.sessions.entry(episode.session).or_default();
        let passage = Passage::read(episode, &mut self.lexicon);
        let distinct = passage.distinct();
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
        for stem in passage.distinct() {
            if let Some(count) = self.frequencies.get_mut(&stem) {
                *count -= 1;
            }
        }
    }

    /// What is known of the terms of a question.
    #[must_use]
    pub fn corpus(&self, cues: &Cues) -> Corpus {
        let having = |term: &String| self.frequencies.get(&self.lexicon.find(term)?).copied();
        let frequency = |term: &String| (term.clone(), having(term).unwrap_or(0));
        Corpus { episodes: self.episodes, frequencies: cues.sought().iter().map(frequency).collect() }
    }

    /// Everything, each session as one stretch.
    #[must_use]
    pub fn passages(&self) -> Passages {
        let stretch =
            |passages: &BTreeMap<u64, Passage>| Stretch { passages: passages.values().cloned().collect() };
        let stretches = self.sessions.values().map(stretch).collect();
        Passages { lexicon: self.lexicon.clone(), stretches, ..Passages::default() }
    }

    /// The names of everyone who said something.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names_of(self.sessions.values().flat_map(BTreeMap::values).map(|passage| &passage.episode))
    }
}
