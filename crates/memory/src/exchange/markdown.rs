//! Markdown: what is kept for one scope, in an order that depends on nothing but what is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use tenure_journal::{MemoryScope, PROCEDURE_NAME_CHARS_MAX, is_block_name};

use super::fields::{self, line, set};
use super::{
    BlockRecord, ExchangeError, FORM, FactRecord, ProcedureRecord, Record, Standing, TEXT_BYTES_MAX,
};
use crate::block;
use crate::procedure::ProcedureText;

/// The heading over the blocks.
const BLOCKS: &str = "Pinned blocks";
/// The heading over the procedures.
const PROCEDURES: &str = "Procedures";
/// What comes before what a procedure says of when to use it.
const DESCRIPTION: &str = "description: ";

fn heading(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "Facts",
        Standing::Proposed => "Proposed",
        Standing::Closed => "Closed",
        Standing::Rejected => "Rejected",
    }
}

/// What the file of a scope is called: no two scopes share a name, and a user's cannot leave the directory.
#[must_use]
pub fn file_name(scope: &MemoryScope) -> String {
    let mut name = String::new();
    for byte in scope.to_string().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte as char),
            b':' => name.push('.'),
            _ => {
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    name + ".md"
}

/// Those of `records` that are kept for `scope`, as one file.
#[must_use]
pub fn to_markdown(scope: &MemoryScope, records: &[Record]) -> String {
    let mut text = format!("---\nmemory: {FORM}\nscope: {scope}\n---\n");
    let mut blocks: BTreeMap<&str, &BlockRecord> = BTreeMap::new();
    let mut procedures: BTreeMap<&str, &ProcedureText> = BTreeMap::new();
    let mut facts: BTreeMap<(Standing, &str), Vec<&FactRecord>> = BTreeMap::new();
    for record in records {
        match record {
            Record::Block(block) if block.scope == *scope => drop(blocks.insert(&block.name, block)),
            Record::Fact(fact) if fact.scope == *scope => {
                let subject = fact.subject.as_deref().unwrap_or_default();
                facts.entry((fact.standing, subject)).or_default().push(fact);
            }
            Record::Procedure(ProcedureRecord { scope: of, text }) if of == scope => {
                procedures.insert(&text.name, text);
            }
            Record::Block(_) | Record::Fact(_) | Record::Procedure(_) => {}
        }
    }
    if !blocks.is_empty() {
        let _ = write!(text, "\n# {BLOCKS}\n");
    }
    for block in blocks.values() {
        let _ = write!(text, "\n## {}\n\n", block.name);
        quote(&mut text, &block.text);
    }
    if !procedures.is_empty() {
        let _ = write!(text, "\n# {PROCEDURES}\n");
    }
    for ProcedureText { name, description, steps } in procedures.values() {
        let _ = write!(text, "\n## {name}\n\n{DESCRIPTION}{description}\n\n");
        quote(&mut text, steps);
    }
    let mut last = None;
    for ((standing, subject), facts) in &mut facts {
        if last != Some(*standing) {
            let _ = write!(text, "\n# {}\n", heading(*standing));
            last = Some(*standing);
        }
        if !subject.is_empty() {
            let _ = write!(text, "\n## {subject}\n");
        }
        text.push('\n');
        facts.sort_by_key(|fact| (fact.learned_at, fact.statement.as_str(), fact.id));
        for fact in facts {
            let _ = writeln!(text, "- {}", fact.statement);
            for (field, value) in fields::written(fact) {
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let _ = writeln!(text, "  - {field}: {shown}");
            }
        }
    }
    text
}

fn quote(text: &mut String, quoted: &str) {
    for line in quoted.lines() {
        *text += format!("> {line}").trim_end();
        text.push('\n');
    }
}

/// What the lines so far are part of.
enum Place {
    Nowhere,
    Blocks,
    Block(BlockRecord),
    Procedures,
    Procedure(ProcedureText),
    Facts(Standing, Option<String>),
}

/// Reads a file of one scope.
///
/// # Errors
/// The first line that is not as [`to_markdown`] writes it, and its field.
pub fn from_markdown(text: &str) -> Result<Vec<Record>, ExchangeError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ExchangeError::too_long());
    }
    let mut lines = (1..).zip(text.lines());
    let scope = scope(&mut lines)?;
    let mut records = Vec::new();
    let mut place = Place::Nowhere;
    for (number, text) in lines {
        place = read(&scope, number, text, place, &mut records)?;
    }
    finish(&scope, place, text.lines().count().max(1), &mut records)?;
    Ok(records)
}

/// The lines between the rules at the beginning.
fn scope<'t>(lines: &mut impl Iterator<Item = (usize, &'t str)>) -> Result<MemoryScope, ExchangeError> {
    let expected = "expected `---`, `memory: 1`, `scope: <scope>` and `---` at the beginning";
    let mut next = || lines.next().ok_or_else(|| ExchangeError::at(1, expected));
    let (number, first) = next()?;
    if first.trim_end() != "---" {
        return Err(ExchangeError::at(number, expected));
    }
    let (mut form, mut scope) = (None, None);
    loop {
        let (number, text) = next()?;
        if text.trim_end() == "---" {
            break;
        }
        let (field, value) = text.split_once(':').ok_or_else(|| ExchangeError::at(number, expected))?;
        match field.trim() {
            "memory" => form = value.trim().parse().ok().filter(|form: &u64| *form == FORM),
            "scope" => {
                let wrong =
                    |error: tenure_journal::ScopeError| ExchangeError::of(number, "scope", error.to_string());
                scope = Some(value.strip_prefix(' ').unwrap_or(value).parse().map_err(wrong)?);
            }
            other => {
                return Err(ExchangeError::of(number, other, "is not known; known are memory and scope"));
            }
        }
    }
    form.ok_or_else(|| ExchangeError::of(2, "memory", format!("expected `memory: {FORM}`")))?;
    scope.ok_or_else(|| ExchangeError::of(2, "scope", "is missing"))
}

fn read(
    scope: &MemoryScope,
    number: usize,
    text: &str,
    place: Place,
    records: &mut Vec<Record>,
) -> Result<Place, ExchangeError> {
    let plain = text.trim_end();
    if let Some(title) = plain.strip_prefix("# ") {
        finish(scope, place, number, records)?;
        let standing = Standing::ALL.into_iter().find(|standing| heading(*standing) == title.trim());
        return match standing {
            Some(standing) => Ok(Place::Facts(standing, None)),
            None if title.trim() == BLOCKS => Ok(Place::Blocks),
            None if title.trim() == PROCEDURES => Ok(Place::Procedures),
            None => Err(ExchangeError::at(
                number,
                format!(
                    "expected `# {BLOCKS}`, `# {PROCEDURES}`, `# Facts`, `# Proposed`, `# Closed` or `# Rejected`"
                ),
            )),
        };
    }
    if let Some(title) = plain.strip_prefix("## ") {
        let title = title.trim();
        return match place {
            Place::Facts(standing, _) => {
                let subject =
                    line(&Value::from(title)).map_err(|error| ExchangeError::of(number, "subject", error))?;
                Ok(Place::Facts(standing, Some(subject)))
            }
            Place::Blocks | Place::Block(_) => {
                finish(scope, place, number, records)?;
                if !is_block_name(title) {
                    let expected = "expected 1 to 64 lower-case letters, digits, `-` and `_`";
                    return Err(ExchangeError::of(number, "name", expected));
                }
                let (name, text) = (title.to_owned(), String::new());
                Ok(Place::Block(BlockRecord { scope: scope.clone(), name, text }))
            }
            Place::Procedures | Place::Procedure(_) => {
                finish(scope, place, number, records)?;
                let (description, steps) = (String::new(), String::new());
                Ok(Place::Procedure(ProcedureText { name: title.to_owned(), description, steps }))
            }
            Place::Nowhere => {
                Err(ExchangeError::at(number, "expected a heading of the first level before it"))
            }
        };
    }
    if plain.is_empty() {
        return Ok(place);
    }
    match place {
        Place::Block(mut block) => {
            let quoted = plain.strip_prefix('>').ok_or_else(|| {
                ExchangeError::of(number, "text", "expected `> ` before each line of a block")
            })?;
            block.text += quoted.strip_prefix(' ').unwrap_or(quoted);
            block.text.push('\n');
            Ok(Place::Block(block))
        }
        Place::Procedure(mut text) => {
            if let Some(quoted) = plain.strip_prefix('>') {
                text.steps += quoted.strip_prefix(' ').unwrap_or(quoted);
                text.steps.push('\n');
            } else if let Some(description) = plain.strip_prefix(DESCRIPTION)
                && text.description.is_empty()
            {
                description.clone_into(&mut text.description);
            } else {
                let expected =
                    "expected one line with `description: `, and `> ` before each line of the steps";
                return Err(ExchangeError::at(number, expected));
            }
            Ok(Place::Procedure(text))
        }
        Place::Facts(standing, subject) => {
            fact(scope, number, plain, (standing, subject.as_deref()), records)?;
            Ok(Place::Facts(standing, subject))
        }
        Place::Blocks | Place::Procedures | Place::Nowhere => {
            Err(ExchangeError::at(number, "expected a heading before it"))
        }
    }
}

/// A line of a fact: its statement, or one of its fields.
fn fact(
    scope: &MemoryScope,
    number: usize,
    text: &str,
    (standing, subject): (Standing, Option<&str>),
    records: &mut Vec<Record>,
) -> Result<(), ExchangeError> {
    if let Some(statement) = text.strip_prefix("- ") {
        let statement = line(&Value::from(statement));
        let statement = statement.map_err(|error| ExchangeError::of(number, "statement", error))?;
        let record = FactRecord::new(scope.clone(), statement);
        records.push(Record::Fact(FactRecord { standing, subject: subject.map(str::to_owned), ..record }));
        return Ok(());
    }
    let expected = "expected `- ` and a statement, or two spaces, `- `, a field, `: ` and its value";
    let field = text.strip_prefix("  - ").and_then(|rest| rest.split_once(": "));
    let (field, value) = field.ok_or_else(|| ExchangeError::at(number, expected))?;
    match records.last_mut() {
        Some(Record::Fact(record)) if record.standing == standing && record.subject.as_deref() == subject => {
            set(record, field, &Value::from(value))
                .map_err(|message| ExchangeError::of(number, field, message))
        }
        Some(Record::Fact(_) | Record::Block(_) | Record::Procedure(_)) | None => {
            Err(ExchangeError::of(number, field, "stands before the statement that it is about"))
        }
    }
}

/// A block and a procedure end where something else begins.
fn finish(
    scope: &MemoryScope,
    place: Place,
    number: usize,
    records: &mut Vec<Record>,
) -> Result<(), ExchangeError> {
    match place {
        Place::Block(block) => {
            let text = block::text(&block.text);
            let text = text.map_err(|error| {
                ExchangeError::of(number, "text", format!("of block `{}` {error}", block.name))
            })?;
            records.push(Record::Block(BlockRecord { text, ..block }));
        }
        Place::Procedure(ProcedureText { name, description, steps }) => {
            let text = ProcedureText::new(&name, &description, &steps);
            let wrong = |error| ExchangeError::at(number, format!("of procedure `{}` {error}", shown(&name)));
            records.push(Record::Procedure(ProcedureRecord {
                scope: scope.clone(),
                text: text.map_err(wrong)?,
            }));
        }
        Place::Nowhere | Place::Blocks | Place::Procedures | Place::Facts(..) => {}
    }
    Ok(())
}

/// A name as an error repeats it.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(PROCEDURE_NAME_CHARS_MAX).collect()
}
