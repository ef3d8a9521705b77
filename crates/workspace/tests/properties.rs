//! Snapshots against a plain directory: whatever programs do to their files, a snapshot is what the standard
//! library sees, a cache changes nothing, a restore brings all of it back, and a diff says what differs.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::{Tree, Workspace};
use proptest::collection::vec;
use proptest::prelude::*;
use tenure_workspace::{ChangeKind, Digest, diff};

/// What a program may do next. Names are few, so that things meet.
#[derive(Debug, Clone)]
enum Op {
    Write(usize, Vec<usize>, u8),
    Large(usize, u32),
    Append(usize),
    /// Same length and within the same tick: what a cache by times alone would miss.
    Rewrite(usize),
    Directory(usize),
    Link(usize, usize),
    Remove(usize),
    Rename(usize, usize),
    Mode(usize, u32),
    Snapshot,
    Restore(usize),
}

const NAMES: [&[u8]; 8] = [b"a", b"b", b"c", b"-rf", b"line\nbreak", b"\xff\xfe", b" ", b"\xe2\x80\xae"];

fn op() -> impl Strategy<Value = Op> {
    let at = 0..PLACES;
    prop_oneof![
        4 => (at.clone(), vec(0usize..200, 0..3), any::<u8>()).prop_map(|(at, sizes, byte)| Op::Write(at, sizes, byte)),
        1 => (at.clone(), 60_000u32..600_000).prop_map(|(at, size)| Op::Large(at, size)),
        2 => at.clone().prop_map(Op::Append),
        3 => at.clone().prop_map(Op::Rewrite),
        3 => at.clone().prop_map(Op::Directory),
        1 => (at.clone(), at.clone()).prop_map(|(at, to)| Op::Link(at, to)),
        2 => at.clone().prop_map(Op::Remove),
        2 => (at.clone(), at.clone()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => (at, 0u32..0o1000).prop_map(|(at, mode)| Op::Mode(at, mode | 0o700)),
        3 => Just(Op::Snapshot),
        1 => (0usize..8).prop_map(Op::Restore),
    ]
}

/// One, two or three names deep.
const PLACES: usize = 8 + 64 + 512;

fn place(root: &Path, at: usize) -> PathBuf {
    let name = |index: usize| Path::new(std::ffi::OsStr::from_bytes(NAMES[index % 8])).to_owned();
    match at {
        0..8 => root.join(name(at)),
        8..72 => root.join(name(at - 8)).join(name((at - 8) / 8)),
        _ => root.join(name(at - 72)).join(name((at - 72) / 8)).join(name((at - 72) / 64)),
    }
}

/// Does it if the file system allows it; what it refuses, a program could not have done.
fn run(root: &Path, op: &Op) -> std::io::Result<()> {
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    match op {
        Op::Write(at, sizes, byte) => {
            let path = place(root, *at);
            if path.is_symlink() {
                return Ok(());
            }
            fs::write(path, vec![*byte; sizes.iter().sum()])
        }
        Op::Large(at, size) => {
            let path = place(root, *at);
            if path.is_symlink() {
                return Ok(());
            }
            let mut random = fastrand::Rng::with_seed(u64::from(*size));
            fs::write(path, (0..*size).map(|_| random.u8(..)).collect::<Vec<u8>>())
        }
        Op::Append(at) if is_file(&place(root, *at)) => {
            fs::OpenOptions::new().append(true).open(place(root, *at))?.write_all(b"more")
        }
        Op::Rewrite(at) if is_file(&place(root, *at)) => {
            let mut bytes = fs::read(place(root, *at))?;
            bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            fs::write(place(root, *at), bytes)
        }
        Op::Directory(at) => fs::create_dir(place(root, *at)),
        Op::Link(at, to) => symlink(place(Path::new(".."), *to), place(root, *at)),
        Op::Remove(at) => match fs::symlink_metadata(place(root, *at))?.is_dir() {
            true => fs::remove_dir_all(place(root, *at)),
            false => fs::remove_file(place(root, *at)),
        },
        Op::Rename(from, to) => fs::rename(place(root, *from), place(root, *to)),
        Op::Mode(at, mode) if !place(root, *at).is_symlink() => {
            fs::set_permissions(place(root, *at), fs::Permissions::from_mode(*mode))
        }
        Op::Append(_) | Op::Rewrite(_) | Op::Mode(..) | Op::Snapshot | Op::Restore(_) => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_snapshot_is_what_was_there(ops in vec(op(), 1..60)) {
        let mut workspace = Workspace::new();
        let mut taken: Vec<(Digest, Tree)> = Vec::new();
        for op in ops.iter().chain([&Op::Snapshot]) {
            match op {
                Op::Snapshot => {
                    let base = workspace.base;
                    let snapshot = workspace.snapshot();
                    let tree = workspace.tree();
                    prop_assert_eq!(snapshot.entries, tree.len() as u64);
                    prop_assert_eq!(snapshot.changed, base != Some(snapshot.root));
                    prop_assert_eq!(snapshot.skipped_count, 0);
                    for (root, before) in &taken {
                        prop_assert_eq!(*root == snapshot.root, *before == tree, "one tree, one digest");
                    }
                    taken.push((snapshot.root, tree));
                }
                Op::Restore(index) if !taken.is_empty() => {
                    let (root, tree) = &taken[index % taken.len()];
                    let restored = workspace.restore(root);
                    prop_assert_eq!(&workspace.tree(), tree);
                    prop_assert_eq!(restored.entries, tree.len() as u64);
                    prop_assert_eq!(workspace.place.base().expect("readable"), Some(*root));
                }
                Op::Write(..)
                | Op::Large(..)
                | Op::Append(_)
                | Op::Rewrite(_)
                | Op::Directory(_)
                | Op::Link(..)
                | Op::Remove(_)
                | Op::Rename(..)
                | Op::Mode(..)
                | Op::Restore(_) => _ = run(&workspace.plain(), op),
            }
        }
        for (root, tree) in &taken {
            workspace.restore(root);
            prop_assert_eq!(&workspace.tree(), tree);
        }
        for pair in taken.windows(2) {
            let [(from, old), (to, new)] = pair else { unreachable!("pairs") };
            let found = diff(from, to, &workspace.chunks, &workspace.limits, usize::MAX).expect("a diff");
            let paths: BTreeSet<Vec<u8>> = found.changes.iter().map(|c| c.path.as_bytes().to_vec()).collect();
            prop_assert_eq!(paths, differing(old, new));
            for change in found.changes {
                let (old, new) = (old.get(change.path.as_bytes()), new.get(change.path.as_bytes()));
                match change.kind {
                    ChangeKind::Added => prop_assert!(old.is_none() && new.is_some()),
                    ChangeKind::Removed => prop_assert!(old.is_some() && new.is_none()),
                    ChangeKind::Modified | ChangeKind::Mode | ChangeKind::Replaced => {
                        prop_assert!(old.is_some() && new.is_some());
                    }
                }
            }
        }
    }
}

/// The paths at which two trees differ in more than the time of a file.
fn differing(old: &Tree, new: &Tree) -> BTreeSet<Vec<u8>> {
    let timeless = |what: &String| what.split(" (").next().map(str::to_owned);
    old.keys()
        .chain(new.keys())
        .filter(|path| old.get(*path).map(timeless) != new.get(*path).map(timeless))
        .cloned()
        .collect()
}
