//! The in-memory model passes the suite, and models what a crash leaves.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tenure_journal::{
    AgentId, BlobRef, Event, Fresh, Head, ProjectId, SessionId, SessionKey, Timestamp, Version,
};
use tenure_store::{Append, MemoryStore, Store, conformance};

fn ready(future: impl Future<Output = ()>) {
    future.now_or_never().expect("a store in memory never waits");
}

#[test]
fn durable_at_once_conforms() {
    ready(conformance::run(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>));
}

#[test]
fn volatile_conforms() {
    ready(conformance::run(async || Arc::new(MemoryStore::volatile()) as Arc<dyn Store>));
}

#[test]
fn random_operations_agree() {
    for seed in 0..10 {
        ready(conformance::random(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>, seed, 500));
    }
}

/// What is durable after a sync is what was seen before it.
#[test]
fn crash_after_sync_changes_nothing() {
    for seed in 0..10 {
        let store = Arc::new(MemoryStore::volatile());
        ready(conformance::random(async || Arc::clone(&store) as Arc<dyn Store>, seed, 300));
        assert!(store.unsynced() > 0);
        let before = sessions(&store);
        store.sync();
        store.crash();
        assert_eq!(sessions(&store), before, "seed {seed}");
        assert_eq!(store.unsynced(), 0);
    }
}

#[test]
fn crash_keeps_a_prefix_of_what_was_not_synced() {
    let fresh = Fresh::new(Timestamp::from_millis(5), 1);
    let key = SessionKey { project: ProjectId::fresh(&fresh), session: SessionId::fresh(&fresh) };
    let store = MemoryStore::volatile();
    store.append_now(append(key, 0)).expect("opens");
    store.sync();
    for version in 1..5 {
        store.append_now(append(key, version)).expect("extends");
    }
    store.put_blob_now(key.project, Bytes::from_static(b"x")).expect("kept");
    assert_eq!(store.unsynced(), 5);

    let fork = store.fork();
    assert_eq!(version(&fork, key), 1, "a fork begins with the durable state");
    fork.append_now(append(key, 1)).expect("extends");

    store.crash_keeping(2);
    assert_eq!(version(&store, key), 3);
    assert_eq!(store.blob_now(key.project, BlobRef::of(b"x")).expect("answers"), None);
    store.append_now(append(key, 3)).expect("goes on where the durable journal ends");
    store.crash();
    assert_eq!(version(&store, key), 3);
    assert_eq!(version(&fork, key), 2, "a fork lives alone");

    let durable = MemoryStore::new();
    durable.append_now(append(key, 0)).expect("opens");
    durable.crash();
    assert_eq!((version(&durable, key), durable.unsynced()), (1, 0), "durable at once");
}

fn sessions(store: &MemoryStore) -> String {
    let keys = store.keys_now();
    assert!(!keys.is_empty());
    let loaded = keys.iter().map(|key| format!("{:?} {:?}", store.head_now(*key), store.load_now(*key)));
    loaded.collect::<Vec<_>>().join("\n")
}

fn version(store: &MemoryStore, key: SessionKey) -> usize {
    store.load_now(key).expect("answers").map_or(0, |stored| stored.tail.len())
}

fn append(key: SessionKey, expected: u64) -> Append {
    let now = Timestamp::from_millis(5);
    let head = Head::idle(key, AgentId::fresh(&Fresh::new(now, 2)), now);
    Append::of(Version(expected), now, vec![Event::SessionDeleted], head)
}
