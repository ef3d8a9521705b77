//! Sessions that outgrow their window: summaries, and what happens without them.

use tenure_journal::{
    AnswerItem, Event, FailureKind, ItemStatus, Labels, ModelAnswer, SpendLimit, Summarizer,
};
use tenure_session::{Price, Reserving, Role, Session};

use crate::bench::{Bench, Show, agent, async_function, call, defaults, function, opened, say, think, whole};

/// A session of `turns` turns whose messages have an order each, in a window that is about full.
fn full(turns: usize, ahead: bool) -> Bench {
    let mut opening = opened(agent(vec![async_function("report")]));
    opening.agent.compaction_async = ahead;
    let mut b = Bench::open(opening, "Remember order ord_4711.", defaults(), Show::Events);
    b.mute();
    answer(&mut b, vec![say("I will.")]);
    for n in 0..turns {
        b.message(&format!("Question {n}"));
        answer(&mut b, vec![say(&format!("Answer {n}: {}", "and so it went on. ".repeat(20)))]);
    }
    b.unmute();
    b
}

/// The model answers, and its provider does not say how it counts.
fn answer(b: &mut Bench, items: Vec<AnswerItem>) {
    b.answer_as(ModelAnswer { usage: None, ..whole(items) }, None);
}

/// What the latest context was taken for.
fn expected(b: &Bench) -> u64 {
    let size = |event: &Event| {
        if let Event::AttemptStarted { context, .. } = event {
            context.map(|size| size.expected)
        } else {
            None
        }
    };
    b.journal.iter().rev().find_map(|recorded| size(&recorded.event)).unwrap()
}

/// What a context says, as one text.
fn text(b: &Bench) -> String {
    format!("{:?}", b.session.context().input)
}

fn compacted(b: &Bench) -> Vec<Summarizer> {
    let by = |event: &Event| {
        if let Event::ContextCompacted(compacted) = event { Some(compacted.summary.by.clone()) } else { None }
    };
    b.journal.iter().filter_map(|recorded| by(&recorded.event)).collect()
}

fn asks_summary(b: &Bench) -> bool {
    b.session.pending().any(|effect| matches!(effect.kind, tenure_journal::EffectKind::Compact { .. }))
}

const MODEL: fn() -> Summarizer = || Summarizer::Model { model: "m".to_owned() };

#[test]
fn a_full_window_waits_for_a_summary() {
    let mut b = full(20, false);
    b.context_tokens = Some(1_500);
    b.message("And ord_4711?");
    assert!(asks_summary(&b) && b.running.len() == 1, "the model is not asked before");
    b.summarises(vec![think("hm"), say("They asked for an order.")]);
    assert_eq!(compacted(&b), [MODEL()]);
    let shown = text(&b);
    assert!(shown.contains("They asked for an order."), "{shown}");
    assert!(shown.contains("Named there: ord_4711"), "a name that is asked for later is not lost: {shown}");
    assert!(shown.contains("And ord_4711?") && !shown.contains("Answer 1:"), "{shown}");
    answer(&mut b, vec![say("It was delivered.")]);
    assert_eq!(b.turns().last().unwrap().status, tenure_journal::TurnStatus::Completed);
}

#[test]
fn a_summary_is_asked_for_ahead_of_need_where_the_agent_wants_it() {
    let mut b = full(20, true);
    b.context_tokens = Some(expected(&b) * 6 / 5);
    b.message("More?");
    assert!(asks_summary(&b), "it is asked for");
    assert_eq!(b.running.len(), 2, "and the model as well");
    answer(&mut b, vec![say("More.")]);
    assert!(b.session.active_turn().is_none(), "the turn does not wait for it");
    b.message("And?");
    b.summarises(vec![say("They talked.")]);
    assert_eq!(compacted(&b), [MODEL()]);
    answer(&mut b, vec![say("Yes.")]);
    b.message("And now?");
    assert!(text(&b).contains("They talked."));
}

#[test]
fn without_a_summary_the_first_words_stand_for_what_leaves() {
    for failure in [FailureKind::Authentication, FailureKind::InvalidRequest, FailureKind::ContextTooLong] {
        let mut b = full(20, false);
        b.context_tokens = Some(1_500);
        b.message("More?");
        b.fails(failure);
        assert_eq!(compacted(&b), [Summarizer::Extract], "{failure:?}");
        assert!(text(&b).contains("ord_4711"), "what people named is kept: {}", text(&b));
        answer(&mut b, vec![say("Yes.")]);
        assert!(b.session.active_turn().is_none());
    }
}

#[test]
fn half_of_a_summary_is_none() {
    for items in [vec![], vec![say("")], vec![think("only thinking")], vec![call("c1", "report", "{}")]] {
        let mut b = full(20, false);
        b.context_tokens = Some(1_500);
        b.message("More?");
        b.summarises(items);
        assert_eq!(compacted(&b), [Summarizer::Extract]);
        answer(&mut b, vec![say("Yes.")]);
    }
}

#[test]
fn a_summary_that_was_cut_off_is_asked_for_again() {
    let mut b = full(20, false);
    b.context_tokens = Some(1_500);
    b.message("More?");
    b.resumed();
    assert!(asks_summary(&b) && b.running.len() == 1);
    assert_eq!(compacted(&b), []);
    b.summarises(vec![say("They talked.")]);
    assert_eq!(compacted(&b), [MODEL()]);
}

#[test]
fn a_cancelled_turn_asks_no_more() {
    let mut b = full(20, false);
    b.context_tokens = Some(1_500);
    b.message("More?");
    b.cancel();
    assert!(!asks_summary(&b) && b.running.is_empty());
    let mut b = full(20, true);
    b.context_tokens = Some(expected(&b) * 6 / 5);
    b.message("More?");
    answer(&mut b, vec![say("More.")]);
    assert!(asks_summary(&b));
    b.cancel();
    assert!(!asks_summary(&b) && b.running.is_empty());
}

#[test]
fn a_guest_leaves_the_summary_to_the_holder() {
    let mut b = full(20, false);
    b.context_tokens = Some(1_500);
    b.role = Role::Guest;
    b.message("More?");
    assert!(asks_summary(&b) && b.running.is_empty());
    b.role = Role::Holder;
    b.tick();
    b.summarises(vec![say("They talked.")]);
    assert_eq!(compacted(&b), [MODEL()]);
}

#[test]
fn a_spent_budget_asks_for_no_summary() {
    let mut opening = opened(agent(vec![function("ask")]));
    opening.spend_limit = Some(SpendLimit { limit: Some(100_000) });
    let mut b = Bench::open(opening, "", defaults(), Show::Events);
    let price = Price { input_nano_usd: 1_000, output_nano_usd: 1_000, output_tokens_max: 10 };
    b.prices.insert("m".to_owned(), price);
    b.message("Go");
    for n in 0..20 {
        b.answer_as(whole(vec![say(&"word ".repeat(40))]), Some(1));
        b.message(&format!("Question {n}"));
    }
    b.answer_as(whole(vec![say("Yes.")]), Some(1));
    b.context_tokens = Some(900);
    b.reserving = Reserving::Refused;
    b.message("More?");
    assert!(!asks_summary(&b), "what cannot be paid for is not asked");
    let error = b.turns().last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, "session_budget_exceeded");
}

#[test]
fn an_open_call_is_carried_and_answered_however_much_left() {
    let mut b = full(0, false);
    b.message("Report");
    answer(&mut b, vec![call("c1", "report", "{\"of\":\"inv_99\"}"), say("Soon.")]);
    answer(&mut b, vec![say("It will come.")]);
    for n in 0..20 {
        b.message(&format!("Question {n}"));
        answer(&mut b, vec![say(&"and so it went on. ".repeat(20))]);
    }
    b.context_tokens = Some(1_500);
    b.message("And?");
    b.summarises(vec![say("They talked.")]);
    let shown = text(&b);
    assert!(shown.contains("Results of these calls had not come") && shown.contains("inv_99"), "{shown}");
    answer(&mut b, vec![say("Wait.")]);
    for n in 0..20 {
        b.message(&format!("Question {n}"));
        if asks_summary(&b) {
            b.summarises(vec![say("They talked more.")]);
        }
        answer(&mut b, vec![say(&"and so it went on. ".repeat(20))]);
    }
    assert!(compacted(&b).len() > 1);
    let open = b.session.items().filter(|(_, item)| item.status == ItemStatus::InProgress).count();
    assert_eq!(open, 1, "it is open as ever");
    b.result("c1", "the report");
    assert!(text(&b).contains("The result of the earlier call `c1` has arrived"), "{}", text(&b));
}

#[test]
fn a_turn_of_many_steps_is_compacted_within_and_knows_what_it_was_asked() {
    let mut b = Bench::new(vec![function("ask")], "Look into everything about ord_4711.");
    b.mute();
    b.context_tokens = Some(1_500);
    for n in 0..40 {
        let id = format!("s{n}");
        answer(&mut b, vec![say("Looking."), call(&id, "ask", "{}")]);
        b.result(&id, &format!("result {n} {}", "of some length ".repeat(10)));
        if asks_summary(&b) {
            b.summarises(vec![say(&format!("Up to {n} nothing was found."))]);
        }
        assert!(text(&b).contains("Look into everything"), "step {n}: {}", text(&b));
    }
    assert!(compacted(&b).len() > 1, "{:?}", compacted(&b));
    assert!(compacted(&b).iter().all(|by| *by == MODEL()), "{:?}", compacted(&b));
    answer(&mut b, vec![say("Done.")]);
    assert_eq!(b.turns().last().unwrap().status, tenure_journal::TurnStatus::Completed);
}

#[test]
fn a_summary_has_the_labels_of_what_it_stands_for() {
    let mut opening = opened(agent(vec![function("ask")]));
    let untrusted = Labels { integrity: tenure_journal::Integrity::Untrusted, ..Labels::NEUTRAL };
    opening.trust.functions = untrusted.clone();
    let mut b = Bench::open(opening, "Go", defaults(), Show::Nothing);
    answer(&mut b, vec![call("c1", "ask", "{}")]);
    b.result("c1", "planted");
    answer(&mut b, vec![say("Done.")]);
    for n in 0..20 {
        b.message(&format!("Question {n}"));
        answer(&mut b, vec![say(&"and so it went on. ".repeat(20))]);
    }
    b.context_tokens = Some(1_500);
    b.message("And?");
    b.summarises(vec![say("They talked.")]);
    assert_eq!(b.session.past().unwrap().labels, untrusted);
    assert_eq!(*b.session.labels(), untrusted);
    let fork = b.fork(b.version(), 77);
    assert_eq!(fork.session.past().map(|past| &past.labels), Some(&untrusted));
}

#[test]
fn going_back_brings_back_what_had_left() {
    let mut b = full(20, false);
    let before = b.version();
    let shown = b.session.context();
    b.context_tokens = Some(1_500);
    b.message("And?");
    b.summarises(vec![say("They talked.")]);
    answer(&mut b, vec![say("Yes.")]);
    let after = b.version();
    b.rewind(before).unwrap();
    assert_eq!(b.session.context().input, shown.input);
    assert!(b.session.past().is_none());
    b.rewind(after).unwrap();
    assert_eq!(b.session.past().map(|past| past.text.as_str()), Some("They talked."));
}

#[test]
fn what_was_shown_at_a_step_is_built_again_from_the_journal() {
    let mut b = full(3, false);
    let mut sent = Vec::new();
    b.context_tokens = Some(1_500);
    for n in 0..30 {
        b.message(&format!("Question {n} {}", "and more ".repeat(10)));
        if asks_summary(&b) {
            b.summarises(vec![say("They talked.")]);
        }
        sent.push(b.session.context());
        answer(&mut b, vec![say("Yes.")]);
    }
    let steps = Session::shown_at(b.session.key(), &b.journal, None).unwrap().steps;
    let first = steps - sent.len() as u64;
    for (number, sent) in (first + 1..).zip(&sent) {
        let step = Session::shown_at(b.session.key(), &b.journal, Some(number)).unwrap();
        assert_eq!((step.number, &step.context.request), (number, sent));
        let counted: u64 = step.context.sections.iter().map(|section| section.tokens).sum();
        let size = step.size.expect("it is known");
        assert!(counted.abs_diff(size.counted) <= 8, "{counted} and {size:?}");
        assert!(size.expected <= size.window - size.reserved, "{size:?}");
    }
    assert!(Session::shown_at(b.session.key(), &b.journal, Some(0)).is_none());
    assert!(Session::shown_at(b.session.key(), &b.journal, Some(steps + 1)).is_none());
}

#[test]
fn an_agent_that_fills_its_window_by_itself_is_told_which_setting_it_needs() {
    let mut opening = opened(agent(vec![function("ask")]));
    opening.agent.instructions = Some("Be brief and be kind. ".repeat(200));
    let mut b = Bench::open(opening, "Hi", defaults(), Show::Nothing);
    answer(&mut b, vec![say("Hi.")]);
    b.context_tokens = Some(500);
    b.message("Hello?");
    let error = b.turns().last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, "context_length_exceeded");
    assert!(
        error.message.contains("`instructions`") && error.message.contains("`tools`"),
        "{}",
        error.message
    );
    assert!(error.message.contains("`context_tokens`"), "{}", error.message);
    // With another window it goes on.
    b.context_tokens = None;
    b.message("Hello?");
    answer(&mut b, vec![say("Hi.")]);
    assert_eq!(b.turns().last().unwrap().status, tenure_journal::TurnStatus::Completed);
}
