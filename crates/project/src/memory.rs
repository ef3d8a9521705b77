//! The section `memory` of the settings: how what was said is recalled.

use tenure_journal::Extraction;

use crate::extraction::extraction;
use crate::node::{Fields, Node};
use crate::problem::Report;

pub(crate) const MEMORY_KEYS: &[&str] = &["embedding", "extraction"];
pub(crate) const EMBEDDING_KEYS: &[&str] = &["directory"];

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
pub struct Embedding {
    /// The directory of a sentence encoder, relative to the project directory. It is read and never written.
    pub directory: String,
}

pub(crate) fn memory(node: &Node, report: &Report) -> Option<Memory> {
    let fields = Fields::open(node, "`memory`", MEMORY_KEYS, report)?;
    let mut memory = Memory::default();
    if let Some(node) = fields.find("embedding") {
        let fields = Fields::open(node, "`embedding`", EMBEDDING_KEYS, report)?;
        let directory = fields.require("directory")?.filled("`directory`", report)?.to_owned();
        memory.embedding = Some(Embedding { directory });
    }
    if let Some(node) = fields.find("extraction") {
        memory.extraction = Some(extraction(node, report)?);
    }
    Some(memory)
}
