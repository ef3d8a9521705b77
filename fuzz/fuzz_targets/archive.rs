//! Whatever is uploaded as an archive, what is reported of it stays inside, once each, within the limits.
#![no_main]

use std::collections::HashMap;
use std::io::Read;

use libfuzzer_sys::fuzz_target;
use tenure_workspace::archive::{self, EntryKind, Format};
use tenure_workspace::{FilePath, Limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { entries_max: 200, bytes_max: 1 << 20, file_bytes_max: 1 << 19, depth_max: 20 };
    for format in [Format::Zip, Format::Tar, Format::TarGz] {
        let mut seen: HashMap<FilePath, bool> = HashMap::new();
        let mut total = 0;
        let result = archive::read(format, bytes, &limits, &mut |entry, reader| {
            assert!(!entry.path.is_root());
            assert_eq!(FilePath::parse(entry.path.as_bytes()).as_ref(), Ok(&entry.path));
            assert!(entry.path.depth() <= 20 && entry.mode <= 0o777);
            let is_directory = entry.kind == EntryKind::Directory;
            let before = seen.insert(entry.path.clone(), is_directory);
            assert!(before.is_none_or(|before| before && is_directory), "twice");
            let mut parent = entry.path.split().map(|(parent, _)| parent);
            while let Some(path) = parent {
                assert!(seen.get(&path).is_none_or(|is_directory| *is_directory), "beneath a file");
                parent = path.split().map(|(parent, _)| parent);
            }
            if let EntryKind::Link { target } = &entry.kind {
                assert!(!target.starts_with(b"/") && !target.contains(&0));
            }
            let mut content = Vec::new();
            let whole = reader.read_to_end(&mut content).is_ok();
            if let EntryKind::File { size } = entry.kind {
                assert!(content.len() as u64 <= size.max(1) + 64 * 1024);
                assert!(format != Format::Zip || !whole || content.len() as u64 == size);
            } else {
                assert!(content.is_empty());
            }
            total += content.len();
            Ok(())
        });
        assert!(total <= 4 << 20);
        if let Err(error) = result {
            assert!(!error.to_string().is_empty());
        }
    }
});
