//! Collecting payloads against sessions that come, fork, go back and go: what a session refers to is never
//! forgotten, and what nobody refers to is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use tenure_journal::{
    BlobRef, ContainerSize, Environment, EnvironmentId, Fresh, HostedEnvironment, Network, Packages,
    ProjectId, SessionId, SessionKey, Timestamp, WorkspaceRoot,
};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_runtime::{Collected, EnvironmentConfig, Limits, Opening, Runtime};
use tenure_session::{Command, Point};
use tenure_store::{DocumentKind, MemoryStore, Order, Page, Stamp, Store};
use tenure_workspace::manifest::{Content, Entry, FileNode, Node, Time, encode_directory};
use tenure_workspace::{Chunks, Digest, MemoryChunks, reachable};

use crate::support::{SCRIPT, opening, start, start_hosting};

/// How old a payload is that is collected. The store's clock moves only when the test moves it.
const GRACE: Duration = Duration::from_millis(50);
/// How long something may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tree of files, as the payloads it is made of.
struct Tree {
    root: WorkspaceRoot,
    payloads: Vec<Bytes>,
}

/// Files `0..count` of one byte each: a tree shares its chunks with every larger one.
fn tree(count: u8) -> Tree {
    let mut payloads: Vec<Bytes> = (0..count).map(|file| Bytes::from(vec![file])).collect();
    let file = |content: &Bytes| FileNode {
        mode: 0o644,
        modified: Time::default(),
        size: content.len() as u64,
        content: Content::Chunk(Digest::of(content)),
    };
    let entry = |(name, content)| Entry { name: vec![b'a' + name], node: Node::File(file(content)) };
    let inner = encode_directory(&(0..).zip(&payloads).map(entry).collect::<Vec<_>>()).expect("encodes");
    let node = Node::Directory { mode: 0o755, digest: Digest::of(&inner) };
    let root = encode_directory(&[Entry { name: b"d".to_vec(), node }]).expect("encodes");
    let digest = Digest::of(&root);
    payloads.extend([Bytes::from(inner), Bytes::from(root)]);
    Tree { root: WorkspaceRoot::new(*digest.as_bytes()), payloads }
}

fn project() -> ProjectId {
    opening("").opened.project_id
}

async fn keep(store: &MemoryStore, tree: &Tree) {
    for payload in &tree.payloads {
        store.put_blob(project(), payload.clone()).await.expect("keeps");
    }
}

/// An environment that begins with these files.
fn hosted(session: SessionId, root: WorkspaceRoot) -> HostedEnvironment {
    HostedEnvironment {
        id: EnvironmentId::of_session(session),
        network: Network::Disabled,
        size: ContainerSize::Small,
        files: Vec::new(),
        packages: Packages::default(),
        setup: Vec::new(),
        variables: None,
        base: Some(root),
        capabilities: tenure_journal::Capabilities::default(),
    }
}

/// A session whose environment begins with these files.
async fn open(runtime: &Runtime, root: WorkspaceRoot) -> SessionKey {
    let mut opened = opening("").opened;
    let session = SessionId::fresh(&runtime.fresh());
    opened.environment = Environment::Hosted(Box::new(hosted(session, root)));
    let opening = Opening { opened, input: Vec::new() };
    let (view, _) = runtime.open_as(session, opening, None, false).await.expect("opens");
    view.key
}

async fn delete(runtime: &Runtime, key: SessionKey) {
    runtime.submit(key, vec![Command::Delete], None).await.expect("deletes");
}

/// Whether everything a tree leads to is in the store.
async fn check(store: &MemoryStore, root: WorkspaceRoot, why: &str) {
    let chunks = MemoryChunks::default();
    for (of, blob) in store.old_blobs(Stamp(u64::MAX), None, usize::MAX).await.expect("lists") {
        if let Some(payload) = store.blob(of, blob).await.expect("reads") {
            chunks.put(Digest::of(&payload), payload.to_vec());
        }
    }
    let reached = reachable(&Digest::from_bytes(*root.digest()), &chunks).expect(why);
    for digest in reached {
        chunks.read(&digest, 1 << 20).expect(why);
    }
}

/// Collects until nothing is left, because what was deleted in this very millisecond still counts.
async fn collect_all(runtime: &Runtime, store: &MemoryStore) {
    let began = Instant::now();
    loop {
        store.pass(GRACE);
        runtime.collect(None, Duration::ZERO).await.expect("collects");
        if store.old_blobs(Stamp(u64::MAX), None, 1).await.expect("lists").is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "what nobody refers to is forgotten");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_fork_keeps_what_its_parent_leaves() {
    let store = Arc::new(MemoryStore::new());
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    let files = tree(3);
    keep(&store, &files).await;
    store
        .put_blob(project(), Bytes::from_static(b"a snapshot that was never committed"))
        .await
        .expect("keeps");
    let parent = open(&runtime, files.root).await;
    let grace = runtime.collect(None, GRACE).await.expect("collects");
    assert_eq!((grace.old, grace.forgotten), (0, 0), "what is recent is not even looked at");
    store.pass(GRACE * 2);
    let first = runtime.collect(None, GRACE).await.expect("collects");
    assert_eq!((first.sessions, first.old, first.forgotten, first.forgotten_bytes), (1, 6, 1, 35));

    let child = runtime.fork(parent, Point::Latest, None).await.expect("forks");
    let forks = Page { after: None, limit: 9, order: Order::Ascending };
    let name = parent.session.to_string();
    let found = store.documents(project(), DocumentKind::Fork, Some(&name), &forks).await.expect("lists");
    assert_eq!(found.len(), 1, "the forks of a session can be found");
    assert_eq!(found[0].id, child.key.session.to_string());
    delete(&runtime, parent).await;
    store.pass(GRACE * 2);
    let second = runtime.collect(None, Duration::ZERO).await.expect("collects");
    assert_eq!((second.forgotten, second.left), (0, 0));
    check(&store, files.root, "the fork's files are there").await;
    let again = runtime.fork(child.key, Point::Latest, None).await.expect("a fork is forked");
    delete(&runtime, child.key).await;
    delete(&runtime, again.key).await;
    collect_all(&runtime, &store).await;
    runtime.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn an_environment_that_waits_keeps_its_files_and_one_that_expired_does_not() {
    let script = Arc::new(Script::parse(SCRIPT).expect("a valid script"));
    for (prewarmed, keeps) in [(Duration::from_secs(3_600), true), (Duration::ZERO, false)] {
        let store = Arc::new(MemoryStore::new());
        let model = Arc::new(ScriptedModel::new(Arc::clone(&script)));
        let environments = EnvironmentConfig { prewarmed, ..EnvironmentConfig::default() };
        let limits = Limits::default();
        let runtime = start_hosting(Arc::clone(&store), Arc::default(), model, limits, environments).await;
        let files = tree(2);
        keep(&store, &files).await;
        let session = SessionId::fresh(&runtime.fresh());
        let view =
            runtime.prewarm(project(), hosted(session, files.root), Vec::new(), None).await.expect("opens");
        runtime.submit(view.key, vec![Command::ExpireEnvironment], None).await.expect("decided");
        if keeps {
            store.pass(GRACE * 2);
            let collected = runtime.collect(None, Duration::ZERO).await.expect("collects");
            assert_eq!((collected.forgotten, collected.left), (0, 0));
            check(&store, files.root, "it waits for a session").await;
        } else {
            collect_all(&runtime, &store).await;
            assert!(store.head(view.key).await.expect("reads").is_some_and(|head| !head.deleted));
        }
        runtime.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn one_project_is_collected_without_the_others() {
    let store = Arc::new(MemoryStore::new());
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    let other = ProjectId::fresh(&Fresh::new(Timestamp::from_millis(9), 9));
    for of in [project(), other] {
        store.put_blob(of, Bytes::from_static(b"garbage")).await.expect("keeps");
    }
    store.pass(GRACE);
    let collected = runtime.collect(Some(project()), Duration::ZERO).await.expect("collects");
    assert_eq!(collected, Collected { old: 1, forgotten: 1, forgotten_bytes: 7, ..Collected::default() });
    let blob = BlobRef::of(b"garbage");
    assert_eq!(store.blob(project(), blob).await.expect("reads"), None);
    assert!(store.blob(other, blob).await.expect("reads").is_some());
    runtime.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn damage_stops_a_project_and_not_the_others() {
    let store = Arc::new(MemoryStore::new());
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    let files = tree(2);
    keep(&store, &files).await;
    store.put_blob(project(), Bytes::from_static(b"garbage")).await.expect("keeps");
    open(&runtime, files.root).await;
    store.pass(GRACE);
    let root = BlobRef::of(files.payloads.last().expect("a root"));
    store.forget_blobs(project(), &[root], Stamp(u64::MAX)).await.expect("damages it");
    let collected = runtime.collect(None, Duration::ZERO).await.expect("collects");
    assert_eq!((collected.left, collected.forgotten), (1, 0), "what it refers to is not known");
    runtime.shutdown(Duration::ZERO).await;
}

/// Whatever sessions do between two collections and during one, the files of those that live are there.
#[tokio::test]
async fn nothing_a_session_refers_to_is_ever_forgotten() {
    for seed in 0..12 {
        let mut rng = Rng::with_seed(seed);
        let store = Arc::new(MemoryStore::new());
        let runtime = start(Arc::clone(&store), Arc::default()).await;
        let trees: Vec<Tree> = (1..5).map(tree).collect();
        let mut living: Vec<(SessionKey, WorkspaceRoot)> = Vec::new();
        // A snapshot whose root will be committed later, or never.
        let mut written: Option<usize> = None;
        for step in 0..60 {
            match rng.u8(..12) {
                0..3 => {
                    let index = rng.usize(..trees.len());
                    keep(&store, &trees[index]).await;
                    written = Some(index);
                }
                3..5 => {
                    if let Some(index) = written.take() {
                        let root = trees[index].root;
                        living.push((open(&runtime, root).await, root));
                    }
                }
                5 | 6 => {
                    if let Some((key, root)) = rng.choice(&living).copied() {
                        let fork = runtime.fork(key, Point::Latest, None).await.expect("forks");
                        living.push((fork.key, root));
                    }
                }
                7 => {
                    if let Some((key, _)) = rng.choice(&living).copied() {
                        let to = Point::Version(tenure_journal::Version(1));
                        runtime.rewind(key, to, || None).await.expect("goes back");
                    }
                }
                8 if !living.is_empty() => {
                    let (key, _) = living.swap_remove(rng.usize(..living.len()));
                    delete(&runtime, key).await;
                }
                9 => {
                    // A snapshot takes less than the grace; what took longer is given up.
                    store.pass(GRACE / 4);
                    if rng.bool() {
                        store.pass(GRACE);
                        written = None;
                    }
                }
                _ => {
                    let grace = if written.is_some() { GRACE } else { Duration::ZERO };
                    let forked = rng.choice(&living).copied();
                    let fork = async {
                        let (key, root) = forked?;
                        let fork = runtime.fork(key, Point::Latest, None).await.ok()?;
                        Some((fork.key, root))
                    };
                    let (collected, fork) = tokio::join!(runtime.collect(None, grace), fork);
                    assert_eq!(collected.expect("collects").left, 0);
                    living.extend(fork);
                }
            }
            for (key, root) in &living {
                check(&store, *root, &format!("seed {seed}, step {step}: the files of {key:?}")).await;
            }
        }
        for (key, _) in living {
            delete(&runtime, key).await;
        }
        collect_all(&runtime, &store).await;
        runtime.shutdown(Duration::ZERO).await;
    }
}
