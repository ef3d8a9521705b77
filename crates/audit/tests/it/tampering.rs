//! Whoever changes a log that others kept a checkpoint of is found out.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use tenure_audit::{Directory, Report, SigningKey, verify};

use crate::log::{ORIGIN, key, records, write};

const RECORDS: u64 = 700;
const SIZES: &[u64] = &[1, 100, 256, 512, 600];

fn check(directory: &Directory, known: &[String]) -> Report {
    verify(directory, &key().verifier(), known)
}

fn words(report: &Report) -> String {
    report.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The files of a log that hold more than nothing.
fn files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn a_log_that_nobody_changed_is_sound() {
    let directory = TempDir::new().expect("a directory");
    let log = write(directory.path(), &records(RECORDS), SIZES);
    let known = vec![fs::read_to_string(directory.path().join("checkpoints/100")).expect("kept")];
    let report = check(&log, &known);
    assert_eq!(words(&report), "");
    assert!(report.is_sound());
    assert_eq!((report.size, report.sound), (700, 700));
    // The latest is kept among the earlier ones too, and one is known twice.
    assert_eq!(report.checkpoints, SIZES.len() + 3);
}

/// An operator who holds the key and changes the past writes a whole new log. The checkpoint that somebody kept is
/// what finds it.
#[test]
fn a_rewritten_log_is_found_by_whoever_kept_a_checkpoint() {
    let (before, after) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    write(before.path(), &records(RECORDS), SIZES);
    let known = vec![fs::read_to_string(before.path().join("checkpoint")).expect("kept")];
    let rewrite = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut records = records(RECORDS + 50);
        change(&mut records);
        let _ = fs::remove_dir_all(after.path().join("checkpoints"));
        let log = write(after.path(), &records, &[]);
        assert!(check(&log, &[]).is_sound(), "alone it looks right");
        words(&check(&log, &known))
    };
    let another = "the first 700 records are not those that the checkpoint of 700 was signed for";
    assert_eq!(rewrite(&|_| {}), "", "more records are no fault");
    assert_eq!(rewrite(&|records| records[5] = b"other".to_vec()), another);
    assert_eq!(rewrite(&|records| drop(records.remove(5))), another);
    assert_eq!(rewrite(&|records| records.insert(5, b"other".to_vec())), another);
    assert_eq!(rewrite(&|records| records.swap(5, 6)), another);
    let cut = "an earlier checkpoint has 700 records and the latest only 650: the log was cut";
    assert_eq!(rewrite(&|records| records.truncate(650)), cut);
}

#[test]
fn each_kind_of_damage_is_named() {
    let directory = TempDir::new().expect("a directory");
    let root = directory.path();
    let damage = |change: &dyn Fn()| {
        let _ = fs::remove_dir_all(root);
        let log = write(root, &records(RECORDS), SIZES);
        change();
        words(&check(&log, &[]))
    };
    let other = SigningKey::new(ORIGIN, &[1; 32]).expect("a key");
    let edit = |name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(root.join(name)).expect("there");
        edit(&mut bytes);
        fs::write(root.join(name), bytes).expect("writes");
    };
    assert_eq!(
        damage(&|| edit("tile/entries/001", &|bytes| bytes[4] ^= 1)),
        "record 256 was changed; \
         the first 512 records are not those that the checkpoint of 512 was signed for; \
         the first 600 records are not those that the checkpoint of 600 was signed for; \
         the first 700 records are not those that the checkpoint of 700 was signed for; \
         the first 700 records are not those that the checkpoint of 700 was signed for; \
         tile/1/000.p/2 is not the tile of its records"
    );
    assert_eq!(damage(&|| edit("tile/0/001", &|bytes| bytes[0] ^= 1)), "record 256 was changed");
    assert_eq!(
        damage(&|| edit("tile/1/000.p/2", &|bytes| bytes[0] ^= 1)),
        "tile/1/000.p/2 is not the tile of its records"
    );
    assert_eq!(
        damage(&|| fs::write(root.join("checkpoint"), other.sign("x\n").expect("signs")).expect("writes"))
            .split("; ")
            .next(),
        Some("checkpoint: the key `tenure.example/project` has not signed this")
    );
    assert_eq!(
        damage(&|| edit("tile/entries/002.p/188", &|bytes| bytes.truncate(bytes.len() - 23))),
        "the records from 512 on: 187 instead of 188"
    );
    assert_eq!(
        damage(&|| edit("tile/entries/002.p/188", &|bytes| bytes.truncate(bytes.len() - 1))),
        "tile/entries/002.p/188: the bundle ends within a record"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whichever bit of whichever file: the log is not sound any more.
    #[test]
    fn every_flipped_bit_is_found(file in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let directory = TempDir::new().expect("a directory");
        let log = write(directory.path(), &records(300), &[10, 256]);
        let files = files(directory.path());
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).expect("readable");
        let at = byte.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(path, bytes).expect("writes");
        let report = check(&log, &[]);
        prop_assert!(!report.is_sound(), "bit {bit} of byte {at} of {} passes", path.display());
    }
}
