//! Publishing policies on a running server and on several: what decides, from when on, and what a crash leaves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_journal::{Event, PolicySource, ProjectId, SessionKey, SessionStatus, Timestamp, Version};
use tenure_runtime::{Publication, Published, Runtime};
use tenure_session::SessionNotice;
use tenure_store::{Document, DocumentKind, MemoryStore, Store};

use crate::support::{Shop, opening, start, until};

/// No model is called.
const MUTE: &str = r#"@id("mute") forbid (principal, action == Action::"model.call", resource);"#;

fn project() -> ProjectId {
    opening("").opened.project_id
}

fn source(text: &str) -> PolicySource {
    PolicySource { name: "own.cedar".into(), text: text.into() }
}

async fn publish(runtime: &Runtime, text: &str) -> Published {
    let candidate = runtime.try_policies(vec![source(text)]).await.expect("valid");
    let after = runtime.published(project(), None).await.expect("readable").expect("there").version;
    let publication = Publication { after, by: "key_1".into(), ..Publication::default() };
    runtime.publish_policies(project(), &candidate, publication, None, Vec::new()).await.expect("published")
}

/// What is written when policies are published, by a process that dies before it does anything else.
async fn store_alone(store: &MemoryStore, text: &str, version: u64) {
    let document = Document {
        project: project(),
        kind: DocumentKind::Policies,
        id: "published".into(),
        version,
        name: None,
        body: json!({"sources": [source(text)], "digest": "b3:0", "by": "key_1"}),
        created_at: Timestamp::from_millis(1),
        updated_at: Timestamp::from_millis(1),
        wake_at: None,
        deleted: false,
    };
    store.put(vec![document], None).await.expect("written");
}

/// Opens a session, waits until it rests, and gives the digests that its decisions name.
async fn decided(runtime: &Runtime) -> Vec<String> {
    let (view, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until(&mut stream, SessionNotice::Idle).await;
    digests(runtime, view.key).await
}

async fn digests(runtime: &Runtime, key: SessionKey) -> Vec<String> {
    let events = runtime.store().events(key, Version::ZERO, usize::MAX).await.expect("readable");
    let digest = |event: &Event| {
        if let Event::EffectRequested { effect } = event {
            return Some(effect.permit.policy_digest.clone());
        }
        let Event::PolicyRefused { refusal } = event else { return None };
        Some(refusal.policy_digest.clone())
    };
    events.iter().filter_map(|recorded| digest(&recorded.event)).collect()
}

async fn in_force(runtime: &Runtime) -> String {
    runtime.policies(project()).await.expect("readable").digest().to_owned()
}

#[tokio::test]
async fn what_is_published_through_one_node_decides_at_every_other() {
    let store = Arc::new(MemoryStore::new());
    let a = start(Arc::clone(&store), Arc::default()).await;
    let b = start(Arc::clone(&store), Arc::default()).await;
    // What each believes is a moment old when others are published.
    let before = in_force(&b).await;
    assert_eq!(before, in_force(&a).await);
    let published = publish(&a, MUTE).await;
    for node in [&b, &a] {
        let digests = decided(node).await;
        assert!(
            !digests.is_empty() && digests.iter().all(|it| Some(it) == published.digest.as_ref()),
            "{digests:?}"
        );
    }
    for node in [&a, &b] {
        node.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn every_decision_names_a_set_that_is_stored() {
    let store = Arc::new(MemoryStore::unshared());
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    let mut seen = decided(&runtime).await;
    publish(&runtime, MUTE).await;
    seen.extend(decided(&runtime).await);
    seen.dedup();
    let [before, after] = seen.as_slice() else { panic!("two sets, not {seen:?}") };
    for digest in [before, after] {
        let text = runtime.policy_text(project(), digest).await.expect("readable").expect("stored");
        assert_eq!(text.digest(), *digest);
    }
}

#[tokio::test]
async fn a_crash_after_storing_leaves_the_new_ones_and_before_it_the_old() {
    let store = Arc::new(MemoryStore::unshared());
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    let old = in_force(&runtime).await;
    let candidate = runtime.try_policies(vec![source(MUTE)]).await.expect("valid");
    let (new, text) = (candidate.set.digest().to_owned(), candidate.set.text().clone());
    runtime.shutdown(Duration::ZERO).await;
    // It died when the set was there under its digest, and nothing said that it is in force.
    let set = Document {
        kind: DocumentKind::PolicySet,
        id: new.clone(),
        body: serde_json::to_value(&text).expect("texts"),
        version: 1,
        project: project(),
        name: None,
        created_at: Timestamp::from_millis(1),
        updated_at: Timestamp::from_millis(1),
        wake_at: None,
        deleted: false,
    };
    store.note(set).await.expect("written");
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    assert_eq!(in_force(&runtime).await, old);
    runtime.shutdown(Duration::ZERO).await;

    store_alone(&store, MUTE, 1).await;
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    assert_eq!(in_force(&runtime).await, new);
    assert!(decided(&runtime).await.iter().all(|digest| *digest == new));
}

#[tokio::test]
async fn of_two_who_publish_at_once_one_is_told() {
    let runtime = start(Arc::new(MemoryStore::unshared()), Arc::default()).await;
    let candidate = runtime.try_policies(vec![source(MUTE)]).await.expect("valid");
    let publication = || Publication { after: 0, by: "key_1".into(), ..Publication::default() };
    let publish = || runtime.publish_policies(project(), &candidate, publication(), None, Vec::new());
    let (first, second) = tokio::join!(publish(), publish());
    let won = [&first, &second].into_iter().filter(|it| it.is_ok()).count();
    assert_eq!(won, 1, "{first:?} {second:?}");
}

#[tokio::test]
async fn policies_that_do_not_fit_the_files_deny_everything_until_others_are_published() {
    let store = Arc::new(MemoryStore::unshared());
    let shop = Arc::new(Shop::default());
    // An earlier release took it, or other files were there.
    store_alone(&store, r#"@id("x") permit (principal, action == Action::"no.such", resource);"#, 1).await;
    let runtime = start(Arc::clone(&store), Arc::clone(&shop)).await;
    let closed = runtime.policies(project()).await.expect("readable");
    assert!(closed.closed().is_some_and(|why| why.contains("no.such")), "{:?}", closed.closed());
    let (view, stream) = runtime.open(opening("hi"), None, true).await.expect("opens");
    let mut stream = stream.expect("subscribed");
    until(&mut stream, SessionNotice::Idle).await;
    let view = runtime.view(view.key).await.expect("readable").expect("there");
    assert_eq!(view.status, SessionStatus::Idle);
    let events = runtime.store().events(view.key, Version::ZERO, usize::MAX).await.expect("readable");
    let requested = events.iter().find(|recorded| matches!(recorded.event, Event::EffectRequested { .. }));
    assert!(requested.is_none(), "nothing is allowed: {requested:?}");
    let refusals = events.iter().filter_map(|recorded| {
        let Event::PolicyRefused { refusal } = &recorded.event else { return None };
        Some(refusal)
    });
    let faults: Vec<_> = refusals.map(|refusal| refusal.fault.clone().unwrap_or_default()).collect();
    assert!(!faults.is_empty() && faults.iter().all(|fault| fault.contains("no.such")), "{faults:?}");
    let published = publish(&runtime, MUTE).await;
    assert_eq!(published.version, 2);
    assert!(runtime.policies(project()).await.expect("readable").closed().is_none());
}

/// Sessions decide while policies change under them: each decision is of one set or the other, in the order in
/// which they were in force, and what begins after the answer is decided by the new one.
#[tokio::test]
async fn sessions_go_on_while_policies_change() {
    let runtime = start(Arc::new(MemoryStore::unshared()), Arc::default()).await;
    let (old, publication) = (in_force(&runtime).await, publish(&runtime, "// nothing yet\n"));
    let during: Vec<_> = (0..20).map(|_| decided(&runtime)).collect();
    let (during, published) = tokio::join!(futures_util::future::join_all(during), publication);
    let new = published.digest.expect("a digest");
    assert_ne!(old, new, "a comment is another text");
    for digests in &during {
        assert!(!digests.is_empty() && digests.iter().all(|it| *it == old || *it == new), "{digests:?}");
        assert!(digests.is_sorted_by_key(|digest| *digest == new), "{digests:?}");
    }
    assert!(decided(&runtime).await.iter().all(|digest| *digest == new));
}
