//! Deliveries: one event on its way to one webhook, as a document that is written with the event.
//!
//! ```text
//!                 claim: attempt n begins           accepted
//!   Waiting ──────────────────────────────▶ Trying ──────────▶ gone
//!      ▲                                      │  │ attempts used up
//!      └──────── pause, or lease over ────────┘  └──────────────────▶ Dead ──redeliver──▶ Waiting
//! ```
//!
//! Waiting and trying differ only in the reason for the time at which the document wakes: the end of a pause,
//! or of the lease of the node that is trying. Whatever happens to that node, the document wakes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_journal::{Environment, ProjectId, SessionId, SessionKey, Timestamp, Version, WebhookId};
use tenure_session::{Batch, RequiredAction, SessionNotice, SessionView, StreamEvent};
use tenure_store::{Document, DocumentKind};
use tenure_webhook::{Event, EventType};

use super::WebhookError;
use super::endpoint::Webhook;

/// How often and how patiently a delivery is tried.
#[derive(Debug, Clone, Copy)]
pub struct WebhookTiming {
    /// Tries before a delivery is given up and kept as a dead letter.
    pub attempts_max: u32,
    /// The pause after the first failed try; each further one is three times as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// How long a receiver may take to answer.
    pub timeout: Duration,
    /// How long a node may take over one try, before another node may try; longer than the timeout.
    pub lease: Duration,
    /// How often a node looks for what is due, beside being told of its own.
    pub look_every: Duration,
}

impl Default for WebhookTiming {
    /// Twelve tries over about a day: pauses of 5 s, 15 s, 45 s and so on up to six hours.
    fn default() -> Self {
        Self {
            attempts_max: 12,
            first_pause: Duration::from_secs(5),
            pause_max: Duration::from_secs(6 * 60 * 60),
            timeout: Duration::from_secs(15),
            lease: Duration::from_secs(30),
            look_every: Duration::from_secs(1),
        }
    }
}

impl WebhookTiming {
    /// The pause after try number `attempt`, from 1. `chance` spreads it by a fifth either way, so that
    /// receivers that come back are not met by everyone at once.
    #[must_use]
    pub fn pause(&self, attempt: u32, chance: u64) -> Duration {
        let grown =
            3_u32.checked_pow(attempt.saturating_sub(1)).and_then(|by| self.first_pause.checked_mul(by));
        let pause = grown.map_or(self.pause_max, |pause| pause.min(self.pause_max));
        let spread = 0.8 + 0.4 * (chance as f64 / u64::MAX as f64);
        pause.mul_f64(spread)
    }
}

/// What a delivery's document says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    pub(super) webhook_id: WebhookId,
    pub(super) session_id: SessionId,
    pub(super) event_type: EventType,
    /// The exact bytes that are signed and sent, each time.
    pub(super) payload: String,
    /// Tries that were begun.
    pub(super) attempts: u32,
    /// Why the latest try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_error: Option<String>,
}

/// A delivery that was given up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The delivery's id: what its messages carry as `webhook-id`.
    pub id: String,
    /// The webhook it was for.
    pub webhook_id: WebhookId,
    /// The session it tells of.
    pub session_id: SessionId,
    /// What it tells.
    pub event_type: EventType,
    /// The message's body.
    pub payload: String,
    /// Tries that were made.
    pub attempts: u32,
    /// Why the last one failed.
    pub last_error: String,
    /// When the event happened.
    pub created_at: Timestamp,
    /// When it was given up.
    pub failed_at: Timestamp,
}

impl DeadLetter {
    pub(super) fn from_document(document: Document) -> Result<Self, WebhookError> {
        let delivery = Delivery::from_document(&document)?;
        Ok(Self {
            id: document.id,
            webhook_id: delivery.webhook_id,
            session_id: delivery.session_id,
            event_type: delivery.event_type,
            payload: delivery.payload,
            attempts: delivery.attempts,
            last_error: delivery.last_error.unwrap_or_default(),
            created_at: document.created_at,
            failed_at: document.updated_at,
        })
    }
}

impl Delivery {
    pub(super) fn from_document(document: &Document) -> Result<Self, WebhookError> {
        Self::deserialize(&document.body).map_err(WebhookError::Damaged)
    }

    pub(super) fn to_body(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a delivery holds only strings and numbers")
    }
}

/// The next version of a delivery's document, as it was but for its time.
pub(super) fn next(document: &Document, now: Timestamp, wake_at: Option<Timestamp>) -> Document {
    Document { version: document.version + 1, updated_at: now, wake_at, ..document.clone() }
}

/// The name of the deliveries that wait for each other: events of one session for one webhook, in order.
pub(super) fn line(webhook: WebhookId, session: SessionId) -> String {
    format!("{webhook}/{session}")
}

/// The name of a delivery that is sent again and waits for no other.
pub(super) fn own_line(webhook: WebhookId, id: &str) -> String {
    format!("{webhook}/{id}")
}

/// The name of a webhook's dead letters.
pub(super) fn dead_line(webhook: WebhookId) -> String {
    format!("{webhook}/dead")
}

/// What `batch` has to tell these webhooks, in the order of their ids.
pub(super) fn of_batch(webhooks: &[Webhook], batch: &Batch, at: Timestamp) -> Vec<Document> {
    let version = batch.after.version();
    let told = batch.notices.iter().filter_map(|notice| match notice {
        StreamEvent::Session { kind, session } => Some((event_type(*kind), session)),
        StreamEvent::Turn { .. }
        | StreamEvent::ItemAdded { .. }
        | StreamEvent::ItemDone { .. }
        | StreamEvent::Part { .. }
        | StreamEvent::Subagent { .. }
        | StreamEvent::Environment { .. }
        | StreamEvent::CommandOutput { .. }
        | StreamEvent::Error { .. }
        | StreamEvent::Deleted => None,
    });
    let mut documents = Vec::new();
    for (place, (kind, session)) in (0_u8..).zip(told) {
        let mut payload = None;
        for webhook in webhooks.iter().filter(|webhook| webhook.event_types.contains(&kind)) {
            let payload =
                payload.get_or_insert_with(|| payload_of(session, version, place, kind, at)).clone();
            let key = session.key;
            let delivery = Delivery {
                webhook_id: webhook.id,
                session_id: key.session,
                event_type: kind,
                payload,
                attempts: 0,
                last_error: None,
            };
            documents.push(Document {
                project: key.project,
                kind: DocumentKind::Delivery,
                id: delivery_id(webhook.id, key, version, place, kind),
                version: 1,
                name: Some(line(webhook.id, key.session)),
                body: delivery.to_body(),
                created_at: at,
                updated_at: at,
                wake_at: Some(at),
                deleted: false,
            });
        }
    }
    documents
}

/// Whether a batch has anything to tell a webhook.
pub(super) fn is_telling(batch: &Batch) -> bool {
    batch.notices.iter().any(|notice| matches!(notice, StreamEvent::Session { .. }))
}

fn event_type(notice: SessionNotice) -> EventType {
    match notice {
        SessionNotice::Created => EventType::SessionCreated,
        SessionNotice::InProgress => EventType::SessionInProgress,
        SessionNotice::RequiresAction => EventType::SessionActionRequired,
        SessionNotice::Idle => EventType::SessionIdle,
        SessionNotice::Failed => EventType::SessionFailed,
    }
}

fn payload_of(session: &SessionView, version: Version, place: u8, kind: EventType, at: Timestamp) -> String {
    let required_action = match (kind, session.required_actions.first()) {
        (EventType::SessionActionRequired, Some(RequiredAction::FunctionCall { .. })) => {
            Some("function_call")
        }
        (EventType::SessionActionRequired, Some(RequiredAction::EnvironmentConnection { .. })) => {
            Some("environment_connection")
        }
        (EventType::SessionActionRequired, Some(RequiredAction::Approval(_))) => Some("mcp_approval_request"),
        (_, _) => None,
    };
    let (environment, environment_id) = match &session.environment {
        Environment::None => ("none", None),
        Environment::Hosted(hosted) => ("openai_hosted", Some(hosted.id)),
        Environment::SelfHosted(own) => ("self_hosted", Some(own.id)),
    };
    let environment_id = environment_id.map(|id| id.to_string());
    let event = Event {
        id: &event_id(session.key, version, place, kind),
        created_at: at.as_secs(),
        kind,
        session_id: &session.key.session.to_string(),
        environment,
        environment_id: environment_id.as_deref(),
        remote_url: session.environment.self_hosted().map(|own| own.remote_url.as_str()),
        required_action,
    };
    event.to_body()
}

/// The id of an event: the same for every webhook.
fn event_id(key: SessionKey, version: Version, place: u8, kind: EventType) -> String {
    format!("evt_{}", digest(None, key, version, place, kind))
}

/// The id of a delivery: sorts by the event's place in its session, and follows from what is delivered, so
/// that nothing is told twice under two ids.
fn delivery_id(webhook: WebhookId, key: SessionKey, version: Version, place: u8, kind: EventType) -> String {
    let digest = digest(Some(webhook), key, version, place, kind);
    format!("dlv_{:010x}{place:02x}{digest}", version.0)
}

fn digest(
    webhook: Option<WebhookId>,
    key: SessionKey,
    version: Version,
    place: u8,
    kind: EventType,
) -> String {
    let mut hasher = blake3::Hasher::new();
    if let Some(webhook) = webhook {
        hasher.update(webhook.as_bytes());
    }
    hasher.update(key.project.as_bytes());
    hasher.update(key.session.as_bytes());
    hasher.update(&version.0.to_be_bytes());
    hasher.update(&[place]);
    hasher.update(kind.as_str().as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Whether a text could be the id of a delivery.
pub(super) fn is_delivery_id(text: &str) -> bool {
    text.strip_prefix("dlv_").is_some_and(|digits| {
        digits.len() == 44 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// The project and the line of a delivery: what one task works on at a time.
pub(super) type Line = (ProjectId, String);

#[cfg(test)]
mod tests {
    use tenure_journal::Fresh;

    use super::*;

    #[test]
    fn tries_spread_over_about_a_day() {
        let timing = WebhookTiming::default();
        assert!(timing.timeout < timing.lease, "a try ends before another node may begin one");
        let total = |chance| (1..timing.attempts_max).map(|n| timing.pause(n, chance)).sum::<Duration>();
        let hours = |chance| total(chance).as_secs() / 3600;
        assert_eq!((hours(0), hours(u64::MAX / 2), hours(u64::MAX)), (18, 22, 27));
        assert_eq!(timing.pause(1, u64::MAX / 2), Duration::from_secs(5));
        assert_eq!(timing.pause(u32::MAX, u64::MAX / 2), timing.pause_max);
    }

    #[test]
    fn ids_follow_from_what_is_delivered_and_sort_by_its_place() {
        let fresh = Fresh::new(Timestamp::from_millis(1), 1);
        let (one, other) = (WebhookId::fresh(&fresh), WebhookId::fresh(&fresh));
        let key = SessionKey { project: ProjectId::fresh(&fresh), session: SessionId::fresh(&fresh) };
        let id = |webhook, version, place, kind| delivery_id(webhook, key, Version(version), place, kind);
        let first = id(one, 9, 0, EventType::SessionCreated);
        assert!(is_delivery_id(&first), "{first}");
        assert_eq!(first, id(one, 9, 0, EventType::SessionCreated));
        assert_ne!(first, id(other, 9, 0, EventType::SessionCreated));
        assert_ne!(first, id(one, 9, 0, EventType::SessionIdle));
        assert!(first < id(one, 9, 1, EventType::SessionInProgress));
        assert!(id(one, 9, 1, EventType::SessionInProgress) < id(one, 10, 0, EventType::SessionIdle));
        assert!(id(one, 255, 0, EventType::SessionIdle) < id(one, 256, 0, EventType::SessionIdle));
        for wrong in ["", "dlv_", "dlv_1", &first.to_uppercase(), &format!("{first}0")] {
            assert!(!is_delivery_id(wrong), "{wrong}");
        }
    }
}
