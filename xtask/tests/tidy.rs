//! Rules about the sources that need no compiler: what must not be in a file, and how long one may be.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of one source file of a crate. Past 600 a reader asks which second thing moved in.
const LINES_MAX: usize = 800;
/// Bytes of a file that is read at all; larger ones are data.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Directories without sources of ours.
const SKIPPED: &[&str] =
    &[".git", "target", "artifacts", "corpus", "node_modules", ".venv", ".tenure", "__pycache__"];

/// A file: its path from the root with `/` between, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// In a directory of tests, of whatever language.
    fn is_test(&self) -> bool {
        self.path.split('/').rev().skip(1).any(|directory| directory == "tests")
    }

    /// A test whose order comes from what it observes. Kill tests strike at arbitrary moments, which is a
    /// pause by its nature; and one helper named `wait` may pause between two looks.
    fn is_timed_by_events(&self) -> bool {
        let is_helper = Path::new(&self.path).file_stem().is_some_and(|stem| stem == "wait");
        self.is_test() && !is_helper && !self.path.contains("/tests/kill/")
    }

    fn of_crate(&self) -> Option<&str> {
        let (name, rest) = self.path.strip_prefix("crates/")?.split_once('/')?;
        rest.starts_with("src/").then_some(name)
    }
}

/// One rule: what it is called, which files it is for, and what is wrong with a line.
struct Rule {
    name: &'static str,
    applies: fn(&Source) -> bool,
    /// Whether it holds in a file's own tests too, which follow the rest of it.
    in_unit_tests: bool,
    offends: fn(&str) -> bool,
}

/// Words are put together here so that this file does not offend itself.
const RULES: &[Rule] = &[
    Rule {
        name: "unfinished: finish it, or return an error that says what is missing",
        applies: Source::is_rust,
        in_unit_tests: true,
        offends: |line| line.contains(concat!("todo", "!(")) || line.contains(concat!("unimplemented", "!(")),
    },
    Rule {
        name: "a test is hidden: fix it or delete it",
        applies: |_| true,
        in_unit_tests: true,
        offends: |line| {
            let line = line.trim_start();
            [concat!("#[", "ignore"), concat!("@pytest.mark.", "skip"), concat!("@pytest.mark.", "xfail")]
                .iter()
                .any(|hidden| line.starts_with(hidden))
        },
    },
    Rule {
        name: "a test sleeps: wait for what it waits for, with a deadline",
        applies: Source::is_timed_by_events,
        in_unit_tests: true,
        offends: |line| {
            [concat!("thread::", "sleep("), concat!("time::", "sleep("), concat!("time.", "sleep(")]
                .iter()
                .chain(&[concat!("asyncio.", "sleep(")])
                .any(|sleep| line.contains(sleep))
        },
    },
    Rule {
        name: "a package registry is named",
        applies: |source| !source.path.ends_with("Cargo.lock"),
        in_unit_tests: true,
        offends: |line| {
            [
                concat!("crates", ".io"),
                concat!("pypi", ".org"),
                concat!("pythonhosted", ".org"),
                concat!("npmjs", ".org"),
                concat!("npmjs", ".com"),
            ]
            .iter()
            .any(|host| line.contains(host))
        },
    },
    Rule {
        name: "SQL outside a `.sql` file",
        applies: |source| {
            source.of_crate().is_some_and(|name| name.starts_with("store-")) && source.is_rust()
        },
        in_unit_tests: false,
        offends: begins_sql,
    },
    Rule {
        name: "a process is started outside the crates that may",
        applies: |source| {
            // A key service is a command, and so is a solver; the test kit starts a database for tests, and benchmarks
            // what they measure beside.
            let may = |name: &str| {
                matches!(name, "sandbox" | "tools" | "executor" | "seal" | "prove" | "tenure" | "testkit")
            };
            let is_bench = source.path.ends_with("/src/bench.rs");
            source.is_rust() && !is_bench && source.of_crate().is_some_and(|name| !may(name))
        },
        in_unit_tests: false,
        offends: |line| line.contains("process::Command"),
    },
    Rule {
        name: "the environment is read below the binary",
        applies: |source| {
            source.is_rust() && source.of_crate().is_some_and(|name| !matches!(name, "tenure" | "testkit"))
        },
        in_unit_tests: false,
        offends: |line| line.contains("env::var"),
    },
];

/// A string literal that begins like a statement.
fn begins_sql(line: &str) -> bool {
    const VERBS: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "WITH"];
    line.split('"').skip(1).step_by(2).any(|literal| {
        let first = literal.split_whitespace().next().unwrap_or_default();
        VERBS.contains(&first) && literal.contains(' ')
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("one level below the root")
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![root().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository is readable") {
            let entry = entry.expect("an entry of a directory of the repository is readable");
            let kind = entry.file_type().expect("an entry has a type");
            let name = entry.file_name();
            if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                open.push(entry.path());
            } else if kind.is_file() {
                found.extend(source(&entry.path()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A file that holds text; none for others, or one that was deleted meanwhile.
fn source(path: &PathBuf) -> Option<Source> {
    if fs::metadata(path).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let relative = path.strip_prefix(root()).ok()?;
    let names = relative.components().map(|name| name.as_os_str().to_string_lossy());
    Some(Source { path: names.collect::<Vec<_>>().join("/"), text })
}

fn offences(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| (rule.applies)(source)) {
        let until = |line: &&str| rule.in_unit_tests || *line != "#[cfg(test)]";
        let lines = source.text.lines().take_while(until).enumerate();
        let lines = lines.filter(|(_, line)| (rule.offends)(line));
        found.extend(lines.map(|(index, _)| format!("{}:{}: {}", source.path, index + 1, rule.name)));
    }
    let lines = source.text.lines().count();
    if source.of_crate().is_some() && lines > LINES_MAX {
        found.push(format!("{}: {lines} lines; which second thing moved in?", source.path));
    }
    found
}

#[test]
fn the_sources_are_tidy() {
    let sources = sources();
    assert!(sources.iter().any(|source| source.path == "xtask/tests/tidy.rs"), "the repository was read");
    let found: Vec<_> = sources.iter().flat_map(offences).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The checker itself must be able to fail.
#[test]
fn an_offence_is_found() {
    let check = |path: &str, text: &str, expected: usize| {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(offences(&source).len(), expected, "{path}: {text}");
    };
    check("crates/a/src/lib.rs", concat!("todo", "!()"), 1);
    check("crates/a/tests/a.rs", concat!("    #[", "ignore = \"slow\"]"), 1);
    check("crates/a/tests/a.rs", concat!("tokio::time::", "sleep(x).await;"), 1);
    check("crates/a/src/lib.rs", concat!("tokio::time::", "sleep(x).await;"), 0);
    check("tests/sdk/test_a.py", concat!("time.", "sleep(1)"), 1);
    check("crates/a/tests/wait.rs", concat!("thread::", "sleep(x);"), 0);
    check("crates/a/tests/kill/main.rs", concat!("thread::", "sleep(x);"), 0);
    check("README.md", concat!("from crates", ".io"), 1);
    check("Cargo.lock", concat!("from crates", ".io"), 0);
    check("crates/store-sqlite/src/lib.rs", "let sql = \"SELECT 1\";", 1);
    check("crates/store-sqlite/src/lib.rs", "\"UPDATE\"; \"with a word\"", 0);
    check("crates/store-sqlite/src/lib.rs", "#[cfg(test)]\nlet sql = \"SELECT 1\";", 0);
    check("crates/runtime/src/lib.rs", "let id = std::process::id();", 0);
    check("crates/runtime/src/lib.rs", "use std::process::Command;", 1);
    check("crates/api/src/lib.rs", "std::env::var(\"HOME\")", 1);
    check("crates/tenure/src/main.rs", "std::env::var(\"HOME\")", 0);
    check("crates/a/src/long.rs", &"\n".repeat(LINES_MAX + 1), 1);
}
