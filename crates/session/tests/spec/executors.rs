//! Self-hosted environments: executors that come and go, what waits for them, and commands that nobody can
//! take back.

use tenure_journal::{FailureKind, Timestamp};
use tenure_session::{Attempted, Command, Input, RequiredAction, Role};

use crate::bench::{Bench, Show, agent, call, defaults, exited, failure, opened, say, self_hosted};

const RUN: &str = r#"{"command":"make"}"#;
const WAIT_MS: u64 = 300_000;

fn open(first: &str, show: Show) -> Bench {
    let mut opening = opened(agent(vec![]));
    opening.environment = self_hosted();
    Bench::open(opening, first, defaults(), show)
}

/// A session whose executor is connected, and that was told to go.
fn connected(show: Show) -> Bench {
    let mut b = open("Go", show);
    connect(&mut b);
    b
}

fn connect(b: &mut Bench) {
    b.crank("executor connects", &Input::Connected).unwrap();
}

fn disconnect(b: &mut Bench) {
    b.crank("executor is gone", &Input::Disconnected).unwrap();
}

/// What a client does that has a message: it says that it waits.
fn wait_for_executor(b: &mut Bench) {
    let until = b.now.plus_millis(WAIT_MS);
    b.command("a client waits", Command::AwaitConnection { until }).unwrap();
}

#[test]
fn a_first_message_waits_as_long_as_it_takes() {
    let mut b = open("Go", Show::Notices);
    b.status();
    b.wait(WAIT_MS * 1_000);
    b.status();
    connect(&mut b);
    b.status();
    b.check(
        r#"
        > open "Go"
          session created (idle)
          env1 ready
          session requires_action (requires_action)
          = requires_action, wants env1 connected
        > 300000000 ms pass
          nothing
          = requires_action, wants env1 connected
        > executor connects
          env1 connected
          turn1 created (queued)
          item.added turn1 item1 completed: user "Go"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
          = in_progress
    "#,
    );
}

#[test]
fn a_client_waits_before_its_message_is_accepted() {
    let mut b = open("", Show::Notices);
    b.status();
    wait_for_executor(&mut b);
    b.status();
    wait_for_executor(&mut b);
    connect(&mut b);
    b.message("Go");
    b.check(
        r#"
        > open
          session created (idle)
          env1 ready
          = idle
        > a client waits
          session requires_action (requires_action)
          = requires_action, wants env1 connected
        > a client waits
        > executor connects
          env1 connected
          session idle (idle)
        > message "Go"
          turn1 created (queued)
          item.added turn1 item1 completed: user "Go"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
    "#,
    );
}

#[test]
fn clients_wait_no_longer_than_they_said() {
    let mut b = open("", Show::Events);
    wait_for_executor(&mut b);
    b.wait(WAIT_MS / 2);
    b.note("another one comes");
    wait_for_executor(&mut b);
    b.wait(WAIT_MS / 2);
    b.status();
    b.wait(WAIT_MS / 2);
    b.status();
    assert_eq!(b.session.head().wake_at, None, "nothing is left to do");
    b.check(
        r#"
        > open
          session opened for m
        > a client waits
          executor awaited for 300000 ms
        > 150000 ms pass
          nothing
          = another one comes
        > a client waits
          executor awaited for 450001 ms
        > 150000 ms pass
          nothing
          = requires_action, wants env1 connected
        > 150000 ms pass
          executor awaited no more
          = idle
    "#,
    );
}

#[test]
fn a_cancel_ends_every_wait() {
    let mut b = open("Go", Show::Events);
    wait_for_executor(&mut b);
    b.cancel();
    b.status();
    b.delete();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
        > a client waits
          executor awaited for 300000 ms
        > cancel
          executor awaited no more
          turn1 created
          inp1 joined turn1 as item1
          turn1 cancelled
          = idle
        > delete
          session deleted
    "#,
    );
}

#[test]
fn commands_run_once() {
    let mut b = connected(Show::Events);
    let patch = r#"{"patch":"*** Begin Patch"}"#;
    b.answer(vec![call("c1", "shell", RUN), call("c2", "apply_patch", patch)]);
    b.environment("command", Attempted::Ran(exited(0, "built\n", None)));
    b.resumed();
    b.context();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
        > executor connects
          executor connected
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /srv/shop
          eff2 requested: run "make" in /srv/shop for 120000 ms (never)
          turn1 item3 #1 in_progress: command c2 "apply_patch <<'PATCH'\n*** Begin Patch\nPATCH" in /srv/shop
          eff3 requested: patch "*** Begin Patch" (never)
          eff2 attempt 1
        > command
          eff2 attempt 1 exited 0 with the same files "built\n", settled
          eff3 attempt 1
        > restart
          eff3 attempt 1 unknown, settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
          | user: "Go"
          | call c1: shell {"command":"make"}
          | call c2: apply_patch {"patch":"*** Begin Patch"}
          | result c1: "Exit code 0.\nbuilt\n"
          | result c2: "The call was interrupted and its outcome is unknown: it may or may not"… (158 characters)
          | tools: shell, apply_patch
    "#,
    );
}

#[test]
fn a_lost_command_fails_and_its_turn_goes_on() {
    let mut b = connected(Show::Notices);
    b.mute();
    b.answer(vec![call("c1", "shell", RUN)]);
    b.unmute();
    disconnect(&mut b);
    b.status();
    let lost = Attempted::Failed(failure(FailureKind::ConnectionFailed));
    b.environment("the command is lost", lost);
    b.answer(vec![say("It is gone.")]);
    b.message("Again");
    b.status();
    b.check(
        r#"
        > open "Go"
          session created (idle)
          env1 ready
          session requires_action (requires_action)
        > executor connects
          env1 connected
          turn1 created (queued)
          item.added turn1 item1 completed: user "Go"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
          …
        > executor is gone
          env1 disconnected
          = in_progress
        > the command is lost
          item.done turn1 item2 #0 failed: command c1 "make" in /srv/shop error "The call was interrupted and its outcome is unknown: it may or may not"… (158 characters)
        > answer
          item.added turn1 item3 #1 in_progress: message (no phase) ""
          part 0 of item3 added
          part 0 of item3 delta "It is gone."
          part 0 of item3 text done "It is gone."
          part 0 of item3 done
          item.done turn1 item3 #1 completed: message (final_answer) "It is gone."
          turn1 completed (completed)
          session idle (idle)
        > message "Again"
          session requires_action (requires_action)
          = requires_action, wants env1 connected
    "#,
    );
}

#[test]
fn a_command_that_could_not_begin_says_so() {
    let mut b = connected(Show::Nothing);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.environment("nobody came", Attempted::Failed(failure(FailureKind::NotFound)));
    let error = b.session.items().last().map(|(_, item)| format!("{:?}", item.body));
    assert!(error.is_some_and(|item| item.contains("NotFound happened")), "what it failed of is told");
}

/// The session stays due as long as the journal says that the executor is there, so that its node's death is
/// noticed.
#[test]
fn a_connected_session_is_due_until_its_executor_is_gone() {
    let mut b = connected(Show::Nothing);
    b.answer(vec![say("Done.")]);
    assert_eq!(b.session.head().wake_at, Some(Timestamp::EPOCH));
    disconnect(&mut b);
    assert_eq!(b.session.head().wake_at, None);
    disconnect(&mut b);
    connect(&mut b);
    let version = b.session.version();
    connect(&mut b);
    assert_eq!(b.session.version(), version, "what is known is not recorded again");
    b.delete();
    assert_eq!(b.session.head().wake_at, None, "nothing is due of a deleted session");
    connect(&mut b);
    assert_eq!(b.session.connects(), None);
}

#[test]
fn a_guest_records_that_a_client_waits() {
    let mut b = open("", Show::Nothing);
    b.role = Role::Guest;
    wait_for_executor(&mut b);
    let actions = b.session.view().required_actions;
    assert!(matches!(actions.as_slice(), [RequiredAction::EnvironmentConnection { .. }]));
    b.wait(WAIT_MS);
    assert!(b.session.connection_awaited_until().is_some(), "time is the holder's");
    b.role = Role::Holder;
    b.tick();
    assert_eq!(b.session.connection_awaited_until(), None);
}

#[test]
fn only_an_environment_of_the_customers_is_awaited() {
    let mut b = Bench::new(vec![], "");
    let version = b.session.version();
    wait_for_executor(&mut b);
    connect(&mut b);
    assert_eq!(b.session.version(), version);
    let mut b = connected(Show::Nothing);
    let version = b.session.version();
    wait_for_executor(&mut b);
    assert_eq!(b.session.version(), version, "it is there");
}
