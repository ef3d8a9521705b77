//! What a ranking is worth.

use std::collections::HashMap;

use tenure_journal::ItemId;
use tenure_vector::{AskedVector, Vectors};

use super::picked::{LikenessOf, Picked, Shelf};
use super::{Asked, Conversation, Kind};
use crate::cue::{Anchor, Cues, Question};
use crate::rank::{Features, Ranked, Weights, rank};
use crate::recall::{Recall, chosen};
use crate::{Index, meaning};

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
    names: Vec<String>,
    shelf: Shelf,
    /// Where a model made some.
    vectors: Option<Embedded>,
}

/// The vectors of a talk.
#[derive(Debug)]
struct Embedded {
    episodes: HashMap<ItemId, Vectors>,
    /// Of the questions, by their texts, and of what has to be found first for them.
    asked: HashMap<String, AskedVector>,
}

/// What was ranked for one question, to learn weights from.
#[derive(Debug, Clone)]
pub struct Example {
    /// The features of each passage.
    pub features: Vec<Features>,
    /// Whether it is evidence.
    pub is_evidence: Vec<bool>,
}

/// Makes a vector of each text.
pub type Embed<'a> = &'a dyn Fn(&[&str]) -> Vec<Vec<f32>>;

impl<'a> Prepared<'a> {
    /// Reads everything that was said.
    #[must_use]
    pub fn new(conversation: &'a Conversation) -> Self {
        let mut index = Index::default();
        conversation.episodes.iter().cloned().for_each(|episode| index.put(episode));
        Self { conversation, names: index.names(), shelf: Shelf::new(&index), vectors: None }
    }

    /// The same, with vectors as a server keeps them. `None` if those that `embed` gives are none.
    #[must_use]
    pub fn embedded(conversation: &'a Conversation, embed: Embed<'_>) -> Option<Self> {
        let prepared = Self::new(conversation);
        let mut episodes = HashMap::new();
        for stretch in prepared.shelf.stretches() {
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
        let mut texts: Vec<String> = Vec::new();
        for asked in &conversation.asked {
            let recall = Recall::of(&prepared.question(&asked.question));
            texts.extend(recall.anchor().map(|anchor| anchor.what.clone()));
            texts.push(asked.question.clone());
        }
        let questions: Vec<String> =
            texts.iter().map(|text| meaning::question(text, &prepared.names)).collect();
        let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
        let vectors = embed(&questions);
        let vectors = vectors.iter().map(|vector| AskedVector::of(vector)).collect::<Option<Vec<_>>>()?;
        let asked = texts.into_iter().zip(vectors).collect();
        Some(Self { vectors: Some(Embedded { episodes, asked }), ..prepared })
    }

    /// What was ranked for each question.
    #[must_use]
    pub fn examples(&self, weights: &Weights) -> Vec<Example> {
        let example = |asked: &Asked| {
            let (picked, ranked) = self.ranked(asked, weights);
            Example {
                is_evidence: ranked.iter().map(|one| asked.evidence.contains(&picked.item(one))).collect(),
                features: ranked.into_iter().map(|one| one.features).collect(),
            }
        };
        self.conversation.asked.iter().map(example).collect()
    }

    fn question<'q>(&'q self, text: &'q str) -> Question<'q> {
        Question { text, now: self.conversation.now, names: &self.names }
    }

    /// What a server would rank for a question, best first.
    fn ranked(&self, asked: &Asked, weights: &Weights) -> (Picked, Vec<Ranked>) {
        let mut recall = Recall::of(&self.question(&asked.question));
        if let Some(Anchor { what, .. }) = recall.anchor().cloned() {
            let first = Recall::of(&self.question(&what));
            let (picked, ranked) = self.ranked_by(first.cues(), &what, weights);
            if let Some(first) = ranked.first() {
                recall.anchored(picked.episode(first).at);
            }
        }
        self.ranked_by(recall.cues(), &asked.question, weights)
    }

    fn ranked_by(&self, cues: &Cues, text: &str, weights: &Weights) -> (Picked, Vec<Ranked>) {
        let vectors = self.vectors.as_ref();
        let asked = vectors.and_then(|vectors| Some((vectors, vectors.asked.get(text)?)));
        let likeness =
            asked.map(|(vectors, asked)| move |item: ItemId| vectors.episodes.get(&item)?.likeness(asked));
        let likeness = likeness.as_ref().map(|likeness| -> LikenessOf<'_> { likeness });
        let picked = self.shelf.pick(cues, likeness);
        let ranked = rank(cues, &picked.corpus, &picked.passages, weights);
        (picked, ranked)
    }
}

/// Asks every question and counts what comes back: of what a store would pick, in the order of the ranker, nothing
/// twice.
#[must_use]
pub fn measure<'p, 'c: 'p>(
    prepared: impl IntoIterator<Item = &'p Prepared<'c>>,
    weights: &Weights,
) -> Measure {
    let mut tally = Tally::default();
    for prepared in prepared {
        for asked in &prepared.conversation.asked {
            let (picked, ranked) = prepared.ranked(asked, weights);
            let answer = chosen(&ranked, &picked.passages, None, COUNTED);
            tally.count(asked, &answer.into_iter().map(|one| picked.item(one)).collect::<Vec<_>>());
        }
    }
    tally.mean()
}

/// Passages of an answer that are looked at.
const COUNTED: usize = 50;

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
