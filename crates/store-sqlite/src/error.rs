//! SQLite's errors as the portable kinds; the raw code stays in the source.

use std::sync::Arc;

use rusqlite::ffi::{self, ErrorCode};
use tenure_store::{StoreError, StoreErrorKind};

/// What `error`, met while `context` was being done, means to a caller.
pub(crate) fn store_error(context: &str, error: impl Into<Arc<rusqlite::Error>>) -> StoreError {
    let error = error.into();
    StoreError::new(kind(&error), context).with_source(error)
}

/// Whether another process, such as a person's `sqlite3`, holds the database for too long.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// What a caller can do about `error`.
pub(crate) fn kind(error: &rusqlite::Error) -> StoreErrorKind {
    let Some(raw) = error.sqlite_error() else {
        // Everything that is not SQLite's own error is a value that a row should not hold.
        return StoreErrorKind::Corrupt;
    };
    match raw.code {
        ErrorCode::DiskFull | ErrorCode::TooBig => StoreErrorKind::Full,
        // The wal-index grows by writing zeros, and this is how that reports a full disk.
        ErrorCode::SystemIoFailure if raw.extended_code == ffi::SQLITE_IOERR_SHMSIZE => StoreErrorKind::Full,
        ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch => StoreErrorKind::Corrupt,
        ErrorCode::InternalMalfunction
        | ErrorCode::PermissionDenied
        | ErrorCode::OperationAborted
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly
        | ErrorCode::OperationInterrupted
        | ErrorCode::SystemIoFailure
        | ErrorCode::NotFound
        | ErrorCode::CannotOpen
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::SchemaChanged
        | ErrorCode::ApiMisuse
        | ErrorCode::NoLargeFileSupport
        | ErrorCode::AuthorizationForStatementDenied
        | ErrorCode::ParameterOutOfRange
        | ErrorCode::Unknown => StoreErrorKind::Unavailable,
        // The enum may grow.
        _ => StoreErrorKind::Unavailable,
    }
}

/// Whether the log can no longer be trusted to keep what is written to it.
///
/// After a failed sync the kernel may have dropped the pages it could not write, so that repeating the
/// sync would succeed and mean nothing. Only a new process that reads what is there can go on.
pub(crate) fn is_fault(error: &rusqlite::Error) -> bool {
    let io = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    );
    io && kind(error) != StoreErrorKind::Full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_map_to_kinds_and_faults() {
        for (code, expected, fault) in [
            (ffi::SQLITE_FULL, StoreErrorKind::Full, false),
            (ffi::SQLITE_IOERR_SHMSIZE, StoreErrorKind::Full, false),
            (ffi::SQLITE_TOOBIG, StoreErrorKind::Full, false),
            (ffi::SQLITE_IOERR_FSYNC, StoreErrorKind::Unavailable, true),
            (ffi::SQLITE_IOERR_WRITE, StoreErrorKind::Unavailable, true),
            (ffi::SQLITE_CORRUPT, StoreErrorKind::Corrupt, true),
            (ffi::SQLITE_NOTADB, StoreErrorKind::Corrupt, true),
            (ffi::SQLITE_BUSY, StoreErrorKind::Unavailable, false),
            (ffi::SQLITE_CANTOPEN, StoreErrorKind::Unavailable, false),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, StoreErrorKind::Corrupt, false),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(is_fault(&error), fault, "code {code}");
            assert_eq!(store_error("x", error).kind(), expected, "code {code}");
        }
    }
}
