//! Connections and their settings.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// How long a statement waits for a lock that a person's `sqlite3` or a backup holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept prepared on each connection; more than there are SQL files for one of them.
const STATEMENTS_MAX: usize = 96;

const WRITER_SETTINGS: &str = include_str!("../sql/writer_settings.sql");
const READER_SETTINGS: &str = include_str!("../sql/reader_settings.sql");

/// The connection that writes.
pub(crate) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_SETTINGS)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_SETTINGS)
}

fn connect(path: &Path, mode: OpenFlags, settings: &str) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time, so SQLite's own mutexes are not needed.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Or each `LIMIT ?` would have its statement prepared anew whenever it is asked.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(settings)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_with_a_limit_stays_prepared() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store.db");
        Connection::open(&path).and_then(|empty| empty.execute_batch("CREATE TABLE t (a)")).expect("a table");
        for connect in [writer, reader] {
            let connection = connect(&path).expect("connects");
            let mut statement = connection.prepare("SELECT a FROM t LIMIT ?1").expect("prepares");
            for limit in [1, 2, 3] {
                assert!(!statement.exists((limit,)).expect("reads"));
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
