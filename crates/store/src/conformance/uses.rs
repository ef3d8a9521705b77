//! Budgets that many share: what does not fit is refused with everything else, of whatever there would be too much.

use futures_util::future::join_all;
use tenure_journal::{
    AgentId, Amounts, BudgetId, BudgetScope, BudgetUse, Caps, Measure, Period, SessionId, SessionKey,
};

use super::build::{NOW, accepted, append, fresh, key, refused, texts};
use crate::{Append, AuditEntry, Erasing, Place, Store, StoreErrorKind, UseChange, UseEntry};

fn amounts(nano_usd: u64, tokens: u64, calls: u64, millis: u64) -> Amounts {
    Amounts { nano_usd, tokens, calls, millis }
}

fn reserve(budget: BudgetId, amounts: Amounts, caps: Caps) -> UseEntry {
    UseEntry { budget, change: UseChange::Reserve { amounts, caps } }
}

fn settle(budget: BudgetId, reserved: Amounts, spent: Amounts) -> UseEntry {
    UseEntry { budget, change: UseChange::Settle { reserved, spent } }
}

async fn standing(store: &dyn Store, key: SessionKey, budgets: &[BudgetId]) -> Vec<BudgetUse> {
    accepted(store.budget_uses(key.project, budgets).await)
}

pub(super) async fn sets_aside_in_all_or_none(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    let project = BudgetId::at(BudgetScope::Project, Period::Month, NOW);
    let agent = BudgetId::at(BudgetScope::Agent(AgentId::fresh(&fresh)), Period::Day, NOW);
    let both = [project, agent];
    let nothing = BudgetUse::default();
    assert_eq!(standing(store, key, &both).await, [nothing; 2], "what was never used has nothing");
    assert_eq!(standing(store, key, &[]).await, [], "nothing is asked");
    let caps = |usd: u64, tokens: u64| Caps { nano_usd: Some(usd), tokens: Some(tokens), ..Caps::NONE };
    let calls = |calls: u64| Caps { calls: Some(calls), ..Caps::NONE };
    let one = amounts(40, 4, 1, 9);
    let used = |spent, reserved| BudgetUse { spent, reserved };
    let none = Amounts::default();
    let mut version = 0;
    let two = one.plus(&one);
    let real = amounts(7, 3, 1, 2);
    for (entries, refusal, after) in [
        (
            vec![reserve(project, one, caps(100, 100)), reserve(agent, one, calls(2))],
            None,
            [used(none, one), used(none, one)],
        ),
        (
            vec![reserve(agent, one, calls(2)), reserve(project, one, caps(79, 100))],
            Some((project, Measure::Money)),
            [used(none, one), used(none, one)],
        ),
        (
            vec![reserve(project, one, caps(100, 7)), reserve(agent, one, calls(2))],
            Some((project, Measure::Tokens)),
            [used(none, one), used(none, one)],
        ),
        (
            vec![reserve(project, one, caps(80, 8)), reserve(agent, one, calls(2))],
            None,
            [used(none, two), used(none, two)],
        ),
        (
            vec![reserve(project, none, caps(80, 8)), reserve(agent, one, calls(2))],
            Some((agent, Measure::Calls)),
            [used(none, two), used(none, two)],
        ),
        // What is settled makes room within the same append.
        (
            vec![
                settle(project, one, real),
                settle(agent, one, real),
                reserve(project, one, caps(87, 11)),
                reserve(agent, none, calls(2)),
            ],
            None,
            [used(real, two), used(real, one)],
        ),
        // More was used than set aside: it counts, and nothing more begins.
        (
            vec![settle(project, two, amounts(500, 0, 0, 0))],
            None,
            [used(amounts(507, 3, 1, 2), none), used(real, one)],
        ),
        (
            vec![reserve(project, none, caps(506, 99))],
            Some((project, Measure::Money)),
            [used(amounts(507, 3, 1, 2), none), used(real, one)],
        ),
        // Of what is not limited there can be any amount.
        (
            vec![reserve(agent, amounts(1 << 50, 1 << 50, 0, 1 << 50), calls(2))],
            None,
            [used(amounts(507, 3, 1, 2), none), used(real, one.plus(&amounts(1 << 50, 1 << 50, 0, 1 << 50)))],
        ),
    ] {
        let append = Append { uses: entries.clone(), ..append(&fresh, key, version, &["x"]) };
        match (store.append(append).await, refusal) {
            (Ok(_), None) => version += 1,
            (Err(error), Some(_)) => {
                assert_eq!(error.kind(), StoreErrorKind::BudgetExceeded, "{entries:?}");
                assert_eq!(error.exceeded(), refusal, "{entries:?}");
            }
            (found, expected) => panic!("{entries:?}: {found:?} where {expected:?} was expected"),
        }
        assert_eq!(standing(store, key, &both).await, after, "after {entries:?}");
        assert_eq!(standing(store, key, &[agent, project, agent]).await, [after[1], after[0], after[1]]);
        let events = texts(store, key, 0, 99).await.len() as u64;
        assert_eq!(events, version, "what is refused writes no event");
    }
    let other = SessionKey { session: key.session, ..super::build::key(&fresh) };
    assert_eq!(standing(store, other, &both).await, [nothing; 2], "a budget belongs to its project");
}

pub(super) async fn is_never_exceeded_by_many(store: &dyn Store) {
    const FIT: usize = 40;
    let fresh = fresh(2);
    let root = key(&fresh);
    let project = BudgetId::at(BudgetScope::Project, Period::Total, NOW);
    let keys: Vec<_> = (0..200).map(|_| SessionKey { session: SessionId::fresh(&fresh), ..root }).collect();
    let caps = Caps { calls: Some(FIT as u64), ..Caps::NONE };
    let one = amounts(3, 2, 1, 0);
    let appends = keys.iter().map(|key| {
        let own = BudgetId::at(BudgetScope::Session(key.session), Period::Day, NOW);
        let uses = vec![reserve(own, one, Caps::NONE), reserve(project, one, caps)];
        store.append(Append { uses, ..append(&fresh, *key, 0, &["x"]) })
    });
    let results = join_all(appends).await;
    let refused = results.iter().filter_map(|result| result.as_ref().err());
    for error in refused.clone() {
        assert_eq!(error.exceeded(), Some((project, Measure::Calls)), "only for the budget: {error}");
    }
    assert_eq!(refused.count(), keys.len() - FIT, "as many as fit, and no more");
    let all = amounts(3 * FIT as u64, 2 * FIT as u64, FIT as u64, 0);
    assert_eq!(standing(store, root, &[project]).await[0].reserved, all);
    let settling = keys.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(key, _)| {
        store.append(Append { uses: vec![settle(project, one, one)], ..append(&fresh, *key, 1, &["y"]) })
    });
    for result in join_all(settling).await {
        accepted(result);
    }
    let after = BudgetUse { spent: all, reserved: Amounts::default() };
    assert_eq!(standing(store, root, &[project]).await, [after], "nothing stays set aside");
    for (key, result) in keys.iter().zip(&results) {
        let own = BudgetId::at(BudgetScope::Session(key.session), Period::Day, NOW);
        let expected = if result.is_ok() { one } else { Amounts::default() };
        assert_eq!(standing(store, *key, &[own]).await[0].reserved, expected, "all of an append or nothing");
    }
}

pub(super) async fn changes_with_records_and_without_events(store: &dyn Store) {
    let fresh = fresh(4);
    let key = key(&fresh);
    let other = super::build::key(&fresh);
    let [day, total] =
        [Period::Day, Period::Total].map(|period| BudgetId::at(BudgetScope::Project, period, NOW));
    let caps = Caps { tokens: Some(10), ..Caps::NONE };
    let (four, one) = (amounts(0, 4, 1, 0), amounts(0, 1, 1, 5));
    let record = |number: u32| AuditEntry { project: key.project, record: format!("{number}").into() };
    let recorded = async || {
        let waiting = accepted(store.unsealed(&[], 9).await);
        waiting.into_iter().map(|record| record.record).collect::<Vec<_>>()
    };
    let nothing = Amounts::default();
    let used = |spent, reserved| BudgetUse { spent, reserved };
    let uses = vec![reserve(day, four, caps), reserve(total, four, Caps::NONE)];
    accepted(store.change_uses(key.project, uses, vec![record(1), record(2)]).await);
    assert_eq!(standing(store, key, &[day, total]).await, [used(nothing, four); 2]);
    let uses = vec![reserve(total, four, Caps::NONE), reserve(day, amounts(0, 7, 1, 0), caps)];
    let error = store.change_uses(key.project, uses, vec![record(3)]).await.expect_err("it does not fit");
    assert_eq!(error.exceeded(), Some((day, Measure::Tokens)));
    assert_eq!(standing(store, key, &[day, total]).await, [used(nothing, four); 2], "all or none");
    let uses = vec![settle(day, four, one), settle(total, four, one)];
    accepted(store.change_uses(key.project, uses, vec![record(4)]).await);
    accepted(store.change_uses(key.project, Vec::new(), vec![record(5)]).await);
    assert_eq!(standing(store, key, &[day, total]).await, [used(one, nothing); 2]);
    assert_eq!(standing(store, other, &[day]).await, [BudgetUse::default()], "of its project alone");
    assert_eq!(recorded().await, ["1", "2", "4", "5"], "and a record of what was refused is none");
}

pub(super) async fn erases_those_of_a_session(store: &dyn Store) {
    let fresh = fresh(3);
    let key = key(&fresh);
    let beside = SessionKey { session: SessionId::fresh(&fresh), ..key };
    let of = |scope| [Period::Day, Period::Total].map(|period| BudgetId::at(scope, period, NOW));
    let [day, total] = of(BudgetScope::Session(key.session));
    let [other, _] = of(BudgetScope::Session(beside.session));
    let [project, _] = of(BudgetScope::Project);
    let all = [day, total, other, project];
    let one = amounts(1, 1, 1, 1);
    let uses = all.map(|budget| settle(budget, Amounts::default(), one)).to_vec();
    accepted(store.append(Append { uses, ..append(&fresh, key, 0, &["x"]) }).await);
    let place = Place::Session(key.session);
    let (whole, gone) = (BudgetUse { spent: one, ..BudgetUse::default() }, BudgetUse::default());
    for (erasing, after) in [(Erasing::Count, [whole; 4]), (Erasing::Remove, [gone, gone, whole, whole])] {
        let erased = accepted(store.erase(key.project, &place, erasing).await);
        assert_eq!(erased.of("budget_uses"), 2, "{erased:?}");
        assert_eq!(standing(store, key, &all).await, after);
    }
    // What is left of a session that is gone settles nowhere.
    let uses = vec![settle(day, one, one)];
    refused(store.append(Append { uses, ..append(&fresh, key, 1, &["y"]) }).await, "its journal is gone");
    assert_eq!(standing(store, key, &[day]).await, [gone]);
}
