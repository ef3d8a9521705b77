//! Secrets, and what stands for them inside.
//!
//! A sandbox holds a *placeholder*: text that means nothing anywhere. The proxy puts the value in its place, in
//! headers and in the query, on the way to the hosts the secret is for, and puts the placeholder in the place
//! of the value on the way back.

use std::collections::BTreeSet;
use std::fmt;

use crate::host::HostName;
use crate::inside;
use crate::replace::Replacer;
use crate::target::Target;

/// Hosts that one secret may be limited to.
pub const SECRET_HOSTS_MAX: usize = 16;
/// Bytes of a value: a quarter of what a request's head may have.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a secret's name.
const NAME_BYTES_MAX: usize = 256;
/// Values shorter than this are looked for only in answers to what they were sent with, and only where they stand alone:
/// elsewhere, and within words, they would be found where they are not.
pub const SEARCHED_BYTES_MIN: usize = 8;
/// Values shorter than this are not looked for at all: every answer is full of them.
pub const WORD_BYTES_MIN: usize = 4;
/// The ports over which values are sent, all of them TLS.
pub const SECRET_PORTS: &[u16] = &[443, 8443];

/// How every placeholder begins.
pub(crate) const PLACEHOLDER_PREFIX: &str = "tenure-placeholder-";
/// Random bytes of a placeholder: enough that nobody guesses one.
const PLACEHOLDER_RANDOM_BYTES: usize = 16;

/// What stands for a secret inside. Not a secret itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placeholder(Box<str>);

/// A value, the placeholder that stands for it, and the hosts it is for.
#[derive(Clone)]
pub struct Secret {
    name: Box<str>,
    placeholder: Placeholder,
    value: Box<str>,
    hosts: SecretHosts,
}

/// Which hosts a secret is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretHosts {
    /// Every host that the rules allow.
    Allowed,
    /// Those of them that are listed here.
    Listed(Vec<HostName>),
}

/// Why a secret or a placeholder cannot be one. None of them tells the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The name cannot name a variable.
    #[error(
        "a secret's name must be 1 to {NAME_BYTES_MAX} letters, digits and underscores, and not begin with a digit"
    )]
    Name,
    /// The name is of a variable that leads to the proxy or says whom to trust.
    #[error("a secret must not have the name of a variable for proxies or certificates")]
    Reserved,
    /// The value is empty, too long, or not fit for a header.
    #[error("a secret's value must be 1 to {SECRET_BYTES_MAX} bytes without control characters")]
    Value,
    /// No host, or too many.
    #[error("a secret must be for 1 to {SECRET_HOSTS_MAX} hosts")]
    Hosts,
    /// Not made by [`Placeholder::generate`].
    #[error("this is not a placeholder")]
    Placeholder,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl Placeholder {
    /// A new one, that nobody can guess.
    ///
    /// # Errors
    /// `Random`.
    pub fn generate() -> Result<Self, SecretError> {
        let mut random = [0; PLACEHOLDER_RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|_| SecretError::Random)?;
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self(format!("{PLACEHOLDER_PREFIX}{digits}").into()))
    }

    /// Reads one that was generated before: a sandbox that sleeps and wakes keeps its variables.
    ///
    /// # Errors
    /// `Placeholder`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let digits = text.strip_prefix(PLACEHOLDER_PREFIX).ok_or(SecretError::Placeholder)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() == 2 * PLACEHOLDER_RANDOM_BYTES && digits.bytes().all(is_digit) {
            Ok(Self(text.into()))
        } else {
            Err(SecretError::Placeholder)
        }
    }

    /// The text to put into the variable.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// A secret under the name of its variable.
    ///
    /// # Errors
    /// `Name`, `Reserved`, `Value`, `Hosts`.
    pub fn new(
        name: &str,
        placeholder: Placeholder,
        value: &str,
        hosts: SecretHosts,
    ) -> Result<Self, SecretError> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let digit_first = name.bytes().next().is_none_or(|byte| byte.is_ascii_digit());
        if digit_first || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
            return Err(SecretError::Name);
        }
        if inside::is_reserved(name) {
            return Err(SecretError::Reserved);
        }
        let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
        let is_sized = (1..=SECRET_BYTES_MAX).contains(&value.len());
        // A value that holds a placeholder would be taken for one.
        if !is_sized || value.bytes().any(is_control) || value.contains(PLACEHOLDER_PREFIX) {
            return Err(SecretError::Value);
        }
        match &hosts {
            SecretHosts::Listed(hosts) if !(1..=SECRET_HOSTS_MAX).contains(&hosts.len()) => {
                return Err(SecretError::Hosts);
            }
            SecretHosts::Listed(_) | SecretHosts::Allowed => {}
        }
        Ok(Self { name: name.into(), placeholder, value: value.into(), hosts })
    }

    /// The name of its variable.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands for it inside.
    #[must_use]
    pub fn placeholder(&self) -> &Placeholder {
        &self.placeholder
    }

    /// Whether it may be sent there, as far as the secret says; the rules must allow the host as well.
    #[must_use]
    pub fn is_for(&self, target: &Target) -> bool {
        self.names(target.host()) && SECRET_PORTS.contains(&target.port())
    }

    /// Whether it is for a host, on some port.
    pub(crate) fn names(&self, host: &HostName) -> bool {
        match &self.hosts {
            SecretHosts::Allowed => true,
            SecretHosts::Listed(hosts) => hosts.contains(host),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Secret");
        debug.field("name", &self.name).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Puts values in the place of placeholders, as they are.
#[must_use]
pub fn in_headers(secrets: &[&Secret]) -> Replacer {
    outwards(secrets, |value| value.as_bytes().to_vec())
}

/// Puts values in the place of placeholders, as a query writes them.
#[must_use]
pub fn in_query(secrets: &[&Secret]) -> Replacer {
    outwards(secrets, percent_encoded)
}

fn outwards(secrets: &[&Secret], encode: fn(&str) -> Vec<u8>) -> Replacer {
    let pair = |(index, secret): (usize, &&Secret)| {
        (secret.placeholder.0.as_bytes().to_vec(), encode(&secret.value), index)
    };
    Replacer::indexed(secrets.iter().enumerate().map(pair))
}

/// Puts placeholders in the place of values, as they are and as a query or a JSON text writes them.
/// `sent` names those that were sent in one exchange; short ones among the others are not looked for.
/// `others` are texts made from values for it, with what they were made from.
#[must_use]
pub fn inwards(secrets: &[&Secret], sent: &[String], others: &[(Vec<u8>, Vec<u8>)]) -> Replacer {
    let searched = secrets.iter().filter(|secret| secret.value.len() >= SEARCHED_BYTES_MIN);
    let spellings = searched.flat_map(|secret| {
        let placeholder = secret.placeholder.0.as_bytes();
        let raw = secret.value.as_bytes().to_vec();
        let percent = percent_encoded(&secret.value);
        let lower = lower_percent(&percent);
        let spellings = BTreeSet::from([raw, percent, lower, json_escaped(&secret.value)]);
        spellings.into_iter().map(move |spelling| (spelling, placeholder.to_vec()))
    });
    let words = secrets.iter().filter(|secret| {
        let is_short = (WORD_BYTES_MIN..SEARCHED_BYTES_MIN).contains(&secret.value.len());
        is_short && sent.iter().any(|name| **name == *secret.name)
    });
    let words =
        words.map(|secret| (secret.value.as_bytes().to_vec(), secret.placeholder.0.as_bytes().to_vec()));
    Replacer::with_words(spellings.chain(others.iter().cloned()), words)
}

/// Everything but the unreserved characters of RFC 3986, section 2.3, in its percent-encoded form.
fn percent_encoded(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// The same in lower-case digits.
fn lower_percent(encoded: &[u8]) -> Vec<u8> {
    let mut out = encoded.to_vec();
    for at in 0..out.len() {
        if out[at] == b'%' {
            out[at + 1..].iter_mut().take(2).for_each(|digit| digit.make_ascii_lowercase());
        }
    }
    out
}

fn json_escaped(value: &str) -> Vec<u8> {
    value.replace('\\', "\\\\").replace('"', "\\\"").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Secret {
        let placeholder = Placeholder::generate().expect("random bytes");
        Secret::new("API_KEY", placeholder, value, SecretHosts::Allowed).expect("valid")
    }

    #[test]
    fn placeholders_are_different_and_read_back() {
        let [one, other] = [(); 2].map(|()| Placeholder::generate().expect("random bytes"));
        assert_ne!(one, other);
        assert_eq!(Placeholder::parse(one.as_str()), Ok(one.clone()));
        for text in ["", "tenure-placeholder-", "sk-1", &one.as_str()[1..], &format!("{}0", one.as_str())] {
            assert_eq!(Placeholder::parse(text), Err(SecretError::Placeholder), "{text}");
        }
    }

    #[test]
    fn bad_secrets_are_refused_without_telling_them() {
        let listed = |count| SecretHosts::Listed(vec![HostName::parse("a.example").expect("a name"); count]);
        let long = "x".repeat(SECRET_BYTES_MAX + 1);
        for (name, value, hosts, error) in [
            ("", "value", SecretHosts::Allowed, SecretError::Name),
            ("1A", "value", SecretHosts::Allowed, SecretError::Name),
            ("A-B", "value", SecretHosts::Allowed, SecretError::Name),
            ("https_proxy", "value", SecretHosts::Allowed, SecretError::Reserved),
            ("SSL_CERT_FILE", "value", SecretHosts::Allowed, SecretError::Reserved),
            ("A", "", SecretHosts::Allowed, SecretError::Value),
            ("A", "a\r\nb", SecretHosts::Allowed, SecretError::Value),
            ("A", "a\0b", SecretHosts::Allowed, SecretError::Value),
            ("A", &long, SecretHosts::Allowed, SecretError::Value),
            ("A", "tenure-placeholder-x", SecretHosts::Allowed, SecretError::Value),
            ("A", "value", listed(0), SecretError::Hosts),
            ("A", "value", listed(SECRET_HOSTS_MAX + 1), SecretError::Hosts),
        ] {
            let placeholder = Placeholder::generate().expect("random bytes");
            assert_eq!(Secret::new(name, placeholder, value, hosts).err(), Some(error), "{name}");
        }
        assert!(Secret::new("A", secret("v").placeholder, "value", listed(SECRET_HOSTS_MAX)).is_ok());
    }

    #[test]
    fn a_value_is_in_no_debug_output() {
        let secret = secret("hunter2hunter2");
        let text = format!("{secret:?} {:?}", in_headers(&[&secret]));
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn values_go_out_and_placeholders_come_back() {
        let secret = secret("a\"b&c=d/eé");
        let placeholder = secret.placeholder.as_str();
        let swap = |replacer: &Replacer, text: &str| {
            let (out, _) = replacer.whole(text.as_bytes()).expect("found");
            String::from_utf8(out).expect("text")
        };
        let bearer = format!("Bearer {placeholder}");
        assert_eq!(swap(&in_headers(&[&secret]), &bearer), "Bearer a\"b&c=d/eé");
        assert_eq!(
            swap(&in_query(&[&secret]), &format!("key={placeholder}&x=1")),
            "key=a%22b%26c%3Dd%2Fe%C3%A9&x=1"
        );
        let back = inwards(&[&secret], &[], &[]);
        for echoed in ["a\"b&c=d/eé", "a%22b%26c%3Dd%2Fe%C3%A9", "a%22b%26c%3dd%2fe%c3%a9", "a\\\"b&c=d/eé"]
        {
            assert_eq!(swap(&back, &format!("<{echoed}>")), format!("<{placeholder}>"));
        }
    }

    #[test]
    fn short_values_are_looked_for_where_they_were_sent() {
        let finds = |value: &str, sent: &[&str]| {
            let sent: Vec<String> = sent.iter().map(|name| (*name).to_owned()).collect();
            inwards(&[&secret(value)], &sent, &[]).whole(format!("is {value}.").as_bytes()).is_some()
        };
        for (value, where_sent, elsewhere) in
            [("123", false, false), ("1234", true, false), ("1234567", true, false), ("12345678", true, true)]
        {
            assert_eq!(finds(value, &["API_KEY"]), where_sent, "{value}");
            assert_eq!((finds(value, &[]), finds(value, &["OTHER"])), (elsewhere, elsewhere), "{value}");
        }
    }
}
