//! The agent's own tool: an agent schedules wake-ups of its session.

use serde_json::{Map, Value, json};
use tenure_journal::{
    AutomationId, AutomationStatus, CreatedBy, EffectId, ItemId, Schedule, SessionKey, Target, Timestamp,
    ToolResult,
};
use tenure_store::{Order, Page};

use super::{AutomationError, Automations, NewAutomation, PER_SESSION_MAX, SavedAutomation};

/// Characters of a name; a longer one is cut, for a model's sake.
const NAME_CHARS_MAX: usize = 128;
/// The furthest a wake-up may be asked for in minutes from now: a year.
const MINUTES_MAX: u64 = 366 * 24 * 60;

/// One call of the tool, on behalf of a session.
pub(crate) struct Call {
    pub(crate) session: SessionKey,
    pub(crate) effect: EffectId,
    pub(crate) item: ItemId,
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

/// Why a call cannot be carried out now; what the model did wrong is a result instead.
type Failed = AutomationError;

impl Automations {
    /// Carries out a call; `None` for a name that is none of the tool's. Calling it again for the same effect
    /// makes nothing twice.
    pub(crate) async fn call(&self, call: &Call) -> Result<Option<ToolResult>, Failed> {
        let done = match call.name.as_str() {
            "create_automation" => self.schedule(call).await,
            "list_automations" => self.scheduled(call).await,
            "delete_automation" => self.unschedule(call).await,
            _ => return Ok(None),
        };
        match done {
            Ok(result) => Ok(Some(result)),
            Err(AutomationError::Refused(refusal)) => Ok(Some(result(refusal.to_string(), true))),
            Err(AutomationError::NotFound) => {
                let words = "this session has no automation with that id; see list_automations";
                Ok(Some(result(words.to_owned(), true)))
            }
            Err(error) => Err(error),
        }
    }

    async fn schedule(&self, call: &Call) -> Result<ToolResult, Failed> {
        let project = call.session.project;
        let id = AutomationId::of_effect(call.effect);
        // A moment told in minutes from now must not be told anew by a second attempt.
        match self.version(project, id, 1).await {
            Ok(made) => return Ok(done(&shown(&made))),
            Err(AutomationError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let (name, instructions, schedule) = match read(&call.arguments, self.world.now()) {
            Ok(read) => read,
            Err(words) => return Ok(result(words, true)),
        };
        let session_id = call.session.session;
        let new = NewAutomation {
            name,
            metadata: Default::default(),
            schedule,
            target: Target::ExistingSession { session_id, instructions },
            created_by: CreatedBy::Agent { session_id, tool_call_id: call.item },
        };
        Ok(done(&shown(&self.create(project, id, new, &|_| None).await?)))
    }

    async fn scheduled(&self, call: &Call) -> Result<ToolResult, Failed> {
        let page = Page { after: None, limit: PER_SESSION_MAX, order: Order::Ascending };
        let found = self.list(call.session.project, Some(call.session.session), &page).await?;
        let own = found.iter().filter(|automation| is_own(automation, call));
        Ok(done(&json!({ "automations": own.map(shown).collect::<Vec<_>>() })))
    }

    async fn unschedule(&self, call: &Call) -> Result<ToolResult, Failed> {
        let id = call.arguments.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id: AutomationId = id.ok_or(AutomationError::NotFound)?;
        // The first version tells whose it was, even after an attempt that deleted it and was cut off.
        let first = self.version(call.session.project, id, 1).await?;
        if !is_own(&first, call) {
            return Err(AutomationError::NotFound);
        }
        match self.delete(call.session.project, id).await {
            Ok(()) | Err(AutomationError::NotFound) => Ok(done(&json!({ "id": id, "deleted": true }))),
            Err(error) => Err(error),
        }
    }
}

fn done(shown: &Value) -> ToolResult {
    result(shown.to_string(), false)
}

fn result(text: String, is_error: bool) -> ToolResult {
    ToolResult::inline(text, is_error)
}

/// Whether the session's own agent made it.
fn is_own(automation: &SavedAutomation, call: &Call) -> bool {
    match &automation.body.created_by {
        CreatedBy::Agent { session_id, .. } => *session_id == call.session.session,
        CreatedBy::Developer => false,
    }
}

/// Name, instructions and schedule, or what is wrong with them in words for a model.
fn read(arguments: &Value, now: Timestamp) -> Result<(String, String, Schedule), String> {
    let none = Map::new();
    let given = arguments.as_object().unwrap_or(&none);
    let text = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.as_str())),
        Some(_) => Err(format!("`{name}` must be a string that is not empty")),
    };
    let instructions = text("instructions")?.ok_or("`instructions` is missing")?.to_owned();
    let name = text("name")?.unwrap_or(&instructions).chars().take(NAME_CHARS_MAX).collect();
    let minutes = match given.get("in_minutes") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64().filter(|minutes| (1..=MINUTES_MAX).contains(minutes)) {
            Some(minutes) => Some(minutes),
            None => return Err(format!("`in_minutes` must be a whole number from 1 to {MINUTES_MAX}")),
        },
    };
    let timezone = text("timezone")?;
    let schedule = match (minutes, text("run_at")?, text("cron")?) {
        (Some(minutes), None, None) => Schedule::Once { run_at: now.plus_millis(minutes * 60_000) },
        (None, Some(run_at), None) => {
            let moment: jiff::Timestamp = run_at.parse().map_err(|_| {
                "`run_at` must be a moment with its offset, for example 2030-01-31T09:00:00Z".to_owned()
            })?;
            Schedule::Once { run_at: Timestamp::from_millis(moment.as_millisecond()) }
        }
        (None, None, Some(cron)) => {
            Schedule::Periodic { expression: cron.to_owned(), timezone: timezone.unwrap_or("UTC").to_owned() }
        }
        (_, _, _) => return Err("give exactly one of `in_minutes`, `run_at` and `cron`".to_owned()),
    };
    Ok((name, instructions, schedule))
}

/// An automation as its agent sees it.
fn shown(automation: &SavedAutomation) -> Value {
    let moment = |at: Timestamp| {
        jiff::Timestamp::from_second(at.as_secs()).map_or(Value::Null, |at| json!(at.to_string()))
    };
    let (status, next) = match automation.body.status {
        AutomationStatus::Active { next } => ("active", next.map_or(Value::Null, moment)),
        AutomationStatus::Paused { .. } => ("paused", Value::Null),
        AutomationStatus::Completed => ("completed", Value::Null),
    };
    let mut shown = json!({
        "id": automation.id,
        "name": automation.body.name,
        "status": status,
        "next_run_at": next,
    });
    if let Schedule::Periodic { expression, timezone } = &automation.body.schedule {
        shown["cron"] = json!(expression);
        shown["timezone"] = json!(timezone);
    }
    shown
}
