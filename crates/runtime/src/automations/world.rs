//! What automations touch: durable state, a clock, and sessions.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use tenure_journal::{
    AgentConfig, Environment, Fresh, HostedEnvironment, ProjectId, SessionId, SessionKey, Timestamp, Tool,
    WantedEnvironment,
};
use tenure_session::{Command, SessionView};
use tenure_store::{Document, DocumentKind, Page, Receipt, StoreError};

use super::AgentCheck;
use crate::{BindError, Opening, ReceiptDraft, Runtime, RuntimeError, WantedError};

/// The outside of automations. The second implementation is the simulation's, which dies at every step.
#[async_trait]
pub(super) trait World: Send + Sync {
    /// [`Store::document`](tenure_store::Store::document).
    async fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError>;

    /// [`Store::documents`](tenure_store::Store::documents).
    async fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError>;

    /// [`Store::due_documents`](tenure_store::Store::due_documents).
    async fn due(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// [`Store::put`](tenure_store::Store::put).
    async fn put(&self, documents: Vec<Document>, receipt: Option<Receipt>) -> Result<(), StoreError>;

    /// [`Store::receipt`](tenure_store::Store::receipt).
    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError>;

    fn now(&self) -> Timestamp;

    fn fresh(&self) -> Fresh;

    /// Whether a session can run this agent.
    fn check(&self, agent: &AgentConfig) -> Result<(), String>;

    /// Whether this release can read what it takes to reach a session of the project, or this one. What it is
    /// refused for any other reason is met by the attempt.
    async fn can_read(&self, project: ProjectId, session: Option<SessionId>) -> Result<bool, StoreError>;

    /// [`Runtime::environment_of`].
    async fn environment(
        &self,
        project: ProjectId,
        session: SessionId,
        wanted: &WantedEnvironment,
    ) -> Result<HostedEnvironment, WantedError>;

    /// Gives the tools of a new session their credentials; if it cannot have them, why.
    async fn bind(
        &self,
        project: ProjectId,
        vault_ids: &[String],
        tools: &mut [Tool],
        environment: &Environment,
    ) -> Result<(), BindError>;

    /// Opens a session under this fresh id and takes the receipt `key`, both or none. The receipt's body names
    /// the session.
    async fn open(&self, id: SessionId, opening: Opening, key: String) -> Result<(), RuntimeError>;

    /// Gives a session a message and takes the receipt `key`, both or none.
    async fn say(&self, session: SessionKey, message: Command, key: String) -> Result<(), RuntimeError>;

    /// Something new is due, perhaps now.
    fn wake(&self);
}

/// The body of a delivery's receipt.
pub(super) fn receipt_body(session: SessionId) -> String {
    json!({ "session_id": session }).to_string()
}

/// The world of a running server.
pub(super) struct Live {
    pub(super) runtime: Runtime,
    pub(super) check: Option<AgentCheck>,
}

fn draft(key: String) -> ReceiptDraft {
    let body = |view: &SessionView| receipt_body(view.key.session);
    ReceiptDraft { key, digest: String::new(), status: 200, body: Box::new(body) }
}

#[async_trait]
impl World for Live {
    async fn document(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Document>, StoreError> {
        self.runtime.store().document(project, kind, id, version).await
    }

    async fn documents(
        &self,
        project: ProjectId,
        kind: DocumentKind,
        name: Option<&str>,
        page: &Page,
    ) -> Result<Vec<Document>, StoreError> {
        self.runtime.store().documents(project, kind, name, page).await
    }

    async fn due(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.runtime.store().due_documents(kind, now, limit).await
    }

    async fn put(&self, documents: Vec<Document>, receipt: Option<Receipt>) -> Result<(), StoreError> {
        self.runtime.put(documents, receipt).await
    }

    async fn receipt(&self, project: ProjectId, key: &str) -> Result<Option<Receipt>, StoreError> {
        self.runtime.store().receipt(project, key).await
    }

    fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    fn fresh(&self) -> Fresh {
        self.runtime.fresh()
    }

    fn check(&self, agent: &AgentConfig) -> Result<(), String> {
        self.check.as_ref().map_or(Ok(()), |check| check(agent))
    }

    async fn can_read(&self, project: ProjectId, session: Option<SessionId>) -> Result<bool, StoreError> {
        self.runtime.can_read(project, session).await
    }

    async fn environment(
        &self,
        project: ProjectId,
        session: SessionId,
        wanted: &WantedEnvironment,
    ) -> Result<HostedEnvironment, WantedError> {
        self.runtime.environment_of(project, session, wanted).await
    }

    async fn bind(
        &self,
        project: ProjectId,
        vault_ids: &[String],
        tools: &mut [Tool],
        environment: &Environment,
    ) -> Result<(), BindError> {
        let attached = self.runtime.attach(project, vault_ids).await?;
        attached.bind(tools, &std::collections::BTreeSet::new())?;
        attached.check_environment(environment)
    }

    async fn open(&self, id: SessionId, opening: Opening, key: String) -> Result<(), RuntimeError> {
        self.runtime.open_as(id, opening, Some(draft(key)), false).await.map(drop)
    }

    async fn say(&self, session: SessionKey, message: Command, key: String) -> Result<(), RuntimeError> {
        let _: Arc<SessionView> = self.runtime.submit(session, vec![message], Some(draft(key))).await?;
        Ok(())
    }

    fn wake(&self) {
        self.runtime.wake_automations();
    }
}
