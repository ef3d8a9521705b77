//! What keys and people do themselves, as policy sees it: the verbs of sessions, reading the audit log, and
//! publishing policies.
//!
//! The scopes of whoever asks are checked first. Where a project says nothing of its own about a verb, the shipped policies
//! let it pass, and nothing is looked up for it. A refusal is told to whoever asked and to the operator's log;
//! nothing happened to a session, so no journal has anything to record.

use std::sync::Arc;

use axum::http::Method;
use serde_json::Value;
use tenure_journal::{
    AgentConfig, Author, Confidentiality, MemoryScope, MemorySpace, Party, PartyKind, ProjectId, SessionId,
};
use tenure_policy::{
    APPROVERS, Action, AgentFacts, DatasetFacts, Facts, MemoryStore, MemoryUse, PartyFacts, PolicySet,
    Principal, Request, SessionFacts, SessionVerb, Verdict,
};
use tenure_runtime::Runtime;
use tenure_session::Command;

use crate::call::{App, Call, Caller};
use crate::error::ApiError;
use crate::scope::{Scope, covered};

impl Caller {
    /// Who asks, as policies and journals know them: in a group for each scope, in `approvers` if they may
    /// answer approvals, and in the groups that their key was given.
    pub(crate) fn party(&self) -> Party {
        let mut groups: Vec<String> = self.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        if covered(&self.scopes, &[Scope::ApprovalsDecide]) {
            groups.push(APPROVERS.to_owned());
        }
        groups.extend(self.groups.iter().cloned());
        let (kind, name) = match &self.author {
            Author::Key { name, .. } => (PartyKind::Service, name.clone()),
            Author::Person { name, .. } => (PartyKind::User, name.clone()),
            Author::ProjectFiles => (PartyKind::Service, String::new()),
        };
        Party { kind, id: self.author.principal(), name, groups }
    }
}

/// What policy says to a request that names what it is about in its path.
///
/// # Errors
/// 403: policy does not allow it.
pub(crate) async fn check_path(
    app: &App,
    caller: &Caller,
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    if path == "/v1/tenure/audit" || path.starts_with("/v1/tenure/audit/") {
        return decide(app, caller, Action::AuditRead).await;
    }
    if method == Method::POST && is_publishing(path) {
        return decide(app, caller, Action::PolicyPublish).await;
    }
    if let Some(file) = path.strip_prefix("/v1/files/").and_then(|rest| rest.strip_suffix("/content")) {
        // Nobody has said more of an uploaded file.
        let dataset = DatasetFacts {
            server: FILES,
            name: file,
            confidentiality: Confidentiality::Public,
            categories: &[],
            readers: &[],
        };
        return decide(app, caller, Action::DataRead { dataset, purpose: DOWNLOAD }).await;
    }
    let of_session =
        ["/v1/agents/sessions/", "/v1/tenure/sessions/"].iter().find_map(|prefix| path.strip_prefix(prefix));
    let Some(of_session) = of_session else { return Ok(()) };
    let (id, rest) = of_session.split_once('/').unwrap_or((of_session, ""));
    let verb = match (method.as_str(), rest) {
        ("GET" | "HEAD", _) => SessionVerb::Read,
        ("DELETE", "") => SessionVerb::Delete,
        // What is submitted says what it is: see `check_commands`. A release is decided by the session.
        ("POST", "events" | "release") => return Ok(()),
        _ => SessionVerb::Send,
    };
    // What is no id is no session, and is answered as such.
    let Ok(id) = id.parse() else { return Ok(()) };
    check_session(app, caller, id, verb).await
}

/// What the files of `/v1/files` are to policies, each as `files/<id>`.
const FILES: &str = "files";
/// What they are read for.
const DOWNLOAD: &str = "download";

/// Whether posting there changes the policies.
fn is_publishing(path: &str) -> bool {
    matches!(path, "/v1/tenure/policies" | "/v1/tenure/policies/rollback")
}

/// What policy says to commands. Answers to approvals are decided by the session, which has the tickets.
///
/// # Errors
/// 403: policy does not allow one of them.
pub(crate) async fn check_commands(
    app: &App,
    caller: &Caller,
    session: SessionId,
    commands: &[Command],
) -> Result<(), ApiError> {
    let verb = |command: &Command| match command {
        Command::Cancel => Some(SessionVerb::Cancel),
        // A grant is given with an answer.
        Command::Decide { .. } | Command::Release { .. } | Command::GrantAgain { .. } => None,
        // Nobody sends it: the server says so itself.
        Command::SignedIn | Command::BindCredential { .. } => None,
        Command::Message { .. }
        | Command::OwnMessage { .. }
        | Command::Grant { .. }
        | Command::FunctionResult { .. }
        | Command::Update { .. }
        | Command::PlaceFiles { .. }
        | Command::OpenSession { .. }
        | Command::ExpireEnvironment
        | Command::SuspendEnvironment
        | Command::AwaitConnection { .. }
        | Command::DeleteArtifact { .. }
        | Command::Rewind { .. }
        | Command::Parent(_) => Some(SessionVerb::Send),
        Command::Delete => Some(SessionVerb::Delete),
    };
    let mut verbs: Vec<SessionVerb> = commands.iter().filter_map(verb).collect();
    verbs.dedup();
    for verb in verbs {
        check_session(app, caller, session, verb).await?;
    }
    Ok(())
}

/// What policy says to reading or changing memories, by whoever asks and not by an agent.
///
/// # Errors
/// 403: policy does not allow it.
pub(crate) async fn check_memory(
    app: &App,
    caller: &Caller,
    space: &MemorySpace,
    what: MemoryUse,
) -> Result<(), ApiError> {
    let store = MemoryStore::of(space);
    decide(app, caller, store.action(what)).await
}

/// The same about what is kept for a scope on purpose. Nothing is written for a user who is being erased.
///
/// # Errors
/// 403: policy does not allow it. 409: whom it is kept for is being erased.
pub(crate) async fn check_scope(call: &Call, scope: &MemoryScope, what: MemoryUse) -> Result<(), ApiError> {
    decide_scope(call, scope, what).await?;
    if what == MemoryUse::Write {
        call.app.runtime.refuse_erased_scope(call.project(), scope).await?;
    }
    Ok(())
}

/// What policy alone says to it.
///
/// # Errors
/// 403: policy does not allow it.
pub(crate) async fn decide_scope(call: &Call, scope: &MemoryScope, what: MemoryUse) -> Result<(), ApiError> {
    let store = MemoryStore::of_scope(scope);
    decide(&call.app, &call.caller, store.action(what)).await
}

/// What policy says to opening a session of this agent.
///
/// # Errors
/// 403: policy does not allow it.
pub(crate) async fn check_create(app: &App, caller: &Caller, agent: &AgentConfig) -> Result<(), ApiError> {
    let agent = AgentFacts {
        project: caller.project,
        agent_id: agent.id,
        agent_name: agent.name.as_deref(),
        version: agent.version,
        frozen: app.runtime.is_agent_frozen(caller.project, agent.id).await?,
    };
    decide(app, caller, Action::SessionCreate { agent }).await
}

/// What policy says to erasing a session.
///
/// # Errors
/// 403: policy does not allow it.
pub(crate) async fn check_erase(app: &App, caller: &Caller, session: SessionId) -> Result<(), ApiError> {
    check_session(app, caller, session, SessionVerb::Delete).await
}

async fn check_session(app: &App, caller: &Caller, id: SessionId, verb: SessionVerb) -> Result<(), ApiError> {
    let text = id.to_string();
    let unknown = SessionFacts { id: &text, agent: "", owner: "" };
    if !app.runtime.policies(caller.project).await?.has_own_about(&Action::Session { verb, session: unknown })
    {
        return Ok(());
    }
    // A session that is not there is answered as such by whoever looks for it.
    let Some(view) = app.runtime.view(Runtime::key(caller.project, id)).await? else { return Ok(()) };
    let agent = view.agent.name.clone().unwrap_or_else(|| view.agent.id.to_string());
    let owner = view.opened_by.as_deref().unwrap_or_default();
    let session = SessionFacts { id: &text, agent: &agent, owner };
    decide(app, caller, Action::Session { verb, session }).await
}

async fn decide(app: &App, caller: &Caller, action: Action<'_>) -> Result<(), ApiError> {
    let mut policies = app.runtime.policies(caller.project).await?;
    if policies.closed().is_some() && matches!(action, Action::PolicyPublish) {
        // Whoever may publish by the server's files may repair what was published and does not fit them.
        policies = Arc::clone(app.runtime.file_policies());
    }
    let party = caller.party();
    let verdict = ask(&policies, caller.project, &party, action);
    let (policies, fault) = match verdict {
        Verdict::Allow(_) => return Ok(()),
        Verdict::Ask(hold) => (hold.policies, None),
        Verdict::Deny(denial) => (denial.policies, denial.fault),
    };
    let (action, resource) = (action.name(), action.resource());
    tracing::warn!(by = party.id, action, resource, ?policies, fault, "policy refused a request");
    Err(ApiError::policy(&policies))
}

/// Whether somebody could publish again if `policies` were in force.
pub(crate) fn may_publish(policies: &PolicySet, project: ProjectId, party: &Party) -> bool {
    matches!(ask(policies, project, party, Action::PolicyPublish), Verdict::Allow(_))
}

/// What policies say to somebody who asks for themselves.
fn ask(policies: &PolicySet, project: ProjectId, party: &Party, action: Action<'_>) -> Verdict {
    let facts = PartyFacts { project, id: &party.id, name: &party.name, active: true, groups: &party.groups };
    let request = Request {
        project,
        principal: match party.kind {
            PartyKind::User => Principal::User(facts),
            PartyKind::Service => Principal::Service(facts),
        },
        behind: None,
        action,
        arguments: &Value::Null,
        facts: Facts::neutral(),
    };
    policies.decide(&request, None)
}
