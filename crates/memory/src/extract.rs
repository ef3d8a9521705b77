//! Facts and procedures that a model reads out of a turn: what its answer has to be, and what of it is taken.
//!
//! An answer is one JSON object, and nothing around it. The turn's items were shown with numbers from 1, and its calls
//! with those that follow. Every fact has to name the items that say it, and a procedure the calls that show it; a
//! number that was not shown is no source, and what has none is not taken. A procedure is taken only where calls were
//! shown.
//!
//! ```json
//! {"facts": [{"subject": "Ada", "statement": "Ada lives in Rome.", "sources": [1], "valid_from": "2026-02-01",
//!             "confidence": 90, "replaces": "fact_0193…"}],
//!  "procedure": {"name": "refund-order", "description": "To refund an order.", "steps": "1. Find it. …",
//!                "sources": [4, 5, 6]}}
//! ```
//!
//! An answer that is not of this form is read as a whole or not at all; within one that is, each fact and the procedure
//! is taken or dropped by itself. Members that nobody knows are passed over.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tenure_journal::{Confidence, FactId, Timestamp, json, limit};

use crate::fact::{bounded, normalised};
use crate::moment;
use crate::procedure::ProcedureText;

/// A fact of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFact {
    /// What it is about.
    pub subject: String,
    /// What is so.
    pub statement: String,
    /// Since when.
    pub valid_from: Option<Timestamp>,
    /// Until when.
    pub valid_to: Option<Timestamp>,
    /// How sure the model is.
    pub confidence: Confidence,
    /// Places among what was shown, from 0, in order and each once: 1 to [`limit::EXTRACTED_ITEMS_MAX`].
    pub sources: Vec<usize>,
    /// The fact that it contradicts. No two facts of an answer name the same.
    pub replaces: Option<FactId>,
}

/// The procedure of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadProcedure {
    /// What it says.
    pub text: ProcedureText,
    /// Places among what was shown, items and then calls, from 0, in order and each once: 1 to
    /// [`limit::EXTRACTED_ITEMS_MAX`], the calls before the items where there are more.
    pub sources: Vec<usize>,
}

/// What was shown of a turn: the first numbers are those of items, and the next those of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// How many items.
    pub items: usize,
    /// How many calls; none: no procedure was asked for.
    pub calls: usize,
}

/// What was taken of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// The facts, no two with the same statement.
    pub facts: Vec<ReadFact>,
    /// The procedure.
    pub procedure: Option<ReadProcedure>,
    /// How many facts and procedures were dropped.
    pub dropped: u32,
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is too long to be looked at.
    #[error("the answer has more than {} bytes", limit::EXTRACTION_ANSWER_BYTES_MAX)]
    TooLong,
    /// It is something else.
    #[error("the answer is not a JSON object")]
    NotAnObject,
    /// It has no list of facts.
    #[error("the answer has no list `facts`")]
    NoFacts,
}

/// Reads an answer about a turn. Facts beyond `facts_max` are dropped.
///
/// # Errors
/// The answer is not of the form.
pub fn read(answer: &str, shown: Shown, facts_max: u32) -> Result<Read, Unreadable> {
    if answer.len() > limit::EXTRACTION_ANSWER_BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    let Ok(Value::Object(members)) = json::parse(answer.trim().as_bytes()) else {
        return Err(Unreadable::NotAnObject);
    };
    let Some(Value::Array(facts)) = members.get("facts") else { return Err(Unreadable::NoFacts) };
    let facts_max = facts_max.min(limit::EXTRACTED_FACTS_MAX) as usize;
    let (mut said, mut replaced) = (BTreeSet::new(), BTreeSet::new());
    let mut taken = Vec::new();
    for fact in facts {
        let Some(mut fact) = fact.as_object().and_then(|members| read_fact(members, shown.items)) else {
            continue;
        };
        if taken.len() == facts_max || !said.insert(normalised(&fact.statement)) {
            continue;
        }
        fact.replaces = fact.replaces.filter(|old| replaced.insert(*old));
        taken.push(fact);
    }
    let dropped = u32::try_from(facts.len() - taken.len()).unwrap_or(u32::MAX);
    let given = members.get("procedure").filter(|value| !value.is_null());
    let procedure = given.and_then(|value| read_procedure(value.as_object()?, shown));
    let missed = u32::from(given.is_some() && procedure.is_none());
    Ok(Read { facts: taken, procedure, dropped: dropped.saturating_add(missed) })
}

/// A procedure, if everything about it is as it has to be.
fn read_procedure(members: &Map<String, Value>, shown: Shown) -> Option<ReadProcedure> {
    let text = |name| members.get(name).and_then(Value::as_str);
    let text = ProcedureText::new(text("name")?, text("description")?, text("steps")?).ok()?;
    let places = places(members.get("sources")?.as_array()?, shown.items + shown.calls);
    let (items, mut sources): (Vec<usize>, Vec<usize>) =
        places.into_iter().partition(|place| *place < shown.items);
    if sources.is_empty() {
        return None;
    }
    sources.extend(items);
    sources.truncate(limit::EXTRACTED_ITEMS_MAX);
    sources.sort_unstable();
    Some(ReadProcedure { text, sources })
}

/// A fact, if everything about it is as it has to be.
fn read_fact(members: &Map<String, Value>, shown: usize) -> Option<ReadFact> {
    let text = |name| members.get(name).and_then(Value::as_str);
    let statement = bounded("statement", text("statement")?, limit::FACT_STATEMENT_BYTES_MAX).ok()?;
    let subject = bounded("subject", text("subject")?, limit::FACT_SUBJECT_BYTES_MAX).ok()?;
    let (valid_from, valid_to) =
        (read_moment(members.get("valid_from"))?, read_moment(members.get("valid_to"))?);
    let is_backwards = valid_from.zip(valid_to).is_some_and(|(from, to)| to <= from);
    let confidence = match members.get("confidence") {
        None | Some(Value::Null) => Confidence::FULL,
        Some(value) => Confidence::percent(value.as_u64()?)?,
    };
    let sources = places(members.get("sources")?.as_array()?, shown);
    let sources: Vec<usize> = sources.into_iter().take(limit::EXTRACTED_ITEMS_MAX).collect();
    if normalised(&statement).is_empty() || is_backwards || sources.is_empty() {
        return None;
    }
    // A fact that does not exist contradicts nothing, and the statement may be so all the same.
    let replaces = text("replaces").and_then(|id| id.parse().ok());
    Some(ReadFact { subject, statement, valid_from, valid_to, confidence, sources, replaces })
}

/// Absent, or a moment. `None`: it is neither.
fn read_moment(value: Option<&Value>) -> Option<Option<Timestamp>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => moment(value.as_str()?).map(Some),
    }
}

/// The places that numbers name, of so many that were shown.
fn places(numbers: &[Value], shown: usize) -> BTreeSet<usize> {
    let place = |number: &Value| {
        let number = usize::try_from(number.as_u64()?).ok()?;
        number.checked_sub(1).filter(|place| *place < shown)
    };
    numbers.iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three items and no calls.
    const TURN: Shown = Shown { items: 3, calls: 0 };

    fn statements(answer: &str) -> (Vec<String>, u32) {
        let read = read(answer, TURN, 4).unwrap_or_else(|error| panic!("{answer}: {error}"));
        (read.facts.into_iter().map(|fact| fact.statement).collect(), read.dropped)
    }

    #[test]
    fn a_whole_fact_is_read_whole() {
        let answer = r#" {"facts":[{"subject":" Ada ","statement":"Ada  lives in Rome.","sources":[3,1,3,9],
            "valid_from":"2026-02-01","valid_to":null,"confidence":90,
            "replaces":"fact_0190d5e4aabb7ccd8eeff00112233445","mood":"sure"}],"notes":1} "#;
        let fact = ReadFact {
            subject: "Ada".to_owned(),
            statement: "Ada lives in Rome.".to_owned(),
            valid_from: moment("2026-02-01"),
            valid_to: None,
            confidence: Confidence::percent(90).expect("a percentage"),
            sources: vec![0, 2],
            replaces: "fact_0190d5e4aabb7ccd8eeff00112233445".parse().ok(),
        };
        assert_eq!(read(answer, TURN, 4), Ok(Read { facts: vec![fact], ..Read::default() }));
    }

    #[test]
    fn what_is_no_answer_is_not_read() {
        for (answer, why) in [
            ("", Unreadable::NotAnObject),
            ("Nothing worth keeping.", Unreadable::NotAnObject),
            ("```json\n{\"facts\":[]}\n```", Unreadable::NotAnObject),
            ("[]", Unreadable::NotAnObject),
            ("{\"facts\":[],\"facts\":[]}", Unreadable::NotAnObject),
            ("{}", Unreadable::NoFacts),
            ("{\"facts\":{}}", Unreadable::NoFacts),
            ("{\"facts\":null}", Unreadable::NoFacts),
        ] {
            assert_eq!(read(answer, TURN, 4), Err(why), "{answer}");
        }
        let long = format!("{{\"facts\":[]{}}}", " ".repeat(limit::EXTRACTION_ANSWER_BYTES_MAX));
        assert_eq!(read(&long, TURN, 4), Err(Unreadable::TooLong));
        assert_eq!(read("{\"facts\":[]}", TURN, 4), Ok(Read::default()));
    }

    #[test]
    fn a_fact_that_is_not_as_it_has_to_be_is_dropped_alone() {
        let good = r#"{"subject":"Ada","statement":"Ada lives in Rome.","sources":[1]}"#;
        for bad in [
            r#""Ada lives in Rome.""#,
            r#"{"subject":"Ada","statement":"No source."}"#,
            r#"{"subject":"Ada","statement":"No source of this turn.","sources":[0,4,99,-1,1.5,"1"]}"#,
            r#"{"subject":"Ada","statement":"...","sources":[1]}"#,
            r#"{"subject":"","statement":"No subject.","sources":[1]}"#,
            r#"{"statement":"No subject.","sources":[1]}"#,
            r#"{"subject":"Ada","statement":"A day that is none.","sources":[1],"valid_from":"last May"}"#,
            r#"{"subject":"Ada","statement":"Backwards.","sources":[1],"valid_from":"2026-02-01","valid_to":"2026-01-01"}"#,
            r#"{"subject":"Ada","statement":"Surer than sure.","sources":[1],"confidence":101}"#,
            r#"{"subject":"Ada","statement":"ADA lives in Rome","sources":[2]}"#,
        ] {
            let answer = format!("{{\"facts\":[{good},{bad}]}}");
            assert_eq!(statements(&answer), (vec!["Ada lives in Rome.".to_owned()], 1), "{bad}");
        }
        let long = "x".repeat(limit::FACT_STATEMENT_BYTES_MAX + 1);
        let answer =
            format!("{{\"facts\":[{{\"subject\":\"Ada\",\"statement\":\"{long}\",\"sources\":[1]}}]}}");
        assert_eq!(statements(&answer), (vec![], 1));
    }

    #[test]
    fn a_fact_is_replaced_once_and_no_more_are_taken_than_asked_for() {
        let fact = |number: usize| {
            format!(
                r#"{{"subject":"Ada","statement":"Number {number}.","sources":[1],"replaces":"fact_0190d5e4aabb7ccd8eeff00112233445"}}"#
            )
        };
        let facts: Vec<String> = (0..6).map(fact).collect();
        let read = read(&format!("{{\"facts\":[{}]}}", facts.join(",")), TURN, 4).expect("an answer");
        assert_eq!((read.facts.len(), read.dropped), (4, 2));
        assert_eq!(read.facts.iter().filter(|fact| fact.replaces.is_some()).count(), 1);
        assert!(read.facts[0].replaces.is_some());
    }

    /// What is taken of an answer with this procedure, of a turn with three items and four calls.
    fn procedure(procedure: &str) -> (Option<ReadProcedure>, u32) {
        let answer = format!("{{\"facts\":[],\"procedure\":{procedure}}}");
        let read = read(&answer, Shown { calls: 4, ..TURN }, 4).expect("an answer");
        (read.procedure, read.dropped)
    }

    #[test]
    fn a_whole_procedure_is_read_whole() {
        let (read, dropped) = procedure(
            r#"{"name":"refund-order","description":" To refund\nan order. ","steps":"1. Look.  \n2. Pay.\n",
                "sources":[7,5,1,5,99,0],"mood":"sure"}"#,
        );
        let text = ProcedureText {
            name: "refund-order".to_owned(),
            description: "To refund an order.".to_owned(),
            steps: "1. Look.\n2. Pay.".to_owned(),
        };
        assert_eq!((read, dropped), (Some(ReadProcedure { text, sources: vec![0, 4, 6] }), 0));
        assert_eq!(procedure("null"), (None, 0));
        let (read, _) = procedure(r#"{"name":"a","description":"b","steps":"c","sources":[1,2,3,4,5,6,7]}"#);
        assert_eq!(read.map(|read| read.sources.len()), Some(7));
    }

    #[test]
    fn a_procedure_that_is_not_as_it_has_to_be_is_dropped_alone() {
        let steps = "x".repeat(limit::PROCEDURE_STEPS_BYTES_MAX + 1);
        let long = format!(r#"{{"name":"a","description":"b","steps":"{steps}","sources":[4]}}"#);
        for bad in [
            r#""refund""#,
            "[]",
            "7",
            r#"[{"name":"a","description":"b","steps":"c","sources":[4]}]"#,
            r#"{"description":"b","steps":"c","sources":[4]}"#,
            r#"{"name":"Refund order","description":"b","steps":"c","sources":[4]}"#,
            r#"{"name":"../a","description":"b","steps":"c","sources":[4]}"#,
            r#"{"name":"a","steps":"c","sources":[4]}"#,
            r#"{"name":"a","description":" ","steps":"c","sources":[4]}"#,
            r#"{"name":"a","description":"b","sources":[4]}"#,
            r#"{"name":"a","description":"b","steps":"\n ","sources":[4]}"#,
            r#"{"name":"a","description":"b","steps":["c"],"sources":[4]}"#,
            r#"{"name":"a","description":"b","steps":"c"}"#,
            r#"{"name":"a","description":"b","steps":"c","sources":[]}"#,
            r#"{"name":"a","description":"b","steps":"c","sources":[1,2,3]}"#,
            r#"{"name":"a","description":"b","steps":"c","sources":[0,8,-1,1.5,"4"]}"#,
            &long,
        ] {
            assert_eq!(procedure(bad), (None, 1), "{bad}");
        }
        let unasked =
            r#"{"facts":[],"procedure":{"name":"a","description":"b","steps":"c","sources":[1,4]}}"#;
        let read = read(unasked, TURN, 4).expect("an answer");
        assert_eq!((read.procedure, read.dropped), (None, 1), "nobody asked for one");
    }
}
