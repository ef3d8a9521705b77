//! What in free text leads somewhere: links, addresses and account numbers.
//!
//! Looked for is whatever a person's mail program, browser or bank might take for one, and what it would be once
//! the usual encodings are undone, so that hiding it does not help. Found is more than there is: a word taken for
//! a link costs a question, a link taken for a word costs what it leads to. An address spelled out in words for
//! a person to type is beyond any such search.

/// How often encodings are undone inside each other.
const ENCODINGS_MAX: usize = 3;
/// Digits in a row that may be an account, a card or a telephone number.
const DIGITS_MIN: usize = 8;
/// The same where the digits stand in groups, so that no date is taken for one.
const GROUPED_DIGITS_MIN: usize = 10;
/// Lengths of an IBAN, ISO 13616.
const IBAN_CHARS: std::ops::RangeInclusive<usize> = 15..=34;

/// What a text leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Leads {
    /// Links and addresses, as they are written.
    pub(crate) links: Vec<String>,
    /// Account numbers without what separates their groups, in capitals.
    pub(crate) accounts: Vec<String>,
}

/// Everything in `text` that leads somewhere.
pub(crate) fn leads(text: &str) -> Leads {
    let mut found = Leads { links: Vec::new(), accounts: accounts(text) };
    for chunk in text.split(|c: char| c.is_whitespace() || "<>\"`|".contains(c)) {
        find_links(chunk, &mut found.links);
    }
    // Encodings may hide the gaps between words as well as words.
    let shown = unfold(text);
    if shown != text {
        let mut hidden = accounts(&shown);
        hidden.retain(|account| !found.accounts.contains(account));
        found.accounts.append(&mut hidden);
    }
    found
}

fn find_links(chunk: &str, found: &mut Vec<String>) {
    let before = found.len();
    plain_links(chunk, found);
    if found.len() > before {
        return;
    }
    let shown = unfold(chunk);
    if shown != chunk {
        let mut hidden = Vec::new();
        for part in shown.split(|c: char| c.is_whitespace() || "<>\"`|".contains(c)) {
            plain_links(part, &mut hidden);
        }
        if !hidden.is_empty() {
            found.push(chunk.to_owned());
        }
    }
}

fn plain_links(chunk: &str, found: &mut Vec<String>) {
    let Some(at) = chunk.find("://") else {
        let parts = chunk.split(|c: char| "()[]{},;'“”‘’«»*".contains(c)).map(trim);
        found.extend(parts.filter(|part| leads_somewhere(part)).map(str::to_owned));
        return;
    };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let start = chunk[..at]
        .rfind(|c| !is_scheme(c))
        .map_or(0, |last| last + chunk[last..].chars().next().map_or(1, char::len_utf8));
    plain_links(&chunk[..start], found);
    found.push(trim(&chunk[start..]).to_owned());
}

/// Without the punctuation of the sentence around it.
fn trim(part: &str) -> &str {
    let is_around = |c: char| ".,;:!?'()[]{}*_~“”‘’«»…".contains(c);
    part.trim_end_matches(is_around).trim_start_matches(|c: char| "'([{*_~“‘«".contains(c))
}

fn leads_somewhere(part: &str) -> bool {
    const SCHEMES: &[&str] = &[
        "mailto:",
        "tel:",
        "sms:",
        "data:",
        "javascript:",
        "file:",
        "ftp:",
        "geo:",
        "magnet:",
        "bitcoin:",
        "ethereum:",
        "lightning:",
        "callto:",
        "sip:",
        "xmpp:",
        "intent:",
        "vbscript:",
        "blob:",
    ];
    let lower = part.to_lowercase();
    let has_scheme =
        SCHEMES.iter().any(|scheme| lower.find(scheme).is_some_and(|at| at + scheme.len() < lower.len()));
    let is_relative = part.starts_with("//") && part[2..].starts_with(char::is_alphanumeric);
    has_scheme || is_relative || lower.starts_with("www.") || is_address(part) || is_host(&lower)
}

/// Something at something: a mail address, or an account with a service.
fn is_address(part: &str) -> bool {
    part.match_indices('@').any(|(at, _)| {
        part[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.+".contains(c))
            && part[at + 1..].starts_with(|c: char| c.is_alphanumeric() || "[_".contains(c))
    })
}

/// A name or number of a host, with or without what follows it in a link.
fn is_host(lower: &str) -> bool {
    /// What files are called and no top-level domain is.
    const FILES: &[&str] = &[
        "pdf", "txt", "csv", "tsv", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "png", "jpg",
        "jpeg", "gif", "svg", "html", "htm", "xml", "json", "yaml", "yml", "toml", "log", "mp3", "mp4",
        "ics", "eml", "sql",
    ];
    let end = lower.find(['/', '?', '#', ':']).unwrap_or(lower.len());
    let (host, rest) = lower.split_at(end);
    let labels: Vec<&str> = host.split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    if labels.len() < 2 || !labels.iter().all(is_label) {
        return false;
    }
    if labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok()) {
        return true;
    }
    let top = labels[labels.len() - 1];
    let is_top =
        top.starts_with("xn--") || (top.chars().count() >= 2 && top.chars().all(char::is_alphabetic));
    is_top && !(rest.is_empty() && FILES.contains(&top))
}

/// What `text` says once encodings are undone and look-alikes of its punctuation are replaced.
fn unfold(text: &str) -> String {
    let mut shown = text.to_owned();
    for _ in 0..ENCODINGS_MAX {
        let decoded = decode(&shown);
        if decoded == shown {
            break;
        }
        shown = decoded;
    }
    shown
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (bytes, length) = match escaped(rest) {
            Some((bytes, length)) => (bytes, length),
            None => (shown_as(c).map(|c| c.to_string().into_bytes()).unwrap_or_default(), c.len_utf8()),
        };
        out.extend(bytes);
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What an escape at the beginning of `text` stands for, and how long it is.
fn escaped(text: &str) -> Option<(Vec<u8>, usize)> {
    let hex = |digits: Option<&str>| digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let said = |code: u32, length: usize| char::from_u32(code).map(|c| (c.to_string().into_bytes(), length));
    if text.starts_with('%') {
        let byte = hex(text.get(1..3))?;
        return Some((vec![u8::try_from(byte).ok()?], 3));
    }
    if let Some(rest) = text.strip_prefix('\\') {
        return match rest.chars().next()? {
            'u' | 'U' => said(hex(rest.get(1..5))?, 6),
            'x' => said(hex(rest.get(1..3))?, 4),
            '/' => Some((b"/".to_vec(), 2)),
            _ => None,
        };
    }
    let rest = text.strip_prefix("&")?;
    let end = rest.find(';').filter(|end| *end <= 8)?;
    let name = &rest[..end];
    let named = match name {
        "amp" => Some('&'),
        "colon" => Some(':'),
        "sol" => Some('/'),
        "period" => Some('.'),
        "commat" => Some('@'),
        _ => None,
    };
    let code = name.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
        Some(digits) => hex(Some(digits)),
        None => number.parse().ok(),
    });
    said(named.map_or(code?, u32::from), end + 2)
}

/// The character that a reader takes this one for; nothing for what a reader does not see.
fn shown_as(c: char) -> Option<char> {
    match c {
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' => {
            None
        }
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => None,
        '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' => None,
        '\u{e0000}'..='\u{e0fff}' => None,
        '。' | '｡' | '․' => Some('.'),
        '∕' | '⁄' | '⧸' => Some('/'),
        '∶' | '꞉' => Some(':'),
        '﹫' => Some('@'),
        // Full-width forms stand in the order of ASCII.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
        _ => Some(c),
    }
}

/// Account numbers in `text`: IBANs, and digits that are many enough.
pub(crate) fn accounts(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut previous = None;
    while let Some(c) = rest.chars().next() {
        let begins = c.is_ascii_alphanumeric() && previous.is_none_or(|c: char| !c.is_ascii_alphanumeric());
        let length = if begins { account(rest, &mut found) } else { None };
        let length = length.unwrap_or(c.len_utf8());
        previous = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    found
}

/// What separates the groups of an account number.
pub(crate) fn is_gap(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '-' | '.')
}

/// The account number that `text` begins with; how long it is written.
fn account(text: &str, found: &mut Vec<String>) -> Option<usize> {
    let mut compact = String::new();
    let mut ends = Vec::new();
    let mut gap = None;
    let mut is_even = true;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_ascii_alphanumeric() {
            compact.push(c.to_ascii_uppercase());
            ends.push(at + 1);
        } else if is_gap(c) && chars.peek().is_some_and(|(_, next)| next.is_ascii_alphanumeric()) {
            is_even &= gap.is_none_or(|gap| gap == c);
            gap = Some(c);
        } else {
            break;
        }
        if compact.len() > *IBAN_CHARS.end() {
            break;
        }
    }
    for length in IBAN_CHARS.rev().filter(|length| *length <= compact.len()) {
        if is_iban(&compact[..length]) {
            found.push(compact[..length].to_owned());
            return Some(ends[length - 1]);
        }
    }
    let whole = text.bytes().take_while(u8::is_ascii_digit).count();
    let ends_here = !text[whole..].starts_with(|c: char| c.is_ascii_alphabetic());
    if whole >= DIGITS_MIN && ends_here {
        found.push(text[..whole].to_owned());
        return Some(whole);
    }
    let digits = compact.bytes().take_while(u8::is_ascii_digit).count();
    let is_number = digits == compact.len() || digits >= GROUPED_DIGITS_MIN;
    if gap.is_some() && is_even && whole >= 2 && is_number && digits >= GROUPED_DIGITS_MIN {
        found.push(compact[..digits].to_owned());
        return Some(ends[digits - 1]);
    }
    None
}

/// ISO 13616: country, two check digits and the account, whose remainder by 97 is 1 with the first four moved to
/// the end and letters counted from 10.
fn is_iban(compact: &str) -> bool {
    let bytes = compact.as_bytes();
    let shape = bytes[..2].iter().all(u8::is_ascii_uppercase) && bytes[2..4].iter().all(u8::is_ascii_digit);
    let moved = bytes[4..].iter().chain(&bytes[..4]);
    let remainder = moved.fold(0u32, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
        _ => (sum * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    shape && remainder == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(text: &str, links: &[&str]) {
        assert_eq!(leads(text).links, links, "{text}");
    }

    #[test]
    fn links_and_addresses_are_found_as_written() {
        finds("See https://corp.com/a?b=1.", &["https://corp.com/a?b=1"]);
        finds("[here](https://corp.com/a)", &["https://corp.com/a"]);
        finds("![](https://evil.io/p.png?d=secret)", &["https://evil.io/p.png?d=secret"]);
        finds("<img src=\"https://evil.io/x\">", &["https://evil.io/x"]);
        finds("<img src=https://evil.io/x>", &["https://evil.io/x"]);
        finds("Link:https://corp.com", &["https://corp.com"]);
        finds("a@b.org,c@d.org;e@f.org", &["a@b.org", "c@d.org", "e@f.org"]);
        finds("(bob@corp.com)", &["bob@corp.com"]);
        finds("mailto:bob@corp.com tel:+41791234567", &["mailto:bob@corp.com", "tel:+41791234567"]);
        finds("go to evil.io/x or www.evil or 10.0.0.1:80", &["evil.io/x", "www.evil", "10.0.0.1:80"]);
        finds("//evil.io/x", &["//evil.io/x"]);
        finds("xn--80ak6aa92e.com пример.рф", &["xn--80ak6aa92e.com", "пример.рф"]);
        finds("hxxps://evil.io", &["hxxps://evil.io"]);
        finds("*https://evil.io*", &["https://evil.io"]);
        finds("https://ok.com|https://evil.io", &["https://ok.com", "https://evil.io"]);
        finds("evil.io(https://ok.com)", &["evil.io", "https://ok.com"]);
    }

    #[test]
    fn words_are_left_alone() {
        for text in [
            "Hello, Bob. How are you?",
            "report.pdf and notes.txt",
            "3.14, 1.2.3, e.g. this",
            "at 10:30 on 2026-11-26",
            "@bob said: no",
            "a/b, and/or",
            "x = y; z",
            "v1.2.3-rc.1",
            "",
            "…",
        ] {
            assert_eq!(leads(text), Leads::default(), "{text}");
        }
    }

    #[test]
    fn hiding_does_not_help() {
        for text in [
            "https%3A%2F%2Fevil.io",
            "https%253A%252F%252Fevil.io",
            "https:\\/\\/evil.io",
            "\\u0068ttps:\\u002f\\u002fevil.io",
            "\\x68ttps:\\x2f\\x2fevil.io",
            "https&#58;//evil.io",
            "https&#x3a;&#x2F;/evil.io",
            "https&colon;&sol;&sol;evil.io",
            "ht\u{200b}tps:\u{200b}//evil.io",
            "ｈｔｔｐｓ：／／ｅｖｉｌ．ｉｏ",
            "evil。io",
            "evil\u{200d}.io",
            "bob\u{ad}@\u{200b}evil.io",
            "bob＠evil.io",
            "bob%40evil.io",
            "java\u{200b}script:alert(1)",
            "evil.i\u{e0020}o",
        ] {
            assert!(!leads(text).links.is_empty(), "{text}");
        }
    }

    #[test]
    fn accounts_are_found_however_they_are_grouped() {
        let iban = "DE89370400440532013000";
        for text in [
            "DE89370400440532013000",
            "de89 3704 0044 0532 0130 00",
            "IBAN: DE89-3704-0044-0532-0130-00.",
            "DE89.3704.0044.0532.0130.00",
            "DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00 please",
            "ＤＥ８９３７０４００４４０５３２０１３０００",
        ] {
            assert_eq!(leads(text).accounts, [iban], "{text}");
        }
        assert_eq!(leads("DE89\u{200b}370400440532013000").accounts, ["370400440532013000", iban]);
        assert_eq!(accounts("card 4111 1111 1111 1111, thanks"), ["4111111111111111"]);
        assert_eq!(accounts("call 0791234567 or 12345678"), ["0791234567", "12345678"]);
        for text in ["2026-11-26", "2026-11-26 10:30", "1234567", "deadbeef12345678", "room 12 34 56"] {
            assert_eq!(accounts(text), Vec::<String>::new(), "{text}");
        }
        assert!(is_iban("GB82WEST12345698765432") && !is_iban("GB82WEST12345698765433"));
    }
}
