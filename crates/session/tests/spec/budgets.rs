//! What is set aside before a model is asked, and what is settled once it has answered or not.

use tenure_journal::{BudgetId, BudgetScope, BudgetUse, Caps, FailureKind, Period, SpendLimit};
use tenure_session::{Budgets, Price, Reserving, SharedBudget, TreeBudget};

use crate::bench::{Bench, START, Show, agent, call, defaults, function, opened, say, whole};

/// A session whose model costs a thousand for each token read or written, and whose answers have ten tokens.
fn priced(first: &str) -> Bench {
    let mut opening = opened(agent(vec![function("ask")]));
    opening.agent.instructions = None;
    opening.spend_limit = Some(SpendLimit { limit: Some(100) });
    let mut b = Bench::open(opening, "", defaults(), Show::Events);
    let price =
        Price { input_nano_usd: 1_000_000_000, output_nano_usd: 1_000_000_000, output_tokens_max: 10 };
    b.prices.insert("m".to_owned(), price);
    b.message(first);
    b
}

#[test]
fn an_attempt_is_set_aside_and_settled_at_what_it_cost() {
    let mut b = priced("Go");
    assert_eq!(b.reserved.len(), 1);
    b.answer_as(whole(vec![call("c1", "ask", "{}")]), Some(7_000));
    assert_eq!((b.reserved.len(), b.spent), (0, 7_000));
    b.result("c1", "1");
    b.answer_as(whole(vec![say("Done.")]), Some(5_000));
    assert_eq!((b.reserved.len(), b.spent), (0, 12_000));
    b.check(
        r#"
        > open
          session opened for m
        > message "Go"
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1, reserves 46000
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
        > result of c1: "1"
          item2 returned "1" as item3 in turn1
          eff2 requested: ask m, step 1 (freely)
          eff2 attempt 1, reserves 65000
        > answer
          eff2 attempt 1 answered, settled
          turn1 item4 #1 completed: message (final_answer) "Done."
          turn1 completed
    "#,
    );
}

#[test]
fn what_nobody_knows_the_cost_of_counts_whole() {
    for (end, counts) in [
        ("answers without a count", true),
        ("is cut off", true),
        ("is refused", false),
        ("breaks", true),
        ("is cancelled", true),
    ] {
        let mut b = priced("Go");
        b.mute();
        let aside: u64 = b.reserved.values().sum();
        match end {
            "answers without a count" => b.answer(vec![say("Done.")]),
            "is cut off" => b.resumed(),
            "is refused" => b.fails(FailureKind::RateLimited),
            "breaks" => b.fails(FailureKind::ConnectionFailed),
            "is cancelled" => b.cancel(),
            other => unreachable!("{other}"),
        }
        assert_eq!(b.spent, if counts { aside } else { 0 }, "an attempt that {end}");
    }
}

#[test]
fn a_turn_fails_when_the_budget_refuses() {
    let mut b = priced("Go");
    b.answer_as(whole(vec![call("c1", "ask", "{}")]), Some(7_000));
    b.reserving = Reserving::Refused;
    b.result("c1", "1");
    b.message("Again");
    b.reserving = Reserving::Asked;
    b.message("And now?");
    b.fails(FailureKind::Overloaded);
    b.reserving = Reserving::Refused;
    b.wait(1_000);
    b.check(r#"
        > open
          session opened for m
        > message "Go"
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff1 requested: ask m, step 0 (freely)
          eff1 attempt 1, reserves 46000
        > answer
          eff1 attempt 1 answered, settled
          turn1 item2 #0 in_progress: function ask c1 {}
        > result of c1: "1"
          item2 returned "1" as item3 in turn1
          turn1 failed: session_budget_exceeded "the session's spending limit is reached; raise or clear it to go on"
        > message "Again"
          inp2 accepted: "Again"
          turn2 created
          inp2 joined turn2 as item4
          turn2 started
          turn2 failed: session_budget_exceeded "the session's spending limit is reached; raise or clear it to go on"
        > message "And now?"
          inp3 accepted: "And now?"
          turn3 created
          inp3 joined turn3 as item5
          turn3 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1, reserves 85000
        > Overloaded
          eff2 attempt 1 failed: overloaded "Overloaded happened", again in 100 ms
        > 1000 ms pass
          eff2 abandoned
          turn3 failed: session_budget_exceeded "the session's spending limit is reached; raise or clear it to go on"
    "#);
}

#[test]
fn a_model_without_a_price_asks_no_budget() {
    let mut b = Bench::new(vec![], "");
    b.reserving = Reserving::Refused;
    b.message("Go");
    b.answer(vec![say("Done.")]);
    assert_eq!((b.reserved.len(), b.spent), (0, 0));
}

#[test]
fn a_model_without_a_price_is_not_asked_where_money_is_limited() {
    const UNKNOWN: &str = "money is limited here, and the price of the model `m` is not known; give the model or its \
        route `price_usd_per_million` in tenure.yaml (0 for one that costs nothing), or limit tokens or calls instead \
        of money";
    let caps = |money: Option<u64>, tokens: Option<u64>| Caps { nano_usd: money, tokens, ..Caps::NONE };
    let shared = |caps| {
        let id = BudgetId::at(BudgetScope::Project, Period::Total, START);
        vec![SharedBudget { id, caps, used: BudgetUse::default() }]
    };
    let tree = Some(TreeBudget { limit: 1_000, spent: 0, reserved: 0 });
    for (what, own, tree, shared, is_asked) in [
        ("nothing is limited", None, None, vec![], true),
        ("the session's own limit", Some(SpendLimit { limit: Some(100) }), None, vec![], false),
        ("the limit of its parent", None, tree, vec![], false),
        ("a budget of money", None, None, shared(caps(Some(1_000), Some(1_000_000))), false),
        ("a budget of tokens", None, None, shared(caps(None, Some(1_000_000))), true),
    ] {
        let mut opening = opened(agent(vec![]));
        opening.spend_limit = own;
        let mut b = Bench::open(opening, "", defaults(), Show::Events);
        b.budgets = Budgets { tree, shared };
        b.message("Go");
        assert_eq!(b.running.len(), usize::from(is_asked), "{what}");
        let error = b.turns().last().and_then(|turn| turn.error.clone());
        let told = error.map(|error| (error.code, error.message));
        let expected = (!is_asked).then(|| ("price_unknown".to_owned(), UNKNOWN.to_owned()));
        assert_eq!(told, expected, "{what}");
        let free = Price { input_nano_usd: 0, output_nano_usd: 0, output_tokens_max: 10 };
        b.prices.insert("m".to_owned(), free);
        b.message("Again");
        assert_eq!(b.running.len(), 1, "with a price of nothing it is asked: {what}");
    }
}
