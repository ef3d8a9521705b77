//! Looking at a database from outside, whether or not nodes use it: nothing is migrated, nothing is written.

use tenure_store::StoreError;

use crate::blobs::Blobs;
use crate::connect::{Connector, READER_SETTINGS};
use crate::integrity::{self, Integrity};
use crate::schema::{self, Schema};
use crate::{Options, PostgresStore};

/// What a look at a database found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// There is nothing of ours yet.
    Missing,
    /// An earlier release wrote it; the next start of this one brings it up to date.
    Older,
    /// It was read whole.
    Read(Integrity),
}

impl PostgresStore {
    /// Reads everything in a database, as [`PostgresStore::integrity`] does, without opening it. Takes time in
    /// proportion to the database; nodes go on beside it.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn inspect(options: &Options) -> Result<Inspection, StoreError> {
        let blobs = Blobs::open(&options.blobs)?;
        let connection = Connector::new(options)?.connect(READER_SETTINGS).await?;
        let found = match schema::look(&connection).await? {
            Schema::Missing => Inspection::Missing,
            Schema::Older => Inspection::Older,
            Schema::Current => Inspection::Read(integrity::check(&connection, &blobs).await?),
        };
        connection.close().await;
        Ok(found)
    }
}
