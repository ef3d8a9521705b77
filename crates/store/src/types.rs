//! What goes in and out of a store.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenure_journal::{
    AgentId, Amounts, AuditRecord, BudgetId, BudgetUse, Caps, Event, Head, Item, NodeId, ProjectId, Recorded,
    Remembered, SessionId, SessionKey, SessionStatus, Timestamp, Turn, TurnId, Version,
};

use crate::StoreError;
use crate::found::Indexed;

/// One transaction on one session.
#[derive(Debug, Clone)]
pub struct Append {
    /// The version the events were decided at. `ZERO` opens the session.
    pub expected: Version,
    /// When they were decided.
    pub at: Timestamp,
    /// The facts, at least one.
    pub events: Vec<Event>,
    /// The session's row after them.
    pub head: Head,
    /// Rows that are removed before the others are written.
    pub gone: GoneRows,
    /// Items that are new or changed.
    pub items: Vec<ItemRow>,
    /// Turns that are new or changed.
    pub turns: Vec<Turn>,
    /// A folded snapshot as of these events; replaces the previous one.
    pub snapshot: Option<Bytes>,
    /// Answers a repeated request.
    pub receipt: Option<Receipt>,
    /// The node that appends as the session's holder, or absent for a guest: a node that knows of another
    /// holder and leaves the session to it. With a holder, the append is refused while another node holds
    /// the session. After either, a session without a `wake_at` is held by nobody.
    pub holder: Option<NodeId>,
    /// Next versions of documents that follow from the events, each as in [`crate::Store::put`].
    pub documents: Vec<Document>,
    /// The same of documents that are found by terms, written after `documents`.
    pub indexed: Vec<Indexed>,
    /// What the events reserve and spend, in order.
    pub budget: Vec<BudgetEntry>,
    /// What the events set aside and use in budgets that more than one tree of sessions may share, in order.
    pub uses: Vec<UseEntry>,
    /// What an auditor is told of the events, in order. They wait to be sealed.
    pub audit: Vec<AuditRecord>,
    /// What the events made that can be recalled from now on, each in place of what was at its place in the session.
    /// Episodes at places of [`GoneRows::items_from`] and after it go before. A session whose head is deleted keeps
    /// none.
    pub episodes: Vec<Remembered>,
}

impl Append {
    /// An append of `events` and of nothing else, by a guest.
    #[must_use]
    pub fn of(expected: Version, at: Timestamp, events: Vec<Event>, head: Head) -> Self {
        Self {
            expected,
            at,
            events,
            head,
            gone: GoneRows::default(),
            items: Vec::new(),
            turns: Vec::new(),
            snapshot: None,
            receipt: None,
            holder: None,
            documents: Vec::new(),
            indexed: Vec::new(),
            budget: Vec::new(),
            uses: Vec::new(),
            audit: Vec::new(),
            episodes: Vec::new(),
        }
    }
}

/// A change to the budget of a session and of everything it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetEntry {
    /// The session at the root of the tree that shares the budget, in the project of the append.
    pub root: SessionId,
    /// What changes.
    pub change: BudgetChange,
}

/// How a budget changes. Money is in billionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetChange {
    /// Sets the limit; absent means none. What was spent and reserved stays.
    Limit(Option<u64>),
    /// Sets aside what an attempt may cost, before it begins. Refused with
    /// [`crate::StoreErrorKind::BudgetExceeded`] if it, what is reserved and what was spent together exceed
    /// the limit. A key that is reserved already is reserved anew.
    Reserve {
        /// Names the attempt within the budget.
        key: String,
        /// The most it may cost.
        nano_usd: u64,
    },
    /// Ends a reservation, if there is one, and counts what was really spent.
    Settle {
        /// Names the attempt within the budget.
        key: String,
        /// What it cost.
        nano_usd: u64,
    },
}

/// A change to how a budget stands that more than one tree of sessions may share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseEntry {
    /// The budget, in the project of the append.
    pub budget: BudgetId,
    /// What changes.
    pub change: UseChange,
}

/// How a shared budget changes. Its limits are the appender's to know: they come with what is to fit into them, so
/// that nothing is written where they are set.
///
/// There is no key of the attempt here: an append is made once, at its version, and so is what it sets aside and
/// settles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UseChange {
    /// Sets aside what an attempt may use, before it begins. Refused with
    /// [`crate::StoreErrorKind::BudgetExceeded`] if it, what is set aside and what was spent together are more than
    /// `caps` allow, of anything.
    Reserve {
        /// The most it may use.
        amounts: Amounts,
        /// The most there may be.
        caps: Caps,
    },
    /// Counts what an attempt used in place of what it had set aside.
    Settle {
        /// What it had set aside.
        reserved: Amounts,
        /// What it used.
        spent: Amounts,
    },
}

impl UseEntry {
    /// Makes the change.
    ///
    /// # Errors
    /// `BudgetExceeded`, which names the budget and the measure; nothing was changed.
    pub fn apply(&self, standing: &mut BudgetUse) -> Result<(), StoreError> {
        match &self.change {
            UseChange::Reserve { amounts, caps } => standing
                .reserve(amounts, caps)
                .map_err(|measure| StoreError::budget_exceeded(self.budget, measure)),
            UseChange::Settle { reserved, spent } => {
                standing.settle(reserved, spent);
                Ok(())
            }
        }
    }
}

/// A budget as it stands. A budget that was never touched has no limit and nothing spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The limit; absent means none.
    pub limit_nano_usd: Option<u64>,
    /// What was spent.
    pub spent_nano_usd: u64,
    /// What running attempts may cost.
    pub reserved_nano_usd: u64,
}

/// Tells a node that something was committed, by any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A session's journal reached a version.
    Session {
        /// The session.
        key: SessionKey,
        /// The version, at least.
        version: Version,
    },
    /// A node's lease began or was ended by it: what there is to share out, or to take over, has changed.
    Nodes,
    /// Anything may have been missed: look at everything of interest.
    Missed,
}

/// Rows of a session that a rewinding gives up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoneRows {
    /// Items at this place and after it. Their places and ids may be used again.
    pub items_from: Option<u64>,
    /// Turns.
    pub turns: Vec<TurnId>,
}

impl GoneRows {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items_from.is_none() && self.turns.is_empty()
    }
}

/// A moment by the store's own clock, in milliseconds since its epoch: when payloads were last kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The moment so long before.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// An item with its place in the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRow {
    /// Its place among all items of the session, from 0; never changes while it is there.
    pub ordinal: u64,
    /// The item.
    pub item: Item,
}

/// What a session is folded from.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The latest snapshot.
    pub snapshot: Option<Snapshot>,
    /// Every event after it, in order.
    pub tail: Vec<Recorded>,
}

/// A folded session state at a version; the bytes are the `session` crate's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version it was folded to.
    pub version: Version,
    /// The bytes.
    pub bytes: Bytes,
}

/// The first answer to an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The project that used the key.
    pub project: ProjectId,
    /// The key, with whatever scope the caller put into it.
    pub key: String,
    /// Digest of the request.
    pub digest: String,
    /// The HTTP status that was answered.
    pub status: u16,
    /// The body that was answered.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Only those that run this agent.
    pub agent_id: Option<AgentId>,
    /// Only those with this status.
    pub status: Option<SessionStatus>,
    /// Only those that have all of these pairs.
    pub metadata: BTreeMap<String, String>,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// Start after this id, exclusive.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
    /// Which way.
    pub order: Order,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// A saved agent.
    Agent,
    /// An API key; the secret is hashed.
    Key,
    /// A sealed secret.
    Secret,
    /// A project.
    Project,
    /// A request that changed nothing, kept for its receipt.
    Request,
    /// A schedule.
    Automation,
    /// One delivery made by an automation.
    Invocation,
    /// An address that is told of events.
    Webhook,
    /// One event on its way to a webhook.
    Delivery,
    /// How new sessions of a saved agent are split between two of its versions; its id is the agent's.
    Split,
    /// An uploaded file; its name is its purpose.
    File,
    /// A stored skill.
    Skill,
    /// One version of a stored skill; its name is the skill's id.
    SkillVersion,
    /// A reusable configuration of hosted environments.
    Template,
    /// An environment that was made ready before it had a session.
    Environment,
    /// That a session is a fork: its id is the fork's, its name that of the session it was forked from.
    Fork,
    /// A vault.
    Vault,
    /// A credential; its name is its vault's id.
    Credential,
    /// The key that seals a project's secrets, wrapped with a master key.
    DataKey,
    /// A person's sign-in at an authorization server, under way; its id is the digest of what comes back with it.
    SignIn,
    /// What nobody can sign in for any more: its id is that of the vault or the credential that was deleted.
    LostSignIn,
    /// When an API key was last used; its id is the key's.
    KeyUse,
    /// That an agent, a tool or the project is frozen.
    Freeze,
    /// A person who signed in, as they were last seen.
    Person,
    /// What policies are made from; its id is their digest.
    PolicySet,
    /// Which policies are published; one for each project.
    Policies,
    /// An erasure: what is left to do for it, then its receipt.
    Erasure,
    /// A fact; its name is the mark of its scope.
    Fact,
    /// A pinned block; its name is the mark of its scope.
    PinnedBlock,
    /// A procedure that is in force; its name is the mark of its scope.
    Procedure,
    /// A procedure that waits for a person, or was rejected; its name is the mark of its scope.
    ProcedureProposal,
    /// How a scope is written to; its id is the scope's mark.
    MemorySettings,
    /// The limits of budgets; its id says whose: `project`, `session` for each session, or an agent's.
    Budget,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 33] = [
        Self::Agent,
        Self::Key,
        Self::Secret,
        Self::Project,
        Self::Request,
        Self::Automation,
        Self::Invocation,
        Self::Webhook,
        Self::Delivery,
        Self::Split,
        Self::File,
        Self::Skill,
        Self::SkillVersion,
        Self::Environment,
        Self::Fork,
        Self::Template,
        Self::Vault,
        Self::Credential,
        Self::DataKey,
        Self::SignIn,
        Self::LostSignIn,
        Self::KeyUse,
        Self::Freeze,
        Self::Person,
        Self::PolicySet,
        Self::Policies,
        Self::Erasure,
        Self::Fact,
        Self::PinnedBlock,
        Self::Procedure,
        Self::ProcedureProposal,
        Self::MemorySettings,
        Self::Budget,
    ];

    /// The kind of a word on disk.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The word on disk.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Key => "key",
            Self::Secret => "secret",
            Self::Project => "project",
            Self::Request => "request",
            Self::Automation => "automation",
            Self::Invocation => "invocation",
            Self::Webhook => "webhook",
            Self::Delivery => "delivery",
            Self::Split => "split",
            Self::File => "file",
            Self::Skill => "skill",
            Self::SkillVersion => "skill_version",
            Self::Template => "template",
            Self::Environment => "environment",
            Self::Fork => "fork",
            Self::Vault => "vault",
            Self::Credential => "credential",
            Self::DataKey => "data_key",
            Self::SignIn => "sign_in",
            Self::LostSignIn => "lost_sign_in",
            Self::KeyUse => "key_use",
            Self::Freeze => "freeze",
            Self::Person => "person",
            Self::PolicySet => "policy_set",
            Self::Policies => "policies",
            Self::Erasure => "erasure",
            Self::Fact => "fact",
            Self::PinnedBlock => "pinned_block",
            Self::Procedure => "procedure",
            Self::ProcedureProposal => "procedure_proposal",
            Self::MemorySettings => "memory_settings",
            Self::Budget => "budget",
        }
    }
}

/// One version of a small durable record that is not a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The project it belongs to.
    pub project: ProjectId,
    /// What it is.
    pub kind: DocumentKind,
    /// Its id, unique within project and kind.
    pub id: String,
    /// Its version, from 1.
    pub version: u64,
    /// Its name, for look-ups by name; not unique.
    pub name: Option<String>,
    /// Its content.
    pub body: Value,
    /// When its first version was written.
    pub created_at: Timestamp,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// When something is to be done about it; absent while nothing is.
    pub wake_at: Option<Timestamp>,
    /// Whether this version deletes it.
    pub deleted: bool,
}
