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

/// Two talks in the shape of LoCoMo, one of each half: a name is asked for, a time, and what takes two passages.
fn talks() -> Value {
    let talk = |id: &str, user: &str, agent: &str| {
        serde_json::json!({
            "sample_id": id,
            "conversation": {
                "speaker_a": user, "speaker_b": agent,
                "session_1_date_time": "1:56 pm on 8 May, 2023",
                "session_1": [
                    {"speaker": user, "dia_id": "D1:1", "text": "I play the cello in an orchestra."},
                    {"speaker": agent, "dia_id": "D1:2", "text": "I play the trombone, in a brass band."},
                    {"speaker": user, "dia_id": "D1:3", "text": "Lovely!"},
                ],
                "session_2_date_time": "9:00 am on 20 June, 2023",
                "session_2": [
                    {"speaker": agent, "dia_id": "D2:1", "text": "We hiked up to the quarry."},
                    {"speaker": user, "dia_id": "D2:2", "text": "We sold the cello, it was too large."},
                ],
                "session_3_date_time": "9:00 am on 2 July, 2023",
                "session_3": [
                    {"speaker": agent, "dia_id": "D3:1", "text": "We hiked up to the beacon."},
                    {"speaker": user, "dia_id": "D3:2", "text": "Good for you."},
                ],
            },
            "qa": [
                {"question": format!("What does {agent} play?"), "evidence": ["D1:2"], "category": 4},
                {"question": "Where did we hike in July 2023?", "evidence": ["D3:1"], "category": 2},
                {"question": "What became of the cello?", "evidence": ["D1:1", "D2:2"], "category": 1},
            ],
        })
    };
    Value::Array(vec![talk("conv-26", "Ada", "Bob"), talk("conv-44", "Cem", "Dana")])
}

#[test]
fn talks_are_held_with_a_server_and_asked_about() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = tempfile::tempdir().expect("a directory");
    let path = data.path().join("talks.json");
    std::fs::write(&path, talks().to_string()).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["bench", "memory", "--memories", "1000", "-o", "json", "--directory"])
        .arg(directory.path())
        .arg("--locomo")
        .arg(&path)
        .env_remove("TENURE_DATA_DIR")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = told.as_array().or_else(|| told["data"].as_array()).expect("a list");
    for half in ["tuning", "held-out"] {
        for measure in ["R@5", "R@10", "R@20", "MRR", "R@10 multi-hop"] {
            let what = format!("LoCoMo, {half} half, 3 questions: {measure}");
            let row = rows.iter().find(|row| row["what"] == what.as_str());
            let value = row.unwrap_or_else(|| panic!("no `{what}` in {told}"))["value"].as_f64();
            assert_eq!(value, Some(100.0), "{what}");
        }
    }
    assert_eq!(directory.path().read_dir().expect("lists").count(), 0, "nothing is left");
}
