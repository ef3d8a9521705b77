//! Webhooks while nodes die: every event of every session arrives, in order, under the id that follows from its
//! place in the journal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure_api::keys;
use tenure_journal::{ProjectId, SessionKey};
use tenure_session::{Session, SessionNotice, StreamEvent, appends};
use tenure_store::{DocumentKind, Order, Page, Store};
use tenure_testkit::receiver::{Posted, Receiver, Reply};

use super::client::Client;
use super::visitor::Visited;

const WEBHOOKS: &str = "/v1/tenure/webhooks";
/// What is told. Sessions are many, and these are enough to see an order and an end.
const TOLD: [&str; 2] = ["agent.session.created", "agent.session.idle"];
/// One request of so many is answered with an error, and one is not answered.
const REFUSED_EVERY: usize = 101;
const DROPPED_EVERY: usize = 103;
/// How long what is on its way may take: the lease of a node that died with it, and the pause after a failure.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An address that is told, in the test's own process.
pub(crate) struct Hooks {
    receiver: Receiver,
}

impl Hooks {
    /// Listens, and makes a webhook of it.
    pub(crate) async fn open(client: &Client) -> Self {
        let receiver = Receiver::start(|number, _| match number {
            _ if number % REFUSED_EVERY == 1 => Reply::Status(503),
            _ if number % DROPPED_EVERY == 1 => Reply::Drop,
            _ => Reply::Status(204),
        })
        .await;
        let webhook = json!({"name": "hooks", "url": receiver.url("/hook"), "event_types": TOLD});
        let (status, made) = client.post(WEBHOOKS, &webhook, "key-of-the-webhook").await;
        assert_eq!(status, 201, "{made}");
        Self { receiver }
    }

    /// Compares what arrived with the journals; gives how many events were told, and how often.
    pub(crate) async fn check(&self, store: &dyn Store, visited: &[Visited]) -> (usize, usize) {
        let project = project(store).await;
        let mut expected = BTreeMap::new();
        for session in visited {
            let key = SessionKey { project, session: session.id.parse().expect("an id") };
            expected.insert(session.id.clone(), events(store, key).await);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let posted = self.receiver.posted();
            let unlike = unlike(&expected, &arrived(&posted));
            let Some(unlike) = unlike else {
                return (expected.values().map(Vec::len).sum(), posted.len());
            };
            assert!(Instant::now() < deadline, "webhooks: {unlike}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A session whose events did not arrive as they happened.
fn unlike(
    expected: &BTreeMap<String, Vec<String>>,
    arrived: &BTreeMap<String, Vec<String>>,
) -> Option<String> {
    if let Some(unknown) = arrived.keys().find(|session| !expected.contains_key(*session)) {
        return Some(format!("nobody knows of {unknown}"));
    }
    let none = Vec::new();
    expected.iter().find_map(|(session, events)| {
        let found = arrived.get(session).unwrap_or(&none);
        (found != events).then(|| format!("{session} had {events:?}, and was told as {found:?}"))
    })
}

/// What was accepted, without repetitions: the events of each session as they came, by their places.
fn arrived(posted: &[Posted]) -> BTreeMap<String, Vec<String>> {
    let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
    let mut sessions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in posted {
        let id = one.header("webhook-id");
        if let Some(before) = bodies.get(id) {
            assert_eq!(*before, one.body, "two bodies under {id}");
        }
        let is_first = one.reply == Reply::Status(204) && bodies.insert(id, &one.body).is_none();
        if is_first {
            let body: Value = serde_json::from_str(&one.body).expect("JSON");
            let session = body["data"]["id"].as_str().expect("a session").to_owned();
            sessions.entry(session).or_default().push(event(id, body["type"].as_str().expect("a type")));
        }
    }
    sessions
}

/// An event by its place, which is how the id of its delivery begins.
fn event(id: &str, kind: &str) -> String {
    format!("{} {kind}", &id[.."dlv_".len() + 12])
}

/// What is to be told of a session, from its journal.
async fn events(store: &dyn Store, key: SessionKey) -> Vec<String> {
    let recorded = store.events(key, tenure_journal::Version::ZERO, usize::MAX).await.expect("readable");
    let (mut state, mut events): (Option<Session>, _) = (None, Vec::new());
    for part in appends(&recorded) {
        let batch = Session::follow(key, state.as_ref(), part).expect("it follows");
        let kinds = batch.notices.iter().filter_map(|notice| {
            let StreamEvent::Session { kind, .. } = notice else { return None };
            Some(*kind)
        });
        for (place, kind) in kinds.enumerate() {
            let kind = match kind {
                SessionNotice::Created => TOLD[0],
                SessionNotice::Idle => TOLD[1],
                SessionNotice::InProgress | SessionNotice::RequiresAction | SessionNotice::Failed => continue,
            };
            events.push(format!("dlv_{:010x}{place:02x} {kind}", batch.after.version().0));
        }
        state = Some(batch.after);
    }
    events
}

/// The one project of the installation.
pub(crate) async fn project(store: &dyn Store) -> ProjectId {
    let page = Page { after: None, limit: 1, order: Order::Ascending };
    let found = store.documents(keys::system_project(), DocumentKind::Project, Some("default"), &page).await;
    found.expect("readable")[0].id.parse().expect("an id")
}
