//! What an auditor is told: who did what, who allowed it, and on whose machine.

use serde_json::{Value, to_value};
use tenure_journal::{Decision, DigestKey, Network, SessionPatch};
use tenure_session::{Attempted, Input};

use crate::bench::{Bench, Show, agent, call, defaults, opened, root, say, self_hosted, server, shop};

#[test]
fn a_person_allows_a_refund() {
    let mut b = Bench::open(opened(agent(vec![server("shop")])), "Refund order 7", defaults(), Show::Records);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", r#"{"order":7}"#)]);
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.returns("refund", "done");
    b.answer(vec![say("Refunded.")]);
    b.update("without review", SessionPatch { review: Some(None), ..SessionPatch::default() });
    b.delete();
    b.check(
        r#"
        > open "Refund order 7"
          agt1: session_opened {"agent_name":"clerk"}
          agt1, turn1: allowed {"effect":"eff1","action":"tools.list","resource":"shop","policies":["default.tools-list"]}
          agt1, turn1: attempt_started {"effect":"eff1","attempt":1}
        > listing
          agt1, turn1: attempt_ended {"effect":"eff1","attempt":1,"outcome":"done"}
          agt1, turn1: allowed {"effect":"eff2","action":"model.call","resource":"m","policies":["default.model-call"]}
          agt1, turn1: attempt_started {"effect":"eff2","attempt":1}
        > answer
          agt1, turn1: attempt_ended {"effect":"eff2","attempt":1,"outcome":"done"}
          agt1, turn1: approval_requested {"approval":"apr1","action":"tool.call","resource":"shop/refund","policies":["default.approved-tool"]}
        > Approve apr1
          agt1, turn1: approval_decided {"approval":"apr1","decision":"approve","by":"ann"}
          agt1, turn1: allowed {"effect":"eff3","action":"tool.call","resource":"shop/refund","policies":["default.approved-tool"],"approval":"apr1"}
          agt1, turn1: attempt_started {"effect":"eff3","attempt":1}
        > refund returns
          agt1, turn1: attempt_ended {"effect":"eff3","attempt":1,"outcome":"done"}
          agt1, turn1: allowed {"effect":"eff4","action":"model.call","resource":"m","policies":["default.model-call"]}
          agt1, turn1: attempt_started {"effect":"eff4","attempt":1}
        > answer
          agt1, turn1: attempt_ended {"effect":"eff4","attempt":1,"outcome":"done"}
        > update without review
          agt1: session_updated {}
        > delete
          agt1: session_deleted {}
    "#,
    );
}

#[test]
fn before_a_session_there_is_no_agent() {
    let mut b = Bench::prewarm(Network::Disabled, Show::Records);
    b.environment("prepared", Attempted::Placed(root(1)));
    b.open_session("Go");
    b.check(
        r#"
        > prewarm
          nobody: environment_opened {"environment":"env1","expires_at":1790000001000}
          nobody: allowed {"effect":"eff1","action":"environment.prepare","resource":"environment","policies":["builtin.prepare-environment"]}
          nobody: attempt_started {"effect":"eff1","attempt":1}
        > prepared
          nobody: attempt_ended {"effect":"eff1","attempt":1,"outcome":"done"}
        > open session "Go"
          agt1: session_opened {"agent_name":"clerk"}
          agt1, turn1: allowed {"effect":"eff2","action":"model.call","resource":"m","policies":["default.model-call"]}
          agt1, turn1: attempt_started {"effect":"eff2","attempt":1}
    "#,
    );
}

#[test]
fn machines_come_and_go() {
    let mut opening = opened(agent(vec![]));
    opening.environment = self_hosted();
    let mut b = Bench::open(opening, "Go", defaults(), Show::Records);
    b.crank("executor connects", &Input::Connected).unwrap();
    b.crank("executor is gone", &Input::Disconnected).unwrap();
    b.check(
        r#"
        > open "Go"
          agt1: session_opened {"agent_name":"clerk"}
        > executor connects
          agt1: executor_connected {"environment":"env1"}
          agt1, turn1: allowed {"effect":"eff1","action":"model.call","resource":"m","policies":["default.model-call"]}
          agt1, turn1: attempt_started {"effect":"eff1","attempt":1}
        > executor is gone
          agt1, turn1: executor_disconnected {"environment":"env1"}
    "#,
    );
}

/// What an auditor is told of a refund, in a journal that begins with `key`.
fn refund(key: Option<DigestKey>) -> Vec<Value> {
    let mut opening = opened(agent(vec![server("shop")]));
    opening.digest_key = key;
    let mut b = Bench::open(opening, "Refund order 7", defaults(), Show::Nothing);
    b.lists(shop());
    b.answer(vec![call("c1", "shop__refund", r#"{"order":7}"#)]);
    let approval = b.approval();
    b.decide(approval, Decision::Approve);
    b.update("without review", SessionPatch { review: Some(None), ..SessionPatch::default() });
    b.records.iter().map(|record| to_value(&record.fact).unwrap()).collect()
}

#[test]
fn digests_are_keyed_with_what_the_journal_begins_with() {
    let key = DigestKey::new([7; 32]);
    let (plain, keyed) = (refund(None), refund(Some(key)));
    assert_eq!(plain.len(), keyed.len());
    let mut digests = 0;
    for (mut plain, keyed) in plain.into_iter().zip(keyed) {
        for member in ["arguments", "question", "change"] {
            if let Some(digest) = plain.get(member).and_then(Value::as_str) {
                plain[member] = key.keyed(digest).into();
                digests += 1;
            }
        }
        // Nothing else differs: which policies decided is no secret.
        assert_eq!(plain, keyed);
    }
    assert!(digests >= 8, "{digests}");
}
