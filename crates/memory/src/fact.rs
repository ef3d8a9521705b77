//! Facts as values: what makes two of them the same, what each step of their life changes, and what was believed when.
//!
//! Nothing here is stored or looked up. Whoever keeps facts reads them, asks here what becomes of them, and writes
//! that at the version it read.

use std::fmt;

use serde_json::Value;
use tenure_journal::{
    Closing, Confidence, Fact, FactId, FactSource, FactState, Labels, MemoryScope, Timestamp, json, limit,
};
use unicode_normalization::UnicodeNormalization as _;

use crate::text;

/// What stands before a term that is a whole statement; no term of a text begins so.
const SAID: char = '=';

/// What a fact is about where nobody said and its scope names nobody.
const GENERAL: &str = "general";

/// A fact with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFact {
    /// Its id.
    pub id: FactId,
    /// The fact.
    pub fact: Fact,
}

/// What somebody says for the memory to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// For whom.
    pub scope: MemoryScope,
    /// What it is about; a word for the scope where nobody said.
    pub subject: Option<String>,
    /// What is so.
    pub statement: String,
    /// Since when.
    pub valid_from: Option<Timestamp>,
    /// Until when.
    pub valid_to: Option<Timestamp>,
    /// How sure they are.
    pub confidence: Confidence,
    /// The labels of what they had before them.
    pub labels: Labels,
    /// Who, and when.
    pub by: FactSource,
}

/// Why something is not kept, or does not become what somebody wants. The text is for people and models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactRefusal {
    /// A member is empty.
    #[error("`{0}` must not be empty")]
    Empty(&'static str),
    /// A member is too long.
    #[error("`{field}` must have at most {bytes_max} bytes")]
    TooLong {
        /// The member.
        field: &'static str,
        /// Its limit.
        bytes_max: usize,
    },
    /// It ends before it begins.
    #[error("`valid_to` must be later than `valid_from`")]
    Backwards,
    /// The scope is full.
    #[error("the scope has {} facts, which is the most; close or erase some", limit::FACTS_PER_SCOPE_MAX)]
    Full,
    /// A person said no to the same statement.
    #[error("a person rejected this statement; it is not proposed again")]
    Rejected,
    /// It is closed already.
    #[error("the fact is closed{}", superseded(.0.as_ref()))]
    Closed(Option<FactId>),
    /// It waits for a person.
    #[error("the fact waits for a person to accept or reject it")]
    Proposed,
    /// It waits for nobody.
    #[error("the fact does not wait for a person")]
    NotProposed,
    /// It is not closed.
    #[error("the fact is not closed")]
    NotClosed,
}

fn superseded(by: Option<&FactId>) -> String {
    by.map_or_else(String::new, |by| format!("; `{by}` took its place"))
}

/// A statement without what makes no difference: case, width of letters, white space, and punctuation at its ends.
#[must_use]
pub fn normalised(statement: &str) -> String {
    let folded: String = statement.nfkc().flat_map(char::to_lowercase).collect();
    let joined = folded.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_edge =
        |c: char| matches!(c, '.' | '!' | ',' | ';' | '"' | '\'' | '。' | '！') || c.is_whitespace();
    joined.trim_matches(is_edge).to_owned()
}

/// Words that make no difference between two statements with the same other words.
const ARTICLES: &[&str] = &[
    "a", "an", "das", "dem", "den", "der", "des", "die", "ein", "eine", "einem", "einen", "einer", "el",
    "la", "las", "le", "les", "los", "the", "un", "una", "une",
];

/// A text as the words that make a difference, in order: without case, accents, punctuation and articles. Endings
/// stay: `lived` is not `lives`.
fn telling_words(text: &str) -> Vec<String> {
    let is_accent = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    let folded: String = text.nfkd().filter(|c| !is_accent(c)).nfc().flat_map(char::to_lowercase).collect();
    let words = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.filter(|word| ARTICLES.binary_search(word).is_err()).map(str::to_owned).collect()
}

/// Whether two facts about the same thing say the same, as far as that can be told without understanding them.
#[must_use]
pub fn resembles(fact: &Fact, other: &Fact) -> bool {
    normalised(&fact.subject) == normalised(&other.subject)
        && telling_words(&fact.statement) == telling_words(&other.statement)
}

/// The term that facts with this statement are found by, whatever became of them.
#[must_use]
pub fn said_term(statement: &str) -> String {
    format!("{SAID}{}", json::digest(&Value::String(normalised(statement))))
}

/// What a fact is found by: its words, once it was believed, and always its statement as a whole.
#[must_use]
pub fn terms(fact: &Fact) -> Vec<String> {
    let mut terms = match fact.state {
        FactState::Active | FactState::Closed(_) => text::distinct_stems(&shown(fact)),
        FactState::Proposed | FactState::Rejected { .. } => Vec::new(),
    };
    terms.push(said_term(&fact.statement));
    terms
}

/// A fact as one text: its statement, after what it is about where that is not part of it.
#[must_use]
pub fn shown(fact: &Fact) -> String {
    let is_told =
        fact.subject == GENERAL || fact.statement.to_lowercase().contains(&fact.subject.to_lowercase());
    if is_told { fact.statement.clone() } else { format!("{}: {}", fact.subject, fact.statement) }
}

impl Saying {
    /// The fact that it becomes.
    ///
    /// # Errors
    /// A member that is empty or too long, and an end before the beginning.
    pub fn to_fact(&self, state: FactState) -> Result<Fact, FactRefusal> {
        let statement = bounded("statement", &self.statement, limit::FACT_STATEMENT_BYTES_MAX)?;
        let subject = match &self.subject {
            Some(subject) => bounded("subject", subject, limit::FACT_SUBJECT_BYTES_MAX)?,
            None => usual_subject(&self.scope),
        };
        if normalised(&statement).is_empty() {
            return Err(FactRefusal::Empty("statement"));
        }
        if self.valid_to.is_some_and(|to| self.valid_from.is_some_and(|from| to <= from)) {
            return Err(FactRefusal::Backwards);
        }
        Ok(Fact {
            scope: self.scope.clone(),
            subject,
            statement,
            valid_from: self.valid_from,
            valid_to: self.valid_to,
            learned_at: self.by.at,
            confidence: self.confidence,
            sources: vec![self.by.clone()],
            said: 1,
            labels: self.labels.clone(),
            supersedes: None,
            superseded_from: None,
            superseded_by: None,
            state,
        })
    }
}

/// A text on one line, without what cannot be seen, of 1 to `bytes_max` bytes.
pub(crate) fn bounded(field: &'static str, text: &str, bytes_max: usize) -> Result<String, FactRefusal> {
    let plain = |word: &str| word.chars().filter(|c| !c.is_control()).collect::<String>();
    let line =
        text.split_whitespace().map(plain).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.len() {
        0 => Err(FactRefusal::Empty(field)),
        length if length > bytes_max => Err(FactRefusal::TooLong { field, bytes_max }),
        _ => Ok(line),
    }
}

/// What a fact is about where nobody said: whose scope it is.
fn usual_subject(scope: &MemoryScope) -> String {
    let subject = match scope {
        MemoryScope::User(user) | MemoryScope::Space(_, Some(user)) => user.as_str(),
        MemoryScope::Project
        | MemoryScope::Agent(_)
        | MemoryScope::Space(_, None)
        | MemoryScope::Session(_) => GENERAL,
    };
    subject[..subject.floor_char_boundary(limit::FACT_SUBJECT_BYTES_MAX)].to_owned()
}

/// A reason as it is kept, if one was given.
///
/// # Errors
/// `TooLong`.
pub fn reason(text: Option<&str>) -> Result<Option<String>, FactRefusal> {
    let given = text.filter(|text| !text.trim().is_empty());
    given.map(|text| bounded("reason", text, limit::FACT_REASON_BYTES_MAX)).transpose()
}

/// The fact once somebody else said the same. What is said again is as trusted as it was, so labels stay; nor does it
/// change what was believed before, so times stay: who knows better corrects.
#[must_use]
pub fn confirmed(fact: &Fact, saying: &Saying) -> Fact {
    let mut fact = fact.clone();
    fact.said = fact.said.saturating_add(1);
    if saying.labels.integrity >= fact.labels.integrity {
        fact.confidence = fact.confidence.max(saying.confidence);
    }
    fact.sources.push(saying.by.clone());
    if fact.sources.len() > limit::FACT_SOURCES_MAX {
        // Where it is from stays, and who said it last.
        fact.sources.remove(1);
    }
    fact
}

/// The fact once it is believed no more.
///
/// # Errors
/// `Closed`, `Proposed`: it is not believed.
pub fn closed(fact: &Fact, closing: Closing, superseded_by: Option<FactId>) -> Result<Fact, FactRefusal> {
    match &fact.state {
        FactState::Active => Ok(Fact { superseded_by, state: FactState::Closed(closing), ..fact.clone() }),
        FactState::Closed(_) => Err(FactRefusal::Closed(fact.superseded_by)),
        FactState::Proposed => Err(FactRefusal::Proposed),
        FactState::Rejected { .. } => Err(FactRefusal::Rejected),
    }
}

/// The proposal once a person accepted it: it is believed from then on.
///
/// # Errors
/// `NotProposed`.
pub fn accepted(fact: &Fact, by: FactSource) -> Result<Fact, FactRefusal> {
    match fact.state {
        FactState::Proposed => {
            let learned_at = by.at;
            let sources = fact.sources.iter().cloned().chain([by]).collect();
            Ok(Fact { state: FactState::Active, learned_at, sources, ..fact.clone() })
        }
        FactState::Active | FactState::Closed(_) | FactState::Rejected { .. } => {
            Err(FactRefusal::NotProposed)
        }
    }
}

/// The proposal once a person said no.
///
/// # Errors
/// `NotProposed`.
pub fn rejected(fact: &Fact, by: FactSource, reason: Option<String>) -> Result<Fact, FactRefusal> {
    match fact.state {
        FactState::Proposed => Ok(Fact { state: FactState::Rejected { by, reason }, ..fact.clone() }),
        FactState::Active | FactState::Closed(_) | FactState::Rejected { .. } => {
            Err(FactRefusal::NotProposed)
        }
    }
}

/// The two times of a question to facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// What was known then.
    pub known_at: Timestamp,
    /// About then.
    pub true_at: Timestamp,
}

/// Whether a fact was believed at one moment to be true at another.
#[must_use]
pub fn is_believed(fact: &Fact, when: When) -> bool {
    let known = span(fact, when.known_at);
    known.is_some_and(|span| span.contains(when.true_at))
}

/// A stretch of time, open where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub from: Option<Timestamp>,
    /// The first moment after it.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether a moment is in it.
    #[must_use]
    pub fn contains(self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Whether some moment from `from` to before `until` is in it.
    #[must_use]
    pub fn meets(self, from: Timestamp, until: Timestamp) -> bool {
        self.from.is_none_or(|begins| begins < until) && self.until.is_none_or(|ends| from < ends)
    }
}

/// Words by which a question asks for what is so no more.
const PAST: &[&str] = &[
    "used to",
    "formerly",
    "previously",
    "in the past",
    "no longer",
    "früher",
    "damals",
    "ehemals",
    "antes",
    "antiguamente",
    "autrefois",
    "auparavant",
    "以前",
    "过去",
    "曾经",
];

/// Whether a question says that it is about what is so no more.
#[must_use]
pub fn asks_about_past(question: &str) -> bool {
    let folded = question.to_lowercase();
    PAST.iter().any(|words| folded.contains(words))
}

/// When a fact was believed to be true, by what was known at a moment; `None` if it was not believed then.
#[must_use]
pub fn span(fact: &Fact, known_at: Timestamp) -> Option<Span> {
    let until = match &fact.state {
        FactState::Proposed | FactState::Rejected { .. } => return None,
        FactState::Active => fact.valid_to,
        FactState::Closed(closing) if known_at < closing.at => fact.valid_to,
        FactState::Closed(closing) => {
            let until = closing.true_until?;
            Some(fact.valid_to.map_or(until, |said| said.min(until)))
        }
    };
    let is_empty = until.is_some_and(|until| fact.valid_from.is_some_and(|from| until <= from));
    (fact.learned_at <= known_at && !is_empty).then_some(Span { from: fact.valid_from, until })
}

/// When a fact is true by everything that is known of it; `None` if it never was.
#[must_use]
pub fn held(fact: &Fact) -> Option<Span> {
    span(fact, Timestamp::from_millis(i64::MAX))
}

/// What was believed at one moment about another: the bi-temporal question.
pub fn believed<'a>(
    facts: impl IntoIterator<Item = &'a KnownFact>,
    when: When,
) -> impl Iterator<Item = &'a KnownFact> {
    facts.into_iter().filter(move |known| is_believed(&known.fact, when))
}

/// Which facts are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Those that were true then.
    pub true_at: Option<Timestamp>,
    /// Those that were believed then.
    pub known_at: Option<Timestamp>,
    /// Also those that are believed no more.
    pub closed: bool,
}

impl Asked {
    /// Whether a fact may be part of an answer to a question that is asked at `now`, about `window` where it names a
    /// time. Without one, what is not true any more is left out, unless it is asked for.
    #[must_use]
    pub fn admits(self, fact: &Fact, window: Option<crate::time::Window>, now: Timestamp) -> bool {
        let known_at = self.known_at.unwrap_or(now);
        if self.closed {
            return !matches!(fact.state, FactState::Proposed | FactState::Rejected { .. })
                && fact.learned_at <= known_at;
        }
        let Some(span) = span(fact, known_at) else { return false };
        match (self.true_at, window) {
            (Some(at), _) => span.contains(at),
            (None, Some(window)) => span.meets(window.from, window.until),
            // What was known then is asked about then.
            (None, None) => span.contains(known_at),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (None, None) => f.write_str("always"),
            (Some(from), None) => write!(f, "since {}", crate::rfc3339(from)),
            (None, Some(until)) => write!(f, "until {}", crate::rfc3339(until)),
            (Some(from), Some(until)) => write!(f, "{} to {}", crate::rfc3339(from), crate::rfc3339(until)),
        }
    }
}
