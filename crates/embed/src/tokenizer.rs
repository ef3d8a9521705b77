//! WordPiece as BERT models use it: a text is cleaned, parted at spaces and punctuation, and each word is covered by
//! the longest pieces of the vocabulary, from its beginning.
//!
//! Special tokens are never read from a text: `[SEP]` in it is five pieces of text and ends nothing.

use std::collections::HashMap;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

use crate::error::Flaw;
use crate::unicode::{is_control, is_ideograph, is_nonspacing_mark, is_punctuation};

/// Letters of a word; a longer one is unknown as a whole, as where these models are trained.
const WORD_CHARS_MAX: usize = 100;
/// Pieces of a vocabulary.
const PIECES_MAX: usize = 1 << 20;
/// What a piece within a word begins with in the vocabulary.
const WITHIN: &str = "##";

/// A vocabulary and how texts are prepared for it.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Pieces that begin a word.
    beginnings: HashMap<Box<str>, u32>,
    /// Pieces within a word, without what marks them.
    insides: HashMap<Box<str>, u32>,
    /// Letters of the longest piece.
    piece_chars_max: usize,
    casing: Casing,
    unknown: u32,
    first: u32,
    last: u32,
}

/// Whether capital letters and accents count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Casing {
    /// They do.
    Cased,
    /// They do not.
    Uncased,
}

#[derive(Deserialize)]
struct File {
    model: Pieces,
    #[serde(default)]
    normalizer: Option<Normalizer>,
    #[serde(default)]
    pre_tokenizer: Option<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Pieces {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    vocab: HashMap<Box<str>, u32>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "yes")]
    lowercase: bool,
    /// As `lowercase` where nothing is said.
    #[serde(default)]
    strip_accents: Option<bool>,
    #[serde(default = "yes")]
    clean_text: bool,
    #[serde(default = "yes")]
    handle_chinese_chars: bool,
}

fn yes() -> bool {
    true
}

impl Tokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        Self::read_json(bytes).map_err(|flaw| flaw.to_string())
    }

    /// Reads `vocab.txt`: one piece a line, whose number is that of its line, from 0.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_vocabulary(bytes: &[u8], casing: Casing) -> Result<Self, String> {
        Self::read_vocabulary(bytes, casing).map_err(|flaw| flaw.to_string())
    }

    pub(crate) fn read_json(bytes: &[u8]) -> Result<Self, Flaw> {
        let File { model, normalizer, pre_tokenizer } =
            serde_json::from_slice(bytes).map_err(|error| Flaw::malformed(error.to_string()))?;
        if model.kind.as_deref().is_some_and(|kind| kind != "WordPiece") {
            return Err(Flaw::unsupported("`model.type` is not `WordPiece`"));
        }
        if model.continuing_subword_prefix.is_some_and(|prefix| prefix != WITHIN) {
            return Err(Flaw::unsupported(format!("`model.continuing_subword_prefix` is not `{WITHIN}`")));
        }
        if pre_tokenizer.is_some_and(|step| step.kind != "BertPreTokenizer") {
            return Err(Flaw::unsupported("`pre_tokenizer.type` is not `BertPreTokenizer`"));
        }
        let casing = normalizer.map_or(Ok(Casing::Cased), |normalizer| normalizer.casing())?;
        Self::of(model.vocab, casing, model.unk_token.as_deref().unwrap_or("[UNK]"))
    }

    pub(crate) fn read_vocabulary(bytes: &[u8], casing: Casing) -> Result<Self, Flaw> {
        let text = std::str::from_utf8(bytes).map_err(|error| Flaw::malformed(error.to_string()))?;
        let pieces: HashMap<Box<str>, u32> =
            (0..).zip(text.lines()).map(|(number, piece)| (piece.into(), number)).collect();
        Self::of(pieces, casing, "[UNK]")
    }

    fn of(pieces: HashMap<Box<str>, u32>, casing: Casing, unknown: &str) -> Result<Self, Flaw> {
        if pieces.len() > PIECES_MAX {
            return Err(Flaw::unsupported(format!("the vocabulary has more than {PIECES_MAX} pieces")));
        }
        let special = |name: &str| {
            let missing = || Flaw::malformed(format!("the vocabulary has no `{name}`"));
            pieces.get(name).copied().ok_or_else(missing)
        };
        let (unknown, first, last) = (special(unknown)?, special("[CLS]")?, special("[SEP]")?);
        let piece_chars_max = pieces.keys().map(|piece| piece.chars().count()).max().unwrap_or_default();
        let (mut beginnings, mut insides) = (HashMap::with_capacity(pieces.len()), HashMap::new());
        for (piece, number) in pieces {
            match piece.strip_prefix(WITHIN) {
                Some(inside) if !inside.is_empty() => insides.insert(inside.into(), number),
                Some(_) | None => beginnings.insert(piece, number),
            };
        }
        Ok(Self { beginnings, insides, piece_chars_max, casing, unknown, first, last })
    }

    /// One more than the largest number of a piece.
    pub(crate) fn pieces(&self) -> usize {
        let numbers = self.beginnings.values().chain(self.insides.values());
        numbers.max().map_or(0, |number| *number as usize + 1)
    }

    /// The numbers of a text's pieces, at most `tokens_max`, between those that begin and end every text.
    #[must_use]
    pub fn encode(&self, text: &str, tokens_max: usize) -> Vec<u32> {
        let room = tokens_max.saturating_sub(1).max(1);
        let mut tokens = vec![self.first];
        let mut word = String::new();
        for c in self.prepared(text) {
            if c == ' ' || is_punctuation(c) || is_ideograph(c) {
                self.word(&word, &mut tokens);
                word.clear();
                if c != ' ' {
                    self.word(c.encode_utf8(&mut [0; 4]), &mut tokens);
                }
            } else {
                word.push(c);
            }
            if tokens.len() >= room {
                break;
            }
        }
        self.word(&word, &mut tokens);
        tokens.truncate(room);
        tokens.push(self.last);
        tokens
    }

    /// The letters of a text as the vocabulary knows them; white space of any kind is a space.
    fn prepared<'t>(&self, text: &'t str) -> Box<dyn Iterator<Item = char> + 't> {
        let is_kept = |c: &char| *c != '\0' && *c != char::REPLACEMENT_CHARACTER && !is_control(*c);
        let clean = text.chars().filter(is_kept).map(|c| if c.is_whitespace() { ' ' } else { c });
        match self.casing {
            Casing::Cased => Box::new(clean),
            Casing::Uncased => {
                Box::new(clean.nfd().filter(|c| !is_nonspacing_mark(*c)).flat_map(char::to_lowercase))
            }
        }
    }

    fn word(&self, word: &str, tokens: &mut Vec<u32>) {
        if word.is_empty() {
            return;
        }
        let before = tokens.len();
        if word.chars().count() > WORD_CHARS_MAX || !self.cover(word, tokens) {
            tokens.truncate(before);
            tokens.push(self.unknown);
        }
    }

    /// Covers a word with pieces; whether that was possible to its end.
    fn cover(&self, word: &str, tokens: &mut Vec<u32>) -> bool {
        let mut rest = word;
        let mut pieces = &self.beginnings;
        while !rest.is_empty() {
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).take(self.piece_chars_max);
            let ends: Vec<usize> = ends.collect();
            let longest = ends.iter().rev().find_map(|end| Some((*end, *pieces.get(&rest[..*end])?)));
            let Some((end, piece)) = longest else { return false };
            tokens.push(piece);
            rest = &rest[end..];
            pieces = &self.insides;
        }
        true
    }
}

impl Normalizer {
    fn casing(&self) -> Result<Casing, Flaw> {
        if self.kind != "BertNormalizer" {
            return Err(Flaw::unsupported("`normalizer.type` is not `BertNormalizer`"));
        }
        if !self.clean_text || !self.handle_chinese_chars {
            let what = "`normalizer.clean_text` and `normalizer.handle_chinese_chars` must be true";
            return Err(Flaw::unsupported(what));
        }
        match (self.lowercase, self.strip_accents.unwrap_or(self.lowercase)) {
            (true, true) => Ok(Casing::Uncased),
            (false, false) => Ok(Casing::Cased),
            (true, false) | (false, true) => {
                Err(Flaw::unsupported("`normalizer.lowercase` and `normalizer.strip_accents` must agree"))
            }
        }
    }
}
