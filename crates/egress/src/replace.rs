//! Replacing texts in bytes that arrive in pieces.
//!
//! It goes both ways: placeholders become values on the way out, values become placeholders on the way in. A
//! text that is cut by the end of a piece is found all the same: what could be its beginning waits for the
//! next piece, and nothing else does, so that a stream of events is not held up.

use std::collections::BTreeSet;

/// Replaces the first and longest of several texts, wherever it begins, and does not look at what it put in.
#[derive(Clone)]
pub struct Replacer {
    /// Longest first, so that a text that is the beginning of another does not hide it.
    pairs: Vec<Pair>,
    /// By first byte, whether any text begins so.
    begins: [bool; 256],
    held: Vec<u8>,
    /// What is before what is held, of a text that is under way.
    before: Before,
}

#[derive(Clone)]
struct Pair {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Whose it is, in the order given.
    index: usize,
    /// Whether it has to stand alone: it is too short to be looked for within words.
    is_word: bool,
}

/// What replacing made of a text, and the indices of what was found.
pub(crate) type Replaced = (Vec<u8>, BTreeSet<usize>);

impl Replacer {
    /// Replaces each `from` by its `to`. Empty ones are left out.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        Self::indexed(pairs.into_iter().enumerate().map(|(index, (from, to))| (from, to, index)))
    }

    /// The same, and replaces each of `words` where it stands alone: where no letter, digit or `_` is next to it, but
    /// for the letter of a `\n`, `\r` or `\t` that a JSON text has before it.
    #[must_use]
    pub fn with_words(
        pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        words: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Self {
        let pairs = pairs.into_iter().map(|(from, to)| Pair { from, to, index: 0, is_word: false });
        let words = words.into_iter().map(|(from, to)| Pair { from, to, index: 0, is_word: true });
        Self::of(pairs.chain(words))
    }

    /// As [`Replacer::new`], with an index of the caller's for each pair.
    pub(crate) fn indexed(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>, usize)>) -> Self {
        Self::of(pairs.into_iter().map(|(from, to, index)| Pair { from, to, index, is_word: false }))
    }

    fn of(pairs: impl Iterator<Item = Pair>) -> Self {
        let mut pairs: Vec<Pair> = pairs.filter(|pair| !pair.from.is_empty()).collect();
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.from.len()));
        let mut begins = [false; 256];
        for pair in &pairs {
            begins[usize::from(pair.from[0])] = true;
        }
        Self { pairs, begins, held: Vec::new(), before: Before::Apart }
    }

    /// Whether it has nothing to replace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether bytes of earlier pieces wait for more.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the next piece; gives what is certain by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let mut out = Vec::with_capacity(text.len());
        let until = self.run(&text, End::Open, &mut out, &mut BTreeSet::new());
        self.held = text.split_off(until);
        self.before = self.before.then(&text);
        out
    }

    /// Says that no more comes; gives what waited.
    pub fn finish(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.held);
        let out = self.whole(&text).map_or(text, |(out, _)| out);
        self.before = Before::Apart;
        out
    }

    /// Replaces in a text that is whole; nothing if nothing was found.
    pub(crate) fn whole(&self, text: &[u8]) -> Option<Replaced> {
        let mut out = Vec::with_capacity(text.len());
        let mut found = BTreeSet::new();
        self.run(text, End::Final, &mut out, &mut found);
        (!found.is_empty()).then_some((out, found))
    }

    /// Replaces up to the place from which more must be known, and gives it.
    fn run(&self, text: &[u8], end: End, out: &mut Vec<u8>, found: &mut BTreeSet<usize>) -> usize {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let skipped = rest.iter().take_while(|byte| !self.begins[usize::from(**byte)]).count();
            if skipped > 0 {
                out.extend_from_slice(&rest[..skipped]);
                at += skipped;
                continue;
            }
            match self.look(self.before.is_word_after(&text[..at]), rest, end) {
                Look::Found(pair) => {
                    out.extend_from_slice(&pair.to);
                    found.insert(pair.index);
                    at += pair.from.len();
                }
                Look::Unknown => return at,
                Look::Nothing => {
                    out.push(rest[0]);
                    at += 1;
                }
            }
        }
        at
    }

    fn look(&self, in_word: bool, rest: &[u8], end: End) -> Look<'_> {
        for pair in &self.pairs {
            if pair.is_word && in_word {
                continue;
            }
            if rest.starts_with(&pair.from) {
                match rest.get(pair.from.len()) {
                    Some(after) if pair.is_word && is_of_word(*after) => continue,
                    None if pair.is_word && end == End::Open => return Look::Unknown,
                    Some(_) | None => return Look::Found(pair),
                }
            }
            if end == End::Open && pair.from.starts_with(rest) {
                return Look::Unknown;
            }
        }
        Look::Nothing
    }
}

/// What a text ends with, as far as it matters to a word that follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that belongs to a word.
    Apart,
    /// A part of a word.
    Word,
    /// A backslash that makes an escape of a JSON text with the next character.
    Escape,
}

impl Before {
    /// The same once `text` has followed.
    fn then(self, text: &[u8]) -> Self {
        if self.escapes_after(text) {
            Self::Escape
        } else if self.is_word_after(text) {
            Self::Word
        } else {
            Self::Apart
        }
    }

    /// Whether what follows `text` belongs to a word with it. Line breaks and tabs do not, as JSON writes them either.
    fn is_word_after(self, text: &[u8]) -> bool {
        let Some((last, rest)) = text.split_last() else { return self == Self::Word };
        let is_space = matches!(last, b'n' | b'r' | b't') && self.escapes_after(rest);
        is_of_word(*last) && !is_space
    }

    /// Whether the character after `text` is escaped: of two backslashes the first escapes the second.
    fn escapes_after(self, text: &[u8]) -> bool {
        let run = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        let carried = run == text.len() && self == Self::Escape;
        (run % 2 == 1) != carried
    }
}

/// Whether a byte makes what is next to it part of a longer word. Every byte of a character beyond ASCII does.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Whether more may follow a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Final,
}

enum Look<'a> {
    Found(&'a Pair),
    Unknown,
    Nothing,
}

impl std::fmt::Debug for Replacer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Replacer").field("pairs", &self.pairs.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replacer(pairs: &[(&str, &str)]) -> Replacer {
        Replacer::new(pairs.iter().map(|(from, to)| (from.as_bytes().to_vec(), to.as_bytes().to_vec())))
    }

    /// The pieces that come out, with `|` between and before what the end released.
    fn stream(pairs: &[(&str, &str)], pieces: &[&str]) -> String {
        let mut replacer = replacer(pairs);
        let mut out: Vec<_> = pieces.iter().map(|piece| replacer.push(piece.as_bytes())).collect();
        out.push(replacer.finish());
        let texts: Vec<_> = out.into_iter().map(|bytes| String::from_utf8(bytes).expect("text")).collect();
        texts.join("|")
    }

    #[test]
    fn finds_what_is_cut() {
        let one = &[("secret", "X")][..];
        for (pairs, pieces, expected) in [
            (one, vec!["a secret b"], "a X b|"),
            (one, vec!["a sec", "ret b"], "a |X b|"),
            (one, vec!["s", "e", "c", "r", "e", "t"], "|||||X|"),
            (one, vec!["sec", "sec", "ret"], "|sec|X|"),
            (one, vec!["a sec"], "a |sec"),
            (one, vec!["secretsecret"], "XX|"),
            (one, vec!["data: 1\n\n", "data: 2\n\n"], "data: 1\n\n|data: 2\n\n|"),
            (&[("abc", "1"), ("abcdef", "2")], vec!["abc", "def abc"], "|2 |1"),
            (&[("abc", "1"), ("abcdef", "2")], vec!["abcde", "x"], "|1dex|"),
            (&[("aab", "X")], vec!["aaa", "b"], "a|X|"),
            (&[("a", "aa")], vec!["aa"], "aaaa|"),
            (&[("", "x")], vec!["a"], "a|"),
        ] {
            assert_eq!(stream(pairs, &pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_word_is_found_where_it_stands_alone() {
        for (pieces, expected) in [
            (vec!["1234"], "X"),
            (vec!["pin=1234, \"1234\""], "pin=X, \"X\""),
            (vec!["12345 x1234 1234_ ä1234 1234ä"], "12345 x1234 1234_ ä1234 1234ä"),
            (vec!["is 12", "34", "."], "is X."),
            (vec!["is 12", "34", "5."], "is 12345."),
            (vec!["a", "1234 "], "a1234 "),
            (vec!["a ", "1234"], "a X"),
            (vec!["1234", "1234"], "12341234"),
            (vec![r"\n1234\t1234\r1234\n"], r"\nX\tX\rX\n"),
            (vec![r"\1234 \b1234 n1234"], r"\X \b1234 n1234"),
            (vec![r"\\n1234 \\\n1234"], r"\\n1234 \\\nX"),
            (vec!["\\", "n", "12", "34"], r"\nX"),
            (vec![r"\\", r"\n1234 "], r"\\\nX "),
            (vec!["\\", r"\n1234 "], r"\\n1234 "),
            (vec!["\\", "\\", "\\", "n1234"], r"\\\nX"),
        ] {
            let words = [(b"1234".to_vec(), b"X".to_vec())];
            let mut replacer = Replacer::with_words([], words);
            let mut out: Vec<u8> = pieces.iter().flat_map(|piece| replacer.push(piece.as_bytes())).collect();
            out.extend(replacer.finish());
            assert_eq!(String::from_utf8(out).expect("text"), expected, "{pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference(
            text in "[ab]{0,60}", cuts in prop::collection::vec(0usize..60, 0..8),
            texts in prop::collection::vec("[ab]{1,6}", 1..4),
        ) {
            let pairs: Vec<_> = texts.iter().map(|from| (from.as_str(), "-")).collect();
            let whole = replacer(&pairs).whole(text.as_bytes()).map_or(text.clone().into_bytes(), |(out, _)| out);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(stream(&pairs, &pieces).replace('|', ""), String::from_utf8(whole).expect("text"));
        }
    }
}
