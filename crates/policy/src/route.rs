//! Model calls as contracts see them.

/// One way to reach a model. What is not known is the empty string, which no rule that names a vendor, a
/// provider or a region lets pass by accident: such rules say where a call may go, not where it may not.
#[derive(Debug, Clone, Copy)]
pub struct RouteFacts<'a> {
    /// Its name in the project's settings.
    pub name: &'a str,
    /// Who made the model: `openai`, `anthropic`, `meta`.
    pub vendor: &'a str,
    /// Who runs it: `openai`, `azure`, `bedrock`, `self-hosted`.
    pub provider: &'a str,
    /// Where: a region as contracts name it.
    pub region: &'a str,
    /// Which deployment of the provider's.
    pub deployment: &'a str,
    /// By which of our accounts there.
    pub account: &'a str,
    /// How many days the provider keeps what it is sent.
    pub retention_days: u32,
    /// Whether the provider trains models on it.
    pub trains_on_data: bool,
    /// Labels that contracts select routes by.
    pub labels: &'a [String],
}

impl<'a> RouteFacts<'a> {
    /// A route of which only the name is known.
    #[must_use]
    pub fn unknown(name: &'a str) -> Self {
        Self {
            name,
            vendor: "",
            provider: "",
            region: "",
            deployment: "",
            account: "",
            retention_days: 0,
            trains_on_data: false,
            labels: &[],
        }
    }
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallClass {
    /// It neither makes nor names state on the provider's side: the whole context travels with it.
    Stateless,
    /// It makes or names state on the provider's side.
    Stateful,
    /// It judges what an agent wants to do.
    Reviewer,
    /// It reads a session for what is worth remembering.
    Memory,
    /// It judges how well an agent did.
    Evaluation,
    /// It summarises what a session said and did, so that the session can go on.
    Compaction,
}

impl CallClass {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Stateless, Self::Stateful, Self::Reviewer, Self::Memory, Self::Evaluation, Self::Compaction];

    /// Whether nothing of it stays with the provider: what contracts about stateless calls are about. Judging,
    /// remembering and summarising are done by such calls, too.
    #[must_use]
    pub fn is_stateless(self) -> bool {
        match self {
            Self::Stateless | Self::Reviewer | Self::Memory | Self::Evaluation | Self::Compaction => true,
            Self::Stateful => false,
        }
    }

    /// Its name in policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stateless => "stateless",
            Self::Stateful => "stateful",
            Self::Reviewer => "reviewer",
            Self::Memory => "memory",
            Self::Evaluation => "evaluation",
            Self::Compaction => "compaction",
        }
    }
}
