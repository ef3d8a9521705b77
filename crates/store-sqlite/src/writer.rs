//! The one writer: a thread that carries out waiting writes in shared transactions.
//!
//! A write that finds the writer idle is committed at once and costs one sync. Writes that arrive while a
//! commit is under way wait for it and then share the next one, so the batch grows with the load and no
//! timer delays anyone. Nothing is answered before the commit of its transaction, refusals included,
//! because a refusal tells of other writes in the same transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tenure_journal::Version;
use tenure_store::{StoreError, StoreErrorKind};
use tokio::sync::{mpsc, oneshot, watch};

use crate::directory::Directory;
use crate::erase::{self, ScrubError};
use crate::error::{is_busy, is_fault, kind, store_error};
use crate::index;
use crate::write::{Answer, Statements, Write};

/// Writes that wait for the writer; further callers wait for a place in the queue.
const QUEUE_WRITES_MAX: usize = 1024;
/// Writes that share a transaction: enough that the sync no longer dominates, few enough that the first
/// of them is not kept waiting by the last.
const BATCH_WRITES_MAX: usize = 256;
/// Bytes that share a transaction, so that large payloads do not hold up small ones. One write may exceed
/// it alone.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Episodes and terms that wait to be indexed: so many that indexing is shared by dozens of exchanges, so few that a
/// recall hardly takes longer for reading them beside the index.
pub(crate) const UNINDEXED_MAX: usize = 1_024;

const _: () = assert!(BATCH_WRITES_MAX <= QUEUE_WRITES_MAX, "a full queue fills a batch");

/// A write and where its answer goes.
///
/// The write goes back with the answer, for its caller to drop: freed here, between two commits, memory of
/// other threads' heaps would take as long as the appends themselves.
pub(crate) struct Job {
    pub(crate) write: Write,
    pub(crate) answer: oneshot::Sender<(Answer, Write)>,
}

impl Job {
    fn answer(self, answer: Answer) {
        // A caller that went away does not need its answer.
        let _ = self.answer.send((answer, self.write));
    }
}

/// What the writer counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
}

/// The thread and the way to it.
pub(crate) struct Writer {
    pub(crate) queue: mpsc::Sender<Job>,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) thread: JoinHandle<Result<(), StoreError>>,
}

/// How the writer is.
///
/// ```text
///            queue gone
///   Running ────────────▶ Closed
///      │ the log fails
///      └────────────────▶ Fault
/// ```
#[derive(Debug, Clone)]
pub(crate) enum Health {
    /// It writes, or, seen after it is gone, it panicked.
    Running,
    /// It was asked to end and did.
    Closed,
    /// The log can no longer be written; why.
    Fault(String),
}

/// Starts the thread, which indexes when `unindexed_max` episodes and terms wait for it. It ends when every sender of
/// the queue is gone, or at a fault, and holds `directory` until then.
pub(crate) fn start(
    connection: Connection,
    directory: Directory,
    unindexed_max: usize,
) -> std::io::Result<Writer> {
    let (queue, jobs) = mpsc::channel(QUEUE_WRITES_MAX);
    let (health, watched) = watch::channel(Health::Running);
    let counters = Arc::new(Counters::default());
    let worker = Worker {
        connection,
        jobs,
        scrubs: Vec::new(),
        // An earlier process may have left some.
        unindexed: unindexed_max,
        unindexed_max,
        counters: Arc::clone(&counters),
        _directory: directory,
    };
    let run = move || {
        let result = worker.run();
        health.send_replace(match &result {
            Ok(()) => Health::Closed,
            Err(error) => Health::Fault(format!("{error}: {}", cause(error))),
        });
        result
    };
    let thread = std::thread::Builder::new().name("tenure-writer".into()).spawn(run)?;
    Ok(Writer { queue, health: watched, counters, thread })
}

fn cause(error: &StoreError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

struct Worker {
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    /// Waiting to be carried out when no transaction is under way.
    scrubs: Vec<Job>,
    /// About how many episodes and terms wait to be indexed.
    unindexed: usize,
    unindexed_max: usize,
    counters: Arc<Counters>,
    /// Declared last, so that the directory is released after the connection is closed.
    _directory: Directory,
}

/// Whether waiting jobs may join a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Join,
    Wait,
}

impl Worker {
    fn run(mut self) -> Result<(), StoreError> {
        while let Some(first) = self.jobs.blocking_recv() {
            let failed = |error| store_error("writing to the log", error);
            if matches!(first.write, Write::Scrub) {
                self.scrubs.push(first);
            } else {
                self.share(first).map_err(failed)?;
            }
            self.index().map_err(failed)?;
            self.scrub().map_err(failed)?;
        }
        // Readers are gone by now; should one be left, the log stays longer and is copied at the next start.
        let truncate = include_str!("../sql/truncate_log.sql");
        self.connection
            .query_row(truncate, (), |_| Ok(()))
            .map_err(|error| store_error("copying the log into the database", error))
    }

    /// Carries out `first` and what waits with it, and answers them. An error is a fault.
    fn share(&mut self, first: Job) -> Result<(), Arc<rusqlite::Error>> {
        let mut batch = vec![first];
        let error = match self.transact(&mut batch, Others::Join) {
            Ok(answers) => {
                deliver(batch, answers);
                return Ok(());
            }
            Err(error) => Arc::new(error),
        };
        if is_fault(&error) {
            fail(batch, StoreErrorKind::Unavailable, &error);
            return Err(error);
        }
        if is_busy(&error) {
            // Who waits now would wait as long again, for each in turn.
            while batch.len() < BATCH_WRITES_MAX
                && let Some(job) = next(&mut self.jobs, &mut self.scrubs)
            {
                batch.push(job);
            }
        }
        if is_busy(&error) || batch.len() == 1 {
            fail(batch, kind(&error), &error);
            return Ok(());
        }
        self.one_by_one(batch)
    }

    /// Indexes what waits for it, if that is enough. Nobody waits for this, and what could not be done is done after the
    /// next write. An error is a fault.
    fn index(&mut self) -> Result<(), Arc<rusqlite::Error>> {
        if self.unindexed < self.unindexed_max {
            return Ok(());
        }
        match self.fill_index() {
            Ok(()) => self.unindexed = 0,
            Err(error) if is_fault(&error) => return Err(Arc::new(error)),
            Err(_) => {}
        }
        Ok(())
    }

    fn fill_index(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        index::fill(&transaction)?;
        transaction.commit()
    }

    /// Scrubs once for all who wait for it. An error is a fault.
    fn scrub(&mut self) -> Result<(), Arc<rusqlite::Error>> {
        if self.scrubs.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.scrubs);
        match erase::scrub(&self.connection) {
            Ok(()) => {
                for job in waiting {
                    job.answer(Ok(Version::ZERO));
                }
                Ok(())
            }
            Err(ScrubError::Readers) => {
                for job in waiting {
                    let context = "cutting the log, which somebody reads without end";
                    job.answer(Err(StoreError::new(StoreErrorKind::Unavailable, context)));
                }
                Ok(())
            }
            Err(ScrubError::Sqlite(error)) => {
                let (fault, error) = (is_fault(&error), Arc::new(error));
                fail(waiting, if fault { StoreErrorKind::Unavailable } else { kind(&error) }, &error);
                if fault { Err(error) } else { Ok(()) }
            }
        }
    }

    /// Carries out each job in a transaction of its own, so that one that cannot be written does not take
    /// the others with it.
    fn one_by_one(&mut self, batch: Vec<Job>) -> Result<(), Arc<rusqlite::Error>> {
        for job in batch {
            let mut alone = vec![job];
            match self.transact(&mut alone, Others::Wait) {
                Ok(answers) => deliver(alone, answers),
                Err(error) => {
                    let (fault, error) = (is_fault(&error), Arc::new(error));
                    fail(alone, if fault { StoreErrorKind::Unavailable } else { kind(&error) }, &error);
                    if fault {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Carries out `batch`, and those that may join it, in one transaction. With an error nothing of it is
    /// written, or, at a fault, nothing is known.
    fn transact(&mut self, batch: &mut Vec<Job>, others: Others) -> rusqlite::Result<Vec<Answer>> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let unchanged = transaction.total_changes();
        let mut answers = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        let mut statements = Statements::prepare(&transaction)?;
        while let Some(job) = batch.get(answers.len()) {
            bytes += job.write.bytes();
            answers.push(job.write.run(&mut statements)?);
            let full = batch.len() >= BATCH_WRITES_MAX || bytes >= BATCH_BYTES_MAX;
            if others == Others::Join
                && answers.len() == batch.len()
                && !full
                && let Some(job) = next(&mut self.jobs, &mut self.scrubs)
            {
                batch.push(job);
            }
        }
        drop(statements);
        let changed = transaction.total_changes() != unchanged;
        transaction.commit()?;
        if changed {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            let written = answers.iter().filter(|answer| answer.is_ok()).count();
            self.counters.writes.fetch_add(written as u64, Ordering::Relaxed);
        }
        let written = batch.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.unindexed += written.map(|(job, _)| job.write.unindexed()).sum::<usize>();
        Ok(answers)
    }
}

/// The next job that waits and can be part of a transaction. A scrub cannot: it is put aside, and what comes after it
/// waits.
fn next(jobs: &mut mpsc::Receiver<Job>, scrubs: &mut Vec<Job>) -> Option<Job> {
    if !scrubs.is_empty() {
        return None;
    }
    let job = jobs.try_recv().ok()?;
    if matches!(job.write, Write::Scrub) {
        scrubs.push(job);
        return None;
    }
    Some(job)
}

fn deliver(batch: Vec<Job>, answers: Vec<Answer>) {
    for (job, answer) in batch.into_iter().zip(answers) {
        job.answer(answer);
    }
}

fn fail(batch: Vec<Job>, kind: StoreErrorKind, error: &Arc<rusqlite::Error>) {
    for job in batch {
        let error = StoreError::new(kind, "writing to the log").with_source(Arc::clone(error));
        job.answer(Err(error));
    }
}
