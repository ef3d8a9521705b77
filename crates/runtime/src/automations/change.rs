//! What clients and agents change about automations.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_journal::{
    Automation, AutomationId, AutomationStatus, CreatedBy, Invocation, InvocationId, InvocationStatus,
    ProjectId, Schedule, SessionId, Target, Timestamp,
};
use tenure_store::{Document, DocumentKind, Order, Page, Receipt};

use super::documents::{self, SavedAutomation, SavedInvocation};
use super::world::World;
use super::{
    AutomationError, AutomationRefusal, CONFLICTS_MAX, PER_SESSION_MAX, QUEUED_MAX, TARGET_BYTES_MAX, plan,
};

/// An automation to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAutomation {
    /// What people call it.
    pub name: String,
    /// The client's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// When.
    pub schedule: Schedule,
    /// What for.
    pub target: Target,
    /// Who makes it.
    pub created_by: CreatedBy,
}

/// A change of an automation; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// What people call it.
    pub name: Option<String>,
    /// The client's key-value pairs, all of them.
    pub metadata: Option<BTreeMap<String, String>>,
    /// The cron expression.
    pub expression: Option<String>,
    /// The time zone.
    pub timezone: Option<String>,
    /// The single moment.
    pub run_at: Option<Timestamp>,
    /// The target, whole.
    pub target: Option<Target>,
}

/// Makes the receipt of a change from what it made.
type ReceiptOf<'a, T> = &'a (dyn Fn(&T) -> Option<Receipt> + Send + Sync);

/// An automation as it will be, and what is written with it.
type Decided = Result<(Automation, Vec<Document>), AutomationRefusal>;

/// The automations of all projects. Cheap to clone.
#[derive(Clone)]
pub struct Automations {
    pub(super) world: Arc<dyn World>,
}

impl Automations {
    /// An automation that is not deleted.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn automation(
        &self,
        project: ProjectId,
        id: AutomationId,
    ) -> Result<SavedAutomation, AutomationError> {
        let found = documents::automation(&*self.world, project, id, None).await?;
        found.ok_or(AutomationError::NotFound)
    }

    /// A version of an automation, deleted or not.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn version(
        &self,
        project: ProjectId,
        id: AutomationId,
        version: u64,
    ) -> Result<SavedAutomation, AutomationError> {
        let found = documents::automation(&*self.world, project, id, Some(version)).await?;
        found.ok_or(AutomationError::NotFound)
    }

    /// Automations of a project, or those that reach one of its sessions, ordered by id.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn list(
        &self,
        project: ProjectId,
        session: Option<SessionId>,
        page: &Page,
    ) -> Result<Vec<SavedAutomation>, AutomationError> {
        let name = session.map(|session| session.to_string());
        let found = self.world.documents(project, DocumentKind::Automation, name.as_deref(), page).await?;
        found.into_iter().map(SavedAutomation::from_document).collect()
    }

    /// An invocation of an automation.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn invocation(
        &self,
        project: ProjectId,
        automation: AutomationId,
        id: InvocationId,
    ) -> Result<SavedInvocation, AutomationError> {
        let found = documents::invocation(&*self.world, project, id).await?;
        found.filter(|found| found.body.automation_id == automation).ok_or(AutomationError::NotFound)
    }

    /// Invocations of an automation, ordered by id.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn invocations(
        &self,
        project: ProjectId,
        automation: AutomationId,
        page: &Page,
    ) -> Result<Vec<SavedInvocation>, AutomationError> {
        let name = automation.to_string();
        let found = self.world.documents(project, DocumentKind::Invocation, Some(&name), page).await?;
        found.into_iter().map(SavedInvocation::from_document).collect()
    }

    /// Makes an automation, active. Making one with an id that exists already gives that one.
    ///
    /// # Errors
    /// `Refused`; `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn create(
        &self,
        project: ProjectId,
        id: AutomationId,
        new: NewAutomation,
        receipt: ReceiptOf<'_, SavedAutomation>,
    ) -> Result<SavedAutomation, AutomationError> {
        let now = self.world.now();
        check_size(&new.target)?;
        let next = plan::first(&new.schedule, now)?;
        if let Some(session) = new.target.session_id() {
            let page = Page { after: None, limit: PER_SESSION_MAX, order: Order::Ascending };
            let there = self.list(project, Some(session), &page).await?;
            if let Some(same) = there.iter().find(|automation| automation.id == id) {
                return Ok(same.clone());
            }
            if there.len() >= PER_SESSION_MAX {
                return Err(AutomationRefusal::TooMany { most: PER_SESSION_MAX }.into());
            }
        }
        let body = Automation {
            name: new.name,
            metadata: new.metadata,
            schedule: new.schedule,
            target: new.target,
            created_by: new.created_by,
            status: AutomationStatus::Active { next },
            latest: None,
        };
        let saved = SavedAutomation::new(project, id, body, now);
        match self.world.put(vec![saved.document.clone()], receipt(&saved)).await {
            Ok(()) => {
                self.world.wake();
                Ok(saved)
            }
            // Made before, by an attempt that was cut off; it may even be deleted again.
            Err(error) if documents::is_conflict(&error) => self.version(project, id, 1).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Changes an automation.
    ///
    /// # Errors
    /// `NotFound`, `Refused`; `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn update(
        &self,
        project: ProjectId,
        id: AutomationId,
        change: &Change,
        receipt: ReceiptOf<'_, SavedAutomation>,
    ) -> Result<SavedAutomation, AutomationError> {
        self.write(project, id, receipt, |saved, _, now| Ok((changed(&saved.body, change, now)?, Vec::new())))
            .await
    }

    /// Pauses an automation; a paused one stays as it is.
    ///
    /// # Errors
    /// As [`Automations::update`].
    pub async fn pause(
        &self,
        project: ProjectId,
        id: AutomationId,
        receipt: ReceiptOf<'_, SavedAutomation>,
    ) -> Result<SavedAutomation, AutomationError> {
        self.write(project, id, receipt, |saved, _, _| {
            let status = match saved.body.status {
                AutomationStatus::Active { .. } => AutomationStatus::Paused { reason: None },
                paused @ AutomationStatus::Paused { .. } => paused,
                AutomationStatus::Completed => return Err(AutomationRefusal::Completed),
            };
            Ok((Automation { status, ..saved.body.clone() }, Vec::new()))
        })
        .await
    }

    /// Resumes an automation; an active one stays as it is. What was queued when it was paused is delivered
    /// now; what was missed is not made up for.
    ///
    /// # Errors
    /// As [`Automations::update`].
    pub async fn resume(
        &self,
        project: ProjectId,
        id: AutomationId,
        receipt: ReceiptOf<'_, SavedAutomation>,
    ) -> Result<SavedAutomation, AutomationError> {
        self.write(project, id, receipt, |saved, queued, now| {
            match saved.body.status {
                AutomationStatus::Paused { .. } => {}
                AutomationStatus::Active { .. } => return Ok((saved.body.clone(), Vec::new())),
                AutomationStatus::Completed => return Err(AutomationRefusal::Completed),
            }
            let next = match (&saved.body.schedule, queued) {
                (Schedule::Once { .. }, Some(_)) => None,
                (schedule, _) => plan::first(schedule, now)?,
            };
            // Written even if it is due already: whoever is about to hold it meets a conflict and looks again.
            let woken = queued.map(|held| held.next(held.body.status.clone(), now, Some(now)).document);
            let status = AutomationStatus::Active { next };
            Ok((Automation { status, ..saved.body.clone() }, woken.into_iter().collect()))
        })
        .await
    }

    /// Deletes an automation. What it opened stays; what it has queued is not delivered any more.
    ///
    /// # Errors
    /// `NotFound`, `Store`, `Damaged`.
    pub async fn delete(&self, project: ProjectId, id: AutomationId) -> Result<(), AutomationError> {
        let mut attempt = 1;
        loop {
            let saved = self.automation(project, id).await?;
            let deleted = saved.deleted(self.world.now());
            match self.world.put(vec![deleted], None).await {
                Ok(()) => return Ok(()),
                Err(error) if documents::is_conflict(&error) && attempt < CONFLICTS_MAX => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Queues a manual run, which leaves the schedule alone. A paused automation can be run too.
    ///
    /// # Errors
    /// `NotFound`, `Refused`; `Store`, with `ReceiptExists` if the receipt's key is taken.
    pub async fn invoke(
        &self,
        project: ProjectId,
        automation: AutomationId,
        receipt: ReceiptOf<'_, SavedInvocation>,
    ) -> Result<SavedInvocation, AutomationError> {
        let saved = self.automation(project, automation).await?;
        let page = Page { after: None, limit: QUEUED_MAX, order: Order::Descending };
        let latest = self.invocations(project, automation, &page).await?;
        if latest.len() >= QUEUED_MAX && latest.iter().all(SavedInvocation::is_queued) {
            return Err(AutomationRefusal::TooManyQueued { most: QUEUED_MAX }.into());
        }
        let now = self.world.now();
        let body = Invocation {
            automation_id: automation,
            automation_version: saved.document.version,
            scheduled_at: None,
            session_id: saved.body.target.session_id(),
            status: InvocationStatus::Queued { attempts: 0 },
        };
        let id = InvocationId::fresh(&self.world.fresh());
        let queued = SavedInvocation::new(project, id, body, now, Some(now));
        self.world.put(vec![queued.document.clone()], receipt(&queued)).await?;
        self.world.wake();
        Ok(queued)
    }

    /// Writes the next version that `decide` makes of the latest one and of what its schedule has queued, with
    /// other documents.
    async fn write(
        &self,
        project: ProjectId,
        id: AutomationId,
        receipt: ReceiptOf<'_, SavedAutomation>,
        decide: impl Fn(&SavedAutomation, Option<&SavedInvocation>, Timestamp) -> Decided + Send + Sync,
    ) -> Result<SavedAutomation, AutomationError> {
        let mut attempt = 1;
        loop {
            let saved = self.automation(project, id).await?;
            let latest = match saved.body.latest {
                Some(latest) => documents::invocation(&*self.world, project, latest).await?,
                None => None,
            };
            let queued = latest.filter(SavedInvocation::is_queued);
            let now = self.world.now();
            let (body, mut written) = decide(&saved, queued.as_ref(), now)?;
            let next = saved.next(body, now);
            written.push(next.document.clone());
            match self.world.put(written, receipt(&next)).await {
                Ok(()) => {
                    self.world.wake();
                    return Ok(next);
                }
                Err(error) if documents::is_conflict(&error) && attempt < CONFLICTS_MAX => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn changed(
    automation: &Automation,
    change: &Change,
    now: Timestamp,
) -> Result<Automation, AutomationRefusal> {
    let mut next = automation.clone();
    if let Some(name) = &change.name {
        next.name.clone_from(name);
    }
    if let Some(metadata) = &change.metadata {
        next.metadata.clone_from(metadata);
    }
    if let Some(target) = &change.target {
        check_target(automation, target)?;
        next.target.clone_from(target);
    }
    match &mut next.schedule {
        Schedule::Periodic { .. } if change.run_at.is_some() => return Err(AutomationRefusal::NotOnce),
        Schedule::Periodic { expression, timezone } => {
            if let Some(changed) = &change.expression {
                expression.clone_from(changed);
            }
            if let Some(changed) = &change.timezone {
                timezone.clone_from(changed);
            }
        }
        Schedule::Once { .. } if change.expression.is_some() || change.timezone.is_some() => {
            return Err(AutomationRefusal::NotPeriodic);
        }
        Schedule::Once { run_at } => {
            if change.run_at.is_some() && automation.latest.is_some() {
                return Err(AutomationRefusal::RunAtFixed);
            }
            *run_at = change.run_at.unwrap_or(*run_at);
        }
    }
    if next.schedule != automation.schedule {
        let first = plan::first(&next.schedule, now)?;
        if let AutomationStatus::Active { next } = &mut next.status {
            *next = first;
        }
    }
    Ok(next)
}

fn check_target(automation: &Automation, target: &Target) -> Result<(), AutomationRefusal> {
    check_size(target)?;
    match (&automation.target, target) {
        (Target::NewSession(_), Target::NewSession(_)) => Ok(()),
        (Target::ExistingSession { .. }, Target::ExistingSession { session_id, .. }) => {
            match &automation.created_by {
                CreatedBy::Agent { session_id: own, .. } if own != session_id => {
                    Err(AutomationRefusal::TargetSession)
                }
                CreatedBy::Agent { .. } | CreatedBy::Developer => Ok(()),
            }
        }
        (Target::NewSession(_), Target::ExistingSession { .. })
        | (Target::ExistingSession { .. }, Target::NewSession(_)) => Err(AutomationRefusal::TargetType),
    }
}

fn check_size(target: &Target) -> Result<(), AutomationRefusal> {
    let bytes = serde_json::to_vec(target).map_or(usize::MAX, |bytes| bytes.len());
    if bytes <= TARGET_BYTES_MAX {
        return Ok(());
    }
    Err(AutomationRefusal::TargetTooLarge { most: TARGET_BYTES_MAX })
}
