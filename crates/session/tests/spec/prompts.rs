//! The context: what is shown, what is shortened, and what is said beside it.

use tenure_journal::{FailureKind, limit};

use crate::bench::{Bench, Show, agent, async_function, call, defaults, function, opened, say, server, shop};

/// A bench whose session has `turns` turns of one message and one answer behind it, and a message more.
fn long(turns: usize) -> Bench {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.mute();
    for n in 0..turns {
        b.answer(vec![say(&format!("Answer {n} {}", "x".repeat(300)))]);
        b.message(&format!("Question {n}"));
    }
    b.unmute();
    b
}

#[test]
fn a_context_that_is_too_long_is_shortened_and_tried_again() {
    let mut b = long(4);
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.fails(FailureKind::ContextTooLong);
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
          context trimmed by 5 items, item6 is the first kept
          eff6 requested: ask m, step 1 (freely)
          eff6 attempt 1
          | note: "5 earlier items of this conversation were left out because they no longer fit."
          | assistant: "Answer 2 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (309 characters)
          | user: "Question 2"
          | assistant: "Answer 3 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (309 characters)
          | user: "Question 3"
          | tools: ask
        > ContextTooLong
          eff6 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 2 items, item8 is the first kept
          eff7 requested: ask m, step 2 (freely)
          eff7 attempt 1
          | note: "7 earlier items of this conversation were left out because they no longer fit."
          | assistant: "Answer 3 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (309 characters)
          | user: "Question 3"
          | tools: ask
        > answer
          eff7 attempt 1 answered, settled
          turn5 item10 #0 completed: message (final_answer) "Short enough."
          turn5 completed
        > message "More"
          inp6 accepted: "More"
          turn6 created
          inp6 joined turn6 as item11
          turn6 started
          eff8 requested: ask m, step 0 (freely)
          eff8 attempt 1
          | note: "7 earlier items of this conversation were left out because they no longer fit."
          | assistant: "Answer 3 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (309 characters)
          | user: "Question 3"
          | assistant: "Short enough."
          | user: "More"
          | tools: ask
    "#);
}

#[test]
fn a_context_that_cannot_be_shortened_fails_the_turn() {
    let mut b = Bench::new(vec![], "Hi");
    b.fails(FailureKind::ContextTooLong);
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
          turn1 failed: context_length_exceeded "ContextTooLong happened"
    "#,
    );
}

#[test]
fn a_context_is_shortened_only_so_often_in_one_turn() {
    let mut b = long(40);
    for _ in 0..=limit::CONTEXT_TRIMS_PER_TURN_MAX {
        b.fails(FailureKind::ContextTooLong);
    }
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
          …
        > ContextTooLong
          eff41 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 41 items, item42 is the first kept
          eff42 requested: ask m, step 1 (freely)
          eff42 attempt 1
        > ContextTooLong
          eff42 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 20 items, item62 is the first kept
          eff43 requested: ask m, step 2 (freely)
          eff43 attempt 1
        > ContextTooLong
          eff43 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 10 items, item72 is the first kept
          eff44 requested: ask m, step 3 (freely)
          eff44 attempt 1
        > ContextTooLong
          eff44 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 5 items, item77 is the first kept
          eff45 requested: ask m, step 4 (freely)
          eff45 attempt 1
        > ContextTooLong
          eff45 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          turn41 failed: context_length_exceeded "ContextTooLong happened"
    "#,
    );
}

#[test]
fn a_context_is_shortened_beforehand_where_the_window_is_known() {
    let mut b = long(4);
    b.answer(vec![say("Ok.")]);
    b.context_tokens = Some(300);
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
        > answer
          eff5 attempt 1 answered, settled
          turn5 item10 #0 completed: message (final_answer) "Ok."
          turn5 completed
        > message "More"
          inp6 accepted: "More"
          turn6 created
          inp6 joined turn6 as item11
          turn6 started
          context trimmed by 6 items, item7 is the first kept
          eff6 requested: ask m, step 0 (freely)
          eff6 attempt 1
          | note: "6 earlier items of this conversation were left out because they no longer fit."
          | user: "Question 2"
          | assistant: "Answer 3 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (309 characters)
          | user: "Question 3"
          | assistant: "Ok."
          | user: "More"
          | tools: ask
    "#);
}

#[test]
fn calls_stay_with_their_results_when_the_context_is_shortened() {
    let mut b = Bench::new(vec![function("ask")], "Hi");
    b.answer(vec![say("Asking."), call("c1", "ask", "{}"), call("c2", "ask", "{}")]);
    b.result("c2", &"y".repeat(600));
    b.result("c1", "one");
    b.answer(vec![call("c3", "ask", "{}")]);
    b.result("c3", "three");
    b.fails(FailureKind::ContextTooLong);
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
        > result of c2: "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"… (600 characters)
          item4 returned "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"… (600 characters) as item5 in turn1
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
          outputs shortened: item5
          eff4 requested: ask m, step 3 (freely)
          eff4 attempt 1
          | user: "Hi"
          | assistant: "Asking."
          | call c1: ask {}
          | call c2: ask {}
          | result c1: "one"
          | result c2: "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"… (448 characters)
          | call c3: ask {}
          | result c3: "three"
          | tools: ask
    "#);
}

#[test]
fn the_running_turn_keeps_its_question_and_its_calls() {
    let mut b = Bench::new(vec![function("ask"), server("shop")], "Old");
    b.mute();
    b.lists(shop());
    b.answer(vec![say("Old answer.")]);
    b.message("Question");
    b.answer(vec![call("c1", "shop__find", "{}"), call("c2", "ask", "{}")]);
    b.returns("find", &format!("begin {} end", "é".repeat(2_000)));
    b.result("c2", &"z".repeat(1_000));
    b.answer(vec![call("c3", "shop__find", "{}")]);
    b.returns("find", &"w".repeat(3_000));
    b.unmute();
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.fails(FailureKind::ContextTooLong);
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.fails(FailureKind::ContextTooLong);
    b.check(r#"
        > open "Old"
          session opened for m
          inp1 accepted: "Old"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
          …
        > ContextTooLong
          eff7 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 2 items, item3 is the first kept
          eff8 requested: ask m, step 3 (freely)
          eff8 attempt 1
          | note: "2 earlier items of this conversation were left out because they no longer fit."
          | user: "Question"
          | call c1: shop__find {}
          | call c2: ask {}
          | result c1: "begin éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"… (2010 characters)
          | result c2: "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"… (1000 characters)
          | call c3: shop__find {}
          | result c3: "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"… (3000 characters)
          | tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund
        > ContextTooLong
          eff8 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          outputs shortened: item4
          eff9 requested: ask m, step 4 (freely)
          eff9 attempt 1
        > ContextTooLong
          eff9 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          outputs shortened: item6, item7
          eff10 requested: ask m, step 5 (freely)
          eff10 attempt 1
          | note: "2 earlier items of this conversation were left out because they no longer fit."
          | user: "Question"
          | call c1: shop__find {}
          | call c2: ask {}
          | result c1: "begin éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"… (263 characters)
          | result c2: "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"… (449 characters)
          | call c3: shop__find {}
          | result c3: "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"… (450 characters)
          | tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund
        > ContextTooLong
          eff10 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          turn2 failed: context_length_exceeded "ContextTooLong happened"
    "#);
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
    b.context_tokens = Some(1_100);
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
          | tools: shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#);
}

#[test]
fn a_call_that_is_open_from_an_earlier_turn_is_never_dropped() {
    let mut b = Bench::new(vec![async_function("report"), server("shop")], "Hi");
    b.mute();
    b.lists(shop());
    b.answer(vec![say("Working."), call("c1", "report", "{}"), call("c2", "shop__find", "{}")]);
    b.returns("find", &"x".repeat(1_000));
    b.answer(vec![say("Soon.")]);
    b.message("And?");
    b.unmute();
    b.fails(FailureKind::ContextTooLong);
    b.context();
    b.fails(FailureKind::ContextTooLong);
    b.status();
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
        > ContextTooLong
          eff5 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 1 items, item2 is the first kept
          eff6 requested: ask m, step 1 (freely)
          eff6 attempt 1
          | note: "1 earlier items of this conversation were left out because they no longer fit."
          | assistant: "Working."
          | call c1: report {}
          | call c2: shop__find {}
          | result c1: "Accepted. The result will follow in a later message."
          | result c2: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (1000 characters)
          | assistant: "Soon."
          | user: "And?"
          | tools: report, shop__find, shop__pay, shop__tag, shop__send, shop__refund
        > ContextTooLong
          eff6 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          outputs shortened: item4
          eff7 requested: ask m, step 2 (freely)
          eff7 attempt 1
          = in_progress, turn1 wants report c1
    "#);
}

#[test]
fn an_async_result_whose_call_left_the_context_is_still_shown() {
    let mut b = Bench::new(vec![async_function("report")], "Hi");
    b.answer(vec![call("c1", "report", "{}")]);
    b.answer(vec![say(&"x".repeat(900))]);
    b.result("c1", "the report");
    b.fails(FailureKind::ContextTooLong);
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
          turn1 item3 #1 completed: message (final_answer) "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (900 characters)
          turn1 completed
        > result of c1: "the report"
          turn2 created
          item2 returned "the report" as item4 in turn2
          turn2 started
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1
        > ContextTooLong
          eff3 attempt 1 failed: context_too_long "ContextTooLong happened", settled
          context trimmed by 3 items, item4 is the first kept
          eff4 requested: ask m, step 1 (freely)
          eff4 attempt 1
          | note: "3 earlier items of this conversation were left out because they no longer fit."
          | user: "The result of the earlier call `c1` has arrived:" "the report"
          | tools: report
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
