//! Environments that are made ready before they have a session, and what becomes of idle ones.

use tenure_journal::{EnvironmentStatus, FailureKind, Network};
use tenure_session::{Attempted, Command, History, Point};

use crate::bench::{Bench, Show, agent, call, defaults, exited, file, hosted, opened, root, say};

const RUN: &str = r#"{"command":"make"}"#;

/// An environment that is ready and waits for a session.
fn ready(show: Show) -> Bench {
    let mut b = Bench::prewarm(Network::Disabled, show);
    b.environment("prepared", Attempted::Placed(root(1)));
    b
}

#[test]
fn a_session_is_opened_in_it_once() {
    let mut b = ready(Show::Events);
    assert_eq!(b.session.environment_status(), Some(EnvironmentStatus::Ready));
    assert_eq!(b.session.head().parent, Some(b.session.key().session), "it is in no list of sessions");
    b.open_session("Go");
    b.open_session("Me too");
    assert_eq!((b.session.head().parent, b.session.awaits_session()), (None, false));
    assert_eq!(b.session.environment_status(), Some(EnvironmentStatus::Connected));
    b.answer(vec![say("Done.")]);
    b.environment("published", Attempted::Published(vec![]));
    b.delete();
    b.open_session("After all");
    b.check(
        r#"
        > prewarm
          env1 opened without a session
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
        > open session "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > open session "Me too"
          refused: the environment has a session already; an environment has one session at most
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Done."
          eff3 requested: publish artifacts (freely)
          eff3 attempt 1
        > published
          eff3 attempt 1 published , settled
          turn1 completed
        > delete
          session deleted
        > open session "After all"
          refused: the environment has a session already; an environment has one session at most
    "#,
    );
}

#[test]
fn a_session_opened_in_it_has_no_past_before_it() {
    let mut b = ready(Show::Events);
    let key = b.session.key();
    let before = b.version();
    assert_eq!(History::version_of(key, &b.journal, Point::Latest), None, "there is no session yet");
    b.open_session("Go");
    b.answer(vec![say("Done.")]);
    b.environment("published", Attempted::Published(vec![]));
    assert_eq!(History::version_of(key, &b.journal, Point::Version(before)), None);
    assert_eq!(History::version_of(key, &b.journal, Point::Latest), Some(b.version()));
    let fork = b.fork(b.version(), 90);
    assert!(!fork.session.awaits_session());
    assert_eq!(fork.session.workspace_root(), Some(root(1)), "with the files of the environment");
    assert_eq!(fork.session.hosted().unwrap().id.session(), fork.session.key().session);
}

#[test]
fn readers_are_told_from_the_session_on() {
    let mut b = ready(Show::Notices);
    b.open_session("Go");
    b.check(
        r#"
        > prewarm
        > prepared
        > open session "Go"
          session created (idle)
          env1 ready
          env1 connected
          turn1 created (queued)
          item.added turn1 item1 completed: user "Go"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
    "#,
    );
}

#[test]
fn messages_of_its_session_wait_until_it_is_ready() {
    let mut b = Bench::prewarm(Network::Disabled, Show::Notices);
    b.open_session("Go");
    b.environment("prepared", Attempted::Placed(root(1)));
    b.check(
        r#"
        > prewarm
        > open session "Go"
          session created (idle)
          env1 pending
        > prepared
          env1 ready
          env1 connected
          turn1 created (queued)
          item.added turn1 item1 completed: user "Go"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
    "#,
    );
}

#[test]
fn without_a_session_it_takes_files_and_nothing_else() {
    let mut b = ready(Show::Events);
    let _ = b.command("place", Command::PlaceFiles { files: vec![file("/workspace/a")] });
    b.environment("placed", Attempted::Placed(root(2)));
    b.message("Hello?");
    let _ = b.command("cancel", Command::Cancel);
    let _ = b.command("delete", Command::Delete);
    let _ = b.command("suspend", Command::SuspendEnvironment);
    b.check(
        r#"
        > prewarm
          env1 opened without a session
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
        > place
          eff2 requested: place /workspace/a (freely)
          eff2 attempt 1
        > placed
          eff2 attempt 1 placed, settled
        > message "Hello?"
          refused: no such session
        > cancel
          refused: no such session
        > delete
          refused: no such session
        > suspend
          nothing
    "#,
    );
}

#[test]
fn it_expires_and_takes_no_session_then() {
    let mut b = Bench::prewarm(Network::Disabled, Show::Events);
    let _ = b.command("expire", Command::ExpireEnvironment);
    b.now = b.now.plus_millis(1_000);
    let _ = b.command("expire", Command::ExpireEnvironment);
    let _ = b.command("expire", Command::ExpireEnvironment);
    b.open_session("Go");
    let _ = b.command("place", Command::PlaceFiles { files: vec![file("/workspace/a")] });
    assert_eq!(b.session.environment_status(), Some(EnvironmentStatus::Expired));
    b.check(
        r#"
        > prewarm
          env1 opened without a session
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > expire
          nothing
        > expire
          eff1 abandoned
          environment expired
        > expire
          nothing
        > open session "Go"
          refused: the environment has expired; make another
        > place
          refused: the environment is not connected
    "#,
    );
}

#[test]
fn one_with_a_session_never_expires() {
    let mut b = ready(Show::Nothing);
    b.open_session("Go");
    b.now = b.now.plus_millis(1_000);
    let _ = b.command("expire", Command::ExpireEnvironment);
    assert_eq!(b.session.environment_status(), Some(EnvironmentStatus::Connected));
}

#[test]
fn one_that_cannot_be_made_ready_takes_no_session() {
    let mut b = Bench::prewarm(Network::Disabled, Show::Notices);
    b.fails(FailureKind::InvalidRequest);
    b.open_session("Go");
    b.check(
        r#"
        > prewarm
        > InvalidRequest
        > open session "Go"
          refused: the environment could not be made ready; make another
    "#,
    );
}

#[test]
fn a_crash_while_it_is_prepared_loses_nothing() {
    let mut b = Bench::prewarm(Network::Enabled, Show::Events);
    b.resumed();
    b.open_session("Go");
    b.resumed();
    b.check(
        r#"
        > prewarm
          env1 opened without a session
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > restart
          eff1 attempt 1 unknown, again in 0 ms
          eff1 attempt 2
        > open session "Go"
          session opened for m
          inp1 accepted: "Go"
        > restart
          eff1 attempt 2 unknown, again in 0 ms
          eff1 attempt 3
    "#,
    );
}

#[test]
fn an_idle_environment_is_suspended_and_resumed_by_what_needs_it() {
    let mut opening = opened(agent(vec![]));
    opening.environment = hosted(Network::Disabled);
    let mut b = Bench::open(opening, "Go", defaults(), Show::Notices);
    let suspend = |b: &mut Bench| drop(b.command("suspend", Command::SuspendEnvironment));
    suspend(&mut b);
    b.environment("prepared", Attempted::Placed(root(1)));
    suspend(&mut b);
    b.answer(vec![call("c1", "shell", RUN)]);
    suspend(&mut b);
    b.environment("command", Attempted::Ran(exited(0, "", None)));
    b.answer(vec![say("Done.")]);
    b.environment("published", Attempted::Published(vec![]));
    suspend(&mut b);
    suspend(&mut b);
    assert_eq!(b.session.environment_status(), Some(EnvironmentStatus::Suspended));
    assert_eq!(b.session.workspace_root(), Some(root(1)), "its files are where they were");
    let _ = b.command("place", Command::PlaceFiles { files: vec![file("/workspace/a")] });
    b.environment("placed", Attempted::Placed(root(2)));
    suspend(&mut b);
    b.message("Again");
    let told: Vec<&str> =
        b.transcript().lines().filter(|line| line.contains("env1") || line.starts_with('>')).collect();
    assert_eq!(
        told,
        [
            r#"> open "Go""#,
            "  env1 pending",
            "> suspend",
            "> prepared",
            "  env1 ready",
            "  env1 connected",
            "> suspend",
            "> answer",
            "> suspend",
            "> command",
            "> answer",
            "> published",
            "> suspend",
            "  env1 suspended",
            "> suspend",
            "> place",
            "  env1 connected",
            "> placed",
            "> suspend",
            "  env1 suspended",
            r#"> message "Again""#,
            "  env1 connected",
        ]
    );
}
