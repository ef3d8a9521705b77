//! Steps, their times, and the table at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::count::Counter;

/// What happened so far.
pub(crate) struct Report {
    started: Instant,
    steps: Vec<Step>,
}

struct Step {
    name: String,
    took: Duration,
    tests: Counter,
    failure: Option<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), steps: Vec::new() }
    }

    /// Runs one step and remembers how it ended; a failure does not stop the next one.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce(&mut Counter) -> Outcome) {
        println!("\n== {name}");
        let started = Instant::now();
        let mut tests = Counter::default();
        let failure = run(&mut tests).err();
        let took = started.elapsed();
        if let Some(failure) = &failure {
            println!("{failure}");
        }
        let word = if failure.is_some() { "failed" } else { "passed" };
        println!("== {name}: {word} after {:.1} s", took.as_secs_f64());
        self.steps.push(Step { name: name.to_owned(), took, tests, failure });
    }

    /// Prints the table and what could not be run here. The last line is `N passed, N failed`: tests over all runners, where a step that
    /// has no tests of its own counts as one.
    pub(crate) fn finish(self) -> ExitCode {
        let (mut total_passed, mut total_failed) = (0, 0);
        println!("\n{:<26} {:<7} {:>8} {:>8} {:>8}", "step", "result", "seconds", "passed", "failed");
        for step in &self.steps {
            let tests = step.tests();
            total_passed += tests.passed;
            total_failed += tests.failed;
            let word = if step.failure.is_some() { "failed" } else { "passed" };
            let seconds = step.took.as_secs_f64();
            let (name, passed, failed) = (&step.name, tests.passed, tests.failed);
            println!("{name:<26} {word:<7} {seconds:>8.1} {passed:>8} {failed:>8}");
        }
        println!("all steps took {:.0} s", self.started.elapsed().as_secs_f64());
        for step in &self.steps {
            if let Some(failure) = &step.failure {
                println!("{}: {failure}", step.name);
            }
        }
        for step in &self.steps {
            for what in &step.tests.not_run {
                println!("{}: passed without being run: {what}", step.name);
            }
        }
        println!("{total_passed} passed, {total_failed} failed");
        if total_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Step {
    /// Its tests. A step that failed has at least one failure, even if its runner never came to count.
    fn tests(&self) -> Counter {
        let mut tests = self.tests.clone();
        match &self.failure {
            Some(_) => tests.failed = tests.failed.max(1),
            None if tests.is_empty() => tests.passed = 1,
            None => {}
        }
        tests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(passed: u64, failed: u64, failure: Option<&str>) -> (u64, u64) {
        let failure = failure.map(str::to_owned);
        let tests = Counter { passed, failed, ..Counter::default() };
        let tests = Step { name: String::new(), took: Duration::ZERO, tests, failure }.tests();
        (tests.passed, tests.failed)
    }

    #[test]
    fn a_failed_step_is_a_failure_whatever_was_counted() {
        assert_eq!(step(0, 0, None), (1, 0));
        assert_eq!(step(7, 0, None), (7, 0));
        assert_eq!(step(7, 2, Some("ended")), (7, 2));
        assert_eq!(step(0, 0, Some("did not compile")), (0, 1));
    }
}
