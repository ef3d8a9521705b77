//! Bodies that make or change an automation.

use std::collections::BTreeMap;

use serde_json::Value;
use tenure_journal::{ApprovalMode, InputPart, Schedule, SessionId, Timestamp};
use tenure_schedule::{Cron, Zone};

use super::agent::{AgentFields, AgentScope, NAME_CHARS_MAX, read_name};
use super::environment::NewEnvironment;
use super::input::read_input;
use super::metadata::{approval_of, read_metadata};
use super::reader::{Field, Reader};
use super::vault::read_vault_ids;
use crate::error::ApiError;

/// The last second of the year 9999.
const RUN_AT_MAX: u64 = 253_402_300_799;
/// Characters of instructions; the size of the whole target is what really bounds them.
const INSTRUCTIONS_CHARS_MAX: usize = 256 * 1024;
/// Characters of a time zone's name.
const TIMEZONE_CHARS_MAX: usize = 64;
/// Characters of a cron expression.
const EXPRESSION_CHARS_MAX: usize = 512;

/// An automation that a client asks for.
#[derive(Debug)]
pub(crate) struct AutomationBody {
    pub(crate) name: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) schedule: Schedule,
    pub(crate) target: TargetBody,
}

/// What an automation is to reach. References are not looked up yet and secrets not sealed.
#[derive(Debug)]
pub(crate) enum TargetBody {
    NewSession(Box<NewSessionBody>),
    ExistingSession { session_id: SessionId, instructions: String },
}

/// How new sessions begin.
#[derive(Debug)]
pub(crate) struct NewSessionBody {
    /// A saved agent's id or exact name; without it `agent` has a model.
    pub(crate) agent_id: Option<String>,
    pub(crate) agent: AgentFields,
    pub(crate) environment: NewEnvironment,
    pub(crate) input: Vec<Vec<InputPart>>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) approval: Option<ApprovalMode>,
    pub(crate) vault_ids: Vec<String>,
}

/// A change that a client asks for; what is absent stays.
#[derive(Debug)]
pub(crate) struct AutomationChange {
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    pub(crate) expression: Option<String>,
    pub(crate) timezone: Option<String>,
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) target: Option<TargetBody>,
}

impl AutomationBody {
    pub(crate) fn read(body: &Value) -> Result<Self, ApiError> {
        enum Kind {
            Periodic,
            Once,
        }
        let mut reader = Reader::new("", body)?;
        let r = &mut reader;
        let kind = r.required("type")?.word(&["periodic", "once"], |word| match word {
            "periodic" => Some(Kind::Periodic),
            "once" => Some(Kind::Once),
            _ => None,
        })?;
        let name = read_required_name(r.required("name")?)?;
        let schedule = match kind {
            Kind::Periodic => Schedule::Periodic {
                expression: read_expression(&r.required("expression")?)?,
                timezone: read_timezone(&r.required("timezone")?)?,
            },
            Kind::Once => Schedule::Once { run_at: read_run_at(&r.required("run_at")?)? },
        };
        let metadata = r.optional("metadata").map(read_metadata).transpose()?.unwrap_or_default();
        let target = read_target(r.required("target")?)?;
        reader.finish()?;
        Ok(Self { name, metadata, schedule, target })
    }
}

impl AutomationChange {
    pub(crate) fn read(body: &Value) -> Result<Self, ApiError> {
        let mut reader = Reader::new("", body)?;
        let r = &mut reader;
        let change = Self {
            name: r.optional("name").map(read_required_name).transpose()?,
            metadata: r.optional("metadata").map(read_metadata).transpose()?,
            expression: r.optional("expression").map(|field| read_expression(&field)).transpose()?,
            timezone: r.optional("timezone").map(|field| read_timezone(&field)).transpose()?,
            run_at: r.optional("run_at").map(|field| read_run_at(&field)).transpose()?,
            target: r.optional("target").map(read_target).transpose()?,
        };
        reader.finish()?;
        Ok(change)
    }
}

fn read_required_name(field: Field<'_>) -> Result<String, ApiError> {
    // A null is the wrong type here, and only here.
    field.text(NAME_CHARS_MAX)?;
    Ok(read_name(field)?.unwrap_or_default())
}

fn read_expression(field: &Field<'_>) -> Result<String, ApiError> {
    let text = field.text(EXPRESSION_CHARS_MAX)?;
    match text.parse::<Cron>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(field.refuse("invalid_cron", format!("Invalid '{}': {error}.", field.path()))),
    }
}

fn read_timezone(field: &Field<'_>) -> Result<String, ApiError> {
    let text = field.text(TIMEZONE_CHARS_MAX)?;
    match text.parse::<Zone>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(field.refuse("invalid_timezone", format!("Invalid '{}': {error}.", field.path()))),
    }
}

fn read_run_at(field: &Field<'_>) -> Result<Timestamp, ApiError> {
    let seconds = field.integer(0, RUN_AT_MAX)?;
    Ok(Timestamp::EPOCH.plus_millis(seconds * 1000))
}

fn read_target(field: Field<'_>) -> Result<TargetBody, ApiError> {
    enum Kind {
        NewSession,
        ExistingSession,
    }
    let mut reader = field.object()?;
    let r = &mut reader;
    let kind = r.required("type")?.word(&["new_session", "existing_session"], |word| match word {
        "new_session" => Some(Kind::NewSession),
        "existing_session" => Some(Kind::ExistingSession),
        _ => None,
    })?;
    let target = match kind {
        Kind::NewSession => TargetBody::NewSession(Box::new(read_new_session(r)?)),
        Kind::ExistingSession => {
            let session = r.required("session_id")?;
            let session_id = session.string()?.parse();
            let session_id =
                session_id.map_err(|_| ApiError::not_found("session").param(session.path().to_owned()))?;
            let instructions = r.required("instructions")?.text(INSTRUCTIONS_CHARS_MAX)?.to_owned();
            TargetBody::ExistingSession { session_id, instructions }
        }
    };
    reader.finish()?;
    Ok(target)
}

fn read_new_session(r: &mut Reader<'_>) -> Result<NewSessionBody, ApiError> {
    let at = |name: &str, r: &Reader<'_>| format!("{}.{name}", r.path());
    let agent_id = r.optional_or_null("agent_id");
    let agent_id = agent_id.map(|field| field.text(NAME_CHARS_MAX).map(str::to_owned)).transpose()?;
    let agent = match r.optional_or_null("agent") {
        Some(field) if agent_id.is_some() => {
            let message = "Give exactly one of 'agent' and 'agent_id'.";
            return Err(field.refuse("invalid_value", message));
        }
        Some(field) => AgentFields::read(field.object()?, AgentScope::Session)?,
        None => AgentFields::default(),
    };
    if agent_id.is_none() && agent.model.is_none() {
        return Err(ApiError::invalid("agent.model is required when agent_id is omitted")
            .code("missing_required_parameter")
            .param(at("agent.model", r)));
    }
    let environment = NewEnvironment::read(r.required("environment")?)?;
    let metadata = r.optional("metadata").map(read_metadata).transpose()?.unwrap_or_default();
    let approval = approval_of(&metadata, &at("metadata", r))?;
    let vault_ids = r.optional_or_null("vault_ids").map(|field| read_vault_ids(&field)).transpose()?;
    let input = read_input(&r.required("input")?)?;
    let vault_ids = vault_ids.unwrap_or_default();
    Ok(NewSessionBody { agent_id, agent, environment, input, metadata, approval, vault_ids })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read::tests::refusal;

    fn base() -> Value {
        json!({"type": "periodic", "name": "n", "expression": "0 9 * * *", "timezone": "Europe/Berlin",
            "target": {"type": "new_session", "agent": {"model": "m"}, "environment": {"type": "none"},
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}})
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut body = base();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        body.pointer_mut(parent).expect("there")[name] = value;
        body
    }

    #[track_caller]
    fn refused(body: &Value, message: &str, param: &str) {
        assert_eq!(refusal(AutomationBody::read(body)), (message.to_owned(), Some(param.to_owned())));
    }

    #[test]
    fn reads_both_kinds_of_schedule_and_target() {
        let body = base();
        let read = AutomationBody::read(&body).expect("accepted");
        let TargetBody::NewSession(target) = read.target else { panic!("a new session") };
        assert_eq!(target.input, [vec![InputPart::text("hi")]]);
        let session = "sess_0123456789ab7def8123456789abcdef";
        let body = json!({"type": "once", "name": "n", "run_at": 1_790_000_000, "metadata": {"a": "1"},
            "target": {"type": "existing_session", "session_id": session, "instructions": "go on"}});
        let read = AutomationBody::read(&body).expect("accepted");
        assert_eq!(read.schedule, Schedule::Once { run_at: Timestamp::from_millis(1_790_000_000_000) });
        assert_eq!(read.metadata.len(), 1);
    }

    #[test]
    fn names_the_mistake() {
        refused(
            &with("/expression", json!("61 * * * *")),
            "Invalid 'expression': at character 1 (minute): `61` is not within 0 to 59.",
            "expression",
        );
        refused(
            &with("/timezone", json!("Mars")),
            "Invalid 'timezone': `Mars` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`.",
            "timezone",
        );
        refused(&with("/run_at", json!(1)), "Unknown parameter: 'run_at'.", "run_at");
        refused(
            &with("/type", json!("daily")),
            "Invalid value: 'daily'. Supported values are: 'periodic' and 'once'.",
            "type",
        );
        let null = "Invalid type for 'name': expected a string, but got null instead.";
        refused(&with("/name", Value::Null), null, "name");
        refused(
            &with("/target/agent_id", json!("helper")),
            "Give exactly one of 'agent' and 'agent_id'.",
            "target.agent",
        );
        refused(
            &with("/target/agent", Value::Null),
            "agent.model is required when agent_id is omitted",
            "target.agent.model",
        );
        refused(
            &with("/target/agent", json!({"model": "m", "tools": [{"type": "function"}]})),
            "Missing required parameter: 'target.agent.tools[0].name'.",
            "target.agent.tools[0].name",
        );
        refused(
            &with("/target/input", json!([])),
            "Invalid 'target.input': it must not be empty.",
            "target.input",
        );
        refused(&with("/target/stream", json!(true)), "Unknown parameter: 'target.stream'.", "target.stream");
        refused(
            &with("/target/environment", json!({"type": "none", "x": 1})),
            "Unknown parameter: 'target.environment.x'.",
            "target.environment.x",
        );
        let known =
            "Invalid value: 'never!'. Supported values are: 'never', 'destructive', 'writes', and 'always'.";
        let param = "target.metadata.tenure.approval";
        refused(&with("/target/metadata", json!({"tenure.approval": "never!"})), known, param);
        let body =
            with("/target", json!({"type": "existing_session", "session_id": "x", "instructions": "y"}));
        refused(&body, "No session with that id was found.", "target.session_id");
    }
}
