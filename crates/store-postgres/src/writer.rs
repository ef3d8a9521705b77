//! The writers: connections that carry out waiting writes in shared transactions.
//!
//! A write that finds a writer idle is committed at once and costs one commit. Writes that arrive while all
//! writers are busy wait and then share the next transaction, so batches grow with the load and no timer
//! delays anyone. Nothing is answered before the commit of its transaction, refusals included, because a
//! refusal tells of other writes in the same transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tenure_journal::NodeId;
use tenure_store::{StoreError, StoreErrorKind};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;
use tokio_postgres::Error;

use crate::batch::{Changes, KNOW_NODE, STATEMENTS, Wanted};
use crate::columns::column;
use crate::connect::{Connection, Connector, STATEMENT_DEADLINE, Step, WRITER_SETTINGS, within};
use crate::error::{is_repeatable, is_undone, kind, unavailable};
use crate::nodes::Known;
use crate::wakes::Wakes;
use crate::watch::Watch;
use crate::write::{Answer, Write};

/// Writes that wait for a writer; further callers wait for a place in the queue.
const QUEUE_WRITES_MAX: usize = 1024;
/// Writes that share a transaction: enough that the commit no longer dominates, few enough that the first
/// of them is not kept waiting by the last.
const BATCH_WRITES_MAX: usize = 256;
/// Bytes that share a transaction, so that large payloads do not hold up small ones. One write may exceed
/// it alone.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a batch is tried again after another transaction got in its way. Each time the other one has
/// committed, so this many in a row means a queue of writers for the same rows.
const ATTEMPTS_MAX: u32 = 8;

const _: () = assert!(BATCH_WRITES_MAX <= QUEUE_WRITES_MAX, "a full queue fills a batch");

const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// A write and where its answer goes.
pub(crate) struct Job {
    pub(crate) write: Write,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What the writers count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
}

/// What all writers share.
pub(crate) struct Shared {
    pub(crate) connector: Arc<Connector>,
    pub(crate) known: Arc<Known>,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) counters: Arc<Counters>,
}

/// Starts `count` writers. They end when every sender of the queue is gone and everything is written.
pub(crate) fn start(shared: Shared, count: usize) -> (mpsc::Sender<Job>, tokio::task::JoinSet<()>) {
    let (queue, jobs) = mpsc::channel(QUEUE_WRITES_MAX);
    let (shared, jobs) = (Arc::new(shared), Arc::new(Mutex::new(jobs)));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..count {
        let worker = Worker { connection: None, jobs: Arc::clone(&jobs), shared: Arc::clone(&shared) };
        writers.spawn(worker.run());
    }
    (queue, writers)
}

struct Worker {
    /// Absent until it is needed, and after it was lost.
    connection: Option<Connection>,
    /// Held by one idle writer while it waits, and never while anything is written.
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    shared: Arc<Shared>,
}

/// A batch that was not committed, or may have been.
struct Failure {
    cause: Cause,
    fate: Fate,
}

enum Cause {
    Database(Arc<Error>),
    Portable(StoreErrorKind, Arc<StoreError>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing of it was written.
    Undone,
    /// Nothing is known.
    Unknown,
}

impl Failure {
    fn database(error: Error, fate: Fate) -> Self {
        Self { cause: Cause::Database(Arc::new(error)), fate }
    }

    fn portable(error: StoreError, fate: Fate) -> Self {
        Self { cause: Cause::Portable(error.kind(), Arc::new(error)), fate }
    }

    fn kind(&self) -> StoreErrorKind {
        match (self.fate, &self.cause) {
            (Fate::Unknown, _) => StoreErrorKind::Unavailable,
            (Fate::Undone, Cause::Database(error)) => kind(error),
            (Fate::Undone, Cause::Portable(kind, _)) => *kind,
        }
    }

    fn is_repeatable(&self) -> bool {
        matches!((&self.cause, self.fate), (Cause::Database(error), Fate::Undone) if is_repeatable(error))
    }

    /// Whether the same batch may fare better on another connection.
    fn is_lost(&self) -> bool {
        matches!((&self.cause, self.fate), (Cause::Database(error), Fate::Undone) if !is_undone(error))
    }

    fn error(&self) -> StoreError {
        let error = StoreError::new(self.kind(), "writing to the database");
        match &self.cause {
            Cause::Database(cause) => error.with_source(Arc::clone(cause)),
            Cause::Portable(_, cause) => error.with_source(Arc::clone(cause)),
        }
    }
}

impl Worker {
    async fn run(mut self) {
        while let Some(batch) = self.next().await {
            self.share(batch).await;
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// The first write that waits and those that may join it; nothing once the queue is closed and empty.
    async fn next(&self) -> Option<Vec<Job>> {
        let mut jobs = self.jobs.lock().await;
        let first = jobs.recv().await?;
        let mut bytes = first.write.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_WRITES_MAX
            && bytes < BATCH_BYTES_MAX
            && let Ok(job) = jobs.try_recv()
        {
            bytes += job.write.bytes();
            batch.push(job);
        }
        Some(batch)
    }

    /// Carries out a batch and answers it.
    async fn share(&mut self, batch: Vec<Job>) {
        match self.attempts(&batch).await {
            Ok(answers) => self.deliver(batch, answers),
            Err(failure) if batch.len() == 1 || failure.kind() == StoreErrorKind::Unavailable => {
                fail(batch, &failure);
            }
            // One that cannot be written must not take the others with it.
            Err(_) => {
                for job in batch {
                    let alone = vec![job];
                    match self.attempts(&alone).await {
                        Ok(answers) => self.deliver(alone, answers),
                        Err(failure) => fail(alone, &failure),
                    }
                }
            }
        }
    }

    /// Carries out a batch, again if another transaction got in its way, or if the connection was lost
    /// before the commit was asked for.
    async fn attempts(&mut self, batch: &[Job]) -> Result<Vec<Answer>, Failure> {
        match self.attempt(batch, Way::Guess).await {
            // Without a loss of time: what was guessed wrong is looked at.
            Err(failure) if failure.is_repeatable() || failure.is_lost() => {}
            other => return other,
        }
        let mut attempt = 1;
        loop {
            match self.attempt(batch, Way::Look).await {
                Err(failure) if attempt < ATTEMPTS_MAX && (failure.is_repeatable() || failure.is_lost()) => {
                    tracing::debug!(attempt, writes = batch.len(), "a batch is decided again");
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// Carries out a batch once, within the deadline. A connection whose state is in doubt is given up.
    async fn attempt(&mut self, batch: &[Job], way: Way) -> Result<Vec<Answer>, Failure> {
        let connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            Some(_) | None => self.connect().await.map_err(|error| Failure::portable(error, Fate::Undone))?,
        };
        if let Err(error) = self.shared.watch.check(&connection).await {
            connection.abort();
            return Err(Failure::portable(error, Fate::Undone));
        }
        let transaction = transact(&connection, batch, way, &self.shared);
        // Two round trips, each with the server's own deadline.
        let Ok(result) = timeout(STATEMENT_DEADLINE * 2, transaction).await else {
            connection.abort();
            return Err(Failure::portable(unavailable("waiting for the database"), Fate::Unknown));
        };
        match &result {
            Ok(_) => self.connection = Some(connection),
            Err(failure) if failure.is_repeatable() => {
                // After a failed commit there is no transaction left, which is no error.
                let rollback =
                    within(STATEMENT_DEADLINE, "undoing", connection.client.batch_execute(ROLLBACK));
                if rollback.await.is_ok() {
                    self.connection = Some(connection);
                }
            }
            Err(_) => connection.abort(),
        }
        result
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let connection = self.shared.connector.connect(WRITER_SETTINGS).await?;
        // Before anything is prepared: on another schema even that may fail, and not say why.
        self.shared.watch.check(&connection).await?;
        within(STATEMENT_DEADLINE, "preparing statements", connection.prepare_all(STATEMENTS)).await?;
        Ok(connection)
    }

    fn deliver(&self, batch: Vec<Job>, answers: Vec<Answer>) {
        for (job, answer) in batch.into_iter().zip(answers) {
            if let (Write::Append(rows), Ok(version)) = (&job.write, &answer) {
                self.shared.wakes.committed(rows.key, *version);
            }
            // A caller that went away does not need its answer.
            let _ = job.answer.send(answer);
        }
    }
}

/// How a batch learns what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It takes for granted what its writes expect, where that is possible, and fails if it is wrong.
    Guess,
    /// It locks and reads.
    Look,
}

/// Decides, writes and commits: one round trip, and one before it if rows are locked and read.
async fn transact(
    connection: &Connection,
    batch: &[Job],
    way: Way,
    shared: &Shared,
) -> Result<Vec<Answer>, Failure> {
    let undone = |error| Failure::database(error, Fate::Undone);
    let wanted = Wanted::of(batch.iter().map(|job| &job.write));
    let guess = match way {
        Way::Guess => wanted.guess(batch.iter().map(|job| &job.write)),
        Way::Look => None,
    };
    let is_guess = guess.is_some();
    let found = match guess {
        Some(found) => found,
        None => {
            let locks = wanted.steps();
            let rows = connection.pipeline(Some(BEGIN), &locks, None).await.map_err(undone)?;
            wanted.found(&locks, &rows).map_err(|error| Failure::portable(error, Fate::Undone))?
        }
    };
    let mut changes = Changes::to(found);
    let answers: Vec<Answer> = batch.iter().map(|job| changes.decide(&job.write)).collect();
    let mut steps = changes.steps();
    if steps.is_empty() {
        if !is_guess {
            connection.client.batch_execute(ROLLBACK).await.map_err(undone)?;
        }
        return Ok(answers);
    }
    let unknown: BTreeSet<NodeId> =
        changes.holders().into_iter().filter(|node| !shared.known.is(*node)).collect();
    if !unknown.is_empty() {
        steps.push(Step { sql: KNOW_NODE, params: vec![column(unknown.iter().map(NodeId::to_string))] });
    }
    // One statement is a transaction of its own.
    let (begin, commit) = match (is_guess, steps.len()) {
        (true, 1) => (None, None),
        (true, _) => (Some(BEGIN), Some(COMMIT)),
        (false, _) => (None, Some(COMMIT)),
    };
    if let Err(error) = connection.pipeline(begin, &steps, commit).await {
        let fate = if is_undone(&error) { Fate::Undone } else { Fate::Unknown };
        return Err(Failure::database(error, fate));
    }
    unknown.into_iter().for_each(|node| shared.known.add(node));
    shared.counters.commits.fetch_add(1, Ordering::Relaxed);
    let written = answers.iter().filter(|answer| answer.is_ok()).count();
    shared.counters.writes.fetch_add(written as u64, Ordering::Relaxed);
    Ok(answers)
}

fn fail(batch: Vec<Job>, failure: &Failure) {
    for job in batch {
        let _ = job.answer.send(Err(failure.error()));
    }
}
