//! The words of what is read for a question: each is taken apart once, and each stem has a number.
//!
//! A recall reads some thousand passages, and most of their words again and again. What a question makes of a stem is
//! then asked once for each stem, and not for each time that it was said.

use std::collections::HashMap;

use indexmap::IndexSet;

use crate::text::{self, Term};
use crate::words;

/// Bytes of a piece of text that is kept with its terms; longer ones hardly come twice.
const KEPT_BYTES_MAX: usize = 40;
/// Pieces that are kept; what comes after them is taken apart each time. With their terms at most some twenty
/// megabytes.
const KEPT_MAX: usize = 50_000;

/// The number of a stem, in one lexicon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StemId(usize);

impl StemId {
    /// Where what is known of it stands, among all stems of its lexicon.
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// A term of a text, as a lexicon knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    /// Nothing for a word that says nothing by itself.
    pub(crate) stem: Option<StemId>,
    pub(crate) is_number: bool,
}

/// The stems that were read, in the order of their numbers: as many as the texts have that a question brings, whose
/// number and length the store limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lexicon {
    stems: IndexSet<String>,
    /// The terms of pieces of text, as they were written.
    pieces: HashMap<String, Vec<Word>>,
}

impl Lexicon {
    /// The terms of a text in order, at most `limit`; of the others nothing is kept.
    pub(crate) fn terms(&mut self, text: &str, limit: usize) -> Vec<Word> {
        let mut terms: Vec<Word> = Vec::new();
        for piece in text::pieces(text) {
            let left = limit - terms.len();
            if left == 0 {
                break;
            }
            if let Some(words) = self.pieces.get(piece) {
                terms.extend(words.iter().take(left));
                continue;
            }
            let found = text::terms(piece);
            let is_whole = found.len() <= left;
            let words: Vec<Word> = found.into_iter().take(left).map(|term| self.word(term)).collect();
            terms.extend(&words);
            if is_whole && piece.len() <= KEPT_BYTES_MAX && self.pieces.len() < KEPT_MAX {
                self.pieces.insert(piece.to_owned(), words);
            }
        }
        terms
    }

    /// The stem's number, if it was read.
    pub(crate) fn find(&self, stem: &str) -> Option<StemId> {
        self.stems.get_index_of(stem).map(StemId)
    }

    /// Every stem, in the order of their numbers.
    pub(crate) fn stems(&self) -> &IndexSet<String> {
        &self.stems
    }

    fn word(&mut self, term: Term) -> Word {
        let is_number = term.stem.bytes().any(|byte| byte.is_ascii_digit()) || words::is_number(&term.stem);
        Word { stem: (!term.is_stop).then(|| StemId(self.stems.insert_full(term.stem).0)), is_number }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Letters, marks and signs of many scripts, and what ASCII has between words.
        #[test]
        fn terms_are_those_of_the_text(text in "([a-zA-Z0-9' .,=<>\\-éßẞ½Ａﬁ’…—\u{300}-\u{345}彗星ไทยのー]|\\PC){0,40}") {
            let mut lexicon = Lexicon::default();
            for _ in 0..2 {
                let terms = lexicon.terms(&text, text::TERMS_MAX);
                let stems = terms.iter().filter_map(|term| term.stem);
                let stems: Vec<String> = stems.map(|stem| lexicon.stems()[stem.index()].clone()).collect();
                prop_assert_eq!(stems, text::stems(&text));
                prop_assert_eq!(terms.len(), text::terms(&text).len());
                prop_assert_eq!(&terms[..terms.len().min(3)], &lexicon.terms(&text, 3)[..]);
            }
        }
    }
}
