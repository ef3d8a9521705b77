//! Erasing: what is removed so that its bytes are gone, and what of a project is whose.
//!
//! Deleting a session marks it; erasing leaves no row of it. A store does not know when that may be done or why, so
//! it erases what it is told to, place by place, each whole or not at all, and again without harm:
//!
//! ```text
//!   sessions_of ──▶ erase, place by place ──▶ scrub: no page holds what was removed ──▶ search: nothing is found
//! ```
//!
//! Until [`crate::Store::scrub`] has returned, removed rows may be left in pages that are free, in the log, and in
//! the segments of an index.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use tenure_journal::SessionId;

use crate::DocumentKind;

/// Whose sessions are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of a user: whose metadata names them, and in which something was remembered of them.
    User(String),
    /// One session.
    Session(SessionId),
}

/// Something that is erased in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A session: its journal, its row, everything that follows from them, and every document and receipt that
    /// tells of it.
    Session(SessionId),
    /// A document, with its earlier versions and the receipts that tell of it. With an automation go its invocations
    /// that reached no session; the others belong to the sessions that they reached.
    Document(DocumentKind, String),
}

/// Whether rows are removed, or only counted as if they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasing {
    /// They are removed.
    Remove,
    /// They stay.
    Count,
}

/// Rows that were removed, by what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gone(BTreeMap<String, u64>);

impl Gone {
    /// Adds rows; none is not said.
    pub fn add(&mut self, what: &str, rows: u64) {
        if rows > 0 {
            *self.0.entry(what.to_owned()).or_default() += rows;
        }
    }

    /// Adds what was removed elsewhere.
    pub fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, rows)| self.add(what, *rows));
    }

    /// How many rows of a kind.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Whether nothing was removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every kind with its rows.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, rows)| (what.as_str(), *rows))
    }
}

/// Kinds of documents that belong to the session they tell of. An automation belongs to the session it reaches, and
/// its invocations to it.
#[must_use]
pub fn is_of_session(kind: DocumentKind) -> bool {
    match kind {
        DocumentKind::Automation
        | DocumentKind::Invocation
        | DocumentKind::Delivery
        | DocumentKind::Environment
        | DocumentKind::Fork => true,
        DocumentKind::Agent
        | DocumentKind::Key
        | DocumentKind::Secret
        | DocumentKind::Project
        | DocumentKind::Request
        | DocumentKind::Webhook
        | DocumentKind::Split
        | DocumentKind::File
        | DocumentKind::Skill
        | DocumentKind::SkillVersion
        | DocumentKind::Template
        | DocumentKind::Vault
        | DocumentKind::Credential
        | DocumentKind::DataKey
        | DocumentKind::SignIn
        | DocumentKind::LostSignIn
        | DocumentKind::KeyUse
        | DocumentKind::Freeze
        | DocumentKind::Person
        | DocumentKind::PolicySet
        | DocumentKind::Policies
        | DocumentKind::Fact
        | DocumentKind::PinnedBlock
        | DocumentKind::Procedure
        | DocumentKind::ProcedureProposal
        | DocumentKind::MemorySettings
        | DocumentKind::Budget
        | DocumentKind::Erasure => false,
    }
}

/// The sessions of `roots`, the sessions of their subagents, the forks of any of these, and so on. `links` are pairs
/// of a session and the one it comes from.
#[must_use]
pub fn family(
    roots: impl IntoIterator<Item = SessionId>,
    links: impl IntoIterator<Item = (SessionId, SessionId)>,
) -> Vec<SessionId> {
    let mut from: HashMap<SessionId, Vec<SessionId>> = HashMap::new();
    for (session, origin) in links {
        from.entry(origin).or_default().push(session);
    }
    let mut found = BTreeSet::new();
    let mut ahead: Vec<SessionId> = roots.into_iter().collect();
    while let Some(session) = ahead.pop() {
        if found.insert(session) {
            ahead.extend(from.remove(&session).unwrap_or_default());
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    #[test]
    fn a_family_has_everything_that_comes_from_its_roots() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let ids: Vec<SessionId> = (0..8).map(|_| SessionId::fresh(&fresh)).collect();
        // The last is its own origin, as an environment without a session is.
        let links = [(1, 0), (2, 1), (3, 2), (5, 4), (6, 3), (7, 7)];
        let links = || links.map(|(session, origin)| (ids[session], ids[origin]));
        let of = |roots: &[usize]| family(roots.iter().map(|root| ids[*root]), links());
        assert_eq!(of(&[0]), [ids[0], ids[1], ids[2], ids[3], ids[6]]);
        assert_eq!(of(&[4, 7]), [ids[4], ids[5], ids[7]]);
        assert_eq!(of(&[2, 1]), [ids[1], ids[2], ids[3], ids[6]]);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn nothing_gone_is_not_said() {
        let mut gone = Gone::default();
        gone.add("events", 0);
        assert!(gone.is_empty());
        gone.add("events", 2);
        let mut more = Gone::default();
        more.extend(&gone);
        more.extend(&gone);
        assert_eq!(more.iter().collect::<Vec<_>>(), [("events", 4)]);
        assert_eq!((more.of("events"), more.of("items")), (4, 0));
    }
}
