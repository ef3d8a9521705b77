//! What a model may answer, well and badly.

use tenure_journal::{ModelAnswer, SpendLimit, Stop, limit};

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
    b.check("");
}

#[test]
fn no_arguments_are_an_empty_object() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![call("c1", "ask", " \n")]);
    b.check("");
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
    b.check("");
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
    b.check("");
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
    b.check("");
}

#[test]
fn an_answer_cut_off_at_its_limit_fails_the_turn() {
    for (stop, expected) in [(Stop::MaxOutputTokens, ""), (Stop::ContentFilter, "")] {
        let mut b = Bench::new(vec![function("ask")], "Go");
        let items = vec![think("hm"), say("Once upon"), call("c1", "ask", "{\"n\":")];
        b.answer_as(ModelAnswer { stop, ..whole(items) }, None);
        b.message("Go on");
        b.context();
        b.check(expected);
    }
}

#[test]
fn reasoning_goes_back_only_with_what_it_led_to() {
    let mut b = Bench::new(vec![function("ask")], "Go");
    b.answer(vec![think("one"), say("Asking."), think("two"), call("c1", "ask", "{}"), think("three")]);
    b.result("c1", "42");
    b.context();
    b.check("");
}

#[test]
fn a_spending_limit_stops_the_next_request() {
    let mut opening = opened(agent(vec![function("ask")]));
    opening.spend_limit = Some(SpendLimit { limit: Some(2) });
    let mut b = Bench::open(opening, "Go", defaults(), Show::Events);
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
    b.check("");
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
    b.check("");
}
