//! Held calls that a reviewer model is asked about before people are, from the question to the call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{Decision, Event, Review, Version};
use tenure_model::scripted::{Script, ScriptedModel};
use tenure_policy::PolicySet;
use tenure_runtime::{ModelTable, Opening, Outbound, Parts, Provider, Runtime, Sealer};
use tenure_session::SessionNotice;
use tenure_store::{MemoryStore, Store as _};
use tenure_tools::{Hints, Server};

use crate::support::{SCRIPT, Shop, opening, until};

/// A server whose reviewer answers so, whatever it is shown.
async fn start(store: &Arc<MemoryStore>, shop: &Arc<Shop>, verdict: &str) -> Runtime {
    let judge = format!(
        "rules:\n  - when: {{ model: judge }}\n    reply: [{{ text: '{verdict}' }}]\n{}",
        SCRIPT.trim_start().trim_start_matches("rules:")
    );
    let script = Arc::new(Script::parse(&judge).expect("a valid script"));
    let provider = Provider::new("scripted", Arc::new(ScriptedModel::new(script)), 64);
    let server =
        Server::Http { url: "http://shop.invalid".into(), headers: BTreeMap::new(), hints: Hints::default() };
    let parts = Parts {
        store: Arc::clone(store) as _,
        models: ModelTable { named: BTreeMap::new(), fallback: Some(provider) },
        servers: Arc::clone(shop) as _,
        project_servers: BTreeMap::from([("shop".to_owned(), server)]),
        policy: Arc::new(PolicySet::defaults()),
        sealer: Sealer::ephemeral(),
        limits: tenure_runtime::Limits::default(),
        outbound: Outbound { reviewer: Some("judge".to_owned()), ..Outbound::default() },
        environments: tenure_runtime::EnvironmentConfig::default(),
    };
    Runtime::start(parts).await.expect("starts")
}

#[tokio::test]
async fn what_the_reviewer_says_is_done_and_what_it_leaves_open_waits_for_people() {
    for (verdict, refunds, decided, rests) in [
        (r#"{"decision":"approve","reason":"The user asked for it."}"#, 1, Some(Decision::Approve), true),
        (r#"{"decision":"refuse","reason":"Nobody asked for it."}"#, 0, Some(Decision::Deny), true),
        (r#"{"decision":"escalate","reason":"Not sure."}"#, 0, None, false),
        ("I would rather not say.", 0, None, false),
    ] {
        let (store, shop) = (Arc::new(MemoryStore::new()), Arc::new(Shop::default()));
        let runtime = start(&store, &shop, verdict).await;
        let Opening { mut opened, input } = opening("refund o1");
        opened.review = Some(Review::AutoReview);
        let (view, stream) = runtime.open(Opening { opened, input }, None, true).await.expect("opens");
        let mut stream = stream.expect("subscribed");
        let ends = if rests { SessionNotice::Idle } else { SessionNotice::RequiresAction };
        let seen = until(&mut stream, ends).await;
        let asked = seen.iter().any(|notice| notice == "session.RequiresAction");
        assert_eq!(
            asked, !rests,
            "people are asked where the reviewer says nothing clear: {verdict}: {seen:?}"
        );
        assert_eq!(shop.keys.lock().expect("no panics").len(), refunds, "{verdict}");
        let events = store.events(view.key, Version::ZERO, usize::MAX).await.expect("readable");
        let answers: Vec<(Decision, String)> = events
            .iter()
            .filter_map(|recorded| {
                let Event::ApprovalDecided { decision, by, .. } = &recorded.event else { return None };
                Some((*decision, by.clone()))
            })
            .collect();
        assert_eq!(answers.first().map(|(decision, _)| *decision), decided, "{verdict}");
        assert!(answers.iter().all(|(_, by)| by == "reviewer"), "{verdict}: {answers:?}");
        let view = runtime.view(view.key).await.expect("readable").expect("there");
        assert_eq!(view.quarantined_by, None, "no person refused: {verdict}");
        runtime.shutdown(Duration::ZERO).await;
    }
}
