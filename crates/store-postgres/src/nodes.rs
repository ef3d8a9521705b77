//! Leases, measured by the database's clock, and who holds what.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tenure_journal::{NodeId, SessionKey, Timestamp, Version};
use tenure_store::{StoreError, StoreErrorKind};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::{Error, Row};

use crate::batch::KNOW_NODE;
use crate::columns::column;
use crate::connect::{Connection, STATEMENT_DEADLINE, Step};
use crate::error::{is_repeatable, store_error, unavailable};
use crate::pool::{Lent, Pool};
use crate::read::{key_of, key_text, limit_of, node_of, rows, value, version};
use crate::schema;
use crate::wakes::{CHANNEL, NODES};
use crate::watch::Watch;

/// How long a node that was written down is taken to be there. Rows of nodes that are not alive stay for ten
/// minutes at least, see `forget_nodes.sql`, and no transaction takes the difference.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// How often a transaction is tried again after it met another one.
const ATTEMPTS_MAX: u32 = 8;

/// Nodes that certainly have a row.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<NodeId, Instant>>);

impl Known {
    pub(crate) fn is(&self, node: NodeId) -> bool {
        self.lock().get(&node).is_some_and(|since| since.elapsed() < KNOWN_FOR)
    }

    pub(crate) fn add(&self, node: NodeId) {
        let mut known = self.lock();
        known.retain(|_, since| since.elapsed() < KNOWN_FOR);
        known.insert(node, Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<NodeId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn heartbeat(
    pool: &Pool,
    known: &Known,
    watch: &Watch,
    node: NodeId,
    ttl: Duration,
) -> Result<(), StoreError> {
    watch.fits()?;
    let context = "extending a lease";
    let connection = pool.take(context).await?;
    let asked = Instant::now();
    // The longest that a timestamp takes; nobody waits that long.
    let millis = (ttl.as_secs_f64() * 1000.0).min(1e12);
    let sql = include_str!("../sql/heartbeat.sql");
    let (schema, release) = (schema::newest(), env!("CARGO_PKG_VERSION"));
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&node.to_string(), &millis, &schema, &release, &CHANNEL, &NODES];
    rows(&connection, context, sql, &row).await?;
    known.add(node);
    // After the lease has begun: what is migrated from here on knows of it.
    if let Err(error) = watch.look(&connection, asked, ttl).await {
        if error.kind() == StoreErrorKind::TooNew {
            rows(&connection, context, include_str!("../sql/end_lease.sql"), &[&node.to_string()]).await?;
        }
        return Err(error);
    }
    rows(&connection, context, include_str!("../sql/forget_nodes.sql"), &[]).await?;
    Ok(())
}

pub(crate) async fn nodes(pool: &Pool) -> Result<usize, StoreError> {
    let context = "counting nodes";
    let connection = pool.take(context).await?;
    let rows = rows(&connection, context, include_str!("../sql/nodes.sql"), &[]).await?;
    let count = rows.first().map_or(Ok(0), |row| value::<i64>(row, 0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(crate) async fn held(pool: &Pool, node: NodeId) -> Result<Vec<(SessionKey, Version)>, StoreError> {
    let context = "finding what is held";
    let connection = pool.take(context).await?;
    let rows = rows(&connection, context, include_str!("../sql/held.sql"), &[&node.to_string()]).await?;
    rows.iter().map(|row| Ok((key_of(row)?, version(row, 2)?))).collect()
}

pub(crate) async fn release(pool: &Pool, node: NodeId, key: SessionKey) -> Result<(), StoreError> {
    let context = "letting go of a session";
    let connection = pool.take(context).await?;
    let (project, session) = key_text(key);
    let sql = include_str!("../sql/free_session.sql");
    rows(&connection, context, sql, &[&project, &session, &node.to_string()]).await.map(drop)
}

pub(crate) async fn retire(pool: &Pool, node: NodeId) -> Result<(), StoreError> {
    let mut attempts = Attempts::new("ending a lease");
    loop {
        let mut connection = attempts.begin(pool).await?;
        let result = timeout(STATEMENT_DEADLINE, try_retire(&connection, node)).await;
        if attempts.end(&mut connection, result)?.is_some() {
            return Ok(());
        }
    }
}

async fn try_retire(connection: &Connection, node: NodeId) -> Result<(), Error> {
    // Sessions before nodes, as in every transaction. This one is rare, so that it may tell others itself: they
    // hear of it when it is true, and however soon the process ends.
    let [free, end] = [include_str!("../sql/free_sessions.sql"), include_str!("../sql/end_lease.sql")]
        .map(|sql| Step { sql, params: vec![Box::new(node.to_string())] });
    let tell =
        Step { sql: include_str!("../sql/tell_nodes.sql"), params: vec![Box::new(CHANNEL), Box::new(NODES)] };
    let steps = [free, end, tell];
    connection.pipeline(Some("BEGIN"), &steps, Some("COMMIT")).await.map(|_| ())
}

pub(crate) async fn claim(
    pool: &Pool,
    known: &Known,
    node: NodeId,
    key: SessionKey,
) -> Result<Option<NodeId>, StoreError> {
    let mut attempts = Attempts::new("claiming a session");
    loop {
        let mut connection = attempts.begin(pool).await?;
        let result = timeout(STATEMENT_DEADLINE, try_claim(&connection, known.is(node), node, key)).await;
        if let Some(holder) = attempts.end(&mut connection, result)? {
            let holder = holder?;
            if holder == Some(node) {
                known.add(node);
            }
            return Ok(holder);
        }
    }
}

/// Who holds the session then. The outer error is the database's, the inner one of what it holds.
async fn try_claim(
    connection: &Connection,
    is_known: bool,
    node: NodeId,
    key: SessionKey,
) -> Result<Result<Option<NodeId>, StoreError>, Error> {
    let (project, session) = key_text(key);
    let find = [Step {
        sql: include_str!("../sql/holder.sql"),
        params: vec![Box::new(project.clone()), Box::new(session.clone())],
    }];
    let found = connection.pipeline(Some("BEGIN"), &find, None).await?.pop().unwrap_or_default();
    let holder = found.first().map(|row| node_of(row, 0)).transpose();
    let held = match holder {
        Ok(Some(Some(holder))) if holder == node || lives(connection, holder).await? => Ok(Some(holder)),
        Ok(Some(_)) => {
            let mut steps = vec![Step {
                sql: include_str!("../sql/claim.sql"),
                params: vec![Box::new(project), Box::new(session), Box::new(node.to_string())],
            }];
            steps.extend((!is_known).then(|| know(node)));
            connection.pipeline(None, &steps, Some("COMMIT")).await?;
            return Ok(Ok(Some(node)));
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    connection.client.batch_execute("ROLLBACK").await?;
    Ok(held)
}

/// Whether the lease of a node runs. Its next heartbeat waits for the end of this transaction.
async fn lives(connection: &Connection, node: NodeId) -> Result<bool, Error> {
    let row = connection.first(include_str!("../sql/node_lives.sql"), &[&node.to_string()]).await?;
    row.map_or(Ok(false), |row| row.try_get(0))
}

fn know(node: NodeId) -> Step<'static> {
    Step { sql: KNOW_NODE, params: vec![column(std::iter::once(node.to_string()))] }
}

pub(crate) async fn claim_due(
    pool: &Pool,
    known: &Known,
    node: NodeId,
    now: Timestamp,
    limit: usize,
    except: &[SessionKey],
) -> Result<Vec<SessionKey>, StoreError> {
    let mut attempts = Attempts::new("claiming what is due");
    let rows = loop {
        let mut connection = attempts.begin(pool).await?;
        let claim = try_claim_due(&connection, known.is(node), node, now, limit, except);
        let result = timeout(STATEMENT_DEADLINE, claim).await;
        if let Some(rows) = attempts.end(&mut connection, result)? {
            break rows;
        }
    };
    known.add(node);
    let due = rows.iter().map(|row| Ok((value::<i64>(row, 2)?, key_of(row)?)));
    let mut due = due.collect::<Result<Vec<_>, StoreError>>()?;
    due.sort_unstable();
    Ok(due.into_iter().map(|(_, key)| key).collect())
}

async fn try_claim_due(
    connection: &Connection,
    is_known: bool,
    node: NodeId,
    now: Timestamp,
    limit: usize,
    except: &[SessionKey],
) -> Result<Vec<Row>, Error> {
    let except = column(except.iter().map(|key| format!("{}/{}", key.project, key.session)));
    let limit = limit_of(limit);
    let mut steps = vec![Step {
        sql: include_str!("../sql/claim_due.sql"),
        params: vec![Box::new(node.to_string()), Box::new(now.as_millis()), Box::new(limit), except],
    }];
    steps.extend((!is_known).then(|| know(node)));
    Ok(connection.pipeline(Some("BEGIN"), &steps, Some("COMMIT")).await?.swap_remove(0))
}

/// A transaction that is run again when another one got in its way.
struct Attempts {
    context: &'static str,
    made: u32,
}

impl Attempts {
    fn new(context: &'static str) -> Self {
        Self { context, made: 0 }
    }

    /// A connection for the next attempt, which begins its transaction itself.
    async fn begin(&mut self, pool: &Pool) -> Result<Lent, StoreError> {
        self.made += 1;
        let mut connection = pool.take(self.context).await?;
        connection.begins();
        Ok(connection)
    }

    /// What came of it; nothing if it should be made again. After an error the connection is given up, and
    /// its transaction with it.
    fn end<T>(
        &self,
        connection: &mut Lent,
        result: Result<Result<T, Error>, Elapsed>,
    ) -> Result<Option<T>, StoreError> {
        match result {
            Ok(Ok(value)) => {
                connection.ended();
                Ok(Some(value))
            }
            Ok(Err(error)) if is_repeatable(&error) && self.made < ATTEMPTS_MAX => Ok(None),
            Ok(Err(error)) => Err(store_error(self.context, error)),
            Err(_) => Err(unavailable(format!("{}: no answer in time", self.context))),
        }
    }
}
