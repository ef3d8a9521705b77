//! Connections: their settings, their prepared statements, and deadlines for all of it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tenure_store::StoreError;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{store_error, unavailable};
use crate::options::Options;
use crate::tls;

pub(crate) const WRITER_SETTINGS: &str = include_str!("../sql/writer_settings.sql");
pub(crate) const READER_SETTINGS: &str = include_str!("../sql/reader_settings.sql");
pub(crate) const WAKES_SETTINGS: &str = include_str!("../sql/wakes_settings.sql");

/// From the first packet to a connection with its settings.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
/// How long a connection may take to say goodbye.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// How long the answer to a statement may take. Longer than the server's own `statement_timeout` of 30 s, so
/// that only a server that does not answer at all meets it.
pub(crate) const STATEMENT_DEADLINE: Duration = Duration::from_secs(40);

/// Type of the stream inside a TLS connection of the driver.
pub(crate) type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Makes connections.
pub(crate) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Connector {
    pub(crate) fn new(options: &Options) -> Result<Self, StoreError> {
        Ok(Self { config: options.config.clone(), tls: tls::connector(options)? })
    }

    /// A connection whose own task drives it.
    pub(crate) async fn connect(&self, settings: &str) -> Result<Connection, StoreError> {
        let connect = async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            // An error of the connection is met by whoever waits for an answer.
            let driver = tokio::spawn(async move {
                let _ = connection.await;
            });
            let connection = Connection { client, statements: Mutex::default(), driver };
            connection.client.batch_execute(settings).await?;
            Ok(connection)
        };
        within(CONNECT_DEADLINE, "connecting to the database", connect).await
    }

    /// A connection that the caller drives, for its notifications.
    pub(crate) async fn raw(
        &self,
    ) -> Result<(Client, tokio_postgres::Connection<Socket, TlsStream>), StoreError> {
        within(CONNECT_DEADLINE, "connecting to the database", self.config.connect(self.tls.clone())).await
    }
}

/// Waits for `work` at most as long as it may take.
pub(crate) async fn within<T>(
    deadline: Duration,
    context: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, StoreError> {
    match timeout(deadline, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(store_error(context, error)),
        Err(_) => Err(unavailable(format!("{context}: no answer within {} s", deadline.as_secs()))),
    }
}

/// A value of a statement's parameter.
pub(crate) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// A statement and its parameters.
pub(crate) struct Step<'a> {
    pub(crate) sql: &'static str,
    pub(crate) params: Vec<Param<'a>>,
}

/// One connection with the statements it prepared.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// By text; the driver's statements are cheap to clone.
    statements: Mutex<HashMap<&'static str, Statement>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// The statement of `sql`, prepared at its first use.
    pub(crate) async fn statement(&self, sql: &'static str) -> Result<Statement, Error> {
        let known = self.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.lock().insert(sql, statement.clone());
        Ok(statement)
    }

    pub(crate) async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql).await?;
        self.client.query(&statement, params).await
    }

    /// The first row, if there is one.
    pub(crate) async fn first(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Sends all steps at once, between `before` and `after`, which are commands such as `BEGIN`, and then
    /// waits for all answers: one round trip. The server carries them out in order. Returns the rows of each
    /// step, or the first error.
    pub(crate) async fn pipeline(
        &self,
        before: Option<&str>,
        steps: &[Step<'_>],
        after: Option<&str>,
    ) -> Result<Vec<Vec<Row>>, Error> {
        // Everything is prepared first, so that each future below sends its message when it is first polled
        // and the messages keep their order.
        let mut statements = Vec::with_capacity(steps.len());
        for step in steps {
            statements.push(self.statement(step.sql).await?);
        }
        let before = async {
            match before {
                Some(command) => self.client.batch_execute(command).await,
                None => Ok(()),
            }
        };
        let after = async {
            match after {
                Some(command) => self.client.batch_execute(command).await,
                None => Ok(()),
            }
        };
        let client = &self.client;
        let runs = statements.iter().zip(steps).map(|(statement, step)| async move {
            let params: Vec<&(dyn ToSql + Sync)> = step.params.iter().map(|param| &**param as _).collect();
            client.query(statement, &params).await
        });
        let steps = join_all(runs);
        let (before, rows, after) = futures_util::join!(before, steps, after);
        before?;
        let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
        after?;
        Ok(rows)
    }

    /// Prepares `statements` in one round trip.
    pub(crate) async fn prepare_all(&self, statements: &[&'static str]) -> Result<(), Error> {
        try_join_all(statements.iter().map(|sql| self.statement(sql))).await.map(|_| ())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Gives the connection up at once, whatever it is doing.
    pub(crate) fn abort(self) {
        self.driver.abort();
    }

    /// Says goodbye and waits until it is said.
    pub(crate) async fn close(self) {
        let Self { client, driver, .. } = self;
        drop(client);
        // One that does not end is not waited for: the server ends it when the process does.
        let _ = timeout(CLOSE_DEADLINE, driver).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
