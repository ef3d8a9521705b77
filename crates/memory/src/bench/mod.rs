//! How well questions are answered: data sets of talk with questions whose evidence is known, and what a ranking
//! of it is worth.

pub mod locomo;
mod measure;
mod picked;
pub mod synthetic;

use tenure_journal::{Episode, ItemId, Timestamp};

pub use measure::{Embed, Example, Measure, Prepared, Tally, measure};

/// One talk, over many sessions, and questions about it.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Its name.
    pub name: String,
    /// Everything that was said.
    pub episodes: Vec<Episode>,
    /// The questions.
    pub asked: Vec<Asked>,
    /// When they are asked.
    pub now: Timestamp,
}

/// A question with its evidence.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The question.
    pub question: String,
    /// The episodes that answer it, at least one.
    pub evidence: Vec<ItemId>,
    /// What kind of question it is.
    pub kind: Kind,
}

/// What an answer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One passage.
    Single,
    /// Several passages together.
    MultiHop,
    /// A time.
    Time,
    /// More than was said.
    Open,
    /// What holds now, of something that was said differently before.
    Update,
}
