//! A solver gets time and memory and no more; what it does not answer, or answers wrongly, is never called proven.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tenure_policy::PolicySet;
use tenure_prove::{Cvc5, Extent, Limits, Outcome, prove};

use crate::support::{PATIENT, cvc5, shipped};

/// A program that calls itself cvc5 and then does this.
fn solver(body: &str) -> (tempfile::TempDir, Cvc5) {
    let directory = tempfile::tempdir().expect("a directory");
    let program: PathBuf = directory.path().join("cvc5");
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'This is cvc5 version 9.9.9'; exit; fi\n{body}\n"
    );
    fs::write(&program, text).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = Cvc5::find(Some(program.as_os_str()), Some(&path)).expect("it says that it is one");
    assert_eq!(found.name(), "cvc5 9.9.9");
    (directory, found)
}

#[track_caller]
fn check_unknown(cvc5: &Cvc5, limits: Limits, says: &str) {
    let invariants = shipped(&["private-network-is-reached"]);
    let report = prove(&PolicySet::defaults(), &invariants, &[], Extent::Invariants, (cvc5, limits))
        .expect("they fit");
    let Outcome::Unknown(why) = &report.proofs[0].outcome else { panic!("{:?}", report.proofs[0].outcome) };
    assert!(why.contains(says), "{why}");
}

#[test]
fn a_solver_that_does_not_answer_is_killed() {
    let (_directory, silent) = solver("exec cat 3>&1 >/dev/null");
    let limits = Limits { question: Duration::from_millis(50), ..PATIENT };
    check_unknown(&silent, limits, "no answer within");
    let limits = Limits { all: Duration::from_millis(1), ..PATIENT };
    check_unknown(&silent, limits, "the time for all questions was over");
}

#[test]
fn a_solver_gets_no_more_memory_than_it_may_have() {
    // Too little for the program itself.
    check_unknown(cvc5(), Limits { memory_kib: 2_048, ..PATIENT }, "");
}

#[test]
fn a_solver_that_dies_proves_nothing() {
    let (_directory, dying) = solver("exit 3");
    check_unknown(&dying, PATIENT, "");
    let (_directory, babbling) = solver("while read -r line; do echo maybe; done");
    check_unknown(&babbling, PATIENT, "unrecognized solver output");
    let (_directory, unsure) =
        solver("while read -r line; do case \"$line\" in '(check-sat)') echo unknown;; esac; done");
    check_unknown(&unsure, PATIENT, "unknown");
}

/// What it claims to have found is decided again before anybody is told of it.
#[test]
fn a_solver_that_makes_things_up_refutes_nothing() {
    let (_directory, lying) = solver(
        "while read -r line; do case \"$line\" in '(check-sat)') echo sat;; '(get-model)') echo '('; echo ')';; esac; done",
    );
    check_unknown(&lying, PATIENT, "");
}
