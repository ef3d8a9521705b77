//! Events: the durable facts a session's journal is made of.
//!
//! An event type is never reused, removed or given another meaning; new members are optional. A session
//! is the fold of its events and of nothing else.
//!
//! Reading is strict. A release that does not know a type or a member cannot read the event, and leaves the
//! session to one that can: to fold the rest would be to decide without a fact. So a new member is first read
//! by one release and written by the next, where two releases are to work on the same sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AgentConfig, ApprovalId, ArtifactId, Compacted, ContextSize, DigestKey, Effect, EffectId, Effort,
    Environment, EnvironmentOpened, ExtractionSkipped, Forked, FunctionOutput, Governance, Grant, Held,
    InputId, Item, ItemId, ItemStatus, Labels, Next, Outcome, Parent, Party, PermitRecord, PolicyRefusal,
    ProjectId, Rewound, RouteDecision, ServiceTier, SubagentId, TakenBlock, TakenProcedure, Ticket,
    Timestamp, Tool, Trust, TurnId,
};

/// A durable fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// An environment exists that waits for a session. Always the first event, and only the first.
    EnvironmentOpened(Box<EnvironmentOpened>),
    /// The session exists. The first event, or one after that of the environment that it is opened in; never
    /// a second time.
    SessionOpened(Box<SessionOpened>),
    /// A client changed the session's settings.
    SessionUpdated {
        /// What changed.
        patch: Box<SessionPatch>,
    },
    /// The session cannot go on.
    SessionFailed {
        /// Why, safe for customers.
        message: String,
    },
    /// The session was deleted; it accepts nothing more.
    SessionDeleted,
    /// A user message was accepted. It joins a turn with [`Event::InputJoined`].
    InputAccepted {
        /// The input.
        input: Input,
    },
    /// An accepted message became part of a turn.
    InputJoined {
        /// The input.
        input_id: InputId,
        /// The user item it became.
        item_id: ItemId,
        /// The turn it joined.
        turn_id: TurnId,
    },
    /// A turn exists.
    TurnCreated {
        /// The turn.
        turn_id: TurnId,
    },
    /// A turn began to run.
    TurnStarted {
        /// The turn.
        turn_id: TurnId,
    },
    /// A turn ended.
    TurnEnded {
        /// The turn.
        turn_id: TurnId,
        /// How.
        end: TurnEnd,
    },
    /// An item exists.
    ItemAdded {
        /// The item.
        item: Item,
    },
    /// An item reached its final status, without an attempt's outcome saying so.
    ItemClosed {
        /// The item.
        item_id: ItemId,
        /// Its final status.
        status: ItemStatus,
        /// Why, for calls that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Deferred functions were searched for and are shown to the model from the next step on.
    FunctionsLoaded {
        /// Their names.
        names: Vec<String>,
    },
    /// An effect is intended.
    EffectRequested {
        /// The effect.
        effect: Effect,
    },
    /// An attempt at an effect is about to begin.
    AttemptStarted {
        /// The effect.
        effect_id: EffectId,
        /// Its number, from 1.
        attempt: u32,
        /// What it may cost, in billionths of a US dollar: set aside in the budget before it begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserved_nano_usd: Option<u64>,
        /// The way it takes, where it is a model call and ways are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        route: Option<Box<RouteDecision>>,
        /// How long the context is that the model is shown; absent for other effects, where no window is known, and
        /// in journals of before it was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<ContextSize>,
        /// What is set aside in the budgets of its session, agent and project, where some are limited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<Box<Held>>,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The effect.
        effect_id: EffectId,
        /// Which attempt.
        attempt: u32,
        /// What came of it.
        outcome: Outcome,
        /// What follows.
        next: Next,
        /// The labels of what it gave.
        #[serde(default, skip_serializing_if = "Labels::is_neutral")]
        labels: Labels,
    },
    /// An effect is no longer wanted; a running attempt's outcome will be ignored.
    EffectAbandoned {
        /// The effect.
        effect_id: EffectId,
    },
    /// Policy did not allow what the agent was to do; nothing was done.
    PolicyRefused {
        /// What, and why.
        refusal: PolicyRefusal,
    },
    /// A person signed in where effects wait for it, or nobody can any more; they are attempted again.
    SignedIn,
    /// A credential came to lie in one of the session's vaults for a tool server that was reached without one and asked
    /// for a sign-in: from here on it is shown that one. What waits for it is attempted again.
    CredentialBound {
        /// The server.
        server_label: String,
        /// The credential.
        credential_id: String,
    },
    /// Policy allowed that an effect shows its server the credential that the server was given after policy had
    /// allowed the effect.
    SecretPermitted {
        /// The effect.
        effect_id: EffectId,
        /// The credential.
        credential_id: String,
        /// Why it may.
        permit: Box<PermitRecord>,
    },
    /// People, or the end of a ticket's time, did something to the session or to one of its tickets.
    Governed {
        /// What.
        fact: Governance,
    },
    /// A call waits for a person.
    ApprovalRequested {
        /// The approval.
        approval: Approval,
    },
    /// A person answered, or the question became moot.
    ApprovalDecided {
        /// The approval.
        approval_id: ApprovalId,
        /// The answer.
        decision: Decision,
        /// Who answered: a key's id, or `system`.
        by: String,
        /// Why they may; absent for `system`, and in journals of before it was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permit: Option<Box<PermitRecord>>,
    },
    /// Leave was given for certain calls.
    Granted {
        /// What was granted.
        grant: Grant,
    },
    /// A client answered a function call.
    FunctionReturned {
        /// The function call's item.
        call_item_id: ItemId,
        /// The result's item.
        item_id: ItemId,
        /// The turn it joined.
        turn_id: TurnId,
        /// Whether the function succeeded.
        success: bool,
        /// Its output.
        output: Option<FunctionOutput>,
        /// Its error.
        error: Option<String>,
    },
    /// A subagent exists.
    SubagentOpened {
        /// The subagent.
        subagent_id: SubagentId,
        /// What it is called.
        name: String,
        /// Its first input.
        task: String,
    },
    /// A subagent was closed.
    SubagentClosed {
        /// The subagent.
        subagent_id: SubagentId,
    },
    /// A closed subagent is available again.
    SubagentResumed {
        /// The subagent.
        subagent_id: SubagentId,
    },
    /// The executor of a self-hosted environment connected, to the node that appends this.
    EnvironmentConnected,
    /// The executor is gone.
    EnvironmentDisconnected,
    /// A client waits with a message until the executor connects. The message is not accepted before.
    ConnectionAwaited {
        /// How long it waits at most.
        until: Timestamp,
    },
    /// Nobody waits for the executor any more, and it did not come.
    ConnectionLapsed,
    /// A client deleted an artifact.
    ArtifactDeleted {
        /// The artifact.
        artifact_id: ArtifactId,
    },
    /// No session was opened in the environment in time; none can be any more.
    EnvironmentExpired,
    /// Nothing was done in the environment for long: its node keeps nothing of it but what is in the store.
    EnvironmentSuspended,
    /// Something is about to be done in the environment again.
    EnvironmentResumed,
    /// The environment's files are lost: it is made ready anew, as it was when the session began.
    EnvironmentReset,
    /// Older items left the context, and a summary stands for them. The journal keeps them.
    ContextCompacted(Box<Compacted>),
    /// Older items left the context because it was too long. The journal keeps them. Written by releases before
    /// summaries.
    ContextTrimmed {
        /// The first item that stays.
        first_kept: ItemId,
        /// How many items left.
        dropped: u32,
    },
    /// Items are shown to the model as previews from now on, because not even the running turn fits. The journal
    /// keeps them whole.
    OutputsShortened {
        /// The items: first those that hold the outputs of tools, and where that is not enough all that are long.
        item_ids: Vec<ItemId>,
    },
    /// The pinned blocks that the model is shown from now on, in place of those of before.
    BlocksTaken {
        /// The blocks, in the order they are shown.
        blocks: Vec<TakenBlock>,
    },
    /// The procedures that the model is told of from now on, in place of those of before.
    ProceduresTaken {
        /// The procedures, in the order they are listed.
        procedures: Vec<TakenProcedure>,
    },
    /// No facts are read out of a turn that has ended, where the agent's settings want it.
    ExtractionSkipped {
        /// The turn.
        turn_id: TurnId,
        /// Why.
        why: ExtractionSkipped,
    },
    /// The session began with the conversation of another. Right after [`Event::SessionOpened`], in the same
    /// append; as often as it takes.
    Forked(Box<Forked>),
    /// The session went back to an earlier version of itself. Everything that happened since stays in the
    /// journal.
    Rewound(Box<Rewound>),
}

impl Event {
    /// What the digests in the audit records of its session are keyed with, if it is the first of a journal and says
    /// so.
    #[must_use]
    pub fn digest_key(&self) -> Option<DigestKey> {
        if let Self::SessionOpened(opened) = self {
            return opened.digest_key;
        }
        let Self::EnvironmentOpened(opened) = self else { return None };
        opened.digest_key
    }
}

/// How a session begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOpened {
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// The agent it runs.
    pub agent: AgentConfig,
    /// Where commands and files live.
    pub environment: Environment,
    /// The client's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// Attached vaults.
    pub vault_ids: Vec<String>,
    /// Automatic review, if set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// Spend control, if set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_limit: Option<SpendLimit>,
    /// Prompt cache settings, if set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_cache: Option<PromptCache>,
    /// Where it belongs, if it is a subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What is trusted, and what was granted.
    #[serde(default, skip_serializing_if = "Trust::is_neutral")]
    pub trust: Trust,
    /// Whom its agent acts for; absent in journals of before it was kept, and where nobody is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<Party>,
    /// What the digests in its audit records are keyed with; absent in journals of before, and where the journal's
    /// first event is that of an environment, which has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_key: Option<DigestKey>,
}

impl SessionOpened {
    /// A session of `agent` without an environment, limits or metadata, opened by nobody who is known.
    #[must_use]
    pub fn new(project_id: ProjectId, agent: AgentConfig) -> Self {
        Self {
            project_id,
            agent,
            environment: Environment::None,
            metadata: BTreeMap::new(),
            vault_ids: Vec::new(),
            review: None,
            spend_limit: None,
            prompt_cache: None,
            parent: None,
            trust: Trust::default(),
            opened_by: None,
            digest_key: None,
        }
    }
}

/// Whether actions are reviewed by a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// No review.
    None,
    /// Reviewed, if there is a reviewer; what would ask a person is denied where there is none.
    AutoReview,
}

/// Prompt cache settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptCache {
    /// `30m` or `12h`.
    pub ttl: String,
}

/// What a client changed. Absent members are unchanged; an inner absence clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionPatch {
    /// Replaces all pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Changes of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentPatch>,
    /// Review; the inner absence clears.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub review: Option<Option<Review>>,
    /// Spend control: absent, cleared, or set with its limit in cents.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub spend_limit: Option<Option<SpendLimit>>,
    /// Prompt cache settings; the inner absence clears.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub prompt_cache: Option<Option<PromptCache>>,
}

/// A spending limit as the client set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendLimit {
    /// US cents; absent means counted but unlimited.
    pub limit: Option<u64>,
}

/// What a client changed about a session's agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentPatch {
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Reasoning effort; the inner absence restores the model's default.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub effort: Option<Option<Effort>>,
    /// The provider's tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
    /// Replaces all tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
}

/// An optional member whose value may itself be null: `Some(None)` is written as null.
mod double {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

/// A user message as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its id.
    pub id: InputId,
    /// Its parts, never empty.
    pub content: Vec<crate::InputPart>,
    /// The labels of what it says.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// The agent wrote it itself, for later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_agent: bool,
}

/// A question to a person about one exact call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The turn that waits.
    pub turn_id: TurnId,
    /// The item that shows the call.
    pub item_id: ItemId,
    /// The server.
    pub server_label: String,
    /// The tool's name on its server.
    pub name: String,
    /// The exact arguments.
    pub arguments: Value,
    /// Digest of the canonical arguments; the answer binds it.
    pub digest: String,
    /// What the person is told, written by the runtime and never by the model.
    pub message: String,
    /// Ids of the policies that held the call back.
    pub policies: Vec<String>,
    /// Digest of the policy set that was evaluated; absent in journals of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<String>,
    /// The labels of everything the model had seen when it asked.
    #[serde(default, skip_serializing_if = "Labels::is_neutral")]
    pub labels: Labels,
    /// The arguments, by path, whose values nobody who is trusted has named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untrusted: Vec<String>,
    /// What else binds the answer; absent in journals of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Box<Ticket>>,
    /// What policy was asked, as in [`crate::PermitRecord::asked`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<crate::Asked>,
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Do it, once, exactly so.
    Approve,
    /// Do not; the model is told.
    Deny,
    /// The question is dismissed; the call is not made.
    Cancel,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TurnEnd {
    /// The model was done.
    Completed,
    /// It could not go on.
    Failed {
        /// Why.
        error: TurnError,
    },
    /// A client cancelled it.
    Cancelled,
}

/// Why a turn failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnError {
    /// A turn error code of the Agents API.
    pub code: String,
    /// Safe for customers.
    pub message: String,
}
