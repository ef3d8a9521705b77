//! Whatever a store returns as a node, what is accepted is what encoding it again gives: one tree, one digest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_workspace::manifest::{Node, decode_directory, decode_list, encode_directory, encode_list};
use tenure_workspace::{Digest, FilePath, Limits, MemoryChunks, StatCache, diff, reachable};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entries) = decode_directory(bytes) {
        assert_eq!(encode_directory(&entries).expect("it was read"), bytes);
        for entry in &entries {
            assert_eq!(FilePath::root().join(&entry.name).expect("a name").depth(), 1);
            assert!(
                !matches!(&entry.node, Node::Link { target } if target.is_empty() || target.contains(&0))
            );
        }
    }
    let size = bytes
        .get(6 + 32..6 + 36)
        .map_or(0, |length| u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
    if let Ok(pieces) = decode_list(bytes, size.into()) {
        assert_eq!(encode_list(&pieces).expect("it was read"), bytes);
    }
    if let Ok(cache) = StatCache::from_bytes(bytes) {
        assert_eq!(cache.to_bytes(), bytes);
    }
    // The same behind a good sum, as a disk would return it.
    let saved = [&[1], &Digest::of(bytes).as_bytes()[..], bytes].concat();
    if let Ok(cache) = StatCache::from_bytes(&saved) {
        assert_eq!(cache.to_bytes(), saved);
    }
    // Walks end, whatever refers to whatever.
    let chunks = MemoryChunks::new();
    let digest = Digest::of(bytes);
    chunks.put(digest, bytes.to_vec());
    let _ = reachable(&digest, &chunks);
    let _ = diff(&digest, &Digest::of(b"another"), &chunks, &Limits::default(), 100);
});
