//! What several nodes do to one database at once.

mod fixture;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tenure_journal::{Amounts, BudgetId, BudgetScope, Caps, Measure, Period, SessionKey, Timestamp, Version};
use tenure_store::{BudgetChange, BudgetEntry, Store as _, StoreErrorKind, UseChange, UseEntry, Wake};
use tenure_store_postgres::PostgresStore;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::timeout;

use fixture::{LONG, append, by_hand, cut, database, due, key, node, open, texts, until};

/// How long a wake may take to be told while the test keeps asking.
const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn one_of_two_nodes_wins_each_version() {
    const VERSIONS: u64 = 40;
    let database = database();
    let (a, b) = tokio::join!(open(&database), open(&database));
    let mut tasks = JoinSet::new();
    for (name, store) in [("a", a), ("b", b)] {
        // Sessions in opposite orders, so that the two lock the same rows from both ends.
        for index in 0..4 {
            let (store, key) = (Arc::clone(&store), key(if name == "a" { index } else { 3 - index }));
            tasks.spawn(async move {
                let (mut version, mut won) = (0, 0);
                while version < VERSIONS {
                    match store.append(append(key, version, &[name])).await {
                        Ok(next) => (version, won) = (next.0, won + 1),
                        Err(error) => {
                            let StoreErrorKind::Conflict { actual } = error.kind() else {
                                panic!("{error:?}")
                            };
                            version = actual.0;
                        }
                    }
                }
                won
            });
        }
    }
    let won: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(won, 4 * VERSIONS, "every version was acknowledged to exactly one");
    let store = open(&database).await;
    for index in 0..4 {
        assert_eq!(texts(&*store, key(index)).await.len() as u64, VERSIONS);
    }
}

#[tokio::test]
async fn nodes_together_do_not_overspend() {
    const LIMIT: u64 = 1000;
    const COST: u64 = 7;
    let database = database();
    let stores = join_all((0..3).map(|_| open(&database))).await;
    let root = key(0);
    let mut first = append(root, 0, &["opens"]);
    first.budget = vec![BudgetEntry { root: root.session, change: BudgetChange::Limit(Some(LIMIT)) }];
    stores[0].append(first).await.expect("opens");

    let mut tasks = JoinSet::new();
    for index in 1..=60 {
        let store = Arc::clone(&stores[index as usize % stores.len()]);
        tasks.spawn(async move {
            let entry = |change| vec![BudgetEntry { root: root.session, change }];
            let (mut version, mut reserved, mut settled) = (0, 0, 0);
            for attempt in 0..4 {
                let name = format!("{index}.{attempt}");
                let mut reserve = append(key(index), version, &["reserves"]);
                reserve.budget = entry(BudgetChange::Reserve { key: name.clone(), nano_usd: COST });
                match store.append(reserve).await {
                    Ok(next) => version = next.0,
                    Err(error) => {
                        assert_eq!(error.kind(), StoreErrorKind::BudgetExceeded, "{error}");
                        continue;
                    }
                }
                if attempt % 2 == 0 {
                    let mut settle = append(key(index), version, &["settles"]);
                    settle.budget = entry(BudgetChange::Settle { key: name, nano_usd: COST });
                    version = store.append(settle).await.expect("settles").0;
                    settled += COST;
                } else {
                    reserved += COST;
                }
                let seen = store.budget(root.project, root.session).await.expect("reads");
                assert!(seen.spent_nano_usd + seen.reserved_nano_usd <= LIMIT, "{seen:?}");
            }
            (reserved, settled)
        });
    }
    let all = tasks.join_all().await;
    let reserved: u64 = all.iter().map(|(reserved, _)| reserved).sum();
    let settled: u64 = all.iter().map(|(_, settled)| settled).sum();
    let budget = stores[1].budget(root.project, root.session).await.expect("reads");
    assert_eq!((budget.reserved_nano_usd, budget.spent_nano_usd), (reserved, settled), "nothing was lost");
    assert_eq!(reserved + settled, LIMIT / COST * COST, "and all that fits was given out");
}

#[tokio::test]
async fn nodes_share_a_budget_and_lose_nothing_of_it() {
    const CALLS: u64 = 150;
    let database = database();
    let stores = join_all((0..3).map(|_| open(&database))).await;
    let project = key(0).project;
    let id = BudgetId::at(BudgetScope::Project, Period::Total, Timestamp::EPOCH);
    let one = Amounts { nano_usd: 9, tokens: 3, calls: 1, millis: 0 };
    let caps = Caps { calls: Some(CALLS), ..Caps::NONE };
    let entry = move |change| vec![UseEntry { budget: id, change }];
    let mut tasks = JoinSet::new();
    for index in 0..200 {
        let store = Arc::clone(&stores[index as usize % stores.len()]);
        tasks.spawn(async move {
            let (mut version, mut held, mut spent) = (0, 0, 0);
            for attempt in 0..2 {
                let mut reserve = append(key(index), version, &["reserves"]);
                reserve.uses = entry(UseChange::Reserve { amounts: one, caps });
                match store.append(reserve).await {
                    Ok(next) => version = next.0,
                    Err(error) => {
                        assert_eq!(error.exceeded(), Some((id, Measure::Calls)), "{error}");
                        continue;
                    }
                }
                if (index + attempt) % 3 == 0 {
                    held += 1;
                } else {
                    let mut settle = append(key(index), version, &["settles"]);
                    settle.uses = entry(UseChange::Settle { reserved: one, spent: one });
                    version = store.append(settle).await.expect("settles").0;
                    spent += 1;
                }
                let seen = store.budget_uses(project, &[id]).await.expect("reads")[0];
                assert!(seen.total().calls <= CALLS, "{seen:?}");
            }
            (held, spent)
        });
    }
    let all = tasks.join_all().await;
    let held: u64 = all.iter().map(|(held, _)| held).sum();
    let spent: u64 = all.iter().map(|(_, spent)| spent).sum();
    let times = |count| Amounts { nano_usd: 9 * count, tokens: 3 * count, calls: count, millis: 0 };
    let seen = stores[1].budget_uses(project, &[id]).await.expect("reads")[0];
    assert_eq!((seen.reserved, seen.spent), (times(held), times(spent)), "nothing was lost");
    assert_eq!(held + spent, CALLS, "and all that fits was given out");
}

#[tokio::test]
async fn each_due_session_is_claimed_once() {
    const SESSIONS: u64 = 200;
    let database = database();
    let stores = join_all((0..3).map(|_| open(&database))).await;
    join_all((0..SESSIONS).map(|index| stores[0].append(due(key(index), 0, None)))).await;
    let mut tasks = JoinSet::new();
    for (index, store) in stores.into_iter().enumerate() {
        tasks.spawn(async move {
            let node = node(index as u64);
            store.heartbeat(node, LONG).await.expect("begins a lease");
            let mut claimed: Vec<SessionKey> = Vec::new();
            // What another node has locked at the moment is skipped, so nothing found is not yet the end.
            loop {
                let more = store.claim_due(node, Timestamp::EPOCH, 7, &[]).await.expect("claims");
                assert!(more.len() <= 7);
                if more.is_empty() {
                    break;
                }
                claimed.extend(more);
            }
            let held = store.held(node).await.expect("lists");
            assert_eq!(held.len(), claimed.len(), "a living node keeps what it holds");
            assert!(held.iter().all(|(_, version)| *version == Version(1)));
            claimed
        });
    }
    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let distinct: BTreeSet<_> = claimed.iter().copied().collect();
    assert_eq!(claimed.len(), distinct.len(), "none was claimed twice");
    let store = open(&database).await;
    let mut rest = 0;
    until("the rest is claimed", async || {
        rest += store.claim_due(node(9), Timestamp::EPOCH, 7, &[]).await.expect("claims").len();
        distinct.len() + rest == SESSIONS as usize
    })
    .await;
}

#[tokio::test]
async fn a_dead_nodes_sessions_are_taken_over_and_it_is_fenced() {
    let database = database();
    let (a, b) = tokio::join!(open(&database), open(&database));
    a.heartbeat(node(1), LONG).await.expect("begins a lease");
    b.heartbeat(node(2), LONG).await.expect("begins a lease");
    a.append(due(key(0), 0, Some(node(1)))).await.expect("holds");
    a.append(due(key(1), 0, Some(node(1)))).await.expect("holds");
    let error = b.append(due(key(0), 1, Some(node(2)))).await.expect_err("another holds it");
    assert_eq!(error.kind(), StoreErrorKind::Held, "{error}");

    a.heartbeat(node(1), Duration::from_millis(1)).await.expect("begins a short one");
    until("the lease has run out", async || b.nodes().await.expect("counts") == 1).await;
    assert_eq!(b.claim(node(2), key(0)).await.expect("claims"), Some(node(2)));
    assert_eq!(b.claim_due(node(2), Timestamp::EPOCH, 9, &[]).await.expect("claims"), [key(1)]);
    for index in 0..2 {
        let error = a.append(due(key(index), 1, Some(node(1)))).await.expect_err("it was taken over");
        assert_eq!(error.kind(), StoreErrorKind::Held, "{error}");
    }
    a.heartbeat(node(1), LONG).await.expect("it is back");
    assert_eq!(a.held(node(1)).await.expect("lists"), []);
    assert_eq!(a.claim(node(1), key(0)).await.expect("asks"), Some(node(2)), "a living node keeps its own");
    a.append(due(key(0), 1, None)).await.expect("a guest appends");
    assert_eq!(b.held(node(2)).await.expect("lists"), [(key(0), Version(2)), (key(1), Version(1))]);

    b.retire(node(2)).await.expect("retires");
    assert_eq!(a.claim_due(node(1), Timestamp::EPOCH, 9, &[]).await.expect("claims"), [key(0), key(1)]);
    let mut done = append(key(0), 2, &["done"]);
    done.holder = Some(node(1));
    a.append(done).await.expect("nothing is left to do");
    assert_eq!(a.held(node(1)).await.expect("lists"), [(key(1), Version(1))]);
}

/// A holder that never had a lease must not keep its sessions from everyone.
#[tokio::test]
async fn what_a_node_without_a_lease_holds_is_found() {
    let database = database();
    let store = open(&database).await;
    store.append(due(key(0), 0, Some(node(1)))).await.expect("holds");
    store.append(due(key(1), 0, None)).await.expect("appends");
    assert_eq!(store.claim(node(2), key(1)).await.expect("claims"), Some(node(2)));
    let claimed = store.claim_due(node(3), Timestamp::EPOCH, 9, &[]).await.expect("claims");
    assert_eq!(claimed, [key(0), key(1)]);
    assert!(store.claim_due(node(3), Timestamp::EPOCH, 9, &[]).await.expect("claims").is_empty(), "its own");
    let problems = store.integrity().await.expect("checks").problems;
    assert!(problems.iter().all(|problem| problem.contains("fsync")), "{problems:?}");
}

/// Finding what is due reads index entries of what is due, not of what is idle or held by the living.
#[tokio::test]
async fn finding_what_is_due_costs_what_is_due() {
    let database = database();
    let store = open(&database).await;
    store.heartbeat(node(1), LONG).await.expect("begins a lease");
    store.append(due(key(0), 0, None)).await.expect("appends");
    let client = by_hand(&database).await;
    let many = "INSERT INTO sessions SELECT project_id, 'sess_' || lpad(to_hex(n), 32, '0'), 1, status, agent_id, \
                NULL, '{}', 0, 0, CASE WHEN n % 2 = 0 THEN 0 END, FALSE, CASE WHEN n % 2 = 0 THEN $1 END \
                FROM sessions, generate_series(1, 20000) AS n";
    client.execute(many, &[&node(1).to_string()]).await.expect("writes");
    client.batch_execute("ANALYZE").await.expect("analyses");
    let explain = format!(
        "SET enable_seqscan = off; PREPARE due AS {}; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE due('{}', 0, 100, '{{}}')",
        include_str!("../sql/claim_due.sql").replace("$2", "$2::bigint").replace("$3", "$3::bigint"),
        node(2)
    );
    let messages = client.simple_query(&explain).await.expect("explains");
    let plan: Vec<String> = messages
        .iter()
        .filter_map(|message| {
            let tokio_postgres::SimpleQueryMessage::Row(row) = message else { return None };
            row.get(0).map(str::to_owned)
        })
        .collect();
    let plan: serde_json::Value = serde_json::from_str(&plan.concat()).expect("a plan");
    let read = plan[0]["Plan"]["Shared Hit Blocks"].as_u64().expect("counted")
        + plan[0]["Plan"]["Shared Read Blocks"].as_u64().expect("counted");
    assert!(read < 100, "{read} pages were read to find one session among 20001: {plan:#}");
}

/// The next wake of `session` at `version` or later, or `Missed`, within a moment.
async fn woken(wakes: &mut Receiver<Wake>, wanted: impl Fn(&Wake) -> bool) -> bool {
    let next = async {
        loop {
            match wakes.recv().await {
                Ok(wake) if wanted(&wake) => return true,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return false,
            }
        }
    };
    timeout(MOMENT, next).await.unwrap_or(false)
}

async fn tell_until_woken(from: &PostgresStore, wakes: &mut Receiver<Wake>, key: SessionKey) {
    let mut version =
        from.events(key, Version::ZERO, usize::MAX).await.map_or(0, |events| events.len() as u64);
    until("the other node is woken", async || {
        // A node that has just come is believed to be absent for a moment, so the first may not be told.
        match from.append(append(key, version, &["wake"])).await {
            Ok(next) => version = next.0,
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}"),
        }
        let at_least = Version(version);
        woken(
            wakes,
            |wake| matches!(wake, Wake::Session { key: of, version } if *of == key && *version >= at_least),
        )
        .await
    })
    .await;
}

#[tokio::test]
async fn commits_wake_other_nodes() {
    let database = database();
    let (a, b) = tokio::join!(open(&database), open(&database));
    let (mut own, mut others) = (a.wakes(), b.wakes());
    let version = a.append(append(key(0), 0, &["alone"])).await.expect("appends");
    assert!(
        woken(&mut own, |wake| *wake == Wake::Session { key: key(0), version }).await,
        "its own, at once"
    );
    a.heartbeat(node(1), LONG).await.expect("begins a lease");
    b.heartbeat(node(2), LONG).await.expect("begins a lease");
    tell_until_woken(&a, &mut others, key(1)).await;
    tell_until_woken(&b, &mut own, key(2)).await;
    // Many at once are all told.
    let mut others = b.wakes();
    let keys: BTreeSet<_> = (100..400).map(key).collect();
    join_all(keys.iter().map(|key| a.append(append(*key, 0, &["many"])))).await;
    let mut missing = keys.clone();
    until("all are told", async || {
        while let Ok(Wake::Session { key, .. }) = others.try_recv() {
            missing.remove(&key);
        }
        missing.is_empty()
    })
    .await;
}

#[tokio::test]
async fn nodes_that_come_and_go_are_heard_of_at_once() {
    let database = database();
    let (a, b) = tokio::join!(open(&database), open(&database));
    let mut others = a.wakes();
    let heard = async |others: &mut Receiver<Wake>| woken(others, |wake| *wake == Wake::Nodes).await;
    b.heartbeat(node(2), LONG).await.expect("begins a lease");
    assert!(heard(&mut others).await, "one that comes");
    b.heartbeat(node(2), LONG).await.expect("extends it");
    b.heartbeat(node(2), Duration::ZERO).await.expect("lets it run out");
    b.append(append(key(0), 0, &["x"])).await.expect("appends");
    b.heartbeat(node(2), LONG).await.expect("begins a lease");
    assert!(heard(&mut others).await, "one that comes back");
    b.retire(node(2)).await.expect("ends the lease");
    assert!(heard(&mut others).await, "one that leaves, though no other is alive");
    assert_eq!(others.try_recv().ok(), None, "and nothing else is told");
}

#[tokio::test]
async fn a_lost_listener_says_that_it_missed_something() {
    let database = database();
    let (a, b) = tokio::join!(open(&database), open(&database));
    a.heartbeat(node(1), LONG).await.expect("begins a lease");
    b.heartbeat(node(2), LONG).await.expect("begins a lease");
    let (mut own, mut others) = (a.wakes(), b.wakes());
    let client = by_hand(&database).await;
    // The listeners do nothing else as long as nothing is appended.
    assert_eq!(cut(&client, "LISTEN%").await, 2);
    let is_missed = |wake: &Wake| *wake == Wake::Missed;
    let (mut a_missed, mut b_missed) = (false, false);
    until("both say so", async || {
        a_missed = a_missed || woken(&mut own, is_missed).await;
        b_missed = b_missed || woken(&mut others, is_missed).await;
        a_missed && b_missed
    })
    .await;
    tell_until_woken(&a, &mut others, key(1)).await;
    tell_until_woken(&b, &mut own, key(2)).await;
}
