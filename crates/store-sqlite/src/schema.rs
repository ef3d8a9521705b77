//! Migrations: numbered, forward only, and recorded with the digest of what was run.

use rusqlite::{Connection, TransactionBehavior};
use tenure_store::{StoreError, StoreErrorKind};

use crate::error::store_error;

struct Migration {
    number: u32,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "first", sql: include_str!("../migrations/0001_first.sql") },
    Migration { number: 2, name: "collection", sql: include_str!("../migrations/0002_collection.sql") },
    Migration { number: 3, name: "audit", sql: include_str!("../migrations/0003_audit.sql") },
    Migration { number: 4, name: "memory", sql: include_str!("../migrations/0004_memory.sql") },
    Migration { number: 5, name: "facts", sql: include_str!("../migrations/0005_facts.sql") },
    Migration { number: 6, name: "vectors", sql: include_str!("../migrations/0006_vectors.sql") },
    Migration { number: 7, name: "budget_uses", sql: include_str!("../migrations/0007_budget_uses.sql") },
    Migration { number: 8, name: "sketches", sql: include_str!("../migrations/0008_sketches.sql") },
    Migration { number: 9, name: "unindexed", sql: include_str!("../migrations/0009_unindexed.sql") },
    Migration {
        number: 10,
        name: "sketch_blocks",
        sql: include_str!("../migrations/0010_sketch_blocks.sql"),
    },
];

impl Migration {
    fn digest(&self) -> String {
        format!("b3:{}", blake3::hash(self.sql.as_bytes()).to_hex())
    }
}

/// Brings the schema to this release's, in one transaction.
///
/// # Errors
/// `TooNew`: a migration this release does not know was run. `Corrupt`: one was run that is not the one
/// this release knows by its number.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrate_to(connection, MIGRATIONS.len())
}

/// The same, of a release that knew so many migrations.
pub(crate) fn migrate_to(connection: &mut Connection, count: usize) -> Result<(), StoreError> {
    let failed = |error| store_error("preparing the schema", error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    transaction.execute_batch(include_str!("../sql/create_migrations.sql")).map_err(failed)?;
    let done = recorded(&transaction).map_err(failed)?;
    for (index, (number, digest)) in done.iter().enumerate() {
        check(MIGRATIONS.get(index), *number, digest)?;
    }
    for migration in MIGRATIONS.iter().take(count).skip(done.len()) {
        transaction.execute_batch(migration.sql).map_err(failed)?;
        let row = (migration.number, migration.name, migration.digest());
        transaction.execute(include_str!("../sql/put_migration.sql"), row).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Whether every migration of this release was run. Only reads.
///
/// # Errors
/// As [`migrate`]; `Corrupt` also where migrations were never recorded.
pub(crate) fn is_current(connection: &Connection) -> Result<bool, StoreError> {
    let done = recorded(connection).map_err(|error| store_error("reading the schema", error))?;
    for (index, (number, digest)) in done.iter().enumerate() {
        check(MIGRATIONS.get(index), *number, digest)?;
    }
    Ok(done.len() == MIGRATIONS.len())
}

fn recorded(connection: &Connection) -> rusqlite::Result<Vec<(u32, String)>> {
    let mut statement = connection.prepare(include_str!("../sql/migrations.sql"))?;
    statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn check(known: Option<&Migration>, number: u32, digest: &str) -> Result<(), StoreError> {
    match known {
        None => {
            let newest = MIGRATIONS.len();
            let context =
                format!("opening a database at schema {number}, where this release knows up to {newest}");
            Err(StoreError::new(StoreErrorKind::TooNew, context))
        }
        Some(migration) if migration.number == number && migration.digest() == digest => Ok(()),
        Some(migration) => {
            let context = format!(
                "opening a database whose migration {number} is `{digest}` and not `{}` (`{}`)",
                migration.digest(),
                migration.name
            );
            Err(StoreError::new(StoreErrorKind::Corrupt, context))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Having, Index};

    #[test]
    fn migrations_are_numbered_from_one() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.number as usize, index + 1, "{}", migration.name);
        }
    }

    #[test]
    fn migrating_again_changes_nothing() {
        let mut connection = Connection::open_in_memory().expect("opens");
        migrate(&mut connection).expect("migrates");
        migrate(&mut connection).expect("is up to date");
        assert_eq!(recorded(&connection).expect("reads").len(), MIGRATIONS.len());
    }

    /// What an earlier release remembered is found beside what is remembered now.
    #[test]
    fn what_was_indexed_before_the_ninth_is_found_after_it() {
        let mut connection = Connection::open_in_memory().expect("opens");
        migrate_to(&mut connection, 8).expect("an earlier schema");
        let old = "INSERT INTO episodes (project_id, session_id, ordinal, item_id, space, agent_id, at, speaker, text)
                   VALUES ('p', 's', ?1, 'i', 'm', 'a', ?1, 'user', '')";
        for number in 1..=3 {
            connection.execute(old, [number]).expect("a row");
            let put = include_str!("../sql/put_episode_terms.sql");
            connection.execute(put, (number, format!("m·word m·w{number}"))).expect("its terms");
        }
        migrate(&mut connection).expect("migrates");
        let new = old.replace("text)", "text, terms)").replace("'')", "'', 'word w' || ?1)");
        connection.execute(&new, [4]).expect("a row");
        for _ in 0..2 {
            let index = Index::of_space(&connection, "m", ["word", "w2", "w4"]).expect("reads");
            assert_eq!(index.count().expect("counts"), 4);
            assert_eq!(index.latest(9).expect("reads"), [4, 3, 2, 1]);
            let having = |term| index.having(&Having::term(term), 9).expect("reads");
            assert_eq!((having("word"), having("w2"), having("w4")), (vec![4, 3, 2, 1], vec![2], vec![4]));
            crate::index::fill(&connection).expect("indexes");
        }
        let waiting = "SELECT count(*) FROM episodes WHERE terms IS NOT NULL";
        assert_eq!(connection.query_row(waiting, (), |row| row.get(0)), Ok(0));
    }

    #[test]
    fn refuses_other_migrations() {
        for (number, digest, expected) in
            [(99, "b3:0", StoreErrorKind::TooNew), (1, "b3:0", StoreErrorKind::Corrupt)]
        {
            let mut connection = Connection::open_in_memory().expect("opens");
            migrate(&mut connection).expect("migrates");
            let put = "INSERT OR REPLACE INTO migrations VALUES (?1, 'x', ?2)";
            connection.execute(put, (number, digest)).expect("writes");
            assert_eq!(migrate(&mut connection).expect_err("refused").kind(), expected);
        }
    }
}
