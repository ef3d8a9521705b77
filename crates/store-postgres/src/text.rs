//! Text in which every character can be stored.
//!
//! PostgreSQL's text holds every character but U+0000. JSON needs nothing, because it writes control
//! characters as escapes. Names, keys and ids of documents are stored with U+0000 as the two characters
//! U+0001 U+0001 and U+0001 as U+0001 U+0002: ordinary text stays as it is, different texts stay different,
//! and they sort as they did.

use std::borrow::Cow;

const ESCAPE: char = '\u{1}';
const NUL: char = '\u{1}';
const SELF: char = '\u{2}';

/// `text` as it is stored.
pub(crate) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, NUL]),
            ESCAPE => escaped.extend([ESCAPE, SELF]),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The text that was stored as `stored`, or `None` if nothing is stored like that.
pub(crate) fn original(stored: String) -> Option<String> {
    if !stored.contains(ESCAPE) {
        return Some(stored);
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => match characters.next()? {
                NUL => text.push('\0'),
                SELF => text.push(ESCAPE),
                _ => return None,
            },
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_keeps_its_place() {
        let mut texts = vec![
            "",
            "a",
            "a\0",
            "a\0\0",
            "a\0b",
            "a\u{1}",
            "a\u{1}\u{1}",
            "a\u{1}\u{2}",
            "a\u{2}",
            "ab",
            "é\0",
            "\0",
            "\u{1}",
            "\u{2}",
            "\u{10ffff}",
        ];
        texts.sort_unstable();
        let escaped: Vec<_> = texts.iter().map(|text| stored(text).into_owned()).collect();
        assert!(escaped.is_sorted(), "{escaped:?}");
        for (text, escaped) in texts.iter().zip(escaped) {
            assert!(!escaped.contains('\0'));
            assert_eq!(original(escaped).as_deref(), Some(*text));
        }
        assert_eq!(original("\u{1}".into()), None);
        assert_eq!(original("\u{1}x".into()), None);
    }
}
