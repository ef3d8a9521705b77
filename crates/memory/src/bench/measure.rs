//! What a ranking is worth.

use std::collections::HashMap;

use tenure_journal::{AskedVector, Episode, ItemId, Vectors};

use super::{Asked, Conversation, Kind};
use crate::cue::Question;
use crate::rank::{Similarity, Weights};
use crate::{Index, Stretch, meaning, rank};

/// Means over questions, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measure {
    /// How many questions.
    pub questions: usize,
    /// How much of the evidence is among the first five.
    pub recall_5: f64,
    /// The first ten.
    pub recall_10: f64,
    /// The first twenty.
    pub recall_20: f64,
    /// One over the place of the first evidence.
    pub reciprocal_rank: f64,
    /// How much of the evidence of questions that take several passages is among the first ten.
    pub multi_hop_10: f64,
}

/// A talk that was read once, to be asked many times.
#[derive(Debug)]
pub struct Prepared<'a> {
    conversation: &'a Conversation,
    index: Index,
    names: Vec<String>,
    stretches: Vec<Stretch>,
    /// Where a model made some.
    vectors: Option<Embedded>,
}

/// The vectors of a talk.
#[derive(Debug)]
struct Embedded {
    episodes: HashMap<ItemId, Vectors>,
    /// Of the questions, in their order.
    asked: Vec<AskedVector>,
}

/// Makes a vector of each text.
pub type Embed<'a> = &'a dyn Fn(&[&str]) -> Vec<Vec<f32>>;

impl<'a> Prepared<'a> {
    /// Reads everything that was said.
    #[must_use]
    pub fn new(conversation: &'a Conversation) -> Self {
        let mut index = Index::default();
        conversation.episodes.iter().cloned().for_each(|episode| index.put(episode));
        Self { conversation, names: index.names(), stretches: index.stretches(), index, vectors: None }
    }

    /// The same, with vectors as a server keeps them. `None` if those that `embed` gives are none.
    #[must_use]
    pub fn embedded(conversation: &'a Conversation, embed: Embed<'_>) -> Option<Self> {
        let prepared = Self::new(conversation);
        let mut episodes = HashMap::new();
        for stretch in &prepared.stretches {
            let texts = |place: usize| {
                let before = place.checked_sub(1).map(|before| &stretch.passages[before].episode);
                meaning::texts(before, &stretch.passages[place].episode)
            };
            let texts: Vec<Vec<String>> = (0..stretch.passages.len()).map(texts).collect();
            let all: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
            let mut made = embed(&all).into_iter();
            for (passage, texts) in stretch.passages.iter().zip(&texts) {
                let own: Vec<Vec<f32>> = made.by_ref().take(texts.len()).collect();
                episodes.insert(passage.episode.item, Vectors::of(&own)?);
            }
        }
        let questions: Vec<String> = conversation
            .asked
            .iter()
            .map(|asked| meaning::question(&asked.question, &prepared.names))
            .collect();
        let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
        let asked = embed(&questions).iter().map(|vector| AskedVector::of(vector)).collect::<Option<_>>()?;
        Some(Self { vectors: Some(Embedded { episodes, asked }), ..prepared })
    }
}

/// Asks every question and counts what comes back.
#[must_use]
pub fn measure<'p, 'c: 'p>(
    prepared: impl IntoIterator<Item = &'p Prepared<'c>>,
    weights: &Weights,
) -> Measure {
    let mut tally = Tally::default();
    for Prepared { conversation, index, names, stretches, vectors } in prepared {
        for (number, asked) in conversation.asked.iter().enumerate() {
            let question = Question { text: &asked.question, now: conversation.now, names };
            let cues = crate::cue::cues(&question);
            let likeness = |episode: &Episode| {
                let vectors = vectors.as_ref()?;
                vectors.episodes.get(&episode.item)?.likeness(vectors.asked.get(number)?)
            };
            let similarity: Option<Similarity<'_>> = if vectors.is_some() { Some(&likeness) } else { None };
            let ranked = rank::rank(&cues, &index.corpus(&cues), stretches, weights, similarity);
            let answer = ranked.iter().map(|one| stretches[one.stretch].passages[one.place].episode.item);
            tally.count(asked, &answer.take(COUNTED).collect::<Vec<_>>());
        }
    }
    tally.mean()
}

/// Passages of an answer that are looked at.
const COUNTED: usize = 100;

/// Sums over questions.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    sums: Measure,
    multi_hop: usize,
}

impl Tally {
    /// Counts one answer, best first.
    pub fn count(&mut self, asked: &Asked, answer: &[ItemId]) {
        let recall = |first: usize| {
            let found = answer.iter().take(first).filter(|item| asked.evidence.contains(item)).count();
            100.0 * found as f64 / asked.evidence.len() as f64
        };
        let first = answer.iter().position(|item| asked.evidence.contains(item));
        self.sums.questions += 1;
        self.sums.recall_5 += recall(5);
        self.sums.recall_10 += recall(10);
        self.sums.recall_20 += recall(20);
        self.sums.reciprocal_rank += first.map_or(0.0, |place| 100.0 / (place + 1) as f64);
        if asked.kind == Kind::MultiHop {
            self.multi_hop += 1;
            self.sums.multi_hop_10 += recall(10);
        }
    }

    /// The means.
    #[must_use]
    pub fn mean(&self) -> Measure {
        let over = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
        let Measure { questions, recall_5, recall_10, recall_20, reciprocal_rank, multi_hop_10 } = self.sums;
        Measure {
            questions,
            recall_5: over(recall_5, questions),
            recall_10: over(recall_10, questions),
            recall_20: over(recall_20, questions),
            reciprocal_rank: over(reciprocal_rank, questions),
            multi_hop_10: over(multi_hop_10, self.multi_hop),
        }
    }
}
