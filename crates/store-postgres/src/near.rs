//! What is most alike in large spaces, through an index of the extension pgvector, where the server has it.
//!
//! ```text
//!   a space has few vectors ──▶ every one is read and compared, here
//!        │ grows
//!        ▼
//!   registered ──▶ points are made of its vectors ──▶ its index is built ──▶ ready: the index is asked
//!   (new vectors have     (newest first)                  (concurrently)
//!    points from here on)
//! ```
//!
//! Each space has an index of its own (HNSW, by the inner product), which holds nothing of any other space. What it
//! brings is compared with the question again from the vectors as they are kept, so that likenesses are the same with
//! and without it; it may miss a few of the most alike, and it finds old ones that are not compared otherwise.
//!
//! If the process dies on the way, the space is not ready, its vectors are compared as before, and whoever next keeps
//! vectors of it goes on. What fails here fails no call: there are only more vectors to compare.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tenure_store::StoreError;
use tenure_store::recall::Alike;
use tokio_postgres::types::ToSql;

use crate::connect::{Connection, Connector, STATEMENT_DEADLINE, within};
use crate::error::store_error;
use crate::pool::Pool;
use crate::read::{rows, value};

/// Episodes with vectors from which on a space gets an index: reading and comparing as many takes some milliseconds.
pub(crate) const INDEXED_FROM: u32 = 5_000;
/// Numbers of a point that pgvector can index.
const NUMBERS_MAX: i32 = 4_000;
/// Points that a question looks at: an episode has up to ten. As many as `reader_settings.sql` has the index look for.
const POINTS_MAX: u32 = 400;
/// Episodes whose points are made in one statement.
const FILLED_AT_ONCE: i64 = 500;

/// How long nothing is tried after a failure.
const AFTER_A_FAILURE: Duration = Duration::from_secs(600);
/// How long a transaction waits for tables that others write to: who comes after it waits as long.
const BRIEFLY: &str = "SET LOCAL lock_timeout = '2s'";

const CONTEXT: &str = "indexing vectors";

/// What is known of the indexes of one database.
#[derive(Debug)]
pub(crate) struct Near {
    /// Episodes with vectors from which on a space gets an index.
    from: u32,
    /// Whether the server has the extension.
    is_available: bool,
    /// Whether there are tables of points. Another node's are seen when vectors are kept.
    is_there: AtomicBool,
    /// After a failure: when it is tried again.
    again_at: Mutex<Option<Instant>>,
    /// Held while one is built.
    building: Arc<tokio::sync::Mutex<()>>,
}

impl Near {
    /// Looks at what the server has.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn look(connection: &Connection, from: u32) -> Result<Self, StoreError> {
        let context = "looking for pgvector";
        let found = rows(connection, context, include_str!("../sql/near_available.sql"), &[]).await?;
        let is_available = found.first().map_or(Ok(false), |row| value(row, 0))?;
        let near = Self {
            from: from.max(1),
            is_available,
            is_there: AtomicBool::new(false),
            again_at: Mutex::default(),
            building: Arc::default(),
        };
        near.look_again(connection).await?;
        Ok(near)
    }

    async fn look_again(&self, connection: &Connection) -> Result<bool, StoreError> {
        let found = rows(connection, CONTEXT, include_str!("../sql/near_present.sql"), &[]).await?;
        let is_there = found.first().map_or(Ok(false), |row| value(row, 0))?;
        self.is_there.store(is_there, Ordering::Relaxed);
        Ok(is_there)
    }

    /// The episodes of a space that are most alike, as its index says; `None` where there is none to ask, or it does not
    /// answer: then none is asked until vectors are kept again.
    pub(crate) async fn nearest(
        &self,
        connection: &Connection,
        space: &str,
        alike: &Alike,
    ) -> Option<Vec<i64>> {
        if !self.is_there.load(Ordering::Relaxed) {
            return None;
        }
        nearest(connection, space, alike).await.unwrap_or_else(|error| {
            self.is_there.store(false, Ordering::Relaxed);
            tracing::warn!(%error, "an index of vectors does not answer; they are compared one by one");
            None
        })
    }

    /// Sees to it that spaces that have become large get an index, in a task of its own. Vectors of them were kept a
    /// moment ago.
    pub(crate) async fn grew(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        pool: &Pool,
        spaces: BTreeSet<String>,
        model: &str,
    ) {
        if !self.is_available || self.again_at().is_some_and(|again_at| Instant::now() < again_at) {
            return;
        }
        for space in spaces {
            // While one is built, others wait until vectors of them are kept again.
            let Ok(building) = Arc::clone(&self.building).try_lock_owned() else { return };
            match self.wants_index(pool, &space, model).await {
                Ok(false) => {}
                Ok(true) => {
                    let (near, connector, model) =
                        (Arc::clone(self), Arc::clone(connector), model.to_owned());
                    tokio::spawn(async move {
                        let _building = building;
                        near.noted(near.build(&connector, &space, &model).await);
                    });
                }
                Err(error) => self.noted(Err(error)),
            }
        }
    }

    /// Waits until nothing is built.
    pub(crate) async fn built(&self) {
        drop(self.building.lock().await);
    }

    fn noted(&self, built: Result<(), StoreError>) {
        if let Err(error) = built {
            *self.again_at() = Some(Instant::now() + AFTER_A_FAILURE);
            let fix = "its vectors are compared one by one; if the database's user may not create the extension, its \
                       owner can: CREATE EXTENSION vector (0.7 or later)";
            tracing::warn!(%error, fix, "a space has no index of its vectors");
        }
    }

    fn again_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.again_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wants_index(&self, pool: &Pool, space: &str, model: &str) -> Result<bool, StoreError> {
        let connection = &*pool.take(CONTEXT).await?;
        let is_there = self.is_there.load(Ordering::Relaxed) || self.look_again(connection).await?;
        let sql = if is_there {
            include_str!("../sql/near_size.sql")
        } else {
            include_str!("../sql/near_size_first.sql")
        };
        let found = rows(connection, CONTEXT, sql, &[&space, &model, &i64::from(self.from)]).await?;
        found.first().map_or(Ok(false), |row| value(row, 0))
    }

    /// On a connection of its own, whose end gives up the lock.
    async fn build(&self, connector: &Connector, space: &str, model: &str) -> Result<(), StoreError> {
        let connection = connector.connect(include_str!("../sql/scrub_settings.sql")).await?;
        let built = async {
            let found = rows(&connection, CONTEXT, include_str!("../sql/near_lock.sql"), &[]).await?;
            if !found.first().map_or(Ok(false), |row| value(row, 0))? {
                return Ok(());
            }
            if !self.look_again(&connection).await? {
                run(&connection, &transaction(include_str!("../sql/near_schema.sql"))).await?;
                self.is_there.store(true, Ordering::Relaxed);
            }
            build(&connection, space, model).await?;
            forget_stale(&connection).await
        };
        let built = built.await;
        connection.close().await;
        built
    }

    /// Gives up what is left of spaces that have no vectors any more.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn scrub(&self, connection: &Connection) -> Result<(), StoreError> {
        if !self.look_again(connection).await? {
            return Ok(());
        }
        forget_stale(connection).await?;
        run(connection, "VACUUM near_points, near_spaces").await
    }
}

async fn nearest(
    connection: &Connection,
    space: &str,
    alike: &Alike,
) -> Result<Option<Vec<i64>>, StoreError> {
    let Some(indexed) = indexed(connection, space, &alike.model).await? else { return Ok(None) };
    let asked = alike.vector.numbers();
    if !indexed.is_ready || usize::try_from(indexed.numbers) != Ok(asked.len()) {
        return Ok(None);
    }
    let written = [
        ("{near}", indexed.near.to_string()),
        ("{numbers}", indexed.numbers.to_string()),
        ("{points}", POINTS_MAX.to_string()),
        ("{hits}", alike.hits_max.to_string()),
    ];
    let sql = with(include_str!("../sql/near_points.sql"), &written);
    let params: [&(dyn ToSql + Sync); 1] = [&asked];
    let found = connection.client.query(&sql, &params);
    let found = within(STATEMENT_DEADLINE, "asking an index of vectors", found).await?;
    found.iter().map(|row| value(row, 0)).collect::<Result<_, _>>().map(Some)
}

/// A space that is registered.
struct Indexed {
    near: i32,
    numbers: i32,
    is_ready: bool,
}

async fn indexed(connection: &Connection, space: &str, model: &str) -> Result<Option<Indexed>, StoreError> {
    let found = rows(connection, CONTEXT, include_str!("../sql/near_space.sql"), &[&space, &model]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    Ok(Some(Indexed { near: value(row, 0)?, numbers: value(row, 1)?, is_ready: value(row, 2)? }))
}

/// Each step can be done again.
async fn build(connection: &Connection, space: &str, model: &str) -> Result<(), StoreError> {
    // Who keeps vectors either has committed before, and is seen below, or sees what is registered.
    let lock = "LOCK TABLE episode_vectors IN SHARE ROW EXCLUSIVE MODE";
    run(connection, &format!("BEGIN; {BRIEFLY}; {lock}")).await?;
    let params: [&(dyn ToSql + Sync); 3] = [&space, &model, &NUMBERS_MAX];
    rows(connection, CONTEXT, include_str!("../sql/near_register.sql"), &params).await?;
    run(connection, "COMMIT").await?;
    let Some(Indexed { near, numbers, is_ready: false }) = indexed(connection, space, model).await? else {
        return Ok(());
    };
    let mut before = Some(i64::MAX);
    while let Some(episode) = before {
        let params: [&(dyn ToSql + Sync); 3] = [&near, &episode, &FILLED_AT_ONCE];
        let found = rows(connection, CONTEXT, include_str!("../sql/near_fill.sql"), &params).await?;
        before = found.first().map_or(Ok(None), |row| value(row, 0))?;
    }
    let index = format!("near_points_{near}");
    let found = rows(connection, CONTEXT, include_str!("../sql/near_index.sql"), &[&index]).await?;
    let is_built = found.first().map(|row| value(row, 0)).transpose()?;
    if is_built == Some(false) {
        // A process died while it was built.
        drop_index(connection, near).await?;
    }
    if is_built != Some(true) {
        let written = [("{near}", near.to_string()), ("{numbers}", numbers.to_string())];
        let sql = with(include_str!("../sql/near_create_index.sql"), &written);
        run(connection, &sql).await?;
    }
    rows(connection, CONTEXT, include_str!("../sql/near_ready.sql"), &[&near]).await?;
    tracing::info!(near, numbers, "a space has an index of its vectors");
    Ok(())
}

async fn forget_stale(connection: &Connection) -> Result<(), StoreError> {
    for row in rows(connection, CONTEXT, include_str!("../sql/near_stale.sql"), &[]).await? {
        let near: i32 = value(&row, 0)?;
        drop_index(connection, near).await?;
        rows(connection, CONTEXT, include_str!("../sql/near_forget.sql"), &[&near]).await?;
    }
    Ok(())
}

async fn drop_index(connection: &Connection, near: i32) -> Result<(), StoreError> {
    let sql = with(include_str!("../sql/near_drop_index.sql"), &[("{near}", near.to_string())]);
    run(connection, &sql).await
}

/// A statement with numbers of ours written in: of what is no parameter.
fn with(sql: &str, written: &[(&str, String)]) -> String {
    written.iter().fold(sql.to_owned(), |sql, (name, number)| sql.replace(name, number))
}

/// Commands that take as long as they take.
async fn run(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.client.batch_execute(sql).await.map_err(|error| store_error(CONTEXT, error))
}

/// In one transaction, of which one process at a time is in the midst.
fn transaction(sql: &str) -> String {
    format!("BEGIN; {BRIEFLY}; {}; {sql}; COMMIT", include_str!("../sql/migration_lock.sql"))
}
