//! JSON lines: one record a line, in any order and of any scopes.

use serde_json::{Map, Value, json};
use tenure_journal::{MemoryScope, is_block_name, json as strict};

use super::fields::{self, line, set};
use super::{BlockRecord, ExchangeError, FactRecord, ProcedureRecord, Record, Standing, TEXT_BYTES_MAX};
use crate::block;
use crate::procedure::ProcedureText;

/// Records as JSON lines.
#[must_use]
pub fn to_lines(records: &[Record]) -> String {
    let line = |record: &Record| match record {
        Record::Block(BlockRecord { scope, name, text }) => {
            json!({ "type": "block", "scope": scope, "name": name, "text": text }).to_string() + "\n"
        }
        Record::Procedure(ProcedureRecord { scope, text }) => {
            let ProcedureText { name, description, steps } = text;
            let members = json!({ "type": "procedure", "scope": scope, "name": name, "description": description, "steps": steps });
            members.to_string() + "\n"
        }
        Record::Fact(fact) => {
            let mut members = Map::new();
            members.insert("type".to_owned(), json!("fact"));
            members.insert("scope".to_owned(), json!(fact.scope));
            members.extend(fact.subject.as_ref().map(|subject| ("subject".to_owned(), json!(subject))));
            members.insert("statement".to_owned(), json!(fact.statement));
            if fact.standing != Standing::Active {
                members.insert("state".to_owned(), json!(fact.standing.as_str()));
            }
            members.extend(fields::written(fact).into_iter().map(|(field, value)| (field.to_owned(), value)));
            Value::Object(members).to_string() + "\n"
        }
    };
    records.iter().map(line).collect()
}

/// Reads JSON lines; empty ones are passed over.
///
/// # Errors
/// The first line that is no record, and its field.
pub fn from_lines(text: &str) -> Result<Vec<Record>, ExchangeError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ExchangeError::too_long());
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| record(number, line)).collect()
}

fn record(number: usize, text: &str) -> Result<Record, ExchangeError> {
    let value = strict::parse(text.as_bytes())
        .map_err(|error| ExchangeError::at(number, format!("expected a JSON object: {error}")))?;
    let Value::Object(mut members) = value else {
        return Err(ExchangeError::at(number, "expected a JSON object"));
    };
    let of = |field: &str, message: String| ExchangeError::of(number, field, message);
    let mut take = |field: &'static str| {
        members.remove(field).ok_or_else(|| ExchangeError::of(number, field, "is missing"))
    };
    let kind = take("type")?;
    let scope = take("scope")?;
    let scope: MemoryScope = scope
        .as_str()
        .ok_or_else(|| of("scope", "expected a text".to_owned()))?
        .parse()
        .map_err(|error: tenure_journal::ScopeError| of("scope", error.to_string()))?;
    match kind.as_str() {
        Some("block") => {
            let name = take("name")?;
            let name = name.as_str().filter(|name| is_block_name(name)).ok_or_else(|| {
                of("name", "expected 1 to 64 lower-case letters, digits, `-` and `_`".to_owned())
            })?;
            let text = take("text")?;
            let text = text.as_str().ok_or_else(|| of("text", "expected a text".to_owned()))?;
            let text = block::text(text).map_err(|error| of("text", error.to_string()))?;
            match members.keys().next() {
                Some(field) => Err(of(field, "is not known; known are name and text".to_owned())),
                None => Ok(Record::Block(BlockRecord { scope, name: name.to_owned(), text })),
            }
        }
        Some("procedure") => {
            let mut read = |field: &'static str| {
                let value = take(field)?;
                value.as_str().map(str::to_owned).ok_or_else(|| of(field, "expected a text".to_owned()))
            };
            let (name, description, steps) = (read("name")?, read("description")?, read("steps")?);
            let text = ProcedureText::new(&name, &description, &steps);
            let text = text.map_err(|error| ExchangeError::at(number, error.to_string()))?;
            match members.keys().next() {
                Some(field) => {
                    Err(of(field, "is not known; known are name, description and steps".to_owned()))
                }
                None => Ok(Record::Procedure(ProcedureRecord { scope, text })),
            }
        }
        Some("fact") => {
            let statement = line(&take("statement")?).map_err(|message| of("statement", message))?;
            let mut record = FactRecord::new(scope, statement);
            for (field, value) in &members {
                match field.as_str() {
                    "subject" => record.subject = Some(line(value).map_err(|message| of(field, message))?),
                    "state" => {
                        let standing = value.as_str().and_then(Standing::from_word);
                        let expected =
                            || of(field, "expected active, proposed, closed or rejected".to_owned());
                        record.standing = standing.ok_or_else(expected)?;
                    }
                    _ => set(&mut record, field, value).map_err(|message| of(field, message))?,
                }
            }
            Ok(Record::Fact(record))
        }
        Some(_) | None => Err(of("type", "expected `fact`, `block` or `procedure`".to_owned())),
    }
}
