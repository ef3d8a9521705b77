//! What was written: a value with the place of each part, the same for YAML and JSON.
//!
//! Reading into places first and into meaning second lets one set of checks serve every file, tell all
//! problems of a file at once, and point at each of them.

use serde_json::{Map, Number, Value};
use tenure_journal::json::INTEGER_MAX;

use crate::problem::{Code, Place, Report, listed, quote, suggest};

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) at: Place,
    pub(crate) name: String,
}

impl Node {
    fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "true or false",
            Data::Integer(_) | Data::Float(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    fn mismatch(&self, what: &str, expected: &str, report: &Report) {
        let message = format!("{what} must be {expected}, not {}", self.kind());
        match &self.data {
            Data::Bool(value) if expected == "text" => {
                report.hinted(Code::Type, self.at, message, format!("put it in quotes: \"{value}\""));
            }
            Data::Integer(_) | Data::Float(_) if expected == "text" => {
                report.hinted(Code::Type, self.at, message, "put it in quotes");
            }
            Data::Null
            | Data::Bool(_)
            | Data::Integer(_)
            | Data::Float(_)
            | Data::Text(_)
            | Data::List(_)
            | Data::Map(_) => report.error(Code::Type, self.at, message),
        }
    }

    /// The text, or a problem; `what` names it in the message, back-ticks included.
    pub(crate) fn text(&self, what: &str, report: &Report) -> Option<&str> {
        let Data::Text(text) = &self.data else {
            self.mismatch(what, "text", report);
            return None;
        };
        Some(text)
    }

    /// Text that is not empty.
    pub(crate) fn filled(&self, what: &str, report: &Report) -> Option<&str> {
        let text = self.text(what, report)?;
        if text.trim().is_empty() {
            report.error(Code::Missing, self.at, format!("{what} is empty"));
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&self, what: &str, report: &Report) -> Option<bool> {
        let Data::Bool(value) = &self.data else {
            self.mismatch(what, "true or false", report);
            return None;
        };
        Some(*value)
    }

    pub(crate) fn integer(
        &self,
        what: &str,
        range: std::ops::RangeInclusive<u64>,
        report: &Report,
    ) -> Option<u64> {
        let Data::Integer(value) = self.data else {
            self.mismatch(what, "a whole number", report);
            return None;
        };
        let found = u64::try_from(value).ok().filter(|value| range.contains(value));
        if found.is_none() {
            let message = format!("{what} must be from {} to {}, not `{value}`", range.start(), range.end());
            report.error(Code::Range, self.at, message);
        }
        found
    }

    pub(crate) fn number(&self, what: &str, report: &Report) -> Option<f64> {
        match self.data {
            // Exact: beyond 2^53 a price is refused anyway.
            Data::Integer(value) => Some(value as f64),
            Data::Float(value) => Some(value),
            Data::Null | Data::Bool(_) | Data::Text(_) | Data::List(_) | Data::Map(_) => {
                self.mismatch(what, "a number", report);
                None
            }
        }
    }

    pub(crate) fn list(&self, what: &str, report: &Report) -> Option<&[Node]> {
        let Data::List(values) = &self.data else {
            self.mismatch(what, "a list", report);
            return None;
        };
        Some(values)
    }

    pub(crate) fn map(&self, what: &str, report: &Report) -> Option<&[(Key, Node)]> {
        let Data::Map(entries) = &self.data else {
            self.mismatch(what, "a map", report);
            return None;
        };
        Some(entries)
    }

    /// One of `words`.
    pub(crate) fn word<T>(
        &self,
        what: &str,
        words: &[&str],
        read: impl Fn(&str) -> Option<T>,
        report: &Report,
    ) -> Option<T> {
        let text = self.text(what, report)?;
        let found = read(text);
        if found.is_none() {
            let message = format!("{what} cannot be {}", quote(text));
            report.hinted(Code::UnknownValue, self.at, message, suggest(text, "values", words));
        }
        found
    }

    /// A list of texts.
    pub(crate) fn texts(&self, what: &str, report: &Report) -> Option<Vec<String>> {
        let values = self.list(what, report)?;
        let each = format!("each of {what}");
        let texts: Vec<_> =
            values.iter().filter_map(|value| value.text(&each, report)).map(str::to_owned).collect();
        (texts.len() == values.len()).then_some(texts)
    }

    /// The same value without places, with the numbers that every JSON reader agrees on.
    pub(crate) fn value(&self, what: &str, report: &Report) -> Option<Value> {
        match &self.data {
            Data::Null => Some(Value::Null),
            Data::Bool(value) => Some(Value::Bool(*value)),
            Data::Integer(value) if value.unsigned_abs() <= INTEGER_MAX => Some(Value::from(*value)),
            Data::Integer(value) => {
                let message = format!("{what} holds `{value}`, beyond ±(2^53-1)");
                report.hinted(Code::Range, self.at, message, "write it as text");
                None
            }
            Data::Float(value) => match Number::from_f64(*value) {
                Some(number) if value.fract() != 0.0 || value.abs() <= INTEGER_MAX as f64 => {
                    Some(Value::Number(number))
                }
                _ => {
                    report.error(Code::Range, self.at, format!("{what} holds a number no JSON has"));
                    None
                }
            },
            Data::Text(text) => Some(Value::String(text.clone())),
            Data::List(values) => values.iter().map(|value| value.value(what, report)).collect(),
            Data::Map(entries) => entries
                .iter()
                .map(|(key, value)| Some((key.name.clone(), value.value(what, report)?)))
                .collect::<Option<Map<_, _>>>()
                .map(Value::Object),
        }
    }
}

/// A map whose keys are known.
pub(crate) struct Fields<'a> {
    /// Where the map begins.
    pub(crate) at: Place,
    entries: &'a [(Key, Node)],
    within: String,
    report: &'a Report,
}

impl<'a> Fields<'a> {
    /// Opens `node`, which messages call `what`, and reports every key that is not in `known`.
    /// `what` is empty for a whole document.
    pub(crate) fn open(node: &'a Node, what: &str, known: &[&str], report: &'a Report) -> Option<Self> {
        let fields = Self::open_any(node, what, report)?;
        for (key, _) in fields.entries {
            if !known.contains(&key.name.as_str()) {
                fields.unknown(key, known);
            }
        }
        Some(fields)
    }

    /// Opens `node` without judging its keys.
    pub(crate) fn open_any(node: &'a Node, what: &str, report: &'a Report) -> Option<Self> {
        let name = if what.is_empty() { "the file" } else { what };
        let entries = node.map(name, report)?;
        let within = if what.is_empty() { String::new() } else { format!(" in {what}") };
        Some(Self { at: node.at, entries, within, report })
    }

    /// Reports that `key` is none of `known`.
    pub(crate) fn unknown(&self, key: &Key, known: &[&str]) {
        let message = format!("unknown key {}{}", quote(&key.name), self.within);
        self.report.hinted(Code::UnknownKey, key.at, message, suggest(&key.name, "keys", known));
    }

    /// The value of `key`; a key without a value counts as absent.
    pub(crate) fn find(&self, key: &str) -> Option<&'a Node> {
        let found = self.entries.iter().find(|(candidate, _)| candidate.name == key);
        found.map(|(_, node)| node).filter(|node| node.data != Data::Null)
    }

    /// The value of `key`, or a problem.
    pub(crate) fn require(&self, key: &str) -> Option<&'a Node> {
        let found = self.find(key);
        if found.is_none() {
            let message = format!("{} is missing{}", listed(&[key]), self.within);
            self.report.error(Code::Missing, self.at, message);
        }
        found
    }

    /// Every key and its value, in the order written.
    pub(crate) fn entries(&self) -> &'a [(Key, Node)] {
        self.entries
    }
}
