//! Episodes in the order in which they were said, as the ranker reads them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use tenure_journal::{Episode, ItemId, Labels, SessionId, Speaker};
use tenure_vector::Likeness;

use crate::fact::{self, KnownFact};
use crate::lexicon::{Lexicon, StemId};
use crate::rank::Ranked;
use crate::{meaning, text, time};

/// Words from which on a passage is a document that speaks for itself and borrows nothing from its neighbours.
pub(crate) const SELF_CONTAINED_TERMS: usize = 200;

/// What was read, and may answer a question: episodes with what was said around them, and facts.
#[derive(Debug, Clone, Default)]
pub struct Passages {
    pub(crate) lexicon: Lexicon,
    pub(crate) stretches: Vec<Stretch>,
    /// What was read before it was known where it stands, by its item.
    pub(crate) ahead: HashMap<ItemId, Passage>,
}

impl Passages {
    /// Reads episodes of which some will be added, while whoever brings the others is still looking for them.
    pub fn read_ahead(&mut self, episodes: impl IntoIterator<Item = Episode>) {
        for episode in episodes {
            self.ahead.insert(episode.item, Passage::read(episode, &mut self.lexicon));
        }
    }

    /// Reads neighbouring episodes of one session in their order, without a gap between them, each with how alike it
    /// and the question are by their vectors, where they were compared.
    pub fn add(&mut self, run: impl IntoIterator<Item = (Episode, Option<Likeness>)>) {
        let read = |(episode, likeness): (Episode, Option<Likeness>)| {
            let ahead = self.ahead.remove(&episode.item).filter(|ahead| ahead.episode == episode);
            let passage = ahead.unwrap_or_else(|| Passage::read(episode, &mut self.lexicon));
            Passage { likeness, ..passage }
        };
        let passages = run.into_iter().map(read).collect();
        self.stretches.push(Stretch { passages });
    }

    /// Reads a fact, which stands alone. It is ranked as if its text were said when it began to be true.
    pub fn add_fact(&mut self, known: KnownFact) {
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
        let passage = Passage::read(episode, &mut self.lexicon);
        let passage = Passage { fact: Some(Arc::new(known)), ..passage };
        self.stretches.push(Stretch { passages: vec![passage] });
    }

    /// Whether any was compared with the question by its vectors.
    pub(crate) fn are_compared(&self) -> bool {
        self.stretches.iter().flat_map(|stretch| &stretch.passages).any(|one| one.likeness.is_some())
    }

    pub(crate) fn of(&self, one: &Ranked) -> &Passage {
        &self.stretches[one.stretch].passages[one.place]
    }
}

/// Neighbouring passages of one session in their order, without a gap between them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stretch {
    pub(crate) passages: Vec<Passage>,
}

/// An episode that was read once; but for how alike it is, for any number of questions.
#[derive(Debug, Clone)]
pub(crate) struct Passage {
    pub(crate) episode: Episode,
    /// The fact that it is, if it is one.
    pub(crate) fact: Option<Arc<KnownFact>>,
    /// How alike it and the question are by their vectors, where they were compared.
    pub(crate) likeness: Option<Likeness>,
    /// Its terms that are no stop words, in order.
    pub(crate) stems: Vec<StemId>,
    pub(crate) sentences: Vec<Sentence>,
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

/// What the ranker knows of one passage for one question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// How often each term of the question occurs, by its place there; what is akin to one counts in part.
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

impl Reading {
    /// The same without some terms of the question.
    pub(crate) fn forget(&mut self, terms: &[usize]) {
        terms.iter().for_each(|term| self.counts[*term] = 0.0);
        self.found.retain(|(_, term)| !terms.contains(term));
    }
}

/// What a stem is to a question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meant {
    /// Its place in the question, if it is a term of it.
    pub(crate) place: Option<usize>,
    /// The places of terms of the same root, and of those that it may stand for, where it is none itself.
    pub(crate) akin: Vec<usize>,
    /// Whether it is of the name of a speaker that the question names.
    pub(crate) is_name: bool,
    /// Whether it is of a kind that the question asks for.
    pub(crate) is_of_kind: bool,
}

impl Passage {
    pub(crate) fn read(episode: Episode, lexicon: &mut Lexicon) -> Self {
        let (mut stems, mut sentences) = (Vec::new(), Vec::new());
        let (mut left, mut has_number) = (text::TERMS_MAX, false);
        // Sentence by sentence, so that nothing is read twice; no term goes on behind the end of one.
        for sentence in meaning::sentences_of(&episode.text) {
            let terms = lexicon.terms(sentence, left);
            left -= terms.len();
            has_number |= terms.iter().any(|term| term.is_number);
            let begin = stems.len();
            stems.extend(terms.into_iter().filter_map(|term| term.stem));
            sentences.push(Sentence { stems: begin..stems.len(), is_question: asks(sentence) });
        }
        let is_question = asks(&episode.text);
        Self {
            episode,
            fact: None,
            likeness: None,
            stems,
            sentences,
            says_when: OnceLock::new(),
            has_number,
            is_question,
            capitals: OnceLock::new(),
        }
    }

    /// Its stems, each once, in the order of their numbers.
    pub(crate) fn distinct(&self) -> Vec<StemId> {
        let mut distinct = self.stems.clone();
        distinct.sort_unstable();
        distinct.dedup();
        distinct
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

    /// What it says of a question with so many terms, to which each stem is what `meant` says.
    pub(crate) fn reading(&self, terms: usize, meant: &[Meant]) -> Reading {
        let mut reading =
            Reading { counts: vec![0.0; terms], length: self.stems.len(), ..Reading::default() };
        let mut last = None;
        for (at, stem) in self.stems.iter().enumerate() {
            let meant = &meant[stem.index()];
            if let Some(place) = meant.place {
                reading.counts[place] += 1.0;
                reading.found.push((at, place));
                reading.together += u16::from(last.is_some_and(|last| last + 1 == place));
            }
            last = meant.place;
            meant.akin.iter().for_each(|place| reading.counts[*place] += AKIN);
            reading.names_speaker |= meant.is_name;
            reading.is_of_kind |= meant.is_of_kind;
        }
        reading
    }
}

/// What a term of the same root counts, and one that may stand for it.
const AKIN: f32 = 0.25;

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    fn said(text: &str) -> Episode {
        Episode {
            session: SessionId::none(),
            item: ItemId::none(),
            ordinal: 0,
            at: Timestamp::EPOCH,
            speaker: Speaker::User,
            name: None,
            text: text.to_owned(),
            labels: Labels::NEUTRAL,
        }
    }

    #[test]
    fn what_was_read_ahead_is_added_as_it_is_then() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let own = |text: &str| Episode { item: ItemId::fresh(&fresh), ..said(text) };
        let told = [own("We saw the comet."), own("The moon rose."), own("And the sun set.")];
        let before = Episode { text: "Nobody knows.".to_owned(), ..told[1].clone() };
        let mut passages = Passages::default();
        passages.read_ahead([own("A star that is gone."), told[0].clone(), before]);
        passages.add(told.iter().map(|episode| (episode.clone(), None)));
        let Passages { lexicon, stretches, .. } = passages;
        for (passage, episode) in stretches[0].passages.iter().zip(&told) {
            assert_eq!(passage.episode, *episode);
            let stems: Vec<&String> =
                passage.stems.iter().map(|stem| &lexicon.stems()[stem.index()]).collect();
            assert_eq!(stems, text::stems(&episode.text).iter().collect::<Vec<_>>());
        }
        assert_eq!(stretches[0].passages.len(), told.len());
    }

    #[test]
    fn sentence_by_sentence_the_terms_are_those_of_the_text() {
        for (text, sentences) in [
            ("", 0),
            ("One. Two!  Three?\nFour", 4),
            ("v1.2 costs $3.50, e.g. today", 2),
            ("Straße. Größe?! Ａ", 3),
            ("我们看见了彗星。你看见彗星了吗？", 2),
            ("...\n\n…", 3),
        ] {
            let mut lexicon = Lexicon::default();
            // What was read before is read in the same way.
            for _ in 0..2 {
                let passage = Passage::read(said(text), &mut lexicon);
                let stems: Vec<&String> =
                    passage.stems.iter().map(|stem| &lexicon.stems()[stem.index()]).collect();
                assert_eq!(stems, text::stems(text).iter().collect::<Vec<_>>(), "{text}");
                assert_eq!(passage.sentences.len(), sentences, "{text}");
            }
        }
    }

    #[test]
    fn of_a_document_no_more_is_read_than_counts() {
        let words: Vec<String> = (0..3_000).map(|number| format!("word{number}.")).collect();
        let mut lexicon = Lexicon::default();
        let passage = Passage::read(said(&words.join(" ")), &mut lexicon);
        assert_eq!((passage.stems.len(), lexicon.stems().len()), (text::TERMS_MAX, text::TERMS_MAX));
        assert_eq!(passage.sentences.len(), 3_000);
    }
}
