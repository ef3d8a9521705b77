//! What a receiver is told: that something happened to a session, and never what was said in it. A receiver
//! that wants to know more asks with its key.

use serde::{Deserialize, Serialize};
use serde_json::json;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// The session exists.
    #[serde(rename = "agent.session.created")]
    SessionCreated,
    /// A turn runs.
    #[serde(rename = "agent.session.in_progress")]
    SessionInProgress,
    /// It waits for a client or a person.
    #[serde(rename = "agent.session.action_required")]
    SessionActionRequired,
    /// Its turn ended and no other waits.
    #[serde(rename = "agent.session.idle")]
    SessionIdle,
    /// It cannot go on.
    #[serde(rename = "agent.session.failed")]
    SessionFailed,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SessionCreated,
        Self::SessionInProgress,
        Self::SessionActionRequired,
        Self::SessionIdle,
        Self::SessionFailed,
    ];
    /// The words of all of them.
    pub const WORDS: &'static [&'static str] = &[
        Self::SessionCreated.as_str(),
        Self::SessionInProgress.as_str(),
        Self::SessionActionRequired.as_str(),
        Self::SessionIdle.as_str(),
        Self::SessionFailed.as_str(),
    ];

    /// The word on the wire and on disk.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionCreated => "agent.session.created",
            Self::SessionInProgress => "agent.session.in_progress",
            Self::SessionActionRequired => "agent.session.action_required",
            Self::SessionIdle => "agent.session.idle",
            Self::SessionFailed => "agent.session.failed",
        }
    }

    /// The type of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// One event of a session.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its id: the same for every receiver.
    pub id: &'a str,
    /// When it happened, in seconds since the epoch.
    pub created_at: i64,
    /// What happened.
    pub kind: EventType,
    /// The session it happened to.
    pub session_id: &'a str,
    /// The kind of its environment.
    pub environment: &'a str,
    /// Its environment, if it has one.
    pub environment_id: Option<&'a str>,
    /// What the environment's executor is told to connect to, for [`EventType::SessionCreated`] only.
    pub remote_url: Option<&'a str>,
    /// The kind of what it waits for, oldest first; for [`EventType::SessionActionRequired`] only.
    pub required_action: Option<&'a str>,
}

impl Event<'_> {
    /// The body of its message, as the official client reads it.
    #[must_use]
    pub fn to_body(&self) -> String {
        let data = match self.required_action {
            Some(kind) => json!({"id": self.session_id, "required_action": {"type": kind}}),
            None => {
                let mut data = json!({"id": self.session_id, "environment_type": self.environment});
                if let Some(id) = self.environment_id {
                    data["environment_id"] = json!(id);
                }
                if let Some(url) = self.remote_url.filter(|_| self.kind == EventType::SessionCreated) {
                    data["connect"] = json!({"remote_url": url});
                }
                data
            }
        };
        json!({
            "id": self.id,
            "object": "event",
            "created_at": self.created_at,
            "type": self.kind.as_str(),
            "data": data,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_on_the_wire_and_on_disk() {
        for (kind, word) in EventType::ALL.into_iter().zip(EventType::WORDS) {
            assert_eq!(EventType::from_word(word), Some(kind));
            assert_eq!(json!(kind), json!(word));
        }
        assert_eq!(EventType::from_word("agent.session.requires_action"), None);
    }

    #[test]
    fn a_body_names_the_session_and_says_nothing_else() {
        let mut event = Event {
            id: "evt_1",
            created_at: 5,
            kind: EventType::SessionIdle,
            session_id: "sess_1",
            environment: "none",
            environment_id: None,
            remote_url: Some("http://host/connect"),
            required_action: None,
        };
        assert_eq!(
            event.to_body(),
            r#"{"id":"evt_1","object":"event","created_at":5,"type":"agent.session.idle","data":{"id":"sess_1","environment_type":"none"}}"#
        );
        event.kind = EventType::SessionCreated;
        event.environment_id = Some("env_1");
        assert!(event.to_body().ends_with(
            r#""data":{"id":"sess_1","environment_type":"none","environment_id":"env_1","connect":{"remote_url":"http://host/connect"}}}"#
        ));
        event.kind = EventType::SessionActionRequired;
        event.required_action = Some("function_call");
        assert_eq!(
            event.to_body(),
            r#"{"id":"evt_1","object":"event","created_at":5,"type":"agent.session.action_required","data":{"id":"sess_1","required_action":{"type":"function_call"}}}"#
        );
    }
}
