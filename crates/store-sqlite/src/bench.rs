//! How many appends a second the store makes durable, beside what SQLite alone would, and how long reading
//! a long journal takes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::Connection;
use tenure_journal::{Fresh, ProjectId, SessionKey, Timestamp, Version};
use tenure_store::bench::{BUSY_SESSIONS, Rate, Session};
use tenure_store::{Store as _, StoreError, StoreErrorKind};

use crate::error::store_error;
use crate::{SqliteStore, connect};

/// Bytes of one row of the bare loop.
const BARE_BYTES: usize = 1024;
/// Turns that store and bare loop take within one row, so that both meet the same moods of the disk.
const TURNS: u32 = 30;
/// Bytes both write before the first measurement. They fill the log once, so that from then on commits
/// overwrite it: a sync of a file that grows also syncs the file system's own journal and takes many times
/// as long, which would compare who has filled the log and not what a commit costs.
const WARM_UP_BYTES: usize = 24 * 1024 * 1024;
/// Events of the journal that is read.
const EVENTS: u64 = 10_000;
/// Journals whose events take turns with it, enough that no two of one share a page.
const NEIGHBOURS: usize = 3;
/// Events of the journal's end that are read, as many as follow a snapshot at most.
const TAIL_EVENTS: u64 = 128;
/// Events of one page.
const PAGE_EVENTS: u64 = 100;
/// How often each is read.
const READS: usize = 21;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Sessions that append one event of 1 KiB after the other.
    pub sessions: usize,
    /// Durable appends per second, all sessions together.
    pub appends_per_second: f64,
    /// Appends that shared a transaction, on average.
    pub appends_per_commit: f64,
    /// Rows of 1 KiB per second that a bare SQLite loop inserts into a table without further indexes, as
    /// many rows a transaction as there are sessions, with the same settings on the same disk.
    pub bare_per_second: f64,
}

impl Row {
    /// Appends for each row of the bare loop; 1 would be a store that costs nothing.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.appends_per_second / self.bare_per_second
    }
}

/// How long reading a journal of events of 1 KiB takes, from a warm disk; each the median of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reads {
    /// Events of the journal.
    pub events: u64,
    /// Reading and decoding all of them at once.
    pub whole: Duration,
    /// All of them in pages of 100, together.
    pub pages: Duration,
    /// One page of 100 from the middle.
    pub page: Duration,
    /// The last 128.
    pub tail: Duration,
}

/// Measures for about `each` at each number of sessions, in a directory of its own under `directory` that
/// it removes. Blocks, and starts an async runtime of its own, so it must not be called from one.
///
/// # Errors
/// The directory cannot be written, or the store's own.
pub fn appends(directory: &Path, each: Duration) -> Result<Vec<Row>, StoreError> {
    in_directory(directory, async |directory| measure_appends(directory, each).await)
}

/// How long each of `questions`, given by its words, takes a bare full-text index of `texts` in a new database at
/// `path`.
///
/// # Errors
/// SQLite's.
pub fn bare_recall(
    path: &Path,
    texts: &[String],
    questions: &[Vec<String>],
) -> Result<Vec<Duration>, StoreError> {
    let measure = || -> rusqlite::Result<Vec<Duration>> {
        let mut connection = Connection::open(path)?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(include_str!("../sql/bench_recall_create.sql"))?;
        let mut insert = transaction.prepare(include_str!("../sql/bench_recall_insert.sql"))?;
        for text in texts {
            insert.execute((text,))?;
        }
        drop(insert);
        transaction.commit()?;
        let mut ask = connection.prepare(include_str!("../sql/bench_recall.sql"))?;
        let mut took = Vec::new();
        for words in questions.iter().filter(|words| !words.is_empty()) {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let began = Instant::now();
            ask.query_map((quoted.join(" OR "),), |row| row.get::<_, i64>(0))?
                .collect::<Result<Vec<_>, _>>()?;
            took.push(began.elapsed());
        }
        Ok(took)
    };
    measure().map_err(|error| store_error("measuring a bare full-text index", error))
}

/// Measures reads, as [`appends`] does appends.
///
/// # Errors
/// As [`appends`].
pub fn reads(directory: &Path) -> Result<Reads, StoreError> {
    in_directory(directory, async |directory| measure_reads(directory).await)
}

fn in_directory<T>(
    parent: &Path,
    measure: impl AsyncFnOnce(&Path) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let directory = parent.join(format!("bench-{}", std::process::id()));
    let unavailable = |error: std::io::Error| {
        let context = format!("preparing `{}`", directory.display());
        StoreError::new(StoreErrorKind::Unavailable, context).with_source(error)
    };
    fs::create_dir_all(&directory).map_err(unavailable)?;
    let runtime = tokio::runtime::Runtime::new().map_err(unavailable)?;
    let measured = runtime.block_on(measure(&directory));
    fs::remove_dir_all(&directory).map_err(unavailable)?;
    measured
}

async fn measure_reads(directory: &Path) -> Result<Reads, StoreError> {
    let store = SqliteStore::open(directory)?;
    let mut sessions: Vec<_> = (0..=NEIGHBOURS).map(Session::new).collect();
    for _ in 0..EVENTS {
        for session in &mut sessions {
            session.append(&store).await?;
        }
    }
    store.close().await?;
    let key = sessions[0].key();
    let store = SqliteStore::open(directory)?;
    let reads = Reads {
        events: EVENTS,
        whole: median_read(&store, key, &[0], usize::MAX).await?,
        pages: median_read(&store, key, &pages(), PAGE_EVENTS as usize).await?,
        page: median_read(&store, key, &[EVENTS / 2], PAGE_EVENTS as usize).await?,
        tail: median_read(&store, key, &[EVENTS - TAIL_EVENTS], usize::MAX).await?,
    };
    store.close().await?;
    Ok(reads)
}

fn pages() -> Vec<u64> {
    (0..EVENTS).step_by(PAGE_EVENTS as usize).collect()
}

async fn median_read(
    store: &SqliteStore,
    key: SessionKey,
    after: &[u64],
    limit: usize,
) -> Result<Duration, StoreError> {
    let mut took = Vec::with_capacity(READS);
    for _ in 0..READS {
        let began = Instant::now();
        for after in after {
            store.events(key, Version(*after), limit).await?;
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[READS / 2])
}

async fn measure_appends(directory: &Path, each: Duration) -> Result<Vec<Row>, StoreError> {
    let store = Arc::new(SqliteStore::open(&directory.join("store"))?);
    let mut bare = Bare::open(&directory.join("bare.db"))?;
    let project = ProjectId::fresh(&Fresh::new(Timestamp::EPOCH, 1));
    store.put_blob(project, Bytes::from(vec![b'x'; WARM_UP_BYTES])).await?;
    tokio::task::block_in_place(|| bare.insert_all(WARM_UP_BYTES / BARE_BYTES))?;
    let mut rows = Vec::new();
    for sessions in BUSY_SESSIONS {
        rows.push(compare(&store, &mut bare, sessions, each).await?);
    }
    store.close().await?;
    Ok(rows)
}

async fn compare(
    store: &Arc<SqliteStore>,
    bare: &mut Bare,
    sessions: usize,
    each: Duration,
) -> Result<Row, StoreError> {
    let mut busy: Vec<_> = (0..sessions).map(|index| Session::new(sessions * 1000 + index)).collect();
    let turn = each / (2 * TURNS);
    let (mut stored, mut inserted) = (Rate::default(), Rate::default());
    let commits = store.commits();
    for _ in 0..TURNS {
        let began = Instant::now();
        let until = began + turn;
        let tasks: Vec<_> = busy
            .into_iter()
            .map(|session| tokio::spawn(session.append_until(Arc::clone(store), until)))
            .collect();
        busy = Vec::with_capacity(sessions);
        for task in tasks {
            let (session, appended) = task.await.map_err(|error| {
                StoreError::new(StoreErrorKind::Unavailable, "measuring").with_source(error)
            })??;
            stored.count += appended;
            busy.push(session);
        }
        stored.time += began.elapsed();

        let began = Instant::now();
        inserted.count += tokio::task::block_in_place(|| bare.insert_for(turn, sessions))?;
        inserted.time += began.elapsed();
    }
    let commits = store.commits() - commits;
    Ok(Row {
        sessions,
        appends_per_second: stored.per_second(),
        appends_per_commit: stored.count as f64 / commits.max(1) as f64,
        bare_per_second: inserted.per_second(),
    })
}

struct Bare {
    connection: Connection,
    payload: Vec<u8>,
}

impl Bare {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let open = || {
            drop(Connection::open(path)?);
            let connection = connect::writer(path)?;
            connection.execute_batch(include_str!("../sql/bench_create.sql"))?;
            Ok(connection)
        };
        let connection = open().map_err(|error: rusqlite::Error| store_error("measuring", error))?;
        Ok(Self { connection, payload: vec![b'x'; BARE_BYTES] })
    }

    fn insert_for(&mut self, time: Duration, batch: usize) -> Result<u64, StoreError> {
        let began = Instant::now();
        let mut inserted = 0;
        while began.elapsed() < time {
            self.insert_all(batch)?;
            inserted += batch as u64;
        }
        Ok(inserted)
    }

    fn insert_all(&mut self, batch: usize) -> Result<(), StoreError> {
        self.insert(batch).map_err(|error| store_error("measuring", error))
    }

    fn insert(&mut self, batch: usize) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut statement = transaction.prepare_cached(include_str!("../sql/bench_insert.sql"))?;
        for _ in 0..batch {
            statement.execute([&self.payload])?;
        }
        drop(statement);
        transaction.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_every_row_and_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let rows = appends(directory.path(), Duration::from_millis(80)).expect("measures");
        let sessions: Vec<_> = rows.iter().map(|row| row.sessions).collect();
        assert_eq!(sessions, BUSY_SESSIONS);
        assert!(rows.iter().all(|row| row.ratio() > 0.0), "{rows:?}");
        assert_eq!(directory.path().read_dir().expect("lists").count(), 0);
    }
}
