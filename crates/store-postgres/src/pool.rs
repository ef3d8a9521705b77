//! Connections that read and that keep leases, each used by one call at a time.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure_store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::connect::{Connection, Connector, READER_SETTINGS};
use crate::error::unavailable;

/// How long a call waits for a connection that is free.
const FREE_DEADLINE: Duration = Duration::from_secs(30);

/// A pool of connections, made when they are first needed. Further calls wait in order.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Arc<Connector>,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One for each connection; closed when the store is.
    permits: Arc<Semaphore>,
    count: usize,
}

impl Pool {
    pub(crate) fn new(connector: Arc<Connector>, count: usize) -> Self {
        let permits = Arc::new(Semaphore::new(count));
        Self { connector, idle: Arc::default(), permits, count }
    }

    /// A connection for one call. `context` says what the call does.
    pub(crate) async fn take(&self, context: &str) -> Result<Lent, StoreError> {
        let permit = match timeout(FREE_DEADLINE, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_closed)) => return Err(unavailable(format!("{context}: the store is closed"))),
            Err(_) => {
                let seconds = FREE_DEADLINE.as_secs();
                return Err(unavailable(format!("{context}: no connection was free within {seconds} s")));
            }
        };
        let idle = std::iter::from_fn(|| lock(&self.idle).pop()).find(|connection| !connection.is_closed());
        let connection = match idle {
            Some(connection) => connection,
            None => self.connector.connect(READER_SETTINGS).await?,
        };
        Ok(Lent {
            connection: Some(connection),
            state: State::Clean,
            idle: Arc::clone(&self.idle),
            _permit: permit,
        })
    }

    /// Waits for running calls and closes the connections. Later calls are `Unavailable`.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        // Every call has a deadline, so this ends.
        let _all = self.permits.acquire_many(all).await;
        self.permits.close();
        let idle = std::mem::take(&mut *lock(&self.idle));
        for connection in idle {
            connection.close().await;
        }
    }
}

/// A connection lent to one call. It goes back when the call ends, unless it may be in a transaction.
#[derive(Debug)]
pub(crate) struct Lent {
    /// Present until it is dropped.
    connection: Option<Connection>,
    state: State,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Declared last, so that the next call finds the connection.
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between transactions.
    Clean,
    /// Within one, or nobody knows.
    Dirty,
}

impl Lent {
    /// A transaction begins: a call that is cancelled or fails from here on costs the connection.
    pub(crate) fn begins(&mut self) {
        self.state = State::Dirty;
    }

    /// The transaction has ended.
    pub(crate) fn ended(&mut self) {
        self.state = State::Clean;
    }
}

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("present until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        match self.state {
            State::Clean if !connection.is_closed() => lock(&self.idle).push(connection),
            State::Clean | State::Dirty => connection.abort(),
        }
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
