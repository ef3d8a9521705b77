//! The section `memory` of the settings: how what was said is recalled.

use tenure_journal::Extraction;
use tenure_vector::VECTOR_NUMBERS_MAX;

use crate::extraction::extraction;
use crate::node::{Fields, Node};
use crate::problem::{Code, Report};

pub(crate) const MEMORY_KEYS: &[&str] = &["embedding", "extraction"];
pub(crate) const EMBEDDING_KEYS: &[&str] =
    &["directory", "model", "dimensions", "texts_max", "question_timeout_ms"];

/// Texts of one request, if nobody says otherwise: every server that was looked at takes as many.
const TEXTS_DEFAULT: u64 = 96;
/// The fewest: those of the longest episode.
const TEXTS_MIN: u64 = 16;
/// The most that OpenAI takes.
const TEXTS_MAX: u64 = 2_048;
/// Milliseconds that a question waits for its vector, if nobody says otherwise.
const QUESTION_TIMEOUT_DEFAULT: u64 = 2_000;
/// The longest that anybody would wait for an answer.
const QUESTION_TIMEOUT_MAX: u64 = 60_000;

/// How what was said is recalled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The model that makes vectors of it; absent: it is found by its terms alone.
    pub embedding: Option<Embedding>,
    /// How facts are read out of turns of agents that say nothing of it; absent: they are not.
    pub extraction: Option<Extraction>,
}

/// A model that makes vectors of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Embedding {
    /// A sentence encoder on this machine: its directory, relative to the project directory. It is read and never
    /// written.
    Directory(String),
    /// A model of a provider's, by routes.
    Model(EmbeddingModel),
}

/// A model of a provider's that makes vectors of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingModel {
    /// A name of `models`, or one that the default provider knows.
    pub model: String,
    /// Numbers of a vector, where the model has a choice.
    pub dimensions: Option<u32>,
    /// Texts of one request.
    pub texts_max: usize,
    /// Milliseconds that a question waits for its vector before it is recalled by its terms.
    pub question_timeout_ms: u64,
}

pub(crate) fn memory(node: &Node, report: &Report) -> Option<Memory> {
    let fields = Fields::open(node, "`memory`", MEMORY_KEYS, report)?;
    let mut memory = Memory::default();
    if let Some(node) = fields.find("embedding") {
        memory.embedding = Some(embedding(node, report)?);
    }
    if let Some(node) = fields.find("extraction") {
        memory.extraction = Some(extraction(node, report)?);
    }
    Some(memory)
}

fn embedding(node: &Node, report: &Report) -> Option<Embedding> {
    let fields = Fields::open(node, "`embedding`", EMBEDDING_KEYS, report)?;
    let (directory, model) = (fields.find("directory"), fields.find("model"));
    match (directory, model) {
        (None, None) => {
            let message = "`embedding` names neither `directory` nor `model`";
            let hint = "a directory of a model on this machine, or a model of a provider";
            report.hinted(Code::Missing, node.at, message, hint);
            None
        }
        (Some(_), Some(model)) => {
            let message = "`directory` and `model` of `embedding` exclude each other";
            report.hinted(Code::Conflict, model.at, message, "vectors of two models are never compared");
            None
        }
        (Some(directory), None) => {
            for key in ["dimensions", "texts_max", "question_timeout_ms"] {
                if let Some(node) = fields.find(key) {
                    let message = format!("`{key}` of `embedding` is for a `model` of a provider");
                    report.hinted(Code::Conflict, node.at, message, "a model in a directory says it itself");
                }
            }
            Some(Embedding::Directory(directory.filled("`directory`", report)?.to_owned()))
        }
        (None, Some(model)) => {
            let number = |key: &str, range| match fields.find(key) {
                Some(node) => node.integer(&format!("`{key}`"), range, report).map(Some),
                None => Some(None),
            };
            let dimensions = number("dimensions", 1..=VECTOR_NUMBERS_MAX as u64)?;
            let texts = number("texts_max", TEXTS_MIN..=TEXTS_MAX)?.unwrap_or(TEXTS_DEFAULT);
            let timeout = number("question_timeout_ms", 1..=QUESTION_TIMEOUT_MAX)?;
            Some(Embedding::Model(EmbeddingModel {
                model: model.filled("`model`", report)?.to_owned(),
                dimensions: dimensions.and_then(|count| u32::try_from(count).ok()),
                texts_max: usize::try_from(texts).ok()?,
                question_timeout_ms: timeout.unwrap_or(QUESTION_TIMEOUT_DEFAULT),
            }))
        }
    }
}
