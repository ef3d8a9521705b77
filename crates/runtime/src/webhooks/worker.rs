//! The worker of a node: it looks for deliveries that are due and works on their lines, one task a line.
//!
//! A line is what must arrive in order: the deliveries of one session to one webhook. Only its first one is
//! ever tried. A first one that has been tried and is not due yet belongs to another node or waits out its
//! pause; what is due behind it is put off until then, so that it does not stand in the way of other lines.
//!
//! A line whose first delivery, or whose webhook, this release cannot read is left as it is, all of it: a node
//! that can read it delivers it in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{Timestamp, WebhookId};
use tenure_store::{Document, DocumentKind, Order, Page};
use tenure_webhook::{Message, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::delivery::{self, Delivery, Line};
use super::endpoint::Webhook;
use super::{WebhookError, find, is_conflict};
use crate::clock;
use crate::handle::Shared;
use crate::unreadable::Met;

/// Lines a node works on at once.
const LINES_MAX: usize = 64;
/// Lines of one webhook a node works on at once: so many messages a receiver gets at once from it.
const LINES_PER_WEBHOOK_MAX: usize = 8;
/// Deliveries that one look finds.
const DUE_MAX: usize = 512;
/// Deliveries of a line that are read at once.
const LINE_PAGE: usize = 32;
/// The shortest time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How long what has no place now is put off when it hides what might have.
const PUT_OFF: Duration = Duration::from_secs(5);
/// How long deliveries wait for an operator to bring back the key that opens their webhook's secret.
const KEY_PAUSE: Duration = Duration::from_secs(60);

/// Delivers until the runtime stops. What is being tried then is tried again after its lease.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut desk =
        Desk { shared: Arc::clone(&shared), sender: None, open: HashMap::new(), tasks: JoinSet::new() };
    loop {
        let looked = Instant::now();
        let Looked { left_some, hidden_some } = desk.look().await.unwrap_or_else(|error| {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "deliveries cannot be looked for");
            Looked::default()
        });
        let pause = if hidden_some { LOOK_PAUSE } else { shared.webhooks.config.timing.look_every };
        let next = looked + pause;
        loop {
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return,
                Some(ended) = desk.tasks.join_next(), if !desk.tasks.is_empty() => {
                    desk.ended(ended);
                    if left_some {
                        break;
                    }
                }
                () = shared.webhooks.written.notified() => break,
                () = tokio::time::sleep_until(next) => break,
            }
        }
        tokio::time::sleep_until(looked + LOOK_PAUSE).await;
    }
}

/// What a look found.
#[derive(Debug, Default, Clone, Copy)]
struct Looked {
    /// Something due has no place.
    left_some: bool,
    /// More may be due behind what cannot be read.
    hidden_some: bool,
}

/// What a node is working on.
struct Desk {
    shared: Arc<Shared>,
    /// Made for the first delivery.
    sender: Option<Sender>,
    open: HashMap<Line, WebhookId>,
    tasks: JoinSet<Line>,
}

impl Desk {
    /// Begins with what is due and has a place.
    async fn look(&mut self) -> Result<Looked, WebhookError> {
        let now = self.shared.clock.now();
        let shared = Arc::clone(&self.shared);
        let unreadable = &shared.unreadable;
        // What cannot be read takes nobody's place.
        let due_max = DUE_MAX + unreadable.count(DocumentKind::Delivery);
        let due = shared.store.due_documents(DocumentKind::Delivery, now, due_max).await?;
        if due.is_empty() {
            return Ok(Looked::default());
        }
        let Some(sender) = self.sender() else { return Ok(Looked::default()) };
        let mut per_webhook: HashMap<WebhookId, usize> = HashMap::new();
        for webhook in self.open.values() {
            *per_webhook.entry(*webhook).or_default() += 1;
        }
        let (found_max, mut left) = (due.len() >= due_max, Vec::new());
        let (mut seen, mut hid_some) = (HashSet::new(), false);
        for document in due.into_iter().filter(|document| !unreadable.is_left(document)) {
            let line = (document.project, document.name.clone().unwrap_or_default());
            let webhook = match Delivery::from_document(&document) {
                Ok(_) if unreadable.lines.is_left(&line) => {
                    hid_some |= unreadable.leave_quietly(&document) != Met::NoRoom;
                    continue;
                }
                Ok(delivery) => delivery.webhook_id,
                Err(error) => {
                    hid_some |= unreadable.leave(&document, &error) != Met::NoRoom;
                    unreadable.lines.leave(line);
                    continue;
                }
            };
            if self.open.contains_key(&line) {
                // Its own task comes to it, unless this look began it a moment ago.
                if !seen.contains(&line) {
                    left.push(document);
                }
                continue;
            }
            let busy = per_webhook.entry(webhook).or_default();
            if self.open.len() >= LINES_MAX || *busy >= LINES_PER_WEBHOOK_MAX {
                left.push(document);
                continue;
            }
            *busy += 1;
            seen.insert(line.clone());
            self.open.insert(line.clone(), webhook);
            let work = work(Arc::clone(&self.shared), sender.clone(), line);
            self.tasks.spawn(work);
        }
        let left_some = !left.is_empty();
        if found_max && left_some {
            put_off(&self.shared, &left, now.plus_millis(millis(PUT_OFF))).await;
        }
        Ok(Looked { left_some, hidden_some: found_max && hid_some })
    }

    fn sender(&mut self) -> Option<Sender> {
        if self.sender.is_none() {
            let config = &self.shared.webhooks.config;
            match Sender::new(config.policy.clone(), config.timing.timeout) {
                Ok(sender) => self.sender = Some(sender),
                Err(error) => tracing::error!(%error, "webhooks cannot be delivered"),
            }
        }
        self.sender.clone()
    }

    fn ended(&mut self, ended: Result<Line, tokio::task::JoinError>) {
        match ended {
            Ok(line) => {
                self.open.remove(&line);
            }
            Err(error) => {
                // Which line it was is not known; lines are found again by looking.
                tracing::error!(%error, "the delivery of a line panicked");
                self.open.clear();
            }
        }
    }
}

/// Works on a line until it is empty or its first delivery has to wait; gives the line back.
async fn work(shared: Arc<Shared>, sender: Sender, line: Line) -> Line {
    let delivered = deliver(&shared, &sender, &line).await;
    match delivered {
        Ok(()) => shared.unreadable.lines.forget(&line),
        Err(error @ (WebhookError::Damaged(_) | WebhookError::DamagedId)) => {
            if shared.unreadable.lines.leave(line.clone()) == Met::First {
                tracing::error!(line = line.1, %error, source = ?std::error::Error::source(&error),
                    "a webhook's deliveries cannot be read by this release; they stay as they are");
            }
        }
        Err(error) => tracing::error!(line = line.1, %error, source = ?std::error::Error::source(&error),
            "a delivery cannot be recorded; it is tried again after its lease"),
    }
    line
}

/// What became of one try.
enum Tried {
    /// It is done with, one way or the other.
    Settled,
    /// It waits until then.
    Waits(Timestamp),
    /// Another node was faster.
    Taken,
}

async fn deliver(shared: &Shared, sender: &Sender, (project, name): &Line) -> Result<(), WebhookError> {
    let page = Page { after: None, limit: LINE_PAGE, order: Order::Ascending };
    loop {
        let line = shared.store.documents(*project, DocumentKind::Delivery, Some(name), &page).await?;
        let Some(first) = line.first() else { return Ok(()) };
        let webhook = find(shared, *project, Delivery::from_document(first)?.webhook_id).await?;
        let Some(webhook) = webhook else {
            let now = shared.clock.now();
            let dropped = line.iter().map(|document| gone(document, now)).collect();
            match shared.store.put(dropped, None).await {
                Err(error) if !is_conflict(&error) => return Err(error.into()),
                // With a conflict, another node drops them.
                Ok(()) | Err(_) => continue,
            }
        };
        for (place, document) in line.iter().enumerate() {
            match attempt(shared, sender, &webhook, document).await? {
                Tried::Settled => {}
                // Read again: if it is being tried elsewhere, its time says so.
                Tried::Taken => break,
                Tried::Waits(until) => {
                    put_off(shared, &line[place + 1..], until).await;
                    return Ok(());
                }
            }
        }
    }
}

/// Tries the first delivery of a line, once.
async fn attempt(
    shared: &Shared,
    sender: &Sender,
    webhook: &Webhook,
    document: &Document,
) -> Result<Tried, WebhookError> {
    let timing = &shared.webhooks.config.timing;
    let now = shared.clock.now();
    let mut delivery = Delivery::from_document(document)?;
    // One that was never tried belongs to nobody, whatever put its time off.
    if let Some(wake_at) = document.wake_at.filter(|wake_at| delivery.attempts > 0 && *wake_at > now) {
        return Ok(Tried::Waits(wake_at));
    }
    let with = (&shared.sealer, &*shared.store);
    let Some(secrets) = webhook.signing(with, document.project, now).await else {
        tracing::error!(webhook = %webhook.id, "a webhook's secret cannot be opened with this installation's key");
        let until = now.plus_millis(millis(KEY_PAUSE));
        put_off(shared, std::slice::from_ref(document), until).await;
        return Ok(Tried::Waits(until));
    };
    delivery.attempts += 1;
    let lease = Some(now.plus_millis(millis(timing.lease)));
    let claimed = Document { body: delivery.to_body(), ..delivery::next(document, now, lease) };
    match shared.store.put(vec![claimed.clone()], None).await {
        Ok(()) => {}
        Err(error) if is_conflict(&error) => return Ok(Tried::Taken),
        Err(error) => return Err(error.into()),
    }
    let signatures: Vec<String> =
        secrets.iter().map(|secret| secret.sign(&document.id, now.as_secs(), &delivery.payload)).collect();
    let message = Message {
        id: &document.id,
        timestamp: now.as_secs(),
        signatures: &signatures.join(" "),
        body: &delivery.payload,
    };
    let sent = sender.send(&webhook.url, message).await;
    let now = shared.clock.now();
    let (next, tried) = match sent {
        Ok(()) => {
            shared.metrics.deliveries.with(&["delivered"]).add(1);
            (gone(&claimed, now), Tried::Settled)
        }
        Err(error) if delivery.attempts < timing.attempts_max => {
            shared.metrics.deliveries.with(&["failed"]).add(1);
            tracing::info!(webhook = %webhook.id, delivery = document.id, attempt = delivery.attempts, %error,
                "a delivery failed and is tried again later");
            delivery.last_error = Some(error.to_string());
            let until = now.plus_millis(millis(timing.pause(delivery.attempts, clock::chance())));
            let waits = Document { body: delivery.to_body(), ..delivery::next(&claimed, now, Some(until)) };
            (waits, Tried::Waits(until))
        }
        Err(error) => {
            shared.metrics.deliveries.with(&["dead"]).add(1);
            tracing::warn!(webhook = %webhook.id, delivery = document.id, attempts = delivery.attempts, %error,
                "a delivery failed too often and is kept as a dead letter");
            delivery.last_error = Some(error.to_string());
            let name = Some(delivery::dead_line(webhook.id));
            let dead = Document { name, body: delivery.to_body(), ..delivery::next(&claimed, now, None) };
            (dead, Tried::Settled)
        }
    };
    match shared.store.put(vec![next], None).await {
        Ok(()) => Ok(tried),
        // The lease ran out and another node took over.
        Err(error) if is_conflict(&error) => Ok(Tried::Taken),
        Err(error) => Err(error.into()),
    }
}

/// The last version of a delivery that is done with.
pub(super) fn gone(document: &Document, now: Timestamp) -> Document {
    let body = serde_json::Value::Null;
    Document { body, deleted: true, ..delivery::next(document, now, None) }
}

/// Lets deliveries that were never tried wake later. If some of them changed meanwhile, they all stay as they
/// are and are looked at again.
async fn put_off(shared: &Shared, documents: &[Document], until: Timestamp) {
    let now = shared.clock.now();
    let is_due = |document: &&Document| document.wake_at.is_some_and(|wake_at| wake_at <= now);
    let later: Vec<Document> =
        documents.iter().filter(is_due).map(|document| delivery::next(document, now, Some(until))).collect();
    if !later.is_empty() {
        write(shared, later).await;
    }
}

/// Writes what may as well be written by another node, or later.
async fn write(shared: &Shared, documents: Vec<Document>) {
    match shared.store.put(documents, None).await {
        Err(error) if !is_conflict(&error) => tracing::warn!(%error, "deliveries cannot be put off"),
        Ok(()) | Err(_) => {}
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
