//! Recall by meaning: lexical until vectors are made, lexical again when the model is away, and anew with another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{AgentId, Episode, Fresh, ItemId, Labels, MemorySpace, Remembered, Speaker, Timestamp};
use tenure_memory::cue::Question;
use tenure_memory::text;
use tenure_runtime::{EmbedError, Embedder, Recalled, Runtime, fact, recall};
use tenure_session::SessionNotice;
use tenure_store::bench::Session;
use tenure_store::{Append, Embedded, MemoryStore, Store as _};
use tenure_vector::Vectors;

use crate::support::wait::answered;
use crate::support::{opening, start, until};

/// A model that knows animals from everything else.
struct Animals {
    name: &'static str,
    away: AtomicBool,
}

impl Animals {
    fn named(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, away: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Embedder for Animals {
    fn model(&self) -> &str {
        self.name
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(EmbedError::new("the model is away"));
        }
        let is_animal = |text: &String| text.contains("spaniel") || text.contains("animal");
        Ok(texts.iter().map(|text| if is_animal(text) { vec![1.0, 0.0] } else { vec![0.0, 1.0] }).collect())
    }
}

async fn ask(runtime: &Runtime, space: &MemorySpace, question: &str) -> Vec<Recalled> {
    runtime.recall(space, question, fact::Asked::default(), 5, None).await.expect("recalls")
}

/// What is found once something is found by its vector.
async fn by_meaning(runtime: &Runtime, space: &MemorySpace) -> Vec<Recalled> {
    answered("vectors", async || {
        let found = ask(runtime, space, "How is the animal?").await;
        found.iter().any(|one| one.why.vector.is_some()).then_some(found)
    })
    .await
}

#[tokio::test]
async fn what_was_said_is_found_by_its_meaning_once_it_has_vectors() {
    let store = Arc::new(MemoryStore::new());
    let runtime = start(Arc::clone(&store), Arc::default()).await;
    let (view, stream) = runtime.open(opening("Our spaniel is ill."), None, true).await.expect("opens");
    until(&mut stream.expect("subscribed"), SessionNotice::Idle).await;
    let space = MemorySpace { project: view.key.project, agent: view.agent.id, user: None };
    assert_eq!(ask(&runtime, &space, "How is the animal?").await, [], "no word is shared");

    let model = Animals::named("animals@1");
    runtime.embed_with(Arc::clone(&model) as Arc<dyn Embedder>);
    let found = by_meaning(&runtime, &space).await;
    assert_eq!(found[0].episode.text, "Our spaniel is ill.");
    assert!(found[0].why.to_string().contains("vector"), "{}", found[0].why);

    model.away.store(true, Ordering::Relaxed);
    assert_eq!(ask(&runtime, &space, "How is the animal?").await, [], "without the model recall is lexical");
    let lexical = ask(&runtime, &space, "the spaniel").await;
    assert_eq!((&*lexical[0].episode.text, lexical[0].why.vector), ("Our spaniel is ill.", None));
    runtime.shutdown(Duration::from_secs(5)).await;

    let runtime = start(store, Arc::default()).await;
    runtime.embed_with(Animals::named("animals@2"));
    let found = by_meaning(&runtime, &space).await;
    assert_eq!(found[0].episode.text, "Our spaniel is ill.", "another model makes vectors of its own");
    runtime.shutdown(Duration::from_secs(5)).await;
}

/// A model that takes its time, in which a session is deleted.
struct Slow {
    store: Arc<MemoryStore>,
    deletion: Append,
}

#[async_trait]
impl Embedder for Slow {
    fn model(&self) -> &str {
        "slow@1"
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        // Terms are looked for while it works.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        self.store.append_now(self.deletion.clone()).expect("deletes");
        Ok(vec![vec![1.0, 0.0]; texts.len()])
    }
}

/// What a user says in one session, a day apart; with what may be appended to it next.
fn said(store: &MemoryStore, texts: &[&str]) -> (MemorySpace, Append) {
    let (session, fresh) = (Session::new(0), Fresh::new(Timestamp::EPOCH, 1));
    let key = session.key();
    let space = MemorySpace { project: key.project, agent: AgentId::fresh(&fresh), user: None };
    let remembered = |(ordinal, text): (u64, &&str)| {
        let episode = Episode {
            session: key.session,
            item: ItemId::fresh(&fresh),
            ordinal,
            at: Timestamp::EPOCH.plus_millis(ordinal * DAY_MS),
            speaker: Speaker::User,
            name: None,
            text: (*text).to_owned(),
            labels: Labels::NEUTRAL,
        };
        Remembered { space: space.clone(), episode, terms: text::distinct_stems(text) }
    };
    let episodes = (0..).zip(texts).map(remembered).collect();
    let expected = store.append_now(Append { episodes, ..session.next() }).expect("appends");
    (space, Append { expected, ..session.next() })
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A model that tells storms from everything else.
struct Storms;

#[async_trait]
impl Embedder for Storms {
    fn model(&self) -> &str {
        "storms@1"
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let vector = |text: &String| {
            // The question names the storm as well, and asks for something else.
            let is_storm = ["tempest", "the hurricane"].contains(&text.as_str());
            if is_storm { vec![1.0, 0.0] } else { vec![0.0, 1.0] }
        };
        Ok(texts.iter().map(vector).collect())
    }
}

#[tokio::test]
async fn what_a_question_is_about_and_when_are_found_by_vectors_of_their_own() {
    let store = MemoryStore::new();
    let (space, _) = said(&store, &["We sold a car.", "tempest", "We bought a boat."]);
    for lacking in store.unembedded("storms@1", 0, 9).await.expect("looks") {
        let made = Storms.embed(vec![lacking.episode.text.clone()]).await.expect("vectors");
        let vectors = Vectors::of(&[made[0].clone(), made[0].clone()]).expect("of one length");
        let kept = Embedded { project: lacking.project, episode: lacking.episode, vectors };
        store.embed("storms@1", vec![kept]).await.expect("keeps");
    }
    let now = Timestamp::EPOCH.plus_millis(9 * DAY_MS);
    let question = Question { text: "What did she acquire after the hurricane?", now, names: &[] };
    let found = recall(&store, Some(&Storms), &space, &question, None, 5).await.expect("recalls");
    let best: Vec<(&str, bool)> =
        found.iter().take(1).map(|one| (&*one.episode.text, one.why.time)).collect();
    assert_eq!(best, [("We bought a boat.", true)], "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn what_goes_while_a_model_takes_its_time_is_not_recalled() {
    let store = Arc::new(MemoryStore::new());
    let (space, mut deletion) = said(&store, &["The zeppelin has landed."]);
    let question = Question { text: "Where is the zeppelin?", now: Timestamp::EPOCH, names: &[] };
    let found = recall(&*store, None, &space, &question, None, 5).await.expect("recalls");
    assert_eq!(found.len(), 1, "it is there");

    deletion.head.deleted = true;
    let slow = Slow { store: Arc::clone(&store), deletion };
    let found = recall(&*store, Some(&slow), &space, &question, None, 5).await.expect("recalls");
    assert_eq!(found, [], "what was found before it went is looked for again");
}
