//! YAML into places and values.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Spanned};

use crate::node::{Data, Key, Node};
use crate::problem::{Code, Place, Report, quote};

/// Nesting of YAML; as JSON from outside.
const DEPTH_MAX: usize = tenure_journal::limit::JSON_DEPTH_MAX;
/// Nodes of one file, aliases written out: configuration is written by people.
const NODES_MAX: usize = 50_000;
/// Nodes that aliases may add.
const ALIASED_NODES_MAX: usize = 10_000;

/// Reads one document. `lines_before` is the number of lines of the file before `text`.
/// An empty document is an empty map.
pub(crate) fn read(text: &str, lines_before: u32, report: &Report) -> Option<Node> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_documents: 1,
            flow_nesting_limit: DEPTH_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_NODES_MAX,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(root) => {
            let node = place(root, lines_before);
            Some(if node.data == Data::Null { Node { data: Data::Map(Vec::new()), ..node } } else { node })
        }
        Err(error) => {
            let at = error.location().map_or_else(Place::default, |location| at(location, lines_before));
            let duplicate = matches!(error, serde_saphyr::Error::DuplicateMappingKey { .. });
            let code = if duplicate { Code::Duplicate } else { Code::Yaml };
            report.error(code, at, message(&error));
            None
        }
    }
}

/// What is wrong, without the place, which is told apart from it.
fn message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    if let Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return format!("{} occurs twice", quote(key));
    }
    if let Error::Budget { .. } = error {
        return "more than one document, or too many parts".to_owned();
    }
    let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let line = text.lines().next().unwrap_or_default();
    let bare = line.rsplit_once(" at line ").map_or(line, |(message, _)| message);
    let shown: String = bare.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("invalid YAML: {shown}")
}

fn at(location: Location, lines_before: u32) -> Place {
    let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    match count(location.line()) {
        0 => Place::default(),
        line => Place { line: line.saturating_add(lines_before), column: count(location.column()) },
    }
}

fn place(raw: Spanned<Raw>, lines_before: u32) -> Node {
    let data = match raw.value {
        Raw::Scalar(data) => data,
        Raw::List(values) => Data::List(values.into_iter().map(|value| place(value, lines_before)).collect()),
        Raw::Map(entries) => Data::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Key { at: at(key.referenced, lines_before), name: key.value };
                    (key, place(value, lines_before))
                })
                .collect(),
        ),
    };
    Node { at: at(raw.referenced, lines_before), data }
}

enum Raw {
    Scalar(Data),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Data::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Data::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Data::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Data::Integer(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Raw, E> {
        let value = i64::try_from(value).map_err(|_| E::custom("a whole number that is too large"))?;
        Ok(Raw::Scalar(Data::Integer(value)))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Raw, E> {
        let value = i64::try_from(value).map_err(|_| E::custom("a whole number that is too large"))?;
        Ok(Raw::Scalar(Data::Integer(value)))
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<Raw, E> {
        Err(E::custom("a whole number that is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Data::Float(value)))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Raw, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Raw, E> {
        if value.contains('\0') {
            return Err(E::custom("text with a NUL character"));
        }
        Ok(Raw::Scalar(Data::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Raw::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_ok(text: &str) -> Node {
        let report = Report::new("f");
        let node = read(text, 0, &report);
        assert_eq!(report.into_problems(), []);
        node.expect("no problem was reported")
    }

    #[track_caller]
    fn refuses(text: &str, expected: &str) {
        let report = Report::new("f");
        assert!(read(text, 0, &report).is_none(), "{text}");
        let problem = &report.into_problems()[0];
        assert_eq!(format!("{} {}", problem.location(), problem.message), expected, "{text}");
    }

    #[test]
    fn keeps_the_place_of_keys_and_values() {
        let node = read_ok("a: 1\nb:\n  - x\n  - {c: true}\n");
        let Data::Map(entries) = &node.data else { panic!("{node:?}") };
        assert_eq!(entries[1].0.at, Place { line: 2, column: 1 });
        let Data::List(values) = &entries[1].1.data else { panic!("{node:?}") };
        assert_eq!(values[0].at, Place { line: 3, column: 5 });
        assert_eq!(read_ok("").data, Data::Map(Vec::new()));
        let Data::Map(entries) = read_ok("on: yes").data else { panic!("a map") };
        assert_eq!((entries[0].0.name.as_str(), &entries[0].1.data), ("on", &Data::Text("yes".into())));
    }

    #[test]
    fn bounds_what_a_document_can_grow_to() {
        let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
        for (name, of) in ["b", "c", "d", "e", "f"].iter().zip(["a", "b", "c", "d", "e"]) {
            let aliases = vec![format!("*{of}"); 10].join(", ");
            bomb.push_str(&format!("{name}: &{name} [{aliases}]\n"));
        }
        let report = Report::new("f");
        assert!(read(&bomb, 0, &report).is_none());
        let report = Report::new("f");
        assert!(read(&"[".repeat(100_000), 0, &report).is_none());
    }

    #[test]
    fn refuses_what_could_be_read_two_ways() {
        refuses("a: 1\n'a': 2\n", "f:2:1 `a` occurs twice");
        refuses("<<: {a: 1}\n", "f:1:1 invalid YAML: merge key not allowed here");
        refuses("a: [1\n", "f:1:4 invalid YAML: unclosed bracket '['");
        refuses("a: !thing x\n", "f:1:11 invalid YAML: unsupported tag `!thing`");
        refuses("a: 1\n---\nb: 2\n", "f:2:1 more than one document, or too many parts");
    }
}
