//! Whether this release can live with the schema, which a newer one may change while this one runs.
//!
//! ```text
//!   lease runs ──────────▶ fits: no migration that this release cannot live with is made meanwhile
//!   lease may be over ───▶ looks before it writes
//!                            └─ a migration needs a newer release ──▶ too old, for good: nothing is written
//! ```
//!
//! A node is not ended here: its writes are refused, and who runs it learns of it from [`Watch::ended`].

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tenure_store::{StoreError, StoreErrorKind};
use tokio::sync::watch;

use crate::connect::Connection;
use crate::read::{rows, value};
use crate::schema;

/// How long a process without a lease, such as a command, writes between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Watch {
    /// A moment before which no migration can have been made that this release cannot live with.
    fits_until: Mutex<Instant>,
    /// The schema that is needed, once that is a newer one than this release's.
    needed: watch::Sender<Option<i32>>,
}

impl Watch {
    /// For a schema that was looked at a moment ago.
    pub(crate) fn new() -> Self {
        Self { fits_until: Mutex::new(Instant::now() + LOOK_EVERY), needed: watch::Sender::new(None) }
    }

    /// Whether the schema is known to fit without a look.
    ///
    /// # Errors
    /// `TooNew`: it does not, for good.
    pub(crate) fn fits(&self) -> Result<bool, StoreError> {
        match *self.needed.borrow() {
            Some(needed) => Err(too_old(needed)),
            None => Ok(Instant::now() < *self.fits_until.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Looks. What fits is believed to for `ttl` from `asked`, a moment before the lease was extended by as much.
    ///
    /// # Errors
    /// `TooNew`: it does not fit, from now on. `Unavailable`.
    pub(crate) async fn look(
        &self,
        connection: &Connection,
        asked: Instant,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let found = rows(connection, "looking at the schema", schema::NEEDED, &[]).await?;
        let needed: i32 = found.first().map_or(Ok(0), |row| value(row, 0))?;
        if needed > schema::newest() {
            self.needed.send_replace(Some(needed));
            return Err(too_old(needed));
        }
        *self.fits_until.lock().unwrap_or_else(PoisonError::into_inner) = asked + ttl;
        Ok(())
    }

    /// Looks if it must.
    ///
    /// # Errors
    /// As [`Watch::look`].
    pub(crate) async fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        if self.fits()? { Ok(()) } else { self.look(connection, Instant::now(), LOOK_EVERY).await }
    }

    /// Completes when this release has become too old.
    pub(crate) async fn ended(&self) -> StoreError {
        let mut needed = self.needed.subscribe();
        let ended = needed.wait_for(Option::is_some).await.map(|needed| *needed);
        match ended {
            Ok(needed) => too_old(needed.unwrap_or_default()),
            // The sender lives as long as `self`.
            Err(_) => std::future::pending().await,
        }
    }
}

fn too_old(needed: i32) -> StoreError {
    let context = format!(
        "working on a database that was migrated while this node had no lease: schema {needed} is needed and \
         this release knows up to {}; end this node and start the newer release",
        schema::newest()
    );
    StoreError::new(StoreErrorKind::TooNew, context)
}
