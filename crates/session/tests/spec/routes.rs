//! Which way a model call takes: contracts between dates, accounts that are unwell, and no way at all.

use std::sync::Arc;

use tenure_journal::{FailureKind, RouteRecord, Timestamp};
use tenure_policy::{Applies, CallClass, Clause, Contract, PolicySet, Rule, Terms};
use tenure_session::{Candidate, Price};

use crate::bench::{Bench, START, Show, agent, opened, say};

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// A clause that holds from a minute after the start of the tests for an hour: stateless calls of the vendor's
/// models go through Azure in Europe.
fn reserved_to_azure() -> Contract {
    let applies_to =
        Applies { vendors: texts(&["openai"]), classes: vec![CallClass::Stateless], ..Applies::default() };
    let clause = Clause {
        id: "stateless".into(),
        document: "MSA".into(),
        clause: "s4.2".into(),
        from: Some(START.plus_millis(60_000)),
        to: Some(START.plus_millis(3_660_000)),
        applies_to,
        rule: Rule::Must(Terms { providers: texts(&["azure"]), regions: texts(&["eu"]), ..Terms::default() }),
        evidence: "exhibit 4".into(),
    };
    Contract { name: "msa".into(), version: 1, clauses: vec![clause] }
}

fn candidate(name: &str, provider: &str, region: &str) -> Candidate {
    let record = RouteRecord {
        name: name.into(),
        vendor: "openai".into(),
        provider: provider.into(),
        region: region.into(),
        ..RouteRecord::default()
    };
    Candidate { record, account: name.into(), stateful: false, price: None }
}

/// A session whose model has a route at Bedrock and then one at Azure.
fn two_ways() -> Bench {
    let mut opening = opened(agent(Vec::new()));
    opening.agent.instructions = None;
    let policy = PolicySet::with_contracts(&[], &[reserved_to_azure()]).expect("a valid contract");
    let mut b = Bench::open(opening, "", Arc::new(policy), Show::Events);
    let ways = vec![candidate("bedrock", "bedrock", "us"), candidate("azure", "azure", "eu")];
    b.routes.insert("m".to_owned(), ways);
    b
}

fn later(b: &mut Bench, millis: u64) {
    b.now = Timestamp::from_millis(START.as_millis()).plus_millis(millis);
}

#[test]
fn a_clause_holds_between_its_dates() {
    let mut b = two_ways();
    for (millis, way) in
        [(1, "bedrock"), (59_990, "bedrock"), (60_000, "azure"), (3_659_990, "azure"), (3_660_000, "bedrock")]
    {
        later(&mut b, millis);
        let mark = b.transcript().len();
        b.message("Go");
        let said = b.transcript()[mark..].to_owned();
        assert!(said.contains(&format!("attempt 1 by {way} as stateless")), "{millis}: {said}");
        assert_eq!(said.contains("not bedrock"), way == "azure", "{said}");
        b.answer(vec![say("Done.")]);
    }
}

#[test]
fn every_attempt_is_decided_anew() {
    let mut b = two_ways();
    later(&mut b, 59_000);
    b.message("Go");
    b.fails(FailureKind::ServerError);
    // The clause begins while the call waits for its second attempt.
    b.wait(10_000);
    b.answer(vec![say("Done.")]);
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
          eff1 attempt 1 by bedrock as stateless
        > ServerError
          eff1 attempt 1 failed: server_error "ServerError happened", again in 100 ms
        > 10000 ms pass
          eff1 attempt 2 by azure as stateless, not bedrock
        > answer
          eff1 attempt 2 answered, settled
          turn1 item2 #0 completed: message (final_answer) "Done."
          turn1 completed
    "#,
    );
}

#[test]
fn an_account_that_is_unwell_is_passed_over_where_another_may_be_used() {
    let mut b = two_ways();
    b.unhealthy.insert("bedrock".into());
    b.message("Go");
    assert!(b.transcript().contains("attempt 1 by azure as stateless, not bedrock"), "{}", b.transcript());
    b.answer(vec![say("Done.")]);
    // The only permitted way is tried although it is unwell; the other one never is.
    later(&mut b, 70_000);
    b.unhealthy = ["azure".to_owned()].into();
    b.message("Again");
    let last = b.transcript().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("attempt 1 by azure as stateless, not bedrock"), "{last}");
}

#[test]
fn a_failure_of_the_account_moves_the_call_on_at_once() {
    let mut b = two_ways();
    b.message("Go");
    b.fails(FailureKind::Authentication);
    b.tick();
    assert!(b.transcript().contains("attempt 2 by azure as stateless, not bedrock"), "{}", b.transcript());
    b.fails(FailureKind::CreditExhausted);
    assert!(b.transcript().contains("turn1 failed"), "no way is left: {}", b.transcript());
}

#[test]
fn without_a_permitted_way_the_turn_fails_and_names_the_clause() {
    let mut b = two_ways();
    b.routes.insert(
        "m".to_owned(),
        vec![candidate("bedrock", "bedrock", "us"), candidate("direct", "openai", "")],
    );
    later(&mut b, 70_000);
    b.message("Go");
    assert!(b.running.is_empty(), "nothing is sent");
    b.check(
        r#"
        > open
          session opened for m
        > message "Go"
          inp1 accepted: "Go"
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          policy refuses model.call m by bedrock: denied (msa/stateless)
          policy refuses model.call m by direct: denied (msa/stateless)
          turn1 failed: route_unavailable "there is no permitted route to the model `m`: forbidden by msa/stateless"
    "#,
    );
    // A failover that a clause forbids in the middle of a call is not taken either.
    let mut b = two_ways();
    b.routes.insert(
        "m".to_owned(),
        vec![candidate("azure", "azure", "eu"), candidate("bedrock", "bedrock", "us")],
    );
    later(&mut b, 70_000);
    b.message("Go");
    b.fails(FailureKind::Authentication);
    assert!(b.transcript().contains("turn1 failed: authentication_error"), "{}", b.transcript());
}

#[test]
fn what_makes_state_at_the_provider_is_another_kind_of_call() {
    let mut b = two_ways();
    let stateful = Candidate { stateful: true, ..candidate("bedrock", "bedrock", "us") };
    b.routes.insert("m".to_owned(), vec![stateful]);
    later(&mut b, 70_000);
    b.message("Go");
    assert!(b.transcript().contains("attempt 1 by bedrock as stateful"), "{}", b.transcript());
}

#[test]
fn what_an_attempt_sets_aside_is_the_price_of_its_way() {
    let mut b = two_ways();
    let price =
        |nano: u64| Some(Price { input_nano_usd: nano, output_nano_usd: nano, output_tokens_max: 10 });
    let cheap = Candidate { price: price(1_000_000), ..candidate("bedrock", "bedrock", "us") };
    let dear = Candidate { price: price(1_000_000_000), ..candidate("azure", "azure", "eu") };
    b.routes.insert("m".to_owned(), vec![cheap, dear]);
    b.message("Go");
    let first: u64 = b.reserved.values().sum();
    b.fails(FailureKind::Authentication);
    b.tick();
    let second: u64 = b.reserved.values().sum();
    assert!(first > 0 && second > 500 * first, "{first} {second}");
}
