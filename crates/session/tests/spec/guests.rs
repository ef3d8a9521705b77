//! Guests: a node that takes a command for a session that another node holds records what is wanted and
//! begins no attempt; the holder finds it among what is due.

use tenure_session::{Input, Role};

use crate::bench::{Bench, say};

#[test]
fn record_and_leave_the_attempts_to_the_holder() {
    let mut b = Bench::new(vec![], "Hi");
    b.answer(vec![say("Hello.")]);
    b.role = Role::Guest;
    b.message("And now?");
    assert!(b.running.is_empty(), "a guest begins nothing");
    b.note("a guest has no say in time and restarts");
    b.crank("tick", &Input::Tick).unwrap();
    b.crank("resume", &Input::Resumed).unwrap();
    assert!(b.session.head().wake_at.is_some(), "the holder finds it due");
    b.role = Role::Holder;
    b.crank("tick", &Input::Tick).unwrap();
    assert_eq!(b.running.len(), 1);
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
        > message "And now?"
          inp2 accepted: "And now?"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          = a guest has no say in time and restarts
        > tick
          nothing
        > resume
          nothing
        > tick
          eff2 attempt 1
    "#,
    );
}

#[test]
fn cancel_what_the_holder_runs() {
    let mut b = Bench::new(vec![], "Hi");
    b.role = Role::Guest;
    b.cancel();
    assert!(b.running.is_empty(), "the holder is told to stop it");
    assert!(b.session.head().wake_at.is_none(), "nobody has anything to do");
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > cancel
          eff1 abandoned
          turn1 cancelled
    "#,
    );
}
