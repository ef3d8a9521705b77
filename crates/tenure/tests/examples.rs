//! The examples, as their READMEs say: one command, offline, in a sandbox, with what they publish.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const ANALYST: &str = "data-analyst";
const JANITOR: &str = "code-janitor";
const QUESTION: &str = "Which region grew fastest?";
/// The seed of the agent's file.
const SEED: &str = "20260105";

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// `tenure run --up` on an example whose state and results are in `root`.
fn run(name: &str, root: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["run", "--up", "-o", "json", "-C"])
        .arg(example(name))
        .arg("--data-dir")
        .arg(root.join("data"))
        .arg("--save")
        .arg(root.join("out"))
        .args(more)
        .env_remove("TENURE_API_KEY")
        .env_remove("TENURE_URL")
        .env_remove("OPENAI_API_KEY")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

#[track_caller]
fn answered(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["status"], "completed", "{report}");
    report
}

fn paths(report: &Value) -> Vec<&str> {
    let artifacts = report["artifacts"].as_array().expect("artifacts");
    artifacts.iter().map(|artifact| artifact["path"].as_str().expect("a path")).collect()
}

/// What the example's own generator makes, summed here: region, cents of 2024 and of 2025.
fn sums() -> BTreeMap<String, [i64; 2]> {
    let generator = example(ANALYST).join("files/generate.awk");
    let made = Command::new("awk").args(["-v", &format!("seed={SEED}"), "-f"]).arg(generator).output();
    let made = String::from_utf8(made.expect("awk runs").stdout).expect("UTF-8");
    let mut sums: BTreeMap<String, [i64; 2]> = BTreeMap::new();
    for line in made.lines().skip(1) {
        let [date, region, _, _, cents] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let year = usize::from(date.starts_with("2025"));
        sums.entry(region.to_owned()).or_default()[year] += cents.parse::<i64>().expect("cents");
    }
    sums
}

#[test]
fn the_analyst_computes_what_is_in_the_file() {
    let root = tempfile::tempdir().expect("a directory");
    let sums = sums();
    assert_eq!(sums.len(), 4);
    let mut expected = "region,cents_2024,cents_2025,growth_per_mille\n".to_owned();
    for (region, [before, after]) in &sums {
        expected += &format!("{region},{before},{after},{}\n", (after - before) * 1000 / before);
    }
    let fastest = sums.iter().max_by_key(|(_, [before, after])| (after - before) * 1000 / before);
    let fastest = fastest.expect("regions").0;

    // With whatever is there, and with awk, which is everywhere.
    let mut reports = Vec::new();
    for question in [QUESTION.to_owned(), format!("{QUESTION} Compute with awk.")] {
        let report = answered(&run(ANALYST, root.path(), &["analyst", &question]));
        assert_eq!(paths(&report), ["/workspace/outputs/growth.csv", "/workspace/outputs/report.md"]);
        let answer = report["answer"].as_str().expect("an answer");
        assert!(answer.starts_with(&format!("The {fastest} grew fastest")), "{answer}");
        let growth = fs::read_to_string(root.path().join("out/growth.csv")).expect("saved");
        assert_eq!(growth, expected, "{question}");
        reports.push(fs::read_to_string(root.path().join("out/report.md")).expect("saved"));
    }
    assert_eq!(reports[0], reports[1]);
}

#[test]
fn the_janitor_repairs_the_code_and_publishes_the_patch() {
    let root = tempfile::tempdir().expect("a directory");
    let report = answered(&run(JANITOR, root.path(), &["janitor", "The tests fail. Repair the code."]));
    assert_eq!(paths(&report), ["/workspace/outputs/fix.patch"]);

    let repository = root.path().join("repository");
    copy(&example(JANITOR).join("files"), &repository);
    let tests = || {
        let run = Command::new("sh").arg("tests/run.sh").current_dir(&repository).output().expect("sh runs");
        (run.status.success(), String::from_utf8(run.stdout).expect("UTF-8"))
    };
    let (passes, said) = tests();
    assert!(!passes && said.matches("\nnot ok ").count() == 2, "{said}");
    // Outside of this repository, or git would look for the paths in it.
    let apply = Command::new("git")
        .arg("apply")
        .arg(root.path().join("out/fix.patch"))
        .current_dir(&repository)
        .env("GIT_CEILING_DIRECTORIES", root.path())
        .status();
    assert!(apply.expect("git runs").success());
    let (passes, said) = tests();
    assert!(passes && said.ends_with("1..5\n") && !said.contains("not ok"), "{said}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let there = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &there);
        } else {
            fs::copy(entry.path(), there).expect("copied");
        }
    }
}

#[test]
fn a_session_of_an_example_goes_on_with_the_next_server() {
    let root = tempfile::tempdir().expect("a directory");
    let first = answered(&run(JANITOR, root.path(), &["janitor", "The tests fail. Repair the code."]));
    // Another process, the same files: now everything passes.
    let next = answered(&run(JANITOR, root.path(), &["--session", "last", "And the tests now?"]));
    assert_eq!(next["session"], first["session"]);
    assert_eq!(next["answer"], "Every test passes; there is nothing to do.");
    assert_eq!(paths(&next), Vec::<&str>::new(), "nothing new was published");
}

#[test]
fn it_serves_itself_or_talks_to_a_server() {
    let root = tempfile::tempdir().expect("a directory");
    let output = run(JANITOR, root.path(), &["--url", "http://127.0.0.1:1", "janitor", "x"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--up serves the project itself, and --url names a server"), "{said}");
}

/// What the desk is asked every day.
const OF_THE_DESK: &str = "What is the capacity of the Halden tidal plant?";

/// What the desk answered, one paragraph a question, by the heading it stands under.
fn answers(said: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut answers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for part in said.split("== ").skip(1) {
        let (heading, rest) = part.split_once('\n').expect("a heading");
        answers.insert(heading, rest.split("? ").skip(1).collect());
    }
    answers
}

#[test]
fn the_desk_corrects_itself_and_forgets_a_source() {
    let script = example("research-desk").join("run.sh");
    let output = Command::new("sh")
        .arg(script)
        .env("TENURE", env!("CARGO_BIN_EXE_tenure"))
        .env_remove("TENURE_API_KEY")
        .env_remove("TENURE_URL")
        .env_remove("OPENAI_API_KEY")
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    let (said, noted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{noted}");
    let answers = answers(&said);
    let forgotten = "R-29 is forgotten, and what rests on it";
    for (heading, source, says, before) in [
        ("2026-03-02", "R-01, Harbour Wire, 2026-03-02", "40 megawatts", ""),
        ("2026-03-03", "R-14, Ledger Daily, 2026-03-03", "62 megawatts", "Before that, R-01."),
        ("2026-03-04", "R-29, Harbour Wire, 2026-03-04", "55 megawatts", "Before that, R-14."),
        (forgotten, "R-14, Ledger Daily, 2026-03-03", "62 megawatts", "Before that, R-01."),
    ] {
        let answer = answers[heading].first().unwrap_or_else(|| panic!("an answer under {heading}: {said}"));
        let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(answer.starts_with(&format!("{OF_THE_DESK} {source}")), "{heading}: `{answer}`");
        for part in [says, before] {
            assert!(answer.contains(part), "{heading}: `{part}` is not in `{answer}`");
        }
    }
    assert!(!answers[forgotten][0].contains("R-29"), "{said}");
    let second = "What does the salmon vaccine of Fjord Bio protect?\nR-38";
    assert!(answers["2026-03-04"][1].starts_with(second), "a second retraction: {said}");
    assert!(said.contains("(R-29 is still quoted)"), "what rests on a source is found: {said}");
    assert!(said.contains("signed that"), "the receipt is checked: {said}");
}
