//! Names of hosts, in the one spelling that this proxy knows.
//!
//! A name that may be written in two ways can be allowed in one and reached in the other. So there is one way:
//! ASCII letters, digits and hyphens in labels, at least two of them, without a final dot; names in other
//! scripts in the ASCII form that a resolver sees. Nothing is mapped, so that what looks alike is not alike.

use std::fmt;

/// Bytes of a name (RFC 1035, section 2.3.4, as text without the final dot).
pub const HOST_BYTES_MAX: usize = 253;
/// Bytes of one label of it (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// How a label in another script begins (RFC 5890, section 2.3.2.1).
const PUNYCODE_PREFIX: &str = "xn--";

/// A host's name: lower case, never an address.
// INVARIANT: what `HostName::parse` accepts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// Why a text is not the name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is nothing.
    #[error("the host is empty")]
    Empty,
    /// Longer than any name can be.
    #[error("the host is longer than {HOST_BYTES_MAX} bytes")]
    TooLong,
    /// Letters of another script.
    #[error("the host must be in ASCII; write other scripts as `xn--...`")]
    NotAscii,
    /// Another character than letters, digits, hyphens and dots.
    #[error("the host has a character other than letters, digits, hyphens and dots")]
    Character,
    /// A dot at the end.
    #[error("the host must not end with a dot")]
    FinalDot,
    /// A label that is empty, too long, or has a hyphen at an end.
    #[error(
        "the host has a label that is empty, longer than {LABEL_BYTES_MAX} bytes, or begins or ends with a hyphen"
    )]
    Label,
    /// An address, in whatever spelling.
    #[error("the host must be a name, not an address")]
    Address,
    /// One label alone, which a resolver completes as it likes.
    #[error("the host must have at least two labels")]
    OneLabel,
    /// A label that begins with `xn--` and stands for nothing.
    #[error("the host has a label that is not valid punycode")]
    Punycode,
}

impl HostName {
    /// Reads a name. Letters of either case are the same.
    ///
    /// # Errors
    /// Each of [`HostError`].
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if !text.is_ascii() {
            return Err(HostError::NotAscii);
        }
        if text.contains(['[', ']', ':']) {
            return Err(HostError::Address);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
            return Err(HostError::Character);
        }
        if text.len() > HOST_BYTES_MAX {
            return Err(HostError::TooLong);
        }
        if text.ends_with('.') {
            return Err(HostError::FinalDot);
        }
        let name = text.to_ascii_lowercase();
        let labels = || name.split('.');
        if !labels().all(is_label) {
            return Err(HostError::Label);
        }
        if labels().next_back().is_some_and(is_number) {
            return Err(HostError::Address);
        }
        if labels().count() < 2 {
            return Err(HostError::OneLabel);
        }
        if labels().any(|label| label.starts_with(PUNYCODE_PREFIX)) && !is_canonical(&name) {
            return Err(HostError::Punycode);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= LABEL_BYTES_MAX && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether a last label makes the whole an address for those who read `127.1`, `0x7f.1` or `017700000001` as
/// one (WHATWG URL, "ends in a number").
fn is_number(label: &str) -> bool {
    let is_decimal = label.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = label.strip_prefix("0x");
    is_decimal || hexadecimal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether the standard for names in other scripts (UTS 46) takes it and would write it in the same way.
fn is_canonical(name: &str) -> bool {
    matches!(url::Host::parse(name), Ok(url::Host::Domain(domain)) if domain == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_in_one_spelling() {
        for (text, name) in [
            ("example.com", "example.com"),
            ("API.Example.COM", "api.example.com"),
            ("a-b.c--d.example", "a-b.c--d.example"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("127.0.0.1.nip.io", "127.0.0.1.nip.io"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("0x7f.example", "0x7f.example"),
            ("example.com.evil.example", "example.com.evil.example"),
        ] {
            assert_eq!(HostName::parse(text).expect(text).as_str(), name);
        }
        let long = format!("{}.example", "a".repeat(63));
        assert!(HostName::parse(&long).is_ok());
    }

    #[test]
    fn refuses_every_other_spelling() {
        let label = format!("{}.example", "a".repeat(64));
        let long = format!("{}example", "a.".repeat(124));
        for (error, texts) in [
            (HostError::Empty, vec![""]),
            (HostError::TooLong, vec![&long]),
            (
                HostError::Character,
                vec![
                    "example.com\0",
                    "example.com\0.evil.example",
                    "exa mple.com",
                    "example.com\t",
                    "example.com\r\nx",
                    "example.com/",
                    "user@example.com",
                    "example.com%00",
                    "example%2ecom",
                    "ex_ample.com",
                    "*.example.com",
                    "example.com#",
                    "example.com?",
                    "example.com\\x",
                ],
            ),
            (
                HostError::NotAscii,
                vec![
                    "b\u{fc}cher.example",
                    "ex\u{430}mple.com",
                    "\u{ff45}xample.com",
                    "example\u{3002}com",
                    "exam\u{ad}ple.com",
                    "example.com\u{200b}",
                    "\u{2460}\u{2461}\u{2466}.0.0.1",
                ],
            ),
            (HostError::FinalDot, vec!["example.com.", "example.com..", ".", "127.0.0.1."]),
            (
                HostError::Label,
                vec![
                    ".example.com",
                    "example..com",
                    "-a.example",
                    "a-.example",
                    "a.-b.example",
                    "xn--.example",
                    &label,
                ],
            ),
            (
                HostError::Address,
                vec![
                    "127.0.0.1",
                    "127.1",
                    "2130706433",
                    "0x7f000001",
                    "0x7f.1",
                    "0X7F.0X1",
                    "0177.0.0.1",
                    "017700000001",
                    "0",
                    "0x",
                    "1.2.3.4.5",
                    "256.256.256.256",
                    "example.0x7f",
                    "[::1]",
                    "::1",
                    "::ffff:127.0.0.1",
                    "[::ffff:7f00:1]",
                    "fe80::1",
                    "169.254.169.254",
                ],
            ),
            (HostError::OneLabel, vec!["localhost", "metadata", "com"]),
            (HostError::Punycode, vec!["xn--a.example", "xn--99999999.example"]),
        ] {
            for text in texts {
                assert_eq!(HostName::parse(text), Err(error), "{text:?}");
            }
        }
    }
}
