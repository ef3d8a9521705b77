//! Text as terms: what two texts have to share to be about the same thing.
//!
//! One way for all languages, because a memory does not know which it will be asked in. Letters lose case and
//! accents, words of spaced scripts lose the commonest endings, and scripts without spaces are cut into pairs of
//! letters. It is meant to be too coarse rather than too fine: that `paint` and `painted` meet is worth more
//! than that `number` and `numb` are kept apart.

use unicode_normalization::UnicodeNormalization as _;
use unicode_script::{Script, UnicodeScript as _};

use crate::{irregular, stop};

/// Terms of one passage that are looked at; a passage of that many words is a document.
pub const TERMS_MAX: usize = 2_048;
/// Letters of a term that count; longer ones are no words.
const TERM_CHARS_MAX: usize = 40;
/// Letters that an ending leaves at least.
const STEM_CHARS_MIN: usize = 3;

/// A term and what it says about its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What is compared: lower case, without accents and endings.
    pub stem: String,
    /// Whether the word says nothing by itself, as articles and question words do.
    pub is_stop: bool,
    /// Whether it was written with a capital letter.
    pub is_capital: bool,
}

/// The stems of a text that are kept in an index, in order and with repetitions.
#[must_use]
pub fn stems(text: &str) -> Vec<String> {
    terms(text).into_iter().filter(|term| !term.is_stop).map(|term| term.stem).collect()
}

/// The same, each of them once, in the order of their first occurrence.
#[must_use]
pub fn distinct_stems(text: &str) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    stems(text).into_iter().filter(|stem| seen.insert(stem.clone())).collect()
}

/// The terms of a text in order, at most [`TERMS_MAX`].
#[must_use]
pub fn terms(text: &str) -> Vec<Term> {
    // ASCII folds to itself.
    if text.is_ascii() {
        return pieces(text).filter_map(word).take(TERMS_MAX).collect();
    }
    terms_of(text.nfkd().map(plain).filter(|c| !is_accent(*c)).nfc())
}

/// The text cut at every gap between words that is ASCII: the terms of a text are those of its pieces, one after the
/// other, because no letter folds across such a gap.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_ascii() && class_of(c) == Class::Gap).filter(|piece| !piece.is_empty())
}

fn terms_of(folded: impl Iterator<Item = char>) -> Vec<Term> {
    let mut found = Vec::new();
    let mut run = Run::default();
    for c in folded {
        let class = class_of(c);
        if class != run.class {
            run.take(&mut found);
            run.class = class;
        }
        if class != Class::Gap {
            run.text.push(c);
        }
        if found.len() >= TERMS_MAX {
            break;
        }
    }
    run.take(&mut found);
    found.truncate(TERMS_MAX);
    found
}

/// The one mark that is a letter when it is written large: `ᾳ` is `ΑΙ`.
fn plain(c: char) -> char {
    if c == '\u{345}' { 'ι' } else { c }
}

/// Accents of alphabets; the signs of other scripts are letters in all but name and stay.
fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Class {
    #[default]
    Gap,
    /// Letters and digits of scripts that put spaces between words, and apostrophes inside them.
    Spaced,
    /// Letters of scripts that do not.
    Unspaced,
}

fn class_of(c: char) -> Class {
    if c == '\'' || c == '’' {
        return Class::Spaced;
    }
    if c.is_ascii() {
        return if c.is_ascii_alphanumeric() { Class::Spaced } else { Class::Gap };
    }
    if !c.is_alphanumeric() && !unicode_normalization::char::is_combining_mark(c) {
        return Class::Gap;
    }
    let is_unspaced = matches!(
        c.script(),
        Script::Han
            | Script::Hiragana
            | Script::Katakana
            | Script::Thai
            | Script::Lao
            | Script::Khmer
            | Script::Myanmar
    );
    if is_unspaced || c == 'ー' { Class::Unspaced } else { Class::Spaced }
}

/// Letters of one class in a row.
#[derive(Default)]
struct Run {
    class: Class,
    text: String,
}

impl Run {
    fn take(&mut self, found: &mut Vec<Term>) {
        match self.class {
            Class::Gap => {}
            Class::Spaced => found.extend(word(&self.text)),
            Class::Unspaced => pairs(&self.text, found),
        }
        self.text.clear();
    }
}

fn word(written: &str) -> Option<Term> {
    let written = written.trim_matches(['\'', '’']);
    let is_capital = without_clitic(written).chars().next().is_some_and(char::is_uppercase);
    let lower = without_case(written);
    let lower = without_clitic(&lower);
    let lower = lower.char_indices().nth(TERM_CHARS_MAX).map_or(lower, |(end, _)| &lower[..end]);
    let term = || Term { is_stop: stop::is_word(lower), stem: stem(lower), is_capital };
    (!lower.is_empty()).then(term)
}

/// Small letters, the same ones however the word was written: `Straße` and `STRASSE` are `strasse`.
fn without_case(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    // Made large, `ß` is SS; `ẞ` has to be made small for that.
    word.to_lowercase().to_uppercase().to_lowercase()
}

/// `Caroline's` is Caroline, `l'école` is école: of two parts, the one that is longer.
fn without_clitic(word: &str) -> &str {
    let Some((head, tail)) = word.split_once(['\'', '’']) else { return word };
    let tail = tail.split(['\'', '’']).next().unwrap_or(tail);
    if tail.chars().count() > head.chars().count() { tail } else { head }
}

fn pairs(run: &str, found: &mut Vec<Term>) {
    let letters: Vec<char> = run.chars().collect();
    let term = |stem: String| Term { is_stop: stop::is_pair(&stem), stem, is_capital: false };
    match letters.len() {
        0 => {}
        1 => found.push(term(run.to_owned())),
        _ => found.extend(letters.windows(2).map(|pair| term(pair.iter().collect()))),
    }
}

/// A word without its commonest endings.
fn stem(word: &str) -> String {
    if !word.chars().all(char::is_alphabetic) {
        return word.to_owned();
    }
    if word.is_ascii() {
        return latin(irregular::lemma(word));
    }
    if word.chars().all(|c| c.script() == Script::Cyrillic) {
        return without_one_of(word, CYRILLIC_ENDINGS).to_owned();
    }
    word.to_owned()
}

/// Endings of inflection in Russian and its neighbours, longest first.
const CYRILLIC_ENDINGS: &[&str] = &[
    "иями", "ями", "ами", "иях", "ого", "его", "ому", "ему", "ыми", "ими", "ии", "ия", "ие", "ев", "ов",
    "ах", "ях", "ам", "ям", "ом", "ем", "ой", "ей", "ый", "ий", "ая", "яя", "ое", "ее", "ые", "ие", "ую",
    "юю", "ть", "ла", "ло", "ли", "ет", "ит", "а", "я", "о", "е", "ы", "и", "у", "ю", "ь",
];

/// Endings of plural, tense and case in the languages that are written with Latin letters, in one pass: first
/// the plural, then what is left of a verb, then the vowel that tells genders apart.
fn latin(word: &str) -> String {
    let mut stem = word.to_owned();
    if let Some(rest) = stem.strip_suffix("ies").filter(|rest| rest.len() >= 2) {
        stem = format!("{rest}y");
    } else if ["sses", "xes", "ches", "shes", "zes"].iter().any(|ending| stem.ends_with(ending)) {
        stem.truncate(stem.len() - 2);
    } else if stem.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| stem.ends_with(ending)) {
        cut(&mut stem, 1);
    }
    for ending in ["ing", "ed"] {
        let rest = stem.strip_suffix(ending);
        // `breed` and `agreed` end in `eed`.
        let is_ending = |rest: &&str| {
            rest.len() >= STEM_CHARS_MIN && has_vowel(rest) && !(ending == "ed" && rest.ends_with('e'))
        };
        if let Some(rest) = rest.filter(is_ending) {
            stem = undoubled(rest).to_owned();
            break;
        }
    }
    for ending in ["en", "ly"] {
        if stem.len() > STEM_CHARS_MIN + ending.len() && stem.ends_with(ending) {
            cut(&mut stem, ending.len());
            break;
        }
    }
    if stem.len() > STEM_CHARS_MIN && stem.ends_with(['e', 'a', 'o']) {
        cut(&mut stem, 1);
    }
    if stem.len() > STEM_CHARS_MIN && stem.ends_with('y') {
        stem.pop();
        stem.push('i');
    }
    stem
}

/// Takes letters off the end, if enough stay.
fn cut(stem: &mut String, letters: usize) {
    if stem.len() >= STEM_CHARS_MIN + letters {
        stem.truncate(stem.len() - letters);
    }
}

/// `runn` is run; `fall`, `miss` and `buzz` are what they are.
fn undoubled(stem: &str) -> &str {
    let mut last = stem.bytes().rev();
    match (last.next(), last.next()) {
        (Some(one), Some(two)) if one == two && !b"lsz".contains(&one) => &stem[..stem.len() - 1],
        (Some(_) | None, _) => stem,
    }
}

fn has_vowel(text: &str) -> bool {
    text.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

fn without_one_of<'a>(word: &'a str, endings: &[&str]) -> &'a str {
    let rest = endings.iter().find_map(|ending| word.strip_suffix(ending));
    rest.filter(|rest| rest.chars().count() >= STEM_CHARS_MIN).unwrap_or(word)
}
