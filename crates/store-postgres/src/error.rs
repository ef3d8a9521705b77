//! PostgreSQL's errors as the portable kinds; the SQLSTATE stays in the source.

use std::sync::Arc;

use tenure_store::{StoreError, StoreErrorKind};
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

/// What `error`, met while `context` was being done, means to a caller.
pub(crate) fn store_error(context: &str, error: impl Into<Arc<Error>>) -> StoreError {
    let error = error.into();
    StoreError::new(kind(&error), context).with_source(error)
}

/// An error without a cause of PostgreSQL's: a deadline, or a store that is closed.
pub(crate) fn unavailable(context: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, context)
}

/// Stored data that does not decode.
pub(crate) fn damaged(context: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, context)
}

/// What a caller can do about `error`.
pub(crate) fn kind(error: &Error) -> StoreErrorKind {
    // Everything that is not the server's own error is a connection that did not hold; columns that do not
    // decode are told apart where they are read.
    error.code().map_or(StoreErrorKind::Unavailable, kind_of)
}

fn kind_of(state: &SqlState) -> StoreErrorKind {
    let code = state.code();
    match code {
        "53100" => StoreErrorKind::Full,
        // The server's own words for damage, and a right that an operator has taken away.
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        "42501" => StoreErrorKind::Unavailable,
        _ => match code.get(..2).unwrap_or_default() {
            // A row, an index entry or a statement that is larger than PostgreSQL keeps.
            "54" => StoreErrorKind::Full,
            // Values and constraints, and a schema that is not ours.
            "22" | "23" | "42" => StoreErrorKind::Corrupt,
            // Connections, resources, rollbacks, timeouts, an operator who intervened, a standby, a refused
            // login: nothing that the data is to blame for.
            _ => StoreErrorKind::Unavailable,
        },
    }
}

/// Whether the transaction was undone for the sake of another one and may succeed when it is run again:
/// a deadlock, a serialisation failure, a row that another transaction inserted first, or a guess about rows
/// that was wrong, see `append.sql`. In the last two cases that other transaction has ended, so
/// the next run sees what it did and decides anew.
pub(crate) fn is_repeatable(error: &Error) -> bool {
    let repeatable = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::UNIQUE_VIOLATION,
        SqlState::DIVISION_BY_ZERO,
    ];
    error.code().is_some_and(|code| repeatable.contains(code))
}

/// Whether the server said that the statement failed and the connection goes on, so that its transaction
/// is certainly undone. Anything else, met after the commit was asked for, tells nothing.
pub(crate) fn is_undone(error: &Error) -> bool {
    let severity = error.as_db_error().and_then(|error| error.parsed_severity());
    severity == Some(Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_map_to_kinds() {
        for (code, expected) in [
            ("53100", StoreErrorKind::Full),
            ("54000", StoreErrorKind::Full),
            ("53300", StoreErrorKind::Unavailable),
            ("08006", StoreErrorKind::Unavailable),
            ("57P01", StoreErrorKind::Unavailable),
            ("57014", StoreErrorKind::Unavailable),
            ("40P01", StoreErrorKind::Unavailable),
            ("28P01", StoreErrorKind::Unavailable),
            ("25006", StoreErrorKind::Unavailable),
            ("22P05", StoreErrorKind::Corrupt),
            ("23505", StoreErrorKind::Corrupt),
            ("42P01", StoreErrorKind::Corrupt),
            ("42501", StoreErrorKind::Unavailable),
            ("XX000", StoreErrorKind::Unavailable),
            ("XX001", StoreErrorKind::Corrupt),
        ] {
            assert_eq!(kind_of(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
