//! Effects: durable intentions to touch the world, and what came of each attempt.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ApprovalId, Artifact, Asked, BlobRef, CommandRequest, CommandResult, EffectId, EnvironmentFile,
    ExtractedFact, ExtractedProcedure, GrantNumber, ItemId, Labels, MemoryScope, PluginServers, SkillEntry,
    SubagentEnd, SubagentRequest, Timestamp, ToolTerms, TurnId, Usage, WorkspaceRoot,
};

/// An intention, recorded before anything outside the process happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Its id; also the idempotency key that travels with it.
    pub id: EffectId,
    /// The turn that asked for it; absent for what no turn asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// What it does.
    pub kind: EffectKind,
    /// What may be done after an interrupted attempt.
    pub repeat: Repeat,
    /// Why it may happen.
    pub permit: PermitRecord,
}

/// What an effect does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum EffectKind {
    /// Ask a model. What it is shown is derived from the session's state.
    ModelCall {
        /// The model's name.
        model: String,
        /// Which step of the turn this is, from 0.
        step: u32,
    },
    /// Have a model write a summary of older items, so that they can leave the context. What it is shown is
    /// derived from the session's state.
    Compact {
        /// The model's name.
        model: String,
        /// The place of the first item that it does not stand for.
        upto: u64,
        /// The last item that it stands for. Where another is at its place by then, nothing comes of it.
        last: ItemId,
        /// The context still fits: the turn goes on meanwhile.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ahead: bool,
    },
    /// Ask a server which tools it has.
    ListTools {
        /// The server's label in the agent.
        server_label: String,
        /// Whether the server runs in the session's environment.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        inside: bool,
    },
    /// Call a tool.
    ToolCall {
        /// The item that shows the call.
        item_id: ItemId,
        /// Whose tool it is.
        server: ServerRef,
        /// The tool's name on its server.
        name: String,
        /// Its arguments: exactly what the permit's digest binds and what is sent.
        arguments: Value,
    },
    /// Make the environment ready: its files, then its setup commands. One of the customer's is only searched for
    /// skills.
    PrepareEnvironment,
    /// Put files of a client into the environment.
    PlaceFiles {
        /// The files; a later one replaces an earlier one at the same path.
        files: Vec<EnvironmentFile>,
    },
    /// Do something in the environment.
    Command {
        /// The item that shows it.
        item_id: ItemId,
        /// What: exactly what the permit's digest binds.
        request: CommandRequest,
        /// The hosts it may reach, where policy allows fewer than the environment's settings name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hosts: Option<Vec<String>>,
    },
    /// Publish the files that a turn left for its client.
    PublishArtifacts,
    /// Ask something of a subagent.
    Subagent {
        /// The item that shows the call.
        item_id: ItemId,
        /// What is asked: exactly what the permit's digest binds.
        request: SubagentRequest,
    },
    /// Ask a model whether a call that waits for an approval may be made. What it is shown is derived from the
    /// session's state.
    Review {
        /// The approval.
        approval_id: ApprovalId,
        /// The model's name.
        model: String,
    },
    /// Have a model read facts out of a turn that has ended. What it is shown is derived from the session's state
    /// and from what is remembered already. It outlives its turn, and nobody waits for it.
    Extract {
        /// The model's name.
        model: String,
        /// For whom facts are kept, as the session stood when the turn ended.
        scope: MemoryScope,
        /// Facts that are kept at most.
        facts_max: u32,
        /// The items of the turn that are shown, in their order. An answer names them by their places here, from 1.
        items: Vec<ItemId>,
        /// The calls of the turn that are shown beside them, in their order, for a procedure to be made of; named by
        /// the places behind those of the items. None: no procedure is asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<ItemId>,
        /// The labels of everything the session's model had been shown by then: those of what is made of it.
        #[serde(default, skip_serializing_if = "Labels::is_neutral")]
        labels: Labels,
        /// An answer came before it that could not be read; another is not asked for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// Stop subagents. It may outlive its turn, and is attempted until it is done.
    EndSubagents {
        /// Which, and how.
        ends: Vec<SubagentEnd>,
    },
}

/// Effects of one lane are attempted one after the other, in the order they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What is asked of subagents: input is sent before it is waited for.
    Subagents,
    /// What changes the environment's files: each begins with the files that the one before left. Servers that
    /// run there may change them as commands do.
    Environment,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 2] = [Self::Subagents, Self::Environment];
}

impl EffectKind {
    /// The lane it is attempted in; absent for what may be attempted beside everything else.
    #[must_use]
    pub fn lane(&self) -> Option<Lane> {
        match self {
            Self::Subagent { .. } => Some(Lane::Subagents),
            Self::PrepareEnvironment
            | Self::PlaceFiles { .. }
            | Self::Command { .. }
            | Self::PublishArtifacts
            | Self::ListTools { inside: true, .. }
            | Self::ToolCall { server: ServerRef::Inside { .. }, .. } => Some(Lane::Environment),
            Self::ModelCall { .. }
            | Self::Review { .. }
            | Self::Extract { .. }
            | Self::Compact { .. }
            | Self::ListTools { inside: false, .. }
            | Self::ToolCall { server: ServerRef::Builtin | ServerRef::Mcp { .. }, .. }
            | Self::EndSubagents { .. } => None,
        }
    }

    /// The label of the tool server that it asks from here: not one inside an environment, but for a listing, which is of
    /// either.
    #[must_use]
    pub fn asked_server(&self) -> Option<&str> {
        match self {
            Self::ListTools { server_label, .. }
            | Self::ToolCall { server: ServerRef::Mcp { server_label }, .. } => Some(server_label),
            Self::ToolCall { server: ServerRef::Builtin | ServerRef::Inside { .. }, .. }
            | Self::ModelCall { .. }
            | Self::Review { .. }
            | Self::Extract { .. }
            | Self::Compact { .. }
            | Self::Subagent { .. }
            | Self::EndSubagents { .. }
            | Self::PrepareEnvironment
            | Self::PlaceFiles { .. }
            | Self::Command { .. }
            | Self::PublishArtifacts => None,
        }
    }

    /// The item that shows the call the effect carries out.
    #[must_use]
    pub fn item_id(&self) -> Option<ItemId> {
        match self {
            Self::ToolCall { item_id, .. }
            | Self::Subagent { item_id, .. }
            | Self::Command { item_id, .. } => Some(*item_id),
            Self::ModelCall { .. }
            | Self::Review { .. }
            | Self::Extract { .. }
            | Self::Compact { .. }
            | Self::ListTools { .. }
            | Self::EndSubagents { .. }
            | Self::PrepareEnvironment
            | Self::PlaceFiles { .. }
            | Self::PublishArtifacts => None,
        }
    }

    /// Whether it goes on when its turn has ended.
    #[must_use]
    pub fn outlives_turn(&self) -> bool {
        match self {
            Self::EndSubagents { .. }
            | Self::PrepareEnvironment
            | Self::PlaceFiles { .. }
            | Self::Extract { .. }
            | Self::Compact { ahead: true, .. } => true,
            Self::ModelCall { .. }
            | Self::Review { .. }
            | Self::Compact { ahead: false, .. }
            | Self::ListTools { .. }
            | Self::ToolCall { .. }
            | Self::Command { .. }
            | Self::PublishArtifacts
            | Self::Subagent { .. } => false,
        }
    }
}

/// Whose tool a call is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerRef {
    /// A tool of the runtime itself.
    Builtin,
    /// A tool of the agent's MCP server with this label.
    Mcp {
        /// The label.
        server_label: String,
    },
    /// The same, of a server that runs in the session's environment.
    Inside {
        /// The label.
        server_label: String,
    },
}

/// What may be done after an interrupted attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// Call again: nothing happens twice, or it does not matter.
    Freely,
    /// Call again with the same idempotency key: the other side recognises it.
    WithKey,
    /// Never: the outcome of an interrupted attempt stays unknown.
    Never,
}

/// The permit as evidence: which policies allowed exactly which arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermitRecord {
    /// Ids of the policies that determined the decision.
    pub policies: Vec<String>,
    /// Digest of the policy set that was evaluated.
    pub policy_digest: String,
    /// Digest of the canonical arguments the permit binds.
    pub arguments_digest: String,
    /// The approval it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// The grant that covers it, and is used by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantNumber>,
    /// What policy was asked, once for each decision that the permit is of; none in journals of before it was kept,
    /// and where it would be too long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// What policy did not allow, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRefusal {
    /// The turn that asked for it; absent for what no turn asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
    /// What was to be done, in the words of policies: `tool.call`.
    pub action: String,
    /// With what: a model's name, a server's label, a tool as `<server>/<name>`.
    pub resource: String,
    /// Ids of the policies that forbid it, or that would allow it with an approval; empty when none permits it.
    pub policies: Vec<String>,
    /// Digest of the policy set that was evaluated.
    pub policy_digest: String,
    /// Digest of the canonical arguments.
    pub arguments_digest: String,
    /// Whether a person could have allowed it, where nobody can be asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_approval: bool,
    /// Why it could not be decided, where it could not: somebody has to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What policy was asked, as in [`PermitRecord::asked`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It happened.
    Done {
        /// What it gave.
        done: Done,
    },
    /// It did not happen, or happened and reported failure.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It was interrupted: it may or may not have happened.
    Unknown,
}

/// What a finished attempt gave, beside the items recorded with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Done {
    /// A model's answer; its items, or the summary that it is, follow as events of their own.
    Model {
        /// Tokens, where the provider says.
        usage: Option<Usage>,
        /// What it cost in billionths of a US dollar, where prices are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_nano_usd: Option<u64>,
        /// The provider's id of the response.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response_id: Option<String>,
    },
    /// A server's tools.
    Tools {
        /// The definitions, in the server's order.
        tools: Vec<ToolDef>,
    },
    /// A tool's result.
    Tool {
        /// The result.
        result: ToolResult,
    },
    /// Subagents were stopped.
    Ended,
    /// The environment's files are as they were meant to be.
    Placed {
        /// The files.
        root: WorkspaceRoot,
        /// The skills that are among them, where the environment was made ready.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skills: Vec<SkillEntry>,
        /// The tool servers that plugins among them name, where it was made ready.
        #[serde(default, skip_serializing_if = "PluginServers::is_empty")]
        servers: PluginServers,
    },
    /// The skills of an environment whose files are not kept here.
    Found {
        /// Where they are, and what they are for.
        skills: Vec<SkillEntry>,
        /// The tool servers that plugins there name.
        #[serde(default, skip_serializing_if = "PluginServers::is_empty")]
        servers: PluginServers,
    },
    /// A command ran.
    Command {
        /// What came of it.
        result: CommandResult,
    },
    /// Files were published.
    Published {
        /// Those that are new.
        artifacts: Vec<Artifact>,
    },
    /// A reviewer answered, or what it said is as good as no answer.
    Reviewed {
        /// What follows from it.
        verdict: ReviewVerdict,
        /// Why, in its words or in ours.
        reason: String,
        /// Tokens, where the provider says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// What it cost in billionths of a US dollar, where prices are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_nano_usd: Option<u64>,
    },
    /// A model read a turn. What is remembered of it is written with this.
    Extracted {
        /// The facts.
        facts: Vec<ExtractedFact>,
        /// The procedure, to be proposed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        procedure: Option<Box<ExtractedProcedure>>,
        /// What of the answer was not taken: without a source in the turn, too long, too much, or not asked for.
        #[serde(default, skip_serializing_if = "is_zero")]
        dropped: u32,
        /// Why the answer could not be read, where it could not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
        /// Tokens, where the provider says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// What it cost in billionths of a US dollar, where prices are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_nano_usd: Option<u64>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What follows from the answer of a reviewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewVerdict {
    /// The call is made.
    Approve,
    /// It is not.
    Refuse,
    /// People are asked.
    Escalate,
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolResult {
    /// Its text, or a preview when `stored` is set.
    pub text: String,
    /// Whether the tool itself reports an error.
    pub is_error: bool,
    /// Where the whole text is, when it was too large to inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<BlobRef>,
    /// The files it left in the environment, where its server runs there; absent when it changed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<WorkspaceRoot>,
}

impl ToolResult {
    /// A result that fits, of a tool that touches no environment.
    #[must_use]
    pub fn inline(text: String, is_error: bool) -> Self {
        Self { text, is_error, stored: None, root: None }
    }
}

/// A tool as its server describes it. What is absent was not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolDef {
    /// Its name on the server.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
    /// It changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// It may destroy or spend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    /// Calling it again with the same arguments changes nothing further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// It recognises the idempotency key that travels with a call, as configured.
    #[serde(default)]
    pub keyed: bool,
    /// On which terms it is used; absent in listings of before this was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Box<ToolTerms>>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// Safe for customers: no provider bodies, keys or paths.
    pub message: String,
    /// How long the other side asked to be left alone, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Kinds of failure, after what the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The credentials were refused.
    Authentication,
    /// The model or resource does not exist.
    NotFound,
    /// The context is longer than the model accepts.
    ContextTooLong,
    /// The request was refused as invalid.
    InvalidRequest,
    /// Too many requests.
    RateLimited,
    /// The account has no credit left.
    CreditExhausted,
    /// The other side is overloaded.
    Overloaded,
    /// The other side failed.
    ServerError,
    /// The connection could not be made or broke.
    ConnectionFailed,
    /// A deadline passed.
    Timeout,
    /// The answer was cut at the provider's output limit.
    MaxOutputTokens,
    /// The provider withheld the answer under its usage policy.
    ContentPolicy,
    /// The tool does not exist on its server any more.
    ToolNotFound,
    /// The other side broke its protocol.
    Protocol,
    /// Our own bug.
    Internal,
    /// Our own bug, which ended the attempt where it stood.
    Crashed,
    /// The process stood still for so long after recording the attempt that it may have lost the session to
    /// another: it began nothing.
    NotBegun,
    /// A person must sign in at the other side first; it did nothing.
    SignInRequired,
    /// What the journal says of the environment's files is not in the store any more; nothing was done.
    FilesLost,
}

impl FailureKind {
    /// Whether trying again later may succeed.
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::ServerError
            | Self::ConnectionFailed
            | Self::NotBegun
            | Self::FilesLost
            | Self::Timeout => true,
            Self::Authentication
            | Self::NotFound
            | Self::ContextTooLong
            | Self::InvalidRequest
            | Self::CreditExhausted
            | Self::MaxOutputTokens
            | Self::ContentPolicy
            | Self::ToolNotFound
            | Self::Protocol
            | Self::Internal
            | Self::Crashed
            | Self::SignInRequired => false,
        }
    }

    /// Whether another attempt by the same route to a model would fail again, and one by another may not: the
    /// failure says something about an account or an address.
    #[must_use]
    pub fn is_of_the_route(self) -> bool {
        match self {
            Self::Authentication | Self::NotFound | Self::CreditExhausted | Self::Protocol => true,
            Self::ContextTooLong
            | Self::InvalidRequest
            | Self::RateLimited
            | Self::Overloaded
            | Self::ServerError
            | Self::ConnectionFailed
            | Self::NotBegun
            | Self::Timeout
            | Self::MaxOutputTokens
            | Self::ContentPolicy
            | Self::ToolNotFound
            | Self::Internal
            | Self::Crashed
            | Self::FilesLost
            | Self::SignInRequired => false,
        }
    }

    /// Whether the failure leaves open if the other side acted before it.
    ///
    /// A refusal is certain; a broken connection or a deadline is not.
    #[must_use]
    pub fn is_ambiguous(self) -> bool {
        match self {
            Self::ServerError
            | Self::ConnectionFailed
            | Self::Timeout
            | Self::Protocol
            | Self::Internal
            | Self::Crashed => true,
            Self::RateLimited
            | Self::Overloaded
            | Self::NotBegun
            | Self::SignInRequired
            | Self::FilesLost
            | Self::Authentication
            | Self::NotFound
            | Self::ContextTooLong
            | Self::InvalidRequest
            | Self::CreditExhausted
            | Self::MaxOutputTokens
            | Self::ContentPolicy
            | Self::ToolNotFound => false,
        }
    }
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Next {
    /// Nothing: the effect is settled.
    Settled,
    /// Another attempt, not before this moment.
    Retry {
        /// The moment.
        at: Timestamp,
    },
}
