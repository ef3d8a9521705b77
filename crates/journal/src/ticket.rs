//! What makes an approval a ticket: whom it may be answered by, how many of them, until when, and what the answer
//! was about. And what people did to a session because of one.

use serde::{Deserialize, Serialize};

use crate::{AgentId, ApprovalId, PermitRecord, Timestamp, Version};

/// A person or a program that acts under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// What it is.
    pub kind: PartyKind,
    /// Its id: a key's, or a person's.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The groups it belonged to when it acted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// What a party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    /// A person.
    User,
    /// A program with a key.
    Service,
}

impl Party {
    /// A program with a key, in these groups.
    #[must_use]
    pub fn service(id: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(ToString::to_string).collect();
        Self { kind: PartyKind::Service, id: id.to_owned(), name: String::new(), groups }
    }
}

/// What binds the answer to an approval beside the digest of the arguments and that of the policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// What is to be done, in the words of policies.
    pub action: String,
    /// Who may decide: members of any of these groups.
    pub groups: Vec<String>,
    /// How many of them have to approve. One refusal suffices.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub quorum: u32,
    /// Who asks, and for whom.
    pub requester: Requester,
    /// When nobody may answer any more; absent for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
    /// The model that is asked before people are; absent where they are asked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
}

/// Who asks, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requester {
    /// The agent.
    pub agent: AgentId,
    /// The version of the saved agent; absent for one that is not saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The id of the party that the agent acts for, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// The end of a ticket's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiry {
    /// When.
    pub at: Timestamp,
    /// What becomes of the question then.
    pub then: OnExpiry,
}

/// What becomes of a question that nobody answered in time. To wait on is to have no expiry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OnExpiry {
    /// The call is not made.
    Deny,
    /// Others are asked, for as long as it takes.
    Escalate {
        /// Who.
        groups: Vec<String>,
    },
}

/// What people, or the end of a ticket's time, did to a session and its tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Governance {
    /// One of several people approved.
    Supported {
        /// The approval.
        approval_id: ApprovalId,
        /// Who: a key's id.
        by: String,
        /// Why they may.
        permit: PermitRecord,
    },
    /// Nobody answered in time, and others are asked.
    Escalated {
        /// The approval.
        approval_id: ApprovalId,
        /// Who may decide now.
        groups: Vec<String>,
    },
    /// A person refused what the session's agent was to do. Until a person releases it, it only reads.
    Quarantined {
        /// The approval.
        approval_id: ApprovalId,
        /// Who refused: a key's id.
        by: String,
        /// Of a subagent, the version of its parent's journal that says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<Version>,
    },
    /// A person ended the quarantine.
    Released {
        /// Who: a key's id.
        by: String,
        /// Why they may.
        permit: PermitRecord,
        /// Of a subagent, the version of its parent's journal that says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<Version>,
    },
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(count: &u32) -> bool {
    *count == 1
}
