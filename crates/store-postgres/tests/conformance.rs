//! The store passes the suite that every implementation passes.

use std::sync::{Arc, Mutex};

use tenure_store::{Store, conformance};
use tenure_store_postgres::{BlobPlace, Options, PostgresStore};
use tenure_testkit::postgres::{Database, Postgres};

/// Opens stores in databases that live as long as this value.
struct Databases {
    server: Arc<Postgres>,
    databases: Mutex<Vec<Database>>,
}

impl Databases {
    fn new() -> Self {
        Self { server: Postgres::shared(), databases: Mutex::default() }
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.open_at(BlobPlace::Database).await
    }

    async fn open_at(&self, place: BlobPlace) -> Arc<dyn Store> {
        self.open_with(|options| options.with_blobs(place)).await
    }

    async fn open_with(&self, set: impl FnOnce(Options) -> Options) -> Arc<dyn Store> {
        let database = self.server.database();
        let options = Options::parse(&database.url()).expect("the URL is one").with_connections(2, 2);
        let store = PostgresStore::open(&set(options)).await.expect("a new store opens");
        self.databases.lock().expect("not poisoned").push(database);
        Arc::new(store)
    }
}

#[tokio::test]
async fn conforms() {
    let databases = Databases::new();
    conformance::run(async || databases.open().await).await;
}

/// The same with payloads beside the database.
#[tokio::test]
async fn conforms_with_an_object_store() {
    let databases = Databases::new();
    let directory = tempfile::tempdir().expect("a directory");
    let numbers = std::sync::atomic::AtomicU32::new(0);
    let open = async || {
        let number = numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let place = directory.path().join(number.to_string());
        std::fs::create_dir(&place).expect("made");
        databases.open_at(BlobPlace::Directory(place)).await
    };
    conformance::run(open).await;
}

/// The same where every space gets an index of its vectors, if the server has pgvector.
#[tokio::test]
async fn conforms_with_an_index_of_vectors() {
    let databases = Databases::new();
    conformance::run(async || databases.open_with(|options| options.with_indexed_from(1)).await).await;
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    let databases = Databases::new();
    for seed in 0..10 {
        conformance::random(async || databases.open().await, seed, 400).await;
    }
}
