//! Going back to an earlier version.

use tenure_journal::{EndHow, Event, Rewound, SubagentEnd, SubagentId, Version};

use super::Draft;
use crate::Refusal;

impl Draft<'_> {
    /// Goes back, unless something is under way. Subagents that came since are stopped and closed.
    pub(super) fn rewind(
        &mut self,
        rewound: &Rewound,
        seen: Version,
        since: &[SubagentId],
    ) -> Result<(), Refusal> {
        if self.state.failed.is_some() {
            return Err(Refusal::Failed);
        }
        // What is under way for the environment would go on with files that are gone.
        let is_under_way = self.state.pending().any(|effect| effect.kind.lane().is_some());
        if self.state.turn.is_some() || !self.state.queue.is_empty() || is_under_way {
            return Err(Refusal::Running);
        }
        if self.state.version != seen {
            return Err(Refusal::Moved);
        }
        if rewound.to == seen {
            return Ok(());
        }
        let active: Vec<SubagentId> = since
            .iter()
            .copied()
            .filter(|id| self.state.subagents.get(id).is_some_and(crate::subagent::Subagent::is_active))
            .collect();
        for subagent_id in &active {
            self.push(Event::SubagentClosed { subagent_id: *subagent_id });
        }
        let ends = active.into_iter().map(|subagent_id| SubagentEnd {
            subagent_id,
            how: EndHow::Interrupt,
            fences: Vec::new(),
        });
        self.end_subagents(self.latest_turn(), ends.collect());
        self.abandon_summary();
        self.abandon_extractions();
        self.push(Event::Rewound(Box::new(rewound.clone())));
        Ok(())
    }
}
