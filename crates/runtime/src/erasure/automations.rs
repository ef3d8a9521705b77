//! Automations that open sessions for whom an erasure is about: they would go on to, and their messages are theirs.

use serde::Deserialize as _;
use tenure_journal::{Automation, Invocation, MEMORY_USER_KEY, ProjectId, SessionId, Target};
use tenure_store::{Document, DocumentKind, Erasing, Gone, Place};

use super::Forget;
use super::documents::{Pages, has_or_had, named};
use crate::RuntimeError;
use crate::handle::Shared;

/// Erases the automations that name the user, with their invocations, or counts them. Invocations that reached one of
/// `sessions` go with that.
///
/// An automation goes between two looks for its invocations: as long as it is there it is found again, and once it is
/// gone nothing makes another invocation of it.
pub(super) async fn automations(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
    sessions: &[SessionId],
    erasing: Erasing,
) -> Result<Gone, RuntimeError> {
    let Some(user) = what.user() else { return Ok(Gone::default()) };
    let (mut gone, mut pages) = (Gone::default(), Pages::of(project, DocumentKind::Automation));
    loop {
        let automations = pages.next(shared).await?;
        if automations.is_empty() {
            return Ok(gone);
        }
        for automation in automations {
            if has_or_had(shared, &automation, |version| names(version, user)).await? {
                gone.extend(&invocations(shared, &automation, sessions, erasing).await?);
                let place = Place::Document(DocumentKind::Automation, automation.id.clone());
                gone.extend(&shared.store.erase(project, &place, erasing).await?);
                if erasing == Erasing::Remove {
                    invocations(shared, &automation, sessions, erasing).await?;
                }
            }
        }
    }
}

async fn invocations(
    shared: &Shared,
    automation: &Document,
    sessions: &[SessionId],
    erasing: Erasing,
) -> Result<Gone, RuntimeError> {
    let (project, mut gone) = (automation.project, Gone::default());
    for invocation in named(shared, project, DocumentKind::Invocation, &automation.id).await? {
        let reached = Invocation::deserialize(&invocation.body).ok().and_then(|read| read.session_id);
        if !reached.is_some_and(|session| sessions.contains(&session)) {
            let place = Place::Document(DocumentKind::Invocation, invocation.id);
            gone.extend(&shared.store.erase(project, &place, erasing).await?);
        }
    }
    Ok(gone)
}

/// Whether a version names a user: in its own metadata, or in those of the sessions that it opens.
fn names(version: &Document, user: &str) -> bool {
    // One that cannot be read is left to a release that can.
    let Ok(automation) = Automation::deserialize(&version.body) else { return false };
    let opened = match &automation.target {
        Target::NewSession(target) => Some(&target.metadata),
        Target::ExistingSession { .. } => None,
    };
    let mut metadata = [&automation.metadata].into_iter().chain(opened);
    metadata.any(|metadata| metadata.get(MEMORY_USER_KEY).is_some_and(|name| name == user))
}
