//! Connections that read, each used by one call at a time on the runtime's blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};
use tenure_store::{StoreError, StoreErrorKind};
use tokio::sync::Semaphore;

use crate::connect;
use crate::error::store_error;

/// Connections at least and at most; between them as many as there are processors, because a read of a
/// warm database is processor time.
const READERS_MIN: usize = 2;
const READERS_MAX: usize = 16;

/// A pool of connections. Further calls wait in order.
#[derive(Debug)]
pub(crate) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One for each connection; closed when the store is.
    permits: Arc<Semaphore>,
    count: usize,
}

impl Readers {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let count = std::thread::available_parallelism().map_or(READERS_MIN, usize::from);
        let count = count.clamp(READERS_MIN, READERS_MAX);
        let open = || connect::reader(path).map_err(|error| store_error("opening the database", error));
        let idle = (0..count).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        let permits = Arc::new(Semaphore::new(count));
        Ok(Self { idle: Arc::new(Mutex::new(idle)), permits, count })
    }

    /// Runs `read` in a read transaction: all its statements see the database at one commit.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        context: &'static str,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let unavailable = || StoreError::new(StoreErrorKind::Unavailable, context);
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return Err(unavailable());
        };
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = pop(&idle)?;
            let result = in_transaction(&mut connection, read);
            lock(&idle).push(connection);
            drop(permit);
            Some(result)
        });
        match task.await {
            Ok(Some(Ok(value))) => Ok(value),
            Ok(Some(Err(ReadError::Store(error)))) => Err(error),
            Ok(Some(Err(ReadError::Sqlite(error)))) => Err(store_error(context, error)),
            Ok(None) => Err(unavailable()),
            Err(ended) => Err(unavailable().with_source(ended)),
        }
    }

    /// Waits for running reads and closes the connections. Later reads are `Unavailable`.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        let _all = self.permits.acquire_many(all).await;
        self.permits.close();
        lock(&self.idle).clear();
    }
}

/// Why a read failed: SQLite, or what it read.
pub(crate) enum ReadError {
    /// SQLite's error, mapped by the caller.
    Sqlite(rusqlite::Error),
    /// An error that is portable already.
    Store(StoreError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(crate) fn in_transaction<T>(
    connection: &mut Connection,
    read: impl FnOnce(&Transaction<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let transaction = connection.transaction()?;
    let value = read(&transaction)?;
    transaction.finish()?;
    Ok(value)
}

/// A connection; there is one for each permit, unless a read panicked and took its own with it.
fn pop(idle: &Mutex<Vec<Connection>>) -> Option<Connection> {
    lock(idle).pop()
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
