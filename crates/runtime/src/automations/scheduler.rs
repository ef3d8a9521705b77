//! The scheduler of one node: looks at what is due, does it, and sleeps until something is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::Timestamp;
use tenure_store::{Document, DocumentKind};
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use super::deliver::deliver;
use super::occur::occur;
use super::world::World;
use super::{AutomationError, DELIVERIES_AT_ONCE, DUE_MAX, POLL_MS, TROUBLE};
use crate::unreadable::{Met, Unreadable};

/// Runs until `closing` fires; deliveries under way then are finished.
pub(super) async fn run(
    world: Arc<dyn World>,
    unreadable: Arc<Unreadable>,
    wake: Arc<Notify>,
    closing: CancellationToken,
) {
    let (deliveries, under_way) = (JoinSet::new(), HashMap::new());
    let mut scheduler = Scheduler { world, unreadable, deliveries, under_way, is_troubled: false };
    while !closing.is_cancelled() {
        let pause = match scheduler.look().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, source = ?std::error::Error::source(&error),
                    "automations cannot be looked at; trying again");
                scheduler.is_troubled = true;
                Duration::ZERO
            }
        };
        let is_troubled = std::mem::take(&mut scheduler.is_troubled);
        let pause = if is_troubled { pause.max(TROUBLE) } else { pause };
        tokio::select! {
            () = closing.cancelled() => {}
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            Some(ended) = scheduler.deliveries.join_next_with_id() => scheduler.ended(ended),
        }
    }
    while let Some(ended) = scheduler.deliveries.join_next_with_id().await {
        scheduler.ended(ended);
    }
}

struct Scheduler {
    world: Arc<dyn World>,
    /// What is not looked at now.
    unreadable: Arc<Unreadable>,
    deliveries: JoinSet<Result<(), AutomationError>>,
    /// What the deliveries deliver.
    under_way: HashMap<task::Id, Document>,
    /// Whether durable state failed something since the last look.
    is_troubled: bool,
}

impl Scheduler {
    /// Does or begins everything that is due; gives the time until something may be due again.
    async fn look(&mut self) -> Result<Duration, AutomationError> {
        for automation in self.due(DocumentKind::Automation, self.world.now(), DUE_MAX).await? {
            let occurred = occur(&*self.world, &automation).await;
            self.leave_unreadable(&automation, occurred)?;
        }
        let room = DELIVERIES_AT_ONCE.saturating_sub(self.deliveries.len());
        if room > 0 {
            // Those under way may be due again; they must not take the place of others.
            let limit = room + self.under_way.len();
            let due = self.due(DocumentKind::Invocation, self.world.now(), limit).await?;
            for invocation in due.into_iter().take(limit) {
                if !self.is_under_way(&invocation) && self.deliveries.len() < DELIVERIES_AT_ONCE {
                    self.begin(invocation);
                }
            }
        }
        self.pause().await
    }

    fn begin(&mut self, invocation: Document) {
        let (delivered, world) = (invocation.clone(), Arc::clone(&self.world));
        let task = self.deliveries.spawn(async move { deliver(&*world, &delivered).await });
        self.under_way.insert(task.id(), invocation);
    }

    fn ended(&mut self, ended: Result<(task::Id, Result<(), AutomationError>), task::JoinError>) {
        let (task, delivered) = match ended {
            Ok((task, delivered)) => (task, delivered.map_err(|error| self.unread(task, error))),
            // A panic is contained to its delivery: its claim says when it is tried again, and how often.
            Err(error) => (error.id(), Err(Some(error.to_string()))),
        };
        let invocation = self.under_way.remove(&task);
        if let (Err(Some(problem)), Some(invocation)) = (delivered, invocation) {
            self.is_troubled = true;
            tracing::error!(
                invocation = invocation.id,
                error = problem,
                "a delivery was cut off; trying again"
            );
        }
    }

    /// Leaves what a delivery could not read; gives any other problem.
    fn unread(&mut self, task: task::Id, error: AutomationError) -> Option<String> {
        let invocation = self.under_way.get(&task)?.clone();
        self.leave_unreadable(&invocation, Err(error)).err().map(|error| error.to_string())
    }

    /// Leaves a document alone if this release cannot read what it takes to do it.
    fn leave_unreadable(
        &mut self,
        document: &Document,
        done: Result<(), AutomationError>,
    ) -> Result<(), AutomationError> {
        match done {
            Ok(()) => Ok(()),
            Err(error @ AutomationError::Store(_)) => Err(error),
            Err(
                error @ (AutomationError::Damaged(_)
                | AutomationError::Refused(_)
                | AutomationError::NotFound),
            ) => {
                // What is not remembered is still due: without a pause it would be looked at for ever.
                self.is_troubled |= self.unreadable.leave(document, &error) == Met::NoRoom;
                Ok(())
            }
        }
    }

    fn is_under_way(&self, invocation: &Document) -> bool {
        let is_same = |other: &Document| other.project == invocation.project && other.id == invocation.id;
        self.under_way.values().any(is_same)
    }

    /// What is due and not left alone. What is left alone takes nobody's place: so many more are asked for.
    async fn due(
        &self,
        kind: DocumentKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Document>, AutomationError> {
        let due = self.world.due(kind, now, limit + self.unreadable.count(kind)).await?;
        let readable = due.into_iter().filter(|document| !self.unreadable.is_left(document));
        Ok(readable.take(limit).collect())
    }

    /// The time until the next document is due, at most [`POLL_MS`].
    async fn pause(&self) -> Result<Duration, AutomationError> {
        let now = self.world.now();
        let horizon = now.plus_millis(POLL_MS);
        let mut pause = POLL_MS;
        for kind in [DocumentKind::Automation, DocumentKind::Invocation] {
            // With every place taken the end of a delivery is what is waited for.
            let full = kind == DocumentKind::Invocation && self.deliveries.len() >= DELIVERIES_AT_ONCE;
            let skipped = if kind == DocumentKind::Invocation { self.under_way.len() } else { 0 };
            for document in self.due(kind, horizon, skipped + 1).await? {
                if !full && !self.is_under_way(&document) {
                    pause = pause.min(document.wake_at.map_or(POLL_MS, |at| now.millis_until(at)));
                }
            }
        }
        Ok(Duration::from_millis(pause))
    }
}
