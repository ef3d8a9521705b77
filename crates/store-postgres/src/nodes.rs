//! Leases, measured by the database's clock, and who holds what.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tenure_journal::{NodeId, SessionKey, Timestamp, Version};
use tenure_store::StoreError;
use tokio::time::timeout;
use tokio_postgres::Error;

use crate::batch::{KNOW_NODE, column};
use crate::connect::{STATEMENT_DEADLINE, Step};
use crate::error::{is_repeatable, store_error, unavailable};
use crate::pool::{Lent, Pool};
use crate::read::{key_of, key_text, limit_of, node_of, rows, value, version};

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

pub(crate) async fn heartbeat(pool: &Pool, known: &Known, node: NodeId, ttl: Duration) -> Result<(), StoreError> {
    let context = "extending a lease";
    let connection = pool.take(context).await?;
    // The longest that a timestamp takes; nobody waits that long.
    let millis = ttl.as_secs_f64().mul_add(1000.0, 0.0).min(1e12);
    let sql = include_str!("../sql/heartbeat.sql");
    rows(&connection, context, sql, &[&node.to_string(), &millis]).await?;
    known.add(node);
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

pub(crate) async fn retire(pool: &Pool, node: NodeId) -> Result<(), StoreError> {
    let text = node.to_string();
    let end = async |connection: &Lent| {
        // Sessions before nodes, as in every transaction.
        let steps = [include_str!("../sql/free_sessions.sql"), include_str!("../sql/end_lease.sql")]
            .map(|sql| Step { sql, params: vec![Box::new(text.clone())] });
        connection.pipeline(Some("BEGIN"), &steps, Some("COMMIT")).await.map(|_| ())
    };
    repeat(pool, "ending a lease", end).await
}

pub(crate) async fn claim(
    pool: &Pool,
    known: &Known,
    node: NodeId,
    key: SessionKey,
) -> Result<Option<NodeId>, StoreError> {
    let context = "claiming a session";
    let (project, session) = key_text(key);
    let is_known = known.is(node);
    let claim = async |connection: &Lent| {
        let find = [Step {
            sql: include_str!("../sql/holder.sql"),
            params: vec![Box::new(project.clone()), Box::new(session.clone())],
        }];
        let found = connection.pipeline(Some("BEGIN"), &find, None).await?.pop().unwrap_or_default();
        let Some(row) = found.first() else {
            connection.client.batch_execute("ROLLBACK").await?;
            return Ok(Ok(None));
        };
        let holder = match node_of(row, 0) {
            Ok(holder) => holder,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(holder) = holder
            && (holder == node || lives(connection, holder).await?)
        {
            connection.client.batch_execute("ROLLBACK").await?;
            return Ok(Ok(Some(holder)));
        }
        let mut steps = vec![Step {
            sql: include_str!("../sql/claim.sql"),
            params: vec![Box::new(project.clone()), Box::new(session.clone()), Box::new(node.to_string())],
        }];
        steps.extend((!is_known).then(|| know(node)));
        connection.pipeline(None, &steps, Some("COMMIT")).await?;
        Ok(Ok(Some(node)))
    };
    let holder = repeat(pool, context, claim).await??;
    if holder == Some(node) {
        known.add(node);
    }
    Ok(holder)
}

/// Whether the lease of a node runs. Its next heartbeat waits for the end of this transaction.
async fn lives(connection: &Lent, node: NodeId) -> Result<bool, Error> {
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
) -> Result<Vec<SessionKey>, StoreError> {
    let context = "claiming what is due";
    let is_known = known.is(node);
    let claim = async |connection: &Lent| {
        let mut steps = vec![Step {
            sql: include_str!("../sql/claim_due.sql"),
            params: vec![Box::new(node.to_string()), Box::new(now.as_millis()), Box::new(limit_of(limit))],
        }];
        steps.extend((!is_known).then(|| know(node)));
        Ok(connection.pipeline(Some("BEGIN"), &steps, Some("COMMIT")).await?.swap_remove(0))
    };
    let rows = repeat(pool, context, claim).await?;
    known.add(node);
    let due = rows.iter().map(|row| Ok((value::<i64>(row, 2)?, key_of(row)?)));
    let mut due = due.collect::<Result<Vec<_>, StoreError>>()?;
    due.sort_unstable();
    Ok(due.into_iter().map(|(_, key)| key).collect())
}

/// Runs a transaction, again if another one got in its way. `run` begins and ends it.
async fn repeat<T>(
    pool: &Pool,
    context: &str,
    run: impl AsyncFn(&Lent) -> Result<T, Error>,
) -> Result<T, StoreError> {
    let mut attempt = 1;
    loop {
        let mut connection = pool.take(context).await?;
        connection.begins();
        match timeout(STATEMENT_DEADLINE, run(&connection)).await {
            Ok(Ok(value)) => {
                connection.ended();
                return Ok(value);
            }
            // The connection is given up with its transaction.
            Ok(Err(error)) if is_repeatable(&error) && attempt < ATTEMPTS_MAX => attempt += 1,
            Ok(Err(error)) => return Err(store_error(context, error)),
            Err(_) => return Err(unavailable(format!("{context}: no answer in time"))),
        }
    }
}
