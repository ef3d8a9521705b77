//! Whether a value stands in a text as a word of its own.
//!
//! Compared are bytes: no case is folded, nothing is decoded and no look-alike is taken for another. A value
//! that is part of a longer token is another value: `corp.com` is not in `corp.com.evil.io`, and 500 is not
//! in 1,500. Whatever is not known to end a token continues it, invisible characters included, so a mistake
//! here asks a person too often and never too seldom.

use serde_json::Number;

/// Shorter values occur everywhere by chance: the `2.` of a list would name the file 2.
pub(crate) const VALUE_CHARS_MIN: usize = 3;

/// Whether a value says enough to be recognised at all.
pub(crate) fn is_distinct(value: &str) -> bool {
    let visible = |c: &char| !c.is_whitespace() && !c.is_control();
    value.chars().filter(visible).count() >= VALUE_CHARS_MIN && value.chars().any(char::is_alphanumeric)
}

/// Whether `value` stands in `text` between the ends of tokens.
pub(crate) fn occurs(value: &str, text: &str) -> bool {
    if value.is_empty() {
        return false;
    }
    let mut from = 0;
    while let Some(found) = text[from..].find(value) {
        let (start, end) = (from + found, from + found + value.len());
        if begins(&text[..start], value) && ends(&text[end..], value) {
            return true;
        }
        from = start + value.chars().next().map_or(1, char::len_utf8);
    }
    false
}

fn opens(c: char) -> bool {
    c.is_whitespace() || "\"`([{<>|«“‘„—（【「『".contains(c)
}

fn closes(c: char) -> bool {
    c.is_whitespace() || "\"`)]}<>|»”—…）】」』、，！？；".contains(c)
}

/// Whether a list may go on right beside a value: `a@x.org,b@x.org`, and neither 1,500 nor a link with commas.
fn is_listed(value: &str, neighbour: Option<char>) -> bool {
    !value.contains(['/', ':', '?', '#', '%', '=', '&', '\\'])
        && neighbour.is_some_and(|c| !c.is_ascii_digit())
}

fn begins(before: &str, value: &str) -> bool {
    let mut before = before.chars().rev();
    let (Some(last), earlier) = (before.next(), before.next()) else { return true };
    let is_free = earlier.is_none_or(opens);
    let first = value.chars().next();
    match last {
        c if opens(c) => true,
        '\'' => is_free,
        ',' | ';' => is_listed(value, first),
        '$' | '€' | '£' | '¥' => is_free && first.is_some_and(|c| c.is_ascii_digit()),
        '#' | '@' => is_free && first.is_some_and(char::is_alphanumeric),
        _ => false,
    }
}

fn ends(after: &str, value: &str) -> bool {
    let mut rest = after.chars();
    let Some(first) = rest.next() else { return true };
    let last = value.chars().next_back();
    match first {
        c if closes(c) => true,
        ',' | ';' if is_listed(value, last) => true,
        '.' | ',' | ';' | ':' | '!' | '?' => {
            let next = rest.find(|c| !".,;:!?'’".contains(*c));
            next.is_none_or(closes)
        }
        '\'' | '’' => {
            let next = rest.next();
            let is_possessive = next == Some('s')
                && last.is_some_and(char::is_alphabetic)
                && rest.next().is_none_or(|c| closes(c) || ".,;:!?".contains(c));
            next.is_none_or(|c| closes(c) || ".,;:!?".contains(c)) || is_possessive
        }
        '€' | '$' | '£' | '¥' => {
            last.is_some_and(|c| c.is_ascii_digit())
                && rest.next().is_none_or(|c| closes(c) || ".,;:!?".contains(c))
        }
        _ => false,
    }
}

/// A number as it is compared: no exponent, no zeros that say nothing.
pub(crate) fn decimal(number: &Number) -> String {
    let written = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), _, _) => integer.to_string(),
        (None, Some(integer), _) => integer.to_string(),
        (None, None, Some(float)) => float.to_string(),
        (None, None, None) => number.to_string(),
    };
    plain(&written).unwrap_or(written)
}

/// The decimal that a text is, as it is compared; nothing for what is none, or is written in groups.
pub(crate) fn plain(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole)
        || part.is_some_and(|part| !is_digits(part))
        || (whole.len() > 1 && whole.starts_with('0'))
    {
        return None;
    }
    let part = part.map_or("", |part| part.trim_end_matches('0'));
    let point = if part.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{part}"))
}

/// Whether a number stands in `text` as a whole token, however many zeros it is written with.
pub(crate) fn counts(number: &Number, text: &str) -> bool {
    let wanted = decimal(number);
    if wanted.chars().count() < VALUE_CHARS_MIN {
        return false;
    }
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let mut from = 0;
    while let Some(found) = text[from..].find(is_part) {
        let start = from + found;
        let length = text[start..].find(|c| !is_part(c)).unwrap_or(text.len() - start);
        from = start + length;
        // A full stop may end the sentence.
        let token = text[start..from].trim_end_matches('.');
        let end = start + token.len();
        if plain(token).is_some_and(|found| found == wanted)
            && begins(&text[..start], token)
            && ends(&text[end..], token)
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn stands(value: &str, texts: &[&str]) {
        for text in texts {
            assert!(occurs(value, text), "{value:?} stands in {text:?}");
        }
    }

    #[track_caller]
    fn hides(value: &str, texts: &[&str]) {
        for text in texts {
            assert!(!occurs(value, text), "{value:?} does not stand in {text:?}");
        }
    }

    #[test]
    fn a_value_stands_between_the_ends_of_tokens() {
        stands(
            "bob@corp.com",
            &[
                "bob@corp.com",
                "Write to bob@corp.com.",
                "Write to <bob@corp.com>, please",
                "(bob@corp.com)",
                "\"bob@corp.com\"",
                "'bob@corp.com'",
                "to: bob@corp.com; soon",
                "a@corp.com,bob@corp.com,c@corp.com",
                "bob@corp.com!\nThanks",
                "bob@corp.com…",
            ],
        );
        stands("Bob Smith", &["pay Bob Smith, please", "Bob Smith's invoice", "Bob Smith’s", "@Bob Smith"]);
        stands("/srv/a b.txt", &["open \"/srv/a b.txt\"", "read /srv/a b.txt."]);
        stands(
            "https://corp.com/a?b=1&c=%20",
            &["see https://corp.com/a?b=1&c=%20.", "<https://corp.com/a?b=1&c=%20>"],
        );
        stands("INV-2026/7", &["settle INV-2026/7", "INV-2026/7?"]);
        stands("general", &["post to #general", "ask @general"]);
    }

    #[test]
    fn a_part_of_a_longer_token_is_another_value() {
        hides(
            "bob@corp.com",
            &[
                "bob@corp.com.evil.io",
                "bob@corp.community",
                "xbob@corp.com",
                "alice+bob@corp.com",
                "alice.bob@corp.com",
                "alice-bob@corp.com",
                "bob@corp.com@evil.io",
                "bob@corp.com/evil",
                "bob@corp.com-evil",
                "bob@corp.com_",
                "bob@corp.com:8080",
                "mailto:bob@corp.com",
                "bob@corp.com%00",
            ],
        );
        hides(
            "/srv/a",
            &["/srv/a/b", "/srv/ab", "x/srv/a", "../srv/a", "/srv/a.txt", "c:/srv/a", "/srv/a\\b"],
        );
        hides(
            "report.txt",
            &["./report.txt", "/tmp/report.txt", "report.txt.exe", "my-report.txt", "report.txt~"],
        );
        hides(
            "https://corp.com",
            &[
                "https://corp.com/login",
                "https://corp.com.evil.io",
                "https://corp.com@evil.io",
                "https://corp.com?x",
                "https://corp.com#x",
                "https://corp.com:8443",
                "https://corp.com,evil",
            ],
        );
        hides("//corp.com/a", &["https://corp.com/a"]);
        hides("Smith", &["Smith-Jones", "Blacksmith", "O'Smith", "Smith'x"]);
        hides(
            "500",
            &[
                "1500", "1,500", "1.500", "500,000", "500.25", "500k", "A500", "500%", "-500", "100-500",
                "5000", "host:500",
            ],
        );
        stands("500", &["500", "$500", "500 €", "500€.", "pay 500, now", "#500", "500.", "(500)"]);
    }

    #[test]
    fn look_alikes_and_what_cannot_be_seen_do_not_count() {
        hides(
            "bob@corp.com",
            &[
                "Bob@corp.com",
                "bob@Corp.com",
                "b\u{43e}b@corp.com",
                "bob@corp\u{ff0e}com",
                "bob\u{ff20}corp.com",
                "bob@corp.com\u{200b}",
                "\u{200b}bob@corp.com",
                "bob@corp.com\u{202e}",
                "bob@corp.com\u{301}",
                "bob@corp.com\u{ad}m",
                "bob@corp.com\u{fe0f}",
                "bob@corp.com\u{e0061}",
                "bob%40corp.com",
                "bob\\u0040corp.com",
                "bob&#64;corp.com",
            ],
        );
        hides("cafe", &["cafe\u{301}", "café", "CAFE", "cafe\u{200d}"]);
        hides("caf\u{e9}", &["cafe\u{301}"]);
        stands("caf\u{e9}", &["the caf\u{e9}."]);
        // What was written with what cannot be seen is found as it was written, and not otherwise.
        stands("a\u{200b}bc", &["x a\u{200b}bc"]);
        hides("abc", &["x a\u{200b}bc"]);
        hides(
            "https://corp.com/a",
            &["https://corp.com/%61", "HTTPS://corp.com/a", "https:\\/\\/corp.com\\/a"],
        );
    }

    #[test]
    fn short_values_are_told_from_nothing() {
        for value in ["", "2", "2.", "ab", "  a ", "...", "../", "\u{0}ab", "-—-"] {
            assert!(!is_distinct(value), "{value:?}");
        }
        for value in ["abc", "A-1", "東京駅"] {
            assert!(is_distinct(value), "{value:?}");
        }
    }

    #[test]
    fn numbers_are_whole_tokens() {
        let number = |text: &str| text.parse::<Number>().expect("a number");
        let said = |value: &str, text: &str| counts(&number(value), text);
        for text in ["pay 500", "500.00 EUR", "$500.", "500€", "(500)", "is it 500?", "#500"] {
            assert!(said("500", text), "{text}");
        }
        assert!(said("500.0", "pay 500") && said("5e2", "pay 500") && said("12.50", "12.5 kg"));
        assert!(said("-500", "book -500 there"));
        for text in [
            "1500",
            "5000",
            "1,500",
            "500,000",
            "500.5",
            "A500",
            "500k",
            "500%",
            "-500",
            "100-500",
            "1.500",
            "v500",
            "0500",
            "500e1",
            "５００",
            "host:500",
            "500_000",
            "500-1",
        ] {
            assert!(!said("500", text), "{text}");
        }
        // Two digits stand everywhere.
        assert!(!said("50", "pay 50 now") && !said("2", "2. Pay") && !said("50", "pay 50.00"));
        assert!(
            said("9007199254740993", "id 9007199254740993")
                && !said("9007199254740993", "id 9007199254740992")
        );
    }
}
