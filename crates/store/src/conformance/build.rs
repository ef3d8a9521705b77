//! What the cases append, put and expect.

use std::fmt::Debug;

use bytes::Bytes;
use serde_json::json;
use tenure_journal::{
    AgentId, Event, Fresh, Head, Input, InputId, InputPart, Item, ItemBody, ItemId, ItemStatus, ProjectId,
    SessionId, SessionKey, Timestamp, Turn, TurnId, TurnStatus, Version,
};

use crate::{
    Append, Document, DocumentKind, ItemRow, Order, Page, Receipt, Store, StoreError, StoreErrorKind,
};

/// The moment all fixtures happen at.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// A source of ids; cases on different stores may share a seed.
pub(super) fn fresh(seed: u64) -> Fresh {
    Fresh::new(NOW, seed)
}

pub(super) fn key(fresh: &Fresh) -> SessionKey {
    SessionKey { project: ProjectId::fresh(fresh), session: SessionId::fresh(fresh) }
}

pub(super) fn head(key: SessionKey, agent_id: AgentId) -> Head {
    Head { agent_name: Some("refunds".into()), ..Head::idle(key, agent_id, NOW) }
}

/// An event that carries `text`.
pub(super) fn said(fresh: &Fresh, text: &str) -> Event {
    let content = vec![InputPart::text(text)];
    Event::InputAccepted {
        input: Input {
            id: InputId::fresh(fresh),
            content,
            labels: tenure_journal::Labels::NEUTRAL,
            by_agent: false,
        },
    }
}

/// An append of one event for each of `texts`, and nothing else.
pub(super) fn append(fresh: &Fresh, key: SessionKey, expected: u64, texts: &[&str]) -> Append {
    let events = texts.iter().map(|text| said(fresh, text)).collect();
    Append::of(Version(expected), NOW.plus_millis(expected), events, head(key, AgentId::fresh(fresh)))
}

pub(super) fn receipt(project: ProjectId, key: &str) -> Receipt {
    Receipt {
        project,
        key: key.into(),
        digest: format!("b3:{key}"),
        status: 201,
        body: format!("{{\"answer to\":\"{key} é\"}}"),
        at: NOW,
    }
}

pub(super) fn message(id: ItemId, turn_id: TurnId, text: &str) -> Item {
    let body = ItemBody::AssistantMessage { content: vec![text.into()], phase: None };
    Item {
        id,
        turn_id,
        status: ItemStatus::Completed,
        output_index: Some(0),
        step: None,
        body,
        labels: tenure_journal::Labels::NEUTRAL,
    }
}

/// An item that clients never see.
pub(super) fn hidden(id: ItemId, turn_id: TurnId) -> Item {
    let body = ItemBody::InternalCall {
        call_id: "call_1".into(),
        name: "nothing".into(),
        arguments: "{".into(),
        output: "there is no such tool".into(),
    };
    Item {
        id,
        turn_id,
        status: ItemStatus::Failed,
        output_index: None,
        step: None,
        body,
        labels: tenure_journal::Labels::NEUTRAL,
    }
}

pub(super) fn row(ordinal: u64, item: Item) -> ItemRow {
    ItemRow { ordinal, item }
}

pub(super) fn turn(id: TurnId, agent_id: AgentId, status: TurnStatus) -> Turn {
    Turn {
        id,
        agent_id,
        status,
        created_at: NOW,
        started_at: None,
        completed_at: None,
        error: None,
        usage: None,
        cache_ttl: None,
    }
}

pub(super) fn document(project: ProjectId, kind: DocumentKind, id: &str, version: u64) -> Document {
    Document {
        project,
        kind,
        id: id.into(),
        version,
        name: Some(format!("name of {id}")),
        body: json!({"version": version, "nested": [null, true, "ü"]}),
        created_at: NOW,
        updated_at: NOW.plus_millis(version),
        wake_at: None,
        deleted: false,
    }
}

pub(super) fn page(limit: usize) -> Page {
    Page { after: None, limit, order: Order::Ascending }
}

pub(super) fn page_after(after: &impl ToString, limit: usize, order: Order) -> Page {
    Page { after: Some(after.to_string()), limit, order }
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Appends what must be accepted.
#[track_caller]
pub(super) fn accepted<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store refused what the contract accepts: {error} ({error:?})"),
    }
}

/// The kind of an error that must come.
#[track_caller]
pub(super) fn refused<T: Debug>(result: Result<T, StoreError>, sentence: &str) -> StoreErrorKind {
    match result {
        Ok(value) => panic!("{sentence}: accepted, with {value:?}"),
        Err(error) => error.kind(),
    }
}

/// The texts of a session's events after version `after`, with contiguous versions checked.
pub(super) async fn texts(store: &dyn Store, key: SessionKey, after: u64, limit: usize) -> Vec<String> {
    let events = accepted(store.events(key, Version(after), limit).await);
    let texts = events.iter().enumerate().map(|(index, recorded)| {
        assert_eq!(recorded.version, Version(after + 1 + index as u64), "events are contiguous and in order");
        text_of(&recorded.event)
    });
    texts.collect()
}

pub(super) fn text_of(event: &Event) -> String {
    let Event::InputAccepted { input } = event else { panic!("an event came back as another: {event:?}") };
    let [InputPart::Text { text }] = &input.content[..] else {
        panic!("an event came back changed: {event:?}")
    };
    text.clone()
}
