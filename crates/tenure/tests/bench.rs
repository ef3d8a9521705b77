//! What `tenure bench` measures with processes of its own binary.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_sandbox_is_measured_beside_a_plain_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["bench", "--only", "sandbox", "--seconds", "1", "-o", "json", "--directory"])
        .arg(directory.path())
        .env_remove("TENURE_DATA_DIR")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = told.as_array().or_else(|| told["data"].as_array()).expect("a list");
    let measured = |beginning: &str| {
        let row =
            rows.iter().find(|row| row["what"].as_str().is_some_and(|what| what.starts_with(beginning)));
        row.unwrap_or_else(|| panic!("no `{beginning}` in {told}"))["value"].as_f64().expect("a number")
    };
    assert!(measured("true by fork and exec") > 0.0);
    assert!(measured("more than that in a sandbox (") > 0.0);
    assert!(measured("first command in a new environment") > 0.0);
    assert_eq!(directory.path().read_dir().expect("lists").count(), 0, "nothing is left");
}
