//! Why something is not remembered.

use tenure_memory::block::BlockRefusal;
use tenure_memory::fact::FactRefusal;
use tenure_memory::procedure::ProcedureRefusal;
use tenure_store::StoreError;

/// Why the memory was not changed or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Durable state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none with that id.
    #[error("there is no such fact, block or procedure")]
    NotFound,
    /// It cannot be so. The text is for people and models.
    #[error(transparent)]
    Refused(#[from] MemoryRefusal),
    /// Others wrote the same again and again.
    #[error("the memory is being changed by others; try again")]
    Busy,
    /// A document does not hold what it must.
    #[error("a document of the memory cannot be read")]
    Damaged(#[source] serde_json::Error),
}

/// What cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryRefusal {
    /// Of a fact.
    #[error(transparent)]
    Fact(#[from] FactRefusal),
    /// Of a block's text.
    #[error("`text` {0}")]
    Block(#[from] BlockRefusal),
    /// A name that a block cannot have.
    #[error("`name` must have 1 to 64 lower-case letters, digits, `-` and `_`")]
    BlockName,
    /// The scope has as many blocks as it may.
    #[error("the scope has {0} pinned blocks, which is the most")]
    BlocksFull(usize),
    /// Of a procedure.
    #[error(transparent)]
    Procedure(#[from] ProcedureRefusal),
    /// The scope has as many procedures as it may.
    #[error("the scope has {0} procedures, which is the most; remove one that is not needed any more")]
    ProceduresFull(usize),
    /// As many proposals wait as may.
    #[error("{0} procedures of the scope wait for a person, which is the most")]
    ProposalsFull(usize),
    /// Nothing waits.
    #[error("nothing of the block waits for a person")]
    NotProposed,
    /// Only a person may.
    #[error(
        "what is kept there may only be closed by a person, because it is trusted more than what this conversation has \
         read, or because its scope is under review; propose a correction with memory_correct instead"
    )]
    OnlyPeople,
}

impl From<FactRefusal> for MemoryError {
    fn from(refusal: FactRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<ProcedureRefusal> for MemoryError {
    fn from(refusal: ProcedureRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<BlockRefusal> for MemoryError {
    fn from(refusal: BlockRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}
