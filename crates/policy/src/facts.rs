//! What a decision may know of the past: computed from the journal, never supplied by a model.

use tenure_journal::{Confidentiality, Labels, ToolEffect};

static NEUTRAL: Labels = Labels::NEUTRAL;

/// What the journal says about a session at the moment of a request.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The labels of everything the model has seen.
    pub flow: &'a Labels,
    /// Whether an argument that matters comes from neither the principal's own words nor a trusted field.
    pub untrusted_arguments: bool,
    /// Whether a grant given before covers exactly this call.
    pub grant_matches: bool,
    /// Whether a person refused something in the session, and nobody has released it.
    pub quarantined: bool,
    /// Calls of this action and resource that the session was permitted before.
    pub calls_so_far: u64,
    /// What is left of the budget, where there is one.
    pub spend: Option<SpendFacts>,
    /// On whose behalf, and how far from them.
    pub chain: Chain,
}

impl Facts<'static> {
    /// Nothing is labelled, nothing untrusted, nothing granted: what holds until something is said.
    #[must_use]
    pub fn neutral() -> Self {
        Self {
            flow: &NEUTRAL,
            untrusted_arguments: false,
            grant_matches: false,
            quarantined: false,
            calls_so_far: 0,
            spend: None,
            chain: Chain { on_behalf_of: false, depth: 0 },
        }
    }
}

/// Budgets as a decision sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpendFacts {
    /// What the call would set aside, in millionths of a US dollar.
    pub reserve_micros: u64,
    /// What it would set aside in tokens.
    pub reserve_tokens: u64,
    /// What is left of all of them together: the least of each.
    pub left: LevelFacts,
    /// What is left to the session and its subagents.
    pub session: LevelFacts,
    /// What is left to the agent, in all its sessions.
    pub agent: LevelFacts,
    /// What is left to the project.
    pub project: LevelFacts,
}

/// What is left of the budgets of one level: of each thing the least of its day, its month and its total. Where nothing
/// limits it, a number that nobody reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LevelFacts {
    /// Money, in millionths of a US dollar.
    pub remaining_micros: u64,
    /// Tokens.
    pub remaining_tokens: u64,
    /// Model calls.
    pub calls_left: u64,
    /// Seconds that model calls may take.
    pub seconds_left: u64,
}

/// Who stands behind the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chain {
    /// Whether it acts for a person or a key, whose right is decided beside its own.
    pub on_behalf_of: bool,
    /// How many agents stand between them: 0 for the one they spoke to.
    pub depth: u32,
}

/// What decides how far a tool is trusted with data, and data with a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToolLabels {
    /// What it does to the world.
    pub effect: ToolEffect,
    /// The highest confidentiality that it may be given.
    pub clearance: Confidentiality,
    /// Whether it is the one that was reviewed. Where nobody reviews, every tool is.
    pub pinned: bool,
}

impl ToolLabels {
    /// What a server's annotations amount to where the operator says nothing: what is not said to be harmless
    /// may tell somebody something.
    #[must_use]
    pub fn of_annotations(read_only: bool, destructive: bool) -> Self {
        let effect = match (read_only, destructive) {
            (true, _) => ToolEffect::Read,
            (false, true) => ToolEffect::Destroy,
            (false, false) => ToolEffect::Send,
        };
        Self { effect, clearance: Confidentiality::Internal, pinned: true }
    }

    /// A tool of the runtime itself: what it is given stays here.
    #[must_use]
    pub fn of_builtin(effect: ToolEffect) -> Self {
        Self { effect, clearance: Confidentiality::Restricted, pinned: true }
    }
}
