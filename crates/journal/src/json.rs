//! The one strict JSON reader, and the canonical form that digests bind.
//!
//! API bodies, tool arguments and what models emit are all read here, so that a policy, a person and a
//! tool never see three different values in the same bytes. Refused: duplicate keys, nesting beyond
//! [`limit::JSON_DEPTH_MAX`], NUL inside strings, lone surrogates, invalid UTF-8, a byte order mark,
//! integers outside ±(2^53−1), numbers that are not finite, and anything after the value.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::limit;

/// The largest integer that every JSON reader agrees on (RFC 8259, section 6).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why bytes are not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    kind: JsonErrorKind,
    path: String,
    detail: String,
}

/// What is wrong with the bytes; [`JsonErrorKind::code`] is its stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// Not JSON: truncated, trailing text, a comment, a wrong quote.
    Syntax,
    /// Invalid UTF-8, a lone surrogate or a byte order mark.
    Encoding,
    /// A key occurs twice in one object.
    DuplicateKey,
    /// Nested deeper than [`limit::JSON_DEPTH_MAX`].
    Depth,
    /// A NUL character inside a string or key.
    Nul,
    /// An integer that other readers would round.
    Range,
    /// A number that is not finite.
    Number,
}

impl JsonErrorKind {
    /// The stable code of this kind.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Syntax => "json",
            Self::Encoding => "encoding",
            Self::DuplicateKey => "duplicate_key",
            Self::Depth => "depth",
            Self::Nul => "nul",
            Self::Range => "range",
            Self::Number => "number",
        }
    }
}

impl JsonError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> JsonErrorKind {
        self.kind
    }

    /// Where: `tools[0].name`, or empty for the whole document or an unknown place.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if !self.path.is_empty() {
            write!(f, " at `{}`", self.path)?;
        }
        Ok(())
    }
}

impl std::error::Error for JsonError {}

/// Reads one JSON value from `bytes`.
///
/// # Errors
/// As listed in the module documentation, with the place where it is known.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let failure = |kind, detail: &str| JsonError { kind, path: String::new(), detail: detail.into() };
    let text = std::str::from_utf8(bytes).map_err(|_| failure(JsonErrorKind::Encoding, "invalid UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(failure(JsonErrorKind::Encoding, "a byte order mark before the value"));
    }
    let found = std::cell::RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = Strict { depth: 0, at: &Place::Root, found: &found };
    let outcome = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    outcome.map_err(|error| found.into_inner().unwrap_or_else(|| from_serde(&error)))
}

fn from_serde(error: &serde_json::Error) -> JsonError {
    let detail = error.to_string();
    // serde_json has no typed reason; these phrases are covered by a test of this module.
    let kind = if detail.contains("surrogate") || detail.contains("unexpected end of hex escape") {
        JsonErrorKind::Encoding
    } else if detail.contains("number out of range") {
        JsonErrorKind::Number
    } else {
        JsonErrorKind::Syntax
    };
    JsonError { kind, path: String::new(), detail: format!("invalid JSON: {detail}") }
}

/// Where the reader stands, borrowed from its callers so that a good document allocates no paths.
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Place::Root, key) => write!(f, "{}", shorten(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", shorten(key)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Keys come from outside and end up in messages: no more than a readable stretch of each.
fn shorten(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    at: &'a Place<'a>,
    found: &'a std::cell::RefCell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&self, kind: JsonErrorKind, detail: String) -> E {
        let error = JsonError { kind, path: self.at.to_string(), detail };
        let message = error.to_string();
        *self.found.borrow_mut() = Some(error);
        E::custom(message)
    }

    fn string<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.refuse(JsonErrorKind::Nul, "a NUL character in a string".into()));
        }
        Ok(())
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= limit::JSON_DEPTH_MAX {
            let detail = format!("nested deeper than {} levels", limit::JSON_DEPTH_MAX);
            return Err(self.refuse(JsonErrorKind::Depth, detail));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if value > INTEGER_MAX {
            return Err(
                self.refuse(JsonErrorKind::Range, "an integer above 2^53-1; send it as a string".into())
            );
        }
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > INTEGER_MAX {
            return Err(
                self.refuse(JsonErrorKind::Range, "an integer below -(2^53-1); send it as a string".into())
            );
        }
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // Digits beyond 64 bits arrive here as a float; no reader agrees on what they meant.
        if value.is_finite() && value.fract() == 0.0 && value.abs() > INTEGER_MAX as f64 {
            return Err(
                self.refuse(JsonErrorKind::Range, "a whole number beyond 2^53-1; send it as a string".into())
            );
        }
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(self.refuse(JsonErrorKind::Number, "a number that is not finite".into())),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.string(value)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.string(&value)?;
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut values = Vec::new();
        loop {
            let at = Place::Index(self.at, values.len());
            match access.next_element_seed(Strict { depth, at: &at, found: self.found })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let at = Place::Key(self.at, &key);
            let here = Strict { depth, at: &at, found: self.found };
            here.string(&key)?;
            if map.contains_key(&key) {
                return Err(here.refuse(JsonErrorKind::DuplicateKey, "a key that occurs twice".into()));
            }
            let value = access.next_value_seed(here)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The canonical bytes of `value`: compact, keys sorted by their UTF-8 bytes.
///
/// With the numbers [`parse`] accepts, equal values have equal bytes, which is what approval and permit
/// digests need. It is not RFC 8785, whose key order is by UTF-16 code units.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_text(text, out),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(value, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(&Value::String(text.to_owned()).to_string());
        return;
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// The BLAKE3 digest of the canonical bytes, as `b3:` and 64 hexadecimal digits.
#[must_use]
pub fn digest(value: &Value) -> String {
    digest_of_canonical(&canonical(value))
}

/// The same of what is canonical already.
#[must_use]
pub fn digest_of_canonical(text: &str) -> String {
    format!("b3:{}", blake3::hash(text.as_bytes()).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, (&str, &str)>) {
        let found = parse(text.as_bytes());
        match (&found, expected) {
            (Ok(value), Ok(canonical_form)) => assert_eq!(canonical(value), canonical_form),
            (Err(error), Err((code, path))) => assert_eq!((error.kind().code(), error.path()), (code, path)),
            _ => panic!("{text}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn accepts_values_and_writes_them_canonically() {
        check(r#"{"b":1,"a":[true,null,"x"]}"#, Ok(r#"{"a":[true,null,"x"],"b":1}"#));
        check("9007199254740991", Ok("9007199254740991"));
        check("1.5", Ok("1.5"));
        check(r#""é\n""#, Ok("\"é\\n\""));
    }

    #[test]
    fn refuses_what_two_readers_would_read_differently() {
        check(r#"{"a":1,"a":2}"#, Err(("duplicate_key", "a")));
        check(r#"{"x":[{"k":1,"k":1}]}"#, Err(("duplicate_key", "x[0].k")));
        check("9007199254740992", Err(("range", "")));
        check(r#"{"n":-9007199254740993}"#, Err(("range", "n")));
        check(r#"{"n":9223372036854775808}"#, Err(("range", "n")));
        check(r#"{"n":18446744073709551616}"#, Err(("range", "n")));
        check("1e400", Err(("number", "")));
        check("NaN", Err(("json", "")));
        check(r#"{"s":"\u0000"}"#, Err(("nul", "s")));
        check(r#""\ud800""#, Err(("encoding", "")));
        check("\u{feff}1", Err(("encoding", "")));
        check("1 2", Err(("json", "")));
        check("{'a':1}", Err(("json", "")));
        check("[1,", Err(("json", "")));
        assert_eq!(parse(b"\"\xff\"").expect_err("invalid UTF-8").kind(), JsonErrorKind::Encoding);
    }

    #[test]
    fn bounds_nesting() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(limit::JSON_DEPTH_MAX).as_bytes()).is_ok());
        let error = parse(nested(limit::JSON_DEPTH_MAX + 1).as_bytes()).expect_err("too deep");
        assert_eq!(error.kind(), JsonErrorKind::Depth);
        assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn digest_ignores_key_order_only() {
        let digest_of = |text: &str| digest(&parse(text.as_bytes()).expect("valid"));
        assert_eq!(digest_of(r#"{"a":1,"b":2}"#), digest_of(r#"{ "b":2, "a":1 }"#));
        assert_ne!(digest_of(r#"{"a":1}"#), digest_of(r#"{"a":"1"}"#));
    }
}
