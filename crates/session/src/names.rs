//! Names in a text: the ids, paths, addresses and numbers that something else is found by. A summary that forgets
//! one of them makes work impossible to go on with, so they are checked without a model.
//!
//! What is found is meant to be a little too much: a word in a list costs a few tokens.

use std::collections::BTreeSet;

use tenure_journal::limit;

/// The shortest word that is taken for an id: `A7` is not.
const BYTES_MIN: usize = 4;
/// Bytes of a text that are looked through for names: what is longer is data, and its names are no help.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Characters of a file's extension.
const EXTENSION_MAX: usize = 5;

/// The names in a text, in the order of their first occurrence, each once.
pub(crate) fn of(text: &str) -> impl Iterator<Item = &str> {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX.min(text.len()))];
    let mut seen = BTreeSet::new();
    words(text).filter(|word| is_name(word)).filter(move |word| seen.insert(*word))
}

/// Words as they stand between blanks, quotes and brackets, without the signs of the sentence around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>()[]{}|,;=".contains(c) || is_quote(c);
    text.split(ends).map(|word| {
        let word = word.trim_end_matches(|c: char| ".:!?…".contains(c));
        word.trim_start_matches(|c: char| ":!?*".contains(c))
    })
}

fn is_quote(c: char) -> bool {
    matches!(c, '“' | '”' | '‘' | '’' | '«' | '»' | '„' | '、' | '。' | '，' | '：')
}

fn is_name(word: &str) -> bool {
    if word.len() < BYTES_MIN || word.len() > limit::SUMMARY_NAME_BYTES_MAX {
        return false;
    }
    is_path(word) || is_address(word) || is_id(word) || is_file(word)
}

fn is_path(word: &str) -> bool {
    let parts = word.split('/').filter(|part| part.bytes().any(|byte| byte.is_ascii_alphanumeric())).count();
    let is_rooted = word.starts_with('/') || word.starts_with("./") || word.starts_with("~/");
    word.contains('/') && (parts > 1 || (is_rooted && parts == 1)) && !is_date(word)
}

fn is_address(word: &str) -> bool {
    word.contains("://") || word.split_once('@').is_some_and(|(who, at)| !who.is_empty() && at.contains('.'))
}

/// Letters, digits and a few signs, with a digit: `ord_4711`, `INV-2024-001`, `#123`, `4711`.
fn is_id(word: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_#:./+".contains(&byte);
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    word.bytes().all(legal)
        && digits > 0
        && (is_plain || word.bytes().any(|byte| byte.is_ascii_alphabetic() || byte == b'#'))
}

fn is_file(word: &str) -> bool {
    let Some((name, extension)) = word.rsplit_once('.') else { return false };
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain(extension)
        && extension.len() <= EXTENSION_MAX
        && extension.bytes().any(|byte| byte.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// `and/or`, `3/4`: no way to anything.
fn is_date(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/') || matches!(word, "and/or" | "either/or")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_something_is_found_by() {
        for (text, expected) in [
            ("Look order 4711 up, please.", vec!["4711"]),
            ("See \"ord_4711\", (INV-2024-001) and #1234.", vec!["ord_4711", "INV-2024-001", "#1234"]),
            ("in /var/lib/tenure/a.yaml: ~/x and src/lib.rs", vec!["/var/lib/tenure/a.yaml", "src/lib.rs"]),
            (
                "https://example.com/a?b=1, ana@example.com!",
                vec!["https://example.com/a?b", "ana@example.com"],
            ),
            ("report.md and summary-final.csv. The end.", vec!["report.md", "summary-final.csv"]),
            (
                "{\"id\":\"550e8400-e29b-41d4-a716-446655440000\"}",
                vec!["550e8400-e29b-41d4-a716-446655440000"],
            ),
            ("4711 4711 4711", vec!["4711"]),
            ("either/or, and/or, 3/4, 12, A7, it's over.", vec![]),
            ("Bestellung „KT-220-BL“ 订单：ord_1、好", vec!["KT-220-BL", "ord_1"]),
            ("", vec![]),
        ] {
            assert_eq!(of(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_too_long_is_content() {
        let long = format!("id{}", "1".repeat(limit::SUMMARY_NAME_BYTES_MAX));
        assert_eq!(of(&long).count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_a_part_of_its_text_and_a_name_by_itself(text in ".{0,200}") {
            for name in of(&text) {
                proptest::prop_assert!(text.contains(name));
                proptest::prop_assert_eq!(of(name).collect::<Vec<_>>(), vec![name]);
            }
        }
    }
}
