//! The durable language of Tenure: every type whose bytes can be on disk.
//!
//! A type is here if and only if it can be read back from a journal, a snapshot, a saved agent or a
//! recording. Nothing here performs I/O, reads a clock or draws a random number; time and fresh ids
//! arrive as arguments. What a client sees on the wire is the `api` crate's business and what a model
//! provider sees is the `model` crate's, so each of the three formats can change alone.

mod agent;
mod answer;
mod audit;
mod automation;
mod blob;
mod budget;
mod capability;
mod compaction;
mod content;
mod context;
mod digest_key;
mod effect;
mod envelope;
mod environment;
mod episode;
mod event;
mod extraction;
mod fact;
mod fork;
mod grant;
mod id;
mod item;
pub mod json;
mod label;
mod library;
pub mod limit;
mod pinned;
mod policy;
mod procedure;
mod projection;
mod reference;
mod route;
mod scope;
mod sign_in;
mod subagent;
mod template;
mod terms;
mod ticket;
mod time;
mod vault;

pub use agent::{
    AgentConfig, ApprovalMode, Author, Effort, FunctionTool, McpTool, McpTransport, MultiAgent, Origin,
    Pinned, Provenance, Reasoning, ReasoningSummary, Secret, ServiceTier, TextConfig, TextFormat, Tool,
    Verbosity,
};
pub use answer::{AnswerItem, ModelAnswer, Stop, Usage};
pub use audit::{
    AuditFact, AuditOutcome, AuditRecord, RequestFact, RequestKind, RequestOutcome, RequestRecord,
};
pub use automation::{
    Automation, AutomationStatus, CreatedBy, Invocation, InvocationStatus, NewSessionTarget, PauseReason,
    Schedule, Target, TargetAgent,
};
pub use blob::BlobRef;
pub use budget::{Amounts, BudgetId, BudgetIdError, BudgetScope, BudgetUse, Caps, Held, Measure, Period};
pub use capability::{
    Capabilities, Follows, InstalledPlugin, InstalledSkill, PluginServers, RefusedServer, SkillEntry,
    SkillVersion,
};
pub use compaction::{Compacted, ContextSize, Summarizer, Summary};
pub use content::{FunctionOutput, InputPart};
pub use context::{ContextItem, ModelRequest, ToolSpec};
pub use digest_key::{DigestKey, KEYED_DIGEST_PREFIX};
pub use effect::{
    Done, Effect, EffectKind, Failure, FailureKind, Lane, Next, Outcome, PermitRecord, PolicyRefusal, Repeat,
    ReviewVerdict, ServerRef, ToolDef, ToolResult,
};
pub use envelope::{DecodeError, Recorded, Version};
pub use environment::{
    Artifact, CommandRequest, CommandResult, ContainerSize, Environment, EnvironmentFile, EnvironmentStatus,
    HostedEnvironment, Network, Packages, SelfHostedEnvironment, SetupCommand, WorkspaceRoot,
    WorkspaceRootError,
};
pub use episode::{
    Episode, MEMORY_NAME_KEY, MEMORY_TIME_KEY, MEMORY_USER_KEY, MemorySpace, Remembered, Speaker,
};
pub use event::{
    AgentPatch, Approval, Decision, Event, Input, PromptCache, Review, SessionOpened, SessionPatch,
    SpendLimit, TurnEnd, TurnError,
};
pub use extraction::{ExtractedFact, ExtractedProcedure, Extraction, ExtractionChoice, ExtractionSkipped};
pub use fact::{Closing, Confidence, Fact, FactAuthor, FactSource, FactState};
pub use fork::{FORKED_ITEMS_MAX, Forked, ForkedFrom, PlacedItem, Rewound};
pub use grant::{GRANT_PINS_MAX, GRANT_USES_MAX, GRANTS_MAX, Grant, GrantNumber, GrantSource, Trust};
pub use id::{
    AgentId, ApprovalId, ArtifactId, AutomationId, CredentialId, EffectId, EnvironmentId, ErasureId, FactId,
    FileId, Fresh, IdError, InputId, InvocationId, ItemId, KeyId, NodeId, PersonId, ProjectId, RequestId,
    SecretId, SessionId, SkillId, SubagentId, TemplateId, TurnId, VaultId, WebhookId,
};
pub use item::{Item, ItemBody, ItemStatus, Phase};
pub use label::{Confidentiality, Integrity, Labels, ToolEffect};
pub use library::{FilePurpose, SkillVersionError, StoredFile, StoredSkill, StoredSkillVersion};
pub use pinned::{
    BLOCK_NAME_CHARS_MAX, MemorySettings, PinnedBlock, ProposedText, TakenBlock, block_id, is_block_name,
};
pub use policy::{Asked, PolicySource, PolicyText, ProofOutcome, ProofRecord, ProofResult};
pub use procedure::{
    PROCEDURE_NAME_CHARS_MAX, Procedure, ProcedureState, TakenProcedure, is_procedure_name, is_proposal_id,
    procedure_id, proposal_id,
};
pub use projection::{Head, SessionKey, SessionStatus, Turn, TurnStatus};
pub use reference::Reference;
pub use route::{Obstacle, PassedOver, RouteDecision, RouteRecord};
pub use scope::{MemoryScope, ScopeError, ScopeKind};
pub use sign_in::{SignIn, SignInStatus};
pub use subagent::{AgentRef, EndHow, Parent, ReportStatus, SubagentEnd, SubagentReport, SubagentRequest};
pub use template::{EnvironmentOpened, HostedSettings, TargetEnvironment, Template, WantedEnvironment};
pub use terms::{ClosedType, FieldTerms, ToolTerms};
pub use ticket::{Expiry, Governance, OnExpiry, Party, PartyKind, Requester, Ticket};
pub use time::Timestamp;
pub use vault::{
    Credential, CredentialAuth, CredentialNetworking, FoundCredential, LostSignIn, OauthAuth, OauthRefresh,
    OauthState, TokenEndpointAuth, Vault, WantedCredential,
};
