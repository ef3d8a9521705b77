//! What is set aside in the budgets of a session, its agent and its project, and what a refusal says.

use std::sync::Arc;

use serde_json::{Value, json};
use tenure_journal::{
    Amounts, BudgetId, BudgetScope, BudgetUse, Caps, Event, FailureKind, Measure, ModelAnswer, Period,
    RouteRecord, SpendLimit, Tool, Usage,
};
use tenure_policy::{PolicySet, PolicySource};
use tenure_session::{Candidate, Price, Reserving, SharedBudget, TreeBudget};

use crate::bench::{Bench, START, Show, agent, call, defaults, function, opened, say, server, shop, whole};

/// What the request of a bench's first message is counted as, and half as much again.
const INPUT: u64 = 36;
const OUTPUT: u64 = 10;

const PRICE: Price =
    Price { input_nano_usd: 1_000_000_000, output_nano_usd: 1_000_000_000, output_tokens_max: OUTPUT };

fn scopes(b: &Bench) -> [BudgetScope; 3] {
    let session = BudgetScope::Session(b.session.key().session);
    [session, BudgetScope::Agent(b.session.agent().id), BudgetScope::Project]
}

fn budget(scope: BudgetScope, period: Period, caps: Caps) -> SharedBudget {
    SharedBudget { id: BudgetId::at(scope, period, START), caps, used: BudgetUse::default() }
}

fn calls(calls: u64) -> Caps {
    Caps { calls: Some(calls), ..Caps::NONE }
}

/// A session of which everything has a budget, none of them small.
fn budgeted(policy: Arc<PolicySet>) -> Bench {
    with(policy, vec![function("ask")])
}

fn with(policy: Arc<PolicySet>, tools: Vec<Tool>) -> Bench {
    let mut opening = opened(agent(tools));
    opening.agent.instructions = None;
    let mut b = Bench::open(opening, "", policy, Show::Events);
    b.prices.insert("m".to_owned(), PRICE);
    let [session, agent, project] = scopes(&b);
    b.budgets.shared = vec![
        budget(session, Period::Total, calls(100)),
        budget(agent, Period::Day, calls(100)),
        budget(project, Period::Month, calls(100)),
        budget(project, Period::Total, calls(100)),
    ];
    b
}

fn used(answer: ModelAnswer, input_tokens: u64, output_tokens: u64) -> ModelAnswer {
    let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
    ModelAnswer { usage: Some(usage), ..answer }
}

/// What all of them say, which is the same.
fn standing(b: &Bench) -> BudgetUse {
    let first = b.budgets.shared[0].used;
    assert!(b.budgets.shared.iter().all(|budget| budget.used == first), "{:?}", b.budgets.shared);
    first
}

fn error(b: &Bench) -> (String, String) {
    let error = b.turns().last().and_then(|turn| turn.error.clone()).expect("it failed");
    (error.code, error.message)
}

#[test]
fn an_attempt_is_set_aside_everywhere_and_settled() {
    let mut b = budgeted(defaults());
    b.message("Go");
    let aside = standing(&b).reserved;
    assert_eq!((aside.calls, aside.millis), (1, 0), "no time is set aside where none is limited");
    assert_eq!(aside.nano_usd, aside.tokens * 1_000, "a thousand for each token");
    assert_eq!(standing(&b).spent, Amounts::default());
    b.wait(2_000);
    b.answer_as(used(whole(vec![call("c1", "ask", "{}")]), 20, 5), Some(25_000));
    let one = Amounts { nano_usd: 25_000, tokens: 25, calls: 1, millis: standing(&b).spent.millis };
    assert_eq!(standing(&b), BudgetUse { spent: one, reserved: Amounts::default() });
    assert!((2_000..3_000).contains(&one.millis), "it ran for so long: {one:?}");
    b.result("c1", "1");
    assert_eq!(standing(&b).reserved.calls, 1);
    b.answer_as(used(whole(vec![say("Done.")]), 30, 1), Some(31_000));
    let both = standing(&b);
    assert_eq!((both.spent.nano_usd, both.spent.tokens, both.spent.calls), (56_000, 56, 2));
    assert_eq!(both.reserved, Amounts::default());
}

#[test]
fn what_an_end_counts_as() {
    for (end, counts) in [
        ("answers without a count", true),
        ("is cut off", true),
        ("is refused", false),
        ("breaks", true),
        ("is cancelled", true),
    ] {
        let mut b = budgeted(defaults());
        b.mute();
        b.message("Go");
        let aside = standing(&b).reserved;
        b.wait(5);
        match end {
            "answers without a count" => {
                b.answer_as(ModelAnswer { usage: None, ..whole(vec![say("Done.")]) }, None);
            }
            "is cut off" => b.resumed(),
            "is refused" => b.fails(FailureKind::RateLimited),
            "breaks" => b.fails(FailureKind::ConnectionFailed),
            "is cancelled" => b.cancel(),
            other => unreachable!("{other}"),
        }
        let spent = standing(&b).spent;
        let expected = if counts { aside } else { Amounts::default() };
        assert_eq!(Amounts { millis: 0, ..spent }, expected, "an attempt that {end}");
        assert!((5..100).contains(&spent.millis), "its time counts however it ends: {spent:?}");
        // An attempt that is made again has set aside anew; nothing else is left.
        let again = if end == "is cut off" { aside } else { Amounts::default() };
        assert_eq!(standing(&b).reserved, again, "after one that {end}");
    }
}

#[test]
fn a_time_limit_sets_time_aside_and_a_crash_counts_no_more_than_that() {
    let mut b = budgeted(defaults());
    b.budgets.shared[1].caps = Caps { millis: Some(60_000), ..Caps::NONE };
    b.message("Go");
    assert_eq!(standing(&b).reserved.millis, 60_000, "all that is left: an attempt is cut off at its end");
    b.now = b.now.plus_millis(24 * 60 * 60 * 1_000);
    b.resumed();
    assert_eq!(standing(&b).spent.millis, 60_000, "nobody knows when it ended");
    let (code, message) = error(&b);
    assert_eq!(code, "agent_budget_exceeded");
    assert!(message.contains("60 s"), "{message}");
}

#[test]
fn a_refusal_names_the_budget_what_is_spent_and_what_to_do() {
    let money = |nano_usd| Caps { nano_usd: Some(nano_usd), ..Caps::NONE };
    let tokens = |tokens| Caps { tokens: Some(tokens), ..Caps::NONE };
    let one = Amounts { nano_usd: 20_000_000, tokens: 300, calls: 3, millis: 1_000 };
    for (which, caps, spent, code, message) in [
        (
            0,
            calls(3),
            one,
            "session_budget_exceeded",
            "the session's budget of 3 model calls is reached: 3 model calls spent, and this call may take 1 model \
             call; raise it with `tenure budgets set session`, or in tenure.yaml where that sets it",
        ),
        (
            1,
            tokens(300),
            one,
            "agent_budget_exceeded",
            "the agent's budget of 300 tokens for 2026-09-21 is reached: 300 tokens spent, 7 tokens set aside for \
             calls that run, and this call may take TOKENS tokens; raise it with `tenure budgets set agent`, or in \
             tenure.yaml where that sets it, or wait for the next day (UTC)",
        ),
        (
            2,
            money(20_000_000),
            one,
            "project_budget_exceeded",
            "the project's budget of 0.02 USD for 2026-09 is reached: 0.02 USD spent, and this call may take MONEY; \
             raise it with `tenure budgets set project`, or in tenure.yaml where that sets it, or wait for the next \
             month (UTC)",
        ),
        (
            3,
            Caps { millis: Some(9_000), ..Caps::NONE },
            Amounts::default(),
            "project_budget_exceeded",
            "the project's budget of 9 s is reached: 0 s spent, and this call may take 10 s; raise it with `tenure \
             budgets set project`, or in tenure.yaml where that sets it",
        ),
    ] {
        let mut b = budgeted(defaults());
        b.mute();
        b.message("Go");
        let aside = standing(&b).reserved;
        b.cancel();
        b.budgets.shared.iter_mut().for_each(|budget| budget.used = BudgetUse::default());
        b.budgets.shared[which].caps = caps;
        b.budgets.shared[which].used.spent = spent;
        if which == 1 {
            b.budgets.shared[which].used.reserved.tokens = 7;
        }
        b.message("Go");
        let (found, told) = error(&b);
        // How long the context is by now is not what this is about.
        let words: Vec<&str> = told.split(' ').collect();
        assert_eq!(found, code, "{told}");
        let may_take =
            words.iter().position(|word| *word == "take").map(|at| words[at + 1]).unwrap_or_default();
        let number = may_take.parse::<f64>().unwrap_or_default();
        let expected = message.replace("TOKENS", may_take).replace("MONEY", &format!("{may_take} USD"));
        assert_eq!(told, expected);
        assert!(number > 0.0 && aside.tokens > 0);
        assert!(b.running.is_empty() && b.budgets.shared[which].used.spent == spent, "nothing began");
        // Raised, the next message runs.
        b.budgets.shared[which].caps = Caps::NONE;
        b.message("Again");
        assert_eq!(b.running.len(), 1, "{code}");
    }
}

#[test]
fn what_the_store_refuses_ends_the_turn_with_its_budget() {
    let mut b = budgeted(defaults());
    b.budgets.shared.truncate(3);
    let project = b.budgets.shared[2].id;
    // It fitted when it was looked up; somebody was faster.
    b.reserving = Reserving::RefusedBy(project, Measure::Calls);
    b.message("Go");
    let (code, message) = error(&b);
    assert_eq!(code, "project_budget_exceeded");
    assert!(
        message.starts_with("the project's budget of 100 model calls for 2026-09 is reached: 0 model"),
        "{message}"
    );
    b.budgets.shared.clear();
    b.message("Go");
    let (code, message) = error(&b);
    assert_eq!(code, "project_budget_exceeded", "even if it is configured no more");
    assert!(message.starts_with("the project's budget for 2026-09 is reached"), "{message}");
}

#[test]
fn an_attempt_is_settled_where_it_was_set_aside() {
    let mut b = budgeted(defaults());
    b.message("Go");
    let yesterday = b.budgets.shared[1];
    let aside = yesterday.used.reserved;
    // Midnight passes, the session's budget is taken away, and another is new.
    let now = START.plus_millis(24 * 60 * 60 * 1_000);
    let [_, agent, _] = scopes(&b);
    let today =
        SharedBudget { id: BudgetId::at(agent, Period::Day, now), ..budget(agent, Period::Day, calls(1)) };
    b.budgets.shared = vec![yesterday, today];
    b.answer_as(used(whole(vec![call("c1", "ask", "{}")]), 20, 5), Some(25_000));
    let [before, after] = [b.budgets.shared[0].used, b.budgets.shared[1].used];
    assert_eq!((before.spent.tokens, before.reserved), (25, Amounts::default()), "{aside:?}");
    assert_eq!(after, BudgetUse::default(), "the new day begins with nothing");
    b.budgets.shared.remove(0);
    b.result("c1", "1");
    assert_eq!(b.budgets.shared[0].used.reserved.calls, 1);
}

#[test]
fn what_ends_makes_room_for_what_begins_with_it() {
    let play = |cap: u64| {
        let mut b = budgeted(defaults());
        b.message("Go");
        let first = standing(&b).reserved.nano_usd;
        b.budgets.shared[2].caps = Caps { nano_usd: Some(cap), ..Caps::NONE };
        b.answer_as(used(whole(vec![call("c1", "nothing", "{}")]), 2, 1), Some(10));
        (first, standing(&b))
    };
    let (first, second) = play(u64::MAX);
    let second = second.reserved.nano_usd;
    // Enough for one after the other, and not for both at once.
    let (_, after) = play(second + 10);
    assert!(first > 10 && after.reserved.nano_usd == second, "{after:?}");
    assert_eq!(after.spent.nano_usd, 10);
    let (_, after) = play(second + 9);
    assert_eq!(
        (after.reserved, after.spent.nano_usd),
        (Amounts::default(), 10),
        "one more would be too many"
    );
}

#[test]
fn many_things_do_not_fit_and_the_tree_is_one_of_them() {
    let mut opening = opened(agent(vec![]));
    opening.spend_limit = Some(SpendLimit { limit: Some(100) });
    let mut b = Bench::open(opening, "", defaults(), Show::Events);
    b.prices.insert("m".to_owned(), PRICE);
    let (limit, spent) = (1_000_000_000, 999_990_000);
    b.budgets.tree = Some(TreeBudget { limit, spent, reserved: 9_999 });
    b.message("Go");
    let told = "the session's spending limit is reached; raise or clear it to go on";
    assert_eq!(error(&b), ("session_budget_exceeded".to_owned(), told.to_owned()));
}

fn policy(text: &str) -> Arc<PolicySet> {
    let source = PolicySource { name: "p.cedar".into(), text: text.into() };
    Arc::new(PolicySet::new(&[source]).expect("valid"))
}

/// The facts of the decision that permitted the last effect, or that was refused last.
fn spend(b: &Bench) -> Value {
    let asked = b.journal.iter().rev().find_map(|recorded| {
        if let Event::EffectRequested { effect } = &recorded.event {
            return Some(effect.permit.asked.clone());
        }
        let Event::PolicyRefused { refusal } = &recorded.event else { return None };
        Some(refusal.asked.clone())
    });
    let asked = asked.expect("something was decided")[0].read().expect("JSON");
    asked["context"]["spend"].clone()
}

#[test]
fn policies_see_what_is_left_of_each_level() {
    const NOTHING: u64 = 9_007_199_254_740_991;
    let mut b = budgeted(defaults());
    b.budgets.shared[0].caps = Caps { nano_usd: Some(9_000_999), ..Caps::NONE };
    b.budgets.shared[1].caps = Caps { tokens: Some(5_000), calls: Some(9), ..Caps::NONE };
    b.budgets.shared[1].used.spent = Amounts { tokens: 1_000, calls: 2, ..Amounts::default() };
    b.budgets.shared[1].used.reserved = Amounts { tokens: 500, calls: 1, ..Amounts::default() };
    b.budgets.shared[2].caps = Caps { millis: Some(90_999), calls: Some(8), ..Caps::NONE };
    b.budgets.tree = Some(TreeBudget { limit: 8_000_000, spent: 500, reserved: 500 });
    b.message("Go");
    let mut seen = spend(&b);
    let reserve: Vec<u64> = ["reserve_micros", "reserve_tokens"]
        .into_iter()
        .map(|name| {
            seen.as_object_mut().and_then(|seen| seen.remove(name)).and_then(|it| it.as_u64()).expect(name)
        })
        .collect();
    assert_eq!(reserve[0], reserve[1], "a micro-dollar for each token: {reserve:?}");
    let left = |micros, tokens, calls, seconds| {
        json!({
            "remaining_micros": micros, "remaining_tokens": tokens, "calls_left": calls, "seconds_left": seconds,
        })
    };
    let mut expected = left(7_999, 3_500, 6, 90);
    expected["session"] = left(7_999, NOTHING, NOTHING, NOTHING);
    expected["agent"] = left(NOTHING, 3_500, 6, NOTHING);
    expected["project"] = left(NOTHING, NOTHING, 8, 90);
    assert_eq!(seen, expected);
}

#[test]
fn without_budgets_policies_are_told_of_none() {
    let mut b = Bench::new(vec![], "");
    b.message("Go");
    assert_eq!(spend(&b), Value::Null);
}

#[test]
fn a_policy_keeps_a_reserve() {
    let text = r#"
        @id("keep-five-calls")
        forbid (principal, action == Action::"model.call", resource)
        when { context has spend && context.spend.project.calls_left < 5 };
    "#;
    let mut b = budgeted(policy(text));
    b.budgets.shared[2].caps = calls(5);
    b.message("Go");
    b.answer_as(used(whole(vec![say("Yes.")]), 1, 1), Some(1));
    b.message("More");
    let (code, message) = error(&b);
    assert_eq!(code, "invalid_request", "{message}");
    assert!(
        b.transcript().contains("policy refuses model.call m: denied (keep-five-calls)"),
        "{}",
        b.transcript()
    );
}

#[test]
fn tools_are_asked_about_when_little_is_left() {
    let text = r#"
        @id("ask-near-the-end")
        @ask("approvers")
        forbid (principal, action == Action::"tool.call", resource)
        when { context has spend && context.spend.remaining_micros < 1000000 }
        unless { context has approval && context.approval.approvers >= 1 };
    "#;
    for (left, asks) in [(1_000_000_000, false), (999_000_000, true)] {
        let mut b = with(policy(text), vec![function("ask"), server("shop")]);
        b.message("Go");
        b.lists(shop());
        b.answer_as(used(whole(vec![call("c1", "ask", "{}")]), 1, 1), Some(1));
        b.budgets.shared[2].caps = Caps { nano_usd: Some(left + 1), ..Caps::NONE };
        b.result("c1", "1");
        b.budgets.shared[2].used = BudgetUse {
            spent: Amounts { nano_usd: 1, ..Amounts::default() },
            reserved: b.budgets.shared[2].used.reserved,
        };
        // The running attempt is settled with the answer that asks for the tool.
        b.answer_as(used(whole(vec![call("c2", "shop__find", "{}")]), 1, 1), Some(0));
        let waits = !b.session.view().required_actions.is_empty();
        assert_eq!(waits, asks, "{left} are left\n{}", b.transcript());
    }
}

fn route(name: &str, price: Price) -> Candidate {
    let record = RouteRecord { name: name.to_owned(), ..RouteRecord::default() };
    Candidate { record, account: name.to_owned(), stateful: false, price: Some(price) }
}

#[test]
fn a_cheaper_way_is_taken_when_the_dear_one_does_not_fit() {
    let cheap = Price { input_nano_usd: 1_000, output_nano_usd: 1_000, output_tokens_max: OUTPUT };
    for (cap, expected) in [(1_000_000_000, Some("dear")), (10_000, Some("cheap")), (0, None)] {
        let mut b = budgeted(defaults());
        b.routes.insert("m".to_owned(), vec![route("dear", PRICE), route("cheap", cheap)]);
        b.budgets.shared[3].caps = Caps { nano_usd: Some(cap), ..Caps::NONE };
        b.message("Go");
        let taken = b.journal.iter().rev().find_map(|recorded| {
            let Event::AttemptStarted { route: Some(decision), .. } = &recorded.event else { return None };
            Some(decision.route.name.clone())
        });
        assert_eq!(taken.as_deref(), expected, "with {cap}");
        if expected.is_none() {
            assert_eq!(error(&b).0, "project_budget_exceeded");
            assert!(b.transcript().contains("denied (guard.budget)"), "{}", b.transcript());
        }
    }
}

#[test]
fn where_money_is_limited_a_way_without_a_price_is_passed_over() {
    let cheap = Price { input_nano_usd: 1_000, output_nano_usd: 1_000, output_tokens_max: OUTPUT };
    let priced = || route("priced", cheap);
    let unpriced = |name| Candidate { price: None, ..route(name, cheap) };
    let play = |ways: Vec<Candidate>, unhealthy: &str| {
        let mut b = budgeted(defaults());
        b.prices.clear();
        b.routes.insert("m".to_owned(), ways);
        b.unhealthy.insert(unhealthy.to_owned());
        b.budgets.shared[3].caps = Caps { nano_usd: Some(1_000_000), ..Caps::NONE };
        b.message("Go");
        b
    };
    for (ways, unhealthy) in [
        (vec![unpriced("first"), priced()], ""),
        (vec![unpriced("first"), priced()], "priced"),
        (vec![priced(), unpriced("second")], "priced"),
    ] {
        let mut b = play(ways, unhealthy);
        let effect = b.running[0].0.id;
        assert_eq!(b.session.route(effect), Some("priced"), "{}", b.transcript());
        // There is no other way, and the failure is told for what it is.
        b.fails(FailureKind::Authentication);
        assert_eq!(error(&b).0, "authentication_error", "{}", b.transcript());
    }
    let b = play(vec![unpriced("first"), unpriced("second")], "");
    assert!(b.running.is_empty());
    assert_eq!(error(&b).0, "price_unknown");
}

#[test]
fn the_counted_input_is_what_was_meant() {
    // The figures above depend on it.
    let mut b = budgeted(defaults());
    b.message("Go");
    assert_eq!(standing(&b).reserved.tokens, INPUT + OUTPUT);
}
