//! The properties, by name: what each says and which promise of the design it proves.

/// Something that must hold in every simulated history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// An acknowledged request is in the journal for ever.
    AcknowledgedIsKept,
    /// A request is in the journal whole, or not at all.
    WholeOrAbsent,
    /// A request that is sent again under its idempotency key happens once.
    RequestOnce,
    /// A session's events are numbered from one without a gap, and none ever changes.
    EventsContiguous,
    /// Each event may follow the ones before it: nobody wrote who did not know them.
    OneWriter,
    /// Nothing reaches the outside before its intention and its attempt are durable.
    IntentionFirst,
    /// Only the outcome of the latest attempt is recorded.
    LatestAttemptOnly,
    /// A tool that recognises keys acts once for one call.
    KeyedOnce,
    /// A tool that must not be repeated acts once, and is not called again after doubt.
    NeverRepeated,
    /// What the session says of a call is what the tool server's ledger says, or that it is unknown.
    ToldHonestly,
    /// What is sent is what the recorded permit binds.
    PermitBindsArguments,
    /// A destructive call follows a person's approval of exactly its arguments.
    ApprovalFirst,
    /// What was published is durable.
    PublishedIsDurable,
    /// A snapshot and its tail fold to what the whole journal folds to.
    SnapshotEqualsFold,
    /// Every request to a model is well-formed.
    ContextValid,
    /// Every request to a model fits its window, with room for the answer.
    ContextFits,
    /// No attempt begins for a turn that has ended.
    CancelStops,
    /// What a tree of sessions spent and set aside never grows beyond its limit.
    BudgetKept,
    /// A turn of a subagent is reported to its parent at most once, and only once it has ended.
    ReportOnce,
    /// What a cancelled, failed or deleted session started is stopped, and stays stopped.
    NoOrphan,
    /// Queues keep their limits.
    QueuesBounded,
    /// The rows beside the journal are those that the journal gives.
    ProjectionsRebuilt,
    /// After the faults every turn ends or waits for a client or a person, and every request is answered.
    Progress,
    /// No attempt begins at a node that another had taken the session from, or never let have it.
    HolderOnly,
    /// No append in a holder's name is accepted while another node holds the session.
    StaleHolderFenced,
    /// After the faults no session is left that only a node would take over that is gone.
    TakeoverCompletes,
    /// What readers at any node are told of commits is what was said where they were decided, once, in order.
    FollowedAsCommitted,
    /// A fork has the conversation and the files of its moment, and so has a session that went back; nothing that
    /// was done before is done again.
    ForksStandAlone,
    /// What changes an environment's files begins with those that the last such effect left.
    FilesInOrder,
    /// What waits for a sign-in goes on when a credential comes or nobody can sign in any more, once, and not before.
    SignInGoesOn,
}

impl Property {
    /// Every property, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::AcknowledgedIsKept,
        Self::WholeOrAbsent,
        Self::RequestOnce,
        Self::EventsContiguous,
        Self::OneWriter,
        Self::IntentionFirst,
        Self::LatestAttemptOnly,
        Self::KeyedOnce,
        Self::NeverRepeated,
        Self::ToldHonestly,
        Self::PermitBindsArguments,
        Self::ApprovalFirst,
        Self::PublishedIsDurable,
        Self::SnapshotEqualsFold,
        Self::ContextValid,
        Self::ContextFits,
        Self::CancelStops,
        Self::BudgetKept,
        Self::ReportOnce,
        Self::NoOrphan,
        Self::QueuesBounded,
        Self::ProjectionsRebuilt,
        Self::Progress,
        Self::HolderOnly,
        Self::StaleHolderFenced,
        Self::TakeoverCompletes,
        Self::FollowedAsCommitted,
        Self::ForksStandAlone,
        Self::FilesInOrder,
        Self::SignInGoesOn,
    ];

    /// Its name, as reports and the documentation print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedIsKept => "acknowledged-is-kept",
            Self::WholeOrAbsent => "whole-or-absent",
            Self::RequestOnce => "request-once",
            Self::EventsContiguous => "events-contiguous",
            Self::OneWriter => "one-writer",
            Self::IntentionFirst => "intention-first",
            Self::LatestAttemptOnly => "latest-attempt-only",
            Self::KeyedOnce => "keyed-once",
            Self::NeverRepeated => "never-repeated",
            Self::ToldHonestly => "told-honestly",
            Self::PermitBindsArguments => "permit-binds-arguments",
            Self::ApprovalFirst => "approval-first",
            Self::PublishedIsDurable => "published-is-durable",
            Self::SnapshotEqualsFold => "snapshot-equals-fold",
            Self::ContextValid => "context-valid",
            Self::ContextFits => "context-fits",
            Self::CancelStops => "cancel-stops",
            Self::BudgetKept => "budget-kept",
            Self::ReportOnce => "report-once",
            Self::NoOrphan => "no-orphan",
            Self::QueuesBounded => "queues-bounded",
            Self::ProjectionsRebuilt => "projections-rebuilt",
            Self::Progress => "progress",
            Self::HolderOnly => "holder-only",
            Self::StaleHolderFenced => "stale-holder-fenced",
            Self::TakeoverCompletes => "takeover-completes",
            Self::FollowedAsCommitted => "followed-as-committed",
            Self::ForksStandAlone => "forks-stand-alone",
            Self::FilesInOrder => "files-in-order",
            Self::SignInGoesOn => "sign-in-goes-on",
        }
    }

    /// The promise it proves.
    #[must_use]
    pub fn proves(self) -> &'static str {
        match self {
            Self::AcknowledgedIsKept => "an acknowledged event is never lost",
            Self::WholeOrAbsent => "an unacknowledged event is absent or complete, never partial",
            Self::RequestOnce => "a request under one idempotency key happens once",
            Self::EventsContiguous => "events are contiguous from one, totally ordered, never reused",
            Self::OneWriter => {
                "a session is written by one writer at a time; a stale one is fenced by version"
            }
            Self::IntentionFirst => "nothing outside happens before its intention and attempt are committed",
            Self::LatestAttemptOnly => "only the latest attempt of an effect can change a session",
            Self::KeyedOnce => "an effect under a key happens at most once at a tool that honours keys",
            Self::NeverRepeated => "an effect without keys is never repeated after an unknown outcome",
            Self::ToldHonestly => "every unknown outcome is listed as such, none is silent",
            Self::PermitBindsArguments => {
                "no effect runs without a recorded permit, which binds the exact arguments"
            }
            Self::ApprovalFirst => "an approval is honoured once and for the approved digest only",
            Self::PublishedIsDurable => "nothing is acknowledged or published before it is durable",
            Self::SnapshotEqualsFold => "replay gives the same state, from event one or from a snapshot",
            Self::ContextValid => "the transcript a provider sees is well-formed by construction",
            Self::ContextFits => "a session never dies of its own length",
            Self::CancelStops => "no new model or tool call after the acknowledged cancel",
            Self::BudgetKept => "budgets are never overspent",
            Self::ReportOnce => "a subagent's result is delivered once to its parent even if either dies",
            Self::NoOrphan => "a cancelled, failed or deleted session leaves no running subagent",
            Self::QueuesBounded => "every queue has a named limit",
            Self::ProjectionsRebuilt => "the journal is the only truth; every projection can be rebuilt",
            Self::Progress => "every turn ends; a fault stops nothing for ever",
            Self::HolderOnly => "a node begins no attempt once another has taken the session over",
            Self::StaleHolderFenced => "a holder that was replaced appends nothing in its name",
            Self::TakeoverCompletes => "the sessions of a node that is gone are taken over and end",
            Self::FollowedAsCommitted => {
                "a stream at any node tells each commit once, in order, as it was made"
            }
            Self::ForksStandAlone => {
                "a fork is what the session was, whatever becomes of either, and repeats nothing"
            }
            Self::FilesInOrder => "each command begins with the files that the one before left",
            Self::SignInGoesOn => {
                "who waits for a sign-in goes on once when it is made, or cannot be, and never waits in vain"
            }
        }
    }
}

impl std::fmt::Display for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub property: Property,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    pub(crate) fn new(property: Property, detail: impl Into<String>) -> Self {
        Self { property, detail: detail.into() }
    }
}
