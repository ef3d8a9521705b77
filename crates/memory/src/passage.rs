//! Episodes in the order in which they were said, as the ranker reads them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use tenure_journal::{Episode, ItemId, Labels, SessionId, Speaker};

use crate::fact::{self, KnownFact};
use crate::kinds::says;
use crate::text::{self, Term};
use crate::{meaning, time, words};

/// Words from which on a passage is a document that speaks for itself and borrows nothing from its neighbours.
pub(crate) const SELF_CONTAINED_TERMS: usize = 200;

/// Neighbouring passages of one session in their order, without a gap between them.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    /// The passages.
    pub passages: Vec<Passage>,
}

/// An episode that was read once, for any number of questions.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The episode. A fact is ranked as if its text were said when it began to be true.
    pub episode: Episode,
    /// The fact that it is, if it is one.
    pub fact: Option<Arc<KnownFact>>,
    /// Its terms that are no stop words, in order.
    pub(crate) stems: Vec<String>,
    /// Its sentences, once they were asked for.
    sentences: OnceLock<Vec<Sentence>>,
    /// Whether it says a time, once that was asked.
    says_when: OnceLock<bool>,
    /// Whether it has a number in it.
    pub(crate) has_number: bool,
    /// Whether it asks something.
    pub(crate) is_question: bool,
    /// Its words that are written with a capital letter and do not begin a sentence, as terms, once they were asked
    /// for.
    capitals: OnceLock<Vec<String>>,
}

/// A sentence of a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentence {
    /// Which of the passage's stems it has.
    pub(crate) stems: Range<usize>,
    /// Whether it asks something.
    pub(crate) is_question: bool,
}

impl From<Episode> for Passage {
    fn from(episode: Episode) -> Self {
        let terms = text::terms(&episode.text);
        let has_number = terms.iter().any(is_number);
        let is_question = asks(&episode.text);
        let stems = terms.into_iter().filter(|term| !term.is_stop).map(|term| term.stem).collect();
        Self {
            episode,
            fact: None,
            stems,
            sentences: OnceLock::new(),
            says_when: OnceLock::new(),
            has_number,
            is_question,
            capitals: OnceLock::new(),
        }
    }
}

impl From<KnownFact> for Passage {
    fn from(known: KnownFact) -> Self {
        let fact = &known.fact;
        let episode = Episode {
            session: SessionId::none(),
            item: ItemId::none(),
            ordinal: 0,
            at: fact.valid_from.unwrap_or(fact.learned_at),
            speaker: Speaker::User,
            name: None,
            text: fact::shown(fact),
            labels: Labels::clone(&fact.labels),
        };
        Self { fact: Some(Arc::new(known)), ..Self::from(episode) }
    }
}

fn asks(text: &str) -> bool {
    text.trim_end().ends_with(['?', '？'])
}

/// Capital words of a passage that are looked at.
const CAPITALS_MAX: usize = 16;

fn capitals(text: &str) -> Vec<String> {
    let sentences = text.split(['.', '!', '?', '\n', '"', '“', '”', '。', '！', '？']);
    let words = sentences.flat_map(|sentence| sentence.split_whitespace().skip(1));
    let words = words.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    // `I` is none.
    let names = words.filter(|word| {
        word.starts_with(char::is_uppercase) && word.chars().nth(1).is_some_and(char::is_alphanumeric)
    });
    names.take(CAPITALS_MAX).flat_map(text::stems).collect()
}

fn is_number(term: &Term) -> bool {
    term.stem.bytes().any(|byte| byte.is_ascii_digit())
        || words::of(words::NUMBERS, &term.stem).is_some_and(|number| *number > 1)
}

/// What the ranker knows of one passage for one question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// How often each term of the question occurs, by its place there; terms of the same root count in part.
    pub(crate) counts: Vec<f32>,
    /// Where terms of the question stand in it: the place of the stem, and the term's in the question.
    pub(crate) found: Vec<(usize, usize)>,
    /// How many terms that are no stop words it has.
    pub(crate) length: usize,
    /// Pairs of neighbouring terms of the question that stand together here as well.
    pub(crate) together: u16,
    /// Whether it names one of the speakers that the question names.
    pub(crate) names_speaker: bool,
    /// Whether it says something of a kind that the question asks for.
    pub(crate) is_of_kind: bool,
}

/// Where each term of a question stands in it.
pub(crate) type Places<'a> = HashMap<&'a str, usize>;

impl Passage {
    /// Its sentences. To cut them takes as long as everything else that is read of a passage, and without a model nobody
    /// asks for them.
    pub(crate) fn sentences(&self) -> &[Sentence] {
        self.sentences.get_or_init(|| {
            let mut end = 0;
            let sentence = |text: &str| {
                let begin = end;
                let stems = text::terms(text).iter().filter(|term| !term.is_stop).count();
                // Of a text that is too long, the last terms are left out.
                end = (begin + stems).min(self.stems.len());
                Sentence { stems: begin..end, is_question: asks(text) }
            };
            meaning::sentences_of(&self.episode.text).map(sentence).collect()
        })
    }

    /// Whether it says a time. Asked of few, because reading that takes as long as everything else.
    pub(crate) fn says_when(&self) -> bool {
        *self.says_when.get_or_init(|| {
            self.stems.len() < SELF_CONTAINED_TERMS && time::mentions(&self.episode.text, self.episode.at)
        })
    }

    /// Its words that are written with a capital letter and do not begin a sentence, as terms.
    pub(crate) fn capitals(&self) -> &[String] {
        self.capitals.get_or_init(|| capitals(&self.episode.text))
    }

    pub(crate) fn read(&self, places: &Places<'_>, names: &[String], kinds: &[usize]) -> Reading {
        let mut reading =
            Reading { counts: vec![0.0; places.len()], length: self.stems.len(), ..Reading::default() };
        let mut last = None;
        for (at, stem) in self.stems.iter().enumerate() {
            let place = places.get(stem.as_str()).copied();
            if let Some(place) = place {
                reading.counts[place] += 1.0;
                reading.found.push((at, place));
                reading.together += u16::from(last.is_some_and(|last| last + 1 == place));
            }
            last = place;
            if place.is_none() {
                let akin = places.iter().filter(|(term, _)| are_akin(term, stem));
                akin.for_each(|(_, place)| reading.counts[*place] += AKIN);
            }
            reading.names_speaker |= names.contains(stem);
            reading.is_of_kind |= says(kinds, stem);
        }
        reading
    }
}

/// What a term of the same root counts.
const AKIN: f32 = 0.25;
/// Letters, in bytes, that terms of one root begin with at least, and that each may end with on its own.
const ROOT_BYTES_MIN: usize = 5;
const ENDING_BYTES_MAX: usize = 4;

/// Whether two terms are likely of one root: `recommend` and `recommendation`.
fn are_akin(one: &str, other: &str) -> bool {
    // Asked of every word, and of hardly any so.
    let root = one.as_bytes().get(..ROOT_BYTES_MIN);
    if root.is_none_or(|root| !other.as_bytes().starts_with(root)) {
        return false;
    }
    let shared = one.bytes().zip(other.bytes()).take_while(|(here, there)| here == there).count();
    let ends = |term: &str| term.len() - shared <= ENDING_BYTES_MAX;
    ends(one) && ends(other)
}
