//! The ranker: BM25F over a passage and its neighbours, a few named features, and fixed weights for them.
//!
//! A passage is scored for what it says and for what stands around it, because in talk a sentence is rarely about
//! what it says: `Yes, last Friday!` answers the question before it. A short turn borrows more than a long one, and
//! a document borrows nothing. What was measured on which data, and how the weights were found, is in
//! `docs/recall-quality.md`.

use std::collections::{HashMap, HashSet};
use std::iter;

use tenure_journal::{Episode, Speaker};

use crate::cue::Cues;
use crate::kin::kin;
use crate::kinds::{kinds, says};
use crate::lexicon::Lexicon;
use crate::passage::{Meant, Passage, Passages, Reading, SELF_CONTAINED_TERMS, Sentence, Stretch};
use crate::{akin, text};

/// How far the neighbours reach that a passage borrows from.
pub const REACH: usize = 2;

/// How far its surroundings reach, of which only counts what is there at all. Who finds candidates brings as many
/// neighbours of each as [`NEIGHBOURS`].
const BROAD: usize = 5;
/// Neighbours that a passage needs on both sides, and one more for each that is ranked for standing near a hit.
pub const NEIGHBOURS: usize = REACH + BROAD;
/// What a capital letter within a question makes of a term's rarity.
const PROPER: f32 = 1.3;

/// What is known of everything that a question is asked of, found or not.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    /// How many episodes there are.
    pub episodes: u64,
    /// How many of them have each term, by the term.
    pub frequencies: HashMap<String, u64>,
}

/// The numbers of the ranker.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// How soon repetitions of a term stop to count.
    pub saturation: f32,
    /// How much a long passage has to repeat a term for it to count the same, 0 to 1.
    pub length: f32,
    /// What a term of the neighbour before counts, of one in the passage itself.
    pub before: f32,
    /// The neighbour behind.
    pub behind: f32,
    /// The ones after those.
    pub farther: f32,
    /// How many terms halve what is borrowed.
    pub borrow_terms: f32,
    /// What a word that frames a question makes of a term's rarity.
    pub faint: f32,
    /// How much of a term that no candidate has is part of the question.
    pub unsaid: f32,
    /// What each feature counts, in the order of [`FEATURES`].
    pub features: [f32; FEATURES.len()],
}

/// The features by name, as explanations and the tuning call them.
pub const FEATURES: [&str; 25] = [
    "terms",
    "own_terms",
    "coverage",
    "together",
    "speaker",
    "other_speaker",
    "names_speaker",
    "question",
    "says_when",
    "number",
    "window",
    "length",
    "after_question",
    "broad",
    "own_coverage",
    "named",
    "said",
    "answers",
    "kind",
    "kin",
    "company",
    "whole",
    "sentence",
    "window",
    "next_window",
];
const KIND: usize = FEATURES.len() - 7;
const KIN: usize = FEATURES.len() - 6;
const COMPANY: usize = FEATURES.len() - 5;
/// Where the features of vectors begin, to the end.
const VECTORS: usize = FEATURES.len() - 4;

/// The features of one passage.
pub type Features = [f32; FEATURES.len()];

impl Default for Weights {
    fn default() -> Self {
        Self {
            saturation: 0.874,
            length: 0.93,
            before: 0.656,
            behind: 0.36,
            farther: 0.36,
            borrow_terms: 9.29,
            faint: 0.5,
            unsaid: 0.0,
            features: [
                0.765, 0.21, 0.311, 0.036, 0.352, -0.002, 0.049, -0.123, 0.162, 0.136, 0.32, 0.029, 0.068,
                0.213, 0.062, 0.115, 0.04, 0.161, 0.191, 0.408, 0.0, 0.0, 0.0, 0.0, 0.0,
            ],
        }
    }
}

impl Weights {
    /// Those for passages that have vectors of a model: what words say counts a little less beside them, and what
    /// nobody says stays part of the question.
    #[must_use]
    pub fn with_vectors() -> Self {
        Self {
            unsaid: 1.0,
            features: [
                0.463, 0.089, 0.23, 0.022, 0.371, 0.0, 0.049, -0.124, 0.136, 0.176, 0.366, 0.01, 0.057,
                0.224, 0.028, 0.112, 0.043, 0.126, 0.186, 0.25, 0.04, 0.042, 0.046, 0.051, 0.021,
            ],
            ..Self::default()
        }
    }
}

/// A passage with its place in the answer.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// Which stretch it is in.
    pub stretch: usize,
    /// Its place there.
    pub place: usize,
    /// Higher is better; comparable within one answer only.
    pub score: f32,
    /// What the score is made of.
    pub features: Features,
    /// Places in the question of the terms that the passage itself has.
    pub own: Vec<usize>,
    /// Of those that only its neighbours have.
    pub borrowed: Vec<usize>,
}

/// Ranks the passages that have to do with the question, best first.
#[must_use]
pub fn rank(cues: &Cues, corpus: &Corpus, passages: &Passages, weights: &Weights) -> Vec<Ranked> {
    let meant = meant(cues, &passages.lexicon);
    let mut scorer = Scorer::new(cues, corpus, weights, &passages.stretches);
    let aside = cues.terms.iter().enumerate().filter(|(_, term)| cues.aside.contains(term));
    let aside: Vec<usize> = aside.map(|(place, _)| place).collect();
    let reading = |passage: &Passage| {
        let mut reading = passage.reading(cues.terms.len(), &meant);
        // What happened then is not what is asked for: it counts only for what was said on the side that is.
        if cues.window.is_some_and(|window| window.nearness(passage.episode.at) < 1.0) {
            reading.forget(&aside);
        }
        reading
    };
    let readings = |stretch: &Stretch| stretch.passages.iter().map(reading).collect();
    let readings: Vec<Vec<Reading>> = passages.stretches.iter().map(readings).collect();
    scorer.weigh(&readings);
    let mut ranked: Vec<Ranked> = Vec::new();
    for (index, (stretch, readings)) in passages.stretches.iter().zip(&readings).enumerate() {
        scorer.rank(index, (&stretch.passages, readings), &mut ranked);
    }
    (VECTORS..FEATURES.len()).for_each(|feature| standardise(feature, &mut ranked));
    let all: Vec<&Passage> = ranked.iter().map(|one| passages.of(one)).collect();
    for (one, kind) in ranked.iter_mut().zip(kinds(&meant, &all)) {
        one.features[KIND] = kind;
    }
    for one in &mut ranked {
        one.score =
            one.features.iter().zip(&weights.features).map(|(feature, weight)| feature * weight).sum();
    }
    sort(&mut ranked, passages);
    let all: Vec<(&Passage, f32)> = ranked.iter().map(|one| (passages.of(one), one.score)).collect();
    for (one, kin) in ranked.iter_mut().zip(kin(&meant, &all)) {
        one.features[KIN] = kin;
        one.score += weights.features[KIN] * kin;
    }
    sort(&mut ranked, passages);
    // Several things may have been said anywhere, and one thing is often said over some turns.
    let company = if cues.asks_several { Vec::new() } else { company(&ranked) };
    for (one, company) in ranked.iter_mut().zip(company) {
        one.features[COMPANY] = company;
        one.score += weights.features[COMPANY] * company;
    }
    sort(&mut ranked, passages);
    ranked
}

/// Passages at the top that are company to others.
const COMPANIONS: usize = 10;
/// How far away they stand at most.
const COMPANY_REACH: usize = 6;
const _: () = assert!(COMPANY_REACH <= NEIGHBOURS, "what stands that near is in one stretch");

/// How good what stands near each of `ranked`, best first, is: the sum of the scores of the best passages there.
fn company(ranked: &[Ranked]) -> Vec<f32> {
    let best = &ranked[..ranked.len().min(COMPANIONS)];
    let is_near = |one: &Ranked, other: &Ranked| {
        one.stretch == other.stretch && (1..=COMPANY_REACH).contains(&one.place.abs_diff(other.place))
    };
    let company = |one: &Ranked| {
        best.iter().filter(|other| is_near(one, other)).map(|other| other.score.max(0.0)).sum()
    };
    ranked.iter().map(company).collect()
}

/// What each stem of the lexicon is to the question.
fn meant(cues: &Cues, lexicon: &Lexicon) -> Vec<Meant> {
    let terms: Vec<(&String, &[String])> =
        cues.terms.iter().map(|term| (term, cues.substitutes(term))).collect();
    let meant = |stem: &String| {
        let place = cues.terms.iter().position(|term| term == stem);
        let is_akin = |place: &usize| {
            let (term, substitutes) = terms[*place];
            akin::are_akin(term, stem) || substitutes.contains(stem)
        };
        let akin = match place {
            Some(_) => Vec::new(),
            None => (0..terms.len()).filter(is_akin).collect(),
        };
        let (is_name, is_of_kind) = (cues.name_terms.contains(stem), says(&cues.kinds, stem));
        Meant { place, akin, is_name, is_of_kind }
    };
    lexicon.stems().iter().map(meant).collect()
}

/// Best first; of equals the later one, so that the answer never depends on the order of the stretches.
fn sort(ranked: &mut [Ranked], passages: &Passages) {
    let episode = |one: &Ranked| &passages.of(one).episode;
    ranked.sort_by(|one, other| {
        let (here, there) = (episode(one), episode(other));
        let newer = there.at.cmp(&here.at);
        let place = || (here.session, here.ordinal).cmp(&(there.session, there.ordinal));
        other.score.total_cmp(&one.score).then(newer).then_with(place)
    });
}

struct Scorer<'a> {
    cues: &'a Cues,
    weights: &'a Weights,
    rarity: Vec<f32>,
    rarity_sum: f32,
    names: Vec<String>,
    /// Stems of the names of everyone who said what is ranked.
    speakers: HashSet<String>,
}

/// Names of a passage that count; more do not make it a better answer.
const NAMES_COUNTED: usize = 3;
/// Terms that a passage of usual length has. Fixed, so that one passage more does not change the rank of others.
const USUAL_TERMS: f32 = 14.0;

impl<'a> Scorer<'a> {
    fn new(cues: &'a Cues, corpus: &Corpus, weights: &'a Weights, stretches: &[Stretch]) -> Self {
        let emphasis = |term: &String| {
            let faint = if cues.faint.contains(term) { weights.faint } else { 1.0 };
            if cues.proper.contains(term) { faint * PROPER } else { faint }
        };
        let rarity = cues.terms.iter().map(|term| rarity(corpus, cues, term) * emphasis(term));
        let rarity: Vec<f32> = rarity.collect();
        let names = cues.names.iter().map(|name| name.to_lowercase()).collect();
        let episodes = stretches.iter().flat_map(|stretch| &stretch.passages).map(|passage| &passage.episode);
        let speakers = names_of(episodes).iter().flat_map(|name| text::stems(name)).collect();
        Self { cues, weights, rarity, rarity_sum: f32::MIN_POSITIVE, names, speakers }
    }

    /// What the question is as a whole. A term that no passage has tells none from another.
    fn weigh(&mut self, readings: &[Vec<Reading>]) {
        let mut is_said = vec![false; self.rarity.len()];
        for reading in readings.iter().flatten() {
            is_said.iter_mut().zip(&reading.counts).for_each(|(is_said, count)| *is_said |= *count > 0.0);
        }
        let part = |is_said: bool| if is_said { 1.0 } else { self.weights.unsaid };
        let parts = self.rarity.iter().zip(is_said).map(|(rarity, is_said)| rarity * part(is_said));
        self.rarity_sum = parts.sum::<f32>().max(f32::MIN_POSITIVE);
    }

    fn rank(&self, index: usize, stretch: (&[Passage], &[Reading]), out: &mut Vec<Ranked>) {
        let (passages, readings) = stretch;
        let both = readings.iter().zip(passages);
        let hits: Vec<bool> = both.map(|(reading, passage)| self.is_hit(reading, passage)).collect();
        for place in 0..passages.len() {
            let near = place.saturating_sub(REACH)..(place + REACH + 1).min(passages.len());
            if hits[near].contains(&true) {
                out.push(self.passage((index, place), stretch));
            }
        }
    }

    /// Whether a passage has anything to do with the question by itself.
    fn is_hit(&self, reading: &Reading, passage: &Passage) -> bool {
        let in_window = || self.cues.window.is_some_and(|window| window.nearness(passage.episode.at) >= 1.0);
        reading.counts.iter().any(|count| *count > 0.0)
            || reading.is_of_kind
            || self.cues.terms.is_empty() && in_window()
            || passage.likeness.is_some()
    }

    fn passage(
        &self,
        (index, place): (usize, usize),
        (passages, readings): (&[Passage], &[Reading]),
    ) -> Ranked {
        let reading = &readings[place];
        let fields = self.fields(place, readings);
        let (mut own, mut borrowed) = (Vec::new(), Vec::new());
        let (mut terms, mut own_terms, mut coverage) = (0.0, 0.0, 0.0);
        for (term, rarity) in self.rarity.iter().enumerate() {
            let frequency: f32 =
                fields.iter().map(|(weight, field)| weight * self.frequency(field, term)).sum();
            let alone = self.frequency(reading, term);
            terms += rarity * self.saturated(frequency);
            own_terms += rarity * self.saturated(alone);
            if alone > 0.0 {
                own.push(term);
            } else if frequency > 0.0 {
                borrowed.push(term);
            }
            coverage += if frequency > 0.0 { *rarity } else { 0.0 };
        }
        let passage = &passages[place];
        let episode = &passage.episode;
        let speaker = self.speaks(episode);
        let before = place.checked_sub(1);
        let asked_before = place > 0
            && passages[place - 1].is_question
            && !same_speaker(&passages[place - 1].episode, episode)
            && readings[place - 1].counts.iter().any(|count| *count > 0.0);
        let flag = |set: bool| if set { 1.0 } else { 0.0 };
        let likeness = |place: usize| passages.get(place).and_then(|passage| passage.likeness);
        let features = [
            terms / self.rarity_sum,
            own_terms / self.rarity_sum,
            coverage / self.rarity_sum,
            f32::from(reading.together.min(3)),
            flag(speaker == Some(true)),
            flag(speaker == Some(false)),
            flag(reading.names_speaker),
            flag(passage.is_question),
            flag(self.cues.asks_when && passage.says_when()),
            flag(self.cues.asks_how_many && passage.has_number),
            self.cues.window.map_or(0.0, |window| window.nearness(episode.at)),
            (reading.length as f32 / USUAL_TERMS).ln_1p().min(2.0),
            flag(asked_before && !passage.is_question),
            self.covered(&readings[place.saturating_sub(BROAD)..(place + BROAD + 1).min(readings.len())]),
            self.covered(&readings[place..=place]),
            self.named(passage),
            self.said(passage, reading),
            before.map_or(0.0, |before| self.answers(passage, (&passages[before], &readings[before]))),
            0.0,
            0.0,
            0.0,
            likeness(place).map_or(f32::NAN, |likeness| likeness.whole),
            likeness(place).map_or(f32::NAN, |likeness| likeness.sentence),
            likeness(place).map_or(f32::NAN, |likeness| likeness.window),
            likeness(place + 1).or(likeness(place)).map_or(f32::NAN, |likeness| likeness.window),
        ];
        Ranked { stretch: index, place, score: 0.0, features, own, borrowed }
    }

    /// How many names it brings up, of nobody who speaks and nothing the question names, where a name is asked for.
    fn named(&self, passage: &Passage) -> f32 {
        if !self.cues.asks_name {
            return 0.0;
        }
        let is_new = |stem: &&String| !self.speakers.contains(*stem) && !self.cues.terms.contains(*stem);
        passage.capitals().iter().filter(is_new).take(NAMES_COUNTED).count() as f32
    }

    /// The part of the question that is in the sentence which has most of it, of those that ask nothing.
    fn said(&self, passage: &Passage, reading: &Reading) -> f32 {
        if reading.found.is_empty() {
            return 0.0;
        }
        let statements = passage.sentences.iter().filter(|sentence| !sentence.is_question);
        statements.map(|sentence| self.covered_within(reading, &[sentence])).fold(0.0, f32::max)
    }

    /// The part of the question that somebody else asked right before, where the passage does not ask back.
    fn answers(&self, passage: &Passage, (before, reading): (&Passage, &Reading)) -> f32 {
        let is_none = passage.is_question || reading.found.is_empty();
        if is_none || same_speaker(&before.episode, &passage.episode) {
            return 0.0;
        }
        let questions: Vec<&Sentence> =
            before.sentences.iter().filter(|sentence| sentence.is_question).collect();
        self.covered_within(reading, &questions)
    }

    /// The part of the question that is in some sentences of a passage.
    fn covered_within(&self, reading: &Reading, sentences: &[&Sentence]) -> f32 {
        let mut has = vec![false; self.rarity.len()];
        for sentence in sentences {
            // They are in order, so that a document costs no more than it is long.
            let begin = reading.found.partition_point(|(at, _)| *at < sentence.stems.start);
            let within = reading.found[begin..].iter().take_while(|(at, _)| *at < sentence.stems.end);
            within.for_each(|(_, term)| has[*term] = true);
        }
        let terms = self.rarity.iter().zip(has).filter(|(_, has)| *has);
        terms.map(|(rarity, _)| rarity).sum::<f32>() / self.rarity_sum
    }

    /// The part of the question that is in any of them.
    fn covered(&self, readings: &[Reading]) -> f32 {
        let has = |term: usize| readings.iter().any(|reading| reading.counts[term] > 0.0);
        let terms = self.rarity.iter().enumerate().filter(|(term, _)| has(*term));
        terms.map(|(_, rarity)| rarity).sum::<f32>() / self.rarity_sum
    }

    /// The passage and what it borrows from, with what each of them counts.
    fn fields<'r>(&self, place: usize, readings: &'r [Reading]) -> Vec<(f32, &'r Reading)> {
        let own = &readings[place];
        let mut fields = vec![(1.0, own)];
        if own.length >= SELF_CONTAINED_TERMS {
            return fields;
        }
        let weights = self.weights;
        let borrowing = weights.borrow_terms / (weights.borrow_terms + own.length as f32);
        let mut borrow = |from: Option<usize>, weight: f32| {
            fields.extend(
                from.and_then(|from| readings.get(from)).map(|reading| (weight * borrowing, reading)),
            );
        };
        borrow(place.checked_sub(1), weights.before);
        borrow(Some(place + 1), weights.behind);
        borrow(place.checked_sub(2), weights.farther);
        borrow(Some(place + 2), weights.farther);
        fields
    }

    fn frequency(&self, reading: &Reading, term: usize) -> f32 {
        let stretched = 1.0 - self.weights.length + self.weights.length * reading.length as f32 / USUAL_TERMS;
        reading.counts[term] / stretched
    }

    fn saturated(&self, frequency: f32) -> f32 {
        frequency / (self.weights.saturation + frequency)
    }

    /// Whether the passage is by whom the question is about; `None` if it is about nobody or about several.
    fn speaks(&self, episode: &Episode) -> Option<bool> {
        match (&self.names[..], self.cues.speaker) {
            ([], None) => None,
            ([], Some(speaker)) => Some(episode.speaker == speaker),
            (_, _) if self.cues.are_together => None,
            // Of two it is the first who is asked about: `what did John tell Mary`.
            ([name, ..], _) => Some(episode.name.as_ref().is_some_and(|own| own.to_lowercase() == *name)),
        }
    }
}

fn same_speaker(one: &Episode, other: &Episode) -> bool {
    one.speaker == other.speaker && one.name == other.name
}

/// How much a term tells: what few passages have.
fn rarity(corpus: &Corpus, cues: &Cues, term: &String) -> f32 {
    let said = iter::once(term).chain(cues.substitutes(term));
    let having = said.map(|term| corpus.frequencies.get(term).copied().unwrap_or(0)).sum::<u64>() as f32;
    let all = corpus.episodes.max(1) as f32;
    (1.0 + (all - having + 0.5).max(0.5) / (having + 0.5)).ln()
}

/// Brings a feature of vectors to the scale of the others: how far a passage stands out among the candidates. What
/// has no vectors yet neither stands out nor back.
fn standardise(feature: usize, ranked: &mut [Ranked]) {
    let known = || ranked.iter().map(|one| one.features[feature]).filter(|value| !value.is_nan());
    let count = known().count().max(1) as f32;
    let mean = known().sum::<f32>() / count;
    let variance = known().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    let deviation = variance.sqrt().max(f32::EPSILON);
    for one in ranked {
        let value = one.features[feature];
        one.features[feature] = if value.is_nan() { 0.0 } else { (value - mean) / deviation };
    }
}

/// The names of everyone who said something, without repetitions.
#[must_use]
pub fn names_of<'a>(episodes: impl Iterator<Item = &'a Episode>) -> Vec<String> {
    let distinct: HashSet<&str> =
        episodes.filter(|one| one.speaker != Speaker::Tool).filter_map(|one| one.name.as_deref()).collect();
    let mut names: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    names
}
