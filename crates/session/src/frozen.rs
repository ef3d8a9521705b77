//! What must not begin for now, because somebody froze it.
//!
//! A freeze is no decision about an effect, as policy's are: what is allowed stays allowed, and waits. It comes
//! from outside like the time does, and nothing of it is an event, so ending it needs no trace in any journal.
//!
//! This is the one place that says what a freeze covers. Whoever shows `frozen` to policies asks here.

use std::collections::BTreeSet;

use tenure_journal::{AgentId, Effect, EffectKind};

use crate::Session;
use crate::audit;

/// What of a project is frozen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Everything.
    pub project: bool,
    /// What these agents do, in all their sessions and through all their subagents.
    pub agents: BTreeSet<AgentId>,
    /// These tools, as `server/name`; a server alone stands for all its tools and for asking it for them. The
    /// tools of this program are those of the server `builtin`.
    pub tools: BTreeSet<String>,
}

/// Nothing is frozen.
pub static NOTHING_FROZEN: Frozen =
    Frozen { project: false, agents: BTreeSet::new(), tools: BTreeSet::new() };

impl Frozen {
    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { project, agents, tools } = self;
        !project && agents.is_empty() && tools.is_empty()
    }

    /// Whether attempts at an effect of `agent` must not begin.
    ///
    /// What only ends what others began is never held: a freeze must not keep subagents running.
    #[must_use]
    pub fn holds(&self, agent: AgentId, effect: &Effect) -> bool {
        if self.is_empty() || matches!(effect.kind, EffectKind::EndSubagents { .. }) {
            return false;
        }
        self.project || self.agents.contains(&agent) || self.holds_tool(&effect.kind)
    }

    /// Whether `agent` must begin nothing at all. Policies are told so where they are asked by whoever acts at once;
    /// what the machine decides of a frozen agent waits, and is no less allowed for that.
    #[must_use]
    pub fn stops(&self, agent: AgentId) -> bool {
        self.project || self.agents.contains(&agent)
    }

    fn holds_tool(&self, kind: &EffectKind) -> bool {
        if self.tools.is_empty() {
            return false;
        }
        let (action, resource) = audit::named(kind);
        let server = match action {
            audit::TOOL_CALL => resource.split_once('/').map_or(&*resource, |(server, _)| server),
            audit::TOOLS_LIST => &*resource,
            _ => return false,
        };
        self.tools.contains(server) || self.tools.contains(&*resource)
    }
}

impl Session {
    /// Whether an effect waits for nothing but the end of a freeze.
    #[must_use]
    pub fn is_frozen(&self, frozen: &Frozen) -> bool {
        let agent = self.agent.id;
        !frozen.is_empty()
            && self
                .effects
                .values()
                .any(|pending| !pending.is_running() && frozen.holds(agent, &pending.effect))
    }
}
