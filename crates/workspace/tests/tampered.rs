//! Manifests that no snapshot wrote, and chunks that are not what they were: refused, with the old files kept.

mod common;

use std::fs;

use common::Workspace;
use tenure_workspace::manifest::{
    Content, Entry, FileNode, Node, Piece, Time, decode_directory, encode_directory, encode_list,
};
use tenure_workspace::{Digest, Limits, collect, diff, reachable};

fn file(name: &[u8], size: u64, content: Content) -> Entry {
    let modified = Time { seconds: 1, nanoseconds: 2 };
    Entry { name: name.to_vec(), node: Node::File(FileNode { mode: 0o644, modified, size, content }) }
}

fn directory(name: &[u8], digest: Digest) -> Entry {
    Entry { name: name.to_vec(), node: Node::Directory { mode: 0o755, digest } }
}

/// Puts a node where a workspace's chunks are, and returns its digest.
fn put(workspace: &Workspace, bytes: Vec<u8>) -> Digest {
    let digest = Digest::of(&bytes);
    workspace.chunks.put(digest, bytes);
    digest
}

fn node(workspace: &Workspace, entries: &[Entry]) -> Digest {
    put(workspace, encode_directory(entries).expect("encodes"))
}

/// A workspace with something to lose.
fn filled() -> Workspace {
    let mut workspace = Workspace::new();
    fs::write(workspace.plain().join("keep"), "kept").expect("written");
    workspace.snapshot();
    workspace
}

fn refused(workspace: &mut Workspace, root: &Digest) -> String {
    let before = workspace.tree();
    let error = workspace.try_restore(root).expect_err("refused");
    assert_eq!(workspace.tree(), before, "the old files are gone");
    let place = workspace.temp.path().join("place");
    assert!(!place.join("building").exists(), "what was built is still there");
    assert_eq!(fs::read_dir(place.join("aside")).expect("read").count(), 0);
    error.to_string()
}

#[test]
fn nodes_that_are_not_canonical() {
    let chunk = Digest::of(b"four");
    let good =
        encode_directory(&[file(b"aa", 4, Content::Chunk(chunk)), directory(b"bb", chunk)]).expect("encodes");
    let edit = |at: usize, bytes: &[u8]| {
        let mut edited = good.clone();
        edited[at..at + bytes.len()].copy_from_slice(bytes);
        edited
    };
    let (name, mode) = (8, 10);
    let second = 6 + 2 + 2 + 2 + 12 + 8 + 32 + 2;
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("nothing", vec![], "it ends too early"),
        ("version", edit(0, &[9]), "a version that this release does not know"),
        ("kind of node", edit(1, b"L"), "a node of another kind"),
        ("count too high", edit(2, &[3]), "it ends too early"),
        ("count of four thousand million", edit(2, &[0xff; 4]), "it ends too early"),
        ("count too low", edit(2, &[1]), "it goes on after its end"),
        ("cut", good[..good.len() - 1].to_vec(), "it ends too early"),
        ("trailing", [&good[..], b"x"].concat(), "it goes on after its end"),
        ("kind of entry", edit(6, b"x"), "an entry of unknown kind"),
        ("parent", edit(name, b".."), "a name that is no name"),
        ("absolute", edit(name, b"/a"), "a name that is no name"),
        ("NUL", edit(name, b"a\0"), "a name that is no name"),
        ("duplicate", edit(second, b"aa"), "names are not in order, or one is there twice"),
        ("order", edit(second, b"a0"), "names are not in order, or one is there twice"),
        ("set-user-id", edit(mode, &[0xed, 0x09]), "a mode with more than permissions"),
        ("time", edit(mode + 10, &[0xff; 4]), "a time that is none"),
        ("size of nothing", edit(mode + 14, &[0; 8]), "a file whose size does not fit how it is kept"),
        ("size of a list", edit(mode + 14, &[0xff; 8]), "a file whose size does not fit how it is kept"),
    ];
    assert_eq!(encode_directory(&decode_directory(&good).expect("decodes")).expect("encodes"), good);
    for (case, bytes, expected) in cases {
        let error = decode_directory(bytes).expect_err(case);
        assert_eq!(error.to_string(), format!("the manifest is not valid: {expected}"), "{case}");
        let mut workspace = filled();
        let root = put(&workspace, bytes.clone());
        assert!(refused(&mut workspace, &root).ends_with(expected), "{case}");
    }
}

#[test]
fn chunks_that_are_not_what_they_were() {
    let mut workspace = filled();
    fs::write(workspace.plain().join("large"), vec![7; 200_000]).expect("written");
    fs::create_dir(workspace.plain().join("d")).expect("created");
    fs::write(workspace.plain().join("d/small"), "small").expect("written");
    let taken = workspace.snapshot();
    let all = reachable(&taken.root, &workspace.chunks).expect("reachable");
    assert_eq!(all.len(), workspace.chunks.len() - 1, "all but the root of the snapshot before");
    for digest in all {
        let bytes = workspace.chunks.remove(&digest).expect("it is there");
        let text = refused(&mut workspace, &taken.root);
        assert!(text.ends_with(&format!("chunk {digest} is missing")), "{text}");
        let mut flipped = bytes.clone();
        flipped[0] ^= 1;
        workspace.chunks.put(digest, flipped);
        let text = refused(&mut workspace, &taken.root);
        assert!(text.ends_with(&format!("chunk {digest} does not have that digest")), "{text}");
        workspace.chunks.put(digest, vec![0; 33 << 20]);
        let text = refused(&mut workspace, &taken.root);
        assert!(text.contains("larger than"), "{text}");
        workspace.chunks.put(digest, bytes);
    }
    workspace.restore(&taken.root);
}

#[test]
fn files_whose_parts_do_not_fit() {
    let mut workspace = filled();
    let chunk = put(&workspace, vec![1; 70_000]);
    let piece = |length| Piece { digest: chunk, length };
    let list =
        |workspace: &Workspace, pieces: &[Piece]| put(workspace, encode_list(pieces).expect("encodes"));
    let cases = [
        (140_001, vec![piece(70_000), piece(70_000)], "the chunks of a file do not have its size"),
        (140_002, vec![piece(70_001), piece(70_001)], "a chunk does not have the length of its entry"),
        (70_000, vec![piece(70_000), piece(0)], "a chunk is empty or too large"),
        (1 << 20, vec![piece(1 << 20)], "a chunk is empty or too large"),
    ];
    for (size, pieces, expected) in cases {
        let content = Content::List(list(&workspace, &pieces));
        let root = node(&workspace, &[file(b"f", size, content)]);
        assert_eq!(refused(&mut workspace, &root), format!("`f`: the manifest is not valid: {expected}"));
    }
    let four = put(&workspace, b"four".to_vec());
    let root = node(&workspace, &[file(b"f", 5, Content::Chunk(four))]);
    let text = refused(&mut workspace, &root);
    assert_eq!(text, "`f`: the manifest is not valid: a chunk does not have the size of its file");
}

/// A digest cannot hold its own digest, so a cycle needs a store that lies; the digest tells.
#[test]
fn a_cycle_is_a_wrong_digest() {
    let mut workspace = filled();
    let root = Digest::of(b"anything");
    workspace.chunks.put(root, encode_directory(&[directory(b"again", root)]).expect("encodes"));
    assert_eq!(refused(&mut workspace, &root), format!("`.`: chunk {root} does not have that digest"));
    assert!(collect(&workspace.chunks, || Ok(vec![root])).is_err());
    assert!(diff(&root, &Digest::of(b"none"), &workspace.chunks, &Limits::default(), 10).is_err());
}

/// Ten levels of ten names that share one node each: eleven small nodes that stand for ten thousand million
/// files. Refused before anything is made, and quickly.
#[test]
fn more_entries_than_there_are_nodes() {
    let mut workspace = filled();
    let mut below = node(&workspace, &[file(b"f", 0, Content::Empty)]);
    for _ in 0..10 {
        let entries: Vec<Entry> = (b'0'..=b'9').map(|name| directory(&[name], below)).collect();
        below = node(&workspace, &entries);
    }
    let text = refused(&mut workspace, &below);
    assert!(text.ends_with("more than 1000000 files, links and directories"), "{text}");
    assert_eq!(reachable(&below, &workspace.chunks).expect("reachable").len(), 11);
    let empty = node(&workspace, &[]);
    let some = diff(&empty, &below, &workspace.chunks, &workspace.limits, 1000).expect("a diff");
    assert_eq!((some.changes.len(), some.truncated), (1000, true));
}

#[test]
fn ten_million_entries_in_one_directory() {
    let mut workspace = filled();
    let mut bytes = vec![1, b'D'];
    bytes.extend(10_000_000u32.to_le_bytes());
    for index in 0..10_000_000u32 {
        bytes.extend(*b"s\x08");
        bytes.extend(format!("{index:08}").as_bytes());
        bytes.extend([1, 0, b'x']);
    }
    let root = put(&workspace, bytes);
    assert!(refused(&mut workspace, &root).contains("larger than 33554432 bytes"));
}

#[test]
fn deeper_than_allowed() {
    let mut workspace = filled();
    let mut below = node(&workspace, &[]);
    for _ in 0..257 {
        below = node(&workspace, &[directory(b"d", below)]);
    }
    assert!(refused(&mut workspace, &below).ends_with("deeper than 256 directories"));
    for _ in 0..100_000 {
        below = node(&workspace, &[directory(b"d", below)]);
    }
    assert!(refused(&mut workspace, &below).ends_with("deeper than 256 directories"));
    assert_eq!(reachable(&below, &workspace.chunks).expect("reachable").len(), 100_258);
}
