//! Migrations: numbered, forward only, and recorded with the digest of what was run.
//!
//! While a cluster is upgraded, nodes of two releases share a database. A migration therefore says from which
//! schema on a release can live with it: one that adds a table or a column is compatible with the release
//! before, one that changes the meaning of a row is not, and is made only once no node is alive that could
//! not live with it. A change of meaning therefore takes two releases: one that knows both, and, when every
//! node runs it, one that migrates.
//!
//! A node whose lease ran out unnoticed finds out before it writes, see `watch.rs`.

use tenure_store::{StoreError, StoreErrorKind};
use tokio_postgres::{Client, Error};

use crate::connect::{Connection, STATEMENT_DEADLINE, within};
use crate::error::{damaged, unavailable};
use crate::read::value;

/// The oldest server this works on: 15.
const SERVER_VERSION_MIN: i32 = 150_000;

struct Migration {
    number: i32,
    name: &'static str,
    sql: &'static str,
    /// The schema of the oldest release that may keep running when this has been run.
    compatible_from: i32,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "first",
        sql: include_str!("../migrations/0001_first.sql"),
        compatible_from: 1,
    },
    Migration {
        number: 2,
        name: "releases",
        sql: include_str!("../migrations/0002_releases.sql"),
        compatible_from: 1,
    },
    Migration {
        number: COLLECTION,
        name: "collection",
        sql: include_str!("../migrations/0003_collection.sql"),
        compatible_from: 1,
    },
    Migration {
        number: 4,
        name: "audit",
        sql: include_str!("../migrations/0004_audit.sql"),
        compatible_from: 1,
    },
    Migration {
        number: 5,
        name: "memory",
        sql: include_str!("../migrations/0005_memory.sql"),
        compatible_from: 1,
    },
    Migration {
        number: 6,
        name: "facts",
        sql: include_str!("../migrations/0006_facts.sql"),
        compatible_from: 1,
    },
    Migration {
        number: 7,
        name: "vectors",
        sql: include_str!("../migrations/0007_vectors.sql"),
        compatible_from: 1,
    },
    Migration {
        number: 8,
        name: "budget_uses",
        sql: include_str!("../migrations/0008_budget_uses.sql"),
        compatible_from: 1,
    },
];

/// The schema from which on nodes stamp the payloads they keep.
pub(crate) const COLLECTION: i32 = 3;
/// The schema that every node can live with, whatever it runs: before the next, nodes did not say.
const FIRST: i32 = 1;
/// Nodes of older releases that a refusal names.
const NODES_NAMED_MAX: usize = 5;

/// Answers which schema a release must know.
pub(crate) const NEEDED: &str = include_str!("../sql/needed_schema.sql");

/// The newest schema that this release knows.
pub(crate) fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |migration| migration.number)
}

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
/// `TooNew`: a migration was run that this release does not know and cannot live with. `OlderNodes`: a node is
/// alive that could not live with one that is to be run; nothing was changed. `Corrupt`: one was run that is
/// not the one this release knows by its number. `Unavailable`: also a server that is too old, or a database
/// whose encoding is not UTF-8.
pub(crate) async fn migrate(connection: &Connection) -> Result<(), StoreError> {
    run(connection, MIGRATIONS).await
}

async fn run(connection: &Connection, migrations: &[Migration]) -> Result<(), StoreError> {
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
    check(&done, migrations)?;
    for migration in migrations.iter().skip(done.len()) {
        refuse_older_nodes(client, migration).await?;
        let run = async {
            client.batch_execute(migration.sql).await?;
            let put = include_str!("../sql/put_migration.sql");
            let Migration { number, name, compatible_from, .. } = migration;
            client.execute(put, &[number, name, &migration.digest(), compatible_from]).await
        };
        within(STATEMENT_DEADLINE, context, run).await?;
    }
    within(STATEMENT_DEADLINE, context, client.batch_execute("COMMIT")).await
}

/// From here to the commit no lease is extended, so none of an older release begins to run again.
async fn refuse_older_nodes(client: &Client, migration: &Migration) -> Result<(), StoreError> {
    if migration.compatible_from <= FIRST {
        return Ok(());
    }
    let found = async {
        client.batch_execute(include_str!("../sql/lock_nodes.sql")).await?;
        client.query(include_str!("../sql/older_nodes.sql"), &[&migration.compatible_from]).await
    };
    let found = within(STATEMENT_DEADLINE, "looking for nodes of older releases", found).await?;
    if found.is_empty() {
        return Ok(());
    }
    let mut named = Vec::new();
    for row in found.iter().take(NODES_NAMED_MAX) {
        let (node, schema): (String, i32) = (value(row, 0)?, value(row, 1)?);
        let (release, left): (Option<String>, i64) = (value(row, 2)?, value(row, 3)?);
        let release = release.map(|release| format!("release {release}, ")).unwrap_or_default();
        named.push(format!("`{node}` ({release}schema {schema}, lease for another {left} s)"));
    }
    let more = found.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let context = format!(
        "migration {} (`{}`) needs every node to know schema {}: {}{more}",
        migration.number,
        migration.name,
        migration.compatible_from,
        named.join(", ")
    );
    // The transaction ends with its connection.
    Err(StoreError::new(StoreErrorKind::OlderNodes, context))
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
    check(&done, MIGRATIONS)?;
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

fn check(done: &[Run], migrations: &[Migration]) -> Result<(), StoreError> {
    let newest = migrations.last().map_or(0, |migration| migration.number);
    for (index, run) in done.iter().enumerate() {
        let number = run.number;
        match migrations.get(index) {
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
    use std::time::Duration;

    use tenure_journal::{Fresh, NodeId, ProjectId, Timestamp};
    use tenure_store::{Document, DocumentKind, Store as _};
    use tenure_testkit::postgres::Postgres;

    use super::*;
    use crate::connect::{Connector, READER_SETTINGS};
    use crate::{Options, PostgresStore};

    #[test]
    fn migrations_are_numbered_from_one_and_compatible_with_themselves() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(migration.number), Ok(index + 1), "{}", migration.name);
            assert!((1..=migration.number).contains(&migration.compatible_from), "{}", migration.name);
        }
    }

    /// The newest schema that this release knows.
    const KNOWN: i32 = MIGRATIONS.len() as i32;
    /// The next release: its migration changes what a row means.
    const NEXT: Migration = Migration {
        number: KNOWN + 1,
        name: "meaning",
        sql: "ALTER TABLE blobs RENAME TO payloads",
        compatible_from: KNOWN + 1,
    };

    async fn upgrade(options: &Options) -> Result<(), StoreError> {
        let connection = Connector::new(options)?.connect(READER_SETTINGS).await?;
        let copy = |migration: &Migration| Migration { ..*migration };
        let migrations: Vec<_> = MIGRATIONS.iter().map(copy).chain([NEXT]).collect();
        run(&connection, &migrations).await
    }

    #[tokio::test]
    async fn a_migration_waits_for_older_nodes_and_fences_those_that_come_back() {
        let database = Postgres::shared().database();
        let options = Options::parse(&database.url()).expect("the URL is one");
        let older = PostgresStore::open(&options).await.expect("opens");
        let node = NodeId::fresh(&Fresh::new(Timestamp::EPOCH, 1));
        older.heartbeat(node, Duration::from_secs(3600)).await.expect("begins a lease");

        let refused = upgrade(&options).await.expect_err("a node is alive that does not know it");
        assert_eq!(refused.kind(), StoreErrorKind::OlderNodes, "{refused}");
        let told = refused.to_string();
        for part in [
            format!("migration {} (`meaning`)", NEXT.number),
            node.to_string(),
            format!("release 0.1.0, schema {KNOWN}"),
            "another 3600 s".to_owned(),
        ] {
            assert!(told.contains(&part), "{told}");
        }
        older
            .put_blob(ProjectId::fresh(&Fresh::new(Timestamp::EPOCH, 1)), "as before".into())
            .await
            .expect("a refusal changes nothing");

        // The node stands still until its lease is over, and does not know it.
        older.heartbeat(node, Duration::ZERO).await.expect("its last for a while");
        upgrade(&options).await.expect("no node is in the way");
        for _ in 0..2 {
            let document = Document {
                project: ProjectId::fresh(&Fresh::new(Timestamp::EPOCH, 1)),
                kind: DocumentKind::Agent,
                id: "a".to_owned(),
                version: 1,
                name: None,
                body: serde_json::Value::Null,
                created_at: Timestamp::EPOCH,
                updated_at: Timestamp::EPOCH,
                wake_at: None,
                deleted: false,
            };
            let refused = older.put(vec![document], None).await.expect_err("it must not write any more");
            assert_eq!(refused.kind(), StoreErrorKind::TooNew, "{refused}");
        }
        let refused = older.heartbeat(node, Duration::from_secs(3600)).await.expect_err("nor live on");
        assert_eq!(refused.kind(), StoreErrorKind::TooNew, "{refused}");
        assert_eq!(older.nodes().await.expect("counts"), 0, "what is too old has no lease");
        let fault = older.fault().await;
        let needed = format!("schema {} is needed and this release knows up to {KNOWN}", NEXT.number);
        assert!(fault.to_string().contains(&needed), "{fault}");
        let again = PostgresStore::open(&options).await.expect_err("it does not start again either");
        assert_eq!(again.kind(), StoreErrorKind::TooNew, "{again}");
    }

    #[tokio::test]
    async fn a_migration_that_older_releases_can_live_with_waits_for_nobody() {
        let database = Postgres::shared().database();
        let options = Options::parse(&database.url()).expect("the URL is one");
        let connector = Connector::new(&options).expect("connects");
        let connection = connector.connect(READER_SETTINGS).await.expect("connects");
        let [first, ..] = MIGRATIONS else { panic!("this test is about the release of schema 1") };
        run(&connection, &[Migration { ..*first }]).await.expect("the first release");
        // Its heartbeat, as that release makes it.
        let beat = "INSERT INTO nodes (node_id, lease_until) VALUES ('node_1', clock_timestamp() + interval '1 hour')";
        connection.client.batch_execute(beat).await.expect("beats");
        let newer = PostgresStore::open(&options).await.expect("side by side");
        assert_eq!(newer.nodes().await.expect("counts"), 1);
        let told = upgrade(&options).await.expect_err("the next one does not").to_string();
        assert!(told.contains("`node_1` (schema 1, lease"), "{told}");
    }
}
