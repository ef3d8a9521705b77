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

/// What the example's own generator makes with this program of its files, without the first line.
fn generated(program: &str) -> Vec<String> {
    let generator = example(ANALYST).join("files").join(program);
    let made = Command::new("awk").args(["-v", &format!("seed={SEED}"), "-f"]).arg(generator).output();
    let made = String::from_utf8(made.expect("awk runs").stdout).expect("UTF-8");
    made.lines().skip(1).map(str::to_owned).collect()
}

/// What is to be found out of a region: cents of 2024 and of 2025, and what is left of the latter.
#[derive(Default)]
struct Sums {
    before: i64,
    after: i64,
    margin: i64,
}

impl Sums {
    fn growth(&self) -> i64 {
        (self.after - self.before) * 1000 / self.before
    }
}

/// The regions' sums, computed here from what the generators write as CSV: without a Parquet file and its reader.
fn sums() -> BTreeMap<String, Sums> {
    let mut costs: BTreeMap<(String, String), f64> = BTreeMap::new();
    for line in generated("costs.awk") {
        let [product, since, _, cents, duty] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (cents, duty) = (cents.parse::<f64>().expect("cents"), duty.parse::<f64>().expect("a share"));
        costs.insert((product.to_owned(), since.to_owned()), cents * (1.0 + duty));
    }
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for line in generated("generate.awk") {
        let [date, region, product, quantity, cents] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (quantity, cents) =
            (quantity.parse::<f64>().expect("pieces"), cents.parse::<i64>().expect("cents"));
        // The product's last line that is not after the sale.
        let until = (product.to_owned(), date.to_owned());
        let ((of, _), cost) = costs.range(..=until).next_back().expect("a cost");
        assert_eq!(of, product, "every sale has a cost");
        let sums = sums.entry(region.to_owned()).or_default();
        if date.starts_with("2025") {
            sums.after += cents;
            sums.margin += cents - (quantity * cost).round_ties_even() as i64;
        } else {
            sums.before += cents;
        }
    }
    sums
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// `growth.csv` as the analyst is to write it, with the margins where it could read the costs.
fn growth(sums: &BTreeMap<String, Sums>, with_margins: bool) -> String {
    let margin =
        |cents: &dyn std::fmt::Display| if with_margins { format!(",{cents}") } else { String::new() };
    let header = format!("region,cents_2024,cents_2025,growth_per_mille{}\n", margin(&"margin_cents_2025"));
    sums.iter().fold(header, |text, (region, sums)| {
        let Sums { before, after, margin: left } = sums;
        text + &format!("{region},{before},{after},{}{}\n", sums.growth(), margin(left))
    })
}

#[test]
fn the_analyst_joins_csv_with_parquet() {
    let root = tempfile::tempdir().expect("a directory");
    let sums = sums();
    assert_eq!(sums.len(), 4);
    let fastest = sums.iter().max_by_key(|(_, sums)| sums.growth()).expect("regions").0;
    let total = money(sums.values().map(|sums| sums.after).sum());
    let margin = money(sums.values().map(|sums| sums.margin).sum());

    // With Python, and with awk, which is everywhere and reads no Parquet.
    for (question, with_margins, says) in [
        (QUESTION.to_owned(), true, format!("of which {margin} are left")),
        (format!("{QUESTION} Compute with awk."), false, "a file that awk does not read".to_owned()),
    ] {
        let report = answered(&run(ANALYST, root.path(), &["analyst", &question]));
        assert_eq!(paths(&report), ["/workspace/outputs/growth.csv", "/workspace/outputs/report.md"]);
        let answer = report["answer"].as_str().expect("an answer");
        assert!(answer.starts_with(&format!("The {fastest} grew fastest")), "{answer}");
        assert!(answer.contains(&format!("sold for {total} in 2025")), "{answer}");
        assert!(answer.contains(&says), "{answer}");
        let saved = |name: &str| fs::read_to_string(root.path().join("out").join(name)).expect("saved");
        assert_eq!(saved("growth.csv"), growth(&sums, with_margins), "{question}");
        let report = saved("report.md");
        assert_eq!(report.contains(&format!("; margin {margin}\n")), with_margins, "{report}");
        assert!(report.contains(&format!("total {total}")), "{report}");
    }
}

/// Files for the reader of the example's skill. Those that it reads were written by pyarrow, but for `costs.parquet`:
/// that is the example's own, and pyarrow read it.
fn parquet(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet").join(name)
}

/// The reader of the example's skill with these arguments: whether it succeeded, and what it said and complained.
fn reader(arguments: &[&str]) -> (bool, String, String) {
    let read = Command::new("python3")
        .arg(example(ANALYST).join("skills/parquet/scripts/parquet_to_csv.py"))
        .args(arguments)
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .expect("Python runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (read.status.success(), text(read.stdout), text(read.stderr))
}

#[test]
fn the_example_writes_parquet_that_others_read() {
    // As the agent's file does it.
    let agent = fs::read_to_string(example(ANALYST).join("agents/analyst.md")).expect("the agent's file");
    let setup = agent
        .lines()
        .find_map(|line| line.trim().strip_prefix("- ").filter(|line| line.contains("parquet.awk")));
    let made = tempfile::tempdir().expect("a directory");
    let path = made.path().join("costs.parquet");
    let command = setup.expect("a setup command").replace("costs.parquet", path.to_str().expect("UTF-8"));
    let run = Command::new("sh").arg("-c").arg(command).current_dir(example(ANALYST).join("files")).status();
    assert!(run.expect("sh runs").success());
    let (made, read_by_pyarrow) = (fs::read(&path), fs::read(parquet("costs.parquet")));
    let (made, read_by_pyarrow) = (made.expect("made"), read_by_pyarrow.expect("a fixture"));
    assert!(made == read_by_pyarrow, "see whether pyarrow reads it, then put it in the fixture's place");
    let (_, schema, _) = reader(&["--schema", path.to_str().expect("UTF-8")]);
    assert_eq!(
        schema,
        "product: text (BYTE_ARRAY)\nsince: date (INT32)\nsupplier: integer (INT32)\n\
         cost_cents: integer (INT64)\nduty: number (DOUBLE)\n48 rows\n"
    );
}

#[test]
fn the_reader_reads_what_pyarrow_writes() {
    let expected = fs::read_to_string(parquet("types.csv")).expect("what they hold");
    for name in ["snappy.parquet", "gzip-v2.parquet", "none-plain.parquet"] {
        let (succeeded, said, complained) = reader(&[parquet(name).to_str().expect("UTF-8")]);
        assert!(succeeded, "{name}: {complained}");
        assert!(said == expected, "{name}");
    }
}

#[test]
fn the_reader_says_what_it_does_not_read() {
    for (name, more, complains) in [
        ("zstd.parquet", &[][..], "the compression ZSTD is not supported; snappy, gzip and none are"),
        ("delta.parquet", &[], "the encoding DELTA_BINARY_PACKED of `n` is not supported"),
        ("nested.parquet", &[], "is nested, which is not supported"),
        ("int96.parquet", &[], "the type of `n` is not supported (INT96"),
        ("types.csv", &[], "this is no Parquet file, or its end is missing"),
        ("none.parquet", &[], "No such file"),
        ("costs.parquet", &["price"], "there is no column `price`; the columns are product, since,"),
    ] {
        let path = parquet(name);
        let arguments = [&[path.to_str().expect("UTF-8")][..], more].concat();
        let (succeeded, said, complained) = reader(&arguments);
        assert!(!succeeded && said.is_empty(), "{name}: {said}");
        assert!(
            complained.starts_with("parquet_to_csv: ") && complained.contains(complains),
            "{name}: {complained}"
        );
        assert_eq!(complained.lines().count(), 1, "{complained}");
    }
}

#[test]
fn the_reader_refuses_what_is_damaged_and_never_breaks() {
    let names = ["costs", "snappy", "gzip-v2", "none-plain", "delta", "nested"];
    let run = Command::new("python3")
        // Nothing is left beside the skill, whose folder is part of the agent.
        .arg("-B")
        .arg(parquet("damage.py"))
        .arg(example(ANALYST).join("skills/parquet/scripts/parquet_to_csv.py"))
        .args(names.map(|name| parquet(&format!("{name}.parquet"))))
        .output()
        .expect("Python runs");
    let (said, complained) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{complained}");
    assert!(said.contains(" read, ") && said.ends_with(" refused\n"), "{said}");
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
