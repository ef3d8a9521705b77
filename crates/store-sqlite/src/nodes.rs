//! Nodes and what they hold.
//!
//! One process uses a data directory at a time, so here leases only tell its sessions from those of a
//! process that is gone; they mean what the contract says all the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, Row};
use tenure_journal::{
    Amounts, BudgetId, BudgetUse, NodeId, ProjectId, SessionId, SessionKey, Timestamp, Version,
};
use tenure_store::Budget;

use crate::read::{Read, damaged, key_of, limit_of};
use crate::write::{int, key_text};

/// A change about nodes.
#[derive(Debug)]
pub(crate) enum Change {
    /// A node lives on for so long.
    Heartbeat(NodeId, Duration),
    /// A node lets go of one session.
    Release(NodeId, SessionKey),
    /// A node ends.
    Retire(NodeId),
    /// A node takes hold of those sessions that no living node holds.
    Claim(NodeId, Vec<SessionKey>),
}

impl Change {
    pub(crate) fn run(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Heartbeat(node, ttl) => {
                let until = clock().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
                let mut statement = connection.prepare_cached(include_str!("../sql/heartbeat.sql"))?;
                statement.execute((node.to_string(), until))?;
            }
            Self::Release(node, key) => {
                let (project, session) = key_text(*key);
                let mut statement = connection.prepare_cached(include_str!("../sql/free_session.sql"))?;
                statement.execute((project, session, node.to_string()))?;
            }
            Self::Retire(node) => {
                let node = node.to_string();
                connection.prepare_cached(include_str!("../sql/end_lease.sql"))?.execute([&node])?;
                connection.prepare_cached(include_str!("../sql/free_sessions.sql"))?.execute([&node])?;
            }
            Self::Claim(node, keys) => {
                let mut statement = connection.prepare_cached(include_str!("../sql/claim.sql"))?;
                let (node, now) = (node.to_string(), clock());
                for key in keys {
                    let (project, session) = key_text(*key);
                    statement.execute((project, session, &node, now))?;
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn claimable(
    connection: &Connection,
    node: NodeId,
    now: Timestamp,
    limit: usize,
    except: &[SessionKey],
) -> Read<Vec<SessionKey>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/claimable.sql"))?;
    let except = except.iter().map(|key| format!("\"{}/{}\"", key.project, key.session));
    let except = format!("[{}]", except.collect::<Vec<_>>().join(","));
    let row = (node.to_string(), now.as_millis(), clock(), limit_of(limit), except);
    statement.query_and_then(row, key_of)?.collect()
}

/// Who holds a session; the outer absence is a session that does not exist.
pub(crate) fn holder(connection: &Connection, key: SessionKey) -> Read<Option<Option<NodeId>>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/holder.sql"))?;
    let found: Option<Option<String>> = statement.query_row(key_text(key), |row| row.get(0)).optional()?;
    let parsed = |text: String| {
        text.parse().map_err(|_| damaged(format!("reading `holder` of session `{}`", key.session)))
    };
    Ok(match found {
        None => None,
        Some(holder) => Some(holder.map(parsed).transpose()?),
    })
}

pub(crate) fn held(connection: &Connection, node: NodeId) -> Read<Vec<(SessionKey, Version)>> {
    let mut statement = connection.prepare_cached(include_str!("../sql/held.sql"))?;
    let read = |row: &Row<'_>| Ok((key_of(row)?, Version(row.get::<_, i64>(2)?.unsigned_abs())));
    statement.query_and_then([node.to_string()], read)?.collect()
}

pub(crate) fn nodes(connection: &Connection) -> Read<usize> {
    let mut statement = connection.prepare_cached(include_str!("../sql/nodes.sql"))?;
    let count: i64 = statement.query_row([clock()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(crate) fn budget(connection: &Connection, project: ProjectId, root: SessionId) -> Read<Budget> {
    let mut statement = connection.prepare_cached(include_str!("../sql/budget.sql"))?;
    let row = (project.to_string(), root.to_string());
    Ok(statement.query_row(row, budget_of).optional()?.unwrap_or_default())
}

/// Limit, what was spent, what is reserved.
pub(crate) fn budget_of(row: &Row<'_>) -> rusqlite::Result<Budget> {
    let amount = |index| row.get(index).map(|amount: i64| amount.unsigned_abs());
    let limit: Option<i64> = row.get(0)?;
    Ok(Budget {
        limit_nano_usd: limit.map(i64::unsigned_abs),
        spent_nano_usd: amount(1)?,
        reserved_nano_usd: amount(2)?,
    })
}

/// How shared budgets stand, in the order in which they are named.
pub(crate) fn budget_uses(
    connection: &Connection,
    project: ProjectId,
    budgets: &[BudgetId],
) -> Read<Vec<BudgetUse>> {
    let project = project.to_string();
    let mut found = Vec::with_capacity(budgets.len());
    for budget in budgets {
        found.push(budget_use(connection, &project, &budget.to_string())?);
    }
    Ok(found)
}

/// How one stands.
pub(crate) fn budget_use(
    connection: &Connection,
    project: &str,
    budget: &str,
) -> rusqlite::Result<BudgetUse> {
    let mut statement = connection.prepare_cached(include_str!("../sql/budget_use.sql"))?;
    Ok(statement.query_row((project, budget), use_of).optional()?.unwrap_or_default())
}

/// What was spent and what is set aside, from the first column on.
pub(crate) fn use_of(row: &Row<'_>) -> rusqlite::Result<BudgetUse> {
    let amount = |index| row.get(index).map(|amount: i64| amount.unsigned_abs());
    let amounts = |first| {
        Ok::<_, rusqlite::Error>(Amounts {
            nano_usd: amount(first)?,
            tokens: amount(first + 1)?,
            calls: amount(first + 2)?,
            millis: amount(first + 3)?,
        })
    };
    Ok(BudgetUse { spent: amounts(0)?, reserved: amounts(4)? })
}

/// What leases are measured by: this machine's clock, in milliseconds since the Unix epoch.
pub(crate) fn clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    int(u64::try_from(now).unwrap_or(u64::MAX))
}
