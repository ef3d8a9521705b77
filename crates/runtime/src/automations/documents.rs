//! Automations and invocations as documents.

use serde::{Serialize, de::DeserializeOwned};
use tenure_journal::{
    Automation, AutomationId, AutomationStatus, Invocation, InvocationId, InvocationStatus, ProjectId,
    Timestamp,
};
use tenure_store::{Document, DocumentKind, StoreError, StoreErrorKind};

use super::AutomationError;
use super::world::World;

/// A document and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved<Id, T> {
    /// Its id.
    pub id: Id,
    /// The document.
    pub document: Document,
    /// Its content.
    pub body: T,
}

/// A stored automation. The document's name is the session it reaches, so that these can be looked up.
pub type SavedAutomation = Saved<AutomationId, Automation>;
/// A stored invocation. The document's name is its automation.
pub type SavedInvocation = Saved<InvocationId, Invocation>;

impl<Id: std::str::FromStr, T: DeserializeOwned> Saved<Id, T> {
    /// Reads a document.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn from_document(document: Document) -> Result<Self, AutomationError> {
        let damaged = |what: &str| AutomationError::Damaged(serde::de::Error::custom(what));
        let id = document.id.parse().map_err(|_| damaged("the document has no id of its kind"))?;
        let body = T::deserialize(&document.body).map_err(AutomationError::Damaged)?;
        Ok(Self { id, document, body })
    }
}

impl SavedAutomation {
    /// The first version.
    pub(super) fn new(project: ProjectId, id: AutomationId, body: Automation, now: Timestamp) -> Self {
        let document = first(project, DocumentKind::Automation, id.to_string(), now);
        Self { id, document, body: body.clone() }.written(body, now, 1)
    }

    /// The next version, with this content.
    pub(super) fn next(&self, body: Automation, now: Timestamp) -> Self {
        self.written(body, now, self.document.version + 1)
    }

    fn written(&self, body: Automation, now: Timestamp, version: u64) -> Self {
        let wake_at = match body.status {
            AutomationStatus::Active { next } => next,
            AutomationStatus::Paused { .. } | AutomationStatus::Completed => None,
        };
        let name = body.target.session_id().map(|session| session.to_string());
        let document = Document {
            version,
            name,
            body: encode(&body),
            updated_at: now,
            wake_at,
            ..self.document.clone()
        };
        Self { id: self.id, document, body }
    }

    /// The version that deletes it.
    pub(super) fn deleted(&self, now: Timestamp) -> Document {
        let document = self.document.clone();
        Document { version: document.version + 1, updated_at: now, wake_at: None, deleted: true, ..document }
    }
}

impl SavedInvocation {
    /// The first version.
    pub(super) fn new(
        project: ProjectId,
        id: InvocationId,
        body: Invocation,
        now: Timestamp,
        wake_at: Option<Timestamp>,
    ) -> Self {
        let mut document = first(project, DocumentKind::Invocation, id.to_string(), now);
        document.name = Some(body.automation_id.to_string());
        document.body = encode(&body);
        document.wake_at = wake_at;
        Self { id, document, body }
    }

    /// The next version, in this state.
    pub(super) fn next(&self, status: InvocationStatus, now: Timestamp, wake_at: Option<Timestamp>) -> Self {
        let body = Invocation { status, ..self.body.clone() };
        self.with(body, now, wake_at)
    }

    /// The next version, with this content.
    pub(super) fn with(&self, body: Invocation, now: Timestamp, wake_at: Option<Timestamp>) -> Self {
        let document = Document {
            version: self.document.version + 1,
            body: encode(&body),
            updated_at: now,
            wake_at,
            ..self.document.clone()
        };
        Self { id: self.id, document, body }
    }

    /// Whether it is still to be delivered.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        match self.body.status {
            InvocationStatus::Queued { .. } => true,
            InvocationStatus::Completed | InvocationStatus::Failed { .. } | InvocationStatus::Skipped => {
                false
            }
        }
    }
}

fn first(project: ProjectId, kind: DocumentKind, id: String, now: Timestamp) -> Document {
    Document {
        project,
        kind,
        id,
        version: 1,
        name: None,
        body: serde_json::Value::Null,
        created_at: now,
        updated_at: now,
        wake_at: None,
        deleted: false,
    }
}

fn encode(body: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(body).expect("these types hold only string keys and finite numbers")
}

/// An automation's latest version, or `version`. A deleted one has no latest.
pub(super) async fn automation(
    world: &dyn World,
    project: ProjectId,
    id: AutomationId,
    version: Option<u64>,
) -> Result<Option<SavedAutomation>, AutomationError> {
    let found = world.document(project, DocumentKind::Automation, &id.to_string(), version).await?;
    found.map(SavedAutomation::from_document).transpose()
}

/// An invocation.
pub(super) async fn invocation(
    world: &dyn World,
    project: ProjectId,
    id: InvocationId,
) -> Result<Option<SavedInvocation>, AutomationError> {
    let found = world.document(project, DocumentKind::Invocation, &id.to_string(), None).await?;
    found.map(SavedInvocation::from_document).transpose()
}

pub(super) fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}
