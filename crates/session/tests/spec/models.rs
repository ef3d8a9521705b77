//! What a model may answer, well and badly.

use tenure_journal::{ModelAnswer, SpendLimit, Stop, limit};

use tenure_session::Price;

use crate::bench::{Bench, Show, agent, call, defaults, function, opened, say, server, shop, think, whole};

#[test]
fn calls_made_wrongly_are_answered_and_never_run() {
    let mut b = Bench::new(vec![function("ask"), server("shop")], "Go");
    b.mute();
    b.lists(shop());
    b.unmute();
    b.answer(vec![
        call("c1", "forget", "{}"),
        call("c2", "ask", "{not json"),
        call("c3", "ask", r#"{"a":1,"a":2}"#),
        call("c4", "ask", "[1]"),
        call("c5", "ask", "\"text\""),
        call("c6", "shop__pay", "null"),
        call("c7", "né pas/un nom", r#"{"a":1}"#),
        call("c8", "", ""),
    ]);
    b.context();
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: list shop (freely)
          eff1 attempt 1
          …
        > answer
          eff2 attempt 1 answered, settled
          turn1 item2 failed: internal forget c1 "{}" told "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
          turn1 item3 failed: internal ask c2 "{not json" told "Not called: the arguments cannot be read: invalid JSON: key must be a string at line 1 column 2."
          turn1 item4 failed: internal ask c3 "{\"a\":1,\"a\":2}" told "Not called: the arguments cannot be read: a key that occurs twice at `a`."
          turn1 item5 failed: internal ask c4 "[1]" told "Not called: the arguments must be a JSON object."
          turn1 item6 failed: internal ask c5 "\"text\"" told "Not called: the arguments must be a JSON object."
          turn1 item7 failed: internal shop__pay c6 "null" told "Not called: the arguments must be a JSON object."
          turn1 item8 failed: internal né pas/un nom c7 "{\"a\":1}" told "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
          turn1 item9 failed: internal  c8 "" told "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
          eff3 requested: ask m, step 1 (freely)
          eff3 attempt 1
          | user: "Go"
          | call c1: forget {}
          | call c2: ask {}
          | call c3: ask {}
          | call c4: ask {}
          | call c5: ask {}
          | call c6: shop__pay {}
          | call c7: n__pas_un_nom {"a":1}
          | call c8: _ {}
          | result c1: "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
          | result c2: "Not called: the arguments cannot be read: invalid JSON: key must be a string at line 1 column 2."
          | result c3: "Not called: the arguments cannot be read: a key that occurs twice at `a`."
          | result c4: "Not called: the arguments must be a JSON object."
          | result c5: "Not called: the arguments must be a JSON object."
          | result c6: "Not called: the arguments must be a JSON object."
          | result c7: "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
          | result c8: "Not called: there is no tool of that name. Tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund."
          | tools: ask, shop__find, shop__pay, shop__tag, shop__send, shop__refund
    "#);
}

#[test]
fn no_arguments_are_an_empty_object() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", " \n")]);
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
    "#,
    );
}

#[test]
fn call_ids_are_made_unique_and_legal() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![
        call("c1", "ask", "{}"),
        call("c1", "ask", "{}"),
        call("", "ask", "{}"),
        call("call id", "nothing", "{}"),
        call(&"x".repeat(65), "ask", "{}"),
    ]);
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
          turn1 item3 #1 in_progress: function ask call1 {}
          turn1 item4 #2 in_progress: function ask call2 {}
          turn1 item5 failed: internal nothing call3 "{}" told "Not called: there is no tool of that name. Tools: ask."
          turn1 item6 #3 in_progress: function ask call4 {}
    "#);
}

#[test]
fn two_hundred_calls_are_too_many() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.mute();
    b.answer((0..200).map(|n| call(&format!("c{n}"), "ask", "{}")).collect());
    b.unmute();
    let open = b.session.view().required_actions.len();
    b.note(&format!("{open} calls wait"));
    b.mute();
    for n in 0..limit::CALLS_PER_TURN_MAX {
        b.result(&format!("c{n}"), "ok");
    }
    b.unmute();
    let told = b.told("c128");
    b.note(&told);
    b.answer(vec![call("d", "ask", "{}")]);
    b.answer(vec![say("Enough.")]);
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
          = 128 calls wait
          …
          = Not called: a turn may make at most 128 calls. Answer with what you have.
        > answer
          eff2 attempt 1 answered, settled
          turn1 item330 failed: internal ask d "{}" told "Not called: a turn may make at most 128 calls. Answer with what you have."
          eff3 requested: ask m, step 2 (freely)
          eff3 attempt 1
        > answer
          eff3 attempt 1 answered, settled
          turn1 item331 #128 completed: message (final_answer) "Enough."
          turn1 completed
    "#);
}

#[test]
fn a_turn_of_too_many_steps_is_stopped() {
    let mut b = Bench::new(vec![], "Go");
    b.mute();
    for n in 1..limit::STEPS_PER_TURN_MAX {
        b.answer(vec![call(&format!("c{n}"), "nothing", "{}")]);
    }
    b.unmute();
    b.answer(vec![call("last", "nothing", "{}")]);
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
          …
        > answer
          eff256 attempt 1 answered, settled
          turn1 item257 failed: internal nothing last "{}" told "Not called: a turn may make at most 128 calls. Answer with what you have."
          turn1 failed: invalid_request "the turn needed more than 256 model requests"
    "#);
}

fn cut_off(stop: Stop) -> Bench {
    let mut b = Bench::new(vec![function("ask")], "Go");
    let items = vec![think("hm"), say("Once upon"), call("c1", "ask", "{\"n\":")];
    b.answer_as(ModelAnswer { stop, ..whole(items) }, None);
    b.message("Go on");
    b.context();
    b
}

#[test]
fn an_answer_cut_off_at_its_limit_fails_the_turn() {
    cut_off(Stop::MaxOutputTokens).check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer, cut off
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: reasoning by m sealed "hm"
          turn1 item3 #1 incomplete: message (no phase) "Once upon"
          turn1 failed: max_output_tokens "the model's answer was cut off at its output limit"
        > message "Go on"
          inp2 accepted: "Go on"
          turn2 created
          inp2 joined turn2 as item4
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Go"
          | reasoning: "hm"
          | assistant: "Once upon"
          | user: "Go on"
          | tools: ask
    "#,
    );
}

#[test]
fn an_answer_withheld_by_its_provider_fails_the_turn() {
    cut_off(Stop::ContentFilter).check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer, cut off
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: reasoning by m sealed "hm"
          turn1 item3 #1 incomplete: message (no phase) "Once upon"
          turn1 failed: invalid_request "the model's provider withheld the answer under its usage policy"
        > message "Go on"
          inp2 accepted: "Go on"
          turn2 created
          inp2 joined turn2 as item4
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
          | user: "Go"
          | reasoning: "hm"
          | assistant: "Once upon"
          | user: "Go on"
          | tools: ask
    "#,
    );
}

#[test]
fn reasoning_goes_back_only_with_what_it_led_to() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![think("one"), say("Asking."), think("two"), call("c1", "ask", "{}"), think("three")]);
    b.result("c1", "42");
    b.context();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: reasoning by m sealed "one"
          turn1 item3 #1 completed: message (commentary) "Asking."
          turn1 item4 #2 completed: reasoning by m sealed "two"
          turn1 item5 #4 in_progress: function ask c1 {}
          turn1 item6 #3 completed: reasoning by m sealed "three"
        > result of c1: "42"
          item5 returned "42" as item7 in turn1
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1
          | user: "Go"
          | reasoning: "one"
          | assistant: "Asking."
          | reasoning: "two"
          | call c1: ask {}
          | result c1: "42"
          | tools: ask
    "#,
    );
}

#[test]
fn a_spending_limit_stops_the_next_request() {
    let mut opening = opened(agent(vec![function("ask")]));
    opening.spend_limit = Some(SpendLimit { limit: Some(2) });
    let mut b = Bench::open(opening, "", defaults(), Show::Events);
    // What an answer costs is known when it is there.
    let free = Price { input_nano_usd: 0, output_nano_usd: 0, output_tokens_max: 10 };
    b.prices.insert("m".to_owned(), free);
    b.message("Go");
    b.answer_as(whole(vec![call("c1", "ask", "{}")]), Some(15_000_000));
    b.result("c1", "1");
    b.note("one cent and a half are spent");
    b.answer_as(whole(vec![call("c2", "ask", "{}")]), Some(5_000_000));
    b.result("c2", "2");
    b.message("Please");
    let spend = b.session.view().spend.unwrap();
    b.note(&format!("{spend:?}"));
    let patch = |limit| tenure_journal::SessionPatch {
        spend_limit: Some(limit),
        ..tenure_journal::SessionPatch::default()
    };
    b.update("limit 3", patch(Some(SpendLimit { limit: Some(3) })));
    b.message("Now?");
    b.answer_as(whole(vec![say("Yes.")]), Some(10_000_000));
    b.update("no limit", patch(None));
    b.message("And now?");
    b.check(r#"
        > open
          session opened for m
        > message "Go"
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1, reserves 0
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
        > result of c1: "1"
          item2 returned "1" as item3 in turn1
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1, reserves 0
          = one cent and a half are spent
        > answer
          eff2 attempt 1 answered, settled
          turn1 item4 #1 in_progress: function ask c2 {}
        > result of c2: "2"
          item4 returned "2" as item5 in turn1
          turn1 failed: session_budget_exceeded "the session's spending limit is reached; raise or clear it to go on"
        > message "Please"
          inp2 accepted: "Please"
          turn2 created
          inp2 joined turn2 as item6
          turn2 started
          turn2 failed: session_budget_exceeded "the session's spending limit is reached; raise or clear it to go on"
          = Spend { limit: Some(2), consumed: Some(2) }
        > update limit 3
          session updated
        > message "Now?"
          inp3 accepted: "Now?"
          turn3 created
          inp3 joined turn3 as item7
          turn3 started
          eff3 requested: ask m, step 0 (freely)
          eff3 attempt 1, reserves 0
        > answer
          eff3 attempt 1 answered, settled
          turn3 item8 #0 completed: message (final_answer) "Yes."
          turn3 completed
        > update no limit
          session updated
        > message "And now?"
          inp4 accepted: "And now?"
          turn4 created
          inp4 joined turn4 as item9
          turn4 started
          eff4 requested: ask m, step 0 (freely)
          eff4 attempt 1, reserves 0
    "#);
}

#[test]
fn a_spending_limit_lowered_during_a_pause_stops_the_next_attempt() {
    let mut b = Bench::new(vec![], "Go");
    b.answer_as(whole(vec![say("One.")]), Some(15_000_000));
    b.message("More");
    b.fails(tenure_journal::FailureKind::Overloaded);
    let spend_limit = Some(Some(SpendLimit { limit: Some(1) }));
    b.update("limit 1", tenure_journal::SessionPatch { spend_limit, ..Default::default() });
    b.wait(1_000);
    b.check(r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 completed: message (final_answer) "One."
          turn1 completed
        > message "More"
          inp2 accepted: "More"
          turn2 created
          inp2 joined turn2 as item3
          turn2 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > Overloaded
          eff2 attempt 1 failed: overloaded "Overloaded happened", again in 100 ms
        > update limit 1
          session updated
        > 1000 ms pass
          eff2 abandoned
          turn2 failed: session_budget_exceeded "the session's spending limit is reached; raise or clear it to go on"
    "#);
}
