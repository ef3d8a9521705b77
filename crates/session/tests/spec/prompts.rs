//! The context: what is shown, what is shortened, and what is said beside it.

use tenure_journal::{EffectKind, FailureKind, TurnStatus, limit};
use tenure_session::Family;

use crate::bench::{Bench, Show, agent, async_function, call, defaults, function, opened, say, server, shop};

/// The provider says that the context is too long, and nobody writes a summary.
fn refuses(b: &mut Bench) {
    b.fails(FailureKind::ContextTooLong);
    if b.session.pending().any(|effect| matches!(effect.kind, EffectKind::Compact { .. })) {
        b.fails(FailureKind::InvalidRequest);
    }
}

/// A bench whose session has `turns` turns of one message and one answer behind it, and a message more.
fn long(turns: usize) -> Bench {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.mute();
    for n in 0..turns {
        b.answer(vec![say(&format!("Answer {n} {}", "and so it went on, ".repeat(60)))]);
        b.message(&format!("Question {n}"));
    }
    b.unmute();
    b
}

#[test]
fn a_context_that_is_too_long_is_shortened_and_tried_again() {
    let mut b = long(4);
    refuses(&mut b);
    b.context();
    refuses(&mut b);
    b.context();
    b.answer(vec![say("Short enough.")]);
    b.message("More");
    b.context();
    b.check(r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
        > ContextTooLong
          eff5 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          eff6 requested: have m summarise what is before 8 (freely)
          eff6 attempt 1
        > InvalidRequest
          eff6 attempt 1 failed: invalid_request "InvalidRequest happened", settled
          what is before 6 summarised by nobody: "user: Question 0\nassistant: Answer 1 and so it went on, and so it went"… (539 characters)
          eff7 requested: ask m, step 1 (freely)
          eff7 attempt 1
          | user: "The first 6 items of this conversation are not shown any more. Nobody "… (765 characters)
          | user: "Question 2"
          | assistant: "Answer 3 and so it went on, and so it went on, and so it went on, and "… (1149 characters)
          | user: "Question 3"
          | tools: ask, search_history
        > ContextTooLong
          eff7 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          what is before 8 summarised by nobody: "user: Question 0\nassistant: Answer 1 and so it went on, and so it went"… (148 characters)
          eff8 requested: ask m, step 2 (freely)
          eff8 attempt 1
          | user: "The first 8 items of this conversation are not shown any more. Nobody "… (374 characters)
          | user: "Question 3"
          | tools: ask, search_history
        > answer
          eff8 attempt 1 answered, settled
          turn5 item10 #0 completed: message (final_answer) "Short enough."
          turn5 completed
        > message "More"
          inp6 accepted: "More"
          turn6 created
          inp6 joined turn6 as item11
          turn6 started
          eff9 requested: ask m, step 0 (freely)
          eff9 attempt 1
          | user: "The first 8 items of this conversation are not shown any more. Nobody "… (374 characters)
          | user: "Question 3"
          | assistant: "Short enough."
          | user: "More"
          | tools: ask, search_history
    "#);
}

#[test]
fn a_context_that_cannot_be_shortened_fails_the_turn() {
    let mut b = Bench::new(vec![], "Hi");
    refuses(&mut b);
    b.message("Shorter?");
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
        > ContextTooLong
          eff1 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          turn1 failed: context_length_exceeded "the context cannot be made shorter than about 13 tokens, and the windo"… (203 characters)
        > message "Shorter?"
          inp2 accepted: "Shorter?"
          turn2 created
          inp2 joined turn2 as item2
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
    "#,
    );
}

#[test]
fn a_context_is_shortened_only_so_often_in_one_turn() {
    let mut b = long(400);
    let mut refused = 0;
    while b.session.active_turn().is_some() {
        refuses(&mut b);
        refused += 1;
    }
    assert_eq!(refused, limit::CONTEXT_TRIMS_PER_TURN_MAX + 1);
    let turn = b.turns().last().unwrap();
    assert_eq!(turn.status, TurnStatus::Failed);
    assert_eq!(turn.error.as_ref().unwrap().code, "context_length_exceeded");
}

#[test]
fn calls_stay_with_their_results_when_the_context_is_shortened() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.answer(vec![say("Asking."), call("c1", "ask", "{}"), call("c2", "ask", "{}")]);
    b.result("c2", &"y".repeat(2_400));
    b.result("c1", "one");
    b.answer(vec![call("c3", "ask", "{}")]);
    b.result("c3", "three");
    refuses(&mut b);
    b.context();
    b.check(r#"
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
          turn1 item2 #0 completed: message (commentary) "Asking."
          turn1 item3 #1 in_progress: function ask c1 {}
          turn1 item4 #2 in_progress: function ask c2 {}
        > result of c2: "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"… (2400 characters)
          item4 returned "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"… (2400 characters) as item5 in turn1
        > result of c1: "one"
          item3 returned "one" as item6 in turn1
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item7 #3 in_progress: function ask c3 {}
        > result of c3: "three"
          item7 returned "three" as item8 in turn1
          eff3 requested: ask m, step 2 (freely)
          eff3 attempt 1
        > ContextTooLong
          eff3 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          eff4 requested: have m summarise what is before 6 (freely)
          eff4 attempt 1
        > InvalidRequest
          eff4 attempt 1 failed: invalid_request "InvalidRequest happened", settled
          outputs shortened: item5
          eff5 requested: ask m, step 3 (freely)
          eff5 attempt 1
          | user: "Hi"
          | assistant: "Asking."
          | call c1: ask {}
          | call c2: ask {}
          | result c1: "one"
          | result c2: "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"… (450 characters)
          | call c3: ask {}
          | result c3: "three"
          | tools: ask, search_history
    "#);
}

#[test]
fn the_running_turn_keeps_its_question_however_short_its_context_becomes() {
    let mut b = Bench::new(vec![function("ask"), server("shop")], "Old");
    b.mute();
    b.lists(shop());
    b.answer(vec![say("Old answer.")]);
    b.message("Question");
    b.answer(vec![call("c1", "shop__find", "{}"), call("c2", "ask", "{}")]);
    b.returns("find", &format!("begin {} end", "é".repeat(4_000)));
    b.result("c2", &"z".repeat(4_000));
    b.answer(vec![call("c3", "shop__find", "{}")]);
    b.returns("find", &"w".repeat(6_000));
    let mut shorter = u64::MAX;
    while b.session.active_turn().is_some() {
        let context = b.session.context();
        assert!(format!("{:?}", context.input).contains("Question"), "{:#?}", context.input);
        let tokens = Family::Other.count_request(&context);
        assert!(tokens < shorter, "every refusal makes it shorter");
        shorter = tokens;
        refuses(&mut b);
    }
    assert_eq!(b.turns().last().unwrap().status, TurnStatus::Failed);
}

#[test]
fn no_more_of_the_running_turn_is_shortened_than_must_be() {
    let mut b = Bench::new(vec![server("shop")], "Hi");
    b.mute();
    b.lists(shop());
    b.answer((0..4).map(|n| call(&format!("c{n}"), "shop__find", "{}")).collect());
    for n in 0..3 {
        b.returns("find", &n.to_string().repeat(1_200));
    }
    b.unmute();
    b.context_tokens = Some(2_000);
    b.returns("find", &"3".repeat(1_200));
    b.context();
    b.check(r#"
        > open "Hi"
          session opened for m
          inp1 accepted: "Hi"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
          …
        > find returns
          eff6 attempt 1 returned "3333333333333333333333333333333333333333333333333333333333333333333333"… (1200 characters), settled
          outputs shortened: item2, item3, item4
          eff7 requested: ask m, step 1 (freely)
          eff7 attempt 1
          | user: "Hi"
          | call c0: shop__find {}
          | call c1: shop__find {}
          | call c2: shop__find {}
          | call c3: shop__find {}
          | result c0: "0000000000000000000000000000000000000000000000000000000000000000000000"… (449 characters)
          | result c1: "1111111111111111111111111111111111111111111111111111111111111111111111"… (449 characters)
          | result c2: "2222222222222222222222222222222222222222222222222222222222222222222222"… (449 characters)
          | result c3: "3333333333333333333333333333333333333333333333333333333333333333333333"… (1200 characters)
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund, search_history
    "#);
}

#[test]
fn a_call_that_is_open_from_an_earlier_turn_is_never_dropped() {
    let mut b = Bench::new(vec![async_function("report"), server("shop")], "Hi");
    b.mute();
    b.lists(shop());
    b.answer(vec![say("Working."), call("c1", "report", "{}"), call("c2", "shop__find", "{}")]);
    b.returns("find", &"x".repeat(6_000));
    b.answer(vec![say("Soon.")]);
    b.message("And?");
    b.unmute();
    refuses(&mut b);
    b.context();
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
          …
        > ContextTooLong
          eff5 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          eff6 requested: have m summarise what is before 4 (freely)
          eff6 attempt 1
        > InvalidRequest
          eff6 attempt 1 failed: invalid_request "InvalidRequest happened", settled
          what is before 4 summarised by nobody: "user: Hi\nassistant: Working.", open `c1`: report {}
          eff7 requested: ask m, step 1 (freely)
          eff7 attempt 1
          | user: "The first 4 items of this conversation are not shown any more. Nobody "… (308 characters)
          | assistant: "Soon."
          | user: "And?"
          | tools: report, shop__find, shop__pay, shop__tag, shop__send, shop__refund, search_history
          = in_progress, turn1 wants report c1
    "#,
    );
}

#[test]
fn an_async_result_whose_call_left_the_context_is_still_shown() {
    let mut b = Bench::new(vec![async_function("report")], "Hi");
    b.answer(vec![call("c1", "report", "{}")]);
    b.answer(vec![say(&"and so on ".repeat(600))]);
    b.result("c1", "the report");
    refuses(&mut b);
    b.context();
    b.check(r#"
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
          turn1 item2 #0 in_progress: async function report c1 {}
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
        > answer
          eff2 attempt 1 answered, settled
          turn1 item3 #1 completed: message (final_answer) "and so on and so on and so on and so on and so on and so on and so on "… (6000 characters)
          turn1 completed
        > result of c1: "the report"
          turn2 created
          item2 returned "the report" as item4 in turn2
          turn2 started
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
        > ContextTooLong
          eff3 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          eff4 requested: have m summarise what is before 3 (freely)
          eff4 attempt 1
        > InvalidRequest
          eff4 attempt 1 failed: invalid_request "InvalidRequest happened", settled
          what is before 3 summarised by nobody: "user: Hi\nassistant: and so on and so on and so on and so on and so on "… (261 characters)
          eff5 requested: ask m, step 1 (freely)
          eff5 attempt 1
          | user: "The first 3 items of this conversation are not shown any more. Nobody "… (487 characters)
          | user: "The result of the earlier call `c1` has arrived:" "the report"
          | tools: report, search_history
    "#);
}

#[test]
fn the_model_is_told_the_time_where_the_agent_wants_it() {
    let mut opening = opened(agent(vec![]));
    opening.agent.time_awareness = true;
    let mut b = Bench::open(opening, "Hi", defaults(), Show::Events);
    b.context();
    b.answer(vec![say("Hello.")]);
    b.wait(90_000);
    b.message("And now?");
    b.context();
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
          | note: "The current time is 2026-09-21T14:13:20Z."
          | user: "Hi"
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Hello."
          turn1 completed
        > 90000 ms pass
          nothing
        > message "And now?"
          inp2 accepted: "And now?"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Hi"
          | assistant: "Hello."
          | note: "The current time is 2026-09-21T14:14:50Z."
          | user: "And now?"
    "#,
    );
}
