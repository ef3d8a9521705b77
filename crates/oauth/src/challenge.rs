//! `WWW-Authenticate`: what a server says when it wants a token (RFC 9110, section 11.6.1; RFC 6750; RFC 9728).

/// Bytes of one header that are read.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// What a `Bearer` challenge says. What it does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Where the server's metadata is.
    pub resource_metadata: Option<String>,
    /// The scopes that are needed.
    pub scope: Option<String>,
    /// What is wrong with the token that was sent.
    pub error: Option<String>,
}

impl Challenge {
    /// The first `Bearer` challenge of a header, which may hold challenges of several schemes; nothing if there is
    /// none. A parameter that is given twice counts once, the first time.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        if header.len() > HEADER_BYTES_MAX {
            return None;
        }
        let mut reader = Reader { rest: header };
        let mut bearer: Option<Self> = None;
        let mut in_bearer = false;
        loop {
            reader.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
            if reader.rest.is_empty() {
                return bearer;
            }
            let word = reader.token()?;
            let spaced = reader.skip(|byte| matches!(byte, b' ' | b'\t'));
            if reader.take(b'=') {
                reader.skip(|byte| matches!(byte, b' ' | b'\t'));
                let value = reader.value()?;
                if let Some(challenge) = bearer.as_mut().filter(|_| in_bearer) {
                    challenge.set(word, value);
                }
                continue;
            }
            // A word without a value is a scheme; a second `Bearer` is another challenge.
            if bearer.is_some() {
                return bearer;
            }
            in_bearer = word.eq_ignore_ascii_case("bearer");
            if in_bearer {
                bearer = Some(Self::default());
            } else if spaced {
                reader.token68();
            }
        }
    }

    fn set(&mut self, name: &str, value: String) {
        let slot = match name.to_ascii_lowercase().as_str() {
            "resource_metadata" => &mut self.resource_metadata,
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            _ => return,
        };
        slot.get_or_insert(value);
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, is: impl Fn(u8) -> bool) -> bool {
        let count = self.rest.bytes().take_while(|byte| is(*byte)).count();
        self.rest = &self.rest[count..];
        count > 0
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.as_bytes().first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn token(&mut self) -> Option<&'a str> {
        let count = self.rest.bytes().take_while(|byte| is_token(*byte)).count();
        let (word, rest) = self.rest.split_at(count);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The one text that follows a scheme instead of parameters, as in `Negotiate abc==`. What turns out to be a
    /// parameter's name is left where it is.
    fn token68(&mut self) {
        let is = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let count = self.rest.bytes().take_while(|byte| is(*byte)).count();
        let after = self.rest[count..].trim_start_matches('=');
        let ends = after.is_empty() || after.trim_start_matches([' ', '\t']).starts_with(',');
        if count > 0 && ends {
            self.rest = after;
        }
    }

    fn value(&mut self) -> Option<String> {
        if !self.take(b'"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                other => value.push(other),
            }
        }
        None
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_bearer_challenge() {
        let said = |metadata: &str, scope: &str, error: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Some(Challenge { resource_metadata: some(metadata), scope: some(scope), error: some(error) })
        };
        for (header, expected) in [
            ("Bearer", said("", "", "")),
            ("bearer realm=\"x\"", said("", "", "")),
            ("Bearer resource_metadata=\"https://x/m\", scope=\"a b\"", said("https://x/m", "a b", "")),
            (
                "Bearer error=invalid_token, Resource_Metadata = \"https://x/m\"",
                said("https://x/m", "", "invalid_token"),
            ),
            ("Basic realm=\"Bearer scope=x\", Bearer scope=\"a\"", said("", "a", "")),
            ("Negotiate abc==, Bearer scope=a", said("", "a", "")),
            ("Negotiate, Bearer scope=a", said("", "a", "")),
            ("Bearer scope=a, Basic scope=b", said("", "a", "")),
            ("Bearer scope=a, scope=b", said("", "a", "")),
            ("Bearer scope=\"a\\\"b\"", said("", "a\"b", "")),
            ("", None),
            ("Basic realm=\"x\"", None),
            ("Bearer scope=\"never ends", None),
            ("Bearer scope=", None),
            ("=", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
        assert_eq!(Challenge::parse(&format!("Bearer scope={}", "a".repeat(9_000))), None);
    }

    proptest! {
        #[test]
        fn no_header_is_too_much(header in "\\PC{0,200}") {
            let _ = Challenge::parse(&header);
        }

        #[test]
        fn every_quoted_text_is_read_as_it_was_written(text in "[ -~]{0,40}") {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            let found = Challenge::parse(&format!("Bearer scope=\"{quoted}\", error=x")).expect("a challenge");
            prop_assert_eq!(found.scope, Some(text));
            prop_assert_eq!(found.error.as_deref(), Some("x"));
        }
    }
}
