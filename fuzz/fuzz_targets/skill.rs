//! Whatever is uploaded as a skill or a plugin, what is accepted is named, described, within the limits, and comes
//! back the same from its own zip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_skill::{
    BUNDLE_BYTES_MAX, Bundle, DESCRIPTION_CHARS_MAX, Error, Kind, Manifest, NAME_CHARS_MAX, read_plugin,
    read_skill,
};

fuzz_target!(|bytes: &[u8]| {
    manifest(&read_skill(bytes));
    manifest(&read_plugin(bytes));
    for kind in [Kind::Skill, Kind::Plugin] {
        bundle(kind, Bundle::from_zip(kind, bytes));
        // Paths and contents, by turns, one a line.
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let files = lines.chunks_exact(2).map(|pair| {
            // Some of them are what makes a folder a skill.
            let content = if pair[1] == b"skill" {
                b"---\nname: a\ndescription: b\n---\n".to_vec()
            } else {
                pair[1].to_vec()
            };
            (String::from_utf8_lossy(pair[0]).into_owned(), content)
        });
        bundle(kind, Bundle::from_files(kind, files.collect()));
    }
});

fn manifest(read: &Result<Manifest, Error>) {
    match read {
        Ok(manifest) => {
            let name = manifest.name();
            assert!(!name.is_empty() && name.len() <= NAME_CHARS_MAX && !name.contains(['/', '.', '\0']));
            let length = manifest.description().chars().count();
            assert!((1..=DESCRIPTION_CHARS_MAX).contains(&length));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn bundle(kind: Kind, read: Result<Bundle, Error>) {
    match read {
        Ok(bundle) => {
            manifest(&Ok(bundle.manifest().clone()));
            assert!(bundle.size_bytes() <= BUNDLE_BYTES_MAX);
            let zip = bundle.to_zip();
            assert_eq!(Bundle::from_zip(kind, &zip).as_ref(), Ok(&bundle));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
