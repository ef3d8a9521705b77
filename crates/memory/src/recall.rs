//! Answers: the best passages, none of them twice, each with why it was found.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tenure_journal::{Episode, SessionId, Timestamp};

use crate::cue::{Anchor, Cues, Question, cues};
use crate::fact::KnownFact;
use crate::lexicon::StemId;
use crate::passage::{Passage, Passages};
use crate::rank::{Corpus, FEATURES, NEIGHBOURS, REACH, Ranked, Weights, rank};
use crate::text;
use crate::time::Window;

/// Passages that stores pick for the ranker; more cost time and hardly ever bring what is asked for.
pub const HITS_MAX: usize = 130;
/// The same, where others are picked because they are alike.
pub const HITS_BESIDE_ALIKE_MAX: usize = 100;
/// Passages that stores pick because they are alike, beside those.
pub const ALIKE_MAX: usize = 70;
/// Neighbours of both, on either side, that are compared as well: those that can be ranked for standing near one, and
/// one more. What is compared farther away makes answers worse, and takes longer.
pub const COMPARED_REACH: usize = REACH + 1;
const _: () = assert!(COMPARED_REACH <= NEIGHBOURS, "what is compared comes with what was picked");
/// Shared terms of two passages, of all they have, from which on they say the same.
const SAME: f32 = 0.8;

/// A passage, and why it is one of the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// What was said, by whom, when, and where it is to be found whole.
    pub episode: Episode,
    /// The fact, where it is one; the episode is only its text then.
    pub fact: Option<Arc<KnownFact>>,
    /// Higher is better, within one answer.
    pub score: f32,
    /// Why.
    pub why: Why,
}

/// What a passage and a question have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Why {
    /// Terms of the question that the passage has, or has something akin to.
    pub terms: Vec<String>,
    /// Terms that only what was said around it has.
    pub nearby: Vec<String>,
    /// Whether whom the question is about said it.
    pub speaker: bool,
    /// Whether it was said when the question says.
    pub time: bool,
    /// How far it stands out by its vector, in standard deviations; absent where there are none.
    pub vector: Option<f32>,
    /// Why the question was compared by its terms alone, where a model was to be asked; for everything of one answer.
    pub lexical_because: Option<String>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.terms.is_empty() {
            parts.push(format!("terms: {}", self.terms.join(", ")));
        }
        if !self.nearby.is_empty() {
            parts.push(format!("nearby: {}", self.nearby.join(", ")));
        }
        parts.extend(self.speaker.then(|| "speaker".to_owned()));
        parts.extend(self.time.then(|| "time".to_owned()));
        parts.extend(self.vector.map(|deviations| format!("vector: {deviations:.1}")));
        parts.extend(self.lexical_because.as_ref().map(|why| format!("by terms alone: {why}")));
        f.write_str(&parts.join("; "))
    }
}

/// Episodes that are no answer: the asking session's from a place on, which whoever asks has before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The session.
    pub session: SessionId,
    /// The first place.
    pub from: u64,
}

/// A question on its way through a store, which is asked once or twice.
#[derive(Debug, Clone)]
pub struct Recall {
    cues: Cues,
}

impl Recall {
    /// Reads the question.
    #[must_use]
    pub fn of(question: &Question<'_>) -> Self {
        Self { cues: cues(question) }
    }

    /// What the question says.
    #[must_use]
    pub fn cues(&self) -> &Cues {
        &self.cues
    }

    /// What has to be found first, where the question says `before the move`.
    #[must_use]
    pub fn anchor(&self) -> Option<&Anchor> {
        self.cues.anchor.as_ref()
    }

    /// What the anchor means, once it is known when it was.
    pub fn anchored(&mut self, at: Timestamp) {
        if let Some(anchor) = self.cues.anchor.take() {
            let moment = Window { from: at, until: at.plus_millis(1) };
            self.cues.window = Some(moment.side(anchor.relation));
            // Of `what did she do after the storm that took the roof` the storm is all there is to look near.
            let named = text::stems(&anchor.what);
            let is_most = 2 * self.cues.terms.iter().filter(|term| named.contains(term)).count()
                > self.cues.terms.len();
            if !is_most {
                self.cues.aside = named;
            }
        }
    }

    /// The answer, best first, from what was found.
    #[must_use]
    pub fn answer(
        &self,
        corpus: &Corpus,
        passages: &Passages,
        known: Option<Known>,
        limit: usize,
    ) -> Vec<Recalled> {
        let vectors = passages.are_compared();
        let weights = if vectors { Weights::with_vectors() } else { Weights::default() };
        let ranked = rank(&self.cues, corpus, passages, &weights);
        let chosen = chosen(&ranked, passages, known, limit);
        chosen.into_iter().map(|one| self.recalled(one, passages.of(one), vectors)).collect()
    }

    fn recalled(&self, one: &Ranked, passage: &Passage, vectors: bool) -> Recalled {
        let feature = |name: &str| {
            let place = FEATURES.iter().position(|feature| *feature == name);
            place.map_or(0.0, |place| one.features[place])
        };
        let terms = |places: &[usize]| places.iter().map(|place| self.cues.terms[*place].clone()).collect();
        let why = Why {
            terms: terms(&one.own),
            nearby: terms(&one.borrowed),
            speaker: feature("speaker") > 0.0,
            time: feature("window") >= 1.0,
            vector: vectors.then(|| feature("whole").max(feature("sentence"))),
            lexical_because: None,
        };
        Recalled { episode: passage.episode.clone(), fact: passage.fact.clone(), score: one.score, why }
    }
}

/// Those that are answers, as many as `limit`: of what says the same the better one.
pub(crate) fn chosen<'r>(
    ranked: &'r [Ranked],
    passages: &Passages,
    known: Option<Known>,
    limit: usize,
) -> Vec<&'r Ranked> {
    let mut chosen: Vec<(&Ranked, HashSet<StemId>)> = Vec::new();
    for one in ranked {
        if chosen.len() == limit {
            break;
        }
        let passage = passages.of(one);
        let (episode, is_fact) = (&passage.episode, passage.fact.is_some());
        if !is_fact
            && known.is_some_and(|known| known.session == episode.session && known.from <= episode.ordinal)
        {
            continue;
        }
        let terms = passage.stems.iter().copied().collect();
        if !chosen.iter().any(|(_, other)| are_same(&terms, other)) {
            chosen.push((one, terms));
        }
    }
    chosen.into_iter().map(|(one, _)| one).collect()
}

fn are_same(one: &HashSet<StemId>, other: &HashSet<StemId>) -> bool {
    let shared = one.intersection(other).count();
    let all = one.len() + other.len() - shared;
    all > 0 && shared as f32 >= SAME * all as f32
}
