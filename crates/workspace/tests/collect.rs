//! Collection against a model of what is live: random interleavings of snapshots in all their stages, forks,
//! ends of sessions and collections. Whatever is committed can be restored, always.

mod common;

use std::fs;

use common::Workspace;
use proptest::collection::vec;
use proptest::prelude::*;
use tenure_workspace::{
    Chunks, Digest, DirectoryChunks, Hold, Limits, MemoryChunks, Place, StatCache, collect, reachable,
    restore, snapshot,
};

#[derive(Debug, Clone)]
enum Op {
    /// Session writes one of a few files with one of a few contents, so that sessions share chunks.
    Write(usize, u8, u8),
    Begin(usize),
    Take(usize),
    Commit(usize),
    GiveUp(usize),
    Fork(usize, usize),
    End(usize),
    /// A collection, with what happens between its three steps.
    Collect(Vec<Op>),
}

const SESSIONS: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let at = 0..SESSIONS;
    let leaf = prop_oneof![
        4 => (at.clone(), 0u8..3, 0u8..4).prop_map(|(at, file, content)| Op::Write(at, file, content)),
        3 => at.clone().prop_map(Op::Begin),
        3 => at.clone().prop_map(Op::Take),
        3 => at.clone().prop_map(Op::Commit),
        1 => at.clone().prop_map(Op::GiveUp),
        1 => (at.clone(), at.clone()).prop_map(|(from, to)| Op::Fork(from, to)),
        1 => at.prop_map(Op::End),
    ];
    leaf.prop_recursive(1, 8, 6, |leaf| vec(leaf, 0..6).prop_map(Op::Collect))
}

struct Session {
    place: Place,
    plain: std::path::PathBuf,
    cache: StatCache,
    root: Option<Digest>,
    hold: Option<Hold>,
    taken: Option<Digest>,
}

struct World {
    _temp: tempfile::TempDir,
    chunks: MemoryChunks,
    sessions: Vec<Session>,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let session = |index: usize| {
            let path = temp.path().join(index.to_string());
            let place = Place::open(&path).expect("a place");
            let plain = path.join("files");
            Session { place, plain, cache: StatCache::default(), root: None, hold: None, taken: None }
        };
        let sessions = (0..SESSIONS).map(session).collect();
        Self { chunks: MemoryChunks::new(), sessions, _temp: temp }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Write(at, file, content) => {
                let path = self.sessions[*at].plain.join(file.to_string());
                fs::write(path, [*content]).expect("written");
            }
            Op::Begin(at) => {
                let session = &mut self.sessions[*at];
                if session.hold.is_none() {
                    session.hold = Some(self.chunks.hold().expect("a hold"));
                }
            }
            Op::Take(at) => {
                let Session { place, cache, root, hold: Some(hold), taken, .. } = &mut self.sessions[*at]
                else {
                    return;
                };
                let files = place.files().expect("files");
                let limits = Limits::default();
                let made = snapshot(&files, &self.chunks, hold, root.as_ref(), cache, &limits);
                *taken = Some(made.expect("a snapshot").root);
            }
            Op::Commit(at) => {
                let session = &mut self.sessions[*at];
                if let Some(taken) = session.taken.take() {
                    session.root = Some(taken);
                    session.hold = None;
                }
            }
            Op::GiveUp(at) => {
                self.sessions[*at].taken = None;
                self.sessions[*at].hold = None;
            }
            Op::Fork(from, to) => {
                let root = self.sessions[*from].root;
                let to = &mut self.sessions[*to];
                if to.hold.is_none()
                    && let Some(root) = root
                {
                    restore(&root, &self.chunks, &to.place, &Limits::default()).expect("a fork is restored");
                    to.root = Some(root);
                }
            }
            Op::End(at) => {
                let session = &mut self.sessions[*at];
                if session.hold.is_none() {
                    session.root = None;
                }
            }
            Op::Collect(between) => self.collect(between),
        }
    }

    /// The same steps as [`collect`], with others in between.
    fn collect(&mut self, between: &[Op]) {
        use tenure_workspace::Collect;
        let before = self.chunks.advance().expect("advanced");
        let (early, late) = between.split_at(between.len() / 2);
        early.iter().for_each(|op| self.run(op));
        let roots: Vec<Digest> = self.sessions.iter().filter_map(|session| session.root).collect();
        late.iter().take(1).for_each(|op| self.run(op));
        let mut live = std::collections::HashSet::new();
        for root in roots {
            // A root that ended meanwhile is still there: nothing else sweeps.
            live.extend(reachable(&root, &self.chunks).expect("a listed root is whole"));
        }
        late.iter().skip(1).for_each(|op| self.run(op));
        self.chunks.sweep(&live, before).expect("swept");
    }

    fn check(&self) {
        for session in &self.sessions {
            if let Some(root) = &session.root {
                for digest in reachable(root, &self.chunks).expect("a live root is whole") {
                    self.chunks.read(&digest, 1 << 20).expect("a live chunk is there");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_live_is_ever_collected(ops in vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            world.check();
        }
        // At rest, what remains is what is live.
        world.sessions.iter_mut().for_each(|session| session.hold = None);
        world.run(&Op::Collect(Vec::new()));
        world.check();
        let mut live = std::collections::HashSet::new();
        for session in &world.sessions {
            live.extend(session.root.iter().flat_map(|root| reachable(root, &world.chunks).expect("whole")));
        }
        prop_assert_eq!(world.chunks.len(), live.len());
    }
}

/// A file whose bytes are those of a directory's node: as a chunk it reaches nothing, as a node it does.
#[test]
fn a_file_that_looks_like_a_manifest_hides_nothing() {
    let mut workspace = Workspace::new();
    fs::create_dir(workspace.plain().join("z")).expect("created");
    fs::write(workspace.plain().join("z/file"), "precious").expect("written");
    let first = workspace.snapshot();
    let all = reachable(&first.root, &workspace.chunks).expect("reachable");
    // The node of `z` as a file that is met before `z` is.
    for digest in &all {
        let bytes = workspace.chunks.read(digest, 1 << 20).expect("there");
        fs::write(workspace.plain().join(format!("a-{digest}")), bytes).expect("written");
    }
    let second = workspace.snapshot();
    let swept = collect(&workspace.chunks, || Ok(vec![second.root])).expect("collected");
    assert_eq!(swept.deleted, 0, "the first root is a file of the second");
    let before = workspace.tree();
    workspace.restore(&second.root);
    assert_eq!(workspace.tree(), before);
    assert!(
        reachable(&second.root, &workspace.chunks).expect("reachable").contains(&Digest::of(b"precious"))
    );
}

#[test]
fn a_damaged_root_stops_the_collection() {
    let mut workspace = Workspace::new();
    fs::write(workspace.plain().join("f"), "1").expect("written");
    let first = workspace.snapshot().root;
    fs::write(workspace.plain().join("f"), "2").expect("written");
    let second = workspace.snapshot().root;
    workspace.chunks.remove(&second);
    let before = workspace.chunks.len();
    assert!(collect(&workspace.chunks, || Ok(vec![first, second])).is_err());
    assert_eq!(workspace.chunks.len(), before);
}

#[test]
fn the_directory_of_chunks_keeps_finds_and_collects() {
    let temp = tempfile::tempdir().expect("a directory");
    let chunks = DirectoryChunks::open(&temp.path().join("chunks")).expect("opens");
    let batch = |range: std::ops::Range<u32>| -> Vec<(Digest, Vec<u8>)> {
        range.map(|index| index.to_le_bytes().to_vec()).map(|bytes| (Digest::of(&bytes), bytes)).collect()
    };
    let digests = |range| batch(range).iter().map(|(digest, _)| *digest).collect::<Vec<_>>();
    assert_eq!(chunks.missing(&digests(0..3)).expect("asked"), digests(0..3));
    chunks.write(&batch(0..3)).expect("written");
    chunks.write(&batch(0..100)).expect("written, some again");
    assert!(chunks.missing(&digests(0..100)).expect("asked").is_empty());
    assert_eq!(chunks.read(&digests(7..8)[0], 4).expect("read"), 7u32.to_le_bytes());
    assert!(chunks.read(&digests(7..8)[0], 3).is_err(), "larger than allowed");

    // What a crash leaves half written, and what is not ours.
    drop(chunks);
    fs::write(temp.path().join("chunks/incoming/half"), "x").expect("written");
    fs::write(temp.path().join("chunks/00/README"), "x").expect("written");
    let chunks = DirectoryChunks::open(&temp.path().join("chunks")).expect("opens");
    assert_eq!(fs::read_dir(temp.path().join("chunks/incoming")).expect("read").count(), 0);

    // One is found under a hold, one is live for another reason, the others go.
    let hold = chunks.hold().expect("a hold");
    chunks.missing(&digests(1..2)).expect("asked");
    chunks.write(&batch(100..101)).expect("written");
    let before = tenure_workspace::Collect::advance(&chunks).expect("advanced");
    let live = digests(2..3).into_iter().collect();
    let swept = tenure_workspace::Collect::sweep(&chunks, &live, before).expect("swept");
    assert_eq!((swept.kept, swept.deleted, swept.deleted_bytes), (3, 98, 392));
    assert_eq!(chunks.missing(&digests(0..4)).expect("asked"), [digests(0..1), digests(3..4)].concat());
    drop(hold);
    let swept = collect(&chunks, || Ok(Vec::new())).expect("collected");
    assert_eq!((swept.kept, swept.deleted), (0, 3));
    assert!(temp.path().join("chunks/00/README").exists());
}
