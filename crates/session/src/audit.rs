//! What an auditor is told of each event: a projection like items and turns, written with the events.
//!
//! Digests of what was said, asked or done are keyed with the session's own key; see `DigestKey`. Those of policy sets
//! are not: a set is no secret, and is found by its digest.

use serde_json::to_value;
use tenure_journal::{
    Asked, AuditFact, AuditOutcome, AuditRecord, DigestKey, Done, Effect, EffectId, EffectKind, Environment,
    EnvironmentId, Event, Governance, Outcome, PermitRecord, ServerRef, SessionOpened, Timestamp, TurnId,
    json,
};

use crate::Session;
use crate::catalogue::BUILTIN_LABEL;

/// The record of an event that `state` has just folded; `None` for events that decide and do nothing.
pub(crate) fn record(state: &Session, at: Timestamp, event: &Event) -> Option<AuditRecord> {
    let running = || state.turn.as_ref().map(|turn| turn.row.id);
    let (turn, fact) = match event {
        Event::SessionOpened(opened) => (None, session_opened(opened)),
        Event::EnvironmentOpened(opened) => (
            None,
            AuditFact::EnvironmentOpened {
                environment: opened.environment.id,
                expires_at: opened.expires_at,
            },
        ),
        Event::EnvironmentConnected => {
            (running(), AuditFact::ExecutorConnected { environment: machine(state)? })
        }
        Event::EnvironmentDisconnected => {
            (running(), AuditFact::ExecutorDisconnected { environment: machine(state)? })
        }
        Event::SessionUpdated { patch } => {
            let change = to_value(patch).expect("a patch has string keys");
            (None, AuditFact::SessionUpdated { change: keyed(state, &json::digest(&change)) })
        }
        Event::Forked(forked) => {
            (None, AuditFact::SessionForked { from: forked.from.session, at: forked.from.version })
        }
        Event::Rewound(rewound) => (None, AuditFact::SessionRewound { to: rewound.to }),
        Event::SessionFailed { .. } => (None, AuditFact::SessionFailed),
        Event::SessionDeleted => (None, AuditFact::SessionDeleted),
        Event::EffectRequested { effect } => (effect.turn_id, allowed(state, effect)),
        Event::SecretPermitted { effect_id, credential_id, permit } => {
            let action = (SECRET_USE, credential_id.as_str());
            (running(), permitted(state, *effect_id, action, permit))
        }
        Event::PolicyRefused { refusal } => (
            refusal.turn_id,
            AuditFact::Refused {
                action: refusal.action.clone(),
                resource: short(&refusal.resource),
                policies: named_policies(&refusal.policies),
                policy_set: refusal.policy_digest.clone(),
                arguments: keyed(state, &refusal.arguments_digest),
                needs_approval: refusal.needs_approval,
                question: question(state, &refusal.asked),
            },
        ),
        Event::ApprovalRequested { approval } => (
            Some(approval.turn_id),
            AuditFact::ApprovalRequested {
                approval: approval.id,
                action: approval.ticket.as_ref().map_or(TOOL_CALL, |ticket| &ticket.action).to_owned(),
                resource: short(&tool(&approval.server_label, &approval.name)),
                policies: named_policies(&approval.policies),
                policy_set: approval.policy_digest.clone(),
                arguments: keyed(state, &approval.digest),
                question: question(state, &approval.asked),
            },
        ),
        Event::Governed { fact } => (running(), governed(fact)),
        Event::ApprovalDecided { approval_id, decision, by, permit: _ } => (
            running(),
            AuditFact::ApprovalDecided { approval: *approval_id, decision: *decision, by: short(by) },
        ),
        Event::Granted { grant } => {
            let arguments = to_value(&grant.arguments).expect("arguments have string keys");
            let fact = AuditFact::Granted {
                resource: short(&grant.tool),
                arguments: keyed(state, &json::digest(&arguments)),
                uses_max: grant.uses_max,
                by: grant.by,
            };
            (running(), fact)
        }
        Event::AttemptStarted { effect_id, attempt, route, .. } => (
            turn_of(state, event),
            AuditFact::AttemptStarted { effect: *effect_id, attempt: *attempt, route: route.clone() },
        ),
        Event::AttemptEnded { effect_id, attempt, outcome, .. } => {
            let (outcome, cost_nano_usd) = outcome_of(outcome);
            let fact =
                AuditFact::AttemptEnded { effect: *effect_id, attempt: *attempt, outcome, cost_nano_usd };
            (running(), fact)
        }
        Event::InputAccepted { .. }
        | Event::InputJoined { .. }
        | Event::TurnCreated { .. }
        | Event::TurnStarted { .. }
        | Event::TurnEnded { .. }
        | Event::ItemAdded { .. }
        | Event::ItemClosed { .. }
        | Event::FunctionsLoaded { .. }
        | Event::EffectAbandoned { .. }
        | Event::FunctionReturned { .. }
        | Event::SubagentOpened { .. }
        | Event::SubagentClosed { .. }
        | Event::SubagentResumed { .. }
        | Event::EnvironmentExpired
        | Event::EnvironmentSuspended
        | Event::EnvironmentResumed
        | Event::EnvironmentReset
        | Event::SignedIn
        | Event::CredentialBound { .. }
        | Event::ConnectionAwaited { .. }
        | Event::ConnectionLapsed
        | Event::ArtifactDeleted { .. }
        | Event::ContextCompacted(_)
        | Event::ContextTrimmed { .. }
        | Event::ExtractionSkipped { .. }
        | Event::OutputsShortened { .. }
        | Event::BlocksTaken { .. }
        | Event::ProceduresTaken { .. } => return None,
    };
    Some(AuditRecord {
        at,
        project: state.key.project,
        session: state.key.session,
        version: state.version,
        // Before a session is opened, the state has an agent that is nobody's.
        agent: (!state.awaits_session()).then_some(state.agent.id),
        turn,
        fact,
    })
}

pub(crate) const TOOL_CALL: &str = "tool.call";
pub(crate) const TOOLS_LIST: &str = "tools.list";
const SECRET_USE: &str = "secret.use";

fn session_opened(opened: &SessionOpened) -> AuditFact {
    AuditFact::SessionOpened {
        agent_name: opened.agent.name.as_deref().map(short),
        agent_version: opened.agent.version,
        parent: opened.parent.map(|parent| parent.session),
        opened_by: opened.opened_by.as_ref().map(|party| short(&party.id)),
    }
}

fn governed(fact: &Governance) -> AuditFact {
    match fact {
        Governance::Supported { approval_id, by, permit: _ } => {
            AuditFact::ApprovalSupported { approval: *approval_id, by: short(by) }
        }
        Governance::Escalated { approval_id, groups } => {
            AuditFact::ApprovalEscalated { approval: *approval_id, groups: named_policies(groups) }
        }
        Governance::Quarantined { approval_id, by, of: _ } => {
            AuditFact::SessionQuarantined { approval: *approval_id, by: short(by) }
        }
        Governance::Released { by, permit, of: _ } => AuditFact::SessionReleased {
            by: short(by),
            policies: named_policies(&permit.policies),
            policy_set: permit.policy_digest.clone(),
        },
    }
}

/// The environment of a machine of the customer's.
fn machine(state: &Session) -> Option<EnvironmentId> {
    match &state.environment {
        Environment::SelfHosted(environment) => Some(environment.id),
        Environment::None | Environment::Hosted(_) => None,
    }
}

/// A digest as the session's records show it.
fn keyed(state: &Session, digest: &str) -> String {
    DigestKey::show(state.digest_key.as_ref(), digest)
}

/// The digest by which a record names what was asked.
fn question(state: &Session, asked: &[Asked]) -> Option<String> {
    Asked::digest(asked).map(|digest| keyed(state, &digest))
}

fn allowed(state: &Session, effect: &Effect) -> AuditFact {
    let (action, resource) = named(&effect.kind);
    permitted(state, effect.id, (action, &resource), &effect.permit)
}

fn permitted(
    state: &Session,
    effect: EffectId,
    (action, resource): (&str, &str),
    permit: &PermitRecord,
) -> AuditFact {
    AuditFact::Allowed {
        effect,
        action: action.to_owned(),
        resource: short(resource),
        policies: named_policies(&permit.policies),
        policy_set: permit.policy_digest.clone(),
        arguments: keyed(state, &permit.arguments_digest),
        approval: permit.approval,
        grant: permit.grant,
        question: question(state, &permit.asked),
    }
}

/// An effect in the words of policies. What no policy is asked about has words of its own.
pub(crate) fn named(kind: &EffectKind) -> (&'static str, String) {
    match kind {
        // By which class of call it goes, its route says.
        EffectKind::ModelCall { model, .. }
        | EffectKind::Compact { model, .. }
        | EffectKind::Extract { model, .. }
        | EffectKind::Review { model, .. } => ("model.call", model.clone()),
        EffectKind::ListTools { server_label, .. } => (TOOLS_LIST, server_label.clone()),
        EffectKind::ToolCall {
            server: ServerRef::Mcp { server_label } | ServerRef::Inside { server_label },
            name,
            ..
        } => (TOOL_CALL, tool(server_label, name)),
        EffectKind::ToolCall { server: ServerRef::Builtin, name, .. } => {
            (TOOL_CALL, tool(BUILTIN_LABEL, name))
        }
        EffectKind::Command { request, .. } => (TOOL_CALL, tool(BUILTIN_LABEL, request.tool())),
        EffectKind::Subagent { request, .. } => (TOOL_CALL, tool(BUILTIN_LABEL, request.tool())),
        EffectKind::PrepareEnvironment => ("environment.prepare", ENVIRONMENT.to_owned()),
        EffectKind::PlaceFiles { .. } => ("environment.place_files", ENVIRONMENT.to_owned()),
        EffectKind::PublishArtifacts => ("environment.publish_artifacts", ENVIRONMENT.to_owned()),
        EffectKind::EndSubagents { .. } => ("subagents.end", BUILTIN_LABEL.to_owned()),
    }
}

/// The environment of the session: there is one.
const ENVIRONMENT: &str = "environment";

/// Bytes of a name that are shown: what a record may take has a limit, whatever a server calls its tools.
const NAME_BYTES_MAX: usize = 512;
/// Policies that are named.
const POLICIES_MAX: usize = 64;

/// A name, or its beginning and its digest.
fn short(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let digest = json::digest(&name.into());
    let shown = name.floor_char_boundary(NAME_BYTES_MAX - digest.len());
    format!("{}…{digest}", &name[..shown])
}

/// The names of policies as records show them.
#[must_use]
pub fn named_policies(policies: &[String]) -> Vec<String> {
    policies.iter().take(POLICIES_MAX).map(|policy| short(policy)).collect()
}

fn tool(server: &str, name: &str) -> String {
    format!("{server}/{name}")
}

fn turn_of(state: &Session, event: &Event) -> Option<TurnId> {
    let Event::AttemptStarted { effect_id, .. } = event else { return None };
    state.effects.get(effect_id).and_then(|pending| pending.effect.turn_id)
}

fn outcome_of(outcome: &Outcome) -> (AuditOutcome, Option<u64>) {
    match outcome {
        Outcome::Done {
            done:
                Done::Model { cost_nano_usd, .. }
                | Done::Reviewed { cost_nano_usd, .. }
                | Done::Extracted { cost_nano_usd, .. },
        } => (AuditOutcome::Done, *cost_nano_usd),
        Outcome::Done { .. } => (AuditOutcome::Done, None),
        Outcome::Failed { .. } => (AuditOutcome::Failed, None),
        Outcome::Unknown => (AuditOutcome::Unknown, None),
    }
}
