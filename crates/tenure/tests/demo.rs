//! `tenure demo`, whole: real processes, two kills, one approval, one refund.

use std::process::Command;

#[test]
fn the_demonstration_keeps_its_promise() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["demo", "--yes"])
        .current_dir(directory.path())
        .output()
        .expect("it runs");
    let (said, noted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}\n{noted}");
    assert_eq!(said.matches("KILL -9").count(), 2, "{said}");
    assert!(said.contains("Killed twice, approved once, refunded exactly once."), "{said}");
    assert_eq!(directory.path().read_dir().expect("lists").count(), 0, "it leaves nothing where it was run");
}
