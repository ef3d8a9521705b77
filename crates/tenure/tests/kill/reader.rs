//! A reader: holds a stream of one session at some node, opens it again at another when it is lost, and then
//! lists the items. What it knows at the end must be what the session has.
//!
//! This is the rule by which a client recovers, because streams replay nothing: open a stream, list the items,
//! apply what the stream tells by the id of the item.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{Client, Stream};

/// How long a reader may take to know what the session has: a lost stream is opened at a node that is frozen.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What readers met.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Readings {
    pub(crate) streams: usize,
    /// Streams that another node than the one before served.
    pub(crate) elsewhere: usize,
    /// Streams that were closed because they were read too slowly.
    pub(crate) lagged: usize,
    /// Items whose end a stream told.
    pub(crate) told: usize,
    /// Items of which only a list knew, because no stream was open when they came.
    pub(crate) listed: usize,
}

impl AddAssign for Readings {
    fn add_assign(&mut self, more: Self) {
        self.streams += more.streams;
        self.elsewhere += more.elsewhere;
        self.lagged += more.lagged;
        self.told += more.told;
        self.listed += more.listed;
    }
}

/// What a reader knows.
#[derive(Debug, Default)]
struct Known {
    items: BTreeMap<String, Value>,
    /// Items that came with a stream, and those whose end did.
    streamed: BTreeSet<String>,
    told: BTreeSet<String>,
    readings: Readings,
}

/// A reader at work. It panics where a stream does what none may do.
pub(crate) struct Reader {
    client: Client,
    path: String,
    known: watch::Receiver<Known>,
    task: JoinHandle<()>,
}

impl Reader {
    pub(crate) fn open(client: &Client, session: &str) -> Self {
        let (tell, known) = watch::channel(Known::default());
        let path = format!("/v1/agents/sessions/{session}");
        let task = tokio::spawn(read(client.clone(), path.clone(), tell));
        Self { client: client.clone(), path, known, task }
    }

    /// Returns once the reader knows every item that the session has, as it is.
    pub(crate) async fn caught_up(mut self) -> Readings {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let items = self.client.list(&format!("{}/items", self.path)).await;
            if self.task.is_finished() {
                (&mut self.task).await.expect("a reader goes on");
            }
            let unlike = {
                let known = self.known.borrow();
                let unlike = items.into_iter().find(|item| known.items.get(id(item)) != Some(item));
                unlike.map(|item| format!("{item}, known as {:?}", known.items.get(id(&item))))
            };
            let Some(unlike) = unlike else { break };
            assert!(Instant::now() < deadline, "a reader of {} was not told of {unlike}", self.path);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.task.abort();
        let known = self.known.borrow();
        let listed = known.items.keys().filter(|id| !known.streamed.contains(*id)).count();
        Readings { told: known.told.len(), listed, ..known.readings }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one stream after the other, for ever.
async fn read(client: Client, path: String, tell: watch::Sender<Known>) {
    let events = format!("{path}/events");
    let mut before = None;
    loop {
        let stream = client.stream(&events, before.as_deref()).await;
        let address = stream.address.clone();
        tell.send_modify(|known| {
            known.readings.streams += 1;
            known.readings.elsewhere += usize::from(before.as_ref().is_some_and(|before| *before != address));
        });
        // Opened first: what is committed after the list is told by the stream.
        let items = client.list(&format!("{path}/items")).await;
        tell.send_modify(|known| {
            known.items.extend(items.into_iter().map(|item| (id(&item).to_owned(), item)));
        });
        follow(&path, stream, &tell).await;
        before = Some(address);
    }
}

/// Reads one stream to its end, which is the loss of the connection or what the server says it is.
async fn follow(path: &str, mut stream: Stream, tell: &watch::Sender<Known>) {
    let (mut told, mut ids, mut is_over) = (BTreeSet::new(), BTreeSet::new(), false);
    while let Some(event) = stream.next().await {
        assert!(!is_over, "{path}: the stream was over, and then there was {event}");
        let event_id = event["event_id"].as_str().expect("an id").to_owned();
        assert!(ids.insert(event_id), "{path}: twice on one stream: {event}");
        let item = &event["item"];
        let is_done = match event["type"].as_str().expect("a type") {
            "agent.session.turn.item.added" => false,
            "agent.session.turn.item.done" => {
                assert!(told.insert(id(item).to_owned()), "{path}: done twice on one stream: {event}");
                true
            }
            "error" if event["error"]["code"] == "stream_lagged" => {
                is_over = true;
                tell.send_modify(|known| known.readings.lagged += 1);
                continue;
            }
            _ => continue,
        };
        tell.send_modify(|known| {
            known.items.insert(id(item).to_owned(), item.clone());
            known.streamed.insert(id(item).to_owned());
            known.told.extend(is_done.then(|| id(item).to_owned()));
        });
    }
    assert!(stream.is_lost || is_over, "{path}: the stream ended, and nobody said why");
}

fn id(item: &Value) -> &str {
    item["id"].as_str().expect("an id")
}
