//! Secrets in what comes back: found by their exact value, in every spelling that a program gives a text without
//! meaning to hide it, and replaced before anything is recorded or told.
//!
//! This is the last of several walls and the weakest. A program that holds a secret and wants to tell it will find a
//! spelling that is not here; that is why commands hold placeholders, and why tool servers are sent what is theirs
//! alone. A value of fewer than eight bytes would be found where it is not, so it is looked for only in answers of whom it
//! was sent to, and only where it stands alone; one of fewer than four bytes not at all. To refuse such values was the
//! other way: it would refuse what the Agents API accepts, and do nothing about those that are stored. So whoever stores
//! one is told.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use tenure_egress::{Replacer, SEARCHED_BYTES_MIN, WORD_BYTES_MIN};
use tenure_journal::{Failure, ToolDef};
use tenure_seal::SecretString;

/// Bytes of the shortest secret that is looked for at all in what comes back.
pub const MASKED_BYTES_MIN: usize = WORD_BYTES_MIN;

/// A secret that may come back, and what is shown in its place.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) shown: String,
    pub(crate) value: SecretString,
    /// Whether whoever answers was sent it.
    pub(crate) was_sent: bool,
}

/// What is searched for.
#[derive(Clone)]
pub(crate) struct Mask(Replacer);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask(..)")
    }
}

impl Mask {
    pub(crate) fn of(known: &[Known]) -> Self {
        let long = known.iter().filter(|known| known.value.expose().len() >= SEARCHED_BYTES_MIN);
        let pairs = long.flat_map(|known| {
            let shown = known.shown.as_bytes().to_vec();
            spellings(known.value.expose()).into_iter().map(move |spelling| (spelling, shown.clone()))
        });
        let short = known.iter().filter(|known| {
            known.was_sent && (WORD_BYTES_MIN..SEARCHED_BYTES_MIN).contains(&known.value.expose().len())
        });
        let words =
            short.map(|known| (known.value.expose().as_bytes().to_vec(), known.shown.as_bytes().to_vec()));
        Self(Replacer::with_words(pairs, words))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For bytes that come in pieces.
    pub(crate) fn stream(&self) -> Replacer {
        self.0.clone()
    }

    pub(crate) fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        if self.is_empty() {
            return bytes;
        }
        let mut stream = self.stream();
        let mut masked = stream.push(&bytes);
        masked.extend(stream.finish());
        masked
    }

    pub(crate) fn text(&self, text: String) -> String {
        if self.is_empty() {
            return text;
        }
        let masked = self.bytes(text.into_bytes());
        // What is replaced and what replaces it are whole characters, so this copies nothing but text.
        String::from_utf8(masked)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    pub(crate) fn failure(&self, failure: Failure) -> Failure {
        Failure { message: self.text(failure.message), ..failure }
    }

    /// Definitions of tools: a server may put anything into them.
    pub(crate) fn tools(&self, tools: Vec<ToolDef>) -> Vec<ToolDef> {
        if self.is_empty() {
            return tools;
        }
        tools.into_iter().filter_map(|tool| self.tool(tool)).collect()
    }

    /// A definition whose names hold a secret is left out: under another name it could not be called.
    fn tool(&self, tool: ToolDef) -> Option<ToolDef> {
        let written = serde_json::to_string(&tool).ok()?;
        let masked = self.text(written.clone());
        if masked == written {
            return Some(tool);
        }
        serde_json::from_str(&masked).ok().filter(|masked: &ToolDef| masked.name == tool.name)
    }
}

/// How a text may be spelled: as it is, as JSON writes it, percent-encoded, in base64 wherever it begins.
fn spellings(value: &str) -> BTreeSet<Vec<u8>> {
    let escaped = inner_json(value);
    let percent =
        percent(value, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'));
    let mut texts = vec![
        value.to_owned(),
        escaped.clone(),
        inner_json(&escaped),
        escaped.replace('/', "\\/"),
        value.replace(' ', "+"),
        lower_percent(&percent),
        percent,
    ];
    texts.extend(base64_cores(value.as_bytes()));
    texts.into_iter().map(String::into_bytes).collect()
}

/// As a JSON string holds it, without its quotes.
fn inner_json(value: &str) -> String {
    let quoted = serde_json::to_string(value).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value).to_owned()
}

fn percent(value: &str, stays: impl Fn(u8) -> bool) -> String {
    let encode = |byte: u8| match stays(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

fn lower_percent(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some(at) = rest.find('%') {
        let end = (at + 3).min(rest.len());
        out.push_str(&rest[..at]);
        out.push_str(&rest[at..end].to_ascii_lowercase());
        rest = &rest[end..];
    }
    out + rest
}

/// What of the base64 of any text around `value` depends on `value` alone, for each place it can begin at, in both
/// alphabets.
fn base64_cores(value: &[u8]) -> Vec<String> {
    let mut cores = Vec::new();
    for before in 0..3_usize {
        let mut padded = vec![0; before];
        padded.extend_from_slice(value);
        // The first characters hold bits of what stands before, the last ones of what stands behind.
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for encoded in [STANDARD.encode(&padded), URL_SAFE.encode(&padded)] {
            let core = &encoded[first..last];
            if core.len() >= SEARCHED_BYTES_MIN {
                cores.push(core.to_owned());
            }
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "s3cr3t/\"väl\\ue\" +1";

    fn known(shown: &str, value: &str) -> Known {
        Known { shown: shown.into(), value: value.into(), was_sent: false }
    }

    fn mask() -> Mask {
        Mask::of(&[known("[secret k]", SECRET)])
    }

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let json = serde_json::json!({ "token": SECRET }).to_string();
        let twice = serde_json::json!({ "inner": json }).to_string();
        for (what, text) in [
            ("as it is", format!("token={SECRET}!")),
            ("in JSON", json),
            ("in JSON within JSON", twice),
            ("in JSON with escaped slashes", inner_json(SECRET).replace('/', "\\/")),
            ("percent-encoded", "s3cr3t%2F%22v%C3%A4l%5Cue%22%20%2B1".to_owned()),
            ("percent-encoded in small letters", "s3cr3t%2f%22v%c3%a4l%5cue%22%20%2b1".to_owned()),
            ("in base64", STANDARD.encode(SECRET)),
            ("in base64, after a name", STANDARD.encode(format!("user:{SECRET}"))),
            ("in base64, after one byte", STANDARD.encode(format!("x{SECRET}y"))),
            ("in base64, after two bytes", STANDARD.encode(format!("xx{SECRET}yy"))),
            ("in base64 for URLs", URL_SAFE.encode(format!("x{SECRET}???"))),
        ] {
            let masked = mask().text(text.clone());
            assert!(masked.contains("[secret k]") && masked != text, "{what}: {masked}");
        }
    }

    #[test]
    fn other_texts_stay_and_short_secrets_are_not_looked_for() {
        assert_eq!(mask().text("s3cr3t and other values".into()), "s3cr3t and other values");
        let short = Mask::of(&[known("x", "1234567")]);
        assert!(short.is_empty());
        assert_eq!(short.text("1234567".into()), "1234567");
    }

    #[test]
    fn a_short_secret_is_masked_where_it_was_sent_and_stands_alone() {
        let sent = |value: &str| Mask::of(&[Known { was_sent: true, ..known("[secret k]", value) }]);
        for (value, text, expected) in [
            ("1234", r#"{"pin": "1234", "order": 12345}"#, r#"{"pin": "[secret k]", "order": 12345}"#),
            ("1234", "Bearer 1234", "Bearer [secret k]"),
            ("s3cr3t!", "it is s3cr3t!", "it is [secret k]"),
            ("token", "tokens and a token.", "tokens and a [secret k]."),
            ("abc", "abc", "abc"),
        ] {
            assert_eq!(sent(value).text(text.into()), expected, "{value}");
        }
    }

    #[test]
    fn definitions_of_tools_are_masked_and_keep_their_names() {
        let tool = |name: &str, description: &str| ToolDef {
            name: name.into(),
            description: description.into(),
            parameters: serde_json::json!({"type": "object", "description": SECRET}),
            read_only: None,
            destructive: None,
            idempotent: None,
            keyed: false,
            terms: None,
        };
        let named = Mask::of(&[known("[k]", "abcdefgh12")]);
        let masked = mask().tools(vec![tool("t", &format!("say {SECRET}"))]);
        assert_eq!(masked[0].description, "say [secret k]");
        assert_eq!(masked[0].parameters["description"], "[secret k]");
        assert!(named.tools(vec![tool("abcdefgh12", "x")]).is_empty());
    }

    proptest! {
        #[test]
        fn no_border_of_pieces_lets_a_secret_through(before in ".{0,20}", after in ".{0,20}", cut in 0usize..60) {
            let text = format!("{before}{SECRET}{after}").into_bytes();
            let cut = cut.min(text.len());
            let mut stream = mask().stream();
            let mut masked = stream.push(&text[..cut]);
            masked.extend(stream.push(&text[cut..]));
            masked.extend(stream.finish());
            prop_assert!(!masked.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
        }
    }
}
