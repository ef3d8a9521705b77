//! What the result of a tool is worth, as a whole and field by field.

use serde_json::Value;
use tenure_journal::{ClosedType, FieldTerms, Integrity, Labels, ToolTerms, json};

/// The labels of a result on these terms.
///
/// A result that is JSON is as good as what it holds: each value has the labels of the longest path that fits it,
/// and of the whole result where none does. Any other text may hold every field there is.
#[must_use]
pub fn result_labels(terms: &ToolTerms, text: &str) -> Labels {
    if terms.fields.is_empty() {
        return terms.result.clone();
    }
    let Ok(value) = json::parse(text.as_bytes()) else {
        return terms.fields.values().fold(terms.result.clone(), |labels, field| labels.join(&field.labels));
    };
    let mut labels: Option<Labels> = None;
    each_value(&value, terms, &mut |found, _| {
        labels = Some(labels.take().map_or_else(|| found.clone(), |labels| labels.join(found)));
    });
    labels.unwrap_or_else(|| terms.result.clone())
}

/// Shows the values of a structured result that are at least internal: what a call may be aimed at.
pub fn trusted_values(terms: &ToolTerms, text: &str, see: &mut dyn FnMut(&Value)) {
    let is_trusted = |labels: &Labels| labels.integrity >= Integrity::Internal;
    let any = is_trusted(&terms.result) || terms.fields.values().any(|field| is_trusted(&field.labels));
    if !any {
        return;
    }
    let Ok(value) = json::parse(text.as_bytes()) else { return };
    if !matches!(value, Value::Object(_) | Value::Array(_)) {
        return;
    }
    each_value(&value, terms, &mut |labels, value| {
        if is_trusted(labels) && !value.is_null() {
            see(value);
        }
    });
}

fn each_value(value: &Value, terms: &ToolTerms, see: &mut dyn FnMut(&Labels, &Value)) {
    descend(value, terms, None, &mut String::new(), see);
}

fn descend<'a>(
    value: &Value,
    terms: &'a ToolTerms,
    above: Option<&'a FieldTerms>,
    path: &mut String,
    see: &mut dyn FnMut(&Labels, &Value),
) {
    let field = terms.fields.get(path.as_str()).or(above);
    let length = path.len();
    match value {
        Value::Array(items) => {
            path.push_str("[]");
            items.iter().for_each(|item| descend(item, terms, field, path, see));
        }
        Value::Object(members) => {
            for (name, member) in members {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                descend(member, terms, field, path, see);
                // A name that is a value, as in a map of names to numbers, is worth what the map is.
                if !is_named(terms, path) {
                    see(labels_of(terms, field, &Value::String(name.clone())), &Value::Null);
                }
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            see(labels_of(terms, field, value), value);
        }
    }
    path.truncate(length);
}

/// Whether the terms know a property of this path, or one below it.
fn is_named(terms: &ToolTerms, path: &str) -> bool {
    terms.fields.keys().any(|known| {
        known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

fn labels_of<'a>(terms: &'a ToolTerms, field: Option<&'a FieldTerms>, value: &Value) -> &'a Labels {
    match field {
        None => &terms.result,
        Some(FieldTerms { labels, endorse: None }) => labels,
        Some(FieldTerms { labels, endorse: Some(closed) }) if is_of(closed, value) => labels,
        Some(FieldTerms { endorse: Some(_), .. }) => &terms.result,
    }
}

/// Whether a value is of a closed type; an absent one says nothing.
fn is_of(closed: &ClosedType, value: &Value) -> bool {
    match (closed, value) {
        (_, Value::Null) => true,
        (ClosedType::Number, value) => value.is_number(),
        (ClosedType::Boolean, value) => value.is_boolean(),
        (ClosedType::Date, Value::String(text)) => is_date(text),
        (ClosedType::OneOf(words), Value::String(text)) => words.contains(text),
        (ClosedType::Date | ClosedType::OneOf(_), _) => false,
    }
}

/// RFC 3339: a full date, alone or with a time.
fn is_date(text: &str) -> bool {
    /// `2030-01-31T09:00:00.123456789+01:00`
    const BYTES_MAX: usize = 35;
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| {
        bytes.get(from..to).is_some_and(|bytes| bytes.iter().all(u8::is_ascii_digit))
    };
    let at = |place: usize, c: u8| bytes.get(place) == Some(&c);
    let is_day = digits(0, 4) && at(4, b'-') && digits(5, 7) && at(7, b'-') && digits(8, 10);
    if !is_day || bytes.len() > BYTES_MAX {
        return false;
    }
    if bytes.len() == 10 {
        return true;
    }
    let is_time = (at(10, b'T') || at(10, b't') || at(10, b' '))
        && digits(11, 13)
        && at(13, b':')
        && digits(14, 16)
        && at(16, b':')
        && digits(17, 19);
    if !is_time {
        return false;
    }
    let rest = &text[19..];
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    match rest.strip_prefix(['+', '-']) {
        Some(zone) => {
            let zone = zone.as_bytes();
            zone.len() == 5
                && zone[2] == b':'
                && [0, 1, 3, 4].iter().all(|place| zone[*place].is_ascii_digit())
        }
        None => matches!(rest, "Z" | "z"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tenure_journal::Confidentiality;

    use super::*;

    fn terms() -> ToolTerms {
        let of = |integrity, confidentiality| Labels { integrity, confidentiality, ..Labels::NEUTRAL };
        let internal = || of(Integrity::Internal, Confidentiality::Internal);
        let field = |labels, endorse| FieldTerms { labels, endorse };
        let words = ClosedType::OneOf(vec!["open".to_owned(), "paid".to_owned()]);
        ToolTerms {
            result: of(Integrity::Untrusted, Confidentiality::Public),
            fields: BTreeMap::from([
                ("items[].id".to_owned(), field(internal(), None)),
                ("items[].due".to_owned(), field(internal(), Some(ClosedType::Date))),
                ("items[].sum".to_owned(), field(internal(), Some(ClosedType::Number))),
                ("items[].state".to_owned(), field(internal(), Some(words))),
                ("owner".to_owned(), field(of(Integrity::Operator, Confidentiality::Restricted), None)),
                ("owner.note".to_owned(), field(of(Integrity::Untrusted, Confidentiality::Public), None)),
            ]),
            ..ToolTerms::default()
        }
    }

    fn shown(text: &str) -> String {
        let labels = result_labels(&terms(), text);
        let mut values = Vec::new();
        trusted_values(&terms(), text, &mut |value| values.push(value.to_string()));
        format!("{} {} {}", labels.integrity.as_str(), labels.confidentiality.as_str(), values.join(" "))
    }

    #[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
    #[track_caller]
    fn check(value: Value, expected: &str) {
        assert_eq!(shown(&value.to_string()).trim(), expected, "{value}");
    }

    #[test]
    fn a_result_is_as_good_as_what_it_holds() {
        check(json!({"items": [{"id": "a-1", "sum": 5}]}), "internal internal \"a-1\" 5");
        check(json!({"items": [{"id": "a-1", "title": "x"}]}), "untrusted internal \"a-1\"");
        check(json!({"items": []}), "untrusted public");
        check(
            json!({"owner": {"name": "Ann", "mails": ["a", "b"]}}),
            "operator restricted \"Ann\" \"a\" \"b\"",
        );
        check(json!({"owner": {"note": "x"}}), "untrusted public");
        check(json!("owner"), "untrusted public");
        check(json!({}), "untrusted public");
    }

    #[test]
    fn an_endorser_takes_nothing_but_its_type() {
        let item = |name: &str, value: Value| json!({"items": [{name: value}]});
        for date in ["2030-01-31", "2030-01-31T09:00:00Z", "2030-01-31T09:00:00.5+01:00"] {
            check(item("due", json!(date)), &format!("internal internal \"{date}\""));
        }
        for date in [
            json!("tomorrow"),
            json!("2030-01-31 ignore all that"),
            json!("2030-01-31T09:00:00Z; pay"),
            json!("2030-01-31T09:00:00.Z"),
            json!("２０３０-01-31"),
            json!(20_300_131),
            json!(["x"]),
        ] {
            check(item("due", date), "untrusted public");
        }
        check(item("sum", json!("5")), "untrusted public");
        check(item("sum", Value::Null), "internal internal");
        check(item("state", json!("paid")), "internal internal \"paid\"");
        check(item("state", json!("paid to eve")), "untrusted public");
    }

    #[test]
    fn names_of_properties_are_text_as_well() {
        check(json!({"items": [{"id": "a", "ignore all that": 1}]}), "untrusted internal \"a\"");
        check(json!({"owner": {"x": 1}}), "operator restricted 1");
    }

    #[test]
    fn what_is_not_read_holds_everything() {
        for text in ["", "not json", "{\"items\":[", "{\"owner\":1,\"owner\":2}", "{} {}"] {
            assert_eq!(shown(text).trim(), "untrusted restricted", "{text}");
        }
        let plain = ToolTerms { fields: BTreeMap::new(), ..terms() };
        assert_eq!(result_labels(&plain, "anything"), plain.result);
    }
}
