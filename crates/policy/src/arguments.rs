//! Arguments of tools as policies see them: typed from the tool's JSON schema.
//!
//! Strings, booleans, integers, numbers of up to four places, lists and objects of these are typed. Whatever
//! else a schema allows is left out, and a call that uses it counts as one with untrusted arguments: no policy
//! could look at it. A number that is typed and has more places than policies can see is refused and not
//! rounded, because the tool would get another number than was decided on.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::value::{Members, Value};

/// How deep arguments are typed; what lies deeper is left out.
const DEPTH_MAX: usize = 6;
/// Members that are typed of one object; those beyond, in the order of their names, are left out.
const MEMBERS_MAX: usize = 128;
/// Places that Cedar keeps of a number.
const PLACES_MAX: usize = 4;

/// The type of one argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Text,
    Bool,
    Long,
    Decimal,
    Set(Box<Shape>),
    Record(Shapes),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    shape: Shape,
    required: bool,
}

/// The types of an object's members.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shapes(BTreeMap<String, Member>);

/// Arguments as far as policies see them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) members: Members,
    /// Whether all of them are there.
    pub(crate) whole: bool,
}

/// Why arguments cannot be decided on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the argument `{0}` is not what the tool's schema says")]
    Mistyped(String),
    #[error(
        "the argument `{0}` has more than {PLACES_MAX} decimal places, or is too large, for a policy to see"
    )]
    Imprecise(String),
}

impl Shapes {
    /// The types of the arguments that `schema`, the JSON schema of a tool, describes.
    pub(crate) fn of(schema: &Json) -> Self {
        Self::of_object(schema, DEPTH_MAX)
    }

    fn of_object(schema: &Json, depth: usize) -> Self {
        let required = |name: &str| {
            let names = schema.get("required").and_then(Json::as_array);
            names.is_some_and(|names| names.iter().any(|it| it.as_str() == Some(name)))
        };
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
            return Self::default();
        };
        let sorted: BTreeMap<&String, &Json> = properties.iter().collect();
        let typed = sorted.into_iter().filter_map(|(name, schema)| {
            let (shape, nullable) = Shape::of(schema, depth)?;
            Some((name.clone(), Member { shape, required: required(name) && !nullable }))
        });
        Self(typed.take(MEMBERS_MAX).collect())
    }

    /// As it is kept with a question.
    pub(crate) fn to_record(&self) -> Json {
        let member = |(name, member): (&String, &Member)| {
            (name.clone(), json!([member.shape.to_record(), member.required]))
        };
        Json::Object(self.0.iter().map(member).collect())
    }

    /// What was kept.
    pub(crate) fn of_record(text: &Json) -> Option<Self> {
        let member = |(name, text): (&String, &Json)| match text.as_array()?.as_slice() {
            [shape, required] => {
                let member = Member { shape: Shape::of_record(shape)?, required: required.as_bool()? };
                Some((name.clone(), member))
            }
            _ => None,
        };
        text.as_object()?.iter().map(member).collect::<Option<_>>().map(Self)
    }

    /// As Cedar's JSON schema writes a record.
    pub(crate) fn to_schema(&self) -> Json {
        let attributes: Map<String, Json> = self
            .0
            .iter()
            .map(|(name, member)| {
                let mut schema = member.shape.to_schema();
                schema["required"] = json!(member.required);
                (name.clone(), schema)
            })
            .collect();
        json!({"type": "Record", "attributes": attributes})
    }

    /// What policies see of `arguments`.
    ///
    /// # Errors
    /// A typed number that would have to be rounded; a required argument that is missing or mistyped.
    pub(crate) fn see(&self, arguments: &Json) -> Result<Seen, Unfit> {
        self.see_object(arguments.as_object().unwrap_or(&Map::new()), "")
    }

    fn see_object(&self, object: &Map<String, Json>, path: &str) -> Result<Seen, Unfit> {
        let mut seen = Seen { members: Members::new(), whole: true };
        for (name, value) in object {
            let Some(member) = self.0.get(name) else {
                seen.whole = false;
                continue;
            };
            if value.is_null() && !member.required {
                continue;
            }
            let path = join(path, name);
            match member.shape.see(value, &path)? {
                Some((value, whole)) => {
                    seen.members.insert(name.clone(), value);
                    seen.whole &= whole;
                }
                None if member.required => return Err(Unfit::Mistyped(path)),
                None => seen.whole = false,
            }
        }
        let missing = self.0.iter().find(|(name, member)| member.required && !object.contains_key(*name));
        match missing {
            Some((name, _)) => Err(Unfit::Mistyped(join(path, name))),
            None => Ok(seen),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl Shape {
    /// The type that a schema describes, and whether null is one of its values.
    fn of(schema: &Json, depth: usize) -> Option<(Self, bool)> {
        let depth = depth.checked_sub(1)?;
        if let Some(of_any) = schema.get("anyOf").and_then(Json::as_array) {
            let is_null = |schema: &&Json| schema.get("type").and_then(Json::as_str) == Some("null");
            return match of_any.iter().filter(|it| !is_null(it)).collect::<Vec<_>>().as_slice() {
                [only] if of_any.len() <= 2 => Some((Self::of(only, depth)?.0, of_any.len() == 2)),
                _ => None,
            };
        }
        let (word, nullable) = match schema.get("type") {
            Some(Json::String(word)) => (word.as_str(), false),
            Some(Json::Array(words)) => {
                let words: Vec<&str> = words.iter().filter_map(Json::as_str).collect();
                match words.as_slice() {
                    [word, "null"] | ["null", word] => (*word, true),
                    _ => return None,
                }
            }
            _ => return None,
        };
        let shape = match word {
            "string" => Self::Text,
            "boolean" => Self::Bool,
            "integer" => Self::Long,
            "number" => Self::Decimal,
            "array" => Self::Set(Box::new(Self::of(schema.get("items")?, depth)?.0)),
            "object" if schema.get("properties").is_some() => Self::Record(Shapes::of_object(schema, depth)),
            _ => return None,
        };
        Some((shape, nullable))
    }

    fn to_record(&self) -> Json {
        match self {
            Self::Text => json!("text"),
            Self::Bool => json!("bool"),
            Self::Long => json!("long"),
            Self::Decimal => json!("decimal"),
            Self::Set(items) => json!([items.to_record()]),
            Self::Record(members) => members.to_record(),
        }
    }

    fn of_record(text: &Json) -> Option<Self> {
        Some(match text {
            Json::String(word) => match word.as_str() {
                "text" => Self::Text,
                "bool" => Self::Bool,
                "long" => Self::Long,
                "decimal" => Self::Decimal,
                _ => return None,
            },
            Json::Array(items) => match items.as_slice() {
                [items] => Self::Set(Box::new(Self::of_record(items)?)),
                _ => return None,
            },
            Json::Object(_) => Self::Record(Shapes::of_record(text)?),
            Json::Null | Json::Bool(_) | Json::Number(_) => return None,
        })
    }

    fn to_schema(&self) -> Json {
        match self {
            Self::Text => json!({"type": "String"}),
            Self::Bool => json!({"type": "Boolean"}),
            Self::Long => json!({"type": "Long"}),
            Self::Decimal => json!({"type": "Extension", "name": "decimal"}),
            Self::Set(items) => json!({"type": "Set", "element": items.to_schema()}),
            Self::Record(members) => members.to_schema(),
        }
    }

    /// What policies see of a value, and whether that is all of it; nothing for a value of another type.
    fn see(&self, value: &Json, path: &str) -> Result<Option<(Value, bool)>, Unfit> {
        Ok(match (self, value) {
            (Self::Text, Json::String(text)) => Some((Value::text(text.as_str()), true)),
            (Self::Bool, Json::Bool(it)) => Some((Value::Bool(*it), true)),
            (Self::Long, Json::Number(number)) => number.as_i64().map(|it| (Value::Long(it), true)),
            (Self::Decimal, Json::Number(number)) => {
                let decimal = decimal(number).ok_or_else(|| Unfit::Imprecise(path.to_owned()))?;
                Some((Value::Decimal(decimal), true))
            }
            (Self::Set(shape), Json::Array(items)) => {
                let mut seen = std::collections::BTreeSet::new();
                let mut whole = true;
                for item in items {
                    match shape.see(item, path)? {
                        Some((item, all)) => {
                            seen.insert(item);
                            whole &= all;
                        }
                        None => return Ok(None),
                    }
                }
                Some((Value::Set(seen), whole))
            }
            (Self::Record(shapes), Json::Object(object)) => {
                let seen = shapes.see_object(object, path)?;
                Some((Value::Record(seen.members), seen.whole))
            }
            (
                Self::Text | Self::Bool | Self::Long | Self::Decimal | Self::Set(_) | Self::Record(_),
                Json::Null
                | Json::Bool(_)
                | Json::Number(_)
                | Json::String(_)
                | Json::Array(_)
                | Json::Object(_),
            ) => None,
        })
    }
}

/// A number as Cedar reads it: digits, a point and one to four places. Nothing is rounded.
fn decimal(number: &serde_json::Number) -> Option<String> {
    /// The largest whole part of Cedar's decimals.
    const WHOLE_MAX: u64 = 922_337_203_685_477;
    let text = number.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, places) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(places) || places.len() > PLACES_MAX {
        return None;
    }
    // The last whole number is left to nobody: its places would have to be looked at, too.
    if whole.parse::<u64>().ok()? >= WHOLE_MAX {
        return None;
    }
    Some(format!("{sign}{whole}.{places}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Json {
        json!({"type": "object", "required": ["to", "amount"], "properties": {
            "to": {"type": "string"},
            "amount": {"type": "number"},
            "copies": {"type": ["integer", "null"]},
            "urgent": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "address": {"type": "object", "required": ["city"], "properties": {
                "city": {"type": "string"}, "extra": {}}},
            "anything": {},
            "either": {"type": ["string", "integer"]}}})
    }

    #[track_caller]
    fn check(arguments: &Json, expected: &str) {
        let found = match Shapes::of(&schema()).see(arguments) {
            Ok(Seen { members, whole }) => {
                let names: Vec<&String> = members.keys().collect();
                format!("{names:?} {}", if whole { "whole" } else { "in part" })
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_can_be_typed_is_seen() {
        check(&json!({"to": "a", "amount": 5}), r#"["amount", "to"] whole"#);
        check(
            &json!({"to": "a", "amount": 0.25, "copies": 2, "urgent": true, "tags": ["x", "x"],
                "address": {"city": "Ulm"}}),
            r#"["address", "amount", "copies", "tags", "to", "urgent"] whole"#,
        );
        check(&json!({"to": "a", "amount": 5, "copies": null, "urgent": null}), r#"["amount", "to"] whole"#);
    }

    #[test]
    fn what_cannot_be_typed_is_left_out_and_told() {
        check(&json!({"to": "a", "amount": 5, "anything": 1}), r#"["amount", "to"] in part"#);
        check(&json!({"to": "a", "amount": 5, "either": "x"}), r#"["amount", "to"] in part"#);
        check(&json!({"to": "a", "amount": 5, "unknown": 1}), r#"["amount", "to"] in part"#);
        check(&json!({"to": "a", "amount": 5, "copies": 1.5}), r#"["amount", "to"] in part"#);
        check(&json!({"to": "a", "amount": 5, "tags": ["x", 1]}), r#"["amount", "to"] in part"#);
        check(
            &json!({"to": "a", "amount": 5, "address": {"city": "Ulm", "extra": 1}}),
            r#"["address", "amount", "to"] in part"#,
        );
    }

    #[test]
    fn what_would_mislead_is_refused() {
        check(&json!({"amount": 5}), "the argument `to` is not what the tool's schema says");
        check(&json!({"to": 1, "amount": 5}), "the argument `to` is not what the tool's schema says");
        check(
            &json!({"to": "a", "amount": null}),
            "the argument `amount` is not what the tool's schema says",
        );
        check(
            &json!({"to": "a", "amount": 5, "address": {}}),
            "the argument `address.city` is not what the tool's schema says",
        );
        for amount in [json!(0.00001), json!(1e300), json!(-0.12345), json!(922_337_203_685_477_u64)] {
            check(
                &json!({"to": "a", "amount": amount}),
                "the argument `amount` has more than 4 decimal places, or is too large, for a policy to see",
            );
        }
    }

    #[test]
    fn numbers_are_written_as_cedar_reads_them() {
        let of = |value: Json| value.as_number().and_then(decimal);
        assert_eq!(of(json!(5)).as_deref(), Some("5.0"));
        assert_eq!(of(json!(-5)).as_deref(), Some("-5.0"));
        assert_eq!(of(json!(500.25)).as_deref(), Some("500.25"));
        assert_eq!(of(json!(0.1234)).as_deref(), Some("0.1234"));
        assert_eq!(of(json!(1e20)), None);
        assert_eq!(of(json!(1e-7)), None);
    }
}
