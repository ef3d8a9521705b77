//! The imperative shell: everything around the session machine that touches the world.
//!
//! Each session with something to do has one actor, a task that owns its state. The actor turns one crank:
//! load, decide, append in one transaction, and only then publish, stop and start. Effects run as tasks of
//! their actor and come back as numbered outcomes. A session with nothing to do has no actor and no memory.
//!
//! ```text
//!   API ──commands──▶ actor ──append──▶ store
//!                      │ ▲                       committed
//!              starts  ▼ │ outcomes                 │
//!                    effects (model, tools)         ▼
//!                      │ deltas ───────────────▶   hub ──▶ subscriptions
//! ```
//!
//! What happens if the process dies between any two of these is decided by what was appended: on start every
//! unfinished session is found by one indexed query, and the session machine says what may be repeated.

mod acting;
mod actor;
mod appending;
mod audit;
mod automations;
mod breaker;
mod budget;
mod budgets;
mod clock;
mod collect;
mod described;
mod digests;
mod effects;
mod embedding;
mod environments;
mod erasure;
mod error;
mod export;
mod facts;
mod fair;
mod follow;
mod fork;
mod freezes;
mod handle;
mod history;
mod hub;
mod identity;
mod keeping;
mod live;
mod load;
mod memory;
mod metrics;
mod models;
mod node;
mod opening;
mod policies;
mod registry;
mod rewrap;
mod seal;
mod subagents;
mod tasks;
mod traces;
mod unreadable;
mod vaults;
mod webhooks;

pub use audit::{AuditLog, changes as audit_changes};
pub use automations::{
    AgentCheck, AutomationError, AutomationRefusal, Automations, Change, NewAutomation, Saved,
    SavedAutomation, SavedInvocation,
};
pub use budget::entries as budget_entries;
pub use budgets::{
    BUDGET_TARGETS_MAX, BudgetError, BudgetLimits, BudgetTarget, FileBudgets, NotATarget, SetBudget,
    uses as budget_uses,
};
pub use collect::{Collected, GRACE as COLLECTION_GRACE, GRACE_MIN as COLLECTION_GRACE_MIN};
pub use embedding::{
    EmbedError, Embedder, EmbeddingRoutes, QUESTION_TIMEOUT as EMBEDDING_QUESTION_TIMEOUT,
    TEXTS_MIN as EMBEDDING_TEXTS_MIN,
};
pub use environments::templates::{SavedTemplate, TemplateError};
pub use environments::{
    CONNECTION_WAIT, EnvironmentConfig, EnvironmentFileError, EnvironmentRefusal, Executors, ListedFile,
    PackageSources, RemoteFileError, WantedError, templates,
};
pub use erasure::{Erasure, ErasurePhase, Forget, SUBJECT_BYTES_MAX, VERIFIED_TEXTS_MAX, WouldGo};
pub use error::{RuntimeError, RuntimeErrorKind};
pub use export::ExportConfig;
pub use facts::{
    Answer as ProcedureAnswer, Correction, FactFilter, KeptFact, MemoryError, MemoryRefusal,
    Outcome as MemoryOutcome, SavedBlock, SavedFact, SavedProcedure, caller, indexed,
};
pub use fair::Places;
pub use freezes::{Freeze, FreezeError, FreezeId, FreezeTarget};
pub use handle::{Limits, Outbound, Parts, ReceiptDraft, Runtime};
pub use hub::{Subscription, SubscriptionItem};
pub use identity::IdentityConfig;
pub use keeping::Kept;
pub use load::{Bound, Full, Gauge, Limit, Load, Share, Whose};
pub use memory::{QUESTION_BYTES_MAX, RECALLED, recall};
pub use metrics::{Metrics, Sampled};
pub use models::{ModelTable, Prices, Provider, Route};
pub use opening::Opening;
pub use policies::{Candidate, POLICY_BYTES_MAX, POLICY_FILES_MAX, Publication, Published};
pub use rewrap::Rewrapped;
pub use seal::{Sealer, SealerError};
pub use tenure_memory::exchange::Standing;
pub use tenure_memory::recall::Recalled;
pub use tenure_memory::{KnownFact, fact, moment, procedure, rfc3339};
pub use tenure_oauth::{Callback, ClientMetadata};
pub use tenure_seal::{KeyCommand, KeyFile, LocalKey, MasterKeys, SealError, SealErrorKind, SecretString};
pub use tenure_telemetry::Content;
pub use tenure_telemetry::metrics::{Kind as MetricKind, MEDIA_TYPE as METRICS_MEDIA_TYPE, Present};
pub use tenure_tools::Addresses;
pub use tenure_webhook::{AddressError, Policy as WebhookPolicy, SigningSecret};
pub use traces::ShownTrace;
pub use vaults::{
    Attached, BindError, CREDENTIALS_MAX, CredentialChange, MASKED_BYTES_MIN, NewCredential, NewSignIn,
    RefreshRotation, Rotated, Rotation, SavedCredential, SavedVault, Secrets, ShownSignIn, SignInAt,
    SignInError, VaultConfig, VaultError, VaultFilter, VaultPatch, check_variable, credential_host,
};
pub use webhooks::{
    DeadLetter, EventType, NewWebhook, Webhook, WebhookConfig, WebhookError, WebhookPatch, WebhookTiming,
};
