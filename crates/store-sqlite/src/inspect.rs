//! Looking at a data directory from outside, whether or not a server holds it.
//!
//! Nothing here takes hold of the directory, migrates or repairs: a server that runs, or starts meanwhile,
//! goes on as if nobody had looked.

use std::path::Path;

use tenure_store::StoreError;

use crate::directory;
use crate::error::store_error;
use crate::integrity::{self, Integrity};
use crate::readers::{self, ReadError};
use crate::{connect, schema};

/// What a look at a data directory found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// There is no database yet.
    Missing,
    /// An earlier release wrote it; the next start of this one brings it up to date.
    Older,
    /// It was read whole.
    Read(Integrity),
}

/// Who holds the data directory, such as `process 4711`; `None` when it is free or does not exist.
///
/// # Errors
/// `Unavailable`: its lock cannot be read.
pub fn held_by(directory: &Path) -> Result<Option<String>, StoreError> {
    directory::held_by(directory)
}

/// Reads everything in a data directory, as [`crate::SqliteStore::integrity`] does, over a connection of its
/// own that cannot write. Blocks, in proportion to the database; a server may go on writing beside it.
///
/// # Errors
/// `TooNew`: a newer release wrote it. `Corrupt`: the file is no database of ours. `Unavailable`: it cannot
/// be read.
pub fn inspect(directory: &Path) -> Result<Inspection, StoreError> {
    let Some(path) = directory::existing_database(directory) else { return Ok(Inspection::Missing) };
    let failed = |error| store_error(&format!("reading `{}`", path.display()), error);
    let mut connection = connect::reader(&path).map_err(failed)?;
    if !schema::is_current(&connection)? {
        return Ok(Inspection::Older);
    }
    match readers::in_transaction(&mut connection, |transaction| integrity::check(transaction)) {
        Ok(integrity) => Ok(Inspection::Read(integrity)),
        Err(ReadError::Sqlite(error)) => Err(failed(error)),
        Err(ReadError::Store(error)) => Err(error),
    }
}
