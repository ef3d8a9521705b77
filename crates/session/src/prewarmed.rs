//! Environments that are made ready before they have a session.
//!
//! Such an environment is the session it will have, before anyone opened it: its journal begins with
//! `EnvironmentOpened`, holds the preparation like any other, and goes on with `SessionOpened` when a session
//! is opened in it. Nothing is copied or handed over then, and of two clients that want it the journal's
//! version lets one be first.
//!
//! ```text
//!               session opened
//!   Waiting ─────────────────────▶ Taken
//!      │ its time is over
//!      ▼
//!   Expired
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_journal::{
    AgentConfig, AgentId, Environment, EnvironmentOpened, SessionId, SessionKey, SessionOpened, Timestamp,
    Trust,
};

use crate::Session;

/// What a session knows of the time before it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prewarmed {
    /// When its environment was opened.
    pub opened_at: Timestamp,
    /// When the environment expires, if no session was opened in it.
    pub expires_at: Timestamp,
    /// What became of it.
    pub phase: PrewarmedPhase,
}

/// What became of an environment that had no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrewarmedPhase {
    /// Nothing yet.
    Waiting,
    /// A session was opened in it.
    Taken,
    /// Nobody opened a session in it in time.
    Expired,
}

impl Session {
    /// The state after the first event of an environment without a session.
    #[must_use]
    pub fn prewarmed(key: SessionKey, at: Timestamp, opened: &EnvironmentOpened) -> Self {
        let opened_session = SessionOpened {
            project_id: opened.project_id,
            agent: nobody(key.session),
            environment: Environment::Hosted(Box::new(opened.environment.clone())),
            metadata: std::collections::BTreeMap::new(),
            vault_ids: opened.vault_ids.clone(),
            review: None,
            spend_limit: None,
            prompt_cache: None,
            parent: None,
            trust: Trust::default(),
            opened_by: None,
            digest_key: opened.digest_key,
        };
        let mut state = Self::opened(key, at, &opened_session);
        let expires_at = opened.expires_at;
        state.prewarmed = Some(Prewarmed { opened_at: at, expires_at, phase: PrewarmedPhase::Waiting });
        state
    }

    /// What it knows of the time before it was opened; nothing if it began as a session.
    #[must_use]
    pub fn prewarming(&self) -> Option<Prewarmed> {
        self.prewarmed
    }

    /// Whether it is an environment that no session was opened in.
    #[must_use]
    pub fn awaits_session(&self) -> bool {
        self.prewarmed.is_some_and(|prewarmed| match prewarmed.phase {
            PrewarmedPhase::Waiting | PrewarmedPhase::Expired => true,
            PrewarmedPhase::Taken => false,
        })
    }

    /// Whether it is an environment that expired.
    pub(crate) fn is_expired(&self) -> bool {
        self.prewarmed.is_some_and(|prewarmed| prewarmed.phase == PrewarmedPhase::Expired)
    }

    /// Takes a session up that is opened in the environment, which stays as it is.
    pub(crate) fn take(&mut self, at: Timestamp, opened: &SessionOpened) {
        let Some(prewarmed) = self.prewarmed.as_mut().filter(|it| it.phase == PrewarmedPhase::Waiting) else {
            return;
        };
        prewarmed.phase = PrewarmedPhase::Taken;
        self.agent = Arc::new(opened.agent.clone());
        // The same, but for the skills of its agent.
        self.environment = opened.environment.clone();
        self.metadata.clone_from(&opened.metadata);
        // Its variables stay, for what was made ready with them.
        let own = self.vault_ids.iter().filter(|id| !opened.vault_ids.contains(id)).cloned();
        self.vault_ids = opened.vault_ids.iter().cloned().chain(own.collect::<Vec<_>>()).collect();
        self.review = opened.review;
        self.opened_by.clone_from(&opened.opened_by);
        self.spend_limit = opened.spend_limit;
        self.prompt_cache.clone_from(&opened.prompt_cache);
        self.created_at = at;
        self.flow.open(opened);
    }

    pub(crate) fn expire(&mut self) {
        if let Some(prewarmed) = &mut self.prewarmed {
            prewarmed.phase = PrewarmedPhase::Expired;
        }
    }
}

/// The agent of a session that has none yet. It is never asked for anything.
fn nobody(session: SessionId) -> AgentConfig {
    AgentConfig::new(AgentId::of_session(session), String::new())
}
