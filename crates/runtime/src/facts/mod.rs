//! What is remembered on purpose: facts, pinned blocks and procedures, written by agents through their tools and by
//! people.
//!
//! All are documents, versioned like all others, so what became of each is its history; a fact is found by its terms
//! from the moment its write returned. A write is decided on what was read and made at that version: whoever was
//! slower reads again and decides again, so nothing is kept twice and nothing is closed twice.
//!
//! What an agent may do directly and what waits for a person is decided in one place, [`Standing`].

mod blocks;
mod change;
mod documents;
mod error;
mod extracted;
mod found;
mod procedures;
mod read;
mod settings;
mod tool;

pub use blocks::SavedBlock;
pub use change::{Correction, KeptFact, Outcome, caller};
pub use documents::{SavedFact, indexed};
pub use error::{MemoryError, MemoryRefusal};
pub use procedures::{Answer, SavedProcedure};
pub use read::FactFilter;

pub(crate) use extracted::{known, learned};
pub(crate) use found::{Facts, add};
pub(crate) use procedures::known_procedures;
pub(crate) use tool::Call;

use tenure_journal::{Event, Integrity, Labels, TakenBlock, TakenProcedure};
use tenure_session::{Batch, Context};
use tenure_store::{StoreError, StoreErrorKind};

use crate::handle::Shared;

/// Tries of a write that meets another.
const WRITE_ATTEMPTS: u32 = 8;

/// Whether what somebody writes holds at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does.
    Direct,
    /// It waits for a person.
    Proposed,
}

impl Standing {
    /// That of an agent which has read things with these `labels`, in a scope that is under `review` or not.
    fn of_agent(review: bool) -> Self {
        if review { Self::Proposed } else { Self::Direct }
    }

    /// The same, where it would change something with these labels: who has read what is trusted less than that does
    /// not decide about it.
    fn over(self, writer: &Labels, changed: &Labels) -> Self {
        if writer.integrity < changed.integrity { Self::Proposed } else { self }
    }

    /// The same, where what is written is shown in every conversation: nobody who has read what is not trusted puts
    /// anything there.
    fn pinned(self, writer: &Labels) -> Self {
        if writer.integrity < Integrity::Internal { Self::Proposed } else { self }
    }
}

/// What a turn that begins takes up of the memory; absent where it is as before.
pub(crate) struct Taken {
    blocks: Option<Vec<TakenBlock>>,
    procedures: Option<Vec<TakenProcedure>>,
}

impl Taken {
    /// The context of a decision that takes it up.
    pub(crate) fn over<'a>(&'a self, cx: Context<'a>) -> Context<'a> {
        Context { blocks: self.blocks.as_deref(), procedures: self.procedures.as_deref(), ..cx }
    }
}

/// What is taken up where `batch` begins a turn. Asked after the first decision, because only it says whether a turn
/// begins; `None` leaves nothing to decide again.
pub(crate) async fn taken(shared: &Shared, batch: &Batch) -> Result<Option<Taken>, StoreError> {
    if !batch.events.iter().any(|event| matches!(event, Event::TurnStarted { .. })) {
        return Ok(None);
    }
    let blocks = blocks::taken(shared, batch).await?;
    let procedures = procedures::taken(shared, batch).await?;
    Ok((blocks.is_some() || procedures.is_some()).then_some(Taken { blocks, procedures }))
}

/// A scope that cannot be read, as a turn that begins meets it.
fn unreadable(error: MemoryError) -> StoreError {
    match error {
        MemoryError::Store(error) => error,
        error @ (MemoryError::NotFound
        | MemoryError::Refused(_)
        | MemoryError::Busy
        | MemoryError::Damaged(_)) => {
            StoreError::new(StoreErrorKind::Corrupt, "reading what is always shown").with_source(error)
        }
    }
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_less_trusted_decides_about_nothing_that_is_more() {
        let of = |integrity| Labels { integrity, ..Labels::NEUTRAL };
        for writer in Integrity::ALL {
            for changed in Integrity::ALL {
                let expected = if writer < changed { Standing::Proposed } else { Standing::Direct };
                assert_eq!(Standing::of_agent(false).over(&of(writer), &of(changed)), expected);
                assert_eq!(Standing::of_agent(true).over(&of(writer), &of(changed)), Standing::Proposed);
            }
            let is_trusted = writer >= Integrity::Internal;
            assert_eq!(Standing::Direct.pinned(&of(writer)) == Standing::Direct, is_trusted, "{writer:?}");
        }
    }
}
