//! Whatever a model writes as a patch, it is read or refused at a line, and a hunk that fits changes only what
//! it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_workspace::patch::{FileChange, Line, apply_hunks, parse};

fuzz_target!(|input: (&str, &str)| {
    let (text, file) = input;
    let patch = match parse(text) {
        Ok(patch) => patch,
        Err(error) => {
            assert!((1..=text.lines().count() + 1).contains(&error.line));
            return;
        }
    };
    assert!(!patch.changes.is_empty());
    for change in &patch.changes {
        assert!(!change.path().is_root());
        let FileChange::Update { hunks, .. } = change else { continue };
        match apply_hunks(file, hunks) {
            Ok(new) => {
                // Every line that was added is there, and the text grew by what was added and removed.
                let lines = |text: &str| text.split_inclusive('\n').count() as i64;
                let mut grown = 0;
                for line in hunks.iter().flat_map(|hunk| &hunk.lines) {
                    match line {
                        Line::Add(line) => {
                            assert!(new.contains(line.as_str()));
                            grown += 1;
                        }
                        Line::Remove(_) => grown -= 1,
                        Line::Keep(_) => {}
                    }
                }
                assert!((lines(file) + grown - lines(&new)).abs() <= hunks.len() as i64);
            }
            Err(error) => {
                assert!((1..=hunks.len()).contains(&error.hunk));
                assert!(!error.to_string().is_empty());
            }
        }
    }
});
