//! Roots and proofs are those of the definition in RFC 6962, and nothing else passes for one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tenure_audit::{
    Checkpoint, Evidence, EvidenceError, Hash, ProofError, TileId, Tiles, Tree, consistency, inclusion,
    verify_consistency, verify_inclusion,
};

use crate::log::{ORIGIN, key};

/// The definition, section 2.1: slow and plain.
fn root_by_definition(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Hash::of_nothing(),
        [hash] => *hash,
        _ => {
            let half = hashes.len().next_power_of_two() / 2;
            Hash::of_pair(&root_by_definition(&hashes[..half]), &root_by_definition(&hashes[half..]))
        }
    }
}

/// Tiles in memory.
#[derive(Default)]
struct Kept(BTreeMap<TileId, Vec<Hash>>);

#[derive(Debug, thiserror::Error)]
#[error("not kept")]
struct NotKept;

impl Tiles for Kept {
    type Error = NotKept;

    fn tile(&self, id: TileId) -> Result<Vec<Hash>, NotKept> {
        self.0.get(&id).cloned().ok_or(NotKept)
    }
}

fn hashes(n: u64) -> Vec<Hash> {
    (0..n).map(|number| Hash::of_record(&number.to_be_bytes())).collect()
}

fn grow(tree: &mut Tree, kept: &mut Kept, hashes: &[Hash]) {
    for hash in hashes {
        let mut full = Vec::new();
        tree.push(*hash, &mut full);
        kept.0.extend(full.into_iter().map(|tile| (tile.id, tile.hashes)));
    }
    kept.0.extend(tree.partial_tiles().into_iter().map(|tile| (tile.id, tile.hashes)));
}

#[test]
fn every_root_and_proof_of_small_trees_is_right() {
    let all = hashes(70);
    let mut roots = vec![Hash::of_nothing()];
    for size in 1..=70_u64 {
        let (mut tree, mut kept) = (Tree::new(), Kept::default());
        grow(&mut tree, &mut kept, &all[..usize::try_from(size).expect("small")]);
        let root = tree.root();
        assert_eq!(root, root_by_definition(&all[..usize::try_from(size).expect("small")]), "{size}");
        roots.push(root);
        for index in 0..size {
            let path = inclusion(&kept, size, index).expect("kept").expect("inside");
            let record = all[usize::try_from(index).expect("small")];
            assert_eq!(verify_inclusion(&path, record, index, size, root), Ok(()), "{index} of {size}");
            for other in 0..size {
                let passes = verify_inclusion(&path, record, other, size, root).is_ok();
                assert_eq!(passes, other == index, "{index} passes for {other} of {size}");
            }
        }
        for (earlier, earlier_root) in (0..=size).zip(&roots) {
            let path = consistency(&kept, earlier, size).expect("kept").expect("smaller");
            let found = verify_consistency(&path, earlier, *earlier_root, size, root);
            assert_eq!(found, Ok(()), "{earlier} and {size}");
        }
        assert!(inclusion(&kept, size, size).expect("kept").is_none());
        assert!(consistency(&kept, size + 1, size).expect("kept").is_none());
    }
}

#[test]
fn proofs_do_not_pass_for_what_they_do_not_show() {
    let (mut tree, mut kept) = (Tree::new(), Kept::default());
    let all = hashes(1_000);
    grow(&mut tree, &mut kept, &all);
    let (size, root) = (tree.size(), tree.root());
    let path = inclusion(&kept, size, 700).expect("kept").expect("inside");
    let check = |path: &[Hash], index, size, expected| {
        assert_eq!(verify_inclusion(path, all[700], index, size, root), expected);
    };
    check(&path, 700, size, Ok(()));
    check(&path, 701, size, Err(ProofError::Root));
    check(&path, 1_000, size, Err(ProofError::Outside));
    check(&path[1..], 700, size, Err(ProofError::Length));
    check(&[path.as_slice(), &[root]].concat(), 700, size, Err(ProofError::Length));
    let mut changed = path;
    changed[3] = root;
    check(&changed, 700, size, Err(ProofError::Root));

    let (mut small, mut small_kept) = (Tree::new(), Kept::default());
    grow(&mut small, &mut small_kept, &all[..300]);
    let path = consistency(&kept, 300, size).expect("kept").expect("smaller");
    let check = |path: &[Hash], earlier, earlier_root, expected| {
        assert_eq!(verify_consistency(path, earlier, earlier_root, size, root), expected);
    };
    check(&path, 300, small.root(), Ok(()));
    check(&path, 300, root, Err(ProofError::Root));
    check(&path[1..], 300, small.root(), Err(ProofError::Length));
    check(&path, 1_001, root, Err(ProofError::Outside));
    check(&[], 300, small.root(), Err(ProofError::Length));
    check(&[], 0, Hash::of_nothing(), Ok(()));
    check(&[], 0, root, Err(ProofError::Root));
    check(&[root], 0, Hash::of_nothing(), Err(ProofError::Length));
}

#[test]
fn evidence_is_a_file_that_stands_alone() {
    let records: Vec<_> = (0..600_u64).map(|number| number.to_be_bytes()).collect();
    let (mut tree, mut kept) = (Tree::new(), Kept::default());
    grow(&mut tree, &mut kept, &hashes(600));
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 600, root: tree.root() };
    let evidence = Evidence {
        index: 77,
        path: inclusion(&kept, 600, 77).expect("kept").expect("inside"),
        checkpoint: checkpoint.sign(&key()).expect("signs"),
    };
    let file = evidence.to_string();
    let read: Evidence = file.parse().expect("evidence");
    assert_eq!(read, evidence);
    assert_eq!(read.verify(&records[77], &key().verifier()), Ok(checkpoint));
    let other = read.verify(&records[78], &key().verifier());
    assert!(matches!(other, Err(EvidenceError::Proof(ProofError::Root))), "{other:?}");
    let with_extra = file.replacen("\nindex", "\nextra aGVsbG8=\nindex", 1);
    assert_eq!(with_extra.parse::<Evidence>(), Ok(evidence));
    for wrong in [
        file.replacen("@v1", "@v2", 1),
        file.replacen("index 77", "index 077", 1),
        file.replacen("\nindex", "\nextra %\nindex", 1),
        file.replacen("\n\n", "\n", 1),
        String::new(),
    ] {
        assert!(wrong.parse::<Evidence>().is_err(), "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Larger trees, grown in several goes with the tiles in between as the only memory.
    #[test]
    fn a_tree_that_is_gone_on_with_is_the_same_tree(sizes in prop::collection::vec(1_u64..2_000, 1..5), probe in any::<u64>()) {
        let total: u64 = sizes.iter().sum();
        let all = hashes(total);
        let mut kept = Kept::default();
        let mut size = 0;
        let mut roots = Vec::new();
        for more in sizes {
            let mut tree = Tree::resume(size, &kept).expect("its tiles are kept");
            let (from, to) = (usize::try_from(size).expect("small"), usize::try_from(size + more).expect("small"));
            grow(&mut tree, &mut kept, &all[from..to]);
            size += more;
            prop_assert_eq!(tree.size(), size);
            prop_assert_eq!(tree.root(), root_by_definition(&all[..to]));
            roots.push((size, tree.root()));
        }
        let (_, root) = *roots.last().expect("one at least");
        for (earlier, earlier_root) in &roots {
            let path = consistency(&kept, *earlier, total).expect("kept").expect("smaller");
            prop_assert_eq!(verify_consistency(&path, *earlier, *earlier_root, total, root), Ok(()));
        }
        let index = probe % total;
        let path = inclusion(&kept, total, index).expect("kept").expect("inside");
        prop_assert_eq!(verify_inclusion(&path, all[usize::try_from(index).expect("small")], index, total, root), Ok(()));
    }
}
