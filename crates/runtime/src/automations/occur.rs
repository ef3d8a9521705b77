//! An automation that is due: its occurrence becomes an invocation, and its next one is written.

use tenure_journal::{Automation, AutomationStatus, Invocation, InvocationId, InvocationStatus, Timestamp};
use tenure_store::Document;

use super::documents::{self, SavedAutomation, SavedInvocation};
use super::world::World;
use super::{AutomationError, plan};

/// Makes what is due of one automation. A document that another node wrote meanwhile is left to it.
///
/// # Errors
/// `Store`: nothing was written, or everything was; the automation is still due, or not any more. Any other:
/// this release cannot read what it would have to, or has no such time zone; nothing was written.
pub(super) async fn occur(world: &dyn World, due: &Document) -> Result<(), AutomationError> {
    let automation = SavedAutomation::from_document(due.clone())?;
    let AutomationStatus::Active { next: Some(planned) } = automation.body.status else { return Ok(()) };
    let now = world.now();
    // Refused only by a release whose time zones are others than those it was checked with.
    let due = plan::due(&automation.body.schedule, planned, now)?;
    let advance = |latest: Option<InvocationId>| {
        let status = AutomationStatus::Active { next: due.next };
        automation.next(Automation { status, latest, ..automation.body.clone() }, now)
    };
    let Some(at) = due.occurrence else {
        tracing::info!(automation = %automation.id, "an occurrence was missed for too long");
        return put(world, &automation, vec![advance(automation.body.latest).document]).await;
    };
    let invocation = invocation(world, &automation, at, now).await?;
    let latest = if invocation.is_queued() { Some(invocation.id) } else { automation.body.latest };
    let written = vec![advance(latest).document, invocation.document];
    match world.put(written, None).await {
        Err(error) if documents::is_conflict(&error) => {
            repeated(world, &automation, advance(automation.body.latest)).await
        }
        written => Ok(written?),
    }
}

/// The invocation of the occurrence `at`: queued, or skipped while the latest one waits.
async fn invocation(
    world: &dyn World,
    automation: &SavedAutomation,
    at: Timestamp,
    now: Timestamp,
) -> Result<SavedInvocation, AutomationError> {
    let project = automation.document.project;
    let latest = match automation.body.latest {
        Some(latest) => documents::invocation(world, project, latest).await?,
        None => None,
    };
    let (status, wake_at) = if latest.is_some_and(|latest| latest.is_queued()) {
        (InvocationStatus::Skipped, None)
    } else {
        let wake_at = plan::deliver_at(automation.id, at, now);
        (InvocationStatus::Queued { attempts: 0 }, Some(wake_at))
    };
    let body = Invocation {
        automation_id: automation.id,
        automation_version: automation.document.version,
        scheduled_at: Some(at),
        session_id: automation.body.target.session_id(),
        status,
    };
    let id = InvocationId::of_occurrence(automation.id, at);
    Ok(SavedInvocation::new(project, id, body, now, wake_at))
}

/// After a conflict: most often another node made the occurrence. If the automation is as it was, the
/// occurrence itself exists already, made before a clock went back or a schedule was changed; then only the
/// schedule goes on.
async fn repeated(
    world: &dyn World,
    seen: &SavedAutomation,
    advanced: SavedAutomation,
) -> Result<(), AutomationError> {
    let now = documents::automation(world, seen.document.project, seen.id, None).await?;
    if now.is_none_or(|now| now.document.version != seen.document.version) {
        return Ok(());
    }
    put(world, seen, vec![advanced.document]).await
}

async fn put(
    world: &dyn World,
    automation: &SavedAutomation,
    written: Vec<Document>,
) -> Result<(), AutomationError> {
    match world.put(written, None).await {
        Err(error) if documents::is_conflict(&error) => {
            tracing::debug!(automation = %automation.id, "another node was faster");
            Ok(())
        }
        written => Ok(written?),
    }
}
