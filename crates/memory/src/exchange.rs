//! What is remembered on purpose as text: Markdown that reads well and compares well in git, and JSON lines.
//!
//! Both hold the same records, and what is written is read back as it was. A file of Markdown is about one scope. What
//! is wrong in a text is named by its line and its field, because people write these by hand.
//!
//! ```text
//! ---
//! memory: 1
//! scope: user:ada
//! ---
//!
//! # Pinned blocks
//!
//! ## likes
//!
//! > Tea, no sugar.
//!
//! # Procedures
//!
//! ## refund-order
//!
//! description: To refund an order.
//!
//! > 1. Find the order.
//!
//! # Facts
//!
//! ## Ada
//!
//! - Ada lives in Paris.
//!   - valid_from: 2024-05-01T00:00:00Z
//! ```

mod fields;
mod lines;
mod markdown;

use tenure_journal::{Confidence, FactId, Labels, MemoryScope, Timestamp};

use crate::procedure::ProcedureText;

pub use lines::{from_lines, to_lines};
pub use markdown::{file_name, from_markdown, to_markdown};

/// Bytes of one text that is read.
pub const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The version of both forms.
const FORM: u64 = 1;

/// One thing that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A fact.
    Fact(FactRecord),
    /// A pinned block.
    Block(BlockRecord),
    /// A procedure that is in force.
    Procedure(ProcedureRecord),
}

/// A fact as it is exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactRecord {
    /// For whom.
    pub scope: MemoryScope,
    /// What it is about, where that is said.
    pub subject: Option<String>,
    /// What is so.
    pub statement: String,
    /// Whether it is believed.
    pub standing: Standing,
    /// Since when it is true.
    pub valid_from: Option<Timestamp>,
    /// Until when it is true.
    pub valid_to: Option<Timestamp>,
    /// When it was learned.
    pub learned_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Why it was closed or rejected.
    pub reason: Option<String>,
    /// How sure whoever said it was.
    pub confidence: Confidence,
    /// Its labels.
    pub labels: Labels,
    /// Its id where it is from.
    pub id: Option<FactId>,
    /// Who said it, in a few words.
    pub source: Option<String>,
}

/// A pinned block as it is exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRecord {
    /// For whom.
    pub scope: MemoryScope,
    /// What it is called.
    pub name: String,
    /// Its text, as [`crate::block::text`] has it.
    pub text: String,
}

/// A procedure as it is exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcedureRecord {
    /// For whom.
    pub scope: MemoryScope,
    /// What it says.
    pub text: ProcedureText,
}

/// Whether a fact is believed, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It is.
    Active,
    /// It waits for a person.
    Proposed,
    /// It was.
    Closed,
    /// A person said no.
    Rejected,
}

impl Standing {
    /// Every standing, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Active, Self::Proposed, Self::Closed, Self::Rejected];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Proposed => "proposed",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
        }
    }

    /// The standing of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == word)
    }

    /// That of a fact.
    #[must_use]
    pub fn of(state: &tenure_journal::FactState) -> Self {
        match state {
            tenure_journal::FactState::Proposed => Self::Proposed,
            tenure_journal::FactState::Active => Self::Active,
            tenure_journal::FactState::Closed(_) => Self::Closed,
            tenure_journal::FactState::Rejected { .. } => Self::Rejected,
        }
    }
}

impl FactRecord {
    /// A record that says nothing but this.
    #[must_use]
    pub fn new(scope: MemoryScope, statement: String) -> Self {
        Self {
            scope,
            subject: None,
            statement,
            standing: Standing::Active,
            valid_from: None,
            valid_to: None,
            learned_at: None,
            closed_at: None,
            reason: None,
            confidence: Confidence::FULL,
            labels: Labels::NEUTRAL,
            id: None,
            source: None,
        }
    }
}

/// A text that cannot be read, with where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {message}", named(.field.as_deref()))]
pub struct ExchangeError {
    /// The line, from 1.
    pub line: usize,
    /// The field, where it is about one.
    pub field: Option<String>,
    /// What is wrong and what is expected.
    pub message: String,
}

fn named(field: Option<&str>) -> String {
    field.map_or_else(String::new, |field| format!(", `{field}`"))
}

impl ExchangeError {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, field: None, message: message.into() }
    }

    fn of(line: usize, field: &str, message: impl Into<String>) -> Self {
        /// Characters of a wrong field that an error repeats.
        const ECHO_CHARS_MAX: usize = 64;
        let field = field.chars().filter(|c| !c.is_control()).take(ECHO_CHARS_MAX).collect();
        Self { line, field: Some(field), message: message.into() }
    }

    fn too_long() -> Self {
        Self::at(1, format!("the text is longer than {TEXT_BYTES_MAX} bytes; split it"))
    }
}
