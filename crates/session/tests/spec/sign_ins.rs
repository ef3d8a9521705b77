//! Waiting for a person to sign in where a tool server's credential is not accepted.

use tenure_journal::FailureKind;
use tenure_session::{Command, Refusal};

use crate::bench::{Bench, call, say, server, shop};

/// How long a test lets pass: longer than anything waits that has a deadline.
const LONG_MS: u64 = 7 * 24 * 60 * 60 * 1000;

#[test]
fn a_listing_waits_without_end_and_goes_on_when_a_person_has_signed_in() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.fails(FailureKind::SignInRequired);
    b.status();
    assert_eq!(b.session.next_retry(&b.frozen), None, "no clock ends it");
    assert_eq!(b.session.head().wake_at, None, "nobody has to look after it");
    b.wait(LONG_MS);
    b.status();
    b.command("signed in", Command::SignedIn).unwrap();
    b.lists(shop());
    b.answer(vec![say("Hello.")]);
    b.status();
    b.check(
        r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
        > SignInRequired
          eff1 attempt 1 failed: sign_in_required "SignInRequired happened", again in 2592000000 ms
          = requires_action, wants a sign-in at shop
        > 604800000 ms pass
          nothing
          = requires_action, wants a sign-in at shop
        > signed in
          a person signed in
          eff1 attempt 2
        > listing
          eff1 attempt 2 listed 5 tools, settled
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
          = idle
    "#,
    );
}

#[test]
fn a_call_that_must_not_be_repeated_waits_too_for_it_was_never_sent() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.lists(shop());
    b.answer(vec![call("c1", "shop__send", r#"{"to":"ann"}"#)]);
    b.fails(FailureKind::SignInRequired);
    b.status();
    // However often it has to wait, that is no failure of the call.
    for _ in 0..20 {
        b.command("signed in", Command::SignedIn).unwrap();
        b.fails(FailureKind::SignInRequired);
    }
    b.command("signed in", Command::SignedIn).unwrap();
    b.returns("send", "sent");
    b.answer(vec![say("Done.")]);
    assert!(b.transcript().contains("message (final_answer) \"Done.\""), "{}", b.transcript());
}

#[test]
fn a_person_who_signs_in_changes_nothing_where_nobody_waits() {
    let mut b = Bench::new(vec![], "Hi");
    b.mute();
    b.answer(vec![say("Hello.")]);
    let before = b.version();
    b.command("signed in", Command::SignedIn).unwrap();
    assert_eq!(b.version(), before);
    b.delete();
    assert_eq!(b.command("signed in", Command::SignedIn), Ok::<(), Refusal>(()));
}

#[test]
fn cancelling_ends_the_wait() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.fails(FailureKind::SignInRequired);
    b.cancel();
    b.command("signed in", Command::SignedIn).unwrap();
    assert!(b.transcript().contains("turn1 cancelled"), "{}", b.transcript());
    assert!(!b.transcript().contains("a person signed in"), "{}", b.transcript());
}
