//! Pinned blocks and procedures: taken up when a turn begins, so that what a model is shown within one never changes
//! under it.

use tenure_journal::Event;

use super::Draft;

impl Draft<'_> {
    /// Records the blocks and the procedures that the turn begins with, if they are others than those before.
    pub(super) fn take_memory(&mut self) {
        if let Some(blocks) = self.cx.blocks
            && self.state.blocks != blocks
        {
            self.push(Event::BlocksTaken { blocks: blocks.to_vec() });
        }
        if let Some(procedures) = self.cx.procedures
            && self.state.procedures != procedures
        {
            self.push(Event::ProceduresTaken { procedures: procedures.to_vec() });
        }
    }
}
