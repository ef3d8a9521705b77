//! JSON into places and values: the strict reader judges the bytes, this one finds the places.

use std::collections::HashSet;

use tenure_journal::json::{self, JsonErrorKind};
use tenure_journal::limit;

use crate::node::{Data, Key, Node};
use crate::problem::{Code, Place, Report};

/// Reads one document.
pub(crate) fn read(text: &str, report: &Report) -> Option<Node> {
    if let Err(error) = json::parse(text.as_bytes()) {
        let (place, message) = if error.kind() == JsonErrorKind::DuplicateKey {
            let root = Scanner::new(text).value();
            (root.and_then(|root| repeated(&root)).unwrap_or_default(), error.to_string())
        } else {
            split_place(&error)
        };
        report.error(Code::Json, place, message);
        return None;
    }
    let mut scanner = Scanner::new(text);
    let node = scanner.value();
    if node.is_none() {
        report.error(Code::Json, scanner.place, "invalid JSON");
    }
    node
}

/// The strict reader tells a syntax error's place at the end of its message, and others by their path.
fn split_place(error: &json::JsonError) -> (Place, String) {
    let text = error.to_string();
    let parsed = text.rsplit_once(" at line ").and_then(|(message, place)| {
        let (line, column) = place.split_once(" column ")?;
        Some((Place { line: line.parse().ok()?, column: column.parse().ok()? }, message.to_owned()))
    });
    parsed.unwrap_or((Place::default(), text))
}

/// The second of two equal keys of one map.
fn repeated(node: &Node) -> Option<Place> {
    match &node.data {
        Data::Map(entries) => {
            let mut seen = HashSet::new();
            let second = entries.iter().find(|(key, _)| !seen.insert(&key.name));
            let here = second.map(|(key, _)| key.at);
            here.or_else(|| entries.iter().find_map(|(_, value)| repeated(value)))
        }
        Data::List(values) => values.iter().find_map(repeated),
        Data::Null | Data::Bool(_) | Data::Integer(_) | Data::Float(_) | Data::Text(_) => None,
    }
}

/// Walks text to find places. The strict reader is the judge of what is JSON; anything this does not
/// expect ends the walk with `None`.
struct Scanner<'a> {
    text: &'a str,
    offset: usize,
    place: Place,
    depth: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, offset: 0, place: Place { line: 1, column: 1 }, depth: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.offset..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.offset += next.len_utf8();
        self.place = match next {
            '\n' => Place { line: self.place.line + 1, column: 1 },
            _ => Place { column: self.place.column + 1, ..self.place },
        };
        Some(next)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
            self.next();
        }
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.skip_space();
        (self.next()? == wanted).then_some(())
    }

    fn value(&mut self) -> Option<Node> {
        self.skip_space();
        let at = self.place;
        self.depth += 1;
        if self.depth > limit::JSON_DEPTH_MAX + 1 {
            return None;
        }
        let data = match self.peek()? {
            '{' => self.map()?,
            '[' => self.list()?,
            '"' => Data::Text(self.string()?),
            _ => self.word()?,
        };
        self.depth -= 1;
        Some(Node { at, data })
    }

    fn map(&mut self) -> Option<Data> {
        self.expect('{')?;
        let mut entries = Vec::new();
        loop {
            self.skip_space();
            let at = self.place;
            if self.peek()? == '}' {
                self.next();
                return Some(Data::Map(entries));
            }
            let key = Key { at, name: self.string()? };
            self.expect(':')?;
            entries.push((key, self.value()?));
            self.comma_or('}')?;
        }
    }

    fn list(&mut self) -> Option<Data> {
        self.expect('[')?;
        let mut values = Vec::new();
        loop {
            self.skip_space();
            if self.peek()? == ']' {
                self.next();
                return Some(Data::List(values));
            }
            values.push(self.value()?);
            self.comma_or(']')?;
        }
    }

    fn comma_or(&mut self, end: char) -> Option<()> {
        self.skip_space();
        match self.peek()? {
            ',' => self.next().map(drop),
            found => (found == end).then_some(()),
        }
    }

    fn string(&mut self) -> Option<String> {
        let start = self.offset;
        self.expect('"')?;
        loop {
            match self.next()? {
                '"' => return serde_json::from_str(&self.text[start..self.offset]).ok(),
                '\\' => drop(self.next()?),
                _ => {}
            }
        }
    }

    fn word(&mut self) -> Option<Data> {
        let start = self.offset;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) {
            self.next();
        }
        match &self.text[start..self.offset] {
            "null" => Some(Data::Null),
            "true" => Some(Data::Bool(true)),
            "false" => Some(Data::Bool(false)),
            number => match number.parse::<i64>() {
                Ok(value) => Some(Data::Integer(value)),
                Err(_) => number.parse().ok().map(Data::Float),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn keeps_the_place_of_keys_and_values() {
        let node = read("{\n  \"é\": [1,\n \"x\"]}", &Report::new("f")).expect("valid");
        let Data::Map(entries) = node.data else { panic!("a map") };
        assert_eq!(entries[0].0.at, Place { line: 2, column: 3 });
        let Data::List(values) = &entries[0].1.data else { panic!("a list") };
        assert_eq!(values[1].at, Place { line: 3, column: 2 });
    }

    #[test]
    fn bounds_its_nesting_after_a_repeated_key() {
        let text = format!("{{\"a\": 1, \"a\": {}", "[".repeat(1_000_000));
        let report = Report::new("f");
        assert!(read(&text, &report).is_none());
        let deepest = "[".repeat(limit::JSON_DEPTH_MAX) + "1" + &"]".repeat(limit::JSON_DEPTH_MAX);
        assert!(read(&deepest, &Report::new("f")).is_some());
    }

    #[test]
    fn tells_the_place_of_a_syntax_error() {
        let report = Report::new("mcp.json");
        assert!(read("{\n  \"a\": 1,\n}", &report).is_none());
        let problem = &report.into_problems()[0];
        assert_eq!(problem.location(), "mcp.json:3:1");
        assert_eq!(problem.message, "invalid JSON: trailing comma");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-1_000_000_i64..1_000_000).prop_map(Value::from),
            // Quarters: fractions that any two readers agree on to the last bit.
            (-1000_i32..1000).prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
            "[^\0]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::hash_map("[a-z\"\\\\é]{0,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_the_same_value_as_the_strict_reader(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("a value is JSON");
            let report = Report::new("f");
            let node = read(&text, &report).expect("valid");
            let found = node.value("it", &report).expect("numbers in range");
            prop_assert_eq!(found, json::parse(text.as_bytes()).expect("valid"));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = read(&text, &Report::new("f"));
        }
    }
}
