//! Audit logs: records come with their events, and each is sealed once.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::future::join_all;
use tenure_journal::{AgentId, AuditFact, AuditRecord, SessionId, SessionKey, Version};

use super::build::{NOW, accepted, append, bytes, document, fresh, key, refused};
use crate::{Append, AuditEntry, DocumentKind, Seal, Sealed, Store, StoreError, StoreErrorKind, Unsealed};

fn told(mut append: Append, versions: &[u64]) -> Append {
    let key = append.head.key;
    let agent: AgentId = append.head.agent_id;
    let record = |version: &u64| AuditRecord {
        at: NOW,
        project: key.project,
        session: key.session,
        version: Version(*version),
        agent: Some(agent),
        turn: None,
        fact: AuditFact::SessionFailed,
    };
    append.audit = versions.iter().map(record).collect();
    append
}

fn versions(unsealed: &[Unsealed]) -> Vec<u64> {
    let read =
        |unsealed: &Unsealed| serde_json::from_slice::<AuditRecord>(&unsealed.record).expect("a record");
    unsealed.iter().map(|unsealed| read(unsealed).version.0).collect()
}

fn seal(expected: u64, unsealed: &[Unsealed], note: &str) -> Seal {
    let records = unsealed.iter().map(|unsealed| (unsealed.position, unsealed.record.clone())).collect();
    let tiles = vec![(0, 0, bytes(note)), (1, 5, bytes("hashes"))];
    Seal { project: unsealed[0].project, expected, records, tiles, checkpoint: note.to_owned() }
}

/// What the store is at, where it refuses for that.
#[track_caller]
fn conflict<T: Debug>(result: Result<T, StoreError>, sentence: &str) -> u64 {
    let kind = refused(result, sentence);
    let StoreErrorKind::Conflict { actual } = &kind else { panic!("{sentence}: refused for {kind:?}") };
    actual.0
}

pub(super) async fn keeps_records_with_the_events(store: &dyn Store) {
    let fresh = fresh(1);
    let key = key(&fresh);
    accepted(store.append(told(append(&fresh, key, 0, &["a", "b"]), &[1, 2])).await);
    let stale = store.append(told(append(&fresh, key, 0, &["x"]), &[9])).await;
    assert_eq!(conflict(stale, "a stale append is refused"), 2);
    accepted(store.append(told(append(&fresh, key, 2, &["c"]), &[3])).await);
    accepted(store.append(append(&fresh, key, 3, &["d"])).await);
    let waiting = accepted(store.unsealed(&[], 9).await);
    assert_eq!(versions(&waiting), [1, 2, 3], "what was appended waits, and nothing of what was refused");
    assert!(waiting.iter().all(|unsealed| unsealed.project == key.project));
    assert!(waiting.is_sorted_by_key(|unsealed| unsealed.position), "in the order of positions");
    assert_eq!(accepted(store.unsealed(&[], 2).await), waiting[..2], "no more than are wanted");
}

pub(super) async fn keeps_records_with_documents(store: &dyn Store) {
    let fresh = fresh(4);
    let project = key(&fresh).project;
    let entry = |text: &str| AuditEntry { project, record: bytes(text) };
    let agent = |version| vec![document(project, DocumentKind::Agent, "a", version)];
    accepted(store.put_recorded(agent(1), None, vec![entry("{\"n\":1}"), entry("{\"n\":2}")]).await);
    let stale = store.put_recorded(agent(1), None, vec![entry("{\"n\":9}")]).await;
    assert_eq!(conflict(stale, "a stale document is refused"), 1);
    accepted(store.put_recorded(Vec::new(), None, vec![entry("{\"n\":3}")]).await);
    let waiting = accepted(store.unsealed(&[], 9).await);
    let records: Vec<&[u8]> = waiting.iter().map(|unsealed| &unsealed.record[..]).collect();
    let expected: [&[u8]; 3] = [b"{\"n\":1}", b"{\"n\":2}", b"{\"n\":3}"];
    assert_eq!(records, expected, "what came with documents waits, and nothing of what was refused");
}

pub(super) async fn seals_each_record_once(store: &dyn Store) {
    let fresh = fresh(2);
    let (one, other) = (key(&fresh), key(&fresh));
    accepted(store.append(told(append(&fresh, one, 0, &["a", "b", "c"]), &[1, 2, 3])).await);
    accepted(store.append(told(append(&fresh, other, 0, &["d"]), &[4])).await);
    let all = accepted(store.unsealed(&[], 9).await);
    let ours: Vec<_> = all.iter().filter(|unsealed| unsealed.project == one.project).cloned().collect();
    let theirs: Vec<_> = all.iter().filter(|unsealed| unsealed.project == other.project).cloned().collect();
    assert_eq!(accepted(store.unsealed(&[one.project], 9).await), theirs, "projects can be passed over");
    assert_eq!(accepted(store.sealed(one.project, u64::MAX).await), None, "nothing is sealed at first");

    let early = store.seal(seal(1, &ours[..2], "early")).await;
    assert_eq!(conflict(early, "a log is gone on with where it ends"), 0);
    accepted(store.seal(seal(0, &ours[..2], "two")).await);
    let late = store.seal(seal(0, &ours[2..], "late")).await;
    assert_eq!(conflict(late, "a log is not begun twice"), 2);
    let twice = store.seal(seal(2, &ours[1..], "twice")).await;
    assert_eq!(conflict(twice, "what is sealed is not sealed again"), 2);
    let foreign = Seal { project: one.project, ..seal(2, &theirs, "foreign") };
    assert_eq!(conflict(store.seal(foreign).await, "a record stays in its project"), 2);
    assert_eq!(versions(&accepted(store.unsealed(&[], 9).await)), [3, 4], "what was refused changed nothing");
    accepted(store.seal(seal(2, &ours[2..], "three")).await);
    accepted(store.seal(seal(0, &theirs, "other")).await);
    assert!(accepted(store.unsealed(&[], 9).await).is_empty());

    let at = |size_max| async move { accepted(store.sealed(one.project, size_max).await) };
    let sealed = |size, note: &str| Some(Sealed { size, checkpoint: note.to_owned() });
    assert_eq!(at(u64::MAX).await, sealed(3, "three"));
    assert_eq!(at(2).await, sealed(2, "two"), "earlier checkpoints are kept");
    assert_eq!(at(1).await, None);
    let records: Vec<Bytes> = ours.iter().map(|unsealed| unsealed.record.clone()).collect();
    assert_eq!(accepted(store.sealed_records(one.project, 0, 9).await), records);
    assert_eq!(accepted(store.sealed_records(one.project, 1, 1).await), records[1..2]);
    assert_eq!(accepted(store.audit_tile(one.project, 0, 0).await), Some(bytes("three")), "a tile grows");
    assert_eq!(accepted(store.audit_tile(one.project, 1, 5).await), Some(bytes("hashes")));
    assert_eq!(accepted(store.audit_tile(one.project, 0, 5).await), None);
    assert_eq!(accepted(store.audit_tile(other.project, 0, 0).await), Some(bytes("other")), "each its own");
}

pub(super) async fn lets_one_of_many_seals_win(store: &dyn Store) {
    const SEALERS: usize = 8;
    let fresh = fresh(3);
    let key = SessionKey { session: SessionId::fresh(&fresh), ..key(&fresh) };
    accepted(store.append(told(append(&fresh, key, 0, &["a"]), &[1])).await);
    let waiting = accepted(store.unsealed(&[], 9).await);
    let notes: Vec<String> = (0..SEALERS).map(|sealer| format!("by {sealer}")).collect();
    let seals = join_all(notes.iter().map(|note| store.seal(seal(0, &waiting, note)))).await;
    let won: Vec<_> = notes.iter().zip(&seals).filter(|(_, answer)| answer.is_ok()).collect();
    let [(note, _)] = won.as_slice() else { panic!("one of them wins, not {}", won.len()) };
    let sealed = accepted(store.sealed(key.project, u64::MAX).await);
    assert_eq!(sealed, Some(Sealed { size: 1, checkpoint: (*note).clone() }), "what it wrote is kept");
    assert_eq!(accepted(store.sealed_records(key.project, 0, 9).await).len(), 1);
}
