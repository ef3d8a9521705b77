//! Quarantine: what a person's refusal does to a session and to everything that works for it.
//!
//! A subagent works for its parent, with its parent's servers and under its parent's grants. So it is quarantined and
//! released with it: each of them says so to its own, down the tree, with an effect that is attempted until it is done.
//! A subagent hears it between two steps; what it had begun ends, and what its model asks for next is judged as in any
//! session in quarantine.
//!
//! ```text
//!   a person refuses ──▶ the session is quarantined ──▶ each active subagent is ──▶ its own are ──▶ …
//!                                │                           ▲
//!                                │ one is being created       │ as soon as it is there
//!                                └───────────────────────────┘
//!   a person releases ──▶ the session is released ──▶ those that were told are ──▶ …
//! ```

use tenure_journal::{ApprovalId, EndHow, Event, Governance, PermitRecord, SubagentEnd, SubagentId, Version};

use super::Draft;

impl Draft<'_> {
    /// Quarantines the session and its subagents. `of` is the version of the parent's journal that says so, where it
    /// does.
    pub(super) fn quarantine(&mut self, approval_id: ApprovalId, by: &str, of: Option<Version>) {
        let fact = Governance::Quarantined { approval_id, by: by.to_owned(), of };
        self.push(Event::Governed { fact });
        let active = self.state.subagents.iter().filter(|(_, subagent)| subagent.is_active());
        let active: Vec<SubagentId> = active.map(|(id, _)| *id).collect();
        self.quarantine_subagents(active);
    }

    /// Ends the quarantine of the session and of the subagents that have it from the session.
    pub(super) fn end_quarantine(&mut self, by: &str, permit: &PermitRecord, of: Option<Version>) {
        let fact = Governance::Released { by: by.to_owned(), permit: permit.clone(), of };
        self.push(Event::Governed { fact });
        let held = self.state.subagents.iter().filter(|(_, subagent)| subagent.quarantined);
        let of = self.state.version;
        let release = || EndHow::Release { by: by.to_owned(), permit: Box::new(permit.clone()), of };
        let ends = held.map(|(id, _)| SubagentEnd { subagent_id: *id, how: release(), fences: Vec::new() });
        let ends = ends.collect();
        self.end_subagents(self.latest_turn(), ends);
    }

    /// Quarantines a subagent that was being created when its parent was.
    pub(super) fn quarantine_newcomer(&mut self, subagent_id: SubagentId) {
        self.quarantine_subagents(vec![subagent_id]);
    }

    /// What the parent says of a quarantine; nothing if something younger was heard of it.
    pub(super) fn quarantined_with_parent(&mut self, approval_id: ApprovalId, by: &str, of: Version) {
        if self.is_news_of_parent(of) {
            self.quarantine(approval_id, by, Some(of));
        }
    }

    /// What the parent says of its release. It ends a quarantine of the subagent's own as well: nobody else could.
    pub(super) fn released_with_parent(&mut self, by: &str, permit: &PermitRecord, of: Version) {
        if self.is_news_of_parent(of) {
            self.end_quarantine(by, permit, Some(of));
        }
    }

    fn is_news_of_parent(&self, of: Version) -> bool {
        self.state.parent_heard.is_none_or(|heard| heard < of)
    }

    fn quarantine_subagents(&mut self, subagents: Vec<SubagentId>) {
        let (Some(by), Some(approval_id)) = (self.state.quarantined_by.clone(), self.state.quarantined_for)
        else {
            return;
        };
        let of = self.state.version;
        let end = |subagent_id| {
            let how = EndHow::Quarantine { approval_id, by: by.clone(), of };
            SubagentEnd { subagent_id, how, fences: Vec::new() }
        };
        let ends = subagents.into_iter().map(end).collect();
        self.end_subagents(self.latest_turn(), ends);
    }
}
