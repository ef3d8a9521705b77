//! Environments: what waits for them, how commands follow each other, what is repeated after a crash and
//! what is not, and what a turn publishes.

use tenure_journal::{Artifact, ArtifactId, EffectId, FailureKind, Fresh, Network, Timestamp};
use tenure_session::{Attempted, Command};

use crate::bench::{Bench, Show, agent, call, defaults, exited, file, function, hosted, opened, root, say};

fn open(network: Network, show: Show) -> Bench {
    let mut opening = opened(agent(vec![function("ask")]));
    opening.environment = hosted(network);
    Bench::open(opening, "Go", defaults(), show)
}

/// A session whose environment is ready, and that was told to go.
fn ready(network: Network) -> Bench {
    let mut b = open(network, Show::Events);
    b.environment("prepared", Attempted::Placed(root(1)));
    b
}

const RUN: &str = r#"{"command":"make"}"#;

#[test]
fn messages_wait_until_it_is_ready() {
    let mut b = open(Network::Disabled, Show::Notices);
    b.message("And then?");
    b.environment("prepared", Attempted::Placed(root(1)));
    b.check(
        r#"
        > open "Go"
          session created (idle)
          env1 pending
        > message "And then?"
        > prepared
          env1 ready
          env1 connected
          turn1 created (queued)
          item.added turn1 item1 completed: user "Go"
          item.added turn1 item2 completed: user "And then?"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
    "#,
    );
}

#[test]
fn messages_that_wait_are_cancelled() {
    let mut b = open(Network::Disabled, Show::Events);
    b.cancel();
    b.delete();
    b.environment("prepared", Attempted::Placed(root(1)));
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > cancel
          turn1 created
          inp1 joined turn1 as item1
          turn1 cancelled
        > delete
          session deleted
        > prepared
          eff1 attempt 1 placed, settled
    "#,
    );
}

#[test]
fn files_left_behind_are_taken_up_by_the_next_command_alone() {
    let mut b = ready(Network::Enabled);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.resumed();
    b.answer(vec![call("c2", "shell", RUN)]);
    b.environment("command", Attempted::Ran(exited(0, "", None)));
    assert_eq!((b.session.files_left_by(), b.session.workspace_root()), (None, Some(root(1))));
}

#[test]
fn one_whose_files_are_lost_is_made_ready_anew_and_what_waits_comes_after() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", RUN), call("c2", "shell", RUN)]);
    // The store may have been looked at in a bad moment.
    for _ in 0..3 {
        b.fails(FailureKind::FilesLost);
        b.wait(600_000);
    }
    b.fails(FailureKind::FilesLost);
    assert_eq!((b.session.workspace_root(), b.session.environment_resets()), (None, 1));
    b.environment("prepared again", Attempted::Placed(root(1)));
    b.environment("command", Attempted::Ran(exited(0, "", None)));
    b.context();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (freely)
          turn1 item3 #1 in_progress: command c2 "make" in /workspace
          eff4 requested: run "make" in /workspace for 120000 ms (freely)
          eff3 attempt 1
        > FilesLost
          eff3 attempt 1 failed: files_lost "FilesLost happened", again in 100 ms
        > 600000 ms pass
          eff3 attempt 2
        > FilesLost
          eff3 attempt 2 failed: files_lost "FilesLost happened", again in 200 ms
        > 600000 ms pass
          eff3 attempt 3
        > FilesLost
          eff3 attempt 3 failed: files_lost "FilesLost happened", again in 400 ms
        > 600000 ms pass
          eff3 attempt 4
        > FilesLost
          eff3 attempt 4 failed: files_lost "FilesLost happened", settled
          environment reset
          eff5 requested: prepare the environment (freely)
          eff5 attempt 1
        > prepared again
          eff5 attempt 1 placed, settled
          eff4 attempt 1
        > command
          eff4 attempt 1 exited 0 with the same files "", settled
          eff6 requested: ask m, step 1 (freely)
          eff6 attempt 1
          | user: "Go"
          | call c1: shell {"command":"make"}
          | call c2: shell {"command":"make"}
          | result c1: "FilesLost happened"
          | result c2: "Exit code 0."
          | tools: ask, shell, apply_patch
    "#,
    );
}

#[test]
fn readers_are_told_of_a_reset() {
    let mut b = open(Network::Disabled, Show::Notices);
    b.environment("prepared", Attempted::Placed(root(1)));
    b.answer(vec![call("c1", "shell", RUN)]);
    for _ in 0..3 {
        b.fails(FailureKind::FilesLost);
        b.wait(600_000);
    }
    b.fails(FailureKind::FilesLost);
    b.environment("prepared again", Attempted::Placed(root(1)));
    b.check(
        r#"
        > open "Go"
          session created (idle)
          env1 pending
        > prepared
          env1 ready
          env1 connected
          turn1 created (queued)
          item.added turn1 item1 completed: user "Go"
          session in_progress (in_progress)
          turn1 in_progress (in_progress)
        > answer
          item.added turn1 item2 #0 in_progress: command c1 "make" in /workspace
        > FilesLost
        > 600000 ms pass
        > FilesLost
        > 600000 ms pass
        > FilesLost
        > 600000 ms pass
        > FilesLost
          item.done turn1 item2 #0 failed: command c1 "make" in /workspace error "FilesLost happened"
          env1 reset
          env1 pending
        > prepared again
          env1 ready
          env1 connected
    "#,
    );
}

#[test]
fn one_that_cannot_be_made_ready_fails_its_session() {
    let mut b = open(Network::Disabled, Show::Notices);
    b.fails(FailureKind::InvalidRequest);
    b.message("Hello?");
    b.delete();
    b.check(
        r#"
        > open "Go"
          session created (idle)
          env1 pending
        > InvalidRequest
          env1 failed "InvalidRequest happened"
          session failed (failed)
        > message "Hello?"
          refused: the session has failed and accepts no more input
        > delete
          deleted
    "#,
    );
}

#[test]
fn commands_run_one_after_the_other() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", RUN), call("c2", "apply_patch", r#"{"patch":"*** Begin Patch"}"#)]);
    b.environment("command", Attempted::Ran(exited(2, "make: no rule\n", None)));
    b.environment("patch", Attempted::Ran(exited(0, "", Some(root(2)))));
    b.context();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (freely)
          turn1 item3 #1 in_progress: command c2 "apply_patch <<'PATCH'\n*** Begin Patch\nPATCH" in /workspace
          eff4 requested: patch "*** Begin Patch" (freely)
          eff3 attempt 1
        > command
          eff3 attempt 1 exited 2 with the same files "make: no rule\n", settled
          eff4 attempt 1
        > patch
          eff4 attempt 1 exited 0 with new files "", settled
          eff5 requested: ask m, step 1 (freely)
          eff5 attempt 1
          | user: "Go"
          | call c1: shell {"command":"make"}
          | call c2: apply_patch {"patch":"*** Begin Patch"}
          | result c1: "Exit code 2.\nmake: no rule\n"
          | result c2: "Exit code 0."
          | tools: ask, shell, apply_patch
    "#,
    );
}

#[test]
fn what_cannot_be_run_is_told_to_the_model() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", r#"{"command":"ls","cwd":"/etc"}"#)]);
    b.context();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 failed: internal shell c1 "{\"command\":\"ls\",\"cwd\":\"/etc\"}" told "Not run: `cwd` must be /workspace or below it."
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
          | user: "Go"
          | call c1: shell {"command":"ls","cwd":"/etc"}
          | result c1: "Not run: `cwd` must be /workspace or below it."
          | tools: ask, shell, apply_patch
    "#,
    );
}

#[test]
fn a_command_without_network_is_repeated_after_a_crash() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.resumed();
    b.environment("command", Attempted::Ran(exited(0, "built", Some(root(2)))));
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (freely)
          eff3 attempt 1
        > restart
          eff3 attempt 1 unknown, again in 0 ms
          eff3 attempt 2
        > command
          eff3 attempt 2 exited 0 with new files "built", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
    "#,
    );
}

#[test]
fn a_command_with_network_is_not_and_its_files_stay() {
    let mut b = ready(Network::Enabled);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.resumed();
    assert!(b.session.files_left_by().is_some());
    b.answer(vec![call("c2", "shell", RUN)]);
    b.environment("command", Attempted::Ran(exited(0, "built", Some(root(2)))));
    assert_eq!(b.session.files_left_by(), None);
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (never)
          eff3 attempt 1
        > restart
          eff3 attempt 1 unknown, settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
        > answer
          eff4 attempt 1 answered, settled
          turn1 item3 #1 in_progress: command c2 "make" in /workspace
          eff5 requested: run "make" in /workspace for 120000 ms (never)
          eff5 attempt 1
        > command
          eff5 attempt 1 exited 0 with new files "built", settled
          eff6 requested: ask m, step 2 (freely)
          eff6 attempt 1
    "#,
    );
}

#[test]
fn a_cancelled_command_leaves_the_files_as_they_were() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.cancel();
    assert_eq!(b.session.workspace_root(), Some(root(1)));
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (freely)
          eff3 attempt 1
        > cancel
          eff3 abandoned
          item2 closed incomplete
          turn1 cancelled
    "#,
    );
}

#[test]
fn files_of_a_client_are_placed_before_the_next_command() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.command("place", Command::PlaceFiles { files: vec![file("/workspace/in.csv")] }).unwrap();
    b.environment("command", Attempted::Ran(exited(0, "", Some(root(2)))));
    b.environment("placed", Attempted::Placed(root(3)));
    assert_eq!(b.session.workspace_root(), Some(root(3)));
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (freely)
          eff3 attempt 1
        > place
          eff4 requested: place /workspace/in.csv (freely)
        > command
          eff3 attempt 1 exited 0 with new files "", settled
          eff4 attempt 1
        > placed
          eff4 attempt 1 placed, settled
          eff5 requested: ask m, step 1 (freely)
          eff5 attempt 1
    "#,
    );
}

#[test]
fn a_turn_publishes_what_it_changed_and_only_then_ends() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.environment("command", Attempted::Ran(exited(0, "", Some(root(2)))));
    b.answer(vec![say("It is in outputs.")]);
    let (effect, turn_id) = (EffectId::fresh(&Fresh::new(Timestamp::from_millis(1), 1)), b.turn_of("c1"));
    let artifact = Artifact {
        id: ArtifactId::of_output(effect, 0),
        turn_id,
        created_at: b.now,
        path: "/workspace/outputs/report.txt".into(),
        size_bytes: 5,
        root: root(2),
        digest: root(9),
    };
    b.environment("published", Attempted::Published(vec![artifact.clone()]));
    assert_eq!(b.session.artifacts(), std::slice::from_ref(&artifact));
    b.message("Thanks.");
    b.answer(vec![say("Nothing changed, so nothing is published.")]);
    b.command("delete artifact", Command::DeleteArtifact { artifact_id: artifact.id }).unwrap();
    b.command("delete artifact", Command::DeleteArtifact { artifact_id: artifact.id }).unwrap_err();
    assert_eq!(b.session.artifacts(), []);
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (freely)
          eff3 attempt 1
        > command
          eff3 attempt 1 exited 0 with new files "", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
        > answer
          eff4 attempt 1 answered, settled
          turn1 item3 #1 completed: message (final_answer) "It is in outputs."
          eff5 requested: publish artifacts (freely)
          eff5 attempt 1
        > published
          eff5 attempt 1 published /workspace/outputs/report.txt, settled
          turn1 completed
        > message "Thanks."
          inp2 accepted: "Thanks."
          turn2 created
          inp2 joined turn2 as item4
          turn2 started
          eff6 requested: ask m, step 0 (freely)
          eff6 attempt 1
        > answer
          eff6 attempt 1 answered, settled
          turn2 item5 #0 completed: message (final_answer) "Nothing changed, so nothing is published."
          turn2 completed
        > delete artifact
          artifact1 deleted
        > delete artifact
          refused: no artifact `artifact1` in this session
    "#,
    );
}

#[test]
fn a_publication_that_fails_does_not_fail_the_turn() {
    let mut b = ready(Network::Disabled);
    b.answer(vec![call("c1", "shell", RUN)]);
    b.environment("command", Attempted::Ran(exited(0, "", Some(root(2)))));
    b.answer(vec![say("Done.")]);
    b.fails(FailureKind::InvalidRequest);
    b.status();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 in_progress: command c1 "make" in /workspace
          eff3 requested: run "make" in /workspace for 120000 ms (freely)
          eff3 attempt 1
        > command
          eff3 attempt 1 exited 0 with new files "", settled
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
        > answer
          eff4 attempt 1 answered, settled
          turn1 item3 #1 completed: message (final_answer) "Done."
          eff5 requested: publish artifacts (freely)
          eff5 attempt 1
        > InvalidRequest
          eff5 attempt 1 failed: invalid_request "InvalidRequest happened", settled
          turn1 completed
          = idle
    "#,
    );
}
