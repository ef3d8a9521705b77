//! Questions as text: what was asked is kept with the answer, so that anybody can ask it again.
//!
//! The text is JSON, which journals hold as it is and nobody but this module reads. Booleans, whole numbers, strings,
//! lists and objects are themselves; what JSON has no form for is an object of one member whose name begins with
//! `$`, and a name that begins so by itself gets a second `$`.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};
use tenure_journal::Asked;

use crate::arguments::{Seen, Shapes};
use crate::question::{Question, Typed};
use crate::value::{Members, Name, Thing, Value};

/// Bytes of a question that is kept: a command or arguments that are longer are in the journal already.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// What was put to a policy set: one question, on whose behalf, and how many approved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    pub(crate) question: Question,
    pub(crate) behind: Option<Thing>,
    pub(crate) approvers: u32,
    /// Digest of the exact arguments.
    pub(crate) digest: String,
}

/// A text that is no question of this release's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored question cannot be read by this release")]
pub struct Unreadable;

impl Asking {
    /// As it is kept. Nothing for a call whose arguments no policy could see, which was not decided, and for a
    /// question that is too long.
    #[must_use]
    pub fn to_record(&self) -> Option<Asked> {
        let Question { principal, action, resource, context, tool } = &self.question;
        let mut text = json!({
            "principal": thing(principal),
            "action": action,
            "resource": thing(resource),
            "context": members(context),
            "arguments": self.digest,
        });
        if let Some(behind) = &self.behind {
            text["behind"] = thing(behind);
        }
        if self.approvers > 0 {
            text["approvers"] = json!(self.approvers);
        }
        if let Some(Typed { shapes, seen }) = tool {
            let Seen { members: seen, whole } = seen.as_ref().ok()?;
            text["tool"] = json!({"shapes": shapes.to_record(), "seen": members(seen), "whole": whole});
        }
        let asked = Asked::new(&text);
        (asked.as_str().len() <= KEPT_BYTES_MAX).then_some(asked)
    }

    /// # Errors
    /// It was not written by [`Asking::to_record`], or has been changed.
    pub(crate) fn of_record(asked: &Asked) -> Result<Self, Unreadable> {
        asked.read().as_ref().and_then(read).ok_or(Unreadable)
    }
}

fn read(text: &Json) -> Option<Asking> {
    let text = text.as_object()?;
    let known = ["principal", "action", "resource", "context", "arguments", "behind", "approvers", "tool"];
    if text.keys().any(|name| !known.contains(&name.as_str())) {
        return None;
    }
    let tool = match text.get("tool") {
        None => None,
        Some(tool) => Some(Typed {
            shapes: Shapes::of_record(tool.get("shapes")?)?,
            seen: Ok(Seen {
                members: read_members(tool.get("seen")?)?,
                whole: tool.get("whole")?.as_bool()?,
            }),
        }),
    };
    let question = Question {
        principal: read_thing(text.get("principal")?)?,
        action: word(ACTIONS, text.get("action")?)?,
        resource: read_thing(text.get("resource")?)?,
        context: read_members(text.get("context")?)?,
        tool,
    };
    Some(Asking {
        question,
        behind: text.get("behind").map(|behind| read_thing(behind).ok_or(())).transpose().ok()?,
        approvers: text.get("approvers").map_or(Some(0), |count| u32::try_from(count.as_u64()?).ok())?,
        digest: text.get("arguments")?.as_str()?.to_owned(),
    })
}

/// Every action without those of tools.
const ACTIONS: &[&str] = &[
    "model.call",
    "tools.list",
    "tool.call",
    "data.read",
    "memory.read",
    "memory.write",
    "command.run",
    "network.connect",
    "secret.use",
    "session.create",
    "session.send",
    "session.read",
    "session.cancel",
    "session.release",
    "session.delete",
    "approval.decide",
    "policy.publish",
    "audit.read",
];

/// Every kind of entity.
const KINDS: &[&str] = &[
    "Agent",
    "User",
    "Service",
    "Group",
    "Model",
    "Server",
    "Tool",
    "Dataset",
    "MemoryStore",
    "Environment",
    "Host",
    "Secret",
    "Session",
    "Ticket",
    "PolicySet",
    "AuditLog",
];

fn word(words: &'static [&'static str], text: &Json) -> Option<&'static str> {
    let text = text.as_str()?;
    words.iter().find(|word| **word == text).copied()
}

fn name(name: &Name) -> Json {
    json!([name.kind, name.id])
}

fn read_name(text: &Json) -> Option<Name> {
    match text.as_array()?.as_slice() {
        [kind, id] => Some(Name::new(word(KINDS, kind)?, id.as_str()?)),
        _ => None,
    }
}

fn thing(thing: &Thing) -> Json {
    let mut text = json!({ "name": name(&thing.name) });
    if !thing.attributes.is_empty() {
        text["has"] = members(&thing.attributes);
    }
    if !thing.parents.is_empty() {
        text["in"] = thing.parents.iter().map(name).collect();
    }
    text
}

fn read_thing(text: &Json) -> Option<Thing> {
    let parents = match text.get("in") {
        None => Vec::new(),
        Some(parents) => parents.as_array()?.iter().map(read_name).collect::<Option<_>>()?,
    };
    Some(Thing {
        name: read_name(text.get("name")?)?,
        attributes: text.get("has").map_or(Some(Members::new()), read_members)?,
        parents,
    })
}

fn members(members: &Members) -> Json {
    let pair = |(name, member): (&String, &Value)| {
        let name = if name.starts_with('$') { format!("${name}") } else { name.clone() };
        (name, written(member))
    };
    Json::Object(members.iter().map(pair).collect())
}

fn read_members(text: &Json) -> Option<Members> {
    text.as_object()?.iter().map(|(name, member)| Some((plain(name)?, read_value(member)?))).collect()
}

/// A name as it was before it was written.
fn plain(name: &str) -> Option<String> {
    match name.strip_prefix('$') {
        None => Some(name.to_owned()),
        Some(rest) if rest.starts_with('$') => Some(rest.to_owned()),
        Some(_) => None,
    }
}

fn written(value: &Value) -> Json {
    match value {
        Value::Bool(it) => json!(it),
        Value::Long(it) => json!(it),
        Value::Text(it) => json!(it),
        Value::Decimal(it) => json!({ "$decimal": it }),
        Value::Moment(it) => json!({ "$moment": it }),
        Value::Set(items) => items.iter().map(written).collect(),
        Value::Record(inner) => members(inner),
    }
}

fn read_value(text: &Json) -> Option<Value> {
    Some(match text {
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(it) => Value::Long(it.as_i64()?),
        Json::String(it) => Value::Text(it.clone()),
        Json::Array(items) => Value::Set(items.iter().map(read_value).collect::<Option<BTreeSet<_>>>()?),
        Json::Object(object) => match special(object) {
            Some(("$decimal", it)) => Value::Decimal(it.as_str()?.to_owned()),
            Some(("$moment", it)) => Value::Moment(it.as_i64()?),
            Some(_) => return None,
            None => Value::Record(read_members(text)?),
        },
        Json::Null => return None,
    })
}

/// The one member of an object that stands for something else.
fn special(object: &Map<String, Json>) -> Option<(&str, &Json)> {
    let mut members = object.iter();
    let (name, member) = members.next()?;
    let is_special = name.starts_with('$') && !name.starts_with("$$") && members.next().is_none();
    is_special.then_some((name.as_str(), member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_they_were() {
        let inner = Members::from([
            ("$decimal".to_owned(), Value::text("no number")),
            ("$$".to_owned(), Value::Bool(true)),
        ]);
        let values = [
            Value::Bool(false),
            Value::Long(i64::MIN),
            Value::text("$moment"),
            Value::Decimal("-1.5000".into()),
            Value::Moment(-1),
            Value::Set(BTreeSet::new()),
            Value::Set([Value::Long(1), Value::text("1"), Value::Decimal("1.0".into())].into()),
            Value::Record(Members::new()),
            Value::Record(Members::from([("$moment".to_owned(), Value::Long(1))])),
            Value::Record(inner),
        ];
        for expected in values {
            let text = written(&expected);
            let text: Json = serde_json::from_str(&text.to_string()).expect("JSON");
            assert_eq!(read_value(&text).as_ref(), Some(&expected), "{text}");
        }
        for text in ["null", "1.5", r#"{"$x":1}"#, r#"{"$decimal":1}"#, r#"{"a":1,"$moment":1}"#, "[null]"] {
            assert_eq!(read_value(&serde_json::from_str(text).expect("JSON")), None, "{text}");
        }
    }

    #[test]
    fn every_action_and_kind_of_the_schema_can_be_read() {
        let schema = include_str!("../policies/schema.cedarschema");
        for kind in schema.lines().filter_map(|line| line.strip_prefix("entity ")) {
            let kind = kind.split([' ', ';']).next().expect("a name");
            assert!(KINDS.contains(&kind) || kind == "Project", "{kind}");
        }
        let declared: Vec<&str> = schema
            .lines()
            .filter_map(|line| line.strip_prefix("action "))
            .flat_map(|line| line.split('"').skip(1).step_by(2).take_while(|word| *word != "effect"))
            .filter(|word| word.contains('.'))
            .collect();
        assert!(declared.len() >= 15, "{declared:?}");
        for action in declared {
            assert!(ACTIONS.contains(&action), "{action}");
        }
    }
}
