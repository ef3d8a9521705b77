//! Scopes: what a caller may do, and which of them each path needs.
//!
//! A scope is about one kind of thing and one way of touching it. Four of them stand for several: `read` and
//! `write`, which the first keys had, `admin`, because who makes keys could make any, and the official scopes of
//! the Agents API, which are read as `read` and `write`.

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read agents, sessions and what belongs to them: `sessions:read` and `agents:read`.
    Read,
    /// Create, change and delete them: `sessions:write`, `agents:write`, `approvals:decide` and `vaults:write`.
    Write,
    /// Everything: manage keys, webhooks and freezes, read journals, and whatever the other scopes allow.
    Admin,
    /// Connect executors of self-hosted environments, and nothing else.
    #[serde(rename = "environments.connect")]
    Connect,
    /// Read sessions, what was said and done in them, their environments, and files.
    #[serde(rename = "sessions:read")]
    SessionsRead,
    /// Open, steer, fork and delete sessions, talk to them, and upload files.
    #[serde(rename = "sessions:write")]
    SessionsWrite,
    /// Read agents, their versions, skills, templates and automations.
    #[serde(rename = "agents:read")]
    AgentsRead,
    /// Create, change and delete them.
    #[serde(rename = "agents:write")]
    AgentsWrite,
    /// Answer approvals.
    #[serde(rename = "approvals:decide")]
    ApprovalsDecide,
    /// Store credentials in vaults and remove them.
    #[serde(rename = "vaults:write")]
    VaultsWrite,
    /// Read the audit log, and the policies that its decisions name.
    #[serde(rename = "audit:read")]
    AuditRead,
    /// Erase what is kept of people and of sessions, and read the receipts.
    #[serde(rename = "memory:erase")]
    MemoryErase,
}

use Scope::{
    Admin, AgentsRead, AgentsWrite, ApprovalsDecide, AuditRead, Connect, MemoryErase, Read, SessionsRead,
    SessionsWrite, VaultsWrite, Write,
};

impl Scope {
    /// The words a client may use.
    pub const WORDS: &'static [&'static str] = &[
        "sessions:read",
        "sessions:write",
        "agents:read",
        "agents:write",
        "approvals:decide",
        "vaults:write",
        "audit:read",
        "memory:erase",
        "admin",
        "environments.connect",
        "read",
        "write",
    ];

    /// The scope of a word, the official scopes of the Agents API included.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "sessions:read" => SessionsRead,
            "sessions:write" => SessionsWrite,
            "agents:read" => AgentsRead,
            "agents:write" => AgentsWrite,
            "approvals:decide" => ApprovalsDecide,
            "vaults:write" | "api.vaults.write" => VaultsWrite,
            "audit:read" => AuditRead,
            "memory:erase" => MemoryErase,
            "admin" => Admin,
            "environments.connect" | "api.agents.environments.connect" => Connect,
            "read" | "api.agents.read" => Read,
            "write" | "api.agents.write" | "api.responses.write" => Write,
            _ => return None,
        })
    }

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Read => "read",
            Write => "write",
            Admin => "admin",
            Connect => "environments.connect",
            SessionsRead => "sessions:read",
            SessionsWrite => "sessions:write",
            AgentsRead => "agents:read",
            AgentsWrite => "agents:write",
            ApprovalsDecide => "approvals:decide",
            VaultsWrite => "vaults:write",
            AuditRead => "audit:read",
            MemoryErase => "memory:erase",
        }
    }

    /// Whether who has this scope may do what needs `other`.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self == other
            || match self {
                Admin => true,
                Read => matches!(other, SessionsRead | AgentsRead),
                Write => matches!(other, SessionsWrite | AgentsWrite | ApprovalsDecide | VaultsWrite),
                Connect | SessionsRead | SessionsWrite | AgentsRead | AgentsWrite | ApprovalsDecide
                | VaultsWrite | AuditRead | MemoryErase => false,
            }
    }
}

/// Whether `scopes` cover one of what is needed.
#[must_use]
pub(crate) fn covered(scopes: &[Scope], any_of: &[Scope]) -> bool {
    any_of.iter().any(|needed| scopes.iter().any(|scope| scope.covers(*needed)))
}

/// The scopes of which a request needs one. `path` is one under `/v1`.
///
/// What no line names needs `admin`: a path that was forgotten here is closed to most, and the test of the table
/// finds it.
pub(crate) fn needed(method: &Method, path: &str) -> &'static [Scope] {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let segments: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    line(&segments).map_or(&[Admin], |(read, write)| if reads { read } else { write })
}

/// What reading and what changing needs.
type Line = (&'static [Scope], &'static [Scope]);

const SESSIONS: Line = (&[SessionsRead], &[SessionsWrite]);
const AGENTS: Line = (&[AgentsRead], &[AgentsWrite]);
const ADMIN: Line = (&[Admin], &[Admin]);

fn line(segments: &[&str]) -> Option<Line> {
    Some(match segments {
        // A batch of answers needs no right to talk; the handler looks at what is in it.
        ["agents", "sessions", _, "events"] => (&[SessionsRead], &[SessionsWrite, ApprovalsDecide]),
        ["agents", "environments", "templates", ..] | ["agents", "automations", ..] => AGENTS,
        ["agents", "sessions" | "environments", ..] | ["files", ..] => SESSIONS,
        ["agents" | "skills", ..] => AGENTS,
        ["vaults", ..] => (&[AgentsRead, VaultsWrite], &[VaultsWrite]),
        ["tenure", "vaults" | "sign_ins", ..] => (&[AgentsRead, VaultsWrite], &[VaultsWrite]),
        ["models", ..] => (&[SessionsRead, AgentsRead], &[Admin]),
        ["tenure", "sessions", _, "journal"] => ADMIN,
        ["tenure", "memory", "forget" | "erasures", ..] => (&[MemoryErase], &[MemoryErase]),
        // Whether what an agent wants remembered is believed is answered like its other questions.
        ["tenure", "memory", "facts" | "blocks" | "procedures", _, "accept" | "reject"] => {
            (&[SessionsRead], &[ApprovalsDecide])
        }
        ["tenure", "memory", "settings"] => (&[SessionsRead], &[AgentsWrite]),
        ["tenure", "sessions" | "memory", ..] => SESSIONS,
        ["tenure", "agents", ..] => AGENTS,
        ["tenure", "audit", ..] => (&[AuditRead], &[Admin]),
        ["tenure", "policies", ..] => (&[AuditRead], &[Admin]),
        ["tenure", "freezes" | "budgets", ..] => (&[SessionsRead, AgentsRead], &[Admin]),
        // Who asks who they are needs nothing but to be somebody.
        ["tenure", "whoami"] => (
            &[
                SessionsRead,
                SessionsWrite,
                AgentsRead,
                AgentsWrite,
                ApprovalsDecide,
                VaultsWrite,
                AuditRead,
                MemoryErase,
            ],
            &[Admin],
        ),
        ["tenure", "keys" | "webhooks" | "collect" | "people" | "master_key", ..] => ADMIN,
        _ => return None,
    })
}

/// Whether a line names the path.
#[cfg(test)]
pub(crate) fn is_named(path: &str) -> bool {
    line(&path.trim_start_matches("/v1/").split('/').collect::<Vec<_>>()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_a_scope_and_back() {
        for word in Scope::WORDS {
            let scope = Scope::from_word(word).expect("a scope");
            assert_eq!(scope.as_str(), *word);
            assert_eq!(serde_json::to_value(scope).expect("text"), *word);
        }
        assert_eq!(Scope::from_word("sessions"), None);
    }

    #[test]
    fn a_scope_allows_what_it_says() {
        let table = [
            ("GET", "/v1/agents", "agents:read"),
            ("POST", "/v1/agents/agent_1", "agents:write"),
            ("GET", "/v1/agents/sessions/sess_1/items", "sessions:read"),
            ("DELETE", "/v1/agents/sessions/sess_1", "sessions:write"),
            ("POST", "/v1/agents/sessions/sess_1/events", "sessions:write"),
            ("POST", "/v1/agents/sessions/sess_1/events", "approvals:decide"),
            ("POST", "/v1/agents/automations", "agents:write"),
            ("GET", "/v1/agents/environments/templates", "agents:read"),
            ("POST", "/v1/agents/environments", "sessions:write"),
            ("POST", "/v1/files", "sessions:write"),
            ("POST", "/v1/vaults", "vaults:write"),
            ("GET", "/v1/tenure/audit/records", "audit:read"),
            ("GET", "/v1/tenure/memory/search", "sessions:read"),
            ("POST", "/v1/tenure/memory/forget", "memory:erase"),
            ("GET", "/v1/tenure/memory/erasures", "memory:erase"),
            ("GET", "/v1/tenure/memory/erasures/erasure_1", "memory:erase"),
            ("GET", "/v1/tenure/memory/facts", "sessions:read"),
            ("POST", "/v1/tenure/memory/facts", "sessions:write"),
            ("POST", "/v1/tenure/memory/facts/fact_1/close", "sessions:write"),
            ("POST", "/v1/tenure/memory/facts/fact_1/accept", "approvals:decide"),
            ("POST", "/v1/tenure/memory/blocks/b/reject", "approvals:decide"),
            ("GET", "/v1/tenure/memory/procedures", "sessions:read"),
            ("POST", "/v1/tenure/memory/procedures", "sessions:write"),
            ("DELETE", "/v1/tenure/memory/procedures/p", "sessions:write"),
            ("POST", "/v1/tenure/memory/procedures/p/accept", "approvals:decide"),
            ("POST", "/v1/tenure/memory/procedures/p/reject", "approvals:decide"),
            ("PUT", "/v1/tenure/memory/settings", "agents:write"),
            ("POST", "/v1/tenure/keys", "admin"),
            ("GET", "/v1/tenure/sessions/sess_1/journal", "admin"),
            ("POST", "/v1/tenure/freezes", "admin"),
            ("PUT", "/v1/tenure/budgets/project", "admin"),
            ("GET", "/v1/tenure/sessions/sess_1/budgets", "sessions:read"),
            ("GET", "/v1/tenure/policies/3", "audit:read"),
            ("POST", "/v1/tenure/policies", "admin"),
            ("PUT", "/v1/tenure/agents/agent_1/split", "agents:write"),
            ("POST", "/v1/tenure/unheard-of", "admin"),
        ];
        for (method, path, word) in table {
            let needed = needed(&method.parse().expect("a method"), path);
            let scope = Scope::from_word(word).expect("a scope");
            assert!(covered(&[scope], needed), "{method} {path} needs no more than {word}");
            assert!(covered(&[Admin], needed) && !covered(&[Connect], needed), "{method} {path}");
            for other in Scope::WORDS.iter().filter_map(|word| Scope::from_word(word)) {
                let means = other.covers(scope) || needed.iter().any(|needed| other.covers(*needed));
                assert_eq!(covered(&[other], needed), means, "{method} {path} with {other:?}");
            }
        }
    }

    #[test]
    fn scopes_of_the_first_keys_mean_what_they_meant() {
        for (old, new) in
            [(Read, SessionsRead), (Read, AgentsRead), (Write, SessionsWrite), (Write, AgentsWrite)]
        {
            assert!(old.covers(new) && !new.covers(old));
        }
        assert!(!Read.covers(AuditRead) && !Write.covers(Admin) && !Write.covers(SessionsRead));
    }
}
