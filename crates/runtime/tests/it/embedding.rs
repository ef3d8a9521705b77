//! Recall by meaning: lexical until vectors are made, lexical again when the model is away, and anew with another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::MemorySpace;
use tenure_runtime::{EmbedError, Embedder, Recalled, Runtime, fact};
use tenure_session::SessionNotice;
use tenure_store::MemoryStore;

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
