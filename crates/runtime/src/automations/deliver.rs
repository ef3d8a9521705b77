//! One invocation that is due: claimed, delivered, and its outcome written.

use serde::Deserialize as _;
use serde::de::Error as _;
use serde_json::Value;
use tenure_journal::{
    AgentConfig, AgentId, Automation, AutomationStatus, CreatedBy, Environment, InputPart, InstalledSkill,
    Invocation, InvocationId, InvocationStatus, NewSessionTarget, PauseReason, Pinned, ProjectId, Schedule,
    SessionId, SessionKey, SessionOpened, Target, TargetAgent, TargetEnvironment,
};
use tenure_session::{Command, Refusal};
use tenure_store::{Document, DocumentKind, Receipt, StoreErrorKind};

use super::documents::{self, SavedAutomation, SavedInvocation};
use super::world::World;
use super::{ATTEMPTS_MAX, AutomationError, BACKOFF_MS_MAX, CLAIM_MS, CONFLICTS_MAX, plan};
use crate::{BindError, Opening, RuntimeError, RuntimeErrorKind, TemplateError, VaultError, WantedError};

/// What came of an attempt.
enum Outcome {
    /// It reached this session, now or before.
    Delivered(SessionId),
    /// It never will.
    Failed(Failed),
    /// It may, later.
    Later,
    /// It may, by a node that can read what became unreadable here since it was looked at.
    Unreadable,
}

/// Why it never will.
struct Failed {
    code: &'static str,
    message: String,
    /// Whether nothing can reach the session any more.
    target_lost: bool,
}

impl Failed {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), target_lost: false }
    }

    fn target_lost(code: &'static str, message: &str) -> Self {
        Self { target_lost: true, ..Self::new(code, message) }
    }
}

/// The key of the receipt that every delivery of an invocation takes. Keys of clients begin with a method.
fn receipt_key(id: InvocationId) -> String {
    format!("invocation {id}")
}

/// Delivers one invocation that is due. May be called by any number of nodes at once and again after any of
/// them died.
///
/// # Errors
/// `Store`: the invocation is still due, or not any more. Any other: this release cannot read what it would have
/// to, and the invocation is as it was.
pub(super) async fn deliver(world: &dyn World, due: &Document) -> Result<(), AutomationError> {
    let invocation = SavedInvocation::from_document(due.clone())?;
    let InvocationStatus::Queued { attempts } = invocation.body.status else { return Ok(()) };
    let (project, id) = (invocation.document.project, invocation.body.automation_id);
    let automation = documents::automation(world, project, id, None).await?;
    let Some(automation) = automation else {
        let failed = Failed::new("automation_deleted", "the automation was deleted before it was delivered");
        return settle_failed(world, &invocation, failed).await;
    };
    if is_held(&automation.body, &invocation.body) {
        let held = invocation.next(invocation.body.status.clone(), world.now(), None);
        return written(world.put(vec![held.document], None).await).map(drop);
    }
    if attempts >= ATTEMPTS_MAX {
        let failed = Failed::new("delivery_failed", format!("given up after {attempts} attempts"));
        return settle_failed(world, &invocation, failed).await;
    }
    // Everything is read before the claim: what cannot be carried out here is not claimed either.
    let way = match way(world, &invocation).await? {
        Ok(way) => way,
        Err(failed) => return settle_failed(world, &invocation, failed).await,
    };
    let (now, before, attempts) = (world.now(), invocation.body.status.clone(), attempts + 1);
    let status = InvocationStatus::Queued { attempts };
    let claimed = invocation.next(status.clone(), now, Some(now.plus_millis(CLAIM_MS)));
    if !written(world.put(vec![claimed.document.clone()], None).await)? {
        return Ok(());
    }
    match attempt(world, &claimed, way).await? {
        Outcome::Delivered(session) => settle_delivered(world, &claimed, session).await,
        Outcome::Failed(failed) => settle_failed(world, &claimed, failed).await,
        Outcome::Later => {
            let now = world.now();
            let later = claimed.next(status, now, Some(now.plus_millis(plan::backoff_ms(attempts))));
            written(world.put(vec![later.document], None).await).map(drop)
        }
        Outcome::Unreadable => {
            let now = world.now();
            let back = claimed.next(before, now, Some(now.plus_millis(BACKOFF_MS_MAX)));
            written(world.put(vec![back.document], None).await).map(drop)
        }
    }
}

/// Whether the automation's pause holds the invocation back. Manual runs do not ask the schedule.
fn is_held(automation: &Automation, invocation: &Invocation) -> bool {
    let paused = match automation.status {
        AutomationStatus::Paused { .. } => true,
        AutomationStatus::Active { .. } | AutomationStatus::Completed => false,
    };
    paused && invocation.scheduled_at.is_some()
}

/// Whether it was written, or someone else wrote first.
fn written(put: Result<(), tenure_store::StoreError>) -> Result<bool, AutomationError> {
    match put {
        Ok(()) => Ok(true),
        Err(error) if documents::is_conflict(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What is to be done.
enum Way {
    Open(SessionId, Box<Opening>),
    Say(SessionKey, Box<Command>),
}

/// What is to be done, or why it never can be.
async fn way(
    world: &dyn World,
    invocation: &SavedInvocation,
) -> Result<Result<Way, Failed>, AutomationError> {
    let (project, body) = (invocation.document.project, &invocation.body);
    let version = Some(body.automation_version);
    let delivered = documents::automation(world, project, body.automation_id, version).await?;
    let Some(delivered) = delivered else {
        let failed = Failed::new("internal_error", "the automation's version is not there");
        return Ok(Err(failed));
    };
    let session = delivered.body.target.session_id();
    if !world.can_read(project, session).await? {
        let what = "the session, or a webhook of the project, cannot be read";
        return Err(AutomationError::Damaged(serde_json::Error::custom(what)));
    }
    Ok(match &delivered.body.target {
        Target::NewSession(target) => {
            opening(world, project, target).await?.map(|(id, opening)| Way::Open(id, Box::new(opening)))
        }
        Target::ExistingSession { session_id, instructions } => {
            let content = vec![InputPart::text(instructions)];
            let message = match &delivered.body.created_by {
                CreatedBy::Developer => Command::Message { content },
                CreatedBy::Agent { .. } => Command::OwnMessage { content },
            };
            Ok(Way::Say(SessionKey { project, session: *session_id }, Box::new(message)))
        }
    })
}

async fn attempt(
    world: &dyn World,
    invocation: &SavedInvocation,
    way: Way,
) -> Result<Outcome, AutomationError> {
    let key = receipt_key(invocation.id);
    let said = match way {
        Way::Open(id, opening) => world.open(id, *opening, key).await.map(|()| id),
        Way::Say(session, message) => world.say(session, *message, key).await.map(|()| session.session),
    };
    match said {
        Ok(session) => Ok(Outcome::Delivered(session)),
        Err(error) => refused(world, invocation, &error).await,
    }
}

/// How the new session begins, or why it cannot.
async fn opening(
    world: &dyn World,
    project: ProjectId,
    target: &NewSessionTarget,
) -> Result<Result<(SessionId, Opening), Failed>, AutomationError> {
    let id = SessionId::fresh(&world.fresh());
    let mut agent = match &target.agent {
        TargetAgent::Inline { config } => {
            AgentConfig { id: AgentId::fresh(&world.fresh()), ..(**config).clone() }
        }
        TargetAgent::Saved { agent_id } => {
            let id = agent_id.to_string();
            let Some(saved) = world.document(project, DocumentKind::Agent, &id, None).await? else {
                return Ok(Err(Failed::new("resource_not_found", "the agent does not exist any more")));
            };
            let pinned = Pinned::deserialize(&saved.body).map_err(AutomationError::Damaged)?;
            AgentConfig { version: Some(saved.version), ..pinned.config }
        }
    };
    if let Some(approval) = target.approval {
        agent.approval = approval;
    }
    if let Err(message) = world.check(&agent) {
        return Ok(Err(Failed::new("invalid_request", message)));
    }
    let environment = match environment(world, project, id, &target.environment, &agent.skills).await? {
        Ok(environment) => environment,
        Err(failed) => return Ok(Err(failed)),
    };
    match world.bind(project, &target.vault_ids, &mut agent.tools, &environment).await {
        Ok(()) => {}
        Err(BindError::Vault(VaultError::Store(error))) => return Err(error.into()),
        Err(BindError::Vault(VaultError::Damaged(error))) => return Err(AutomationError::Damaged(error)),
        Err(error @ BindError::NoVault { .. }) => {
            return Ok(Err(Failed::new("resource_not_found", error.to_string())));
        }
        Err(error) => return Ok(Err(Failed::new("invalid_request", error.to_string()))),
    }
    let opened = SessionOpened {
        project_id: project,
        agent,
        environment,
        metadata: target.metadata.clone(),
        vault_ids: target.vault_ids.clone(),
        review: None,
        spend_limit: None,
        prompt_cache: None,
        parent: None,
        trust: target.trust.clone(),
        opened_by: None,
        digest_key: None,
    };
    Ok(Ok((id, Opening { opened, input: target.input.clone() })))
}

/// Where commands and files of the new session live, or why it cannot have that.
async fn environment(
    world: &dyn World,
    project: ProjectId,
    session: SessionId,
    target: &TargetEnvironment,
    of_agent: &[InstalledSkill],
) -> Result<Result<Environment, Failed>, AutomationError> {
    let TargetEnvironment::Hosted(wanted) = target else { return Ok(Ok(Environment::None)) };
    match world.environment(project, session, wanted).await {
        Ok(mut hosted) => {
            hosted.capabilities.add(of_agent);
            Ok(Ok(Environment::Hosted(Box::new(hosted))))
        }
        Err(WantedError::Refused(refusal)) => Ok(Err(Failed::new("invalid_request", refusal.message))),
        Err(WantedError::Template(TemplateError::NotFound)) => {
            let words = "the environment template does not exist any more";
            Ok(Err(Failed::new("resource_not_found", words)))
        }
        Err(WantedError::Template(TemplateError::Store(error))) => Err(error.into()),
        Err(WantedError::Template(TemplateError::Damaged(error))) => Err(AutomationError::Damaged(error)),
    }
}

/// What a refusal of the runtime means for the delivery.
async fn refused(
    world: &dyn World,
    invocation: &SavedInvocation,
    error: &RuntimeError,
) -> Result<Outcome, AutomationError> {
    let gone = || Failed::target_lost("resource_not_found", "the session does not exist any more");
    Ok(match error.kind() {
        RuntimeErrorKind::ReceiptExists => match receipt(world, invocation).await? {
            Some(session) => Outcome::Delivered(session),
            // The receipt of a delivery that was given up, whose outcome is written with it.
            None => Outcome::Later,
        },
        RuntimeErrorKind::NotFound => Outcome::Failed(gone()),
        RuntimeErrorKind::Refused(refusal) => match refusal {
            Refusal::Deleted | Refusal::Hidden => Outcome::Failed(gone()),
            Refusal::Failed => {
                let words = "the session has failed and accepts no more input";
                Outcome::Failed(Failed::target_lost("target_session_failed", words))
            }
            Refusal::QueueFull { .. } => Outcome::Later,
            Refusal::GrantsFull
            | Refusal::UnknownCall { .. }
            | Refusal::ConflictingResult { .. }
            | Refusal::UnknownApproval { .. }
            | Refusal::NotAllowed { .. }
            | Refusal::AlreadyDecided { .. }
            | Refusal::NotConnected
            | Refusal::UnknownArtifact { .. }
            | Refusal::EnvironmentTaken
            | Refusal::EnvironmentExpired
            | Refusal::EnvironmentFailed
            | Refusal::Running
            | Refusal::Moved
            | Refusal::UnknownPoint { .. }
            | Refusal::Busy => Outcome::Failed(Failed::new("invalid_request", refusal.to_string())),
        },
        RuntimeErrorKind::Damaged => Outcome::Unreadable,
        RuntimeErrorKind::Overloaded(_)
        | RuntimeErrorKind::ShuttingDown
        | RuntimeErrorKind::Storage
        | RuntimeErrorKind::BeingErased
        | RuntimeErrorKind::Sealing => {
            tracing::warn!(invocation = %invocation.id, %error, "a delivery is tried again");
            Outcome::Later
        }
    })
}

/// The session that was reached, if the invocation was delivered.
async fn receipt(
    world: &dyn World,
    invocation: &SavedInvocation,
) -> Result<Option<SessionId>, AutomationError> {
    let key = receipt_key(invocation.id);
    let receipt = world.receipt(invocation.document.project, &key).await?;
    let body: Option<Value> = receipt.and_then(|receipt| serde_json::from_str(&receipt.body).ok());
    Ok(body.and_then(|body| body.get("session_id")?.as_str()?.parse().ok()))
}

async fn settle_delivered(
    world: &dyn World,
    claimed: &SavedInvocation,
    session: SessionId,
) -> Result<(), AutomationError> {
    settle(world, claimed, |invocation| {
        let body = Invocation {
            session_id: Some(session),
            status: InvocationStatus::Completed,
            ..invocation.body.clone()
        };
        (body, None, false)
    })
    .await
}

/// Writes that it never will be delivered, and takes the receipt, so that this stays true.
async fn settle_failed(
    world: &dyn World,
    invocation: &SavedInvocation,
    failed: Failed,
) -> Result<(), AutomationError> {
    let Failed { code, message, target_lost } = failed;
    let receipt = Receipt {
        project: invocation.document.project,
        key: receipt_key(invocation.id),
        digest: String::new(),
        status: 200,
        body: String::new(),
        at: world.now(),
    };
    let outcome = settle(world, invocation, |invocation| {
        let status = InvocationStatus::Failed { code: code.to_owned(), message: message.clone() };
        (Invocation { status, ..invocation.body.clone() }, Some(receipt.clone()), target_lost)
    });
    match outcome.await {
        Err(AutomationError::Store(error)) if error.kind() == StoreErrorKind::ReceiptExists => {
            // It was delivered after all, by an attempt whose outcome was not written.
            match self::receipt(world, invocation).await? {
                Some(session) => settle_delivered(world, invocation, session).await,
                None => Ok(()),
            }
        }
        outcome => outcome,
    }
}

/// Writes an outcome with what it means for the automation, unless another node wrote one.
async fn settle(
    world: &dyn World,
    seen: &SavedInvocation,
    outcome: impl Fn(&SavedInvocation) -> (Invocation, Option<Receipt>, bool),
) -> Result<(), AutomationError> {
    let project = seen.document.project;
    for _ in 0..CONFLICTS_MAX {
        let latest = documents::invocation(world, project, seen.id).await?;
        let Some(invocation) = latest.filter(SavedInvocation::is_queued) else { return Ok(()) };
        let (body, receipt, target_lost) = outcome(&invocation);
        let now = world.now();
        let mut documents = Vec::new();
        let owner = documents::automation(world, project, body.automation_id, None).await?;
        if let Some((owner, status)) =
            owner.and_then(|owner| after(&owner, &body, target_lost).map(|status| (owner, status)))
        {
            documents.push(owner.next(Automation { status, ..owner.body.clone() }, now).document);
        }
        documents.push(invocation.with(body, now, None).document);
        if written(world.put(documents, receipt).await)? {
            return Ok(());
        }
    }
    // Still due: the next look settles it.
    Ok(())
}

/// What an outcome changes about the automation's status, if anything.
fn after(owner: &SavedAutomation, invocation: &Invocation, target_lost: bool) -> Option<AutomationStatus> {
    let same_target = owner.body.target.session_id() == invocation.session_id;
    if target_lost && same_target {
        let lost = AutomationStatus::Paused { reason: Some(PauseReason::TargetSessionFailed) };
        return (owner.body.status != lost).then_some(lost);
    }
    let is_last = match owner.body.schedule {
        Schedule::Once { .. } => invocation.scheduled_at.is_some(),
        Schedule::Periodic { .. } => false,
    };
    (is_last && owner.body.status != AutomationStatus::Completed).then_some(AutomationStatus::Completed)
}
