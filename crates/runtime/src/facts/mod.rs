//! What is remembered on purpose: facts and pinned blocks, written by agents through their tools and by people.
//!
//! Both are documents, versioned like all others, so what became of each is its history; a fact is found by its terms
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
mod read;
mod settings;
mod tool;

pub use blocks::SavedBlock;
pub use change::{Correction, KeptFact, Outcome, caller};
pub use documents::{SavedFact, indexed};
pub use error::{MemoryError, MemoryRefusal};
pub use read::FactFilter;

pub(crate) use blocks::taken;
pub(crate) use extracted::{known, learned};
pub(crate) use found::{Facts, add};
pub(crate) use tool::Call;

use tenure_journal::{Integrity, Labels};
use tenure_store::{StoreError, StoreErrorKind};

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
