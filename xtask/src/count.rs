//! Counting tests from what their runners print.

use std::collections::BTreeSet;

/// What a test prints that could not do its work here, before what it is and why not.
const NOT_RUN: &str = "not run: ";

/// Tests seen so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// What passed without having been run, and why.
    pub(crate) not_run: BTreeSet<String>,
}

impl Counter {
    /// Takes one line of output into account. Two runners are known:
    ///
    /// ```text
    /// test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
    /// 2 failed, 81 passed, 1 error in 12.34s
    /// ```
    ///
    /// A test that cannot do its work on this machine says so with a line of its own.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(what) = line.strip_prefix(NOT_RUN) {
            self.not_run.insert(what.to_owned());
            return;
        }
        let (fields, separator) = match line.strip_prefix("test result: ") {
            Some(rest) => (rest.split_once(". ").map_or("", |(_, fields)| fields), ';'),
            None if is_pytest_summary(line) => (line.trim_matches(['=', ' ']), ','),
            None => return,
        };
        for field in fields.split(separator) {
            let mut words = field.split_whitespace();
            let Some(Ok(number)) = words.next().map(str::parse::<u64>) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed" | "error" | "errors") => self.failed += number,
                _ => {}
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed == 0
    }
}

/// The last line of `pytest -q`: counts, then ` in ` and seconds.
fn is_pytest_summary(line: &str) -> bool {
    let line = line.trim_matches(['=', ' ']);
    let Some((counts, time)) = line.rsplit_once(" in ") else { return false };
    let seconds = time.split_whitespace().next().and_then(|word| word.strip_suffix('s'));
    let timed = seconds.is_some_and(|seconds| seconds.parse::<f64>().is_ok());
    timed && counts.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, passed: u64, failed: u64) {
        let mut counter = Counter::default();
        counter.line(line);
        assert_eq!(counter, Counter { passed, failed, ..Counter::default() }, "{line}");
    }

    #[test]
    fn counts_what_runners_print() {
        check("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; finished in 0.01s", 12, 0);
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 1.00s", 3, 2);
        check("81 passed in 12.34s", 81, 0);
        check("2 failed, 79 passed, 1 error in 62.34s (0:01:02)", 79, 3);
        check("===== 1 failed, 2 passed in 0.10s =====", 2, 1);
    }

    #[test]
    fn remembers_what_was_not_run() {
        let mut counter = Counter::default();
        for line in
            ["not run: power failure: no /dev/fuse", "test a ... ok", "not run: power failure: no /dev/fuse"]
        {
            counter.line(line);
        }
        assert_eq!(Vec::from_iter(counter.not_run), ["power failure: no /dev/fuse"]);
    }

    #[test]
    fn leaves_other_lines_alone() {
        for line in ["test a ... ok", "running 3 tests", "finished 3 passed", "12 passed", ""] {
            check(line, 0, 0);
        }
    }
}
