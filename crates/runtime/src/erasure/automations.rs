//! Automations that open sessions for whom an erasure is about: they would go on to, and their messages are theirs.

use serde::Deserialize as _;
use serde_json::json;
use tenure_journal::{Automation, FileId, MEMORY_USER_KEY, ProjectId, Target, TargetEnvironment};
use tenure_store::{Document, DocumentKind, Erasing, Gone, Place};

use super::Forget;
use super::documents::has_or_had;
use crate::RuntimeError;
use crate::handle::Shared;

/// The automations that go: those that open sessions and name the user, in any version. One that reaches a session goes
/// with that.
pub(super) async fn going(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
) -> Result<Vec<Document>, RuntimeError> {
    let Some(user) = what.user() else { return Ok(Vec::new()) };
    // As it stands in metadata; whether that is what it is, each version says.
    let naming = format!("{}:{}", json!(MEMORY_USER_KEY), json!(user));
    let mut going = Vec::new();
    let kind = DocumentKind::Automation;
    for id in shared.store.documents_telling(project, kind, &naming).await? {
        let Some(latest) = latest(shared, project, &id).await? else { continue };
        if latest.name.is_none() && has_or_had(shared, &latest, |version| names(version, user)).await? {
            going.push(latest);
        }
    }
    Ok(going)
}

/// Erases the automations that go, each in one step with its invocations that reached no session, or counts them.
pub(super) async fn automations(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
    erasing: Erasing,
) -> Result<Gone, RuntimeError> {
    let mut gone = Gone::default();
    for automation in going(shared, project, what).await? {
        let place = Place::Document(DocumentKind::Automation, automation.id);
        gone.extend(&shared.store.erase(project, &place, erasing).await?);
    }
    Ok(gone)
}

/// The uploaded files that an automation gives to the sessions that it opens.
pub(super) fn files(automation: &Document) -> Vec<FileId> {
    let Ok(automation) = Automation::deserialize(&automation.body) else { return Vec::new() };
    let Target::NewSession(target) = automation.target else { return Vec::new() };
    let TargetEnvironment::Hosted(wanted) = target.environment else { return Vec::new() };
    wanted.settings.files.into_iter().flatten().filter_map(|file| file.file_id).collect()
}

/// The last version of an automation, of a deleted one too, which has no latest.
async fn latest(shared: &Shared, project: ProjectId, id: &str) -> Result<Option<Document>, RuntimeError> {
    let kind = DocumentKind::Automation;
    if let Some(latest) = shared.store.document(project, kind, id, None).await? {
        return Ok(Some(latest));
    }
    let (mut last, mut version) = (None, 1);
    while let Some(found) = shared.store.document(project, kind, id, Some(version)).await? {
        (last, version) = (Some(found), version + 1);
    }
    Ok(last)
}

/// Whether a version names a user: in its own metadata, or in that of the sessions that it opens.
fn names(version: &Document, user: &str) -> bool {
    let automation = match Automation::deserialize(&version.body) {
        Ok(automation) => automation,
        Err(error) => {
            tracing::warn!(automation = version.id, %error, "an automation is not erased: it cannot be read");
            return false;
        }
    };
    let opened = match &automation.target {
        Target::NewSession(target) => Some(&target.metadata),
        Target::ExistingSession { .. } => None,
    };
    let mut metadata = [&automation.metadata].into_iter().chain(opened);
    metadata.any(|metadata| metadata.get(MEMORY_USER_KEY).is_some_and(|name| name == user))
}
