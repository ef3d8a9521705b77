//! The store passes the suite that every implementation passes.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tenure_store::{Store, conformance};
use tenure_store_sqlite::SqliteStore;

/// Opens stores in directories that live as long as this value.
#[derive(Default)]
struct Directories(Mutex<Vec<TempDir>>);

impl Directories {
    fn open(&self) -> Arc<dyn Store> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(directory.path()).expect("a new store opens");
        self.0.lock().expect("not poisoned").push(directory);
        Arc::new(store)
    }
}

#[tokio::test]
async fn conforms() {
    let directories = Directories::default();
    conformance::run(async || directories.open()).await;
}

#[tokio::test]
async fn random_operations_agree_with_the_model() {
    let directories = Directories::default();
    for seed in 0..10 {
        conformance::random(async || directories.open(), seed, 400).await;
    }
}
