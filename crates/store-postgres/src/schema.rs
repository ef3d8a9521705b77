//! Migrations: numbered, forward only, and recorded with the digest of what was run.
//!
//! While a cluster is upgraded, nodes of two releases share a database. A migration therefore says from which
//! schema on a release can live with it: one that adds a table or a column is compatible with the release
//! before, one that changes the meaning of a row is not.

use tenure_store::{StoreError, StoreErrorKind};
use tokio_postgres::{Client, Error};

use crate::connect::{Connection, STATEMENT_DEADLINE, within};
use crate::error::{damaged, unavailable};

/// The oldest server this works on: 15.
const SERVER_VERSION_MIN: i32 = 150_000;

struct Migration {
    number: i32,
    name: &'static str,
    sql: &'static str,
    /// The schema of the oldest release that may keep running when this has been run.
    compatible_from: i32,
}

const MIGRATIONS: &[Migration] = &[Migration {
    number: 1,
    name: "first",
    sql: include_str!("../migrations/0001_first.sql"),
    compatible_from: 1,
}];

impl Migration {
    fn digest(&self) -> String {
        format!("b3:{}", blake3::hash(self.sql.as_bytes()).to_hex())
    }
}

/// A migration that was run.
struct Run {
    number: i32,
    digest: String,
    compatible_from: i32,
}

/// Brings the schema to this release's, in one transaction; processes that do so at once wait for each
/// other.
///
/// # Errors
/// `TooNew`: a migration was run that this release does not know and cannot live with. `Corrupt`: one was
/// run that is not the one this release knows by its number. `Unavailable`: also a server that is too old,
/// or a database whose encoding is not UTF-8.
pub(crate) async fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let context = "preparing the schema";
    let client = &connection.client;
    check_server(client).await?;
    let begin = async {
        client.batch_execute("BEGIN").await?;
        client.batch_execute(include_str!("../sql/migration_lock.sql")).await?;
        client.batch_execute(include_str!("../sql/create_migrations.sql")).await?;
        recorded(client).await
    };
    let done = within(STATEMENT_DEADLINE, context, begin).await?;
    check(&done)?;
    let run = async {
        for migration in MIGRATIONS.iter().skip(done.len()) {
            client.batch_execute(migration.sql).await?;
            let put = include_str!("../sql/put_migration.sql");
            let Migration { number, name, compatible_from, .. } = migration;
            client.execute(put, &[number, name, &migration.digest(), compatible_from]).await?;
        }
        client.batch_execute("COMMIT").await
    };
    within(STATEMENT_DEADLINE, context, run).await
}

/// What schema a database has.
pub(crate) enum Schema {
    /// None of ours.
    Missing,
    /// One that this release would change first.
    Older,
    /// One that this release can read.
    Current,
}

/// Looks at the schema and changes nothing.
///
/// # Errors
/// As [`migrate`].
pub(crate) async fn look(connection: &Connection) -> Result<Schema, StoreError> {
    let client = &connection.client;
    check_server(client).await?;
    let found = async {
        let row = client.query_one(include_str!("../sql/has_migrations.sql"), &[]).await?;
        if row.try_get(0)? { recorded(client).await.map(Some) } else { Ok(None) }
    };
    let Some(done) = within(STATEMENT_DEADLINE, "reading the schema", found).await? else {
        return Ok(Schema::Missing);
    };
    check(&done)?;
    Ok(if done.len() < MIGRATIONS.len() { Schema::Older } else { Schema::Current })
}

async fn check_server(client: &Client) -> Result<(), StoreError> {
    let query = client.query_one(include_str!("../sql/server.sql"), &[]);
    let row = within(STATEMENT_DEADLINE, "asking for the server's version", query).await?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < SERVER_VERSION_MIN {
        let major = version / 10_000;
        return Err(unavailable(format!(
            "opening a database of PostgreSQL {major}, where 15 is the oldest that works"
        )));
    }
    if encoding != "UTF8" {
        return Err(unavailable(format!(
            "opening a database with the encoding `{encoding}` instead of `UTF8`"
        )));
    }
    Ok(())
}

async fn recorded(client: &Client) -> Result<Vec<Run>, Error> {
    let rows = client.query(include_str!("../sql/migrations.sql"), &[]).await?;
    let run = |row: &tokio_postgres::Row| -> Result<Run, Error> {
        Ok(Run { number: row.try_get(0)?, digest: row.try_get(1)?, compatible_from: row.try_get(2)? })
    };
    rows.iter().map(run).collect()
}

fn check(done: &[Run]) -> Result<(), StoreError> {
    let newest = MIGRATIONS.last().map_or(0, |migration| migration.number);
    for (index, run) in done.iter().enumerate() {
        let number = run.number;
        match MIGRATIONS.get(index) {
            Some(migration) if migration.number == number && migration.digest() == run.digest => {}
            None if run.compatible_from <= newest => {
                tracing::info!(
                    schema = number,
                    "the database has a newer schema that this release can live with"
                );
            }
            None => {
                let context = format!(
                    "opening a database at schema {number}, where this release knows up to {newest} \
                     and {} is needed",
                    run.compatible_from
                );
                return Err(StoreError::new(StoreErrorKind::TooNew, context));
            }
            Some(migration) => {
                return Err(damaged(format!(
                    "opening a database whose migration {number} is `{}` and not `{}` (`{}`)",
                    run.digest,
                    migration.digest(),
                    migration.name
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_from_one_and_compatible_with_themselves() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(migration.number), Ok(index + 1), "{}", migration.name);
            assert!((1..=migration.number).contains(&migration.compatible_from), "{}", migration.name);
        }
    }
}
