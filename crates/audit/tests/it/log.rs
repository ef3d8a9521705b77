//! A log in a directory, written as a server would.

use std::path::Path;

use tenure_audit::{Bundle, Checkpoint, Directory, Hash, SigningKey, TILE_WIDTH, TileId, Tree};

pub(crate) const ORIGIN: &str = "tenure.example/project";

pub(crate) fn key() -> SigningKey {
    SigningKey::new(ORIGIN, &[42; 32]).expect("a key")
}

/// What `n` records look like.
pub(crate) fn records(n: u64) -> Vec<Vec<u8>> {
    (0..n).map(|number| format!("record {number} of the day").into_bytes()).collect()
}

/// Writes a log of `records` with a signed checkpoint at each of `sizes` and at the end.
pub(crate) fn write(root: &Path, records: &[Vec<u8>], sizes: &[u64]) -> Directory {
    let directory = Directory::new(root);
    let key = key();
    let mut tree = Tree::new();
    for record in records {
        let mut full = Vec::new();
        tree.push(Hash::of_record(record), &mut full);
        for tile in &full {
            directory.write_tile(tile).expect("writes");
        }
        if sizes.contains(&tree.size()) {
            checkpoint(&directory, &tree, &key);
        }
    }
    for tile in tree.partial_tiles() {
        directory.write_tile(&tile).expect("writes");
    }
    for (index, chunk) in (0..).zip(records.chunks(usize::try_from(TILE_WIDTH).expect("small"))) {
        let mut bundle = Bundle::new();
        for record in chunk {
            bundle.push(record).expect("fits");
        }
        let id = TileId::of(tree.size(), 0, index).expect("a tile");
        directory.write_records(id, &bundle).expect("writes");
    }
    checkpoint(&directory, &tree, &key);
    directory
}

fn checkpoint(directory: &Directory, tree: &Tree, key: &SigningKey) {
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
    let note = checkpoint.sign(key).expect("signs");
    directory.write_checkpoint(tree.size(), &note).expect("writes");
}
