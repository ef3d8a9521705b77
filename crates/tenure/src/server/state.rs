//! Durable state: a file in the data directory, or a database that several nodes share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenure_project::Redacted;
use tenure_store::{Store, StoreError, StoreErrorKind};
use tenure_store_postgres::{BlobPlace, Options, PostgresStore};
use tenure_store_sqlite::SqliteStore;

use super::StartError;

/// Where durable state is.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// One file in the data directory, for one server.
    Embedded,
    /// PostgreSQL, for any number of servers.
    Postgres {
        /// Its URL, which may hold a password.
        url: Redacted,
        /// Where payloads are.
        blobs: BlobPlace,
    },
}

impl Database {
    /// From the command line: `database` is a URL, `blobs` is a directory or `s3://bucket`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(
        database: Option<Redacted>,
        blobs: Option<&str>,
        env: &tenure_project::Env,
    ) -> Result<Self, StartError> {
        let Some(url) = database else {
            return match blobs {
                None => Ok(Self::Embedded),
                Some(_) => Err(StartError::new("payloads have a place of their own only beside PostgreSQL")
                    .fix("leave --blobs out, or give --database postgres://...")),
            };
        };
        let blobs = match blobs {
            None => BlobPlace::Database,
            Some(text) => match text.strip_prefix("s3://") {
                Some(bucket) => bucket_of(bucket, env)?,
                None => BlobPlace::Directory(PathBuf::from(text)),
            },
        };
        Ok(Self::Postgres { url, blobs })
    }
}

#[cfg(feature = "s3")]
fn bucket_of(text: &str, env: &tenure_project::Env) -> Result<BlobPlace, StartError> {
    let (bucket, query) = text.split_once('?').unwrap_or((text, ""));
    let mut s3 = tenure_store_postgres::S3 {
        bucket: bucket.trim_end_matches('/').to_owned(),
        region: env.find("AWS_REGION").unwrap_or("us-east-1").to_owned(),
        endpoint: env.find("AWS_ENDPOINT_URL").map(str::to_owned),
        access_key_id: String::new(),
        secret_access_key: String::new(),
    };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "region" => s3.region = value.into_owned(),
            "endpoint" => s3.endpoint = Some(value.into_owned()),
            _ => {
                return Err(StartError::new(format!("--blobs does not know `{name}`"))
                    .fix("use s3://bucket?region=...&endpoint=..."));
            }
        }
    }
    let secret = |name: &str| {
        env.find(name).map(str::to_owned).ok_or_else(|| {
            StartError::new(format!("the object store's key is not known: {name} is not set"))
                .fix("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        })
    };
    s3.access_key_id = secret("AWS_ACCESS_KEY_ID")?;
    s3.secret_access_key = secret("AWS_SECRET_ACCESS_KEY")?;
    Ok(BlobPlace::S3(s3))
}

#[cfg(not(feature = "s3"))]
fn bucket_of(_: &str, _: &tenure_project::Env) -> Result<BlobPlace, StartError> {
    Err(StartError::new("this build does not speak to object stores")
        .fix("build with `--features s3`, or give --blobs a directory that all nodes share"))
}

/// Open durable state. Cheap to clone.
#[derive(Clone)]
pub(crate) enum State {
    Embedded(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
}

impl State {
    /// Opens it. The data directory is made in either case: keys and marks of this server are there.
    pub(crate) async fn open(database: &Database, data: &Path) -> Result<Self, StartError> {
        match database {
            Database::Embedded => {
                let store = SqliteStore::open(data)
                    .map_err(|error| told(&error).fix(directory_fix(error.kind(), data)))?;
                Ok(Self::Embedded(Arc::new(store)))
            }
            Database::Postgres { url, blobs } => {
                super::left::make_directory(data).map_err(|error| {
                    StartError::new(format!("the data directory `{}` cannot be made", data.display()))
                        .cause(error)
                })?;
                let options = Options::parse(url.expose()).map_err(|error| {
                    told(&error)
                        .fix("write it as postgres://user:password@host:5432/name?sslmode=verify-full")
                })?;
                let store = PostgresStore::open(&options.with_blobs(blobs.clone()))
                    .await
                    .map_err(|error| told(&error).fix(database_fix(error.kind())))?;
                Ok(Self::Postgres(Arc::new(store)))
            }
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// Transactions since it was opened.
    pub(crate) fn commits(&self) -> u64 {
        match self {
            Self::Embedded(store) => store.commits(),
            Self::Postgres(store) => store.commits(),
        }
    }

    /// Writes that those transactions carried.
    pub(crate) fn writes(&self) -> u64 {
        match self {
            Self::Embedded(store) => store.writes(),
            Self::Postgres(store) => store.writes(),
        }
    }

    /// Completes when this process can write no more and should start again.
    pub(crate) async fn fault(&self) -> StoreError {
        match self {
            Self::Embedded(store) => store.fault().await,
            // A database that is away comes back, and what is unknown is looked up then; one that was migrated
            // beyond this release does not.
            Self::Postgres(store) => store.fault().await,
        }
    }

    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }

    /// What an operator is told at the start.
    pub(crate) fn note(&self) -> Option<String> {
        match self {
            Self::Embedded(_) => None,
            Self::Postgres(_) => Some("durable state is in PostgreSQL; other nodes may share it".to_owned()),
        }
    }
}

/// What to do about a data directory that cannot be opened.
fn directory_fix(kind: StoreErrorKind, data: &Path) -> String {
    let shown = data.display();
    match kind {
        StoreErrorKind::Locked => {
            "end the other server, which `tenure doctor` names, or choose another directory with --data"
                .to_owned()
        }
        StoreErrorKind::TooNew => newer(),
        StoreErrorKind::Corrupt => {
            format!("see `tenure doctor`, keep a copy of '{shown}', and restore a backup")
        }
        StoreErrorKind::Full => format!("free some space: `df '{shown}'` says how much there is"),
        StoreErrorKind::Unavailable
        | StoreErrorKind::OlderNodes
        | StoreErrorKind::Conflict { .. }
        | StoreErrorKind::ReceiptExists
        | StoreErrorKind::Held
        | StoreErrorKind::BudgetExceeded
        | StoreErrorKind::UnknownCursor => {
            format!("let this user read and write it: `ls -ld '{shown}'` says who may")
        }
    }
}

/// What to do about a database that cannot be opened.
pub(crate) fn database_fix(kind: StoreErrorKind) -> String {
    match kind {
        StoreErrorKind::TooNew => newer(),
        StoreErrorKind::OlderNodes => {
            "upgrade these nodes first to the release before this one, which can live with both schemas, or end \
             them all: a node that was killed is in the way until its lease has run out"
                .to_owned()
        }
        StoreErrorKind::Corrupt => {
            "see `tenure doctor`, and that the URL names Tenure's own database; if it does, restore a backup"
                .to_owned()
        }
        StoreErrorKind::Full => "free some space on the database's disk".to_owned(),
        StoreErrorKind::Unavailable
        | StoreErrorKind::Locked
        | StoreErrorKind::Conflict { .. }
        | StoreErrorKind::ReceiptExists
        | StoreErrorKind::Held
        | StoreErrorKind::BudgetExceeded
        | StoreErrorKind::UnknownCursor => {
            "see that the database answers, with `psql` and the same URL".to_owned()
        }
    }
}

fn newer() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("start the release that wrote it or a later one; this is {version} (`tenure --version`)")
}

fn told(error: &StoreError) -> StartError {
    let told = StartError::new(error.to_string());
    match std::error::Error::source(error) {
        Some(source) => told.cause(source),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to do about a directory that cannot be opened.
    async fn fix(data: &Path) -> String {
        let refused = State::open(&Database::Embedded, data).await.err().expect("it cannot be opened");
        refused.fix.expect("something to do")
    }

    #[tokio::test]
    async fn each_reason_has_its_own_fix() {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        let held = State::open(&Database::Embedded, &data).await.expect("opens");
        assert!(fix(&data).await.contains("end the other server"));
        held.close().await.expect("closes");
        drop(held);

        let database = rusqlite::Connection::open(data.join("tenure.db")).expect("opens");
        let newer = "INSERT INTO migrations VALUES (1000, 'later', 'b3:0')";
        database.execute(newer, []).expect("a migration of a later release");
        drop(database);
        assert!(fix(&data).await.contains("a later one"), "{}", fix(&data).await);

        std::fs::write(data.join("tenure.db"), [b'x'; 4096]).expect("writes");
        assert!(fix(&data).await.contains("restore a backup"), "{}", fix(&data).await);

        let file = root.path().join("file");
        std::fs::write(&file, "").expect("writes");
        assert!(fix(&file.join("data")).await.contains("ls -ld"), "{}", fix(&file.join("data")).await);
    }
}
